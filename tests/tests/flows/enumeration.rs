//! Nobody learns from an answer whether an address has an account: status, body, headers and time are alike.

use std::time::Duration;

use plinth_tests::site::{Backing, PASSWORD, Site, new_address, sign_up_body};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::tools::alike;

plinth_tests::on_both!(
    answers_are_alike,
    a_wrong_password_takes_as_long_as_an_unknown_address,
    a_strangers_sign_up_keeps_no_password,
    the_same_sign_up_twice_keeps_its_password,
);

async fn answers_are_alike(backing: Backing) {
    let site = Site::start(backing).await;
    let known = site.person("known").await;
    let pending = new_address("pending");
    let visitor = site.client();
    let _ = visitor
        .post("/v1/auth/register", &sign_up_body(&pending, PASSWORD))
        .await
        .expect_status(202);
    let unknown = new_address("unknown");

    let requests: [(&str, fn(&str) -> Value); 4] = [
        (
            "/v1/auth/login",
            |email| json!({ "email": email, "password": "surely not the password" }),
        ),
        ("/v1/auth/password/forgot", |email| json!({ "email": email })),
        ("/v1/auth/verify/resend", |email| json!({ "email": email })),
        ("/v1/auth/register", |email| {
            sign_up_body(email, "somebody else's long password")
        }),
    ];
    for (path, body) in requests {
        let stranger = visitor.post(path, &body(&unknown)).await;
        for email in [&known.email, &pending, &known.email.to_uppercase()] {
            let reply = visitor.post(path, &body(email)).await;
            assert_eq!(alike(&reply), alike(&stranger), "{path} tells about {email}");
        }
    }

    // The owner is told, and the password of the sign-up in their name opens nothing.
    let mail = site.outbox().wait_for(&known.email, "already").await;
    assert!(
        !mail.body.contains("token="),
        "a sign-up with a taken address gets no token: {}",
        mail.body
    );
    let login = json!({ "email": known.email, "password": PASSWORD });
    let _ = visitor.post("/v1/auth/login", &login).await.expect_status(200);
}

/// Whoever signs up with a stranger's address must not keep a password on it once the stranger signs up too.
async fn a_strangers_sign_up_keeps_no_password(backing: Backing) {
    let site = Site::start(backing).await;
    let (visitor, email) = (site.client(), new_address("victim"));
    let attackers = "the password of the attacker";
    let _ = visitor
        .post("/v1/auth/register", &sign_up_body(&email, attackers))
        .await
        .expect_status(202);
    let first = site.outbox().wait_for(&email, "token=").await;
    let _ = visitor
        .post("/v1/auth/register", &sign_up_body(&email, PASSWORD))
        .await
        .expect_status(202);
    let login = async |password: &str| {
        visitor
            .post("/v1/auth/login", &json!({ "email": email, "password": password }))
            .await
    };
    // Within a minute of the first mail there is no second one, so the only link is that of the attacker's sign-up.
    let _ = login(PASSWORD).await.expect_problem(401, "email_unverified");
    let _ = login(attackers).await.expect_problem(401, "invalid_credentials");
    let _ = visitor
        .post("/v1/auth/verify", &json!({ "token": first.token() }))
        .await
        .expect_status(204);
    // The click proved the mailbox and nobody's password: the mailbox chooses one now.
    for password in [attackers, PASSWORD] {
        let _ = login(password).await.expect_problem(401, "invalid_credentials");
    }
    let link = site.outbox().wait_for(&email, "/reset?token=").await;
    let chosen = "a password that the owner chose";
    let _ = visitor
        .post(
            "/v1/auth/password/reset",
            &json!({ "token": link.token(), "password": chosen }),
        )
        .await
        .expect_status(204);
    let _ = login(attackers).await.expect_problem(401, "invalid_credentials");
    let _ = login(chosen).await.expect_status(200);
}

/// A second click on "sign up" is no contest: the password that was typed twice is the account's.
async fn the_same_sign_up_twice_keeps_its_password(backing: Backing) {
    let site = Site::start(backing).await;
    let (visitor, email) = (site.client(), new_address("twice"));
    for _ in 0..2 {
        let _ = visitor
            .post("/v1/auth/register", &sign_up_body(&email, PASSWORD))
            .await
            .expect_status(202);
    }
    let token = site.outbox().wait_for(&email, "token=").await.token();
    let _ = visitor
        .post("/v1/auth/verify", &json!({ "token": token }))
        .await
        .expect_status(204);
    let login = json!({ "email": email, "password": PASSWORD });
    let _ = visitor.post("/v1/auth/login", &login).await.expect_status(200);
}

async fn a_wrong_password_takes_as_long_as_an_unknown_address(backing: Backing) {
    // A cost at which the hash is most of the time that an answer takes.
    let site = Site::start_with(backing, |setup| setup.env("PLINTH_AUTH_BCRYPT_COST", "10")).await;
    let known = site.person("known").await;
    let visitor = site.client();
    let time = async |email: &str| {
        let begun = Instant::now();
        let body = json!({ "email": email, "password": "surely not the password" });
        let _ = visitor
            .post("/v1/auth/login", &body)
            .await
            .expect_problem(401, "invalid_credentials");
        begun.elapsed()
    };
    let (mut of_known, mut of_unknown) = (Vec::new(), Vec::new());
    for _ in 0..7 {
        of_known.push(time(&known.email).await);
        of_unknown.push(time(&new_address("unknown")).await);
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    let (known, unknown) = (median(&mut of_known), median(&mut of_unknown));
    // Without a dummy hash they would lie a factor of ten and more apart.
    assert!(
        unknown * 3 > known && known * 3 > unknown,
        "known {known:?}, unknown {unknown:?}"
    );
}
