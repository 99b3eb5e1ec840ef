//! The database: reached, of the right schema, written to and read from, with a clock that agrees.

use std::time::Duration;

use domain::id::UserId;
use migration::{MigrateError, Status};
use ports::{BackendError, Begun, Clock, IdempotencyScope, IdempotencyStore, Probe};
use tokio::net::TcpStream;
use tokio::time::Instant;
use url::Url;

use super::{Verdict, count, in_words, innermost};
use crate::compose::look::{self, Connection, Tables};
use crate::compose::{ComposeError, Obstacle};
use crate::config::{Config, DatabaseEngine};
use crate::service::Toolkit;
use crate::worker::LEASE_TTL;

/// A login reads and writes half a dozen times, one after the other.
const SLOW_READ: Duration = Duration::from_millis(20);
/// A commit waits for a disk. What takes longer holds every writer up.
const SLOW_WRITE: Duration = Duration::from_millis(250);
/// Leases compare times of nodes; within this nobody notices.
const SKEW: Duration = Duration::from_secs(1);
/// A server that is there takes a connection at once.
const CONNECT: Duration = Duration::from_secs(2);
/// Reads whose middle one is told: the first also pays for preparing the statement.
const READS: usize = 5;

/// Connects, unless that would make something.
pub(super) async fn connect(config: &Config) -> (Verdict, Option<Connection>) {
    if let Some(path) = look::missing_file(config).await {
        let verdict = Verdict::fail(
            format!("nothing is installed yet: {} is not there", path.display()),
            "run `plinth serve` or `plinth migrate`, which make it where this user may write; if there was one, set data_dir (PLINTH_DATA_DIR) to its folder",
        );
        return (verdict, None);
    }
    match Connection::open(config).await {
        Ok(connection) => (Verdict::ok(engine(config)), Some(connection)),
        Err(error) => (unreachable(config, &error).await, None),
    }
}

fn engine(config: &Config) -> String {
    match config.database.url.engine() {
        DatabaseEngine::Sqlite(path) => format!("SQLite, {}", path.display()),
        DatabaseEngine::Postgres => format!("PostgreSQL, {}", config.database.url),
    }
}

async fn unreachable(config: &Config, error: &ComposeError) -> Verdict {
    let obstacle = match error {
        ComposeError::Connect(error) => error.obstacle(),
        _ => Obstacle::Other,
    };
    let said = if innermost(error).starts_with("pool timed out") {
        // The pool tries again until its time is up and does not say what it met.
        met(config.database.url.expose(), config.database.acquire_timeout).await
    } else {
        innermost(error)
    };
    let cause = format!("{}: {said}", engine(config));
    let fix = match (obstacle, config.database.url.engine()) {
        (Obstacle::Address, _) => "correct database.url; docs/configuration.md shows its form".to_owned(),
        (Obstacle::NotADatabase, _) => {
            "give the file back from a backup, or set database.url to the right one".to_owned()
        }
        (Obstacle::Busy, DatabaseEngine::Sqlite(_)) => "another program holds the file: end it, or wait".to_owned(),
        (_, DatabaseEngine::Sqlite(path)) => format!(
            "make {} and what is in it writable for this user, on a disk that has room and is not mounted read-only",
            path.parent().unwrap_or(path).display()
        ),
        (Obstacle::Busy, _) => "wait, or raise max_connections of the server".to_owned(),
        (Obstacle::Credentials, _) => {
            "correct user and password in database.url, or admit them in pg_hba.conf".to_owned()
        }
        (Obstacle::NoDatabase, _) => "create it (`createdb`), or correct the name in database.url".to_owned(),
        (Obstacle::Away, _) => {
            "start it, or correct host and port in database.url; see that no firewall is between".to_owned()
        }
        (Obstacle::Other, _) => "correct database.url, or what the server says is wrong with it".to_owned(),
    };
    Verdict::fail(cause, fix)
}

