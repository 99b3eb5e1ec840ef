//! The publisher judged by the suite of its port, through a reader of the topic.

use std::sync::Arc;
use std::time::Duration;

use adapter_kafka::{KafkaEventPublisher, KafkaOptions};
use domain::event::{Actor, Event, LoggedEvent, NewEvent};
use domain::id::UserId;
use domain::time::Timestamp;
use ports::{EventSubscriber, EventSubscription};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(20);

/// Follows a user by reading the topic from where it ends now.
struct TopicReader {
    brokers: String,
    topic: String,
}

impl EventSubscriber for TopicReader {
    fn subscribe(&self, user: UserId) -> EventSubscription {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", Uuid::now_v7().to_string())
            .set("enable.auto.commit", "false")
            .create()
            .expect("a consumer");
        let metadata = consumer
            .fetch_metadata(Some(&self.topic), PATIENCE)
            .expect("the topic is there");
        let mut ends = TopicPartitionList::new();
        for partition in metadata.topics()[0].partitions() {
            let (_, end) = consumer
                .fetch_watermarks(&self.topic, partition.id(), PATIENCE)
                .expect("its ends");
            ends.add_partition_offset(&self.topic, partition.id(), Offset::Offset(end))
                .expect("an offset");
        }
        consumer.assign(&ends).expect("assigned");
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        std::thread::spawn(move || {
            while !sender.is_closed() {
                let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else {
                    continue;
                };
                let event = read(message.payload().expect("a value"));
                if event.event.user_id == user && sender.send(Arc::new(event)).is_err() {
                    return;
                }
            }
        });
        Box::pin(futures_util::stream::unfold(receiver, |mut receiver| async move {
            Some((receiver.recv().await?, receiver))
        }))
    }
}

/// The event of a record. What stays at home, the salt and the link of the chain, is as in the suite's samples.
fn read(record: &[u8]) -> LoggedEvent {
    let value: Value = serde_json::from_slice(record).expect("JSON");
    let text = |name: &str| value[name].as_str().expect("a text").to_owned();
    let user_id: UserId = text("userid").parse().expect("a user");
    assert_eq!(text("actorid"), Actor::User(user_id).as_text());
    let event = Event::new(NewEvent {
        id: text("id").parse().expect("an id"),
        user_id,
        event_type: text("type").parse().expect("a type"),
        subject: value["subject"].as_str().map(str::to_owned),
        time: Timestamp::parse_rfc3339(&text("time")).expect("a time"),
        data: value["data"].to_string(),
        salt: [7; 16],
        actor: Actor::User(user_id),
        impersonator: None,
        request_id: None,
        client_id: false,
    });
    LoggedEvent {
        shard: event.shard(),
        position: text("sequence").parse().expect("a position"),
        hash: [0; 32],
        event,
    }
}

type Pair = (KafkaEventPublisher, TopicReader);

async fn fixture() -> Option<(Pair, MockCluster<'static, DefaultProducerContext>)> {
    let cluster = MockCluster::new(1).expect("a mock cluster");
    let options = KafkaOptions::new(cluster.bootstrap_servers(), "urn:plinth:test");
    cluster.create_topic(&options.topic, 3, 1).expect("a topic");
    let reader = TopicReader {
        brokers: options.brokers.clone(),
        topic: options.topic.clone(),
    };
    let publisher = KafkaEventPublisher::new(options).expect("options");
    Some(((publisher, reader), cluster))
}

ports::event_publisher_conformance!(fixture());

mod probe {
    use std::sync::Arc;

    use ports::Probe;

    use super::{DefaultProducerContext, MockCluster, fixture};

    async fn probed() -> Option<(Arc<dyn Probe>, MockCluster<'static, DefaultProducerContext>)> {
        let ((publisher, _), cluster) = fixture().await?;
        Some((Arc::new(publisher), cluster))
    }

    ports::probe_conformance!(probed());
}
