//! How the cluster is reached, and what is asked of it.

use std::fmt;
use std::time::Duration;

use rdkafka::ClientConfig;

/// How to reach the cluster and where events go.
#[derive(Clone)]
pub struct KafkaOptions {
    /// `HOST:PORT`, several with commas: the brokers that are asked for the others.
    pub brokers: String,
    /// The topic of events.
    pub topic: String,
    /// What stands as `source` in each CloudEvent: the name of this installation.
    pub source: String,
    /// What this process calls itself towards the brokers.
    pub client_id: String,
    /// Partitions of the topic, when it is made here. Users are spread over them by the hash of their id.
    pub partitions: u32,
    /// Replicas of each partition, when the topic is made here; without a number, as many as the cluster makes by itself.
    pub replication: Option<u16>,
    /// How long an event may take until it is acknowledged; then its batch fails and comes again. Less than the lease of a
    /// cursor would be of no use: brokers need some seconds to choose a leader.
    pub delivery_timeout: Duration,
    /// What waits for a broker, at most, in events.
    pub queue_events: u32,
    /// What waits for a broker, at most, in KiB.
    pub queue_kib: u32,
    /// Settings that librdkafka takes beyond those: SASL and TLS, mostly. Those that the promise rests on are refused.
    pub settings: Vec<(String, String)>,
}

impl KafkaOptions {
    /// The defaults for those brokers.
    pub fn new(brokers: impl Into<String>, source: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            topic: "plinth.events".to_owned(),
            source: source.into(),
            client_id: "plinth".to_owned(),
            partitions: 12,
            replication: None,
            delivery_timeout: Duration::from_secs(30),
            queue_events: 20_000,
            queue_kib: 32 * 1024,
            settings: Vec::new(),
        }
    }
}

/// Without the settings, which may hold a password.
impl fmt::Debug for KafkaOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaOptions")
            .field("brokers", &self.brokers)
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

/// Which topics are read, as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The consumer group: its members share the partitions.
    pub group: String,
    /// The topics.
    pub topics: Vec<String>,
    /// Whether a group that never was begins with the oldest record that a topic has; else with the next one.
    pub from_beginning: bool,
}

/// Why the options are of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// No broker is named.
    #[error("no broker is named")]
    NoBroker,
    /// The setting is one that the order of events or their safety rests on.
    #[error("the setting {0} is not free: the order of events and their safety rest on it")]
    NotFree(String),
    /// librdkafka does not know the setting, or not that value of it. The value, which may be secret, is not told.
    #[error("the setting {0} is unknown, or its value is none of its own")]
    Setting(String),
    /// The settings do not go together, as librdkafka says.
    #[error("{0}")]
    Together(String),
}

/// What nobody may set: each of them could lose an event or let one pass another.
const FIXED: &[(&str, &str)] = &[
    ("enable.idempotence", "true"),
    // Without it, a batch that timed out leaves a gap that later events of the same user slip through.
    ("enable.gapless.guarantee", "true"),
    ("acks", "all"),
    ("max.in.flight.requests.per.connection", "5"),
    // As the Java clients choose, so that any of them finds a user's events in the same partition.
    ("partitioner", "murmur2_random"),
];

/// What has another way to be set, or belongs to us.
const OURS: &[&str] = &[
    "bootstrap.servers",
    "metadata.broker.list",
    "client.id",
    "message.timeout.ms",
    "delivery.timeout.ms",
    "queue.buffering.max.messages",
    "queue.buffering.max.kbytes",
    "request.required.acks",
    "retries",
    "message.send.max.retries",
    "transactional.id",
    "statistics.interval.ms",
    "linger.ms",
    "queue.buffering.max.ms",
    "group.id",
    "group.protocol",
    "enable.auto.commit",
    "auto.commit.interval.ms",
    "enable.auto.offset.store",
    "auto.offset.reset",
    "partition.assignment.strategy",
];

impl KafkaOptions {
    /// What every client of the cluster is configured with.
    fn common(&self) -> Result<ClientConfig, OptionsError> {
        if self.brokers.split(',').all(|broker| broker.trim().is_empty()) {
            return Err(OptionsError::NoBroker);
        }
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", &self.client_id)
            // A broker that came back is found within a second, not within ten.
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .set("socket.timeout.ms", "10000")
            .set("socket.keepalive.enable", "true")
            .set("log.connection.close", "false")
            .set("allow.auto.create.topics", "false");
        for (name, value) in &self.settings {
            let taken = FIXED.iter().any(|(fixed, _)| fixed == name) || OURS.contains(&name.as_str());
            if taken {
                return Err(OptionsError::NotFree(name.clone()));
            }
            config.set(name, value);
        }
        Ok(config)
    }

    /// Sets what an operator did not set, under this name or the other that librdkafka has for it.
    fn set_unless_given(&self, config: &mut ClientConfig, name: &str, alias: &str, value: &str) {
        if !self.settings.iter().any(|(set, _)| set == name || set == alias) {
            config.set(name, value);
        }
    }

