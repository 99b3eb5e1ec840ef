//! Scenarios for [`LogKeeper`](crate::LogKeeper).

use std::sync::Arc;

use domain::audit::ShardWalk;
use domain::dead_letter::LetterOrigin;
use domain::event::{Event, OwnEvent, Shard};
use domain::id::{DeadLetterId, UserId};
use futures_util::future::join_all;

use super::samples::{TTL, at, event, events, sequence_all, user, uuid};
use crate::{
    AuditTrail, Cursor, CursorMove, CursorStore, Effects, EffectsError, EventLog, EventStore, HeldEvents, HeldFate,
    HeldOutcome, HeldVerdict, InboxMark, LogKeeper, LogSequencer, NewCheckpoint, NewHeldEvent, ShardStep,
};

/// What the scenarios need: the keeper, and all that writes into the log and reads it.
pub struct Subject {
    /// The keeper under test.
    pub keeper: Arc<dyn LogKeeper>,
    /// The log as it is audited.
    pub trail: Arc<dyn AuditTrail>,
    /// The store of the same log.
    pub store: Arc<dyn EventStore>,
    /// Its sequencer.
    pub sequencer: Arc<dyn LogSequencer>,
    /// The log as others read it.
    pub log: Arc<dyn EventLog>,
    /// Its cursors.
    pub cursors: Arc<dyn CursorStore>,
    /// Events that groups hold.
    pub held: Arc<dyn HeldEvents>,
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject").finish_non_exhaustive()
    }
}

/// One test for each scenario; the fixture is a future of `Option<(log_keeper::Subject, guard)>`.
#[macro_export]
macro_rules! log_keeper_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            log_keeper,
            [
                of_many_nodes_one_makes_a_checkpoint,
                a_checkpoint_comes_with_its_event,
                what_is_removable_never_goes_back,
                a_boundary_parts_the_older_from_the_younger,
                nothing_is_trimmed_that_no_checkpoint_allows,
                trimming_stops_at_the_first_younger_event,
                trimming_stops_at_the_slowest_group,
                trimming_stops_at_an_event_that_a_group_holds,
                trimming_goes_in_small_steps_and_the_chain_holds,
                readers_before_the_beginning_go_on_with_what_is_left,
                marks_go_with_their_events,
                events_that_wait_stay,
                many_trim_each_event_once,
                blanking_erases_payloads_and_keeps_the_chain,
                blanking_spares_checkpoints_and_what_groups_have_not_seen,
            ]
        );
    };
}

/// Ten events of one user, a second apart; gives the user.
async fn fill(subject: &Subject) -> UserId {
    let owner = user();
    let written = (0..10).map(|number| Event {
        time: at(number),
        ..event(owner, number.unsigned_abs())
    });
    subject.store.append(&events(written.collect())).await.expect("written");
    sequence_all(&*subject.sequencer).await;
    owner
}

fn new(serial: u64, removable: Vec<Cursor>) -> NewCheckpoint {
    NewCheckpoint {
        serial,
        at: at(1_000),
        events: 10,
        removable,
    }
}

async fn allow(subject: &Subject, shard: Shard, position: u64) {
    let serial = subject.keeper.last_checkpoint().await.expect("the last").serial + 1;
    let made = subject
        .keeper
        .checkpoint(&new(serial, vec![Cursor { shard, position }]), &Effects::none())
        .await;
    assert!(made.expect("an answer"));
}

async fn floor(subject: &Subject, shard: Shard) -> u64 {
    let floors = subject.log.floors().await.expect("floors");
    assert_eq!(
        floors.iter().map(|floor| floor.shard).collect::<Vec<_>>(),
        Shard::all().collect::<Vec<_>>()
    );
    floors
        .iter()
        .find(|floor| floor.shard == shard)
        .expect("the shard")
        .position
}

async fn trim(subject: &Subject, shard: Shard, before: i64, limit: u32) -> u64 {
    subject.keeper.trim(shard, at(before), limit).await.expect("an answer")
}

/// What is left of the user's events, by their payload's number.
async fn left(subject: &Subject, owner: UserId) -> Vec<u64> {
    let history = subject.store.history(owner, 0, 100).await.expect("a history");
    history.iter().map(|logged| logged.position).collect()
}

async fn assert_sound(subject: &Subject) {
    for bounds in subject.trail.bounds().await.expect("bounds") {
        let mut walk = ShardWalk::new(bounds.shard, bounds.floor, Vec::new());
        for row in subject
            .trail
            .rows(bounds.shard, 0, bounds.head.position, 1_000)
            .await
            .expect("rows")
        {
            walk.row(&row, |finding| panic!("{finding:?}"));
        }
        walk.end(bounds.head, |finding| panic!("{finding:?}"));
    }
    assert_eq!(subject.trail.intruders(10).await.expect("an answer"), []);
    assert_eq!(subject.trail.look(None, 1_000).await.expect("an answer").strays, []);
}

