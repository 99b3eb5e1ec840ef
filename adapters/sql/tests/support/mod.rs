//! A fresh, migrated database for one test.

use std::io::Write as _;

use adapter_sql::{Database, DatabaseOptions};
use uuid::Uuid;

/// A database of its own, on which nothing was written yet.
pub(crate) struct Fixture {
    /// The connections.
    pub(crate) db: Database,
    /// The folder of an SQLite file, gone with this value.
    _folder: Option<tempfile::TempDir>,
}

/// SQLite in a file of its own.
pub(crate) async fn sqlite() -> Option<Fixture> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite://{}/plinth.db", folder.path().display());
    Some(migrated(&url, Some(folder)).await)
}

/// A database of its own on the server that `PLINTH_TEST_POSTGRES_URL` names; it is left to that throw-away server.
///
/// None, said on standard error, when there is no such server; with `PLINTH_TEST_REQUIRE=1` that is a failure.
pub(crate) async fn postgres() -> Option<Fixture> {
    let Some(server) = postgres_server() else {
        let test = std::thread::current().name().unwrap_or("?").to_owned();
        assert!(
            environment("PLINTH_TEST_REQUIRE").as_deref() != Some("1"),
            "{test} needs PostgreSQL: run scripts/test"
        );
        // Past the capture of the test runner, so that it is seen although the test passes.
        let _ = writeln!(std::io::stderr().lock(), "SKIPPED (no PostgreSQL): {test}");
        return None;
    };
    let name = format!("a{}", Uuid::now_v7().simple());
    let admin = Database::connect(&options(&server)).await.expect("the server answers");
    let sql = format!("CREATE DATABASE {name}");
    sea_orm::ConnectionTrait::execute_unprepared(admin.writer(), &sql)
        .await
        .expect("the server makes a database");
    admin.close().await;
    let (host, _) = server.rsplit_once('/').expect("the address names a database");
    Some(migrated(&format!("{host}/{name}"), None).await)
}

/// The address of the server, with a database of it.
pub(crate) fn postgres_server() -> Option<String> {
    environment("PLINTH_TEST_POSTGRES_URL")
}

async fn migrated(url: &str, folder: Option<tempfile::TempDir>) -> Fixture {
    let db = Database::connect(&options(url)).await.expect("the database answers");
    migration::migrate(db.writer()).await.expect("the schema is made");
    Fixture { db, _folder: folder }
}

/// Few connections each, since many tests run at once and a server has 100 in all; patience, since two cores serve them.
fn options(url: &str) -> DatabaseOptions {
    DatabaseOptions {
        max_connections: 4,
        acquire_timeout: std::time::Duration::from_secs(20),
        statement_timeout: Some(std::time::Duration::from_secs(30)),
        lock_timeout: Some(std::time::Duration::from_secs(30)),
        ..DatabaseOptions::new(url)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test run is told by its environment where its servers are"
)]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
