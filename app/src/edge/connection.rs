//! One connection, from its first byte to its last.
use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use poem::{
    Addr, Endpoint, Request,
    http::{HeaderValue, header, uri::Scheme},
    web::{LocalAddr, RemoteAddr},
};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::{
    EdgeConfig,
    body::{Arriving, Leaving},
    pace::{Activity, Paced},
};
use crate::lifecycle::Shutdown;

/// When the listener has closed, what already lies in the socket is still looked at for this long.
const LAST_LOOK: Duration = Duration::from_millis(50);

/// A body up to this long has mostly come with its head: the connection goes on although nobody has read it.
const SHORT_BODY: usize = 16 * 1024;

/// What all connections of a listener share.
pub(super) struct Shared<E> {
    pub(super) endpoint: E,
    pub(super) config: EdgeConfig,
    pub(super) local: SocketAddr,
    pub(super) shutdown: Shutdown,
    /// The listener has closed: connections that wait for a request end, those that have one end after it.
    pub(super) closing: CancellationToken,
}

/// Serves a connection until it ends, or after `closing` until its present request is answered.
pub(super) async fn run<E: Endpoint>(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared<E>>) {
    // Answers are written whole; waiting for more to fill a segment only delays them. A socket that cannot do it
    // still works.
    let _ = stream.set_nodelay(true);
    let activity = Arc::new(Activity::default());
    let config = &shared.config;
    let socket = TokioIo::new(Paced::new(stream, Arc::clone(&activity), config));
    let service = service_fn(|request| exchange(request, peer, &shared, &activity));
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            // A backstop: the socket's own patience tells idling from dawdling and is never longer than both.
            .header_read_timeout(config.idle_timeout + config.head_timeout)
            .max_header_size(config.max_head_bytes.max(8192))
            .max_buf_size((2 * config.max_head_bytes).max(64 * 1024))
            .serve_connection(socket, service)
    );
    tokio::select! {
        biased;
        outcome = connection.as_mut() => return note(outcome, peer),
        () = shared.closing.cancelled() => {}
    }
    if let Ok(outcome) = tokio::time::timeout(LAST_LOOK, connection.as_mut()).await {
        return note(outcome, peer);
    }
    if activity.requests() == 0 {
        // No head has arrived whole: there is nothing to answer.
        return;
    }
    connection.as_mut().graceful_shutdown();
    note(connection.await, peer);
}

async fn exchange<E: Endpoint>(
    request: hyper::Request<Incoming>,
    peer: SocketAddr,
    shared: &Shared<E>,
    activity: &Arc<Activity>,
) -> Result<hyper::Response<Leaving>, Infallible> {
    activity.begin();
    let local = LocalAddr(Addr::SocketAddr(shared.local));
    let mut request = Request::from((request, local, RemoteAddr(Addr::SocketAddr(peer)), Scheme::HTTP));
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length: Option<usize> = length.and_then(|value| value.to_str().ok()?.parse().ok());
    let short = length.is_some_and(|length| length <= SHORT_BODY);
    let body = request.take_body();
    if body.is_empty() {
        activity.set_unread(false);
    } else {
        let arriving = Arriving::new(
            body.into(),
            Arc::clone(activity),
            shared.shutdown.clone(),
            &shared.config,
        );
        request.set_body(poem::Body::from(arriving.boxed()));
    }
    let mut response = shared.endpoint.get_response(request).await;
    // RFC 9112, section 9.6: whoever will close says so, and a long body that nobody reads is not read to its end.
    if shared.shutdown.is_draining() || (activity.has_unread() && !short) {
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let response: hyper::Response<_> = response.into();
    Ok(response.map(|body| Leaving::new(body, Arc::clone(activity))))
}

fn note(outcome: hyper::Result<()>, peer: SocketAddr) {
    if let Err(error) = outcome {
        // The client's doing, nearly always: worth a look only when one is looking.
        let cause = std::error::Error::source(&error)
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::debug!(%peer, %error, cause, "a connection ended early");
    }
}

/// What a connection beyond the limit is told; returns whatever became of it.
pub(super) async fn refuse(mut stream: TcpStream, answer: &[u8]) -> io::Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    stream.write_all(answer).await?;
    stream.shutdown().await?;
    // Read what was sent, or the reset that unread bytes cause may overtake the answer.
    let mut scratch = [0_u8; 4096];
    for _ in 0..16 {
        if stream.read(&mut scratch).await? == 0 {
            break;
        }
    }
    Ok(())
}
