//! Uploading: room is held first, the body streams into the backend, then the row and its event are one commit.

use std::time::Duration;

use domain::blob::{BlobKey, FileName, FileType};
use domain::event::OwnEvent;
use domain::file::{File, Reservation};
use domain::id::{FileId, UserId};
use domain::tier::{TierLimits, TierName};
use ports::{
    BackendError, ByteStream, Effects, EffectsError, InsertFileError, PutBlobError, ReserveError, StoredAnswer,
    StreamError, Wakeup,
};
use serde_json::json;

use super::abandoned::Held;
use super::intake::{Intake, Taken};
use super::{Files, media};
use crate::service::Origin;

/// What a multipart body may have around its file: boundaries and part headers.
const FRAMING: u64 = 16 * 1024;
/// Uploads of one user at one time in this process: the backends have places for a number of bodies, and one slow user
/// must not hold all of them.
pub(super) const AT_ONCE: u32 = 8;
/// Every upload may take this long, however small it is.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// A larger one may take longer, at this least rate in bytes a second: that of a poor mobile connection.
const SLOWEST: u64 = 64 * 1024;
/// How long after the end of that time a reservation is kept, so that none is swept under an upload that ends late.
const MARGIN: Duration = Duration::from_secs(10 * 60);
/// How often room of an unknown size is asked for anew when a parallel upload took it in between.
const TRIES: usize = 3;

/// What is known of the size of a body before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// This many bytes.
    Exact(u64),
    /// At most this many: the request has them, with the file and a little around it.
    Framed(u64),
    /// Nothing.
    Unknown,
}

/// A file that is about to be uploaded.
#[derive(Debug, Clone)]
pub struct NewFile {
    /// Whose it will be.
    pub user_id: UserId,
    /// The user's plan.
    pub tier: TierName,
    /// Who uploads it.
    pub origin: Origin,
    /// The type that the caller gave.
    pub kind: FileType,
    /// The name that the caller gave.
    pub name: FileName,
    /// What is known of its size.
    pub length: Length,
    /// The media type that the caller declared.
    pub media_type: Option<String>,
}

/// Why a file was not stored; nothing of it is left, or will be after the next sweeps.
#[derive(Debug, thiserror::Error)]
pub enum UploadFileError {
    /// It is larger than the plan allows one file to be, in bytes.
    #[error("the file is larger than {0} bytes")]
    TooLarge(u64),
    /// All files of the user together would be larger than the plan allows.
    #[error("the storage quota would be exceeded")]
    QuotaExceeded,
    /// The disk is full.
    #[error("the storage is full")]
    StorageFull,
    /// The body broke off, or was not as long as it said.
    #[error("the body broke off")]
    Interrupted,
    /// The user has as many uploads under way as are allowed at one time.
    #[error("too many uploads at one time")]
    TooMany,
    /// It came too slowly.
    #[error("the upload took too long")]
    TooSlow,
    /// The row was refused.
    #[error(transparent)]
    Effects(#[from] EffectsError),
}

impl From<BackendError> for UploadFileError {
    fn from(error: BackendError) -> Self {
        Self::Effects(error.into())
    }
}

/// Room in bytes, and what is wrong when a body does not fit.
struct Room {
    bytes: u64,
    beyond: fn(u64) -> UploadFileError,
}

impl Files {
    /// Refuses a body of unknown or framed length that [`upload`](Self::upload) would refuse anyhow, for callers that
    /// must read a little of it first.
    ///
    /// # Errors
    /// [`UploadFileError`]
    pub async fn admit(&self, user: UserId, tier: &TierName, length: Length) -> Result<(), UploadFileError> {
        let limits = self.limits(tier)?;
        self.room(user, &limits, length).await.map(|_| ())
    }

