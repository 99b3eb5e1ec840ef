//! Events that a handler group has passed without having handled them, as its worker keeps them.

use async_trait::async_trait;
use domain::cloud_event::{ForeignEvent, RecordFrame};
use domain::dead_letter::LetterOrigin;
use domain::event::{EventType, LoggedEvent, Shard};
use domain::id::{DeadLetterId, EventId, UserId};
use domain::time::Timestamp;
use ports::{
    BackendError, CursorMove, DueEvent, FailedAttempt, HeldEvents, HeldFate, HeldOutcome, HeldVerdict, NewForeignEvent,
    NewHeldEvent, ShardStep, WaitingUser,
};
use sea_orm::Value;

use crate::connect::{Database, WriteTransaction};
use crate::cursors::advance_within;
use crate::leases::numbers;
use crate::log::{EVENT_COLUMNS, logged_from, shard_from};
use crate::row::{Row, bigint, execute, fetch_all, int, placeholders};

const SETTLE: &str = "held.settle";

/// The state of an event that comes again.
pub(crate) const WAITING: &str = "waiting";
/// The state of a dead letter.
pub(crate) const DEAD: &str = "dead";

/// What is read of a held event that may be one of the log or of a topic, its table being `h`; with [`HELD_JOINS`].
pub(crate) const HELD_COLUMNS: &str = "h.record, l.hash";
/// The log's row and the event of a held event of the log.
pub(crate) const HELD_JOINS: &str = "LEFT JOIN event_log l ON h.topic IS NULL AND l.shard = h.shard AND l.position = h.position \
     LEFT JOIN events e ON e.id = l.event_id AND e.id = h.event_id";

/// The columns of a row.
const COLUMNS: [&str; 20] = [
    "group_name",
    "event_id",
    "id",
    "shard",
    "position",
    "user_id",
    "type",
    "origin",
    "state",
    "attempts",
    "next_attempt_at",
    "first_failed_at",
    "last_failed_at",
    "reason_code",
    "reason",
    "redrives",
    "topic",
    "partition",
    "event_user",
    "record",
];
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

/// A row before it is written.
struct NewRow<'a> {
    id: DeadLetterId,
    event_id: EventId,
    shard: Shard,
    position: u64,
    user_id: UserId,
    event_type: &'a EventType,
    origin: LetterOrigin,
    fate: &'a HeldFate,
    foreign: Option<&'a NewForeignEvent>,
}

impl<'a> NewRow<'a> {
    fn of_log(shard: Shard, event: &'a NewHeldEvent) -> Self {
        Self {
            id: event.id,
            event_id: event.event_id,
            shard,
            position: event.position,
            user_id: event.user_id,
            event_type: &event.event_type,
            origin: event.origin,
            fate: &event.fate,
            foreign: None,
        }
    }

    fn of_topic(new: &'a NewForeignEvent) -> Self {
        let lane = new.foreign.lane;
        Self {
            id: new.id,
            event_id: new.foreign.event.id,
            shard: Shard::of(lane),
            position: new.place.offset,
            user_id: lane,
            event_type: &new.foreign.event.event_type,
            origin: LetterOrigin::Topic,
            fate: &new.fate,
            foreign: Some(new),
        }
    }

    fn values(&self, group: &str, now: Timestamp) -> Result<[Value; COLUMNS.len()], BackendError> {
        let (state, failed, due_at) = match self.fate {
            HeldFate::Waits => (WAITING, None, now),
            HeldFate::Retry(failed, at) => (WAITING, Some(failed), *at),
            HeldFate::Dead(failed) => (DEAD, Some(failed), now),
        };
        let failed_at = failed.map(|failed| failed.at.micros());
        let partition = self.foreign.map(|new| int(SETTLE, new.place.partition)).transpose()?;
        Ok([
            group.into(),
            self.event_id.uuid().into(),
            self.id.uuid().into(),
            i16::from(self.shard.number()).into(),
            bigint(SETTLE, self.position)?.into(),
            self.user_id.uuid().into(),
            self.event_type.as_str().into(),
            self.origin.as_str().into(),
            state.into(),
            int(SETTLE, failed.map_or(0, |failed| failed.attempts))?.into(),
            due_at.micros().into(),
            failed_at.into(),
            failed_at.into(),
            failed.map(|failed| failed.reason.code().to_owned()).into(),
            failed.map(|failed| failed.reason.text().to_owned()).into(),
            0_i32.into(),
            self.foreign.map(|new| new.place.topic.clone()).into(),
            partition.into(),
            self.foreign.map(|new| new.foreign.event.user_id.uuid()).into(),
            self.foreign.map(|new| new.foreign.to_structured().to_string()).into(),
        ])
    }
}

