//! The audit of the log: proof, checkpoints and search, on the command line and over HTTP; what retention removes and readers learn of it.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use openapi::{ApiClient, AuditFilter, Tokens};
use plinth_tests::server::PlinthBinary;
use plinth_tests::site::{Backing, Person, Site};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::rows::Rows;
use crate::tools::{assert_refused, eventually, refused_parts};

plinth_tests::on_both!(
    an_untouched_log_is_proven_beside_a_running_server,
    what_was_tampered_with_is_named,
    a_checkpoint_kept_elsewhere_sees_a_cut_tail,
    old_events_leave_and_the_rest_is_proven,
    readers_from_before_what_is_left_are_told,
    administrators_search_the_trail,
);

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        panic!("{error}: {out}{err}")
    })
}

/// What `plinth audit verify` says, and the code that it ends with.
fn verify(server: &PlinthBinary, more: &[&str]) -> (Value, Option<i32>) {
    let output = server.cli(&[&["audit", "verify", "--format", "json"], more].concat());
    (json_of(&output), output.status.code())
}

fn faults(report: &Value) -> Vec<&str> {
    let findings = report["findings"].as_array().expect("findings");
    findings
        .iter()
        .map(|finding| finding["code"].as_str().expect("a code"))
        .collect()
}

async fn publish(person: &Person, count: usize) {
    let events: Vec<Value> = (0..count)
        .map(|number| json!({ "type": "app.audit.counted", "data": { "number": number } }))
        .collect();
    let _ = person
        .client
        .post("/v1/events/batch", &json!({ "events": events }))
        .await
        .expect_status(201);
}

async fn sequenced(rows: &Rows) {
    eventually("nothing waits for its position", async || {
        (rows.number("SELECT count(*) FROM event_pending").await == 0).then_some(())
    })
    .await;
}

/// An id as this engine writes one.
fn literal(site: &Site, id: Uuid) -> String {
    match site.backing {
        Backing::Sqlite => format!("x'{}'", id.simple()),
        Backing::Postgres(_) => format!("'{id}'"),
    }
}

async fn an_untouched_log_is_proven_beside_a_running_server(backing: Backing) {
    let site = Site::start_with(backing, |setup| setup.env("PLINTH_EVENTS_CHECKPOINT_INTERVAL", "1s")).await;
    let (ada, rows) = (site.person("ada").await, Rows::of(&site).await);
    publish(&ada, 500).await;
    eventually("a checkpoint is signed", async || {
        publish(&ada, 20).await;
        let (report, code) = verify(&site.server, &[]);
        assert_eq!((&report["sound"], code), (&json!(true), Some(0)), "{report}");
        (report["checkpoints"].as_u64()? >= 2).then_some(())
    })
    .await;
    sequenced(&rows).await;
    // Checkpoints go on while it is looked at.
    let count = async || rows.number("SELECT count(*) FROM event_log").await;
    let before = count().await;
    let (report, _) = verify(&site.server, &[]);
    let events = report["events"].as_i64().expect("a count");
    assert!((before..=count().await).contains(&events), "{before} {report}");
    assert!(report["uncovered"].as_u64() < report["events"].as_u64(), "{report}");
    // For people, too.
    let told = site.server.cli(&["audit", "verify"]);
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(
        told.status.success() && text.starts_with("the log is as it was written\n"),
        "{text}"
    );
    let key = json_of(&site.server.cli(&["audit", "key", "--format", "json"]));
    let signed = rows
        .texts("SELECT data FROM events WHERE type = 'audit.checkpoint' LIMIT 1")
        .await;
    let signed: Value = serde_json::from_str(&signed[0]).expect("JSON");
    assert_eq!((&signed["kid"], &signed["key"]), (&key["kid"], &key["paserk"]));
    assert_eq!(signed["statement"]["version"], 1);
}

