//! Where the log begins, what its checkpoints said last, and the index of the audit trail by time.

use async_trait::async_trait;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbErr, Statement};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use crate::m20261122_000001_core::SHARDS;
use crate::statements::{run_all, run_for_engine};

const POSTGRES: &str = include_str!("m20261125_000003_audit/postgres.sql");
const SQLITE: &str = include_str!("m20261125_000003_audit/sqlite.sql");

/// The migration.
#[derive(Debug)]
pub(crate) struct Audit;

impl MigrationName for Audit {
    fn name(&self) -> &str {
        "m20261125_000003_audit"
    }
}

#[async_trait]
impl MigrationTrait for Audit {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_for_engine(manager, POSTGRES, SQLITE).await?;
        let db = manager.get_connection();
        for shard in 0..SHARDS {
            let sql = "INSERT INTO log_floors (shard, position, hash, removable, blanked) VALUES ($1, 0, $2, 0, 0)";
            let values = [shard.into(), vec![0_u8; 32].into()];
            db.execute_raw(Statement::from_sql_and_values(db.get_database_backend(), sql, values))
                .await?;
        }
        db.execute_unprepared("INSERT INTO audit_state (singleton, serial, at, events) VALUES (1, 0, 0, 0)")
            .await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let statements = [
            "DROP INDEX held_events_place",
            "DROP INDEX events_time",
            "DROP TABLE audit_state",
            "DROP TABLE log_floors",
        ];
        run_all(manager, &statements).await
    }
}
