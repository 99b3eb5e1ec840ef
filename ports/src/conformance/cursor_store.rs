//! Scenarios for [`CursorStore`](crate::CursorStore).

use std::sync::Arc;

use domain::dead_letter::LetterOrigin;
use domain::event::{SHARDS, Shard};
use domain::id::{DeadLetterId, EventId};
use domain::time::Timestamp;
use futures_util::future::join_all;

use super::samples::{TTL, at, event, events, sequence_all, user, uuid};
use crate::{
    Beginning, Cursor, CursorMove, CursorStore, Effects, EffectsError, EventStore, HeldEvents, HeldFate, InboxMark,
    LogSequencer, NewHeldEvent, ShardStep,
};

/// What the scenarios need: the cursors, and the log whose events the marks are of.
pub struct Subject {
    /// The cursors under test.
    pub cursors: Arc<dyn CursorStore>,
    /// The store of the same log; it writes the marks too.
    pub store: Arc<dyn EventStore>,
    /// Its sequencer.
    pub sequencer: Arc<dyn LogSequencer>,
    /// What groups hold.
    pub held: Arc<dyn HeldEvents>,
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject").finish_non_exhaustive()
    }
}

/// One test for each scenario; the fixture is a future of `Option<(cursor_store::Subject, guard)>`.
#[macro_export]
macro_rules! cursor_store_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            cursor_store,
            [
                a_new_group_begins_at_zero_in_every_shard,
                a_group_may_begin_at_the_heads_and_begins_once,
                a_held_cursor_goes_to_nobody_else,
                a_lease_that_is_over_is_taken_where_it_stood,
                a_released_cursor_is_free,
                of_many_owners_at_most_one_holds_a_cursor,
                cursors_are_shared_out_among_those_who_take_part,
                a_share_grows_when_somebody_leaves_or_is_lost,
                groups_do_not_concern_each_other,
                only_a_cursor_that_is_still_there_moves,
                only_the_holder_moves_a_cursor,
                many_cursors_move_in_one_call,
                old_marks_go_once_the_cursor_has_passed_their_event,
                marks_of_events_that_are_not_in_the_log_go_by_time_alone,
                the_mark_of_an_event_that_is_held_stays,
            ]
        );
    };
}

const GROUP: &str = "handlers";

async fn claim(subject: &Subject, group: &str, owner: &str, now: Timestamp) -> Vec<Cursor> {
    subject.cursors.claim(group, owner, now, TTL).await.expect("an answer")
}

async fn advance(subject: &Subject, owner: &str, moves: &[CursorMove], now: Timestamp) -> Vec<Shard> {
    subject
        .cursors
        .advance(GROUP, owner, moves, now)
        .await
        .expect("an answer")
}

fn shard(number: u8) -> Shard {
    Shard::new(number).expect("a shard")
}

fn step(number: u8, from: u64, to: u64) -> CursorMove {
    CursorMove {
        shard: shard(number),
        from,
        to,
    }
}

/// The first claim makes what is missing.
pub async fn a_new_group_begins_at_zero_in_every_shard(subject: &Subject) {
    let held = claim(subject, GROUP, "a", at(0)).await;
    assert_eq!(
        held,
        Shard::all()
            .map(|shard| Cursor { shard, position: 0 })
            .collect::<Vec<_>>()
    );
    assert_eq!(claim(subject, GROUP, "a", at(1)).await, held, "claiming again renews");
}

/// At the heads it misses what was there, and nothing that comes; a second beginning changes nothing.
pub async fn a_group_may_begin_at_the_heads_and_begins_once(subject: &Subject) {
    let begin = |group, beginning| async move { subject.cursors.begin(group, beginning).await.expect("begun") };
    assert!(begin("early", Beginning::Heads).await);
    let owner = user();
    let number = Shard::of(owner);
    subject
        .store
        .append(&events(vec![event(owner, 1), event(owner, 2)]))
        .await
        .expect("written");
    sequence_all(&*subject.sequencer).await;
    assert!(begin("late", Beginning::Heads).await);
    assert!(begin("first", Beginning::First).await);
    for group in ["early", "late", "first"] {
        assert!(!begin(group, Beginning::Heads).await);
        assert!(!begin(group, Beginning::First).await);
    }
    for (group, expected) in [("early", 0), ("late", 2), ("first", 0)] {
        let held = claim(subject, group, "a", at(0)).await;
        let position = held
            .iter()
            .find(|cursor| cursor.shard == number)
            .map(|cursor| cursor.position);
        assert_eq!(position, Some(expected), "{group}");
        assert_eq!(held.len(), usize::from(SHARDS));
        let others = held.iter().filter(|cursor| cursor.shard != number);
        assert!(others.into_iter().all(|cursor| cursor.position == 0));
    }
}

