//! The event service over a world in memory: streams and polls that neither lose nor repeat.

mod publishing;

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use domain::event::{Actor, Shard};
use domain::tier::{Tier, TierLimits};
use futures_util::stream::{iter, pending};
use ports::{Cursor, EventSubscription, MockEventLog, MockEventStore, MockRateLimiter};
use serde_json::json;

use super::*;
use crate::worker::testing::{Kit, away, kit, logged, no_schemas, user_in};

/// A log of one user's events in memory, and subscriptions that do what a script says.
#[derive(Default)]
struct World {
    events: Mutex<Vec<LoggedEvent>>,
    scripts: Mutex<VecDeque<Script>>,
    reads: Mutex<Vec<u64>>,
    broken: AtomicBool,
}

/// What a subscription does: at its beginning the log grows to `log`; then it gives the events at `live`, and ends or not.
#[derive(Default)]
struct Script {
    log: u64,
    live: Vec<u64>,
    ends: bool,
}

fn at(position: u64) -> LoggedEvent {
    logged(user_in(1), position, "app.a", &position.to_string())
}

impl World {
    fn with(scripts: impl IntoIterator<Item = Script>) -> Arc<Self> {
        Arc::new(Self {
            scripts: Mutex::new(scripts.into_iter().collect()),
            ..Self::default()
        })
    }

    fn grow(&self, to: u64) {
        let mut events = self.events.lock().unwrap();
        let from = events.len() as u64;
        events.extend((from..to).map(|before| at(before + 1)));
    }

    fn reads(&self) -> Vec<u64> {
        std::mem::take(&mut *self.reads.lock().unwrap())
    }
}

#[async_trait]
impl EventStore for World {
    async fn append(&self, _effects: &Effects) -> Result<(), EffectsError> {
        Err(away().into())
    }

    async fn history(&self, user: UserId, after: u64, limit: u32) -> Result<Vec<LoggedEvent>, BackendError> {
        assert_eq!(user, user_in(1));
        if self.broken.load(Ordering::SeqCst) {
            return Err(away());
        }
        self.reads.lock().unwrap().push(after);
        let events = self.events.lock().unwrap();
        Ok(events
            .iter()
            .filter(|event| event.position > after)
            .take(limit as usize)
            .cloned()
            .collect())
    }

    async fn find(&self, _user: UserId, _id: EventId) -> Result<Option<LoggedEvent>, BackendError> {
        Ok(None)
    }
}

impl EventSubscriber for World {
    fn subscribe(&self, user: UserId) -> EventSubscription {
        assert_eq!(user, user_in(1));
        let script = self.scripts.lock().unwrap().pop_front().unwrap_or_default();
        self.grow(script.log);
        let live = iter(script.live).map(|position| Arc::new(at(position)));
        if script.ends {
            Box::pin(live)
        } else {
            Box::pin(live.chain(pending()))
        }
    }
}

fn tiers(events_per_minute: u32) -> Arc<Tiers> {
    let limits = TierLimits {
        max_file_bytes: 1,
        storage_bytes: 1,
        requests_per_minute: 1,
        events_per_minute,
    };
    let free = Tier {
        name: TierName::free(),
        features: Default::default(),
        limits,
    };
    Arc::new(Tiers::new([free]).unwrap())
}

fn parts(kit: &Kit, store: Arc<dyn EventStore>, subscriber: Arc<dyn EventSubscriber>) -> EventsParts {
    let mut log = MockEventLog::new();
    log.expect_heads()
        .returning(|| Ok(Shard::all().map(|shard| Cursor { shard, position: 5 }).collect()));
    log.expect_floors()
        .returning(|| Ok(Shard::all().map(|shard| Cursor { shard, position: 0 }).collect()));
    EventsParts {
        toolkit: kit.toolkit.clone(),
        store,
        log: Arc::new(log),
        subscriber,
        limiter: Arc::new(MockRateLimiter::new()),
        tiers: tiers(1_000),
        limits_enabled: false,
        client_prefix: "app.".to_owned(),
        schemas: no_schemas(kit),
        source: "urn:plinth:x".to_owned(),
        streams_per_user: 2,
        heartbeat: Duration::from_secs(3_600),
    }
}

fn reading(world: &Arc<World>) -> Events {
    Events::new(parts(&kit(), Arc::clone(world) as _, Arc::clone(world) as _))
}

fn good() -> Standing {
    Arc::new(|| Ok(()))
}

