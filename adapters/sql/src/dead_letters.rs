//! Dead letters: read, handed back, thrown away; and the log handed to a group again.

use async_trait::async_trait;
use domain::cloud_event::TopicPlace;
use domain::dead_letter::{DeadLetter, FailureReason, LetterOrigin};
use domain::event::EventType;
use domain::id::{DeadLetterId, EventId, UserId};
use domain::page::{Page, PageRequest};
use domain::time::Timestamp;
use ports::{
    BackendError, ChangeDeadLettersError, DeadLetterFilter, DeadLetterStore, Effects, EffectsError, LetterEvent,
    ReasonCount, ReplayStep, Replayed,
};
use sea_orm::{ConnectionTrait, Value};
use uuid::Uuid;

use crate::connect::{Database, Dialect, WriteTransaction};
use crate::effects::write_effects;
use crate::held_events::{DEAD, HELD_COLUMNS, HELD_JOINS, WAITING, foreign_from};
use crate::log::{EVENT_COLUMNS, logged_from, shard_from};
use crate::row::{
    Row, Start, bigint, empty_page, execute, fetch_all, fetch_one, finish_page, page_limit, placeholders, start,
};

const REPLAY: &str = "dead_letters.replay";

/// The columns of a dead letter, its table being `h`. None of their names is one of an event's.
const LETTER_COLUMNS: &str = "h.id AS letter_id, h.group_name, h.event_id, h.shard, h.position, \
    coalesce(h.event_user, h.user_id) AS letter_user, h.topic, h.partition, h.type AS letter_type, h.origin, \
    h.attempts, h.first_failed_at, h.last_failed_at, h.reason_code, h.reason, h.redrives";

/// Rows of one statement.
const ROWS: usize = 200;

/// [`DeadLetterStore`] on SQL.
#[derive(Debug, Clone)]
pub struct SqlDeadLetterStore {
    db: Database,
}

impl SqlDeadLetterStore {
    /// Keeps dead letters in this database.
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }

    async fn change(
        &self,
        operation: &'static str,
        sql: &str,
        first: Vec<Value>,
        ids: &[DeadLetterId],
        effects: &Effects,
    ) -> Result<(), ChangeDeadLettersError> {
        if ids.is_empty() {
            return Ok(());
        }
        let tx = self.db.begin_write().await?;
        // In one order for all, so that two who change the same ones do not wait for each other in a circle.
        let mut sorted: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
        sorted.sort();
        sorted.dedup();
        let lock = match tx.dialect() {
            Dialect::Postgres => " ORDER BY id FOR UPDATE",
            Dialect::Sqlite => "",
        };
        for some in sorted.chunks(ROWS) {
            let list = placeholders(first.len() + 1, 1, some.len());
            let sql =
                format!("{sql} WHERE id IN (SELECT id FROM held_events WHERE id IN {list} AND state = '{DEAD}'{lock})");
            let values = first.iter().cloned().chain(some.iter().map(|id| (*id).into()));
            if execute(tx.conn(), operation, &sql, values.collect()).await? < some.len() as u64 {
                return Err(ChangeDeadLettersError::Gone);
            }
        }
        write_effects(&self.db, &tx, effects).await?;
        Ok(tx.commit().await?)
    }
}

fn letter_from(row: &Row) -> Result<DeadLetter, BackendError> {
    let failed_at = |column| row.time_or_none(column)?.ok_or_else(|| row.corrupt(column));
    let (code, text): (Option<String>, Option<String>) = (row.get("reason_code")?, row.get("reason")?);
    let event_type: String = row.get("letter_type")?;
    let position = row.count("position")?;
    let place = match row.get::<Option<String>>("topic")? {
        Some(topic) => Some(TopicPlace {
            topic,
            partition: row.small_count("partition")?,
            offset: position,
        }),
        None => None,
    };
    Ok(DeadLetter {
        id: DeadLetterId::new(row.get("letter_id")?),
        group: row.get("group_name")?,
        event_id: EventId::new(row.get("event_id")?),
        shard: shard_from(row)?,
        position,
        user_id: UserId::new(row.get("letter_user")?),
        event_type: EventType::of_others(&event_type).ok_or_else(|| row.corrupt("type"))?,
        origin: row.word("origin", LetterOrigin::parse)?,
        place,
        attempts: row.small_count("attempts")?,
        first_failed_at: failed_at("first_failed_at")?,
        last_failed_at: failed_at("last_failed_at")?,
        reason: FailureReason::new(&code.unwrap_or_default(), &text.unwrap_or_default()),
        redrives: row.small_count("redrives")?,
    })
}

