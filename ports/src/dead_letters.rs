//! Events that a handler group could not handle: held for their next attempt, or given up as dead letters.

use async_trait::async_trait;
use domain::cloud_event::{ForeignEvent, TopicPlace};
use domain::dead_letter::{DeadLetter, FailureReason, LetterOrigin};
use domain::event::{EventType, LoggedEvent, Shard};
use domain::id::{DeadLetterId, EventId, UserId};
use domain::page::{Page, PageRequest};
use domain::time::Timestamp;

use crate::{BackendError, Effects, EffectsError};

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedAttempt {
    /// Attempts so far, this one among them.
    pub attempts: u32,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: FailureReason,
}

/// What becomes of an event that a group passes without having handled it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeldFate {
    /// It has not failed: it waits behind an earlier one of its user.
    Waits,
    /// It failed and is tried again then.
    Retry(FailedAttempt, Timestamp),
    /// It is given up.
    Dead(FailedAttempt),
}

/// An event that the cursor passes without its having been handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewHeldEvent {
    /// A new id, under which it can be asked for once it is dead.
    pub id: DeadLetterId,
    /// The event.
    pub event_id: EventId,
    /// Its place in the shard.
    pub position: u64,
    /// Whose it is.
    pub user_id: UserId,
    /// Its type.
    pub event_type: EventType,
    /// Where the group got it from.
    pub origin: LetterOrigin,
    /// What becomes of it.
    pub fate: HeldFate,
}

/// An event of another service that a topic brought and that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewForeignEvent {
    /// A new id, under which it can be asked for once it is dead.
    pub id: DeadLetterId,
    /// Where it stands in its topic.
    pub place: TopicPlace,
    /// The event: it is kept whole, since the topic may lose it.
    pub foreign: ForeignEvent,
    /// What becomes of it.
    pub fate: HeldFate,
}

/// What became of an event that was held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeldVerdict {
    /// It is handled, now or before: it is held no more.
    Done,
    /// It failed and is tried again then.
    Retry(FailedAttempt, Timestamp),
    /// It is given up.
    Dead(FailedAttempt),
}

/// An event that was held, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldOutcome {
    /// The event.
    pub event_id: EventId,
    /// What became of it.
    pub verdict: HeldVerdict,
}

/// What a step of a group changes in one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardStep {
    /// The shard.
    pub shard: Shard,
    /// Where the cursor was.
    pub from: u64,
    /// Where it is to be; `from` when only held events are concerned.
    pub to: u64,
    /// Events that the cursor passes and that are held from now on.
    pub held: Vec<NewHeldEvent>,
    /// What became of events that were held.
    pub outcomes: Vec<HeldOutcome>,
}

/// A user whose events a group holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitingUser {
    /// The shard of their events.
    pub shard: Shard,
    /// The user.
    pub user_id: UserId,
    /// How many of their events wait.
    pub count: u64,
    /// When the first of them is due.
    pub due_at: Timestamp,
}

/// A held event whose time has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueEvent {
    /// The event.
    pub event: LoggedEvent,
    /// How often it failed since it is held, or since it was redriven.
    pub attempts: u32,
}

/// Held events, as the worker of a group keeps them. Those of one user are handed out in the order of positions, and none before an earlier one that waits for its time; a dead one holds up nobody.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait HeldEvents: Send + Sync + 'static {
    /// Takes steps in shards whose cursors `owner` holds and that are still at `from`: moves the cursor and writes what is held and what became of held events. For each shard all of it or nothing, in one transaction for all shards; gives the shards whose steps were taken. MUST write nothing for any other shard.
    /// Told again (a crash may leave it open whether it was heard), MUST leave the same behind. An outcome of an event that is not held MUST be ignored.
    async fn settle(
        &self,
        group: &str,
        owner: &str,
        steps: &[ShardStep],
        now: Timestamp,
    ) -> Result<Vec<Shard>, BackendError>;

    /// Holds events of topics; told again (a crash may leave it open whether it was heard), leaves them as they have become meanwhile. All or nothing. It takes no lease: whoever was given the records may hold them.
    /// They are handed out by [`due`](Self::due) in the shard of their lane, which stands for the user there.
    async fn hold(&self, group: &str, events: &[NewForeignEvent], now: Timestamp) -> Result<(), BackendError>;

    /// Of these lanes those of which the group holds events that wait.
    async fn behind(&self, group: &str, lanes: &[UserId]) -> Result<Vec<UserId>, BackendError>;

    /// The users whose events the group holds in these shards.
    async fn waiting(&self, group: &str, shards: &[Shard]) -> Result<Vec<WaitingUser>, BackendError>;

    /// Held events of these shards that may be handled now, at most `limit`, by shard and position. MUST NOT give an event when it, or an earlier waiting one of its user, is not due yet.
    async fn due(
        &self,
        group: &str,
        shards: &[Shard],
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<DueEvent>, BackendError>;
}

