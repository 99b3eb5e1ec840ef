//! The sender before real receivers on this machine: plain ones for the conformance suite, and ones with TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adapter_webhook::{Allowed, HttpsWebhookSender, WebhookOptions};
use domain::webhook::DeliveryFault;
use ports::WebhookSender as _;
use ports::conformance::webhook_sender::{Received, Subject, request};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// Where the plain receiver stands: on loopback, and not where `localhost` leads.
const RECEIVER: &str = "127.0.0.2";

type Seen = Arc<Mutex<Vec<Received>>>;

/// Ends the receiver with the test.
struct Guard(JoinHandle<()>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn sender(allowed: &[&str], extra_roots: Option<Vec<u8>>) -> HttpsWebhookSender {
    HttpsWebhookSender::new(WebhookOptions {
        allowed: Allowed::parse(allowed.iter().copied()).expect("as the test arranged it"),
        timeout: Duration::from_millis(1_500),
        extra_roots,
    })
    .expect("as the test arranged it")
}

/// Reads one request whole.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Received> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).expect("as the test arranged it");
    let mut lines = text.lines();
    let path = lines
        .next()
        .expect("as the test arranged it")
        .split(' ')
        .nth(1)
        .expect("as the test arranged it")
        .to_owned();
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(": ").expect("as the test arranged it"))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.map_or(0, |(_, value)| value.parse().expect("as the test arranged it"));
    let mut body = bytes.split_off(head + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok((path, headers, body))
}

/// Answers as the path asks.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, seen: Seen) -> io::Result<()> {
    let received = read(&mut stream).await?;
    let path = received.0.clone();
    seen.lock().expect("as the test arranged it").push(received);
    if let Some(status) = path.strip_prefix("/status/") {
        let status = status.split('?').next().expect("as the test arranged it");
        let text = format!("HTTP/1.1 {status} Said\r\ncontent-length: 2\r\n\r\nok");
        let text = if status == "204" {
            "HTTP/1.1 204 Said\r\n\r\n".to_owned()
        } else {
            text
        };
        stream.write_all(text.as_bytes()).await?;
        return stream.shutdown().await;
    }
    match path.as_str() {
        "/moved" => {
            let text = "HTTP/1.1 307 Moved\r\nlocation: /status/200\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(text.as_bytes()).await
        }
        "/endless" => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                .await?;
            loop {
                stream
                    .write_all(format!("1000\r\n{}\r\n", "x".repeat(0x1000)).as_bytes())
                    .await?;
            }
        }
        "/slow-body" => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nx")
                .await?;
            std::future::pending().await
        }
        "/dripping" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
            for number in 0.. {
                tokio::time::sleep(Duration::from_millis(20)).await;
                stream.write_all(format!("x-{number}: y\r\n").as_bytes()).await?;
            }
            Ok(())
        }
        "/vast-head" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
            stream
                .write_all(format!("x: {}\r\n\r\n", "y".repeat(200_000)).as_bytes())
                .await
        }
        "/nonsense" => {
            stream.write_all(b"SSH-2.0-OpenSSH_10.0\r\n\r\n").await?;
            std::future::pending().await
        }
        "/hang-up" => Ok(()),
        _ => std::future::pending().await,
    }
}

#[expect(clippy::disallowed_methods, reason = "receivers of a test end with it")]
async fn receiver(ip: &str, tls: Option<TlsAcceptor>) -> (SocketAddr, Seen, Guard) {
    let listener = TcpListener::bind((ip, 0)).await.expect("as the test arranged it");
    let (address, seen) = (listener.local_addr().expect("as the test arranged it"), Seen::default());
    let notes = Arc::clone(&seen);
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (notes, tls) = (Arc::clone(&notes), tls.clone());
            tokio::spawn(async move {
                match tls {
                    None => answer(stream, notes).await,
                    Some(tls) => answer(tls.accept(stream).await?, notes).await,
                }
            });
        }
    });
    (address, seen, Guard(serving))
}

async fn subject() -> Option<(Subject, Guard)> {
    let (address, seen, guard) = receiver(RECEIVER, None).await;
    let subject = Subject {
        sender: Arc::new(sender(&[RECEIVER], None)),
        base: format!("http://{address}"),
        inward: format!("https://localhost:{}/status/200", address.port()),
        seen: Arc::new(move || std::mem::take(&mut *seen.lock().expect("as the test arranged it"))),
    };
    Some((subject, guard))
}

ports::webhook_sender_conformance!(subject());

