//! Scenarios for [`DeadLetterStore`](crate::DeadLetterStore).

use domain::dead_letter::{DeadLetter, FailureReason};
use domain::event::LoggedEvent;
use domain::id::{DeadLetterId, UserId};
use domain::page::PageRequest;

use super::held_events::{GROUP, Subject, failed, holding, passing};
use super::samples::{TTL, at, client_event, event, events, user, uuid};
use crate::{
    ChangeDeadLettersError, DeadLetterFilter, Effects, EffectsError, FailedAttempt, HeldFate, InboxMark, ReplayStep,
    Replayed,
};

/// One test for each scenario; the fixture is a future of `Option<(held_events::Subject, guard)>`.
#[macro_export]
macro_rules! dead_letter_store_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            dead_letters,
            [
                dead_letters_are_listed_by_page_and_filter,
                reasons_are_counted,
                a_redriven_letter_is_held_again_and_counted,
                a_discarded_letter_is_gone_and_its_effects_are_there,
                letters_are_changed_all_or_none_with_their_effects,
                a_replay_hands_out_again_what_the_cursor_has_passed,
                a_replay_keeps_to_its_times_and_positions,
                a_replay_leaves_what_is_held_and_a_dry_run_changes_nothing,
            ]
        );
    };
}

/// Dead letters of a user, one for each code.
async fn letters(subject: &Subject, owner: UserId, codes: &[&str]) -> (Vec<LoggedEvent>, Vec<DeadLetterId>) {
    let logged = subject.write(owner, codes.len() as u64).await;
    subject.claim("a", at(0)).await;
    let held: Vec<_> = logged
        .iter()
        .zip(codes)
        .zip(1..)
        .map(|((logged, code), second)| {
            let reason = FailureReason::new(code, &format!("because of {code}"));
            holding(
                logged,
                HeldFate::Dead(FailedAttempt {
                    attempts: 8,
                    at: at(second),
                    reason,
                }),
            )
        })
        .collect();
    let ids = held.iter().map(|held| held.id).collect();
    assert!(subject.settle(passing(owner, 0, codes.len() as u64, held), at(1)).await);
    (logged, ids)
}

async fn list(subject: &Subject, filter: &DeadLetterFilter) -> Vec<DeadLetter> {
    let page = subject
        .letters
        .list(filter, &PageRequest::first())
        .await
        .expect("a page");
    assert_eq!(page.next, None);
    page.items
}

async fn listed(subject: &Subject, filter: DeadLetterFilter) -> Vec<DeadLetterId> {
    list(subject, &filter)
        .await
        .into_iter()
        .map(|letter| letter.id)
        .collect()
}

/// Oldest first; each part of the filter by itself, and all together.
pub async fn dead_letters_are_listed_by_page_and_filter(subject: &Subject) {
    let owner = user();
    let (_, ids) = letters(subject, owner, &["refused", "failed", "refused"]).await;
    let all = DeadLetterFilter::default;
    assert_eq!(listed(subject, all()).await, ids);
    let page = PageRequest { after: None, limit: 2 };
    let first = subject.letters.list(&all(), &page).await.expect("a page");
    assert_eq!(first.items.iter().map(|letter| letter.id).collect::<Vec<_>>(), ids[..2]);
    let rest = PageRequest {
        after: first.next,
        limit: 2,
    };
    let rest = subject.letters.list(&all(), &rest).await.expect("a page");
    assert_eq!((rest.items.len(), rest.items[0].id, rest.next), (1, ids[2], None));
    let foreign = PageRequest {
        after: Some("'; --".to_owned()),
        limit: 2,
    };
    assert_eq!(
        subject.letters.list(&all(), &foreign).await.expect("a page").items,
        vec![]
    );
    let with = |change: fn(&mut DeadLetterFilter)| {
        let mut filter = all();
        change(&mut filter);
        filter
    };
    let refused = with(|filter| filter.reason = Some("refused".to_owned()));
    assert_eq!(listed(subject, refused.clone()).await, [ids[0], ids[2]]);
    assert_eq!(
        listed(subject, with(|filter| filter.reason = Some("ref".to_owned()))).await,
        []
    );
    assert_eq!(
        listed(subject, with(|filter| filter.group = Some(GROUP.to_owned()))).await,
        ids
    );
    assert_eq!(
        listed(subject, with(|filter| filter.group = Some("others".to_owned()))).await,
        []
    );
    assert_eq!(
        listed(subject, with(|filter| filter.event_type = "app.counted".parse().ok())).await,
        ids
    );
    assert_eq!(
        listed(subject, with(|filter| filter.event_type = "app.other".parse().ok())).await,
        []
    );
    assert_eq!(
        listed(
            subject,
            DeadLetterFilter {
                user: Some(owner),
                ..all()
            }
        )
        .await,
        ids
    );
    assert_eq!(
        listed(
            subject,
            DeadLetterFilter {
                user: Some(user()),
                ..all()
            }
        )
        .await,
        []
    );
    let two = vec![ids[1], ids[2]];
    assert_eq!(
        listed(
            subject,
            DeadLetterFilter {
                ids: two.clone(),
                ..all()
            }
        )
        .await,
        two
    );
    let both = DeadLetterFilter {
        ids: two,
        user: Some(owner),
        ..refused
    };
    assert_eq!(listed(subject, both).await, [ids[2]]);
    assert!(
        subject
            .letters
            .find(DeadLetterId::new(uuid()))
            .await
            .expect("an answer")
            .is_none()
    );
}

