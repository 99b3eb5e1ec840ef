//! Scenarios for [`HeldEvents`](crate::HeldEvents).

use std::sync::Arc;

use domain::cloud_event::{ForeignEvent, RecordFrame, TopicPlace};
use domain::dead_letter::{FailureReason, LetterOrigin};
use domain::event::{LoggedEvent, Shard};
use domain::id::{DeadLetterId, UserId};
use domain::time::Timestamp;

use super::samples::{TTL, at, event, events, sequence_all, user, uuid};
use crate::{
    CursorStore, DeadLetterFilter, DeadLetterStore, DueEvent, EventStore, FailedAttempt, HeldEvents, HeldFate,
    HeldOutcome, HeldVerdict, LetterEvent, LogSequencer, NewForeignEvent, NewHeldEvent, ShardStep, WaitingUser,
};

/// What the scenarios need: held events, and the log and cursors that they belong to.
pub struct Subject {
    /// What is held.
    pub held: Arc<dyn HeldEvents>,
    /// The same, as operators see it.
    pub letters: Arc<dyn DeadLetterStore>,
    /// The cursors.
    pub cursors: Arc<dyn CursorStore>,
    /// The store of the log; it writes marks too.
    pub store: Arc<dyn EventStore>,
    /// Its sequencer.
    pub sequencer: Arc<dyn LogSequencer>,
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject").finish_non_exhaustive()
    }
}

/// One test for each scenario; the fixture is a future of `Option<(held_events::Subject, guard)>`.
#[macro_export]
macro_rules! held_events_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            held_events,
            [
                an_event_is_held_together_with_the_move_of_the_cursor,
                only_the_holder_of_a_cursor_that_is_still_there_settles,
                an_event_is_due_when_its_time_has_come_and_no_earlier_one_waits,
                users_and_groups_do_not_hold_each_other_up,
                what_is_done_is_held_no_more,
                a_failure_is_noted_with_its_reason_and_the_last_one_makes_a_dead_letter,
                a_dead_letter_holds_up_nobody,
                a_step_that_is_told_again_changes_nothing,
                many_events_are_held_in_one_step,
                an_event_of_a_topic_is_held_whole,
                events_of_a_topic_wait_by_their_lanes,
                a_topics_dead_letter_says_where_it_stood_and_can_be_redriven,
                a_hold_that_is_told_again_changes_nothing,
                many_events_of_topics_are_held_at_once,
            ]
        );
    };
}

pub(super) const GROUP: &str = "handlers";

impl Subject {
    /// Writes so many events of a user, and gives them as they stand in the log.
    pub(super) async fn write(&self, owner: UserId, count: u64) -> Vec<LoggedEvent> {
        let written = (0..count).map(|number| event(owner, number)).collect();
        self.store.append(&events(written)).await.expect("written");
        sequence_all(&*self.sequencer).await;
        let logged = self.store.history(owner, 0, 1_000).await.expect("a history");
        assert_eq!(logged.len() as u64, count);
        logged
    }

    pub(super) async fn claim(&self, owner: &str, now: Timestamp) {
        self.cursors.claim(GROUP, owner, now, TTL).await.expect("cursors");
    }

    pub(super) async fn settle(&self, step: ShardStep, now: Timestamp) -> bool {
        let shard = step.shard;
        let taken = self.held.settle(GROUP, "a", &[step], now).await.expect("settled");
        taken == [shard]
    }

    async fn waiting(&self, owner: UserId) -> Vec<WaitingUser> {
        self.held.waiting(GROUP, &[Shard::of(owner)]).await.expect("users")
    }

    /// The positions and attempts of what is due in a user's shard.
    pub(super) async fn due(&self, owner: UserId, now: Timestamp) -> Vec<(u64, u32)> {
        let due = self
            .held
            .due(GROUP, &[Shard::of(owner)], now, 100)
            .await
            .expect("events");
        due.iter().map(|due| (due.event.position, due.attempts)).collect()
    }

