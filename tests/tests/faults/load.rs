//! A load of mixed writes, and what was acknowledged of it.

use std::collections::BTreeMap;
use std::time::Duration;

use plinth_tests::api::{Client, Reply};
use plinth_tests::site::Person;
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::rows::Rows;

/// For what workers do by themselves, on a machine that also compiles.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// One at a time: each of these tests wants both cores for itself, and one measures time.
pub(crate) static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// What the server said it had done.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged {
    /// Ids of published events, in the order of their answers.
    pub(crate) events: Vec<String>,
    /// Ids of files, with the SHA-256 of what was sent.
    pub(crate) files: BTreeMap<String, String>,
    /// Requests that succeeded.
    pub(crate) writes: usize,
}

impl Acknowledged {
    pub(crate) fn add(&mut self, other: Self) {
        self.events.extend(other.events);
        self.files.extend(other.files);
        self.writes += other.writes;
    }

    /// Does the write of this number in the name of `person`: mostly events, some files, now and then a sign-in.
    ///
    /// # Errors
    /// When the server went away before its answer was whole. A refusal is a fault of the server's, and panics.
    pub(crate) async fn write(
        &mut self,
        client: &Client,
        person: &Person,
        number: usize,
    ) -> Result<(), reqwest::Error> {
        let event = |part: usize| json!({ "type": "app.counted", "data": { "number": number, "part": part } });
        let post = async |path: &str, body: Value| Reply::try_of(client.request(Method::POST, path).json(&body)).await;
        match number % 20 {
            0..14 => self
                .events
                .push(post("/v1/events", event(0)).await?.expect_status(201).string("/id")),
            14 => {
                let body = json!({ "events": [event(0), event(1), event(2)] });
                let ids = post("/v1/events/batch", body).await?.expect_status(201).json()["ids"].clone();
                self.events
                    .extend(serde_json::from_value::<Vec<String>>(ids).expect("a list of ids"));
            }
            15..18 => {
                let (bytes, path) = (content(number), format!("/v1/files?type=note&name=n{number}.bin"));
                let sent = sha256(&bytes);
                let file = Reply::try_of(client.request(Method::POST, &path).body(bytes))
                    .await?
                    .expect_status(201);
                assert_eq!(file.string("/sha256"), sent);
                self.files.insert(file.string("/id"), sent);
            }
            18 => {
                let body = json!({ "email": person.email, "password": person.password });
                let _ = post("/v1/auth/login", body).await?.expect_status(200);
            }
            _ => {
                let body = json!({ "name": format!("Ada {number}") });
                let _ = Reply::try_of(client.request(Method::PATCH, "/v1/me").json(&body))
                    .await?
                    .expect_status(200);
            }
        }
        self.writes += 1;
        Ok(())
    }
}

/// 1 byte to 40 KiB, different for each number.
fn content(number: usize) -> Vec<u8> {
    let length = number * 7_919 % (40 * 1024) + 1;
    number.to_le_bytes().into_iter().cycle().take(length).collect()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Asks again until it is so.
pub(crate) async fn eventually(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !ask().await {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking)
        .await
        .unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"));
}

/// Waits until every committed event has its position and every handler has passed it.
pub(crate) async fn settled(rows: &Rows) {
    eventually("all events have their position", async || {
        rows.number("SELECT count(*) FROM event_pending").await == 0
    })
    .await;
    let behind = "SELECT count(*) FROM log_shards s LEFT JOIN cursors c ON c.shard = s.shard AND c.group_name = 'usage' \
                  WHERE s.position > coalesce(c.position, 0)";
    eventually("the handler has passed all events", async || {
        rows.number(behind).await == 0
    })
    .await;
}

/// Asserts that the log holds each event once, without a gap in any shard.
pub(crate) async fn assert_gapless(rows: &Rows) {
    assert_eq!(
        rows.number("SELECT count(*) FROM events").await,
        rows.number("SELECT count(*) FROM event_log").await,
        "an event without its position, or a position without its event"
    );
    let gaps = "SELECT count(*) FROM (SELECT shard, count(*) AS n, min(position) AS low, max(position) AS high \
                FROM event_log GROUP BY shard) AS s WHERE low <> 1 OR high <> n";
    assert_eq!(rows.number(gaps).await, 0, "a shard with a gap");
    let heads = "SELECT count(*) FROM log_shards s WHERE s.position <> \
                 (SELECT coalesce(max(l.position), 0) FROM event_log l WHERE l.shard = s.shard)";
    assert_eq!(
        rows.number(heads).await,
        0,
        "a shard whose head is not its last position"
    );
}

/// Asserts that each event of the log reached the handler exactly once.
pub(crate) async fn assert_handled_once(rows: &Rows) {
    let marked = rows
        .number("SELECT count(*) FROM inbox WHERE group_name = 'usage'")
        .await;
    let logged = rows.number("SELECT count(*) FROM event_log").await;
    assert_eq!(marked, logged, "events without their mark");
    for (meter, kind) in [("events", "app.%"), ("files_uploaded", "file.uploaded")] {
        let sum = format!("SELECT CAST(coalesce(sum(amount), 0) AS BIGINT) FROM usage WHERE meter = '{meter}'");
        let events = format!("SELECT count(*) FROM events WHERE type LIKE '{kind}'");
        assert_eq!(
            rows.number(&sum).await,
            rows.number(&events).await,
            "{meter} are not counted once each"
        );
    }
}

/// All events of a user's history, by id.
pub(crate) async fn history(client: &Client) -> Vec<String> {
    let (mut ids, mut after) = (Vec::new(), String::new());
    loop {
        let page = client
            .get(&format!("/v1/events?limit=200{after}"))
            .await
            .expect_status(200)
            .json();
        let items = page["items"].as_array().expect("items");
        if items.is_empty() {
            return ids;
        }
        ids.extend(items.iter().filter_map(|event| event["id"].as_str().map(str::to_owned)));
        after = format!(
            "&after={}",
            page["next_cursor"].as_str().expect("a cursor after events")
        );
    }
}
