//! File rows, reservations, and the room that both take.

use std::sync::Arc;

use async_trait::async_trait;
use domain::blob::FileType;
use domain::file::{File, Reservation, StorageUsage};
use domain::id::{FileId, UserId};
use domain::page::{Page, PageRequest};
use domain::time::Timestamp;
use ports::{BackendError, Effects, EffectsError, FileRepository, InsertFileError, ReserveError};
use sea_orm::Value;

use crate::by_id::{ById, Table};
use crate::connect::{Database, WriteTransaction};
use crate::effects::write_effects;
use crate::row::{
    Row, Start, bigint, empty_page, execute, fetch_all, fetch_one, finish_page, page_limit, placeholders, start,
};

const COLUMNS: &str = "id, user_id, kind, name, blob_key, backend, size, media_type, sha256, created_at";

const RESERVED: &str = "id, user_id, backend, blob_key, bytes, created_at, expires_at";

/// [`FileRepository`] on SQL. The row of `storage_usage` is changed in the same transactions as files and reservations, and its lock
/// is what makes the quota exact when many ask at once.
#[derive(Debug, Clone)]
pub struct SqlFileRepository {
    db: Database,
    reads: Arc<ById<File>>,
}

impl SqlFileRepository {
    /// Keeps file rows in this database.
    pub fn new(db: &Database) -> Self {
        let reads = ById::new(
            db,
            Table {
                operation: "files.find",
                select: format!("SELECT {COLUMNS} FROM files"),
                read: file_from,
                id: |file: &File| file.id.uuid(),
            },
        );
        Self {
            db: db.clone(),
            reads: Arc::new(reads),
        }
    }
}

fn file_from(row: &Row) -> Result<File, BackendError> {
    Ok(File {
        id: FileId::new(row.get("id")?),
        user_id: UserId::new(row.get("user_id")?),
        kind: row.parse("kind")?,
        name: row.parse("name")?,
        key: row.parse("blob_key")?,
        backend: row.parse("backend")?,
        size: row.count("size")?,
        media_type: row.get("media_type")?,
        sha256: row.bytes("sha256")?,
        created_at: row.time("created_at")?,
    })
}

fn reservation_from(row: &Row) -> Result<Reservation, BackendError> {
    Ok(Reservation {
        id: FileId::new(row.get("id")?),
        user_id: UserId::new(row.get("user_id")?),
        backend: row.parse("backend")?,
        key: row.parse("blob_key")?,
        bytes: row.count("bytes")?,
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
    })
}

async fn write_reservation(
    tx: &WriteTransaction,
    operation: &'static str,
    held: &Reservation,
    removed: bool,
) -> Result<(), BackendError> {
    let sql = format!(
        "INSERT INTO file_reservations ({RESERVED}, removed) VALUES {}",
        placeholders(1, 1, 8)
    );
    let values = vec![
        held.id.uuid().into(),
        held.user_id.uuid().into(),
        held.backend.as_str().into(),
        held.key.as_str().into(),
        bigint(operation, held.bytes)?.into(),
        held.created_at.micros().into(),
        held.expires_at.micros().into(),
        removed.into(),
    ];
    execute(tx.conn(), operation, &sql, values).await?;
    Ok(())
}

async fn write_file(tx: &WriteTransaction, file: &File) -> Result<(), BackendError> {
    let operation = "files.insert";
    let sql = format!("INSERT INTO files ({COLUMNS}) VALUES {}", placeholders(1, 1, 10));
    let values = vec![
        file.id.uuid().into(),
        file.user_id.uuid().into(),
        file.kind.as_str().into(),
        file.name.as_str().into(),
        file.key.as_str().into(),
        file.backend.as_str().into(),
        bigint(operation, file.size)?.into(),
        file.media_type.as_str().into(),
        file.sha256.to_vec().into(),
        file.created_at.micros().into(),
    ];
    execute(tx.conn(), operation, &sql, values).await?;
    Ok(())
}