    /// The configuration of a producer.
    pub(crate) fn producer(&self) -> Result<ClientConfig, OptionsError> {
        let mut config = self.common()?;
        for (name, value) in FIXED {
            config.set(*name, *value);
        }
        config
            // The publisher keeps the time of a batch itself. Were it kept of each event, the last of those that nobody
            // took could still go out after those before it have run out.
            .set("message.timeout.ms", "0")
            .set("queue.buffering.max.messages", self.queue_events.to_string())
            .set("queue.buffering.max.kbytes", self.queue_kib.to_string())
            // Events that come together travel together. Without it a batch is torn into several requests for each partition,
            // and on the mock cluster an error of one of them lets the next pass it.
            .set("linger.ms", "2")
            .set("statistics.interval.ms", "2000");
        self.set_unless_given(&mut config, "compression.type", "compression.codec", "zstd");
        Ok(config)
    }

    /// The configuration of a member of a group.
    pub(crate) fn consumer(&self, subscription: &Subscription) -> Result<ClientConfig, OptionsError> {
        let mut config = self.common()?;
        config
            .set("group.id", &subscription.group)
            // Partitions that stay are not taken away while others move.
            .set("partition.assignment.strategy", "cooperative-sticky")
            // An offset is stored when its record is done with; what is stored is committed each second, and when a partition goes.
            .set("enable.auto.offset.store", "false")
            .set("enable.auto.commit", "true")
            .set("auto.commit.interval.ms", "1000")
            .set(
                "auto.offset.reset",
                if subscription.from_beginning {
                    "earliest"
                } else {
                    "latest"
                },
            )
            .set("statistics.interval.ms", "2000");
        for (name, value) in [
            // A member that died is noticed within 15 seconds, not 45.
            ("session.timeout.ms", "15000"),
            // What librdkafka fetches ahead is a part of what may wait.
            ("queued.min.messages", "1000"),
            ("queued.max.messages.kbytes", "8192"),
            // A topic that is made later is found within half a minute.
            ("topic.metadata.refresh.interval.ms", "30000"),
        ] {
            self.set_unless_given(&mut config, name, name, value);
        }
        Ok(config)
    }

    /// The configuration of a client that looks at topics or makes them.
    pub(crate) fn client(&self) -> Result<ClientConfig, OptionsError> {
        self.common()
    }

    /// Looks at the settings without reaching for a broker.
    ///
    /// # Errors
    /// See [`OptionsError`].
    pub fn check(&self) -> Result<(), OptionsError> {
        let config = self.producer()?;
        config.create_native_config().map(drop).map_err(|error| refused(&error))
    }
}

/// What librdkafka says of a setting, without its value.
pub(crate) fn refused(error: &rdkafka::error::KafkaError) -> OptionsError {
    use rdkafka::error::KafkaError;
    match error {
        KafkaError::ClientConfig(_, _, name, _) => OptionsError::Setting(name.clone()),
        other => OptionsError::Together(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(settings: &[(&str, &str)]) -> KafkaOptions {
        KafkaOptions {
            settings: settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ..KafkaOptions::new("127.0.0.1:9092", "urn:plinth:test")
        }
    }

    #[test]
    fn what_the_promise_rests_on_is_not_free() {
        for name in [
            "acks",
            "enable.idempotence",
            "partitioner",
            "transactional.id",
            "bootstrap.servers",
            "retries",
        ] {
            let refused = with(&[(name, "1")]).check().expect_err("it is not free");
            assert_eq!(refused, OptionsError::NotFree(name.to_owned()));
        }
    }

    #[test]
    fn a_wrong_setting_is_named_without_its_value() {
        for (name, value) in [("sasl.mechanizm", "hunter2"), ("security.protocol", "hunter2")] {
            let refused = with(&[(name, value)]).check().expect_err("librdkafka refuses it");
            assert_eq!(refused, OptionsError::Setting(name.to_owned()));
            assert!(!refused.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn sasl_and_tls_are_passed_on() {
        let settings = [
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanisms", "SCRAM-SHA-512"),
            ("sasl.username", "plinth"),
            ("sasl.password", "hunter2"),
            ("compression.type", "lz4"),
        ];
        let options = with(&settings);
        options.check().expect("librdkafka takes them");
        let config = options.producer().expect("a configuration");
        for (name, value) in settings {
            assert_eq!(config.get(name), Some(value));
        }
        assert!(!format!("{options:?}").contains("hunter2"));
    }

    #[test]
    fn a_broker_must_be_named() {
        for brokers in ["", " ", ",", " , "] {
            let options = KafkaOptions::new(brokers, "urn:plinth:test");
            assert_eq!(options.check(), Err(OptionsError::NoBroker));
        }
    }
}
