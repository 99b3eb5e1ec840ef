//! Webhooks over HTTPS: one resolution, every address checked, a connection to exactly the checked one, no redirects, no
//! proxy, bounded in time and size.
//!
//! There is no pool: each attempt is a connection of its own, so that no answer is ever taken for another's, and an address
//! is checked each time that something is sent to it.

mod address;
mod target;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use domain::webhook::DeliveryFault;
use http::{HeaderValue, Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use ports::{TargetRefusal, WebhookRequest, WebhookSender};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use crate::address::is_public;
use crate::target::Target;
pub use crate::target::{Allowed, BadException};

/// The most bytes that are read of an answer's head, and of its body.
const MOST_BYTES: usize = 64 * 1024;
/// How long one of several addresses may take to answer a connection before the next is tried.
const NEXT_ADDRESS: Duration = Duration::from_secs(3);
/// How many addresses of a name are tried.
const MOST_ADDRESSES: usize = 4;

/// How webhooks are sent.
#[derive(Debug, Clone)]
pub struct WebhookOptions {
    /// What may be sent to although it is not public.
    pub allowed: Allowed,
    /// How long an attempt may take, from the resolution to the end of the answer.
    pub timeout: Duration,
    /// Certificates in PEM that are trusted besides those of the public authorities.
    pub extra_roots: Option<Vec<u8>>,
}

/// The certificates that are to be trusted cannot be read.
#[derive(Debug)]
pub struct BadRoots(String);

impl fmt::Display for BadRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the certificates cannot be read: {}", self.0)
    }
}

impl std::error::Error for BadRoots {}

/// [`WebhookSender`] over HTTP/1.1 and TLS.
pub struct HttpsWebhookSender {
    allowed: Allowed,
    timeout: Duration,
    tls: TlsConnector,
}

impl fmt::Debug for HttpsWebhookSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpsWebhookSender")
            .field("allowed", &self.allowed)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl HttpsWebhookSender {
    /// A sender that trusts the authorities of Mozilla's list and those of the options.
    ///
    /// # Errors
    /// When the options' certificates cannot be read.
    pub fn new(options: WebhookOptions) -> Result<Self, BadRoots> {
        let mut roots = RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        };
        if let Some(pem) = &options.extra_roots {
            let mut found = 0;
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| BadRoots(error.to_string()))?;
                roots.add(certificate).map_err(|error| BadRoots(error.to_string()))?;
                found += 1;
            }
            if found == 0 {
                return Err(BadRoots("there is none in the file".to_owned()));
            }
        }
        // Named here, since two providers may be linked and none is the default then.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| BadRoots(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            allowed: options.allowed,
            timeout: options.timeout,
            tls: TlsConnector::from(Arc::new(tls)),
        })
    }

    /// The addresses to connect to: all that the name has, checked, or none of them.
    async fn resolve(&self, target: &Target) -> Result<Vec<SocketAddr>, DeliveryFault> {
        if let Some(address) = target.literal {
            // Its text was judged already.
            return Ok(vec![SocketAddr::new(address, target.port)]);
        }
        let found = tokio::net::lookup_host((target.host.as_str(), target.port)).await;
        let found: Vec<SocketAddr> = found
            .map_err(|error| {
                tracing::debug!(%error, "the name of a webhook cannot be resolved");
                DeliveryFault::Resolve
            })?
            .collect();
        if found.is_empty() {
            return Err(DeliveryFault::Resolve);
        }
        let open = |address: IpAddr| target.named || is_public(address) || self.allowed.holds(address);
        if !found.iter().all(|found| open(found.ip())) {
            return Err(DeliveryFault::Forbidden);
        }
        Ok(found)
    }

    async fn attempt(&self, target: &Target, request: &WebhookRequest, until: Instant) -> Result<u16, DeliveryFault> {
        let addresses = self.resolve(target).await?;
        let stream = connect(&addresses).await?;
        let request = post(target, request)?;
        if !target.tls {
            return exchange(stream, request, until).await;
        }
        let name = match target.literal {
            Some(address) => ServerName::IpAddress(address.into()),
            None => ServerName::try_from(target.host.clone()).map_err(|_| DeliveryFault::Forbidden)?,
        };
        let stream = self.tls.connect(name, stream).await.map_err(|error| {
            tracing::debug!(%error, "TLS with a webhook fails");
            let is_tls = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
            if is_tls {
                DeliveryFault::Tls
            } else {
                DeliveryFault::Connect
            }
        })?;
        exchange(stream, request, until).await
    }
}

