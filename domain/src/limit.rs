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
    /// When refused, until the same cost may pass; when allowed, until one more may: zero when it may now.
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
        Self {
            limit,
            window: Duration::from_secs(seconds),
        }
    }

    // Whole microseconds, as the state holds them, rounded up: never a little more than the limit.
    fn interval(&self) -> u128 {
        self.window.as_micros().div_ceil(u128::from(self.limit.max(1))).max(1)
    }

    /// Decides about `cost` units and gives the new state; a refusal takes nothing. A cost above the limit never passes.
    ///
    /// More than a million in a second cannot be told apart and counts as a million in a second.
    pub fn take(&self, state: RateState, cost: u32, now: Timestamp) -> (RateDecision, RateState) {
        let interval = self.interval();
        let burst = interval * u128::from(self.limit.max(1));
        // More than a whole burst owed means that the clock went back or the rule was changed: neither may lock a key out for longer.
        let owed = state.whole_at.since(now).as_micros().min(burst);
        let price = interval * u128::from(cost);
        let allowed = owed + price <= burst;
        let used = if allowed { owed + price } else { owed };
        let free = burst - used;
        let needed = if allowed { interval } else { price };
        let decision = RateDecision {
            allowed,
            remaining: u32::try_from(free / interval).unwrap_or(u32::MAX),
            retry_after: micros(needed.saturating_sub(free)),
            reset_after: micros(used),
        };
        (
            decision,
            RateState {
                whole_at: now.plus(micros(used)),
            },
        )
    }
}

fn micros(count: u128) -> Duration {
    Duration::from_micros(u64::try_from(count).unwrap_or(u64::MAX))
}