    async fn position(&self, owner: UserId, now: Timestamp) -> u64 {
        let held = self.cursors.claim(GROUP, "a", now, TTL).await.expect("cursors");
        let found = held.iter().find(|cursor| cursor.shard == Shard::of(owner));
        found.expect("the shard is held").position
    }
}

pub(super) fn failed(attempts: u32, at: Timestamp) -> FailedAttempt {
    FailedAttempt {
        attempts,
        at,
        reason: FailureReason::new("refused", "the shop is closed, „closed“"),
    }
}

pub(super) fn holding(logged: &LoggedEvent, fate: HeldFate) -> NewHeldEvent {
    NewHeldEvent {
        id: DeadLetterId::new(uuid()),
        event_id: logged.event.id,
        position: logged.position,
        user_id: logged.event.user_id,
        event_type: logged.event.event_type.clone(),
        origin: LetterOrigin::Log,
        fate,
    }
}

pub(super) fn passing(owner: UserId, from: u64, to: u64, held: Vec<NewHeldEvent>) -> ShardStep {
    ShardStep {
        shard: Shard::of(owner),
        from,
        to,
        held,
        outcomes: Vec::new(),
    }
}

fn outcome(at_position: u64, logged: &LoggedEvent, verdict: HeldVerdict) -> ShardStep {
    ShardStep {
        shard: logged.shard,
        from: at_position,
        to: at_position,
        held: Vec::new(),
        outcomes: vec![HeldOutcome {
            event_id: logged.event.id,
            verdict,
        }],
    }
}

/// The row and the move are one.
pub async fn an_event_is_held_together_with_the_move_of_the_cursor(subject: &Subject) {
    let owner = user();
    let logged = subject.write(owner, 2).await;
    subject.claim("a", at(0)).await;
    let retry = HeldFate::Retry(failed(1, at(1)), at(6));
    let held = vec![holding(&logged[0], retry), holding(&logged[1], HeldFate::Waits)];
    assert!(subject.settle(passing(owner, 0, 2, held), at(1)).await);
    assert_eq!(subject.position(owner, at(2)).await, 2);
    let expected = WaitingUser {
        shard: Shard::of(owner),
        user_id: owner,
        count: 2,
        due_at: at(6),
    };
    assert_eq!(subject.waiting(owner).await, [expected]);
    assert_eq!(
        subject.held.settle(GROUP, "a", &[], at(2)).await.expect("nothing"),
        vec![]
    );
    assert_eq!(subject.held.waiting(GROUP, &[]).await.expect("nothing"), vec![]);
    assert_eq!(subject.held.due(GROUP, &[], at(9), 10).await.expect("nothing"), vec![]);
}

/// Neither a stranger, nor one whose lease is over, nor one who is mistaken about the cursor; and the shards beside it are settled all the same.
pub async fn only_the_holder_of_a_cursor_that_is_still_there_settles(subject: &Subject) {
    let (owner, mut other) = (user(), user());
    while Shard::of(other) == Shard::of(owner) {
        other = user();
    }
    let (mine, beside) = (subject.write(owner, 1).await, subject.write(other, 1).await);
    subject.claim("a", at(0)).await;
    let step = |from| {
        let held = vec![holding(&mine[0], HeldFate::Waits)];
        passing(owner, from, from + 1, held)
    };
    let as_stranger = subject
        .held
        .settle(GROUP, "b", &[step(0)], at(1))
        .await
        .expect("an answer");
    assert_eq!(as_stranger, vec![]);
    assert!(!subject.settle(step(0), at(61)).await, "the lease is over");
    assert!(!subject.settle(step(3), at(1)).await, "the cursor is elsewhere");
    assert_eq!(subject.waiting(owner).await, vec![]);
    let beside = passing(other, 0, 1, vec![holding(&beside[0], HeldFate::Waits)]);
    let taken = subject
        .held
        .settle(GROUP, "a", &[step(3), beside], at(1))
        .await
        .expect("an answer");
    assert_eq!(taken, [Shard::of(other)]);
    assert_eq!(subject.waiting(owner).await, vec![]);
    assert_eq!(subject.waiting(other).await.len(), 1);
}

