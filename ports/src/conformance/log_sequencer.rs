//! Scenarios for [`LogSequencer`](crate::LogSequencer).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use domain::event::{LoggedEvent, SHARDS, Shard, chain_hash};
use domain::id::{EventId, UserId};
use domain::time::Timestamp;
use futures_util::future::{join, join_all};

use super::samples::{TTL, at, event, events, full_event, user, whole_log};
use crate::{EventLog, EventStore, LogSequencer, Sequenced};

/// What the scenarios need: the sequencer, a store to write with and the log to read from.
pub struct Subject {
    /// The sequencer under test.
    pub sequencer: Arc<dyn LogSequencer>,
    /// The store of the same log.
    pub store: Arc<dyn EventStore>,
    /// The log.
    pub log: Arc<dyn EventLog>,
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject").finish_non_exhaustive()
    }
}

/// One test for each scenario; the fixture is a future of `Option<(log_sequencer::Subject, guard)>`.
#[macro_export]
macro_rules! log_sequencer_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            log_sequencer,
            [
                one_owner_holds_every_shard,
                a_lease_that_is_over_is_taken,
                a_renewed_lease_is_kept,
                a_released_lease_is_free,
                of_many_owners_at_most_one_holds_a_shard,
                owners_share_as_they_come_and_go,
                positions_are_gapless_and_in_the_order_of_writing,
                the_hashes_form_a_chain,
                a_step_keeps_to_its_limit_and_tells_whether_more_waits,
                an_owner_without_a_lease_writes_nothing,
                an_owner_whose_lease_was_taken_writes_nothing,
                rivals_never_give_a_position_twice,
                nothing_written_meanwhile_is_skipped,
            ]
        );
    };
}

async fn write(subject: &Subject, user: UserId, count: u64) -> Vec<EventId> {
    let written: Vec<_> = (0..count).map(|number| event(user, number)).collect();
    subject.store.append(&events(written.clone())).await.expect("written");
    written.iter().map(|event| event.id).collect()
}

async fn lease(subject: &Subject, owner: &str, now: Timestamp) -> Vec<Shard> {
    subject.sequencer.lease(owner, now, TTL).await.expect("an answer")
}

async fn step(subject: &Subject, owner: &str, now: Timestamp, limit: u32) -> Sequenced {
    subject.sequencer.sequence(owner, now, limit).await.expect("a step")
}

fn by_shard(log: Vec<LoggedEvent>) -> BTreeMap<Shard, Vec<LoggedEvent>> {
    let mut shards: BTreeMap<Shard, Vec<LoggedEvent>> = BTreeMap::new();
    for event in log {
        shards.entry(event.shard).or_default().push(event);
    }
    shards
}

/// Whoever comes first holds all; who comes second holds none.
pub async fn one_owner_holds_every_shard(subject: &Subject) {
    assert_eq!(lease(subject, "a", at(0)).await, Shard::all().collect::<Vec<_>>());
    assert_eq!(lease(subject, "b", at(1)).await, vec![]);
}

/// A crashed owner's shards go to the next once the lease is over.
pub async fn a_lease_that_is_over_is_taken(subject: &Subject) {
    lease(subject, "a", at(0)).await;
    assert_eq!(lease(subject, "b", at(59)).await, vec![]);
    assert_eq!(lease(subject, "b", at(61)).await.len(), usize::from(SHARDS));
    assert_eq!(lease(subject, "a", at(62)).await, vec![]);
}

/// Renewing moves the end.
pub async fn a_renewed_lease_is_kept(subject: &Subject) {
    lease(subject, "a", at(0)).await;
    assert_eq!(lease(subject, "a", at(50)).await.len(), usize::from(SHARDS));
    assert_eq!(lease(subject, "b", at(100)).await, vec![]);
}

/// Giving back frees at once, and only one's own.
pub async fn a_released_lease_is_free(subject: &Subject) {
    lease(subject, "a", at(0)).await;
    subject.sequencer.release("b").await.expect("nothing to give back");
    assert_eq!(lease(subject, "b", at(1)).await, vec![]);
    subject.sequencer.release("a").await.expect("given back");
    assert_eq!(lease(subject, "b", at(1)).await.len(), usize::from(SHARDS));
}

