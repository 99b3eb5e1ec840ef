//! Connections: one pool on PostgreSQL; on SQLite one writer and several readers.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::histogram::{self, Histogram};
use domain::stats::{PoolStats, StatementStats};
use ports::BackendError;
use sea_orm::sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sea_orm::sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sea_orm::sqlx::{ConnectOptions, Connection, Error as DriverError};
use sea_orm::{
    DatabaseConnection, DatabaseTransaction, SqlxPostgresConnector, SqlxSqliteConnector, TransactionTrait, Value,
};

use crate::error::{backend, is_temporary_driver};
use crate::group::{Turn, Unit, Writer};
use crate::row::{Row, bounded, execute, fetch_all};

/// Prepared statements that one connection remembers: more than the statements of this crate in all their widths.
const STATEMENT_CACHE: usize = 256;

/// A transaction that its client left standing for so long (a frozen process, say) is ended by PostgreSQL, with its locks.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(15);

/// A statement that takes longer is counted as slow. Every statement of ours reads or writes by a key; one that takes this
/// long waited for something.
const SLOW: Duration = Duration::from_millis(100);

/// How often the opening of an SQLite file is tried again while another process brings it into WAL mode.
const OPEN_ATTEMPTS: u32 = 40;

/// The engine behind a [`Database`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite, one file.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

/// When SQLite waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Synchronous {
    /// At every commit: nothing that was acknowledged is lost with the power.
    #[default]
    Full,
    /// At checkpoints: the last commits may be lost with the power, nothing is damaged.
    Normal,
}

/// How to connect.
#[derive(Clone)]
pub struct DatabaseOptions {
    /// `sqlite://PATH` (percent-encoded) or `postgres://USER:PASSWORD@HOST:PORT/NAME`.
    pub url: String,
    /// The most connections. On SQLite one of them writes, and there are two at least.
    pub max_connections: u32,
    /// How long a caller waits for a free connection before the call fails as temporary.
    pub acquire_timeout: Duration,
    /// A connection that was idle for so long is closed.
    pub idle_timeout: Duration,
    /// A connection that is so old is replaced.
    pub max_lifetime: Duration,
    /// SQLite: how long a writer waits for one in another process.
    pub busy_timeout: Duration,
    /// SQLite: when it waits for the disk.
    pub synchronous: Synchronous,
    /// PostgreSQL: a statement that runs for longer is cancelled, and its call fails as temporary. The revocation feed looks back for 30 s, and a row that commits later than that is missed: a transaction must not come near it. Migrations lift this and the next.
    pub statement_timeout: Option<Duration>,
    /// PostgreSQL: a statement that waits for a lock for longer is cancelled, and its call fails as temporary.
    pub lock_timeout: Option<Duration>,
}

impl DatabaseOptions {
    /// The defaults for that address.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            max_connections: 15,
            acquire_timeout: Duration::from_secs(3),
            idle_timeout: Duration::from_secs(600),
            max_lifetime: Duration::from_secs(1_800),
            busy_timeout: Duration::from_secs(5),
            synchronous: Synchronous::Full,
            statement_timeout: Some(Duration::from_secs(5)),
            lock_timeout: Some(Duration::from_secs(3)),
        }
    }
}

