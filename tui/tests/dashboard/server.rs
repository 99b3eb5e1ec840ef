//! The client and the source against sockets: a server that answers, refuses, lies, goes, and comes back.
use std::net::SocketAddr;

use openapi::{ClientError, OpsClient};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tui::source::{Order, Stopwatch, follow};
use tui::{Message, Way};

use crate::scenes::{UPTIME, healthy};

/// Answers one request on a connection of its own and gives the request's head.
async fn answer(listener: &TcpListener, status: &str, body: &str) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let head = head(&mut stream).await;
    let text = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    head
}

async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

async fn listener(address: &str) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test]
async fn the_client_asks_for_the_figures_with_its_token() {
    let (listener, address) = listener("127.0.0.1:0").await;
    let client = OpsClient::new(&address.to_string(), Some("a-token-of-16-or-more")).unwrap();
    let figures = healthy(7);
    let text = figures.to_string();
    let (stats, head) = tokio::join!(client.stats(), answer(&listener, "200 OK", &text));
    assert_eq!(serde_json::to_value(stats.unwrap()).unwrap(), figures);
    assert!(head.starts_with("GET /ops/stats HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains("authorization: Bearer a-token-of-16-or-more\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let (listener, address) = listener("127.0.0.1:0").await;
    let client = OpsClient::new(&address.to_string(), None).unwrap();
    for (status, body, expected) in [
        ("401 Unauthorized", "{}", "set PLINTH_OPS_TOKEN"),
        ("404 Not Found", "{}", "status 404; is this the ops address?"),
        ("200 OK", "<html>", "cannot be read"),
        ("200 OK", "{\"version\":\"9\"}", "missing field"),
    ] {
        let (stats, _) = tokio::join!(client.stats(), answer(&listener, status, body));
        let error = stats.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let endless = " ".repeat(2 << 20);
    let (stats, _) = tokio::join!(client.stats(), answer(&listener, "200 OK", &endless));
    assert!(matches!(stats, Err(ClientError::Body(_))));
    drop(listener);
    assert_eq!(client.stats().await.unwrap_err().to_string(), "connection refused");
}

/// Begins a stream on a connection of its own and gives it, with the request's head.
async fn stream(listener: &TcpListener) -> (TcpStream, String) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let head = head(&mut stream).await;
    let text = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    stream.write_all(text.as_bytes()).await.unwrap();
    (stream, head)
}

async fn push(stream: &mut TcpStream, step: u64) {
    let text = format!("data: {}\n\n", healthy(step));
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// A source on an address, and what the test has of it.
struct Followed {
    inbox: Receiver<Message>,
    orders: Sender<Order>,
}

impl Followed {
    #[expect(clippy::disallowed_methods, reason = "what a test spawns ends with its runtime")]
    fn start(address: SocketAddr) -> Self {
        let client = OpsClient::new(&address.to_string(), None).unwrap();
        let (messages, inbox) = channel(8);
        let (orders, told) = channel(8);
        tokio::spawn(follow(client, 60_000, Stopwatch::start(), messages, told));
        Self { inbox, orders }
    }

    async fn figures(&mut self) -> (Way, u64) {
        match self.inbox.recv().await {
            Some(Message::Stats { way, body, .. }) => (way, body.uptime_seconds),
            other => panic!("no figures: {other:?}"),
        }
    }

    async fn loss(&mut self) -> (String, u64) {
        match self.inbox.recv().await {
            Some(Message::Lost { reason, retry_ms, .. }) => (reason, retry_ms),
            other => panic!("no loss: {other:?}"),
        }
    }
}

#[tokio::test]
async fn the_source_follows_a_stream_and_finds_a_server_that_comes_back() {
    let (first, address) = listener("127.0.0.1:0").await;
    let mut source = Followed::start(address);
    let (mut connection, head) = stream(&first).await;
    assert!(
        head.starts_with("GET /ops/stats/stream?every_ms=60000 HTTP/1.1\r\n"),
        "{head}"
    );
    for step in [0, 1] {
        push(&mut connection, step).await;
        assert_eq!(source.figures().await, (Way::Stream, UPTIME + step));
    }
    drop((connection, first));
    let (reason, retry_ms) = source.loss().await;
    assert!(reason.starts_with("it ended the stream"), "{reason}");
    assert_eq!(retry_ms, 8_000);
    source.orders.send(Order::Refresh).await.unwrap();
    assert_eq!(source.loss().await.0, "connection refused");
    let (second, _) = listener(&address.to_string()).await;
    source.orders.send(Order::Refresh).await.unwrap();
    let (mut connection, _) = stream(&second).await;
    push(&mut connection, 9).await;
    assert_eq!(source.figures().await, (Way::Stream, UPTIME + 9));
}

#[tokio::test]
async fn another_pace_is_another_stream() {
    let (listener, address) = listener("127.0.0.1:0").await;
    let mut source = Followed::start(address);
    let (mut slow, _) = stream(&listener).await;
    push(&mut slow, 0).await;
    source.figures().await;
    source.orders.send(Order::Interval(250)).await.unwrap();
    let (mut fast, head) = stream(&listener).await;
    assert!(head.contains("?every_ms=250 "), "{head}");
    // The first one was let go, and its figures with it.
    assert_eq!(slow.read(&mut [0]).await.unwrap(), 0);
    push(&mut fast, 5).await;
    assert_eq!(source.figures().await, (Way::Stream, UPTIME + 5));
}

#[tokio::test]
async fn a_server_without_a_stream_is_asked() {
    let (listener, address) = listener("127.0.0.1:0").await;
    let mut source = Followed::start(address);
    let figures = healthy(3).to_string();
    let head = answer(&listener, "404 Not Found", "{}").await;
    assert!(head.starts_with("GET /ops/stats/stream?"), "{head}");
    for order in [None, Some(Order::Refresh), Some(Order::Interval(500))] {
        if let Some(order) = order {
            source.orders.send(order).await.unwrap();
        }
        let head = answer(&listener, "200 OK", &figures).await;
        assert!(head.starts_with("GET /ops/stats HTTP/1.1\r\n"), "{head}");
        assert_eq!(source.figures().await, (Way::Asked, UPTIME + 3));
    }
    drop(listener);
    assert_eq!(source.loss().await.0, "connection refused");
}

#[tokio::test]
async fn what_is_no_ops_address_is_told() {
    let (listener, address) = listener("127.0.0.1:0").await;
    let mut source = Followed::start(address);
    answer(&listener, "404 Not Found", "{}").await;
    answer(&listener, "404 Not Found", "{}").await;
    let (reason, _) = source.loss().await;
    assert!(reason.ends_with("is this the ops address?"), "{reason}");
}