/// One owner at a time.
pub async fn a_held_cursor_goes_to_nobody_else(subject: &Subject) {
    claim(subject, GROUP, "a", at(0)).await;
    assert_eq!(claim(subject, GROUP, "b", at(1)).await, vec![]);
    let kept = claim(subject, GROUP, "a", at(50)).await;
    let taken = claim(subject, GROUP, "b", at(51)).await;
    assert!(taken.iter().all(|cursor| !kept.contains(cursor)), "{kept:?} {taken:?}");
    claim(subject, GROUP, "a", at(100)).await;
    let later = claim(subject, GROUP, "b", at(111)).await;
    assert_eq!(later, taken, "the renewed lease holds");
}

/// A crashed owner's cursors go on where it left them.
pub async fn a_lease_that_is_over_is_taken_where_it_stood(subject: &Subject) {
    claim(subject, GROUP, "a", at(0)).await;
    assert_eq!(advance(subject, "a", &[step(3, 0, 9)], at(1)).await, [shard(3)]);
    let taken = claim(subject, GROUP, "b", at(61)).await;
    assert_eq!(taken.len(), usize::from(SHARDS));
    for cursor in taken {
        assert_eq!(cursor.position, if cursor.shard == shard(3) { 9 } else { 0 });
    }
    assert_eq!(claim(subject, GROUP, "a", at(62)).await, vec![]);
}

/// Giving back frees at once, and only one's own.
pub async fn a_released_cursor_is_free(subject: &Subject) {
    claim(subject, GROUP, "a", at(0)).await;
    subject.cursors.release(GROUP, "b").await.expect("nothing to give back");
    subject
        .cursors
        .release("others", "a")
        .await
        .expect("nothing to give back");
    assert_eq!(claim(subject, GROUP, "b", at(1)).await, vec![]);
    subject.cursors.release(GROUP, "a").await.expect("given back");
    assert_eq!(claim(subject, GROUP, "b", at(1)).await.len(), usize::from(SHARDS));
}

/// Many at once, while the cursors are being made: none is held twice, and soon each is held.
pub async fn of_many_owners_at_most_one_holds_a_cursor(subject: &Subject) {
    let owners: Vec<String> = (0..8).map(|number| format!("owner-{number}")).collect();
    let mut all: Vec<Shard> = Vec::new();
    for round in 0..40 {
        let held = join_all(owners.iter().map(|owner| claim(subject, GROUP, owner, at(round)))).await;
        all = held.into_iter().flatten().map(|cursor| cursor.shard).collect();
        all.sort();
        if all.len() == usize::from(SHARDS) {
            break;
        }
    }
    // What was held in the last round is held by one each: those who gave something back had told so before.
    assert_eq!(all, Shard::all().collect::<Vec<_>>());
}

/// An owner that holds more than its share gives the rest back when it claims again, and others take it where it stood.
pub async fn cursors_are_shared_out_among_those_who_take_part(subject: &Subject) {
    claim(subject, GROUP, "a", at(0)).await;
    assert_eq!(advance(subject, "a", &[step(15, 0, 7)], at(1)).await, [shard(15)]);
    assert_eq!(claim(subject, GROUP, "b", at(2)).await, vec![], "nothing is free yet");
    let kept = claim(subject, GROUP, "a", at(3)).await;
    assert_eq!(kept.len(), 8);
    let given = [step(15, 7, 8)];
    assert_eq!(advance(subject, "a", &given, at(3)).await, vec![], "it was given back");
    let taken = claim(subject, GROUP, "b", at(4)).await;
    assert_eq!(taken.len(), 8);
    assert!(
        taken
            .iter()
            .any(|cursor| (cursor.shard, cursor.position) == (shard(15), 7))
    );
    // A third makes the share 6; the last gets what is left.
    assert_eq!(claim(subject, GROUP, "c", at(5)).await, vec![]);
    let (a, b) = (
        claim(subject, GROUP, "a", at(6)).await,
        claim(subject, GROUP, "b", at(6)).await,
    );
    let c = claim(subject, GROUP, "c", at(7)).await;
    assert_eq!((a.len(), b.len(), c.len()), (6, 6, 4));
    assert_eq!(
        claim(subject, "others", "d", at(7)).await.len(),
        16,
        "groups are counted by themselves"
    );
}

