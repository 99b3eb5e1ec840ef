//! Moves of cursors that are written a little later, several in one commit.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::event::Shard;
use domain::time::Timestamp;

/// How often the moves of cursors alone are written, at most: each is a commit beside those of publishers, and what is forgotten of them is only handed out once more.
pub(super) const WRITING: Duration = Duration::from_millis(50);
/// After how many events they are written in any case.
const MOST_UNWRITTEN: u64 = 200;

/// Moves of cursors that the store has not heard of.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    /// Where the store has the cursors.
    pub(super) from: BTreeMap<Shard, u64>,
    /// How many events they pass.
    events: u64,
    /// When moves were written last.
    written_at: Option<Timestamp>,
}

impl Unwritten {
    /// Nothing, since all was written then.
    pub(super) fn written(at: Timestamp) -> Self {
        Self {
            written_at: Some(at),
            ..Self::default()
        }
    }

    /// One more move of a cursor that was at `from`.
    pub(super) fn add(&mut self, shard: Shard, from: u64, events: u64) {
        self.from.entry(shard).or_insert(from);
        self.events += events;
    }

    /// Whether they are to be written now.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        // A clock that was set back must not keep them from being written.
        let long_ago = |at: Timestamp| now < at || now.since(at) >= WRITING;
        !self.from.is_empty() && (self.events >= MOST_UNWRITTEN || self.written_at.is_none_or(long_ago))
    }
}