/// The serial number decides.
pub async fn of_many_nodes_one_makes_a_checkpoint(subject: &Subject) {
    let first = subject.keeper.last_checkpoint().await.expect("the last");
    assert_eq!((first.serial, first.events), (0, 0));
    let effects = Effects::none();
    let one = new(1, vec![]);
    let made = join_all((0..6).map(|_| subject.keeper.checkpoint(&one, &effects))).await;
    assert_eq!(made.into_iter().filter(|made| matches!(made, Ok(true))).count(), 1);
    let last = subject.keeper.last_checkpoint().await.expect("the last");
    assert_eq!((last.serial, last.at, last.events), (1, at(1_000), 10));
    for serial in [0, 1, 3] {
        assert!(
            !subject
                .keeper
                .checkpoint(&new(serial, vec![]), &effects)
                .await
                .expect("an answer")
        );
    }
}

/// Both or neither.
pub async fn a_checkpoint_comes_with_its_event(subject: &Subject) {
    let owner = user();
    let effects = events(vec![event(owner, 1)]);
    assert!(
        !subject
            .keeper
            .checkpoint(&new(2, vec![]), &effects)
            .await
            .expect("an answer")
    );
    sequence_all(&*subject.sequencer).await;
    assert_eq!(left(subject, owner).await, Vec::<u64>::new());
    assert!(
        subject
            .keeper
            .checkpoint(&new(1, vec![]), &effects)
            .await
            .expect("an answer")
    );
    sequence_all(&*subject.sequencer).await;
    assert_eq!(left(subject, owner).await, [1]);
    let mark = InboxMark {
        group: "g".to_owned(),
        event_id: event(owner, 1).id,
        at: at(0),
    };
    let marked = Effects {
        inbox: Some(mark),
        ..Effects::none()
    };
    subject.store.append(&marked).await.expect("marked");
    let refused = subject.keeper.checkpoint(&new(2, vec![]), &marked).await;
    assert!(matches!(refused, Err(EffectsError::AlreadyHandled)), "{refused:?}");
    assert_eq!(subject.keeper.last_checkpoint().await.expect("the last").serial, 1);
}

/// What was allowed once stays allowed; shards that are not named stay as they are.
pub async fn what_is_removable_never_goes_back(subject: &Subject) {
    let shard = Shard::new(3).expect("a shard");
    allow(subject, shard, 7).await;
    allow(subject, shard, 5).await;
    allow(subject, Shard::new(4).expect("a shard"), 2).await;
    let bounds = subject.trail.bounds().await.expect("bounds");
    let removable: Vec<u64> = bounds.iter().map(|bounds| bounds.removable).collect();
    assert_eq!(removable[2..6], [0, 7, 2, 0]);
}

/// Between the last that is older and the first that is not.
pub async fn a_boundary_parts_the_older_from_the_younger(subject: &Subject) {
    let shard = Shard::of(fill(subject).await);
    for (before, expected) in [(-5, 0), (0, 0), (1, 1), (5, 5), (9, 9), (10, 10), (999, 10)] {
        assert_eq!(
            subject.keeper.boundary(shard, at(before)).await.expect("an answer"),
            expected,
            "{before}"
        );
    }
    let empty = Shard::new((shard.number() + 1) % 16).expect("a shard");
    assert_eq!(subject.keeper.boundary(empty, at(999)).await.expect("an answer"), 0);
}

/// Old as it may be.
pub async fn nothing_is_trimmed_that_no_checkpoint_allows(subject: &Subject) {
    let owner = fill(subject).await;
    let shard = Shard::of(owner);
    assert_eq!(trim(subject, shard, 999, 100).await, 0);
    allow(subject, shard, 4).await;
    assert_eq!(trim(subject, shard, 999, 100).await, 4);
    assert_eq!(left(subject, owner).await, [5, 6, 7, 8, 9, 10]);
    assert_sound(subject).await;
}

/// Old as what comes after it may be.
pub async fn trimming_stops_at_the_first_younger_event(subject: &Subject) {
    let owner = user();
    let shard = Shard::of(owner);
    let written = [1, 2, 50, 3].map(|seconds| Event {
        time: at(seconds),
        ..event(owner, 1)
    });
    subject.store.append(&events(written.to_vec())).await.expect("written");
    sequence_all(&*subject.sequencer).await;
    allow(subject, shard, 4).await;
    assert_eq!(trim(subject, shard, 10, 100).await, 2);
    assert_eq!(trim(subject, shard, 10, 100).await, 0);
    assert_eq!(left(subject, owner).await, [3, 4]);
    assert_eq!(trim(subject, shard, 50, 100).await, 0);
    assert_eq!(trim(subject, shard, 51, 100).await, 2);
    assert_eq!(floor(subject, shard).await, 4, "an empty shard still knows its place");
    assert_sound(subject).await;
}