/// The condition of a filter, its values numbered from `first`.
fn condition(filter: &DeadLetterFilter, first: usize) -> (String, Vec<Value>) {
    let (mut parts, mut values) = (vec![format!("h.state = '{DEAD}'")], Vec::new());
    let mut equal = |column: &str, value: Option<Value>| {
        if let Some(value) = value {
            parts.push(format!("h.{column} = ${}", first + values.len()));
            values.push(value);
        }
    };
    equal("group_name", filter.group.as_deref().map(Into::into));
    equal("reason_code", filter.reason.as_deref().map(Into::into));
    equal("type", filter.event_type.as_ref().map(|kind| kind.as_str().into()));
    equal("user_id", filter.user.map(|user| user.uuid().into()));
    if !filter.ids.is_empty() {
        parts.push(format!(
            "h.id IN {}",
            placeholders(first + values.len(), 1, filter.ids.len())
        ));
        values.extend(filter.ids.iter().map(|id| Value::from(id.uuid())));
    }
    (parts.join(" AND "), values)
}

/// What a step of a replay looks at: the events of the piece that the cursor has passed.
struct Piece {
    /// Events within the times, with their users.
    chosen: Vec<Chosen>,
    position: u64,
    more: bool,
}

struct Chosen {
    event_id: Uuid,
    position: i64,
    user_id: Uuid,
    kind: String,
    held: bool,
}

async fn piece(conn: &impl ConnectionTrait, step: &ReplayStep) -> Result<Piece, BackendError> {
    let shard: Value = i16::from(step.shard.number()).into();
    let sql = "SELECT position FROM cursors WHERE group_name = $1 AND shard = $2";
    let cursor = fetch_one(conn, REPLAY, sql, vec![step.group.as_str().into(), shard.clone()]).await?;
    let passed = cursor.map(|row| row.count("position")).transpose()?.unwrap_or(0);
    let to = step.to.min(passed);
    let end = step.after.saturating_add(u64::from(step.limit)).min(to);
    if end <= step.after {
        return Ok(Piece {
            chosen: Vec::new(),
            position: step.after,
            more: false,
        });
    }
    let sql = "SELECT l.position, l.event_id, l.user_id, e.type, e.time, h.event_id AS held FROM event_log l \
        JOIN events e ON e.id = l.event_id \
        LEFT JOIN held_events h ON h.group_name = $1 AND h.event_id = l.event_id \
        WHERE l.shard = $2 AND l.position > $3 AND l.position <= $4 ORDER BY l.position";
    let values = vec![
        step.group.as_str().into(),
        shard,
        bigint(REPLAY, step.after)?.into(),
        bigint(REPLAY, end)?.into(),
    ];
    let mut chosen = Vec::new();
    for row in fetch_all(conn, REPLAY, sql, values).await? {
        let time = row.time("time")?;
        if step.since.is_some_and(|since| time < since) || step.before.is_some_and(|before| time >= before) {
            continue;
        }
        chosen.push(Chosen {
            event_id: row.get("event_id")?,
            position: row.get("position")?,
            user_id: row.get("user_id")?,
            kind: row.get("type")?,
            held: row.get::<Option<Uuid>>("held")?.is_some(),
        });
    }
    Ok(Piece {
        chosen,
        position: end,
        more: end < to,
    })
}

/// Takes the marks away and holds the events.
async fn hand_again(tx: &WriteTransaction, step: &ReplayStep, chosen: &[&Chosen]) -> Result<(), BackendError> {
    let (group, at, mut ids) = (step.group.as_str(), step.at.micros(), step.ids.iter());
    for some in chosen.chunks(ROWS) {
        let sql = format!(
            "DELETE FROM inbox WHERE group_name = $1 AND event_id IN {}",
            placeholders(2, 1, some.len())
        );
        let marks = some.iter().map(|chosen| Value::from(chosen.event_id));
        execute(
            tx.conn(),
            REPLAY,
            &sql,
            std::iter::once(group.into()).chain(marks).collect(),
        )
        .await?;
        let sql = format!(
            "INSERT INTO held_events (group_name, event_id, id, shard, position, user_id, type, origin, state, attempts, \
             next_attempt_at, redrives) VALUES {} ON CONFLICT (group_name, event_id) DO NOTHING",
            placeholders(1, some.len(), 12)
        );
        let mut values: Vec<Value> = Vec::with_capacity(some.len() * 12);
        for chosen in some {
            let id = ids.next().ok_or_else(|| {
                BackendError::permanent(crate::error::ADAPTER, REPLAY, "fewer ids than events were given")
            })?;
            values.extend([
                group.into(),
                chosen.event_id.into(),
                id.uuid().into(),
                i16::from(step.shard.number()).into(),
                chosen.position.into(),
                chosen.user_id.into(),
                chosen.kind.as_str().into(),
                LetterOrigin::Log.as_str().into(),
                WAITING.into(),
                0_i32.into(),
                at.into(),
                0_i32.into(),
            ]);
        }
        execute(tx.conn(), REPLAY, &sql, values).await?;
    }
    Ok(())
}