async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, DeliveryFault> {
    let mut last = DeliveryFault::Connect;
    for address in addresses.iter().take(MOST_ADDRESSES) {
        let connected = if addresses.len() > 1 {
            timeout(NEXT_ADDRESS, TcpStream::connect(address)).await
        } else {
            Ok(TcpStream::connect(address).await)
        };
        match connected {
            Ok(Ok(stream)) => {
                // The whole request goes out in two writes at the most.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(_)) => last = DeliveryFault::Connect,
            Err(_) => last = DeliveryFault::Timeout,
        }
    }
    Err(last)
}

fn post(target: &Target, request: &WebhookRequest) -> Result<Request<Full<Bytes>>, DeliveryFault> {
    Request::builder()
        .method(Method::POST)
        .uri(target.path.as_str())
        .header(header::HOST, target.authority.as_str())
        .header(
            header::USER_AGENT,
            concat!("Plinth-Webhooks/", env!("CARGO_PKG_VERSION")),
        )
        .header(header::CONTENT_TYPE, request.content_type)
        .header(header::ACCEPT, HeaderValue::from_static("*/*"))
        .header(header::CONNECTION, HeaderValue::from_static("close"))
        .header("webhook-id", request.id.as_str())
        .header("webhook-timestamp", request.timestamp)
        .header("webhook-signature", request.signature.as_str())
        .body(Full::new(request.body.clone()))
        .map_err(|_| DeliveryFault::Forbidden)
}

/// One request and the status of its answer. Of the body a bounded part is read, so that a receiver that writes a few words is not cut off; what it says, and whether it comes whole, changes nothing.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
    until: Instant,
) -> Result<u16, DeliveryFault> {
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MOST_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| fault(&error))?;
    let asked = async {
        let mut response = sender.send_request(request).await.map_err(|error| fault(&error))?;
        let status = response.status().as_u16();
        let rest = async {
            let mut read = 0;
            while let Some(Ok(frame)) = response.frame().await {
                read += frame.data_ref().map_or(0, Bytes::len);
                if read >= MOST_BYTES {
                    return;
                }
            }
        };
        // The receiver has spoken: it is not called silent for a body that does not end.
        let _ = timeout_at(until, rest).await;
        Ok(status)
    };
    let driven = async {
        // Its failure reaches the request by itself; what had come before is still to be read.
        let _ = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        status = asked => status,
        () = driven => Err(DeliveryFault::Connect),
    }
}

fn fault(error: &hyper::Error) -> DeliveryFault {
    tracing::debug!(%error, "a webhook does not answer as it should");
    if error.is_parse_too_large() {
        DeliveryFault::TooLarge
    } else if error.is_parse() {
        DeliveryFault::Protocol
    } else {
        DeliveryFault::Connect
    }
}

#[async_trait]
impl WebhookSender for HttpsWebhookSender {
    fn target(&self, url: &str) -> Result<String, TargetRefusal> {
        Target::parse(url, &self.allowed).map(|target| target.place())
    }

    async fn send(&self, request: &WebhookRequest) -> Result<u16, DeliveryFault> {
        let target = Target::parse(&request.url, &self.allowed).map_err(|_| DeliveryFault::Forbidden)?;
        let until = Instant::now() + self.timeout;
        // The body of an answer ends a little sooner, so that its status is still told.
        let body_until = until - self.timeout / 10;
        timeout_at(until, self.attempt(&target, request, body_until))
            .await
            .unwrap_or(Err(DeliveryFault::Timeout))
    }
}
