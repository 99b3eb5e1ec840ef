//! A measured event store: a decorator over the port, as those of the guard, for a backend that needs no breaker of its own.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use domain::event::LoggedEvent;
use domain::histogram::{self, Histogram, Snapshot};
use domain::id::{EventId, UserId};
use ports::{BackendError, Clock, Effects, EffectsError, EventStore};

/// An event store that tells how long appending takes. It has no breaker: the database behind it is every route's, and its
/// own timeouts bound a call.
pub struct MeasuredEventStore {
    inner: Arc<dyn EventStore>,
    clock: Arc<dyn Clock>,
    appended: Histogram,
}

impl MeasuredEventStore {
    /// Measures `inner`.
    pub fn new(inner: Arc<dyn EventStore>, clock: Arc<dyn Clock>) -> Self {
        Self {
            inner,
            clock,
            appended: Histogram::new(histogram::EVENT),
        }
    }

    /// From the call to the commit, of each append that succeeded.
    pub fn appended(&self) -> Snapshot {
        self.appended.snapshot()
    }
}

#[async_trait]
impl EventStore for MeasuredEventStore {
    async fn append(&self, effects: &Effects) -> Result<(), EffectsError> {
        let began = self.clock.now();
        self.inner.append(effects).await?;
        self.appended.observe(self.clock.now().since(began));
        Ok(())
    }

    async fn history(&self, user: UserId, after: u64, limit: u32) -> Result<Vec<LoggedEvent>, BackendError> {
        self.inner.history(user, after, limit).await
    }

    async fn find(&self, user: UserId, id: EventId) -> Result<Option<LoggedEvent>, BackendError> {
        self.inner.find(user, id).await
    }
}

impl fmt::Debug for MeasuredEventStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeasuredEventStore").finish_non_exhaustive()
    }
}
