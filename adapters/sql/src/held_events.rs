//! Events that a handler group has passed without having handled them, as its worker keeps them.

use async_trait::async_trait;
use domain::event::Shard;
use domain::id::{EventId, UserId};
use domain::time::Timestamp;
use ports::{
    BackendError, CursorMove, DueEvent, FailedAttempt, HeldEvents, HeldFate, HeldOutcome, HeldVerdict, NewHeldEvent,
    ShardStep, WaitingUser,
};
use sea_orm::Value;

use crate::connect::{Database, WriteTransaction};
use crate::cursors::advance_within;
use crate::log::{EVENT_COLUMNS, logged_from, shard_from};
use crate::row::{Row, bigint, execute, fetch_all, int, placeholders};

const SETTLE: &str = "held.settle";

/// The state of an event that comes again.
pub(crate) const WAITING: &str = "waiting";
/// The state of a dead letter.
pub(crate) const DEAD: &str = "dead";

/// Columns of the table.
const COLUMNS: usize = 16;
/// Rows of one statement: a good deal below what either engine binds.
const ROWS: usize = 200;

/// [`HeldEvents`] on SQL.
#[derive(Debug, Clone)]
pub struct SqlHeldEvents {
    db: Database,
}

impl SqlHeldEvents {
    /// Holds events in this database.
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }
}

/// The numbers of shards, for a list in a statement.
fn numbers(shards: &[Shard]) -> String {
    let numbers = shards.iter().map(|shard| shard.number().to_string());
    numbers.collect::<Vec<_>>().join(", ")
}

fn row_values(group: &str, shard: Shard, event: &NewHeldEvent, now: Timestamp) -> Result<Vec<Value>, BackendError> {
    let (state, failed, due_at) = match &event.fate {
        HeldFate::Waits => (WAITING, None, now),
        HeldFate::Retry(failed, at) => (WAITING, Some(failed), *at),
        HeldFate::Dead(failed) => (DEAD, Some(failed), now),
    };
    let failed_at = failed.map(|failed| failed.at.micros());
    Ok(vec![
        group.into(),
        event.event_id.uuid().into(),
        event.id.uuid().into(),
        i16::from(shard.number()).into(),
        bigint(SETTLE, event.position)?.into(),
        event.user_id.uuid().into(),
        event.event_type.as_str().into(),
        event.origin.as_str().into(),
        state.into(),
        int(SETTLE, failed.map_or(0, |failed| failed.attempts))?.into(),
        due_at.micros().into(),
        failed_at.into(),
        failed_at.into(),
        failed.map(|failed| failed.reason.code().to_owned()).into(),
        failed.map(|failed| failed.reason.text().to_owned()).into(),
        0_i32.into(),
    ])
}

/// Writes held events. A step that is told again finds its rows there, and leaves them as they have become meanwhile.
async fn write_held(
    tx: &WriteTransaction,
    group: &str,
    held: &[(Shard, &NewHeldEvent)],
    now: Timestamp,
) -> Result<(), BackendError> {
    for some in held.chunks(ROWS) {
        let sql = format!(
            "INSERT INTO held_events (group_name, event_id, id, shard, position, user_id, type, origin, state, attempts, \
             next_attempt_at, first_failed_at, last_failed_at, reason_code, reason, redrives) VALUES {} \
             ON CONFLICT (group_name, event_id) DO NOTHING",
            placeholders(1, some.len(), COLUMNS)
        );
        let mut values = Vec::with_capacity(some.len() * COLUMNS);
        for (shard, event) in some {
            values.extend(row_values(group, *shard, event, now)?);
        }
        execute(tx.conn(), SETTLE, &sql, values).await?;
    }
    Ok(())
}

async fn write_outcomes(tx: &WriteTransaction, group: &str, outcomes: &[&HeldOutcome]) -> Result<(), BackendError> {
    let done: Vec<EventId> = outcomes
        .iter()
        .filter(|outcome| outcome.verdict == HeldVerdict::Done)
        .map(|outcome| outcome.event_id)
        .collect();
    for some in done.chunks(ROWS) {
        let sql = format!(
            "DELETE FROM held_events WHERE group_name = $1 AND state = '{WAITING}' AND event_id IN {}",
            placeholders(2, 1, some.len())
        );
        let ids = some.iter().map(|id| Value::from(id.uuid()));
        execute(
            tx.conn(),
            SETTLE,
            &sql,
            std::iter::once(group.into()).chain(ids).collect(),
        )
        .await?;
    }
    for outcome in outcomes {
        match &outcome.verdict {
            HeldVerdict::Done => {}
            HeldVerdict::Retry(failed, at) => write_failure(tx, group, outcome.event_id, failed, WAITING, *at).await?,
            HeldVerdict::Dead(failed) => write_failure(tx, group, outcome.event_id, failed, DEAD, failed.at).await?,
        }
    }
    Ok(())
}

