//! The log as it stands, for those who doubt it.

use async_trait::async_trait;
use domain::audit::{AuditCursor, Mark, RecordedEvent, RecordedRow};
use domain::event::{OwnEvent, Shard};
use domain::id::{EventId, UserId};
use ports::{AuditPage, AuditQuery, AuditTrail, BackendError, Cursor, Looked, RecordedCheckpoint, ShardBounds, Stray};
use sea_orm::Value;
use uuid::Uuid;

use crate::audit_search::search;
use crate::connect::{Database, Dialect};
use crate::log::shard_from;
use crate::row::{Row, bigint, fetch_all, fetch_one};

/// [`AuditTrail`] on SQL.
#[derive(Debug, Clone)]
pub struct SqlAuditTrail {
    db: Database,
}

impl SqlAuditTrail {
    /// Audits the log of this database.
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }

    /// An id; SQLite takes any bytes for one, and what cannot be an id is read as that of nothing.
    fn id(&self, row: &Row, index: usize) -> Result<Option<Uuid>, BackendError> {
        match self.db.dialect() {
            Dialect::Postgres => row.at(index),
            Dialect::Sqlite => {
                let bytes: Option<Vec<u8>> = row.at(index)?;
                Ok(bytes.map(|bytes| Uuid::from_slice(&bytes).unwrap_or_default()))
            }
        }
    }

    fn recorded(&self, row: &Row) -> Result<RecordedRow, BackendError> {
        let event = match row.at::<Option<i16>>(4)? {
            None => None,
            Some(shard) => Some(RecordedEvent {
                shard,
                user_id: self.id(row, 5)?.unwrap_or_default(),
                event_type: row.at(6)?,
                subject: row.at(7)?,
                time: row.at(8)?,
                data: row.at(9)?,
                salt: row.at(10)?,
                digest: row.at(11)?,
                actor: row.at(12)?,
                impersonator: self.id(row, 13)?,
                request_id: self.id(row, 14)?,
                schema_version: row.at(15)?,
            }),
        };
        Ok(RecordedRow {
            position: u64::try_from(row.at::<i64>(0)?).unwrap_or_default(),
            event_id: self.id(row, 1)?.unwrap_or_default(),
            user_id: self.id(row, 2)?.unwrap_or_default(),
            hash: row.at(3)?,
            event,
        })
    }

    fn stray(&self, row: &Row) -> Result<Stray, BackendError> {
        let position = u64::try_from(row.at::<i64>(1)?).ok();
        let shard = u8::try_from(row.at::<i16>(0)?).ok().and_then(Shard::new);
        Ok(Stray {
            place: shard.zip(position).map(|(shard, position)| Cursor { shard, position }),
            event_id: self.id(row, 2)?.unwrap_or_default(),
        })
    }
}

/// A hash that is stored; what cannot be one fits nothing.
fn stored_hash(row: &Row, column: &str) -> Result<[u8; 32], BackendError> {
    Ok(row.get::<Vec<u8>>(column)?.try_into().unwrap_or([0xFF; 32]))
}

#[async_trait]
impl AuditTrail for SqlAuditTrail {
    async fn bounds(&self) -> Result<Vec<ShardBounds>, BackendError> {
        let sql = "SELECT s.shard, s.position, s.hash, f.position AS floor, f.hash AS floor_hash, f.removable \
            FROM log_shards s JOIN log_floors f ON f.shard = s.shard";
        let bounds = |row: &Row| {
            Ok(ShardBounds {
                shard: shard_from(row)?,
                floor: Mark {
                    position: row.count("floor")?,
                    hash: stored_hash(row, "floor_hash")?,
                },
                head: Mark {
                    position: row.count("position")?,
                    hash: stored_hash(row, "hash")?,
                },
                removable: row.count("removable")?,
            })
        };
        let rows = fetch_all(self.db.read(), "audit.bounds", sql, vec![]).await?;
        let mut all: Vec<ShardBounds> = rows.iter().map(bounds).collect::<Result<_, BackendError>>()?;
        all.sort_by_key(|bounds| bounds.shard);
        Ok(all)
    }

    async fn rows(&self, shard: Shard, after: u64, to: u64, limit: u32) -> Result<Vec<RecordedRow>, BackendError> {
        let operation = "audit.rows";
        let sql = "SELECT l.position, l.event_id, l.user_id, l.hash, e.shard, e.user_id, e.type, e.subject, e.time, e.data, \
            e.salt, e.digest, e.actor, e.impersonator, e.request_id, e.schema_version \
            FROM event_log l LEFT JOIN events e ON e.id = l.event_id \
            WHERE l.shard = $1 AND l.position > $2 AND l.position <= $3 ORDER BY l.position LIMIT $4";
        let values = vec![
            i16::from(shard.number()).into(),
            bigint(operation, after)?.into(),
            bigint(operation, to)?.into(),
            i64::from(limit).into(),
        ];
        fetch_all(self.db.read(), operation, sql, values)
            .await?
            .iter()
            .map(|row| self.recorded(row))
            .collect()
    }

