//! Rate limits.

use async_trait::async_trait;
use domain::limit::{RateDecision, RateRule};
use domain::time::Timestamp;

use crate::BackendError;

/// Counts against rules.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait RateLimiter: Send + Sync + 'static {
    /// Takes `cost` units of the key's allowance under the rule. MUST be exact under concurrency, and MUST bound its memory: a flood of new keys forgets whole allowances first, never used ones that matter.
    async fn take(&self, key: &str, rule: &RateRule, cost: u32, now: Timestamp) -> Result<RateDecision, BackendError>;
}
