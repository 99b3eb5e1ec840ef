//! Sessions: rotation and reuse of refresh tokens, signing out in its three ways, the list, new passwords.

use plinth_tests::api::{Client, Reply};
use plinth_tests::site::{Backing, PASSWORD, Person, Site, new_address, sign_in, sign_up_body};
use serde_json::{Value, json};

use crate::rows::Rows;
use crate::tools::{assert_refused, eventually};

plinth_tests::on_both!(
    refresh_tokens_rotate,
    a_second_use_ends_the_session,
    sign_out_in_three_ways,
    sessions_are_listed_and_ended,
    a_forgotten_password_is_reset,
    a_changed_password_ends_the_others,
    what_is_over_is_over,
    nothing_usable_is_stored,
);

const NEW_PASSWORD: &str = "four brass kettles in a green canoe";

async fn refresh(client: &Client, token: &str) -> Reply {
    client
        .post("/v1/auth/refresh", &json!({ "refresh_token": token }))
        .await
}

async fn whoami(client: &Client) -> Reply {
    client.get("/v1/auth/whoami").await
}

async fn refresh_tokens_rotate(backing: Backing) {
    let site = Site::start(backing).await;
    let ada = site.person("ada").await;
    let visitor = site.client();
    let first = refresh(&visitor, &ada.refresh_token).await.expect_status(200);
    let child = first.string("/refresh_token");
    assert_ne!(child, ada.refresh_token);
    assert_eq!(first.string("/session_id"), ada.session_id);
    assert_eq!(first.json()["token_type"], "Bearer");
    let life = first.json()["expires_in"].as_u64().expect("seconds");
    assert!(
        (895..=900).contains(&life),
        "15 minutes, counted from the last whole second: {life}"
    );

    // Two tabs at once, or an answer that was lost: the same child again, and everything still works.
    let second = refresh(&visitor, &ada.refresh_token).await.expect_status(200);
    assert_eq!(second.string("/refresh_token"), child);
    for client in [&ada.client, &ada.client.with_token(second.string("/access_token"))] {
        let _ = whoami(client).await.expect_status(200);
    }
    let grandchild = refresh(&visitor, &child)
        .await
        .expect_status(200)
        .string("/refresh_token");
    assert_ne!(grandchild, child);

    // What is not ours ends nothing.
    let mut forged = grandchild.clone();
    let last = forged.pop().expect("a character");
    forged.push(if last == 'A' { 'E' } else { 'A' });
    for wrong in [forged.as_str(), "plr_nothing", "", &grandchild[..20]] {
        let _ = refresh(&visitor, wrong).await.expect_problem(401, "token_invalid");
    }
    let _ = refresh(&visitor, &grandchild).await.expect_status(200);
    let _ = whoami(&ada.client).await.expect_status(200);
}

async fn a_second_use_ends_the_session(backing: Backing) {
    let site = Site::start(backing).await;
    let ada = site.person("ada").await;
    let elsewhere = sign_in(&site.client(), &ada.email, PASSWORD).await;
    let visitor = site.client();
    let child = refresh(&visitor, &ada.refresh_token)
        .await
        .expect_status(200)
        .string("/refresh_token");
    let newest = refresh(&visitor, &child).await.expect_status(200);

    // The grandparent: somebody kept a copy.
    let _ = refresh(&visitor, &ada.refresh_token)
        .await
        .expect_problem(401, "session_ended");
    let _ = refresh(&visitor, &newest.string("/refresh_token"))
        .await
        .expect_problem(401, "session_ended");
    for token in [
        newest.string("/access_token"),
        ada.client.token().expect("signed in").to_owned(),
    ] {
        let _ = whoami(&ada.client.with_token(token))
            .await
            .expect_problem(401, "session_ended");
    }
    let _ = whoami(&elsewhere.client).await.expect_status(200);
    eventually("the reuse is told", async || {
        let history = elsewhere
            .client
            .get("/v1/events?limit=200")
            .await
            .expect_status(200)
            .json();
        let found = history["items"]
            .as_array()?
            .iter()
            .find(|event| event["type"] == "session.refresh_reused")?;
        (found["data"]["session_id"] == ada.session_id.as_str()).then_some(())
    })
    .await;
}

