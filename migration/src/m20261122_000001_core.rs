//! The first schema: installation, accounts, sessions, the log, mail, files, usage, idempotency.
//!
//! Ids are UUIDv7, so that rows are appended to their primary keys. Times are microseconds since the epoch, in UTC. There
//! are no foreign keys: every table of a user's carries `user_id`, by which an installation may shard it.

use async_trait::async_trait;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};
use uuid::Uuid;

/// The oldest binary that this schema serves.
const OLDEST_BINARY: &str = "0.1.0";

/// Shards of the log; the domain has the same number, and it never changes for an installation.
pub(crate) const SHARDS: i16 = 16;

const POSTGRES: &str = include_str!("m20261122_000001_core/postgres.sql");
const SQLITE: &str = include_str!("m20261122_000001_core/sqlite.sql");

/// Every table.
const TABLES: [&str; 22] = [
    "installation",
    "users",
    "registrations",
    "one_time_tokens",
    "sessions",
    "revocations",
    "sign_in_failures",
    "sign_in_clients",
    "signing_keys",
    "events",
    "event_pending",
    "event_log",
    "log_shards",
    "cursors",
    "inbox",
    "usage",
    "mails",
    "mail_attempts",
    "files",
    "file_reservations",
    "storage_usage",
    "idempotency",
];

/// The migration.
#[derive(Debug)]
pub(crate) struct Core;

impl MigrationName for Core {
    fn name(&self) -> &str {
        "m20261122_000001_core"
    }
}

#[async_trait]
impl MigrationTrait for Core {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let (tables, now) = match db.get_database_backend() {
            DbBackend::Postgres => (POSTGRES, "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"),
            _ => (SQLITE, "CAST(unixepoch('subsec') * 1000000 AS INTEGER)"),
        };
        db.execute_unprepared(tables).await?;
        let sql =
            format!("INSERT INTO installation (singleton, id, created_at, oldest_binary) VALUES (1, $1, {now}, $2)");
        let values = [Uuid::now_v7().into(), OLDEST_BINARY.into()];
        db.execute_raw(Statement::from_sql_and_values(db.get_database_backend(), sql, values))
            .await?;
        for shard in 0..SHARDS {
            let sql = "INSERT INTO log_shards (shard, position, hash, lease_until) VALUES ($1, 0, $2, 0)";
            let values = [shard.into(), vec![0_u8; 32].into()];
            db.execute_raw(Statement::from_sql_and_values(db.get_database_backend(), sql, values))
                .await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in TABLES.iter().rev() {
            manager
                .get_connection()
                .execute_unprepared(&format!("DROP TABLE {table}"))
                .await?;
        }
        Ok(())
    }
}
