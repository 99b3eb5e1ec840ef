//! The topic, made when it is missing.

use std::sync::Arc;
use std::time::Duration;

use ports::BackendError;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::ADAPTER;
use crate::options::KafkaOptions;

/// How long the cluster may take to make it.
const PATIENCE: Duration = Duration::from_secs(15);

/// Makes the topic unless it is there; one that is there stays as it is.
pub(crate) async fn make_if_missing(options: &KafkaOptions) -> Result<(), BackendError> {
    let config = options
        .admin()
        .map_err(|error| BackendError::permanent(ADAPTER, "open", error))?;
    let admin: AdminClient<DefaultClientContext> = config.create().map_err(|error| failed("open", error))?;
    let admin = Arc::new(admin);
    if is_there(Arc::clone(&admin), options.topic.clone()).await? {
        return Ok(());
    }
    let partitions = i32::try_from(options.partitions).unwrap_or(i32::MAX);
    let topic = NewTopic::new(
        &options.topic,
        partitions,
        TopicReplication::Fixed(options.replication.into()),
    );
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

/// Looked at first: to make a topic takes a right that an operator may keep to himself.
async fn is_there(admin: Arc<AdminClient<DefaultClientContext>>, topic: String) -> Result<bool, BackendError> {
    // librdkafka offers no call that does not block.
    let asked = tokio::task::spawn_blocking(move || {
        let metadata = admin.inner().fetch_metadata(Some(&topic), PATIENCE)?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        Ok(found.is_some_and(|found| found.error().is_none() && !found.partitions().is_empty()))
    });
    let outcome = asked
        .await
        .map_err(|error| BackendError::temporary(ADAPTER, "find topic", error))?;
    outcome.map_err(|error| failed("find topic", error))
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

/// What a person has to mend first does not pass by itself; everything else of a cluster may.
fn may_pass(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    !matches!(
        code,
        Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::SaslAuthenticationFailed
            | Code::Authentication
            | Code::InvalidReplicationFactor
            | Code::InvalidPartitions
            | Code::InvalidTopic
            | Code::PolicyViolation
            | Code::InvalidArgument
            | Code::MessageSizeTooLarge
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_must_mend_is_told_from_what_passes() {
        for (code, passes) in [
            (RDKafkaErrorCode::MessageTimedOut, true),
            (RDKafkaErrorCode::AllBrokersDown, true),
            (RDKafkaErrorCode::NotEnoughReplicas, true),
            (RDKafkaErrorCode::Fatal, true),
            (RDKafkaErrorCode::TopicAuthorizationFailed, false),
            (RDKafkaErrorCode::InvalidReplicationFactor, false),
        ] {
            for error in [KafkaError::MessageProduction(code), KafkaError::AdminOp(code)] {
                assert_eq!(failed("test", error).temporary, passes, "{code:?}");
            }
        }
    }
}
