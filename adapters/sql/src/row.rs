//! Statements and rows: the few helpers that every table needs.

use std::str::FromStr;
use std::time::Duration;

use domain::page::{Page, PageRequest};
use domain::time::Timestamp;
use ports::BackendError;
use sea_orm::error::ConnAcquireErr;
use sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement, TryGetable, Value};
use uuid::Uuid;

use crate::connect::{Dialect, WriteTransaction};
use crate::error::{ADAPTER, backend, corrupt};

/// The server itself ends a statement sooner (see the connection's timeouts): beyond this it is frozen, or the network to it is gone, and the caller must not hang with it.
const PATIENCE: Duration = Duration::from_secs(8);

/// Waits for an answer of the database, but not for ever. A connection that was left amid an answer is closed or brought back by the pool before anybody else gets it.
pub(crate) async fn bounded<T>(answer: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
    let timed_out = |_| Err(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout));
    tokio::time::timeout(PATIENCE, answer).await.unwrap_or_else(timed_out)
}

/// Runs a statement and gives how many rows it touched.
pub(crate) async fn execute(
    conn: &impl ConnectionTrait,
    operation: &'static str,
    sql: &str,
    values: Vec<Value>,
) -> Result<u64, BackendError> {
    try_execute(conn, sql, values)
        .await
        .map_err(|error| backend(operation, error))
}

/// As [`execute`], for callers that look at the error.
pub(crate) async fn try_execute(conn: &impl ConnectionTrait, sql: &str, values: Vec<Value>) -> Result<u64, DbErr> {
    let statement = Statement::from_sql_and_values(conn.get_database_backend(), sql, values);
    Ok(bounded(conn.execute_raw(statement)).await?.rows_affected())
}

/// The first row, if there is one.
pub(crate) async fn fetch_one(
    conn: &impl ConnectionTrait,
    operation: &'static str,
    sql: &str,
    values: Vec<Value>,
) -> Result<Option<Row>, BackendError> {
    let statement = Statement::from_sql_and_values(conn.get_database_backend(), sql, values);
    let row = bounded(conn.query_one_raw(statement))
        .await
        .map_err(|error| backend(operation, error))?;
    Ok(row.map(|inner| Row { inner, operation }))
}

/// All rows.
pub(crate) async fn fetch_all(
    conn: &impl ConnectionTrait,
    operation: &'static str,
    sql: &str,
    values: Vec<Value>,
) -> Result<Vec<Row>, BackendError> {
    let statement = Statement::from_sql_and_values(conn.get_database_backend(), sql, values);
    let rows = bounded(conn.query_all_raw(statement))
        .await
        .map_err(|error| backend(operation, error))?;
    Ok(rows.into_iter().map(|inner| Row { inner, operation }).collect())
}

/// A row with the name of the operation that read it.
#[derive(Debug)]
pub(crate) struct Row {
    inner: QueryResult,
    operation: &'static str,
}

impl Row {
    /// The column as the driver gives it. On PostgreSQL the integer must be as wide as the column.
    pub(crate) fn get<T: TryGetable>(&self, column: &str) -> Result<T, BackendError> {
        self.inner
            .try_get("", column)
            .map_err(|error| backend(self.operation, error))
    }

    /// The column of that number: for reads of so many rows that looking up names would be felt.
    pub(crate) fn at<T: TryGetable>(&self, index: usize) -> Result<T, BackendError> {
        self.inner
            .try_get_by_index(index)
            .map_err(|error| backend(self.operation, error))
    }

    /// A time.
    pub(crate) fn time(&self, column: &str) -> Result<Timestamp, BackendError> {
        self.get(column).map(Timestamp::from_micros)
    }

    /// A time that may be missing.
    pub(crate) fn time_or_none(&self, column: &str) -> Result<Option<Timestamp>, BackendError> {
        Ok(self.get::<Option<i64>>(column)?.map(Timestamp::from_micros))
    }

    /// A `bigint` that is never negative.
    pub(crate) fn count(&self, column: &str) -> Result<u64, BackendError> {
        u64::try_from(self.get::<i64>(column)?).map_err(|_| self.corrupt(column))
    }

    /// An `int` that is never negative.
    pub(crate) fn small_count(&self, column: &str) -> Result<u32, BackendError> {
        u32::try_from(self.get::<i32>(column)?).map_err(|_| self.corrupt(column))
    }

    /// An `int` that is never negative, or nothing.
    pub(crate) fn small_count_or_none(&self, column: &str) -> Result<Option<u32>, BackendError> {
        let count = self.get::<Option<i32>>(column)?.map(u32::try_from);
        count.transpose().map_err(|_| self.corrupt(column))
    }

    /// Bytes of a fixed length.
    pub(crate) fn bytes<const N: usize>(&self, column: &str) -> Result<[u8; N], BackendError> {
        self.get::<Vec<u8>>(column)?
            .try_into()
            .map_err(|_| self.corrupt(column))
    }

    /// A text that parses.
    pub(crate) fn parse<T: FromStr>(&self, column: &str) -> Result<T, BackendError> {
        self.get::<String>(column)?.parse().map_err(|_| self.corrupt(column))
    }

    /// A text that parses, or nothing.
    pub(crate) fn parse_or_none<T: FromStr>(&self, column: &str) -> Result<Option<T>, BackendError> {
        self.get::<Option<String>>(column)?
            .map(|text| text.parse())
            .transpose()
            .map_err(|_| self.corrupt(column))
    }

