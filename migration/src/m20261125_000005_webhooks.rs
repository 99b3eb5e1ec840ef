//! Webhooks: the addresses, the deliveries to them, and the attempts of each.

use async_trait::async_trait;
use sea_orm_migration::sea_orm::DbErr;
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use crate::statements::{run_all, run_for_engine};

const POSTGRES: &str = include_str!("m20261125_000005_webhooks/postgres.sql");
const SQLITE: &str = include_str!("m20261125_000005_webhooks/sqlite.sql");

/// What takes it back.
const DOWN: [&str; 3] = [
    "DROP TABLE webhook_attempts",
    "DROP TABLE webhook_deliveries",
    "DROP TABLE webhooks",
];

/// The migration.
#[derive(Debug)]
pub(crate) struct Webhooks;

impl MigrationName for Webhooks {
    fn name(&self) -> &str {
        "m20261125_000005_webhooks"
    }
}

#[async_trait]
impl MigrationTrait for Webhooks {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_for_engine(manager, POSTGRES, SQLITE).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_all(manager, &DOWN).await
    }
}
