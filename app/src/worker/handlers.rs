//! Handler groups: consumers of the log within the process, each event once for each group.
//!
//! An event that fails is held, and with it the later events of its user, while everything else in its shard goes on. It is
//! tried again with growing pauses and becomes a dead letter in the end. What is held is in the database, written together
//! with the move of the cursor; what a worker remembers of it only spares it the look.

mod handler;
mod held;
mod outcome;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::event::{LoggedEvent, Shard};
use domain::id::{DeadLetterId, UserId};
use domain::retry::RetrySchedule;
use domain::time::Timestamp;
use futures_util::stream::{self, StreamExt};
use ports::{
    BackendError, Cursor, CursorMove, CursorStore, DueEvent, EventLog, HeldEvents, HeldFate, HeldOutcome, HeldVerdict,
    NewHeldEvent, ShardStep, Wakeup,
};

pub use self::handler::{EventHandler, HandleEventError};
use self::held::Held;
use self::outcome::{Judgement, Next, Outcome, by_shard, judge};
use super::{IDLE, LEASE_TTL, Lease, Pace, WorkCounters, Worker, drive};
use crate::lifecycle::Shutdown;
use crate::service::Toolkit;

/// How many events are read in one step, unless the handler takes more.
const BATCH: u32 = 200;
/// Of how many shards events are handled at the same time, by handlers that take them one by one: each takes a connection, which requests need more.
const SIDE_BY_SIDE: usize = 4;
/// The waits of a shard whose handler's backend is away: soon at first, twice a minute in the end. No event is to blame, so that none is given up for it.
const RETRY: RetrySchedule = RetrySchedule {
    base: Duration::from_millis(200),
    cap: Duration::from_secs(30),
    attempts: u32::MAX,
};

/// What handler groups stand on.
#[derive(Clone)]
pub struct Stores {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// The cursors.
    pub cursors: Arc<dyn CursorStore>,
    /// What is held.
    pub holding: Arc<dyn HeldEvents>,
}

impl std::fmt::Debug for Stores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stores").finish_non_exhaustive()
    }
}

/// Feeds a handler from the cursors of its group that it holds. Any number may run for one group: the leases decide
/// which shards are whose.
pub struct HandlerWorker {
    handler: Arc<dyn EventHandler>,
    log: Arc<dyn EventLog>,
    cursors: Arc<dyn CursorStore>,
    holding: Arc<dyn HeldEvents>,
    toolkit: Toolkit,
    owner: String,
    name: String,
    counters: Arc<WorkCounters>,
    lease: Lease,
    /// Whether the last claim changed nothing, so that the next need not come soon.
    settled: bool,
    held: BTreeMap<Shard, Held>,
    ahead: Option<Ahead>,
}

/// Events that were read before their turn, and after what.
#[derive(Debug)]
struct Ahead {
    after: Vec<Cursor>,
    batch: u32,
    events: Vec<LoggedEvent>,
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
    pub fn new(handler: Arc<dyn EventHandler>, stores: Stores, toolkit: Toolkit, owner: String) -> Self {
        let name = format!("handler {}", handler.group());
        let Stores { log, cursors, holding } = stores;
        Self {
            handler,
            log,
            cursors,
            holding,
            toolkit,
            owner,
            name,
            counters: Arc::default(),
            lease: Lease::default(),
            settled: false,
            held: BTreeMap::new(),
            ahead: None,
        }
    }

    /// Events that it handled, and failed events and steps.
    pub fn counters(&self) -> Arc<WorkCounters> {
        Arc::clone(&self.counters)
    }