    /// Stores a file. `answer` makes what is kept of the answer for a request with an `Idempotency-Key`; it is committed with the file.
    ///
    /// The size limit and the quota are held against the length that is known, and room is held, before the body is
    /// touched. Of one user a few uploads run at one time. When it fails the blob is removed and the room given back; when the process dies or the request is
    /// dropped, the sweeper does that.
    ///
    /// # Errors
    /// [`UploadFileError`]
    pub async fn upload(
        &self,
        new: NewFile,
        body: ByteStream,
        answer: impl FnOnce(&File) -> Option<StoredAnswer> + Send,
    ) -> Result<File, UploadFileError> {
        let _place = self.uploads.take(new.user_id).ok_or(UploadFileError::TooMany)?;
        let (held, reservation, room) = self.reserve(&new).await?;
        let taken = match self.put(&new, &reservation, &room, body).await {
            Ok(taken) => taken,
            Err(error) => {
                self.undo(held, &reservation).await;
                return Err(error);
            }
        };
        let file = File {
            id: reservation.id,
            user_id: new.user_id,
            kind: new.kind,
            name: new.name,
            key: reservation.key.clone(),
            backend: reservation.backend.clone(),
            size: taken.size,
            media_type: media::choose(&taken.head, new.media_type.as_deref()),
            sha256: taken.sha256,
            created_at: self.toolkit.now(),
        };
        let effects = Effects {
            events: vec![
                self.toolkit
                    .own_event(&new.origin, file.user_id, OwnEvent::FileUploaded, &described(&file)),
            ],
            answer: answer(&file),
            ..Effects::none()
        };
        self.commit(file, &effects, held, &reservation).await
    }

    /// Holds room for the file.
    async fn reserve(&self, new: &NewFile) -> Result<(Held, Reservation, Room), UploadFileError> {
        let limits = self.limits(&new.tier)?;
        let tries = if matches!(new.length, Length::Exact(_)) {
            1
        } else {
            TRIES
        };
        for _ in 0..tries {
            let room = self.room(new.user_id, &limits, new.length).await?;
            let reservation = self.reservation(new, room.bytes);
            // Before it is made: a caller that goes away now does not know whether it was, nor does one whose database fails.
            let held = Held::new(reservation.clone(), &self.abandoned, &self.toolkit.clock);
            match self.repository.reserve(&reservation, limits.storage_bytes).await {
                Ok(()) => return Ok((held, reservation, room)),
                // A parallel upload took it in between: what is left is less now.
                Err(ReserveError::QuotaExceeded) => held.settle(),
                Err(ReserveError::Backend(error)) => return Err(error.into()),
            }
        }
        Err(UploadFileError::QuotaExceeded)
    }

    /// How much room a body of that length needs: all that is left where the length is not known.
    async fn room(&self, user: UserId, limits: &TierLimits, length: Length) -> Result<Room, UploadFileError> {
        let most = limits.max_file_bytes;
        let least = match length {
            Length::Exact(bytes) => bytes,
            Length::Framed(bytes) => bytes.saturating_sub(FRAMING),
            Length::Unknown => 0,
        };
        if least > most {
            return Err(UploadFileError::TooLarge(most));
        }
        if let Length::Exact(bytes) = length {
            return Ok(Room {
                bytes,
                beyond: |_| UploadFileError::Interrupted,
            });
        }
        let usage = self.repository.usage(user).await?;
        let left = limits
            .storage_bytes
            .saturating_sub(usage.bytes.saturating_add(usage.reserved));
        if left == 0 || least > left {
            return Err(UploadFileError::QuotaExceeded);
        }
        let wanted = if let Length::Framed(bytes) = length {
            bytes.min(most)
        } else {
            most
        };
        if wanted <= left {
            Ok(Room {
                bytes: wanted,
                beyond: UploadFileError::TooLarge,
            })
        } else {
            Ok(Room {
                bytes: left,
                beyond: |_| UploadFileError::QuotaExceeded,
            })
        }
    }

    fn limits(&self, tier: &TierName) -> Result<TierLimits, BackendError> {
        let tier = self.tiers.entitlement(tier).map(|tier| tier.limits);
        // Tiers without `free` cannot be made; if they were, nobody would be entitled to anything.
        tier.ok_or_else(|| BackendError::permanent("files", "find tier", "no tier is configured"))
    }

    fn reservation(&self, new: &NewFile, bytes: u64) -> Reservation {
        let (id, now) = (FileId::new(self.toolkit.id()), self.toolkit.now());
        Reservation {
            id,
            user_id: new.user_id,
            backend: self.backends.default.clone(),
            key: BlobKey::new(new.user_id, &new.kind, id, now, &new.name),
            bytes,
            created_at: now,
            expires_at: now.plus(patience(bytes)).plus(MARGIN),
        }
    }

