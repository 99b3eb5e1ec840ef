//! A guarded blob store.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use domain::blob::{BlobKey, ByteRange};
use domain::breaker::BreakerState;
use ports::{BackendError, BlobStore, ByteStream, Clock, GetBlobError, PutBlobError};

use crate::guard::{Guard, Judgement, Lane};
use crate::{GuardPolicy, GuardStats};

/// A blob store behind timeout, breaker and bulkhead.
///
/// Reading is bounded until the first byte is there, not while the stream is read. Putting is not bounded in time, since it
/// lasts as long as its body does; puts have places of their own.
pub struct GuardedBlobStore {
    inner: Arc<dyn BlobStore>,
    guard: Guard,
}

impl GuardedBlobStore {
    /// Guards `inner`; `name` is the backend's in errors and logs.
    pub fn new(inner: Arc<dyn BlobStore>, name: &'static str, policy: GuardPolicy, clock: Arc<dyn Clock>) -> Self {
        Self {
            inner,
            guard: Guard::new(name, &["put", "get", "size", "remove"], policy, clock),
        }
    }

    /// What was counted.
    pub fn stats(&self) -> GuardStats {
        self.guard.stats()
    }

    /// Where the breaker stands.
    pub fn breaker(&self) -> BreakerState {
        self.guard.breaker()
    }
}

fn judge_put(outcome: &Result<u64, PutBlobError>) -> Judgement {
    match outcome {
        // A store that says what it has no room for is there; others can still be read from it.
        Ok(_) | Err(PutBlobError::Exists | PutBlobError::Full) => Judgement::Answered,
        Err(PutBlobError::Stream(_)) => Judgement::Silent,
        Err(PutBlobError::Backend(error)) => Judgement::of(error),
    }
}

fn judge_get(outcome: &Result<ByteStream, GetBlobError>) -> Judgement {
    match outcome {
        Ok(_) | Err(GetBlobError::NotFound) => Judgement::Answered,
        Err(GetBlobError::Backend(error)) => Judgement::of(error),
    }
}

fn judge<T>(outcome: &Result<T, BackendError>) -> Judgement {
    outcome.as_ref().map_or_else(Judgement::of, |_| Judgement::Answered)
}

#[async_trait]
impl BlobStore for GuardedBlobStore {
    async fn put(&self, key: &BlobKey, body: ByteStream) -> Result<u64, PutBlobError> {
        let outcome = self
            .guard
            .call("put", Lane::Stream, self.inner.put(key, body), judge_put)
            .await;
        outcome.map_err(|refusal| self.guard.error("put", refusal))?
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<ByteStream, GetBlobError> {
        let outcome = self
            .guard
            .call("get", Lane::Answer, self.inner.get(key, range), judge_get)
            .await;
        outcome.map_err(|refusal| self.guard.error("get", refusal))?
    }

    async fn size(&self, key: &BlobKey) -> Result<Option<u64>, BackendError> {
        let outcome = self.guard.call("size", Lane::Answer, self.inner.size(key), judge).await;
        outcome.map_err(|refusal| self.guard.error("size", refusal))?
    }

    async fn remove(&self, key: &BlobKey) -> Result<(), BackendError> {
        let outcome = self
            .guard
            .call("remove", Lane::Answer, self.inner.remove(key), judge)
            .await;
        outcome.map_err(|refusal| self.guard.error("remove", refusal))?
    }
}

impl fmt::Debug for GuardedBlobStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedBlobStore")
            .field("guard", &self.guard)
            .finish_non_exhaustive()
    }
}
