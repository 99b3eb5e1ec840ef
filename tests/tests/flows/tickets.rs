//! Streams for clients that cannot send a header: an address that opens one, once.

use std::time::Duration;

use plinth_tests::site::{Backing, Site};
use reqwest::Method;
use serde_json::json;

plinth_tests::on_both!(an_address_opens_one_stream_once);

async fn an_address_opens_one_stream_once(backing: Backing) {
    let site = Site::start(backing).await;
    let ada = site.person("ada").await;
    let ticket = ada
        .client
        .post("/v1/events/stream/ticket", &json!({}))
        .await
        .expect_status(201);
    let url = ticket.string("/url");
    let path = url
        .strip_prefix(site.server.http())
        .expect("the address of this server")
        .to_owned();
    // Whoever has it needs no token; and what was before is had with `after`.
    let stranger = site.client();
    let mut stream = stranger.stream(&format!("{path}?after=0"), None).await;
    let first = stream.next(Duration::from_secs(5)).await.expect("what was before");
    assert_eq!(first.json()["userid"], ada.id.as_str());
    let _ = stranger.get(&path).await.expect_problem(422, "token_invalid");

    let fresh = async || {
        let ticket = ada
            .client
            .post("/v1/events/stream/ticket", &json!({}))
            .await
            .expect_status(201);
        let url = ticket.string("/url");
        url.strip_prefix(site.server.http()).expect("as before").to_owned()
    };
    // On another node it is as little good a second time, and as good the first.
    let other = fresh().await;
    let tampered = format!("{}A{}", &other[..other.len() - 9], &other[other.len() - 8..]);
    let _ = stranger.get(&tampered).await.expect_problem(422, "token_invalid");
    let mut live = stranger.stream(&other, None).await;
    let event = json!({ "type": "app.counted", "data": 1 });
    let id = ada
        .client
        .post("/v1/events", &event)
        .await
        .expect_status(201)
        .string("/id");
    let seen = live.next(Duration::from_secs(5)).await.expect("it is live");
    assert_eq!(seen.json()["id"], id.as_str());

    // It ends as the caller's session does, and an address from before is then of no use.
    let late = fresh().await;
    let out = ada
        .client
        .request(Method::POST, "/v1/auth/logout")
        .json(&json!({ "scope": "this" }));
    assert_eq!(out.send().await.expect("an answer").status(), 204);
    let end = live.next(Duration::from_secs(5)).await.expect("it is told");
    assert_eq!(end.json(), json!({ "reason": "session_ended" }));
    let _ = stranger.get(&late).await.expect_problem(422, "token_invalid");
    let _ = stranger
        .post("/v1/events/stream/ticket", &json!({}))
        .await
        .expect_problem(401, "token_missing");
}
