//! The client and the source against sockets: a server that answers, refuses, lies, goes, and comes back.
use std::net::SocketAddr;

use openapi::{ClientError, OpsClient};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::channel;
use tui::Message;
use tui::source::{Order, Stopwatch, poll};

use crate::scenes::healthy;

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

#[tokio::test]
async fn the_source_finds_a_server_that_comes_back() {
    let (first, address) = listener("127.0.0.1:0").await;
    let client = OpsClient::new(&address.to_string(), None).unwrap();
    let (messages, mut inbox) = channel(8);
    let (orders, told) = channel(8);
    let figures = healthy(0).to_string();
    let story = async {
        answer(&first, "200 OK", &figures).await;
        assert!(matches!(inbox.recv().await, Some(Message::Stats { .. })));
        drop(first);
        orders.send(Order::Refresh).await.unwrap();
        let Some(Message::Lost { reason, retry_ms, .. }) = inbox.recv().await else {
            panic!("no loss was told")
        };
        assert_eq!((reason.as_str(), retry_ms), ("connection refused", 8_000));
        let (second, _) = listener(&address.to_string()).await;
        orders.send(Order::Refresh).await.unwrap();
        answer(&second, "200 OK", &figures).await;
        assert!(matches!(inbox.recv().await, Some(Message::Stats { .. })));
    };
    tokio::select! {
        () = story => {}
        () = poll(client, 60_000, Stopwatch::start(), messages, told) => panic!("the source ended while somebody listened"),
    }
}
