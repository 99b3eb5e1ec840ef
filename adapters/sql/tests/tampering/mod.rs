//! Each way to tamper with the stored log is found, and named by its place.

use std::sync::Arc;

use adapter_sql::{Dialect, SqlAuditTrail, SqlEventStore, SqlLogSequencer};
use domain::audit::{Claim, Finding, Mark, ShardWalk};
use domain::event::{Event, Shard};
use domain::id::UserId;
use ports::conformance::samples::{event, events, full_event, sequence_all, user};
use ports::{AuditTrail, EventStore};
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use super::support::Fixture;

/// A log of one user's ten events, in which others have written too.
struct Log {
    fixture: Fixture,
    trail: Arc<dyn AuditTrail>,
    owner: UserId,
    written: Vec<Event>,
}

impl Log {
    async fn new(fixture: Fixture) -> Self {
        let store = SqlEventStore::new(&fixture.db);
        let owner = user();
        let mut written: Vec<Event> = (1..10).map(|number| event(owner, number)).collect();
        written.insert(3, full_event(owner));
        let others: Vec<Event> = (0..30)
            .map(|number| event(user_outside(Shard::of(owner)), number))
            .collect();
        for some in [others, written.clone()] {
            store.append(&events(some)).await.expect("written");
        }
        sequence_all(&SqlLogSequencer::new(&fixture.db)).await;
        let trail = Arc::new(SqlAuditTrail::new(&fixture.db));
        Self {
            fixture,
            trail,
            owner,
            written,
        }
    }

    fn shard(&self) -> Shard {
        Shard::of(self.owner)
    }

    /// The id of the event at a position, as this engine writes one.
    fn id(&self, position: usize) -> String {
        self.literal(self.written[position - 1].id.uuid())
    }

    fn literal(&self, id: Uuid) -> String {
        match self.fixture.db.dialect() {
            Dialect::Sqlite => format!("x'{}'", id.simple()),
            Dialect::Postgres => format!("'{id}'"),
        }
    }

    fn bytes(&self, byte: u8, count: usize) -> String {
        let hex = format!("{byte:02x}").repeat(count);
        match self.fixture.db.dialect() {
            Dialect::Sqlite => format!("x'{hex}'"),
            Dialect::Postgres => format!("'\\x{hex}'"),
        }
    }

    async fn run(&self, sql: &str) {
        let done = self
            .fixture
            .db
            .writer()
            .execute_unprepared(sql)
            .await
            .expect("tampered");
        assert!(done.rows_affected() > 0, "nothing was changed by: {sql}");
    }

    async fn mark(&self, position: u64) -> Mark {
        let rows = self
            .trail
            .rows(self.shard(), position - 1, position, 1)
            .await
            .expect("rows");
        Mark {
            position,
            hash: rows[0].hash.clone().try_into().expect("a hash"),
        }
    }

    async fn audit(&self, claims: Vec<Claim>) -> (Vec<Finding>, u64) {
        let (mut found, mut erased) = (Vec::new(), 0);
        for bounds in self.trail.bounds().await.expect("bounds") {
            let claims = if bounds.shard == self.shard() {
                claims.clone()
            } else {
                Vec::new()
            };
            let mut walk = ShardWalk::new(bounds.shard, bounds.floor, claims);
            for row in self
                .trail
                .rows(bounds.shard, 0, bounds.head.position, 1_000)
                .await
                .expect("rows")
            {
                walk.row(&row, |finding| found.push(finding));
            }
            erased += walk.end(bounds.head, |finding| found.push(finding)).erased;
        }
        (found, erased)
    }

    /// Place, event and fault of all that is found; everything is in the owner's shard.
    async fn found(&self) -> Vec<(u64, Option<usize>, &'static str)> {
        self.told(self.audit(Vec::new()).await.0)
    }

