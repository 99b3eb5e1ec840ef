//! Running migrations: one lock, one transaction, and unknown ones left in peace.

use sea_orm_migration::sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, SqliteTransactionMode, Statement,
    TransactionOptions, TransactionTrait,
};
use sea_orm_migration::{MigrationTrait, MigratorTrait, SchemaManager};

use crate::{MigrateError, Migrator, VERSION, Version};

/// PostgreSQL's advisory key of the migration lock: the letters `plinth` in ASCII, so that no other program is likely to use it.
const LOCK_KEY: i64 = 0x706c_696e_7468;

/// Which migrations there are, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Known and in the database.
    pub applied: Vec<String>,
    /// Known and not yet in the database.
    pub pending: Vec<String>,
    /// In the database and unknown: a newer binary made them.
    pub unknown: Vec<String>,
}

impl Status {
    /// The status of a database that is not there yet.
    pub fn of_nothing() -> Self {
        Self {
            pending: Migrator::migrations()
                .iter()
                .map(|migration| migration.name().to_owned())
                .collect(),
            ..Self::default()
        }
    }
}

/// Applies what is pending and gives its names; waits for another process that migrates. Changes nothing when nothing is pending, or when the schema no longer serves this binary.
///
/// `db` must be able to write; on SQLite, the writer.
///
/// # Errors
/// [`MigrateError::TooOld`], [`MigrateError::Database`].
pub async fn migrate(db: &DatabaseConnection) -> Result<Vec<String>, MigrateError> {
    run(db, &Migrator::migrations(), VERSION.parse()?).await
}

/// Takes down the newest `steps` migrations, newest first, with all data in them, and gives their names.
///
/// # Errors
/// [`MigrateError::Unknown`] when a newer binary's lie on top, [`MigrateError::Database`].
pub async fn down(db: &DatabaseConnection, steps: u32) -> Result<Vec<String>, MigrateError> {
    let migrations = Migrator::migrations();
    let tx = locked(db).await?;
    let status = read_status(&tx, &migrations).await?;
    if !status.unknown.is_empty() {
        return Err(MigrateError::Unknown(status.unknown));
    }
    let applied = migrations
        .iter()
        .rev()
        .filter(|migration| status.applied.iter().any(|name| name == migration.name()));
    let mut done = Vec::new();
    for migration in applied.take(steps as usize) {
        migration.down(&SchemaManager::new(&tx)).await?;
        let values = [migration.name().into()];
        let sql = "DELETE FROM seaql_migrations WHERE version = $1";
        tx.execute_raw(Statement::from_sql_and_values(tx.get_database_backend(), sql, values))
            .await?;
        done.push(migration.name().to_owned());
    }
    tx.commit().await?;
    Ok(done)
}

/// Which migrations are applied, pending and unknown. Reads only, and takes no lock.
///
/// # Errors
/// [`MigrateError::Database`].
pub async fn status(db: &DatabaseConnection) -> Result<Status, MigrateError> {
    Ok(read_status(db, &Migrator::migrations()).await?)
}

/// Whether the schema serves a binary of that version. Migrations that the binary does not know are no reason against it.
///
/// # Errors
/// [`MigrateError::TooOld`]; [`MigrateError::Missing`] when there is no schema; [`MigrateError::Version`], [`MigrateError::Database`].
pub async fn check_compatibility(db: &DatabaseConnection, binary_version: &str) -> Result<(), MigrateError> {
    let binary = binary_version.parse()?;
    match oldest_binary(db).await? {
        None => Err(MigrateError::Missing),
        Some(oldest) => serves(binary, oldest),
    }
}

async fn run(
    db: &DatabaseConnection,
    migrations: &[Box<dyn MigrationTrait>],
    binary: Version,
) -> Result<Vec<String>, MigrateError> {
    // The usual start finds nothing to do: it costs two reads and no lock.
    if let Some(oldest) = oldest_binary(db).await? {
        serves(binary, oldest)?;
    }
    if read_status(db, migrations).await?.pending.is_empty() {
        return Ok(Vec::new());
    }
    let tx = locked(db).await?;
    // Another process may have migrated while this one waited for the lock.
    if let Some(oldest) = oldest_binary(&tx).await? {
        serves(binary, oldest)?;
    }
    install(&tx).await?;
    let pending = read_status(&tx, migrations).await?.pending;
    for migration in migrations
        .iter()
        .filter(|migration| pending.iter().any(|name| name == migration.name()))
    {
        apply(&tx, migration.as_ref()).await?;
    }
    tx.commit().await?;
    Ok(pending)
}

