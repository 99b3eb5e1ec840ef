//! The five-minute path: what a new user does first, in one go.

use pasetors::Public;
use pasetors::keys::AsymmetricPublicKey;
use pasetors::paserk::{FormatAsPaserk as _, Id};
use pasetors::token::UntrustedToken;
use pasetors::version4::{PublicToken, V4};
use plinth_tests::api::{Client, Reply};
use plinth_tests::site::{Backing, PASSWORD, Person, Site, new_address, sign_in, sign_up_body};
use plinth_tests::stream::{EventStream, ServerEvent};
use reqwest::Method;
use serde_json::{Value, json};

use crate::tools::{PATIENCE, PDF, eventually, sha256};

plinth_tests::on_both!(
    five_minute_path,
    a_stream_goes_on_where_it_was_left,
    every_event_once_over_polls_and_streams
);

async fn five_minute_path(backing: Backing) {
    let site = Site::start(backing).await;
    let email = new_address("ada");
    sign_up(&site, &email).await;
    let ada = sign_in(&site.client(), &email, PASSWORD).await;
    verify_offline(&site, &ada).await;
    let file = upload(&ada).await;
    read_a_part(&ada, &file).await;
    follow_a_link(&site, &ada, &file).await;
    publish_and_follow(&ada).await;
    look_at_usage(&ada).await;
    look_at_mail(&site, &ada).await;
    sign_out(&site, &ada).await;
}

async fn sign_up(site: &Site, email: &str) {
    let visitor = site.client();
    let reply = visitor
        .post("/v1/auth/register", &sign_up_body(email, PASSWORD))
        .await
        .expect_status(202);
    assert_eq!(reply.text(), "");

    // The right password of an address that was not verified, and a wrong one.
    let login = |password: &str| json!({ "email": email, "password": password });
    let unverified = visitor.post("/v1/auth/login", &login(PASSWORD)).await;
    let unverified = unverified.expect_problem(401, "email_unverified");
    assert!(unverified.header("www-authenticate").starts_with("Bearer"));
    let wrong = visitor
        .post("/v1/auth/login", &login("another password entirely"))
        .await;
    let _ = wrong.expect_problem(401, "invalid_credentials");

    // Programs that open every link must not use it up.
    let mail = site.outbox().wait_for(email, "token=").await;
    for method in [Method::GET, Method::GET, Method::HEAD] {
        let page = Reply::of(visitor.request(method, &mail.link()))
            .await
            .expect_status(200);
        assert!(page.header("content-type").starts_with("text/html"), "{page}");
        assert_eq!(page.header("cache-control"), "no-store");
        assert_eq!(page.header("referrer-policy"), "no-referrer");
    }
    let unverified = visitor.post("/v1/auth/login", &login(PASSWORD)).await;
    let _ = unverified.expect_problem(401, "email_unverified");

    // The same token again answers alike: a double click is no fault.
    for _ in 0..2 {
        let _ = visitor
            .post("/v1/auth/verify", &json!({ "token": mail.token() }))
            .await
            .expect_status(204);
    }
    let other = visitor
        .post("/v1/auth/verify", &json!({ "token": "no-token-of-ours" }))
        .await;
    let _ = other.expect_problem(422, "token_invalid");
}

