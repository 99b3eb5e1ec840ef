//! Writes events: into their table, and into the narrow table from which the sequencer takes its work.

use std::collections::HashMap;

use domain::event::Event;
use domain::id::EventId;
use ports::{BackendError, EffectsError};
use sea_orm::sea_query::ArrayType;
use sea_orm::{ConnectionTrait, DbErr, Value};
use uuid::Uuid;

use crate::connect::Dialect;
use crate::error::{backend, corrupt};
use crate::log::{EVENT_COLUMNS, event_from};
use crate::row::{blanks, execute, fetch_all, placeholders, try_execute};

const OPERATION: &str = "events.insert";

/// Rows of one statement on SQLite: few distinct texts, so that prepared ones are met again, and few pieces for any
/// number of rows, since each is handed to the thread of the connection and back.
const WIDTHS: [usize; 7] = [64, 32, 16, 8, 4, 2, 1];

/// An SQLite row of `events`.
const COLUMNS: usize = 14;

/// Inserts events in their order, within a transaction of the caller's.
///
/// An event that is there with the same content is left as it is and counts as written.
///
/// # Errors
/// [`EffectsError::EventIdTaken`] when an id is there with other content; the transaction must then be dropped.
pub(crate) async fn insert_events(
    conn: &impl ConnectionTrait,
    dialect: Dialect,
    events: &[Event],
) -> Result<(), EffectsError> {
    match dialect {
        Dialect::Sqlite => insert_sqlite(conn, events).await,
        Dialect::Postgres => insert_postgres(conn, events).await,
    }
}

/// Inserts events that nobody has written before, on PostgreSQL in one statement; fails whole when an id is there.
pub(crate) async fn insert_new_events(
    conn: &impl ConnectionTrait,
    dialect: Dialect,
    events: &[&Event],
) -> Result<(), DbErr> {
    match dialect {
        Dialect::Sqlite => insert_new_sqlite(conn, events).await,
        Dialect::Postgres => try_execute(conn, POSTGRES_NEW, postgres_values(events)).await.map(drop),
    }
}

/// Which of the events are still to be written, given those known under the ids that publishers chose.
///
/// What is accepted becomes known, so that the same set serves several callers of one transaction.
pub(crate) fn fresh<'e>(known: &mut HashMap<EventId, Event>, events: &'e [Event]) -> Result<Vec<&'e Event>, EventId> {
    let (mut fresh, mut own): (Vec<&Event>, HashMap<EventId, &Event>) =
        (Vec::with_capacity(events.len()), HashMap::new());
    for event in events {
        match known.get(&event.id).or_else(|| own.get(&event.id).copied()) {
            Some(earlier) if earlier.same_content(event) => {}
            Some(_) => return Err(event.id),
            None => {
                own.insert(event.id, event);
                fresh.push(event);
            }
        }
    }
    known.extend(
        fresh
            .iter()
            .filter(|event| event.client_id)
            .map(|event| (event.id, (*event).clone())),
    );
    Ok(fresh)
}

/// The events that are there under the ids that publishers chose.
pub(crate) async fn known_events<'e>(
    conn: &impl ConnectionTrait,
    events: impl Iterator<Item = &'e Event>,
) -> Result<HashMap<EventId, Event>, BackendError> {
    let ids: Vec<Uuid> = events
        .filter(|event| event.client_id)
        .map(|event| event.id.uuid())
        .collect();
    let mut known = HashMap::with_capacity(ids.len());
    for some in in_widths(&ids) {
        let sql = format!(
            "SELECT {EVENT_COLUMNS} FROM events e WHERE e.id IN {}",
            placeholders(1, 1, some.len())
        );
        for row in fetch_all(conn, OPERATION, &sql, some.iter().map(|id| (*id).into()).collect()).await? {
            let event = event_from(&row)?;
            known.insert(event.id, event);
        }
    }
    Ok(known)
}

/// SQLite has one writer, which this is: what is there is known before, and nothing comes between.
async fn insert_sqlite(conn: &impl ConnectionTrait, events: &[Event]) -> Result<(), EffectsError> {
    let mut known = known_events(conn, events.iter()).await?;
    let fresh = fresh(&mut known, events).map_err(EffectsError::EventIdTaken)?;
    insert_new_sqlite(conn, &fresh)
        .await
        .map_err(|error| backend(OPERATION, error))?;
    Ok(())
}

/// Both tables in one call of the driver: every call wakes another thread and is waited for.
async fn insert_new_sqlite(conn: &impl ConnectionTrait, events: &[&Event]) -> Result<(), DbErr> {
    for some in in_widths(events) {
        let sql = format!(
            "INSERT INTO events (id, shard, user_id, type, subject, time, data, salt, digest, actor, impersonator, request_id, \
             client_id, schema_version) VALUES {}; INSERT INTO event_pending (event_id, shard) VALUES {}",
            blanks(some.len(), COLUMNS),
            blanks(some.len(), 2)
        );
        let waiting = some
            .iter()
            .flat_map(|event| [event.id.uuid().into(), shard(event).into()]);
        let values = some.iter().flat_map(|event| sqlite_values(event)).chain(waiting);
        try_execute(conn, &sql, values.collect()).await?;
    }
    Ok(())
}

