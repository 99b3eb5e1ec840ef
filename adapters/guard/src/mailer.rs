//! A guarded mailer.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use domain::breaker::BreakerState;
use domain::mail::RenderedMail;
use ports::{Clock, Mailer, SendMailError};

use crate::guard::{Guard, Judgement, Lane};
use crate::{GuardPolicy, GuardStats};

/// A mailer behind timeout, breaker and bulkhead. What the guard refuses is to be tried later.
pub struct GuardedMailer {
    inner: Arc<dyn Mailer>,
    guard: Guard,
}

impl GuardedMailer {
    /// Guards `inner`; `name` is the backend's in logs.
    pub fn new(inner: Arc<dyn Mailer>, name: &'static str, policy: GuardPolicy, clock: Arc<dyn Clock>) -> Self {
        Self {
            inner,
            guard: Guard::new(name, &["check", "send"], policy, clock),
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

fn judge(outcome: &Result<String, SendMailError>) -> Judgement {
    match outcome {
        // A server that refuses one message for good is at work.
        Ok(_) | Err(SendMailError::Refused(_)) => Judgement::Answered,
        Err(SendMailError::TryLater(_)) => Judgement::Failed,
    }
}

#[async_trait]
impl Mailer for GuardedMailer {
    async fn check(&self) -> Result<String, SendMailError> {
        let outcome = self.guard.call("check", Lane::Answer, self.inner.check(), judge).await;
        outcome.map_err(|refusal| SendMailError::TryLater(refusal.to_string()))?
    }

    async fn send(&self, mail: &RenderedMail) -> Result<String, SendMailError> {
        let outcome = self
            .guard
            .call("send", Lane::Answer, self.inner.send(mail), judge)
            .await;
        outcome.map_err(|refusal| SendMailError::TryLater(refusal.to_string()))?
    }
}

impl fmt::Debug for GuardedMailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedMailer")
            .field("guard", &self.guard)
            .finish_non_exhaustive()
    }
}
