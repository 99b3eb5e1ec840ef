//! The migrations on both databases: up, down, up; side by side; under a newer schema.

use std::io::Write as _;

use migration::sea_orm_migration::sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement,
};
use migration::{MigrateError, Status, VERSION, check_compatibility, down, migrate, status};

/// A database of its own.
struct Fresh {
    url: String,
    _folder: Option<tempfile::TempDir>,
}

impl Fresh {
    fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self {
            url: format!("sqlite://{}/plinth.db?mode=rwc", folder.path().display()),
            _folder: Some(folder),
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a test run is told by its environment where its servers are"
    )]
    async fn postgres() -> Option<Self> {
        let Ok(server) = std::env::var("PLINTH_TEST_POSTGRES_URL") else {
            let require = std::env::var("PLINTH_TEST_REQUIRE").is_ok_and(|value| value == "1");
            assert!(!require, "PLINTH_TEST_REQUIRE=1 and no PostgreSQL: run scripts/test");
            // Past the capture of the test runner, so that it is seen although the test passes.
            let _ = writeln!(
                std::io::stderr().lock(),
                "SKIPPED (no PostgreSQL): {:?}",
                std::thread::current().name()
            );
            return None;
        };
        let name = format!("m{}", uuid::Uuid::now_v7().simple());
        let admin = Database::connect(&server).await.expect("the server answers");
        admin
            .execute_unprepared(&format!("CREATE DATABASE {name}"))
            .await
            .expect("a database is made");
        let (host, _) = server.rsplit_once('/').expect("the address names a database");
        Some(Self {
            url: format!("{host}/{name}"),
            _folder: None,
        })
    }

    async fn connect(&self) -> DatabaseConnection {
        let mut options = ConnectOptions::new(&self.url);
        options.max_connections(2);
        Database::connect(options).await.expect("the database answers")
    }
}

/// Tables of ours, sorted.
async fn tables(db: &DatabaseConnection) -> Vec<String> {
    let sql = match db.get_database_backend() {
        DbBackend::Postgres => "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'",
        _ => "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
    };
    let rows = db
        .query_all_raw(Statement::from_string(db.get_database_backend(), sql))
        .await
        .expect("tables");
    let mut names: Vec<String> = rows
        .iter()
        .map(|row| row.try_get("", "name").expect("a name"))
        .collect();
    names.sort();
    names
}

async fn count(db: &DatabaseConnection, sql: &str) -> i64 {
    let row = db
        .query_one_raw(Statement::from_string(db.get_database_backend(), sql))
        .await
        .expect("a count");
    row.expect("a row").try_get_by_index(0).expect("a number")
}

async fn up_down_up(fresh: Fresh) {
    let db = fresh.connect().await;
    let before = status(&db).await.expect("status of an empty database");
    assert!(before.applied.is_empty() && !before.pending.is_empty() && before.unknown.is_empty());
    assert_eq!(before, Status::of_nothing());
    assert!(tables(&db).await.is_empty(), "asking for the status makes nothing");
    assert!(matches!(
        check_compatibility(&db, VERSION).await,
        Err(MigrateError::Missing)
    ));

    let applied = migrate(&db).await.expect("up");
    assert_eq!(applied, before.pending);
    let full = tables(&db).await;
    assert_eq!(full.len(), 27, "26 tables and the names of the migrations: {full:?}");
    assert_eq!(count(&db, "SELECT count(*) FROM installation").await, 1);
    assert_eq!(
        count(
            &db,
            "SELECT count(*) FROM log_shards WHERE position = 0 AND lease_until = 0"
        )
        .await,
        16
    );
    assert!(
        migrate(&db).await.expect("up again").is_empty(),
        "nothing is left to do"
    );

    let taken = down(&db, u32::MAX).await.expect("down");
    assert_eq!(taken.len(), applied.len());
    assert_eq!(tables(&db).await, ["seaql_migrations"]);

    assert_eq!(migrate(&db).await.expect("up once more"), applied);
    assert_eq!(tables(&db).await, full);
    check_compatibility(&db, VERSION)
        .await
        .expect("the schema serves this version");
}

async fn many_migrate_once(fresh: Fresh) {
    let (first, second, third) = (fresh.connect().await, fresh.connect().await, fresh.connect().await);
    let (one, two, three) = tokio::join!(migrate(&first), migrate(&second), migrate(&third));
    let done = [one, two, three].map(|result| result.expect("each migrator ends well").len());
    let all = status(&first).await.expect("status").applied.len();
    assert_eq!(
        done.iter().sum::<usize>(),
        all,
        "each migration ran in one of them: {done:?}"
    );
    assert_eq!(count(&first, "SELECT count(*) FROM installation").await, 1);
}

async fn a_newer_schema_is_left_in_peace(fresh: Fresh) {
    let db = fresh.connect().await;
    migrate(&db).await.expect("up");
    db.execute_unprepared("INSERT INTO seaql_migrations (version, applied_at) VALUES ('m29990101_000001_later', 0)")
        .await
        .expect("a newer binary was here");
    assert!(migrate(&db).await.expect("an unknown migration is no fault").is_empty());
    assert_eq!(status(&db).await.expect("status").unknown, ["m29990101_000001_later"]);
    check_compatibility(&db, VERSION)
        .await
        .expect("the schema still serves this version");
    assert!(matches!(down(&db, 1).await, Err(MigrateError::Unknown(names)) if names.len() == 1));

    db.execute_unprepared("UPDATE installation SET oldest_binary = '99.0.0'")
        .await
        .expect("a contracting migration");
    assert!(matches!(migrate(&db).await, Err(MigrateError::TooOld { .. })));
    assert!(matches!(
        check_compatibility(&db, "98.9.9").await,
        Err(MigrateError::TooOld { .. })
    ));
    check_compatibility(&db, "99.0.0")
        .await
        .expect("the oldest one that is served");
    assert!(matches!(
        check_compatibility(&db, "new").await,
        Err(MigrateError::Version(_))
    ));
}

macro_rules! on_both {
    ($($scenario:ident),*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $scenario() {
                super::$scenario(super::Fresh::sqlite()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $scenario() {
                if let Some(fresh) = super::Fresh::postgres().await {
                    super::$scenario(fresh).await;
                }
            })*
        }
    };
}

on_both!(up_down_up, many_migrate_once, a_newer_schema_is_left_in_peace);