fn sqlite_values(event: &Event) -> [Value; COLUMNS] {
    [
        event.id.uuid().into(),
        shard(event).into(),
        event.user_id.uuid().into(),
        event.event_type.as_str().into(),
        event.subject.clone().into(),
        event.time.micros().into(),
        event.data.clone().into(),
        event.salt.map(|salt| salt.to_vec()).into(),
        event.digest.to_vec().into(),
        event.actor.as_text().into(),
        event.impersonator.map(|id| id.uuid()).into(),
        event.request_id.map(|id| id.uuid()).into(),
        event.client_id.into(),
        stored_version(event).into(),
    ]
}

/// Versions are counted from 1 and refused long before they leave the column.
fn stored_version(event: &Event) -> Option<i32> {
    event.schema_version.and_then(|version| i32::try_from(version).ok())
}

fn shard(event: &Event) -> i16 {
    i16::from(event.shard().number())
}

/// Cuts a slice into pieces of the [`WIDTHS`], in order.
pub(crate) fn in_widths<T>(mut rest: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let width = WIDTHS.into_iter().find(|width| *width <= rest.len())?;
        let (piece, after) = rest.split_at(width);
        rest = after;
        Some(piece)
    })
}

/// The events as one row each, with their number in the call. Arrays cannot hold nulls here, so `has` tells what is there.
macro_rules! given {
    () => {
        "WITH given AS (SELECT * FROM unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::text[], $5::text[], $6::bigint[], \
         $7::text[], $8::bytea[], $9::bytea[], $10::text[], $11::uuid[], $12::uuid[], $13::smallint[], $14::int[]) WITH ORDINALITY \
         AS g(id, shard, user_id, type, subject, time, data, salt, digest, actor, impersonator, request_id, has, schema_version, number)), \
         written AS (INSERT INTO events (id, shard, user_id, type, subject, time, data, salt, digest, actor, impersonator, \
         request_id, client_id, schema_version) SELECT id, shard, user_id, type, CASE WHEN has & 1 <> 0 THEN subject END, time, \
         CASE WHEN has & 2 <> 0 THEN data END, CASE WHEN has & 4 <> 0 THEN salt END, digest, actor, \
         CASE WHEN has & 8 <> 0 THEN impersonator END, CASE WHEN has & 16 <> 0 THEN request_id END, has & 32 <> 0, \
         NULLIF(schema_version, 0) \
         FROM given ORDER BY id "
    };
}

const HAS_SUBJECT: i16 = 1;
const HAS_DATA: i16 = 2;
const HAS_SALT: i16 = 4;
const HAS_IMPERSONATOR: i16 = 8;
const HAS_REQUEST: i16 = 16;
const CLIENT_ID: i16 = 32;

/// One statement, so that it commits by itself in one round trip. The order of the ids, the same for all, keeps writers of the same ids from waiting
/// for each other in a circle; the numbers of the work table follow the order of the call.
const POSTGRES_NEW: &str = concat!(
    given!(),
    "RETURNING id) INSERT INTO event_pending (event_id, shard) SELECT id, shard FROM given ORDER BY number"
);

const POSTGRES_MISSING: &str = concat!(
    given!(),
    "ON CONFLICT (id) DO NOTHING RETURNING id) INSERT INTO event_pending (event_id, shard) \
     SELECT given.id, given.shard FROM given JOIN written ON written.id = given.id ORDER BY given.number"
);

async fn insert_postgres(conn: &impl ConnectionTrait, events: &[Event]) -> Result<(), EffectsError> {
    // An id may come twice in one call.
    let mut known = HashMap::new();
    let distinct = fresh(&mut known, events).map_err(EffectsError::EventIdTaken)?;
    let written = execute(conn, OPERATION, POSTGRES_MISSING, postgres_values(&distinct)).await?;
    if written == distinct.len() as u64 {
        return Ok(());
    }
    // Some were there. The statement waited for whoever was writing them, and the next one sees what was committed.
    let ids = array(ArrayType::Uuid, distinct.iter().map(|event| event.id.uuid().into()));
    let sql = format!("SELECT {EVENT_COLUMNS} FROM events e WHERE e.id = ANY($1::uuid[])");
    let mut there = HashMap::with_capacity(distinct.len());
    for row in fetch_all(conn, OPERATION, &sql, vec![ids]).await? {
        let event = event_from(&row)?;
        there.insert(event.id, event);
    }
    for event in distinct {
        match there.get(&event.id) {
            Some(stored) if stored.same_content(event) => {}
            Some(_) => return Err(EffectsError::EventIdTaken(event.id)),
            None => return Err(corrupt(OPERATION, "id").into()),
        }
    }
    Ok(())
}

