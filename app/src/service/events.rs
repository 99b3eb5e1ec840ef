//! Events: publishing, the history, long polls and live streams.

mod follow;
mod live;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use domain::event::{Event, EventType, LoggedEvent, Shard, is_subject};
use domain::id::{EventId, UserId};
use domain::limit::RateRule;
use domain::tier::{TierName, Tiers};
use futures_util::StreamExt;
use ports::{
    BackendError, Effects, EffectsError, EventLog, EventStore, EventSubscriber, RateLimiter, StoredAnswer, Wakeup,
};
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior};
use uuid::Uuid;

use super::gate::GateError;
use super::places::Places;
use super::schemas::{DataRefusal, Schemas};
use super::throttle::ThrottleError;
use super::{Draft, Origin, Toolkit};

pub use live::{LiveEvents, Signal, StreamEnd};

use follow::Follower;

/// The most events of one batch.
pub const MAX_BATCH: usize = 1_000;
/// The most bytes of an event's data, written compactly: 64 KiB.
pub const MAX_DATA_BYTES: usize = 64 * 1024;
/// The most bytes of the data of a batch together: 4 MiB.
pub const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;
/// How long a poll may wait.
pub const MAX_WAIT: Duration = Duration::from_secs(30);

/// More refusals of one batch than this are not listed.
const MOST_REFUSALS: usize = 20;
/// How often streams and polls ask whether their token still stands: with the feed's 250 ms well within a second.
const CHECK_EVERY: Duration = Duration::from_millis(250);

/// Whether the token that a stream or poll was opened with still stands.
pub type Standing = Arc<dyn Fn() -> Result<(), GateError> + Send + Sync>;

/// What the service is made over.
pub struct EventsParts {
    /// Time, randomness, ids, wake-ups.
    pub toolkit: Toolkit,
    /// Users' events.
    pub store: Arc<dyn EventStore>,
    /// The log, for its heads.
    pub log: Arc<dyn EventLog>,
    /// Live events of this process.
    pub subscriber: Arc<dyn EventSubscriber>,
    /// Counts published events.
    pub limiter: Arc<dyn RateLimiter>,
    /// The plans with their rates.
    pub tiers: Arc<Tiers>,
    /// Whether rates are limited at all.
    pub limits_enabled: bool,
    /// How the types of clients' events begin, for example `app.`.
    pub client_prefix: String,
    /// What the data of types with a schema is held against.
    pub schemas: Arc<Schemas>,
    /// `source` of every envelope: `urn:plinth:` and the installation.
    pub source: String,
    /// The most live streams of one user in this process.
    pub streams_per_user: u32,
    /// How often a silent stream says that it lives.
    pub heartbeat: Duration,
}

/// Publishing and reading events.
pub struct Events {
    p: EventsParts,
    places: Places,
}

impl std::fmt::Debug for EventsParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventsParts")
            .field("client_prefix", &self.client_prefix)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

/// Who publishes.
#[derive(Debug, Clone)]
pub struct Publisher {
    /// Whose events they are.
    pub user_id: UserId,
    /// The plan, for its rate.
    pub tier: TierName,
    /// Where the request comes from.
    pub origin: Origin,
}

/// An event as a client sends it, unchecked.
#[derive(Debug, Clone)]
pub struct Publication {
    /// Its type.
    pub event_type: String,
    /// Its payload.
    pub data: Value,
    /// What it concerns.
    pub subject: Option<String>,
    /// The version of the type's schema that the payload is said to be valid with; the newest when there is none.
    pub schema_version: Option<u32>,
    /// The id that the client chose.
    pub id: Option<Uuid>,
}

/// A refused part of a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which event of the batch; none when it is the batch itself.
    pub index: Option<usize>,
    /// Which member of the event, with the way below it: `data/items/0`.
    pub member: Option<Cow<'static, str>>,
    /// The stable name of the rule.
    pub code: &'static str,
    /// What the rule asks for.
    pub detail: String,
}

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum PublishEventsError {
    /// Some parts are refused, at most twenty of them listed.
    #[error("some events were refused")]
    Refused(Vec<Refusal>),
    /// The id of this one is taken by an event of another content.
    #[error("the id of an event is taken by another one")]
    IdTaken(usize),
    /// More than the plan allows at once: it will never pass.
    #[error("the batch is larger than the plan allows in a minute")]
    AboveRate(u32),
    /// More than the plan allows now.
    #[error(transparent)]
    Throttled(#[from] ThrottleError),
    /// The backend failed.
    #[error(transparent)]
    Effects(EffectsError),
}

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub enum OpenStreamError {
    /// The user has as many as allowed.
    #[error("the user has too many live streams")]
    TooMany,
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// Where a stream begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With what happens from now on.
    Now,
    /// After this position.
    After(u64),
}

/// Which part of a history is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryPart {
    /// Whose.
    pub user_id: UserId,
    /// After which position; 0 for the beginning.
    pub after: u64,
    /// How many events at the most.
    pub limit: u32,
}

