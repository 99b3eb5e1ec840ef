//! Schemas of events: what is registered, what it refuses, and that all that is written is what the schemas say.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use openapi::{AnyJson, ApiClient, CompatibilityBody, OWN_SCHEMAS, RegisterSchemaBody, Tokens};
use plinth_tests::api::{Client, Reply};
use plinth_tests::postgres::fresh_database;
use plinth_tests::server::Setup;
use plinth_tests::site::{Backing, PASSWORD, Person, Site, sign_in};
use plinth_tests::tools::{script, succeeded};
use plinth_tests::workspace_root;
use serde_json::{Value, json};

use crate::rows::Rows;
use crate::tools::{PDF, assert_refused, eventually, refused_parts};

plinth_tests::on_both!(
    schemas_are_registered_and_data_is_held_against_them,
    only_administrators_register_and_everybody_reads,
    a_type_without_a_schema_is_refused_where_that_is_asked_for,
    every_own_event_is_what_its_schema_says,
);

const ORDERS: &str = "/v1/admin/event-types/app.order.placed/versions";

fn order(more: Value) -> Value {
    let mut properties = json!({ "order": { "type": "integer", "minimum": 1 } });
    properties
        .as_object_mut()
        .expect("as it is made here")
        .extend(more.as_object().expect("as it is made here").clone());
    json!({ "type": "object", "properties": properties, "required": ["order"], "additionalProperties": false })
}

async fn register(admin: &Client, path: &str, schema: Value) -> Reply {
    admin.post(path, &json!({ "schema": schema })).await
}

fn event(data: Value) -> Value {
    json!({ "type": "app.order.placed", "data": data })
}

async fn schemas_are_registered_and_data_is_held_against_them(backing: Backing) {
    let site = Site::start(backing).await;
    let (admin, ada) = (site.administrator().await.client, site.person("ada").await.client);
    let _ = ada
        .post("/v1/events", &event(json!("anything")))
        .await
        .expect_status(201);

    let first = register(&admin, ORDERS, order(json!({}))).await.expect_status(201);
    let name = first.string("/dataschema");
    assert!(
        name.starts_with("urn:plinth:") && name.ends_with(":schema:app.order.placed:1"),
        "{name}"
    );
    let again = register(&admin, ORDERS, order(json!({}))).await.expect_status(200);
    assert_eq!(again.json(), first.json(), "the same is not registered twice");

    let refused = ada.post("/v1/events", &event(json!({ "order": "hunter2" }))).await;
    let refused = refused.expect_problem(422, "validation_failed");
    assert_refused(&refused, "#/data/order", "type");
    assert!(!refused.text().contains("hunter2"), "{refused}");
    let batch = json!({ "events": [
        event(json!({ "order": 1 })), { "type": "app.other", "data": null }, event(json!({ "order": 2 })),
        event(json!({ "order": 0, "extra": 1 })), event(json!({})),
    ] });
    let refused = ada
        .post("/v1/events/batch", &batch)
        .await
        .expect_problem(422, "validation_failed");
    let mut parts = refused_parts(&refused);
    parts.sort();
    let at = |pointer: &str, code: &str| (pointer.to_owned(), code.to_owned());
    assert_eq!(
        parts,
        [
            at("#/events/3/data/extra", "unknown_field"),
            at("#/events/3/data/order", "range"),
            at("#/events/4/data/order", "required"),
        ]
    );

    incompatible(&admin).await;

    let second = order(json!({ "note": { "type": "string" } }));
    assert_eq!(
        register(&admin, ORDERS, second).await.expect_status(201).json()["version"],
        2
    );
    let newest = event(json!({ "order": 1, "note": "x" }));
    let _ = ada.post("/v1/events", &newest).await.expect_status(201);
    let mut older = newest.clone();
    older["schema_version"] = json!(1);
    let refused = ada
        .post("/v1/events", &older)
        .await
        .expect_problem(422, "validation_failed");
    assert_refused(&refused, "#/data/note", "unknown_field");
    older["data"] = json!({ "order": 5 });
    let _ = ada.post("/v1/events", &older).await.expect_status(201);
    older["schema_version"] = json!(9);
    let refused = ada
        .post("/v1/events", &older)
        .await
        .expect_problem(422, "validation_failed");
    assert_refused(&refused, "#/schema_version", "unknown_version");

    let names = eventually("four orders", async || {
        let page = ada.get("/v1/events?limit=200").await.expect_status(200).json();
        let items = page["items"]
            .as_array()?
            .iter()
            .filter(|item| item["type"] == "app.order.placed");
        let names: Vec<Value> = items.map(|item| item["dataschema"].clone()).collect();
        (names.len() == 3).then_some(names)
    })
    .await;
    let second = name.replace(":1", ":2");
    assert_eq!(
        names,
        [Value::Null, json!(second), json!(name)],
        "what it was valid with stays with the event"
    );
}

