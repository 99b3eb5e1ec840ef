//! What the tests of workers and of the event service share: a clock that is set, ids that count, events of the log.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use domain::event::{Actor, Event, LoggedEvent, NewEvent, Shard};
use domain::id::{EventId, SessionId, UserId};
use domain::tier::TierName;
use domain::time::Timestamp;
use domain::token::Claims;
use domain::user::Role;
use ports::{BackendError, Clock, Ids, Randomness, Wakeup, WakeupBus};
use uuid::Uuid;

use crate::service::Toolkit;
use crate::service::schemas::{SchemaParts, Schemas};

/// A clock that moves only when told.
#[derive(Debug)]
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap();
        self.0.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// Remembers whom it woke; waiting ends at once.
#[derive(Debug, Default)]
pub(crate) struct TestWakeups(Mutex<Vec<Wakeup>>);

impl TestWakeups {
    pub(crate) fn woken(&self) -> Vec<Wakeup> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

#[async_trait]
impl WakeupBus for TestWakeups {
    fn wake(&self, wakeup: Wakeup) {
        self.0.lock().unwrap().push(wakeup);
    }

    async fn wait(&self, _waiter: &str, _wakeup: Wakeup, _at_most: Duration) {
        tokio::task::yield_now().await;
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
        Uuid::from_u128((7 << 76) | (2 << 62) | u128::from(self.0.fetch_add(1, Ordering::SeqCst)))
    }
}

/// A toolkit with handles on its clock and its bell.
pub(crate) struct Kit {
    pub(crate) toolkit: Toolkit,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) wakeups: Arc<TestWakeups>,
}

pub(crate) fn kit() -> Kit {
    let clock = Arc::new(TestClock(AtomicI64::new(1_767_225_600_000_000)));
    let wakeups = Arc::new(TestWakeups::default());
    let toolkit = Toolkit {
        clock: clock.clone(),
        randomness: Arc::new(Zeros),
        ids: Arc::new(Counting(AtomicU64::new(1))),
        wakeups: wakeups.clone(),
    };
    Kit {
        toolkit,
        clock,
        wakeups,
    }
}

/// A user whose events are in the shard of that number.
pub(crate) fn user_in(shard: u8) -> UserId {
    let user = UserId::new(Uuid::from_u128(u128::from(shard)));
    assert_eq!(Shard::of(user).number(), shard);
    user
}

/// An event of a user at a position; its id is made of both.
pub(crate) fn logged(user: UserId, position: u64, event_type: &str, data: &str) -> LoggedEvent {
    let shard = Shard::of(user);
    let event = Event::new(NewEvent {
        id: EventId::new(Uuid::from_u128(
            (u128::from(shard.number()) << 64) | u128::from(position),
        )),
        user_id: user,
        event_type: event_type.parse().unwrap(),
        subject: None,
        time: Timestamp::from_seconds(1_767_225_600),
        data: data.to_owned(),
        salt: [0; 16],
        actor: Actor::User(user),
        impersonator: None,
        request_id: None,
        client_id: false,
    });
    LoggedEvent {
        shard,
        position,
        hash: [0; 32],
        event,
    }
}

/// What the access token of a user says, good from then for a quarter of an hour.
pub(crate) fn claims(now: Timestamp) -> Claims {
    Claims {
        subject: user_in(1),
        tier: TierName::free(),
        role: Role::User,
        session: SessionId::new(Uuid::from_u128(9)),
        epoch: 0,
        scope: Vec::new(),
        methods: vec!["pwd".to_owned()],
        authenticated_at: now,
        actor: None,
        audience: "a".to_owned(),
        issuer: "i".to_owned(),
        issued_at: now,
        not_before: now,
        expires_at: now.plus(Duration::from_secs(900)),
        token_id: Uuid::from_u128(8),
    }
}

/// A failure that may pass.
pub(crate) fn away() -> BackendError {
    BackendError::temporary("test", "anything", "the backend is away")
}

/// No registered schemas: every type of clients' events is taken.
pub(crate) fn no_schemas(kit: &Kit) -> Arc<Schemas> {
    Arc::new(Schemas::new(SchemaParts {
        toolkit: kit.toolkit.clone(),
        repository: Arc::new(ports::MockSchemaRepository::new()),
        client_prefix: "app.".to_owned(),
        require: false,
    }))
}
