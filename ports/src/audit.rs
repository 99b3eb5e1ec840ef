//! The audit of the log: reading it as it stands, searching it, signing its heads, and removing what is old from its front.

use async_trait::async_trait;
use domain::audit::{AuditCursor, Mark, RecordedRow};
use domain::event::{LoggedEvent, Shard};
use domain::id::{EventId, RequestId, UserId};
use domain::time::Timestamp;
use uuid::Uuid;

use crate::{BackendError, Cursor, Effects, EffectsError};

/// Where a shard of the log begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardBounds {
    /// The shard.
    pub shard: Shard,
    /// The last row that retention removed; [`Mark::BEGINNING`] while it removed none.
    pub floor: Mark,
    /// The last row, as the sequencer goes on from it.
    pub head: Mark,
    /// Up to where the last checkpoint allows removal.
    pub removable: u64,
}

/// A row of the log that lies where none can be, or an event that is nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stray {
    /// Its shard and position, where it is in the log.
    pub place: Option<Cursor>,
    /// The event's id.
    pub event_id: Uuid,
}

/// Some of the events, in the order of their ids, looked through for strays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// How many events there were.
    pub events: u64,
    /// Where to go on; none at the end.
    pub next: Option<EventId>,
    /// Those that are neither in the log nor waiting for their position.
    pub strays: Vec<Stray>,
}

/// A checkpoint as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedCheckpoint {
    /// Its position, in the shard of [`UserId::SYSTEM`].
    pub position: u64,
    /// Its event.
    pub event_id: Uuid,
    /// Its payload, unless it is gone.
    pub data: Option<String>,
}

/// Which events are searched for: those that fit all that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Whose they are.
    pub user: Option<UserId>,
    /// Their type, or the beginning of their types when it ends in a dot.
    pub event_type: Option<String>,
    /// Who caused them: an id, `anonymous` or `system`.
    pub actor: Option<String>,
    /// The administrator behind the actor.
    pub impersonator: Option<UserId>,
    /// The request that caused them.
    pub request: Option<RequestId>,
    /// Not before this.
    pub from: Option<Timestamp>,
    /// Before this.
    pub to: Option<Timestamp>,
}

/// Reads the log as it stands, for those who doubt it.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait AuditTrail: Send + Sync + 'static {
    /// All shards in order, as they stood at one moment.
    async fn bounds(&self) -> Result<Vec<ShardBounds>, BackendError>;

    /// Rows of a shard after one position and up to another, in order, at most `limit`. MUST give what stands there although it is none of ours, and rows whose event is gone without it. Row and event MUST be of one moment.
    async fn rows(&self, shard: Shard, after: u64, to: u64, limit: u32) -> Result<Vec<RecordedRow>, BackendError>;

    /// Rows of the log beyond its heads and before its beginning, at most `limit`. MUST NOT take a row for one that the sequencer or retention moves just now.
    async fn intruders(&self, limit: u32) -> Result<Vec<Stray>, BackendError>;

    /// Looks through the next `window` events after that id for those that are neither in the log nor waiting. MUST NOT take an event for one that is on its way.
    async fn look(&self, after: Option<EventId>, window: u32) -> Result<Looked, BackendError>;

    /// Checkpoints in the log after a position, in order, at most `limit`.
    async fn checkpoints(&self, after: u64, limit: u32) -> Result<Vec<RecordedCheckpoint>, BackendError>;

    /// Events that fit the query, newest first, at most `limit`, after the cursor that the page before gave. A page may be short or empty and still name a next one: it bounds how many events are looked at. MUST visit each event that fits and was in the log at the first page once, whatever is written meanwhile, and MUST NOT show one that has no position yet. A cursor of another query may lead to an empty page.
    async fn search(
        &self,
        query: &AuditQuery,
        after: Option<AuditCursor>,
        limit: u32,
    ) -> Result<AuditPage, BackendError>;
}

/// A part of what a search finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPage {
    /// Events, newest first.
    pub items: Vec<LoggedEvent>,
    /// Where to go on; none at the end.
    pub next: Option<AuditCursor>,
}

/// What is known of the last checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastCheckpoint {
    /// Its serial number; 0 when there was none yet.
    pub serial: u64,
    /// When it was made.
    pub at: Timestamp,
    /// How many events had got a position when it was made, in all shards together.
    pub events: u64,
}

/// What a new checkpoint records beside its event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCheckpoint {
    /// Its serial number: one more than the last one's.
    pub serial: u64,
    /// When it is made.
    pub at: Timestamp,
    /// How many events have got a position, in all shards together.
    pub events: u64,
    /// Up to where events may be removed from now on; shards that are not named stay as they are.
    pub removable: Vec<Cursor>,
}

/// Signs the log's heads now and then, and removes what is old from its front.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait LogKeeper: Send + Sync + 'static {
    /// The last checkpoint.
    async fn last_checkpoint(&self) -> Result<LastCheckpoint, BackendError>;

    /// Records a checkpoint with its event. MUST do nothing and give false unless the serial number is the next one: of many nodes one makes it. What is removable MUST NOT go back.
    async fn checkpoint(&self, new: &NewCheckpoint, effects: &Effects) -> Result<bool, EffectsError>;

    /// A position of the shard whose event, like those before it, happened before that time, and after which a later one comes; 0 when there is none, the head when all are older. Events that were written at about the same time may stand on either side.
    async fn boundary(&self, shard: Shard, before: Timestamp) -> Result<u64, BackendError>;

    /// Removes the oldest events of a shard that happened before that time, at most `limit` of them, and gives how many; the last one removed becomes the shard's beginning. MUST stop at the first event that is younger, at what the last checkpoint allows, at the cursor of any group, and before the first event that a group holds or gave up. MUST be atomic: whoever reads sees an event and its row, or neither. The inbox marks of what is removed MUST go with it.
    async fn trim(&self, shard: Shard, before: Timestamp, limit: u32) -> Result<u64, BackendError>;

    /// Erases payload, salt and subject of a shard's events that happened before that time, oldest first, at most `limit` in one call; gives how many rows it passed. Checkpoints keep theirs. MUST stop as [`LogKeeper::trim`] does, except that no checkpoint need allow it.
    async fn blank(&self, shard: Shard, before: Timestamp, limit: u32) -> Result<u64, BackendError>;
}

/// Signs and verifies the statements of checkpoints, with the one key that the installation has for it.
#[cfg_attr(feature = "mocks", mockall::automock)]
pub trait CheckpointSigner: Send + Sync + 'static {
    /// The public key, which never changes: id and key as PASERK `k4.pid` and `k4.public`.
    fn public_key(&self) -> (String, String);

    /// Signs a text.
    fn sign(&self, text: &str) -> Result<String, BackendError>;

    /// The text that was signed. MUST give none for anything that was not signed with this key for this use: an access token, say.
    fn verify(&self, signed: &str) -> Option<String>;
}
