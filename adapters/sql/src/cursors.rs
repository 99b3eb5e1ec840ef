//! How far each group has come in each shard, and who moves it on.

use std::time::Duration;

use async_trait::async_trait;
use domain::event::Shard;
use domain::time::Timestamp;
use ports::{BackendError, Beginning, Cursor, CursorMove, CursorStore};
use sea_orm::Value;

use crate::connect::{Database, Dialect, WriteTransaction};
use crate::leases::{Asking, Leases};
use crate::log::shard_from;
use crate::row::{bigint, fetch_all, placeholders};

const ADVANCE: &str = "cursors.advance";

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

/// The leases of a group.
fn leases<'a>(operation: &'static str, group: &'a str) -> Leases<'a> {
    Leases {
        operation,
        table: "cursors",
        group: Some(group),
        members: group,
    }
}

/// How the fence of a move names the cursors that are still the owner's and still where they were.
const FENCE: &str =
    "c.group_name = $1 AND c.lease_owner = $2 AND c.lease_until > $3 AND c.shard = m.shard AND c.position = m.was";

/// The statement that moves cursors, and its values.
fn advance_statement(
    dialect: Dialect,
    group: &str,
    owner: &str,
    moves: &[CursorMove],
    now: Timestamp,
) -> Result<(String, Vec<Value>), BackendError> {
    let moving = format!(
        "moves(shard, was, goal) AS (VALUES {})",
        placeholders(4, moves.len(), 3)
    );
    let sql = match dialect {
        Dialect::Sqlite => {
            format!(
                "WITH {moving} UPDATE cursors AS c SET position = m.goal FROM moves m WHERE {FENCE} RETURNING shard"
            )
        }
        // Locked in the order of shards, as a claim locks them.
        Dialect::Postgres => format!(
            "WITH {moving}, held AS (SELECT m.shard, m.goal FROM cursors c JOIN moves m ON {FENCE} \
             ORDER BY c.shard FOR UPDATE OF c) \
             UPDATE cursors c SET position = held.goal FROM held WHERE c.group_name = $1 AND c.shard = held.shard \
             RETURNING c.shard"
        ),
    };
    let mut values: Vec<Value> = vec![group.into(), owner.into(), now.micros().into()];
    for step in moves {
        let (from, to) = (bigint(ADVANCE, step.from)?, bigint(ADVANCE, step.to)?);
        values.extend([i16::from(step.shard.number()).into(), from.into(), to.into()]);
    }
    Ok((sql, values))
}

/// Moves cursors within a transaction; those that did not move are another's.
pub(crate) async fn advance_within(
    tx: &WriteTransaction,
    group: &str,
    owner: &str,
    moves: &[CursorMove],
    now: Timestamp,
) -> Result<Vec<Shard>, BackendError> {
    let (sql, values) = advance_statement(tx.dialect(), group, owner, moves, now)?;
    let rows = fetch_all(tx.conn(), ADVANCE, &sql, values).await?;
    rows.iter().map(shard_from).collect()
}

impl SqlCursorStore {
    /// Removes marks that were made before `$1` and are `chosen` by this, unless their event may come again.
    async fn prune_marks(
        &self,
        operation: &'static str,
        chosen: &str,
        before: Timestamp,
        limit: u32,
    ) -> Result<u64, BackendError> {
        let lock = match self.db.dialect() {
            Dialect::Postgres => " FOR UPDATE OF i SKIP LOCKED",
            Dialect::Sqlite => "",
        };
        let sql = format!(
            "DELETE FROM inbox WHERE (group_name, event_id) IN (SELECT i.group_name, i.event_id FROM inbox i {chosen} \
             AND NOT EXISTS \
             (SELECT 1 FROM held_events h WHERE h.group_name = i.group_name AND h.event_id = i.event_id) \
             ORDER BY i.at LIMIT $2{lock})"
        );
        let values = vec![before.micros().into(), i64::from(limit).into()];
        self.db.execute(operation, &sql, values).await
    }
}

#[async_trait]
impl CursorStore for SqlCursorStore {
    async fn begin(&self, group: &str, beginning: Beginning) -> Result<bool, BackendError> {
        let position = match beginning {
            Beginning::First => "0",
            Beginning::Heads => "position",
        };
        let sql = format!(
            "INSERT INTO cursors (group_name, shard, position, lease_owner, lease_until) \
             SELECT $1, shard, {position}, NULL, 0 FROM log_shards \
             WHERE NOT EXISTS (SELECT 1 FROM cursors WHERE group_name = $1) ORDER BY shard ON CONFLICT DO NOTHING"
        );
        let made = self.db.execute("cursors.begin", &sql, vec![group.into()]).await?;
        Ok(made > 0)
    }

    async fn claim(
        &self,
        group: &str,
        owner: &str,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<Vec<Cursor>, BackendError> {
        let asking = Asking {
            owner,
            now,
            until: now.plus(ttl),
        };
        let tx = self.db.begin_write().await?;
        let held = leases("cursors.claim", group).claim(&tx, asking).await?;
        tx.commit().await?;
        Ok(held)
    }

    async fn advance(
        &self,
        group: &str,
        owner: &str,
        moves: &[CursorMove],
        now: Timestamp,
    ) -> Result<Vec<Shard>, BackendError> {
        if moves.is_empty() {
            return Ok(Vec::new());
        }
        let (sql, values) = advance_statement(self.db.dialect(), group, owner, moves, now)?;
        let rows = self.db.fetch_written(ADVANCE, &sql, values).await?;
        rows.iter().map(shard_from).collect()
    }

    async fn release(&self, group: &str, owner: &str) -> Result<(), BackendError> {
        let tx = self.db.begin_write().await?;
        leases("cursors.release", group).release(&tx, owner).await?;
        Ok(tx.commit().await?)
    }

    async fn prune_inbox(&self, before: Timestamp, limit: u32) -> Result<u64, BackendError> {
        let passed = "JOIN event_log l ON l.event_id = i.event_id \
             JOIN cursors c ON c.group_name = i.group_name AND c.shard = l.shard AND c.position >= l.position \
             WHERE i.at < $1";
        self.prune_marks("inbox.prune", passed, before, limit).await
    }

    async fn prune_foreign_inbox(&self, before: Timestamp, limit: u32) -> Result<u64, BackendError> {
        let foreign = "WHERE i.at < $1 AND NOT EXISTS (SELECT 1 FROM event_log l WHERE l.event_id = i.event_id)";
        self.prune_marks("inbox.prune_foreign", foreign, before, limit).await
    }
}
