//! Health: what this node stands on, and whether it may be sent requests.

use std::sync::Arc;

use openapi::{DependencyBody, ReadyBody};
use ports::Probe;

use super::PROBE_TIMEOUT;
use crate::lifecycle::Shutdown;
use crate::service::gate::Gate;

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
    /// Calls pass, and the backend is known to be away.
    Away,
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
        let mut dependencies = self.database().await;
        dependencies.push(self.revocations());
        dependencies.extend(self.backends.iter().map(|(name, state)| backend(name, state())));
        let down = dependencies.iter().any(|dependency| dependency.status == "down");
        let degraded = dependencies.iter().any(|dependency| dependency.status == "degraded");
        let draining = self.shutdown.is_draining();
        if draining {
            dependencies.push(dependency("process", "down", Some("it is draining".to_owned())));
        }
        let status = if down || draining {
            UNREADY
        } else if degraded {
            "degraded"
        } else {
            "ready"
        };
        ReadyBody {
            status: status.to_owned(),
            dependencies,
        }
    }

    /// The database and, when it answers, its schema, which a newer node may have contracted since this one began.
    async fn database(&self) -> Vec<DependencyBody> {
        let name = self.database.name();
        let judge = async {
            self.database.check().await?;
            self.database.schema().await
        };
        let down = |reason: String| vec![dependency(name, "down", Some(reason))];
        match tokio::time::timeout(PROBE_TIMEOUT, judge).await {
            Ok(Ok(true)) => vec![dependency(name, "ok", None), dependency("schema", "ok", None)],
            Ok(Ok(false)) => {
                let reason = format!(
                    "it no longer serves version {}: start a newer version here",
                    env!("CARGO_PKG_VERSION")
                );
                vec![dependency(name, "ok", None), dependency("schema", "down", Some(reason))]
            }
            // What the technology says may hold addresses and names: it belongs in the log.
            Ok(Err(error)) => {
                tracing::warn!(%error, source = %error.source, "the database does not answer as it should");
                down("it refuses".to_owned())
            }
            Err(_) => down(format!("it did not answer within {} s", PROBE_TIMEOUT.as_secs())),
        }
    }

    fn revocations(&self) -> DependencyBody {
        if !self.gate.is_stale() {
            return dependency("revocations", "ok", None);
        }
        let age = self
            .gate
            .age()
            .map_or("never".to_owned(), |age| format!("{} s ago", age.as_secs()));
        dependency(
            "revocations",
            "degraded",
            Some(format!(
                "the feed was last read {age}; tokens will be refused when it stays so"
            )),
        )
    }
}

fn backend(name: &str, state: BackendState) -> DependencyBody {
    match state {
        BackendState::Closed => dependency(name, "ok", None),
        BackendState::Open => dependency(
            name,
            "degraded",
            Some("its breaker is open after repeated failures".to_owned()),
        ),
        BackendState::HalfOpen => dependency(name, "degraded", Some("its breaker lets trials through".to_owned())),
        BackendState::Away => dependency(name, "degraded", Some("it is not reached, or takes nothing".to_owned())),
    }
}

fn dependency(name: &str, status: &str, reason: Option<String>) -> DependencyBody {
    DependencyBody {
        name: name.to_owned(),
        status: status.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ports::{BackendError, MockProbe, MockRevocationFeed, MockTokenVerifier};

    use super::*;
    use crate::worker::testing::{away, kit};

    /// The judgement over a probe that answers so: the status, and each dependency with its own.
    async fn judged(
        check: fn() -> Result<(), BackendError>,
        schema: fn() -> Result<bool, BackendError>,
    ) -> (String, Vec<(String, String)>) {
        let mut probe = MockProbe::new();
        probe.expect_name().return_const("database");
        probe.expect_check().returning(check);
        probe.expect_schema().returning(schema);
        let mut feed = MockRevocationFeed::new();
        feed.expect_after().returning(|_, _| Ok(Vec::new()));
        let clock = kit().toolkit.clock;
        let gate = Gate::new(
            Arc::new(MockTokenVerifier::new()),
            Arc::new(feed),
            clock,
            Duration::from_secs(60),
        );
        gate.refresh().await.unwrap();
        let health = Health {
            database: Arc::new(probe),
            gate: Arc::new(gate),
            shutdown: Shutdown::new(),
            backends: Vec::new(),
        };
        let body = health.check().await;
        let dependencies = body
            .dependencies
            .into_iter()
            .map(|dependency| (dependency.name, dependency.status));
        (body.status, dependencies.collect())
    }

    fn of(dependencies: &[(&str, &str)]) -> Vec<(String, String)> {
        dependencies
            .iter()
            .map(|(name, status)| ((*name).to_owned(), (*status).to_owned()))
            .collect()
    }

    #[tokio::test]
    async fn a_schema_that_needs_a_newer_version_takes_the_node_out_of_rotation() {
        let well = of(&[("database", "ok"), ("schema", "ok"), ("revocations", "ok")]);
        assert_eq!(judged(|| Ok(()), || Ok(true)).await, ("ready".to_owned(), well));
        let contracted = of(&[("database", "ok"), ("schema", "down"), ("revocations", "ok")]);
        assert_eq!(judged(|| Ok(()), || Ok(false)).await, (UNREADY.to_owned(), contracted));
        let gone = of(&[("database", "down"), ("revocations", "ok")]);
        assert_eq!(
            judged(|| Err(away()), || Ok(true)).await,
            (UNREADY.to_owned(), gone.clone())
        );
        assert_eq!(judged(|| Ok(()), || Err(away())).await, (UNREADY.to_owned(), gone));
    }
}
