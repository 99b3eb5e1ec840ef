//! The same handlers, fed from topics: events of other services through a consumer group.
//!
//! The group's name and its inbox marks are those under which the handler follows the log. An event that fails is held
//! where those of the log are; the group's workers, which have the shards, try it again. So there is one place for
//! what failed, wherever it came from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::cloud_event::{ForeignEvent, TopicPlace};
use domain::event::{LoggedEvent, Shard};
use domain::id::{DeadLetterId, UserId};
use futures_util::stream::{self, StreamExt};
use ports::{BackendError, HeldEvents, HeldFate, NewForeignEvent, Received, TopicSubscriber};

use super::handler::EventHandler;
use super::held::MOST_HELD;
use super::outcome::{Judgement, Next, judge};
use super::{BATCH, HandleEventError, SIDE_BY_SIDE, tell};
use crate::service::Toolkit;
use crate::worker::{Pace, WorkCounters, Worker};

/// How long it waits for records at most, and between looks whether less is held.
const WAIT: Duration = Duration::from_millis(500);

/// Feeds a handler from topics. Any number may run for one group: the brokers decide which partitions are whose.
pub struct TopicWorker {
    handler: Arc<dyn EventHandler>,
    subscriber: Arc<dyn TopicSubscriber>,
    holding: Arc<dyn HeldEvents>,
    toolkit: Toolkit,
    /// What stands as source in events of this installation.
    own_source: String,
    name: String,
    counters: Arc<WorkCounters>,
    /// Records that are received and not yet done with.
    in_hand: Vec<Received>,
    /// Whether something is held, as far as this worker knows; then it is counted before more is received.
    holds: bool,
}

impl std::fmt::Debug for TopicWorker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TopicWorker")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What became of a part of the records.
#[derive(Default)]
struct Part {
    held: Vec<NewForeignEvent>,
    away: Option<HandleEventError>,
}

impl TopicWorker {
    /// A worker that feeds the handler what the subscriber receives. Events of `own_source` are passed over: they are in the log.
    pub fn new(
        handler: Arc<dyn EventHandler>,
        subscriber: Arc<dyn TopicSubscriber>,
        holding: Arc<dyn HeldEvents>,
        toolkit: Toolkit,
        own_source: String,
    ) -> Self {
        let name = format!("topics {}", handler.group());
        Self {
            handler,
            subscriber,
            holding,
            toolkit,
            own_source,
            name,
            counters: Arc::default(),
            in_hand: Vec::new(),
            // What an earlier process left.
            holds: true,
        }
    }

    /// Events that it handled, and failed events and steps.
    pub fn counters(&self) -> Arc<WorkCounters> {
        Arc::clone(&self.counters)
    }

    /// Whether the group holds so much that nothing more is received: a handler that fails at everything must not copy whole topics into the database.
    async fn is_full(&mut self) -> Result<bool, BackendError> {
        if !self.holds {
            return Ok(false);
        }
        let shards: Vec<Shard> = Shard::all().collect();
        let waiting = self.holding.waiting(self.handler.group(), &shards).await?;
        let count: u64 = waiting.iter().map(|user| user.count).sum();
        self.holds = count > 0;
        Ok(count >= MOST_HELD)
    }

    /// Handles what is in hand, and gives what is to be held of it.
    async fn handle(&self, now_in_hand: &[Received]) -> Result<Vec<NewForeignEvent>, BackendError> {
        let (readable, mut held) = self.sort_out(now_in_hand);
        let lanes: BTreeSet<UserId> = readable.iter().map(|record| record.foreign.lane).collect();
        let lanes: Vec<UserId> = lanes.into_iter().collect();
        let behind = self.holding.behind(self.handler.group(), &lanes).await?;
        let (wait, free): (Vec<&Received>, Vec<&Received>) = readable
            .into_iter()
            .partition(|record| behind.contains(&record.foreign.lane));
        held.extend(wait.into_iter().map(|record| self.hold(record, HeldFate::Waits)));
        if free.is_empty() || self.offer(&free).await? {
            return Ok(held);
        }
        let mut shards: BTreeMap<Shard, Vec<&Received>> = BTreeMap::new();
        for record in free {
            shards.entry(Shard::of(record.foreign.lane)).or_default().push(record);
        }
        let parts: Vec<_> = shards
            .into_values()
            .map(|records| self.handle_one_by_one(records))
            .collect();
        let parts: Vec<Part> = stream::iter(parts).buffer_unordered(SIDE_BY_SIDE).collect().await;
        let mut away = None;
        for part in parts {
            held.extend(part.held);
            away = away.or(part.away);
        }
        match away {
            None => Ok(held),
            Some(HandleEventError::Backend(error)) => Err(error),
            Some(other) => Err(BackendError::temporary("handler", "handle", other)),
        }
    }

