//! SIGTERM under load: every request whose head was sent is answered, and the process ends in time.

use std::time::Duration;

use plinth_tests::site::{Backing, Person, Site};
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::load::ALONE;
use crate::rows::Rows;

plinth_tests::on_both!(a_drain_loses_no_request, half_sent_requests_do_not_hold_it_up);

const IN_FLIGHT: usize = 24;
const PATIENCE: Duration = Duration::from_secs(20);

async fn connect(site: &Site) -> TcpStream {
    let address = site.server.http().trim_start_matches("http://");
    TcpStream::connect(address).await.expect("the server takes connections")
}

fn body(number: usize) -> String {
    json!({ "type": "app.drained", "data": number }).to_string()
}

/// A request whose head the server has read for certain: it asked for the body.
async fn open_request(site: &Site, ada: &Person, number: usize) -> TcpStream {
    let mut stream = connect(site).await;
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        ada.client.token().expect("signed in"),
        body(number).len()
    );
    stream.write_all(head.as_bytes()).await.expect("the server reads");
    let mut line = [0; 25];
    let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut line))
        .await
        .expect("it answers");
    let _ = read.expect("an interim answer");
    assert_eq!(&line, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

async fn read_answer(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let reading = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    let _ = reading.expect("the server closes it").expect("and answers before");
    String::from_utf8_lossy(&answer).into_owned()
}

async fn a_drain_loses_no_request(backing: Backing) {
    let _alone = ALONE.lock().await;
    let mut site = Site::start(backing).await;
    let ada = site.person("ada").await;
    let mut stream = ada.client.stream("/v1/events/stream", None).await;
    let mut open = Vec::new();
    for number in 0..IN_FLIGHT {
        open.push(open_request(&site, &ada, number).await);
    }
    let mut load = JoinSet::new();
    for _ in 0..8 {
        let client = ada.client.clone();
        load.spawn(async move {
            let (mut answered, event) = (0, json!({ "type": "app.loaded", "data": 1 }));
            loop {
                match client.request(Method::POST, "/v1/events").json(&event).send().await {
                    Ok(answer) => assert_eq!(answer.status(), 201),
                    Err(error) => return (answered, error),
                }
                answered += 1;
            }
        });
    }
    // Some of it is under way when the signal comes.
    let rows = Rows::of(&site).await;
    crate::load::eventually("the load goes on", async || {
        rows.number("SELECT count(*) FROM events WHERE type = 'app.loaded'")
            .await
            > 50
    })
    .await;
    site.server.signal("TERM");
    let ready = site.server.ops_client();
    crate::load::eventually("the node asks for no more requests", async || {
        let request = ready.request(Method::GET, "/health/ready").send().await;
        request.is_ok_and(|answer| answer.status() == 503)
    })
    .await;

    for (number, stream) in open.iter_mut().enumerate() {
        stream
            .write_all(body(number).as_bytes())
            .await
            .expect("the server still reads");
    }
    for stream in open {
        let answer = read_answer(stream).await;
        assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
        assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
    }
    let mut answered = 0;
    while let Some(client) = load.join_next().await {
        let (requests, error) = client.expect("every answer is a success");
        answered += requests;
        assert!(
            !error.is_body() && !error.is_decode() && !error.is_timeout(),
            "an answer was cut: {error:?}"
        );
    }
    let mut ended = false;
    while let Some(event) = stream.next(PATIENCE).await {
        ended = event.event == "end";
    }
    assert!(ended, "a stream is told that it ends");
    assert!(site.server.wait().await.success());

    let drained = rows
        .number("SELECT count(*) FROM events WHERE type = 'app.drained'")
        .await;
    assert_eq!(drained, i64::try_from(IN_FLIGHT).expect("few"));
    // What was taken on was answered: nothing was written that a client was not told of.
    let loaded = rows
        .number("SELECT count(*) FROM events WHERE type = 'app.loaded'")
        .await;
    assert_eq!(loaded, answered);
}

async fn half_sent_requests_do_not_hold_it_up(backing: Backing) {
    let _alone = ALONE.lock().await;
    let mut site = Site::start_with(backing, |setup| setup.env("PLINTH_HTTP_SHUTDOWN_TIMEOUT", "3s")).await;
    let ada = site.person("ada").await;
    let mut held = Vec::new();
    for part in [
        "",
        "G",
        "GET /v1/me HTTP/1.1\r\nHost: localh",
        "POST /v1/auth/login HTTP/1.1\r\nHost: a\r\n",
    ] {
        let mut stream = connect(&site).await;
        stream.write_all(part.as_bytes()).await.expect("the server reads");
        held.push(stream);
    }
    let _ = ada.client.get("/v1/me").await.expect_status(200);
    // A body that never comes is the one thing that is waited for, and only until the deadline.
    let unfinished = open_request(&site, &ada, 0).await;

    let begun = Instant::now();
    let status = site.server.terminate().await;
    let took = begun.elapsed();
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(8), "it took {took:?}");
    drop((held, unfinished));
    let rows = Rows::of(&site).await;
    assert_eq!(
        rows.number("SELECT count(*) FROM events WHERE type LIKE 'app.%'").await,
        0
    );

    // Nothing of it keeps the next start from working.
    site.server.restart().await;
    let _ = ada.client.at(site.server.http()).get("/v1/me").await.expect_status(200);
}
