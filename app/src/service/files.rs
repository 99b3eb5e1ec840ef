//! Files: kept whole in a backend, read back checked, shared by signed links.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use domain::blob::{BlobKey, ByteRange, FileType};
use domain::event::OwnEvent;
use domain::file::{BackendName, File};
use domain::id::{FileId, UserId};
use domain::page::{Page, PageRequest};
use domain::tier::Tiers;
use domain::time::Timestamp;
use futures_util::StreamExt;
use ports::{
    BackendError, BlobStore, ByteStream, Effects, EffectsError, FileRepository, GetBlobError, LinkGrant, LinkSigner,
    StreamError, Wakeup,
};
use serde_json::json;
use url::Url;

use super::places::Places;
use super::{Origin, Toolkit};
use abandoned::Abandoned;
use intake::Intake;
use outlet::Outlet;

mod abandoned;
mod intake;
mod media;
mod outlet;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
mod upload;

pub use media::Disposition;
pub use upload::{Length, NewFile, UploadFileError};

/// How long a signed link may live, in seconds: at most seven days, as with S3.
pub const LINK_SECONDS: RangeInclusive<u64> = 1..=604_800;
/// The form of our signed links; another number is another rule about what is signed.
pub const LINK_VERSION: &str = "1";
/// How many leftovers are looked up at once.
const SWEEP_BATCH: u32 = 100;

/// Where the bytes of files are.
#[derive(Clone)]
pub struct Backends {
    /// The backend of new files; one of `stores`.
    pub default: BackendName,
    /// All backends. A file stays in the one that it was put into.
    pub stores: BTreeMap<BackendName, Arc<dyn BlobStore>>,
}

impl fmt::Debug for Backends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&BackendName> = self.stores.keys().collect();
        f.debug_struct("Backends")
            .field("default", &self.default)
            .field("stores", &names)
            .finish()
    }
}

impl Backends {
    fn find(&self, name: &BackendName) -> Result<&Arc<dyn BlobStore>, BackendError> {
        let missing = || format!("the backend {} is not configured", name.as_str());
        self.stores
            .get(name)
            .ok_or_else(|| BackendError::permanent("files", "find backend", missing()))
    }
}

/// The files of all users.
pub struct Files {
    toolkit: Toolkit,
    repository: Arc<dyn FileRepository>,
    backends: Backends,
    links: Arc<dyn LinkSigner>,
    tiers: Arc<Tiers>,
    public_url: Url,
    abandoned: Arc<Abandoned>,
    uploads: Places,
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files")
            .field("backends", &self.backends)
            .finish_non_exhaustive()
    }
}

/// A link that reads one file without a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The whole address.
    pub url: Url,
    /// Until when it works.
    pub expires_at: Timestamp,
}

/// What a presented link says, unchecked.
#[derive(Debug, Clone, Copy)]
pub struct PresentedLink<'a> {
    /// The file.
    pub id: FileId,
    /// The form of the link.
    pub version: &'a str,
    /// Seconds since the Unix epoch.
    pub expires: i64,
    /// `attachment` or `inline`.
    pub disposition: &'a str,
    /// The signature.
    pub signature: &'a str,
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Blobs that were removed, and the room they held given back.
    pub removed: u32,
    /// Those that could not be removed; they come again.
    pub failed: u32,
    /// Whether more are likely to wait.
    pub more: bool,
}

/// Why a file was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenFileError {
    /// It was deleted meanwhile.
    #[error("there is no such file")]
    NotFound,
    /// A backend failed, or has lost the bytes.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// Why a file was not deleted.
#[derive(Debug, thiserror::Error)]
pub enum RemoveFileError {
    /// The user has no such file.
    #[error("there is no such file")]
    NotFound,
    /// The change was refused.
    #[error(transparent)]
    Effects(#[from] EffectsError),
}

impl From<BackendError> for RemoveFileError {
    fn from(error: BackendError) -> Self {
        Self::Effects(error.into())
    }
}

/// Why no link was made.
#[derive(Debug, thiserror::Error)]
pub enum LinkFileError {
    /// The user has no such file.
    #[error("there is no such file")]
    NotFound,
    /// The life of the link is not within [`LINK_SECONDS`].
    #[error("a link lives 1 to 604800 seconds")]
    Life,
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// Why a link was not followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowLinkError {
    /// It is not ours, was changed, is over, or its file is gone: all alike, so that nothing can be learned.
    #[error("the link is not valid")]
    Invalid,
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

impl Files {
    /// Files over their rows, their backends and the signer of links. `public_url` is where clients reach this server.
    pub fn new(
        toolkit: Toolkit,
        repository: Arc<dyn FileRepository>,
        backends: Backends,
        links: Arc<dyn LinkSigner>,
        tiers: Arc<Tiers>,
        public_url: Url,
    ) -> Self {
        Self {
            toolkit,
            repository,
            backends,
            links,
            tiers,
            public_url,
            abandoned: Arc::new(Abandoned::default()),
            uploads: Places::new(upload::AT_ONCE),
        }
    }

