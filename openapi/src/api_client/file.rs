//! What is said of a file that is uploaded, and the bytes of one that is downloaded.

use std::fmt;

use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName};

use super::{ApiError, error};

/// A file to be uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    /// What kind of file it is to the product.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its media type, where its first bytes do not say it.
    pub media_type: Option<String>,
    /// Makes a repetition safe.
    pub idempotency_key: Option<String>,
}

/// Which bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// From the first to the last of these, counted from 0.
    Between(u64, u64),
    /// From this one to the end.
    From(u64),
    /// As many at the end.
    Last(u64),
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Between(first, last) => write!(f, "bytes={first}-{last}"),
            Self::From(first) => write!(f, "bytes={first}-"),
            Self::Last(count) => write!(f, "bytes=-{count}"),
        }
    }
}

/// The bytes of a file on their way.
#[derive(Debug)]
pub struct Content(pub(super) reqwest::Response);

impl Content {
    /// The media type.
    pub fn media_type(&self) -> Option<&str> {
        self.header(CONTENT_TYPE)
    }

    /// Bytes in this answer.
    pub fn length(&self) -> Option<u64> {
        self.header(CONTENT_LENGTH)?.parse().ok()
    }

    /// The SHA-256 of the whole file, in quotation marks.
    pub fn etag(&self) -> Option<&str> {
        self.header(ETAG)
    }

    /// Which bytes of how many these are, when a part was asked for and given.
    pub fn range(&self) -> Option<&str> {
        self.header(CONTENT_RANGE)
    }

    /// The next bytes; None after the last.
    ///
    /// # Errors
    /// When the connection breaks before the end, as it does when the stored bytes are not those of the upload.
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, ApiError> {
        let chunk = self.0.chunk().await.map_err(|error| error::told(&error))?;
        Ok(chunk.map(|bytes| bytes.to_vec()))
    }

    /// All bytes at once.
    ///
    /// # Errors
    /// As [`Content::chunk`].
    pub async fn bytes(self) -> Result<Vec<u8>, ApiError> {
        Ok(self.0.bytes().await.map_err(|error| error::told(&error))?.to_vec())
    }

    fn header(&self, name: HeaderName) -> Option<&str> {
        self.0.headers().get(name).and_then(|value| value.to_str().ok())
    }
}
