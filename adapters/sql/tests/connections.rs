//! How the connections behave: who may write, what a failure says, what another process sees.

mod support;

use std::time::Duration;

use adapter_sql::{
    ConnectError, Database, DatabaseOptions, Dialect, SqlOneTimeTokenRepository, SqlProbe, SqlRevocationFeed,
    SqlUserRepository,
};
use domain::id::UserId;
use domain::user::Role;
use ports::conformance::samples::{at, uuid};
use ports::conformance::stores::{person, witnesses};
use ports::{Effects, EffectsError, InsertUserError, OneTimeTokenRepository, Probe, RevocationFeed, UserRepository};
use sea_orm::ConnectionTrait;

fn folder_and_url() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite://{}/plinth.db", folder.path().display());
    (folder, url)
}

#[tokio::test]
async fn an_address_of_another_kind_is_refused() {
    for url in ["mysql://localhost/plinth", "plinth.db", ""] {
        let refused = Database::connect(&DatabaseOptions::new(url)).await;
        assert!(
            matches!(refused, Err(ConnectError::Address(None))),
            "{url}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable_and_the_password_is_not_told() {
    let options = DatabaseOptions {
        acquire_timeout: Duration::from_millis(500),
        ..DatabaseOptions::new("postgres://plinth:top-secret@127.0.0.1:1/plinth")
    };
    let error = Database::connect(&options).await.expect_err("nobody listens there");
    assert!(matches!(error, ConnectError::Unreachable(_)), "{error:?}");
    for text in [format!("{error} {error:?}"), format!("{options:?}")] {
        assert!(!text.contains("top-secret"), "{text}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_and_a_folder_that_is_missing_are_refused_for_good() {
    let (folder, url) = folder_and_url();
    std::fs::write(
        folder.path().join("plinth.db"),
        "not a database, but long enough to be looked at".repeat(100),
    )
    .expect("a file");
    let refused = Database::connect(&DatabaseOptions::new(url)).await;
    assert!(matches!(refused, Err(ConnectError::Refused(_))), "{refused:?}");
    let missing = format!("sqlite://{}/missing/plinth.db", folder.path().display());
    let refused = Database::connect(&DatabaseOptions::new(missing)).await;
    assert!(matches!(refused, Err(ConnectError::Refused(_))), "{refused:?}");
}

#[tokio::test]
async fn sqlite_waits_for_the_disk_and_its_readers_cannot_write() {
    let fixture = support::sqlite().await.expect("SQLite is always here");
    assert_eq!(fixture.db.dialect(), Dialect::Sqlite);
    let pragma = async |connection: &sea_orm::DatabaseConnection, name: &str| {
        let statement = sea_orm::Statement::from_string(sea_orm::DbBackend::Sqlite, format!("PRAGMA {name}"));
        connection
            .query_one_raw(statement)
            .await
            .expect("an answer")
            .expect("a row")
    };
    let mode: String = pragma(fixture.db.writer(), "journal_mode")
        .await
        .try_get_by_index(0)
        .expect("a word");
    let synchronous: i64 = pragma(fixture.db.writer(), "synchronous")
        .await
        .try_get_by_index(0)
        .expect("a number");
    let keys: i64 = pragma(fixture.db.writer(), "foreign_keys")
        .await
        .try_get_by_index(0)
        .expect("a number");
    let busy: i64 = pragma(fixture.db.writer(), "busy_timeout")
        .await
        .try_get_by_index(0)
        .expect("a number");
    assert_eq!((mode.as_str(), synchronous, keys, busy), ("wal", 2, 1, 5_000));
    let refused = fixture.db.read().execute_unprepared("DELETE FROM users").await;
    assert!(refused.is_err_and(|error| error.to_string().contains("readonly")));
}

#[tokio::test]
async fn a_new_file_and_what_lies_beside_it_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;

    let fixture = support::sqlite().await.expect("SQLite is always here");
    let statement =
        sea_orm::Statement::from_string(sea_orm::DbBackend::Sqlite, "SELECT file FROM pragma_database_list");
    let row = fixture.db.read().query_one_raw(statement).await.expect("an answer");
    let file: String = row.expect("a row").try_get_by_index(0).expect("a path");
    for beside in ["", "-wal", "-shm"] {
        let path = format!("{file}{beside}");
        let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_processes_open_one_new_file_at_once() {
    let (_folder, url) = folder_and_url();
    let options = DatabaseOptions::new(url);
    let open = async || {
        let db = Database::connect(&options).await.expect("it opens");
        migration::migrate(db.writer()).await.expect("it is migrated").len()
    };
    let done: usize = futures_of(open).await.iter().sum();
    let migrations = migration::status(Database::connect(&options).await.expect("it opens").writer()).await;
    assert_eq!(done, migrations.expect("a status").applied.len());
}

async fn futures_of<T, F: Future<Output = T>>(make: impl Fn() -> F) -> [T; 6] {
    let (a, b, c, d, e, f) = tokio::join!(make(), make(), make(), make(), make(), make());
    [a, b, c, d, e, f]
}

#[tokio::test]
async fn the_feed_of_sqlite_notices_another_process_and_rests_otherwise() {
    let (_folder, url) = folder_and_url();
    let options = DatabaseOptions::new(url);
    let (ours, theirs) = (
        Database::connect(&options).await.expect("open"),
        Database::connect(&options).await.expect("open"),
    );
    migration::migrate(ours.writer()).await.expect("migrated");
    let feed = SqlRevocationFeed::new(&ours);
    let changed = async || feed.changed().await.expect("an answer");
    assert!(changed().await, "nothing is known at first");
    assert!(!changed().await && !changed().await, "nothing was written");
    for db in [&theirs, &ours] {
        SqlOneTimeTokenRepository::new(db)
            .issue(&witnesses(UserId::new(uuid())))
            .await
            .expect("written");
        assert!(changed().await);
        assert!(!changed().await);
    }
}

#[tokio::test]
async fn a_writer_that_another_process_holds_up_fails_as_temporary() {
    let (_folder, url) = folder_and_url();
    let options = DatabaseOptions {
        busy_timeout: Duration::from_millis(100),
        ..DatabaseOptions::new(url)
    };
    let (ours, theirs) = (
        Database::connect(&options).await.expect("open"),
        Database::connect(&options).await.expect("open"),
    );
    migration::migrate(ours.writer()).await.expect("migrated");
    theirs
        .writer()
        .execute_unprepared("BEGIN IMMEDIATE")
        .await
        .expect("the lock is held");
    let users = SqlUserRepository::new(&ours);
    let refused = users.insert(&person(Role::User), None, &Effects::none()).await;
    assert!(
        matches!(&refused, Err(InsertUserError::Effects(EffectsError::Backend(error))) if error.temporary),
        "{refused:?}"
    );
    assert_eq!(users.find(UserId::new(uuid())).await.expect("reads go on"), None);
    theirs
        .writer()
        .execute_unprepared("ROLLBACK")
        .await
        .expect("the lock is given back");
    users
        .insert(&person(Role::User), None, &Effects::none())
        .await
        .expect("and so do writes");
}

#[tokio::test]
async fn a_closed_database_fails_as_temporary_and_folds_its_log_into_the_file() {
    let (folder, url) = folder_and_url();
    let db = Database::connect(&DatabaseOptions::new(url)).await.expect("open");
    migration::migrate(db.writer()).await.expect("migrated");
    let users = SqlUserRepository::new(&db);
    users
        .insert(&person(Role::User), None, &Effects::none())
        .await
        .expect("inserted");
    users.find(UserId::new(uuid())).await.expect("a reader is open");
    db.close().await;
    assert!(!folder.path().join("plinth.db-wal").exists(), "the log is folded in");
    assert!(users.find(UserId::new(uuid())).await.expect_err("closed").temporary);
    assert!(SqlProbe::new(&db).check().await.expect_err("closed").temporary);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_postgres_cuts_fails_as_temporary_and_is_replaced() {
    let Some(fixture) = support::postgres().await else {
        return;
    };
    assert_eq!(fixture.db.dialect(), Dialect::Postgres);
    let tokens = SqlOneTimeTokenRepository::new(&fixture.db);
    let probe = SqlProbe::new(&fixture.db);
    probe.check().await.expect("it answers");
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()";
    let _ = fixture.db.writer().execute_unprepared(cut).await;
    // The pool may hold several broken connections, each of which fails once, whoever is given it.
    let mut failures = 0;
    loop {
        let answers = match tokens.prune(at(0), 1).await {
            Ok(_) => probe.check().await,
            Err(error) => Err(error),
        };
        let Err(error) = answers else { break };
        assert!(error.temporary, "{error:?}");
        failures += 1;
        assert!(failures <= 8, "each broken connection fails once");
    }
}

/// Where a PostgreSQL database is.
async fn address(db: &Database) -> String {
    let name = sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, "SELECT current_database()::text");
    let row = db.read().query_one_raw(name).await.expect("an answer").expect("a row");
    let name: String = row.try_get_by_index(0).expect("a name");
    let server = support::postgres_server().expect("it was here a moment ago");
    let (host, _) = server.rsplit_once('/').expect("the address names a database");
    format!("{host}/{name}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_pool_and_a_slow_statement_fail_as_temporary() {
    let Some(fixture) = support::postgres().await else {
        return;
    };
    let narrow = DatabaseOptions {
        max_connections: 1,
        acquire_timeout: Duration::from_millis(200),
        statement_timeout: Some(Duration::from_millis(600)),
        ..DatabaseOptions::new(address(&fixture.db).await)
    };
    let db = Database::connect(&narrow).await.expect("the database answers");
    let probe = SqlProbe::new(&db);
    let slow = db.read().execute_unprepared("SELECT pg_sleep(5)");
    let ask = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        probe.check().await
    };
    let (slow, asked) = tokio::join!(slow, ask);
    assert!(asked.expect_err("the one connection is busy").temporary);
    assert!(slow.is_err_and(|error| error.to_string().contains("statement timeout")));
    probe.check().await.expect("the connection is free again");
}

/// A newer node may contract the schema beneath a running one.
async fn a_schema_that_needs_a_newer_binary_is_told(db: &Database) {
    let probe = SqlProbe::new(db);
    for (oldest, serves) in [("0.0.1", true), (env!("CARGO_PKG_VERSION"), true), ("99.0.0", false)] {
        let sql = format!("UPDATE installation SET oldest_binary = '{oldest}'");
        db.writer().execute_unprepared(&sql).await.expect("contracted");
        assert_eq!(probe.schema().await.expect("it answers"), serves, "{oldest}");
        probe.check().await.expect("the database itself is well");
    }
    let sql = "UPDATE installation SET oldest_binary = 'soon'";
    db.writer().execute_unprepared(sql).await.expect("spoilt");
    assert!(!probe.schema().await.expect_err("no version").temporary);
}

#[tokio::test]
async fn a_schema_that_needs_a_newer_binary_is_told_on_sqlite() {
    let fixture = support::sqlite().await.expect("SQLite is always here");
    a_schema_that_needs_a_newer_binary_is_told(&fixture.db).await;
}

#[tokio::test]
async fn a_schema_that_needs_a_newer_binary_is_told_on_postgres() {
    let Some(fixture) = support::postgres().await else {
        return;
    };
    a_schema_that_needs_a_newer_binary_is_told(&fixture.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_wait_for_a_lock_fails_as_temporary() {
    let Some(fixture) = support::postgres().await else {
        return;
    };
    let users = SqlUserRepository::new(&fixture.db);
    users
        .insert(&person(Role::Admin), None, &Effects::none())
        .await
        .expect("inserted");
    let lock = "BEGIN; LOCK TABLE users; SELECT pg_sleep(1.5); ROLLBACK";
    let impatient = DatabaseOptions {
        lock_timeout: Some(Duration::from_millis(200)),
        ..DatabaseOptions::new(address(&fixture.db).await)
    };
    let other = SqlUserRepository::new(&Database::connect(&impatient).await.expect("the database answers"));
    let wait = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        other.insert(&person(Role::User), None, &Effects::none()).await
    };
    let (locked, refused) = tokio::join!(fixture.db.writer().execute_unprepared(lock), wait);
    locked.expect("the lock was held");
    assert!(
        matches!(&refused, Err(InsertUserError::Effects(EffectsError::Backend(error))) if error.temporary),
        "{refused:?}"
    );
    users
        .insert(&person(Role::User), None, &Effects::none())
        .await
        .expect("the lock is free again");
}

/// A transaction that the revocation feed must not miss is over long before the feed stops looking back.
#[tokio::test]
async fn postgres_cuts_what_runs_or_waits_for_seconds() {
    let Some(_fixture) = support::postgres().await else {
        return;
    };
    let server = support::postgres_server().expect("it was here a moment ago");
    let db = Database::connect(&DatabaseOptions::new(server))
        .await
        .expect("the server answers");
    for (setting, expected) in [("statement_timeout", "5s"), ("lock_timeout", "3s")] {
        let show = sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, format!("SHOW {setting}"));
        let row = db.read().query_one_raw(show).await.expect("an answer").expect("a row");
        assert_eq!(
            row.try_get_by_index::<String>(0).expect("a text"),
            expected,
            "{setting}"
        );
    }
    db.close().await;
}

/// A caller that goes away at any moment leaves neither half a change nor a held lock.
async fn dropped_callers_harm_nobody(db: &Database) {
    let users = SqlUserRepository::new(db);
    let tokens = SqlOneTimeTokenRepository::new(db);
    for micros in (0..6_000).step_by(100) {
        let user = person(Role::User);
        let effects = witnesses(user.id);
        let insert = users.insert(&user, None, &effects);
        let _ = tokio::time::timeout(Duration::from_micros(micros), insert).await;
        users
            .insert(&person(Role::User), None, &Effects::none())
            .await
            .expect("the next one is served");
        // A commit that was under way when its caller left may come between two reads, but only once.
        let mut seen = (false, true);
        for _ in 0..2 {
            seen.0 = users.find(user.id).await.expect("a read").is_some();
            seen.1 = tokens.find(&effects.tokens[0].hash).await.expect("a read").is_some();
            if seen.0 == seen.1 {
                break;
            }
        }
        assert_eq!(seen.0, seen.1, "whole or not at all");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_callers_harm_nobody_on_sqlite() {
    let fixture = support::sqlite().await.expect("SQLite is always here");
    dropped_callers_harm_nobody(&fixture.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_callers_harm_nobody_on_postgres() {
    let Some(fixture) = support::postgres().await else {
        return;
    };
    dropped_callers_harm_nobody(&fixture.db).await;
}