async fn apply(tx: &DatabaseTransaction, migration: &dyn MigrationTrait) -> Result<(), DbErr> {
    tracing::info!(migration = migration.name(), "migrating");
    migration.up(&SchemaManager::new(tx)).await?;
    let now = match tx.get_database_backend() {
        DbBackend::Postgres => "extract(epoch FROM clock_timestamp())::bigint",
        _ => "unixepoch()",
    };
    let sql = format!("INSERT INTO seaql_migrations (version, applied_at) VALUES ($1, {now})");
    tx.execute_raw(Statement::from_sql_and_values(
        tx.get_database_backend(),
        sql,
        [migration.name().into()],
    ))
    .await?;
    Ok(())
}

/// Begins the one transaction that may migrate; the lock goes with it.
async fn locked(db: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    if db.get_database_backend() == DbBackend::Sqlite {
        let mode = Some(SqliteTransactionMode::Immediate);
        return db
            .begin_with_options(TransactionOptions {
                sqlite_transaction_mode: mode,
                ..TransactionOptions::default()
            })
            .await;
    }
    let tx = db.begin().await?;
    // The limits that protect requests would cut a long migration, or the wait for one, in the middle.
    tx.execute_unprepared("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0")
        .await?;
    tx.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({LOCK_KEY})"))
        .await?;
    Ok(tx)
}

/// The table in which sea-orm-migration keeps the names, so that its own tools read ours.
async fn install(tx: &DatabaseTransaction) -> Result<(), DbErr> {
    let sql = "CREATE TABLE IF NOT EXISTS seaql_migrations (version varchar NOT NULL PRIMARY KEY, applied_at bigint NOT NULL)";
    tx.execute_unprepared(sql).await?;
    Ok(())
}

async fn read_status(db: &impl ConnectionTrait, migrations: &[Box<dyn MigrationTrait>]) -> Result<Status, DbErr> {
    let mut stored = Vec::new();
    if has_table(db, "seaql_migrations").await? {
        let sql = "SELECT version FROM seaql_migrations ORDER BY version";
        for row in db
            .query_all_raw(Statement::from_string(db.get_database_backend(), sql))
            .await?
        {
            stored.push(row.try_get::<String>("", "version")?);
        }
    }
    let names: Vec<&str> = migrations.iter().map(|migration| migration.name()).collect();
    let (applied, pending) = names
        .iter()
        .map(|name| (*name).to_owned())
        .partition(|name| stored.contains(name));
    stored.retain(|name| !names.contains(&name.as_str()));
    Ok(Status {
        applied,
        pending,
        unknown: stored,
    })
}

async fn oldest_binary(db: &impl ConnectionTrait) -> Result<Option<Version>, MigrateError> {
    if !has_table(db, "installation").await? {
        return Ok(None);
    }
    let statement = Statement::from_string(db.get_database_backend(), "SELECT oldest_binary FROM installation");
    match db.query_one_raw(statement).await? {
        Some(row) => Ok(Some(row.try_get::<String>("", "oldest_binary")?.parse()?)),
        None => Ok(None),
    }
}

async fn has_table(db: &impl ConnectionTrait, table: &str) -> Result<bool, DbErr> {
    let sql = match db.get_database_backend() {
        DbBackend::Postgres => "SELECT 1 AS one FROM pg_tables WHERE schemaname = current_schema() AND tablename = $1",
        _ => "SELECT 1 AS one FROM sqlite_master WHERE type = 'table' AND name = $1",
    };
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, [table.into()]);
    Ok(db.query_one_raw(statement).await?.is_some())
}

fn serves(binary: Version, oldest: Version) -> Result<(), MigrateError> {
    if binary < oldest {
        Err(MigrateError::TooOld { binary, oldest })
    } else {
        Ok(())
    }
}
