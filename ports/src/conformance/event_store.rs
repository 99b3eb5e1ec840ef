//! Scenarios for [`EventStore`](crate::EventStore).

use std::sync::Arc;

use domain::id::EventId;
use futures_util::future::join_all;

use super::samples::{at, client_event, event, events, full_event, mail, payloads, sequence_all, user, uuid};
use crate::{Effects, EffectsError, EventStore, InboxMark, LogSequencer};

/// What the scenarios need: the store, and the sequencer that makes what it wrote readable.
pub struct Subject {
    /// The store under test.
    pub store: Arc<dyn EventStore>,
    /// The sequencer of the same log.
    pub sequencer: Arc<dyn LogSequencer>,
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject").finish_non_exhaustive()
    }
}

/// One test for each scenario; the fixture is a future of `Option<(event_store::Subject, guard)>`.
#[macro_export]
macro_rules! event_store_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            event_store,
            [
                every_field_round_trips,
                an_event_is_read_once_it_has_its_position,
                history_goes_on_after_a_position_and_keeps_to_its_limit,
                the_order_of_a_call_is_kept,
                another_user_gets_none,
                a_chosen_id_with_the_same_content_counts_as_written,
                a_chosen_id_with_other_content_is_refused_with_the_whole_call,
                a_chosen_id_twice_in_one_call,
                an_inbox_mark_is_taken_once,
                a_refused_call_writes_nothing_of_its_effects,
                each_of_many_callers_gets_its_own_answer,
                many_writers_of_one_chosen_id_write_it_once,
                a_dropped_caller_harms_no_other,
                nothing_to_write_is_written,
            ]
        );
    };
}

/// What was written is what is read, with every optional field filled and with none.
pub async fn every_field_round_trips(subject: &Subject) {
    let user = user();
    let written = vec![full_event(user), event(user, 1)];
    subject.store.append(&events(written.clone())).await.expect("written");
    sequence_all(&*subject.sequencer).await;
    let read = subject.store.history(user, 0, 10).await.expect("a history");
    assert_eq!(
        read.iter().map(|logged| logged.event.clone()).collect::<Vec<_>>(),
        written
    );
    for logged in &read {
        let found = subject.store.find(user, logged.event.id).await.expect("a read");
        assert_eq!(found.as_ref(), Some(logged));
    }
}

/// Before the sequencer came, neither history nor find shows it.
pub async fn an_event_is_read_once_it_has_its_position(subject: &Subject) {
    let user = user();
    let waiting = event(user, 1);
    subject
        .store
        .append(&events(vec![waiting.clone()]))
        .await
        .expect("written");
    assert_eq!(subject.store.find(user, waiting.id).await.expect("a read"), None);
    assert_eq!(subject.store.history(user, 0, 10).await.expect("a read"), vec![]);
    sequence_all(&*subject.sequencer).await;
    let found = subject
        .store
        .find(user, waiting.id)
        .await
        .expect("a read")
        .expect("found");
    assert_eq!((found.event, found.position), (waiting, 1));
}

/// Pages of a history visit each event once.
pub async fn history_goes_on_after_a_position_and_keeps_to_its_limit(subject: &Subject) {
    let user = user();
    subject
        .store
        .append(&events((0..11).map(|number| event(user, number)).collect()))
        .await
        .expect("written");
    sequence_all(&*subject.sequencer).await;
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let page = subject.store.history(user, after, 4).await.expect("a page");
        assert!(page.len() <= 4);
        let Some(last) = page.last() else { break };
        assert!(page.first().is_some_and(|first| first.position > after));
        after = last.position;
        seen.extend(page.into_iter().filter_map(|logged| logged.event.data));
    }
    let expected: Vec<String> = (0..11).map(|number| format!("{{\"number\":{number}}}")).collect();
    assert_eq!(seen, expected);
}

/// Many events of one call keep their order, also where an adapter writes them in portions.
pub async fn the_order_of_a_call_is_kept(subject: &Subject) {
    let user = user();
    let written: Vec<_> = (0..157).map(|number| event(user, number)).collect();
    subject.store.append(&events(written.clone())).await.expect("written");
    sequence_all(&*subject.sequencer).await;
    let read = subject.store.history(user, 0, 200).await.expect("a history");
    let ids: Vec<EventId> = read.iter().map(|logged| logged.event.id).collect();
    assert_eq!(ids, written.iter().map(|event| event.id).collect::<Vec<_>>());
}

