//! Scenarios for [`AuditTrail`](crate::AuditTrail).

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::audit::{AuditCursor, Mark, ShardWalk};
use domain::event::{Actor, Event, LoggedEvent, NewEvent, OwnEvent, Shard};
use domain::id::{EventId, RequestId, UserId};

use super::samples::{at, event, events, full_event, sequence_all, user, uuid, whole_log};
use crate::{AuditQuery, AuditTrail, EventLog, EventStore, LogSequencer};

/// What the scenarios need: the trail, and all that writes into the log.
pub struct Subject {
    /// The trail under test.
    pub trail: Arc<dyn AuditTrail>,
    /// The store of the same log.
    pub store: Arc<dyn EventStore>,
    /// Its sequencer.
    pub sequencer: Arc<dyn LogSequencer>,
    /// The log as others read it.
    pub log: Arc<dyn EventLog>,
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject").finish_non_exhaustive()
    }
}

/// One test for each scenario; the fixture is a future of `Option<(audit_trail::Subject, guard)>`.
#[macro_export]
macro_rules! audit_trail_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            audit_trail,
            [
                bounds_tell_every_shard_in_order,
                rows_give_what_was_written_and_the_chain_holds,
                rows_keep_to_their_range_and_limit,
                an_untouched_log_has_no_strays,
                looking_visits_every_event_once,
                checkpoints_come_in_order,
                a_search_visits_every_event_once_newest_first,
                a_search_keeps_to_each_filter,
                a_search_along_one_user_pages_too,
                a_search_shows_nothing_without_a_position,
                a_cursor_of_another_search_leads_nowhere,
            ]
        );
    };
}

async fn write(subject: &Subject, written: Vec<Event>) {
    subject.store.append(&events(written)).await.expect("written");
    sequence_all(&*subject.sequencer).await;
}

/// Twelve users with ten events each, a second apart.
async fn fill(subject: &Subject) -> Vec<UserId> {
    let users: Vec<UserId> = (0..12).map(|_| user()).collect();
    for number in 0..10 {
        let events = users.iter().map(|user| Event {
            time: at(number),
            ..event(*user, number.unsigned_abs())
        });
        write(subject, events.collect()).await;
    }
    users
}

async fn search(subject: &Subject, query: &AuditQuery, limit: u32) -> Vec<LoggedEvent> {
    let (mut all, mut after) = (Vec::new(), None);
    for _ in 0..1_000 {
        let page = subject.trail.search(query, after, limit).await.expect("a page");
        assert!(page.items.len() <= limit as usize);
        all.extend(page.items);
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
    panic!("the search has no end");
}

/// Heads as the log has them, and no beginning while nothing was removed.
pub async fn bounds_tell_every_shard_in_order(subject: &Subject) {
    fill(subject).await;
    let bounds = subject.trail.bounds().await.expect("bounds");
    let heads = subject.log.heads().await.expect("heads");
    assert_eq!(
        bounds.iter().map(|bounds| bounds.shard).collect::<Vec<_>>(),
        Shard::all().collect::<Vec<_>>()
    );
    let log = whole_log(&*subject.log).await;
    for (bounds, head) in bounds.iter().zip(heads) {
        assert_eq!((bounds.floor, bounds.removable), (Mark::BEGINNING, 0));
        let last = log.iter().rfind(|logged| logged.shard == bounds.shard);
        let expected = last.map_or(Mark::BEGINNING, |logged| Mark {
            position: logged.position,
            hash: logged.hash,
        });
        assert_eq!((bounds.head, head.position), (expected, expected.position));
    }
}

/// Every column comes back as it was written, and a walk along all shards finds nothing.
pub async fn rows_give_what_was_written_and_the_chain_holds(subject: &Subject) {
    let owner = user();
    write(subject, vec![full_event(owner), event(owner, 1)]).await;
    fill(subject).await;
    let full = subject.store.history(owner, 0, 1).await.expect("a history").remove(0);
    let row = subject
        .trail
        .rows(full.shard, full.position - 1, full.position, 5)
        .await
        .expect("rows")
        .remove(0);
    let stored = row.event.expect("its event");
    let expected = &full.event;
    assert_eq!(
        (row.position, row.event_id, row.user_id),
        (full.position, expected.id.uuid(), owner.uuid())
    );
    assert_eq!(row.hash, full.hash);
    assert_eq!(
        (stored.user_id, stored.shard),
        (owner.uuid(), i16::from(full.shard.number()))
    );
    assert_eq!(stored.event_type, expected.event_type.as_str());
    assert_eq!(
        (stored.subject, stored.data),
        (expected.subject.clone(), expected.data.clone())
    );
    assert_eq!(
        (stored.time, stored.actor),
        (expected.time.micros(), expected.actor.as_text())
    );
    assert_eq!(stored.salt, expected.salt.map(|salt| salt.to_vec()));
    assert_eq!(stored.digest, expected.digest);
    assert_eq!(stored.impersonator, expected.impersonator.map(UserId::uuid));
    assert_eq!(stored.request_id, expected.request_id.map(RequestId::uuid));
    let mut rows = 0;
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
        rows += walk.end(bounds.head, |finding| panic!("{finding:?}")).rows;
    }
    assert_eq!(rows, 122);
}