    /// Renews the leases when it is time, tries what was held and is due, and handles one batch. A shard whose handler's backend is away is left alone until its time; the others go on.
    ///
    /// # Errors
    /// When log or cursors are away; what was handled and could not be noted comes again, and is known by its mark.
    pub async fn step(&mut self) -> Result<Pace, BackendError> {
        let now = self.toolkit.now();
        if self.lease.is_due(now, self.settled) {
            self.claim(now).await?;
        }
        let again = self.try_held(now).await?;
        let cursors = self.ready(now);
        if cursors.is_empty() {
            return Ok(again);
        }
        let (batch, events) = match self.ahead.take().filter(|ahead| ahead.after == cursors) {
            Some(ahead) => (ahead.batch, ahead.events),
            None => {
                let batch = self.handler.batch();
                (batch, self.log.read(&cursors, batch).await?)
            }
        };
        if events.is_empty() {
            return Ok(again);
        }
        let read = events.len() as u64;
        let (at_once, ahead) = tokio::join!(self.handle_at_once(&events), self.read_ahead(&cursors, &events, batch));
        let outcomes = match at_once? {
            Some(outcomes) => outcomes,
            None => self.handle_one_by_one(events, self.lease.step_until(now)).await,
        };
        self.ahead = ahead;
        let handled: u64 = outcomes.iter().map(|outcome| outcome.handled).sum();
        self.settle(outcomes).await?;
        // A batch that was cut short, by its size or by the lease, is gone on with at once.
        Ok(if read == u64::from(batch) || handled < read {
            Pace::More
        } else {
            again
        })
    }

    /// Handles until the process drains.
    pub async fn run(self, shutdown: Shutdown) {
        let toolkit = self.toolkit.clone();
        drive(self, &toolkit, &shutdown).await;
    }

    /// Asks for shards, and for what they hold: dead letters that were redriven, a replay, what another node left.
    async fn claim(&mut self, now: Timestamp) -> Result<(), BackendError> {
        let group = self.handler.group();
        let claimed = self.cursors.claim(group, &self.owner, now, LEASE_TTL).await?;
        let shards: Vec<Shard> = claimed.iter().map(|cursor| cursor.shard).collect();
        let waiting = self.holding.waiting(group, &shards).await?;
        self.lease.renewed_at = Some(now);
        self.settled = !shards.is_empty() && shards.iter().eq(self.held.keys());
        if shards.len() != self.held.len() {
            tracing::info!(worker = %self.name, shards = shards.len(), "shards to handle");
        }
        let mut before = std::mem::take(&mut self.held);
        for Cursor { shard, position } in claimed {
            let known = before.remove(&shard).filter(|known| known.position == position);
            let mut held = known.unwrap_or_else(|| Held::at(position));
            held.learn(&waiting, shard);
            self.held.insert(shard, held);
        }
        Ok(())
    }

    fn ready(&self, now: Timestamp) -> Vec<Cursor> {
        let ready = self
            .held
            .iter()
            .filter(|(_, held)| held.is_ready(now) && !held.is_full());
        ready.map(|(shard, held)| held.cursor(*shard)).collect()
    }

    /// Tries events that were held and are due; costs nothing while nothing is.
    async fn try_held(&mut self, now: Timestamp) -> Result<Pace, BackendError> {
        let due = self
            .held
            .iter()
            .filter(|(_, held)| held.is_ready(now) && held.has_due(now));
        let shards: Vec<Shard> = due.map(|(shard, _)| *shard).collect();
        if shards.is_empty() {
            return Ok(Pace::Rest);
        }
        let due = self
            .holding
            .due(self.handler.group(), &shards, now, self.handler.batch())
            .await?;
        if due.is_empty() {
            return Ok(Pace::Rest);
        }
        let outcomes = match self.try_at_once(&due).await? {
            Some(outcomes) => outcomes,
            None => {
                let until = self.lease.step_until(now);
                stream::iter(by_shard(due, |due| &due.event))
                    .map(|(shard, due)| self.try_again(shard, due, until))
                    .buffer_unordered(SIDE_BY_SIDE)
                    .collect()
                    .await
            }
        };
        let tried: u64 = outcomes.iter().map(|outcome| outcome.handled).sum();
        self.settle(outcomes).await?;
        // What waited behind them may be due now.
        Ok(if tried > 0 { Pace::More } else { Pace::Rest })
    }