/// Another user's id answers exactly like an unknown one.
pub async fn another_user_gets_none(subject: &Subject) {
    let (owner, stranger) = (user(), user());
    let theirs = event(owner, 1);
    subject
        .store
        .append(&events(vec![theirs.clone()]))
        .await
        .expect("written");
    sequence_all(&*subject.sequencer).await;
    assert!(subject.store.find(owner, theirs.id).await.expect("a read").is_some());
    assert_eq!(subject.store.find(stranger, theirs.id).await.expect("a read"), None);
    assert_eq!(subject.store.history(stranger, 0, 10).await.expect("a read"), vec![]);
}

/// The same content again, before and after the sequencer came, is the same event.
pub async fn a_chosen_id_with_the_same_content_counts_as_written(subject: &Subject) {
    let (user, id) = (user(), EventId::new(uuid()));
    let first = client_event(user, id, "{\"a\":1}");
    let mut again = first.clone();
    again.time = at(90);
    subject
        .store
        .append(&events(vec![first.clone()]))
        .await
        .expect("written");
    subject
        .store
        .append(&events(vec![again.clone(), event(user, 2)]))
        .await
        .expect("counts as written");
    sequence_all(&*subject.sequencer).await;
    subject
        .store
        .append(&events(vec![again]))
        .await
        .expect("counts as written");
    sequence_all(&*subject.sequencer).await;
    assert_eq!(payloads(&*subject.store, user).await, ["{\"a\":1}", "{\"number\":2}"]);
    let found = subject.store.find(user, id).await.expect("a read").expect("found");
    assert_eq!(found.event, first, "the first one was left as it was");
}

/// Other content, and another user's id, are refused, and so is all else in the call.
pub async fn a_chosen_id_with_other_content_is_refused_with_the_whole_call(subject: &Subject) {
    let (owner, stranger, id) = (user(), user(), EventId::new(uuid()));
    subject
        .store
        .append(&events(vec![client_event(owner, id, "{\"a\":1}")]))
        .await
        .expect("written");
    for (who, data) in [(owner, "{\"a\":2}"), (stranger, "{\"a\":1}")] {
        let calls = [event(who, 1), client_event(who, id, data), event(who, 2)];
        match subject.store.append(&events(calls.to_vec())).await {
            Err(EffectsError::EventIdTaken(taken)) => assert_eq!(taken, id),
            other => panic!("expected the id to be taken, got {other:?}"),
        }
    }
    sequence_all(&*subject.sequencer).await;
    assert_eq!(payloads(&*subject.store, owner).await, ["{\"a\":1}"]);
    assert!(payloads(&*subject.store, stranger).await.is_empty());
}

/// Within one call the same rule holds.
pub async fn a_chosen_id_twice_in_one_call(subject: &Subject) {
    let (user, same, other) = (user(), EventId::new(uuid()), EventId::new(uuid()));
    let twice = vec![client_event(user, same, "{}"), client_event(user, same, "{}")];
    subject.store.append(&events(twice)).await.expect("one event");
    let clash = vec![
        client_event(user, other, "{\"a\":1}"),
        client_event(user, other, "{\"a\":2}"),
    ];
    assert!(matches!(subject.store.append(&events(clash)).await, Err(EffectsError::EventIdTaken(id)) if id == other));
    sequence_all(&*subject.sequencer).await;
    assert_eq!(payloads(&*subject.store, user).await, ["{}"]);
}

/// A group handles an event once; another group is not concerned.
pub async fn an_inbox_mark_is_taken_once(subject: &Subject) {
    let (user, handled) = (user(), EventId::new(uuid()));
    let call = |group: &str, number| Effects {
        inbox: Some(InboxMark {
            group: group.to_owned(),
            event_id: handled,
            at: at(1),
        }),
        ..events(vec![event(user, number)])
    };
    subject.store.append(&call("counter", 1)).await.expect("the first");
    assert!(matches!(
        subject.store.append(&call("counter", 2)).await,
        Err(EffectsError::AlreadyHandled)
    ));
    subject.store.append(&call("other", 3)).await.expect("another group");
    sequence_all(&*subject.sequencer).await;
    assert_eq!(
        payloads(&*subject.store, user).await,
        ["{\"number\":1}", "{\"number\":3}"]
    );
}