/// Without the address, which may hold a password.
impl fmt::Debug for DatabaseOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseOptions")
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address is neither `sqlite://` nor `postgres://`, or cannot be read.
    #[error("the database address cannot be read")]
    Address(#[source] Option<DriverError>),
    /// The server or the file does not answer; trying again later may help.
    #[error("the database cannot be reached: {0}")]
    Unreachable(#[source] DriverError),
    /// The server or the file refuses for good: credentials, rights, not a database.
    #[error("the database refuses the connection: {0}")]
    Refused(#[source] DriverError),
}

/// What stands in the way of a connection, as far as it can be told: each needs another remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// The address cannot be read.
    Address,
    /// Nobody answers.
    Away,
    /// It is there and takes nobody more, or nobody yet.
    Busy,
    /// User, password or the rules of admission.
    Credentials,
    /// The server has no such database.
    NoDatabase,
    /// The file is not a database.
    NotADatabase,
    /// Something else.
    Other,
}

impl ConnectError {
    /// What stands in the way.
    pub fn obstacle(&self) -> Obstacle {
        let (error, otherwise) = match self {
            Self::Address(_) => return Obstacle::Address,
            Self::Unreachable(error) => (error, Obstacle::Away),
            Self::Refused(error) => (error, Obstacle::Other),
        };
        let code = error.as_database_error().and_then(|database| database.code());
        // SQLSTATE, and SQLITE_NOTADB (26).
        match code.as_deref() {
            Some(code) if code.starts_with("28") => Obstacle::Credentials,
            Some("3D000") => Obstacle::NoDatabase,
            Some("26") => Obstacle::NotADatabase,
            // SQLITE_BUSY and SQLITE_LOCKED, too many connections, starting up or going down.
            Some("5" | "6" | "53300" | "57P01" | "57P03") => Obstacle::Busy,
            _ => otherwise,
        }
    }
}

/// A database, ready for use; clones share its connections.
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

struct Inner {
    dialect: Dialect,
    read: DatabaseConnection,
    write: DatabaseConnection,
    /// The turns of SQLite's writer.
    turns: Option<Arc<Writer>>,
    pools: Pools,
    meter: Arc<Meter>,
}

/// What is counted of statements.
struct Meter {
    failures: AtomicU64,
    slow: AtomicU64,
    time: Histogram,
}

impl Meter {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            failures: AtomicU64::new(0),
            slow: AtomicU64::new(0),
            time: Histogram::new(histogram::STATEMENT),
        })
    }

    /// The connection, with every statement of it counted.
    fn on(self: &Arc<Self>, mut connection: DatabaseConnection) -> DatabaseConnection {
        let meter = Arc::clone(self);
        connection.set_metric_callback(move |told| {
            meter.time.observe(told.elapsed);
            if told.failed {
                meter.failures.fetch_add(1, Ordering::Relaxed);
            }
            if told.elapsed > SLOW {
                meter.slow.fetch_add(1, Ordering::Relaxed);
            }
        });
        connection
    }
}

enum Pools {
    Sqlite {
        readers: SqlitePool,
        writer: SqlitePool,
        options: Box<SqliteConnectOptions>,
    },
    Postgres(PgPool),
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("dialect", &self.inner.dialect)
            .finish_non_exhaustive()
    }
}

