//! Events as users write and read them.

use std::collections::HashMap;

use async_trait::async_trait;
use domain::event::{Event, LoggedEvent};
use domain::id::{EventId, UserId};
use ports::{BackendError, Effects, EffectsError, EventStore};

use crate::connect::{Database, Dialect};
use crate::effects::{is_empty, write_effects};
use crate::error::{backend, unique_violation};
use crate::event_insert::{fresh, insert_events, insert_new_events, known_events};
use crate::gather::Gather;
use crate::log::{EVENT_COLUMNS, logged_from};
use crate::row::{bigint, fetch_all, fetch_one};

const OPERATION: &str = "events.append";

/// Calls that go into one flush.
const MOST_CALLS: usize = 64;

/// A call with more events, or with a longer payload in all, goes by itself: it would only make others wait.
const MOST_EVENTS: usize = 16;
const MOST_BYTES: usize = 64 * 1_024;

/// Flushes under way at once. Two keep PostgreSQL busy while one of them waits for its disk; SQLite has one writer.
const POSTGRES_FLUSHES: usize = 2;

type Answer = Result<(), EffectsError>;

/// [`EventStore`] on SQL. Calls that carry events alone are gathered: on PostgreSQL into one statement, on SQLite into one transaction.
#[derive(Debug)]
pub struct SqlEventStore {
    db: Database,
    gather: Gather<Vec<Event>, Answer>,
}

impl SqlEventStore {
    /// Writes into and reads from this database. Clones of the database share nothing of the gathering: one store per process is meant.
    pub fn new(db: &Database) -> Self {
        let flushes = match db.dialect() {
            Dialect::Sqlite => 1,
            Dialect::Postgres => POSTGRES_FLUSHES,
        };
        let flushing = db.clone();
        let gather = Gather::new(MOST_CALLS, flushes, move |calls| flush(flushing.clone(), calls));
        Self { db: db.clone(), gather }
    }

    async fn append_with_effects(&self, effects: &Effects) -> Answer {
        let tx = self.db.begin_write().await?;
        write_effects(&self.db, &tx, effects).await?;
        Ok(tx.commit().await?)
    }
}

fn has_only_events(effects: &Effects) -> bool {
    let Effects {
        events: _,
        mails,
        decoy_mails,
        tokens,
        revocations,
        answer,
        inbox,
    } = effects;
    mails.is_empty()
        && decoy_mails.is_empty()
        && tokens.is_empty()
        && revocations.is_empty()
        && answer.is_none()
        && inbox.is_none()
}

/// On PostgreSQL a chosen id that is there already would fail the whole statement, and so hold up all who were gathered with it.
fn may_be_gathered(dialect: Dialect, events: &[Event]) -> bool {
    let bytes: usize = events
        .iter()
        .filter_map(|event| event.data.as_ref())
        .map(String::len)
        .sum();
    let chosen = dialect == Dialect::Postgres && events.iter().any(|event| event.client_id);
    events.len() <= MOST_EVENTS && bytes <= MOST_BYTES && !chosen
}

async fn flush(db: Database, calls: Vec<Vec<Event>>) -> Vec<Answer> {
    if let [call] = calls.as_slice() {
        return vec![append_one(&db, call).await];
    }
    let together = match db.dialect() {
        Dialect::Sqlite => flush_sqlite(&db, &calls).await,
        Dialect::Postgres => flush_postgres(&db, &calls).await,
    };
    match together {
        Ok(answers) => answers,
        // What may pass is told to each; singly they would only fail one after the other.
        Err(error) if error.temporary => calls.iter().map(|_| Err(error.again().into())).collect(),
        Err(_) => {
            let mut answers = Vec::with_capacity(calls.len());
            for call in &calls {
                answers.push(append_one(&db, call).await);
            }
            answers
        }
    }
}

async fn flush_postgres(db: &Database, calls: &[Vec<Event>]) -> Result<Vec<Answer>, BackendError> {
    let all: Vec<&Event> = calls.iter().flatten().collect();
    insert_new_events(db.writer(), db.dialect(), &all)
        .await
        .map_err(|error| backend(OPERATION, error))?;
    Ok(calls.iter().map(|_| Ok(())).collect())
}

/// One transaction for all; who brings an id that is taken is refused without holding up the others.
async fn flush_sqlite(db: &Database, calls: &[Vec<Event>]) -> Result<Vec<Answer>, BackendError> {
    let tx = db.begin_write().await?;
    let mut known: HashMap<EventId, Event> = known_events(tx.conn(), calls.iter().flatten()).await?;
    let (mut all, mut answers) = (Vec::new(), Vec::with_capacity(calls.len()));
    for call in calls {
        match fresh(&mut known, call) {
            Ok(fresh) => {
                all.extend(fresh);
                answers.push(Ok(()));
            }
            Err(id) => answers.push(Err(EffectsError::EventIdTaken(id))),
        }
    }
    insert_new_events(tx.conn(), db.dialect(), &all)
        .await
        .map_err(|error| backend(OPERATION, error))?;
    tx.commit().await?;
    Ok(answers)
}

/// One call by itself. On PostgreSQL one statement that commits alone, when no id is there already.
async fn append_one(db: &Database, events: &[Event]) -> Answer {
    if db.dialect() == Dialect::Postgres {
        let all: Vec<&Event> = events.iter().collect();
        match insert_new_events(db.writer(), db.dialect(), &all).await {
            Ok(()) => return Ok(()),
            Err(error) if unique_violation(&error).is_some() => {}
            Err(error) => return Err(backend(OPERATION, error).into()),
        }
    }
    let tx = db.begin_write().await?;
    insert_events(tx.conn(), db.dialect(), events).await?;
    Ok(tx.commit().await?)
}

#[async_trait]
impl EventStore for SqlEventStore {
    async fn append(&self, effects: &Effects) -> Answer {
        if is_empty(effects) {
            return Ok(());
        }
        if !has_only_events(effects) {
            return self.append_with_effects(effects).await;
        }
        if may_be_gathered(self.db.dialect(), &effects.events) {
            return self.gather.call(effects.events.clone()).await?;
        }
        append_one(&self.db, &effects.events).await
    }

    async fn history(&self, user: UserId, after: u64, limit: u32) -> Result<Vec<LoggedEvent>, BackendError> {
        let operation = "events.history";
        let sql = format!(
            "SELECT l.shard, l.position, l.hash, {EVENT_COLUMNS} FROM event_log l JOIN events e ON e.id = l.event_id \
             WHERE l.user_id = $1 AND l.position > $2 ORDER BY l.position LIMIT $3"
        );
        let values = vec![
            user.uuid().into(),
            bigint(operation, after)?.into(),
            i64::from(limit).into(),
        ];
        fetch_all(self.db.read(), operation, &sql, values)
            .await?
            .iter()
            .map(logged_from)
            .collect()
    }

    async fn find(&self, user: UserId, id: EventId) -> Result<Option<LoggedEvent>, BackendError> {
        let sql = format!(
            "SELECT l.shard, l.position, l.hash, {EVENT_COLUMNS} FROM event_log l JOIN events e ON e.id = l.event_id \
             WHERE l.event_id = $1 AND l.user_id = $2"
        );
        let values = vec![id.uuid().into(), user.uuid().into()];
        fetch_one(self.db.read(), "events.find", &sql, values)
            .await?
            .as_ref()
            .map(logged_from)
            .transpose()
    }
}
