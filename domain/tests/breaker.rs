//! The circuit breaker: against a model, with calls that overlap and end in any order.

use std::time::Duration;

use domain::breaker::{Breaker, BreakerPolicy, BreakerState};
use domain::time::Timestamp;
use proptest::prelude::*;

const START: Timestamp = Timestamp::from_seconds(1_800_000_000);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Outcome {
    Success,
    Failure,
    Abandoned,
}

#[derive(Debug, Clone)]
enum Step {
    Call,
    End(prop::sample::Index, Outcome),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome = prop::sample::select(vec![
        Outcome::Success,
        Outcome::Failure,
        Outcome::Failure,
        Outcome::Abandoned,
    ]);
    let step = prop_oneof![
        4 => Just(Step::Call),
        4 => (any::<prop::sample::Index>(), outcome).prop_map(|(call, outcome)| Step::End(call, outcome)),
        2 => (1_u64..8).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..150)
}

/// The rule in its own words; a call belongs to the phase in which it was let through.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Closed { failures: u32 },
    Open { since: Timestamp },
    Trying { good: u32, under_way: bool },
}

struct Model {
    phase: Phase,
    number: u32,
}

impl Model {
    fn change(&mut self, phase: Phase) {
        self.phase = phase;
        self.number += 1;
    }

    fn call(&mut self, now: Timestamp, policy: &BreakerPolicy) -> bool {
        match self.phase {
            Phase::Closed { .. } => true,
            Phase::Open { since } if now.since(since) < policy.open_for => false,
            Phase::Open { .. } => {
                self.change(Phase::Trying {
                    good: 0,
                    under_way: true,
                });
                true
            }
            Phase::Trying { under_way: true, .. } => false,
            Phase::Trying { good, under_way: false } => {
                self.phase = Phase::Trying { good, under_way: true };
                true
            }
        }
    }

    fn end(&mut self, outcome: Outcome, now: Timestamp, policy: &BreakerPolicy) {
        match (self.phase, outcome) {
            (Phase::Closed { .. }, Outcome::Success) => self.phase = Phase::Closed { failures: 0 },
            (Phase::Closed { failures }, Outcome::Failure) => {
                self.phase = Phase::Closed { failures: failures + 1 };
                if failures + 1 == policy.threshold {
                    self.change(Phase::Open { since: now });
                }
            }
            (Phase::Trying { good, .. }, Outcome::Success) => {
                self.phase = Phase::Trying {
                    good: good + 1,
                    under_way: false,
                };
                if good + 1 == policy.trials {
                    self.change(Phase::Closed { failures: 0 });
                }
            }
            (Phase::Trying { .. }, Outcome::Failure) => self.change(Phase::Open { since: now }),
            (Phase::Trying { good, .. }, Outcome::Abandoned) => self.phase = Phase::Trying { good, under_way: false },
            (Phase::Closed { .. }, Outcome::Abandoned) | (Phase::Open { .. }, _) => {}
        }
    }

    fn state(&self, policy: &BreakerPolicy) -> BreakerState {
        match self.phase {
            Phase::Closed { failures } => BreakerState::Closed { failures },
            Phase::Open { since } => BreakerState::Open {
                until: since.plus(policy.open_for),
            },
            Phase::Trying { good, under_way } => BreakerState::HalfOpen {
                successes: good,
                trial: under_way,
            },
        }
    }
}