#[async_trait]
impl DeadLetterStore for SqlDeadLetterStore {
    async fn list(&self, filter: &DeadLetterFilter, page: &PageRequest) -> Result<Page<DeadLetter>, BackendError> {
        let (mut wanted, mut values) = condition(filter, 1);
        match start(page) {
            Start::Nowhere => return Ok(empty_page()),
            Start::Beginning => {}
            Start::Beyond(id) => {
                values.push(id.into());
                wanted.push_str(&format!(" AND h.id > ${}", values.len()));
            }
        }
        values.push((i64::from(page_limit(page)) + 1).into());
        let sql = format!(
            "SELECT {LETTER_COLUMNS} FROM held_events h WHERE {wanted} ORDER BY h.id LIMIT ${}",
            values.len()
        );
        let rows = fetch_all(self.db.read(), "dead_letters.list", &sql, values).await?;
        let letters = rows.iter().map(letter_from).collect::<Result<_, BackendError>>()?;
        Ok(finish_page(letters, page, |letter: &DeadLetter| letter.id.uuid()))
    }

    async fn reasons(&self, filter: &DeadLetterFilter) -> Result<Vec<ReasonCount>, BackendError> {
        let (wanted, values) = condition(filter, 1);
        let sql = format!(
            "SELECT h.group_name, h.reason_code, count(*) AS letters, min(h.first_failed_at) AS first_at, \
             max(h.last_failed_at) AS last_at, max(h.reason) AS example FROM held_events h WHERE {wanted} \
             GROUP BY h.group_name, h.reason_code"
        );
        let rows = fetch_all(self.db.read(), "dead_letters.reasons", &sql, values).await?;
        let count = |row: &Row| {
            Ok(ReasonCount {
                group: row.get("group_name")?,
                code: row.get("reason_code")?,
                count: row.count("letters")?,
                first_at: row.time("first_at")?,
                last_at: row.time("last_at")?,
                example: row.get("example")?,
            })
        };
        let mut counts: Vec<ReasonCount> = rows.iter().map(count).collect::<Result<_, BackendError>>()?;
        counts.sort_by(|one, other| {
            let names = |count: &ReasonCount| (count.group.clone(), count.code.clone());
            other.count.cmp(&one.count).then_with(|| names(one).cmp(&names(other)))
        });
        Ok(counts)
    }

    async fn find(&self, id: DeadLetterId) -> Result<Option<(DeadLetter, LetterEvent)>, BackendError> {
        let sql = format!(
            "SELECT {LETTER_COLUMNS}, {HELD_COLUMNS}, {EVENT_COLUMNS} FROM held_events h {HELD_JOINS} \
             WHERE h.id = $1 AND h.state = '{DEAD}' AND (h.topic IS NOT NULL OR e.id IS NOT NULL)"
        );
        let row = fetch_one(self.db.read(), "dead_letters.find", &sql, vec![id.uuid().into()]).await?;
        let Some(row) = row else { return Ok(None) };
        let event = match foreign_from(&row)? {
            Some(foreign) => LetterEvent::Foreign(foreign),
            None => LetterEvent::Logged(logged_from(&row)?),
        };
        Ok(Some((letter_from(&row)?, event)))
    }

    async fn groups(&self) -> Result<Vec<String>, BackendError> {
        let sql = "SELECT DISTINCT group_name FROM cursors";
        let rows = fetch_all(self.db.read(), "dead_letters.groups", sql, vec![]).await?;
        let mut groups: Vec<String> = rows.iter().map(|row| row.get("group_name")).collect::<Result<_, _>>()?;
        groups.sort();
        Ok(groups)
    }

    async fn held(&self, group: &str) -> Result<u64, BackendError> {
        let sql = format!("SELECT count(*) AS held FROM held_events WHERE group_name = $1 AND state = '{WAITING}'");
        let row = fetch_one(self.db.read(), "dead_letters.held", &sql, vec![group.into()]).await?;
        row.map_or(Ok(0), |row| row.count("held"))
    }

    async fn redrive(
        &self,
        ids: &[DeadLetterId],
        at: Timestamp,
        effects: &Effects,
    ) -> Result<(), ChangeDeadLettersError> {
        let sql = format!(
            "UPDATE held_events SET state = '{WAITING}', attempts = 0, next_attempt_at = $1, redrives = redrives + 1"
        );
        self.change("dead_letters.redrive", &sql, vec![at.micros().into()], ids, effects)
            .await
    }

    async fn discard(&self, ids: &[DeadLetterId], effects: &Effects) -> Result<(), ChangeDeadLettersError> {
        self.change("dead_letters.discard", "DELETE FROM held_events", vec![], ids, effects)
            .await
    }

    async fn replay(&self, step: &ReplayStep, effects: &Effects) -> Result<Replayed, EffectsError> {
        let replayed = |piece: &Piece| {
            let left = piece.chosen.iter().filter(|chosen| chosen.held).count() as u64;
            Replayed {
                events: piece.chosen.len() as u64 - left,
                left,
                position: piece.position,
                more: piece.more,
            }
        };
        if step.dry_run {
            return Ok(replayed(&piece(self.db.read(), step).await?));
        }
        let tx = self.db.begin_write().await?;
        let piece = piece(tx.conn(), step).await?;
        let chosen: Vec<&Chosen> = piece.chosen.iter().filter(|chosen| !chosen.held).collect();
        hand_again(&tx, step, &chosen).await?;
        write_effects(&self.db, &tx, effects).await?;
        tx.commit().await?;
        Ok(replayed(&piece))
    }
}
