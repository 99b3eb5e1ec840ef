//! The sequencer: gives committed events their positions, shard by shard, and their links of the audit chain.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use domain::event::{Link, Shard};
use domain::time::Timestamp;
use ports::{BackendError, LogSequencer, Sequenced};
use sea_orm::sea_query::ArrayType;
use sea_orm::{ConnectionTrait, Value};
use uuid::Uuid;

use crate::connect::{Database, Dialect, WriteTransaction};
use crate::event_insert::{array, in_widths};
use crate::leases::{Asking, Leases};
use crate::log::shard_from;
use crate::row::{Row, bigint, blanks, execute, fetch_all, fetch_one};

const OPERATION: &str = "log.sequence";

/// [`LogSequencer`] on SQL. The lease row of a shard is also its head, so that whoever moves the head proves with the same
/// row that the lease is still its own.
#[derive(Debug, Clone)]
pub struct SqlLogSequencer {
    db: Database,
}

impl SqlLogSequencer {
    /// Sequences the log of this database.
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }
}

/// A waiting event and the place that it gets.
struct Waiting {
    sequence: i64,
    shard: Shard,
    position: u64,
    hash: [u8; 32],
    event_id: Uuid,
    user_id: Uuid,
}

/// How a shard's head moves.
struct Head {
    from: u64,
    to: u64,
    hash: [u8; 32],
}

/// What one step writes.
struct Plan {
    waiting: Vec<Waiting>,
    heads: BTreeMap<Shard, Head>,
    more: bool,
}

/// Reads what waits in the shards that the owner holds, one more than the limit, and works out positions and hashes. Payloads
/// stay where they are: the chain holds their digests.
async fn plan(conn: &impl ConnectionTrait, owner: &str, now: Timestamp, limit: u32) -> Result<Plan, BackendError> {
    let sql = "SELECT s.shard, s.position, s.hash, p.sequence, e.id, e.user_id, e.type, e.time, e.digest, e.actor, \
         e.impersonator, e.request_id, e.schema_version FROM \
         (SELECT sequence, event_id, shard FROM event_pending WHERE shard IN \
          (SELECT shard FROM log_shards WHERE lease_owner = $1 AND lease_until > $2) ORDER BY sequence LIMIT $3) p \
         JOIN log_shards s ON s.shard = p.shard JOIN events e ON e.id = p.event_id ORDER BY p.sequence";
    let values = vec![owner.into(), now.micros().into(), (i64::from(limit) + 1).into()];
    let mut rows = fetch_all(conn, OPERATION, sql, values).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let mut heads: BTreeMap<Shard, Head> = BTreeMap::new();
    let mut waiting = Vec::with_capacity(rows.len());
    for row in &rows {
        let shard = shard_from(row)?;
        let head = match heads.entry(shard) {
            std::collections::btree_map::Entry::Occupied(head) => head.into_mut(),
            std::collections::btree_map::Entry::Vacant(free) => free.insert(stored_head(row)?),
        };
        let (event_id, user_id): (Uuid, Uuid) = (row.at(4)?, row.at(5)?);
        let (event_type, digest, actor): (String, Vec<u8>, String) = (row.at(6)?, row.at(8)?, row.at(9)?);
        let version = row.at::<Option<i32>>(12)?.map(u32::try_from);
        head.to += 1;
        head.hash = Link {
            event_id,
            time: row.at(7)?,
            user_id,
            event_type: &event_type,
            actor: &actor,
            impersonator: row.at(10)?,
            request_id: row.at(11)?,
            digest: &digest,
            schema_version: version.transpose().map_err(|_| row.corrupt("schema_version"))?,
        }
        .hash(&head.hash, shard, head.to);
        waiting.push(Waiting {
            sequence: row.at(3)?,
            shard,
            position: head.to,
            hash: head.hash,
            event_id,
            user_id,
        });
    }
    Ok(Plan { waiting, heads, more })
}

fn stored_head(row: &Row) -> Result<Head, BackendError> {
    let position = row.count("position")?;
    Ok(Head {
        from: position,
        to: position,
        hash: row.bytes("hash")?,
    })
}

/// Moves the heads that are still where they were and still the owner's, and only for those logs the events and takes them from the waiting ones.
/// Heads are locked in the order of shards, as everybody does, so that nobody waits in a circle.
const POSTGRES_WRITE: &str = "WITH \
    heads AS (SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::bigint[], $4::bytea[]) AS h(shard, was, goal, hash)), \
    held AS (SELECT s.shard FROM log_shards s JOIN heads h ON h.shard = s.shard \
      WHERE s.position = h.was AND s.lease_owner = $5 ORDER BY s.shard FOR UPDATE OF s), \
    moved AS (UPDATE log_shards s SET position = h.goal, hash = h.hash FROM heads h JOIN held ON held.shard = h.shard \
      WHERE s.shard = h.shard RETURNING s.shard), \
    given AS (SELECT g.* FROM unnest($6::smallint[], $7::bigint[], $8::bigint[], $9::uuid[], $10::uuid[], $11::bytea[]) \
      AS g(shard, position, sequence, event_id, user_id, hash) JOIN moved ON moved.shard = g.shard), \
    logged AS (INSERT INTO event_log (shard, position, event_id, user_id, hash) \
      SELECT shard, position, event_id, user_id, hash FROM given ORDER BY shard, position) \
    DELETE FROM event_pending p USING given g WHERE p.sequence = g.sequence";