async fn sign_out_in_three_ways(backing: Backing) {
    let site = Site::start(backing).await;
    let one = site.person("ada").await;
    let visitor = site.client();
    let two = sign_in(&visitor, &one.email, PASSWORD).await;
    let three = sign_in(&visitor, &one.email, PASSWORD).await;
    let logout = async |person: &Person, scope: &str| {
        person
            .client
            .post("/v1/auth/logout", &json!({ "scope": scope }))
            .await
            .expect_status(204)
    };

    let _ = logout(&one, "this").await;
    let _ = whoami(&one.client).await.expect_problem(401, "session_ended");
    let _ = whoami(&two.client).await.expect_status(200);

    let four = sign_in(&visitor, &one.email, PASSWORD).await;
    let _ = logout(&two, "others").await;
    let _ = whoami(&two.client).await.expect_status(200);
    for ended in [&three, &four] {
        let _ = whoami(&ended.client).await.expect_problem(401, "session_ended");
        let _ = refresh(&visitor, &ended.refresh_token)
            .await
            .expect_problem(401, "session_ended");
    }

    // A client whose access token is over still signs out, by its refresh token.
    let five = sign_in(&visitor, &one.email, PASSWORD).await;
    let current = refresh(&visitor, &five.refresh_token)
        .await
        .expect_status(200)
        .string("/refresh_token");
    let newest = refresh(&visitor, &current)
        .await
        .expect_status(200)
        .string("/refresh_token");
    // A copy that was used before and whose child was used too ends nothing.
    let stale = json!({ "scope": "all", "refresh_token": five.refresh_token });
    let _ = visitor
        .post("/v1/auth/logout", &stale)
        .await
        .expect_problem(401, "token_invalid");
    let body = json!({ "scope": "this", "refresh_token": newest });
    let _ = visitor.post("/v1/auth/logout", &body).await.expect_status(204);
    let _ = whoami(&five.client).await.expect_problem(401, "session_ended");
    let _ = visitor
        .post("/v1/auth/logout", &json!({ "scope": "this" }))
        .await
        .expect_problem(401, "token_missing");

    let _ = logout(&two, "all").await;
    let _ = whoami(&two.client).await.expect_problem(401, "session_ended");
    let refused = two.client.post("/v1/auth/logout", &json!({ "scope": "none" })).await;
    assert_refused(&refused.expect_problem(422, "validation_failed"), "#/scope", "enum");
}

async fn sessions_are_listed_and_ended(backing: Backing) {
    let site = Site::start(backing).await;
    let one = site.person("ada").await;
    let two = sign_in(&site.client(), &one.email, PASSWORD).await;
    let listed = |page: Value| -> Vec<(String, bool)> {
        let items = page["items"].as_array().expect("items").clone();
        items
            .iter()
            .map(|s| (s["id"].as_str().expect("an id").to_owned(), s["current"] == true))
            .collect()
    };
    let page = two.client.get("/v1/me/sessions").await.expect_status(200).json();
    assert_eq!(page["items"][0]["methods"], json!(["pwd"]));
    assert_eq!(
        listed(page),
        [(two.session_id.clone(), true), (one.session_id.clone(), false)],
        "newest first"
    );

    let path = format!("/v1/me/sessions/{}", one.session_id);
    let _ = two.client.delete(&path).await.expect_status(204);
    let _ = whoami(&one.client).await.expect_problem(401, "session_ended");
    let _ = two.client.delete(&path).await.expect_problem(404, "not_found");
    let page = two.client.get("/v1/me/sessions").await.expect_status(200).json();
    assert_eq!(listed(page), [(two.session_id.clone(), true)]);
    for limit in ["0", "201"] {
        let refused = two.client.get(&format!("/v1/me/sessions?limit={limit}")).await;
        assert_refused(
            &refused.expect_problem(422, "validation_failed"),
            "#/parameters/limit",
            "range",
        );
    }
    let refused = two.client.get("/v1/me/sessions?after=nonsense").await;
    assert_refused(
        &refused.expect_problem(422, "validation_failed"),
        "#/parameters/after",
        "cursor",
    );
}

async fn a_forgotten_password_is_reset(backing: Backing) {
    let site = Site::start(backing).await;
    let ada = site.person("ada").await;
    let visitor = site.client();
    let _ = visitor
        .post("/v1/auth/password/forgot", &json!({ "email": ada.email }))
        .await
        .expect_status(202);
    let mail = site.outbox().wait_for(&ada.email, "reset").await;
    let page = visitor.get(&mail.link()).await.expect_status(200);
    assert!(page.header("content-type").starts_with("text/html"));

    let reset = async |password: &str| {
        let body = json!({ "token": mail.token(), "password": password });
        visitor.post("/v1/auth/password/reset", &body).await
    };
    let weak = reset("passwordpassword").await.expect_problem(422, "validation_failed");
    assert_refused(&weak, "#/password", "too_guessable");
    let _ = whoami(&ada.client).await.expect_status(200);

    let _ = reset(NEW_PASSWORD).await.expect_status(204);
    let _ = whoami(&ada.client).await.expect_problem(401, "session_ended");
    let _ = refresh(&visitor, &ada.refresh_token)
        .await
        .expect_problem(401, "session_ended");
    let _ = reset("nine other words that nobody guesses")
        .await
        .expect_problem(422, "token_invalid");
    let login = async |password: &str| {
        visitor
            .post("/v1/auth/login", &json!({ "email": ada.email, "password": password }))
            .await
    };
    let _ = login(PASSWORD).await.expect_problem(401, "invalid_credentials");
    let _ = login(NEW_PASSWORD).await.expect_status(200);
    let noticed = site.outbox().wait_for(&ada.email, "was changed").await;
    assert!(
        !noticed.body.contains("token="),
        "the notice has no link that changes anything"
    );
}