/// By giving its leases back, or by letting them run out.
pub async fn a_share_grows_when_somebody_leaves_or_is_lost(subject: &Subject) {
    for second in 0..3 {
        for owner in ["a", "b", "c"] {
            claim(subject, GROUP, owner, at(second)).await;
        }
    }
    subject.cursors.release(GROUP, "c").await.expect("left");
    claim(subject, GROUP, "a", at(3)).await;
    let b = claim(subject, GROUP, "b", at(4)).await;
    assert_eq!(
        b.len() + claim(subject, GROUP, "a", at(5)).await.len(),
        usize::from(SHARDS)
    );
    // Since then nothing was heard of the first.
    assert_eq!(claim(subject, GROUP, "b", at(64)).await.len(), 8);
    assert_eq!(claim(subject, GROUP, "b", at(65)).await.len(), usize::from(SHARDS));
}

/// The same shard of another group is another cursor.
pub async fn groups_do_not_concern_each_other(subject: &Subject) {
    claim(subject, GROUP, "a", at(0)).await;
    assert_eq!(claim(subject, "others", "b", at(0)).await.len(), usize::from(SHARDS));
    advance(subject, "a", &[step(0, 0, 4)], at(1)).await;
    let others = claim(subject, "others", "b", at(2)).await;
    assert!(others.iter().all(|cursor| cursor.position == 0));
}

/// A move states where the cursor was.
pub async fn only_a_cursor_that_is_still_there_moves(subject: &Subject) {
    claim(subject, GROUP, "a", at(0)).await;
    assert_eq!(advance(subject, "a", &[step(1, 0, 5)], at(1)).await, [shard(1)]);
    assert_eq!(
        advance(subject, "a", &[step(1, 0, 7), step(2, 1, 2)], at(2)).await,
        vec![]
    );
    let held = claim(subject, GROUP, "a", at(3)).await;
    let positions: Vec<u64> = held.iter().take(3).map(|cursor| cursor.position).collect();
    assert_eq!(positions, [0, 5, 0]);
}

/// Neither a stranger, nor one whose lease was taken, nor one whose lease is over.
pub async fn only_the_holder_moves_a_cursor(subject: &Subject) {
    assert_eq!(
        advance(subject, "a", &[step(0, 0, 1)], at(0)).await,
        vec![],
        "there is no cursor yet"
    );
    claim(subject, GROUP, "a", at(0)).await;
    assert_eq!(advance(subject, "b", &[step(0, 0, 1)], at(1)).await, vec![]);
    assert_eq!(
        advance(subject, "a", &[step(0, 0, 1)], at(61)).await,
        vec![],
        "the lease is over"
    );
    claim(subject, GROUP, "b", at(61)).await;
    assert_eq!(
        advance(subject, "a", &[step(0, 0, 1)], at(1)).await,
        vec![],
        "the lease was taken"
    );
    assert_eq!(advance(subject, "b", &[step(0, 0, 1)], at(62)).await, [shard(0)]);
}

/// Each move stands for itself.
pub async fn many_cursors_move_in_one_call(subject: &Subject) {
    claim(subject, GROUP, "a", at(0)).await;
    let moves: Vec<CursorMove> = (0..SHARDS)
        .map(|number| step(number, 0, u64::from(number) + 1))
        .collect();
    let mut moved = advance(subject, "a", &moves, at(1)).await;
    moved.sort();
    assert_eq!(moved, Shard::all().collect::<Vec<_>>());
    let mixed = [step(4, 5, 50), step(5, 0, 60), step(6, 7, 70)];
    let mut moved = advance(subject, "a", &mixed, at(2)).await;
    moved.sort();
    assert_eq!(moved, [shard(4), shard(6)]);
    let held = claim(subject, GROUP, "a", at(3)).await;
    let positions: Vec<u64> = held.iter().skip(4).take(3).map(|cursor| cursor.position).collect();
    assert_eq!(positions, [50, 6, 70]);
    assert_eq!(advance(subject, "a", &[], at(3)).await, vec![]);
}