impl Events {
    /// The service over its parts.
    pub fn new(parts: EventsParts) -> Self {
        let places = Places::new(parts.streams_per_user);
        Self { p: parts, places }
    }

    /// `source` of every envelope.
    pub fn source(&self) -> &str {
        &self.p.source
    }

    /// Publishes all events or none. `answer` makes the answer to be stored of the ids, before the commit.
    ///
    /// # Errors
    /// Which part of which event is refused, and why.
    pub async fn publish(
        &self,
        publisher: &Publisher,
        publications: Vec<Publication>,
        answer: impl FnOnce(&[EventId]) -> Option<StoredAnswer> + Send,
    ) -> Result<Vec<EventId>, PublishEventsError> {
        let drafts = self
            .check(publisher.user_id, publications)
            .map_err(PublishEventsError::Refused)?;
        self.take_rate(publisher, drafts.len()).await?;
        let made = drafts
            .into_iter()
            .map(|draft| self.p.toolkit.event(&publisher.origin, draft))
            .collect();
        let (events, ids) = distinct(made)?;
        let effects = Effects {
            answer: answer(&ids),
            events,
            ..Effects::none()
        };
        self.p.store.append(&effects).await.map_err(|error| match error {
            EffectsError::EventIdTaken(id) => {
                PublishEventsError::IdTaken(ids.iter().position(|known| *known == id).unwrap_or_default())
            }
            error @ (EffectsError::AlreadyHandled | EffectsError::Backend(_)) => PublishEventsError::Effects(error),
        })?;
        self.p.toolkit.wakeups.wake(Wakeup::Written);
        Ok(ids)
    }

    /// A part of the user's history.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn history(&self, part: HistoryPart) -> Result<Vec<LoggedEvent>, BackendError> {
        self.p.store.history(part.user_id, part.after, part.limit).await
    }

    /// Where the user's history goes on when what came directly after that position was removed because of its age; none when nothing was.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn gap(&self, user: UserId, after: u64) -> Result<Option<u64>, BackendError> {
        let shard = Shard::of(user);
        let floors = self.p.log.floors().await?;
        let floor = floors.into_iter().find(|floor| floor.shard == shard);
        Ok(floor.map(|floor| floor.position).filter(|floor| after < *floor))
    }

    /// A part of the user's history; while there is nothing in it waits for something, `wait` at most. Gives an empty part when the token stands no more or the process drains.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn poll(
        &self,
        part: HistoryPart,
        wait: Duration,
        standing: &Standing,
        draining: impl Future<Output = ()> + Send,
    ) -> Result<Vec<LoggedEvent>, BackendError> {
        if wait.is_zero() {
            return self.history(part).await;
        }
        let mut draining = pin!(draining);
        let mut deadline = pin!(tokio::time::sleep(wait.min(MAX_WAIT)));
        let mut checks = checks();
        loop {
            // Followed before it is read: what comes between the two is seen by one of them.
            let mut live = self.p.subscriber.subscribe(part.user_id);
            let found = self.history(part).await?;
            if !found.is_empty() {
                return Ok(found);
            }
            loop {
                tokio::select! {
                    biased;
                    () = &mut draining => return Ok(Vec::new()),
                    _ = checks.tick() => if standing().is_err() { return Ok(Vec::new()) },
                    () = &mut deadline => return Ok(Vec::new()),
                    event = live.next() => match event {
                        Some(event) if event.position > part.after => return self.history(part).await,
                        Some(_) => {}
                        None => break,
                    },
                }
            }
            checks.tick().await;
        }
    }

    /// The user's events as they happen, until the token stands no more or the process drains.
    ///
    /// # Errors
    /// When the user has too many streams, or the log cannot be read.
    pub async fn stream(
        &self,
        user: UserId,
        start: Start,
        standing: Standing,
        draining: impl Future<Output = ()> + Send + 'static,
    ) -> Result<LiveEvents, OpenStreamError> {
        let place = self.places.take(user).ok_or(OpenStreamError::TooMany)?;
        let (store, subscriber) = (Arc::clone(&self.p.store), Arc::clone(&self.p.subscriber));
        let (follower, gap) = match start {
            Start::Now => (Follower::from_now(store, subscriber, &*self.p.log, user).await?, false),
            Start::After(position) => {
                let left = self.gap(user, position).await?;
                let begin = left.unwrap_or(position);
                (Follower::resuming(store, subscriber, user, begin), left.is_some())
            }
        };
        Ok(LiveEvents::new(
            follower,
            gap,
            standing,
            Box::pin(draining),
            self.p.heartbeat,
            place,
        ))
    }

    /// How many live streams there are in this process.
    pub fn streams(&self) -> u64 {
        self.places.taken()
    }

    fn check(&self, user: UserId, publications: Vec<Publication>) -> Result<Vec<Draft>, Vec<Refusal>> {
        let batch = |code, detail: &str| Refusal {
            index: None,
            member: None,
            code,
            detail: detail.to_owned(),
        };
        if publications.is_empty() || publications.len() > MAX_BATCH {
            return Err(vec![batch("length", "must have 1 to 1,000 events")]);
        }
        let mut refusals = Vec::new();
        let mut drafts = Vec::with_capacity(publications.len());
        let mut bytes = 0;
        for (index, publication) in publications.into_iter().enumerate() {
            let checked = self.check_one(user, publication, |member, code, detail| {
                if refusals.len() < MOST_REFUSALS {
                    refusals.push(Refusal {
                        index: Some(index),
                        member: Some(member),
                        code,
                        detail,
                    });
                }
            });
            if refusals.len() >= MOST_REFUSALS {
                break;
            }
            bytes += checked.as_ref().map_or(0, |draft| draft.data.len());
            drafts.extend(checked);
        }
        if refusals.is_empty() && bytes > MAX_BATCH_BYTES {
            refusals.push(batch("length", "must have at most 4,194,304 bytes of data in all"));
        }
        if refusals.is_empty() { Ok(drafts) } else { Err(refusals) }
    }

    fn check_one(
        &self,
        user_id: UserId,
        publication: Publication,
        mut refuse_at: impl FnMut(Cow<'static, str>, &'static str, String),
    ) -> Option<Draft> {
        let mut refuse = |member: &'static str, code, detail| refuse_at(member.into(), code, detail);
        let Publication {
            event_type,
            data,
            subject,
            schema_version,
            id,
        } = publication;
        let event_type = match event_type.parse::<EventType>() {
            Err(error) => {
                refuse("type", "format", error.to_string());
                None
            }
            Ok(parsed) if parsed.is_under(&self.p.client_prefix) => Some(parsed),
            Ok(_) => {
                refuse("type", "prefix", format!("must begin with `{}`", self.p.client_prefix));
                None
            }
        };
        let text = data.to_string();
        let fits = text.len() <= MAX_DATA_BYTES;
        if !fits {
            refuse("data", "length", format!("must have at most {MAX_DATA_BYTES} bytes"));
        }
        let named = subject.as_deref().is_none_or(is_subject);
        if !named {
            refuse(
                "subject",
                "length",
                "must have 1 to 256 characters without control characters".to_owned(),
            );
        }
        let event_type = event_type.filter(|_| fits)?;
        let schema_version = match self.p.schemas.check(&event_type, schema_version, &data) {
            Ok(version) => version,
            Err(refusal) => {
                refuse_data(refusal, refuse_at);
                return None;
            }
        };
        named.then(|| Draft {
            user_id,
            event_type,
            subject,
            data: text,
            id: id.map(EventId::new),
            schema_version,
        })
    }

    async fn take_rate(&self, publisher: &Publisher, events: usize) -> Result<(), PublishEventsError> {
        let Some(tier) = self
            .p
            .tiers
            .entitlement(&publisher.tier)
            .filter(|_| self.p.limits_enabled)
        else {
            return Ok(());
        };
        let (limit, cost) = (tier.limits.events_per_minute, u32::try_from(events).unwrap_or(u32::MAX));
        if cost > limit {
            return Err(PublishEventsError::AboveRate(limit));
        }
        let rule = RateRule::per_seconds(limit, 60);
        let (key, now) = (format!("events {}", publisher.user_id), self.p.toolkit.now());
        let decision = self
            .p
            .limiter
            .take(&key, &rule, cost, now)
            .await
            .map_err(ThrottleError::from)?;
        if decision.allowed {
            return Ok(());
        }
        Err(ThrottleError::TooMany(decision.retry_after.max(Duration::from_secs(1))).into())
    }
}

