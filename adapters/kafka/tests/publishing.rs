//! The publisher against librdkafka's own mock cluster, whose faults are scripted, and against a real Kafka.

mod support;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use adapter_kafka::{KafkaEventPublisher, KafkaOptions};
use domain::event::LoggedEvent;
use ports::conformance::event_publisher::event;
use ports::{EventPublisher as _, Probe as _};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{Offset, TopicPartitionList};
use uuid::Uuid;

/// What an independent reader found: the positions of each user in the order of its partition, and where its events are.
#[derive(Default)]
struct Found {
    positions: BTreeMap<String, Vec<u64>>,
    partitions: HashMap<String, i32>,
    types: Vec<String>,
}

impl Found {
    /// The first occurrences alone: what comes again changes nothing for whoever keeps ids.
    fn first(&self, user: u128) -> Vec<u64> {
        let mut first = Vec::new();
        for position in self
            .positions
            .get(&Uuid::from_u128(user).to_string())
            .into_iter()
            .flatten()
        {
            if !first.contains(position) {
                first.push(*position);
            }
        }
        first
    }

    fn total(&self) -> usize {
        self.positions.values().map(Vec::len).sum()
    }
}

/// Reads everything that is in the topic now.
fn read(brokers: &str, topic: &str) -> Found {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", Uuid::now_v7().to_string())
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    let patience = Duration::from_secs(20);
    let metadata = consumer
        .fetch_metadata(Some(topic), patience)
        .expect("the topic is there");
    let mut assigned = TopicPartitionList::new();
    let mut ends = BTreeMap::new();
    for partition in metadata.topics()[0].partitions() {
        let (low, high) = consumer
            .fetch_watermarks(topic, partition.id(), patience)
            .expect("its ends");
        assigned
            .add_partition_offset(topic, partition.id(), Offset::Offset(low))
            .expect("an offset");
        if high > low {
            ends.insert(partition.id(), high);
        }
    }
    consumer.assign(&assigned).expect("assigned");
    let mut found = Found::default();
    while !ends.is_empty() {
        let message = consumer.poll(patience).expect("a message in time").expect("a message");
        let user = String::from_utf8(message.key().expect("a key").to_vec()).expect("text");
        let value: serde_json::Value = serde_json::from_slice(message.payload().expect("a value")).expect("JSON");
        assert_eq!(value["userid"], user.as_str());
        let position = value["sequence"]
            .as_str()
            .expect("a sequence")
            .parse()
            .expect("a number");
        found.positions.entry(user.clone()).or_default().push(position);
        let partition = *found.partitions.entry(user).or_insert(message.partition());
        assert_eq!(partition, message.partition(), "a user's events are in one partition");
        let headers = message.headers().expect("headers");
        let of_type = headers.iter().find(|header| header.key == "type").expect("a type");
        found
            .types
            .push(String::from_utf8_lossy(of_type.value.expect("a value")).into_owned());
        if ends
            .get(&message.partition())
            .is_some_and(|end| message.offset() + 1 >= *end)
        {
            ends.remove(&message.partition());
        }
    }
    found
}

fn batch(users: std::ops::RangeInclusive<u128>, positions: std::ops::RangeInclusive<u64>) -> Vec<Arc<LoggedEvent>> {
    positions
        .flat_map(|position| users.clone().map(move |user| event(user, position)))
        .collect()
}

fn options(brokers: &str) -> KafkaOptions {
    KafkaOptions {
        delivery_timeout: Duration::from_secs(5),
        partitions: 4,
        ..KafkaOptions::new(brokers, "urn:plinth:test")
    }
}

/// Tries again as the log's cursor does, until the cluster has the batch.
async fn publish_until_it_works(publisher: &KafkaEventPublisher, events: &[Arc<LoggedEvent>]) -> u32 {
    let mut last = None;
    for failures in 0..20 {
        match publisher.publish(events).await {
            Ok(()) => return failures,
            Err(error) => {
                assert!(error.temporary, "{error}: {}", error.source);
                last = Some(error);
            }
        }
    }
    panic!("the cluster never takes the batch: {last:?}");
}

fn mock() -> (MockCluster<'static, DefaultProducerContext>, KafkaOptions) {
    let cluster = MockCluster::new(3).expect("a mock cluster");
    let options = options(&cluster.bootstrap_servers());
    cluster.create_topic(&options.topic, 4, 3).expect("a topic");
    (cluster, options)
}

fn codes(code: RDKafkaRespErr, times: usize) -> Vec<RDKafkaRespErr> {
    vec![code; times]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_arrives_under_its_users_key_in_order() {
    let (_cluster, options) = mock();
    let publisher = KafkaEventPublisher::new(options.clone()).expect("options");
    publisher.publish(&[]).await.expect("nothing is well");
    publisher.publish(&batch(1..=9, 1..=40)).await.expect("acknowledged");
    publisher.publish(&batch(1..=9, 41..=60)).await.expect("acknowledged");
    let found = read(&options.brokers, &options.topic);
    for user in 1..=9 {
        let key = Uuid::from_u128(user).to_string();
        assert_eq!(found.positions[&key], (1..=60).collect::<Vec<_>>());
    }
    assert!(found.types.iter().all(|name| name == "app.sampled"));
    assert!(publisher.has_audience());
}

/// Errors that a broker answers and that pass: librdkafka's own retries take them, in order.
#[tokio::test(flavor = "multi_thread")]
async fn errors_of_a_request_are_got_over_without_a_change_of_order() {
    for code in [
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
    ] {
        let (cluster, options) = mock();
        let publisher = KafkaEventPublisher::new(options.clone()).expect("options");
        publisher.publish(&batch(1..=3, 1..=5)).await.expect("acknowledged");
        cluster.request_errors(RDKafkaApiKey::Produce, &codes(code, 4));
        publish_until_it_works(&publisher, &batch(1..=3, 6..=30)).await;
        let found = read(&options.brokers, &options.topic);
        for user in 1..=3 {
            assert_eq!(found.first(user), (1..=30).collect::<Vec<_>>(), "{code:?}");
        }
    }
}

/// Brokers that lost their state: such a producer is given up by librdkafka for good.
#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_is_given_up_is_replaced() {
    let (cluster, options) = mock();
    let publisher = KafkaEventPublisher::new(options.clone()).expect("options");
    publisher.publish(&batch(1..=3, 1..=5)).await.expect("acknowledged");
    cluster.request_errors(
        RDKafkaApiKey::Produce,
        &codes(RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, 1),
    );
    publish_until_it_works(&publisher, &batch(1..=3, 6..=30)).await;
    publisher.publish(&batch(1..=3, 31..=40)).await.expect("acknowledged");
    let found = read(&options.brokers, &options.topic);
    for user in 1..=3 {
        assert_eq!(found.first(user), (1..=40).collect::<Vec<_>>());
    }
}

