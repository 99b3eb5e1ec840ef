//! Where bytes are kept.

use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use domain::blob::{BlobKey, ByteRange};
use futures_core::Stream;

use crate::BackendError;

/// A stream of bytes on its way; an error ends it.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, StreamError>> + Send>>;

/// Why a stream of bytes broke off.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The sender went away, stalled or broke the framing.
    #[error("the body broke off")]
    Interrupted,
    /// It passed the limit, in bytes.
    #[error("the body is larger than {0} bytes")]
    TooLarge(u64),
    /// The bytes are not those that were stored.
    #[error("the bytes do not match their stored hash")]
    Corrupt,
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// Keeps blobs under keys.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Stores the stream and gives its size in bytes. It MUST be durable when this returns, MUST use constant memory, MUST appear whole or not at all (a stream that ends in an error leaves nothing behind), and MUST refuse a taken key.
    async fn put(&self, key: &BlobKey, body: ByteStream) -> Result<u64, PutBlobError>;

    /// Reads a blob or a part of it. A range past the end is the caller's fault and gives a permanent backend error.
    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<ByteStream, GetBlobError>;

    /// The size in bytes of a blob, none when there is none.
    async fn size(&self, key: &BlobKey) -> Result<Option<u64>, BackendError>;

    /// Removes a blob; idempotent.
    async fn remove(&self, key: &BlobKey) -> Result<(), BackendError>;
}

/// Why a blob was not stored.
#[derive(Debug, thiserror::Error)]
pub enum PutBlobError {
    /// The key is taken.
    #[error("the key is taken")]
    Exists,
    /// The disk is full.
    #[error("the storage is full")]
    Full,
    /// The stream broke off.
    #[error(transparent)]
    Stream(StreamError),
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// Why a blob was not read.
#[derive(Debug, thiserror::Error)]
pub enum GetBlobError {
    /// There is none.
    #[error("there is no such blob")]
    NotFound,
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}
