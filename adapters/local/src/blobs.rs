//! Blobs as files below one directory.

use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use domain::blob::{BlobKey, ByteRange};
use domain::time::Timestamp;
use futures_util::{StreamExt as _, stream};
use ports::{BackendError, BlobStore, ByteStream, GetBlobError, PutBlobError};

use crate::disk::{Draft, blocking, failed, is_full, make_directories, sync_directory, unusable};
use crate::part::Part;

/// Where uploads are until they are whole. No key begins with a dot.
const INCOMING: &str = ".incoming";
/// Bytes gathered before they are handed to a thread that may block: small chunks would cost more in hand-overs than in writing.
const WRITE_BYTES: usize = 256 * 1024;

/// Keeps each blob in a file named by its key.
///
/// A blob is written in `.incoming`, made durable there and then linked to its name, which therefore appears whole, once,
/// and never in place of another. Several processes may share the directory, on a file system with hard links.
#[derive(Debug, Clone)]
pub struct LocalBlobStore {
    place: Arc<Place>,
}

#[derive(Debug)]
struct Place {
    root: PathBuf,
    incoming: PathBuf,
    /// Held while directories are made: who finds one there may rely on its being durable.
    making: Mutex<()>,
}

impl LocalBlobStore {
    /// Opens the directory, making it when it is not there.
    ///
    /// # Errors
    /// When it cannot be used for blobs.
    pub async fn open(root: impl Into<PathBuf>) -> Result<Self, BackendError> {
        let root = root.into();
        let place = blocking("open", move || Place::open(&root)).await?.map_err(unusable)?;
        Ok(Self { place: Arc::new(place) })
    }

    /// Removes what is left of uploads that nobody has written to since `before`; gives how many there were.
    ///
    /// # Errors
    /// When the directory cannot be read or a file not be removed.
    pub async fn sweep(&self, before: Timestamp) -> Result<u64, BackendError> {
        let place = Arc::clone(&self.place);
        blocking("sweep", move || place.sweep(before))
            .await?
            .map_err(|error| failed("sweep", error))
    }

    async fn write(mut draft: Draft, mut bytes: Vec<u8>) -> Result<(Draft, Vec<u8>), PutBlobError> {
        let written = blocking("put", move || {
            draft.file.write_all(&bytes)?;
            bytes.clear();
            Ok((draft, bytes))
        });
        written.await?.map_err(refused)
    }
}

impl Place {
    fn open(root: &Path) -> io::Result<Self> {
        make_directories(root)?;
        // Absolute, so that it stays the same place whatever the working directory becomes.
        let root = root.canonicalize()?;
        let incoming = root.join(INCOMING);
        make_directories(&incoming)?;
        let draft = Draft::create(&incoming, "probe")?;
        let linked = incoming.join(format!("linked-by-{}", std::process::id()));
        let _ = std::fs::remove_file(&linked);
        draft
            .link(&linked)
            .map_err(|error| io::Error::new(error.kind(), format!("no hard link can be made here: {error}")))?;
        std::fs::remove_file(&linked)?;
        Ok(Self {
            root,
            incoming,
            making: Mutex::new(()),
        })
    }

    fn path(&self, key: &BlobKey) -> PathBuf {
        self.root.join(key.as_str())
    }

    fn begin(&self, key: &BlobKey) -> io::Result<Draft> {
        let leaf = key.as_str().rsplit('/').next().unwrap_or("blob");
        Draft::create(&self.incoming, leaf)
    }

    fn publish(&self, draft: &Draft, key: &BlobKey) -> io::Result<()> {
        let target = self.path(key);
        if let Some(parent) = target.parent() {
            let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
            make_directories(parent)?;
        }
        draft.publish(&target)
    }

    fn remove(&self, key: &BlobKey) -> io::Result<()> {
        let path = self.path(key);
        match std::fs::remove_file(&path) {
            Ok(()) => sync_directory(path.parent().unwrap_or(&self.root)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn sweep(&self, before: Timestamp) -> io::Result<u64> {
        let mut swept = 0;
        for entry in std::fs::read_dir(&self.incoming)? {
            let entry = entry?;
            // One that has just been published or given up is gone by now.
            let Ok(modified) = entry.metadata().and_then(|metadata| metadata.modified()) else {
                continue;
            };
            let written = Timestamp::default().plus(modified.duration_since(UNIX_EPOCH).unwrap_or_default());
            if written < before {
                match std::fs::remove_file(entry.path()) {
                    Ok(()) => swept += 1,
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(swept)
    }
}

fn refused(error: io::Error) -> PutBlobError {
    match error.kind() {
        ErrorKind::AlreadyExists => PutBlobError::Exists,
        _ if is_full(&error) => PutBlobError::Full,
        _ => PutBlobError::Backend(failed("put", error)),
    }
}

#[async_trait]
impl BlobStore for LocalBlobStore {
    async fn put(&self, key: &BlobKey, mut body: ByteStream) -> Result<u64, PutBlobError> {
        let (place, key) = (Arc::clone(&self.place), key.clone());
        let begun = blocking("put", {
            let (place, key) = (Arc::clone(&place), key.clone());
            move || place.begin(&key)
        });
        let mut draft = begun.await?.map_err(refused)?;
        let (mut size, mut gathered) = (0_u64, Vec::new());
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(PutBlobError::Stream)?;
            size += chunk.len() as u64;
            gathered.extend_from_slice(&chunk);
            if gathered.len() >= WRITE_BYTES {
                (draft, gathered) = Self::write(draft, gathered).await?;
            }
        }
        let published = blocking("put", move || {
            draft.file.write_all(&gathered)?;
            place.publish(&draft, &key)
        });
        published.await?.map_err(refused)?;
        Ok(size)
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<ByteStream, GetBlobError> {
        let path = self.place.path(key);
        // The first bytes come with the opening: most blobs are small, and each hand-over costs.
        let opened = match Part::at_hand(&path, range) {
            Some(opened) => Ok(opened),
            None => blocking("get", move || Part::open(&path, range).and_then(Part::next)).await?,
        };
        let (first, rest) = opened.map_err(|error| match error.kind() {
            ErrorKind::NotFound => GetBlobError::NotFound,
            _ => GetBlobError::Backend(failed("get", error)),
        })?;
        Ok(Box::pin(stream::iter([Ok(first)]).chain(rest.into_stream())))
    }

    async fn size(&self, key: &BlobKey) -> Result<Option<u64>, BackendError> {
        let path = self.place.path(key);
        match blocking("size", move || std::fs::metadata(path)).await? {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("size", error)),
        }
    }

    async fn remove(&self, key: &BlobKey) -> Result<(), BackendError> {
        let (place, key) = (Arc::clone(&self.place), key.clone());
        blocking("remove", move || place.remove(&key))
            .await?
            .map_err(|error| failed("remove", error))
    }
}