/// Verifies the access token as an edge would, with nothing but the published keys.
async fn verify_offline(site: &Site, ada: &Person) {
    let token = ada.client.token().expect("signed in");
    let keys = site.client().get("/.well-known/paseto-keys").await.expect_status(200);
    assert!(
        keys.header("cache-control").contains("max-age=300"),
        "{}",
        keys.header("cache-control")
    );
    let untrusted = UntrustedToken::<Public, V4>::try_from(token).expect("the form of v4.public");
    let footer: Value = serde_json::from_slice(untrusted.untrusted_footer()).expect("a footer in JSON");
    let keys = keys.json();
    let published = keys["keys"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|key| key["kid"] == footer["kid"]);
    let published = published.expect("the key of the token is published");
    assert_eq!(published["status"], "active");

    let key = AsymmetricPublicKey::<V4>::try_from(published["paserk"].as_str().expect("a text")).expect("a PASERK");
    let mut id = String::new();
    Id::from(&key).fmt(&mut id).expect("a text takes it");
    assert_eq!(published["kid"], id.as_str(), "the id belongs to the key");

    let trusted = PublicToken::verify(&key, &untrusted, Some(untrusted.untrusted_footer()), None).expect("genuine");
    let claims: Value = serde_json::from_str(trusted.payload()).expect("claims in JSON");
    let whoami = ada.client.get("/v1/auth/whoami").await.expect_status(200).json();
    for name in [
        "sub",
        "sid",
        "tier",
        "role",
        "epoch",
        "aud",
        "iss",
        "iat",
        "exp",
        "jti",
        "amr",
        "auth_time",
    ] {
        assert_eq!(claims[name], whoami[name], "{name}");
        assert!(!claims[name].is_null(), "{name} is missing");
    }
    assert_eq!(
        (claims["tier"].as_str(), claims["role"].as_str()),
        (Some("free"), Some("user"))
    );

    let forged = tampered(token);
    let untrusted = UntrustedToken::<Public, V4>::try_from(forged.as_str()).expect("still of that form");
    assert!(PublicToken::verify(&key, &untrusted, Some(untrusted.untrusted_footer()), None).is_err());
    let refused = ada
        .client
        .with_token(forged)
        .get("/v1/auth/whoami")
        .await
        .expect_problem(401, "token_invalid");
    assert!(refused.header("www-authenticate").contains("invalid_token"));
}

/// The token with one character of its payload changed.
fn tampered(token: &str) -> String {
    let mut bytes = token.as_bytes().to_vec();
    let at = "v4.public.".len() + 20;
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    String::from_utf8(bytes).expect("still ASCII")
}

async fn upload(ada: &Person) -> Value {
    let path = "/v1/files?type=report&name=sample.pdf";
    let raw = ada
        .client
        .post_bytes(path, "application/octet-stream", PDF.to_vec())
        .await
        .expect_status(201);
    let file = raw.json();
    assert_eq!(file["sha256"], sha256(PDF).as_str());
    assert_eq!(file["size"], PDF.len());
    assert_eq!(
        (file["type"].as_str(), file["name"].as_str()),
        (Some("report"), Some("sample.pdf"))
    );
    assert_eq!(file["media_type"], "application/pdf", "its bytes say what it is");
    assert_eq!(file["backend"], "local");
    assert_eq!(
        raw.header("location"),
        format!("/v1/files/{}", file["id"].as_str().expect("an id"))
    );

    let part = reqwest::multipart::Part::bytes(PDF)
        .file_name("form.pdf")
        .mime_str("text/plain")
        .expect("a type");
    let form = reqwest::multipart::Form::new().part("file", part);
    let request = ada
        .client
        .request(Method::POST, "/v1/files?type=report")
        .multipart(form);
    let by_form = Reply::of(request).await.expect_status(201).json();
    assert_eq!(
        (by_form["name"].as_str(), by_form["sha256"].as_str()),
        (Some("form.pdf"), file["sha256"].as_str())
    );
    assert_eq!(by_form["media_type"], "application/pdf");

    let read = ada
        .client
        .get(&format!("/v1/files/{}", file["id"].as_str().expect("an id")))
        .await;
    assert_eq!(read.expect_status(200).json(), file);
    let listed = ada.client.get("/v1/files?type=report").await.expect_status(200).json();
    let names: Vec<&str> = listed["items"]
        .as_array()
        .expect("items")
        .iter()
        .filter_map(|f| f["name"].as_str())
        .collect();
    assert_eq!(names, ["form.pdf", "sample.pdf"], "newest first");
    assert!(listed["next_cursor"].is_null());
    file
}

async fn read_a_part(ada: &Person, file: &Value) {
    let content = format!("/v1/files/{}/content", file["id"].as_str().expect("an id"));
    let whole = ada.client.get(&content).await.expect_status(200);
    assert_eq!(whole.body, PDF);
    let request = ada
        .client
        .request(Method::GET, &content)
        .header("Range", "bytes=100-299");
    let part = Reply::of(request).await.expect_status(206);
    assert_eq!(part.body, &PDF[100..300]);
    assert_eq!(part.header("content-range"), format!("bytes 100-299/{}", PDF.len()));
}