/// After one position, up to another, no more than asked for, of no other shard.
pub async fn rows_keep_to_their_range_and_limit(subject: &Subject) {
    let owner = user();
    write(subject, (0..10).map(|number| event(owner, number)).collect()).await;
    let shard = Shard::of(owner);
    let positions = async |after, to, limit| {
        let rows = subject.trail.rows(shard, after, to, limit).await.expect("rows");
        rows.iter().map(|row| row.position).collect::<Vec<_>>()
    };
    assert_eq!(positions(3, 6, 100).await, [4, 5, 6]);
    assert_eq!(positions(0, 10, 2).await, [1, 2]);
    assert_eq!(positions(10, 10, 100).await, Vec::<u64>::new());
    let other = Shard::new((shard.number() + 1) % 16).expect("a shard");
    assert_eq!(subject.trail.rows(other, 0, 100, 100).await.expect("rows"), []);
}

/// Neither what waits for its position nor what has it is one.
pub async fn an_untouched_log_has_no_strays(subject: &Subject) {
    fill(subject).await;
    subject
        .store
        .append(&events(vec![event(user(), 1)]))
        .await
        .expect("written");
    assert_eq!(subject.trail.intruders(10).await.expect("an answer"), []);
    let looked = subject.trail.look(None, 1_000).await.expect("an answer");
    assert_eq!((looked.events, looked.next, looked.strays), (121, None, vec![]));
}

