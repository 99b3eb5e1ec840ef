//! The scenarios of [`RateLimiter`](crate::RateLimiter).

use std::time::Duration;

use domain::limit::{RateDecision, RateRule};
use domain::time::Timestamp;

use crate::RateLimiter;

/// One named test per scenario. The fixture is a future of `Option<(limiter, guard)>`; nothing was taken yet.
#[macro_export]
macro_rules! rate_limiter_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            rate_limiter,
            [
                allows_the_limit_and_no_more,
                says_exactly_when_to_come_back,
                is_whole_again_after_the_window,
                takes_nothing_when_it_refuses,
                counts_the_cost,
                keeps_keys_and_rules_apart,
                is_exact_under_concurrency,
                remembers_through_a_flood_of_new_keys,
            ]
        );
    };
}

const RULE: RateRule = RateRule::per_seconds(10, 60);
const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

async fn take(limiter: &dyn RateLimiter, key: &str, cost: u32, now: Timestamp) -> RateDecision {
    limiter.take(key, &RULE, cost, now).await.expect("a decision")
}

/// The whole of them at once, counted down.
pub async fn allows_the_limit_and_no_more(limiter: &dyn RateLimiter) {
    for left in (0..10).rev() {
        let decision = take(limiter, "a", 1, NOW).await;
        assert!(decision.allowed);
        assert_eq!(decision.remaining, left);
    }
    let refused = take(limiter, "a", 1, NOW).await;
    assert!(!refused.allowed);
    assert_eq!(refused.remaining, 0);
    assert_eq!(refused.reset_after, RULE.window);
}

/// A microsecond before is too early.
pub async fn says_exactly_when_to_come_back(limiter: &dyn RateLimiter) {
    take(limiter, "a", 10, NOW).await;
    let wait = take(limiter, "a", 1, NOW).await.retry_after;
    assert_eq!(wait, Duration::from_secs(6));
    assert!(
        !take(limiter, "a", 1, NOW.plus(wait - Duration::from_micros(1)))
            .await
            .allowed
    );
    assert!(take(limiter, "a", 1, NOW.plus(wait)).await.allowed);
}

/// And not more than whole.
pub async fn is_whole_again_after_the_window(limiter: &dyn RateLimiter) {
    take(limiter, "a", 10, NOW).await;
    let later = NOW.plus(Duration::from_secs(600));
    assert_eq!(take(limiter, "a", 1, later).await.remaining, 9);
}

/// Who keeps knocking is let in when the time has come.
pub async fn takes_nothing_when_it_refuses(limiter: &dyn RateLimiter) {
    take(limiter, "a", 10, NOW).await;
    for second in 0..6 {
        assert!(
            !take(limiter, "a", 1, NOW.plus(Duration::from_secs(second)))
                .await
                .allowed
        );
    }
    assert!(take(limiter, "a", 1, NOW.plus(Duration::from_secs(6))).await.allowed);
}

/// Seven and three are ten; eleven never fit.
pub async fn counts_the_cost(limiter: &dyn RateLimiter) {
    assert_eq!(take(limiter, "a", 7, NOW).await.remaining, 3);
    assert!(!take(limiter, "a", 4, NOW).await.allowed);
    assert!(take(limiter, "a", 3, NOW).await.allowed);
    assert!(!take(limiter, "b", 11, NOW).await.allowed);
    assert_eq!(take(limiter, "b", 1, NOW).await.remaining, 9);
}

/// One key's use is nobody else's, and one rule's not another's.
pub async fn keeps_keys_and_rules_apart(limiter: &dyn RateLimiter) {
    take(limiter, "a", 10, NOW).await;
    for key in ["b", "", "A", "a "] {
        assert!(take(limiter, key, 1, NOW).await.allowed, "{key:?}");
    }
    let other = RateRule::per_seconds(10, 61);
    assert_eq!(
        limiter.take("a", &other, 1, NOW).await.expect("a decision").remaining,
        9
    );
    assert!(!take(limiter, "a", 1, NOW).await.allowed);
}

/// Eight threads ask for far more than there is: all of it is given, once.
pub async fn is_exact_under_concurrency(limiter: &dyn RateLimiter) {
    let rule = RateRule::per_seconds(1_000, 3_600);
    let ask = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let asking = async {
            let mut allowed = 0;
            for _ in 0..500 {
                let decision = limiter.take("a", &rule, 1, NOW).await.expect("a decision");
                allowed += u32::from(decision.allowed);
            }
            allowed
        };
        runtime.block_on(asking)
    };
    let allowed: u32 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a thread that asks"))
            .sum()
    });
    assert_eq!(allowed, 1_000);
}

/// A guesser cannot wash away the count of their guesses.
pub async fn remembers_through_a_flood_of_new_keys(limiter: &dyn RateLimiter) {
    take(limiter, "guessed", 10, NOW).await;
    for number in 0..5_000 {
        take(limiter, &format!("flood {number}"), 1, NOW).await;
    }
    assert!(!take(limiter, "guessed", 1, NOW).await.allowed);
}
