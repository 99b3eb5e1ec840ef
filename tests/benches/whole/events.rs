//! Publishing, each event with its own durable answer: beside one equal insert per statement.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use plinth_tests::site::{Backing, Site};

use crate::Plan;
use crate::load::{self, Target};
use crate::report::{Report, Wanted};

pub(crate) const LIMIT: &str = "pgbench, one equal insert per statement, 32 connections";
pub(crate) const CONNECTIONS: u32 = 32;
pub(crate) const BODY: &str = r#"{"type":"app.bench.measured","data":{"order":"8412","amount":1995,"currency":"EUR","note":"a payload as they are"}}"#;

/// What `POST /v1/events` writes before it answers: the event, and its place in the sequencer's work.
pub(crate) const INSERT: &str = "WITH e AS (INSERT INTO events (id, shard, user_id, type, subject, time, data, salt, digest, actor, \
    impersonator, request_id, client_id) VALUES (gen_random_uuid(), 3, '00000000-0000-7000-8000-000000000001', \
    'app.bench.measured', NULL, 1800000000000000, '{\"order\":\"8412\",\"amount\":1995,\"currency\":\"EUR\",\"note\":\"a payload as they are\"}', \
    decode('000102030405060708090a0b0c0d0e0f', 'hex'), \
    decode('000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f', 'hex'), \
    'user:00000000-0000-7000-8000-000000000001', NULL, gen_random_uuid(), FALSE) RETURNING id, shard) \
    INSERT INTO event_pending (event_id, shard) SELECT id, shard FROM e;\n";

pub(crate) async fn measure(plan: &Plan, report: &mut Report) {
    if !load::possible() {
        return;
    }
    let sqlite = Site::start(Backing::Sqlite).await;
    let on_sqlite = publishing(&sqlite).await;
    // The limit's rows go into a database of their own, made by a server that has ended: no sequencer works on them.
    let (postgres, limit) = match (Backing::postgres(), Backing::postgres()) {
        (Some(ours), Some(limit)) => {
            let mut limit = Site::start(limit).await;
            let _ = limit.server.terminate().await;
            (Some(Site::start(ours).await), Some(limit))
        }
        _ => {
            println!("not measured: there is no PostgreSQL (run scripts/bench)");
            (None, None)
        }
    };
    let on_postgres = match &postgres {
        Some(site) => Some((site, publishing(site).await)),
        None => None,
    };
    for _ in 0..plan.rounds {
        if let Some(limit) = &limit
            && let Some(rate) = pgbench(&limit.database_url(), INSERT, plan.length)
        {
            report.add(LIMIT, "events/s", rate, Wanted::Nothing);
        }
        if let Some((site, target)) = &on_postgres {
            let load = load::run(target, CONNECTIONS, plan.length);
            assert_eq!(load.refused, 0);
            let part = Wanted::PartOf(0.6, LIMIT.to_owned());
            report.add("POST /v1/events, PostgreSQL", "events/s", load.rate, part);
            report.add("POST /v1/events, PostgreSQL, p99", "ms", load.p99, Wanted::Nothing);
            let behind = caught_up(site);
            report.add(
                "the sequencer behind the last of them, PostgreSQL",
                "ms",
                behind.as_secs_f64() * 1_000.0,
                Wanted::AtMost(500.0),
            );
        }
        let load = load::run(&on_sqlite, CONNECTIONS, plan.length);
        assert_eq!(load.refused, 0);
        report.add(
            "POST /v1/events, SQLite",
            "events/s",
            load.rate,
            Wanted::AtLeast(8_000.0),
        );
        report.add("POST /v1/events, SQLite, p99", "ms", load.p99, Wanted::Nothing);
    }
}

async fn publishing(site: &Site) -> Target {
    let person = site.person("publisher").await;
    let token = person.client.token().expect("signed in").to_owned();
    Target::get(format!("{}/v1/events", site.server.http()))
        .token(&token)
        .post("application/json", BODY)
}

/// How long until nothing waits for its place in the log.
pub(crate) fn caught_up(site: &Site) -> Duration {
    let Backing::Postgres(database) = &site.backing else {
        return Duration::ZERO;
    };
    let start = Instant::now();
    while database.query("SELECT 1 FROM event_pending LIMIT 1").trim() == "1" {
        assert!(start.elapsed() < Duration::from_secs(60), "the sequencer stands still");
    }
    start.elapsed()
}

/// What `pgbench` does of a script in a second, prepared, over 32 connections and one thread of its own.
pub(crate) fn pgbench(database: &str, script: &str, length: Duration) -> Option<f64> {
    let Some(program) = program() else {
        println!("not measured: there is no pgbench (it comes with PostgreSQL)");
        return None;
    };
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(script.as_bytes()).expect("room for a script");
    let output = Command::new(program)
        .args(["-n", "-M", "prepared", "-c", "32", "-j", "1", "-T"])
        .arg(length.as_secs().to_string())
        .arg("-f")
        .arg(file.path())
        .arg(database)
        .output()
        .expect("pgbench starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let rate = text
        .lines()
        .find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    assert!(rate.is_some(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    rate
}

fn program() -> Option<PathBuf> {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = installed
        .map(|version| version.path().join("bin/pgbench"))
        .filter(|program| program.exists())
        .collect();
    found.sort();
    let in_path = || {
        Command::new("pgbench")
            .arg("--version")
            .output()
            .ok()
            .map(|_| "pgbench".into())
    };
    found.pop().or_else(in_path)
}