/// Longer than a delivery may take: the batch fails, and nothing behind it slips through.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_away_is_told_and_got_over() {
    let (cluster, mut options) = mock();
    options.delivery_timeout = Duration::from_secs(1);
    let publisher = KafkaEventPublisher::new(options.clone()).expect("options");
    publish_until_it_works(&publisher, &batch(1..=3, 1..=5)).await;
    for broker in 1..=3 {
        cluster.broker_down(broker).expect("down");
    }
    let events = batch(1..=3, 6..=30);
    let refused = publisher.publish(&events).await.expect_err("nobody is there");
    assert!(refused.temporary, "{refused}");
    for broker in 1..=3 {
        cluster.broker_up(broker).expect("up");
    }
    publish_until_it_works(&publisher, &events).await;
    let found = read(&options.brokers, &options.topic);
    for user in 1..=3 {
        assert_eq!(found.first(user), (1..=30).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leaders_may_move_and_a_round_trip_may_take_its_time() {
    let (cluster, options) = mock();
    let publisher = KafkaEventPublisher::new(options.clone()).expect("options");
    publisher.publish(&batch(1..=3, 1..=5)).await.expect("acknowledged");
    for partition in 0..4 {
        let leader = 1 + (partition + 1) % 3;
        cluster
            .partition_leader(&options.topic, partition, Some(leader))
            .expect("moved");
    }
    publish_until_it_works(&publisher, &batch(1..=3, 6..=10)).await;
    for broker in 1..=3 {
        cluster
            .broker_round_trip_time(broker, Duration::from_secs(1))
            .expect("slow");
    }
    publish_until_it_works(&publisher, &batch(1..=3, 11..=15)).await;
    for broker in 1..=3 {
        cluster
            .broker_round_trip_time(broker, Duration::ZERO)
            .expect("quick again");
    }
    let found = read(&options.brokers, &options.topic);
    for user in 1..=3 {
        assert_eq!(found.first(user), (1..=15).collect::<Vec<_>>());
    }
}

/// A queue that is smaller than the batch holds it up, and no more than that.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_waited_for() {
    let (_cluster, mut options) = mock();
    options.queue_events = 10;
    let publisher = KafkaEventPublisher::new(options.clone()).expect("options");
    publisher.publish(&batch(1..=3, 1..=100)).await.expect("acknowledged");
    let found = read(&options.brokers, &options.topic);
    assert_eq!(found.total(), 300);
    for user in 1..=3 {
        assert_eq!(found.first(user), (1..=100).collect::<Vec<_>>());
    }
}

fn real() -> Option<KafkaOptions> {
    let brokers = support::brokers()?;
    let topic = format!("test.{}", Uuid::now_v7().simple());
    Some(KafkaOptions {
        topic,
        ..options(&brokers)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_cluster_gets_its_topic_and_every_event() {
    let Some(options) = real() else {
        return;
    };
    let publisher = Arc::new(KafkaEventPublisher::new(options.clone()).expect("options"));
    publish_until_it_works(&publisher, &batch(1..=20, 1..=50)).await;
    // A second one finds the topic there.
    let other = KafkaEventPublisher::new(options.clone()).expect("options");
    publish_until_it_works(&other, &batch(1..=20, 51..=60)).await;
    let found = read(&options.brokers, &options.topic);
    for user in 1..=20 {
        assert_eq!(found.first(user), (1..=60).collect::<Vec<_>>());
    }
    assert!(
        found
            .partitions
            .values()
            .collect::<std::collections::BTreeSet<_>>()
            .len()
            > 1,
        "users are spread over partitions"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_the_cluster_refuses_to_make_is_no_fault_of_the_events() {
    let Some(options) = real() else {
        return;
    };
    let options = KafkaOptions {
        replication: Some(99),
        ..options
    };
    let publisher = KafkaEventPublisher::new(options).expect("options");
    let refused = publisher.publish(&batch(1..=1, 1..=1)).await.expect_err("99 replicas");
    assert!(refused.temporary, "{refused}: {}", refused.source);
    assert!(publisher.cluster().expect("brokers").away);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_at_the_address_is_told_as_temporary() {
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let brokers = free.local_addr().expect("an address").to_string();
    drop(free);
    let publisher = KafkaEventPublisher::new(options(&brokers)).expect("options");
    let refused = publisher
        .publish(&batch(1..=1, 1..=1))
        .await
        .expect_err("nobody is there");
    assert!(refused.temporary, "{refused}");
    assert!(publisher.cluster().expect("brokers").away);
}