async fn a_changed_password_ends_the_others(backing: Backing) {
    let site = Site::start(backing).await;
    let ada = site.person("ada").await;
    let other = sign_in(&site.client(), &ada.email, PASSWORD).await;
    let change = async |current: &str, new: &str| {
        ada.client
            .post(
                "/v1/me/password",
                &json!({ "current_password": current, "password": new }),
            )
            .await
    };
    let wrong = change("not the current one", NEW_PASSWORD)
        .await
        .expect_problem(422, "validation_failed");
    assert_refused(&wrong, "#/current_password", "wrong");
    let short = change(PASSWORD, "short").await.expect_problem(422, "validation_failed");
    assert_refused(&short, "#/password", "too_short");
    let _ = whoami(&other.client).await.expect_status(200);

    let _ = change(PASSWORD, NEW_PASSWORD).await.expect_status(204);
    let _ = whoami(&ada.client).await.expect_status(200);
    let _ = whoami(&other.client).await.expect_problem(401, "session_ended");
    let _ = sign_in(&site.client(), &ada.email, NEW_PASSWORD).await;
}

/// Time passes in the database alone: what would be old by then is made old.
async fn what_is_over_is_over(backing: Backing) {
    let site = Site::start(backing).await;
    let ada = site.person("ada").await;
    let (visitor, rows, late) = (site.client(), Rows::of(&site).await, new_address("late"));
    let _ = visitor
        .post("/v1/auth/register", &sign_up_body(&late, PASSWORD))
        .await
        .expect_status(202);
    let _ = visitor
        .post("/v1/auth/password/forgot", &json!({ "email": ada.email }))
        .await
        .expect_status(202);
    let verify = site.outbox().wait_for(&late, "token=").await.token();
    let reset = site.outbox().wait_for(&ada.email, "reset").await.token();
    rows.change("UPDATE one_time_tokens SET expires_at = 1").await;

    let _ = visitor
        .post("/v1/auth/verify", &json!({ "token": verify }))
        .await
        .expect_problem(422, "token_invalid");
    let body = json!({ "token": reset, "password": NEW_PASSWORD });
    let _ = visitor
        .post("/v1/auth/password/reset", &body)
        .await
        .expect_problem(422, "token_invalid");
    // A token of one purpose is none of another.
    let body = json!({ "token": verify, "password": NEW_PASSWORD });
    let _ = visitor
        .post("/v1/auth/password/reset", &body)
        .await
        .expect_problem(422, "token_invalid");
    assert_eq!(rows.number("SELECT count(*) FROM users").await, 1);

    // Eight days unused, and ninety-one days of use.
    let other = sign_in(&visitor, &ada.email, PASSWORD).await;
    let _ = refresh(&visitor, &other.refresh_token).await.expect_status(200);
    rows.change("UPDATE sessions SET last_used_at = last_used_at - 691200000000")
        .await;
    let _ = refresh(&visitor, &ada.refresh_token)
        .await
        .expect_problem(401, "session_ended");
    let kept = sign_in(&visitor, &ada.email, PASSWORD).await;
    rows.change("UPDATE sessions SET created_at = created_at - 7862400000000")
        .await;
    let _ = refresh(&visitor, &kept.refresh_token)
        .await
        .expect_problem(401, "session_ended");
}

async fn nothing_usable_is_stored(backing: Backing) {
    let site = Site::start(backing).await;
    let ada = site.person("ada").await;
    let _ = site
        .client()
        .post("/v1/auth/password/forgot", &json!({ "email": ada.email }))
        .await
        .expect_status(202);
    let token = site.outbox().wait_for(&ada.email, "reset").await.token();
    let rows = Rows::of(&site).await;
    let hashes = rows
        .texts("SELECT password_hash FROM users UNION ALL SELECT password_hash FROM registrations")
        .await;
    assert!(
        hashes.len() >= 2 && hashes.iter().all(|hash| hash.starts_with("$2")),
        "{hashes:?}"
    );
    eventually("the seal goes with the hand-over", async || {
        (rows
            .number("SELECT count(*) FROM mails WHERE sealed_token IS NOT NULL")
            .await
            == 0)
            .then_some(())
    })
    .await;

    let secrets = [
        token.as_str(),
        &ada.refresh_token,
        ada.client.token().expect("signed in"),
        PASSWORD,
    ];
    for text in rows
        .texts("SELECT data FROM events")
        .await
        .iter()
        .chain(&rows.texts("SELECT data FROM mails").await)
    {
        assert!(secrets.iter().all(|secret| !text.contains(secret)), "{text}");
        assert!(!text.contains("example.org"), "an address in {text}");
    }
    let said = site.server.stderr();
    // The link of a mail may be in the log: on a loopback bind without a mail server that is how it is found.
    assert!(
        secrets[1..].iter().all(|secret| !said.contains(secret)),
        "a secret is logged"
    );
}
