//! The subscriber: a member of a consumer group that hands records on and stores offsets when they are done with.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::cloud_event::TopicPlace;
use domain::stats::{PartitionStats, SubscriptionStats};
use futures_util::StreamExt as _;
use ports::{BackendError, Received, TopicSubscriber};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::statistics::{Partition, Statistics};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio::sync::{Notify, oneshot};

use crate::ADAPTER;
use crate::options::{KafkaOptions, Subscription, refused};
use crate::reading::received;
use crate::topic::failed;
use crate::watch::Watch;

/// Records that wait to be handled, at most; then no more are fetched until they are half as many.
const MOST_WAITING: usize = 2_000;
/// The size of their values, at most, alike.
const MOST_BYTES: usize = 8 * 1024 * 1024;

type Consumer = StreamConsumer<Ears>;
type PartitionKey = (String, i32);

/// [`TopicSubscriber`] on Kafka. Partitions are shared with the other members cooperatively, so that those that stay go on
/// while others move. Its driver takes records from librdkafka all the time, so that a handler that is slow does not cost
/// the membership; when too many wait, the partitions are paused.
pub struct KafkaTopicSubscriber {
    member: Mutex<Option<Member>>,
    shared: Arc<Shared>,
}

struct Member {
    consumer: Arc<Consumer>,
    /// Ends when the driver has.
    driven: oneshot::Receiver<()>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Rings when something came to be taken.
    came: Notify,
    /// Rings when something was taken.
    taken: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Received, usize)>,
    bytes: usize,
    paused: bool,
    fault: Option<BackendError>,
    /// Whether the member leaves: the driver ends.
    left: bool,
    /// The partitions of this member, and what is known of each.
    assigned: BTreeMap<PartitionKey, Option<u64>>,
}

impl State {
    fn is_full(&self) -> bool {
        self.waiting.len() >= MOST_WAITING || self.bytes >= MOST_BYTES
    }

    fn has_room(&self) -> bool {
        self.waiting.len() <= MOST_WAITING / 2 && self.bytes <= MOST_BYTES / 2
    }

    fn push(&mut self, record: Received, size: usize) {
        self.bytes += size;
        self.waiting.push_back((record, size));
    }

    fn take(&mut self, limit: usize) -> Vec<Received> {
        let count = limit.min(self.waiting.len());
        let taken: Vec<(Received, usize)> = self.waiting.drain(..count).collect();
        self.bytes -= taken.iter().map(|(_, size)| size).sum::<usize>();
        taken.into_iter().map(|(record, _)| record).collect()
    }