/// Adds to the three figures of a user.
async fn add_usage(
    tx: &WriteTransaction,
    operation: &'static str,
    user: UserId,
    (files, bytes, reserved): (i64, i64, i64),
) -> Result<(), BackendError> {
    let sql =
        "UPDATE storage_usage SET files = files + $2, bytes = bytes + $3, reserved = reserved + $4 WHERE user_id = $1";
    execute(
        tx.conn(),
        operation,
        sql,
        vec![user.uuid().into(), files.into(), bytes.into(), reserved.into()],
    )
    .await?;
    Ok(())
}

/// Takes room from the quota, if there is enough.
async fn hold_room(
    tx: &WriteTransaction,
    reservation: &Reservation,
    bytes: i64,
    quota: i64,
) -> Result<(), ReserveError> {
    let operation = "files.reserve";
    // Differences, since a sum could pass the end of the numbers.
    let sql = "INSERT INTO storage_usage (user_id, files, bytes, reserved) SELECT $1, 0, 0, $2 WHERE $2 <= $3 \
        ON CONFLICT (user_id) DO UPDATE SET reserved = storage_usage.reserved + excluded.reserved \
        WHERE excluded.reserved <= $3 - storage_usage.bytes - storage_usage.reserved";
    let values = vec![reservation.user_id.uuid().into(), bytes.into(), quota.into()];
    if execute(tx.conn(), operation, sql, values).await? == 0 {
        return Err(ReserveError::QuotaExceeded);
    }
    Ok(write_reservation(tx, operation, reservation, false).await?)
}

/// Puts the row in the place of its reservation.
async fn write_uploaded(
    db: &Database,
    tx: &WriteTransaction,
    file: &File,
    effects: &Effects,
) -> Result<(), InsertFileError> {
    let operation = "files.insert";
    let sql = "DELETE FROM file_reservations WHERE id = $1 AND user_id = $2 AND removed = FALSE RETURNING bytes";
    let values = vec![file.id.uuid().into(), file.user_id.uuid().into()];
    let row = fetch_one(tx.conn(), operation, sql, values).await?;
    let held: i64 = row.ok_or(InsertFileError::ReservationGone)?.get("bytes")?;
    let size = bigint(operation, file.size)?;
    write_file(tx, file).await?;
    add_usage(tx, operation, file.user_id, (1, size, -held)).await?;
    Ok(write_effects(db, tx, effects).await?)
}

/// Marks reservations that are over as being swept, so that an upload that comes in late cannot make a file of a blob that is being removed.
const SWEEP: &str = "UPDATE file_reservations SET removed = TRUE WHERE removed = FALSE AND id IN \
    (SELECT id FROM file_reservations WHERE removed = FALSE AND expires_at <= $1 ORDER BY expires_at, id LIMIT $2)";

#[async_trait]
impl FileRepository for SqlFileRepository {
    async fn reserve(&self, reservation: &Reservation, quota: u64) -> Result<(), ReserveError> {
        // What no column can hold is beyond every quota, and a quota beyond that is none.
        let quota = i64::try_from(quota).unwrap_or(i64::MAX);
        let Ok(bytes) = i64::try_from(reservation.bytes) else {
            return Err(ReserveError::QuotaExceeded);
        };
        let tx = self.db.begin_shared_write().await?;
        let outcome = hold_room(&tx, reservation, bytes, quota).await;
        tx.end(outcome).await
    }

    async fn insert(&self, file: &File, effects: &Effects) -> Result<(), InsertFileError> {
        let tx = self.db.begin_shared_write().await?;
        let outcome = write_uploaded(&self.db, &tx, file, effects).await;
        tx.end(outcome).await
    }

    async fn cancel(&self, id: FileId) -> Result<(), BackendError> {
        let operation = "files.cancel";
        let tx = self.db.begin_write().await?;
        let sql = "DELETE FROM file_reservations WHERE id = $1 RETURNING user_id, bytes";
        let Some(row) = fetch_one(tx.conn(), operation, sql, vec![id.uuid().into()]).await? else {
            return Ok(());
        };
        let held: i64 = row.get("bytes")?;
        if held > 0 {
            add_usage(&tx, operation, UserId::new(row.get("user_id")?), (0, 0, -held)).await?;
        }
        tx.commit().await
    }

