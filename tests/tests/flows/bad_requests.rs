//! Bad requests: the documented problem, never an echo, and nothing left behind.

use std::time::Duration;

use plinth_tests::api::{Client, Reply};
use plinth_tests::site::{Backing, Site, new_address};
use reqwest::Method;
use serde_json::{Value, json};

use crate::rows::Rows;
use crate::tools::{PATIENCE, alike, assert_refused, eventually, exchange, refused_parts};

plinth_tests::on_both!(
    bodies_that_are_wrong,
    ids_of_others_are_unknown,
    paths_and_methods,
    requests_byte_by_byte,
    keys_make_repetition_safe,
    a_batch_is_all_or_nothing,
    publishing_what_may_not_be,
);

const SECRET: &str = "s3cret-never-to-be-repeated";

fn assert_no_echo(reply: &Reply) {
    assert!(!reply.text().contains(SECRET), "an echo: {reply}");
    assert!(
        !format!("{:?}", reply.headers).contains(SECRET),
        "an echo: {:?}",
        reply.headers
    );
}

async fn send(client: &Client, path: &str, media_type: &str, body: impl Into<Vec<u8>>) -> Reply {
    let reply = client.post_bytes(path, media_type, body.into()).await;
    assert_no_echo(&reply);
    reply
}

async fn bodies_that_are_wrong(backing: Backing) {
    let site = Site::start(backing).await;
    let (visitor, path, json_type) = (site.client(), "/v1/auth/register", "application/json");
    let email = new_address("nobody");

    let broken = format!("{{\"email\": \"{email}\", \"password\": \"{SECRET}");
    let _ = send(&visitor, path, json_type, broken)
        .await
        .expect_problem(400, "malformed_request");
    let _ = send(&visitor, path, json_type, Vec::new())
        .await
        .expect_problem(400, "malformed_request");
    let not_text = [b"{\"email\": \"\xff\xfe".as_slice(), SECRET.as_bytes(), b"\"}"].concat();
    let _ = send(&visitor, path, json_type, not_text)
        .await
        .expect_problem(400, "malformed_request");

    let good = json!({ "email": email, "password": SECRET, "name": "Nobody" });
    let changed = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body.to_string()
    };
    let cases = [
        (changed("nick", json!(SECRET)), "#/nick", "unknown_field"),
        (changed("password", json!({ "is": SECRET })), "#/password", "type"),
        (changed("password", json!([SECRET])), "#/password", "type"),
        (changed("email", json!(null)), "#/email", "type"),
        (changed("email", json!(format!("{SECRET}@@x"))), "#/email", "format"),
        (
            changed("email", json!(format!("{SECRET}\r\nBcc: x@example.org"))),
            "#/email",
            "format",
        ),
        (
            changed("email", json!(format!("a@example.org, {SECRET}@example.org"))),
            "#/email",
            "format",
        ),
        (changed("name", json!("")), "#/name", "length"),
    ];
    for (body, pointer, code) in cases {
        let refused = send(&visitor, path, json_type, body)
            .await
            .expect_problem(422, "validation_failed");
        assert_refused(&refused, pointer, code);
    }
    let missing = send(&visitor, path, json_type, json!({ "email": email }).to_string()).await;
    let missing = missing.expect_problem(422, "validation_failed");
    let required = |name: &str| (format!("#/{name}"), "required".to_owned());
    let mut parts = refused_parts(&missing);
    parts.sort();
    assert_eq!(parts, [required("name"), required("password")]);

    for media_type in ["text/plain", "application/x-www-form-urlencoded", "application/xml"] {
        let refused = send(&visitor, path, media_type, good.to_string()).await;
        let _ = refused.expect_problem(415, "unsupported_media_type");
    }
    let huge = format!("{{\"email\": \"{}\"}}", SECRET.repeat(60_000));
    let _ = send(&visitor, path, json_type, huge)
        .await
        .expect_problem(413, "payload_too_large");

    let rows = Rows::of(&site).await;
    for table in [
        "registrations",
        "one_time_tokens WHERE purpose <> 'setup'",
        "mails",
        "users",
        "events WHERE type NOT LIKE 'key.%'",
    ] {
        assert_eq!(
            rows.number(&format!("SELECT count(*) FROM {table}")).await,
            0,
            "left behind in {table}"
        );
    }
    assert!(!site.server.stderr().contains(SECRET), "nothing of it is logged");
}

