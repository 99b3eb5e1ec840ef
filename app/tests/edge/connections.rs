//! What a client may hold, and what a shutdown may lose.
use std::time::Duration;

use plinth::{edge::EdgeConfig, lifecycle::Ending};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, sleep, timeout},
};

use crate::support::{Answer, PATIENCE, RAW_LIMIT, Raw, Server, request};

const SHORT: Duration = Duration::from_millis(200);
/// Far beyond anything that a test waits for.
const LONG: Duration = Duration::from_secs(3600);

fn quick() -> EdgeConfig {
    EdgeConfig {
        accept_grace: Duration::from_millis(50),
        ..EdgeConfig::default()
    }
}

#[tokio::test]
async fn a_head_that_does_not_end_is_cut_at_its_timeout() {
    let server = Server::start(
        EdgeConfig {
            head_timeout: SHORT,
            idle_timeout: LONG,
            ..quick()
        },
        |_| {},
    )
    .await;
    let started = Instant::now();
    let mut silent = server.connect().await;
    let mut slow = server.connect().await;
    let dripping = async {
        // More of the head does not prolong its time.
        for piece in "GET /who HTTP/1.1\r\nhost: test\r\nx: "
            .chars()
            .chain(std::iter::repeat_n('y', 1000))
        {
            sleep(Duration::from_millis(20)).await;
            let mut bytes = [0; 4];
            if slow
                .0
                .write_all(piece.encode_utf8(&mut bytes).as_bytes())
                .await
                .is_err()
            {
                return;
            }
        }
    };
    timeout(PATIENCE, dripping)
        .await
        .expect("the dripping client is still served");
    assert_eq!(silent.rest().await, "");
    assert!(started.elapsed() >= SHORT);
    assert_eq!(server.ask("GET /who", "").await.status, 200);
}

#[tokio::test]
async fn a_connection_may_idle_longer_than_a_head_may_take() {
    let server = Server::start(
        EdgeConfig {
            head_timeout: SHORT,
            idle_timeout: LONG,
            ..quick()
        },
        |_| {},
    )
    .await;
    let mut raw = server.connect().await;
    for _ in 0..2 {
        raw.send(&request("GET /who", "")).await;
        assert_eq!(raw.answer().await.status, 200);
        sleep(2 * SHORT).await;
    }
    // Half a second head has the time of a head again.
    raw.send("GET /who HT").await;
    assert_eq!(raw.rest().await, "");
}

#[tokio::test]
async fn idling_ends_at_its_timeout() {
    let server = Server::start(
        EdgeConfig {
            head_timeout: LONG,
            idle_timeout: SHORT,
            ..quick()
        },
        |_| {},
    )
    .await;
    let mut raw = server.connect().await;
    raw.send(&request("GET /who", "")).await;
    assert_eq!(raw.answer().await.status, 200);
    assert_eq!(raw.rest().await, "");
}

#[tokio::test]
async fn the_preface_of_http_2_is_no_way_to_stay() {
    let server = Server::plain().await;
    let mut raw = server.connect().await;
    raw.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    raw.rest().await;
}

#[tokio::test]
async fn a_connection_too_many_is_told_503_at_once() {
    let server = Server::start(
        EdgeConfig {
            max_connections: 1,
            ..quick()
        },
        |_| {},
    )
    .await;
    let mut first = server.connect().await;
    first.send(&request("GET /who", "")).await;
    assert_eq!(first.answer().await.status, 200);

    let mut second = server.connect().await;
    second.send(&request("GET /who", "")).await;
    let refused = second.answer().await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"));
    assert_eq!(refused.header("content-type"), openapi::PROBLEM_MEDIA_TYPE);
    assert!(refused.body.contains("\"overloaded\""), "{}", refused.body);
    assert_eq!(second.rest().await, "");

    drop(first);
    let again = async {
        while server.ask("GET /who", "").await.status != 200 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, again).await.expect("the place never became free");
}

#[tokio::test]
async fn a_body_that_stalls_is_answered_408() {
    let server = Server::start(
        EdgeConfig {
            body_stall: SHORT,
            ..quick()
        },
        |_| {},
    )
    .await;
    let mut raw = server.connect().await;
    raw.send("POST /v1/raw HTTP/1.1\r\nhost: test\r\ncontent-type: application/octet-stream\r\ncontent-length: 9\r\n\r\nhalf").await;
    let answer = raw.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (408, "close"));
    assert_eq!(answer.code(), "request_timeout");
    assert_eq!(raw.rest().await, "");
}

