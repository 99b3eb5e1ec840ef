//! Two servers and a worker on one PostgreSQL: one log, one ledger, one answer about a token.

use std::sync::Arc;
use std::time::Duration;

use domain::event::Shard;
use plinth_tests::api::Client;
use plinth_tests::outbox::Outbox;
use plinth_tests::postgres::{TestDatabase, fresh_database};
use plinth_tests::server::{PlinthBinary, Setup};
use plinth_tests::site::{PASSWORD, Person, create_administrator, new_address, sign_in, sign_up};
use plinth_tests::stream::EventStream;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::load::{ALONE, Acknowledged, assert_gapless, assert_handled_once, eventually, history, settled};
use crate::rows::Rows;

const WRITES: usize = 2_000;
const CLIENTS: usize = 16;
const PEOPLE: usize = 6;

/// What the documentation promises for a change that shuts somebody out.
const PROMISE: Duration = Duration::from_secs(1);

/// The processes end before the database and the folder go.
struct Cluster {
    one: PlinthBinary,
    two: PlinthBinary,
    worker: PlinthBinary,
    rows: Rows,
    outbox: Outbox,
    database: TestDatabase,
    folder: tempfile::TempDir,
}

impl Cluster {
    async fn start() -> Option<Self> {
        let database = fresh_database()?;
        let folder = tempfile::tempdir().expect("a folder");
        let node = |setup: Setup| setup.database(&database).data_dir(folder.path());
        let one = node(Setup::serve().arg("--no-workers")).start().await;
        // The second server works, too: it and the worker share the leases.
        let (two, worker) = tokio::join!(node(Setup::serve()).start(), node(Setup::worker()).start());
        let rows = Rows::at(database.url()).await;
        let outbox = Outbox::new(folder.path().join("outbox"));
        Some(Self {
            one,
            two,
            worker,
            rows,
            outbox,
            database,
            folder,
        })
    }

    /// One more worker beside the others.
    async fn another_worker(&self) -> PlinthBinary {
        let setup = Setup::worker().database(&self.database);
        setup.data_dir(self.folder.path()).start().await
    }

