//! Health and figures of a backend.

use async_trait::async_trait;
use domain::stats::{ClusterStats, PoolStats, StatementStats};
use domain::time::Timestamp;

use crate::BackendError;

/// What a backend tells about itself and about those who use it, for a person who looks for faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Survey {
    /// Its own time of day; none for a backend that has no clock but this machine's.
    pub clock: Option<Timestamp>,
    /// How many machines are connected, this one among them; none when it cannot tell.
    pub machines: Option<u32>,
}

/// Tells whether a backend can be used, without a handle of it leaking upward.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait Probe: Send + Sync + 'static {
    /// The dependency's name in health answers, for example `database`.
    fn name(&self) -> &'static str;

    /// Uses the backend in the cheapest way that proves it answers.
    async fn check(&self) -> Result<(), BackendError>;

    /// Whether the schema behind it, as it is now, serves a binary of this version; true for backends without one. A newer node may have contracted it since this process began.
    async fn schema(&self) -> Result<bool, BackendError>;

    /// Asks the backend for its clock and for those who use it. MUST change nothing.
    async fn survey(&self) -> Result<Survey, BackendError>;

    /// The pool behind it, for backends that have one.
    fn pool(&self) -> Option<PoolStats>;

    /// The statements that this process sent it, for backends that have them. Every statement MUST be counted once, those that failed too.
    fn statements(&self) -> Option<StatementStats>;

    /// The brokers behind it, for backends that have such. MUST NOT wait for them.
    fn cluster(&self) -> Option<ClusterStats>;
}
