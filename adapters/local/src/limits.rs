//! Rate limits of one process.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::limit::{RateDecision, RateRule, RateState};
use domain::time::Timestamp;
use ports::{BackendError, RateLimiter};

/// Locks, so that many cores seldom wait for one another.
const SHARDS: usize = 16;
/// Allowances kept: some 15 MB when all are in use.
const CAPACITY: usize = 100_000;

/// Keeps one number for each key and rule in memory.
///
/// When there are too many, those that are whole again go first (forgetting them changes nothing), then those of which the
/// least is used: a flood of new keys washes itself away and not the key that is being guessed at.
pub struct LocalRateLimiter {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
}

struct Shard {
    allowances: HashMap<Allowance, RateState>,
    capacity: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Allowance {
    limit: u32,
    window: Duration,
    key: Box<str>,
}

impl LocalRateLimiter {
    /// A limiter of 100,000 allowances.
    pub fn new() -> Self {
        Self::with_capacity(CAPACITY)
    }

    /// A limiter of about so many allowances.
    pub fn with_capacity(capacity: usize) -> Self {
        let capacity = capacity.div_ceil(SHARDS).max(1);
        let shard = |_| {
            Mutex::new(Shard {
                allowances: HashMap::new(),
                capacity,
            })
        };
        Self {
            shards: (0..SHARDS).map(shard).collect(),
            hasher: RandomState::new(),
        }
    }

    /// How many allowances are remembered.
    pub fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).allowances.len())
            .sum()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for LocalRateLimiter {
    fn default() -> Self {
        Self::new()
    }
}

impl Shard {
    fn take(&mut self, allowance: Allowance, rule: &RateRule, cost: u32, now: Timestamp) -> RateDecision {
        if let Some(state) = self.allowances.get_mut(&allowance) {
            let (decision, next) = rule.take(*state, cost, now);
            *state = next;
            return decision;
        }
        let (decision, state) = rule.take(RateState::default(), cost, now);
        if self.allowances.len() >= self.capacity {
            self.forget(now);
        }
        self.allowances.insert(allowance, state);
        decision
    }

    /// Makes room: at least an eighth of it, so that a flood pays for the search once in many keys.
    fn forget(&mut self, now: Timestamp) {
        self.allowances.retain(|_, state| state.whole_at > now);
        let wanted = (self.capacity / 8).max(1);
        let Some(mut excess) = (self.allowances.len() + wanted)
            .checked_sub(self.capacity)
            .filter(|excess| *excess > 0)
        else {
            return;
        };
        let mut shares: Vec<u128> = self
            .allowances
            .iter()
            .map(|(allowance, state)| used(allowance, *state, now))
            .collect();
        let (_, &mut threshold, _) = shares.select_nth_unstable(excess - 1);
        let less = self
            .allowances
            .iter()
            .filter(|(allowance, state)| used(allowance, **state, now) < threshold)
            .count();
        // Of those that are used alike, only as many go as must.
        excess -= less.min(excess);
        self.allowances.retain(|allowance, state| {
            let share = used(allowance, *state, now);
            let goes = share < threshold || (share == threshold && excess > 0);
            excess -= usize::from(share == threshold && goes);
            !goes
        });
    }
}

/// The share of the allowance that is used, in millionths: rules of different windows can be compared by it.
fn used(allowance: &Allowance, state: RateState, now: Timestamp) -> u128 {
    state.whole_at.since(now).as_micros() * 1_000_000 / allowance.window.as_micros().max(1)
}

#[async_trait]
impl RateLimiter for LocalRateLimiter {
    async fn take(&self, key: &str, rule: &RateRule, cost: u32, now: Timestamp) -> Result<RateDecision, BackendError> {
        let allowance = Allowance {
            limit: rule.limit,
            window: rule.window,
            key: key.into(),
        };
        let index = self.hasher.hash_one(&allowance) % SHARDS as u64;
        let shard = usize::try_from(index)
            .ok()
            .and_then(|index| self.shards.get(index))
            .unwrap_or(&self.shards[0]);
        Ok(shard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(allowance, rule, cost, now))
    }
}

impl fmt::Debug for LocalRateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalRateLimiter")
            .field("allowances", &self.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
    const HOURLY: RateRule = RateRule::per_seconds(100, 3_600);
    const BY_MINUTE: RateRule = RateRule::per_seconds(10, 60);

    async fn take(limiter: &LocalRateLimiter, key: &str, rule: &RateRule, cost: u32, now: Timestamp) -> bool {
        limiter.take(key, rule, cost, now).await.expect("a decision").allowed
    }

    #[tokio::test]
    async fn a_flood_of_new_keys_neither_fills_the_memory_nor_frees_a_guesser() {
        let limiter = LocalRateLimiter::with_capacity(1_600);
        for guessed in 0..16 {
            assert!(take(&limiter, &format!("guessed {guessed}"), &BY_MINUTE, 10, NOW).await);
        }
        // Whole again only after those that are guessed at, and still of less use.
        for number in 0..50_000 {
            assert!(take(&limiter, &format!("flood {number}"), &HOURLY, 5, NOW).await);
        }
        assert!(limiter.len() <= 1_600 + SHARDS, "{limiter:?}");
        for guessed in 0..16 {
            assert!(
                !take(&limiter, &format!("guessed {guessed}"), &BY_MINUTE, 1, NOW).await,
                "{guessed} was forgotten"
            );
        }
    }

    #[tokio::test]
    async fn whole_allowances_go_before_used_ones() {
        let limiter = LocalRateLimiter::with_capacity(1_600);
        for number in 0..1_000 {
            take(&limiter, &format!("old {number}"), &BY_MINUTE, 10, NOW).await;
        }
        let later = NOW.plus(Duration::from_secs(60));
        for number in 0..800 {
            take(&limiter, &format!("new {number}"), &HOURLY, 1, later).await;
        }
        let mut kept = 0;
        for number in 0..800 {
            let decision = limiter
                .take(&format!("new {number}"), &HOURLY, 1, later)
                .await
                .expect("a decision");
            kept += u32::from(decision.remaining == 98);
        }
        assert_eq!(kept, 800, "used allowances went although whole ones were there");
    }

    #[tokio::test]
    async fn when_all_are_used_up_no_more_go_than_must() {
        let limiter = LocalRateLimiter::with_capacity(1_600);
        for number in 0..4_000 {
            take(&limiter, &format!("key {number}"), &BY_MINUTE, 10, NOW).await;
        }
        assert!(limiter.len() >= 1_600 * 3 / 4, "{limiter:?}");
    }

    #[test]
    fn it_begins_empty() {
        assert!(LocalRateLimiter::new().is_empty());
    }
}
