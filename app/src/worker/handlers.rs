//! Handler groups: consumers of the log within the process, each event once for each group.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::event::{LoggedEvent, SHARDS, Shard};
use domain::id::EventId;
use domain::retry::RetrySchedule;
use domain::time::Timestamp;
use futures_util::stream::{self, StreamExt};
use ports::{BackendError, Cursor, CursorMove, CursorStore, EffectsError, EventLog, Wakeup};

use super::{IDLE, LEASE_TTL, Lease, Pace, WorkCounters, Worker, drive};
use crate::lifecycle::Shutdown;
use crate::service::Toolkit;

/// How many events are read in one step, unless the handler takes more.
const BATCH: u32 = 200;
/// Of how many shards events are handled at the same time, by handlers that take them one by one: each takes a connection, which requests need more.
const SIDE_BY_SIDE: usize = 4;
/// The waits of a shard whose next event fails: soon at first, twice a minute in the end.
const RETRY: RetrySchedule = RetrySchedule {
    base: Duration::from_millis(200),
    cap: Duration::from_secs(30),
    attempts: u32::MAX,
};

/// Consumes events.
#[async_trait]
pub trait EventHandler: Send + Sync + 'static {
    /// The name that its cursors and its inbox marks stand under. It never changes: another name begins at the beginning.
    fn group(&self) -> &'static str;

    /// How many events it is given at once, at most.
    fn batch(&self) -> u32 {
        BATCH
    }

    /// Handles one event; events of one user come in order. An event may come again, so what it changes is written together with the group's inbox mark in one call of a port.
    ///
    /// # Errors
    /// [`HandleEventError::AlreadyHandled`] when the mark was there; with the others the event comes again later.
    async fn handle(&self, event: &LoggedEvent) -> Result<(), HandleEventError>;

    /// Handles all of these at once, for handlers that can: in one call of a port, all or nothing, the events of a shard being in order. Tells of each whether it was handled now (false: its mark was there);
    /// none, as here, when the handler takes events one by one.
    ///
    /// # Errors
    /// None of them was handled. When the backend is away they come again; otherwise they come one by one, so that one that cannot be handled holds no shard but its own.
    async fn handle_batch(&self, events: &[LoggedEvent]) -> Result<Option<Vec<bool>>, HandleEventError> {
        let _ = events;
        Ok(None)
    }
}

/// Why an event was not handled.
#[derive(Debug, thiserror::Error)]
pub enum HandleEventError {
    /// It was handled before: nothing is left to do.
    #[error("the event was handled before")]
    AlreadyHandled,
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The handler cannot take it.
    #[error("the handler failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<EffectsError> for HandleEventError {
    fn from(error: EffectsError) -> Self {
        match error {
            EffectsError::AlreadyHandled => Self::AlreadyHandled,
            EffectsError::Backend(error) => Self::Backend(error),
            error @ EffectsError::EventIdTaken(_) => Self::Failed(error.into()),
        }
    }
}

/// Feeds a handler from the cursors of its group that it holds. Any number may run for one group: the leases decide
/// which shards are whose.
pub struct HandlerWorker {
    handler: Arc<dyn EventHandler>,
    log: Arc<dyn EventLog>,
    cursors: Arc<dyn CursorStore>,
    toolkit: Toolkit,
    owner: String,
    name: String,
    counters: Arc<WorkCounters>,
    lease: Lease,
    held: BTreeMap<Shard, Held>,
}

/// A shard that this worker holds.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    position: u64,
    failures: u32,
    retry_at: Option<Timestamp>,
}

/// What became of a shard's part of a batch.
#[derive(Debug)]
struct Outcome {
    shard: Shard,
    handled: u64,
    done_to: Option<u64>,
    failed: Option<(EventId, HandleEventError)>,
}

impl Outcome {
    fn new(shard: Shard) -> Self {
        Self {
            shard,
            handled: 0,
            done_to: None,
            failed: None,
        }
    }
}

impl std::fmt::Debug for HandlerWorker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HandlerWorker")
            .field("name", &self.name)
            .field("held", &self.held)
            .finish_non_exhaustive()
    }
}

