//! What is remembered of sign-ins.

use async_trait::async_trait;
use domain::time::Timestamp;
use ports::{BackendError, SignInLedger};

use crate::connect::Database;
use crate::error::corrupt;
use crate::row::fetch_one;

/// Failures in the table `sign_in_failures`, known clients in `sign_in_clients`.
#[derive(Debug, Clone)]
pub struct SqlSignInLedger {
    db: Database,
}

impl SqlSignInLedger {
    /// On that database.
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }
}

#[async_trait]
impl SignInLedger for SqlSignInLedger {
    async fn record_failure(&self, account: &[u8; 32], now: Timestamp) -> Result<u64, BackendError> {
        let operation = "sign_ins.record_failure";
        let sql = "INSERT INTO sign_in_failures (account, day, failures) VALUES ($1, $2, 1) \
            ON CONFLICT (account, day) DO UPDATE SET failures = sign_in_failures.failures + 1 RETURNING failures";
        let values = vec![account.to_vec().into(), day(now).into()];
        let rows = self.db.fetch_written(operation, sql, values).await?;
        rows.first()
            .ok_or_else(|| corrupt(operation, "failures"))?
            .count("failures")
    }

    async fn failures(&self, account: &[u8; 32], now: Timestamp) -> Result<u64, BackendError> {
        let sql = "SELECT failures FROM sign_in_failures WHERE account = $1 AND day = $2";
        let values = vec![account.to_vec().into(), day(now).into()];
        let row = fetch_one(self.db.read(), "sign_ins.failures", sql, values).await?;
        row.map_or(Ok(0), |row| row.count("failures"))
    }

    async fn remember(&self, account: &[u8; 32], client: &[u8; 32], now: Timestamp) -> Result<(), BackendError> {
        let sql = "INSERT INTO sign_in_clients (account, client, at) VALUES ($1, $2, $3) \
            ON CONFLICT (account, client) DO UPDATE SET at = excluded.at WHERE excluded.at > sign_in_clients.at";
        let values = vec![account.to_vec().into(), client.to_vec().into(), now.micros().into()];
        self.db.execute("sign_ins.remember", sql, values).await?;
        Ok(())
    }

    async fn knows(&self, account: &[u8; 32], client: &[u8; 32], since: Timestamp) -> Result<bool, BackendError> {
        let sql = "SELECT at FROM sign_in_clients WHERE account = $1 AND client = $2 AND at >= $3";
        let values = vec![account.to_vec().into(), client.to_vec().into(), since.micros().into()];
        Ok(fetch_one(self.db.read(), "sign_ins.knows", sql, values)
            .await?
            .is_some())
    }

    async fn prune(&self, before: Timestamp, limit: u32) -> Result<u64, BackendError> {
        let sql = "DELETE FROM sign_in_failures WHERE (account, day) IN \
            (SELECT account, day FROM sign_in_failures WHERE day < $1 LIMIT $2)";
        let values = vec![day(before).into(), i64::from(limit).into()];
        let failures = self.db.execute("sign_ins.prune", sql, values).await?;
        let rest = u64::from(limit).saturating_sub(failures);
        let sql = "DELETE FROM sign_in_clients WHERE (account, client) IN \
            (SELECT account, client FROM sign_in_clients WHERE at < $1 LIMIT $2)";
        let values = vec![before.micros().into(), i64::try_from(rest).unwrap_or_default().into()];
        Ok(failures + self.db.execute("sign_ins.prune", sql, values).await?)
    }
}

/// The UTC day, counted from 1970-01-01. RFC 3339 ends with the year 9999, so it fits.
fn day(now: Timestamp) -> i32 {
    i32::try_from(now.seconds().div_euclid(86_400)).unwrap_or(i32::MAX)
}
