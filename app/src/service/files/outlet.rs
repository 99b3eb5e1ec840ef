//! The way out: what a backend gives is held against what was stored, before the last bytes leave.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use domain::file::File;
use domain::id::FileId;
use futures_core::Stream;
use ports::{ByteStream, StreamError};
use sha2::{Digest, Sha256};

/// A file, or a part of it, on its way out.
///
/// Every read must have the length that was asked for, and a read of the whole must have the stored hash. The verdict
/// falls before the chunk that completes the length is passed on: a reader that counts bytes never holds a whole file
/// that is not the stored one.
pub(super) struct Outlet {
    body: ByteStream,
    file: FileId,
    left: u64,
    /// The running hash and the stored one; none for a part.
    hash: Option<(Sha256, [u8; 32])>,
    ended: bool,
}

impl Outlet {
    /// Watches over `body`, which is to be the whole of `file`.
    pub(super) fn whole(body: ByteStream, file: &File) -> Self {
        Self {
            body,
            file: file.id,
            left: file.size,
            hash: Some((Sha256::new(), file.sha256)),
            ended: false,
        }
    }

    /// Watches over `body`, which is to be `length` bytes of `file`.
    pub(super) fn part(body: ByteStream, file: &File, length: u64) -> Self {
        Self {
            body,
            file: file.id,
            left: length,
            hash: None,
            ended: false,
        }
    }

    fn pass(&mut self, chunk: Bytes) -> Result<Bytes, StreamError> {
        let Some(left) = self.left.checked_sub(chunk.len() as u64) else {
            return Err(self.corrupt("it is longer than it was"));
        };
        self.left = left;
        if let Some((hash, _)) = &mut self.hash {
            hash.update(&chunk);
        }
        if left > 0 {
            return Ok(chunk);
        }
        let intact = self
            .hash
            .take()
            .is_none_or(|(hash, stored)| <[u8; 32]>::from(hash.finalize()) == stored);
        if intact {
            Ok(chunk)
        } else {
            Err(self.corrupt("its hash is not the stored one"))
        }
    }

    fn corrupt(&self, what: &'static str) -> StreamError {
        tracing::error!(file_id = %self.file, what, "a file in a backend is not what was stored");
        StreamError::Corrupt
    }
}

impl Stream for Outlet {
    type Item = Result<Bytes, StreamError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let item = match ready!(self.body.as_mut().poll_next(cx)) {
            None if self.left > 0 => Some(Err(self.corrupt("it is shorter than it was"))),
            None => None,
            Some(Ok(chunk)) => Some(self.pass(chunk)),
            Some(Err(error)) => {
                tracing::warn!(file_id = %self.file, %error, "reading a file broke off");
                Some(Err(error))
            }
        };
        self.ended = !matches!(item, Some(Ok(_)));
        Poll::Ready(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::files::samples;
    use futures_util::{StreamExt, stream};

    async fn read(outlet: Outlet) -> (Vec<u8>, bool) {
        let mut bytes = Vec::new();
        let mut corrupt = false;
        for item in outlet.collect::<Vec<_>>().await {
            match item {
                Ok(chunk) => bytes.extend_from_slice(&chunk),
                Err(error) => corrupt = matches!(error, StreamError::Corrupt),
            }
        }
        (bytes, corrupt)
    }

    fn body(chunks: &[&'static [u8]]) -> ByteStream {
        Box::pin(stream::iter(
            chunks
                .iter()
                .map(|chunk| Ok(Bytes::from_static(chunk)))
                .collect::<Vec<_>>(),
        ))
    }

    #[tokio::test]
    async fn the_stored_bytes_pass() {
        let file = samples::file(b"stored");
        assert_eq!(
            read(Outlet::whole(body(&[b"sto", b"red"]), &file)).await,
            (b"stored".to_vec(), false)
        );
        assert_eq!(
            read(Outlet::whole(body(&[]), &samples::file(b""))).await,
            (Vec::new(), false)
        );
        assert_eq!(
            read(Outlet::part(body(&[b"tor"]), &file, 3)).await,
            (b"tor".to_vec(), false)
        );
    }

    #[tokio::test]
    async fn other_bytes_never_leave_whole() {
        let file = samples::file(b"stored");
        assert_eq!(
            read(Outlet::whole(body(&[b"sto", b"rEd"]), &file)).await,
            (b"sto".to_vec(), true)
        );
        assert_eq!(
            read(Outlet::whole(body(&[b"sto", b"re"]), &file)).await,
            (b"store".to_vec(), true)
        );
        assert_eq!(
            read(Outlet::whole(body(&[b"sto", b"redd"]), &file)).await,
            (b"sto".to_vec(), true)
        );
        assert_eq!(
            read(Outlet::part(body(&[b"to"]), &file, 3)).await,
            (b"to".to_vec(), true)
        );
    }
}