async fn ids_of_others_are_unknown(backing: Backing) {
    let site = Site::start(backing).await;
    let (ada, eve) = (site.person("ada").await, site.person("eve").await);
    let file = ada
        .client
        .post_bytes("/v1/files?type=note&name=a.txt", "text/plain", b"mine".to_vec())
        .await;
    let file = file.expect_status(201).string("/id");
    let _ = site
        .client()
        .post("/v1/auth/password/forgot", &json!({ "email": ada.email }))
        .await
        .expect_status(202);
    let mail = eventually("the mail is listed", async || {
        let list = ada.client.get("/v1/mail").await.expect_status(200).json();
        list["items"][0]["id"].as_str().map(str::to_owned)
    })
    .await;

    let routes = [
        (Method::GET, "/v1/files/{id}", &file, None),
        (Method::HEAD, "/v1/files/{id}", &file, None),
        (Method::GET, "/v1/files/{id}/content", &file, None),
        (Method::POST, "/v1/files/{id}/link", &file, Some(json!({}))),
        (Method::DELETE, "/v1/files/{id}", &file, None),
        (Method::GET, "/v1/mail/{id}", &mail, None),
        (Method::DELETE, "/v1/me/sessions/{id}", &ada.session_id, None),
        (Method::GET, "/v1/admin/users/{id}", &ada.id, None),
        (
            Method::PUT,
            "/v1/admin/users/{id}/tier",
            &ada.id,
            Some(json!({ "tier": "pro" })),
        ),
        (Method::POST, "/v1/admin/users/{id}/disable", &ada.id, Some(json!({}))),
        (Method::POST, "/v1/admin/users/{id}/enable", &ada.id, Some(json!({}))),
    ];
    for (method, template, id, body) in routes {
        let ask = async |id: &str| {
            let request = eve.client.request(method.clone(), &template.replace("{id}", id));
            Reply::of(body.iter().fold(request, |request, body| request.json(body))).await
        };
        let theirs = ask(id).await;
        let unknown = ask("0199c0de-0000-7000-8000-000000000000").await;
        assert_eq!(
            alike(&theirs),
            alike(&unknown),
            "{method} {template} tells that the id exists"
        );
        assert_eq!(
            theirs.status,
            if template.contains("admin") { 403 } else { 404 },
            "{method} {template}: {theirs}"
        );
        let none = ask("no-id").await;
        assert!(matches!(none.status, 403 | 404), "{method} {template}: {none}");
    }
    let content = ada
        .client
        .get(&format!("/v1/files/{file}/content"))
        .await
        .expect_status(200);
    assert_eq!(content.body, b"mine");
    let me = ada.client.get("/v1/me").await.expect_status(200).json();
    assert_eq!(
        (me["tier"].as_str(), me["disabled"].as_bool()),
        (Some("free"), Some(false))
    );

    // Lists and histories are one's own.
    let files = eve.client.get("/v1/files").await.expect_status(200).json();
    assert_eq!(files["items"], json!([]));
    // Eve was welcomed herself.
    let mails = eve.client.get("/v1/mail").await.expect_status(200).json();
    let mails = mails["items"].as_array().expect("a page").clone();
    assert!(mails.iter().all(|mail| mail["to"] == eve.email.as_str()), "{mails:?}");
    let history = eve.client.get("/v1/events?wait=10").await.expect_status(200).json();
    let foreign = history["items"]
        .as_array()
        .expect("items")
        .iter()
        .find(|event| event["userid"] != eve.id.as_str());
    assert_eq!(foreign, None);
}

