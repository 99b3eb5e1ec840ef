//! What a worker knows of the shards that it holds, so that a shard without held events costs no look for any.

use std::collections::BTreeMap;

use domain::event::Shard;
use domain::id::UserId;
use domain::time::Timestamp;
use ports::{Cursor, HeldVerdict, WaitingUser};

/// Events that one shard of a group may hold. When it holds so many, it waits until some of them are done or given up: a handler that fails at everything must not copy the whole log into the table of held events.
pub(super) const MOST_HELD: u64 = 10_000;

/// A user whose events are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Waiting {
    count: u64,
    due_at: Timestamp,
}

/// A shard that this worker holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    /// The last position that the group is done with.
    pub(super) position: u64,
    /// How often in a row the backend was away.
    pub(super) failures: u32,
    /// Until when the shard is left alone.
    pub(super) retry_at: Option<Timestamp>,
    users: BTreeMap<UserId, Waiting>,
}

impl Held {
    /// A shard at a position.
    pub(super) fn at(position: u64) -> Self {
        Self {
            position,
            ..Self::default()
        }
    }

    /// Whether it may be worked on.
    pub(super) fn is_ready(&self, now: Timestamp) -> bool {
        self.retry_at.is_none_or(|at| at <= now)
    }

    /// Whether it holds so much that it goes no further.
    pub(super) fn is_full(&self) -> bool {
        self.users.values().map(|waiting| waiting.count).sum::<u64>() >= MOST_HELD
    }

    /// Whether it holds events whose time has come.
    pub(super) fn has_due(&self, now: Timestamp) -> bool {
        self.users.values().any(|waiting| waiting.due_at <= now)
    }

    /// Whether it holds nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Whether it holds events of that user, behind which later ones wait.
    pub(super) fn holds(&self, user: UserId) -> bool {
        self.users.contains_key(&user)
    }

    /// The users whose events it holds.
    pub(super) fn users(&self) -> impl Iterator<Item = UserId> {
        self.users.keys().copied()
    }

    /// Puts what the store tells in place of what was known.
    pub(super) fn learn(&mut self, waiting: &[WaitingUser], shard: Shard) {
        let of_shard = waiting.iter().filter(|user| user.shard == shard);
        let known = |user: &WaitingUser| {
            let WaitingUser { count, due_at, .. } = *user;
            (user.user_id, Waiting { count, due_at })
        };
        self.users = of_shard.map(known).collect();
    }

    /// One more event of the user is held; the first of them is due then.
    pub(super) fn add(&mut self, user: UserId, due_at: Timestamp) {
        let waiting = self.users.entry(user).or_insert(Waiting { count: 0, due_at });
        waiting.count += 1;
    }

    /// What became of a held event of the user.
    pub(super) fn apply(&mut self, user: UserId, verdict: &HeldVerdict, now: Timestamp) {
        let Some(waiting) = self.users.get_mut(&user) else {
            return;
        };
        match verdict {
            HeldVerdict::Retry(_, at) => waiting.due_at = *at,
            HeldVerdict::Done | HeldVerdict::Dead(_) => {
                waiting.count = waiting.count.saturating_sub(1);
                waiting.due_at = now;
                if waiting.count == 0 {
                    self.users.remove(&user);
                }
            }
        }
    }

    /// Where it stands.
    pub(super) const fn cursor(&self, shard: Shard) -> Cursor {
        Cursor {
            shard,
            position: self.position,
        }
    }
}