/// The most first.
pub async fn reasons_are_counted(subject: &Subject) {
    letters(subject, user(), &["failed", "refused", "refused"]).await;
    let reasons = subject
        .letters
        .reasons(&DeadLetterFilter::default())
        .await
        .expect("reasons");
    let counted: Vec<_> = reasons
        .iter()
        .map(|reason| (reason.group.as_str(), reason.code.as_str(), reason.count))
        .collect();
    assert_eq!(counted, [(GROUP, "refused", 2), (GROUP, "failed", 1)]);
    assert_eq!((reasons[0].first_at, reasons[0].last_at), (at(2), at(3)));
    assert_eq!(reasons[0].example, "because of refused");
    let none = DeadLetterFilter {
        group: Some("others".to_owned()),
        ..DeadLetterFilter::default()
    };
    assert_eq!(subject.letters.reasons(&none).await.expect("reasons"), vec![]);
    assert_eq!(subject.letters.groups().await.expect("groups"), [GROUP]);
}

/// It begins without attempts, before later events of its user; a second death keeps the count.
pub async fn a_redriven_letter_is_held_again_and_counted(subject: &Subject) {
    let owner = user();
    let (logged, ids) = letters(subject, owner, &["refused", "failed"]).await;
    assert_eq!(subject.letters.held(GROUP).await.expect("a count"), 0);
    subject
        .letters
        .redrive(&ids, at(10), &Effects::none())
        .await
        .expect("redriven");
    assert_eq!(subject.letters.held(GROUP).await.expect("a count"), 2);
    assert_eq!(subject.letters.held("others").await.expect("a count"), 0);
    assert_eq!(listed(subject, DeadLetterFilter::default()).await, []);
    assert_eq!(subject.due(owner, at(9)).await, vec![]);
    assert_eq!(subject.due(owner, at(10)).await, [(1, 0), (2, 0)]);
    let mut step = passing(owner, 2, 2, Vec::new());
    step.outcomes = vec![crate::HeldOutcome {
        event_id: logged[0].event.id,
        verdict: crate::HeldVerdict::Dead(failed(8, at(11))),
    }];
    assert!(subject.settle(step, at(11)).await);
    let (letter, _) = subject
        .letters
        .find(ids[0])
        .await
        .expect("an answer")
        .expect("dead again");
    assert_eq!((letter.redrives, letter.attempts), (1, 8));
    assert_eq!((letter.first_failed_at, letter.last_failed_at), (at(1), at(11)));
}