impl Database {
    /// Connects. An SQLite file is made when it is missing (its folder is not), for its owner only, and brought into WAL mode.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect(options: &DatabaseOptions) -> Result<Self, ConnectError> {
        if options.url.starts_with("sqlite:") {
            Self::connect_sqlite(options).await
        } else if options.url.starts_with("postgres://") || options.url.starts_with("postgresql://") {
            Self::connect_postgres(options).await
        } else {
            Err(ConnectError::Address(None))
        }
    }

    async fn connect_sqlite(options: &DatabaseOptions) -> Result<Self, ConnectError> {
        let base = SqliteConnectOptions::from_str(&options.url)
            .map_err(|error| ConnectError::Address(Some(error)))?
            .foreign_keys(true)
            .busy_timeout(options.busy_timeout)
            .statement_cache_capacity(STATEMENT_CACHE)
            .disable_statement_logging();
        let synchronous = match options.synchronous {
            Synchronous::Full => SqliteSynchronous::Full,
            Synchronous::Normal => SqliteSynchronous::Normal,
        };
        make_private(base.get_filename()).await;
        // The mode stays in the file, so readers need not set it; the writer is opened first.
        let for_writing = base
            .clone()
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(synchronous);
        let for_reading = base.pragma("query_only", "on");
        let pool = SqlitePoolOptions::new()
            .acquire_timeout(options.acquire_timeout)
            .idle_timeout(options.idle_timeout)
            .max_lifetime(options.max_lifetime)
            .test_before_acquire(false);
        let writer = open_writer(
            &pool
                .clone()
                .max_connections(1)
                .idle_timeout(None)
                .max_lifetime(None)
                // After a transaction that the engine ended by itself (a full disk) the driver still counts one as open,
                // and the next would not take the write lock from its beginning.
                .before_acquire(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) })),
            &for_writing,
        )
        .await?;
        let readers = pool
            .max_connections(options.max_connections.saturating_sub(1).max(1))
            .connect_lazy_with(for_reading.clone());
        let meter = Meter::new();
        let write = meter.on(SqlxSqliteConnector::from_sqlx_sqlite_pool(writer.clone()));
        Ok(Self {
            inner: Arc::new(Inner {
                dialect: Dialect::Sqlite,
                read: meter.on(SqlxSqliteConnector::from_sqlx_sqlite_pool(readers.clone())),
                turns: Some(Arc::new(Writer::new(write.clone(), options.acquire_timeout))),
                write,
                meter,
                pools: Pools::Sqlite {
                    readers,
                    writer,
                    options: Box::new(for_reading),
                },
            }),
        })
    }

    async fn connect_postgres(options: &DatabaseOptions) -> Result<Self, ConnectError> {
        let mut connect = PgConnectOptions::from_str(&options.url)
            .map_err(|error| ConnectError::Address(Some(error)))?
            .statement_cache_capacity(STATEMENT_CACHE)
            .options([(
                "idle_in_transaction_session_timeout",
                IDLE_IN_TRANSACTION.as_millis().to_string(),
            )])
            .disable_statement_logging();
        if connect.get_application_name().is_none() {
            connect = connect.application_name("plinth");
        }
        for (setting, timeout) in [
            ("statement_timeout", options.statement_timeout),
            ("lock_timeout", options.lock_timeout),
        ] {
            if let Some(timeout) = timeout {
                connect = connect.options([(setting, timeout.as_millis().to_string())]);
            }
        }
        let pool = PgPoolOptions::new()
            .max_connections(options.max_connections.max(1))
            .acquire_timeout(options.acquire_timeout)
            .idle_timeout(options.idle_timeout)
            .max_lifetime(options.max_lifetime)
            .test_before_acquire(false)
            .connect_with(connect)
            .await
            .map_err(refusal)?;
        let meter = Meter::new();
        let connection = meter.on(SqlxPostgresConnector::from_sqlx_postgres_pool(pool.clone()));
        Ok(Self {
            inner: Arc::new(Inner {
                meter,
                dialect: Dialect::Postgres,
                read: connection.clone(),
                write: connection,
                turns: None,
                pools: Pools::Postgres(pool),
            }),
        })
    }

    /// The engine.
    pub fn dialect(&self) -> Dialect {
        self.inner.dialect
    }

    /// For reads, outside of transactions. On SQLite it cannot write.
    pub fn read(&self) -> &DatabaseConnection {
        &self.inner.read
    }

    /// For migrating, and for statements outside of this crate. On SQLite it is the one writer, in nobody's turn: what this
    /// crate writes goes through [`begin_write`](Self::begin_write), [`execute`](Self::execute) and [`fetch_written`](Self::fetch_written).
    pub fn writer(&self) -> &DatabaseConnection {
        &self.inner.write
    }

    /// Runs one statement that writes, durable when this returns, and gives how many rows it touched.
    pub(crate) async fn execute(
        &self,
        operation: &'static str,
        sql: &str,
        values: Vec<Value>,
    ) -> Result<u64, BackendError> {
        let _turn = self.turn().await?;
        execute(&self.inner.write, operation, sql, values).await
    }

    /// As [`execute`](Self::execute), for a statement that returns rows.
    pub(crate) async fn fetch_written(
        &self,
        operation: &'static str,
        sql: &str,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, BackendError> {
        let _turn = self.turn().await?;
        fetch_all(&self.inner.write, operation, sql, values).await
    }

    /// The turn of a statement that writes by itself; on PostgreSQL nobody waits for one.
    async fn turn(&self) -> Result<Option<Turn>, BackendError> {
        match &self.inner.turns {
            Some(writer) => Ok(Some(writer.turn_alone().await?)),
            None => Ok(None),
        }
    }

    /// The pool, on PostgreSQL.
    pub(crate) fn postgres(&self) -> Option<&PgPool> {
        match &self.inner.pools {
            Pools::Postgres(pool) => Some(pool),
            Pools::Sqlite { .. } => None,
        }
    }

    /// How to open a reader of one's own, on SQLite.
    pub(crate) fn sqlite_reader(&self) -> Option<&SqliteConnectOptions> {
        match &self.inner.pools {
            Pools::Sqlite { options, .. } => Some(options),
            Pools::Postgres(_) => None,
        }
    }

    /// Begins a transaction that writes; on SQLite it holds the write lock from the start, so that it never fails half-way for want of it.
    pub(crate) async fn begin_write(&self) -> Result<WriteTransaction, BackendError> {
        self.begin(false).await
    }

    /// As [`begin_write`](Self::begin_write), for a transaction whose commit may be shared with others on SQLite: for those that
    /// come in numbers, and end by [`WriteTransaction::end`] whatever became of them.
    pub(crate) async fn begin_shared_write(&self) -> Result<WriteTransaction, BackendError> {
        self.begin(true).await
    }

    async fn begin(&self, shared: bool) -> Result<WriteTransaction, BackendError> {
        let inner = match &self.inner.turns {
            Some(writer) if shared => Write::Unit(writer.begin_shared().await?),
            Some(writer) => Write::Unit(writer.begin().await?),
            None => {
                let begun = bounded(self.inner.write.begin()).await;
                Write::Transaction(begun.map_err(|error| backend("begin", error))?)
            }
        };
        Ok(WriteTransaction {
            inner,
            dialect: self.inner.dialect,
        })
    }

    /// The connections of all pools together.
    pub fn pool(&self) -> PoolStats {
        let figures = |max: u32, open: u32, idle: usize| PoolStats {
            max,
            open,
            idle: u32::try_from(idle).unwrap_or(open),
        };
        match &self.inner.pools {
            Pools::Postgres(pool) => figures(pool.options().get_max_connections(), pool.size(), pool.num_idle()),
            Pools::Sqlite { readers, writer, .. } => figures(
                readers.options().get_max_connections() + writer.options().get_max_connections(),
                readers.size() + writer.size(),
                readers.num_idle() + writer.num_idle(),
            ),
        }
    }

    /// The statements of this process, on all pools together.
    pub fn statements(&self) -> StatementStats {
        let meter = &self.inner.meter;
        StatementStats {
            failures: meter.failures.load(Ordering::Relaxed),
            slow: meter.slow.load(Ordering::Relaxed),
            time: meter.time.snapshot(),
        }
    }

    /// Closes every connection once it is free; calls after that fail as temporary.
    pub async fn close(&self) {
        match &self.inner.pools {
            Pools::Postgres(pool) => pool.close().await,
            Pools::Sqlite { readers, writer, .. } => {
                if let Some(writer) = &self.inner.turns {
                    writer.settle().await;
                }
                // The last connection to close folds the log into the file, which a reader cannot.
                readers.close().await;
                writer.close().await;
            }
        }
    }
}