/// In the order of positions, and a limit cuts the order off.
pub async fn an_event_is_due_when_its_time_has_come_and_no_earlier_one_waits(subject: &Subject) {
    let owner = user();
    let logged = subject.write(owner, 3).await;
    subject.claim("a", at(0)).await;
    let held = vec![
        holding(&logged[0], HeldFate::Retry(failed(1, at(1)), at(6))),
        holding(&logged[1], HeldFate::Waits),
        holding(&logged[2], HeldFate::Waits),
    ];
    assert!(subject.settle(passing(owner, 0, 3, held), at(1)).await);
    assert_eq!(subject.due(owner, at(5)).await, vec![]);
    assert_eq!(subject.due(owner, at(6)).await, [(1, 1), (2, 0), (3, 0)]);
    let one: Vec<DueEvent> = subject
        .held
        .due(GROUP, &[Shard::of(owner)], at(6), 1)
        .await
        .expect("events");
    assert_eq!(
        one.iter().map(|due| &due.event).collect::<Vec<_>>(),
        [&logged[0]],
        "the event is given whole"
    );
    // The second fails: the first is done, the third waits behind the second.
    let mut step = outcome(3, &logged[0], HeldVerdict::Done);
    step.outcomes
        .extend(outcome(3, &logged[1], HeldVerdict::Retry(failed(1, at(6)), at(11))).outcomes);
    assert!(subject.settle(step, at(6)).await);
    assert_eq!(subject.due(owner, at(10)).await, vec![]);
    assert_eq!(subject.due(owner, at(11)).await, [(2, 1), (3, 0)]);
}

/// A waiting event concerns one user in one group.
pub async fn users_and_groups_do_not_hold_each_other_up(subject: &Subject) {
    let owner = user();
    let mut other = user();
    while Shard::of(other) != Shard::of(owner) {
        other = user();
    }
    let (first, second) = (subject.write(owner, 1).await, subject.write(other, 1).await);
    subject.claim("a", at(0)).await;
    let held = vec![
        holding(&first[0], HeldFate::Retry(failed(1, at(1)), at(100))),
        holding(&second[0], HeldFate::Waits),
    ];
    assert!(subject.settle(passing(owner, 0, 2, held), at(1)).await);
    assert_eq!(subject.due(owner, at(2)).await, [(2, 0)]);
    let shards = [Shard::of(owner)];
    assert_eq!(
        subject.held.due("others", &shards, at(200), 10).await.expect("none"),
        vec![]
    );
    assert_eq!(subject.held.waiting("others", &shards).await.expect("none"), vec![]);
    let elsewhere: Vec<Shard> = Shard::all().filter(|shard| *shard != shards[0]).collect();
    assert_eq!(subject.held.waiting(GROUP, &elsewhere).await.expect("none"), vec![]);
}

/// And what was never held is not missed.
pub async fn what_is_done_is_held_no_more(subject: &Subject) {
    let owner = user();
    let logged = subject.write(owner, 2).await;
    subject.claim("a", at(0)).await;
    let held = vec![holding(&logged[0], HeldFate::Waits)];
    assert!(subject.settle(passing(owner, 0, 1, held), at(1)).await);
    assert!(
        subject.settle(outcome(1, &logged[1], HeldVerdict::Done), at(2)).await,
        "it is not held"
    );
    assert!(subject.settle(outcome(1, &logged[0], HeldVerdict::Done), at(2)).await);
    assert_eq!(subject.waiting(owner).await, vec![]);
    assert_eq!(subject.due(owner, at(50)).await, vec![]);
    assert!(
        subject.settle(outcome(1, &logged[0], HeldVerdict::Done), at(3)).await,
        "a second time"
    );
}

