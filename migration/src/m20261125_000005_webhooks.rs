//! Webhooks: the addresses, the deliveries to them, and the attempts of each.

use async_trait::async_trait;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

const POSTGRES: &str = include_str!("m20261125_000005_webhooks/postgres.sql");
const SQLITE: &str = include_str!("m20261125_000005_webhooks/sqlite.sql");

/// Every table.
const TABLES: [&str; 3] = ["webhooks", "webhook_deliveries", "webhook_attempts"];

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
        let db = manager.get_connection();
        let tables = match db.get_database_backend() {
            DbBackend::Postgres => POSTGRES,
            _ => SQLITE,
        };
        db.execute_unprepared(tables).await?;
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
