//! Events to Kafka, where brokers are configured.

use std::sync::Arc;
use std::time::Duration;

use adapter_guard::{GuardPolicy, GuardedEventPublisher};
use adapter_kafka::{KafkaEventPublisher, KafkaOptions, KafkaTopicSubscriber, Subscription};
use domain::breaker::BreakerPolicy;
use ports::{BackendError, Clock, EventPublisher, Probe, TopicSubscriber};

use super::{ComposeError, Guarded, Task, guarded};
use crate::config::{Config, KafkaConfig};
use crate::ops::BackendState;

/// What finding the topic, and making it, may take beside the delivery of a batch.
const BESIDES: Duration = Duration::from_secs(45);

/// A batch that fails took as long as a delivery may: a few are enough to know, and the next attempt is to be soon.
const BREAKER: BreakerPolicy = BreakerPolicy {
    threshold: 3,
    open_for: Duration::from_secs(2),
    trials: 1,
};

/// The way of the log's events to Kafka.
pub struct Relay {
    /// Takes them, in order.
    pub publisher: Arc<dyn EventPublisher>,
    /// Tells of the cluster; asked now and then, so that an absent one is noticed before the first event.
    pub probe: Arc<dyn Probe>,
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").finish_non_exhaustive()
    }
}

/// The way to Kafka; none without brokers.
pub(super) fn relay(
    config: &Config,
    source: &str,
    clock: &Arc<dyn Clock>,
    guarded_backends: &mut Vec<Guarded>,
) -> Result<Option<Relay>, ComposeError> {
    let Some(kafka) = &config.kafka else {
        return Ok(None);
    };
    let bare = Arc::new(open(kafka, source, &kafka.topic)?);
    let policy = GuardPolicy {
        timeout: kafka.delivery_timeout + BESIDES,
        breaker: BREAKER,
        ..GuardPolicy::default()
    };
    let publisher = Arc::new(GuardedEventPublisher::new(
        Arc::clone(&bare) as Arc<dyn EventPublisher>,
        "kafka",
        policy,
        Arc::clone(clock),
    ));
    let (watched, cluster) = (Arc::clone(&publisher), Arc::clone(&bare));
    let mut backend = guarded("events", "kafka".to_owned(), move || {
        (watched.stats(), watched.breaker())
    });
    let judged = backend.state;
    backend.state = Arc::new(move || match judged() {
        BackendState::Closed if cluster.cluster().is_some_and(|cluster| cluster.away) => BackendState::Away,
        state => state,
    });
    guarded_backends.push(backend);
    Ok(Some(Relay { publisher, probe: bare }))
}

/// The way of other services' events from Kafka. Nothing is joined before a group asks for it: only workers do.
pub struct Topics {
    options: KafkaOptions,
    subscription: Subscription,
}

impl std::fmt::Debug for Topics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Topics").finish_non_exhaustive()
    }
}

impl Topics {
    /// Joins the consumer group of a handler group; gives the member, and what must run for it.
    ///
    /// # Errors
    /// When the settings are of no use.
    pub fn join(&self, group: &str) -> Result<(Arc<dyn TopicSubscriber>, Task), BackendError> {
        let mut subscription = self.subscription.clone();
        subscription.group = format!("{}.{group}", self.subscription.group);
        let (member, driver) = KafkaTopicSubscriber::new(&self.options, &subscription)?;
        Ok((Arc::new(member), Box::pin(driver)))
    }
}

/// The topics of other services; none where none is named.
pub(super) fn topics(config: &Config, source: &str) -> Option<Topics> {
    let kafka = config.kafka.as_ref().filter(|kafka| !kafka.consume.is_empty())?;
    Some(Topics {
        options: options(kafka, source),
        subscription: Subscription {
            group: kafka.group.clone(),
            topics: kafka.consume.clone(),
            from_beginning: kafka.consume_from_beginning,
        },
    })
}

/// A publisher to a topic, bare: a guard would hide what it says.
pub(super) fn open(kafka: &KafkaConfig, source: &str, topic: &str) -> Result<KafkaEventPublisher, ComposeError> {
    let mut options = options(kafka, source);
    topic.clone_into(&mut options.topic);
    options.check().map_err(|error| ComposeError::Setting {
        key: "kafka".to_owned(),
        reason: error.to_string(),
    })?;
    Ok(KafkaEventPublisher::new(options)?)
}

fn options(kafka: &KafkaConfig, source: &str) -> KafkaOptions {
    let mut options = KafkaOptions::new(kafka.brokers.as_str(), source);
    options.topic.clone_from(&kafka.topic);
    options.partitions = kafka.partitions;
    options.replication = kafka
        .replication
        .map(|number| u16::try_from(number).unwrap_or(u16::MAX));
    options.delivery_timeout = kafka.delivery_timeout;
    let path = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let named = [
        ("security.protocol", Some(kafka.security_protocol.clone())),
        ("sasl.mechanisms", kafka.sasl_mechanism.clone()),
        ("sasl.username", kafka.sasl_username.clone()),
        (
            "sasl.password",
            kafka.sasl_password.as_ref().map(|secret| secret.expose().clone()),
        ),
        ("ssl.ca.location", path(&kafka.tls_ca)),
        ("ssl.certificate.location", path(&kafka.tls_certificate)),
        ("ssl.key.location", path(&kafka.tls_key)),
    ];
    let named = named
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    options.settings = named.chain(kafka.settings.expose().iter().cloned()).collect();
    options
}
