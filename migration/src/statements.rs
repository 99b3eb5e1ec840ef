//! What migrations have in common: a text for each engine, and statements one after the other.

use sea_orm_migration::SchemaManager;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, DbErr};

/// Runs the text that is meant for the engine at hand.
pub(crate) async fn run_for_engine(manager: &SchemaManager<'_>, postgres: &str, sqlite: &str) -> Result<(), DbErr> {
    let db = manager.get_connection();
    let text = match db.get_database_backend() {
        DbBackend::Postgres => postgres,
        _ => sqlite,
    };
    db.execute_unprepared(text).await.map(drop)
}

/// Runs statements in their order.
pub(crate) async fn run_all(manager: &SchemaManager<'_>, statements: &[&str]) -> Result<(), DbErr> {
    for statement in statements {
        manager.get_connection().execute_unprepared(statement).await?;
    }
    Ok(())
}
