//! The subscriber judged by the suite of its port, on librdkafka's mock cluster and on a real Kafka.

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use adapter_kafka::{KafkaOptions, KafkaTopicSubscriber, Subscription};
use async_trait::async_trait;
use ports::TopicSubscriber;
use ports::conformance::topic_subscriber::Topic;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{DefaultProducerContext, FutureProducer, FutureRecord};
use tokio::task::JoinSet;
use uuid::Uuid;

const PARTITIONS: i32 = 6;

/// A topic of its own on a cluster, and a group of its own.
struct KafkaTopic {
    brokers: String,
    topic: String,
    group: String,
    producer: FutureProducer,
    drivers: Mutex<JoinSet<()>>,
}

impl KafkaTopic {
    fn new(brokers: String, topic: String) -> Self {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &brokers)
            .set("enable.idempotence", "true")
            .set("linger.ms", "5")
            .set("partitioner", "murmur2_random")
            .create()
            .expect("a producer");
        Self {
            brokers,
            topic,
            group: Uuid::now_v7().to_string(),
            producer,
            drivers: Mutex::default(),
        }
    }
}

#[async_trait]
impl Topic for KafkaTopic {
    async fn join(&self) -> Arc<dyn TopicSubscriber> {
        let options = KafkaOptions::new(self.brokers.as_str(), "urn:plinth:test");
        let subscription = Subscription {
            group: self.group.clone(),
            topics: vec![self.topic.clone()],
            from_beginning: true,
        };
        let (member, driver) = KafkaTopicSubscriber::new(&options, &subscription).expect("a member");
        self.drivers.lock().expect("drivers").spawn(driver);
        Arc::new(member)
    }

    async fn write(&self, records: &[(String, String)]) {
        let mut sent = Vec::with_capacity(records.len());
        for (key, value) in records {
            let record = FutureRecord::to(&self.topic).key(key).payload(value);
            sent.push(
                self.producer
                    .send_result(record)
                    .map_err(|(error, _)| error)
                    .expect("queued"),
            );
        }
        for delivery in sent {
            delivery
                .await
                .expect("an answer")
                .map_err(|(error, _)| error)
                .expect("delivered");
        }
    }
}

mod mock {
    use super::*;

    async fn fixture() -> Option<(KafkaTopic, MockCluster<'static, DefaultProducerContext>)> {
        let cluster = MockCluster::new(1).expect("a mock cluster");
        let topic = "shop.orders".to_owned();
        cluster.create_topic(&topic, PARTITIONS, 1).expect("a topic");
        Some((KafkaTopic::new(cluster.bootstrap_servers(), topic), cluster))
    }

    ports::topic_subscriber_conformance!(fixture());
}

mod real {
    use super::*;

    async fn fixture() -> Option<(KafkaTopic, ())> {
        let brokers = support::brokers()?;
        let topic = format!("orders-{}", Uuid::now_v7());
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", &brokers)
            .create()
            .expect("an admin");
        let new = NewTopic::new(&topic, PARTITIONS, TopicReplication::Fixed(1));
        let made = admin
            .create_topics([&new], &AdminOptions::new())
            .await
            .expect("an answer");
        made.into_iter().for_each(|made| drop(made.expect("made")));
        tokio::time::sleep(Duration::from_millis(300)).await;
        Some((KafkaTopic::new(brokers, topic), ()))
    }

    ports::topic_subscriber_conformance!(fixture());
}