async fn follow_a_link(site: &Site, ada: &Person, file: &Value) {
    let path = format!("/v1/files/{}/link", file["id"].as_str().expect("an id"));
    let link = ada
        .client
        .post(&path, &json!({ "expires_in": 60 }))
        .await
        .expect_status(200);
    let address = link.string("/url");
    assert!(
        address.starts_with(site.server.http()),
        "a link that the reader can reach: {address}"
    );
    let stranger = Client::new(site.server.http());
    assert_eq!(stranger.get(&address).await.expect_status(200).body, PDF);
    let last = if address.ends_with('A') { "B" } else { "A" };
    let forged = format!("{}{last}", &address[..address.len() - 1]);
    let _ = stranger.get(&forged).await.expect_problem(404, "not_found");
}

async fn publish_and_follow(ada: &Person) {
    let mut stream = ada.client.stream("/v1/events/stream", None).await;
    let event =
        json!({ "type": "app.order.placed", "data": { "order": 7, "tea": "Darjeeling" }, "subject": "order 7" });
    let id = ada
        .client
        .post("/v1/events", &event)
        .await
        .expect_status(201)
        .string("/id");

    let live = next_of(&mut stream, "app.order.placed").await;
    let envelope = live.json();
    assert_eq!(envelope["id"], id.as_str());
    assert_eq!(envelope["specversion"], "1.0");
    assert_eq!(envelope["data"], event["data"]);
    assert_eq!(envelope["subject"], "order 7");
    assert_eq!(
        (envelope["userid"].as_str(), envelope["actorid"].as_str()),
        (Some(&*ada.id), Some(&*ada.id))
    );
    assert!(
        envelope["source"]
            .as_str()
            .is_some_and(|source| source.starts_with("urn:plinth:"))
    );

    let history = ada.client.get("/v1/events?limit=200").await.expect_status(200).json();
    let items = history["items"].as_array().expect("items");
    assert_eq!(items.last().expect("an event"), &envelope, "the history tells the same");
    let types: Vec<&str> = items.iter().filter_map(|item| item["type"].as_str()).collect();
    let expected = [
        "user.registered",
        "session.started",
        "file.uploaded",
        "file.uploaded",
        "app.order.placed",
    ];
    assert_eq!(types, expected, "every change told its event, in order");
}

async fn look_at_usage(ada: &Person) {
    let wanted = |usage: Value| {
        let meters = usage["meters"].as_array().cloned().unwrap_or_default();
        let amount = |meter: &str| {
            meters
                .iter()
                .find(|m| m["meter"] == meter)
                .and_then(|m| m["amount"].as_u64())
        };
        (amount("events") == Some(1) && amount("files_uploaded") == Some(2)).then_some(usage)
    };
    let usage = eventually("the usage follows the log", async || {
        wanted(ada.client.get("/v1/me/usage").await.expect_status(200).json())
    });
    let usage = usage.await;
    assert_eq!(usage["storage_bytes"], 2 * PDF.len());
    assert_eq!(usage["files"], 2);
    assert_eq!(usage["tier"], "free");
}

async fn look_at_mail(site: &Site, ada: &Person) {
    let _ = site
        .client()
        .post("/v1/auth/password/forgot", &json!({ "email": ada.email }))
        .await
        .expect_status(202);
    let sent = eventually("the mail is handed over", async || {
        let list = ada.client.get("/v1/mail").await.expect_status(200).json();
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let asked_for = items.into_iter().find(|mail| mail["template"] == "reset_password");
        asked_for.filter(|mail| mail["state"] == "sent")
    });
    let sent = sent.await;
    assert_eq!(
        (sent["template"].as_str(), sent["to"].as_str()),
        (Some("reset_password"), Some(&*ada.email))
    );
    let detail = ada
        .client
        .get(&format!("/v1/mail/{}", sent["id"].as_str().expect("an id")))
        .await
        .expect_status(200);
    let attempts = detail.json()["attempts"].as_array().cloned().expect("attempts");
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0]["accepted"], true);
    let token = site.outbox().wait_for(&ada.email, "reset").await.token();
    assert!(!detail.text().contains(&token), "the ledger never shows a secret");
}