/// First and last failure, attempts and reason are kept.
pub async fn a_failure_is_noted_with_its_reason_and_the_last_one_makes_a_dead_letter(subject: &Subject) {
    let owner = user();
    let logged = subject.write(owner, 1).await;
    subject.claim("a", at(0)).await;
    let first = holding(&logged[0], HeldFate::Retry(failed(1, at(1)), at(6)));
    let id = first.id;
    assert!(subject.settle(passing(owner, 0, 1, vec![first]), at(1)).await);
    assert!(
        subject.letters.find(id).await.expect("an answer").is_none(),
        "it is tried again"
    );
    let again = HeldVerdict::Retry(failed(2, at(6)), at(16));
    assert!(subject.settle(outcome(1, &logged[0], again), at(6)).await);
    assert_eq!(subject.due(owner, at(16)).await, [(1, 2)]);
    assert!(
        subject
            .settle(outcome(1, &logged[0], HeldVerdict::Dead(failed(3, at(16)))), at(16))
            .await
    );
    let (letter, event) = subject
        .letters
        .find(id)
        .await
        .expect("an answer")
        .expect("a dead letter");
    assert_eq!(event, LetterEvent::Logged(logged[0].clone()));
    assert_eq!((letter.attempts, letter.redrives), (3, 0));
    assert_eq!((letter.first_failed_at, letter.last_failed_at), (at(1), at(16)));
    assert_eq!(letter.reason, failed(3, at(16)).reason);
    assert_eq!((letter.group.as_str(), letter.origin), (GROUP, LetterOrigin::Log));
    assert_eq!((letter.event_id, letter.user_id), (logged[0].event.id, owner));
    assert_eq!((letter.shard, letter.position), (logged[0].shard, logged[0].position));
    assert_eq!(letter.event_type, logged[0].event.event_type);
}

/// What waited behind it follows at once.
pub async fn a_dead_letter_holds_up_nobody(subject: &Subject) {
    let owner = user();
    let logged = subject.write(owner, 2).await;
    subject.claim("a", at(0)).await;
    let held = vec![
        holding(&logged[0], HeldFate::Dead(failed(1, at(1)))),
        holding(&logged[1], HeldFate::Waits),
    ];
    assert!(subject.settle(passing(owner, 0, 2, held), at(1)).await);
    assert_eq!(subject.due(owner, at(1)).await, [(2, 0)]);
    let all = subject
        .letters
        .list(&DeadLetterFilter::default(), &domain::page::PageRequest::first())
        .await;
    assert_eq!(all.expect("a page").items.len(), 1);
    // An outcome does not bring a dead letter back.
    assert!(subject.settle(outcome(2, &logged[0], HeldVerdict::Done), at(2)).await);
    let all = subject
        .letters
        .list(&DeadLetterFilter::default(), &domain::page::PageRequest::first())
        .await;
    assert_eq!(all.expect("a page").items.len(), 1);
}

/// The cursor is not where it was any more, so the second telling is refused; what it would have written is there once.
pub async fn a_step_that_is_told_again_changes_nothing(subject: &Subject) {
    let owner = user();
    let logged = subject.write(owner, 1).await;
    subject.claim("a", at(0)).await;
    let retry = HeldFate::Retry(failed(1, at(1)), at(6));
    let step = passing(owner, 0, 1, vec![holding(&logged[0], retry)]);
    assert!(subject.settle(step.clone(), at(1)).await);
    assert!(!subject.settle(step, at(1)).await);
    let again = outcome(1, &logged[0], HeldVerdict::Retry(failed(2, at(6)), at(16)));
    for _ in 0..2 {
        assert!(subject.settle(again.clone(), at(6)).await);
        assert_eq!(subject.due(owner, at(16)).await, [(1, 2)]);
    }
}

/// More than one statement would take.
pub async fn many_events_are_held_in_one_step(subject: &Subject) {
    let owner = user();
    let logged = subject.write(owner, 450).await;
    subject.claim("a", at(0)).await;
    let held = logged.iter().map(|logged| holding(logged, HeldFate::Waits)).collect();
    assert!(subject.settle(passing(owner, 0, 450, held), at(1)).await);
    assert_eq!(subject.waiting(owner).await[0].count, 450);
    let done = logged.iter().map(|logged| HeldOutcome {
        event_id: logged.event.id,
        verdict: HeldVerdict::Done,
    });
    let mut step = passing(owner, 450, 450, Vec::new());
    step.outcomes = done.collect();
    assert!(subject.settle(step, at(2)).await);
    assert_eq!(subject.waiting(owner).await, vec![]);
}