/// What causes it is committed with it.
pub async fn a_discarded_letter_is_gone_and_its_effects_are_there(subject: &Subject) {
    let (owner, admin) = (user(), user());
    let (_, ids) = letters(subject, owner, &["refused", "failed"]).await;
    subject
        .letters
        .discard(&ids[..1], &events(vec![event(admin, 1)]))
        .await
        .expect("discarded");
    assert_eq!(listed(subject, DeadLetterFilter::default()).await, ids[1..]);
    assert_eq!(subject.due(owner, at(100)).await, vec![]);
    super::samples::sequence_all(&*subject.sequencer).await;
    assert_eq!(subject.store.history(admin, 0, 10).await.expect("a history").len(), 1);
    subject
        .letters
        .discard(&[], &Effects::none())
        .await
        .expect("nothing to do");
}

/// One that is none spoils the call; so do refused effects.
pub async fn letters_are_changed_all_or_none_with_their_effects(subject: &Subject) {
    let (owner, admin) = (user(), user());
    let (_, ids) = letters(subject, owner, &["refused", "failed"]).await;
    let with_stranger = [ids[0], DeadLetterId::new(uuid()), ids[1]];
    let effects = events(vec![event(admin, 1)]);
    let gone = subject.letters.redrive(&with_stranger, at(10), &effects).await;
    assert!(matches!(gone, Err(ChangeDeadLettersError::Gone)), "{gone:?}");
    let gone = subject.letters.discard(&with_stranger, &effects).await;
    assert!(matches!(gone, Err(ChangeDeadLettersError::Gone)), "{gone:?}");
    let taken = client_event(admin, domain::id::EventId::new(uuid()), "1");
    let other = client_event(admin, taken.id, "2");
    subject.store.append(&events(vec![taken])).await.expect("written");
    let refused = subject.letters.discard(&ids, &events(vec![other])).await;
    let refused_effects = matches!(
        &refused,
        Err(ChangeDeadLettersError::Effects(EffectsError::EventIdTaken(_)))
    );
    assert!(refused_effects, "{refused:?}");
    assert_eq!(listed(subject, DeadLetterFilter::default()).await, ids);
    subject.letters.redrive(&ids, at(10), &effects).await.expect("redriven");
    let gone = subject.letters.redrive(&ids, at(10), &Effects::none()).await;
    assert!(
        matches!(gone, Err(ChangeDeadLettersError::Gone)),
        "it is held now: {gone:?}"
    );
    super::samples::sequence_all(&*subject.sequencer).await;
    assert_eq!(
        subject.store.history(admin, 0, 10).await.expect("a history").len(),
        2,
        "what failed left nothing"
    );
}

/// The replay of a whole shard.
fn replay(owner: UserId, limit: u32) -> ReplayStep {
    ReplayStep {
        group: GROUP.to_owned(),
        shard: domain::event::Shard::of(owner),
        after: 0,
        to: u64::MAX,
        since: None,
        before: None,
        limit,
        at: at(20),
        ids: (0..limit).map(|_| DeadLetterId::new(uuid())).collect(),
        dry_run: false,
    }
}

async fn step(subject: &Subject, step: &ReplayStep) -> Replayed {
    subject.letters.replay(step, &Effects::none()).await.expect("replayed")
}

