//! What a checkpoint says: the heads of the log at a moment, and up to where the log may be removed from its front.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Mark;
use crate::event::Shard;
use crate::time::Timestamp;

/// The only form of a statement that there is.
const VERSION: u32 = 1;

/// What a checkpoint says; what is signed is its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Counts the checkpoints of an installation from 1.
    pub serial: u64,
    /// The installation.
    pub installation: Uuid,
    /// When it was made.
    pub at: Timestamp,
    /// The shards that have events.
    pub shards: Vec<ShardStatement>,
}

/// What a checkpoint says of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardStatement {
    /// The shard.
    pub shard: Shard,
    /// Its head.
    pub head: Mark,
    /// Retention may remove events up to this position from now on.
    pub removable: u64,
}

/// A text is not a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a statement of a checkpoint")]
pub struct ParseStatementError;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    serial: u64,
    installation: Uuid,
    at: String,
    shards: Vec<WrittenShard>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenShard {
    shard: u8,
    position: u64,
    hash: String,
    removable: u64,
}

impl Statement {
    /// The statement as a JSON object.
    pub fn to_json(&self) -> serde_json::Value {
        let shards = self.shards.iter().map(|shard| WrittenShard {
            shard: shard.shard.number(),
            position: shard.head.position,
            hash: hex(&shard.head.hash),
            removable: shard.removable,
        });
        let written = Written {
            version: VERSION,
            serial: self.serial,
            installation: self.installation,
            at: self.at.to_rfc3339(),
            shards: shards.collect(),
        };
        serde_json::to_value(written).unwrap_or_default()
    }

    /// Reads such an object.
    ///
    /// # Errors
    /// When it is none, or of a later version.
    pub fn from_json(value: &serde_json::Value) -> Result<Self, ParseStatementError> {
        let written = Written::deserialize(value).map_err(|_| ParseStatementError)?;
        if written.version != VERSION {
            return Err(ParseStatementError);
        }
        let shard = |written: &WrittenShard| {
            let head = Mark {
                position: written.position,
                hash: unhex(&written.hash)?,
            };
            Some(ShardStatement {
                shard: Shard::new(written.shard)?,
                head,
                removable: written.removable,
            })
        };
        let shards: Option<Vec<ShardStatement>> = written.shards.iter().map(shard).collect();
        Ok(Self {
            serial: written.serial,
            installation: written.installation,
            at: Timestamp::parse_rfc3339(&written.at).map_err(|_| ParseStatementError)?,
            shards: shards.ok_or(ParseStatementError)?,
        })
    }
}

/// Two lower-case digits for each byte.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}
