//! The revocation feed.

use async_trait::async_trait;
use domain::id::{SessionId, UserId};
use domain::session::{Revocation, RevokedSubject};
use domain::time::Timestamp;
use ports::{BackendError, FedRevocation, RevocationFeed};
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sea_orm::sqlx::{ConnectOptions, Error as DriverError, query_scalar};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::connect::Database;
use crate::error::{ADAPTER, is_temporary_driver};
use crate::row::{Row, fetch_all};

/// Revocations in the table `revocations`.
#[derive(Debug)]
pub struct SqlRevocationFeed {
    db: Database,
    /// SQLite counts the commits of other connections on each connection by itself, so the same one has to be asked.
    watch: Mutex<Option<Watch>>,
}

#[derive(Debug)]
struct Watch {
    connection: SqliteConnection,
    version: i64,
}

impl SqlRevocationFeed {
    /// On that database.
    pub fn new(db: &Database) -> Self {
        Self {
            db: db.clone(),
            watch: Mutex::new(None),
        }
    }
}

#[async_trait]
impl RevocationFeed for SqlRevocationFeed {
    async fn after(&self, sequence: i64, now: Timestamp) -> Result<Vec<FedRevocation>, BackendError> {
        let sql = "SELECT sequence, kind, subject_id, epoch, at, expires_at FROM revocations \
            WHERE sequence > $1 AND expires_at > $2 ORDER BY sequence";
        let values = vec![sequence.into(), now.micros().into()];
        let rows = fetch_all(self.db.read(), "revocations.after", sql, values).await?;
        rows.iter().map(read_revocation).collect()
    }

    async fn changed(&self) -> Result<bool, BackendError> {
        let Some(options) = self.db.sqlite_reader() else {
            return Ok(true);
        };
        let mut watch = self.watch.lock().await;
        // Taken out while it is asked: one that failed, or whose caller went away half-way, is not asked again.
        let (next, changed) = ask(watch.take(), options).await.map_err(failed)?;
        *watch = Some(next);
        Ok(changed)
    }

    async fn prune(&self, now: Timestamp, limit: u32) -> Result<u64, BackendError> {
        let sql = "DELETE FROM revocations WHERE sequence IN \
            (SELECT sequence FROM revocations WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)";
        let values = vec![now.micros().into(), i64::from(limit).into()];
        self.db.execute("revocations.prune", sql, values).await
    }
}

/// A new connection cannot know what was written before it, so its first answer is yes.
async fn ask(watch: Option<Watch>, options: &SqliteConnectOptions) -> Result<(Watch, bool), DriverError> {
    let (mut connection, before) = match watch {
        Some(Watch { connection, version }) => (connection, Some(version)),
        None => (options.connect().await?, None),
    };
    let version: i64 = query_scalar("PRAGMA data_version").fetch_one(&mut connection).await?;
    Ok((Watch { connection, version }, before != Some(version)))
}

fn failed(error: DriverError) -> BackendError {
    let temporary = is_temporary_driver(&error);
    BackendError {
        adapter: ADAPTER,
        operation: "revocations.changed",
        temporary,
        full: false,
        source: Box::new(error),
    }
}

fn read_revocation(row: &Row) -> Result<FedRevocation, BackendError> {
    let id: Uuid = row.get("subject_id")?;
    let subject = match row.get::<i16>("kind")? {
        0 => RevokedSubject::User(UserId::new(id)),
        1 => RevokedSubject::Session(SessionId::new(id)),
        2 => RevokedSubject::Epoch(UserId::new(id), row.count("epoch")?),
        _ => return Err(row.corrupt("kind")),
    };
    let revocation = Revocation {
        subject,
        at: row.time("at")?,
        expires_at: row.time("expires_at")?,
    };
    Ok(FedRevocation {
        sequence: row.get("sequence")?,
        revocation,
    })
}
