//! A guarded publisher of events.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use domain::breaker::BreakerState;
use domain::event::LoggedEvent;
use ports::{BackendError, Clock, EventPublisher};

use crate::guard::{Guard, Judgement, Lane};
use crate::{GuardPolicy, GuardStats};

/// A publisher behind timeout, breaker and bulkhead. A batch that the guard refuses was not handed over.
pub struct GuardedEventPublisher {
    inner: Arc<dyn EventPublisher>,
    guard: Guard,
}

impl GuardedEventPublisher {
    /// Guards `inner`; `name` is the backend's in logs and errors. A batch that is cut off by the timeout may arrive all the
    /// same, so `inner` should give up before that by itself.
    pub fn new(inner: Arc<dyn EventPublisher>, name: &'static str, policy: GuardPolicy, clock: Arc<dyn Clock>) -> Self {
        Self {
            inner,
            guard: Guard::new(name, &["publish"], policy, clock),
        }
    }

    /// What was counted.
    pub fn stats(&self) -> GuardStats {
        self.guard.stats()
    }

    /// Where the breaker stands.
    pub fn breaker(&self) -> BreakerState {
        self.guard.breaker()
    }
}

fn judge(outcome: &Result<(), BackendError>) -> Judgement {
    outcome.as_ref().map_or_else(Judgement::of, |()| Judgement::Answered)
}

#[async_trait]
impl EventPublisher for GuardedEventPublisher {
    async fn publish(&self, events: &[Arc<LoggedEvent>]) -> Result<(), BackendError> {
        let outcome = self
            .guard
            .call("publish", Lane::Answer, self.inner.publish(events), judge)
            .await;
        outcome.map_err(|refusal| self.guard.error("publish", refusal))?
    }

    fn has_audience(&self) -> bool {
        self.inner.has_audience()
    }
}

impl fmt::Debug for GuardedEventPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedEventPublisher")
            .field("guard", &self.guard)
            .finish_non_exhaustive()
    }
}