const CHUNKED: &str = "POST /v1/raw HTTP/1.1\r\nhost: test\r\ncontent-type: application/octet-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// Sends a byte now and then, far more often than the server's patience ends, until it answers.
async fn trickle(raw: &mut Raw) -> Answer {
    let (reader, mut writer) = raw.0.split();
    let dripping = async {
        loop {
            sleep(Duration::from_millis(20)).await;
            if writer.write_all(b"1\r\nx\r\n").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        ready = timeout(PATIENCE, reader.readable()) => ready.expect("the trickling client is still served").unwrap(),
        () = dripping => {}
    }
    raw.answer().await
}

#[tokio::test]
async fn a_body_that_trickles_is_answered_408() {
    let server = Server::start(
        EdgeConfig {
            body_stall: SHORT,
            ..quick()
        },
        |_| {},
    )
    .await;
    let mut raw = server.connect().await;
    raw.send(CHUNKED).await;
    let answer = trickle(&mut raw).await;
    assert_eq!((answer.status, answer.header("connection")), (408, "close"));
    assert_eq!(answer.code(), "request_timeout");
}

#[tokio::test]
async fn a_body_that_comes_slowly_but_steadily_is_taken() {
    let server = Server::start(
        EdgeConfig {
            body_stall: Duration::from_secs(1),
            ..quick()
        },
        |_| {},
    )
    .await;
    let mut raw = server.connect().await;
    raw.send(CHUNKED).await;
    for _ in 0..10 {
        sleep(Duration::from_millis(150)).await;
        raw.send(&format!("400\r\n{}\r\n", "x".repeat(0x400))).await;
    }
    raw.send("0\r\n\r\n").await;
    assert_eq!(raw.answer().await.body, "10240");
}

#[tokio::test]
async fn a_body_that_trickles_does_not_hold_a_drain_up() {
    let config = EdgeConfig {
        drain_stall: SHORT,
        body_stall: LONG,
        ..quick()
    };
    let server = Server::start(config, |_| {}).await;
    let mut raw = server.connect().await;
    raw.send(CHUNKED).await;
    assert_eq!(server.ask("GET /who", "").await.status, 200);
    server.life.shutdown().drain();
    assert_eq!(trickle(&mut raw).await.code(), "request_timeout");
    drop(raw);
    assert_eq!(server.end(LONG).await, Ending::Clean);
}

#[tokio::test]
async fn a_request_in_flight_is_answered_at_drain_and_nothing_else_holds_it() {
    let patient = EdgeConfig {
        head_timeout: LONG,
        idle_timeout: LONG,
        ..quick()
    };
    let server = Server::start(patient, |_| {}).await;
    let mut busy = server.connect().await;
    busy.send(&request("GET /v1/slow", "")).await;
    let _ = server.gate.entered.acquire().await;
    let mut idle = server.connect().await;
    idle.send(&request("GET /who", "")).await;
    assert_eq!(idle.answer().await.status, 200);
    let mut half = server.connect().await;
    half.send("GET /who HTTP/1.1\r\nho").await;
    let mut half_second = server.connect().await;
    half_second.send(&request("GET /who", "")).await;
    assert_eq!(half_second.answer().await.status, 200);
    half_second.send("GET /who HTTP/1.1\r\nho").await;

    server.life.shutdown().drain();
    // Within the grace new connections are served, and told that they are the last.
    let late = server.ask("GET /who", "").await;
    assert_eq!((late.status, late.header("connection")), (200, "close"));
    assert_eq!(half.rest().await, "");
    assert_eq!(half_second.rest().await, "");
    assert_eq!(idle.rest().await, "");
    assert!(server.life.running() > 0);

    server.gate.open.add_permits(1);
    let answer = busy.answer().await;
    assert_eq!(
        (answer.status, answer.body.as_str(), answer.header("connection")),
        (200, "done", "close")
    );
    assert_eq!(busy.rest().await, "");
    assert_eq!(server.end(LONG).await, Ending::Clean);
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_head_that_is_whole_when_the_listener_closes_is_answered() {
    let server = Server::start(
        EdgeConfig {
            accept_grace: Duration::ZERO,
            ..quick()
        },
        |_| {},
    )
    .await;
    // The server hears of none of this before it drains: the runtime has one thread, and it is here.
    let mut waiting = Vec::new();
    for _ in 0..8 {
        let mut socket = std::net::TcpStream::connect(server.address).unwrap();
        std::io::Write::write_all(&mut socket, request("GET /who", "").as_bytes()).unwrap();
        socket.set_nonblocking(true).unwrap();
        waiting.push(Raw(tokio::net::TcpStream::from_std(socket).unwrap()));
    }
    server.life.shutdown().drain();
    for mut raw in waiting {
        assert_eq!(raw.answer().await.status, 200);
    }
    assert_eq!(server.end(LONG).await, Ending::Clean);
}

#[tokio::test]
async fn a_connection_that_owes_nothing_ends_at_once() {
    let server = Server::start(quick(), |_| {}).await;
    let mut raw = server.connect().await;
    raw.send(&request(
        "POST /v1/raw\ncontent-type: application/octet-stream",
        "whole",
    ))
    .await;
    assert_eq!(raw.answer().await.body, "5");
    assert_eq!(server.end(Duration::from_secs(1)).await, Ending::Clean);
    drop(raw);
}

#[tokio::test]
async fn a_half_sent_body_is_answered_408_at_drain() {
    let config = EdgeConfig {
        drain_stall: SHORT,
        body_stall: LONG,
        ..quick()
    };
    let server = Server::start(config, |_| {}).await;
    let mut raw = server.connect().await;
    raw.send(CHUNKED).await;
    raw.send("2\r\nab\r\n").await;
    // The head has surely been read when another connection, opened later, has been answered.
    assert_eq!(server.ask("GET /who", "").await.status, 200);
    server.life.shutdown().drain();
    assert_eq!(raw.answer().await.code(), "request_timeout");
    drop(raw);
    assert_eq!(server.end(LONG).await, Ending::Clean);
}

#[tokio::test]
async fn a_handler_that_never_ends_is_cut_at_the_deadline() {
    let server = Server::start(quick(), |_| {}).await;
    let mut busy = server.connect().await;
    busy.send(&request("GET /v1/slow", "")).await;
    let _ = server.gate.entered.acquire().await;
    assert!(matches!(server.end(SHORT).await, Ending::Cut(_)));
    assert_eq!(busy.rest().await, "");
}

#[tokio::test]
async fn an_answer_that_nobody_takes_is_given_up() {
    let server = Server::start(
        EdgeConfig {
            write_stall: SHORT,
            ..quick()
        },
        |_| {},
    )
    .await;
    let mut raw = server.connect().await;
    // Thousands of answers and not one read: the sockets fill, then the server's patience ends.
    let flood = request("GET /who", "").repeat(1000);
    let sending = async {
        loop {
            if raw.0.write_all(flood.as_bytes()).await.is_err() {
                return;
            }
        }
    };
    timeout(PATIENCE, sending)
        .await
        .expect("the server waits for a client that does not read");
    assert_eq!(server.ask("GET /who", "").await.status, 200);
}

#[tokio::test]
async fn a_client_still_sending_too_much_reads_the_refusal() {
    let server = Server::plain().await;
    for _ in 0..5 {
        let mut raw = server.connect().await;
        let size = 4 * 1024 * 1024;
        let head = format!("POST /v1/raw\ncontent-type: application/octet-stream\ncontent-length: {size}");
        raw.send(&request(&head, "")).await;
        raw.send(&"x".repeat(size)).await;
        let answer = raw.answer().await;
        assert_eq!((answer.status, answer.header("connection")), (413, "close"));
        assert!(answer.problem().detail.unwrap().contains(&RAW_LIMIT.to_string()));
    }
}

#[tokio::test]
async fn an_answer_before_the_body_says_close_and_the_end_comes_a_little_later() {
    let server = Server::plain().await;
    let mut raw = server.connect().await;
    raw.send("POST /who HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    let answer = raw.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (405, "close"));
    // Some clients lose the answer when the connection ends while they still send.
    let mut byte = [0];
    let end = timeout(Duration::from_millis(100), raw.0.read(&mut byte)).await;
    assert!(end.is_err(), "the end came with the answer");
    raw.send("1\r\nx\r\n").await;
    assert_eq!(raw.rest().await, "");

    // Whoever sent its request whole may go on with the connection where its body was read.
    let mut raw = server.connect().await;
    for _ in 0..2 {
        raw.send(&request("POST /v1/raw\ncontent-type: application/octet-stream", "body"))
            .await;
        let answer = raw.answer().await;
        assert_eq!((answer.status, answer.headers.get("connection")), (200, None));
    }
}
