//! The log as it is read: in the order of positions.

use async_trait::async_trait;
use domain::event::{Actor, Event, LoggedEvent, Shard};
use domain::id::{EventId, RequestId, UserId};
use domain::stats::{GroupHolds, LogStats};
use ports::{BackendError, Cursor, EventLog};
use sea_orm::Value;
use sea_orm::sea_query::ArrayType;
use uuid::Uuid;

use crate::connect::{Database, Dialect};
use crate::event_insert::array;
use crate::row::{Row, bigint, fetch_all, fetch_one, placeholders};

/// The columns of an event, its table being `e`.
pub(crate) const EVENT_COLUMNS: &str = "e.id, e.user_id, e.type, e.subject, e.time, e.data, e.salt, e.digest, e.actor, \
    e.impersonator, e.request_id, e.client_id";

/// Reads the [`EVENT_COLUMNS`].
pub(crate) fn event_from(row: &Row) -> Result<Event, BackendError> {
    let fixed = |bytes: Vec<u8>| bytes.try_into().map_err(|_| row.corrupt("salt"));
    Ok(Event {
        id: EventId::new(row.get("id")?),
        user_id: UserId::new(row.get("user_id")?),
        event_type: row.parse("type")?,
        subject: row.get("subject")?,
        time: row.time("time")?,
        data: row.get("data")?,
        salt: row.get::<Option<Vec<u8>>>("salt")?.map(fixed).transpose()?,
        digest: row.bytes("digest")?,
        actor: row.word("actor", Actor::parse)?,
        impersonator: row.get::<Option<Uuid>>("impersonator")?.map(UserId::new),
        request_id: row.get::<Option<Uuid>>("request_id")?.map(RequestId::new),
        client_id: row.get("client_id")?,
    })
}

/// Reads the [`EVENT_COLUMNS`] together with `shard`, `position` and `hash`.
pub(crate) fn logged_from(row: &Row) -> Result<LoggedEvent, BackendError> {
    Ok(LoggedEvent {
        shard: shard_from(row)?,
        position: row.count("position")?,
        hash: row.bytes("hash")?,
        event: event_from(row)?,
    })
}

/// Reads the column `shard`.
pub(crate) fn shard_from(row: &Row) -> Result<Shard, BackendError> {
    let number = u8::try_from(row.get::<i16>("shard")?).ok();
    number.and_then(Shard::new).ok_or_else(|| row.corrupt("shard"))
}

/// Reads `shard` and `position` of all rows, and puts them into the order of shards.
pub(crate) fn cursors_from(rows: &[Row]) -> Result<Vec<Cursor>, BackendError> {
    let cursor = |row: &Row| {
        Ok(Cursor {
            shard: shard_from(row)?,
            position: row.count("position")?,
        })
    };
    let mut cursors: Vec<Cursor> = rows.iter().map(cursor).collect::<Result<_, BackendError>>()?;
    cursors.sort_by_key(|cursor| cursor.shard);
    Ok(cursors)
}

/// [`EventLog`] on SQL.
#[derive(Debug, Clone)]
pub struct SqlEventLog {
    db: Database,
}

