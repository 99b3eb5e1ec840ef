//! Requests by their `Idempotency-Key`.

use std::time::Duration;

use async_trait::async_trait;
use domain::time::Timestamp;
use ports::{BackendError, Begun, IdempotencyScope, IdempotencyStore, StoredAnswer};
use sea_orm::Value;

use crate::connect::Database;
use crate::error::ADAPTER;
use crate::row::{Row, fetch_one};

/// A row that goes between the two statements of one look is looked for again, so often.
const LOOKS: u32 = 5;

/// Requests in the table `idempotency`.
#[derive(Debug, Clone)]
pub struct SqlIdempotencyStore {
    db: Database,
}

impl SqlIdempotencyStore {
    /// On that database.
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }
}

#[async_trait]
impl IdempotencyStore for SqlIdempotencyStore {
    async fn begin(
        &self,
        scope: &IdempotencyScope,
        fingerprint: &[u8; 32],
        now: Timestamp,
        lock: Duration,
        keep: Duration,
    ) -> Result<Begun, BackendError> {
        let operation = "idempotency.begin";
        // A dead request is taken over by the same content alone: were it only slow, its answer would else pass for another's.
        let take = "INSERT INTO idempotency (user_id, route, key, fingerprint, begun_at) VALUES ($1, $2, $3, $4, $5) \
            ON CONFLICT (user_id, route, key) DO UPDATE \
            SET fingerprint = excluded.fingerprint, begun_at = excluded.begun_at, status = NULL, resources = NULL \
            WHERE idempotency.begun_at <= $6 OR (idempotency.status IS NULL AND idempotency.begun_at <= $7 \
            AND idempotency.fingerprint = excluded.fingerprint)";
        let look =
            "SELECT fingerprint, status, resources FROM idempotency WHERE user_id = $1 AND route = $2 AND key = $3";
        let mut values = key_values(scope);
        values.extend([
            fingerprint.to_vec().into(),
            now.micros().into(),
            now.minus(keep).micros().into(),
            now.minus(lock).micros().into(),
        ]);
        for _ in 0..LOOKS {
            if self.db.execute(operation, take, values.clone()).await? == 1 {
                return Ok(Begun::New);
            }
            if let Some(row) = fetch_one(self.db.read(), operation, look, key_values(scope)).await? {
                return read_begun(scope, fingerprint, &row);
            }
        }
        Err(BackendError::temporary(
            ADAPTER,
            operation,
            "the request under this key comes and goes",
        ))
    }

    async fn release(&self, scope: &IdempotencyScope) -> Result<(), BackendError> {
        let sql = "DELETE FROM idempotency WHERE user_id = $1 AND route = $2 AND key = $3 AND status IS NULL";
        self.db.execute("idempotency.release", sql, key_values(scope)).await?;
        Ok(())
    }

    async fn prune(&self, before: Timestamp, limit: u32) -> Result<u64, BackendError> {
        let sql = "DELETE FROM idempotency WHERE (user_id, route, key) IN \
            (SELECT user_id, route, key FROM idempotency WHERE begun_at < $1 ORDER BY begun_at LIMIT $2)";
        let values = vec![before.micros().into(), i64::from(limit).into()];
        self.db.execute("idempotency.prune", sql, values).await
    }
}

fn key_values(scope: &IdempotencyScope) -> Vec<Value> {
    vec![
        scope.user_id.uuid().into(),
        scope.route.as_str().into(),
        scope.key.as_str().into(),
    ]
}

fn read_begun(scope: &IdempotencyScope, fingerprint: &[u8; 32], row: &Row) -> Result<Begun, BackendError> {
    if row.bytes::<32>("fingerprint")? != *fingerprint {
        return Ok(Begun::Reused);
    }
    let Some(status) = row.get::<Option<i32>>("status")? else {
        return Ok(Begun::InFlight);
    };
    let resources = row.get::<Option<String>>("resources")?.unwrap_or_default();
    Ok(Begun::Answered(StoredAnswer {
        scope: scope.clone(),
        status: u16::try_from(status).map_err(|_| row.corrupt("status"))?,
        resources: serde_json::from_str(&resources).map_err(|_| row.corrupt("resources"))?,
    }))
}