impl HandlerWorker {
    /// A worker for a handler, under the name of this process, which no other may have.
    pub fn new(
        handler: Arc<dyn EventHandler>,
        log: Arc<dyn EventLog>,
        cursors: Arc<dyn CursorStore>,
        toolkit: Toolkit,
        owner: String,
    ) -> Self {
        let name = format!("handler {}", handler.group());
        let (counters, lease, held) = (Arc::default(), Lease::default(), BTreeMap::new());
        Self {
            handler,
            log,
            cursors,
            toolkit,
            owner,
            name,
            counters,
            lease,
            held,
        }
    }

    /// Events that it handled, and failed events and steps.
    pub fn counters(&self) -> Arc<WorkCounters> {
        Arc::clone(&self.counters)
    }

    /// Renews the leases when it is time, and handles one batch. A shard whose event fails stops before it, and is left alone until its time; the others go on.
    ///
    /// # Errors
    /// When log or cursors are away; what was handled and could not be noted comes again, and is known by its mark.
    pub async fn step(&mut self) -> Result<Pace, BackendError> {
        let now = self.toolkit.now();
        if self.lease.is_due(now, self.held.len() == usize::from(SHARDS)) {
            self.claim(now).await?;
        }
        let cursors = self.ready(now);
        if cursors.is_empty() {
            return Ok(Pace::Rest);
        }
        let events = self.log.read(&cursors, self.handler.batch()).await?;
        if events.is_empty() {
            return Ok(Pace::Rest);
        }
        let read = events.len() as u64;
        let outcomes = match self.handle_at_once(&events).await? {
            Some(outcomes) => outcomes,
            None => self.handle_one_by_one(events, self.lease.step_until(now)).await,
        };
        let handled: u64 = outcomes.iter().map(|outcome| outcome.handled).sum();
        self.settle(outcomes).await?;
        // A batch that was cut short, by its size or by the lease, is gone on with at once.
        Ok(if read == u64::from(self.handler.batch()) || handled < read {
            Pace::More
        } else {
            Pace::Rest
        })
    }

    /// Handles until the process drains.
    pub async fn run(self, shutdown: Shutdown) {
        let toolkit = self.toolkit.clone();
        drive(self, &toolkit, &shutdown).await;
    }

    async fn claim(&mut self, now: Timestamp) -> Result<(), BackendError> {
        let claimed = self
            .cursors
            .claim(self.handler.group(), &self.owner, now, LEASE_TTL)
            .await?;
        self.lease.renewed_at = Some(now);
        if claimed.len() != self.held.len() {
            tracing::info!(worker = %self.name, shards = claimed.len(), "shards to handle");
        }
        let before = std::mem::take(&mut self.held);
        for Cursor { shard, position } in claimed {
            let known = before.get(&shard).copied().filter(|known| known.position == position);
            self.held.insert(
                shard,
                known.unwrap_or(Held {
                    position,
                    ..Held::default()
                }),
            );
        }
        Ok(())
    }

    fn ready(&self, now: Timestamp) -> Vec<Cursor> {
        let ready = self
            .held
            .iter()
            .filter(|(_, held)| held.retry_at.is_none_or(|at| at <= now));
        ready
            .map(|(shard, held)| Cursor {
                shard: *shard,
                position: held.position,
            })
            .collect()
    }

    /// Offers the handler the whole batch; none when its events are to be handled one by one.
    async fn handle_at_once(&self, events: &[LoggedEvent]) -> Result<Option<Vec<Outcome>>, BackendError> {
        let new = match self.handler.handle_batch(events).await {
            Ok(Some(new)) => new,
            Ok(None) => return Ok(None),
            Err(HandleEventError::Backend(error)) if error.temporary => return Err(error),
            Err(error) => {
                tracing::debug!(worker = %self.name, %error, "a batch fails; its events are handled one by one");
                return Ok(None);
            }
        };
        self.counters.add_done(new.iter().filter(|new| **new).count() as u64);
        self.counters.add_delays(self.toolkit.now(), events.iter());
        let mut outcomes: BTreeMap<Shard, Outcome> = BTreeMap::new();
        for event in events {
            let outcome = outcomes.entry(event.shard).or_insert_with(|| Outcome::new(event.shard));
            outcome.handled += 1;
            outcome.done_to = Some(event.position);
        }
        Ok(Some(outcomes.into_values().collect()))
    }

