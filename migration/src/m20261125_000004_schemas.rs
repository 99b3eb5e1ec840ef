//! Schemas of clients' event types, and with every event the version that its payload was valid with.

use async_trait::async_trait;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

const POSTGRES: &str = include_str!("m20261125_000004_schemas/postgres.sql");
const SQLITE: &str = include_str!("m20261125_000004_schemas/sqlite.sql");

/// What takes it back.
const DOWN: [&str; 4] = [
    "ALTER TABLE events DROP COLUMN schema_version",
    "DROP TABLE schema_revision",
    "DROP TABLE event_schemas",
    "DROP TABLE event_types",
];

/// The migration.
#[derive(Debug)]
pub(crate) struct Schemas;

impl MigrationName for Schemas {
    fn name(&self) -> &str {
        "m20261125_000004_schemas"
    }
}

#[async_trait]
impl MigrationTrait for Schemas {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let sql = match db.get_database_backend() {
            DbBackend::Postgres => POSTGRES,
            _ => SQLITE,
        };
        db.execute_unprepared(sql).await.map(drop)
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for sql in DOWN {
            manager.get_connection().execute_unprepared(sql).await?;
        }
        Ok(())
    }
}