async fn answered(path: &str) -> Result<u16, DeliveryFault> {
    let (subject, _guard) = subject().await.expect("as the test arranged it");
    subject.sender.send(&request(&format!("{}{path}", subject.base))).await
}

#[tokio::test]
async fn a_body_that_stops_half_way_takes_nothing_from_its_status() {
    assert_eq!(answered("/slow-body").await, Ok(200));
}

#[tokio::test]
async fn a_head_that_comes_by_drops_or_never_ends_is_cut() {
    assert_eq!(answered("/dripping").await, Err(DeliveryFault::Timeout));
    assert_eq!(answered("/vast-head").await, Err(DeliveryFault::TooLarge));
}

#[tokio::test]
async fn who_hangs_up_or_is_not_there_is_told_apart_from_who_answers() {
    assert_eq!(answered("/hang-up").await, Err(DeliveryFault::Connect));
    let (address, _, guard) = receiver(RECEIVER, None).await;
    drop(guard);
    // The listener goes with its task, at its next turn.
    tokio::task::yield_now().await;
    let sender = sender(&[RECEIVER], None);
    let mut answered = sender.send(&request(&format!("http://{address}/status/200"))).await;
    for _ in 0..50 {
        if answered == Err(DeliveryFault::Connect) {
            break;
        }
        answered = sender.send(&request(&format!("http://{address}/status/200"))).await;
    }
    assert_eq!(answered, Err(DeliveryFault::Connect));
    let nowhere = sender.send(&request("https://no-such-host.invalid/")).await;
    assert_eq!(nowhere, Err(DeliveryFault::Resolve));
}

#[tokio::test]
async fn an_excepted_network_opens_a_name_that_leads_into_it_with_tls_alone() {
    // `localhost` may lead to both families.
    let sender = sender(&["127.0.0.0/8", "::1"], None);
    assert!(
        sender.target("http://localhost:8080/").is_err(),
        "without TLS only by its own name"
    );
    let closed = sender.send(&request("https://localhost:1/")).await;
    assert!(
        matches!(closed, Err(DeliveryFault::Connect | DeliveryFault::Forbidden)),
        "{closed:?}"
    );
    let open = HttpsWebhookSender::new(WebhookOptions {
        allowed: Allowed::parse(["localhost"]).expect("as the test arranged it"),
        timeout: Duration::from_secs(5),
        extra_roots: None,
    });
    let (address, _, _guard) = receiver("127.0.0.1", None).await;
    let url = format!("http://localhost:{}/status/201", address.port());
    assert_eq!(
        open.expect("as the test arranged it").send(&request(&url)).await,
        Ok(201)
    );
}

/// A receiver with a certificate of its own making for that name, and the certificate in PEM.
async fn tls_receiver(name: &str) -> (SocketAddr, Vec<u8>, Guard) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("as the test arranged it");
    let der = made.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("as the test arranged it")
        .with_no_client_auth()
        .with_single_cert(vec![der], key)
        .expect("as the test arranged it");
    let (address, _, guard) = receiver("127.0.0.1", Some(TlsAcceptor::from(Arc::new(config)))).await;
    (address, made.cert.pem().into_bytes(), guard)
}

#[tokio::test]
async fn a_certificate_must_be_trusted_and_be_for_the_name() {
    let (address, pem, _guard) = tls_receiver("localhost").await;
    let url = format!("https://localhost:{}/status/202", address.port());
    let trusting = sender(&["localhost", "127.0.0.1"], Some(pem.clone()));
    assert_eq!(trusting.send(&request(&url)).await, Ok(202));
    let strict = sender(&["localhost"], None);
    assert_eq!(
        strict.send(&request(&url)).await,
        Err(DeliveryFault::Tls),
        "made by itself"
    );
    let by_address = format!("https://{address}/status/202");
    assert_eq!(
        trusting.send(&request(&by_address)).await,
        Err(DeliveryFault::Tls),
        "for another name"
    );
    let plain = format!("http://localhost:{}/status/202", address.port());
    assert!(
        trusting.send(&request(&plain)).await.is_err(),
        "TLS is not taken for an answer"
    );
}

#[test]
fn certificates_that_are_none_are_refused() {
    for pem in [
        "",
        "hello",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        let refused = HttpsWebhookSender::new(WebhookOptions {
            allowed: Allowed::default(),
            timeout: Duration::from_secs(1),
            extra_roots: Some(pem.as_bytes().to_vec()),
        });
        assert!(refused.is_err(), "{pem:?}");
    }
}