    async fn people(&self) -> Vec<Person> {
        let mut people = Vec::new();
        for number in 0..PEOPLE {
            let at = if number % 2 == 0 {
                self.one.client()
            } else {
                self.two.client()
            };
            people.push(sign_up(&at, &self.outbox, "ada").await);
        }
        people
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_and_a_worker_keep_one_log() {
    let _alone = ALONE.lock().await;
    let Some(cluster) = Cluster::start().await else { return };
    let people = Arc::new(cluster.people().await);
    let followed = &people[0];
    let mut streams = Vec::new();
    for node in [&cluster.one, &cluster.two] {
        streams.push(
            followed
                .client
                .at(node.http())
                .stream("/v1/events/stream?after=0", None)
                .await,
        );
    }
    let acknowledged = write_all(&cluster, &people, WRITES).await;
    assert_eq!(acknowledged.writes, WRITES);
    settled(&cluster.rows).await;

    assert_gapless(&cluster.rows).await;
    assert_handled_once(&cluster.rows).await;
    let mut all = Vec::new();
    for person in people.iter() {
        all.extend(assert_one_order(&cluster, person).await);
    }
    for id in &acknowledged.events {
        assert!(all.contains(id), "{id} was acknowledged and is not in the log");
    }
    let order = history(&followed.client).await;
    for stream in &mut streams {
        assert_eq!(read(stream, order.len()).await, order, "a stream tells another order");
    }
    assert_files(&cluster, &people, &acknowledged).await;
    assert_mails_once(&cluster, &people).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_worker_held_goes_on_elsewhere() {
    let _alone = ALONE.lock().await;
    let Some(mut cluster) = Cluster::start().await else {
        return;
    };
    let people = Arc::new(cluster.people().await);
    let mut others = Vec::new();
    for _ in 0..3 {
        let acknowledged = write_all(&cluster, &people, 200).await;
        assert_eq!(acknowledged.writes, 200);
        // Whatever it was doing: its leases run out, and the others and the new one share what it held.
        cluster.worker.kill9();
        others.push(cluster.another_worker().await);
    }
    // The server that worked is gone too: only the latecomers are left.
    cluster.two.kill9();
    let body = json!({ "email": people[0].email });
    let reply = cluster.one.client().post("/v1/auth/password/forgot", &body).await;
    let _ = reply.expect_status(202);
    let _ = cluster.outbox.wait_for(&people[0].email, "reset").await;
    settled(&cluster.rows).await;
    assert_gapless(&cluster.rows).await;
    assert_handled_once(&cluster.rows).await;
}

/// The writes of all clients, each client at both servers in turn.
async fn write_all(cluster: &Cluster, people: &Arc<Vec<Person>>, writes: usize) -> Acknowledged {
    let nodes = [cluster.one.http().to_owned(), cluster.two.http().to_owned()];
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (people, nodes) = (Arc::clone(people), nodes.clone());
        clients.spawn(async move {
            let mut acknowledged = Acknowledged::default();
            let person = &people[client % PEOPLE];
            for number in (client..writes).step_by(CLIENTS) {
                let at = person.client.at(&nodes[number / CLIENTS % 2]);
                // The kind of a write follows from its number: the step of the clients must not fix it.
                acknowledged
                    .write(&at, person, number / CLIENTS * 7 + client)
                    .await
                    .expect("the server answers");
            }
            acknowledged
        });
    }
    let mut all = Acknowledged::default();
    while let Some(acknowledged) = clients.join_next().await {
        all.add(acknowledged.expect("no client failed"));
    }
    all
}

/// Asserts that the database and both servers agree on the order of somebody's events; gives it.
async fn assert_one_order(cluster: &Cluster, person: &Person) -> Vec<String> {
    let user = &person.id;
    let log = format!("SELECT CAST(event_id AS TEXT) FROM event_log WHERE user_id = '{user}' ORDER BY position");
    let log = cluster.rows.texts(&log).await;
    for node in [&cluster.one, &cluster.two] {
        assert_eq!(history(&person.client.at(node.http())).await, log);
    }
    let shards = format!("SELECT DISTINCT CAST(shard AS BIGINT) FROM event_log WHERE user_id = '{user}'");
    let shard = Shard::of(user.parse().expect("an id"));
    assert_eq!(cluster.rows.numbers(&shards).await, [i64::from(shard.number())]);
    log
}

async fn read(stream: &mut EventStream, events: usize) -> Vec<String> {
    let mut ids = Vec::new();
    while ids.len() < events {
        let event = stream.next(Duration::from_secs(20)).await.expect("the stream goes on");
        ids.extend(event.json()["id"].as_str().map(str::to_owned));
    }
    ids
}

/// Each file, at the server that did not take it or the one that did: both see one folder.
async fn assert_files(cluster: &Cluster, people: &[Person], acknowledged: &Acknowledged) {
    assert!(acknowledged.files.len() > WRITES / 20, "the load has files in it");
    for (number, (id, sent)) in acknowledged.files.iter().enumerate() {
        let node = if number % 2 == 0 { &cluster.one } else { &cluster.two };
        let mut readers = 0;
        for person in people {
            let content = person
                .client
                .at(node.http())
                .get(&format!("/v1/files/{id}/content"))
                .await;
            if content.status == 200 {
                assert_eq!(crate::load::sha256(&content.body), *sent);
                readers += 1;
            }
        }
        assert_eq!(readers, 1, "{id} has one owner");
    }
    let held = cluster.rows.number("SELECT count(*) FROM file_reservations").await;
    assert_eq!(held, 0, "room is held for uploads that are done");
}

/// Sign-ups wrote a mail each and a welcome each; now a reset each, asked for at both servers, and each is handed over once.
async fn assert_mails_once(cluster: &Cluster, people: &[Person]) {
    for (number, person) in people.iter().enumerate() {
        let at = if number % 2 == 0 { &cluster.two } else { &cluster.one };
        let body = json!({ "email": person.email });
        let _ = at
            .client()
            .post("/v1/auth/password/forgot", &body)
            .await
            .expect_status(202);
    }
    let greeted = "SELECT count(*) FROM mails WHERE template = 'welcome'";
    eventually("everybody is greeted", async || {
        usize::try_from(cluster.rows.number(greeted).await) == Ok(people.len())
    })
    .await;
    let waiting = "SELECT count(*) FROM mails WHERE state <> 'sent'";
    eventually("all mail is handed over", async || {
        cluster.rows.number(waiting).await == 0
    })
    .await;
    let mails = cluster.rows.number("SELECT count(*) FROM mails").await;
    assert_eq!(mails, 3 * i64::try_from(people.len()).expect("few"));
    assert_eq!(
        cluster
            .rows
            .number("SELECT count(*) FROM mails WHERE attempts <> 1")
            .await,
        0
    );
    assert_eq!(
        cluster
            .rows
            .number("SELECT count(*) FROM mail_attempts WHERE accepted")
            .await,
        mails
    );
    assert_eq!(
        cluster.outbox.mails().len(),
        usize::try_from(mails).expect("few"),
        "one file for each message"
    );
    assert_eq!(
        cluster
            .rows
            .number("SELECT count(*) FROM mails WHERE sealed_token IS NOT NULL")
            .await,
        0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_shuts_somebody_out_holds_on_the_other_server_within_a_second() {
    let _alone = ALONE.lock().await;
    let Some(cluster) = Cluster::start().await else { return };
    let email = new_address("admin");
    create_administrator(&cluster.one, &email, PASSWORD);
    let admin = sign_in(&cluster.one.client(), &email, PASSWORD).await;
    let ada = sign_up(&cluster.one.client(), &cluster.outbox, "ada").await;
    for round in 0..6 {
        let (here, there) = if round % 2 == 0 {
            (&cluster.one, &cluster.two)
        } else {
            (&cluster.two, &cluster.one)
        };
        let session = sign_in(&here.client(), &ada.email, PASSWORD).await;
        let elsewhere = session.client.at(there.http());
        let _ = elsewhere.get("/v1/auth/whoami").await.expect_status(200);
        let out = session
            .client
            .post("/v1/auth/logout", &json!({ "scope": "this" }))
            .await;
        let _ = out.expect_status(204);
        assert_refused_in_time(&elsewhere, "session_ended").await;
        let _ = session
            .client
            .get("/v1/auth/whoami")
            .await
            .expect_problem(401, "session_ended");
    }

    let session = sign_in(&cluster.two.client(), &ada.email, PASSWORD).await;
    let mut stream = session.client.stream("/v1/events/stream", None).await;
    let path = format!("/v1/admin/users/{}", ada.id);
    let tier = admin
        .client
        .put(&format!("{path}/tier"), &json!({ "tier": "pro" }))
        .await;
    let _ = tier.expect_status(200);
    assert_refused_in_time(&session.client, "token_outdated").await;
    let refresh = json!({ "refresh_token": session.refresh_token });
    let tokens = cluster
        .one
        .client()
        .post("/v1/auth/refresh", &refresh)
        .await
        .expect_status(200);
    let again = session.client.with_token(tokens.string("/access_token"));
    assert_eq!(
        again.get("/v1/auth/whoami").await.expect_status(200).string("/tier"),
        "pro"
    );
    while let Some(event) = stream.next(Duration::from_secs(5)).await {
        if event.event == "end" {
            assert!(event.data.contains("token_outdated"), "{}", event.data);
        }
    }

    let _ = admin
        .client
        .post(&format!("{path}/disable"), &json!({}))
        .await
        .expect_status(200);
    assert_refused_in_time(&again, "account_disabled").await;
}

/// Asserts that the token is refused at this server within the time that is promised, counted from here.
async fn assert_refused_in_time(client: &Client, code: &str) {
    let begun = Instant::now();
    loop {
        let reply = client.get("/v1/auth/whoami").await;
        let elapsed = begun.elapsed();
        if reply.status == 401 {
            let _ = reply.expect_problem(401, code);
            assert!(elapsed <= PROMISE, "refused after {elapsed:?}");
            return;
        }
        assert!(elapsed <= PROMISE, "not refused after {elapsed:?}: {reply}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