/// Many at once: no shard is held twice.
pub async fn of_many_owners_at_most_one_holds_a_shard(subject: &Subject) {
    let owners: Vec<String> = (0..8).map(|number| format!("owner-{number}")).collect();
    let held = join_all(owners.iter().map(|owner| lease(subject, owner, at(0)))).await;
    let all: Vec<Shard> = held.into_iter().flatten().collect();
    assert_eq!(
        all.iter().collect::<BTreeSet<_>>().len(),
        all.len(),
        "no shard is held twice"
    );
    for second in [1, 2, 3] {
        for owner in &owners {
            lease(subject, owner, at(second)).await;
        }
    }
    let mut all = BTreeSet::new();
    for owner in &owners {
        let held = lease(subject, owner, at(4)).await;
        assert_eq!(held.len(), usize::from(SHARDS) / owners.len(), "{owner} has its share");
        all.extend(held);
    }
    assert_eq!(all.len(), usize::from(SHARDS), "each shard is held once");
}

/// Who comes gets a part with the next looks of the others, who goes leaves it to them, and who dies does so when its lease is over.
pub async fn owners_share_as_they_come_and_go(subject: &Subject) {
    let count = async |owner, second| lease(subject, owner, at(second)).await.len();
    assert_eq!(count("a", 0).await, 16);
    assert_eq!(count("b", 1).await, 0, "nothing is free yet");
    assert_eq!((count("a", 2).await, count("b", 3).await), (8, 8));
    assert_eq!(count("c", 4).await, 0);
    assert_eq!(
        (count("a", 5).await, count("b", 6).await, count("c", 7).await),
        (6, 6, 4)
    );
    subject.sequencer.release("b").await.expect("given back");
    assert_eq!((count("a", 8).await, count("c", 9).await), (8, 8));
    // `c` dies.
    assert_eq!(count("a", 50).await, 8);
    assert_eq!(count("a", 70).await, 16);
    // Meanwhile events of every shard get their positions, whoever holds it.
    let users: Vec<UserId> = (0..40).map(|_| user()).collect();
    for user in &users {
        write(subject, *user, 1).await;
    }
    assert_eq!(
        (count("b", 71).await, count("a", 72).await, count("b", 73).await),
        (0, 8, 8)
    );
    let (of_a, of_b) = (
        step(subject, "a", at(74), 100).await,
        step(subject, "b", at(74), 100).await,
    );
    assert_eq!(of_a.events + of_b.events, 40);
    assert!(of_a.events > 0 && of_b.events > 0, "{of_a:?} {of_b:?}");
}

/// From 1 in each shard, without gaps; a user's events as they were written.
pub async fn positions_are_gapless_and_in_the_order_of_writing(subject: &Subject) {
    let users: Vec<UserId> = (0..40).map(|_| user()).collect();
    let mut written: BTreeMap<UserId, Vec<EventId>> = BTreeMap::new();
    for round in 0..3 {
        for user in &users {
            written
                .entry(*user)
                .or_default()
                .extend(write(subject, *user, 1 + round).await);
        }
    }
    lease(subject, "a", at(0)).await;
    while step(subject, "a", at(1), 37).await.more {}
    let log = whole_log(&*subject.log).await;
    for user in users {
        let theirs: Vec<EventId> = log
            .iter()
            .filter(|logged| logged.event.user_id == user)
            .map(|logged| logged.event.id)
            .collect();
        assert_eq!(theirs, written[&user]);
    }
    for (shard, events) in by_shard(log) {
        assert!(events.iter().all(|logged| logged.event.shard() == shard));
        let positions: Vec<u64> = events.iter().map(|logged| logged.position).collect();
        assert_eq!(positions, (1..=events.len() as u64).collect::<Vec<_>>());
    }
}

/// Each hash covers the one before it, over several steps, beginning with zeros.
pub async fn the_hashes_form_a_chain(subject: &Subject) {
    let users: Vec<UserId> = (0..20).map(|_| user()).collect();
    lease(subject, "a", at(0)).await;
    for _ in 0..3 {
        for user in &users {
            subject
                .store
                .append(&events(vec![full_event(*user), event(*user, 1)]))
                .await
                .expect("written");
        }
        while step(subject, "a", at(1), 16).await.more {}
    }
    for (shard, events) in by_shard(whole_log(&*subject.log).await) {
        let mut previous = [0; 32];
        for logged in events {
            let expected = chain_hash(&previous, shard, logged.position, &logged.event);
            assert_eq!(logged.hash, expected, "shard {shard:?} position {}", logged.position);
            previous = expected;
        }
    }
}