    async fn handle_one_by_one(&self, events: Vec<LoggedEvent>, until: Timestamp) -> Vec<Outcome> {
        stream::iter(by_shard(events))
            .map(|(shard, events)| self.handle(shard, events, until))
            .buffer_unordered(SIDE_BY_SIDE)
            .collect()
            .await
    }

    async fn handle(&self, shard: Shard, events: Vec<LoggedEvent>, until: Timestamp) -> Outcome {
        let mut outcome = Outcome::new(shard);
        for event in events {
            match self.handler.handle(&event).await {
                Ok(()) => {
                    self.counters.add_done(1);
                    self.counters.add_delays(self.toolkit.now(), std::iter::once(&event));
                }
                Err(HandleEventError::AlreadyHandled) => {}
                Err(error) => {
                    self.counters.add_failure();
                    outcome.failed = Some((event.event.id, error));
                    break;
                }
            }
            outcome.handled += 1;
            outcome.done_to = Some(event.position);
            if self.toolkit.now() >= until {
                break;
            }
        }
        outcome
    }

    async fn settle(&mut self, outcomes: Vec<Outcome>) -> Result<(), BackendError> {
        let step = |outcome: &Outcome| {
            let (from, to) = (self.held.get(&outcome.shard)?.position, outcome.done_to?);
            Some(CursorMove {
                shard: outcome.shard,
                from,
                to,
            })
        };
        let moves: Vec<CursorMove> = outcomes.iter().filter_map(step).collect();
        for outcome in outcomes {
            self.note(outcome);
        }
        if moves.is_empty() {
            return Ok(());
        }
        let now = self.toolkit.now();
        let moved = self
            .cursors
            .advance(self.handler.group(), &self.owner, &moves, now)
            .await?;
        for CursorMove { shard, to, .. } in moves {
            if !moved.contains(&shard) {
                // Another holds it now: to be asked for again before anything else is done with it.
                self.held.remove(&shard);
                self.lease.renewed_at = None;
            } else if let Some(held) = self.held.get_mut(&shard) {
                held.position = to;
            }
        }
        Ok(())
    }

    /// Counts a shard's failures at one event, and puts the next attempt off.
    fn note(&mut self, outcome: Outcome) {
        let random = u64::from_be_bytes(self.toolkit.random());
        let now = self.toolkit.now();
        let Some(held) = self.held.get_mut(&outcome.shard) else {
            return;
        };
        if outcome.done_to.is_some() || outcome.failed.is_none() {
            (held.failures, held.retry_at) = (0, None);
        }
        let Some((event_id, error)) = outcome.failed else {
            return;
        };
        held.failures = held.failures.saturating_add(1);
        let wait = RETRY.delay(held.failures, random).unwrap_or(RETRY.cap);
        held.retry_at = Some(now.plus(wait));
        let (shard, failures) = (outcome.shard.number(), held.failures);
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        tracing::warn!(worker = %self.name, shard, %event_id, failures, ?wait, %error, cause, "an event fails and holds its shard");
    }
}

/// The events of each shard, in order.
fn by_shard(events: Vec<LoggedEvent>) -> BTreeMap<Shard, Vec<LoggedEvent>> {
    let mut shards: BTreeMap<Shard, Vec<LoggedEvent>> = BTreeMap::new();
    for event in events {
        shards.entry(event.shard).or_default().push(event);
    }
    shards
}

#[async_trait]
impl Worker for HandlerWorker {
    fn name(&self) -> &str {
        &self.name
    }

    fn counters(&self) -> &WorkCounters {
        &self.counters
    }

    async fn step(&mut self) -> Result<Pace, BackendError> {
        Self::step(self).await
    }

    async fn rest(&mut self) {
        self.toolkit.wakeups.wait(&self.name, Wakeup::Sequenced, IDLE).await;
    }

    async fn finish(&mut self) -> Result<(), BackendError> {
        self.cursors.release(self.handler.group(), &self.owner).await
    }
}

#[cfg(test)]
mod tests;
