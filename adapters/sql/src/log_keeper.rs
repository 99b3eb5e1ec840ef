//! Checkpoints of the log, and the removal of what is old from its front.

use async_trait::async_trait;
use domain::event::{OwnEvent, Shard};
use domain::time::Timestamp;
use ports::{BackendError, Effects, EffectsError, LastCheckpoint, LogKeeper, NewCheckpoint};
use sea_orm::Value;
use sea_orm::sea_query::ArrayType;
use uuid::Uuid;

use crate::connect::{Database, Dialect, WriteTransaction};
use crate::effects::write_effects;
use crate::error::{ADAPTER, corrupt};
use crate::event_insert::{array, in_widths};
use crate::row::{Row, bigint, execute, fetch_all, fetch_one, placeholders, skip_locked};

const TRIM: &str = "log.trim";
const BLANK: &str = "log.blank";

/// [`LogKeeper`] on SQL.
#[derive(Debug, Clone)]
pub struct SqlLogKeeper {
    db: Database,
}

impl SqlLogKeeper {
    /// Keeps the log of this database.
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }

    /// Whether the event at this position happened before that time; one that is gone did.
    async fn is_older(&self, shard: Shard, position: u64, before: Timestamp) -> Result<bool, BackendError> {
        let operation = "log.boundary";
        let sql =
            "SELECT e.time FROM event_log l JOIN events e ON e.id = l.event_id WHERE l.shard = $1 AND l.position = $2";
        let values = vec![number(shard), bigint(operation, position)?.into()];
        let row = fetch_one(self.db.read(), operation, sql, values).await?;
        Ok(row
            .map(|row| row.time("time"))
            .transpose()?
            .is_none_or(|time| time < before))
    }
}

fn number(shard: Shard) -> Value {
    i16::from(shard.number()).into()
}

/// How far a step may go in a shard, as it stands in the step's transaction.
struct Room {
    /// The last position that is done already.
    from: u64,
    /// The last that may be done.
    to: u64,
}

/// What a step takes.
struct Old {
    position: u64,
    event_id: Uuid,
    hash: Vec<u8>,
}

/// Locks the shard's floor and tells how far `column` may go; none when another step is at it. Nobody but such steps locks it.
async fn room(
    tx: &WriteTransaction,
    operation: &'static str,
    shard: Shard,
    column: &str,
) -> Result<Option<Room>, BackendError> {
    let sql = format!(
        "SELECT {column} AS done, removable FROM log_floors WHERE shard = $1{}",
        skip_locked(tx.dialect())
    );
    let Some(floor) = fetch_one(tx.conn(), operation, &sql, vec![number(shard)]).await? else {
        return Ok(None);
    };
    // The slowest group that there is, or the first event that a group holds or gave up: it comes again, or may. Without any, the head.
    let sql = "SELECT s.position AS head, (SELECT min(p.position) FROM \
         (SELECT min(c.position) AS position FROM cursors c WHERE c.shard = $1 \
          UNION ALL SELECT min(h.position) - 1 FROM held_events h WHERE h.shard = $1 AND h.topic IS NULL) p) AS slowest \
        FROM log_shards s WHERE s.shard = $1";
    let bounds = fetch_one(tx.conn(), operation, sql, vec![number(shard)]).await?;
    let bounds = bounds.ok_or_else(|| BackendError::permanent(ADAPTER, operation, "a shard of the log is missing"))?;
    let slowest = match bounds.get::<Option<i64>>("slowest")? {
        Some(position) => u64::try_from(position).map_err(|_| corrupt(operation, "position"))?,
        None => u64::MAX,
    };
    let allowed = if column == "position" {
        floor.count("removable")?
    } else {
        u64::MAX
    };
    Ok(Some(Room {
        from: floor.count("done")?,
        to: bounds.count("head")?.min(slowest).min(allowed),
    }))
}

/// The oldest rows of the shard in that room, up to the first that is younger.
async fn oldest(
    tx: &WriteTransaction,
    operation: &'static str,
    shard: Shard,
    room: &Room,
    before: Timestamp,
    limit: u32,
) -> Result<Vec<Old>, BackendError> {
    let sql = "SELECT l.position, l.event_id, l.hash, e.time FROM event_log l LEFT JOIN events e ON e.id = l.event_id \
        WHERE l.shard = $1 AND l.position > $2 AND l.position <= $3 ORDER BY l.position LIMIT $4";
    let values = vec![
        number(shard),
        bigint(operation, room.from)?.into(),
        bigint(operation, room.to)?.into(),
        i64::from(limit).into(),
    ];
    let mut old = Vec::new();
    for row in fetch_all(tx.conn(), operation, sql, values).await? {
        if row.time_or_none("time")?.is_some_and(|time| time >= before) {
            break;
        }
        old.push(Old {
            position: row.count("position")?,
            event_id: row.get("event_id")?,
            hash: row.get("hash")?,
        });
    }
    Ok(old)
}

/// Runs a statement whose `IN ids` are these events.
async fn for_events(
    tx: &WriteTransaction,
    operation: &'static str,
    statement: impl Fn(&str) -> String,
    first: &[Value],
    ids: &[Uuid],
) -> Result<(), BackendError> {
    let next = first.len() + 1;
    if tx.dialect() == Dialect::Postgres {
        let mut values = first.to_vec();
        values.push(array(ArrayType::Uuid, ids.iter().map(|id| (*id).into())));
        let sql = statement(&format!("= ANY(${next}::uuid[])"));
        execute(tx.conn(), operation, &sql, values).await?;
        return Ok(());
    }
    for some in in_widths(ids) {
        let values = first.iter().cloned().chain(some.iter().map(|id| (*id).into()));
        let sql = statement(&format!("IN {}", placeholders(next, 1, some.len())));
        execute(tx.conn(), operation, &sql, values.collect()).await?;
    }
    Ok(())
}