fn never() -> impl Future<Output = ()> + Send + 'static {
    std::future::pending()
}

async fn positions(live: &mut LiveEvents, until: u64) -> Vec<u64> {
    let mut seen = Vec::new();
    while seen.last().copied().unwrap_or_default() < until {
        match live.next().await {
            Some(Signal::Events(events)) => seen.extend(events.iter().map(|event| event.position)),
            Some(Signal::Begin(_) | Signal::Heartbeat) => {}
            other => panic!("after {seen:?} came {other:?}"),
        }
    }
    seen
}

#[tokio::test]
async fn a_resumed_stream_reads_the_log_and_goes_on_live_without_overlap() {
    // 120 events while it subscribes: three pages; the live ones begin before the log ends.
    let live = (100..=125).collect();
    let world = World::with([Script {
        log: 120,
        live,
        ends: false,
    }]);
    let mut live = reading(&world)
        .stream(user_in(1), Start::After(3), good(), never())
        .await
        .unwrap();
    assert!(matches!(live.next().await, Some(Signal::Begin(3))));
    assert_eq!(positions(&mut live, 125).await, (4..=125).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stream_from_before_what_is_left_says_so_first() {
    let world = World::with([Script {
        log: 12,
        live: vec![],
        ends: false,
    }]);
    let kit = kit();
    let mut parts = parts(&kit, Arc::clone(&world) as _, Arc::clone(&world) as _);
    let mut log = MockEventLog::new();
    let floor = |shard: Shard| Cursor {
        shard,
        position: if shard == Shard::of(user_in(1)) { 9 } else { 99 },
    };
    log.expect_floors()
        .returning(move || Ok(Shard::all().map(floor).collect()));
    parts.log = Arc::new(log);
    let events = Events::new(parts);
    let mut live = events
        .stream(user_in(1), Start::After(3), good(), never())
        .await
        .unwrap();
    assert!(matches!(live.next().await, Some(Signal::Begin(9))));
    assert!(matches!(live.next().await, Some(Signal::Gap(9))));
    assert_eq!(positions(&mut live, 12).await, [10, 11, 12]);
    assert_eq!(events.gap(user_in(1), 8).await.unwrap(), Some(9));
    assert_eq!(events.gap(user_in(1), 9).await.unwrap(), None);
}

#[tokio::test]
async fn a_stream_that_fell_behind_reads_the_log_again() {
    let first = Script {
        log: 2,
        live: vec![3, 4],
        ends: true,
    };
    // Events 5 to 8 were dropped by the bus; 9 comes live again.
    let second = Script {
        log: 8,
        live: vec![7, 8, 9],
        ends: false,
    };
    let world = World::with([first, second]);
    let mut live = reading(&world)
        .stream(user_in(1), Start::After(0), good(), never())
        .await
        .unwrap();
    assert_eq!(positions(&mut live, 9).await, (1..=9).collect::<Vec<_>>());
    assert_eq!(world.reads(), [0, 4], "and only then");
}

#[tokio::test]
async fn a_stream_from_now_begins_at_the_head_and_reads_nothing_before_it() {
    // The head is 5; 4 was published late and lies before it. Then the subscription breaks off.
    let first = Script {
        log: 6,
        live: vec![4, 6],
        ends: true,
    };
    let world = World::with([
        first,
        Script {
            log: 7,
            live: vec![],
            ends: false,
        },
    ]);
    let mut live = reading(&world)
        .stream(user_in(1), Start::Now, good(), never())
        .await
        .unwrap();
    assert!(matches!(live.next().await, Some(Signal::Begin(5))));
    assert_eq!(positions(&mut live, 7).await, [6, 7]);
    assert_eq!(world.reads(), [6]);
}

#[tokio::test]
async fn a_stream_ends_with_its_token_even_when_events_are_ready() {
    let world = World::with([Script {
        log: 3,
        live: vec![],
        ends: false,
    }]);
    let ended = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&ended);
    let standing: Standing = Arc::new(move || {
        if asked.load(Ordering::SeqCst) {
            Err(GateError::SessionEnded)
        } else {
            Ok(())
        }
    });
    let mut live = reading(&world)
        .stream(user_in(1), Start::After(0), standing, never())
        .await
        .unwrap();
    assert!(matches!(live.next().await, Some(Signal::Begin(0))));
    ended.store(true, Ordering::SeqCst);
    let end = live.next().await;
    assert!(
        matches!(end, Some(Signal::End(StreamEnd::Refused(GateError::SessionEnded)))),
        "{end:?}"
    );
    assert!(live.next().await.is_none());
}

#[tokio::test]
async fn a_stream_ends_when_the_process_drains_or_the_log_is_away() {
    let world = World::with([]);
    let mut live = reading(&world)
        .stream(user_in(1), Start::After(0), good(), async {})
        .await
        .unwrap();
    live.next().await;
    assert!(matches!(live.next().await, Some(Signal::End(StreamEnd::Draining))));
    world.broken.store(true, Ordering::SeqCst);
    let mut live = reading(&world)
        .stream(user_in(1), Start::After(0), good(), never())
        .await
        .unwrap();
    live.next().await;
    assert!(matches!(live.next().await, Some(Signal::End(StreamEnd::Unavailable))));
    assert!(live.next().await.is_none());
}

#[tokio::test]
async fn a_silent_stream_says_that_it_lives() {
    let world = World::with([]);
    let parts = parts(&kit(), Arc::clone(&world) as _, Arc::clone(&world) as _);
    let events = Events::new(EventsParts {
        heartbeat: Duration::from_millis(1),
        ..parts
    });
    let mut live = events
        .stream(user_in(1), Start::After(0), good(), never())
        .await
        .unwrap();
    live.next().await;
    assert!(matches!(live.next().await, Some(Signal::Heartbeat)));
    assert!(matches!(live.next().await, Some(Signal::Heartbeat)));
}

#[tokio::test]
async fn a_user_has_so_many_streams_and_no_more() {
    let world = World::with([]);
    let events = reading(&world);
    let open = || events.stream(user_in(1), Start::After(0), good(), never());
    let first = open().await.unwrap();
    let _second = open().await.unwrap();
    assert!(matches!(open().await, Err(OpenStreamError::TooMany)));
    assert_eq!(events.streams(), 2);
    drop(first);
    assert!(open().await.is_ok());
}

fn part(after: u64) -> HistoryPart {
    HistoryPart {
        user_id: user_in(1),
        after,
        limit: 50,
    }
}

#[tokio::test]
async fn a_poll_answers_at_once_when_there_is_something() {
    let world = World::with([]);
    world.grow(3);
    let events = reading(&world);
    assert_eq!(events.poll(part(1), MAX_WAIT, &good(), never()).await.unwrap().len(), 2);
    assert!(
        events
            .poll(part(3), Duration::ZERO, &good(), never())
            .await
            .unwrap()
            .is_empty(),
        "asked not to wait"
    );
}

#[tokio::test]
async fn a_poll_misses_nothing_that_comes_while_it_begins_or_waits() {
    // It comes between the subscription and the reading.
    let world = World::with([Script {
        log: 1,
        live: vec![],
        ends: false,
    }]);
    assert_eq!(
        reading(&world)
            .poll(part(0), MAX_WAIT, &good(), never())
            .await
            .unwrap()
            .len(),
        1
    );
    // It comes live, after one that was seen before; the log has it by then.
    let world = World::with([Script {
        log: 0,
        live: vec![3, 4],
        ends: false,
    }]);
    world.grow(3);
    let waiting = reading(&world);
    let grown = Arc::clone(&world);
    let draining = async move {
        grown.grow(4);
        std::future::pending::<()>().await;
    };
    let found = waiting.poll(part(3), MAX_WAIT, &good(), draining).await.unwrap();
    assert_eq!(found.iter().map(|event| event.position).collect::<Vec<_>>(), [4]);
    // The subscription breaks off: it is made again, and the log read again.
    let world = World::with([
        Script {
            ends: true,
            ..Script::default()
        },
        Script {
            log: 1,
            ..Script::default()
        },
    ]);
    assert_eq!(
        reading(&world)
            .poll(part(0), MAX_WAIT, &good(), never())
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn a_poll_ends_early_and_empty_with_its_token_or_the_process() {
    let events = reading(&World::with([]));
    let ended: Standing = Arc::new(|| Err(GateError::Expired));
    assert!(
        events
            .poll(part(0), MAX_WAIT, &ended, never())
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        events
            .poll(part(0), MAX_WAIT, &good(), async {})
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        events
            .poll(part(0), Duration::from_millis(1), &good(), never())
            .await
            .unwrap()
            .is_empty()
    );
}