    fn told(&self, found: Vec<Finding>) -> Vec<(u64, Option<usize>, &'static str)> {
        let told = found.into_iter().map(|finding| {
            assert_eq!(finding.shard, Some(self.shard()), "{finding:?}");
            let number = finding
                .event_id
                .and_then(|id| self.written.iter().position(|event| event.id.uuid() == id));
            (
                finding.position.expect("a position"),
                number.map(|index| index + 1),
                finding.fault.code(),
            )
        });
        told.collect()
    }
}

fn user_outside(shard: Shard) -> UserId {
    std::iter::repeat_with(user)
        .find(|user| Shard::of(*user) != shard)
        .expect("a user")
}

/// An untouched log, to begin with.
async fn an_untouched_log_is_sound(log: Log) {
    assert_eq!(log.found().await, []);
    assert_eq!(log.trail.intruders(10).await.expect("an answer"), []);
    assert_eq!(log.trail.look(None, 7).await.expect("an answer").strays, []);
}

async fn a_changed_payload_salt_or_subject_is_found(log: Log) {
    log.run(&format!(
        "UPDATE events SET data = '{{\"number\":99}}' WHERE id = {}",
        log.id(2)
    ))
    .await;
    log.run(&format!(
        "UPDATE events SET subject = 'another' WHERE id = {}",
        log.id(4)
    ))
    .await;
    log.run(&format!("UPDATE events SET subject = 'given' WHERE id = {}", log.id(6)))
        .await;
    log.run(&format!(
        "UPDATE events SET salt = {} WHERE id = {}",
        log.bytes(1, 16),
        log.id(8)
    ))
    .await;
    let changed = |position: usize| (position as u64, Some(position), "payload_changed");
    assert_eq!(log.found().await, [changed(2), changed(4), changed(6), changed(8)]);
}

async fn every_changed_column_is_found(log: Log) {
    let other = log.literal(Uuid::from_u128(77));
    let columns = [
        ("type", "'app.counted_2'".to_owned()),
        ("time", "time + 1".to_owned()),
        ("actor", "'anonymous'".to_owned()),
        ("impersonator", other.clone()),
        ("request_id", other),
        ("actor", "'no word of ours'".to_owned()),
    ];
    for (index, (column, value)) in columns.iter().enumerate() {
        log.run(&format!(
            "UPDATE events SET {column} = {value} WHERE id = {}",
            log.id(index + 1)
        ))
        .await;
    }
    let changed = |position: usize| (position as u64, Some(position), "changed");
    assert_eq!(log.found().await, (1..=6).map(changed).collect::<Vec<_>>());
}

async fn an_event_under_another_user_is_found(log: Log) {
    let thief = log.literal(user_outside(log.shard()).uuid());
    log.run(&format!("UPDATE events SET user_id = {thief} WHERE id = {}", log.id(3)))
        .await;
    log.run(&format!(
        "UPDATE event_log SET user_id = {thief} WHERE event_id = {}",
        log.id(5)
    ))
    .await;
    assert_eq!(
        log.found().await,
        [
            (3, Some(3), "misfiled"),
            (3, Some(3), "changed"),
            (5, Some(5), "misfiled")
        ]
    );
}

async fn a_payload_changed_with_its_digest_is_found(log: Log) {
    log.run(&format!(
        "UPDATE events SET digest = {} WHERE id = {}",
        log.bytes(9, 32),
        log.id(7)
    ))
    .await;
    assert_eq!(
        log.found().await,
        [(7, Some(7), "payload_changed"), (7, Some(7), "changed")]
    );
}

async fn a_changed_hash_is_found_here_and_in_what_hangs_on_it(log: Log) {
    log.run(&format!(
        "UPDATE event_log SET hash = {} WHERE event_id = {}",
        log.bytes(9, 32),
        log.id(7)
    ))
    .await;
    assert_eq!(log.found().await, [(7, Some(7), "changed"), (8, Some(8), "changed")]);
}