/// Each reason is named, and nothing is registered; by another rule it may be.
async fn incompatible(admin: &Client) {
    let other = json!({
        "type": "object", "properties": { "order": { "type": "integer", "minimum": 10 }, "by": { "type": "string" } },
        "required": ["order", "by"], "additionalProperties": false,
    });
    let refused = register(admin, ORDERS, other.clone())
        .await
        .expect_problem(409, "conflict");
    let mut parts = refused_parts(&refused);
    parts.sort();
    let at = |pointer: &str| (pointer.to_owned(), "incompatible".to_owned());
    assert_eq!(
        parts,
        [at("#/schema/properties/by"), at("#/schema/properties/order/minimum")]
    );
    for (schema, pointer, code) in [
        (json!({ "requried": ["a"] }), "#/schema/requried", "keyword"),
        (
            json!({ "$ref": "http://169.254.169.254/" }),
            "#/schema/$ref",
            "reference",
        ),
        (
            json!({ "properties": { "a": { "pattern": "(?=a)b" } } }),
            "#/schema/properties/a/pattern",
            "pattern",
        ),
    ] {
        let refused = register(admin, ORDERS, schema)
            .await
            .expect_problem(422, "validation_failed");
        assert_refused(&refused, pointer, code);
    }
    let unknown = admin
        .put(
            "/v1/admin/event-types/app.unknown/compatibility",
            &json!({ "compatibility": "none" }),
        )
        .await;
    let _ = unknown.expect_problem(404, "not_found");
    let rule = async |rule: &str| {
        let path = "/v1/admin/event-types/app.order.placed/compatibility";
        admin.put(path, &json!({ "compatibility": rule })).await
    };
    assert_refused(
        &rule("some").await.expect_problem(422, "validation_failed"),
        "#/compatibility",
        "enum",
    );
    assert_eq!(rule("none").await.expect_status(200).json()["compatibility"], "none");
    assert_eq!(rule("full").await.expect_status(200).json()["newest_version"], 1);
    let own = register(admin, "/v1/admin/event-types/user.registered/versions", json!({})).await;
    assert_refused(
        &own.expect_problem(422, "validation_failed"),
        "#/parameters/type",
        "format",
    );
}

async fn only_administrators_register_and_everybody_reads(backing: Backing) {
    let site = Site::start(backing).await;
    let (admin, ada) = (site.administrator().await, site.person("ada").await.client);
    let visitor = site.client();
    let _ = register(&ada, ORDERS, json!({}))
        .await
        .expect_problem(403, "scope_missing");
    let _ = register(&visitor, ORDERS, json!({}))
        .await
        .expect_problem(401, "token_missing");
    let path = "/v1/admin/event-types/app.order.placed/compatibility";
    let _ = ada
        .put(path, &json!({ "compatibility": "none" }))
        .await
        .expect_problem(403, "scope_missing");

    let client = ApiClient::new(site.server.http()).expect("an address");
    client.set_tokens(Some(Tokens {
        access: admin.client.token().expect("signed in").to_owned(),
        refresh: None,
    }));
    let body = RegisterSchemaBody {
        schema: AnyJson(order(json!({}))),
    };
    let registered = client
        .register_event_schema("app.order.placed", &body)
        .await
        .expect("registered");
    let rule = CompatibilityBody {
        compatibility: "forward".into(),
    };
    assert_eq!(
        client
            .set_event_compatibility("app.order.placed", &rule)
            .await
            .expect("set")
            .compatibility,
        "forward"
    );

    let anybody = ApiClient::new(site.server.http()).expect("an address");
    assert_eq!(
        anybody.event_schema("app.order.placed", 1).await.expect("there"),
        registered
    );
    let own = anybody.event_schema("user.registered", 1).await.expect("there");
    assert_eq!(
        (own.dataschema.as_str(), own.created_at),
        ("urn:plinth:schema:user.registered:1", None)
    );
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let page = anybody.event_types(after.as_deref(), Some(7)).await.expect("a page");
        names.extend(page.items.into_iter().map(|item| (item.event_type, item.own)));
        after = page.next_cursor;
        if after.is_none() {
            break;
        }
    }
    assert!(names.is_sorted(), "{names:?}");
    assert_eq!(names.iter().filter(|(_, own)| !own).count(), 1);
    let types: BTreeSet<&str> = OWN_SCHEMAS.iter().map(|own| own.event_type).collect();
    assert_eq!(names.len(), types.len() + 1);
    for path in [
        "/v1/event-types/app.unknown",
        "/v1/event-types/app.order.placed/versions/2",
        "/v1/event-types/%20",
    ] {
        let _ = visitor.get(path).await.expect_problem(404, "not_found");
    }
    let _ = visitor
        .get("/v1/event-types/app.order.placed/versions/0")
        .await
        .expect_problem(404, "not_found");
}