    /// Streams the body into the backend.
    async fn put(
        &self,
        new: &NewFile,
        reservation: &Reservation,
        room: &Room,
        body: ByteStream,
    ) -> Result<Taken, UploadFileError> {
        let store = self.backends.find(&reservation.backend)?;
        let (intake, receipt) = Intake::new(body, room.bytes);
        let put = tokio::time::timeout(patience(room.bytes), store.put(&reservation.key, Box::pin(intake))).await;
        let stored = put
            .map_err(|_| UploadFileError::TooSlow)?
            .map_err(|error| refused(error, room))?;
        let Some(taken) = receipt.taken() else {
            return Err(BackendError::permanent("files", "put", "the backend did not read the body to its end").into());
        };
        if stored != taken.size {
            let cause = format!("the backend stored {stored} of {} bytes", taken.size);
            return Err(BackendError::permanent("files", "put", cause).into());
        }
        match new.length {
            Length::Exact(length) if length != taken.size => Err(UploadFileError::Interrupted),
            Length::Exact(_) | Length::Framed(_) | Length::Unknown => Ok(taken.clone()),
        }
    }

    /// Writes the row. A failure of the database may hide a commit, and then the blob must stay: it is removed only
    /// when it is certain that no row stands for it.
    async fn commit(
        &self,
        file: File,
        effects: &Effects,
        held: Held,
        reservation: &Reservation,
    ) -> Result<File, UploadFileError> {
        let error = match self.repository.insert(&file, effects).await {
            Ok(()) => {
                held.settle();
                self.toolkit.wakeups.wake(Wakeup::Written);
                return Ok(file);
            }
            Err(error) => error,
        };
        let (error, certain) = match error {
            InsertFileError::ReservationGone => (UploadFileError::TooSlow, true),
            InsertFileError::Effects(error) => {
                let certain = !matches!(&error, EffectsError::Backend(error) if error.temporary);
                (error.into(), certain)
            }
        };
        match self.repository.find(file.user_id, file.id).await {
            Ok(Some(committed)) => {
                held.settle();
                self.toolkit.wakeups.wake(Wakeup::Written);
                return Ok(committed);
            }
            Ok(None) if certain => self.undo(held, reservation).await,
            // Dropping what is held leaves it to the sweeper, which looks again when the commit has been decided.
            Ok(None) | Err(_) => drop(held),
        }
        Err(error)
    }

    /// Removes what an upload has left and gives the room back; what fails is left to the sweeper.
    async fn undo(&self, held: Held, reservation: &Reservation) {
        match self.clear(reservation.id, &reservation.backend, &reservation.key).await {
            Ok(()) => held.settle(),
            Err(error) => {
                tracing::warn!(file_id = %reservation.id, %error, "what a failed upload left is left to the sweeper");
            }
        }
    }
}

/// How long an upload of that many bytes may take.
fn patience(bytes: u64) -> Duration {
    PATIENCE + Duration::from_secs(bytes / SLOWEST)
}

fn refused(error: PutBlobError, room: &Room) -> UploadFileError {
    match error {
        PutBlobError::Full => UploadFileError::StorageFull,
        PutBlobError::Stream(StreamError::TooLarge(limit)) => (room.beyond)(limit),
        // A body that comes from outside has no stored hash: whatever broke it, it broke off.
        PutBlobError::Stream(StreamError::Interrupted | StreamError::Corrupt) => UploadFileError::Interrupted,
        PutBlobError::Stream(StreamError::Backend(error)) | PutBlobError::Backend(error) => error.into(),
        // Keys hold a fresh id: a taken one means that two ids were alike.
        error @ PutBlobError::Exists => BackendError::permanent("files", "put", error).into(),
    }
}

/// What `file.uploaded` says: ids and figures, never the name.
fn described(file: &File) -> serde_json::Value {
    json!({
        "file_id": file.id.to_string(),
        "type": file.kind.as_str(),
        "size": file.size,
        "media_type": file.media_type,
        "sha256": hex(&file.sha256),
        "backend": file.backend.as_str(),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