#[async_trait]
impl LogKeeper for SqlLogKeeper {
    async fn last_checkpoint(&self) -> Result<LastCheckpoint, BackendError> {
        let operation = "log.checkpoint";
        let sql = "SELECT serial, at, events FROM audit_state";
        let row = fetch_one(self.db.read(), operation, sql, vec![]).await?;
        let row =
            row.ok_or_else(|| BackendError::permanent(ADAPTER, operation, "the row of the checkpoints is missing"))?;
        Ok(LastCheckpoint {
            serial: row.count("serial")?,
            at: row.time("at")?,
            events: row.count("events")?,
        })
    }

    async fn checkpoint(&self, new: &NewCheckpoint, effects: &Effects) -> Result<bool, EffectsError> {
        let operation = "log.checkpoint";
        let tx = self.db.begin_write().await?;
        let sql = "UPDATE audit_state SET serial = $1, at = $2, events = $3 WHERE serial = $1 - 1";
        let values = vec![
            bigint(operation, new.serial)?.into(),
            new.at.micros().into(),
            bigint(operation, new.events)?.into(),
        ];
        if execute(tx.conn(), operation, sql, values).await? == 0 {
            return Ok(false);
        }
        for goal in &new.removable {
            let sql = "UPDATE log_floors SET removable = $2 WHERE shard = $1 AND removable < $2";
            let values = vec![number(goal.shard), bigint(operation, goal.position)?.into()];
            execute(tx.conn(), operation, sql, values).await?;
        }
        write_effects(&self.db, &tx, effects).await?;
        tx.commit().await?;
        Ok(true)
    }

    async fn boundary(&self, shard: Shard, before: Timestamp) -> Result<u64, BackendError> {
        let sql = "SELECT s.position AS head, f.position AS floor FROM log_shards s \
            JOIN log_floors f ON f.shard = s.shard WHERE s.shard = $1";
        let row: Option<Row> = fetch_one(self.db.read(), "log.boundary", sql, vec![number(shard)]).await?;
        let (mut older, mut younger) = match &row {
            Some(row) => (row.count("floor")?, row.count("head")? + 1),
            None => return Ok(0),
        };
        // Times follow positions closely enough: halving finds a place where they pass the one that is asked for.
        while younger - older > 1 {
            let middle = older + (younger - older) / 2;
            if self.is_older(shard, middle, before).await? {
                older = middle;
            } else {
                younger = middle;
            }
        }
        Ok(older)
    }

    async fn trim(&self, shard: Shard, before: Timestamp, limit: u32) -> Result<u64, BackendError> {
        let tx = self.db.begin_write().await?;
        let Some(room) = room(&tx, TRIM, shard, "position").await? else {
            return Ok(0);
        };
        let old = oldest(&tx, TRIM, shard, &room, before, limit).await?;
        let Some(last) = old.last() else {
            // A transaction that is dropped holds its lock a little longer, and the next step would pass the shard over.
            tx.commit().await?;
            return Ok(0);
        };
        let (from, to) = (bigint(TRIM, room.from)?, bigint(TRIM, last.position)?);
        let sql = "UPDATE log_floors SET position = $2, hash = $3, \
            blanked = CASE WHEN blanked < $2 THEN $2 ELSE blanked END WHERE shard = $1";
        let values = vec![number(shard), to.into(), last.hash.clone().into()];
        execute(tx.conn(), TRIM, sql, values).await?;
        let ids: Vec<Uuid> = old.iter().map(|old| old.event_id).collect();
        // Groups are few and come first in the key: without them this would look at every mark.
        let marks = |ids: &str| {
            format!(
                "DELETE FROM inbox WHERE group_name IN (SELECT c.group_name FROM cursors c WHERE c.shard = $1) AND event_id {ids}"
            )
        };
        for_events(&tx, TRIM, marks, &[number(shard)], &ids).await?;
        for_events(&tx, TRIM, |ids| format!("DELETE FROM events WHERE id {ids}"), &[], &ids).await?;
        let sql = "DELETE FROM event_log WHERE shard = $1 AND position > $2 AND position <= $3";
        execute(tx.conn(), TRIM, sql, vec![number(shard), from.into(), to.into()]).await?;
        tx.commit().await?;
        Ok(old.len() as u64)
    }

    async fn blank(&self, shard: Shard, before: Timestamp, limit: u32) -> Result<u64, BackendError> {
        let tx = self.db.begin_write().await?;
        let Some(room) = room(&tx, BLANK, shard, "blanked").await? else {
            return Ok(0);
        };
        let old = oldest(&tx, BLANK, shard, &room, before, limit).await?;
        let Some(last) = old.last() else {
            // A transaction that is dropped holds its lock a little longer, and the next step would pass the shard over.
            tx.commit().await?;
            return Ok(0);
        };
        let sql = "UPDATE log_floors SET blanked = $2 WHERE shard = $1";
        let values = vec![number(shard), bigint(BLANK, last.position)?.into()];
        execute(tx.conn(), BLANK, sql, values).await?;
        let ids: Vec<Uuid> = old.iter().map(|old| old.event_id).collect();
        let erase = |ids: &str| {
            format!("UPDATE events SET data = NULL, salt = NULL, subject = NULL WHERE type <> $1 AND id {ids}")
        };
        for_events(&tx, BLANK, erase, &[OwnEvent::AuditCheckpoint.as_str().into()], &ids).await?;
        tx.commit().await?;
        Ok(old.len() as u64)
    }
}