    /// Offers the handler held events that have not failed, such as those of a replay, as one batch.
    async fn try_at_once(&self, due: &[DueEvent]) -> Result<Option<Vec<Outcome>>, BackendError> {
        if due.iter().any(|due| due.attempts > 0) {
            return Ok(None);
        }
        let events: Vec<LoggedEvent> = due.iter().map(|due| due.event.clone()).collect();
        if !self.offer(&events).await? {
            return Ok(None);
        }
        let mut outcomes: BTreeMap<Shard, Outcome> = BTreeMap::new();
        for event in events {
            let outcome = outcomes.entry(event.shard).or_insert_with(|| Outcome::new(event.shard));
            outcome.handled += 1;
            outcome.tried.push(tried(&event, HeldVerdict::Done));
        }
        Ok(Some(outcomes.into_values().collect()))
    }

    /// Tries a shard's held events in order; after one that is to be tried again, those of its user wait.
    async fn try_again(&self, shard: Shard, due: Vec<DueEvent>, until: Timestamp) -> Outcome {
        let (mut outcome, mut waiting) = (Outcome::new(shard), BTreeSet::new());
        for DueEvent { event, attempts } in due {
            if waiting.contains(&event.event.user_id) {
                continue;
            }
            let verdict = match judge(self.handler.handle(&event).await) {
                Judgement::Handled(now) => {
                    self.count(&event, now);
                    HeldVerdict::Done
                }
                Judgement::Away(error) => {
                    outcome.away = Some((event.event.id, error));
                    break;
                }
                Judgement::Again(reason) => self
                    .failed(&event, |now, random| Next::again(reason, attempts, now, random))
                    .into(),
                Judgement::Never(reason) => self.failed(&event, |now, _| Next::never(reason, attempts, now)).into(),
            };
            if matches!(verdict, HeldVerdict::Retry(..)) {
                waiting.insert(event.event.user_id);
            }
            outcome.handled += 1;
            outcome.tried.push(tried(&event, verdict));
            if self.toolkit.now() >= until {
                break;
            }
        }
        outcome
    }

    /// Offers the handler the whole batch, without what must wait; none when its events are to be handled one by one.
    async fn handle_at_once(&self, events: &[LoggedEvent]) -> Result<Option<Vec<Outcome>>, BackendError> {
        let offered = if self.held.values().all(Held::is_empty) {
            self.offer(events).await?
        } else {
            let free: Vec<LoggedEvent> = events.iter().filter(|event| !self.must_wait(event)).cloned().collect();
            free.is_empty() || self.offer(&free).await?
        };
        if !offered {
            return Ok(None);
        }
        let mut outcomes: BTreeMap<Shard, Outcome> = BTreeMap::new();
        for event in events {
            let outcome = outcomes.entry(event.shard).or_insert_with(|| Outcome::new(event.shard));
            if self.must_wait(event) {
                outcome.held.push(self.hold(event, HeldFate::Waits));
            }
            outcome.handled += 1;
            outcome.done_to = Some(event.position);
        }
        Ok(Some(outcomes.into_values().collect()))
    }

    /// Reads what comes after a full batch while it is handled, for a handler that takes much at once: mostly it waits for
    /// others, and the log need not wait with it. What could not be read is read in its turn.
    async fn read_ahead(&self, cursors: &[Cursor], events: &[LoggedEvent], full: u32) -> Option<Ahead> {
        let batch = self.handler.batch();
        if batch <= BATCH || events.len() < full as usize {
            return None;
        }
        let mut after = cursors.to_vec();
        for cursor in &mut after {
            let last = events.iter().rev().find(|event| event.shard == cursor.shard);
            cursor.position = last.map_or(cursor.position, |event| event.position);
        }
        let events = self.log.read(&after, batch).await.ok()?;
        Some(Ahead { after, batch, events })
    }

    /// Renews the leases for as long as a batch takes. Without it a broker that is away for longer than a lease would let every
    /// node in turn hand the same batch over.
    async fn keep_leases(&self) -> Infallible {
        loop {
            tokio::time::sleep(LEASE_TTL / 3).await;
            let (group, now) = (self.handler.group(), self.toolkit.now());
            if let Err(error) = self.cursors.claim(group, &self.owner, now, LEASE_TTL).await {
                tracing::debug!(worker = %self.name, %error, "leases are not renewed");
            }
        }
    }