    /// The user's files, newest first; of one type when given.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn list(
        &self,
        user: UserId,
        kind: Option<FileType>,
        page: &PageRequest,
    ) -> Result<Page<File>, BackendError> {
        self.repository.list(user, kind, page).await
    }

    /// One of the user's files.
    ///
    /// # Errors
    /// When the row cannot be read.
    pub async fn find(&self, user: UserId, id: FileId) -> Result<Option<File>, BackendError> {
        self.repository.find(user, id).await
    }

    /// The bytes of a file, or a part of them. What is not what was stored breaks the stream off with
    /// [`StreamError::Corrupt`] before the last bytes leave.
    ///
    /// # Errors
    /// [`OpenFileError`]
    pub async fn open(&self, file: &File, range: Option<ByteRange>) -> Result<ByteStream, OpenFileError> {
        let store = self.backends.find(&file.backend)?;
        let part = range.filter(|part| part.len() < file.size);
        match store.get(&file.key, part).await {
            Ok(body) => Ok(match part {
                None => Box::pin(Outlet::whole(body, file)),
                Some(part) => Box::pin(Outlet::part(body, file, part.len())),
            }),
            Err(GetBlobError::NotFound) => Err(self.without_blob(file).await),
            Err(GetBlobError::Backend(error)) => Err(error.into()),
        }
    }

    /// Deletes one of the user's files; its blob goes now, or with the next sweep when the backend is away.
    ///
    /// # Errors
    /// [`RemoveFileError`]
    pub async fn remove(&self, user: UserId, origin: &Origin, id: FileId) -> Result<(), RemoveFileError> {
        let file = self.repository.find(user, id).await?.ok_or(RemoveFileError::NotFound)?;
        let data = json!({
            "file_id": file.id.to_string(),
            "type": file.kind.as_str(),
            "size": file.size,
            "backend": file.backend.as_str(),
        });
        let event = self.toolkit.own_event(origin, user, OwnEvent::FileDeleted, &data);
        let effects = Effects {
            events: vec![event],
            ..Effects::none()
        };
        let removed = self.repository.remove(user, id, self.toolkit.now(), &effects).await?;
        let file = removed.ok_or(RemoveFileError::NotFound)?;
        self.toolkit.wakeups.wake(Wakeup::Written);
        if let Err(error) = self.clear(file.id, &file.backend, &file.key).await {
            tracing::warn!(file_id = %file.id, %error, "the blob of a deleted file is left to the sweeper");
        }
        Ok(())
    }

