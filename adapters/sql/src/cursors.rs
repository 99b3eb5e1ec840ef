//! How far each group has come in each shard, and who moves it on.

use std::time::Duration;

use async_trait::async_trait;
use domain::event::{SHARDS, Shard};
use domain::time::Timestamp;
use ports::{BackendError, Beginning, Cursor, CursorMove, CursorStore};
use sea_orm::Value;

use crate::connect::{Database, Dialect, WriteTransaction};
use crate::log::{cursors_from, shard_from};
use crate::row::{Row, bigint, execute, fetch_all, fetch_one, placeholders, skip_locked};

const CLAIM: &str = "cursors.claim";
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

/// A cursor as a claim finds it.
struct Found {
    shard: Shard,
    mine: bool,
    free: bool,
}

/// What an owner takes or renews, and what it gives back.
#[derive(Debug, PartialEq, Eq)]
struct Choice {
    take: Vec<Shard>,
    give: Vec<Shard>,
}

/// A fair share of the cursors for one of so many owners: first what it holds, then what is free.
fn choose(found: &[Found], members: usize) -> Choice {
    let share = found.len().div_ceil(members.max(1));
    let mine: Vec<Shard> = found
        .iter()
        .filter(|cursor| cursor.mine)
        .map(|cursor| cursor.shard)
        .collect();
    let free = found.iter().filter(|cursor| cursor.free && !cursor.mine);
    let (keep, give) = mine.split_at(share.min(mine.len()));
    let take = keep.iter().copied().chain(free.map(|cursor| cursor.shard)).take(share);
    Choice {
        take: take.collect(),
        give: give.to_vec(),
    }
}

/// Takes part in the group, and gives how many do.
async fn join(tx: &WriteTransaction, group: &str, owner: &str, now: i64, until: i64) -> Result<usize, BackendError> {
    let sql = "INSERT INTO group_members (group_name, owner, until) VALUES ($1, $2, $3) \
        ON CONFLICT (group_name, owner) DO UPDATE SET until = excluded.until";
    execute(tx.conn(), CLAIM, sql, vec![group.into(), owner.into(), until.into()]).await?;
    let sql = "SELECT count(*) AS members, sum(CASE WHEN until <= $2 THEN 1 ELSE 0 END) AS past \
        FROM group_members WHERE group_name = $1";
    let Some(row) = fetch_one(tx.conn(), CLAIM, sql, vec![group.into(), now.into()]).await? else {
        return Ok(1);
    };
    let (members, past) = (row.count("members")?, row.count("past")?);
    if past > 0 {
        let sql = format!(
            "DELETE FROM group_members WHERE (group_name, owner) IN (SELECT group_name, owner FROM group_members \
             WHERE group_name = $1 AND until <= $2 ORDER BY owner{})",
            skip_locked(tx.dialect())
        );
        execute(tx.conn(), CLAIM, &sql, vec![group.into(), now.into()]).await?;
    }
    Ok(usize::try_from(members - past).unwrap_or(usize::MAX))
}