    async fn find(&self, user: UserId, id: FileId) -> Result<Option<File>, BackendError> {
        Ok(self.find_any(id).await?.filter(|file| file.user_id == user))
    }

    async fn find_any(&self, id: FileId) -> Result<Option<File>, BackendError> {
        self.reads.find(id.uuid()).await
    }

    async fn list(&self, user: UserId, kind: Option<FileType>, page: &PageRequest) -> Result<Page<File>, BackendError> {
        let mut values: Vec<Value> = vec![user.uuid().into(), (i64::from(page_limit(page)) + 1).into()];
        let mut wanted = String::new();
        match start(page) {
            Start::Nowhere => return Ok(empty_page()),
            Start::Beginning => {}
            Start::Beyond(id) => {
                values.push(id.into());
                wanted.push_str(" AND id < $3");
            }
        }
        if let Some(kind) = kind {
            values.push(kind.as_str().into());
            wanted.push_str(&format!(" AND kind = ${}", values.len()));
        }
        let sql = format!("SELECT {COLUMNS} FROM files WHERE user_id = $1{wanted} ORDER BY id DESC LIMIT $2");
        let rows = fetch_all(self.db.read(), "files.list", &sql, values).await?;
        let files = rows.iter().map(file_from).collect::<Result<_, _>>()?;
        Ok(finish_page(files, page, |file: &File| file.id.uuid()))
    }

    async fn remove(
        &self,
        user: UserId,
        id: FileId,
        at: Timestamp,
        effects: &Effects,
    ) -> Result<Option<File>, EffectsError> {
        let operation = "files.remove";
        let tx = self.db.begin_write().await?;
        let sql = format!("DELETE FROM files WHERE id = $1 AND user_id = $2 RETURNING {COLUMNS}");
        let values = vec![id.uuid().into(), user.uuid().into()];
        let Some(row) = fetch_one(tx.conn(), operation, &sql, values).await? else {
            return Ok(None);
        };
        let file = file_from(&row)?;
        let leftover = Reservation {
            id,
            user_id: user,
            backend: file.backend.clone(),
            key: file.key.clone(),
            bytes: 0,
            created_at: at,
            expires_at: at,
        };
        write_reservation(&tx, operation, &leftover, true).await?;
        add_usage(&tx, operation, user, (-1, -bigint(operation, file.size)?, 0)).await?;
        write_effects(&self.db, &tx, effects).await?;
        tx.commit().await?;
        Ok(Some(file))
    }

    async fn leftovers(&self, now: Timestamp, limit: u32) -> Result<Vec<Reservation>, BackendError> {
        let operation = "files.leftovers";
        let values: Vec<Value> = vec![now.micros().into(), i64::from(limit).into()];
        let over = "SELECT id FROM file_reservations WHERE removed = FALSE AND expires_at <= $1 LIMIT $2";
        if fetch_one(self.db.read(), operation, over, values.clone())
            .await?
            .is_some()
        {
            self.db.execute(operation, SWEEP, values.clone()).await?;
        }
        let sql = format!(
            "SELECT {RESERVED} FROM file_reservations WHERE removed = TRUE AND expires_at <= $1 \
             ORDER BY expires_at, id LIMIT $2"
        );
        // From the writer, which has what was just marked.
        self.db
            .fetch_written(operation, &sql, values)
            .await?
            .iter()
            .map(reservation_from)
            .collect()
    }

    async fn usage(&self, user: UserId) -> Result<StorageUsage, BackendError> {
        let sql = "SELECT files, bytes, reserved FROM storage_usage WHERE user_id = $1";
        let row = fetch_one(self.db.read(), "files.usage", sql, vec![user.uuid().into()]).await?;
        let Some(row) = row else {
            return Ok(StorageUsage::default());
        };
        Ok(StorageUsage {
            files: row.count("files")?,
            bytes: row.count("bytes")?,
            reserved: row.count("reserved")?,
        })
    }
}