async fn what_was_tampered_with_is_named(backing: Backing) {
    let mut site = Site::start(backing).await;
    let (ada, rows) = (site.person("ada").await, Rows::of(&site).await);
    publish(&ada, 30).await;
    sequenced(&rows).await;
    let history = ada.client.get("/v1/events?limit=100").await.expect_status(200).json();
    let items = history["items"].as_array().expect("events");
    let of = |index: usize| items[items.len() - index]["id"].as_str().expect("an id").to_owned();
    let id = |index| literal(&site, of(index).parse().expect("an id"));
    let (changed, removed, erased, cut) = (id(20), id(15), id(10), id(1));
    rows.change(&format!(
        "UPDATE events SET data = '{{\"number\":-1}}' WHERE id = {changed}"
    ))
    .await;
    rows.change(&format!("DELETE FROM event_log WHERE event_id = {removed}"))
        .await;
    rows.change(&format!("DELETE FROM events WHERE id = {removed}")).await;
    rows.change(&format!(
        "UPDATE events SET data = NULL, salt = NULL, subject = NULL WHERE id = {erased}"
    ))
    .await;
    rows.change(&format!("DELETE FROM event_log WHERE event_id = {cut}"))
        .await;
    // It needs no server.
    let _ = site.server.terminate().await;
    let (report, code) = verify(&site.server, &[]);
    assert_eq!(
        (&report["sound"], code, report["erased"].as_u64()),
        (&json!(false), Some(1), Some(1)),
        "{report}"
    );
    assert_eq!(
        faults(&report),
        ["unlogged", "payload_changed", "removed", "cut_off"],
        "{report}"
    );
    let findings = &report["findings"];
    assert_eq!(findings[0]["event_id"], of(1), "the cut row's event is nowhere now");
    assert_eq!(findings[1]["event_id"], of(20));
    let position = |index: usize| {
        items[items.len() - index]["sequence"]
            .as_str()
            .and_then(|text| text.parse::<u64>().ok())
    };
    assert_eq!(findings[1]["position"].as_u64(), position(20));
    assert_eq!(findings[2]["position"].as_u64(), position(15));
    assert_eq!(findings[3]["position"].as_u64(), position(1));
    let listed = site.server.cli(&["audit", "verify", "--most", "1"]);
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(text.contains("4 things are wrong, 3 of them not listed"), "{text}");
}

async fn a_checkpoint_kept_elsewhere_sees_a_cut_tail(backing: Backing) {
    let mut site = Site::start(backing).await;
    let (ada, rows) = (site.person("ada").await, Rows::of(&site).await);
    // What comes by itself is to come before the checkpoint.
    let welcomed = "SELECT count(*) FROM events WHERE type = 'mail.sent' AND data LIKE '%welcome%'";
    eventually("the welcome mail is sent", async || {
        (rows.number(welcomed).await == 1).then_some(())
    })
    .await;
    publish(&ada, 10).await;
    sequenced(&rows).await;
    let kept = site.server.data_dir().join("kept.json");
    let path = kept.to_string_lossy().into_owned();
    let made = site.server.cli(&["audit", "checkpoint", "--output", &path]);
    assert!(made.status.success(), "{made:?}");
    sequenced(&rows).await;
    let (report, code) = verify(&site.server, &["--checkpoint", &path]);
    assert_eq!((code, report["checkpoints"].as_u64()), (Some(0), Some(1)), "{report}");
    let _ = site.server.terminate().await;
    // Everything of the installation's own shard from the checkpoint on, and the last of Ada's: with the heads put back.
    let ada = literal(&site, ada.id.parse().expect("an id"));
    let last = format!("(SELECT max(position) FROM event_log WHERE user_id = {ada})");
    let shard = format!("(SELECT max(shard) FROM event_log WHERE user_id = {ada})");
    let (last, shard) = (rows.number(&format!("SELECT {last}")).await, shard);
    let shard = rows.number(&format!("SELECT CAST({shard} AS bigint)")).await;
    for shard in [0, shard] {
        let from = if shard == 0 {
            rows.number(
                "SELECT max(l.position) FROM event_log l JOIN events e ON e.id = l.event_id WHERE e.type = 'audit.checkpoint'",
            )
            .await
        } else {
            last
        };
        let gone = format!("(SELECT event_id FROM event_log WHERE shard = {shard} AND position >= {from})");
        rows.change(&format!("DELETE FROM events WHERE id IN {gone}")).await;
        rows.change(&format!(
            "DELETE FROM event_log WHERE shard = {shard} AND position >= {from}"
        ))
        .await;
        let hash = format!("(SELECT hash FROM event_log WHERE shard = {shard} AND position = {from} - 1)");
        rows.change(&format!(
            "UPDATE log_shards SET position = {from} - 1, hash = {hash} WHERE shard = {shard}"
        ))
        .await;
    }
    let (report, code) = verify(&site.server, &[]);
    assert_eq!(
        (code, faults(&report)),
        (Some(0), vec![]),
        "by itself it looks whole: {report}"
    );
    let (report, code) = verify(&site.server, &["--checkpoint", &path]);
    assert_eq!(code, Some(1), "{report}");
    assert!(
        faults(&report).contains(&"cut_off") && faults(&report).contains(&"checkpoint_removed"),
        "{report}"
    );
    refuses_what_is_none(&site.server, &kept);
}