/// The event of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LetterEvent {
    /// It is in the log.
    Logged(LoggedEvent),
    /// A topic brought it.
    Foreign(ForeignEvent),
}

/// Which dead letters are meant: those to which everything applies that is given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeadLetterFilter {
    /// Of these alone; all when empty.
    pub ids: Vec<DeadLetterId>,
    /// Of this group.
    pub group: Option<String>,
    /// With this code as reason.
    pub reason: Option<String>,
    /// Of events of this type.
    pub event_type: Option<EventType>,
    /// Of this user's events.
    pub user: Option<UserId>,
}

/// How many dead letters have one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReasonCount {
    /// The group.
    pub group: String,
    /// The reason's code.
    pub code: String,
    /// How many.
    pub count: u64,
    /// When the first of them failed first.
    pub first_at: Timestamp,
    /// When the last of them failed last.
    pub last_at: Timestamp,
    /// The text of one of them.
    pub example: String,
}

/// A step of a replay: a piece of one shard of the log, handed to a group again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayStep {
    /// The group.
    pub group: String,
    /// The shard.
    pub shard: Shard,
    /// After this position.
    pub after: u64,
    /// Up to this position, itself among them.
    pub to: u64,
    /// Events of this time or later.
    pub since: Option<Timestamp>,
    /// Events before this time.
    pub before: Option<Timestamp>,
    /// How many events are looked at, at most.
    pub limit: u32,
    /// When they are due.
    pub at: Timestamp,
    /// An id for each of the events looked at.
    pub ids: Vec<DeadLetterId>,
    /// Only count.
    pub dry_run: bool,
}

/// What a step of a replay did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replayed {
    /// Events that are handed to the group again.
    pub events: u64,
    /// Events that it holds or gave up anyway, and that were left as they are.
    pub left: u64,
    /// The last position looked at.
    pub position: u64,
    /// Whether there is more of the shard.
    pub more: bool,
}

/// Why dead letters were not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeDeadLettersError {
    /// One of them is no dead letter (any more).
    #[error("one of them is no dead letter any more")]
    Gone,
    /// The effects were refused, or the backend failed.
    #[error(transparent)]
    Effects(#[from] EffectsError),
}

impl From<BackendError> for ChangeDeadLettersError {
    fn from(error: BackendError) -> Self {
        Self::Effects(error.into())
    }
}

/// Dead letters, as operators read and change them.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait DeadLetterStore: Send + Sync + 'static {
    /// Dead letters, oldest first.
    async fn list(&self, filter: &DeadLetterFilter, page: &PageRequest) -> Result<Page<DeadLetter>, BackendError>;

    /// How many dead letters there are for each group and reason, the most first.
    async fn reasons(&self, filter: &DeadLetterFilter) -> Result<Vec<ReasonCount>, BackendError>;

    /// One dead letter, with its event.
    async fn find(&self, id: DeadLetterId) -> Result<Option<(DeadLetter, LetterEvent)>, BackendError>;

    /// The groups that there are, those that have cursors, in order.
    async fn groups(&self) -> Result<Vec<String>, BackendError>;

    /// How many events the group holds for later.
    async fn held(&self, group: &str) -> Result<u64, BackendError>;

    /// Hands dead letters to their groups again, due at `at`, with no attempt behind them, and counts it; with the effects. MUST change all of them or nothing: [`ChangeDeadLettersError::Gone`] when one is none.
    /// From then on they are held as others are: later events of their users wait for them.
    async fn redrive(
        &self,
        ids: &[DeadLetterId],
        at: Timestamp,
        effects: &Effects,
    ) -> Result<(), ChangeDeadLettersError>;

    /// Throws dead letters away, with the effects. MUST change all of them or nothing: [`ChangeDeadLettersError::Gone`] when one is none.
    async fn discard(&self, ids: &[DeadLetterId], effects: &Effects) -> Result<(), ChangeDeadLettersError>;

    /// Hands events that the group has passed to it again: removes their inbox marks and holds them, due at once, with the effects. MUST NOT touch the group's cursors, nor an event that its cursor has not passed, nor one that is held or dead already. A dry run MUST change nothing.
    async fn replay(&self, step: &ReplayStep, effects: &Effects) -> Result<Replayed, EffectsError>;
}
