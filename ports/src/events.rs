//! The event log: writing, sequencing, reading in order.

use std::time::Duration;

use async_trait::async_trait;
use domain::event::{LoggedEvent, Shard};
use domain::id::{EventId, UserId};
use domain::stats::LogStats;
use domain::time::Timestamp;

use crate::{BackendError, Effects, EffectsError};

/// Events as users write and read them.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait EventStore: Send + Sync + 'static {
    /// Writes effects that belong to no other row. All or nothing. An event with a client-chosen id that is there with the same content MUST be left as it is and count as written; with other content MUST be refused as [`EffectsError::EventIdTaken`].
    /// It may gather concurrent callers into one transaction, but each MUST get its own answer, after its own commit.
    async fn append(&self, effects: &Effects) -> Result<(), EffectsError>;

    /// The user's events after a position (0 for the beginning), in the order of positions, at most `limit`.
    async fn history(&self, user: UserId, after: u64, limit: u32) -> Result<Vec<LoggedEvent>, BackendError>;

    /// One of the user's events, once it has its position. Another user's id MUST give none.
    async fn find(&self, user: UserId, id: EventId) -> Result<Option<LoggedEvent>, BackendError>;
}

/// A step of the sequencer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sequenced {
    /// Events that got their position.
    pub events: u64,
    /// Whether more are waiting.
    pub more: bool,
}

/// Gives committed events their positions.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait LogSequencer: Send + Sync + 'static {
    /// Takes part until `now + ttl`, and takes or renews the lease of shards that are free, over or held by `owner`; gives the shards held. Of many owners at most one MUST hold a shard.
    /// Of `n` owners that take part none MUST hold more than a fair share, 16 over `n` rounded up: what it holds beyond that it gives back here. So it MUST be called while no step is under way.
    async fn lease(&self, owner: &str, now: Timestamp, ttl: Duration) -> Result<Vec<Shard>, BackendError>;

    /// Gives positions to at most `limit` waiting events of the shards that `owner` holds, in the order in which they were written: gapless from 1 in each shard, each with its hash of the chain. MUST be fenced: an owner whose lease was taken writes nothing.
    async fn sequence(&self, owner: &str, now: Timestamp, limit: u32) -> Result<Sequenced, BackendError>;

    /// Gives the leases back, and takes part no more.
    async fn release(&self, owner: &str) -> Result<(), BackendError>;
}

/// A cursor: how far a group has come in a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The shard.
    pub shard: Shard,
    /// The last position that the group is done with; 0 at the beginning.
    pub position: u64,
}

/// A cursor's move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CursorMove {
    /// The shard.
    pub shard: Shard,
    /// Where it was.
    pub from: u64,
    /// Where it is to be.
    pub to: u64,
}

/// Reads the log in order.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// Events after the given cursors, in the order of positions within each shard, without a gap, at most `limit` in all. Without an answer for a shard there was nothing after its cursor, or the limit was used up.
    /// A cursor before what retention removed MUST go on with the first event that is left.
    async fn read(&self, after: &[Cursor], limit: u32) -> Result<Vec<LoggedEvent>, BackendError>;

    /// The last position of each shard (0 when empty), all shards in order.
    async fn heads(&self) -> Result<Vec<Cursor>, BackendError>;

    /// The last position of each shard that retention removed (0 while it removed none), all shards in order.
    async fn floors(&self) -> Result<Vec<Cursor>, BackendError>;

    /// What waits and how far each group has come.
    async fn stats(&self) -> Result<LogStats, BackendError>;
}

/// Where a new group begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// At the beginning of the log: it handles all there ever was.
    First,
    /// At the heads: it handles what gets its position from now on.
    Heads,
}

/// The cursors of handler groups.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait CursorStore: Send + Sync + 'static {
    /// Makes the cursors of a group that has none, all in one statement, where `beginning` says; gives whether it did. A group that has cursors MUST be left as it is.
    /// On a log without events both beginnings are the same: a group that is begun before the first event gets a position misses none.
    async fn begin(&self, group: &str, beginning: Beginning) -> Result<bool, BackendError>;

    /// Takes part in the group until `now + ttl`, and takes or renews the lease of shards that are free, over or held by `owner`; gives the cursors held. A group without cursors begins at the beginning.
    /// Of many owners at most one MUST hold a cursor. Of `n` owners that take part none MUST hold more than a fair share, 16 over `n` rounded up: what it holds beyond that it gives back here. So it MUST be called while nothing of the group is under way.
    async fn claim(&self, group: &str, owner: &str, now: Timestamp, ttl: Duration)
    -> Result<Vec<Cursor>, BackendError>;

    /// Moves cursors that `owner` holds and that are still at `from`, in one statement; gives the shards that moved. MUST NOT move any other.
    async fn advance(
        &self,
        group: &str,
        owner: &str,
        moves: &[CursorMove],
        now: Timestamp,
    ) -> Result<Vec<Shard>, BackendError>;

    /// Gives the leases back, and takes part no more.
    async fn release(&self, group: &str, owner: &str) -> Result<(), BackendError>;

    /// Removes inbox marks that were made before `before` and whose event the group's cursor has passed, at most `limit`; gives how many.
    /// MUST NOT remove a mark that the cursor has not passed, nor one whose event the group holds or gave up: the event may come again. `before` leaves room for a worker that lost its lease and does not know it yet.
    async fn prune_inbox(&self, before: Timestamp, limit: u32) -> Result<u64, BackendError>;

    /// Removes inbox marks that were made before `before` and whose event is not in the log, since a topic brought it, at most `limit`; gives how many. MUST NOT remove one whose event the group holds or gave up.
    /// How far a topic was read is known to its brokers alone, so that only time can tell when an event will not come again.
    async fn prune_foreign_inbox(&self, before: Timestamp, limit: u32) -> Result<u64, BackendError>;
}