    /// Forgets partitions, with what was received of them: whoever gets them gets that, too.
    fn forget(&mut self, gone: &BTreeSet<PartitionKey>) {
        self.assigned.retain(|key, _| !gone.contains(key));
        self.waiting
            .retain(|(record, _)| !gone.contains(&key_of(&record.place)));
        self.bytes = self.waiting.iter().map(|(_, size)| size).sum();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What librdkafka tells: who has which partition, how far behind each is, and whether brokers are reached.
struct Ears {
    shared: Arc<Shared>,
    watch: Watch,
    /// Whether a group that never was begins at the beginning: then all of a partition is yet to be done.
    from_beginning: bool,
}

impl ClientContext for Ears {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.watch.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.watch.error(error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        let mut state = self.shared.lock();
        for ((topic, partition), lag) in &mut state.assigned {
            let told = statistics.topics.get(topic.as_str());
            if let Some(told) = told.and_then(|told| told.partitions.get(partition)) {
                *lag = lag_of(told, self.from_beginning);
            }
        }
        drop(state);
        self.watch.stats(statistics);
    }
}

/// How many records the group is not done with. Until this member stored an offset, what the group has committed counts;
/// when it never did, where it begins.
fn lag_of(partition: &Partition, from_beginning: bool) -> Option<u64> {
    let known = |number: i64| u64::try_from(number).ok();
    let of_all = || match (known(partition.hi_offset), known(partition.lo_offset)) {
        (Some(high), Some(low)) if from_beginning => Some(high.saturating_sub(low)),
        _ => None,
    };
    known(partition.consumer_lag_stored)
        .or_else(|| known(partition.consumer_lag))
        .or_else(of_all)
}

impl ConsumerContext for Ears {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(partitions) = rebalance {
            let gone: BTreeSet<PartitionKey> = keys(partitions).collect();
            self.shared.lock().forget(&gone);
            tracing::info!(partitions = gone.len(), "partitions go to other members");
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(partitions) = rebalance {
            let mut state = self.shared.lock();
            let new = keys(partitions).map(|key| (key, None));
            state.assigned.extend(new);
            if state.paused
                && let Err(error) = consumer.pause(partitions)
            {
                tracing::debug!(%error, "new partitions are not paused");
            }
            tracing::info!(partitions = state.assigned.len(), "partitions of this member");
        }
    }
}

fn keys(partitions: &TopicPartitionList) -> impl Iterator<Item = PartitionKey> {
    let elements = partitions.elements();
    elements
        .iter()
        .map(|element| (element.topic().to_owned(), element.partition()))
        .collect::<Vec<_>>()
        .into_iter()
}

fn key_of(place: &TopicPlace) -> PartitionKey {
    (place.topic.clone(), i32::try_from(place.partition).unwrap_or(i32::MAX))
}

impl KafkaTopicSubscriber {
    /// A member, and what must run for it to receive anything. Kafka may be away when this process starts.
    ///
    /// # Errors
    /// When the options are of no use, which is for good.
    pub fn new(
        options: &KafkaOptions,
        subscription: &Subscription,
    ) -> Result<(Self, impl Future<Output = ()> + Send + use<>), BackendError> {
        let config = options.consumer(subscription);
        let config = config.map_err(|error| BackendError::permanent(ADAPTER, "subscribe", error))?;
        let shared: Arc<Shared> = Arc::default();
        let ears = Ears {
            shared: Arc::clone(&shared),
            watch: Watch::default(),
            from_beginning: subscription.from_beginning,
        };
        let made: Result<Consumer, _> = config.create_with_context(ears);
        let consumer = Arc::new(made.map_err(|error| BackendError::permanent(ADAPTER, "subscribe", refused(&error)))?);
        let topics: Vec<&str> = subscription.topics.iter().map(String::as_str).collect();
        consumer
            .subscribe(&topics)
            .map_err(|error| failed("subscribe", error))?;
        let (driving, driven) = oneshot::channel();
        let driver = drive(driving, Arc::clone(&consumer), Arc::clone(&shared));
        let member = Self {
            member: Mutex::new(Some(Member { consumer, driven })),
            shared,
        };
        Ok((member, driver))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Member>> {
        self.member.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn consumer(&self) -> Option<Arc<Consumer>> {
        self.lock().as_ref().map(|member| Arc::clone(&member.consumer))
    }
}

/// Takes what comes, and pauses while too much of it waits. What it was given is dropped in the order that `leave` counts on: first its hold of the consumer.
async fn drive(_driving: oneshot::Sender<()>, consumer: Arc<Consumer>, shared: Arc<Shared>) {
    let mut stream = consumer.stream();
    loop {
        tokio::select! {
            message = stream.next() => match message {
                None => return,
                Some(Ok(message)) => {
                    let size = message.payload_len() + message.key_len();
                    shared.lock().push(received(&message), size);
                    shared.came.notify_one();
                }
                Some(Err(error)) => {
                    let fault = consumer.context().watch.fault();
                    let fault = match fault {
                        Some(fault) => BackendError::temporary(ADAPTER, "receive", fault),
                        None => BackendError { temporary: true, ..failed("receive", error) },
                    };
                    shared.lock().fault = Some(fault);
                    shared.came.notify_one();
                }
            },
            () = shared.taken.notified() => {}
        }
        let mut state = shared.lock();
        if state.left {
            return;
        }
        let outcome = if !state.paused && state.is_full() {
            state.paused = true;
            consumer.assignment().and_then(|all| consumer.pause(&all))
        } else if state.paused && state.has_room() {
            state.paused = false;
            consumer.assignment().and_then(|all| consumer.resume(&all))
        } else {
            Ok(())
        };
        if let Err(error) = outcome {
            tracing::debug!(%error, "partitions are not paused, or do not go on");
        }
    }
}

#[async_trait]
impl TopicSubscriber for KafkaTopicSubscriber {
    async fn receive(&self, limit: u32, at_most: Duration) -> Result<Vec<Received>, BackendError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let taken = || {
            let mut state = self.shared.lock();
            let taken = state.take(limit);
            match state.fault.take() {
                // What came is handled first; what is wrong will be wrong again.
                Some(fault) if taken.is_empty() => Err(fault),
                _ => Ok(taken),
            }
        };
        let mut records = taken()?;
        if records.is_empty() {
            // A ring from before only makes it look once more.
            let _ = tokio::time::timeout(at_most, self.shared.came.notified()).await;
            records = taken()?;
        }
        if !records.is_empty() {
            self.shared.taken.notify_one();
        }
        Ok(records)
    }

    async fn done(&self, places: &[TopicPlace]) -> Result<(), BackendError> {
        let Some(consumer) = self.consumer() else {
            return Ok(());
        };
        let mut offsets = TopicPartitionList::new();
        {
            let state = self.shared.lock();
            for place in places {
                let (topic, partition) = key_of(place);
                let next = i64::try_from(place.offset.saturating_add(1)).unwrap_or(i64::MAX);
                if state.assigned.contains_key(&(topic.clone(), partition)) {
                    let added = offsets.add_partition_offset(&topic, partition, Offset::Offset(next));
                    added.map_err(|error| failed("store offsets", error))?;
                }
            }
        }
        if offsets.count() == 0 {
            return Ok(());
        }
        match consumer.store_offsets(&offsets) {
            Ok(()) => Ok(()),
            // The partition went in this moment.
            Err(error) if error.rdkafka_error_code() == Some(rdkafka::error::RDKafkaErrorCode::State) => Ok(()),
            Err(error) => Err(failed("store offsets", error)),
        }
    }

    async fn leave(&self) -> Result<(), BackendError> {
        let member = self.lock().take();
        let Some(Member { consumer, driven }) = member else {
            return Ok(());
        };
        self.shared.lock().left = true;
        self.shared.taken.notify_one();
        // It may have ended before, and it ends at once; but it may also never have begun.
        let _ = tokio::time::timeout(Duration::from_secs(1), driven).await;
        // The end of the consumer tells the group, and waits for the answer.
        let left = tokio::task::spawn_blocking(move || {
            let committed = consumer.commit_consumer_state(CommitMode::Sync);
            drop(consumer);
            committed
        });
        let left = left
            .await
            .map_err(|error| BackendError::temporary(ADAPTER, "leave", error))?;
        match left {
            Ok(()) => Ok(()),
            // Nothing was done since the last time.
            Err(error) if error.rdkafka_error_code() == Some(rdkafka::error::RDKafkaErrorCode::NoOffset) => Ok(()),
            Err(error) => Err(failed("leave", error)),
        }
    }

    fn stats(&self) -> SubscriptionStats {
        let away = self
            .consumer()
            .is_some_and(|consumer| consumer.context().watch.cluster().away);
        let state = self.shared.lock();
        let partitions = state.assigned.iter().map(|((topic, partition), lag)| PartitionStats {
            topic: topic.clone(),
            partition: u32::try_from(*partition).unwrap_or_default(),
            lag: *lag,
        });
        SubscriptionStats {
            partitions: partitions.collect(),
            waiting: state.waiting.len() as u64,
            paused: state.paused,
            away,
        }
    }
}

impl fmt::Debug for KafkaTopicSubscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaTopicSubscriber").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(stored: i64, committed: i64, low: i64, high: i64) -> Partition {
        Partition {
            consumer_lag_stored: stored,
            consumer_lag: committed,
            lo_offset: low,
            hi_offset: high,
            ..Partition::default()
        }
    }

    #[test]
    fn lag_is_told_from_what_is_known_best() {
        assert_eq!(lag_of(&partition(3, 9, 0, 20), true), Some(3));
        assert_eq!(lag_of(&partition(-1, 9, 0, 20), true), Some(9));
        assert_eq!(
            lag_of(&partition(-1, -1, 5, 20), true),
            Some(15),
            "nothing was ever done"
        );
        assert_eq!(lag_of(&partition(-1, -1, 5, 20), false), None);
        assert_eq!(lag_of(&partition(-1, -1, -1001, -1001), true), None);
    }
}