async fn a_type_without_a_schema_is_refused_where_that_is_asked_for(backing: Backing) {
    let site = Site::start_with(backing, |setup| setup.env("PLINTH_EVENTS_REQUIRE_SCHEMA", "true")).await;
    let (admin, ada) = (site.administrator().await.client, site.person("ada").await.client);
    let publish = async |data: Value| ada.post("/v1/events", &event(data)).await;
    let refused = publish(json!({ "order": 1 }))
        .await
        .expect_problem(422, "validation_failed");
    assert_refused(&refused, "#/type", "schema_missing");
    let _ = register(&admin, ORDERS, order(json!({}))).await.expect_status(201);
    let _ = publish(json!({ "order": 1 })).await.expect_status(201);
}

/// What one node registers the other holds against, without being told.
#[tokio::test(flavor = "multi_thread")]
async fn another_node_follows() {
    let Some(database) = fresh_database() else {
        return;
    };
    let one = Setup::serve().database(&database).start().await;
    let other = Setup::serve().database(&database).start().await;
    plinth_tests::site::create_administrator(&one, "root@example.org", PASSWORD);
    let admin = sign_in(&one.client(), "root@example.org", PASSWORD).await.client;
    let there = admin.at(other.http());
    let _ = register(&admin, ORDERS, order(json!({}))).await.expect_status(201);
    let followed = tokio::time::timeout(Duration::from_secs(10), async {
        while there.post("/v1/events", &event(json!(1))).await.status != 422 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    followed.await.expect("within seconds");
}

/// A server does everything that it can; then every row that it wrote is held against its schema, by two validators.
async fn every_own_event_is_what_its_schema_says(backing: Backing) {
    let site = Site::start_with(backing, |setup| setup.env("PLINTH_AUTH_REFRESH_GRACE", "0s")).await;
    let admin = site.administrator().await;
    let ada = site.person("ada").await;
    do_everything(&site, &admin, &ada).await;
    let _ = register(&admin.client, ORDERS, order(json!({})))
        .await
        .expect_status(201);
    let path = "/v1/admin/event-types/app.order.placed/compatibility";
    let _ = admin
        .client
        .put(path, &json!({ "compatibility": "full" }))
        .await
        .expect_status(200);
    let eva = site.person("eva").await;
    let _ = eva
        .client
        .post("/v1/events", &event(json!({ "order": 1 })))
        .await
        .expect_status(201);
    let _ = eva
        .client
        .post("/v1/events", &json!({ "type": "app.free", "data": null }))
        .await
        .expect_status(201);
    assert!(site.server.cli(&["keys", "rotate", "--now"]).status.success());
    let _ = site.server.cli(&["doctor"]);

    let rows = Rows::of(&site).await;
    let sql = "SELECT type || '/' || schema_version || ' ' || data FROM events WHERE type NOT LIKE 'app.%'";
    let written = rows.texts(sql).await;
    let all = rows
        .number("SELECT count(*) FROM events WHERE type NOT LIKE 'app.%'")
        .await;
    assert_eq!(
        all,
        i64::try_from(written.len()).expect("as it is made here"),
        "every one names its version"
    );
    let validators: BTreeMap<String, jsonschema::Validator> = OWN_SCHEMAS
        .iter()
        .map(|own| {
            let schema: Value = serde_json::from_str(own.text).expect("JSON");
            let options = jsonschema::draft202012::options().should_validate_formats(true);
            let validator = options.build(&schema).expect("a schema");
            (format!("{}/{}", own.event_type, own.version), validator)
        })
        .collect();
    let mut seen = BTreeSet::new();
    for row in &written {
        let (name, data) = row.split_once(' ').expect("a row");
        let data: Value = serde_json::from_str(data).expect("JSON");
        let validator = validators.get(name).unwrap_or_else(|| panic!("{name} has no schema"));
        let faults: Vec<String> = validator.iter_errors(&data).map(|fault| fault.to_string()).collect();
        assert!(faults.is_empty(), "{row}: {faults:?}");
        seen.insert(name.split('/').next().unwrap_or_default());
    }
    // What a test cannot bring about in a moment is made by the tests of its service, which look at the schema as well:
    // a mail that is given up, and a key that begins to sign later. Types of a feature of their own have flows of their own.
    for wanted in EVERYTHING {
        assert!(seen.contains(wanted), "{wanted} did not happen: {seen:?}");
    }
    independently(&site, &eva.client).await;
}

const EVERYTHING: [&str; 17] = [
    "event.compatibility_changed",
    "event.schema_registered",
    "file.deleted",
    "file.uploaded",
    "key.created",
    "mail.sent",
    "password.changed",
    "plinth.checked",
    "session.ended",
    "session.refresh_reused",
    "session.started",
    "tier.changed",
    "user.created",
    "user.disabled",
    "user.enabled",
    "user.registered",
    "user.updated",
];

async fn do_everything(site: &Site, admin: &Person, ada: &Person) {
    let visitor = site.client();
    let _ = ada
        .client
        .patch("/v1/me", &json!({ "name": "Ada L." }))
        .await
        .expect_status(200);
    let stored = ada
        .client
        .post_bytes("/v1/files?type=cv&name=cv.pdf", "application/pdf", PDF.to_vec())
        .await;
    let file = stored.expect_status(201).string("/id");
    let _ = ada.client.delete(&format!("/v1/files/{file}")).await.expect_status(204);
    let user = |what: &str| format!("/v1/admin/users/{}/{what}", ada.id);
    let again = sign_in(&visitor, &ada.email, PASSWORD).await;
    let body = json!({ "refresh_token": again.refresh_token });
    let _ = visitor.post("/v1/auth/refresh", &body).await.expect_status(200);
    let _ = visitor
        .post("/v1/auth/refresh", &body)
        .await
        .expect_problem(401, "session_ended");
    for scope in ["this", "others", "all"] {
        let person = sign_in(&visitor, &ada.email, PASSWORD).await;
        let ended = person.client.post("/v1/auth/logout", &json!({ "scope": scope })).await;
        let _ = ended.expect_status(204);
    }
    let _ = visitor
        .post("/v1/auth/password/forgot", &json!({ "email": ada.email }))
        .await
        .expect_status(202);
    let token = site.outbox().wait_for(&ada.email, "reset").await.token();
    let body = json!({ "token": token, "password": "four brass kettles in a green canoe" });
    let _ = visitor.post("/v1/auth/password/reset", &body).await.expect_status(204);
    let _ = admin
        .client
        .put(&user("tier"), &json!({ "tier": "pro" }))
        .await
        .expect_status(200);
    for act in ["disable", "enable"] {
        let _ = admin.client.post(&user(act), &json!({})).await.expect_status(200);
    }
    let rows = Rows::of(site).await;
    eventually("the mail is handed over", async || {
        let sent = rows
            .number("SELECT count(*) FROM events WHERE type = 'mail.sent'")
            .await;
        (sent > 0).then_some(())
    })
    .await;
}

/// The same events as clients read them, by libraries of others: `PyPI` `cloudevents` and `jsonschema`.
async fn independently(site: &Site, client: &Client) {
    let page = eventually("all is in the log", async || {
        let page = client.get("/v1/events?limit=200").await.expect_status(200).json();
        let there = page["items"].as_array()?.iter().any(|item| item["type"] == "app.free");
        there.then_some(page)
    })
    .await;
    let mut stream = client.stream("/v1/events/stream?after=0", None).await;
    let items = page["items"].as_array().expect("items").clone();
    let mut lines: Vec<String> = items.iter().map(Value::to_string).collect();
    for item in &items {
        let sent = stream.next(Duration::from_secs(20)).await.expect("an event");
        assert_eq!(&sent.json(), item, "the stream says the same");
        lines.push(sent.data);
    }
    let address = site.server.http().to_owned();
    let told = tokio::task::spawn_blocking(move || {
        let interpreter = script("independent CloudEvents library", "tools", &["cloudevents"])?;
        Some([true, false].map(|good| validated(&interpreter, &address, &lines, good)))
    });
    if let Some([good, bad]) = told.await.expect("no panic") {
        let events = items.len() * 2;
        assert_eq!(
            good,
            (
                true,
                format!("{events} events, {} of them of a schema, 0 with faults", events - 2)
            )
        );
        assert!(!bad.0 && bad.1.ends_with("1 with faults"), "{bad:?}");
    }
}

/// Whether all was found good, and the last line that was said. With a fault put in when it is not to be.
fn validated(interpreter: &str, address: &str, lines: &[String], good: bool) -> (bool, String) {
    let mut child = Command::new(interpreter)
        .arg(workspace_root().join("tests/clients/python/cloud_events.py"))
        .arg(workspace_root().join("openapi/events"))
        .arg(address)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let mut text = lines.join("\n");
    if !good {
        text = text.replacen("\"tier\":\"free\"", "\"tier\":7", 1);
    }
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(text.as_bytes())
        .expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let said = if good {
        succeeded("cloud_events.py", &output)
    } else {
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    };
    (
        output.status.success(),
        said.lines().last().unwrap_or_default().to_owned(),
    )
}
