//! Rate limits: the generic cell rate algorithm (ITU-T I.371), which needs one number per key.

use std::time::Duration;

use crate::time::Timestamp;

/// So many in such a time, with the whole of them at once allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateRule {
    /// How many in the window; at least 1.
    pub limit: u32,
    /// The window.
    pub window: Duration,
}

/// What a rule says to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateDecision {
    /// Whether it may pass.
    pub allowed: bool,
    /// How many more may pass now.
    pub remaining: u32,
    /// Until one more may pass: zero when one may pass now.
    pub retry_after: Duration,
    /// Until the whole limit is free again.
    pub reset_after: Duration,
}

/// The state of one key: when its allowance will be whole again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateState {
    /// The theoretical arrival time.
    pub whole_at: Timestamp,
}

impl RateRule {
    /// A rule of `limit` per `seconds`.
    pub const fn per_seconds(limit: u32, seconds: u64) -> Self {
        Self { limit, window: Duration::from_secs(seconds) }
    }

    fn interval(&self) -> Duration {
        self.window / self.limit.max(1)
    }

    /// Decides about `cost` units and gives the new state; a refusal changes nothing.
    pub fn take(&self, state: RateState, cost: u32, now: Timestamp) -> (RateDecision, RateState) {
        let interval = self.interval();
        let base = state.whole_at.max(now);
        let whole_at = base.plus(interval * cost);
        let allowed = whole_at <= now.plus(interval * self.limit.max(1));
        let kept = if allowed { whole_at } else { base };
        let used = kept.since(now);
        let free = (interval * self.limit.max(1)).saturating_sub(used);
        let remaining = u32::try_from(free.as_nanos() / interval.as_nanos().max(1)).unwrap_or(u32::MAX);
        let needed = interval * if allowed { 1 } else { cost };
        let decision = RateDecision {
            allowed,
            remaining,
            retry_after: needed.saturating_sub(free),
            reset_after: used,
        };
        (decision, RateState { whole_at: kept })
    }
}
