//! Schemas of clients' event types, and with every event the version that its payload was valid with.

use async_trait::async_trait;
use sea_orm_migration::sea_orm::DbErr;
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use crate::statements::{run_all, run_for_engine};

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
        run_for_engine(manager, POSTGRES, SQLITE).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_all(manager, &DOWN).await
    }
}