    /// A link to one of the user's files that works without a token for `life`, in whole seconds.
    ///
    /// # Errors
    /// [`LinkFileError`]
    pub async fn link(
        &self,
        user: UserId,
        id: FileId,
        life: Duration,
        disposition: Disposition,
    ) -> Result<Link, LinkFileError> {
        if !LINK_SECONDS.contains(&life.as_secs()) {
            return Err(LinkFileError::Life);
        }
        let file = self.repository.find(user, id).await?.ok_or(LinkFileError::NotFound)?;
        let expires = self.toolkit.now().plus(life).seconds();
        let grant = grant(file.id, expires, disposition.as_str());
        let mut url = self.public_url.clone();
        url.set_query(None);
        url.set_fragment(None);
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["v1", "links", &file.id.to_string()]);
        }
        url.query_pairs_mut()
            .append_pair("v", LINK_VERSION)
            .append_pair("expires", &expires.to_string())
            .append_pair("disposition", disposition.as_str())
            .append_pair("signature", &self.links.sign(&grant));
        Ok(Link {
            url,
            expires_at: grant.expires_at,
        })
    }

    /// The file that a link allows to read, and what a browser may do with it.
    ///
    /// # Errors
    /// [`FollowLinkError`]
    pub async fn follow(&self, link: PresentedLink<'_>) -> Result<(File, Disposition), FollowLinkError> {
        let grant = grant(link.id, link.expires, link.disposition);
        // The signature is looked at first: nothing else of the link is to be trusted before.
        let genuine = self.links.verify(&grant, link.signature) && link.version == LINK_VERSION;
        let disposition = Disposition::parse(link.disposition)
            .filter(|_| genuine)
            .ok_or(FollowLinkError::Invalid)?;
        if self.toolkit.now() >= grant.expires_at {
            return Err(FollowLinkError::Invalid);
        }
        let file = self
            .repository
            .find_any(link.id)
            .await?
            .ok_or(FollowLinkError::Invalid)?;
        Ok((file, disposition))
    }

    /// Whether a body is the content of `file`, to answer a repeated upload; reads no further than it must.
    ///
    /// # Errors
    /// When the body breaks off.
    pub async fn is_content(&self, file: &File, length: Length, body: ByteStream) -> Result<bool, StreamError> {
        if let Length::Exact(length) = length
            && length != file.size
        {
            return Ok(false);
        }
        let (mut intake, receipt) = Intake::new(body, file.size);
        while let Some(chunk) = intake.next().await {
            match chunk {
                Ok(_) => {}
                Err(StreamError::TooLarge(_)) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(receipt
            .taken()
            .is_some_and(|taken| taken.size == file.size && taken.sha256 == file.sha256))
    }

    /// Removes blobs that no file stands for: those of uploads that broke off, of nodes that died, of deleted files
    /// whose backend was away. Safe to run on any number of nodes at once.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn sweep(&self) -> Result<Swept, BackendError> {
        let mut swept = Swept::default();
        self.sweep_abandoned(&mut swept).await;
        let leftovers = self.repository.leftovers(self.toolkit.now(), SWEEP_BATCH).await?;
        // Those that fail come first again: going on at once would only turn in a circle.
        let failed_before = swept.failed;
        for left in &leftovers {
            match self.clear(left.id, &left.backend, &left.key).await {
                Ok(()) => swept.removed += 1,
                Err(error) => {
                    swept.failed += 1;
                    tracing::warn!(file_id = %left.id, %error, "a leftover blob could not be removed");
                }
            }
        }
        swept.more = leftovers.len() >= SWEEP_BATCH as usize && swept.failed == failed_before;
        Ok(swept)
    }

    /// Those that this process itself left half-done. Their outcome may be unknown, as when the connection to the
    /// database broke in the middle of the commit: a file that came to be is left alone.
    async fn sweep_abandoned(&self, swept: &mut Swept) {
        for left in self.abandoned.due(self.toolkit.now()) {
            let outcome = match self.repository.find_any(left.id).await {
                Ok(Some(_)) => continue,
                Ok(None) => self.clear(left.id, &left.backend, &left.key).await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(()) => swept.removed += 1,
                Err(error) => {
                    swept.failed += 1;
                    tracing::warn!(file_id = %left.id, %error, "what an upload left could not be removed");
                    self.abandoned.push(left, self.toolkit.now());
                }
            }
        }
    }

    /// Removes a blob, and only then gives back the room that names it.
    async fn clear(&self, id: FileId, backend: &BackendName, key: &BlobKey) -> Result<(), BackendError> {
        self.backends.find(backend)?.remove(key).await?;
        self.repository.cancel(id).await
    }

    /// Why a file's blob is not there: the file was deleted a moment ago, or the backend has lost it.
    async fn without_blob(&self, file: &File) -> OpenFileError {
        match self.repository.find_any(file.id).await {
            Ok(None) => OpenFileError::NotFound,
            Ok(Some(_)) => {
                let lost = format!(
                    "the blob of the file {} is gone from {}",
                    file.id,
                    file.backend.as_str()
                );
                BackendError::permanent("files", "open", lost).into()
            }
            Err(error) => error.into(),
        }
    }
}

fn grant(file: FileId, expires: i64, disposition: &str) -> LinkGrant {
    LinkGrant {
        method: "GET".to_owned(),
        file,
        expires_at: Timestamp::from_seconds(expires),
        disposition: disposition.to_owned(),
    }
}
