//! What operators read: the exposition for Prometheus, the figures, and their stream.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use plinth_tests::api::Client;
use plinth_tests::site::{Backing, Site};
use reqwest::Method;
use serde_json::{Value, json};

use crate::tools::{PDF, eventually};

plinth_tests::on_both!(
    the_monitoring_points_count_what_is_done,
    strangers_add_no_series,
    figures_are_streamed_until_the_server_drains,
    a_token_guards_the_figures_and_not_the_metrics,
);

/// A page of the exposition: each series, by its name and labels as they are written, with its value.
struct Page {
    text: String,
    series: BTreeMap<String, f64>,
}

impl Page {
    async fn read(ops: &Client) -> Self {
        let reply = ops.get("/metrics").await.expect_status(200);
        assert!(reply.header("content-type").starts_with("text/plain"), "{reply}");
        let text = reply.text();
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let series = samples.map(|line| {
            let (series, value) = line.rsplit_once(' ').expect("a series and its value");
            (series.to_owned(), value.parse().expect("a number"))
        });
        Self {
            series: series.collect(),
            text,
        }
    }

    /// The sum over the series whose name is this and whose labels hold these words.
    fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let fits = |series: &str| {
            let (known, rest) = series.split_once('{').unwrap_or((series, ""));
            known == name && labels.iter().all(|label| rest.contains(label))
        };
        self.series
            .iter()
            .filter(|(series, _)| fits(series))
            .map(|(_, value)| value)
            .sum()
    }

    /// Every name and its labels, without buckets.
    fn names(&self) -> BTreeSet<&str> {
        self.series
            .keys()
            .map(String::as_str)
            .filter(|name| !name.contains("_bucket{"))
            .collect()
    }
}

/// `promtool`, from where `scripts/tools promtool` put it or from the path.
#[expect(
    clippy::disallowed_methods,
    reason = "a test run is told by its environment where its tools are"
)]
fn promtool() -> Option<PathBuf> {
    let named = std::env::var_os("PLINTH_TEST_PROMTOOL").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("promtool"));
    named.into_iter().chain(found).find(|program| program.is_file())
}

/// Has Prometheus' own tool judge a page.
fn judge(text: &str) {
    check(&["check", "metrics"], text);
}