async fn a_removed_event_and_a_removed_row_are_found(log: Log) {
    log.run(&format!("DELETE FROM events WHERE id = {}", log.id(2))).await;
    log.run(&format!(
        "DELETE FROM event_log WHERE event_id IN ({}, {})",
        log.id(5),
        log.id(6)
    ))
    .await;
    let (found, _) = log.audit(Vec::new()).await;
    assert!(
        found
            .iter()
            .any(|finding| finding.fault == domain::audit::Fault::Removed { to: 6 }),
        "{found:?}"
    );
    assert_eq!(log.told(found), [(2, Some(2), "event_removed"), (5, None, "removed")]);
    let strays = log.trail.look(None, 1_000).await.expect("an answer").strays;
    let mut ids: Vec<Uuid> = strays.iter().map(|stray| stray.event_id).collect();
    ids.sort();
    assert_eq!(
        ids,
        [log.written[4].id.uuid(), log.written[5].id.uuid()],
        "their events are nowhere now"
    );
}

async fn an_inserted_row_is_found_and_those_that_made_room(log: Log) {
    let shard = log.shard().number();
    // From behind, so that no two rows ever have one position.
    for position in (6..=10).rev() {
        log.run(&format!(
            "UPDATE event_log SET position = {} WHERE shard = {shard} AND position = {position}",
            position + 1
        ))
        .await;
    }
    let (id, owner) = (log.literal(Uuid::from_u128(99)), log.literal(log.owner.uuid()));
    log.run(&format!(
        "INSERT INTO events SELECT {id}, shard, user_id, type, subject, time, data, salt, digest, actor, impersonator, \
         request_id, client_id, schema_version FROM events WHERE id = {}",
        log.id(5)
    ))
    .await;
    log.run(&format!(
        "INSERT INTO event_log (shard, position, event_id, user_id, hash) VALUES ({shard}, 6, {id}, {owner}, {})",
        log.bytes(7, 32)
    ))
    .await;
    log.run(&format!("UPDATE log_shards SET position = 11 WHERE shard = {shard}"))
        .await;
    let moved = |position: usize| (position as u64, Some(position - 1), "moved");
    assert_eq!(
        log.found().await,
        [
            (6, None, "changed"),
            (7, Some(6), "changed"),
            moved(8),
            moved(9),
            moved(10),
            moved(11)
        ]
    );
}

async fn two_that_were_swapped_are_found(log: Log) {
    let aside = log.literal(Uuid::from_u128(1));
    let name = |from: &str, to: &str| format!("UPDATE event_log SET event_id = {to} WHERE event_id = {from}");
    let (three, four) = (log.id(3), log.id(4));
    for sql in [name(&three, &aside), name(&four, &three), name(&aside, &four)] {
        log.run(&sql).await;
    }
    assert_eq!(log.found().await, [(3, Some(4), "changed"), (4, Some(3), "changed")]);
}

async fn a_cut_tail_is_found_by_the_head(log: Log) {
    log.run(&format!(
        "DELETE FROM event_log WHERE event_id IN ({}, {})",
        log.id(9),
        log.id(10)
    ))
    .await;
    assert_eq!(log.found().await, [(9, None, "cut_off")]);
}

async fn a_tail_cut_with_its_head_is_found_by_a_checkpoint(log: Log) {
    let claim = Claim {
        mark: log.mark(10).await,
        serial: 4,
    };
    let before = log.mark(8).await;
    for table in ["event_log WHERE event_id", "events WHERE id"] {
        log.run(&format!("DELETE FROM {table} IN ({}, {})", log.id(9), log.id(10)))
            .await;
    }
    let hash: String = before.hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let hash = match log.fixture.db.dialect() {
        Dialect::Sqlite => format!("x'{hash}'"),
        Dialect::Postgres => format!("'\\x{hash}'"),
    };
    log.run(&format!(
        "UPDATE log_shards SET position = 8, hash = {hash} WHERE shard = {}",
        log.shard().number()
    ))
    .await;
    assert_eq!(log.found().await, [], "by itself it looks whole");
    let (found, _) = log.audit(vec![claim]).await;
    assert_eq!(log.told(found), [(9, None, "cut_off")]);
    // What is written after the cut takes the positions again, and another hash.
    let store = SqlEventStore::new(&log.fixture.db);
    let more = (0..5).map(|number| event(log.owner, number)).collect();
    store.append(&events(more)).await.expect("written");
    sequence_all(&SqlLogSequencer::new(&log.fixture.db)).await;
    assert_eq!(log.found().await, []);
    let (found, _) = log.audit(vec![claim]).await;
    assert_eq!(log.told(found), [(10, None, "rewritten")]);
}

