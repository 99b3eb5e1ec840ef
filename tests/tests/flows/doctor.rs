//! `plinth doctor`: well installations pass, and each provoked fault is told under its name, with its fix and exit code 1.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use plinth_tests::postgres::fresh_database;
use plinth_tests::server::Setup;
use plinth_tests::site::{Backing, Site};
use serde_json::Value;

use crate::rows::Rows;
use crate::tools::{eventually, files_below};

plinth_tests::on_both!(
    a_well_installation_passes_beside_its_server,
    a_stopped_installation_is_used_all_the_same,
    another_master_key_is_told,
    a_missing_schema_is_told_and_left_missing,
    folders_that_are_none_are_told,
    a_server_without_workers_is_told
);

const OTHER_KEY: &str = "YW5vdGhlciBtYXN0ZXIga2V5LCAzMiBieXRlcyBsb24=";

/// What was found, and how the process ended.
struct Report {
    code: Option<i32>,
    body: Value,
    said: String,
}

impl Report {
    fn of(output: &Output) -> Self {
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        let body = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
        Self {
            code: output.status.code(),
            body,
            said,
        }
    }

    fn finding(&self, name: &str) -> &Value {
        let checks = self.body["checks"].as_array().expect("checks");
        let found = checks.iter().find(|check| check["name"] == name);
        found.unwrap_or_else(|| panic!("nothing is said of {name}:\n{}", self.said))
    }

    fn state(&self, name: &str) -> &str {
        self.finding(name)["state"].as_str().expect("a state")
    }

    /// The names of what is in a state.
    fn those(&self, state: &str) -> Vec<&str> {
        let checks = self.body["checks"].as_array().expect("checks").iter();
        let those = checks.filter(|check| check["state"] == state);
        those.filter_map(|check| check["name"].as_str()).collect()
    }

    #[track_caller]
    fn assert_failed(&self, name: &str, cause: &str, fix: &str) {
        let finding = self.finding(name);
        assert_eq!(finding["state"], "fail", "{}", self.said);
        for (part, word) in [("cause", cause), ("fix", fix)] {
            let text = finding[part].as_str().unwrap_or_default();
            assert!(text.contains(word), "{word:?} is not in the {part} {text:?}");
        }
        assert_eq!(
            (self.code, &self.body["ok"]),
            (Some(1), &Value::Bool(false)),
            "{}",
            self.said
        );
    }
}

/// Beside the server of a site, which took free ports.
fn beside(site: &Site, arguments: &[&str]) -> Report {
    let bind = |address: &str, key: &str| format!("{key}={}", address.trim_start_matches("http://"));
    let (http, ops) = (
        bind(site.server.http(), "http.bind"),
        bind(site.server.ops(), "ops.bind"),
    );
    let mut all = vec!["doctor", "--format", "json", "--set", &http, "--set", &ops];
    all.extend(arguments);
    Report::of(&site.server.cli(&all))
}

/// With no server of the test's own.
async fn alone(setup: Setup) -> Report {
    Report::of(&setup.run().await)
}

