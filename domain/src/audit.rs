//! The audit of the log: what stands in it, whether that fits the chain, and what signed checkpoints say of it.

mod cursor;
mod statement;
mod walk;

pub use cursor::{AuditCursor, ParseAuditCursorError};
pub use statement::{ParseStatementError, ShardStatement, Statement};
pub use walk::{Claim, ShardWalk, Tally};

use uuid::Uuid;

use crate::event::Shard;

/// A place in a shard's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The position; 0 before the first event.
    pub position: u64,
    /// The hash at that position; zeros before the first event.
    pub hash: [u8; 32],
}

impl Mark {
    /// Before the first event.
    pub const BEGINNING: Self = Self {
        position: 0,
        hash: [0; 32],
    };
}

/// A row of the log exactly as it stands, whether or not it could be a value of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedRow {
    /// Its position.
    pub position: u64,
    /// The event that it names.
    pub event_id: Uuid,
    /// The user that it names.
    pub user_id: Uuid,
    /// The hash.
    pub hash: Vec<u8>,
    /// The event of that id; none when there is none.
    pub event: Option<RecordedEvent>,
}

/// An event exactly as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedEvent {
    /// The shard that it was written for.
    pub shard: i16,
    /// Whose it is.
    pub user_id: Uuid,
    /// Its type.
    pub event_type: String,
    /// Free text of the publisher.
    pub subject: Option<String>,
    /// When it happened, in microseconds.
    pub time: i64,
    /// The payload.
    pub data: Option<String>,
    /// The salt.
    pub salt: Option<Vec<u8>>,
    /// The digest of salt, subject and payload.
    pub digest: Vec<u8>,
    /// Who caused it.
    pub actor: String,
    /// The administrator behind the actor.
    pub impersonator: Option<Uuid>,
    /// The request that caused it.
    pub request_id: Option<Uuid>,
    /// The version of its type's schema.
    pub schema_version: Option<i32>,
}

/// Something that an untouched log would not show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The shard, where it is in one.
    pub shard: Option<Shard>,
    /// The position, where it has one.
    pub position: Option<u64>,
    /// The event, where one is named.
    pub event_id: Option<Uuid>,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a place of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The rows from this position to that one are gone, and later ones are there.
    Removed {
        /// The last of them.
        to: u64,
    },
    /// The log's row is there, its event is gone.
    EventRemoved,
    /// Payload, salt or subject are not those that were written.
    PayloadChanged,
    /// Type, time, owner, actor, request, digest or hash are not those that were written.
    Changed,
    /// The row fits the chain at another position: rows before it were taken out or put in.
    Moved {
        /// The position that it was written at.
        from: u64,
    },
    /// Payload, salt and subject are erased in part: erasure takes all of them.
    HalfErased,
    /// The row names another user than its event, or stands in another shard than its user's.
    Misfiled,
    /// A row beyond the head or before the beginning: nobody gave it this position.
    Inserted,
    /// An event that is neither in the log nor waiting for its position.
    Unlogged,
    /// The head that the sequencer goes on from is not the last row.
    HeadDiffers,
    /// The rows from this position on are gone, up to the one that the head or a checkpoint names.
    CutOff {
        /// The last position that is known to have been there.
        to: u64,
        /// The serial number of the checkpoint that says so; none when the head does.
        checkpoint: Option<u64>,
    },
    /// A checkpoint recorded another hash here: this and what is before it was written anew.
    Rewritten {
        /// The serial number of the checkpoint.
        checkpoint: u64,
    },
    /// The beginning lies after what any checkpoint allowed to be removed.
    BeginningMoved {
        /// The furthest that a checkpoint allowed.
        allowed: u64,
    },
    /// A checkpoint whose signature is not this installation's, or whose text is not what was signed.
    CheckpointForged,
    /// Checkpoints with these serial numbers are gone.
    CheckpointRemoved {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
    },
}

impl Fault {
    /// The stable word for it.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Removed { .. } => "removed",
            Self::EventRemoved => "event_removed",
            Self::PayloadChanged => "payload_changed",
            Self::Changed => "changed",
            Self::Moved { .. } => "moved",
            Self::HalfErased => "half_erased",
            Self::Misfiled => "misfiled",
            Self::Inserted => "inserted",
            Self::Unlogged => "unlogged",
            Self::HeadDiffers => "head_differs",
            Self::CutOff { .. } => "cut_off",
            Self::Rewritten { .. } => "rewritten",
            Self::BeginningMoved { .. } => "beginning_moved",
            Self::CheckpointForged => "checkpoint_forged",
            Self::CheckpointRemoved { .. } => "checkpoint_removed",
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Removed { to } => write!(f, "the rows from here to position {to} were removed"),
            Self::EventRemoved => f.write_str("the event of this row was removed"),
            Self::PayloadChanged => f.write_str("payload, salt or subject were changed"),
            Self::Changed => f.write_str("type, time, owner, actor, request, digest or hash were changed"),
            Self::Moved { from } => write!(f, "the row was written at position {from}"),
            Self::HalfErased => f.write_str("payload, salt and subject were erased in part"),
            Self::Misfiled => f.write_str("the row stands under another user than its event's"),
            Self::Inserted => f.write_str("a row that no sequencer put here: outside of the log's beginning and head"),
            Self::Unlogged => f.write_str("an event that is neither in the log nor waits for its position"),
            Self::HeadDiffers => f.write_str("the stored head is not the last row"),
            Self::CutOff { to, checkpoint: None } => {
                write!(f, "the log ends before this; its head is at position {to}")
            }
            Self::CutOff {
                to,
                checkpoint: Some(serial),
            } => write!(f, "the log ends before this; checkpoint {serial} saw position {to}"),
            Self::Rewritten { checkpoint } => {
                write!(
                    f,
                    "what is here or before it was written anew: checkpoint {checkpoint} saw another hash"
                )
            }
            Self::BeginningMoved { allowed } => write!(
                f,
                "rows up to here are gone, and checkpoints allowed removal up to position {allowed} only"
            ),
            Self::CheckpointForged => f.write_str("the checkpoint is not one that this installation signed"),
            Self::CheckpointRemoved { from, to } => write!(f, "the checkpoints {from} to {to} are gone"),
        }
    }
}