/// An event of another service; of a user, or of a key when there is none.
fn foreign(id: &str, user: Option<UserId>, key: &str) -> ForeignEvent {
    let user = user.map_or(String::new(), |user| format!(r#","userid":"{user}""#));
    let value = format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"https://shop.example.org","type":"com.example.OrderPlaced",
        "time":"2026-01-01T00:00:00.25Z","subject":"an order","data":{{"note":"„ä“ \\u0000 😀","total":12.5}}{user}}}"#
    );
    let frame = RecordFrame {
        key: Some(key.as_bytes()),
        written_at: at(0),
    };
    ForeignEvent::from_structured(value.as_bytes(), frame).expect("an event")
}

fn brought(offset: u64, foreign: ForeignEvent, fate: HeldFate) -> NewForeignEvent {
    NewForeignEvent {
        id: DeadLetterId::new(uuid()),
        place: TopicPlace {
            topic: "shop.orders".to_owned(),
            partition: 3,
            offset,
        },
        foreign,
        fate,
    }
}

/// Everything of it comes back; its cursors have nothing to do with it.
pub async fn an_event_of_a_topic_is_held_whole(subject: &Subject) {
    let (owner, everybody) = (user(), Shard::all().collect::<Vec<_>>());
    let event = foreign("1", Some(owner), "a");
    let held = [brought(7, event.clone(), HeldFate::Retry(failed(2, at(1)), at(6)))];
    subject.held.hold(GROUP, &held, at(1)).await.expect("held");
    subject.held.hold(GROUP, &[], at(1)).await.expect("nothing");
    let waiting = subject.held.waiting(GROUP, &everybody).await.expect("users");
    let expected = WaitingUser {
        shard: Shard::of(owner),
        user_id: owner,
        count: 1,
        due_at: at(6),
    };
    assert_eq!(waiting, [expected]);
    let due = |now| subject.held.due(GROUP, &everybody, now, 10);
    assert_eq!(due(at(5)).await.expect("events"), []);
    let expected = DueEvent {
        event: event.into_logged(7),
        attempts: 2,
    };
    assert_eq!(due(at(6)).await.expect("events"), [expected]);
    assert_eq!(
        subject.held.due("others", &everybody, at(6), 10).await.expect("none"),
        []
    );
}

/// What has a lane in common waits for each other; in the order of offsets.
pub async fn events_of_a_topic_wait_by_their_lanes(subject: &Subject) {
    let everybody: Vec<Shard> = Shard::all().collect();
    let (first, second, other) = (
        foreign("1", None, "a"),
        foreign("2", None, "a"),
        foreign("3", None, "b"),
    );
    let lanes = [first.lane, other.lane];
    let behind = || async {
        let mut behind = subject.held.behind(GROUP, &lanes).await.expect("lanes");
        behind.sort();
        behind
    };
    assert_eq!(behind().await, []);
    assert_eq!(subject.held.behind(GROUP, &[]).await.expect("none"), []);
    let held = [
        brought(5, first.clone(), HeldFate::Retry(failed(1, at(1)), at(6))),
        brought(9, second.clone(), HeldFate::Waits),
    ];
    subject.held.hold(GROUP, &held, at(1)).await.expect("held");
    assert_eq!(behind().await, [first.lane]);
    let beside = [brought(6, other.clone(), HeldFate::Waits)];
    subject.held.hold(GROUP, &beside, at(2)).await.expect("held");
    assert_eq!(behind().await.len(), 2);
    let due = |now| async move {
        let everybody: Vec<Shard> = Shard::all().collect();
        let due = subject.held.due(GROUP, &everybody, now, 10).await.expect("events");
        let mut positions: Vec<u64> = due.iter().map(|due| due.event.position).collect();
        positions.sort_unstable();
        positions
    };
    assert_eq!(due(at(5)).await, [6]);
    assert_eq!(due(at(6)).await, [5, 6, 9]);
    subject.claim("a", at(0)).await;
    for event in [&first, &second] {
        let shard = Shard::of(event.lane);
        let found = subject.held.due(GROUP, &everybody, at(6), 10).await.expect("events");
        let due = found
            .iter()
            .find(|due| due.event.event.id == event.event.id)
            .expect("due");
        assert_eq!(due.event.shard, shard, "it is settled in the shard of its lane");
        assert!(subject.settle(outcome(0, &due.event, HeldVerdict::Done), at(7)).await);
    }
    assert_eq!(behind().await, [other.lane]);
}

