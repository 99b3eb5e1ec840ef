//! Failing events end to end: held, given up, seen, redriven, discarded, replayed; the welcome mail; the log on the command line.

use std::process::Output;

use plinth_tests::site::{Backing, Person, Site};
use serde_json::{Value, json};

use crate::rows::Rows;
use crate::tools::{assert_refused, eventually};

plinth_tests::on_both!(
    everybody_who_registers_is_greeted_once,
    nobody_is_greeted_for_having_been_there_before,
    a_jammed_ledger_makes_dead_letters_and_they_are_dealt_with,
    the_log_is_read_on_the_command_line,
);

/// The words of a welcome mail.
const WELCOME: &str = "Your address is verified";

/// What the figures tell of the group that greets.
async fn group(site: &Site) -> Value {
    let stats = site
        .server
        .ops_client()
        .get("/ops/stats")
        .await
        .expect_status(200)
        .json();
    let lags = stats["log"]["lags"].as_array().cloned().unwrap_or_default();
    let found = lags.into_iter().find(|lag| lag["group"] == "welcome");
    found.unwrap_or(Value::Null)
}

/// Waits until the group that greets has passed everything.
async fn passed(rows: &Rows) {
    let waiting = "SELECT (SELECT count(*) FROM event_pending) + (SELECT count(*) FROM log_shards s \
        LEFT JOIN cursors c ON c.shard = s.shard AND c.group_name = 'welcome' WHERE s.position > coalesce(c.position, 0))";
    eventually("the group has passed all events", async || {
        (rows.number(waiting).await == 0).then_some(())
    })
    .await;
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Runs `plinth events ...` and reads the JSON that it answers with.
fn cli(site: &Site, arguments: &[&str]) -> Value {
    let output = site
        .server
        .cli(&[&["events"], arguments, &["--format", "json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", told(&output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", told(&output)))
}

/// Runs `plinth events ...` and gives its exit code and all that it said.
fn code(site: &Site, arguments: &[&str]) -> (Option<i32>, String) {
    let output = site.server.cli(&[&["events"], arguments].concat());
    (output.status.code(), told(&output))
}

async fn everybody_who_registers_is_greeted_once(backing: Backing) {
    let mut site = Site::start(backing).await;
    let ada = site.person("ada").await;
    let mail = site.outbox().wait_for(&ada.email, WELCOME).await;
    assert_eq!(mail.subject, "Welcome to Plinth");
    assert!(
        mail.body.contains("Hello Ada Example") && !mail.body.contains("token="),
        "{}",
        mail.body
    );
    let listed = ada.client.get("/v1/mail").await.expect_status(200).json();
    let welcomes = listed["items"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|mail| mail["template"] == "welcome");
    assert_eq!(welcomes.count(), 1);
    // Made by hand is not registered.
    let admin = site.administrator().await;
    // A killed server has its leases run out; the next handles what comes, and nothing twice.
    site.server.kill9();
    site.server.restart().await;
    let bert = site.person("bert").await;
    let _ = site.outbox().wait_for(&bert.email, WELCOME).await;
    assert_eq!(site.outbox().matching(&ada.email, WELCOME).len(), 1);
    assert_eq!(site.outbox().matching(&admin.email, "").len(), 0);
}

/// Neither when the group is new to the installation, nor when it was switched off for a while.
async fn nobody_is_greeted_for_having_been_there_before(backing: Backing) {
    let mut site = Site::start_with(backing, |setup| setup.env("PLINTH_MAIL_WELCOME", "false")).await;
    let rows = Rows::of(&site).await;
    let ada = site.person("ada").await;
    passed(&rows).await;
    assert_eq!(
        rows.number("SELECT count(*) FROM mails WHERE template = 'welcome'")
            .await,
        0
    );
    // As an installation looks that was made before there was the group.
    let _ = site.server.terminate().await;
    rows.change("DELETE FROM cursors WHERE group_name = 'welcome'").await;
    site.server.restart().await;
    passed(&rows).await;
    let heads = "SELECT count(*) FROM cursors WHERE group_name = 'welcome' AND position > 0";
    assert!(rows.number(heads).await > 0, "it began at the heads");
    assert_eq!(site.outbox().matching(&ada.email, WELCOME).len(), 0);
}

/// Makes every welcome message fail in the database, for good as far as the database can tell.
async fn jam(rows: &Rows, backing: &Backing) {
    match backing {
        Backing::Sqlite => {
            let trigger = "CREATE TRIGGER jam BEFORE INSERT ON mails WHEN NEW.template = 'welcome' \
                BEGIN SELECT RAISE(ABORT, 'jammed'); END";
            rows.change(trigger).await;
        }
        Backing::Postgres(_) => {
            rows.change(
                "CREATE FUNCTION jam() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'jammed'; END $$",
            )
            .await;
            let trigger = "CREATE TRIGGER jam BEFORE INSERT ON mails FOR EACH ROW \
                WHEN (NEW.template = 'welcome') EXECUTE FUNCTION jam()";
            rows.change(trigger).await;
        }
    }
}

async fn mend(rows: &Rows, backing: &Backing) {
    let on = if matches!(backing, Backing::Sqlite) {
        ""
    } else {
        " ON mails"
    };
    rows.change(&format!("DROP TRIGGER jam{on}")).await;
}

async fn a_jammed_ledger_makes_dead_letters_and_they_are_dealt_with(backing: Backing) {
    let site = Site::start(backing).await;
    let rows = Rows::of(&site).await;
    let admin = site.administrator().await;
    jam(&rows, &site.backing).await;
    let (ada, bert) = (site.person("ada").await, site.person("bert").await);
    eventually("both are held, with later events of theirs", async || {
        let group = group(&site).await;
        (group["held"].as_u64()? >= 2 && group["events"] == 0).then_some(())
    })
    .await;
    let kinds = rows
        .texts("SELECT DISTINCT type FROM held_events WHERE attempts > 0")
        .await;
    assert_eq!(kinds, ["user.registered"]);
    // Seven attempts take minutes; the eighth is the last.
    rows.change("UPDATE held_events SET attempts = 7, next_attempt_at = 0 WHERE attempts > 0")
        .await;
    eventually("both are given up, and what waited has followed", async || {
        let group = group(&site).await;
        (group["dead"] == 2 && group["held"] == 0).then_some(())
    })
    .await;
    let letters = look(&site, &admin, &ada).await;
    assert_command_line_shows(&site, &letters);
    mend(&rows, &site.backing).await;
    let of = |person: &Person| {
        letters
            .iter()
            .find(|letter| letter["user_id"] == *person.id)
            .expect("a letter")
            .clone()
    };

    // One is redriven by the API, the other thrown away on the command line.
    let redrive = async |body: Value| admin.client.post("/v1/admin/dead-letters/redrive", &body).await;
    let id = of(&ada)["id"].clone();
    let dry = redrive(json!({ "ids": [id], "dry_run": true }))
        .await
        .expect_status(200)
        .json();
    assert_eq!(dry, json!({ "changed": 1, "in_a_loop": 0, "more": false }));
    let done = redrive(json!({ "ids": [id] })).await.expect_status(200).json();
    assert_eq!(done["changed"], 1);
    let _ = site.outbox().wait_for(&ada.email, WELCOME).await;
    let again = redrive(json!({ "ids": [id] })).await.expect_status(200).json();
    assert_eq!(again["changed"], 0, "it is no dead letter any more");
    let id = of(&bert)["id"].as_str().expect("an id").to_owned();
    let (refused, said) = code(&site, &["dead", "discard", &id]);
    assert_eq!(refused, Some(2), "nobody can be asked: {said}");
    assert_eq!(cli(&site, &["dead", "discard", &id, "--yes"])["changed"], 1);
    assert_eq!(code(&site, &["dead", "discard", &id, "--yes"]).0, Some(3));
    assert_eq!(code(&site, &["dead", "list"]).0, Some(3));

    // Both acts are in the log, with what they were about.
    for (kind, person, actor) in [
        ("dead_letter.redriven", &ada, admin.id.as_str()),
        ("dead_letter.discarded", &bert, "system"),
    ] {
        let told = eventually("the act is in the log", async || {
            let output = site.server.cli(&[
                "events", "history", "--user", "system", "--type", kind, "--format", "json",
            ]);
            let events: Value = serde_json::from_slice(&output.stdout).ok()?;
            events.as_array()?.first().cloned()
        })
        .await;
        assert_eq!(
            (&told["data"]["letters"][0]["id"], &told["actorid"]),
            (&of(person)["id"], &json!(actor))
        );
    }
    assert_eq!(site.outbox().matching(&bert.email, WELCOME).len(), 0);
    replay(&site, &admin, &ada).await;
}

/// The dead letters by the API; for administrators alone.
async fn look(site: &Site, admin: &Person, ada: &Person) -> Vec<Value> {
    let path = "/v1/admin/dead-letters";
    let _ = ada.client.get(path).await.expect_problem(403, "scope_missing");
    let page = admin.client.get(path).await.expect_status(200).json();
    let letters = page["items"].as_array().cloned().expect("letters");
    assert_eq!((letters.len(), &page["next_cursor"]), (2, &Value::Null));
    for letter in &letters {
        assert_eq!((&letter["group"], &letter["attempts"]), (&json!("welcome"), &json!(8)));
        assert_eq!(
            (&letter["event_type"], &letter["origin"]),
            (&json!("user.registered"), &json!("log"))
        );
        assert_eq!(letter["reason"], "sql.effects.mails");
        assert!(
            !letter.to_string().contains("jammed"),
            "what the database says stays in the log: {letter}"
        );
    }
    let found = async |query: String| {
        let page = admin
            .client
            .get(&format!("{path}?{query}"))
            .await
            .expect_status(200)
            .json();
        page["items"].as_array().map(Vec::len)
    };
    assert_eq!(found(format!("user_id={}", ada.id)).await, Some(1));
    assert_eq!(found("group=usage".to_owned()).await, Some(0));
    assert_eq!(
        found("event_type=user.registered&reason=sql.effects.mails".to_owned()).await,
        Some(2)
    );
    let reasons = admin
        .client
        .get(&format!("{path}/reasons"))
        .await
        .expect_status(200)
        .json();
    assert_eq!(
        (&reasons["items"][0]["count"], reasons["items"].as_array().map(Vec::len)),
        (&json!(2), Some(1))
    );
    let one = format!("{path}/{}", letters[0]["id"].as_str().expect("an id"));
    let detail = admin.client.get(&one).await.expect_status(200).json();
    assert_eq!(
        (&detail["letter"], &detail["event"]["type"]),
        (&letters[0], &json!("user.registered"))
    );
    let unknown = format!("{path}/{}", admin.id);
    let _ = admin.client.get(&unknown).await.expect_problem(404, "not_found");
    for act in ["redrive", "discard"] {
        let path = format!("{path}/{act}");
        let nothing = admin
            .client
            .post(&path, &json!({}))
            .await
            .expect_problem(422, "validation_failed");
        assert_refused(&nothing, "#", "required");
        let many = admin
            .client
            .post(&path, &json!({ "group": "usage", "limit": 10_001 }))
            .await;
        assert_refused(&many.expect_problem(422, "validation_failed"), "#/limit", "range");
    }
    let metrics = site.server.ops_client().get("/metrics").await.expect_status(200).text();
    assert!(
        metrics.contains("plinth_log_dead_letters{group=\"welcome\"} 2"),
        "{metrics}"
    );
    letters
}

fn assert_command_line_shows(site: &Site, letters: &[Value]) {
    let listed = cli(site, &["dead", "list"]);
    let ids = |letters: &[Value]| letters.iter().map(|letter| letter["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(listed.as_array().expect("a list")), ids(letters));
    let (code_of_list, said) = code(site, &["dead", "list", "--group", "welcome"]);
    assert_eq!(code_of_list, Some(0));
    assert!(said.contains("2 of group welcome: sql.effects.mails"), "{said}");
    assert_eq!(cli(site, &["dead", "list", "--reasons"])[0]["count"], 2);
    let id = letters[0]["id"].as_str().expect("an id");
    assert_eq!(cli(site, &["dead", "show", id])["event"]["id"], letters[0]["event_id"]);
    assert_eq!(cli(site, &["dead", "redrive", "--all", "--dry-run"])["changed"], 2);
    assert_eq!(
        code(site, &["dead", "redrive", "--yes"]).0,
        Some(2),
        "it must be said which"
    );
}

/// A part of the log once more, by the command line and by the API.
async fn replay(site: &Site, admin: &Person, ada: &Person) {
    let long_ago = "2020-01-01T00:00:00Z";
    let counted = cli(site, &["replay", "--group", "welcome", "--from", long_ago, "--dry-run"]);
    assert!(counted["events"].as_u64().is_some_and(|events| events > 4), "{counted}");
    assert_eq!(site.outbox().matching(&ada.email, WELCOME).len(), 1);
    let (unknown, said) = code(site, &["replay", "--group", "welcom", "--from", long_ago, "--yes"]);
    assert_eq!(unknown, Some(3));
    assert!(said.contains("usage, webhooks, welcome"), "{said}");
    assert_eq!(
        code(site, &["replay", "--group", "welcome", "--from", "7", "--yes"]).0,
        Some(2)
    );
    let done = cli(site, &["replay", "--group", "welcome", "--from", long_ago, "--yes"]);
    assert!(done["events"].as_u64() >= counted["events"].as_u64(), "{done}");
    let _ = site.outbox().wait_for_count(&ada.email, WELCOME, 2).await;
    let ask = async |body: Value| admin.client.post("/v1/admin/events/replay", &body).await;
    let part = json!({ "group": "usage", "from": long_ago, "to": "2021-01-01T00:00:00Z", "dry_run": true });
    let none = ask(part).await.expect_status(200).json();
    assert_eq!((&none["events"], &none["resume"]), (&json!(0), &Value::Null));
    assert!(none["looked_at"].as_u64() > Some(0), "{none}");
    for (body, pointer, rule) in [
        (json!({ "group": "usage" }), "#", "required"),
        (json!({ "group": "nobody", "from": long_ago }), "#/group", "enum"),
        (json!({ "group": "usage", "shard": 16 }), "#/shard", "range"),
        (
            json!({ "group": "usage", "from": long_ago, "to_position": 3 }),
            "#/shard",
            "required",
        ),
        (
            json!({ "group": "usage", "shard": 3, "resume": "4:0" }),
            "#/resume",
            "cursor",
        ),
    ] {
        assert_refused(&ask(body).await.expect_problem(422, "validation_failed"), pointer, rule);
    }
    let _ = ada
        .client
        .post("/v1/admin/events/replay", &json!({ "group": "usage", "shard": 0 }))
        .await
        .expect_problem(403, "scope_missing");
}

async fn the_log_is_read_on_the_command_line(backing: Backing) {
    let site = Site::start(backing).await;
    let ada = site.person("ada").await;
    let publish = |number: u32| json!({ "type": "app.note.added", "data": { "number": number } });
    for number in 0..3 {
        let _ = ada.client.post("/v1/events", &publish(number)).await.expect_status(201);
    }
    let notes = ["--type", "app.note.added"];
    let history = async |more: &[&str]| {
        let mut arguments = vec!["events", "history", "--user", &ada.email, "--format", "json"];
        arguments.extend(notes.iter().chain(more));
        let output = site.server.cli(&arguments);
        serde_json::from_slice::<Vec<Value>>(&output.stdout).unwrap_or_default()
    };
    let events = eventually("the history", async || {
        let events = history(&[]).await;
        (events.len() == 3).then_some(events)
    })
    .await;
    let numbers: Vec<&Value> = events.iter().map(|event| &event["data"]["number"]).collect();
    assert_eq!(numbers, [0, 1, 2]);
    assert!(
        events
            .iter()
            .all(|event| event["specversion"] == "1.0" && event["userid"] == *ada.id)
    );
    let after = events[1]["sequence"]
        .as_str()
        .expect("a position")
        .trim_start_matches('0');
    assert_eq!(history(&["--after", after]).await, events[2..]);
    assert_eq!(history(&["--limit", "1"]).await, events[..1]);
    let nobody = site.server.cli(&["events", "history", "--user", "nobody@example.org"]);
    assert_eq!(nobody.status.code(), Some(3));

    // From a position on, one envelope a line.
    let tailed = site.server.cli(&[
        "events",
        "tail",
        "--user",
        &ada.email,
        "--after",
        "0",
        "--type",
        "app.note.added",
        "--limit",
        "3",
        "--format",
        "json",
    ]);
    let lines = String::from_utf8(tailed.stdout).expect("text");
    let tailed: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(tailed, events);

    // Live: somebody else publishes all the while, and the reader ends by itself.
    let client = ada.client.clone();
    let mut publisher = tokio::task::JoinSet::new();
    publisher.spawn(async move {
        for number in 10.. {
            let _ = client.post("/v1/events", &publish(number)).await;
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    });
    let live = tokio::task::block_in_place(|| {
        site.server
            .cli(&["events", "tail", "--limit", "2", "--type", "app.note.added"])
    });
    publisher.abort_all();
    assert!(live.status.success(), "{}", told(&live));
    let text = String::from_utf8(live.stdout).expect("text");
    assert_eq!(
        text.lines().filter(|line| line.contains("app.note.added")).count(),
        2,
        "{text}"
    );
    assert!(text.contains(&ada.id), "{text}");
}