/// The cursors of the group; those that are missing are made at 0.
async fn cursors_of(tx: &WriteTransaction, group: &str, owner: &str, now: i64) -> Result<Vec<Found>, BackendError> {
    let sql = "SELECT shard, lease_owner, lease_until FROM cursors WHERE group_name = $1 ORDER BY shard";
    let mut rows = fetch_all(tx.conn(), CLAIM, sql, vec![group.into()]).await?;
    if rows.len() < usize::from(SHARDS) {
        let missing = "INSERT INTO cursors (group_name, shard, position, lease_owner, lease_until) \
            SELECT $1, shard, 0, NULL, 0 FROM log_shards WHERE true ORDER BY shard ON CONFLICT DO NOTHING";
        execute(tx.conn(), CLAIM, missing, vec![group.into()]).await?;
        rows = fetch_all(tx.conn(), CLAIM, sql, vec![group.into()]).await?;
    }
    let found = |row: &Row| {
        let holder: Option<String> = row.get("lease_owner")?;
        Ok(Found {
            shard: shard_from(row)?,
            mine: holder.as_deref() == Some(owner),
            free: holder.is_none() || row.get::<i64>("lease_until")? <= now,
        })
    };
    rows.iter().map(found).collect()
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
        let (now, until) = (now.micros(), now.plus(ttl).micros());
        let tx = self.db.begin_write().await?;
        let members = join(&tx, group, owner, now, until).await?;
        let Choice { take, give } = choose(&cursors_of(&tx, group, owner, now).await?, members);
        let numbers = |shards: &[Shard]| {
            let numbers = shards.iter().map(|shard| shard.number().to_string());
            numbers.collect::<Vec<_>>().join(", ")
        };
        let mut held = Vec::new();
        if !take.is_empty() {
            // What was free may have been taken between the look and the lock.
            let may = format!(
                "group_name = $1 AND shard IN ({}) \
                 AND (lease_owner IS NULL OR lease_owner = $2 OR lease_until <= $3)",
                numbers(&take)
            );
            let sql = match tx.dialect() {
                Dialect::Sqlite => format!(
                    "UPDATE cursors SET lease_owner = $2, lease_until = $4 WHERE {may} RETURNING shard, position"
                ),
                Dialect::Postgres => format!(
                    "WITH free AS (SELECT shard FROM cursors WHERE {may} ORDER BY shard FOR UPDATE) \
                     UPDATE cursors c SET lease_owner = $2, lease_until = $4 FROM free \
                     WHERE c.group_name = $1 AND c.shard = free.shard RETURNING c.shard, c.position"
                ),
            };
            let values = vec![group.into(), owner.into(), now.into(), until.into()];
            held = cursors_from(&fetch_all(tx.conn(), CLAIM, &sql, values).await?)?;
        }
        // After what is kept, which lies before it: everybody locks in the order of shards.
        if !give.is_empty() {
            let sql = format!(
                "UPDATE cursors SET lease_owner = NULL, lease_until = 0 \
                 WHERE group_name = $1 AND lease_owner = $2 AND shard IN ({})",
                numbers(&give)
            );
            execute(tx.conn(), CLAIM, &sql, vec![group.into(), owner.into()]).await?;
        }
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
        let (operation, tx) = ("cursors.release", self.db.begin_write().await?);
        for sql in [
            "DELETE FROM group_members WHERE group_name = $1 AND owner = $2",
            "UPDATE cursors SET lease_owner = NULL, lease_until = 0 WHERE group_name = $1 AND lease_owner = $2",
        ] {
            execute(tx.conn(), operation, sql, vec![group.into(), owner.into()]).await?;
        }
        tx.commit().await
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
             WHERE i.at < $1 AND NOT EXISTS \
             (SELECT 1 FROM held_events h WHERE h.group_name = i.group_name AND h.event_id = i.event_id) \
             ORDER BY i.at LIMIT $2{lock})"
        );
        let values = vec![before.micros().into(), i64::from(limit).into()];
        self.db.execute("inbox.prune", &sql, values).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(mine: &[u8], others: &[u8]) -> Vec<Found> {
        let cursor = |shard: Shard| Found {
            shard,
            mine: mine.contains(&shard.number()),
            free: !mine.contains(&shard.number()) && !others.contains(&shard.number()),
        };
        Shard::all().map(cursor).collect()
    }

    fn chosen(found: &[Found], members: usize) -> (Vec<u8>, Vec<u8>) {
        let numbers = |shards: Vec<Shard>| shards.into_iter().map(Shard::number).collect();
        let Choice { take, give } = choose(found, members);
        (numbers(take), numbers(give))
    }

    #[test]
    fn a_share_is_what_is_held_then_what_is_free() {
        let all: Vec<u8> = (0..16).collect();
        assert_eq!(chosen(&found(&[], &[]), 1), (all.clone(), vec![]));
        assert_eq!(chosen(&found(&all, &[]), 2), (all[..8].to_vec(), all[8..].to_vec()));
        assert_eq!(
            chosen(&found(&[9], &all[..8]), 2),
            (
                all[8..]
                    .iter()
                    .copied()
                    .map(|n| if n == 8 {
                        9
                    } else if n == 9 {
                        8
                    } else {
                        n
                    })
                    .collect(),
                vec![]
            )
        );
        assert_eq!(chosen(&found(&all[..6], &all[6..12]), 3), (all[..6].to_vec(), vec![]));
        assert_eq!(chosen(&found(&[], &all), 2), (vec![], vec![]));
        assert_eq!(chosen(&found(&[3, 4], &[]), 40), (vec![3], vec![4]));
    }
}