/// With the event as it was.
pub async fn a_topics_dead_letter_says_where_it_stood_and_can_be_redriven(subject: &Subject) {
    let (event, nobodys) = (foreign("1", Some(user()), "a"), foreign("2", None, "b"));
    let held = [
        brought(7, event.clone(), HeldFate::Dead(failed(8, at(9)))),
        brought(8, nobodys.clone(), HeldFate::Dead(failed(8, at(9)))),
    ];
    subject.held.hold(GROUP, &held, at(9)).await.expect("held");
    assert_eq!(subject.held.behind(GROUP, &[event.lane]).await.expect("lanes"), []);
    let found = subject.letters.find(held[0].id).await.expect("an answer");
    let (letter, kept) = found.expect("a dead letter");
    assert_eq!(kept, LetterEvent::Foreign(event.clone()));
    assert_eq!(
        (letter.origin, letter.place.as_ref()),
        (LetterOrigin::Topic, Some(&held[0].place))
    );
    assert_eq!((letter.event_id, letter.user_id), (event.event.id, event.event.user_id));
    assert_eq!(letter.event_type.as_str(), "com.example.OrderPlaced");
    let all = subject
        .letters
        .list(&DeadLetterFilter::default(), &domain::page::PageRequest::first())
        .await
        .expect("a page");
    assert_eq!(all.items.len(), 2);
    let nobody = all.items.iter().find(|letter| letter.id == held[1].id).expect("listed");
    assert_eq!(nobody.user_id, UserId::SYSTEM);
    let none = crate::Effects::none();
    subject
        .letters
        .redrive(&[held[0].id], at(20), &none)
        .await
        .expect("redriven");
    let everybody: Vec<Shard> = Shard::all().collect();
    let due = subject.held.due(GROUP, &everybody, at(20), 10).await.expect("events");
    assert_eq!((due.len(), due[0].attempts), (1, 0));
    assert_eq!(due[0].event, event.into_logged(7));
    subject.letters.discard(&[held[1].id], &none).await.expect("discarded");
    assert!(subject.letters.find(held[1].id).await.expect("an answer").is_none());
}

/// The record came again, to this node or another.
pub async fn a_hold_that_is_told_again_changes_nothing(subject: &Subject) {
    let event = foreign("1", Some(user()), "a");
    let first = brought(7, event.clone(), HeldFate::Dead(failed(8, at(9))));
    subject
        .held
        .hold(GROUP, std::slice::from_ref(&first), at(9))
        .await
        .expect("held");
    let again = brought(7, event.clone(), HeldFate::Retry(failed(1, at(10)), at(15)));
    subject
        .held
        .hold(GROUP, std::slice::from_ref(&again), at(10))
        .await
        .expect("held");
    assert!(subject.letters.find(first.id).await.expect("an answer").is_some());
    assert!(subject.letters.find(again.id).await.expect("an answer").is_none());
    assert_eq!(subject.held.behind(GROUP, &[event.lane]).await.expect("lanes"), []);
}

/// More than fit into one statement.
pub async fn many_events_of_topics_are_held_at_once(subject: &Subject) {
    let held: Vec<NewForeignEvent> = (0..450_u64)
        .map(|number| {
            brought(
                number,
                foreign(&number.to_string(), None, &number.to_string()),
                HeldFate::Waits,
            )
        })
        .collect();
    subject.held.hold(GROUP, &held, at(1)).await.expect("held");
    let lanes: Vec<UserId> = held.iter().map(|held| held.foreign.lane).collect();
    assert_eq!(subject.held.behind(GROUP, &lanes).await.expect("lanes").len(), 450);
}