fn tell(breaker: &mut Breaker, outcome: Outcome, now: Timestamp) {
    match outcome {
        Outcome::Success => breaker.success(),
        Outcome::Failure => breaker.failure(now),
        Outcome::Abandoned => breaker.abandon(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn behaves_as_the_model(steps in steps(), threshold in 1_u32..5, open_for in 1_u64..12, trials in 1_u32..4) {
        let policy = BreakerPolicy { threshold, open_for: Duration::from_secs(open_for), trials };
        let mut breaker = Breaker::new(policy);
        let mut model = Model { phase: Phase::Closed { failures: 0 }, number: 0 };
        // Each call under way: the round that the breaker told, and the phase of the model.
        let mut calls: Vec<(u64, u32)> = Vec::new();
        let mut now = START;
        for step in steps {
            match step {
                Step::Wait(time) => now = now.plus(Duration::from_secs(time)),
                Step::Call => {
                    let opened = model.phase;
                    let answer = breaker.admit(now);
                    prop_assert_eq!(answer.is_ok(), model.call(now, &policy), "at {:?}", opened);
                    if let (Err(refusal), Phase::Open { since }) = (answer, opened) {
                        prop_assert_eq!(now.plus(refusal.retry_after), since.plus(policy.open_for));
                    }
                    if answer.is_ok() {
                        calls.push((breaker.round(), model.number));
                    }
                }
                Step::End(call, outcome) if !calls.is_empty() => {
                    let (round, number) = calls.swap_remove(call.index(calls.len()));
                    if round == breaker.round() {
                        tell(&mut breaker, outcome, now);
                    }
                    if number == model.number {
                        model.end(outcome, now, &policy);
                    }
                }
                Step::End(..) => {}
            }
            prop_assert_eq!(breaker.state(), model.state(&policy));
            let trials = calls.iter().filter(|(round, _)| *round == breaker.round()).count();
            if matches!(breaker.state(), BreakerState::HalfOpen { .. }) {
                prop_assert!(trials <= 1, "{} trials at once", trials);
            }
        }
    }
}

fn opened(policy: BreakerPolicy) -> Breaker {
    let mut breaker = Breaker::new(policy);
    for _ in 0..policy.threshold {
        breaker.admit(START).expect("closed");
        breaker.failure(START);
    }
    breaker
}

#[test]
fn five_failures_in_a_row_open_it_for_ten_seconds() {
    let mut breaker = opened(BreakerPolicy::default());
    let refusal = breaker.admit(START).expect_err("open");
    assert_eq!(refusal.retry_after, Duration::from_secs(10));
    let until = START.plus(Duration::from_secs(10));
    assert!(breaker.admit(until.minus(Duration::from_micros(1))).is_err());
    assert!(breaker.admit(until).is_ok());
    assert!(breaker.admit(until).is_err(), "a second trial beside the first");
}

#[test]
fn a_success_between_failures_starts_the_count_again() {
    let mut breaker = Breaker::new(BreakerPolicy::default());
    for _ in 0..20 {
        for _ in 0..4 {
            breaker.failure(START);
        }
        breaker.success();
    }
    assert_eq!(breaker.state(), BreakerState::Closed { failures: 0 });
}

#[test]
fn an_abandoned_trial_makes_room_for_the_next() {
    let mut breaker = opened(BreakerPolicy::default());
    let later = START.plus(Duration::from_secs(11));
    breaker.admit(later).expect("a trial");
    breaker.abandon();
    breaker.admit(later).expect("the next trial");
    breaker.success();
    breaker.admit(later).expect("the second trial");
    breaker.success();
    assert_eq!(breaker.state(), BreakerState::Closed { failures: 0 });
}

#[test]
fn a_failed_trial_opens_it_for_the_whole_time_again() {
    let mut breaker = opened(BreakerPolicy::default());
    let later = START.plus(Duration::from_secs(60));
    breaker.admit(later).expect("a trial");
    breaker.failure(later);
    assert_eq!(
        breaker.state(),
        BreakerState::Open {
            until: later.plus(Duration::from_secs(10))
        }
    );
}

#[test]
fn extreme_policies_overflow_nothing() {
    let policy = BreakerPolicy {
        threshold: u32::MAX,
        open_for: Duration::MAX,
        trials: u32::MAX,
    };
    let mut breaker = Breaker::new(policy);
    breaker.failure(Timestamp::MAX);
    assert_eq!(breaker.state(), BreakerState::Closed { failures: 1 });
    let mut hair = Breaker::new(BreakerPolicy {
        threshold: 0,
        trials: 0,
        ..policy
    });
    hair.failure(START);
    assert_eq!(hair.state(), BreakerState::Open { until: Timestamp::MAX });
}