async fn a_moved_head_is_found(log: Log) {
    let shard = log.shard().number();
    log.run(&format!(
        "UPDATE log_shards SET hash = {} WHERE shard = {shard}",
        log.bytes(3, 32)
    ))
    .await;
    assert_eq!(log.found().await, [(10, None, "head_differs")]);
}

async fn rows_outside_of_the_log_and_events_in_no_log_are_found(log: Log) {
    let shard = log.shard().number();
    log.run(&format!("UPDATE log_shards SET position = 8 WHERE shard = {shard}"))
        .await;
    log.run(&format!(
        "UPDATE event_log SET shard = 99 WHERE event_id = {}",
        log.id(1)
    ))
    .await;
    let strays = log.trail.intruders(10).await.expect("an answer");
    let places: Vec<Option<u64>> = strays
        .iter()
        .map(|stray| stray.place.map(|place| place.position))
        .collect();
    assert_eq!(places, [Some(9), Some(10), None]);
    log.run(&format!("DELETE FROM event_log WHERE event_id = {}", log.id(2)))
        .await;
    let looked = log.trail.look(None, 1_000).await.expect("an answer");
    assert_eq!(looked.strays.len(), 1);
    assert_eq!(looked.strays[0].event_id, log.written[1].id.uuid());
}

async fn an_erased_payload_is_erased_and_half_of_it_a_fault(log: Log) {
    log.run(&format!(
        "UPDATE events SET data = NULL, salt = NULL, subject = NULL WHERE id IN ({}, {})",
        log.id(2),
        log.id(4)
    ))
    .await;
    let (found, erased) = log.audit(Vec::new()).await;
    assert_eq!((found, erased), (vec![], 2));
    log.run(&format!("UPDATE events SET data = NULL WHERE id = {}", log.id(5)))
        .await;
    log.run(&format!("UPDATE events SET salt = NULL WHERE id = {}", log.id(6)))
        .await;
    log.run(&format!("UPDATE events SET subject = 'left' WHERE id = {}", log.id(2)))
        .await;
    let half = |position: usize| (position as u64, Some(position), "half_erased");
    assert_eq!(log.found().await, [half(2), half(5), half(6)]);
}

macro_rules! on_both {
    ($($scenario:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $scenario() {
                if let Some(fixture) = super::super::support::sqlite().await {
                    super::$scenario(super::Log::new(fixture).await).await;
                }
            })*
        }
        mod postgres {
            $(#[tokio::test]
            async fn $scenario() {
                if let Some(fixture) = super::super::support::postgres().await {
                    super::$scenario(super::Log::new(fixture).await).await;
                }
            })*
        }
    };
}

on_both!(
    an_untouched_log_is_sound,
    a_changed_payload_salt_or_subject_is_found,
    every_changed_column_is_found,
    an_event_under_another_user_is_found,
    a_payload_changed_with_its_digest_is_found,
    a_changed_hash_is_found_here_and_in_what_hangs_on_it,
    a_removed_event_and_a_removed_row_are_found,
    an_inserted_row_is_found_and_those_that_made_room,
    two_that_were_swapped_are_found,
    a_cut_tail_is_found_by_the_head,
    a_tail_cut_with_its_head_is_found_by_a_checkpoint,
    a_moved_head_is_found,
    rows_outside_of_the_log_and_events_in_no_log_are_found,
    an_erased_payload_is_erased_and_half_of_it_a_fault,
);
