//! With a held event of another service, where it came from and the event itself.

use async_trait::async_trait;
use sea_orm_migration::sea_orm::DbErr;
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use crate::statements::{run_all, run_for_engine};

const POSTGRES: &str = include_str!("m20261125_000006_topics/postgres.sql");
const SQLITE: &str = include_str!("m20261125_000006_topics/sqlite.sql");

/// What takes it back. A binary from before could not read such rows.
const DOWN: [&str; 5] = [
    "DELETE FROM held_events WHERE topic IS NOT NULL",
    "ALTER TABLE held_events DROP COLUMN record",
    "ALTER TABLE held_events DROP COLUMN event_user",
    "ALTER TABLE held_events DROP COLUMN partition",
    "ALTER TABLE held_events DROP COLUMN topic",
];

/// The migration.
#[derive(Debug)]
pub(crate) struct Topics;

impl MigrationName for Topics {
    fn name(&self) -> &str {
        "m20261125_000006_topics"
    }
}

#[async_trait]
impl MigrationTrait for Topics {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_for_engine(manager, POSTGRES, SQLITE).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_all(manager, &DOWN).await
    }
}