    /// Gives events to the handler as one batch; false when it took none of them.
    async fn offer(&self, events: &[LoggedEvent]) -> Result<bool, BackendError> {
        let offered = tokio::select! {
            offered = self.handler.handle_batch(events) => offered,
            never = self.keep_leases() => match never {},
        };
        let new = match offered {
            Ok(Some(new)) => new,
            Ok(None) => return Ok(false),
            Err(HandleEventError::Backend(error)) if error.temporary || error.full => return Err(error),
            Err(error) => {
                tracing::debug!(worker = %self.name, %error, "a batch fails; its events are handled one by one");
                return Ok(false);
            }
        };
        self.counters.add_done(new.iter().filter(|new| **new).count() as u64);
        self.counters.add_delays(self.toolkit.now(), events.iter());
        Ok(true)
    }

    fn must_wait(&self, event: &LoggedEvent) -> bool {
        let held = self.held.get(&event.shard);
        held.is_some_and(|held| held.holds(event.event.user_id))
    }

    async fn handle_one_by_one(&self, events: Vec<LoggedEvent>, until: Timestamp) -> Vec<Outcome> {
        stream::iter(by_shard(events, |event| event))
            .map(|(shard, events)| self.handle(shard, events, until))
            .buffer_unordered(SIDE_BY_SIDE)
            .collect()
            .await
    }

    async fn handle(&self, shard: Shard, events: Vec<LoggedEvent>, until: Timestamp) -> Outcome {
        let mut outcome = Outcome::new(shard);
        let mut waiting: BTreeSet<UserId> = self.held.get(&shard).into_iter().flat_map(Held::users).collect();
        for event in events {
            if waiting.contains(&event.event.user_id) {
                outcome.held.push(self.hold(&event, HeldFate::Waits));
            } else {
                let next = match judge(self.handler.handle(&event).await) {
                    Judgement::Handled(now) => {
                        self.count(&event, now);
                        None
                    }
                    Judgement::Away(error) => {
                        outcome.away = Some((event.event.id, error));
                        break;
                    }
                    Judgement::Again(reason) => {
                        Some(self.failed(&event, |now, random| Next::again(reason, 0, now, random)))
                    }
                    Judgement::Never(reason) => Some(self.failed(&event, |now, _| Next::never(reason, 0, now))),
                };
                if matches!(next, Some(Next::Retry(..))) {
                    waiting.insert(event.event.user_id);
                }
                outcome.held.extend(next.map(|next| self.hold(&event, next.into())));
            }
            outcome.handled += 1;
            outcome.done_to = Some(event.position);
            if self.toolkit.now() >= until {
                break;
            }
        }
        outcome
    }

    fn count(&self, event: &LoggedEvent, now: bool) {
        if now {
            self.counters.add_done(1);
            self.counters.add_delays(self.toolkit.now(), std::iter::once(event));
        }
    }

    fn hold(&self, event: &LoggedEvent, fate: HeldFate) -> NewHeldEvent {
        NewHeldEvent {
            id: DeadLetterId::new(self.toolkit.id()),
            event_id: event.event.id,
            position: event.position,
            user_id: event.event.user_id,
            event_type: event.event.event_type.clone(),
            origin: self.handler.origin(),
            fate,
        }
    }

    /// Counts a failure, and says what follows it.
    fn failed(&self, event: &LoggedEvent, next: impl FnOnce(Timestamp, u64) -> Next) -> Next {
        self.counters.add_failure();
        let next = next(self.toolkit.now(), u64::from_be_bytes(self.toolkit.random()));
        let (event_id, kind) = (event.event.id, event.event.event_type.as_str());
        match &next {
            Next::Retry(failed, at) => {
                let (attempts, code, reason) = (failed.attempts, failed.reason.code(), failed.reason.text());
                let retry_at = at.to_rfc3339();
                tracing::warn!(worker = %self.name, %event_id, kind, attempts, code, reason, retry_at, "an event fails and holds its user's later events");
            }
            Next::Dead(failed) => {
                let (attempts, code, reason) = (failed.attempts, failed.reason.code(), failed.reason.text());
                tracing::error!(worker = %self.name, %event_id, kind, attempts, code, reason, "an event is given up: see `plinth events dead list`");
            }
        }
        next
    }

