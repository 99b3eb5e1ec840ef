//! Events that a handler group holds or gave up, and who takes part in a group.

use async_trait::async_trait;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

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
        let db = manager.get_connection();
        let tables = match db.get_database_backend() {
            DbBackend::Postgres => POSTGRES,
            _ => SQLITE,
        };
        db.execute_unprepared(tables).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["group_members", "held_events"] {
            let sql = format!("DROP TABLE {table}");
            manager.get_connection().execute_unprepared(&sql).await?;
        }
        Ok(())
    }
}
