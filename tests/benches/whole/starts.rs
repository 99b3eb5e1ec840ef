//! From exec to the first answer, memory at rest and under load, and the size of the binary.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use plinth_tests::server::{Setup, binary};
use plinth_tests::site::{Backing, Site};
use serde_json::json;

use crate::Plan;
use crate::load::{self, Target};
use crate::process;
use crate::report::{Report, Wanted};

/// Events that fill the database before it is started on.
const EVENTS: usize = 100_000;
const BATCH: usize = 1_000;

pub(crate) async fn measure(plan: &Plan, report: &mut Report) {
    report.add("the binary", "MB", process::megabytes(binary()), Wanted::AtMost(50.0));
    // A port of our own choosing, so that it can be knocked at before anything has told it.
    let http = free_port();
    let change = |setup: Setup| setup.env("PLINTH_HTTP_BIND", http.to_string());
    let mut site = Site::start_with(Backing::Sqlite, change).await;
    let person = site.person("starts").await;
    let token = person.client.token().expect("signed in").to_owned();
    let event = json!({ "type": "app.bench.filled", "data": { "order": "8412", "amount": 1995, "currency": "EUR" } });
    let batch = json!({ "events": vec![event; BATCH] });
    for _ in 0..EVENTS / BATCH {
        let _ = person.client.post("/v1/events/batch", &batch).await.expect_status(201);
    }
    for _ in 0..plan.rounds.max(5) {
        let _ = site.server.terminate().await;
        let knocking = std::thread::spawn({
            let token = token.clone();
            move || first_answer(http, &token)
        });
        // The thread is knocking by now; the process must be new.
        std::thread::sleep(Duration::from_millis(20));
        let start = Instant::now();
        site.server.restart().await;
        let answered = knocking.join().expect("an answer");
        report.add(
            "exec to the first 200, SQLite with 100,000 events",
            "ms",
            answered.duration_since(start).as_secs_f64() * 1_000.0,
            Wanted::AtMost(25.0),
        );
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let pid = site.server.pid();
    report.add("resident at rest", "MiB", process::resident(pid), Wanted::AtMost(24.0));
    if load::possible() {
        process::forget_peak(pid);
        let base = site.server.http();
        let event = r#"{"type":"app.bench.measured","data":{"order":"8412","amount":1995}}"#;
        let posting = Target::get(format!("{base}/v1/events"))
            .token(&token)
            .post("application/json", event);
        for target in [Target::get(format!("{base}/v1/me")).token(&token), posting] {
            load::run(&target, 32, plan.length);
        }
        report.add(
            "most resident under load",
            "MiB",
            process::peak(pid),
            Wanted::AtMost(40.0),
        );
    }
}

fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it has an address")
}

/// When a request with a token was answered 200 for the first time.
fn first_answer(address: SocketAddr, token: &str) -> Instant {
    let patience = Instant::now() + Duration::from_secs(20);
    while Instant::now() < patience {
        if asked(address, token).is_some_and(|answer| answer.starts_with(b"HTTP/1.1 200")) {
            return Instant::now();
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    panic!("there was no answer within 20 seconds")
}

fn asked(address: SocketAddr, token: &str) -> Option<[u8; 12]> {
    let mut socket = TcpStream::connect(address).ok()?;
    let request = format!(
        "GET /v1/auth/whoami HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).ok()?;
    let mut start = [0; 12];
    socket.read_exact(&mut start).ok()?;
    Some(start)
}