    async fn settle(&mut self, outcomes: Vec<Outcome>) -> Result<(), BackendError> {
        let now = self.toolkit.now();
        for outcome in &outcomes {
            self.note(outcome, now);
        }
        let plain = outcomes.iter().all(Outcome::is_plain);
        let step = |outcome: Outcome| {
            let from = self.held.get(&outcome.shard)?.position;
            let to = outcome.done_to.unwrap_or(from);
            (to != from || !outcome.is_plain()).then_some((from, to, outcome))
        };
        let steps: Vec<(u64, u64, Outcome)> = outcomes.into_iter().filter_map(step).collect();
        if steps.is_empty() {
            return Ok(());
        }
        let moved = if plain {
            self.advance(&steps, now).await?
        } else {
            self.write(&steps, now).await?
        };
        for (_, to, outcome) in steps {
            if !moved.contains(&outcome.shard) {
                // Another holds it now: to be asked for again before anything else is done with it.
                self.held.remove(&outcome.shard);
                self.lease.renewed_at = None;
            } else if let Some(held) = self.held.get_mut(&outcome.shard) {
                held.position = to;
                for event in outcome.held {
                    match event.fate {
                        HeldFate::Waits => held.add(event.user_id, now),
                        HeldFate::Retry(_, at) => held.add(event.user_id, at),
                        HeldFate::Dead(_) => {}
                    }
                }
                for (user, outcome) in outcome.tried {
                    held.apply(user, &outcome.verdict, now);
                }
            }
        }
        Ok(())
    }

    /// Moves cursors alone, the usual case.
    async fn advance(&self, steps: &[(u64, u64, Outcome)], now: Timestamp) -> Result<Vec<Shard>, BackendError> {
        let moves: Vec<CursorMove> = steps
            .iter()
            .map(|(from, to, outcome)| CursorMove {
                shard: outcome.shard,
                from: *from,
                to: *to,
            })
            .collect();
        let group = self.handler.group();
        self.cursors.advance(group, &self.owner, &moves, now).await
    }

    /// Moves cursors together with what is held.
    async fn write(&self, steps: &[(u64, u64, Outcome)], now: Timestamp) -> Result<Vec<Shard>, BackendError> {
        let steps: Vec<ShardStep> = steps
            .iter()
            .map(|(from, to, outcome)| ShardStep {
                shard: outcome.shard,
                from: *from,
                to: *to,
                held: outcome.held.clone(),
                outcomes: outcome.tried.iter().map(|(_, outcome)| outcome.clone()).collect(),
            })
            .collect();
        let group = self.handler.group();
        self.holding.settle(group, &self.owner, &steps, now).await
    }

    /// Puts a shard off whose handler's backend is away, a little longer each time.
    fn note(&mut self, outcome: &Outcome, now: Timestamp) {
        let random = u64::from_be_bytes(self.toolkit.random());
        let Some(held) = self.held.get_mut(&outcome.shard) else {
            return;
        };
        if outcome.handled > 0 || outcome.away.is_none() {
            (held.failures, held.retry_at) = (0, None);
        }
        let Some((event_id, error)) = &outcome.away else {
            return;
        };
        self.counters.add_failure();
        held.failures = held.failures.saturating_add(1);
        let wait = RETRY.delay(held.failures, random).unwrap_or(RETRY.cap);
        held.retry_at = Some(now.plus(wait));
        let (shard, failures) = (outcome.shard.number(), held.failures);
        let cause = std::error::Error::source(error).map(ToString::to_string);
        tracing::warn!(worker = %self.name, shard, %event_id, failures, ?wait, %error, cause, "a backend is away and holds a shard up");
    }
}

/// A held event and what became of it.
fn tried(event: &LoggedEvent, verdict: HeldVerdict) -> (UserId, HeldOutcome) {
    let outcome = HeldOutcome {
        event_id: event.event.id,
        verdict,
    };
    (event.event.user_id, outcome)
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
mod large;
#[cfg(test)]
mod tests;
