//! Events on their way to Kafka, and what is said when they cannot go there.

use std::process::Output;
use std::time::Duration;

use plinth_tests::kafka::{Topic, order, shared_brokers, write};
use plinth_tests::server::{PlinthBinary, Setup};
use plinth_tests::site::{Backing, Person, Site, sign_up};
use serde_json::{Value, json};

use crate::tools::eventually;

plinth_tests::on_both!(
    every_event_of_a_user_reaches_the_topic,
    events_of_other_services_are_handled_once,
);

async fn counted(person: &Person) -> u64 {
    let usage = person.client.get("/v1/me/usage").await.expect_status(200).json();
    let meters = usage["meters"].as_array().expect("meters").clone();
    let events = meters.iter().find(|meter| meter["meter"] == "events");
    events.map_or(0, |meter| meter["amount"].as_u64().expect("a number"))
}

/// The samples of a metric.
async fn samples(server: &PlinthBinary, name: &str) -> Vec<f64> {
    let page = server.ops_client().get("/metrics").await.expect_status(200);
    let page = String::from_utf8_lossy(&page.body).into_owned();
    let of_name = |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'));
    let lines = page.lines().filter(|line| of_name(line));
    let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse().ok());
    lines.map(|line| value(line).expect("a number")).collect()
}

async fn events_of_other_services_are_handled_once(backing: Backing) {
    let Some((brokers, topic)) = shared_brokers() else {
        return;
    };
    let orders = format!("{topic}.orders");
    // A record that is no event, as the topic's first.
    let no_event = json!({ "key": "nobody", "raw": "hello" });
    let Some(()) = write(&brokers, &orders, 3, &[no_event]) else {
        return;
    };
    let feed = |setup: Setup, group: &str| {
        setup
            .env("PLINTH_KAFKA_BROKERS", &brokers)
            .env("PLINTH_KAFKA_TOPIC", &topic)
            .env("PLINTH_KAFKA_CONSUME", &orders)
            .env("PLINTH_KAFKA_GROUP", format!("{topic}.{group}"))
    };
    let site = Site::start_with(backing, |setup| feed(setup, "first")).await;
    let (ada, bob) = (site.person("ada").await, site.person("bob").await);
    let mut lines: Vec<Value> = (0..30).map(|number| order(&ada.id, number)).collect();
    lines.extend((30..40).map(|number| order(&bob.id, number)));
    // Some of them twice, as a producer that was not heard would; and one of nobody we know.
    lines.extend((0..10).map(|number| order(&ada.id, number)));
    lines.push(order("somebody", 99));
    // What the counter cannot take; and then what is behind it.
    let mut too_large = order(&bob.id, 40);
    too_large["attributes"]["type"] = "file.uploaded".into();
    too_large["data"] = json!({ "size": u64::MAX });
    lines.extend([too_large, order(&bob.id, 41)]);
    write(&brokers, &orders, 3, &lines).expect("as before");
    eventually("they are counted", async || {
        (counted(&ada).await == 30 && counted(&bob).await == 10).then_some(())
    })
    .await;
    eventually("nothing is left to be read", async || {
        let lags = samples(&site.server, "plinth_topic_lag_events").await;
        (lags.len() == 3 && lags.iter().all(|lag| *lag == 0.0)).then_some(())
    })
    .await;
    let stats = site
        .server
        .ops_client()
        .get("/ops/stats")
        .await
        .expect_status(200)
        .json();
    let usage = stats["log"]["lags"]
        .as_array()
        .expect("groups")
        .iter()
        .find(|lag| lag["group"] == "usage");
    let usage = usage.expect("the group").clone();
    // What the counter refuses, the order behind it, and whatever else this person did meanwhile.
    assert!(usage["held"].as_u64() >= Some(2) && usage["dead"] == 1, "{usage}");

    let admin = site.administrator().await;
    let letters = admin
        .client
        .get("/v1/admin/dead-letters?reason=not_an_event")
        .await
        .expect_status(200)
        .json();
    let letter = &letters["items"][0];
    assert_eq!(
        (&letter["group"], &letter["origin"]),
        (&json!("usage"), &json!("topic")),
        "{letters}"
    );
    assert_eq!(
        (&letter["record"]["topic"], &letter["record"]["offset"]),
        (&json!(orders), &json!(0))
    );
    let path = format!("/v1/admin/dead-letters/{}", letter["id"].as_str().expect("an id"));
    let whole = admin.client.get(&path).await.expect_status(200).json();
    assert_eq!(whole["record"]["data"]["value_base64"], "aGVsbG8=", "{whole}");

    // Another group reads all of it from the beginning: what was handled is known by its mark.
    let second = site
        .backing
        .applied_to(Setup::worker())
        .data_dir(site.server.data_dir());
    let second = feed(second, "second").start().await;
    eventually("all of it is read again", async || {
        let lags = samples(&second, "plinth_topic_lag_events").await;
        (lags.len() == 3 && lags.iter().all(|lag| *lag == 0.0)).then_some(())
    })
    .await;
    assert_eq!((counted(&ada).await, counted(&bob).await), (30, 10));
    write(&brokers, &orders, 3, &[order(&ada.id, 50)]).expect("as before");
    eventually("it goes on", async || (counted(&ada).await == 31).then_some(())).await;
    eventually("both groups are done with it", async || {
        let lags = [
            samples(&site.server, "plinth_topic_lag_events").await,
            samples(&second, "plinth_topic_lag_events").await,
        ];
        lags.iter().flatten().all(|lag| *lag == 0.0).then_some(())
    })
    .await;
    assert_eq!(counted(&ada).await, 31, "once, although two groups read it");
}

