//! Kafka in trouble, and processes that die on the way to it: nothing lost, nothing out of order, nobody else hurt.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use plinth_tests::api::{Client, Reply};
use plinth_tests::kafka::{TestKafka, Topic, order, shared_brokers, write};
use plinth_tests::postgres::{TestDatabase, fresh_database};
use plinth_tests::server::{PlinthBinary, Setup};
use plinth_tests::site::{Person, sign_up};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::load::{ALONE, eventually};

const PEOPLE: usize = 4;
const TOPIC: &str = "plinth.events";

/// How long Kafka is away. Longer by hand: `PLINTH_TEST_OUTAGE=60`.
fn outage() -> Duration {
    Duration::from_secs(plinth_tests::number_from("PLINTH_TEST_OUTAGE").unwrap_or(8))
}

/// How often a process is killed. More often by hand: `PLINTH_TEST_KILLS=30`.
fn kills() -> u64 {
    plinth_tests::number_from("PLINTH_TEST_KILLS").unwrap_or(4)
}

/// A load of so many events in a second, each person's one after the other, until it is told to stop.
struct Load {
    going: Arc<AtomicBool>,
    writers: JoinSet<Written>,
}

#[derive(Debug, Default)]
struct Written {
    ids: Vec<String>,
    refused: Vec<u16>,
    unanswered: usize,
}

impl Load {
    fn start(people: &[(Person, Client)], a_second: u32) -> Self {
        let going = Arc::new(AtomicBool::new(true));
        let pause = Duration::from_secs(1) * u32::try_from(people.len()).expect("few") / a_second;
        let mut writers = JoinSet::new();
        for (_, client) in people {
            let (client, going) = (client.clone(), Arc::clone(&going));
            writers.spawn(async move {
                let (mut written, mut number) = (Written::default(), 0_u64);
                let mut due = tokio::time::interval(pause);
                while going.load(Ordering::Relaxed) {
                    due.tick().await;
                    number += 1;
                    let body = json!({ "type": "app.counted", "data": { "number": number } });
                    match Reply::try_of(client.request(Method::POST, "/v1/events").json(&body)).await {
                        Ok(reply) if reply.status == 201 => written.ids.push(reply.string("/id")),
                        Ok(reply) => written.refused.push(reply.status),
                        Err(_) => written.unanswered += 1,
                    }
                }
                written
            });
        }
        Self { going, writers }
    }

    async fn stop(mut self) -> Written {
        self.going.store(false, Ordering::Relaxed);
        let mut all = Written::default();
        while let Some(written) = self.writers.join_next().await {
            let written = written.expect("the writer did not fail");
            all.ids.extend(written.ids);
            all.refused.extend(written.refused);
            all.unanswered += written.unanswered;
        }
        all
    }
}

/// Events that a group has yet to pass, as the operations listener tells it.
async fn lag(node: &PlinthBinary, group: &str) -> u64 {
    let stats = node.ops_client().get("/ops/stats").await.expect_status(200).json();
    let lags = stats["log"]["lags"].as_array().expect("lags");
    let of_group = lags.iter().find(|lag| lag["group"] == group);
    // What waits for its position is not in any lag yet.
    let waiting = stats["log"]["unsequenced"].as_u64().expect("a number");
    waiting + of_group.map_or(u64::MAX / 2, |lag| lag["events"].as_u64().expect("a number"))
}

async fn drained(node: &PlinthBinary) {
    eventually("Kafka has every event", async || lag(node, "kafka").await == 0).await;
}

/// Asserts that an independent client finds every event that was acknowledged, in the order that is promised.
fn assert_all_there(brokers: &str, topic: &str, written: &Written) {
    let Some(found) = Topic::read(brokers, topic) else {
        return;
    };
    found.assert_promised();
    let ids = found.ids();
    let lost: Vec<&String> = written.ids.iter().filter(|id| !ids.contains(id.as_str())).collect();
    assert!(
        lost.is_empty(),
        "{} of {} are lost: {lost:?}",
        lost.len(),
        written.ids.len()
    );
}

/// What nodes share: brokers, a topic, a database, a folder.
struct Shared {
    brokers: String,
    topic: String,
    database: TestDatabase,
    folder: tempfile::TempDir,
}