/// A group that lags keeps its events.
pub async fn trimming_stops_at_the_slowest_group(subject: &Subject) {
    let owner = fill(subject).await;
    let shard = Shard::of(owner);
    allow(subject, shard, 10).await;
    for (group, to) in [("fast", 9), ("slow", 3)] {
        subject.cursors.claim(group, "me", at(0), TTL).await.expect("cursors");
        let step = CursorMove { shard, from: 0, to };
        subject
            .cursors
            .advance(group, "me", &[step], at(1))
            .await
            .expect("moved");
    }
    assert_eq!(trim(subject, shard, 999, 100).await, 3);
    let step = CursorMove { shard, from: 3, to: 10 };
    subject
        .cursors
        .advance("slow", "me", &[step], at(1))
        .await
        .expect("moved");
    assert_eq!(trim(subject, shard, 999, 100).await, 6);
    subject.cursors.claim("new", "me", at(0), TTL).await.expect("cursors");
    assert_eq!(trim(subject, shard, 999, 100).await, 0);
    assert_eq!(left(subject, owner).await, [10]);
}

/// It comes again, although the cursor has passed it.
pub async fn trimming_stops_at_an_event_that_a_group_holds(subject: &Subject) {
    let owner = fill(subject).await;
    let shard = Shard::of(owner);
    allow(subject, shard, 10).await;
    let fourth = subject.store.history(owner, 3, 1).await.expect("a history").remove(0);
    subject.cursors.claim("g", "me", at(0), TTL).await.expect("cursors");
    let held = NewHeldEvent {
        id: DeadLetterId::new(uuid()),
        event_id: fourth.event.id,
        position: fourth.position,
        user_id: owner,
        event_type: fourth.event.event_type.clone(),
        origin: LetterOrigin::Log,
        fate: HeldFate::Waits,
    };
    let step = ShardStep {
        shard,
        from: 0,
        to: 10,
        held: vec![held],
        outcomes: vec![],
    };
    let settled = subject.held.settle("g", "me", &[step], at(1)).await.expect("settled");
    assert_eq!(settled, [shard]);
    assert_eq!(trim(subject, shard, 999, 100).await, 3);
    let outcome = HeldOutcome {
        event_id: fourth.event.id,
        verdict: HeldVerdict::Done,
    };
    let step = ShardStep {
        shard,
        from: 10,
        to: 10,
        held: vec![],
        outcomes: vec![outcome],
    };
    subject.held.settle("g", "me", &[step], at(1)).await.expect("settled");
    assert_eq!(trim(subject, shard, 999, 100).await, 7);
    assert_sound(subject).await;
}

/// No step takes more than it is told to, and after each all is sound.
pub async fn trimming_goes_in_small_steps_and_the_chain_holds(subject: &Subject) {
    let owner = fill(subject).await;
    let shard = Shard::of(owner);
    allow(subject, shard, 8).await;
    for expected in [3, 3, 2, 0] {
        assert_eq!(trim(subject, shard, 999, 3).await, expected);
        assert_sound(subject).await;
    }
    subject
        .store
        .append(&events(vec![event(owner, 11)]))
        .await
        .expect("written");
    sequence_all(&*subject.sequencer).await;
    assert_eq!(left(subject, owner).await, [9, 10, 11], "positions go on");
    assert_sound(subject).await;
}

/// A new group, or one that was away, misses what is gone and nothing else; its lag counts what is there.
pub async fn readers_before_the_beginning_go_on_with_what_is_left(subject: &Subject) {
    let owner = fill(subject).await;
    let shard = Shard::of(owner);
    allow(subject, shard, 7).await;
    trim(subject, shard, 999, 100).await;
    for (position, limit, expected) in [
        (0, 2, vec![8, 9]),
        (3, 100, vec![8, 9, 10]),
        (8, 1, vec![9]),
        (10, 5, vec![]),
    ] {
        let read = subject
            .log
            .read(&[Cursor { shard, position }], limit)
            .await
            .expect("a read");
        assert_eq!(
            read.iter().map(|logged| logged.position).collect::<Vec<_>>(),
            expected,
            "after {position}"
        );
    }
    let all: Vec<Cursor> = Shard::all().map(|shard| Cursor { shard, position: 0 }).collect();
    assert_eq!(subject.log.read(&all, 100).await.expect("a read").len(), 3);
    subject.cursors.claim("new", "me", at(0), TTL).await.expect("cursors");
    assert_eq!(subject.log.stats().await.expect("stats").lags, [("new".to_owned(), 3)]);
}