/// A call that is refused for its event leaves its inbox mark and its mail out too: it can be made again, corrected.
pub async fn a_refused_call_writes_nothing_of_its_effects(subject: &Subject) {
    let (user, id) = (user(), EventId::new(uuid()));
    subject
        .store
        .append(&events(vec![client_event(user, id, "{\"a\":1}")]))
        .await
        .expect("written");
    let mark = InboxMark {
        group: "counter".to_owned(),
        event_id: EventId::new(uuid()),
        at: at(1),
    };
    let letter = mail(Some(user), "refused@example.org", at(1));
    let call = |events: Vec<_>| Effects {
        events,
        mails: vec![letter.clone()],
        inbox: Some(mark.clone()),
        ..Effects::default()
    };
    let refused = subject
        .store
        .append(&call(vec![client_event(user, id, "{\"a\":2}")]))
        .await;
    assert!(matches!(refused, Err(EffectsError::EventIdTaken(_))));
    // The mark and the mail's id are free still, so nothing of the refused call is there.
    subject
        .store
        .append(&call(vec![event(user, 5)]))
        .await
        .expect("corrected");
    sequence_all(&*subject.sequencer).await;
    assert_eq!(payloads(&*subject.store, user).await, ["{\"a\":1}", "{\"number\":5}"]);
}

/// Good and bad calls at once: each bad one is refused, each good one is in the log whole and in its order.
pub async fn each_of_many_callers_gets_its_own_answer(subject: &Subject) {
    let (owner, taken) = (user(), EventId::new(uuid()));
    subject
        .store
        .append(&events(vec![client_event(owner, taken, "{}")]))
        .await
        .expect("written");
    let calls = (0..60_u64).map(|number| async move {
        let user = user();
        let mut call = vec![event(user, number), event(user, number + 1_000)];
        let bad = number % 5 == 0;
        if bad {
            call.push(client_event(user, taken, "{\"other\":true}"));
        }
        (user, number, bad, subject.store.append(&events(call)).await)
    });
    let answers = join_all(calls).await;
    sequence_all(&*subject.sequencer).await;
    for (user, number, bad, answer) in answers {
        let read = payloads(&*subject.store, user).await;
        if bad {
            assert!(
                matches!(answer, Err(EffectsError::EventIdTaken(id)) if id == taken),
                "{answer:?}"
            );
            assert!(read.is_empty(), "nothing of a refused call is written");
        } else {
            answer.expect("written");
            assert_eq!(
                read,
                [
                    format!("{{\"number\":{number}}}"),
                    format!("{{\"number\":{}}}", number + 1_000)
                ]
            );
        }
    }
}

/// Concurrent writers of one chosen id with one content all succeed, and it is there once.
pub async fn many_writers_of_one_chosen_id_write_it_once(subject: &Subject) {
    let (user, id) = (user(), EventId::new(uuid()));
    let same = events(vec![client_event(user, id, "{}")]);
    for answer in join_all((0..24).map(|_| subject.store.append(&same))).await {
        answer.expect("counts as written");
    }
    sequence_all(&*subject.sequencer).await;
    assert_eq!(payloads(&*subject.store, user).await, ["{}"]);
}

/// Requests that go away while they are gathered with others leave the others whole.
pub async fn a_dropped_caller_harms_no_other(subject: &Subject) {
    for round in 0..10 {
        let mut tasks = tokio::task::JoinSet::new();
        let mut staying = Vec::new();
        for number in 0..20_u64 {
            let (store, user) = (Arc::clone(&subject.store), user());
            let handle = tasks.spawn(async move { store.append(&events(vec![event(user, number)])).await });
            if (number + round) % 3 == 0 {
                handle.abort();
            } else {
                staying.push((user, number));
            }
        }
        while let Some(joined) = tasks.join_next().await {
            match joined {
                Ok(answer) => answer.expect("written"),
                Err(error) => assert!(error.is_cancelled(), "{error}"),
            }
        }
        sequence_all(&*subject.sequencer).await;
        for (user, number) in staying {
            assert_eq!(
                payloads(&*subject.store, user).await,
                [format!("{{\"number\":{number}}}")]
            );
        }
    }
}

/// No effects are no fault.
pub async fn nothing_to_write_is_written(subject: &Subject) {
    subject.store.append(&Effects::none()).await.expect("nothing to do");
}