/// The limit is for all shards together.
pub async fn a_step_keeps_to_its_limit_and_tells_whether_more_waits(subject: &Subject) {
    for _ in 0..10 {
        write(subject, user(), 3).await;
    }
    lease(subject, "a", at(0)).await;
    let mut given = Vec::new();
    loop {
        let sequenced = step(subject, "a", at(1), 8).await;
        given.push(sequenced.events);
        if !sequenced.more {
            break;
        }
    }
    assert!(given.iter().all(|events| *events <= 8), "{given:?}");
    assert_eq!(given.iter().sum::<u64>(), 30);
    assert_eq!(step(subject, "a", at(1), 8).await, Sequenced { events: 0, more: false });
}

/// Never leased, nothing written.
pub async fn an_owner_without_a_lease_writes_nothing(subject: &Subject) {
    write(subject, user(), 2).await;
    assert_eq!(step(subject, "a", at(1), 10).await.events, 0);
    assert_eq!(whole_log(&*subject.log).await, vec![]);
}

/// Fenced: who was thought dead and is not cannot write beside its successor.
pub async fn an_owner_whose_lease_was_taken_writes_nothing(subject: &Subject) {
    write(subject, user(), 2).await;
    lease(subject, "a", at(0)).await;
    lease(subject, "b", at(61)).await;
    // Its own clock may tell it that its lease holds still.
    assert_eq!(step(subject, "a", at(1), 10).await.events, 0);
    assert_eq!(step(subject, "b", at(62), 10).await.events, 2);
    assert_eq!(whole_log(&*subject.log).await.len(), 2);
}

/// Two owners who both sequence as fast as they can, the lease going to and fro, with writers beside them.
pub async fn rivals_never_give_a_position_twice(subject: &Subject) {
    let users: Vec<UserId> = (0..12).map(|_| user()).collect();
    let writers = join_all(users.iter().map(|user| async move {
        for _ in 0..8 {
            write(subject, *user, 2).await;
        }
    }));
    let rivals = join_all((0..2).map(|rival| async move {
        let owner = format!("rival-{rival}");
        for round in 0..20 {
            // Each comes after the other's lease is over.
            let now = at((round * 2 + rival) * 100);
            lease(subject, &owner, now).await;
            step(subject, &owner, now, 5).await;
            step(subject, &owner, now, 5).await;
        }
    }));
    join(writers, rivals).await;
    finish(subject).await;
    let log = whole_log(&*subject.log).await;
    let ids: BTreeSet<EventId> = log.iter().map(|logged| logged.event.id).collect();
    assert_eq!((log.len(), ids.len()), (12 * 16, 12 * 16));
}

/// Writers that commit while the sequencer reads are not passed over.
pub async fn nothing_written_meanwhile_is_skipped(subject: &Subject) {
    lease(subject, "a", at(0)).await;
    let writers = join_all((0..16).map(|_| async move {
        let user = user();
        let mut written = Vec::new();
        for _ in 0..6 {
            written.extend(write(subject, user, 3).await);
        }
        (user, written)
    }));
    let sequencer = async {
        for _ in 0..60 {
            step(subject, "a", at(1), 10).await;
        }
    };
    let (written, ()) = join(writers, sequencer).await;
    finish(subject).await;
    let log = whole_log(&*subject.log).await;
    for (user, ids) in written {
        let theirs: Vec<EventId> = log
            .iter()
            .filter(|logged| logged.event.user_id == user)
            .map(|logged| logged.event.id)
            .collect();
        assert_eq!(theirs, ids);
    }
}

async fn finish(subject: &Subject) {
    let late = at(1_000_000);
    subject
        .sequencer
        .lease("finish", late, Duration::from_secs(60))
        .await
        .expect("a lease");
    while step(subject, "finish", late, 100).await.more {}
}
