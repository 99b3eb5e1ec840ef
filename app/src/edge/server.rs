//! The accept loop: takes connections, says no to those too many, and ends without losing a request.
use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::FutureExt;
use poem::Endpoint;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;

use super::{
    EdgeConfig,
    connection::{self, Shared},
};
use crate::{http::problem::Fault, lifecycle::Lifecycle};

/// Connections that are being refused at one time; more are just closed.
const REFUSALS: usize = 64;
/// How long a refusal may take.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

/// Serves `endpoint` on `listener` until the process drains and every request whose head arrived is answered. What
/// is not answered by the lifecycle's deadline is cut with the rest of its tasks.
pub async fn serve<E>(listener: TcpListener, endpoint: E, config: EdgeConfig, lifecycle: Lifecycle) -> io::Result<()>
where
    E: Endpoint + 'static,
{
    let shutdown = lifecycle.shutdown();
    let shared = Arc::new(Shared {
        endpoint,
        local: listener.local_addr()?,
        shutdown: shutdown.clone(),
        closing: CancellationToken::new(),
        config,
    });
    let limit = shared
        .config
        .max_connections
        .clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
    let door = Door {
        shared: Arc::clone(&shared),
        lifecycle,
        places: Arc::new(Semaphore::new(limit)),
        refusals: Arc::new(Semaphore::new(REFUSALS)),
        refusal: refusal().into(),
    };
    let grace = shared.config.accept_grace;
    let enough = async {
        shutdown.draining().await;
        if !grace.is_zero() {
            tokio::time::sleep(grace).await;
        }
    };
    tokio::select! {
        biased;
        () = enough => {}
        () = door.accept_all(&listener) => {}
    }
    // What the kernel has accepted for us is ours to answer. Yielding lets the runtime hear of it.
    tokio::task::yield_now().await;
    while let Some(Ok((stream, peer))) = listener.accept().now_or_never() {
        door.admit(stream, peer);
    }
    drop(listener);
    shared.closing.cancel();
    // All places are free again when all connections have ended. The semaphore is never closed.
    let _ = door.places.acquire_many(u32::try_from(limit).unwrap_or(u32::MAX)).await;
    Ok(())
}

struct Door<E> {
    shared: Arc<Shared<E>>,
    lifecycle: Lifecycle,
    places: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    refusal: Arc<[u8]>,
}

impl<E: Endpoint + 'static> Door<E> {
    async fn accept_all(&self, listener: &TcpListener) {
        let mut pause = Pause::default();
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    if pause.ended() {
                        tracing::info!("connections are accepted again");
                    }
                    self.admit(stream, peer);
                }
                Err(error) if of_the_connection(&error) => {}
                Err(error) => {
                    if pause.is_first() {
                        tracing::error!(%error, "connections cannot be accepted, trying on");
                    }
                    tokio::time::sleep(pause.next()).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            let shared = Arc::clone(&self.shared);
            let open = shared.config.connections.enter();
            self.lifecycle.spawn("connection", async move {
                connection::run(stream, peer, shared).await;
                drop((open, place));
            });
        } else if let Ok(place) = Arc::clone(&self.refusals).try_acquire_owned() {
            let answer = Arc::clone(&self.refusal);
            self.lifecycle.spawn("refusal", async move {
                // The client may be gone or too slow to be told: then it is not told.
                let _ = tokio::time::timeout(REFUSAL_TIME, connection::refuse(stream, &answer)).await;
                drop(place);
            });
        }
    }
}

/// The whole answer to a connection too many.
fn refusal() -> Vec<u8> {
    let fault = Fault::overloaded().detail("too many connections");
    let body = serde_json::to_string(&fault.problem("-")).unwrap_or_default();
    format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: {}\r\ncontent-length: {}\r\nretry-after: 1\r\n\
         cache-control: no-store\r\nconnection: close\r\n\r\n{body}",
        openapi::PROBLEM_MEDIA_TYPE,
        body.len()
    )
    .into_bytes()
}

/// Errors of `accept` that concern one connection, already gone (accept(2)); the others concern the process, such as
/// having no file descriptor left, and trying again at once would spin.
fn of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

/// Doubles from 10 ms to 1 s while accepting fails.
#[derive(Debug, Default)]
struct Pause {
    failures: u32,
}

impl Pause {
    fn is_first(&self) -> bool {
        self.failures == 0
    }

    fn next(&mut self) -> Duration {
        let pause = Duration::from_millis(10 << self.failures.min(7)).min(Duration::from_secs(1));
        self.failures = self.failures.saturating_add(1);
        pause
    }

    /// Whether accepting had failed before.
    fn ended(&mut self) -> bool {
        std::mem::take(&mut self.failures) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_to_a_second_and_starts_over() {
        let mut pause = Pause::default();
        assert!(pause.is_first());
        let pauses: Vec<u128> = (0..9).map(|_| pause.next().as_millis()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        assert!(!pause.is_first());
        assert!(pause.ended());
        assert!(!pause.ended());
        assert_eq!(pause.next().as_millis(), 10);
    }

    #[test]
    fn running_out_of_descriptors_is_told_from_a_lost_connection() {
        // EMFILE and ECONNABORTED on Linux.
        assert!(!of_the_connection(&io::Error::from_raw_os_error(24)));
        assert!(of_the_connection(&io::Error::from_raw_os_error(103)));
    }
}
