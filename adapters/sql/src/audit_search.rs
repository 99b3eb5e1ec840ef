//! Searching the audit trail: one user's events along their positions, all others along their time.
//!
//! What is asked for beyond that is looked for among a bounded number of events, so that no search reads the whole log at
//! once and no further index burdens the writers.

use std::time::Duration;

use domain::audit::AuditCursor;
use domain::event::LoggedEvent;
use domain::id::UserId;
use domain::time::Timestamp;
use ports::{AuditPage, AuditQuery, BackendError};
use sea_orm::Value;
use uuid::Uuid;

use crate::connect::Database;
use crate::log::{EVENT_COLUMNS, logged_from};
use crate::row::{Row, bigint, fetch_all, fetch_one};

const OPERATION: &str = "audit.search";

/// How many events one page looks at, when it asks for more than a user and a time.
const LOOKED_AT: u32 = 5_000;

/// Positions follow the order of commits: the time of an event may lie before that of its predecessor by a transaction's
/// length and the difference of two clocks, which this is far beyond.
const DISORDER: Duration = Duration::from_secs(3_600);

/// The longest that the events of one request come after it began.
const REQUEST: Duration = Duration::from_secs(86_400);

/// The values of a statement, numbered as they come.
#[derive(Default)]
struct Values(Vec<Value>);

impl Values {
    fn add(&mut self, value: impl Into<Value>) -> String {
        self.0.push(value.into());
        format!("${}", self.0.len())
    }
}

/// See [`ports::AuditTrail::search`].
pub(crate) async fn search(
    db: &Database,
    query: &AuditQuery,
    after: Option<AuditCursor>,
    limit: u32,
) -> Result<AuditPage, BackendError> {
    match (query.user, after) {
        (Some(user), None) => by_user(db, query, user, None, limit).await,
        (Some(user), Some(AuditCursor::Position(before))) => by_user(db, query, user, Some(before), limit).await,
        (None, None) => by_time(db, query, None, limit).await,
        (None, Some(AuditCursor::Moment(at, id))) => by_time(db, query, Some((at, id)), limit).await,
        (Some(_), Some(AuditCursor::Moment(..))) | (None, Some(AuditCursor::Position(_))) => Ok(AuditPage {
            items: Vec::new(),
            next: None,
        }),
    }
}

/// What the events themselves are asked for, beyond user and time.
fn filters(query: &AuditQuery, values: &mut Values) -> String {
    let mut text = String::new();
    if let Some(event_type) = &query.event_type {
        let given = values.add(event_type.as_str());
        if event_type.ends_with('.') {
            text.push_str(&format!(
                " AND substr(e.type, 1, {}) = {given}",
                event_type.chars().count()
            ));
        } else {
            text.push_str(&format!(" AND e.type = {given}"));
        }
    }
    if let Some(actor) = &query.actor {
        text.push_str(&format!(" AND e.actor = {}", values.add(actor.as_str())));
    }
    if let Some(impersonator) = query.impersonator {
        text.push_str(&format!(" AND e.impersonator = {}", values.add(impersonator.uuid())));
    }
    if let Some(request) = query.request {
        text.push_str(&format!(" AND e.request_id = {}", values.add(request.uuid())));
    }
    text
}

