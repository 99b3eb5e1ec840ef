//! Reads by id: what concurrent callers ask for becomes one statement.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use ports::BackendError;
use sea_orm::Value;
use uuid::Uuid;

use crate::connect::{Database, Dialect};
use crate::gather::Gather;
use crate::row::{Row, fetch_all, placeholders};

/// The ids of one statement, in one of few widths, so that each stays prepared.
const WIDTHS: [usize; 4] = [1, 4, 16, 32];

/// How many such statements run at once. The fewer, the more ids each has; a second keeps PostgreSQL busy while the
/// answer of the first is taken apart, where SQLite would only contend for the same cores.
const SQLITE_FLUSHES: usize = 1;
const POSTGRES_FLUSHES: usize = 2;

/// How the rows of a table are read.
pub(crate) struct Table<T> {
    /// The name of the operation in errors.
    pub(crate) operation: &'static str,
    /// `SELECT ... FROM ...`; the column `id` is the key.
    pub(crate) select: String,
    pub(crate) read: fn(&Row) -> Result<T, BackendError>,
    pub(crate) id: fn(&T) -> Uuid,
}

/// Finds rows of one table by their id.
pub(crate) struct ById<T> {
    reads: Gather<Uuid, Result<Option<T>, BackendError>>,
}

impl<T> fmt::Debug for ById<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ById").finish_non_exhaustive()
    }
}

impl<T: Clone + Send + 'static> ById<T> {
    pub(crate) fn new(db: &Database, table: Table<T>) -> Self {
        let flushes = match db.dialect() {
            Dialect::Sqlite => SQLITE_FLUSHES,
            Dialect::Postgres => POSTGRES_FLUSHES,
        };
        let (db, table) = (db.clone(), Arc::new(table));
        let reads = Gather::new(WIDTHS[WIDTHS.len() - 1], flushes, move |ids| {
            find_many(db.clone(), Arc::clone(&table), ids)
        });
        Self { reads }
    }

    /// The row with this id, if there is one.
    pub(crate) async fn find(&self, id: Uuid) -> Result<Option<T>, BackendError> {
        self.reads.call(id).await?
    }
}

async fn find_many<T: Clone>(
    db: Database,
    table: Arc<Table<T>>,
    ids: Vec<Uuid>,
) -> Vec<Result<Option<T>, BackendError>> {
    match read_many(&db, &table, &ids).await {
        Ok(found) => ids.iter().map(|id| Ok(found.get(id).cloned())).collect(),
        Err(error) => ids.iter().map(|_| Err(error.again())).collect(),
    }
}

async fn read_many<T>(db: &Database, table: &Table<T>, ids: &[Uuid]) -> Result<HashMap<Uuid, T>, BackendError> {
    let Some(last) = ids.last() else {
        return Ok(HashMap::new());
    };
    let width = WIDTHS
        .into_iter()
        .find(|width| *width >= ids.len())
        .unwrap_or(ids.len());
    let mut values: Vec<Value> = ids.iter().map(|id| (*id).into()).collect();
    values.resize(width, (*last).into());
    let sql = format!("{} WHERE id IN {}", table.select, placeholders(1, 1, width));
    let rows = fetch_all(db.read(), table.operation, &sql, values).await?;
    rows.iter()
        .map(|row| (table.read)(row).map(|found| ((table.id)(&found), found)))
        .collect()
}