fn refuses_what_is_none(server: &PlinthBinary, kept: &Path) {
    let mut event: Value = serde_json::from_str(&std::fs::read_to_string(kept).expect("the file")).expect("JSON");
    event["data"]["statement"]["serial"] = json!(99);
    std::fs::write(kept, event.to_string()).expect("written");
    let refused = server.cli(&["audit", "verify", "--checkpoint", &kept.to_string_lossy()]);
    assert_eq!(refused.status.code(), Some(1));
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        text.contains("holds no checkpoint that this installation signed"),
        "{text}"
    );
}

async fn old_events_leave_and_the_rest_is_proven(backing: Backing) {
    let site = Site::start_with(backing, |setup| {
        setup
            .env("PLINTH_EVENTS_CHECKPOINT_INTERVAL", "1s")
            .env("PLINTH_EVENTS_RETENTION", "1h")
            .env("PLINTH_EVENTS_PAYLOAD_RETENTION", "1h")
    })
    .await;
    let (ada, rows) = (site.person("ada").await, Rows::of(&site).await);
    publish(&ada, 1).await;
    sequenced(&rows).await;
    // Somebody in a shard of their own wrote events two hours ago, which get their positions only now.
    let home = Uuid::from_u128(0xF0F0);
    let taken = rows.number("SELECT count(*) FROM event_log WHERE shard = 0").await;
    assert!(taken > 0, "the installation's own events are in shard 0");
    let owner = Uuid::from_u128(home.as_u128() ^ 9);
    let shard = owner.as_bytes().iter().fold(0, |folded, byte| folded ^ byte) % 16;
    let model = rows
        .texts("SELECT data FROM events WHERE type = 'app.audit.counted' LIMIT 1")
        .await;
    assert_eq!(model.len(), 1);
    for number in 0..120_u128 {
        let id = literal(&site, Uuid::from_u128((1 << 100) + number));
        let owner = literal(&site, owner);
        rows.change(&format!(
            "INSERT INTO events (id, shard, user_id, type, subject, time, data, salt, digest, actor, impersonator, request_id, \
             client_id) SELECT {id}, {shard}, {owner}, type, subject, time - 7200000000, data, salt, digest, actor, \
             impersonator, request_id, client_id FROM events WHERE type = 'app.audit.counted' ORDER BY time DESC LIMIT 1"
        ))
        .await;
        rows.change(&format!(
            "INSERT INTO event_pending (event_id, shard) VALUES ({id}, {shard})"
        ))
        .await;
    }
    eventually("they are removed", async || {
        let (report, code) = verify(&site.server, &[]);
        assert_eq!(code, Some(0), "at no moment is anything wrong: {report}");
        (report["removed"] == 120).then_some(())
    })
    .await;
    let left = format!(
        "SELECT count(*) FROM events WHERE shard = {shard} AND user_id = {}",
        literal(&site, owner)
    );
    assert_eq!(rows.number(&left).await, 0);
    let (report, _) = verify(&site.server, &[]);
    assert_eq!(report["erased"], 0, "what is young keeps its payload: {report}");
    // Who moves the beginning by hand moves it beyond what was signed.
    rows.change(&format!(
        "UPDATE log_floors SET position = position + 5 WHERE shard = {shard}"
    ))
    .await;
    let (report, code) = verify(&site.server, &[]);
    assert_eq!(code, Some(1), "{report}");
    assert!(faults(&report).contains(&"beginning_moved"), "{report}");
}