async fn paths_and_methods(backing: Backing) {
    let site = Site::start(backing).await;
    let (visitor, ada) = (site.client(), site.person("ada").await);
    for path in [
        "/nothing",
        "/v1",
        "/v1/",
        "/v1/files/",
        "/v1/auth/login/",
        "/v1/files/no-id",
        "/v1/%2f/me",
    ] {
        let reply = ada.client.get(path).await;
        let _ = reply.expect_problem(404, "not_found");
    }
    // A client library would tidy these up before it sent them.
    for path in [
        "/v1/files/../me",
        "/v1/files/..%2f..%2fme/content",
        "//v1/me",
        "/../../etc/passwd",
    ] {
        let token = ada.client.token().expect("signed in");
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n");
        let answer = exchange(site.server.http(), request.as_bytes(), PATIENCE).await;
        assert!(
            answer.starts_with("HTTP/1.1 404 ") && answer.contains("not_found"),
            "{path}: {answer}"
        );
    }
    for (method, path, allow) in [
        (Method::DELETE, "/v1/auth/login", "POST, OPTIONS"),
        (Method::GET, "/v1/auth/login", "POST, OPTIONS"),
        (Method::PUT, "/v1/me", "GET, HEAD, PATCH, OPTIONS"),
        (Method::POST, "/openapi.json", "GET, HEAD, OPTIONS"),
    ] {
        let reply = Reply::of(visitor.request(method.clone(), path))
            .await
            .expect_problem(405, "method_not_allowed");
        assert_eq!(reply.header("allow"), allow, "{method} {path}");
    }
    for path in ["/v1/me", "/v1/auth/whoami", "/v1/files", "/v1/events", "/v1/mail"] {
        let refused = visitor.get(path).await.expect_problem(401, "token_missing");
        assert_eq!(refused.header("www-authenticate"), "Bearer realm=\"plinth\"");
        let _ = visitor
            .with_token("v4.public.nonsense")
            .get(path)
            .await
            .expect_problem(401, "token_invalid");
    }
    for path in ["/v1/me", "/openapi.json", "/.well-known/paseto-keys"] {
        let get = ada.client.get(path).await.expect_status(200);
        let head = Reply::of(ada.client.request(Method::HEAD, path))
            .await
            .expect_status(200);
        assert_eq!(
            (head.body.len(), head.header("content-length")),
            (0, get.body.len().to_string().as_str()),
            "{path}"
        );
        assert_eq!(head.header("content-type"), get.header("content-type"));
        assert_eq!(get.header("x-content-type-options"), "nosniff");
        assert!(!get.header("x-request-id").is_empty());
    }
}

async fn requests_byte_by_byte(backing: Backing) {
    let change = |setup: plinth_tests::server::Setup| {
        setup
            .env("PLINTH_HTTP_HEADER_TIMEOUT", "300ms")
            .env("PLINTH_HTTP_BODY_STALL_TIMEOUT", "300ms")
    };
    let site = Site::start_with(backing, change).await;
    let ask = async |request: &str| exchange(site.server.http(), request.as_bytes(), PATIENCE).await;

    for request in [
        "GET /v1/me HTTP/1.1\r\nConnection: close\r\n\r\n",
        "GET /v1/me HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n",
        "GET /v1/me HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n",
    ] {
        let answer = ask(request).await;
        assert!(
            answer.starts_with("HTTP/1.1 400 ") && answer.contains("host_invalid"),
            "{request}: {answer}"
        );
    }
    assert!(ask("nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400 "));

    // A head that never ends is not waited for, a body that stalls neither.
    let silent = exchange(site.server.http(), b"GET /v1/me HTTP/1.1\r\nHos", PATIENCE).await;
    assert!(silent.is_empty() || silent.starts_with("HTTP/1.1 408"), "{silent}");
    let head = "POST /v1/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let stalled = ask(&format!("{head}Content-Length: 400\r\n\r\n{{\"email\":")).await;
    assert!(
        stalled.starts_with("HTTP/1.1 408 ") && stalled.contains("request_timeout"),
        "{stalled}"
    );

    // Announced or not, too much is too much; what is announced is refused before it is sent.
    let announced = ask(&format!(
        "{head}Content-Length: 99999999\r\nExpect: 100-continue\r\n\r\n"
    ))
    .await;
    assert!(
        announced.starts_with("HTTP/1.1 413 ") && announced.contains("payload_too_large"),
        "{announced}"
    );
    let chunk = "a".repeat(64 * 1024);
    let chunks = format!("10000\r\n{chunk}\r\n").repeat(17);
    let chunked = ask(&format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}")).await;
    assert!(
        chunked.starts_with("HTTP/1.1 413 ") && chunked.contains("payload_too_large"),
        "{chunked}"
    );
    let _ = site.client().get("/openapi.json").await.expect_status(200);
}

