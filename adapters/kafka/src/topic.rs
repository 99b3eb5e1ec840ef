//! The topic, made when it is missing.

use std::time::Duration;

use domain::stats::TopicStats;
use ports::BackendError;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataPartition;
use rdkafka::producer::Producer as _;

use crate::ADAPTER;
use crate::options::KafkaOptions;
use crate::publisher::Producer;
use crate::watch::Watch;

/// How long the cluster may take to describe it. librdkafka tries again all the while, also where nobody listens.
const LOOK: Duration = Duration::from_secs(4);
/// How long the cluster may take to make it.
const PATIENCE: Duration = Duration::from_secs(15);

/// As many replicas as the cluster makes by itself (KIP-464, since Kafka 2.4).
const OF_THE_CLUSTER: i32 = -1;

/// Makes the topic unless it is there; one that is there stays as it is. Looked for first: to make a topic takes a right
/// that an operator may keep to himself.
pub(crate) async fn make_if_missing(options: &KafkaOptions, watch: &Watch) -> Result<(), BackendError> {
    if look(options, watch).await?.is_some() {
        return Ok(());
    }
    let config = options.client();
    let config = config.map_err(|error| BackendError::permanent(ADAPTER, "open", error))?;
    let admin: AdminClient<Watch> = config
        .create_with_context(watch.clone())
        .map_err(|error| failed("open", error))?;
    let partitions = i32::try_from(options.partitions).unwrap_or(i32::MAX);
    let replication = options.replication.map_or(OF_THE_CLUSTER, i32::from);
    let topic = NewTopic::new(&options.topic, partitions, TopicReplication::Fixed(replication));
    let asked = AdminOptions::new()
        .operation_timeout(Some(PATIENCE))
        .request_timeout(Some(PATIENCE));
    let made = admin.create_topics([&topic], &asked).await;
    for outcome in made.map_err(|error| failed("make topic", error))? {
        match outcome {
            Ok(_) => tracing::info!(topic = options.topic, partitions, "the topic was made"),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(failed("make topic", KafkaError::AdminOp(code))),
        }
    }
    Ok(())
}

/// The topic as the cluster describes it; none when it is not there. Nothing is made.
pub(crate) async fn look(options: &KafkaOptions, watch: &Watch) -> Result<Option<TopicStats>, BackendError> {
    let config = options.client();
    let config = config.map_err(|error| BackendError::permanent(ADAPTER, "open", error))?;
    // A producer, since it has a thread that hears what librdkafka says of its brokers.
    let made: Result<Producer, _> = config.create_with_context(watch.clone());
    describe(
        made.map_err(|error| failed("open", error))?,
        options.topic.clone(),
        watch,
    )
    .await
}

/// The topic as the cluster of this producer describes it.
pub(crate) async fn describe(
    producer: Producer,
    topic: String,
    watch: &Watch,
) -> Result<Option<TopicStats>, BackendError> {
    // librdkafka offers no call that does not block.
    let asked = tokio::task::spawn_blocking(move || {
        let metadata = producer.client().fetch_metadata(Some(&topic), LOOK)?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let found = found.filter(|found| found.error().is_none() && !found.partitions().is_empty());
        Ok(found.map(|found| stats(metadata.brokers().len(), found.partitions())))
    });
    let outcome = asked
        .await
        .map_err(|error| BackendError::temporary(ADAPTER, "find topic", error))?;
    outcome.map_err(|error| match watch.fault() {
        Some(fault) => BackendError::temporary(ADAPTER, "find topic", fault),
        None => failed("find topic", error),
    })
}

fn stats(brokers: usize, partitions: &[MetadataPartition]) -> TopicStats {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let fewest = |of: &dyn Fn(&MetadataPartition) -> usize| number(partitions.iter().map(of).min().unwrap_or(0));
    TopicStats {
        brokers: number(brokers),
        partitions: number(partitions.len()),
        replicas: fewest(&|partition| partition.replicas().len()),
        in_sync: fewest(&|partition| partition.isr().len()),
        leaderless: number(partitions.iter().filter(|partition| partition.leader() < 0).count()),
    }
}

/// Wraps an error of librdkafka, saying whether the same call may work a little later.
pub(crate) fn failed(operation: &'static str, error: KafkaError) -> BackendError {
    BackendError {
        adapter: ADAPTER,
        operation,
        temporary: code(&error).is_none_or(may_pass),
        full: false,
        source: error.into(),
    }
}

/// The code of an error; of some kinds the crate itself gives none.
fn code(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    }
}

/// What is wrong with a record does not pass. Everything else may, be it by the hand of a person: that a right is missing
/// says nothing against the events.
fn may_pass(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    !matches!(
        code,
        Code::MessageSizeTooLarge | Code::InvalidRecord | Code::InvalidTimestamp
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_record_is_told_from_what_passes() {
        for (code, passes) in [
            (RDKafkaErrorCode::MessageTimedOut, true),
            (RDKafkaErrorCode::AllBrokersDown, true),
            (RDKafkaErrorCode::NotEnoughReplicas, true),
            (RDKafkaErrorCode::Fatal, true),
            (RDKafkaErrorCode::TopicAuthorizationFailed, true),
            (RDKafkaErrorCode::MessageSizeTooLarge, false),
            (RDKafkaErrorCode::InvalidRecord, false),
        ] {
            for error in [KafkaError::MessageProduction(code), KafkaError::AdminOp(code)] {
                assert_eq!(failed("test", error).temporary, passes, "{code:?}");
            }
        }
    }
}
