//! Events that a handler group holds or gave up, and who takes part in a group.

use async_trait::async_trait;
use sea_orm_migration::sea_orm::DbErr;
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use crate::statements::{run_all, run_for_engine};

const POSTGRES: &str = include_str!("m20261125_000002_dead_letters/postgres.sql");
const SQLITE: &str = include_str!("m20261125_000002_dead_letters/sqlite.sql");

/// The migration.
#[derive(Debug)]
pub(crate) struct DeadLetters;

impl MigrationName for DeadLetters {
    fn name(&self) -> &str {
        "m20261125_000002_dead_letters"
    }
}

#[async_trait]
impl MigrationTrait for DeadLetters {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_for_engine(manager, POSTGRES, SQLITE).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_all(manager, &["DROP TABLE group_members", "DROP TABLE held_events"]).await
    }
}
