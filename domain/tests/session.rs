//! The refresh family: against a model that remembers the first use of every token.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::id::{SessionId, UserId};
use domain::session::{EndReason, RefreshDecision, Session, SessionPolicy};
use domain::time::Timestamp;
use proptest::prelude::*;
use uuid::Uuid;

const START: Timestamp = Timestamp::from_seconds(1_800_000_000);

fn session(generation: u32) -> Session {
    Session {
        id: SessionId::new(Uuid::from_u128(1)),
        user_id: UserId::new(Uuid::from_u128(2)),
        created_at: START,
        last_used_at: START,
        generation,
        rotated_at: None,
        methods: vec!["pwd".to_owned()],
        authenticated_at: START,
        user_agent: None,
        ended: None,
    }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Does to a session what the store does after a decision.
fn apply(session: &mut Session, decision: RefreshDecision, now: Timestamp) {
    match decision {
        RefreshDecision::Rotate(child) => {
            session.generation = child;
            session.last_used_at = now;
            session.rotated_at = Some(now);
        }
        RefreshDecision::Reuse => session.ended = Some((now, EndReason::RefreshReuse)),
        RefreshDecision::Repeat(_) | RefreshDecision::Ended | RefreshDecision::Expired => {}
    }
}

/// What should happen, said without generations: by who was used when.
struct Model {
    first_use: BTreeMap<u32, Timestamp>,
    newest: u32,
    last_used: Timestamp,
    over: bool,
}

impl Model {
    fn expects(&mut self, token: u32, now: Timestamp, policy: &SessionPolicy) -> RefreshDecision {
        if self.over {
            return RefreshDecision::Ended;
        }
        if now.since(self.last_used) >= policy.idle || now.since(START) >= policy.absolute {
            return RefreshDecision::Expired;
        }
        let Some(used) = self.first_use.get(&token).copied() else {
            self.first_use.insert(token, now);
            self.newest = token + 1;
            self.last_used = now;
            return RefreshDecision::Rotate(self.newest);
        };
        let child_unused = !self.first_use.contains_key(&(token + 1));
        if child_unused && now.since(used) < policy.grace {
            return RefreshDecision::Repeat(token + 1);
        }
        self.over = true;
        RefreshDecision::Reuse
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// Present the token that many before the newest.
    Present(u32),
    /// Let so many seconds pass.
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => Just(Step::Present(0)),
        3 => Just(Step::Present(1)),
        1 => (2_u32..6).prop_map(Step::Present),
        4 => (0_u64..15).prop_map(Step::Wait),
        1 => (15_u64..400).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn decides_as_the_model(steps in steps(), idle in 50_u64..400, absolute in 100_u64..2_000, grace in 0_u64..20) {
        let policy = SessionPolicy { idle: seconds(idle), absolute: seconds(absolute), grace: seconds(grace) };
        let mut session = session(0);
        let mut model = Model { first_use: BTreeMap::new(), newest: 0, last_used: START, over: false };
        let mut now = START;
        for step in steps {
            match step {
                Step::Wait(time) => now = now.plus(seconds(time)),
                Step::Present(back) => {
                    let token = model.newest.saturating_sub(back);
                    let decision = session.present(token, now, &policy);
                    prop_assert_eq!(decision, model.expects(token, now, &policy), "token {} at {}", token, now);
                    apply(&mut session, decision, now);
                }
            }
        }
    }

    #[test]
    fn a_reuse_is_the_end_of_all(used in 2_u32..20, back in 2_u32..20, probe in 0_u32..30) {
        let policy = SessionPolicy::default();
        let mut session = session(0);
        for generation in 0..used {
            let decision = session.present(generation, START, &policy);
            prop_assert_eq!(decision, RefreshDecision::Rotate(generation + 1));
            apply(&mut session, decision, START);
        }
        let old = used.saturating_sub(back.min(used));
        let decision = session.present(old, START, &policy);
        prop_assert_eq!(decision, RefreshDecision::Reuse);
        apply(&mut session, decision, START);
        prop_assert_eq!(session.present(probe, START, &policy), RefreshDecision::Ended);
    }

    #[test]
    fn a_generation_that_was_never_given_is_no_token_of_ours(ahead in 1_u32..1_000, generation in 0_u32..1_000) {
        let session = session(generation);
        prop_assert_eq!(session.present(generation + ahead, START, &SessionPolicy::default()), RefreshDecision::Reuse);
    }
}

#[test]
fn the_parent_repeats_for_just_under_the_grace() {
    let policy = SessionPolicy::default();
    let mut session = session(7);
    let decision = session.present(7, START, &policy);
    apply(&mut session, decision, START);
    let last = START.plus(policy.grace).minus(Duration::from_micros(1));
    assert_eq!(session.present(7, last, &policy), RefreshDecision::Repeat(8));
    assert_eq!(
        session.present(7, START.plus(policy.grace), &policy),
        RefreshDecision::Reuse
    );
}

#[test]
fn the_parent_is_reuse_as_soon_as_its_child_was_used() {
    let policy = SessionPolicy::default();
    let mut session = session(0);
    for generation in [0, 1] {
        let decision = session.present(generation, START, &policy);
        apply(&mut session, decision, START);
    }
    assert_eq!(session.present(0, START, &policy), RefreshDecision::Reuse);
    assert_eq!(session.present(1, START, &policy), RefreshDecision::Repeat(2));
}

#[test]
fn a_session_lives_seven_days_idle_and_ninety_in_all() {
    let policy = SessionPolicy::default();
    let mut session = session(0);
    assert_eq!(session.expires_at(&policy), START.plus(seconds(7 * 86_400)));
    let mut now = START;
    for day in 0..15_u32 {
        now = START.plus(seconds(u64::from(day) * 6 * 86_400));
        let decision = session.present(session.generation, now, &policy);
        assert_eq!(decision, RefreshDecision::Rotate(day + 1));
        apply(&mut session, decision, now);
    }
    assert_eq!(now, START.plus(seconds(84 * 86_400)));
    let end = START.plus(seconds(90 * 86_400));
    assert_eq!(session.expires_at(&policy), end);
    let newest = session.generation;
    assert!(matches!(
        session.present(newest, end.minus(Duration::from_micros(1)), &policy),
        RefreshDecision::Rotate(_)
    ));
    assert_eq!(session.present(newest, end, &policy), RefreshDecision::Expired);
}

#[test]
fn the_last_generation_is_never_given_twice() {
    let session = session(u32::MAX);
    assert_eq!(
        session.present(u32::MAX, START, &SessionPolicy::default()),
        RefreshDecision::Expired
    );
}

#[test]
fn every_reason_has_its_word() {
    for reason in EndReason::ALL {
        assert_eq!(EndReason::parse(reason.as_str()), Some(reason));
    }
    assert_eq!(EndReason::parse("Logout"), None);
}
