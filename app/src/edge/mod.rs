//! The edge of the server: an accept loop of our own around hyper's HTTP/1.1 connection. It bounds what a client can
//! hold (connections, time for heads, bodies and answers) and what a shutdown can lose.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

mod body;
mod connection;
mod pace;
mod patience;
mod server;

pub use server::serve;

/// The bounds of a listener.
#[derive(Debug, Clone)]
pub struct EdgeConfig {
    /// Connections at one time. One more is told 503 at once: a client that is left in the queue cannot tell a busy
    /// server from a dead one, and a load balancer would go on sending it more.
    pub max_connections: usize,
    /// From the first byte of a request (on a new connection: from its start) to the end of its head. 10 s.
    pub head_timeout: Duration,
    /// Between two requests on a connection. 75 s: longer than the 60 s that load balancers hold theirs, or they
    /// would send a request into a connection that is just being closed.
    pub idle_timeout: Duration,
    /// While nothing of a request's body comes. 30 s. Bytes earn time at a least rate of 1 KiB/s, waiting spends it, so
    /// that a trickle ends, too.
    pub body_stall: Duration,
    /// While the client takes nothing of an answer. 30 s, at the same least rate.
    pub write_stall: Duration,
    /// The size of a request's head in bytes; more is answered with 431. 32 KiB, at least 8 KiB.
    pub max_head_bytes: usize,
    /// From the word to drain until the listener closes, so that whoever watches readiness sends no more. 0.5 s.
    pub accept_grace: Duration,
    /// As `body_stall`, once the process drains: a half-sent body is then answered 408 instead of being cut. 3 s.
    pub drain_stall: Duration,
    /// Counts the open connections. One of its own by default.
    pub connections: Arc<Open>,
}

/// How many of something are open now.
#[derive(Debug, Default)]
pub struct Open(AtomicU64);

impl Open {
    /// How many.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts one until the value is dropped, by whichever way its holder ends.
    pub fn enter(self: &Arc<Self>) -> Entered {
        self.0.fetch_add(1, Ordering::Relaxed);
        Entered(Arc::clone(self))
    }
}

/// One that is open.
#[derive(Debug)]
pub struct Entered(Arc<Open>);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for EdgeConfig {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_stall: Duration::from_secs(30),
            write_stall: Duration::from_secs(30),
            max_head_bytes: 32 * 1024,
            accept_grace: Duration::from_millis(500),
            drain_stall: Duration::from_secs(3),
            connections: Arc::default(),
        }
    }
}
