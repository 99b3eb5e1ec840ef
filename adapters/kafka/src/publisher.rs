//! The publisher: a batch at a time, acknowledged whole, in order.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use domain::event::LoggedEvent;
use domain::stats::{ClusterStats, PoolStats, StatementStats, TopicStats};
use ports::{BackendError, EventPublisher, Probe, Survey};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _, PurgeConfig};
use tokio::sync::RwLock;

use crate::ADAPTER;
use crate::options::{KafkaOptions, refused};
use crate::record::Record;
use crate::topic::{self, failed};
use crate::watch::Watch;

pub(crate) type Producer = FutureProducer<Watch>;

/// [`EventPublisher`] on Kafka: an idempotent producer that waits for all replicas in sync.
///
/// The producer leaves no gap: when one event fails, those behind it in its partition fail with it, so that none of a
/// user's events ever passes an earlier one. librdkafka gives such a producer up for good, as it does when brokers lose
/// their state; then another one takes its place, and the batch, of which a part may be there already, comes again.
pub struct KafkaEventPublisher {
    options: KafkaOptions,
    current: RwLock<Current>,
    watch: Watch,
}

/// The producer at work; none until the topic is there, and after one was given up.
#[derive(Default)]
struct Current {
    producer: Option<Producer>,
    topic_is_there: bool,
    /// Counts producers, so that of many callers who see one fail only one replaces it.
    generation: u64,
}

impl KafkaEventPublisher {
    /// A publisher that reaches for the cluster with the first batch: Kafka may be away when this process starts.
    ///
    /// # Errors
    /// When the options are of no use, which is for good.
    pub fn new(options: KafkaOptions) -> Result<Self, BackendError> {
        options
            .check()
            .map_err(|error| BackendError::permanent(ADAPTER, "open", error))?;
        Ok(Self {
            options,
            current: RwLock::default(),
            watch: Watch::default(),
        })
    }

    /// The topic as the cluster describes it; none when it is not there. Nothing is made.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn topic(&self) -> Result<Option<TopicStats>, BackendError> {
        topic::look(&self.options, &self.watch).await
    }

    async fn producer(&self) -> Result<(Producer, u64), BackendError> {
        {
            let current = self.current.read().await;
            if let Some(producer) = &current.producer {
                return Ok((producer.clone(), current.generation));
            }
        }
        let mut current = self.current.write().await;
        if !current.topic_is_there {
            topic::make_if_missing(&self.options, &self.watch).await?;
            current.topic_is_there = true;
        }
        if current.producer.is_none() {
            let config = self.options.producer();
            let config = config.map_err(|error| BackendError::permanent(ADAPTER, "open", error))?;
            let made: Result<Producer, _> = config.create_with_context(self.watch.clone());
            current.producer = Some(made.map_err(|error| BackendError::permanent(ADAPTER, "open", refused(&error)))?);
            current.generation += 1;
        }
        let producer = current.producer.clone();
        let producer = producer.ok_or_else(|| BackendError::temporary(ADAPTER, "open", "no producer could be made"))?;
        Ok((producer, current.generation))
    }

    /// Gives a producer up; the next call makes another.
    async fn give_up(&self, generation: u64, why: &KafkaError) {
        let mut current = self.current.write().await;
        if current.generation != generation {
            return;
        }
        if let Some(producer) = current.producer.take() {
            let fatal = producer
                .client()
                .fatal_error()
                .map(|(code, text)| format!("{code:?}: {text}"));
            tracing::warn!(error = %why, fatal, "the Kafka producer is given up; another takes its place");
            // What waits is taken back whole, what is on its way counts as lost: what Kafka has is then a beginning of
            // what was to be sent. Its end waits for its threads.
            producer.purge(PurgeConfig::default().queue().inflight());
            tokio::task::spawn_blocking(move || drop(producer));
        }
        // It may have been deleted, or the whole cluster be another one.
        current.topic_is_there = false;
    }

    /// Hands all of it over in order and waits for every acknowledgement.
    async fn deliver(&self, producer: &Producer, events: &[Arc<LoggedEvent>]) -> Result<(), KafkaError> {
        let mut waiting: VecDeque<DeliveryFuture> = VecDeque::with_capacity(events.len());
        for event in events {
            let record = Record::of(event, &self.options.source);
            loop {
                let future_record = FutureRecord::to(&self.options.topic)
                    .key(&record.key)
                    .payload(&record.value)
                    .headers(record.headers());
                match producer.send_result(future_record) {
                    Ok(delivery) => {
                        waiting.push_back(delivery);
                        break;
                    }
                    // Its place is made by the oldest of those before it.
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                        match waiting.pop_front() {
                            Some(oldest) => acknowledged(oldest).await?,
                            // Others' events fill the queue.
                            None => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
                        }
                    }
                    Err((error, _)) => return Err(error),
                }
            }
        }
        for delivery in waiting {
            acknowledged(delivery).await?;
        }
        Ok(())
    }
}

async fn acknowledged(delivery: DeliveryFuture) -> Result<(), KafkaError> {
    match delivery.await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err((error, _))) => Err(error),
        Err(_) => Err(KafkaError::Canceled),
    }
}

#[async_trait]
impl EventPublisher for KafkaEventPublisher {
    async fn publish(&self, events: &[Arc<LoggedEvent>]) -> Result<(), BackendError> {
        if events.is_empty() {
            return Ok(());
        }
        let handed_over = async {
            let (producer, generation) = self.producer().await?;
            let delivered = tokio::time::timeout(self.options.delivery_timeout, self.deliver(&producer, events));
            let timed_out = |_| Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut));
            match delivered.await.unwrap_or_else(timed_out) {
                Ok(()) => Ok(()),
                Err(error) => {
                    // Whatever failed, what is behind it must not go out before it is tried again: with the producer goes its queue.
                    self.give_up(generation, &error).await;
                    Err(failed("publish", error))
                }
            }
        };
        let outcome = handed_over.await;
        self.watch
            .attempted(outcome.as_ref().err().is_none_or(|error| !error.temporary));
        outcome
    }

    /// Nobody can tell who reads a topic.
    fn has_audience(&self) -> bool {
        true
    }
}

/// Asked now and then, it also keeps a producer at hand, so that an absent cluster is noticed before the first event.
#[async_trait]
impl Probe for KafkaEventPublisher {
    fn name(&self) -> &'static str {
        ADAPTER
    }

    async fn check(&self) -> Result<(), BackendError> {
        let looked = async {
            let (producer, _) = self.producer().await?;
            topic::describe(producer, self.options.topic.clone(), &self.watch).await
        };
        let outcome = match looked.await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(BackendError::temporary(ADAPTER, "check", "the topic is gone")),
            Err(error) => Err(error),
        };
        self.watch.looked(outcome.is_ok());
        outcome
    }

    async fn schema(&self) -> Result<bool, BackendError> {
        Ok(true)
    }

    async fn survey(&self) -> Result<Survey, BackendError> {
        Ok(Survey::default())
    }

    fn pool(&self) -> Option<PoolStats> {
        None
    }

    fn statements(&self) -> Option<StatementStats> {
        None
    }

    fn cluster(&self) -> Option<ClusterStats> {
        Some(self.watch.cluster())
    }
}

impl fmt::Debug for KafkaEventPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaEventPublisher")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
