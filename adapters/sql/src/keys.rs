//! Signing keys.

use async_trait::async_trait;
use domain::time::Timestamp;
use domain::token::{KeyStatus, SigningKey};
use ports::{BackendError, Effects, EffectsError, SigningKeyRepository};

use crate::connect::{Database, WriteTransaction};
use crate::effects::write_effects;
use crate::row::{Hold, Row, execute, fetch_all, fetch_one, hold, placeholders};

const COLUMNS: &str = "kid, public, sealed_secret, status, created_at, activates_at, retired_at";

/// Signing keys in the table `signing_keys`; an index lets one alone be active.
#[derive(Debug, Clone)]
pub struct SqlSigningKeyRepository {
    db: Database,
}

impl SqlSigningKeyRepository {
    /// On that database.
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }
}

#[async_trait]
impl SigningKeyRepository for SqlSigningKeyRepository {
    async fn list(&self) -> Result<Vec<SigningKey>, BackendError> {
        let sql = format!("SELECT {COLUMNS} FROM signing_keys ORDER BY created_at, kid");
        fetch_all(self.db.read(), "signing_keys.list", &sql, Vec::new())
            .await?
            .iter()
            .map(read_key)
            .collect()
    }

    async fn insert(&self, key: &SigningKey, only_first: bool, effects: &Effects) -> Result<bool, EffectsError> {
        let tx = self.db.begin_write().await?;
        hold(&tx, Hold::SigningKeys, "").await?;
        if only_first {
            let any = fetch_one(
                tx.conn(),
                "signing_keys.any",
                "SELECT kid FROM signing_keys LIMIT 1",
                Vec::new(),
            )
            .await?;
            if any.is_some() {
                return Ok(false);
            }
        }
        insert_row(&tx, key).await?;
        write_effects(&self.db, &tx, effects).await?;
        tx.commit().await?;
        Ok(true)
    }

    async fn transition(
        &self,
        kid: &str,
        from: KeyStatus,
        to: KeyStatus,
        at: Timestamp,
        effects: &Effects,
    ) -> Result<bool, EffectsError> {
        let tx = self.db.begin_write().await?;
        hold(&tx, Hold::SigningKeys, "").await?;
        if !move_key(&tx, kid, from, to, at).await? {
            return Ok(false);
        }
        write_effects(&self.db, &tx, effects).await?;
        tx.commit().await?;
        Ok(true)
    }
}

/// False when the key is not in the first status; what was written by then goes with the transaction.
async fn move_key(
    tx: &WriteTransaction,
    kid: &str,
    from: KeyStatus,
    to: KeyStatus,
    at: Timestamp,
) -> Result<bool, BackendError> {
    let operation = "signing_keys.transition";
    if to == KeyStatus::Active {
        let sql = "UPDATE signing_keys SET status = 'retiring', retired_at = $1 WHERE status = 'active' AND kid <> $2";
        execute(tx.conn(), operation, sql, vec![at.micros().into(), kid.into()]).await?;
    }
    let times = match to {
        KeyStatus::Pending => "",
        KeyStatus::Active => ", activates_at = $4",
        KeyStatus::Retiring | KeyStatus::Revoked => ", retired_at = COALESCE(retired_at, $4)",
    };
    let sql = format!("UPDATE signing_keys SET status = $1{times} WHERE kid = $2 AND status = $3");
    let mut values = vec![to.as_str().into(), kid.into(), from.as_str().into()];
    if !times.is_empty() {
        values.push(at.micros().into());
    }
    Ok(execute(tx.conn(), operation, &sql, values).await? == 1)
}

async fn insert_row(tx: &WriteTransaction, key: &SigningKey) -> Result<(), BackendError> {
    let sql = format!("INSERT INTO signing_keys ({COLUMNS}) VALUES {}", placeholders(1, 1, 7));
    let values = vec![
        key.kid.as_str().into(),
        key.public.as_str().into(),
        key.sealed_secret.clone().into(),
        key.status.as_str().into(),
        key.created_at.micros().into(),
        key.activates_at.micros().into(),
        key.retired_at.map(Timestamp::micros).into(),
    ];
    execute(tx.conn(), "signing_keys.insert", &sql, values).await?;
    Ok(())
}

fn read_key(row: &Row) -> Result<SigningKey, BackendError> {
    Ok(SigningKey {
        kid: row.get("kid")?,
        public: row.get("public")?,
        sealed_secret: row.get("sealed_secret")?,
        status: row.word("status", KeyStatus::parse)?,
        created_at: row.time("created_at")?,
        activates_at: row.time("activates_at")?,
        retired_at: row.time_or_none("retired_at")?,
    })
}
