//! Whether the database answers, whether its schema serves this binary, and its pool.

use async_trait::async_trait;
use domain::stats::{ClusterStats, PoolStats, StatementStats};
use ports::{BackendError, Probe, Survey};

use crate::connect::{Database, Dialect};
use crate::error::{ADAPTER, corrupt};
use crate::row::fetch_one;

/// The version of this binary: all members of the workspace share one.
const BINARY: &str = env!("CARGO_PKG_VERSION");

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

    async fn schema(&self) -> Result<bool, BackendError> {
        let operation = "probe.schema";
        let sql = "SELECT oldest_binary FROM installation";
        let row = fetch_one(self.db.read(), operation, sql, Vec::new()).await?;
        let row = row.ok_or_else(|| BackendError::permanent(ADAPTER, operation, "the installation row is missing"))?;
        let oldest: String = row.get("oldest_binary")?;
        let oldest = release(&oldest).ok_or_else(|| corrupt(operation, "oldest_binary"))?;
        Ok(release(BINARY).is_some_and(|binary| binary >= oldest))
    }

    async fn survey(&self) -> Result<Survey, BackendError> {
        // SQLite runs in this process: it has this machine's clock and knows of nobody else.
        if self.db.dialect() == Dialect::Sqlite {
            return Ok(Survey::default());
        }
        let operation = "probe.survey";
        // A role sees the addresses of its own sessions, which those of the other nodes are. Over a socket there is none: that is the server's own machine.
        let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now, \
            (SELECT count(DISTINCT coalesce(host(client_addr), '')) FROM pg_stat_activity \
             WHERE datname = current_database() AND usename = current_user AND backend_type = 'client backend') AS machines";
        let row = fetch_one(self.db.read(), operation, sql, Vec::new()).await?;
        let row = row.ok_or_else(|| BackendError::permanent(ADAPTER, operation, "no row came"))?;
        Ok(Survey {
            clock: Some(row.time("now")?),
            machines: u32::try_from(row.count("machines")?).ok(),
        })
    }

    fn pool(&self) -> Option<PoolStats> {
        Some(self.db.pool())
    }

    fn statements(&self) -> Option<StatementStats> {
        Some(self.db.statements())
    }

    fn cluster(&self) -> Option<ClusterStats> {
        None
    }
}

/// `MAJOR.MINOR.PATCH` in its order; a pre-release or build part is dropped, as the migrations do when they judge a start.
fn release(version: &str) -> Option<[u64; 3]> {
    let numbers = version.split(['-', '+']).next()?.split('.');
    let numbers: Vec<u64> = numbers.map(|part| part.parse().ok()).collect::<Option<_>>()?;
    numbers.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_ordered_as_numbers_and_what_is_none_is_refused() {
        assert!(release("0.9.0") < release("0.10.0") && release("0.10.9") < release("1.0.0"));
        assert_eq!(release("1.2.3-rc.1+build.5"), Some([1, 2, 3]));
        for text in ["", "1", "1.2", "1.2.3.4", "1.x.3", "v1.2.3"] {
            assert_eq!(release(text), None, "{text}");
        }
        assert!(release(BINARY).is_some());
    }
}