/// What somebody meets who connects to that server and says nothing.
async fn met(url: &str, waited: Duration) -> String {
    let silent = format!("no answer within {}", in_words(waited));
    let url = Url::parse(url).ok();
    let Some((host, port)) = url
        .as_ref()
        .and_then(|url| Some((url.host_str()?, url.port().unwrap_or(5432))))
    else {
        return silent;
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match tokio::time::timeout(CONNECT, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => format!("it takes the connection and gives {silent}"),
        Ok(Err(error)) => error.to_string(),
        Err(_) => silent,
    }
}

/// Whether the schema is there, whole, and serves this version.
pub(super) async fn schema(connection: &Connection) -> (Verdict, Option<Tables>) {
    let status = match connection.schema().await {
        Ok(status) => status,
        Err(error) => return (refused(&innermost(&error), false), None),
    };
    if let Some(verdict) = behind(&status) {
        return (verdict, None);
    }
    match connection.compatible().await {
        Ok(()) => (current(&status), Some(connection.tables())),
        Err(ComposeError::Migrate(MigrateError::TooOld { oldest, .. })) => (too_old(&oldest.to_string()), None),
        Err(error) => (refused(&innermost(&error), false), None),
    }
}

pub(super) fn behind(status: &Status) -> Option<Verdict> {
    let pending = status.pending.len() as u64;
    if pending == 0 {
        return None;
    }
    let cause = if status.applied.is_empty() {
        "the database is there and has no schema".to_owned()
    } else {
        format!("{} of this version not applied", count(pending, "migration"))
    };
    Some(Verdict::fail(cause, "run `plinth migrate`"))
}

fn current(status: &Status) -> Verdict {
    let version = migration::VERSION;
    let applied = count(status.applied.len() as u64, "migration");
    Verdict::ok(match status.unknown.len() as u64 {
        0 => format!("whole for version {version}: {applied} applied"),
        newer => format!("serves version {version}: {applied} applied, {newer} of a newer version"),
    })
}

pub(super) fn too_old(oldest: &str) -> Verdict {
    Verdict::fail(
        format!("it needs version {oldest} or newer, and this is {}", migration::VERSION),
        format!("install version {oldest} or newer here"),
    )
}

/// Writes a row, meets it again and takes it away, and reads: by the same ways as a request with an `Idempotency-Key` does.
pub(super) async fn rows(store: &dyn IdempotencyStore, probe: &dyn Probe, toolkit: &Toolkit) -> Verdict {
    match write_and_read(store, probe, toolkit).await {
        Err(error) => refused(&innermost(&error), error.full),
        Ok(None) => Verdict::fail(
            "a row that was just written is not read back",
            "see that database.url leads to the primary and not to a replica that lags",
        ),
        Ok(Some((write, read))) if write > SLOW_WRITE => Verdict::warn(
            format!("a commit takes {}, a read {}", in_words(write), in_words(read)),
            "look at the disk of the database: every change waits for it",
        ),
        Ok(Some((write, read))) if read > SLOW_READ => Verdict::warn(
            format!("a read takes {}, a commit {}", in_words(read), in_words(write)),
            "bring server and database nearer to each other, or see what loads it: a login goes there and back several times",
        ),
        Ok(Some((write, read))) => Verdict::ok(format!(
            "written, read and removed: a commit takes {}, a read {}",
            in_words(write),
            in_words(read)
        )),
    }
}

async fn write_and_read(
    store: &dyn IdempotencyStore,
    probe: &dyn Probe,
    toolkit: &Toolkit,
) -> Result<Option<(Duration, Duration)>, BackendError> {
    let scope = IdempotencyScope {
        user_id: UserId::SYSTEM,
        route: "plinth doctor".to_owned(),
        key: toolkit.id().to_string(),
    };
    let (fingerprint, now) = ([7; 32], toolkit.now());
    let (lock, keep) = (Duration::from_secs(60), Duration::from_secs(86_400));
    let began = Instant::now();
    let first = store.begin(&scope, &fingerprint, now, lock, keep).await?;
    let write = began.elapsed();
    let second = store.begin(&scope, &fingerprint, now, lock, keep).await;
    store.release(&scope).await?;
    if first != Begun::New || second? != Begun::InFlight {
        return Ok(None);
    }
    let mut reads = [Duration::ZERO; READS];
    for read in &mut reads {
        let began = Instant::now();
        probe.check().await?;
        *read = began.elapsed();
    }
    reads.sort_unstable();
    Ok(Some((write, reads[READS / 2])))
}

/// What a database refuses although it answers.
pub(super) fn refused(said: &str, full: bool) -> Verdict {
    let fix = if full {
        "make room on the disk of the database"
    } else {
        "mend what it says: rights of the user, a read-only disk or standby, a damaged file"
    };
    Verdict::fail(said, fix)
}

/// Whether the database's clock and this machine's agree.
pub(super) async fn clock(probe: &dyn Probe, clock: &dyn Clock) -> Verdict {
    let before = clock.now();
    let survey = match probe.survey().await {
        Ok(survey) => survey,
        Err(error) => return refused(&innermost(&error), error.full),
    };
    let after = clock.now();
    let Some(theirs) = survey.clock else {
        return Verdict::skipped("the database has no clock of its own");
    };
    // It was read somewhere between the two.
    let skew = before.since(theirs).max(theirs.since(after));
    let which = if theirs > after { "behind" } else { "ahead of" };
    let cause = format!("this machine is {} {which} the database", in_words(skew));
    let fix = "set both clocks by NTP: leases of events and mail compare times of several machines";
    if skew > LEASE_TTL {
        Verdict::fail(cause, fix)
    } else if skew > SKEW {
        Verdict::warn(cause, fix)
    } else {
        Verdict::ok(format!(
            "this machine and the database agree within {}",
            in_words(after.since(before).max(skew))
        ))
    }
}