/// Makes a missing file, readable by its owner only, since it holds addresses and hashes; SQLite gives the files beside it the same rights.
/// What stands in the way of making it stands in the way of opening it, and SQLite says it then.
async fn make_private(file: &Path) {
    let mut options = tokio::fs::OpenOptions::new();
    let _made_or_there = options.create_new(true).write(true).mode(0o600).open(file).await;
}

async fn open_writer(pool: &SqlitePoolOptions, options: &SqliteConnectOptions) -> Result<SqlitePool, ConnectError> {
    let mut attempt = 0;
    loop {
        match pool.clone().connect_with(options.clone()).await {
            Ok(pool) => return Ok(pool),
            // Changing into WAL mode does not heed the busy timeout.
            Err(error) if is_temporary_driver(&error) && attempt < OPEN_ATTEMPTS => attempt += 1,
            Err(error) => return Err(refusal(error)),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn refusal(error: DriverError) -> ConnectError {
    if is_temporary_driver(&error) {
        ConnectError::Unreachable(error)
    } else {
        ConnectError::Refused(error)
    }
}

/// A transaction that writes; dropping it rolls it back.
#[derive(Debug)]
pub(crate) struct WriteTransaction {
    inner: Write,
    dialect: Dialect,
}

#[derive(Debug)]
enum Write {
    Transaction(DatabaseTransaction),
    Unit(Unit),
}

impl WriteTransaction {
    /// For statements within it.
    pub(crate) fn conn(&self) -> &DatabaseTransaction {
        match &self.inner {
            Write::Transaction(transaction) => transaction,
            Write::Unit(unit) => unit.conn(),
        }
    }

    /// The engine.
    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Commits.
    pub(crate) async fn commit(self) -> Result<(), BackendError> {
        match self.inner {
            Write::Transaction(transaction) => bounded(transaction.commit())
                .await
                .map_err(|error| backend("commit", error)),
            Write::Unit(unit) => unit.commit().await,
        }
    }

    /// Commits what succeeded and undoes what did not; what the outcome rests on is committed when it is given.
    pub(crate) async fn end<T, E: From<BackendError>>(self, outcome: Result<T, E>) -> Result<T, E> {
        if outcome.is_ok() {
            self.commit().await?;
        } else if let Write::Unit(unit) = self.inner {
            unit.refuse().await?;
        }
        outcome
    }
}
