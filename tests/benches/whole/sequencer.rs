//! What order and proof cost: the processor time of the server for each event that gets its position and its link of the
//! chain, while nothing else has work.

use std::hint::black_box;
use std::time::{Duration, Instant};

use domain::event::{Actor, Event, NewEvent, Shard, chain_hash};
use domain::id::{EventId, RequestId, UserId};
use domain::time::Timestamp;
use plinth_tests::site::{Backing, Site};
use sea_orm::{ConnectionTrait as _, Database, DatabaseConnection};
use serde_json::json;
use uuid::Uuid;

use crate::Plan;
use crate::process::processor_time;
use crate::report::{Report, Wanted};

const PEOPLE: usize = 8;
const BATCHES: usize = 20;
const BATCH: usize = 500;
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn measure(plan: &Plan, report: &mut Report) {
    for _ in 0..plan.rounds {
        report.add(
            "digest and link of one event by themselves",
            "us",
            links(),
            Wanted::Nothing,
        );
    }
    sequence(plan, report, Backing::Sqlite, "SQLite").await;
    match Backing::postgres() {
        Some(backing) => sequence(plan, report, backing, "PostgreSQL").await,
        None => println!("not measured: there is no PostgreSQL (run scripts/bench)"),
    }
}

/// The processor time of the digest of a payload and of the hash of the chain.
fn links() -> f64 {
    const MANY: u64 = 200_000;
    let user_id = UserId::new(Uuid::from_u128(7));
    let new = || NewEvent {
        id: EventId::new(Uuid::from_u128(8)),
        user_id,
        event_type: "app.bench.measured".parse().expect("a type"),
        subject: None,
        time: Timestamp::from_seconds(1_800_000_000),
        data: r#"{"order":"8412","amount":1995,"currency":"EUR","note":"a payload as they are"}"#.to_owned(),
        salt: [3; 16],
        actor: Actor::User(user_id),
        impersonator: None,
        request_id: Some(RequestId::new(Uuid::from_u128(9))),
        client_id: false,
    };
    let began = Instant::now();
    let mut hash = [0; 32];
    for position in 1..=MANY {
        let event = Event::new(black_box(new()));
        hash = chain_hash(&hash, Shard::of(user_id), position, &event);
    }
    black_box(hash);
    began.elapsed().as_secs_f64() * 1e6 / MANY as f64
}

async fn sequence(plan: &Plan, report: &mut Report, backing: Backing, engine: &str) {
    let site = Site::start(backing).await;
    let mut people = Vec::with_capacity(PEOPLE);
    for _ in 0..PEOPLE {
        people.push(site.person("publisher").await);
    }
    let beside = Database::connect(site.database_url())
        .await
        .expect("the database is there");
    // The handlers' leases are another's for good: nothing follows what is sequenced.
    run(
        &beside,
        "UPDATE cursors SET lease_owner = 'bench', lease_until = 9000000000000000000",
    )
    .await;
    let event = json!({
        "type": "app.bench.measured",
        "data": { "order": "8412", "amount": 1995, "currency": "EUR", "note": "a payload as they are" },
    });
    let batch = json!({ "events": vec![event; BATCH] });
    let pid = site.server.pid();
    for _ in 0..plan.rounds {
        run(
            &beside,
            "UPDATE log_shards SET lease_owner = 'bench', lease_until = 9000000000000000000",
        )
        .await;
        // Until the sequencer has found out, and handlers have forgotten what they held.
        tokio::time::sleep(Duration::from_secs(2)).await;
        for _ in 0..BATCHES {
            for person in &people {
                let _ = person.client.post("/v1/events/batch", &batch).await.expect_status(201);
            }
        }
        let idle = {
            let (before, began) = (processor_time(pid), Instant::now());
            tokio::time::sleep(Duration::from_secs(2)).await;
            (processor_time(pid) - before).as_secs_f64() / began.elapsed().as_secs_f64()
        };
        let waiting = pending(&beside).await;
        assert!(
            waiting >= (PEOPLE * BATCHES * BATCH) as i64,
            "nothing was sequenced meanwhile"
        );
        run(&beside, "UPDATE log_shards SET lease_owner = NULL, lease_until = 0").await;
        let (before, began) = (processor_time(pid), Instant::now());
        while pending(&beside).await > 0 {
            assert!(began.elapsed() < PATIENCE, "the sequencer stands still");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let took = began.elapsed().as_secs_f64();
        let used = (processor_time(pid) - before).as_secs_f64() - idle * took;
        report.add(
            &format!("the sequencer with the chain, processor time of an event, {engine}"),
            "us",
            used * 1e6 / waiting as f64,
            Wanted::AtMost(10.0),
        );
        report.add(
            &format!("the sequencer by itself, {engine}"),
            "events/s",
            waiting as f64 / took,
            Wanted::Nothing,
        );
    }
}

async fn run(database: &DatabaseConnection, statement: &str) {
    let mut attempts = 0;
    // On SQLite the server's own writer may be at work for longer than this connection waits.
    while let Err(error) = database.execute_unprepared(statement).await {
        attempts += 1;
        assert!(attempts < 50, "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn pending(database: &DatabaseConnection) -> i64 {
    let statement = sea_orm::Statement::from_string(
        database.get_database_backend(),
        "SELECT count(*) AS waiting FROM event_pending",
    );
    let row = database
        .query_one_raw(statement)
        .await
        .expect("it counts")
        .expect("a row");
    row.try_get("", "waiting").expect("a number")
}
