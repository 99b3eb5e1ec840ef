//! Events to Kafka and from it, on librdkafka.
//!
//! Kafka is never in the way of a request: what was committed is in the log, and a cursor over the log feeds the
//! publisher. The publisher's part of the promise "at least once, in order per user" is that it acknowledges a batch
//! only when all replicas in sync have all of it, and that it never lets a later event of a user pass an earlier one.

mod options;
mod publisher;
mod reading;
mod record;
mod subscriber;
mod topic;
mod watch;

pub use options::{KafkaOptions, OptionsError, Subscription};
pub use publisher::KafkaEventPublisher;
pub use subscriber::KafkaTopicSubscriber;

/// The name of this adapter in errors.
const ADAPTER: &str = "kafka";
