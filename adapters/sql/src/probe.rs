//! Whether the database answers, and its pool.

use async_trait::async_trait;
use domain::stats::PoolStats;
use ports::{BackendError, Probe};

use crate::connect::Database;
use crate::row::fetch_one;

/// The database as a dependency.
#[derive(Debug, Clone)]
pub struct SqlProbe {
    db: Database,
}

impl SqlProbe {
    /// On that database.
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }
}

#[async_trait]
impl Probe for SqlProbe {
    fn name(&self) -> &'static str {
        "database"
    }

    async fn check(&self) -> Result<(), BackendError> {
        // A row of ours, not a constant: SQLite would answer that without opening its file.
        fetch_one(
            self.db.read(),
            "probe",
            "SELECT singleton FROM installation",
            Vec::new(),
        )
        .await
        .map(|_| ())
    }

    fn pool(&self) -> Option<PoolStats> {
        Some(self.db.pool())
    }
}