async fn readers_from_before_what_is_left_are_told(backing: Backing) {
    let site = Site::start(backing).await;
    let (ada, rows) = (site.person("ada").await, Rows::of(&site).await);
    publish(&ada, 10).await;
    sequenced(&rows).await;
    let user = literal(&site, ada.id.parse().expect("an id"));
    let shard = rows
        .number(&format!(
            "SELECT CAST(max(shard) AS bigint) FROM event_log WHERE user_id = {user}"
        ))
        .await;
    let head = rows
        .number(&format!("SELECT position FROM log_shards WHERE shard = {shard}"))
        .await;
    let floor = head - 4;
    // As retention leaves a shard.
    rows.change(&format!(
        "DELETE FROM event_log WHERE shard = {shard} AND position <= {floor}"
    ))
    .await;
    rows.change(&format!(
        "UPDATE log_floors SET position = {floor} WHERE shard = {shard}"
    ))
    .await;
    let page = ada.client.get("/v1/events?after=1").await.expect_status(200).json();
    assert_eq!(
        (&page["gap"], page["items"].as_array().map(Vec::len)),
        (&json!(true), Some(4)),
        "{page}"
    );
    let next = page["next_cursor"].as_str().expect("a cursor");
    let page = ada
        .client
        .get(&format!("/v1/events?after={next}"))
        .await
        .expect_status(200)
        .json();
    assert_eq!(
        (&page["gap"], page["next_cursor"].as_str()),
        (&json!(false), Some(next))
    );
    let mut stream = ada.client.stream("/v1/events/stream", Some("1")).await;
    let patience = Duration::from_secs(20);
    let first = stream.next(patience).await.expect("the gap");
    assert_eq!(
        (first.event.as_str(), first.json()),
        ("gap", json!({ "after": floor.to_string() }))
    );
    assert_eq!(
        first.id,
        Some(floor.to_string()),
        "who connects again with it is not told twice"
    );
    for number in 6..10 {
        let event = stream.next(patience).await.expect("an event");
        assert_eq!(event.json()["data"]["number"], number);
    }
    let mut whole = ada.client.stream("/v1/events/stream", Some(&floor.to_string())).await;
    assert_eq!(whole.next(patience).await.expect("an event").event, "app.audit.counted");
    // Handlers went on, too: what is published now is followed to its end.
    publish(&ada, 3).await;
    assert_eq!(
        stream.next(patience).await.expect("an event").json()["data"]["number"],
        0
    );
}

async fn administrators_search_the_trail(backing: Backing) {
    let site = Site::start(backing).await;
    let (ada, admin, rows) = (
        site.person("ada").await,
        site.administrator().await,
        Rows::of(&site).await,
    );
    publish(&ada, 120).await;
    let tier = format!("/v1/admin/users/{}/tier", ada.id);
    let _ = admin
        .client
        .put(&tier, &json!({ "tier": "pro" }))
        .await
        .expect_status(200);
    sequenced(&rows).await;
    let path = |query: &str| format!("/v1/admin/audit?{query}");
    let _ = ada.client.get(&path("")).await.expect_problem(401, "token_outdated");

    let api = ApiClient::new(site.server.http()).expect("an address");
    api.set_tokens(Some(Tokens {
        access: admin.client.token().expect("signed in").to_owned(),
        refresh: None,
    }));
    let filter = AuditFilter {
        user: Some(ada.id.clone()),
        event_type: Some("app.".to_owned()),
        ..AuditFilter::default()
    };
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = api.audit(&filter, after.as_deref(), Some(50)).await.expect("a page");
        found.extend(page.items);
        after = page.next_cursor;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found.len(), 120);
    assert!(
        found.windows(2).all(|pair| pair[0].position > pair[1].position),
        "newest first"
    );
    assert!(
        found
            .iter()
            .all(|entry| entry.hash.len() == 64 && entry.event.userid.to_string() == ada.id)
    );

    let changed = AuditFilter {
        actor: Some(admin.id.clone()),
        event_type: Some("tier.changed".to_owned()),
        ..AuditFilter::default()
    };
    let page = api.audit(&changed, None, None).await.expect("a page");
    assert_eq!(page.items.len(), 1);
    let entry = &page.items[0];
    assert_eq!(entry.event.userid.to_string(), ada.id);
    let request = entry.event.requestid.expect("a request").to_string();
    let by_request = AuditFilter {
        request_id: Some(request),
        ..AuditFilter::default()
    };
    assert_eq!(
        api.audit(&by_request, None, None).await.expect("a page").items,
        page.items
    );

    let refused = admin.client.get(&path("user=ada&type=%25&from=now&after=x")).await;
    let refused = refused.expect_problem(422, "validation_failed");
    let parts = ["user", "type", "from"].map(|name| (format!("#/parameters/{name}"), "format".to_owned()));
    assert_eq!(refused_parts(&refused), parts);
    let refused = admin
        .client
        .get(&path("after=x"))
        .await
        .expect_problem(422, "validation_failed");
    assert_refused(&refused, "#/parameters/after", "cursor");

    let listed = site
        .server
        .cli(&["audit", "list", "--type", "tier.changed", "--format", "json"]);
    let listed = json_of(&listed);
    assert_eq!(listed[0]["event"]["userid"], ada.id.as_str());
    assert_eq!(listed[0]["hash"], entry.hash.as_str());
    let none = site.server.cli(&["audit", "list", "--type", "app.nothing.here"]);
    assert_eq!(none.status.code(), Some(3));
    let wrong = site.server.cli(&["audit", "list", "--request-id", "x"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("--request-id must be a UUID"));
}
