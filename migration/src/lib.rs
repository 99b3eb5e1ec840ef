//! The schema of Plinth, as migrations that only add, and the running of them.
//!
//! sea-orm-migration describes a migration; running them is done here, because its own runner takes no lock and fails when
//! the database was migrated by a newer binary. Each run is one transaction under one lock: of many processes that start
//! at once one migrates and the others find it done, and a process that dies half-way leaves nothing behind.

use sea_orm_migration::sea_orm::DbErr;
use sea_orm_migration::{MigrationTrait, MigratorTrait};

mod m20261122_000001_core;
mod m20261125_000002_dead_letters;
mod m20261125_000003_audit;
mod m20261125_000004_schemas;
mod m20261125_000005_webhooks;
mod m20261125_000006_topics;
mod runner;
mod statements;
mod version;

pub use runner::{Status, check_compatibility, down, migrate, status};
pub use sea_orm_migration;
pub use version::{ParseVersionError, Version};

/// The version of this binary's schema knowledge: that of the workspace.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Every migration of this binary, oldest first.
#[derive(Debug, Clone, Copy)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261122_000001_core::Core),
            Box::new(m20261125_000002_dead_letters::DeadLetters),
            Box::new(m20261125_000003_audit::Audit),
            Box::new(m20261125_000004_schemas::Schemas),
            Box::new(m20261125_000005_webhooks::Webhooks),
            Box::new(m20261125_000006_topics::Topics),
        ]
    }
}

/// Why the schema was not changed, or does not fit.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The schema serves no binary as old as this one: a newer one is to be started.
    #[error("this is version {binary}, and the database needs at least version {oldest}")]
    TooOld {
        /// The version that asked.
        binary: Version,
        /// The oldest that the schema serves.
        oldest: Version,
    },
    /// A version that is asked for or stored is none.
    #[error(transparent)]
    Version(#[from] ParseVersionError),
    /// Migrations of a newer binary lie on top: it has to take them down first.
    #[error("migrations of a newer version are applied: {}", .0.join(", "))]
    Unknown(Vec<String>),
    /// The database was never migrated.
    #[error("the database has no schema yet")]
    Missing,
    /// The database failed.
    #[error("the database failed while migrating: {0}")]
    Database(#[from] DbErr),
}