async fn a_well_installation_passes_beside_its_server(backing: Backing) {
    let site = Site::start(backing).await;
    let ada = site.person("ada").await;
    let report = beside(&site, &[]);
    assert_eq!(
        (report.code, report.those("fail")),
        (Some(0), vec![]),
        "{}",
        report.said
    );
    for name in [
        "database",
        "schema",
        "master key",
        "tokens",
        "links",
        "operations",
        "API",
        "files local",
        "mail",
        "mail queue",
    ] {
        assert_eq!(report.state(name), "ok", "{name}: {}", report.said);
    }
    // These are also judged by their time, and the machine of a test may be slow.
    for name in ["database rows", "events", "passwords"] {
        assert!(["ok", "warn"].contains(&report.state(name)), "{name}: {}", report.said);
    }
    // The settings of tests are no production's.
    for name in ["auth.bcrypt_cost", "limits.enabled", "reach"] {
        assert_eq!(report.state(name), "warn", "{}", report.said);
        assert!(report.finding(name)["fix"].is_string());
    }
    assert_eq!(beside(&site, &["--strict"]).code, Some(1));
    // Nothing stays but the event, which is none of a user's.
    let rows = Rows::of(&site).await;
    assert_eq!(rows.number("SELECT count(*) FROM idempotency").await, 0);
    assert_eq!(
        rows.number("SELECT count(*) FROM events WHERE type = 'plinth.checked'")
            .await,
        2
    );
    let leases = "SELECT count(*) FROM log_shards WHERE lease_owner LIKE 'doctor%'";
    assert_eq!(rows.number(leases).await, 0);
    assert_eq!(
        files_below(&site.server.data_dir().join("blobs")),
        Vec::<std::path::PathBuf>::new()
    );
    let history = ada.client.get("/v1/events?after=0").await.expect_status(200);
    assert!(!history.text().contains("plinth.checked"));
    // No secret is told, in neither format.
    let table = site.server.cli(&["doctor"]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(
        table.contains("  ok    database ") && table.contains("→ set limits.enabled"),
        "{table}"
    );
    for text in [&table, &report.said] {
        assert!(!text.contains("cGxpbnRoIHRlc3"), "{text}");
    }
}

async fn a_stopped_installation_is_used_all_the_same(backing: Backing) {
    let mut site = Site::start(backing).await;
    let _ = site.person("ada").await;
    let (http, ops) = (site.server.http().to_owned(), site.server.ops().to_owned());
    assert!(site.server.terminate().await.success());
    let report = beside(&site, &["--send-mail-to", "ops@example.org"]);
    assert_eq!(
        (report.code, report.those("fail")),
        (Some(0), vec![]),
        "{}",
        report.said
    );
    for (name, address) in [("API", http), ("operations", ops)] {
        let cause = report.finding(name)["cause"].as_str().expect("a cause");
        let address = address.trim_start_matches("http://");
        assert!(cause.contains(&format!("{address} is free")), "{cause}");
    }
    assert_eq!(
        (report.state("events"), report.state("files local")),
        ("warn", "ok"),
        "{}",
        report.said
    );
    // The message is there to be read, and is told where.
    let mail = site.outbox().wait_for("ops@example.org", "test").await;
    assert!(
        report.finding("mail")["cause"]
            .as_str()
            .expect("a cause")
            .contains(".eml")
    );
    drop(mail);
}

async fn another_master_key_is_told(backing: Backing) {
    let site = Site::start(backing).await;
    let other = site
        .backing
        .applied_to(Setup::doctor())
        .env("PLINTH_MASTER_KEY", OTHER_KEY);
    let report = alone(other.data_dir(site.server.data_dir())).await;
    report.assert_failed("master key", "is not the one", "PLINTH_MASTER_KEY_FILE");
    report.assert_failed("tokens", "does not open", "master key");
    assert_eq!((report.state("links"), report.state("files local")), ("ok", "ok"));
    assert!(!report.said.contains(OTHER_KEY));
}

async fn a_missing_schema_is_told_and_left_missing(backing: Backing) {
    let mut site = Site::start(backing).await;
    assert!(site.server.terminate().await.success());
    let down = site
        .server
        .cli(&["migrate", "down", "--to", "nothing", "--danger-lose-data"]);
    assert!(down.status.success(), "{}", String::from_utf8_lossy(&down.stderr));
    let report = beside(&site, &[]);
    report.assert_failed("schema", "has no schema", "plinth migrate");
    assert_eq!(report.state("database rows"), "skipped");
    // The second time too: it did not migrate.
    assert_eq!(beside(&site, &[]).state("schema"), "fail");
}

async fn folders_that_are_none_are_told(backing: Backing) {
    let site = Site::start(backing).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "no folder").expect("a file");
    let setup = site.backing.applied_to(Setup::doctor());
    let setup = setup
        .env("PLINTH_FILES_BACKENDS_LOCAL_ROOT", &file)
        .env("PLINTH_MAIL_OUTBOX_DIR", file.join("outbox"));
    let report = alone(setup.data_dir(site.server.data_dir())).await;
    report.assert_failed("files local", "cannot be used", "files.backends.local.root");
    report.assert_failed("mail", "cannot be used", "mail.outbox_dir");
    assert_eq!(report.those("fail"), ["files local", "mail"], "{}", report.said);
    assert_eq!(std::fs::read_to_string(&file).expect("a file"), "no folder");
}

async fn a_server_without_workers_is_told(backing: Backing) {
    let site = Site::start_with(backing, |setup| setup.arg("--no-workers")).await;
    let report = beside(&site, &[]);
    report.assert_failed("events", "no worker runs", "plinth worker");
    let worker = site.server.worker().await;
    eventually("a worker holds the log", async || {
        (beside(&site, &[]).state("events") == "ok").then_some(())
    })
    .await;
    drop(worker);
}

#[tokio::test]
async fn in_an_empty_folder_nothing_is_there_and_nothing_is_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let report = alone(Setup::doctor().data_dir(folder.path().join("data"))).await;
    report.assert_failed("database", "nothing is installed yet", "plinth serve");
    assert_eq!(report.those("fail"), ["database"], "{}", report.said);
    let made = std::fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(made, 0, "{}", report.said);
}