impl SqlEventLog {
    /// Reads the log of this database.
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }

    /// The statement and its values. Each shard gives its next events; of all of them those nearest to their cursors are taken, so that
    /// a long shard keeps no other waiting. Both ways go along the key for each cursor, however long the log is.
    fn read_statement(&self, after: &[Cursor], limit: i64) -> Result<(String, Vec<Value>), BackendError> {
        let operation = "log.read";
        let mut positions = Vec::with_capacity(after.len());
        for cursor in after {
            positions.push((i16::from(cursor.shard.number()), bigint(operation, cursor.position)?));
        }
        let (cursors, next, values) = match self.db.dialect() {
            Dialect::Postgres => {
                let shards = array(ArrayType::SmallInt, positions.iter().map(|(shard, _)| (*shard).into()));
                let after = array(
                    ArrayType::BigInt,
                    positions.iter().map(|(_, position)| (*position).into()),
                );
                let cursors = "SELECT * FROM unnest($2::smallint[], $3::bigint[]) AS u(shard, position)".to_owned();
                let next = "CROSS JOIN LATERAL (SELECT n.shard, n.position, n.hash, n.event_id FROM event_log n \
                    WHERE n.shard = c.shard AND n.position > c.base ORDER BY n.position LIMIT $1) l";
                (cursors, next, vec![limit.into(), shards, after])
            }
            Dialect::Sqlite => {
                let cursors = format!("VALUES {}", placeholders(2, positions.len(), 2));
                // After the beginning positions have no gaps, so that the end of the range is as good as a limit.
                let next = "CROSS JOIN event_log l ON l.shard = c.shard AND l.position > c.base \
                    AND l.position <= c.base + $1";
                let pairs = positions
                    .into_iter()
                    .flat_map(|(shard, position)| [shard.into(), position.into()]);
                (cursors, next, std::iter::once(limit.into()).chain(pairs).collect())
            }
        };
        let sql = format!(
            "WITH given(shard, position) AS ({cursors}), c(shard, base) AS (SELECT g.shard, \
             CASE WHEN f.position > g.position THEN f.position ELSE g.position END \
             FROM given g JOIN log_floors f ON f.shard = g.shard), \
             l AS (SELECT l.shard, l.position, l.hash, l.event_id, \
             l.position - c.base AS ahead FROM c {next} ORDER BY ahead, l.shard LIMIT $1) \
             SELECT l.shard, l.position, l.hash, {EVENT_COLUMNS} FROM l JOIN events e ON e.id = l.event_id \
             ORDER BY l.ahead, l.shard"
        );
        Ok((sql, values))
    }
}

#[async_trait]
impl EventLog for SqlEventLog {
    async fn read(&self, after: &[Cursor], limit: u32) -> Result<Vec<LoggedEvent>, BackendError> {
        if after.is_empty() {
            return Ok(Vec::new());
        }
        let (sql, values) = self.read_statement(after, i64::from(limit))?;
        fetch_all(self.db.read(), "log.read", &sql, values)
            .await?
            .iter()
            .map(logged_from)
            .collect()
    }

    async fn heads(&self) -> Result<Vec<Cursor>, BackendError> {
        let sql = "SELECT shard, position FROM log_shards";
        cursors_from(&fetch_all(self.db.read(), "log.heads", sql, vec![]).await?)
    }

    async fn floors(&self) -> Result<Vec<Cursor>, BackendError> {
        let sql = "SELECT shard, position FROM log_floors";
        cursors_from(&fetch_all(self.db.read(), "log.floors", sql, vec![]).await?)
    }

    async fn stats(&self) -> Result<LogStats, BackendError> {
        let operation = "log.stats";
        let sql = "SELECT (SELECT count(*) FROM event_pending) AS waiting, \
            CAST((SELECT coalesce(sum(position), 0) FROM log_shards) AS bigint) AS head";
        let totals = fetch_one(self.db.read(), operation, sql, vec![]).await?;
        let (unsequenced, head) = match &totals {
            Some(row) => (row.count("waiting")?, row.count("head")?),
            None => (0, 0),
        };
        let sql = "SELECT c.group_name, CAST(sum(s.position - CASE WHEN f.position > c.position THEN f.position \
            ELSE c.position END) AS bigint) AS lag \
            FROM cursors c JOIN log_shards s ON s.shard = c.shard JOIN log_floors f ON f.shard = c.shard GROUP BY c.group_name";
        let rows = fetch_all(self.db.read(), operation, sql, vec![]).await?;
        let lag = |row: &Row| Ok((row.get("group_name")?, row.count("lag")?));
        let mut lags: Vec<(String, u64)> = rows.iter().map(lag).collect::<Result<_, BackendError>>()?;
        // By bytes, which the collation of the database need not follow.
        lags.sort();
        let sql = "SELECT group_name, sum(CASE WHEN state = 'dead' THEN 0 ELSE 1 END) AS held, \
            sum(CASE WHEN state = 'dead' THEN 1 ELSE 0 END) AS dead FROM held_events GROUP BY group_name";
        let rows = fetch_all(self.db.read(), operation, sql, vec![]).await?;
        let holds = |row: &Row| {
            Ok(GroupHolds {
                group: row.get("group_name")?,
                held: row.count("held")?,
                dead: row.count("dead")?,
            })
        };
        let mut holds: Vec<GroupHolds> = rows.iter().map(holds).collect::<Result<_, BackendError>>()?;
        holds.sort();
        Ok(LogStats {
            unsequenced,
            head,
            lags,
            holds,
        })
    }
}