    async fn intruders(&self, limit: u32) -> Result<Vec<Stray>, BackendError> {
        // One statement, so one moment: heads and beginnings move in one commit with their rows. Each shard along the key:
        // neither engine would see by itself that next to nothing lies beyond.
        let beyond = |table: &str, bound: &str| match self.db.dialect() {
            Dialect::Sqlite => format!(
                "SELECT l.shard, l.position, l.event_id FROM {table} b CROSS JOIN event_log l \
                 WHERE l.shard = b.shard AND l.position {bound} b.position"
            ),
            Dialect::Postgres => format!(
                "SELECT l.shard, l.position, l.event_id FROM {table} b CROSS JOIN LATERAL (SELECT n.shard, n.position, \
                 n.event_id FROM event_log n WHERE n.shard = b.shard AND n.position {bound} b.position \
                 ORDER BY n.position LIMIT $1) l"
            ),
        };
        let columns = "SELECT l.shard, l.position, l.event_id FROM event_log l";
        let sql = format!(
            "{} UNION ALL {} UNION ALL {columns} WHERE l.shard < 0 UNION ALL {columns} WHERE l.shard > 15 LIMIT $1",
            beyond("log_shards", ">"),
            beyond("log_floors", "<=")
        );
        fetch_all(self.db.read(), "audit.intruders", &sql, vec![i64::from(limit).into()])
            .await?
            .iter()
            .map(|row| self.stray(row))
            .collect()
    }

    async fn look(&self, after: Option<EventId>, window: u32) -> Result<Looked, BackendError> {
        let operation = "audit.look";
        let mut values: Vec<Value> = after.map(|id| id.uuid().into()).into_iter().collect();
        let after = if values.is_empty() { "1 = 1" } else { "e.id > $1" };
        let last = format!(
            "SELECT e.id FROM events e WHERE {after} ORDER BY e.id LIMIT 1 OFFSET {}",
            window.max(1) - 1
        );
        let last = fetch_one(self.db.read(), operation, &last, values.clone()).await?;
        let last = last.map(|row| self.id(&row, 0)).transpose()?.flatten();
        let mut range = after.to_owned();
        if let Some(last) = last {
            values.push(last.into());
            range.push_str(&format!(" AND e.id <= ${}", values.len()));
        }
        let events = match last {
            Some(_) => u64::from(window.max(1)),
            None => {
                let sql = format!("SELECT count(*) AS events FROM events e WHERE {range}");
                let row = fetch_one(self.db.read(), operation, &sql, values.clone()).await?;
                row.map(|row| row.count("events")).transpose()?.unwrap_or_default()
            }
        };
        // Of one moment again: an event leaves the waiting ones in the commit that puts it into the log.
        let sql = format!(
            "SELECT x.id FROM (SELECT e.id FROM events e LEFT JOIN event_log l ON l.event_id = e.id \
             WHERE {range} AND l.event_id IS NULL) x LEFT JOIN event_pending p ON p.event_id = x.id \
             WHERE p.event_id IS NULL LIMIT 1000"
        );
        let rows = fetch_all(self.db.read(), operation, &sql, values).await?;
        let stray = |row: &Row| {
            Ok(Stray {
                place: None,
                event_id: self.id(row, 0)?.unwrap_or_default(),
            })
        };
        Ok(Looked {
            events,
            next: last.map(EventId::new),
            strays: rows.iter().map(stray).collect::<Result<_, BackendError>>()?,
        })
    }

    async fn checkpoints(&self, after: u64, limit: u32) -> Result<Vec<RecordedCheckpoint>, BackendError> {
        let operation = "audit.checkpoints";
        let sql = "SELECT l.position, l.event_id, e.data FROM event_log l JOIN events e ON e.id = l.event_id \
            WHERE l.user_id = $1 AND l.position > $2 AND e.type = $3 ORDER BY l.position LIMIT $4";
        let values = vec![
            UserId::SYSTEM.uuid().into(),
            bigint(operation, after)?.into(),
            OwnEvent::AuditCheckpoint.as_str().into(),
            i64::from(limit).into(),
        ];
        let checkpoint = |row: &Row| {
            Ok(RecordedCheckpoint {
                position: row.count("position")?,
                event_id: self.id(row, 1)?.unwrap_or_default(),
                data: row.get("data")?,
            })
        };
        fetch_all(self.db.read(), operation, sql, values)
            .await?
            .iter()
            .map(checkpoint)
            .collect()
    }

    async fn search(
        &self,
        query: &AuditQuery,
        after: Option<AuditCursor>,
        limit: u32,
    ) -> Result<AuditPage, BackendError> {
        search(&self.db, query, after, limit).await
    }
}
