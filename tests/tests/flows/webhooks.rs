//! Webhooks: a receiver in Python verifies what it gets with the library of Standard Webhooks; failures are tried again
//! through a crash of the server; who may see and do what.

use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use plinth_tests::api::{Client, Reply};
use plinth_tests::site::{Backing, Person, Site};
use plinth_tests::tools::script;
use plinth_tests::workspace_root;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::tools::{eventually, refused_parts};

plinth_tests::on_both!(
    an_independent_library_verifies_what_arrives,
    who_may_do_what,
    what_answers_gone_is_disabled
);

/// What a killed server had in hand is sent again when its lease is over, 20 s later; the rest is patience.
const TAKEN_OVER: std::time::Duration = std::time::Duration::from_secs(60);

/// The receiver in Python, and what it said of each message.
struct Receiver {
    process: Child,
    folder: tempfile::TempDir,
    lines: Arc<Mutex<Vec<Value>>>,
    port: u64,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Receiver {
    /// None, said aloud, where its libraries cannot be had.
    async fn start() -> Option<Self> {
        let found = tokio::task::spawn_blocking(|| script("receiver of webhooks", "tools", &["receiver"])).await;
        let python = found.expect("no panic")?;
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("secrets"), "").expect("written");
        let mut process = Command::new(python)
            .arg(workspace_root().join("tests/clients/python/webhook_receiver.py"))
            .arg(folder.path())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let (lines, output) = (
            Arc::<Mutex<Vec<Value>>>::default(),
            process.stdout.take().expect("piped"),
        );
        let noted = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in std::io::BufReader::new(output).lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).expect("a line of JSON");
                noted.lock().expect("no panic").push(line);
            }
        });
        let first = eventually("the receiver's port", async || {
            lines.lock().expect("no panic").first().cloned()
        })
        .await;
        Some(Self {
            process,
            folder,
            lines,
            port: first["port"].as_u64().expect("a port"),
        })
    }

    fn place(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn knows(&self, secrets: &[&str]) {
        replace(&self.place("secrets"), &secrets.join("\n"));
    }

    fn answers(&self, status: u16) {
        replace(&self.place("answer"), &status.to_string());
    }

    /// What was said of messages of this event that were answered like this.
    fn of(&self, event: &str, answer: u16) -> Vec<Value> {
        let lines = self.lines.lock().expect("no panic");
        let wanted = |line: &&Value| line["event"] == event && line["answer"] == answer;
        lines.iter().filter(wanted).cloned().collect()
    }

    async fn got(&self, event: &str, answer: u16) -> Value {
        let asking = async {
            loop {
                if let Some(line) = self.of(event, answer).pop() {
                    return line;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        let got = tokio::time::timeout(TAKEN_OVER, asking).await;
        got.unwrap_or_else(|_| panic!("event {event} answered with {answer}: not within {TAKEN_OVER:?}"))
    }
}

/// Whole or not at all, for a reader that looks at any time.
fn replace(path: &Path, text: &str) {
    let part = path.with_extension("part");
    std::fs::write(&part, text).expect("written");
    std::fs::rename(&part, path).expect("renamed");
}

async fn site(backing: Backing) -> Site {
    Site::start_with(backing, |setup| setup.env("PLINTH_WEBHOOKS_ALLOW", "127.0.0.1/32")).await
}

async fn publish(client: &Client, number: u64) -> String {
    let event = json!({ "type": "app.order.placed", "data": { "number": number } });
    client.post("/v1/events", &event).await.expect_status(201).string("/id")
}

async fn an_independent_library_verifies_what_arrives(backing: Backing) {
    let Some(receiver) = Receiver::start().await else {
        return;
    };
    let mut site = site(backing).await;
    let (ada, bob) = (site.person("ada").await, site.person("bob").await);
    let url = format!("http://127.0.0.1:{}/hooks", receiver.port);
    let made = ada
        .client
        .post("/v1/webhooks", &json!({ "url": url, "types": ["app.*"] }))
        .await;
    let made = made.expect_status(201);
    let (id, secret) = (made.string("/webhook/id"), made.string("/secret"));
    receiver.knows(&[&secret, "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]);

    // Bob's events are none of Ada's.
    let (of_bob, first) = (publish(&bob.client, 0).await, publish(&ada.client, 1).await);
    let got = receiver.got(&first, 204).await;
    assert_eq!(
        (&got["verified"], &got["signatures"]),
        (&json!([true, false]), &json!(1)),
        "{got}"
    );
    assert_eq!(
        (&got["forged"], &got["changed"]),
        (&json!(false), &json!(false)),
        "{got}"
    );
    assert_eq!((&got["id"], &got["data"]), (&json!(first), &json!({ "number": 1 })));
    assert_eq!(
        (&got["type"], &got["user"]),
        (&json!("app.order.placed"), &json!(ada.id))
    );

    // What fails is tried again, and a crash in between loses nothing.
    receiver.answers(503);
    let mut failed = Vec::new();
    for number in 2..6 {
        failed.push(publish(&ada.client, number).await);
    }
    receiver.got(&failed[0], 503).await;
    site.server.kill9();
    receiver.answers(200);
    site.server.restart().await;
    let ada = Person {
        client: ada.client.at(site.server.http()),
        ..ada
    };
    for event in &failed {
        let got = receiver.got(event, 200).await;
        assert_eq!((&got["verified"][0], &got["id"]), (&json!(true), &json!(event)));
    }
    let of_bob = receiver.of(&of_bob, 204);
    assert_eq!(of_bob, Vec::<Value>::new());
    shows_attempts(&ada.client, &id, &failed[0]).await;

    // For a day both secrets sign.
    let rotated = ada
        .client
        .post(&format!("/v1/webhooks/{id}/rotate"), &Value::Null)
        .await;
    let rotated = rotated.expect_status(201);
    let new = rotated.string("/secret");
    assert_ne!(new, secret);
    receiver.knows(&[&new, &secret]);
    let event = publish(&ada.client, 7).await;
    let got = receiver.got(&event, 200).await;
    assert_eq!(
        (&got["verified"], &got["signatures"]),
        (&json!([true, true]), &json!(2)),
        "{got}"
    );

    // By hand: a test, and the same delivery again.
    let tested = ada.client.post(&format!("/v1/webhooks/{id}/test"), &Value::Null).await;
    let (delivery, test) = (tested.string("/id"), tested.expect_status(202).string("/event_id"));
    assert_eq!(receiver.got(&test, 200).await["type"], "webhook.test");
    settled(&ada.client, &id, &delivery, "delivered").await;
    receiver.answers(201);
    let again = format!("/v1/webhooks/{id}/deliveries/{delivery}/resend");
    let _ = ada.client.post(&again, &Value::Null).await.expect_status(202);
    assert_eq!(receiver.got(&test, 201).await["id"], json!(test));
}

async fn settled(client: &Client, id: &str, delivery: &str, state: &str) -> Reply {
    let path = format!("/v1/webhooks/{id}/deliveries/{delivery}");
    eventually(&format!("the delivery is {state}"), async || {
        let reply = client.get(&path).await.expect_status(200);
        (reply.string("/delivery/state") == state).then_some(reply)
    })
    .await
}

/// The failure and the success after it both stand there.
async fn shows_attempts(client: &Client, id: &str, event: &str) {
    let page = client
        .get(&format!("/v1/webhooks/{id}/deliveries"))
        .await
        .expect_status(200)
        .json();
    let items = page["items"].as_array().expect("items");
    let delivery = items
        .iter()
        .find(|item| item["event_id"] == event)
        .expect("the event's");
    let delivery = delivery["id"].as_str().expect("an id");
    let reply = settled(client, id, delivery, "delivered").await.json();
    let attempts = reply["attempts"].as_array().expect("attempts");
    let last = attempts.last().expect("an attempt");
    assert_eq!(
        (&last["status"], &last["error"]),
        (&json!(200), &Value::Null),
        "{reply}"
    );
    // The answer to the first attempt may have come just as the server was killed: then it stands nowhere.
    for attempt in &attempts[..attempts.len() - 1] {
        assert_eq!(
            (&attempt["status"], &attempt["error"]),
            (&json!(503), &json!("status")),
            "{reply}"
        );
    }
}

async fn who_may_do_what(backing: Backing) {
    let site = site(backing).await;
    let (ada, bob, root) = (
        site.person("ada").await,
        site.person("bob").await,
        site.administrator().await,
    );
    let make = |url: &str| json!({ "url": url, "types": ["app.*"], "description": "mine" });
    refuses_bad_addresses(&ada.client).await;
    let made = ada
        .client
        .post("/v1/webhooks", &make("https://hooks.example.invalid/a?b=c"))
        .await;
    let made = made.expect_status(201);
    let tag = made.header("etag").to_owned();
    let path = format!("/v1/webhooks/{}", made.string("/webhook/id"));
    let shown = ada.client.get(&path).await.expect_status(200);
    assert!(!shown.text().contains("whsec_"), "a secret is told once");
    assert_eq!(shown.header("etag"), tag);

    // Another's is as an unknown one, for administrators too: theirs are the installation's.
    for stranger in [&bob.client, &root.client] {
        let _ = stranger.get(&path).await.expect_problem(404, "not_found");
        let _ = stranger
            .patch(&path, &json!({ "enabled": false }))
            .await
            .expect_problem(404, "not_found");
        for action in ["rotate", "test"] {
            let refused = stranger.post(&format!("{path}/{action}"), &Value::Null).await;
            let _ = refused.expect_problem(404, "not_found");
        }
        let _ = stranger
            .get(&format!("{path}/deliveries"))
            .await
            .expect_problem(404, "not_found");
        let _ = stranger.delete(&path).await.expect_problem(404, "not_found");
        let page = stranger.get("/v1/webhooks").await.expect_status(200).json();
        assert_eq!(page["items"], json!([]));
    }
    let refused = ada.client.get("/v1/admin/webhooks").await;
    let _ = refused.expect_problem(403, "scope_missing");
    let refused = ada.client.post("/v1/admin/webhooks", &make("https://a.example/")).await;
    let _ = refused.expect_problem(403, "scope_missing");
    let all = root
        .client
        .post("/v1/admin/webhooks", &make("https://all.example.invalid/"))
        .await;
    let all = format!("/v1/admin/webhooks/{}", all.expect_status(201).string("/webhook/id"));
    let _ = root.client.get(&all).await.expect_status(200);

    // A patch leaves what it does not name, and keeps to the version when asked to.
    let patch = |tag: &str, body: Value| {
        let request = ada
            .client
            .request(Method::PATCH, &path)
            .header("If-Match", tag)
            .json(&body);
        Reply::of(request)
    };
    let changed = patch(&tag, json!({ "types": ["file.*", "app.x"] }))
        .await
        .expect_status(200);
    assert_eq!(
        (&changed.json()["types"], changed.string("/description")),
        (&json!(["file.*", "app.x"]), "mine".to_owned())
    );
    let stale = patch(&tag, json!({ "enabled": false })).await;
    let _ = stale.expect_problem(412, "precondition_failed");
    let disabled = ada
        .client
        .patch(&path, &json!({ "enabled": false }))
        .await
        .expect_status(200);
    assert_eq!(disabled.string("/disabled_reason"), "owner");
    let refused = ada.client.post(&format!("{path}/test"), &Value::Null).await;
    let _ = refused.expect_problem(409, "conflict");

    for _ in 1..10 {
        let _ = ada
            .client
            .post("/v1/webhooks", &make("https://a.example.invalid/"))
            .await
            .expect_status(201);
    }
    let one_more = ada
        .client
        .post("/v1/webhooks", &make("https://a.example.invalid/"))
        .await;
    let _ = one_more.expect_problem(403, "quota_exceeded");
    let _ = ada.client.delete(&path).await.expect_status(204);
    let _ = ada.client.delete(&path).await.expect_problem(404, "not_found");
    tells_what_was_changed(&ada.client).await;
}

async fn refuses_bad_addresses(client: &Client) {
    for url in [
        "http://hooks.example.org/",
        "https://10.0.0.1/",
        "https://127.0.0.2/",
        "https://[::1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://user:pass@hooks.example.org/",
        "https://hooks.example.org:22/",
        "file:///etc/passwd",
        "hooks.example.org",
    ] {
        let refused = client.post("/v1/webhooks", &json!({ "url": url })).await;
        let refused = refused.expect_problem(422, "validation_failed");
        assert_eq!(
            refused_parts(&refused),
            [("#/url".to_owned(), "url".to_owned())],
            "{url}"
        );
        assert!(
            !refused.text().contains(url),
            "what was submitted is not repeated: {refused}"
        );
    }
}

async fn tells_what_was_changed(client: &Client) {
    let wanted = [
        "webhook.created",
        "webhook.updated",
        "webhook.updated",
        "webhook.deleted",
    ];
    let history = eventually("the events of the webhook", async || {
        let page = client.get("/v1/events?limit=200").await.expect_status(200).json();
        let items = page["items"].as_array().expect("items").clone();
        items
            .iter()
            .any(|item| item["type"] == "webhook.deleted")
            .then_some(items)
    })
    .await;
    let first = history
        .iter()
        .find(|item| item["type"] == "webhook.created")
        .expect("made");
    let of_first: Vec<&str> = history
        .iter()
        .filter(|item| item["data"]["webhook_id"] == first["data"]["webhook_id"])
        .map(|item| item["type"].as_str().expect("a type"))
        .collect();
    assert_eq!(of_first, wanted);
    assert!(history.iter().all(|item| !item.to_string().contains("example.invalid")));
}

/// Answers every request with 410.
#[expect(clippy::disallowed_methods, reason = "a receiver of a test ends with it")]
async fn gone() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = [0; 16_384];
            let _ = stream.read(&mut bytes).await;
            let answer = b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(answer).await;
        }
    });
    port
}

async fn what_answers_gone_is_disabled(backing: Backing) {
    let site = site(backing).await;
    let (root, ada) = (site.administrator().await, site.person("ada").await);
    let url = format!("http://127.0.0.1:{}/", gone().await);
    let made = root
        .client
        .post(
            "/v1/admin/webhooks",
            &json!({ "url": url, "types": ["app.order.placed"] }),
        )
        .await;
    let id = made.expect_status(201).string("/webhook/id");
    let path = format!("/v1/admin/webhooks/{id}");
    // The event of a user, at a webhook of the installation.
    let event = publish(&ada.client, 1).await;
    let disabled = eventually("the webhook is disabled", async || {
        let reply = root.client.get(&path).await.expect_status(200);
        (reply.json()["enabled"] == false).then_some(reply)
    })
    .await;
    assert_eq!(disabled.string("/disabled_reason"), "gone");
    let page = root
        .client
        .get(&format!("{path}/deliveries?state=dead"))
        .await
        .expect_status(200)
        .json();
    assert_eq!(
        (&page["items"][0]["event_id"], &page["items"][0]["last_status"]),
        (&json!(event), &json!(410))
    );
    let stats = site
        .server
        .ops_client()
        .get("/ops/stats")
        .await
        .expect_status(200)
        .json();
    assert_eq!(
        (&stats["webhooks"]["given_up"], &stats["webhooks"]["disabled"]),
        (&json!(1), &json!(1))
    );
    // What happens while it is disabled is not sent, and it works again when it is enabled.
    let enabled = root
        .client
        .patch(&path, &json!({ "enabled": true }))
        .await
        .expect_status(200)
        .json();
    assert_eq!(
        (&enabled["disabled_reason"], &enabled["failures"]),
        (&Value::Null, &json!(0))
    );
}