/// False when the mark is there.
async fn mark(subject: &Subject, group: &str, event_id: EventId, second: i64) -> bool {
    let inbox = Some(InboxMark {
        group: group.to_owned(),
        event_id,
        at: at(second),
    });
    let effects = Effects {
        inbox,
        ..Effects::none()
    };
    match subject.store.append(&effects).await {
        Ok(()) => true,
        Err(EffectsError::AlreadyHandled) => false,
        Err(error) => panic!("{error:?}"),
    }
}

/// Neither young marks, nor those before which the group still stands, nor those of another group.
pub async fn old_marks_go_once_the_cursor_has_passed_their_event(subject: &Subject) {
    let owner = user();
    let written: Vec<_> = (0..5).map(|number| event(owner, number)).collect();
    let ids: Vec<EventId> = written.iter().map(|event| event.id).collect();
    subject.store.append(&events(written)).await.expect("written");
    sequence_all(&*subject.sequencer).await;
    for (id, second) in ids.iter().zip([10, 10, 10, 50, 10]) {
        assert!(mark(subject, GROUP, *id, second).await && mark(subject, "others", *id, 10).await);
    }
    claim(subject, GROUP, "a", at(20)).await;
    claim(subject, "others", "a", at(20)).await;
    let prune = || async { subject.cursors.prune_inbox(at(50), 2).await.expect("pruned") };
    assert_eq!(prune().await, 0, "nothing is passed");
    let number = Shard::of(owner).number();
    advance(subject, "a", &[step(number, 0, 4)], at(21)).await;
    for expected in [2, 1, 0] {
        assert_eq!(prune().await, expected);
    }
    let mut again = Vec::new();
    for id in &ids {
        assert!(!mark(subject, "others", *id, 60).await);
        again.push(mark(subject, GROUP, *id, 60).await);
    }
    assert_eq!(
        again,
        [true, true, true, false, false],
        "the fourth is young, the fifth not passed"
    );
}

/// It comes again, however old the mark is.
pub async fn the_mark_of_an_event_that_is_held_stays(subject: &Subject) {
    let owner = user();
    let written = event(owner, 1);
    let id = written.id;
    subject.store.append(&events(vec![written])).await.expect("written");
    sequence_all(&*subject.sequencer).await;
    claim(subject, GROUP, "a", at(0)).await;
    let waits = NewHeldEvent {
        id: DeadLetterId::new(uuid()),
        event_id: id,
        position: 1,
        user_id: owner,
        event_type: "app.counted".parse().expect("a type"),
        origin: LetterOrigin::Log,
        fate: HeldFate::Waits,
    };
    let taken = ShardStep {
        shard: Shard::of(owner),
        from: 0,
        to: 1,
        held: vec![waits],
        outcomes: Vec::new(),
    };
    let settled = subject.held.settle(GROUP, "a", &[taken], at(1)).await.expect("settled");
    assert_eq!(settled, [Shard::of(owner)]);
    assert!(mark(subject, GROUP, id, 2).await && mark(subject, "others", id, 2).await);
    assert_eq!(subject.cursors.prune_inbox(at(1_000), 10).await.expect("pruned"), 0);
    assert!(!mark(subject, GROUP, id, 1_001).await);
}

/// A topic brought them: no cursor passes them.
pub async fn marks_of_events_that_are_not_in_the_log_go_by_time_alone(subject: &Subject) {
    let owner = user();
    let written = event(owner, 1);
    let logged = written.id;
    subject.store.append(&events(vec![written])).await.expect("written");
    sequence_all(&*subject.sequencer).await;
    let ids: Vec<EventId> = (0..4).map(|_| EventId::new(uuid())).collect();
    for (id, second) in ids.iter().zip([1, 2, 3, 90]) {
        assert!(mark(subject, GROUP, *id, second).await);
    }
    assert!(mark(subject, GROUP, logged, 1).await);
    assert_eq!(subject.cursors.prune_inbox(at(50), 10).await.expect("pruned"), 0);
    let prune = || async { subject.cursors.prune_foreign_inbox(at(50), 2).await.expect("pruned") };
    for expected in [2, 1, 0] {
        assert_eq!(prune().await, expected);
    }
    assert!(!mark(subject, GROUP, ids[3], 91).await, "it is young");
    assert!(
        !mark(subject, GROUP, logged, 91).await,
        "it is in the log, and not passed"
    );
}
