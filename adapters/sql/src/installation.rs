//! The installation row.

use async_trait::async_trait;
use domain::id::InstallationId;
use ports::{BackendError, BindMasterKeyError, Installation, InstallationRepository};

use crate::connect::Database;
use crate::error::ADAPTER;
use crate::row::{Row, fetch_one};

/// The one row of the table `installation`, made by the first migration.
#[derive(Debug, Clone)]
pub struct SqlInstallationRepository {
    db: Database,
}

impl SqlInstallationRepository {
    /// On that database.
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }

    async fn row(&self) -> Result<Row, BackendError> {
        let sql = "SELECT id, created_at, key_fingerprint FROM installation";
        let operation = "installation.get";
        let row = fetch_one(self.db.read(), operation, sql, Vec::new()).await?;
        row.ok_or_else(|| BackendError::permanent(ADAPTER, operation, "the installation row is missing"))
    }
}

#[async_trait]
impl InstallationRepository for SqlInstallationRepository {
    async fn get(&self) -> Result<Installation, BackendError> {
        let row = self.row().await?;
        Ok(Installation {
            id: InstallationId::new(row.get("id")?),
            created_at: row.time("created_at")?,
        })
    }

    async fn bound_master_key(&self) -> Result<Option<[u8; 32]>, BackendError> {
        let row = self.row().await?;
        match row.get::<Option<Vec<u8>>>("key_fingerprint")? {
            Some(bytes) => Ok(Some(bytes.try_into().map_err(|_| row.corrupt("key_fingerprint"))?)),
            None => Ok(None),
        }
    }

    async fn bind_master_key(&self, fingerprint: &[u8; 32]) -> Result<(), BindMasterKeyError> {
        let stored = |row: Row| row.get::<Option<Vec<u8>>>("key_fingerprint");
        // The usual start reads only: it needs no write lock.
        if stored(self.row().await?)?.is_none() {
            let sql = "UPDATE installation SET key_fingerprint = $1 WHERE key_fingerprint IS NULL";
            self.db
                .execute("installation.bind", sql, vec![fingerprint.to_vec().into()])
                .await?;
        }
        match stored(self.row().await?)? {
            Some(bound) if bound == fingerprint => Ok(()),
            _ => Err(BindMasterKeyError::OtherKey),
        }
    }
}
