//! Publishing while everything else that follows the log runs: the publisher to Kafka, the handler groups, a hundred live
//! streams. Each stream is that of another user, and the events are spread over these users, so that each event goes to
//! Kafka, to every group and to one stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use plinth_tests::kafka::shared_brokers;
use plinth_tests::site::{Backing, Person, Site};
use reqwest::Method;

use crate::Plan;
use crate::events::{BODY, CONNECTIONS, INSERT, LIMIT, caught_up, pgbench};
use crate::kafka;
use crate::load::{self, Target};
use crate::report::{Report, Wanted};

const STREAMS: usize = 100;
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn measure(plan: &Plan, report: &mut Report) {
    let (Some((brokers, topic)), Some(ours), Some(limit)) =
        (shared_brokers(), Backing::postgres(), Backing::postgres())
    else {
        println!("not measured: there is no PostgreSQL or no Kafka (run scripts/bench)");
        return;
    };
    if !load::possible() {
        return;
    }
    let mut limit = Site::start(limit).await;
    let _ = limit.server.terminate().await;
    let site = Site::start_with(ours, |setup| kafka::to(setup, &brokers, &topic)).await;
    let mut people = Vec::with_capacity(STREAMS);
    for _ in 0..STREAMS {
        people.push(site.person("follower").await);
    }
    let seen = Arc::new(AtomicU64::new(0));
    let mut readers = tokio::task::JoinSet::new();
    for person in &people {
        follow(person, &seen, &mut readers).await;
    }
    let target = Target::get(format!("{}/v1/events", site.server.http())).script(script(&people));
    for _ in 0..plan.rounds {
        if let Some(rate) = pgbench(&limit.database_url(), INSERT, plan.length) {
            report.add(LIMIT, "events/s", rate, Wanted::Nothing);
        }
        let before = seen.load(Ordering::Relaxed);
        let began = Instant::now();
        let load = load::run(&target, CONNECTIONS, plan.length);
        let took = began.elapsed();
        assert_eq!(load.refused, 0);
        let name = "POST /v1/events beside Kafka, three groups and 100 streams, PostgreSQL";
        report.add(name, "events/s", load.rate, Wanted::PartOf(0.5, LIMIT.to_owned()));
        report.add(&format!("{name}, p99"), "ms", load.p99, Wanted::Nothing);
        let sequenced = caught_up(&site);
        report.add(
            "the sequencer behind the last of them",
            "ms",
            millis(sequenced),
            Wanted::Nothing,
        );
        let ended = Instant::now();
        report.add(
            "Kafka and the groups behind the last of them",
            "ms",
            behind(&site, ended).await,
            Wanted::Nothing,
        );
        // The answers that `wrk` counted, at least, came to their streams.
        let published = (load.rate * took.as_secs_f64().min(plan.length.as_secs_f64())) as u64;
        while seen.load(Ordering::Relaxed) - before < published {
            assert!(ended.elapsed() < PATIENCE, "a stream lost events");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    readers.abort_all();
}

/// Opens a stream and counts its events, as cheaply as a reader can: the readers share the machine with what is measured.
async fn follow(person: &Person, seen: &Arc<AtomicU64>, readers: &mut tokio::task::JoinSet<()>) {
    let request = person.client.request(Method::GET, "/v1/events/stream");
    let mut answer = request.send().await.expect("the server answers");
    assert_eq!(answer.status().as_u16(), 200);
    let seen = Arc::clone(seen);
    readers.spawn(async move {
        const MARK: &[u8] = b"\ndata:";
        let mut end: Vec<u8> = Vec::new();
        while let Ok(Some(chunk)) = answer.chunk().await {
            end.extend_from_slice(&chunk);
            let found = end.windows(MARK.len()).filter(|window| *window == MARK).count();
            seen.fetch_add(found as u64, Ordering::Relaxed);
            end.drain(..end.len().saturating_sub(MARK.len() - 1));
        }
    });
}

/// Lua that lets each request be that of the next user.
fn script(people: &[Person]) -> String {
    let tokens = people.iter().map(|person| person.client.token().expect("signed in"));
    let list: Vec<String> = tokens.map(|token| format!("'{token}'")).collect();
    format!(
        "local tokens = {{ {} }}\nlocal requests, at = {{}}, 0\n\
         init = function(arguments)\n  for number, token in ipairs(tokens) do\n    requests[number] = wrk.format('POST', nil, \
         {{ ['Content-Type'] = 'application/json', ['Authorization'] = 'Bearer ' .. token }}, '{BODY}')\n  end\nend\n\
         request = function()\n  at = at % #requests + 1\n  return requests[at]\nend\n",
        list.join(", ")
    )
}

/// How long until Kafka and every group have all there is, in milliseconds.
async fn behind(site: &Site, since: Instant) -> f64 {
    loop {
        let stats = site.server.ops_client().get("/ops/stats").await.json();
        let lags = stats["log"]["lags"].as_array().cloned().unwrap_or_default();
        assert!(lags.iter().any(|lag| lag["group"] == "kafka"), "{stats}");
        if lags.iter().all(|lag| lag["events"] == 0) {
            return millis(since.elapsed());
        }
        assert!(since.elapsed() < PATIENCE, "they stand still");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