fn refuse_data(refusal: DataRefusal, mut refuse: impl FnMut(Cow<'static, str>, &'static str, String)) {
    match refusal {
        DataRefusal::SchemaMissing => refuse(
            "type".into(),
            "schema_missing",
            "must be a type that a schema was registered for".to_owned(),
        ),
        DataRefusal::UnknownVersion => refuse(
            "schema_version".into(),
            "unknown_version",
            "must be a version that was registered for the type".to_owned(),
        ),
        DataRefusal::Violations(violations) => {
            for violation in violations {
                refuse(
                    format!("data{}", violation.pointer).into(),
                    violation.code,
                    violation.detail,
                );
            }
        }
    }
}

/// The events to write, each id once, and the ids as they were asked for.
fn distinct(made: Vec<Event>) -> Result<(Vec<Event>, Vec<EventId>), PublishEventsError> {
    let ids: Vec<EventId> = made.iter().map(|event| event.id).collect();
    let mut known: HashMap<EventId, usize> = HashMap::new();
    let mut events: Vec<Event> = Vec::with_capacity(made.len());
    for (index, event) in made.into_iter().enumerate() {
        match known.get(&event.id) {
            None => {
                known.insert(event.id, events.len());
                events.push(event);
            }
            Some(first) if events[*first].same_content(&event) => {}
            Some(_) => return Err(PublishEventsError::IdTaken(index)),
        }
    }
    Ok((events, ids))
}

/// The beat of asking whether a token stands; the first is a whole one away.
fn checks() -> tokio::time::Interval {
    let mut checks = tokio::time::interval_at(Instant::now() + CHECK_EVERY, CHECK_EVERY);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    checks
}
