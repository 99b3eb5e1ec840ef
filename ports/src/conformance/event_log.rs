//! Scenarios for [`EventLog`](crate::EventLog).

use std::sync::Arc;

use domain::event::{SHARDS, Shard};

use super::samples::{TTL, at, event, events, full_event, sequence_all, user, whole_log};
use crate::{Cursor, CursorMove, CursorStore, EventLog, EventStore, LogSequencer};

/// What the scenarios need: the log, and all that writes into it.
pub struct Subject {
    /// The log under test.
    pub log: Arc<dyn EventLog>,
    /// The store of the same log.
    pub store: Arc<dyn EventStore>,
    /// Its sequencer.
    pub sequencer: Arc<dyn LogSequencer>,
    /// Its cursors.
    pub cursors: Arc<dyn CursorStore>,
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject").finish_non_exhaustive()
    }
}

/// One test for each scenario; the fixture is a future of `Option<(event_log::Subject, guard)>`.
#[macro_export]
macro_rules! event_log_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            event_log,
            [
                every_field_round_trips,
                reading_on_visits_each_event_once_in_order,
                a_read_keeps_to_its_limit_and_to_the_shards_asked_for,
                after_the_heads_there_is_nothing,
                heads_tell_every_shard_in_order,
                stats_tell_what_waits_and_how_far_each_group_is,
            ]
        );
    };
}

async fn fill(subject: &Subject, users: usize, each: u64) {
    for _ in 0..users {
        let user = user();
        subject
            .store
            .append(&events((0..each).map(|number| event(user, number)).collect()))
            .await
            .expect("written");
    }
    sequence_all(&*subject.sequencer).await;
}

/// The log shows what the history shows.
pub async fn every_field_round_trips(subject: &Subject) {
    let user = user();
    let written = vec![full_event(user), event(user, 1)];
    subject.store.append(&events(written.clone())).await.expect("written");
    sequence_all(&*subject.sequencer).await;
    let log = whole_log(&*subject.log).await;
    assert_eq!(
        log.iter().map(|logged| logged.event.clone()).collect::<Vec<_>>(),
        written
    );
    assert_eq!(log, subject.store.history(user, 0, 10).await.expect("a history"));
}

/// A reader that goes on from where it was sees each event once, in order; [`whole_log`] fails at a gap.
pub async fn reading_on_visits_each_event_once_in_order(subject: &Subject) {
    fill(subject, 30, 9).await;
    let log = whole_log(&*subject.log).await;
    assert_eq!(log.len(), 270);
    let mut ids: Vec<_> = log.iter().map(|logged| logged.event.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 270);
}

/// Few are asked for, few come: without a gap after the cursor, and of no other shard.
pub async fn a_read_keeps_to_its_limit_and_to_the_shards_asked_for(subject: &Subject) {
    fill(subject, 40, 5).await;
    let heads = subject.log.heads().await.expect("heads");
    let full: Vec<Cursor> = heads.into_iter().filter(|head| head.position >= 5).collect();
    assert!(full.len() >= 2, "the users fall into several shards");
    let asked: Vec<Cursor> = full
        .iter()
        .take(2)
        .map(|head| Cursor {
            shard: head.shard,
            position: 2,
        })
        .collect();
    let read = subject.log.read(&asked, 3).await.expect("a read");
    assert_eq!(read.len(), 3);
    for cursor in &asked {
        let positions: Vec<u64> = read
            .iter()
            .filter(|logged| logged.shard == cursor.shard)
            .map(|logged| logged.position)
            .collect();
        let expected: Vec<u64> = (3..3 + positions.len() as u64).collect();
        assert_eq!(positions, expected);
    }
    assert!(
        read.iter()
            .all(|logged| asked.iter().any(|cursor| cursor.shard == logged.shard))
    );
    assert_eq!(subject.log.read(&[], 10).await.expect("a read"), vec![]);
}

/// A reader that has seen all gets nothing, and then only what is new.
pub async fn after_the_heads_there_is_nothing(subject: &Subject) {
    fill(subject, 10, 3).await;
    let heads = subject.log.heads().await.expect("heads");
    assert_eq!(subject.log.read(&heads, 100).await.expect("a read"), vec![]);
    fill(subject, 1, 2).await;
    let new = subject.log.read(&heads, 100).await.expect("a read");
    assert_eq!(
        new.iter()
            .filter_map(|logged| logged.event.data.clone())
            .collect::<Vec<_>>(),
        ["{\"number\":0}", "{\"number\":1}"]
    );
}

/// All shards are named, empty ones with 0.
pub async fn heads_tell_every_shard_in_order(subject: &Subject) {
    let empty: Vec<Cursor> = Shard::all().map(|shard| Cursor { shard, position: 0 }).collect();
    assert_eq!(subject.log.heads().await.expect("heads"), empty);
    let user = user();
    subject
        .store
        .append(&events(vec![event(user, 1), event(user, 2)]))
        .await
        .expect("written");
    assert_eq!(
        subject.log.heads().await.expect("heads"),
        empty,
        "nothing has its position yet"
    );
    sequence_all(&*subject.sequencer).await;
    let heads = subject.log.heads().await.expect("heads");
    assert_eq!(
        heads.iter().map(|head| head.shard).collect::<Vec<_>>(),
        Shard::all().collect::<Vec<_>>()
    );
    for head in heads {
        assert_eq!(head.position, if head.shard == Shard::of(user) { 2 } else { 0 });
    }
}

/// Waiting events, the head over all shards, and the lag of each group by name.
pub async fn stats_tell_what_waits_and_how_far_each_group_is(subject: &Subject) {
    let user = user();
    subject
        .store
        .append(&events((0..5).map(|number| event(user, number)).collect()))
        .await
        .expect("written");
    let stats = subject.log.stats().await.expect("stats");
    assert_eq!((stats.unsequenced, stats.head, stats.lags), (5, 0, vec![]));
    sequence_all(&*subject.sequencer).await;
    for group in ["mails", "bus"] {
        let held = subject.cursors.claim(group, "me", at(0), TTL).await.expect("cursors");
        assert_eq!(held.len(), usize::from(SHARDS));
    }
    let step = CursorMove {
        shard: Shard::of(user),
        from: 0,
        to: 3,
    };
    subject
        .cursors
        .advance("mails", "me", &[step], at(1))
        .await
        .expect("moved");
    let stats = subject.log.stats().await.expect("stats");
    assert_eq!((stats.unsequenced, stats.head), (0, 5));
    assert_eq!(stats.lags, vec![("bus".to_owned(), 5), ("mails".to_owned(), 2)]);
}