fn postgres_values(events: &[&Event]) -> Vec<Value> {
    fn column(events: &[&Event], kind: ArrayType, value: impl Fn(&Event) -> Value) -> Value {
        array(kind, events.iter().map(|event| value(event)))
    }
    let text = |text: &Option<String>| Value::from(text.clone().unwrap_or_default());
    vec![
        column(events, ArrayType::Uuid, |event| event.id.uuid().into()),
        column(events, ArrayType::SmallInt, |event| shard(event).into()),
        column(events, ArrayType::Uuid, |event| event.user_id.uuid().into()),
        column(events, ArrayType::String, |event| event.event_type.as_str().into()),
        column(events, ArrayType::String, |event| text(&event.subject)),
        column(events, ArrayType::BigInt, |event| event.time.micros().into()),
        column(events, ArrayType::String, |event| text(&event.data)),
        column(events, ArrayType::Bytes, |event| {
            event.salt.map(|salt| salt.to_vec()).unwrap_or_default().into()
        }),
        column(events, ArrayType::Bytes, |event| event.digest.to_vec().into()),
        column(events, ArrayType::String, |event| event.actor.as_text().into()),
        column(events, ArrayType::Uuid, |event| {
            event.impersonator.map(|id| id.uuid()).unwrap_or_default().into()
        }),
        column(events, ArrayType::Uuid, |event| {
            event.request_id.map(|id| id.uuid()).unwrap_or_default().into()
        }),
        column(events, ArrayType::SmallInt, |event| has(event).into()),
        column(events, ArrayType::Int, |event| {
            stored_version(event).unwrap_or_default().into()
        }),
    ]
}

fn has(event: &Event) -> i16 {
    let flags = [
        (event.subject.is_some(), HAS_SUBJECT),
        (event.data.is_some(), HAS_DATA),
        (event.salt.is_some(), HAS_SALT),
        (event.impersonator.is_some(), HAS_IMPERSONATOR),
        (event.request_id.is_some(), HAS_REQUEST),
        (event.client_id, CLIENT_ID),
    ];
    flags
        .into_iter()
        .filter(|(there, _)| *there)
        .map(|(_, flag)| flag)
        .sum()
}

/// A PostgreSQL array: one parameter for a column of any length, so that one prepared statement serves every batch.
pub(crate) fn array(kind: ArrayType, values: impl Iterator<Item = Value>) -> Value {
    Value::Array(kind, Some(Box::new(values.collect())))
}

#[cfg(test)]
mod tests {
    use domain::event::{Actor, NewEvent};
    use domain::id::UserId;
    use domain::time::Timestamp;

    use super::*;

    fn event(id: u128, data: &str, client_id: bool) -> Event {
        Event::new(NewEvent {
            id: EventId::new(Uuid::from_u128(id)),
            user_id: UserId::SYSTEM,
            event_type: "app.tested".parse().expect("a type"),
            subject: None,
            time: Timestamp::from_seconds(1),
            data: data.to_owned(),
            salt: [0; 16],
            actor: Actor::System,
            impersonator: None,
            request_id: None,
            client_id,
        })
    }

    #[test]
    fn widths_cover_every_length_in_order() {
        for length in [0, 1, 3, 4, 17, 64, 157, 1_000] {
            let all: Vec<usize> = (0..length).collect();
            let pieces: Vec<&[usize]> = in_widths(&all).collect();
            assert_eq!(pieces.concat(), all);
            assert!(pieces.iter().all(|piece| WIDTHS.contains(&piece.len())));
        }
    }

    #[test]
    fn what_is_known_with_the_same_content_is_not_fresh() {
        let (there, new) = (event(1, "{}", true), event(2, "{}", false));
        let mut known = HashMap::from([(there.id, there.clone())]);
        let call = [there.clone(), new.clone()];
        assert_eq!(fresh(&mut known, &call).expect("fits"), [&new]);
        assert_eq!(fresh(&mut known, &[event(1, "{\"a\":1}", true)]), Err(there.id));
    }

    #[test]
    fn what_one_caller_writes_the_next_one_knows() {
        let mut known = HashMap::new();
        let first = [event(1, "{}", true), event(1, "{}", true)];
        assert_eq!(fresh(&mut known, &first).expect("fits").len(), 1);
        assert_eq!(fresh(&mut known, &first).expect("fits").len(), 0);
        assert_eq!(fresh(&mut known, &[event(1, "[]", true)]), Err(first[0].id));
    }

    #[test]
    fn a_refused_caller_leaves_nothing_known() {
        let taken = event(1, "{}", true);
        let mut known = HashMap::from([(taken.id, taken.clone())]);
        assert_eq!(
            fresh(&mut known, &[event(2, "{}", true), event(1, "[]", true)]),
            Err(taken.id)
        );
        assert_eq!(known.len(), 1);
    }
}