async fn write_failure(
    tx: &WriteTransaction,
    group: &str,
    event_id: EventId,
    failed: &FailedAttempt,
    state: &str,
    due_at: Timestamp,
) -> Result<(), BackendError> {
    let sql = format!(
        "UPDATE held_events SET state = $3, attempts = $4, next_attempt_at = $5, \
         first_failed_at = coalesce(first_failed_at, $6), last_failed_at = $6, reason_code = $7, reason = $8 \
         WHERE group_name = $1 AND event_id = $2 AND state = '{WAITING}'"
    );
    let values = vec![
        group.into(),
        event_id.uuid().into(),
        state.into(),
        int(SETTLE, failed.attempts)?.into(),
        due_at.micros().into(),
        failed.at.micros().into(),
        failed.reason.code().into(),
        failed.reason.text().into(),
    ];
    execute(tx.conn(), SETTLE, &sql, values).await?;
    Ok(())
}

#[async_trait]
impl HeldEvents for SqlHeldEvents {
    async fn settle(
        &self,
        group: &str,
        owner: &str,
        steps: &[ShardStep],
        now: Timestamp,
    ) -> Result<Vec<Shard>, BackendError> {
        if steps.is_empty() {
            return Ok(Vec::new());
        }
        let moves: Vec<CursorMove> = steps
            .iter()
            .map(|step| CursorMove {
                shard: step.shard,
                from: step.from,
                to: step.to,
            })
            .collect();
        let tx = self.db.begin_write().await?;
        let moved = advance_within(&tx, group, owner, &moves, now).await?;
        let taken = || steps.iter().filter(|step| moved.contains(&step.shard));
        let held: Vec<(Shard, &NewHeldEvent)> = taken()
            .flat_map(|step| step.held.iter().map(|event| (step.shard, event)))
            .collect();
        let outcomes: Vec<&HeldOutcome> = taken().flat_map(|step| &step.outcomes).collect();
        write_held(&tx, group, &held, now).await?;
        write_outcomes(&tx, group, &outcomes).await?;
        tx.commit().await?;
        Ok(moved)
    }

    async fn waiting(&self, group: &str, shards: &[Shard]) -> Result<Vec<WaitingUser>, BackendError> {
        if shards.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT w.shard, w.user_id, w.held, (SELECT o.next_attempt_at FROM held_events o WHERE o.group_name = $1 \
             AND o.user_id = w.user_id AND o.state = '{WAITING}' ORDER BY o.position LIMIT 1) AS due_at FROM \
             (SELECT shard, user_id, count(*) AS held FROM held_events WHERE group_name = $1 AND state = '{WAITING}' \
             AND shard IN ({}) GROUP BY shard, user_id) w",
            numbers(shards)
        );
        let rows = fetch_all(self.db.read(), "held.waiting", &sql, vec![group.into()]).await?;
        let waiting = |row: &Row| {
            Ok(WaitingUser {
                shard: shard_from(row)?,
                user_id: UserId::new(row.get("user_id")?),
                count: row.count("held")?,
                // None when the last of them was settled between the two looks of the statement.
                due_at: row.time_or_none("due_at")?.unwrap_or(Timestamp::from_micros(0)),
            })
        };
        rows.iter().map(waiting).collect()
    }

    async fn due(
        &self,
        group: &str,
        shards: &[Shard],
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<DueEvent>, BackendError> {
        if shards.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT h.attempts, l.shard, l.position, l.hash, {EVENT_COLUMNS} FROM \
             (SELECT w.shard, w.position, w.attempts, w.event_id FROM held_events w \
              WHERE w.group_name = $1 AND w.state = '{WAITING}' AND w.shard IN ({}) AND NOT EXISTS \
              (SELECT 1 FROM held_events o WHERE o.group_name = $1 AND o.user_id = w.user_id AND o.state = '{WAITING}' \
               AND o.position <= w.position AND o.next_attempt_at > $2) ORDER BY w.shard, w.position LIMIT $3) h \
             JOIN event_log l ON l.shard = h.shard AND l.position = h.position \
             JOIN events e ON e.id = h.event_id ORDER BY l.shard, l.position",
            numbers(shards)
        );
        let values = vec![group.into(), now.micros().into(), i64::from(limit).into()];
        let rows = fetch_all(self.db.read(), "held.due", &sql, values).await?;
        let due = |row: &Row| {
            Ok(DueEvent {
                event: logged_from(row)?,
                attempts: row.small_count("attempts")?,
            })
        };
        rows.iter().map(due).collect()
    }
}