async fn keys_make_repetition_safe(backing: Backing) {
    let site = Site::start(backing).await;
    let (ada, eve) = (site.person("ada").await, site.person("eve").await);
    let event = json!({ "type": "app.order.placed", "data": { "order": 1 } });
    let first = ada
        .client
        .post_once("/v1/events", "order-1", &event)
        .await
        .expect_status(201);
    assert_eq!(first.header("idempotency-replayed"), "");
    let again = ada
        .client
        .post_once("/v1/events", "order-1", &event)
        .await
        .expect_status(201);
    assert_eq!(
        (again.header("idempotency-replayed"), again.json()),
        ("true", first.json())
    );
    let other = json!({ "type": "app.order.placed", "data": { "order": 2 } });
    let reused = ada.client.post_once("/v1/events", "order-1", &other).await;
    let _ = reused.expect_problem(422, "idempotency_key_reused");
    // A key belongs to its user and its route.
    let hers = eve
        .client
        .post_once("/v1/events", "order-1", &event)
        .await
        .expect_status(201);
    assert_ne!(hers.json(), first.json());
    let batch = json!({ "events": [event] });
    let _ = ada
        .client
        .post_once("/v1/events/batch", "order-1", &batch)
        .await
        .expect_status(201);
    for key in ["", &"k".repeat(256)] {
        let refused = ada.client.post_once("/v1/events", key, &event).await;
        let _ = refused.expect_problem(422, "validation_failed");
    }
    // A refused request gives its key back.
    let wrong = json!({ "type": "user.registered", "data": 1 });
    let _ = ada
        .client
        .post_once("/v1/events", "order-3", &wrong)
        .await
        .expect_problem(422, "validation_failed");
    let _ = ada
        .client
        .post_once("/v1/events", "order-3", &event)
        .await
        .expect_status(201);

    // Many at once: one is carried out.
    let mut at_once = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let (client, event) = (ada.client.clone(), event.clone());
        at_once.spawn(async move { client.post_once("/v1/events", "order-4", &event).await });
    }
    let mut ids = std::collections::BTreeSet::new();
    while let Some(reply) = at_once.join_next().await {
        let reply = reply.expect("no panic");
        if reply.status == 409 {
            let _ = reply.expect_problem(409, "idempotency_in_flight");
        } else {
            ids.insert(reply.expect_status(201).string("/id"));
        }
    }
    assert_eq!(ids.len(), 1, "{ids:?}");
    let rows = Rows::of(&site).await;
    assert_eq!(
        rows.number("SELECT count(*) FROM events WHERE type = 'app.order.placed'")
            .await,
        5
    );
}

