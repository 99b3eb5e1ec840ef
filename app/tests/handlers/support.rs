//! A log in a real database, a clock that is set, and a handler that fails as told and counts in the same transaction as its mark.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adapter_sql::{
    Database, DatabaseOptions, SqlCursorStore, SqlDeadLetterStore, SqlEventLog, SqlEventStore, SqlHeldEvents,
    SqlLogSequencer, SqlUsageRepository,
};
use async_trait::async_trait;
use domain::event::{Actor, Event, LoggedEvent, NewEvent, Shard};
use domain::id::{EventId, UserId};
use domain::time::Timestamp;
use plinth::service::Toolkit;
use plinth::worker::Pace;
use plinth::worker::handlers::{EventHandler, HandleEventError, HandlerWorker, Stores};
use ports::{
    BackendError, Clock, CursorStore, DeadLetterStore, Effects, EventStore, HeldEvents, Ids, InboxMark, LogSequencer,
    Randomness, UsageEntry, UsageFigure, UsageRepository, Wakeup, WakeupBus,
};
use uuid::Uuid;

pub(crate) const GROUP: &str = "testers";

/// A clock that moves only when told.
#[derive(Debug)]
pub(crate) struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

struct Zeros;

impl Randomness for Zeros {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

struct Counting(AtomicU64);

impl Ids for Counting {
    fn next(&self) -> Uuid {
        let count = self.0.fetch_add(1, Ordering::SeqCst);
        Uuid::from_u128((1 << 100) | (7 << 76) | (2 << 62) | u128::from(count))
    }
}

struct NoBell;

#[async_trait]
impl WakeupBus for NoBell {
    fn wake(&self, _wakeup: Wakeup) {}

    async fn wait(&self, _waiter: &str, _wakeup: Wakeup, _at_most: Duration) {
        tokio::task::yield_now().await;
    }
}

/// How an event fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// So often, then no more.
    Times(u32),
    /// The handler refuses it.
    Refused,
    /// The backend is away.
    Away,
}

/// Counts each event once in the usage of its user, by meter, and fails as told.
pub(crate) struct Handler {
    usage: Arc<dyn UsageRepository>,
    clock: Arc<TestClock>,
    faults: Mutex<HashMap<EventId, Fault>>,
    handled: Mutex<Vec<(UserId, EventId)>>,
}

#[async_trait]
impl EventHandler for Handler {
    fn group(&self) -> &'static str {
        GROUP
    }

    async fn handle(&self, event: &LoggedEvent) -> Result<(), HandleEventError> {
        let id = event.event.id;
        let fault = self.faults.lock().unwrap().get(&id).copied();
        match fault {
            Some(Fault::Away) => return Err(BackendError::temporary("test", "count", "the counter is away").into()),
            Some(Fault::Refused) => {
                let source = "the counter takes no such event".into();
                return Err(HandleEventError::Refused {
                    code: "not_counted",
                    source,
                });
            }
            Some(Fault::Times(0)) | None => {}
            Some(Fault::Times(times)) => {
                let left = if times == u32::MAX { times } else { times - 1 };
                self.faults.lock().unwrap().insert(id, Fault::Times(left));
                return Err(HandleEventError::Failed("the counter is jammed".into()));
            }
        }
        let entry = UsageEntry {
            user: event.event.user_id,
            at: event.event.time,
            figures: vec![UsageFigure {
                meter: "counted".to_owned(),
                amount: 1,
            }],
            mark: InboxMark {
                group: GROUP.to_owned(),
                event_id: id,
                at: self.clock.now(),
            },
        };
        if self.usage.add_many(&[entry]).await? == [false] {
            return Err(HandleEventError::AlreadyHandled);
        }
        self.handled.lock().unwrap().push((event.event.user_id, id));
        Ok(())
    }
}

impl Handler {
    pub(crate) fn fail(&self, id: EventId, fault: Fault) {
        self.faults.lock().unwrap().insert(id, fault);
    }

    pub(crate) fn mend(&self) {
        self.faults.lock().unwrap().clear();
    }

    /// What was handled of a user, in order.
    pub(crate) fn handled(&self, user: UserId) -> Vec<EventId> {
        let handled = self.handled.lock().unwrap();
        handled
            .iter()
            .filter(|(of, _)| *of == user)
            .map(|(_, id)| *id)
            .collect()
    }
}

/// An installation.
pub(crate) struct World {
    pub(crate) handler: Arc<Handler>,
    pub(crate) letters: Arc<dyn DeadLetterStore>,
    pub(crate) held: Arc<dyn HeldEvents>,
    pub(crate) cursors: Arc<dyn CursorStore>,
    log: Arc<SqlEventLog>,
    store: Arc<dyn EventStore>,
    sequencer: Arc<dyn LogSequencer>,
    usage: Arc<dyn UsageRepository>,
    clock: Arc<TestClock>,
    pub(crate) toolkit: Toolkit,
    next: AtomicU64,
    _folder: Option<tempfile::TempDir>,
}

impl World {
    fn over(db: &Database, folder: Option<tempfile::TempDir>) -> Self {
        let clock = Arc::new(TestClock(AtomicI64::new(1_767_225_600_000_000)));
        let usage: Arc<dyn UsageRepository> = Arc::new(SqlUsageRepository::new(db));
        Self {
            handler: Arc::new(Handler {
                usage: Arc::clone(&usage),
                clock: Arc::clone(&clock),
                faults: Mutex::default(),
                handled: Mutex::default(),
            }),
            letters: Arc::new(SqlDeadLetterStore::new(db)),
            held: Arc::new(SqlHeldEvents::new(db)),
            cursors: Arc::new(SqlCursorStore::new(db)),
            log: Arc::new(SqlEventLog::new(db)),
            store: Arc::new(SqlEventStore::new(db)),
            sequencer: Arc::new(SqlLogSequencer::new(db)),
            usage,
            toolkit: Toolkit {
                clock: Arc::clone(&clock) as Arc<dyn Clock>,
                randomness: Arc::new(Zeros),
                ids: Arc::new(Counting(AtomicU64::new(1))),
                wakeups: Arc::new(NoBell),
            },
            clock,
            next: AtomicU64::new(1),
            _folder: folder,
        }
    }

