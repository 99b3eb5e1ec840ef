//! File rows: what is stored where, and the room it takes.

use async_trait::async_trait;
use domain::file::{File, Reservation, StorageUsage};
use domain::id::{FileId, UserId};
use domain::page::{Page, PageRequest};
use domain::time::Timestamp;

use crate::{BackendError, Effects, EffectsError};

/// File rows and reservations.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait FileRepository: Send + Sync + 'static {
    /// Holds room: MUST refuse when stored and held bytes of the user would pass `quota` together, also when many ask at once.
    async fn reserve(&self, reservation: &Reservation, quota: u64) -> Result<(), ReserveError>;

    /// Turns a reservation into a file; the room held becomes the room taken. MUST be refused as [`InsertFileError::ReservationGone`] when the reservation is missing.
    async fn insert(&self, file: &File, effects: &Effects) -> Result<(), InsertFileError>;

    /// Gives the room back; idempotent. The blob must be gone before.
    async fn cancel(&self, id: FileId) -> Result<(), BackendError>;

    /// One of the user's files. Another user's id MUST give none.
    async fn find(&self, user: UserId, id: FileId) -> Result<Option<File>, BackendError>;

    /// A file by its id alone, for signed links.
    async fn find_any(&self, id: FileId) -> Result<Option<File>, BackendError>;

    /// The user's files, newest first; of one type when given.
    async fn list(
        &self,
        user: UserId,
        kind: Option<domain::blob::FileType>,
        page: &PageRequest,
    ) -> Result<Page<File>, BackendError>;

    /// Removes one of the user's files and leaves its blob to be removed: it comes back from [`leftovers`](Self::leftovers) until [`cancel`](Self::cancel) confirms. Gives the file, none when there was none (and then writes nothing).
    async fn remove(
        &self,
        user: UserId,
        id: FileId,
        at: Timestamp,
        effects: &Effects,
    ) -> Result<Option<File>, EffectsError>;

    /// Reservations that are over at `now` and blobs of removed files, at most `limit`: their blobs are to be removed, then each confirmed by [`cancel`](Self::cancel). A reservation that was given MUST NOT become a file any more: its blob is being removed.
    async fn leftovers(&self, now: Timestamp, limit: u32) -> Result<Vec<Reservation>, BackendError>;

    /// What the user has stored.
    async fn usage(&self, user: UserId) -> Result<StorageUsage, BackendError>;
}

/// Why no room was held.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    /// The quota would be passed.
    #[error("the storage quota would be exceeded")]
    QuotaExceeded,
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// Why a file row was not made.
#[derive(Debug, thiserror::Error)]
pub enum InsertFileError {
    /// The reservation was swept or confirmed before.
    #[error("the reservation is gone")]
    ReservationGone,
    /// The effects were refused.
    #[error(transparent)]
    Effects(#[from] EffectsError),
}

impl From<BackendError> for InsertFileError {
    fn from(error: BackendError) -> Self {
        Self::Effects(error.into())
    }
}
