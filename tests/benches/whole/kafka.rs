//! The way to Kafka: how soon a committed event can be read there, and how fast a backlog drains beside a bare producer
//! with the same settings. Only where `scripts/bench` started a Kafka.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use plinth_tests::api::{Client, Reply};
use plinth_tests::kafka::shared_brokers;
use plinth_tests::server::Setup;
use plinth_tests::site::{Backing, Site};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use reqwest::Method;
use serde_json::{Value, json};

use crate::Plan;
use crate::report::{Report, Wanted};

/// Events in a second, for the latency.
const PACE: u32 = 200;
/// Events of the backlog, and the bytes of each one's payload.
pub(crate) const BACKLOG: usize = 200_000;
const PAYLOAD: usize = 500;
const BATCH: usize = 500;
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) async fn measure(plan: &Plan, report: &mut Report) {
    let Some((brokers, _)) = shared_brokers() else {
        println!("not measured: there is no Kafka (run scripts/bench)");
        return;
    };
    latency(plan, report, &brokers, Backing::Sqlite, "SQLite").await;
    if let Some(backing) = Backing::postgres() {
        latency(plan, report, &brokers, backing, "PostgreSQL").await;
    }
    for _ in 0..plan.rounds.min(2) {
        let bare = bare(&brokers);
        report.add(LIMIT, "events/s", bare, Wanted::Nothing);
        if let Some(backing) = Backing::postgres() {
            drain(report, &brokers, backing, "PostgreSQL").await;
        }
        drain(report, &brokers, Backing::Sqlite, "SQLite").await;
    }
}

pub(crate) const LIMIT: &str = "a bare producer of librdkafka, idempotent, zstd, the same records";

pub(crate) fn topic() -> String {
    format!("plinth.{}", uuid::Uuid::now_v7())
}

/// The setup of a server that hands its events over to a topic.
pub(crate) fn to(setup: Setup, brokers: &str, topic: &str) -> Setup {
    setup
        .env("PLINTH_KAFKA_BROKERS", brokers)
        .env("PLINTH_KAFKA_TOPIC", topic)
}

/// A consumer on a thread of its own that notes when it met each event first.
struct Reader {
    met: Arc<Mutex<HashMap<String, Instant>>>,
    going: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Reader {
    fn start(brokers: &str, topic: &str) -> Self {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", topic)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("topic.metadata.refresh.interval.ms", "500")
            .create()
            .expect("a consumer");
        consumer.subscribe(&[topic]).expect("subscribed");
        let (met, going) = (
            Arc::<Mutex<HashMap<String, Instant>>>::default(),
            Arc::new(AtomicBool::new(true)),
        );
        let (noted, on) = (Arc::clone(&met), Arc::clone(&going));
        let thread = std::thread::spawn(move || {
            while on.load(Ordering::Relaxed) {
                let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) else {
                    continue;
                };
                let now = Instant::now();
                let event: Value = serde_json::from_slice(message.payload().unwrap_or_default()).expect("JSON");
                let id = event["id"].as_str().expect("an id").to_owned();
                noted.lock().expect("nobody panicked").entry(id).or_insert(now);
            }
        });
        Self { met, going, thread }
    }

    fn met(&self) -> usize {
        self.met.lock().expect("nobody panicked").len()
    }

    fn stop(self) -> HashMap<String, Instant> {
        self.going.store(false, Ordering::Relaxed);
        self.thread.join().expect("the reader did not fail");
        std::mem::take(&mut self.met.lock().expect("nobody panicked"))
    }
}