    pub(crate) async fn sqlite() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/plinth.db", folder.path().display());
        let db = Database::connect(&options(&url)).await.unwrap();
        migration::migrate(db.writer()).await.unwrap();
        Some(Self::over(&db, Some(folder)))
    }

    /// None, said on standard error, when there is no server; with `PLINTH_TEST_REQUIRE=1` that is a failure.
    pub(crate) async fn postgres() -> Option<Self> {
        let Some(server) = environment("PLINTH_TEST_POSTGRES_URL") else {
            let test = std::thread::current().name().unwrap_or("?").to_owned();
            assert_ne!(
                environment("PLINTH_TEST_REQUIRE").as_deref(),
                Some("1"),
                "{test}: run scripts/test"
            );
            let _ = writeln!(std::io::stderr().lock(), "SKIPPED (no PostgreSQL): {test}");
            return None;
        };
        let name = format!("h{}", Uuid::now_v7().simple());
        let admin = Database::connect(&options(&server)).await.unwrap();
        let sql = format!("CREATE DATABASE {name}");
        migration::sea_orm_migration::sea_orm::ConnectionTrait::execute_unprepared(admin.writer(), &sql)
            .await
            .unwrap();
        admin.close().await;
        let (host, _) = server.rsplit_once('/').unwrap();
        let db = Database::connect(&options(&format!("{host}/{name}"))).await.unwrap();
        migration::migrate(db.writer()).await.unwrap();
        Some(Self::over(&db, None))
    }

    /// Users of one shard.
    pub(crate) fn users<const N: usize>(&self) -> [UserId; N] {
        let mut found = Vec::new();
        while found.len() < N {
            let user = UserId::new(self.toolkit.id());
            if Shard::of(user).number() == 5 {
                found.push(user);
            }
        }
        found.try_into().unwrap()
    }

    /// A user in whatever shard.
    pub(crate) fn user(&self) -> UserId {
        UserId::new(self.toolkit.id())
    }

    /// Writes so many events of a user; gives their ids.
    pub(crate) async fn write(&self, user: UserId, count: usize) -> Vec<EventId> {
        let event = |_| {
            Event::new(NewEvent {
                id: EventId::new(self.toolkit.id()),
                user_id: user,
                event_type: "app.counted".parse().unwrap(),
                subject: None,
                time: self.clock.now(),
                data: self.next.fetch_add(1, Ordering::SeqCst).to_string(),
                salt: [0; 16],
                actor: Actor::System,
                impersonator: None,
                request_id: None,
                client_id: false,
            })
        };
        let events: Vec<Event> = (0..count).map(event).collect();
        let ids = events.iter().map(|event| event.id).collect();
        let effects = Effects {
            events,
            ..Effects::none()
        };
        self.store.append(&effects).await.unwrap();
        self.sequence().await;
        ids
    }

    /// A user's events.
    pub(crate) async fn history(&self, user: UserId) -> Vec<LoggedEvent> {
        self.sequence().await;
        self.store.history(user, 0, 1_000).await.unwrap()
    }

    async fn sequence(&self) {
        let (now, ttl) = (self.clock.now(), Duration::from_secs(3_600));
        self.sequencer.lease("writer", now, ttl).await.unwrap();
        while self.sequencer.sequence("writer", now, 500).await.unwrap().more {}
    }

    pub(crate) fn worker(&self, owner: &str) -> HandlerWorker {
        let handler: Arc<dyn EventHandler> = Arc::clone(&self.handler) as _;
        let stores = Stores {
            log: Arc::clone(&self.log) as _,
            cursors: Arc::clone(&self.cursors),
            holding: Arc::clone(&self.held),
        };
        HandlerWorker::new(handler, stores, self.toolkit.clone(), owner.to_owned())
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn advance(&self, seconds: f64) {
        self.clock.0.fetch_add((seconds * 1e6) as i64, Ordering::SeqCst);
    }

    /// How many events of a user were counted: the effect, in the database.
    pub(crate) async fn counted(&self, user: UserId) -> u64 {
        let figures = self.usage.get(user, self.now()).await.unwrap();
        let by_meter: BTreeMap<String, u64> = figures
            .into_iter()
            .map(|figure| (figure.meter, figure.amount))
            .collect();
        by_meter.get("counted").copied().unwrap_or(0)
    }
}

/// Steps until nothing is left to do now.
pub(crate) async fn work(worker: &mut HandlerWorker) {
    for _ in 0..200 {
        if worker.step().await.unwrap() == Pace::Rest {
            return;
        }
    }
    panic!("it never rests");
}

fn options(url: &str) -> DatabaseOptions {
    DatabaseOptions {
        max_connections: 4,
        acquire_timeout: Duration::from_secs(20),
        statement_timeout: Some(Duration::from_secs(30)),
        lock_timeout: Some(Duration::from_secs(30)),
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

/// Each scenario on both databases.
macro_rules! on_both {
    ($($scenario:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                let Some(world) = crate::support::World::sqlite().await else { return };
                super::$scenario(&world).await;
            })+
        }

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                let Some(world) = crate::support::World::postgres().await else { return };
                super::$scenario(&world).await;
            })+
        }
    };
}
pub(crate) use on_both;