/// Handles an event; false when the mark is there.
async fn mark(subject: &Subject, logged: &LoggedEvent) -> bool {
    let inbox = Some(InboxMark {
        group: GROUP.to_owned(),
        event_id: logged.event.id,
        at: at(2),
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

/// In steps, each beginning where the one before ended; the marks go, the cursor stays.
pub async fn a_replay_hands_out_again_what_the_cursor_has_passed(subject: &Subject) {
    let owner = user();
    let logged = subject.write(owner, 5).await;
    subject.claim("a", at(0)).await;
    for logged in &logged[..4] {
        assert!(mark(subject, logged).await);
    }
    assert!(subject.settle(passing(owner, 0, 4, Vec::new()), at(1)).await);
    let first = step(subject, &replay(owner, 3)).await;
    assert_eq!(
        first,
        Replayed {
            events: 3,
            left: 0,
            position: 3,
            more: true
        }
    );
    assert_eq!(subject.due(owner, at(20)).await, [(1, 0), (2, 0), (3, 0)]);
    let second = step(
        subject,
        &ReplayStep {
            after: 3,
            ..replay(owner, 3)
        },
    )
    .await;
    assert_eq!(
        second,
        Replayed {
            events: 1,
            left: 0,
            position: 4,
            more: false
        }
    );
    assert_eq!(subject.due(owner, at(20)).await, [(1, 0), (2, 0), (3, 0), (4, 0)]);
    for (logged, free) in logged.iter().zip([true, true, true, true]) {
        assert_eq!(mark(subject, logged).await, free, "the marks are gone");
    }
    let cursors = subject.cursors.claim(GROUP, "a", at(3), TTL).await.expect("cursors");
    let cursor = cursors.iter().find(|cursor| cursor.shard == logged[0].shard);
    assert_eq!(
        cursor.map(|cursor| cursor.position),
        Some(4),
        "the cursor is where it was"
    );
    let unknown = ReplayStep {
        group: "unknown".to_owned(),
        ..replay(owner, 3)
    };
    assert_eq!(
        step(subject, &unknown).await,
        Replayed::default(),
        "a group without cursors has passed nothing"
    );
}

/// From one time up to, not at, another; after one position up to and at another.
pub async fn a_replay_keeps_to_its_times_and_positions(subject: &Subject) {
    let owner = user();
    let timed = (0..6).map(|second| domain::event::Event {
        time: at(100 + second),
        ..event(owner, second.unsigned_abs())
    });
    subject.store.append(&events(timed.collect())).await.expect("written");
    super::samples::sequence_all(&*subject.sequencer).await;
    subject.claim("a", at(0)).await;
    assert!(subject.settle(passing(owner, 0, 6, Vec::new()), at(1)).await);
    let timed = ReplayStep {
        since: Some(at(101)),
        before: Some(at(103)),
        ..replay(owner, 10)
    };
    assert_eq!(
        step(subject, &timed).await,
        Replayed {
            events: 2,
            left: 0,
            position: 6,
            more: false
        }
    );
    assert_eq!(subject.due(owner, at(20)).await, [(2, 0), (3, 0)]);
    let placed = ReplayStep {
        after: 4,
        to: 5,
        ..replay(owner, 10)
    };
    assert_eq!(
        step(subject, &placed).await,
        Replayed {
            events: 1,
            left: 0,
            position: 5,
            more: false
        }
    );
    assert_eq!(subject.due(owner, at(20)).await, [(2, 0), (3, 0), (5, 0)]);
}

/// A dead letter is redriven, not replayed; what is counted is what a real run would do.
pub async fn a_replay_leaves_what_is_held_and_a_dry_run_changes_nothing(subject: &Subject) {
    let owner = user();
    let logged = subject.write(owner, 3).await;
    subject.claim("a", at(0)).await;
    assert!(mark(subject, &logged[0]).await);
    let held = vec![
        holding(&logged[1], HeldFate::Dead(failed(8, at(1)))),
        holding(&logged[2], HeldFate::Retry(failed(1, at(1)), at(50))),
    ];
    assert!(subject.settle(passing(owner, 0, 3, held), at(1)).await);
    let admin = user();
    let expected = Replayed {
        events: 1,
        left: 2,
        position: 3,
        more: false,
    };
    let effects = events(vec![event(admin, 1)]);
    let dry = ReplayStep {
        dry_run: true,
        ..replay(owner, 10)
    };
    assert_eq!(subject.letters.replay(&dry, &effects).await.expect("counted"), expected);
    assert!(!mark(subject, &logged[0]).await, "the mark is there");
    assert_eq!(subject.due(owner, at(30)).await, vec![]);
    assert_eq!(
        subject
            .letters
            .replay(&replay(owner, 10), &effects)
            .await
            .expect("replayed"),
        expected
    );
    assert_eq!(subject.due(owner, at(30)).await, [(1, 0)]);
    assert_eq!(list(subject, &DeadLetterFilter::default()).await.len(), 1);
    super::samples::sequence_all(&*subject.sequencer).await;
    assert_eq!(
        subject.store.history(admin, 0, 10).await.expect("a history").len(),
        1,
        "the dry run wrote nothing"
    );
}