async fn a_batch_is_all_or_nothing(backing: Backing) {
    let site = Site::start(backing).await;
    let ada = site.person("ada").await;
    let event = |number: usize| json!({ "type": "app.counted", "data": number });
    let post = async |events: Vec<Value>| ada.client.post("/v1/events/batch", &json!({ "events": events })).await;
    let with = |at: usize, wrong: Value| {
        let mut events: Vec<Value> = (0..5).map(event).collect();
        events[at] = wrong;
        events
    };
    let large = "x".repeat(64 * 1024);
    for (wrong, pointer, code) in [
        (
            json!({ "type": "user.registered", "data": SECRET }),
            "#/events/3/type",
            "prefix",
        ),
        (json!({ "type": SECRET, "data": 1 }), "#/events/3/type", "format"),
        (
            json!({ "type": "app.counted", "data": large }),
            "#/events/3/data",
            "length",
        ),
        (json!({ "type": "app.counted" }), "#/events/3/data", "required"),
        (
            json!({ "type": "app.counted", "data": 1, "user": SECRET }),
            "#/events/3/user",
            "unknown_field",
        ),
        (
            json!({ "type": "app.counted", "data": 1, "subject": "a\nb" }),
            "#/events/3/subject",
            "length",
        ),
        (
            json!({ "type": "app.counted", "data": 1, "id": SECRET }),
            "#/events/3/id",
            "format",
        ),
    ] {
        let refused = post(with(3, wrong)).await.expect_problem(422, "validation_failed");
        assert_refused(&refused, pointer, code);
        assert_no_echo(&refused);
    }
    for events in [Vec::new(), (0..1_001).map(event).collect()] {
        let refused = post(events).await.expect_problem(422, "validation_failed");
        assert_refused(&refused, "#/events", "length");
    }
    let rows = Rows::of(&site).await;
    assert_eq!(
        rows.number("SELECT count(*) FROM events WHERE type LIKE 'app.%'").await,
        0,
        "not even the good ones"
    );

    let before = ada
        .client
        .get("/v1/events?wait=10")
        .await
        .expect_status(200)
        .string("/next_cursor");
    let ids = post((0..200).map(event).collect()).await.expect_status(201).json()["ids"].clone();
    let seen = eventually("all have their position", async || {
        let page = ada
            .client
            .get(&format!("/v1/events?after={before}&limit=200"))
            .await
            .expect_status(200)
            .json();
        let ids: Vec<Value> = page["items"]
            .as_array()?
            .iter()
            .map(|item| item["id"].clone())
            .collect();
        Some(ids).filter(|ids| ids.len() == 200)
    });
    assert_eq!(json!(seen.await), ids, "in the order of the request");
}

async fn publishing_what_may_not_be(backing: Backing) {
    let site = Site::start(backing).await;
    let (ada, eve) = (site.person("ada").await, site.person("eve").await);
    for kind in [
        "user.registered",
        "file.uploaded",
        "other.thing",
        "app.",
        "app",
        "App.Order",
        "app..x",
        "application.x",
    ] {
        let refused = ada.client.post("/v1/events", &json!({ "type": kind, "data": 1 })).await;
        let refused = refused.expect_problem(422, "validation_failed");
        assert_eq!(refused_parts(&refused)[0].0, "#/type", "{kind}");
    }
    // The client's own id: the same content is the same event, another content a conflict.
    let id = uuid::Uuid::now_v7().to_string();
    let event = json!({ "id": id, "type": "app.order.placed", "data": { "order": 1 } });
    for _ in 0..2 {
        assert_eq!(
            ada.client
                .post("/v1/events", &event)
                .await
                .expect_status(201)
                .string("/id"),
            id
        );
    }
    let other = json!({ "id": id, "type": "app.order.placed", "data": { "order": 2 } });
    let _ = ada
        .client
        .post("/v1/events", &other)
        .await
        .expect_problem(409, "conflict");
    let _ = eve
        .client
        .post("/v1/events", &event)
        .await
        .expect_problem(409, "conflict");
    let rows = Rows::of(&site).await;
    assert_eq!(
        rows.number("SELECT count(*) FROM events WHERE type LIKE 'app.%'").await,
        1
    );

    // A sixth stream of one user is one too many; a closed one makes room.
    let mut streams = Vec::new();
    for _ in 0..5 {
        streams.push(ada.client.stream("/v1/events/stream", None).await);
    }
    let refused = Reply::of(ada.client.request(Method::GET, "/v1/events/stream")).await;
    let refused = refused.expect_problem(429, "rate_limited");
    assert!(
        refused
            .header("retry-after")
            .parse::<u64>()
            .is_ok_and(|seconds| seconds > 0)
    );
    drop(eve.client.stream("/v1/events/stream", None).await);
    drop(streams.pop());
    eventually("there is room again", async || {
        let request = ada
            .client
            .request(Method::GET, "/v1/events/stream")
            .timeout(Duration::from_secs(10));
        request.send().await.ok().filter(|answer| answer.status() == 200)
    })
    .await;
}
