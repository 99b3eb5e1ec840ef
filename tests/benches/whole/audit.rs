//! Proving the log: `plinth audit verify`, over a log of several users that was published through the API.

use plinth_tests::site::{Backing, Person, Site};
use serde_json::{Value, json};

use crate::Plan;
use crate::report::{Report, Wanted};

/// Users, so that several shards are long, as they are in use.
const PEOPLE: usize = 8;
/// Batches of each, and events of a batch; each event has a payload of some hundred bytes.
const BATCHES: usize = 40;
const BATCH: usize = 1_000;

pub(crate) async fn measure(plan: &Plan, report: &mut Report) {
    let mut sites = vec![("SQLite", Site::start(Backing::Sqlite).await)];
    match Backing::postgres() {
        Some(backing) => sites.push(("PostgreSQL", Site::start(backing).await)),
        None => println!("not measured: there is no PostgreSQL (run scripts/bench)"),
    }
    for (_, site) in &mut sites {
        fill(site).await;
    }
    for _ in 0..plan.rounds {
        for (name, site) in &sites {
            let output = site.server.cli(&["audit", "verify", "--format", "json", "--quiet"]);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let told: Value = serde_json::from_slice(&output.stdout).expect("a report");
            assert!(
                told["events"].as_u64() >= Some((PEOPLE * BATCHES * BATCH) as u64),
                "{told}"
            );
            let rate = told["events_per_second"].as_f64().expect("a rate");
            let name = format!("plinth audit verify, {name}");
            report.add(&name, "events/s", rate, Wanted::AtLeast(200_000.0));
        }
    }
}

async fn fill(site: &Site) {
    let mut people: Vec<Person> = Vec::new();
    for _ in 0..PEOPLE {
        people.push(site.person("audited").await);
    }
    let event = json!({
        "type": "app.bench.measured",
        "data": { "order": "8412", "amount": 1995, "currency": "EUR", "note": "a payload as they are" },
    });
    let batch = json!({ "events": vec![event; BATCH] });
    for _ in 0..BATCHES {
        for person in &people {
            let _ = person.client.post("/v1/events/batch", &batch).await.expect_status(201);
        }
    }
    // The last of them gets its position soon after.
    for person in &people {
        let mut after = "0".to_owned();
        let mut left = BATCHES * BATCH;
        while left > 0 {
            let path = format!("/v1/events?limit=200&wait=5&after={after}");
            let page = person.client.get(&path).await.expect_status(200).json();
            let items = page["items"].as_array().expect("events");
            let ours = items.iter().filter(|item| item["type"] == "app.bench.measured");
            left -= ours.count().min(left);
            after = page["next_cursor"].as_str().expect("a cursor").to_owned();
        }
    }
}
