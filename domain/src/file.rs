//! Files: what the API shows of a blob.

use crate::blob::{BlobKey, FileName, FileType};
use crate::id::{FileId, UserId};
use crate::time::Timestamp;

/// The name of a configured backend: 1 to 32 of `a-z0-9_`, a letter first.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendName(String);

/// A text cannot be the name of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 32 of a-z, 0-9 and _, beginning with a letter")]
pub struct ParseBackendNameError;

impl BackendName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for BackendName {
    type Err = ParseBackendNameError;

    fn from_str(text: &str) -> Result<Self, ParseBackendNameError> {
        let fits = (1..=32).contains(&text.len())
            && text.as_bytes()[0].is_ascii_lowercase()
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseBackendNameError)
        }
    }
}

/// A stored file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its id.
    pub id: FileId,
    /// Whose it is.
    pub user_id: UserId,
    /// The type that the caller gave.
    pub kind: FileType,
    /// The name that the caller gave.
    pub name: FileName,
    /// Where its bytes are in the backend.
    pub key: BlobKey,
    /// Which backend holds them.
    pub backend: BackendName,
    /// Bytes.
    pub size: u64,
    /// The sniffed or declared media type.
    pub media_type: String,
    /// SHA-256 of the bytes.
    pub sha256: [u8; 32],
    /// When it was stored.
    pub created_at: Timestamp,
}

/// Room held for an upload, so that parallel uploads cannot pass a quota together; it also names the blob that a broken upload may leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The id of the file to be.
    pub id: FileId,
    /// Whose it will be.
    pub user_id: UserId,
    /// The backend that it goes to.
    pub backend: BackendName,
    /// The key that it goes to.
    pub key: BlobKey,
    /// Bytes held.
    pub bytes: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When what is left of it may be swept.
    pub expires_at: Timestamp,
}

/// What a user has stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StorageUsage {
    /// How many files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes held by uploads under way.
    pub reserved: u64,
}