    /// Leaves out what is in the log, and gives up what is no event.
    fn sort_out<'r>(&self, records: &'r [Received]) -> (Vec<&'r Received>, Vec<NewForeignEvent>) {
        let (mut readable, mut held) = (Vec::with_capacity(records.len()), Vec::new());
        for record in records.iter().filter(|record| record.foreign.source != self.own_source) {
            match &record.fault {
                None => readable.push(record),
                Some(fault) => {
                    let refused = unreadable(fault.clone());
                    if let Judgement::Never(reason) = judge(Err(refused)) {
                        let next = Next::never(reason, 0, self.toolkit.now());
                        held.push(self.hold(record, self.told(record, next).into()));
                    }
                }
            }
        }
        (readable, held)
    }

    /// Offers the handler all of these as one batch; false when it took none of them.
    async fn offer(&self, records: &[&Received]) -> Result<bool, BackendError> {
        let events: Vec<LoggedEvent> = records.iter().map(|record| logged(record)).collect();
        match self.handler.handle_batch(&events).await {
            Ok(Some(new)) => {
                self.counters.add_done(new.iter().filter(|new| **new).count() as u64);
                self.counters.add_delays(self.toolkit.now(), events.iter());
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(HandleEventError::Backend(error)) if error.temporary || error.full => Err(error),
            Err(error) => {
                tracing::debug!(worker = %self.name, %error, "a batch fails; its events are handled one by one");
                Ok(false)
            }
        }
    }

    /// Handles records in order; after one that is held, those of its lane wait.
    async fn handle_one_by_one(&self, records: Vec<&Received>) -> Part {
        let (mut part, mut waiting) = (Part::default(), BTreeSet::new());
        for record in records {
            let lane = record.foreign.lane;
            if waiting.contains(&lane) {
                part.held.push(self.hold(record, HeldFate::Waits));
                continue;
            }
            let event = logged(record);
            let next = match judge(self.handler.handle(&event).await) {
                Judgement::Handled(now) => {
                    if now {
                        self.counters.add_done(1);
                        self.counters.add_delays(self.toolkit.now(), std::iter::once(&event));
                    }
                    continue;
                }
                Judgement::Away(error) => {
                    part.away = Some(error);
                    return part;
                }
                Judgement::Again(reason) => {
                    let random = u64::from_be_bytes(self.toolkit.random());
                    Next::again(reason, 0, self.toolkit.now(), random)
                }
                Judgement::Never(reason) => Next::never(reason, 0, self.toolkit.now()),
            };
            if matches!(next, Next::Retry(..)) {
                waiting.insert(lane);
            }
            part.held.push(self.hold(record, self.told(record, next).into()));
        }
        part
    }

    fn hold(&self, record: &Received, fate: HeldFate) -> NewForeignEvent {
        NewForeignEvent {
            id: DeadLetterId::new(self.toolkit.id()),
            place: record.place.clone(),
            foreign: record.foreign.clone(),
            fate,
        }
    }

    /// Counts a failure and tells of it.
    fn told(&self, record: &Received, next: Next) -> Next {
        self.counters.add_failure();
        tell(&self.name, &record.foreign.event, &next);
        next
    }
}

/// A record as handlers take events.
fn logged(record: &Received) -> LoggedEvent {
    record.foreign.clone().into_logged(record.place.offset)
}

/// What is said of a record that is no event.
pub(super) fn unreadable(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> HandleEventError {
    HandleEventError::Refused {
        code: "not_an_event",
        source: why.into(),
    }
}

/// Whether an event stands for a record that is none: no handler is given it, redriven or not.
pub(super) fn is_unreadable(event: &LoggedEvent) -> bool {
    ForeignEvent::is_unreadable(&event.event)
}

/// The last place of each partition.
fn last_places(records: &[Received]) -> Vec<TopicPlace> {
    let mut last: BTreeMap<(&str, u32), u64> = BTreeMap::new();
    for Received { place, .. } in records {
        let offset = last.entry((&place.topic, place.partition)).or_default();
        *offset = place.offset.max(*offset);
    }
    last.into_iter()
        .map(|((topic, partition), offset)| TopicPlace {
            topic: topic.to_owned(),
            partition,
            offset,
        })
        .collect()
}

#[async_trait]
impl Worker for TopicWorker {
    fn name(&self) -> &str {
        &self.name
    }

    fn counters(&self) -> &WorkCounters {
        &self.counters
    }

    /// Receives records when none is in hand, and handles those that are. What could not be handled, since a backend is away, stays in hand: as long nothing more is taken, and the brokers are asked for no more when enough waits.
    async fn step(&mut self) -> Result<Pace, BackendError> {
        if self.in_hand.is_empty() {
            if self.is_full().await? {
                return Ok(Pace::Rest);
            }
            self.in_hand = self.subscriber.receive(BATCH, WAIT).await?;
        }
        let in_hand = std::mem::take(&mut self.in_hand);
        let handled = match self.handle(&in_hand).await {
            Ok(held) if held.is_empty() => Ok(()),
            Ok(held) => {
                self.holds = true;
                self.holding.hold(self.handler.group(), &held, self.toolkit.now()).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = handled {
            self.in_hand = in_hand;
            return Err(error);
        }
        self.subscriber.done(&last_places(&in_hand)).await?;
        Ok(Pace::More)
    }

    /// Receiving waits by itself; only what is held is waited for here.
    async fn rest(&mut self) {
        tokio::time::sleep(WAIT).await;
    }

    async fn finish(&mut self) -> Result<(), BackendError> {
        self.subscriber.leave().await
    }
}

#[cfg(test)]
#[path = "topic_tests.rs"]
mod tests;
