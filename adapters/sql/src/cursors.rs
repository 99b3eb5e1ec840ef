//! How far each group has come in each shard, and who moves it on.

use std::time::Duration;

use async_trait::async_trait;
use domain::event::Shard;
use domain::time::Timestamp;
use ports::{BackendError, Cursor, CursorMove, CursorStore};
use sea_orm::Value;

use crate::connect::{Database, Dialect};
use crate::log::{cursors_from, shard_from};
use crate::row::{bigint, placeholders};

/// [`CursorStore`] on SQL.
#[derive(Debug, Clone)]
pub struct SqlCursorStore {
    db: Database,
}

impl SqlCursorStore {
    /// Keeps cursors in this database.
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }
}

/// Makes what is missing and takes what is free, in one statement and in the order of shards. What another holds is not even locked;
/// the condition stands twice, since the row may have been taken between the look and the lock.
const CLAIM: &str = "INSERT INTO cursors (group_name, shard, position, lease_owner, lease_until) \
    SELECT $1, s.shard, 0, $2, $4 FROM log_shards s LEFT JOIN cursors c ON c.group_name = $1 AND c.shard = s.shard \
    WHERE c.lease_owner IS NULL OR c.lease_owner = $2 OR c.lease_until <= $3 ORDER BY s.shard \
    ON CONFLICT (group_name, shard) DO UPDATE SET lease_owner = excluded.lease_owner, lease_until = excluded.lease_until \
    WHERE cursors.lease_owner IS NULL OR cursors.lease_owner = excluded.lease_owner OR cursors.lease_until <= $3 \
    RETURNING shard, position";

#[async_trait]
impl CursorStore for SqlCursorStore {
    async fn claim(
        &self,
        group: &str,
        owner: &str,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<Vec<Cursor>, BackendError> {
        let values = vec![
            group.into(),
            owner.into(),
            now.micros().into(),
            now.plus(ttl).micros().into(),
        ];
        cursors_from(&self.db.fetch_written("cursors.claim", CLAIM, values).await?)
    }

    async fn advance(
        &self,
        group: &str,
        owner: &str,
        moves: &[CursorMove],
        now: Timestamp,
    ) -> Result<Vec<Shard>, BackendError> {
        let operation = "cursors.advance";
        if moves.is_empty() {
            return Ok(Vec::new());
        }
        let moving = format!(
            "moves(shard, was, goal) AS (VALUES {})",
            placeholders(4, moves.len(), 3)
        );
        let fence = "c.group_name = $1 AND c.lease_owner = $2 AND c.lease_until > $3 AND c.shard = m.shard AND c.position = m.was";
        let sql = match self.db.dialect() {
            Dialect::Sqlite => format!(
                "WITH {moving} UPDATE cursors AS c SET position = m.goal FROM moves m WHERE {fence} RETURNING shard"
            ),
            // Locked in the order of shards, as a claim locks them.
            Dialect::Postgres => format!(
                "WITH {moving}, held AS (SELECT m.shard, m.goal FROM cursors c JOIN moves m ON {fence} \
                 ORDER BY c.shard FOR UPDATE OF c) \
                 UPDATE cursors c SET position = held.goal FROM held WHERE c.group_name = $1 AND c.shard = held.shard \
                 RETURNING c.shard"
            ),
        };
        let mut values: Vec<Value> = vec![group.into(), owner.into(), now.micros().into()];
        for step in moves {
            let (from, to) = (bigint(operation, step.from)?, bigint(operation, step.to)?);
            values.extend([i16::from(step.shard.number()).into(), from.into(), to.into()]);
        }
        self.db
            .fetch_written(operation, &sql, values)
            .await?
            .iter()
            .map(shard_from)
            .collect()
    }

    async fn release(&self, group: &str, owner: &str) -> Result<(), BackendError> {
        let sql = "UPDATE cursors SET lease_owner = NULL, lease_until = 0 WHERE group_name = $1 AND lease_owner = $2";
        self.db
            .execute("cursors.release", sql, vec![group.into(), owner.into()])
            .await?;
        Ok(())
    }

    async fn prune_inbox(&self, before: Timestamp, limit: u32) -> Result<u64, BackendError> {
        let lock = match self.db.dialect() {
            Dialect::Postgres => " FOR UPDATE OF i SKIP LOCKED",
            Dialect::Sqlite => "",
        };
        let sql = format!(
            "DELETE FROM inbox WHERE (group_name, event_id) IN (SELECT i.group_name, i.event_id FROM inbox i \
             JOIN event_log l ON l.event_id = i.event_id \
             JOIN cursors c ON c.group_name = i.group_name AND c.shard = l.shard AND c.position >= l.position \
             WHERE i.at < $1 ORDER BY i.at LIMIT $2{lock})"
        );
        let values = vec![before.micros().into(), i64::from(limit).into()];
        self.db.execute("inbox.prune", &sql, values).await
    }
}