#[tokio::test]
async fn a_key_that_others_can_read_is_told() {
    let site = Site::start(Backing::Sqlite).await;
    let key = site.server.data_dir().join("master.key");
    open_to_all(&key);
    let report = beside(&site, &[]);
    report.assert_failed("secrets", "0644", &format!("chmod 600 {}", key.display()));
    assert_eq!(report.those("fail"), ["secrets"]);

    // One that a variable names, too.
    let token = site.server.data_dir().join("token");
    std::fs::write(&token, "0123456789abcdef").expect("a file");
    open_to_all(&token);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
    let setup = Setup::doctor().env("PLINTH_OPS_TOKEN_FILE", &token);
    let report = alone(setup.data_dir(site.server.data_dir())).await;
    report.assert_failed("secrets", "token (0644)", "chmod 600");
    assert!(!report.said.contains("0123456789abcdef"));
}

fn open_to_all(file: &Path) {
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o644)).expect("it is ours");
}

#[tokio::test]
async fn a_lost_key_and_a_file_that_is_no_database_are_told() {
    let mut site = Site::start(Backing::Sqlite).await;
    assert!(site.server.terminate().await.success());
    let key = site.server.data_dir().join("master.key");
    let kept = std::fs::read(&key).expect("a key");
    std::fs::remove_file(&key).expect("it is ours");
    let report = beside(&site, &[]);
    report.assert_failed("master key", "is gone", "backup");
    assert!(!key.exists(), "a new one would make the loss final");

    std::fs::write(&key, kept).expect("it is ours");
    std::fs::write(
        site.server.data_dir().join("plinth.db"),
        "no database at all, but long enough",
    )
    .expect("it is ours");
    let report = beside(&site, &[]);
    report.assert_failed("database", "not a database", "backup");
}

/// A database of the server at this port, under the key of the tests.
fn at(url: &str) -> Setup {
    Setup::doctor()
        .env("PLINTH_DATABASE_URL", url)
        .env("PLINTH_MASTER_KEY", OTHER_KEY)
}

#[tokio::test]
async fn a_database_that_is_away_is_told_and_the_rest_is_looked_at() {
    let report = alone(at("postgres://plinth:hunter2@127.0.0.1:1/plinth")).await;
    report.assert_failed("database", "refused", "host and port");
    assert_eq!(report.those("fail"), ["database"], "{}", report.said);
    assert_eq!(
        (report.state("schema"), report.state("links"), report.state("passwords")),
        ("skipped", "ok", "ok")
    );
    assert!(!report.said.contains("hunter2"), "{}", report.said);
}

#[tokio::test]
async fn a_frozen_database_holds_nothing_up() {
    let frozen = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("postgres://plinth@{}/plinth", frozen.local_addr().expect("an address"));
    let examined = tokio::time::timeout(Duration::from_secs(30), alone(at(&url).arg("--timeout").arg("2"))).await;
    let report = examined.expect("it ends although the database does not answer");
    report.assert_failed("database", "no answer within", "firewall");
    assert_eq!(report.state("links"), "ok");
    drop(frozen);
}

#[tokio::test]
async fn a_database_or_a_user_that_is_not_there_is_told() {
    let Some(database) = fresh_database() else { return };
    let url = database.url();
    let report = alone(at(&format!("{url}_not_there"))).await;
    report.assert_failed("database", "does not exist", "createdb");
    let (_, host) = url.split_once('@').expect("an address with a user");
    let report = alone(at(&format!("postgres://stranger:hunter2@{host}"))).await;
    report.assert_failed("database", "stranger", "user and password");
    assert!(!report.said.contains("hunter2"), "{}", report.said);
}

#[tokio::test]
async fn a_frozen_server_and_a_strange_one_are_told() {
    let site = Site::start(Backing::Sqlite).await;
    site.server.signal("STOP");
    let report = beside(&site, &[]);
    site.server.signal("CONT");
    report.assert_failed("operations", "no answer", "ops.bind");
    report.assert_failed("API", "no answer", "http.bind");
    assert_eq!(report.state("files local"), "ok", "{}", report.said);

    let other = Site::start(Backing::Sqlite).await;
    let bind = format!("http.bind={}", other.server.http().trim_start_matches("http://"));
    let output = site.server.cli(&["doctor", "--format", "json", "--set", &bind]);
    Report::of(&output).assert_failed("API", "another installation", "http.bind");
    let usage = site.server.cli(&["doctor", "--send-mail-to", "nobody"]);
    assert_eq!(usage.status.code(), Some(2));
}
