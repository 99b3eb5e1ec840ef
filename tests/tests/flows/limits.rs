//! Limits, which all other flows run without: guesses, floods, mails, rates of a plan, the queue of hashes.

use plinth_tests::api::{Client, Reply};
use plinth_tests::server::Setup;
use plinth_tests::site::{Backing, PASSWORD, Site, new_address, sign_up_body};
use serde_json::json;
use tokio::task::JoinSet;

use crate::rows::Rows;
use crate::tools::alike;

plinth_tests::on_both!(
    guesses_are_slowed,
    an_address_gets_one_mail_a_minute,
    a_plan_has_its_rates,
    a_flood_of_hashes_is_shed,
);

async fn limited(backing: Backing, change: impl FnOnce(Setup) -> Setup) -> Site {
    Site::start_with(backing, |setup| change(setup.env("PLINTH_LIMITS_ENABLED", "true"))).await
}

fn assert_wait(reply: &Reply) {
    let wait: u64 = reply.header("retry-after").parse().expect("seconds to wait");
    assert!(wait >= 1, "{reply}");
    assert_eq!(reply.json()["retry_after"], wait);
}

async fn login(client: &Client, email: &str, password: &str) -> Reply {
    client
        .post("/v1/auth/login", &json!({ "email": email, "password": password }))
        .await
}

async fn guesses_are_slowed(backing: Backing) {
    let site = limited(backing, |setup| setup).await;
    let (visitor, ada, unknown) = (site.client(), site.person("ada").await, new_address("unknown"));
    let mut refusals = Vec::new();
    for email in [&ada.email, &unknown] {
        let mut guesses = 0;
        let refused = loop {
            let reply = login(&visitor, email, "a guess and nothing more").await;
            if reply.status != 401 {
                break reply.expect_problem(429, "rate_limited");
            }
            guesses += 1;
            assert!(guesses < 20, "nobody stops it");
        };
        assert!(guesses >= 8, "a few mistakes are no guessing: {guesses}");
        assert_wait(&refused);
        refusals.push(refused);
    }
    let shape = |reply: &Reply| {
        (
            alike(reply).0,
            reply.json()["code"].clone(),
            reply.headers.keys().cloned().collect::<Vec<_>>(),
        )
    };
    assert_eq!(
        shape(&refusals[0]),
        shape(&refusals[1]),
        "the limit tells nothing about accounts"
    );
    // Who is signed in already stays so.
    let _ = ada.client.get("/v1/me").await.expect_status(200);
}

async fn an_address_gets_one_mail_a_minute(backing: Backing) {
    let site = limited(backing, |setup| setup).await;
    let (visitor, ada) = (site.client(), site.person("ada").await);
    let fresh = new_address("fresh");
    for _ in 0..3 {
        let _ = visitor
            .post("/v1/auth/password/forgot", &json!({ "email": ada.email }))
            .await
            .expect_status(202);
        let _ = visitor
            .post("/v1/auth/register", &sign_up_body(&fresh, PASSWORD))
            .await
            .expect_status(202);
        let _ = visitor
            .post("/v1/auth/verify/resend", &json!({ "email": fresh }))
            .await
            .expect_status(202);
    }
    let rows = Rows::of(&site).await;
    for (template, email) in [("reset_password", &ada.email), ("verify_email", &fresh)] {
        let mails = format!("SELECT count(*) FROM mails WHERE template = '{template}' AND recipient = '{email}'");
        assert_eq!(rows.number(&mails).await, 1, "{template}");
    }
}

async fn a_plan_has_its_rates(backing: Backing) {
    let change = |setup: Setup| {
        setup
            .env("PLINTH_TIERS_FREE_REQUESTS_PER_MINUTE", "20")
            .env("PLINTH_TIERS_FREE_EVENTS_PER_MINUTE", "10")
    };
    let site = limited(backing, change).await;
    let (ada, eve) = (site.person("ada").await, site.person("eve").await);
    let events = |count: usize| {
        let events: Vec<_> = (0..count)
            .map(|number| json!({ "type": "app.counted", "data": number }))
            .collect();
        json!({ "events": events })
    };
    let _ = ada.client.post("/v1/events/batch", &events(9)).await.expect_status(201);
    let refused = ada
        .client
        .post("/v1/events/batch", &events(9))
        .await
        .expect_problem(429, "rate_limited");
    assert_wait(&refused);
    let rows = Rows::of(&site).await;
    assert_eq!(
        rows.number("SELECT count(*) FROM events WHERE type = 'app.counted'")
            .await,
        9
    );

    let mut asked = 0;
    let refused = loop {
        let reply = ada.client.get("/v1/auth/whoami").await;
        if reply.status != 200 {
            break reply.expect_problem(429, "rate_limited");
        }
        asked += 1;
        assert!(asked <= 20, "nobody stops it");
    };
    assert_wait(&refused);
    let _ = eve.client.get("/v1/auth/whoami").await.expect_status(200);
}

async fn a_flood_of_hashes_is_shed(backing: Backing) {
    let change = |setup: Setup| {
        setup
            .env("PLINTH_AUTH_HASH_THREADS", "1")
            .env("PLINTH_AUTH_HASH_QUEUE", "8")
            .env("PLINTH_AUTH_BCRYPT_COST", "11")
    };
    let site = Site::start_with(backing, change).await;
    let mut flood = JoinSet::new();
    for number in 0..24 {
        let client = site.client();
        flood.spawn(async move { login(&client, &format!("u{number}@example.org"), "a guess and nothing more").await });
    }
    // The rest of the server goes on meanwhile.
    let _ = site.client().get("/.well-known/paseto-keys").await.expect_status(200);
    let (mut refused, mut shed) = (0, 0);
    while let Some(reply) = flood.join_next().await {
        let reply = reply.expect("no panic");
        if reply.status == 503 {
            assert_wait(&reply.expect_problem(503, "overloaded"));
            shed += 1;
        } else {
            let _ = reply.expect_problem(401, "invalid_credentials");
            refused += 1;
        }
    }
    assert!(shed > 0 && refused > 0, "{shed} shed, {refused} answered");
    let _ = login(&site.client(), "calm@example.org", "a guess and nothing more")
        .await
        .expect_problem(401, "invalid_credentials");
}
