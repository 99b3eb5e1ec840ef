//! The way in: a body is hashed, counted and sniffed while it streams into a backend, in constant memory.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use ports::{ByteStream, StreamError};
use sha2::{Digest, Sha256};

use super::media::HEAD_BYTES;

/// What a body turned out to be, known when it was read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Taken {
    /// Bytes.
    pub(super) size: u64,
    /// SHA-256 of all of them.
    pub(super) sha256: [u8; 32],
    /// The first [`HEAD_BYTES`] of them.
    pub(super) head: Vec<u8>,
}

/// Tells the outcome of an [`Intake`] that another party has read.
#[derive(Debug, Clone, Default)]
pub(super) struct Receipt(Arc<OnceLock<Taken>>);

impl Receipt {
    /// What was read; none while the end has not been reached.
    pub(super) fn taken(&self) -> Option<&Taken> {
        self.0.get()
    }
}

/// A body on its way in.
pub(super) struct Intake {
    body: ByteStream,
    most: u64,
    size: u64,
    hash: Sha256,
    head: Vec<u8>,
    ended: bool,
    receipt: Receipt,
}

impl Intake {
    /// Watches over `body`, which breaks off with [`StreamError::TooLarge`] when it passes `most` bytes.
    pub(super) fn new(body: ByteStream, most: u64) -> (Self, Receipt) {
        let receipt = Receipt::default();
        let intake = Self {
            body,
            most,
            size: 0,
            hash: Sha256::new(),
            head: Vec::new(),
            ended: false,
            receipt: receipt.clone(),
        };
        (intake, receipt)
    }

    fn take(&mut self, chunk: &Bytes) -> Result<(), StreamError> {
        self.size = self.size.saturating_add(chunk.len() as u64);
        if self.size > self.most {
            return Err(StreamError::TooLarge(self.most));
        }
        let wanted = HEAD_BYTES - self.head.len();
        self.head.extend_from_slice(&chunk[..chunk.len().min(wanted)]);
        self.hash.update(chunk);
        Ok(())
    }

    fn finish(&mut self) {
        let sha256 = std::mem::take(&mut self.hash).finalize().into();
        let taken = Taken {
            size: self.size,
            sha256,
            head: std::mem::take(&mut self.head),
        };
        // The end comes once, so that nothing is there before.
        let _ = self.receipt.0.set(taken);
    }
}

impl Stream for Intake {
    type Item = Result<Bytes, StreamError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match ready!(self.body.as_mut().poll_next(cx)) {
            None => {
                self.ended = true;
                self.finish();
                Poll::Ready(None)
            }
            Some(item) => {
                let item = item.and_then(|chunk| self.take(&chunk).map(|()| chunk));
                self.ended = item.is_err();
                Poll::Ready(Some(item))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{StreamExt, stream};

    fn body(chunks: Vec<Result<&'static [u8], StreamError>>) -> ByteStream {
        Box::pin(stream::iter(
            chunks.into_iter().map(|chunk| chunk.map(Bytes::from_static)),
        ))
    }

    #[tokio::test]
    async fn the_receipt_tells_size_hash_and_head_at_the_end_only() {
        let long = [7_u8; HEAD_BYTES];
        let chunks: Vec<Bytes> = vec![Bytes::from_static(b"%PDF-1.7 "), Bytes::copy_from_slice(&long)];
        let whole: Vec<u8> = chunks.concat();
        let (mut intake, receipt) = Intake::new(Box::pin(stream::iter(chunks.into_iter().map(Ok))), 1 << 20);
        assert!(intake.next().await.unwrap().is_ok());
        assert_eq!(receipt.taken(), None);
        assert!(intake.next().await.unwrap().is_ok());
        assert!(intake.next().await.is_none());
        let taken = receipt.taken().unwrap();
        assert_eq!(taken.size, whole.len() as u64);
        assert_eq!(taken.sha256, <[u8; 32]>::from(Sha256::digest(&whole)));
        assert_eq!(taken.head, &whole[..HEAD_BYTES]);
    }

    #[tokio::test]
    async fn a_body_breaks_off_where_it_passes_the_limit_and_gives_no_receipt() {
        let (intake, receipt) = Intake::new(body(vec![Ok(b"1234"), Ok(b"5"), Ok(b"6")]), 4);
        let read: Vec<_> = intake.collect().await;
        assert_eq!(read.len(), 2);
        assert!(matches!(read[1], Err(StreamError::TooLarge(4))));
        assert_eq!(receipt.taken(), None);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_gives_no_receipt() {
        let (intake, receipt) = Intake::new(body(vec![Ok(b"12"), Err(StreamError::Interrupted)]), 4);
        assert_eq!(intake.collect::<Vec<_>>().await.len(), 2);
        assert_eq!(receipt.taken(), None);
    }
}