/// Runs `promtool` over a text.
fn check(arguments: &[&str], text: &str) {
    let Some(promtool) = promtool() else {
        plinth_tests::left_out("promtool");
        return;
    };
    let mut child = Command::new(promtool)
        .args(arguments)
        .current_dir(plinth_tests::workspace_root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    let mut input = child.stdin.take().expect("its input");
    input.write_all(text.as_bytes()).expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let complains = arguments == ["check", "metrics"] && !said.trim().is_empty();
    assert!(output.status.success() && !complains, "promtool: {said}");
}

#[test]
fn the_rules_of_the_documentation_are_sound_and_ask_for_metrics_that_exist() {
    let folder = plinth_tests::workspace_root().join("docs");
    let rules = std::fs::read_to_string(folder.join("examples/alerts.yaml")).expect("the rules");
    let metrics = std::fs::read_to_string(folder.join("metrics.md")).expect("the reference");
    check(&["check", "rules", "docs/examples/alerts.yaml"], "");
    let words = rules.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let asked: BTreeSet<&str> = words.filter(|word| word.starts_with("plinth_")).collect();
    assert!(asked.len() >= 8, "{asked:?}");
    for name in asked {
        let family = name.strip_suffix("_bucket").unwrap_or(name);
        assert!(metrics.contains(&format!("`{family}`")), "{name}");
    }
}

async fn the_monitoring_points_count_what_is_done(backing: Backing) {
    let site = Site::start(backing).await;
    let ops = site.server.ops_client();
    let ada = site.person("ada").await;
    // Without an audience nothing is published.
    let mut stream = ada.client.stream("/v1/events/stream", None).await;
    let file = ada
        .client
        .post_bytes("/v1/files?type=resume&name=cv.pdf", "application/pdf", PDF.to_vec())
        .await
        .expect_status(201)
        .string("/id");
    let _ = ada
        .client
        .get(&format!("/v1/files/{file}/content"))
        .await
        .expect_status(200);
    let note = json!({ "type": "app.note.added", "data": { "text": "hello" } });
    let _ = ada.client.post("/v1/events", &note).await.expect_status(201);
    while stream
        .next(Duration::from_secs(20))
        .await
        .expect("the event comes")
        .event
        != "app.note.added"
    {}
    let _ = ada
        .client
        .with_token("v4.public.none")
        .get("/v1/me")
        .await
        .expect_problem(401, "token_invalid");

    let page = eventually("all figures", async || {
        let page = Page::read(&ops).await;
        let handled = page.sum("plinth_event_publish_duration_seconds_count", &["follower=\"usage\""]);
        let sent = page.sum("plinth_mails_sent_total", &[]);
        (handled >= 2.0 && sent >= 1.0).then_some(page)
    })
    .await;
    judge(&page.text);
    // Pool utilisation, publish latency, storage operation time, token validation time, mail queue depth.
    assert!(page.sum("plinth_database_pool_max_connections", &[]) > 0.0);
    assert!((0.0..=1.0).contains(&page.sum("plinth_database_pool_utilisation_ratio", &[])));
    assert!(page.sum("plinth_database_statement_duration_seconds_count", &[]) > 10.0);
    assert!(page.sum("plinth_event_publish_duration_seconds_count", &["follower=\"streams\""]) >= 1.0);
    assert!(page.sum("plinth_event_append_duration_seconds_count", &[]) >= 1.0);
    let stored = |operation: &str| {
        let labels = ["backend=\"files local\"", operation];
        page.sum("plinth_storage_operation_duration_seconds_count", &labels)
    };
    assert!(stored("operation=\"put\"") >= 1.0 && stored("operation=\"get\"") >= 1.0);
    assert!(page.sum("plinth_token_validation_duration_seconds_count", &[]) >= 4.0);
    assert!(page.sum("plinth_token_validations_total", &["outcome=\"accepted\""]) >= 3.0);
    assert!((page.sum("plinth_token_validations_total", &["outcome=\"token_invalid\""]) - 1.0).abs() < 0.1);
    assert!(page.series.contains_key("plinth_mail_queue_messages{state=\"queued\"}"));
    assert!(page.sum("plinth_mail_operation_duration_seconds_count", &[]) >= 1.0);
    // Routes by their templates, the runtime and the process.
    let downloads = ["method=\"GET\"", "route=\"/v1/files/{id}/content\"", "status=\"200\""];
    assert!((page.sum("plinth_http_requests_total", &downloads) - 1.0).abs() < 0.1);
    assert!(page.sum("plinth_http_request_duration_seconds_count", &downloads[..2]) >= 1.0);
    assert!(page.sum("plinth_event_streams", &[]) >= 1.0 && page.sum("plinth_http_connections", &[]) >= 1.0);
    assert!(page.sum("plinth_runtime_workers", &[]) >= 1.0);
    assert!(page.sum("process_resident_memory_bytes", &[]) > 1e6);
    assert!(page.sum("plinth_ready", &[]) > 0.5 && page.sum("plinth_dependency_up", &["database"]) > 0.5);
    // Nothing of a user is in it.
    for secret in [ada.email.as_str(), file.as_str(), "example.org"] {
        assert!(!page.text.contains(secret), "{secret}");
    }
}

async fn strangers_add_no_series(backing: Backing) {
    let site = Site::start(backing).await;
    let (ops, client) = (site.server.ops_client(), site.client());
    let methods = [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "BREW",
    ];
    let ask = async |number: usize| {
        let method = Method::from_bytes(methods[number % methods.len()].as_bytes()).expect("a method");
        let unknown = format!("/v1/unknown-{number}/%00{number}?x={number}");
        let file = format!("/v1/files/{}", uuid(number));
        for path in [unknown, file] {
            let sent = client
                .request(method.clone(), &path)
                .header("X-Request-Id", format!("r{number}"));
            sent.send().await.expect("an answer");
        }
    };
    for number in 0..methods.len() {
        ask(number).await;
    }
    // The handler groups have series of their own once they have begun.
    let before = eventually("every group has begun", async || {
        let page = Page::read(&ops).await;
        let groups = page
            .names()
            .into_iter()
            .filter(|name| name.starts_with("plinth_log_lag_events"));
        (groups.count() == 3).then_some(page)
    })
    .await;
    for number in methods.len()..400 {
        ask(number).await;
    }
    let after = Page::read(&ops).await;
    judge(&after.text);
    let (before, asked) = (
        before.names(),
        after.sum("plinth_http_requests_total", &["route=\"unmatched\""]),
    );
    let new: Vec<&str> = after.names().difference(&before).copied().collect();
    assert!(new.is_empty(), "{new:?}");
    assert!(asked >= 400.0, "{asked}");
    assert!(!after.text.contains("unknown-") && !after.text.contains("BREW"));
}

fn uuid(number: usize) -> String {
    format!("01a210ff-4f6f-73fb-a494-{number:012x}")
}

async fn figures_are_streamed_until_the_server_drains(backing: Backing) {
    let mut site = Site::start(backing).await;
    let ops = site.server.ops_client();
    for refused in ["every_ms=1", "every_ms=fast", "every_ms=9999999"] {
        let reply = ops.get(&format!("/ops/stats/stream?{refused}")).await;
        let _ = reply.expect_problem(400, "malformed_request");
    }
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(ops.stream("/ops/stats/stream?every_ms=200", None).await);
    }
    let _ = site.client().get("/v1/me").await.expect_status(401);
    for stream in &mut streams {
        let mut last = 0;
        for _ in 0..4 {
            let stats = stream.next(Duration::from_secs(20)).await.expect("figures").json();
            let at = stats["at_ms"].as_u64().expect("a time");
            assert!(at >= last, "{at} after {last}");
            last = at;
        }
        let stats: Value = eventually("a counted request", async || {
            let stats = stream.next(Duration::from_secs(20)).await?.json();
            (stats["http"]["routes"][0]["route"] == "/v1/me").then_some(stats)
        })
        .await;
        assert_eq!(
            stats["http"]["routes"][0]["statuses"],
            json!([{ "status": 401, "count": 1 }])
        );
        assert_eq!(stats["health"]["status"], "ready");
    }
    assert!(site.server.terminate().await.success());
    for stream in &mut streams {
        while stream.next(Duration::from_secs(5)).await.is_some() {}
    }
}

async fn a_token_guards_the_figures_and_not_the_metrics(backing: Backing) {
    let token = "a-token-of-the-operators-own-choosing";
    let site = Site::start_with(backing, |setup| setup.env("PLINTH_OPS_TOKEN", token)).await;
    let ops = site.server.ops_client();
    for path in ["/ops/stats", "/ops/stats/stream"] {
        let _ = ops.get(path).await.expect_problem(401, "token_missing");
        let _ = ops
            .with_token("another")
            .get(path)
            .await
            .expect_problem(401, "token_invalid");
    }
    let _ = ops.with_token(token).get("/ops/stats").await.expect_status(200);
    let mut stream = ops.with_token(token).stream("/ops/stats/stream", None).await;
    assert!(stream.next(Duration::from_secs(20)).await.is_some());
    let _ = ops.get("/metrics").await.expect_status(200);
}