async fn every_event_of_a_user_reaches_the_topic(backing: Backing) {
    let Some((brokers, topic)) = shared_brokers() else {
        return;
    };
    let to_kafka = |setup: Setup| {
        setup
            .env("PLINTH_KAFKA_BROKERS", &brokers)
            .env("PLINTH_KAFKA_TOPIC", &topic)
            .env("PLINTH_KAFKA_PARTITIONS", "3")
    };
    let site = Site::start_with(backing, to_kafka).await;
    let person = sign_up(&site.client(), &site.outbox(), "ada").await;
    let events: Vec<Value> = (0..50)
        .map(|number| json!({ "type": "app.counted", "subject": "ä", "data": { "number": number } }))
        .collect();
    let batch = person
        .client
        .post("/v1/events/batch", &json!({ "events": events }))
        .await;
    let ids = batch.expect_status(201).json()["ids"].clone();
    let ids: Vec<String> = serde_json::from_value(ids).expect("a list of ids");
    let read = eventually("the topic has them", async || match Topic::read(&brokers, &topic) {
        Some(found) => ids
            .iter()
            .all(|id| found.ids().contains(id.as_str()))
            .then_some(Some(found)),
        None => Some(None),
    });
    let Some(found) = read.await else { return };
    let history = person
        .client
        .get("/v1/events?limit=200")
        .await
        .expect_status(200)
        .json();
    let history = history["items"].as_array().expect("a page").clone();
    found.assert_promised();
    assert!(found.records.keys().all(|partition| *partition < 3));
    let of_the_user = found
        .records
        .values()
        .flatten()
        .filter(|event| event["userid"] == person.id.as_str());
    let of_the_user: Vec<&Value> = of_the_user.collect();
    assert!(history.len() > 50, "sign-up left events of its own");
    for (there, here) in of_the_user.iter().zip(&history) {
        assert_eq!(*there, here, "the topic and the history tell the same");
    }
}

fn finding(output: &Output, name: &str) -> Value {
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let checks = report["checks"].as_array().expect("checks");
    let found = checks.iter().find(|check| check["name"] == name);
    found
        .unwrap_or_else(|| panic!("nothing is said of {name}: {report}"))
        .clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_tells_a_cluster_that_answers_from_one_that_does_not() {
    let Some((brokers, topic)) = shared_brokers() else {
        return;
    };
    let kafka = |setup: Setup, brokers: &str| {
        setup
            .env("PLINTH_KAFKA_BROKERS", brokers)
            .env("PLINTH_KAFKA_TOPIC", &topic)
    };
    let missing = kafka(Setup::doctor(), &brokers).run().await;
    let missing = finding(&missing, "kafka");
    assert!(
        missing["state"] == "warn" && missing["cause"].to_string().contains("no topic"),
        "{missing}"
    );

    let server = kafka(Setup::serve(), &brokers).start().await;
    eventually("the topic is made", async || {
        let there = finding(&server.cli(&["doctor", "--format", "json"]), "kafka");
        there["cause"].to_string().contains("1 broker, ").then_some(())
    })
    .await;

    let silent = kafka(Setup::doctor(), "127.0.0.1:1").run().await;
    let silent = finding(&silent, "kafka");
    assert!(
        silent["state"] == "fail" && silent["cause"].to_string().contains("Connection refused"),
        "{silent}"
    );
    assert!(silent["fix"].to_string().contains("kafka.brokers"), "{silent}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_that_do_not_speak_our_way_degrade_the_server_and_nothing_else() {
    let Some((brokers, topic)) = shared_brokers() else {
        return;
    };
    let server = Setup::serve()
        .env("PLINTH_KAFKA_BROKERS", &brokers)
        .env("PLINTH_KAFKA_TOPIC", &topic)
        // The broker of the tests knows neither.
        .env("PLINTH_KAFKA_SECURITY_PROTOCOL", "sasl_plaintext")
        .env("PLINTH_KAFKA_SASL_MECHANISM", "SCRAM-SHA-512")
        .env("PLINTH_KAFKA_SASL_USERNAME", "plinth")
        .env("PLINTH_KAFKA_SASL_PASSWORD", "hunter2")
        .start()
        .await;
    eventually("health tells of it", async || {
        let ready = server.ops_client().get("/health/ready").await.expect_status(200).json();
        (ready["status"] == "degraded").then_some(())
    })
    .await;
    let person = sign_up(&server.client(), &server.outbox(), "ada").await;
    let event = person
        .client
        .post("/v1/events", &json!({ "type": "app.counted", "data": 1 }))
        .await;
    let _ = event.expect_status(201);
    let page = person.client.get("/v1/events?wait=5").await.expect_status(200).json();
    assert!(page["items"].as_array().is_some_and(|items| !items.is_empty()));
    eventually("the log says why", async || {
        server.stderr().contains("the broker is away").then_some(())
    })
    .await;
    assert!(!server.stderr().contains("hunter2"));
    let mut server = server;
    let ended = tokio::time::timeout(Duration::from_secs(20), server.terminate()).await;
    assert!(ended.expect("it ends in time").success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setting_that_would_lose_events_is_refused_at_the_start() {
    let refused = Setup::serve()
        .env("PLINTH_KAFKA_BROKERS", "127.0.0.1:1")
        .env("PLINTH_KAFKA_SETTINGS", "acks=0")
        .run()
        .await;
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("kafka") && said.contains("acks"), "{said}");
}
