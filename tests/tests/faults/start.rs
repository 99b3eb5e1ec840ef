//! Starts that are refused: each says what is wrong, and a working installation is not touched.

use std::process::Output;
use std::time::Duration;

use plinth_tests::postgres::fresh_database;
use plinth_tests::server::Setup;
use plinth_tests::site::{Backing, PASSWORD, Site, new_address, sign_in, sign_up_body};
use serde_json::json;

plinth_tests::on_both!(
    another_master_key_is_refused,
    commands_beside_a_server_work,
    a_worker_beside_a_server_does_its_work
);

const OTHER_KEY: &str = "YW5vdGhlciBtYXN0ZXIga2V5LCAzMiBieXRlcyBsb24=";

/// Both streams: for programs, faults of the configuration are an answer.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

#[track_caller]
fn assert_refused(output: &Output, code: i32, words: &[&str]) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not said in:\n{said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

#[tokio::test]
async fn a_second_server_on_one_sqlite_folder_is_refused() {
    let site = Site::start(Backing::Sqlite).await;
    let second = Setup::serve().data_dir(site.server.data_dir()).run().await;
    assert_refused(&second, 1, &["plinth serve", "SQLite"]);
    let _ = site.client().get("/openapi.json").await.expect_status(200);
    // A worker beside it is welcome.
    let worker = site.server.worker().await;
    assert!(worker.first_line()["pid"].is_u64(), "{}", worker.first_line());
    drop(worker);
    let _ = site.person("ada").await;
}

#[tokio::test]
async fn all_faults_of_the_configuration_are_told_at_once() {
    let secret = "not-a-key-and-never-to-be-shown";
    let refused = Setup::serve()
        .env("PLINTH_HTTP_BIND", "nonsense")
        .env("PLINTH_AUTH_BCRYPT_COST", "99")
        .env("PLINTH_HTPT_MAX_CONNECTIONS", "7")
        .env("PLINTH_MASTER_KEY", secret)
        .env("PLINTH_SMTP_URL", "smtp://localhost")
        .run()
        .await;
    let names = [
        "PLINTH_HTTP_BIND",
        "PLINTH_AUTH_BCRYPT_COST",
        "PLINTH_HTPT_MAX_CONNECTIONS",
        "PLINTH_MASTER_KEY",
        "PLINTH_SMTP_URL",
    ];
    assert_refused(&refused, 1, &names);
    let said = said(&refused);
    assert!(
        said.contains("PLINTH_HTTP_MAX_CONNECTIONS"),
        "the nearest name is told:\n{said}"
    );
    assert!(!said.contains(secret), "a secret is shown:\n{said}");
}

#[tokio::test]
async fn a_public_listener_needs_its_address() {
    let refused = Setup::serve()
        .env("PLINTH_HTTP_BIND", "0.0.0.0:0")
        .env("PLINTH_OPS_BIND", "0.0.0.0:0")
        .run()
        .await;
    assert_refused(&refused, 1, &["public_url", "ops.token"]);
}

#[tokio::test]
async fn postgres_needs_a_master_key() {
    let Some(database) = fresh_database() else { return };
    let refused = Setup::serve()
        .database(&database)
        .without("PLINTH_MASTER_KEY")
        .run()
        .await;
    assert_refused(&refused, 1, &["master_key", "/dev/urandom"]);
    assert_eq!(
        database.query("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"),
        "0"
    );
}

async fn another_master_key_is_refused(backing: Backing) {
    let mut site = Site::start(backing).await;
    let ada = site.person("ada").await;
    assert!(site.server.terminate().await.success());
    let other = site
        .backing
        .applied_to(Setup::serve())
        .env("PLINTH_MASTER_KEY", OTHER_KEY);
    let refused = other.data_dir(site.server.data_dir()).run().await;
    assert_refused(&refused, 1, &["master key"]);
    assert!(!said(&refused).contains(OTHER_KEY));

    site.server.restart().await;
    let _ = ada
        .client
        .at(site.server.http())
        .get("/v1/auth/whoami")
        .await
        .expect_status(200);
}

async fn commands_beside_a_server_work(backing: Backing) {
    let site = Site::start(backing).await;
    for arguments in [
        &["migrate", "status"][..],
        &["config", "check"],
        &["config", "show"],
        &["openapi"],
    ] {
        let output = site.server.cli(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(
            !String::from_utf8_lossy(&output.stdout).contains("cGxpbnRoIHRlc3"),
            "{arguments:?} shows the master key"
        );
    }
    assert_eq!(
        site.server.cli(&["migrate"]).status.code(),
        Some(3),
        "there is nothing to do"
    );
    let healthy = site.server.cli(&["healthcheck", "--url", site.server.ops()]);
    assert!(healthy.status.success(), "{}", String::from_utf8_lossy(&healthy.stderr));
    let ready = site.server.ops_client().get("/health/ready").await.expect_status(200);
    assert_eq!(ready.string("/status"), "ready");
    let _ = site.server.ops_client().get("/health/live").await.expect_status(200);
    let _ = site.server.ops_client().get("/ops/stats").await.expect_status(200);
    assert_eq!(
        site.server.cli(&["user", "list", "--limit", "0"]).status.code(),
        Some(2),
        "wrong usage"
    );
}

async fn a_worker_beside_a_server_does_its_work(backing: Backing) {
    let site = Site::start_with(backing, |setup| setup.arg("--no-workers")).await;
    let (visitor, email) = (site.client(), new_address("ada"));
    let reply = visitor.post("/v1/auth/register", &sign_up_body(&email, PASSWORD)).await;
    let _ = reply.expect_status(202);
    let worker = site.server.worker().await;
    // What waited is done, and what comes is seen by the streams of the other process.
    let token = site.outbox().wait_for(&email, "token=").await.token();
    let reply = visitor.post("/v1/auth/verify", &json!({ "token": token })).await;
    let _ = reply.expect_status(204);
    let ada = sign_in(&visitor, &email, PASSWORD).await;
    let mut stream = ada.client.stream("/v1/events/stream?after=0", None).await;
    let event = json!({ "type": "app.order.placed", "data": 1 });
    let published = ada.client.post("/v1/events", &event).await;
    let id = published.expect_status(201).string("/id");
    loop {
        let event = stream.next(Duration::from_secs(20)).await.expect("the stream goes on");
        if event.event == "app.order.placed" {
            assert_eq!(event.json()["id"], id.as_str());
            break;
        }
    }
    drop(worker);
}

#[tokio::test]
async fn keys_rotated_before_the_first_start_leave_one_that_signs() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = |arguments: &[&str]| {
        let output = std::process::Command::new(plinth_tests::server::binary())
            .args(["keys", "--format", "json"])
            .args(arguments)
            .env_clear()
            .env("PLINTH_DATA_DIR", folder.path())
            .output()
            .expect("the binary runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("JSON")
    };
    let _ = keys(&["rotate"]);
    let listed = keys(&["list"]);
    let mut states: Vec<&str> = listed
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|key| key["status"].as_str())
        .collect();
    states.sort_unstable();
    assert_eq!(states, ["active", "pending"]);
}

#[tokio::test]
async fn a_worker_that_cannot_know_the_address_of_its_links_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = Setup::worker()
        .data_dir(folder.path())
        .env("PLINTH_HTTP_BIND", "127.0.0.1:0")
        .without("PLINTH_PUBLIC_URL")
        .run()
        .await;
    assert_refused(&refused, 1, &["public_url"]);
}