/// From the answer, which follows the commit, until a consumer has the record.
async fn latency(plan: &Plan, report: &mut Report, brokers: &str, backing: Backing, engine: &str) {
    let topic = topic();
    let site = Site::start_with(backing, |setup| to(setup, brokers, &topic)).await;
    let person = site.person("publisher").await;
    let reader = Reader::start(brokers, &topic);
    // Until the reader has its partitions.
    while reader.met() == 0 {
        let _ = publish(&person.client).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut answered: HashMap<String, Instant> = HashMap::new();
    let mut due = tokio::time::interval(Duration::from_secs(1) / PACE);
    let writes = usize::try_from(plan.length.as_secs()).expect("short") * PACE as usize;
    let mut under_way = tokio::task::JoinSet::new();
    for _ in 0..writes {
        due.tick().await;
        let client = person.client.clone();
        under_way.spawn(async move { (publish(&client).await, Instant::now()) });
    }
    while let Some(done) = under_way.join_next().await {
        let (id, at) = done.expect("it is published");
        answered.insert(id, at);
    }
    let began = Instant::now();
    while !answered
        .keys()
        .all(|id| reader.met.lock().expect("nobody panicked").contains_key(id))
    {
        assert!(began.elapsed() < PATIENCE, "events do not arrive");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let met = reader.stop();
    let late = |(id, at): (&String, &Instant)| met[id].saturating_duration_since(*at).as_secs_f64() * 1_000.0;
    let mut all: Vec<f64> = answered.iter().map(late).collect();
    all.sort_by(f64::total_cmp);
    let part = |part: f64| all[((all.len() - 1) as f64 * part) as usize];
    for (name, share, most) in [("p50", 0.5, 10.0), ("p99", 0.99, 50.0)] {
        let name = format!("commit to Kafka at {PACE} events/s, {engine}, {name}");
        report.add(&name, "ms", part(share), Wanted::AtMost(most));
    }
}

async fn publish(client: &Client) -> String {
    let body = json!({ "type": "app.bench.measured", "data": { "order": "8412", "amount": 1995 } });
    let reply = Reply::try_of(client.request(Method::POST, "/v1/events").json(&body)).await;
    reply.expect("the server answers").expect_status(201).string("/id")
}

/// Payloads of which no two are alike, as far as a compressor is concerned too.
fn payload(number: usize) -> String {
    let mut text = String::with_capacity(PAYLOAD + 16);
    let mut state = number as u64 ^ 0x9E37_79B9_7F4A_7C15;
    while text.len() < PAYLOAD {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        text.push_str(&format!("{:016x}", state >> 4));
    }
    text.truncate(PAYLOAD);
    text
}

/// Fills the log while no broker is configured, then lets the events go.
async fn drain(report: &mut Report, brokers: &str, backing: Backing, engine: &str) {
    let mut site = Site::start(backing).await;
    let filled = fill(&site).await;
    report.add(
        &format!("POST /v1/events/batch, 500 in each, {engine}"),
        "events/s",
        filled,
        at_least(engine),
    );
    let _ = site.server.terminate().await;
    let rate = drained(&site, brokers).await;
    let part = Wanted::PartOf(0.5, LIMIT.to_owned());
    report.add(&format!("a backlog to Kafka, {engine}"), "events/s", rate, part);
}

/// Publishes the backlog in batches, and waits until every event has its position and every handler is done with it. Gives
/// the rate of the publishing alone.
pub(crate) async fn fill(site: &Site) -> f64 {
    let people = [site.person("a").await, site.person("b").await, site.person("c").await];
    let began = Instant::now();
    let mut under_way = tokio::task::JoinSet::new();
    for (index, person) in people.iter().cycle().take(6).enumerate() {
        let client = person.client.clone();
        under_way.spawn(async move {
            for batch in (index..BACKLOG / BATCH).step_by(6) {
                let event = |number| json!({ "type": "app.bench.measured", "data": payload(batch * BATCH + number) });
                let body = json!({ "events": (0..BATCH).map(event).collect::<Vec<_>>() });
                let _ = client.post("/v1/events/batch", &body).await.expect_status(201);
            }
        });
    }
    under_way.join_all().await;
    let filled = BACKLOG as f64 / began.elapsed().as_secs_f64();
    let began = Instant::now();
    loop {
        let stats = site.server.ops_client().get("/ops/stats").await.json();
        let lags = stats["log"]["lags"].as_array().cloned().unwrap_or_default();
        if stats["log"]["unsequenced"] == 0 && lags.iter().all(|lag| lag["events"] == 0) {
            return filled;
        }
        assert!(began.elapsed() < PATIENCE, "the handlers stand still");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Starts a server that knows a broker on a site whose own has ended, and measures how fast it hands the backlog over.
pub(crate) async fn drained(site: &Site, brokers: &str) -> f64 {
    let topic = topic();
    let node = to(site.backing.applied_to(Setup::serve()), brokers, &topic);
    let mut server = node.data_dir(site.server.data_dir()).start().await;
    let operations = server.ops_client();
    let waiting = async || {
        let stats = operations.get("/ops/stats").await.json();
        let lags = stats["log"]["lags"].as_array().cloned().unwrap_or_default();
        let kafka = lags.iter().find(|lag| lag["group"] == "kafka").cloned();
        kafka.and_then(|lag| lag["events"].as_u64()).unwrap_or(u64::MAX)
    };
    // From a moment in which it is under way: neither the start of the process nor the making of the topic is meant.
    let mut first = waiting().await;
    while first > (BACKLOG as u64 - 5_000) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        first = waiting().await;
    }
    let began = Instant::now();
    while waiting().await > 0 {
        assert!(began.elapsed() < PATIENCE, "the backlog does not drain");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let rate = first as f64 / began.elapsed().as_secs_f64();
    let _ = server.terminate().await;
    rate
}

fn at_least(engine: &str) -> Wanted {
    if engine == "PostgreSQL" {
        Wanted::AtLeast(20_000.0)
    } else {
        Wanted::Nothing
    }
}

/// What the client library reaches by itself with such records.
pub(crate) fn bare(brokers: &str) -> f64 {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("enable.gapless.guarantee", "true")
        .set("acks", "all")
        .set("max.in.flight.requests.per.connection", "5")
        .set("partitioner", "murmur2_random")
        .set("message.timeout.ms", "0")
        .set("compression.type", "zstd")
        .set("linger.ms", "2")
        .set("queue.buffering.max.messages", "20000")
        .set("queue.buffering.max.kbytes", "32768")
        .create()
        .expect("a producer");
    let topic = topic();
    // The broker of the tests makes no topic by itself: a server of ours has to.
    make_topic(brokers, &topic);
    let records: Vec<(String, String)> = (0..BACKLOG)
        .map(|number| {
            let value = json!({ "specversion": "1.0", "id": uuid::Uuid::now_v7().to_string(), "source": "urn:plinth:bench",
                "type": "app.bench.measured", "time": "2026-01-01T00:00:00.000000Z", "datacontenttype": "application/json",
                "userid": "00000000-0000-7000-8000-000000000001", "actorid": "00000000-0000-7000-8000-000000000001",
                "sequence": format!("{number:020}"), "data": payload(number) });
            (format!("user {}", number % 3), value.to_string())
        })
        .collect();
    let headers = OwnedHeaders::new().insert(Header {
        key: "type",
        value: Some("app.bench.measured"),
    });
    let began = Instant::now();
    for (key, value) in &records {
        let mut record = BaseRecord::to(&topic).key(key).payload(value).headers(headers.clone());
        while let Err((_, back)) = producer.send(record) {
            producer.poll(Duration::from_millis(1));
            record = back;
        }
    }
    producer.flush(PATIENCE).expect("all are acknowledged");
    BACKLOG as f64 / began.elapsed().as_secs_f64()
}

fn make_topic(brokers: &str, topic: &str) {
    let admin: rdkafka::admin::AdminClient<_> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create()
        .expect("an administrator");
    let new = rdkafka::admin::NewTopic::new(topic, 12, rdkafka::admin::TopicReplication::Fixed(1));
    let options = rdkafka::admin::AdminOptions::new();
    let made = admin.create_topics([&new], &options);
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(made)).expect("the topic is made");
}