    /// A word of a closed vocabulary.
    pub(crate) fn word<T>(&self, column: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, BackendError> {
        parse(&self.get::<String>(column)?).ok_or_else(|| self.corrupt(column))
    }

    /// Says that a column holds what we never wrote.
    pub(crate) fn corrupt(&self, column: &str) -> BackendError {
        corrupt(self.operation, column)
    }
}

/// A count for a `bigint` column.
pub(crate) fn bigint(operation: &'static str, count: u64) -> Result<i64, BackendError> {
    i64::try_from(count).map_err(|_| BackendError::permanent(ADAPTER, operation, "a count is beyond 63 bits"))
}

/// A count for an `int` column.
pub(crate) fn int(operation: &'static str, count: u32) -> Result<i32, BackendError> {
    i32::try_from(count).map_err(|_| BackendError::permanent(ADAPTER, operation, "a count is beyond 31 bits"))
}

/// `($1, $2), ($3, $4)` for so many rows and columns, counted from `first`.
pub(crate) fn placeholders(first: usize, rows: usize, columns: usize) -> String {
    let mut text = String::with_capacity(rows * columns * 5);
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { "), (" });
        for column in 0..columns {
            if column > 0 {
                text.push_str(", ");
            }
            text.push('$');
            text.push_str(&(first + row * columns + column).to_string());
        }
    }
    text.push(')');
    text
}

/// `(?, ?), (?, ?)` for so many rows and columns, on SQLite: it finds the name of a numbered parameter by looking
/// through all before it, and the driver asks for each.
pub(crate) fn blanks(rows: usize, columns: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(", "));
    vec![row.as_str(); rows].join(", ")
}

/// Holds everybody else who asks for the same kind and key until the transaction ends. SQLite has one writer: there it holds already.
pub(crate) async fn hold(tx: &WriteTransaction, kind: Hold, key: &str) -> Result<(), BackendError> {
    if tx.dialect() == Dialect::Postgres {
        let sql = "SELECT pg_advisory_xact_lock($1, hashtext($2))";
        fetch_one(tx.conn(), "hold", sql, vec![(kind as i32).into(), key.into()]).await?;
    }
    Ok(())
}

/// Ends the subselect of a statement that removes what is over: what another process removes just now is left to it, so that two never wait for each other in a circle.
pub(crate) fn skip_locked(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => " FOR UPDATE SKIP LOCKED",
        Dialect::Sqlite => "",
    }
}

/// What [`hold`] serialises. The numbers are the first half of PostgreSQL's advisory key; the migration lock uses another form.
#[derive(Debug, Clone, Copy)]
#[repr(i32)]
pub(crate) enum Hold {
    /// The set of enabled administrators.
    Administrators = 1,
    /// The registrations of one address.
    Registrations = 2,
    /// The bounds of one recipient and template.
    MailBounds = 3,
    /// The set of signing keys.
    SigningKeys = 4,
    /// The webhooks of one owner.
    Webhooks = 9,
}

/// Where a page begins, in a list ordered by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// At the beginning.
    Beginning,
    /// After (or before, in lists that run backwards) that id.
    Beyond(Uuid),
    /// Nowhere: the cursor is none of ours, and what follows it is an empty page.
    Nowhere,
}

/// Reads a page's cursor.
pub(crate) fn start(page: &PageRequest) -> Start {
    match page.after.as_deref().map(Uuid::try_parse) {
        None => Start::Beginning,
        Some(Ok(id)) => Start::Beyond(id),
        Some(Err(_)) => Start::Nowhere,
    }
}

/// The items that one page may hold.
pub(crate) fn page_limit(page: &PageRequest) -> u32 {
    page.limit.clamp(1, PageRequest::MAX_LIMIT)
}

/// Makes a page of up to one item more than it may hold: the surplus tells that there is a next one.
pub(crate) fn finish_page<T>(mut items: Vec<T>, page: &PageRequest, id: impl Fn(&T) -> Uuid) -> Page<T> {
    let limit = page_limit(page) as usize;
    let more = items.len() > limit;
    items.truncate(limit);
    let next = if more {
        items.last().map(|item| id(item).to_string())
    } else {
        None
    };
    Page { items, next }
}

/// A page without items.
pub(crate) fn empty_page<T>() -> Page<T> {
    Page {
        items: Vec::new(),
        next: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_count_through_rows() {
        assert_eq!(placeholders(1, 2, 2), "($1, $2), ($3, $4)");
        assert_eq!(placeholders(5, 1, 3), "($5, $6, $7)");
        assert_eq!(blanks(2, 2), "(?, ?), (?, ?)");
    }

    #[test]
    fn a_surplus_item_tells_of_a_next_page() {
        let ids: Vec<Uuid> = (1..=3).map(Uuid::from_u128).collect();
        let two = PageRequest { after: None, limit: 2 };
        let page = finish_page(ids.clone(), &two, |id| *id);
        assert_eq!((page.items.len(), page.next), (2, Some(ids[1].to_string())));
        let three = PageRequest { after: None, limit: 3 };
        assert_eq!(finish_page(ids, &three, |id| *id).next, None);
    }

    #[test]
    fn a_foreign_cursor_leads_nowhere() {
        assert_eq!(
            start(&PageRequest {
                after: Some("'; --".to_owned()),
                limit: 1
            }),
            Start::Nowhere
        );
    }
}