async fn write_postgres(db: &Database, owner: &str, plan: &Plan) -> Result<u64, BackendError> {
    let (mut shards, mut was, mut goals, mut hashes) = (vec![], vec![], vec![], vec![]);
    for (shard, head) in &plan.heads {
        shards.push(number(*shard));
        was.push(bigint(OPERATION, head.from)?.into());
        goals.push(bigint(OPERATION, head.to)?.into());
        hashes.push(head.hash.to_vec().into());
    }
    let of = |kind, value: &dyn Fn(&Waiting) -> Value| array(kind, plan.waiting.iter().map(value));
    let mut positions = Vec::with_capacity(plan.waiting.len());
    for waiting in &plan.waiting {
        positions.push(bigint(OPERATION, waiting.position)?.into());
    }
    let values = vec![
        array(ArrayType::SmallInt, shards.into_iter()),
        array(ArrayType::BigInt, was.into_iter()),
        array(ArrayType::BigInt, goals.into_iter()),
        array(ArrayType::Bytes, hashes.into_iter()),
        owner.into(),
        of(ArrayType::SmallInt, &|waiting| number(waiting.shard)),
        array(ArrayType::BigInt, positions.into_iter()),
        of(ArrayType::BigInt, &|waiting| waiting.sequence.into()),
        of(ArrayType::Uuid, &|waiting| waiting.event_id.into()),
        of(ArrayType::Uuid, &|waiting| waiting.user_id.into()),
        of(ArrayType::Bytes, &|waiting| waiting.hash.to_vec().into()),
    ];
    db.execute(OPERATION, POSTGRES_WRITE, values).await
}

/// Within the one transaction that may write, what was read holds.
async fn write_sqlite(tx: &WriteTransaction, plan: &Plan) -> Result<u64, BackendError> {
    for (shard, head) in &plan.heads {
        let sql = "UPDATE log_shards SET position = $2, hash = $3 WHERE shard = $1";
        let values = vec![
            number(*shard),
            bigint(OPERATION, head.to)?.into(),
            head.hash.to_vec().into(),
        ];
        execute(tx.conn(), OPERATION, sql, values).await?;
    }
    for some in in_widths(&plan.waiting) {
        let sql = format!(
            "INSERT INTO event_log (shard, position, event_id, user_id, hash) VALUES {}; \
             DELETE FROM event_pending WHERE sequence IN {}",
            blanks(some.len(), 5),
            blanks(1, some.len())
        );
        let mut values: Vec<Value> = Vec::with_capacity(some.len() * 6);
        for waiting in some {
            values.extend([
                number(waiting.shard),
                bigint(OPERATION, waiting.position)?.into(),
                waiting.event_id.into(),
                waiting.user_id.into(),
                waiting.hash.to_vec().into(),
            ]);
        }
        values.extend(some.iter().map(|waiting| Value::from(waiting.sequence)));
        execute(tx.conn(), OPERATION, &sql, values).await?;
    }
    Ok(plan.waiting.len() as u64)
}

fn number(shard: Shard) -> Value {
    i16::from(shard.number()).into()
}

/// The leases of the log's shards. No handler group has such a name.
const fn leases(operation: &'static str) -> Leases<'static> {
    Leases {
        operation,
        table: "log_shards",
        group: None,
        members: "(sequencer)",
    }
}

#[async_trait]
impl LogSequencer for SqlLogSequencer {
    async fn lease(&self, owner: &str, now: Timestamp, ttl: Duration) -> Result<Vec<Shard>, BackendError> {
        let asking = Asking {
            owner,
            now,
            until: now.plus(ttl),
        };
        let tx = self.db.begin_write().await?;
        let held = leases("log.lease").claim(&tx, asking).await?;
        tx.commit().await?;
        Ok(held.into_iter().map(|cursor| cursor.shard).collect())
    }

    async fn sequence(&self, owner: &str, now: Timestamp, limit: u32) -> Result<Sequenced, BackendError> {
        if self.db.dialect() == Dialect::Postgres {
            let plan = plan(self.db.read(), owner, now, limit).await?;
            if plan.waiting.is_empty() {
                return Ok(Sequenced::default());
            }
            let events = write_postgres(&self.db, owner, &plan).await?;
            // Who was fenced off need not hurry on.
            return Ok(Sequenced {
                events,
                more: plan.more && events > 0,
            });
        }
        // A look that does not need the writer, since mostly nothing waits.
        let waits = "SELECT sequence FROM event_pending LIMIT 1";
        if fetch_one(self.db.read(), OPERATION, waits, vec![]).await?.is_none() {
            return Ok(Sequenced::default());
        }
        let tx = self.db.begin_write().await?;
        let plan = plan(tx.conn(), owner, now, limit).await?;
        let events = write_sqlite(&tx, &plan).await?;
        tx.commit().await?;
        Ok(Sequenced {
            events,
            more: plan.more,
        })
    }

    async fn release(&self, owner: &str) -> Result<(), BackendError> {
        let tx = self.db.begin_write().await?;
        leases("log.release").release(&tx, owner).await?;
        Ok(tx.commit().await?)
    }
}