async fn by_user(
    db: &Database,
    query: &AuditQuery,
    user: UserId,
    before: Option<u64>,
    limit: u32,
) -> Result<AuditPage, BackendError> {
    let mut values = Values::default();
    let mut range = format!("l.user_id = {}", values.add(user.uuid()));
    if let Some(before) = before {
        range.push_str(&format!(" AND l.position < {}", values.add(bigint(OPERATION, before)?)));
    }
    let end = format!(
        "SELECT l.position, e.time FROM event_log l JOIN events e ON e.id = l.event_id WHERE {range} \
         ORDER BY l.position DESC LIMIT 1 OFFSET {}",
        LOOKED_AT - 1
    );
    let end = fetch_one(db.read(), OPERATION, &end, values.0.clone()).await?;
    let mut asked = filters(query, &mut values);
    for (bound, sign) in [(query.from, ">="), (query.to, "<")] {
        if let Some(bound) = bound {
            asked.push_str(&format!(" AND e.time {sign} {}", values.add(bound.micros())));
        }
    }
    let sql = format!(
        "SELECT l.shard, l.position, l.hash, {EVENT_COLUMNS} FROM (SELECT l.shard, l.position, l.hash, l.event_id \
         FROM event_log l WHERE {range} ORDER BY l.position DESC LIMIT {LOOKED_AT}) l \
         JOIN events e ON e.id = l.event_id WHERE 1 = 1{asked} ORDER BY l.position DESC LIMIT {}",
        limit + 1
    );
    let found = read(db, &sql, values.0).await?;
    let end = end
        .map(|row| Ok::<_, BackendError>((row.count("position")?, row.time("time")?)))
        .transpose()?
        .filter(|(_, time)| query.from.is_none_or(|from| *time >= from.minus(DISORDER)))
        .map(|(position, _)| AuditCursor::Position(position));
    Ok(page(found, limit, end, |last| AuditCursor::Position(last.position)))
}

async fn by_time(
    db: &Database,
    query: &AuditQuery,
    before: Option<(Timestamp, Uuid)>,
    limit: u32,
) -> Result<AuditPage, BackendError> {
    let mut values = Values::default();
    let mut range = String::from("1 = 1");
    let (began, ended) = request_span(query);
    for (bound, sign) in [(query.from, ">="), (began, ">="), (query.to, "<"), (ended, "<")] {
        if let Some(bound) = bound {
            range.push_str(&format!(" AND e.time {sign} {}", values.add(bound.micros())));
        }
    }
    if let Some((at, id)) = before {
        let (at, id) = (values.add(at.micros()), values.add(id));
        range.push_str(&format!(" AND e.time <= {at} AND (e.time < {at} OR e.id < {id})"));
    }
    let order = "ORDER BY e.time DESC, e.id DESC";
    let end = format!(
        "SELECT e.time, e.id FROM events e WHERE {range} {order} LIMIT 1 OFFSET {}",
        LOOKED_AT - 1
    );
    let end = fetch_one(db.read(), OPERATION, &end, values.0.clone()).await?;
    let asked = filters(query, &mut values);
    let sql = format!(
        "SELECT l.shard, l.position, l.hash, {EVENT_COLUMNS} FROM (SELECT * FROM events e WHERE {range} {order} \
         LIMIT {LOOKED_AT}) e JOIN event_log l ON l.event_id = e.id WHERE 1 = 1{asked} {order} LIMIT {}",
        limit + 1
    );
    let found = read(db, &sql, values.0).await?;
    let end = end
        .map(|row| Ok::<_, BackendError>(AuditCursor::Moment(row.time("time")?, row.get("id")?)))
        .transpose()?;
    Ok(page(found, limit, end, |last| {
        AuditCursor::Moment(last.event.time, last.event.id.uuid())
    }))
}

/// When the events of a request can have happened: its id tells when it began.
fn request_span(query: &AuditQuery) -> (Option<Timestamp>, Option<Timestamp>) {
    let stamp = query.request.and_then(|id| id.uuid().get_timestamp());
    let began = stamp.and_then(|stamp| i64::try_from(stamp.to_unix().0).ok());
    let began = began.map(Timestamp::from_seconds);
    (
        began.map(|began| began.minus(DISORDER)),
        began.map(|began| began.plus(REQUEST)),
    )
}

async fn read(db: &Database, sql: &str, values: Vec<Value>) -> Result<Vec<LoggedEvent>, BackendError> {
    let rows: Vec<Row> = fetch_all(db.read(), OPERATION, sql, values).await?;
    rows.iter().map(logged_from).collect()
}

/// One item too many tells of a next page after the last; otherwise there is one if more events are to be looked at.
fn page(
    mut found: Vec<LoggedEvent>,
    limit: u32,
    end: Option<AuditCursor>,
    cursor: impl Fn(&LoggedEvent) -> AuditCursor,
) -> AuditPage {
    let limit = limit as usize;
    let next = if found.len() > limit {
        found.truncate(limit);
        found.last().map(cursor)
    } else {
        end
    };
    AuditPage { items: found, next }
}
