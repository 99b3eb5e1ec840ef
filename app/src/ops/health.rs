//! Health: what this node stands on, and whether it may be sent requests.

use std::sync::Arc;
use std::time::Duration;

use openapi::{DependencyBody, ReadyBody};
use ports::Probe;

use crate::lifecycle::Shutdown;
use crate::service::gate::Gate;

/// A load balancer asks about every second and gives up after a few.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) const UNREADY: &str = "unready";

/// How a backend behind a breaker is, as its decorator tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendState {
    /// Calls pass.
    Closed,
    /// Calls are refused.
    Open,
    /// A trial is due or under way.
    HalfOpen,
}

/// What health is judged by.
pub struct Health {
    /// The database: without it nothing works.
    pub database: Arc<dyn Probe>,
    /// Revocations.
    pub gate: Arc<Gate>,
    /// Whether the process drains.
    pub shutdown: Shutdown,
    /// Backends behind a breaker. Their absence degrades and never takes a node out of rotation: every node would go at once.
    pub backends: Vec<(String, Arc<dyn Fn() -> BackendState + Send + Sync>)>,
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health").finish_non_exhaustive()
    }
}

impl Health {
    /// Judges now.
    pub async fn check(&self) -> ReadyBody {
        let mut dependencies = vec![self.database().await, self.revocations()];
        dependencies.extend(self.backends.iter().map(|(name, state)| backend(name, state())));
        let down = dependencies.iter().any(|dependency| dependency.status == "down");
        let degraded = dependencies.iter().any(|dependency| dependency.status == "degraded");
        let draining = self.shutdown.is_draining();
        if draining {
            dependencies.push(dependency("process", "down", Some("it is draining".to_owned())));
        }
        let status = if down || draining { UNREADY } else if degraded { "degraded" } else { "ready" };
        ReadyBody { status: status.to_owned(), dependencies }
    }

    async fn database(&self) -> DependencyBody {
        let name = self.database.name();
        match tokio::time::timeout(PROBE_TIMEOUT, self.database.check()).await {
            Ok(Ok(())) => dependency(name, "ok", None),
            // What the technology says may hold addresses and names: it belongs in the log.
            Ok(Err(error)) => {
                tracing::warn!(%error, source = %error.source, "the database does not answer as it should");
                dependency(name, "down", Some("it refuses".to_owned()))
            }
            Err(_) => dependency(name, "down", Some(format!("it did not answer within {} s", PROBE_TIMEOUT.as_secs()))),
        }
    }

    fn revocations(&self) -> DependencyBody {
        if !self.gate.is_stale() {
            return dependency("revocations", "ok", None);
        }
        let age = self.gate.age().map_or("never".to_owned(), |age| format!("{} s ago", age.as_secs()));
        dependency("revocations", "degraded", Some(format!("the feed was last read {age}; tokens will be refused when it stays so")))
    }
}

fn backend(name: &str, state: BackendState) -> DependencyBody {
    match state {
        BackendState::Closed => dependency(name, "ok", None),
        BackendState::Open => dependency(name, "degraded", Some("its breaker is open after repeated failures".to_owned())),
        BackendState::HalfOpen => dependency(name, "degraded", Some("its breaker lets trials through".to_owned())),
    }
}

fn dependency(name: &str, status: &str, reason: Option<String>) -> DependencyBody {
    DependencyBody { name: name.to_owned(), status: status.to_owned(), reason }
}