/// Window after window, to the end.
pub async fn looking_visits_every_event_once(subject: &Subject) {
    fill(subject).await;
    let (mut after, mut seen) = (None, 0);
    for _ in 0..100 {
        let looked = subject.trail.look(after, 7).await.expect("an answer");
        seen += looked.events;
        assert_eq!(looked.strays, []);
        after = looked.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((seen, after), (120, None));
}

/// Only those of the installation itself, after a position, as many as asked for.
pub async fn checkpoints_come_in_order(subject: &Subject) {
    let checkpoint = |number: u64, owner| Event {
        event_type: OwnEvent::AuditCheckpoint.event_type(),
        ..event(owner, number)
    };
    let own = |number| checkpoint(number, UserId::SYSTEM);
    let written = vec![own(1), event(UserId::SYSTEM, 2), own(3), checkpoint(4, user()), own(5)];
    write(subject, written.clone()).await;
    let all = subject.trail.checkpoints(0, 10).await.expect("checkpoints");
    let expected: Vec<_> = [0, 2, 4].iter().map(|index| written[*index].id.uuid()).collect();
    assert_eq!(
        all.iter().map(|checkpoint| checkpoint.event_id).collect::<Vec<_>>(),
        expected
    );
    assert_eq!(all[1].data, written[2].data);
    let some = subject
        .trail
        .checkpoints(all[0].position, 1)
        .await
        .expect("checkpoints");
    assert_eq!(some, all[1..2]);
}

/// Pages of any length, with many events at one time, show all once.
pub async fn a_search_visits_every_event_once_newest_first(subject: &Subject) {
    fill(subject).await;
    let found = search(subject, &AuditQuery::default(), 7).await;
    assert_eq!(
        found
            .iter()
            .map(|logged| logged.event.id)
            .collect::<BTreeSet<_>>()
            .len(),
        120
    );
    assert_eq!(found.len(), 120);
    assert!(
        found
            .windows(2)
            .all(|pair| (pair[0].event.time, pair[0].event.id) > (pair[1].event.time, pair[1].event.id))
    );
    let mut log = whole_log(&*subject.log).await;
    log.sort_by_key(|logged| std::cmp::Reverse((logged.event.time, logged.event.id)));
    assert_eq!(found, log, "each with its place and hash");
}

/// Each filter alone, with and without a user, leaves exactly what fits.
pub async fn a_search_keeps_to_each_filter(subject: &Subject) {
    let (owner, admin, request) = (user(), user(), RequestId::new(uuid()));
    let special = Event::new(NewEvent {
        id: EventId::new(uuid()),
        user_id: owner,
        event_type: "app.order.placed".parse().expect("a type"),
        subject: None,
        time: at(100),
        data: "{}".to_owned(),
        salt: [1; 16],
        actor: Actor::User(owner),
        impersonator: Some(admin),
        request_id: Some(request),
        client_id: false,
    });
    fill(subject).await;
    write(subject, vec![event(owner, 1), special.clone(), event(user(), 2)]).await;
    let none = AuditQuery::default;
    let queries = [
        AuditQuery {
            event_type: Some("app.order.placed".to_owned()),
            ..none()
        },
        AuditQuery {
            event_type: Some("app.order.".to_owned()),
            ..none()
        },
        AuditQuery {
            actor: Some(owner.to_string()),
            ..none()
        },
        AuditQuery {
            impersonator: Some(admin),
            ..none()
        },
        AuditQuery {
            request: Some(request),
            ..none()
        },
        AuditQuery {
            from: Some(at(100)),
            ..none()
        },
        AuditQuery {
            from: Some(at(99)),
            to: Some(at(101)),
            ..none()
        },
    ];
    for query in queries {
        for user in [None, Some(owner)] {
            let query = AuditQuery { user, ..query.clone() };
            let found = search(subject, &query, 50).await;
            assert_eq!(
                found.iter().map(|logged| &logged.event).collect::<Vec<_>>(),
                [&special],
                "{query:?}"
            );
        }
    }
    for (query, expected) in [
        (
            AuditQuery {
                to: Some(at(1)),
                ..none()
            },
            12,
        ),
        (
            AuditQuery {
                from: Some(at(3)),
                to: Some(at(5)),
                ..none()
            },
            24,
        ),
        (
            AuditQuery {
                event_type: Some("app.".to_owned()),
                ..none()
            },
            123,
        ),
        (
            AuditQuery {
                event_type: Some("app.order".to_owned()),
                ..none()
            },
            0,
        ),
        (
            AuditQuery {
                actor: Some("system".to_owned()),
                ..none()
            },
            122,
        ),
        (
            AuditQuery {
                impersonator: Some(owner),
                ..none()
            },
            0,
        ),
    ] {
        assert_eq!(search(subject, &query, 50).await.len(), expected, "{query:?}");
    }
}

/// One user's events, by their positions.
pub async fn a_search_along_one_user_pages_too(subject: &Subject) {
    let owner = fill(subject).await.remove(3);
    let found = search(
        subject,
        &AuditQuery {
            user: Some(owner),
            ..AuditQuery::default()
        },
        3,
    )
    .await;
    let mut history = subject.store.history(owner, 0, 100).await.expect("a history");
    history.reverse();
    assert_eq!(found, history);
}

/// What waits is in no log yet.
pub async fn a_search_shows_nothing_without_a_position(subject: &Subject) {
    subject
        .store
        .append(&events(vec![event(user(), 1)]))
        .await
        .expect("written");
    assert_eq!(search(subject, &AuditQuery::default(), 5).await, []);
}

/// A cursor belongs to its kind of search.
pub async fn a_cursor_of_another_search_leads_nowhere(subject: &Subject) {
    let owner = fill(subject).await.remove(0);
    let own = AuditQuery {
        user: Some(owner),
        ..AuditQuery::default()
    };
    let moment = AuditCursor::Moment(at(5), uuid());
    for (query, cursor) in [(own, moment), (AuditQuery::default(), AuditCursor::Position(5))] {
        let page = subject.trail.search(&query, Some(cursor), 5).await.expect("a page");
        assert_eq!((page.items, page.next), (vec![], None));
    }
}