/// Writes held events. A step that is told again finds its rows there, and leaves them as they have become meanwhile.
async fn write_held(
    tx: &WriteTransaction,
    group: &str,
    held: &[NewRow<'_>],
    now: Timestamp,
) -> Result<(), BackendError> {
    for some in held.chunks(ROWS) {
        let sql = format!(
            "INSERT INTO held_events ({}) VALUES {} ON CONFLICT (group_name, event_id) DO NOTHING",
            COLUMNS.join(", "),
            placeholders(1, some.len(), COLUMNS.len())
        );
        let mut values = Vec::with_capacity(some.len() * COLUMNS.len());
        for row in some {
            values.extend(row.values(group, now)?);
        }
        execute(tx.conn(), SETTLE, &sql, values).await?;
    }
    Ok(())
}

/// The event of another service that a row keeps; none in the row of an event of the log.
pub(crate) fn foreign_from(row: &Row) -> Result<Option<ForeignEvent>, BackendError> {
    let Some(record) = row.get::<Option<String>>("record")? else {
        return Ok(None);
    };
    // Its user and time are written in it.
    let frame = RecordFrame {
        key: None,
        written_at: Timestamp::from_micros(0),
    };
    let read = ForeignEvent::from_structured(record.as_bytes(), frame);
    read.map(Some).map_err(|_| row.corrupt("record"))
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
        let held: Vec<NewRow<'_>> = taken()
            .flat_map(|step| step.held.iter().map(|event| NewRow::of_log(step.shard, event)))
            .collect();
        let outcomes: Vec<&HeldOutcome> = taken().flat_map(|step| &step.outcomes).collect();
        write_held(&tx, group, &held, now).await?;
        write_outcomes(&tx, group, &outcomes).await?;
        tx.commit().await?;
        Ok(moved)
    }

    async fn hold(&self, group: &str, events: &[NewForeignEvent], now: Timestamp) -> Result<(), BackendError> {
        if events.is_empty() {
            return Ok(());
        }
        let rows: Vec<NewRow<'_>> = events.iter().map(NewRow::of_topic).collect();
        let tx = self.db.begin_write().await?;
        write_held(&tx, group, &rows, now).await?;
        Ok(tx.commit().await?)
    }

    async fn behind(&self, group: &str, lanes: &[UserId]) -> Result<Vec<UserId>, BackendError> {
        let mut found = Vec::new();
        for some in lanes.chunks(ROWS) {
            let sql = format!(
                "SELECT DISTINCT user_id FROM held_events WHERE group_name = $1 AND state = '{WAITING}' AND user_id IN {}",
                placeholders(2, 1, some.len())
            );
            let lanes = some.iter().map(|lane| Value::from(lane.uuid()));
            let values = std::iter::once(group.into()).chain(lanes).collect();
            for row in fetch_all(self.db.read(), "held.behind", &sql, values).await? {
                found.push(UserId::new(row.get("user_id")?));
            }
        }
        Ok(found)
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
            "SELECT h.shard, h.position, h.attempts, {HELD_COLUMNS}, {EVENT_COLUMNS} FROM \
             (SELECT w.shard, w.position, w.attempts, w.event_id, w.topic, w.record FROM held_events w \
              WHERE w.group_name = $1 AND w.state = '{WAITING}' AND w.shard IN ({}) AND NOT EXISTS \
              (SELECT 1 FROM held_events o WHERE o.group_name = $1 AND o.user_id = w.user_id AND o.state = '{WAITING}' \
               AND o.position <= w.position AND o.next_attempt_at > $2) ORDER BY w.shard, w.position LIMIT $3) h \
             {HELD_JOINS} WHERE h.topic IS NOT NULL OR e.id IS NOT NULL ORDER BY h.shard, h.position",
            numbers(shards)
        );
        let values = vec![group.into(), now.micros().into(), i64::from(limit).into()];
        let rows = fetch_all(self.db.read(), "held.due", &sql, values).await?;
        let due = |row: &Row| {
            Ok(DueEvent {
                event: match foreign_from(row)? {
                    Some(foreign) => LoggedEvent {
                        shard: shard_from(row)?,
                        ..foreign.into_logged(row.count("position")?)
                    },
                    None => logged_from(row)?,
                },
                attempts: row.small_count("attempts")?,
            })
        };
        rows.iter().map(due).collect()
    }
}
