//! Rate limits: never more than the rule, and waits that are exact to the microsecond.

use std::time::Duration;

use domain::limit::{RateRule, RateState};
use domain::time::Timestamp;
use proptest::prelude::*;

const START: Timestamp = Timestamp::from_seconds(1_800_000_000);
const MICRO: Duration = Duration::from_micros(1);

fn rule(limit: u32, window_micros: u64) -> RateRule {
    RateRule {
        limit,
        window: Duration::from_micros(window_micros),
    }
}

fn rules() -> impl Strategy<Value = RateRule> {
    (1_u32..50, 1_000_u64..10_000_000).prop_map(|(limit, window)| rule(limit, window))
}

/// Waits in thousandths of the window, and what each request costs.
fn requests() -> impl Strategy<Value = Vec<(u32, u32)>> {
    let wait = prop_oneof![3 => Just(0_u32), 3 => 0_u32..60, 1 => 60_u32..1_500];
    prop::collection::vec((wait, prop_oneof![3 => Just(1_u32), 1 => 0_u32..60]), 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

    #[test]
    fn no_stretch_of_time_sees_more_than_the_burst_and_the_rate(rule in rules(), requests in requests()) {
        let window = rule.window.as_micros();
        let (mut now, mut state) = (START, RateState::default());
        let mut passed: Vec<(Timestamp, u128)> = Vec::new();
        for (wait, cost) in requests {
            now = now.plus(rule.window * wait / 1_000);
            let (decision, next) = rule.take(state, cost, now);
            state = next;
            if decision.allowed {
                passed.push((now, u128::from(cost)));
            }
        }
        let limit = u128::from(rule.limit);
        for (first, (from, _)) in passed.iter().enumerate() {
            let mut taken = 0;
            for (at, cost) in &passed[first..] {
                taken += cost;
                let stretch = at.since(*from).as_micros();
                prop_assert!(taken * window <= limit * (window + stretch), "{} in {} us", taken, stretch);
            }
        }
    }

    #[test]
    fn the_wait_is_exact(rule in rules(), requests in requests()) {
        let (mut now, mut state) = (START, RateState::default());
        for (wait, cost) in requests {
            now = now.plus(rule.window * wait / 1_000);
            let (decision, next) = rule.take(state, cost, now);
            state = next;
            prop_assert_eq!(decision.allowed || decision.retry_after > Duration::ZERO, true);
            // A refusal speaks of the same cost, an answer of the next one.
            let again = if decision.allowed { 1 } else { cost };
            if again > rule.limit {
                continue;
            }
            let due = now.plus(decision.retry_after);
            prop_assert!(rule.take(state, again, due).0.allowed, "refused when it was due");
            if decision.retry_after > Duration::ZERO {
                prop_assert!(!rule.take(state, again, due.minus(MICRO)).0.allowed, "allowed before it was due");
            }
        }
    }

    #[test]
    fn what_remains_is_what_can_be_taken(rule in rules(), requests in requests()) {
        let (mut now, mut state) = (START, RateState::default());
        for (wait, cost) in requests {
            now = now.plus(rule.window * wait / 1_000);
            let (decision, next) = rule.take(state, cost, now);
            state = next;
            prop_assert!(rule.take(state, decision.remaining, now).0.allowed);
            prop_assert!(!rule.take(state, decision.remaining + 1, now).0.allowed);
            let whole = now.plus(decision.reset_after);
            prop_assert_eq!(rule.take(state, 0, whole).0.remaining, rule.limit);
        }
    }

    #[test]
    fn a_refusal_takes_nothing(rule in rules(), spent in 1_u32..50, refused in 1_u32..100, wait in 0_u32..2_000) {
        let (_, state) = rule.take(RateState::default(), spent.min(rule.limit), START);
        let (decision, after) = rule.take(state, refused, START);
        prop_assume!(!decision.allowed);
        let later = START.plus(rule.window * wait / 1_000);
        prop_assert_eq!(rule.take(state, 1, later), rule.take(after, 1, later));
    }

    #[test]
    fn extremes_overflow_nothing(
        limit in prop_oneof![Just(0), Just(u32::MAX), any::<u32>()],
        seconds in prop_oneof![Just(0), Just(u64::MAX), any::<u64>()],
        nanos in 0_u32..1_000_000_000,
        whole_at in any::<i64>(),
        now in any::<i64>(),
        cost in prop_oneof![Just(u32::MAX), any::<u32>()],
    ) {
        let rule = RateRule { limit, window: Duration::new(seconds, nanos) };
        let state = RateState { whole_at: Timestamp::from_micros(whole_at) };
        let (decision, _) = rule.take(state, cost, Timestamp::from_micros(now));
        prop_assert!(decision.remaining <= limit.max(1));
        prop_assert!(!decision.allowed || cost <= limit.max(1));
    }

    #[test]
    fn a_clock_that_went_back_locks_nobody_out(rule in rules(), back in 0_u64..1_000_000_000_000) {
        let (_, state) = rule.take(RateState::default(), rule.limit, START);
        let now = START.minus(Duration::from_micros(back));
        let (decision, state) = rule.take(state, 1, now);
        prop_assert!(!decision.allowed && decision.retry_after <= rule.window);
        prop_assert!(rule.take(state, 1, now.plus(decision.retry_after)).0.allowed);
    }
}

#[test]
fn a_new_key_has_its_whole_allowance_at_once_and_no_more() {
    for limit in [1, 3, 7, 60, 1_000] {
        let rule = RateRule::per_seconds(limit, 60);
        let mut state = RateState::default();
        for left in (0..limit).rev() {
            let (decision, next) = rule.take(state, 1, START);
            assert!(decision.allowed);
            assert_eq!(decision.remaining, left);
            state = next;
        }
        let (decision, _) = rule.take(state, 1, START);
        assert!(!decision.allowed && decision.remaining == 0);
        assert_eq!(
            decision.retry_after.as_micros(),
            60_000_000_u128.div_ceil(u128::from(limit))
        );
    }
}

#[test]
fn a_cost_above_the_limit_never_passes() {
    let rule = RateRule::per_seconds(10, 60);
    let (decision, state) = rule.take(RateState::default(), 11, START);
    assert!(!decision.allowed && decision.retry_after > Duration::ZERO);
    assert_eq!(decision.remaining, 10);
    assert!(rule.take(state, 10, START).0.allowed);
}

#[test]
fn a_rate_finer_than_the_clock_is_still_a_limit() {
    let rule = RateRule::per_seconds(u32::MAX, 1);
    let (first, state) = rule.take(RateState::default(), u32::MAX, START);
    assert!(first.allowed);
    assert!(!rule.take(state, 1, START).0.allowed);
}

#[test]
fn the_rule_of_a_lower_tier_holds_at_once_and_not_for_longer_than_its_window() {
    let (_, state) = RateRule::per_seconds(1_000, 3_600).take(RateState::default(), 1_000, START);
    let free = RateRule::per_seconds(10, 60);
    let (decision, state) = free.take(state, 1, START);
    assert!(!decision.allowed && decision.retry_after <= free.window);
    assert!(free.take(state, 1, START.plus(decision.retry_after)).0.allowed);
}