async fn sign_out(site: &Site, ada: &Person) {
    let _ = ada
        .client
        .post("/v1/auth/logout", &json!({ "scope": "this" }))
        .await
        .expect_status(204);
    let refused = ada
        .client
        .get("/v1/auth/whoami")
        .await
        .expect_problem(401, "session_ended");
    assert!(refused.header("www-authenticate").starts_with("Bearer"));
    let _ = ada.client.get("/v1/me").await.expect_problem(401, "session_ended");
    let refresh = json!({ "refresh_token": ada.refresh_token });
    let _ = site
        .client()
        .post("/v1/auth/refresh", &refresh)
        .await
        .expect_problem(401, "session_ended");
}

/// The next event of this type.
async fn next_of(stream: &mut EventStream, kind: &str) -> ServerEvent {
    loop {
        let event = stream.next(PATIENCE).await.expect("the stream goes on");
        if event.event == kind {
            return event;
        }
    }
}

async fn publish(client: &Client, number: u64) -> String {
    let event = json!({ "type": "app.counted", "data": number });
    client.post("/v1/events", &event).await.expect_status(201).string("/id")
}

async fn a_stream_goes_on_where_it_was_left(backing: Backing) {
    let site = Site::start(backing).await;
    let ada = site.person("ada").await;
    let mut stream = ada.client.stream("/v1/events/stream", None).await;
    let mut ids = Vec::new();
    for number in 0..3 {
        ids.push(publish(&ada.client, number).await);
    }
    let first = next_of(&mut stream, "app.counted").await;
    drop(stream);
    for number in 3..6 {
        ids.push(publish(&ada.client, number).await);
    }

    // What came after the first while it was away, then what comes.
    let mut again = ada.client.stream("/v1/events/stream", first.id.as_deref()).await;
    ids.push(publish(&ada.client, 6).await);
    let mut seen = vec![first.json()["id"].clone()];
    for _ in 0..6 {
        seen.push(next_of(&mut again, "app.counted").await.json()["id"].clone());
    }
    assert_eq!(seen, ids, "each once, in order");

    // A session that ends takes its streams along.
    let _ = ada
        .client
        .post("/v1/auth/logout", &json!({ "scope": "all" }))
        .await
        .expect_status(204);
    let end = next_of(&mut again, "end").await;
    assert!(end.data.contains("session_ended"), "{}", end.data);
    assert!(again.next(PATIENCE).await.is_none(), "nothing comes after the end");
}

async fn every_event_once_over_polls_and_streams(backing: Backing) {
    let site = Site::start(backing).await;
    let ada = site.person("ada").await;
    let mut stream = ada.client.stream("/v1/events/stream?after=0", None).await;
    let publishing = async {
        let mut ids = Vec::new();
        for number in 0..40 {
            ids.push(publish(&ada.client, number).await);
        }
        ids
    };
    let polling = async {
        let (mut seen, mut after) = (Vec::new(), None::<String>);
        while seen.len() < 40 {
            let after_parameter = after
                .as_ref()
                .map(|after| format!("&after={after}"))
                .unwrap_or_default();
            let page = ada
                .client
                .get(&format!("/v1/events?limit=7&wait=20{after_parameter}"))
                .await
                .expect_status(200);
            let page = page.json();
            let items = page["items"].as_array().expect("items");
            assert!(!items.is_empty(), "a poll waits for something: {page}");
            seen.extend(
                items
                    .iter()
                    .filter(|item| item["type"] == "app.counted")
                    .map(|item| item["id"].clone()),
            );
            after = page["next_cursor"].as_str().map(str::to_owned).or(after);
        }
        seen
    };
    let streaming = async {
        let mut seen = Vec::new();
        while seen.len() < 40 {
            seen.push(next_of(&mut stream, "app.counted").await.json()["id"].clone());
        }
        seen
    };
    let (published, polled, streamed) = tokio::join!(publishing, polling, streaming);
    assert_eq!(polled, published);
    assert_eq!(streamed, published);

    // Nothing more: a poll comes back empty, with the cursor to go on from.
    let end = ada.client.get("/v1/events?limit=200").await.expect_status(200).json();
    let cursor = end["next_cursor"].as_str().expect("a cursor").to_owned();
    let empty = ada
        .client
        .get(&format!("/v1/events?after={cursor}"))
        .await
        .expect_status(200)
        .json();
    assert_eq!(
        (empty["items"].as_array().map(Vec::len), empty["next_cursor"].as_str()),
        (Some(0), Some(&*cursor))
    );
}