/// A mark without its event would never be pruned.
pub async fn marks_go_with_their_events(subject: &Subject) {
    let owner = fill(subject).await;
    let shard = Shard::of(owner);
    let ids: Vec<_> = subject.store.history(owner, 0, 100).await.expect("a history");
    subject.cursors.claim("g", "me", at(0), TTL).await.expect("cursors");
    for logged in &ids {
        let mark = InboxMark {
            group: "g".to_owned(),
            event_id: logged.event.id,
            at: at(0),
        };
        subject
            .store
            .append(&Effects {
                inbox: Some(mark),
                ..Effects::none()
            })
            .await
            .expect("marked");
    }
    subject
        .cursors
        .advance("g", "me", &[CursorMove { shard, from: 0, to: 10 }], at(1))
        .await
        .expect("moved");
    allow(subject, shard, 6).await;
    assert_eq!(trim(subject, shard, 999, 100).await, 6);
    assert_eq!(subject.cursors.prune_inbox(at(999), 100).await.expect("pruned"), 4);
    for logged in &ids {
        let mark = InboxMark {
            group: "g".to_owned(),
            event_id: logged.event.id,
            at: at(0),
        };
        let again = subject
            .store
            .append(&Effects {
                inbox: Some(mark),
                ..Effects::none()
            })
            .await;
        assert!(again.is_ok(), "no mark is left");
    }
}

/// What has no position yet is not the log's.
pub async fn events_that_wait_stay(subject: &Subject) {
    let owner = fill(subject).await;
    let shard = Shard::of(owner);
    subject
        .store
        .append(&events(vec![event(owner, 11)]))
        .await
        .expect("written");
    allow(subject, shard, 100).await;
    assert_eq!(trim(subject, shard, 999, 100).await, 10);
    sequence_all(&*subject.sequencer).await;
    assert_eq!(left(subject, owner).await, [11]);
    assert_sound(subject).await;
}

/// Nodes that trim at once do not undo each other's work.
pub async fn many_trim_each_event_once(subject: &Subject) {
    let owner = fill(subject).await;
    let shard = Shard::of(owner);
    allow(subject, shard, 9).await;
    let mut removed = 0;
    for _ in 0..20 {
        let steps = join_all((0..4).map(|_| trim(subject, shard, 999, 2))).await;
        removed += steps.iter().sum::<u64>();
    }
    assert_eq!(removed, 9);
    assert_eq!(left(subject, owner).await, [10]);
    assert_sound(subject).await;
}

/// Payload, salt and subject go; the events stay, and so does the proof.
pub async fn blanking_erases_payloads_and_keeps_the_chain(subject: &Subject) {
    let owner = fill(subject).await;
    let shard = Shard::of(owner);
    for expected in [3, 1, 0] {
        assert_eq!(
            subject.keeper.blank(shard, at(4), 3).await.expect("an answer"),
            expected
        );
    }
    let history = subject.store.history(owner, 0, 100).await.expect("a history");
    let kept: Vec<u64> = history
        .iter()
        .filter(|logged| logged.event.data.is_some())
        .map(|logged| logged.position)
        .collect();
    assert_eq!(kept, [5, 6, 7, 8, 9, 10]);
    assert!(
        history[..4]
            .iter()
            .all(|logged| logged.event.salt.is_none() && logged.event.subject.is_none())
    );
    assert_sound(subject).await;
    allow(subject, shard, 7).await;
    assert_eq!(trim(subject, shard, 999, 100).await, 7);
    assert_eq!(subject.keeper.blank(shard, at(9), 100).await.expect("an answer"), 2);
    assert_sound(subject).await;
}

/// A checkpoint without its text proves nothing, and a handler needs what it has not handled.
pub async fn blanking_spares_checkpoints_and_what_groups_have_not_seen(subject: &Subject) {
    let checkpoint = Event {
        event_type: OwnEvent::AuditCheckpoint.event_type(),
        ..event(UserId::SYSTEM, 1)
    };
    let others = (2..5).map(|number| event(UserId::SYSTEM, number));
    let written = std::iter::once(checkpoint).chain(others).collect();
    subject.store.append(&events(written)).await.expect("written");
    sequence_all(&*subject.sequencer).await;
    let shard = Shard::of(UserId::SYSTEM);
    subject.cursors.claim("g", "me", at(0), TTL).await.expect("cursors");
    subject
        .cursors
        .advance("g", "me", &[CursorMove { shard, from: 0, to: 3 }], at(1))
        .await
        .expect("moved");
    assert_eq!(subject.keeper.blank(shard, at(999), 100).await.expect("an answer"), 3);
    let history = subject.store.history(UserId::SYSTEM, 0, 100).await.expect("a history");
    let kept: Vec<bool> = history.iter().map(|logged| logged.event.data.is_some()).collect();
    assert_eq!(kept, [true, false, false, true]);
}
