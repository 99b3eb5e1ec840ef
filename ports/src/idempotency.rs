//! Answers kept for requests that came with an `Idempotency-Key`.

use std::time::Duration;

use async_trait::async_trait;
use domain::time::Timestamp;

use crate::{BackendError, IdempotencyScope, StoredAnswer};

/// What there is under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// Nothing: the request is to be carried out, and its answer stored through its [`Effects`](crate::Effects).
    New,
    /// The same request was answered: say it again.
    Answered(StoredAnswer),
    /// The same request is being carried out.
    InFlight,
    /// The key was used for another content.
    Reused,
}

/// Requests by their `Idempotency-Key`.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait IdempotencyStore: Send + Sync + 'static {
    /// Begins a request. Of many with the same scope and fingerprint exactly one MUST get [`Begun::New`]; one that was begun and not answered within `lock` is taken to have died. What is older than `keep` counts as absent.
    async fn begin(
        &self,
        scope: &IdempotencyScope,
        fingerprint: &[u8; 32],
        now: Timestamp,
        lock: Duration,
        keep: Duration,
    ) -> Result<Begun, BackendError>;

    /// Forgets a request that was begun and not answered, so that it can be tried again; idempotent, and MUST NOT forget an answered one.
    async fn release(&self, scope: &IdempotencyScope) -> Result<(), BackendError>;

    /// Removes what is older than then, at most `limit` rows; gives how many.
    async fn prune(&self, before: Timestamp, limit: u32) -> Result<u64, BackendError>;
}