impl Shared {
    fn make() -> Option<Self> {
        let (brokers, topic) = shared_brokers()?;
        Some(Self {
            brokers,
            topic,
            database: fresh_database()?,
            folder: tempfile::tempdir().expect("a folder"),
        })
    }

    fn node(&self, setup: Setup) -> Setup {
        let setup = setup.database(&self.database).data_dir(self.folder.path());
        setup
            .env("PLINTH_KAFKA_BROKERS", &self.brokers)
            .env("PLINTH_KAFKA_TOPIC", &self.topic)
    }
}

async fn people(node: &PlinthBinary) -> Vec<(Person, Client)> {
    let mut people = Vec::new();
    for _ in 0..PEOPLE {
        let person = sign_up(&node.client(), &node.outbox(), "ada").await;
        people.push((person.clone(), person.client));
    }
    people
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_kafka_is_away_events_wait_and_nobody_else_is_hurt() {
    let _alone = ALONE.lock().await;
    let Some(kafka) = TestKafka::one() else { return };
    let server = Setup::serve()
        .env("PLINTH_KAFKA_BROKERS", kafka.brokers())
        .start()
        .await;
    let people = people(&server).await;
    let load = Load::start(&people, 100);
    eventually("events reach Kafka", async || lag(&server, "kafka").await < 20).await;

    kafka.kill(1);
    let began = Instant::now();
    let ready = async || server.ops_client().get("/health/ready").await.expect_status(200).json();
    eventually("health tells of it", async || ready().await["status"] == "degraded").await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let mut stream = people[0].1.stream("/v1/events/stream", None).await;
    while began.elapsed() < outage() {
        let event = stream.next(Duration::from_secs(5)).await.expect("the stream goes on");
        assert_eq!(event.json()["userid"], people[0].0.id.as_str());
    }
    let metrics = server.ops_client().get("/metrics").await.expect_status(200);
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    let told = |group: &str| {
        let line = format!("plinth_log_lag_events{{group=\"{group}\"}} ");
        let value = metrics
            .lines()
            .find_map(|found| found.strip_prefix(&line))
            .expect("the lag is told");
        value.parse::<f64>().expect("a number")
    };
    let passed = began.elapsed().as_secs_f64();
    assert!(told("kafka") > passed * 50.0, "{} after {passed} s", told("kafka"));
    assert!(told("usage") < 50.0, "{}", told("usage"));

    kafka.start_again(1);
    let back = Instant::now();
    eventually("the backlog drains", async || lag(&server, "kafka").await < 20).await;
    assert!(back.elapsed() < Duration::from_secs(30), "{:?}", back.elapsed());
    eventually("health tells that it is over", async || {
        ready().await["status"] == "ready"
    })
    .await;
    let written = load.stop().await;
    drained(&server).await;
    assert_eq!((written.refused.len(), written.unanswered), (0, 0), "{written:?}");
    assert_all_there(kafka.brokers(), TOPIC, &written);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_dies_between_kafka_and_the_cursor_loses_nothing() {
    let _alone = ALONE.lock().await;
    let Some(shared) = Shared::make() else { return };
    let node = |setup| shared.node(setup);
    // One that only serves stays alive and acknowledges; the others are killed in turn.
    let front = node(Setup::serve().arg("--no-workers")).start().await;
    let (mut server, mut worker) = tokio::join!(node(Setup::serve()).start(), node(Setup::worker()).start());
    let mut people = people(&front).await;
    people[1].1 = people[1].1.at(server.http());
    let load = Load::start(&people, 200);
    for kill in 0..kills() {
        // Somewhere in the middle of whatever it does, at another time each time.
        tokio::time::sleep(Duration::from_millis(700 + kill * 131 % 900)).await;
        if kill % 2 == 0 {
            worker.restart().await;
        } else {
            server.restart().await;
        }
    }
    let written = load.stop().await;
    drained(&front).await;
    assert_eq!(written.refused, [] as [u16; 0]);
    assert_all_there(&shared.brokers, &shared.topic, &written);
    let Some(found) = Topic::read(&shared.brokers, &shared.topic) else {
        return;
    };
    let again = found.len() - found.ids().len();
    assert!(
        again as u64 <= kills() * 4_200,
        "{again} came again: more than a batch, and what was not noted before it, for each kill"
    );
}

/// Workers that read another service's topic are killed in turn, and others come and go: each event has its effect once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_other_services_count_once_whoever_dies() {
    let _alone = ALONE.lock().await;
    let Some(shared) = Shared::make() else { return };
    let orders = format!("{}.orders", shared.topic);
    let node = |setup| {
        shared
            .node(setup)
            .env("PLINTH_KAFKA_CONSUME", &orders)
            .env("PLINTH_KAFKA_GROUP", &shared.topic)
            // What a killed one had is somebody else's after so long.
            .env(
                "PLINTH_KAFKA_SETTINGS",
                "session.timeout.ms=6000,heartbeat.interval.ms=1000",
            )
    };
    let front = node(Setup::serve().arg("--no-workers")).start().await;
    let Some(()) = write(&shared.brokers, &orders, 6, &[]) else {
        return;
    };
    let (mut one, mut two) = tokio::join!(node(Setup::worker()).start(), node(Setup::worker()).start());
    let people = people(&front).await;
    let (each, pause) = (200 + 80 * kills(), 0.005);
    let lines: Vec<Value> = (0..each * people.len() as u64)
        .map(|number| {
            let person = usize::try_from(number).expect("few") % people.len();
            let mut line = order(&people[person].0.id, number);
            line["pause"] = pause.into();
            line
        })
        .collect();
    let (brokers, topic) = (shared.brokers.clone(), orders.clone());
    let writing = tokio::task::spawn_blocking(move || write(&brokers, &topic, 6, &lines));
    for kill in 0..kills() {
        tokio::time::sleep(Duration::from_millis(900 + kill * 131 % 900)).await;
        if kill % 2 == 0 {
            one.restart().await;
        } else {
            two.restart().await;
        }
    }
    assert!(one.terminate().await.success());
    let _third = node(Setup::worker()).start().await;
    writing.await.expect("it wrote").expect("as before");
    for (person, _) in &people {
        eventually("all of it is counted", async || counted(person).await >= each).await;
    }
    for (person, _) in &people {
        assert_eq!(counted(person).await, each, "no event counts twice");
    }
}

async fn counted(person: &Person) -> u64 {
    let usage = person.client.get("/v1/me/usage").await.expect_status(200).json();
    let meters = usage["meters"].as_array().expect("meters").clone();
    let events = meters.iter().find(|meter| meter["meter"] == "events");
    events.map_or(0, |meter| meter["amount"].as_u64().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_come_and_go_keep_the_order_of_each_user() {
    let _alone = ALONE.lock().await;
    let Some(shared) = Shared::make() else { return };
    let node = |setup| shared.node(setup);
    let server = node(Setup::serve()).start().await;
    let people = people(&server).await;
    let load = Load::start(&people, 200);
    for _ in 0..3 {
        let (mut one, mut two) = tokio::join!(node(Setup::worker()).start(), node(Setup::worker()).start());
        tokio::time::sleep(Duration::from_millis(800)).await;
        assert!(one.terminate().await.success());
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(two.terminate().await.success());
    }
    let written = load.stop().await;
    drained(&server).await;
    assert_eq!((written.refused.len(), written.unanswered), (0, 0), "{written:?}");
    assert_all_there(&shared.brokers, &shared.topic, &written);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_brokers_dies_and_nothing_is_lost() {
    let _alone = ALONE.lock().await;
    let Some(kafka) = TestKafka::three() else { return };
    let server = Setup::serve()
        .env("PLINTH_KAFKA_BROKERS", kafka.brokers())
        .start()
        .await;
    let people = people(&server).await;
    let load = Load::start(&people, 100);
    eventually("events reach Kafka", async || lag(&server, "kafka").await < 20).await;
    kafka.kill(2);
    tokio::time::sleep(Duration::from_secs(4)).await;
    eventually("the others take over", async || lag(&server, "kafka").await < 50).await;
    kafka.start_again(2);
    let written = load.stop().await;
    drained(&server).await;
    assert_eq!((written.refused.len(), written.unanswered), (0, 0), "{written:?}");
    assert_all_there(kafka.brokers(), TOPIC, &written);
}
