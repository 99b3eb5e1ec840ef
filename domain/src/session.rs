//! Sessions, the refresh family and revocation.

use std::time::Duration;

use crate::id::{SessionId, UserId};
use crate::time::Timestamp;

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// The user logged out.
    Logout,
    /// The user ended it from another session.
    Revoked,
    /// The password was changed or reset.
    PasswordChanged,
    /// An administrator disabled the account.
    Disabled,
    /// A refresh token was used a second time.
    RefreshReuse,
}

impl EndReason {
    /// Every reason.
    pub const ALL: [Self; 5] = [
        Self::Logout,
        Self::Revoked,
        Self::PasswordChanged,
        Self::Disabled,
        Self::RefreshReuse,
    ];

    /// The word in storage and in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::Revoked => "revoked",
            Self::PasswordChanged => "password_changed",
            Self::Disabled => "disabled",
            Self::RefreshReuse => "refresh_reuse",
        }
    }

    /// The reason of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}

/// How long sessions live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionPolicy {
    /// Ends when not refreshed for this long (7 days by default).
    pub idle: Duration,
    /// Ends in any case after this long (90 days by default).
    pub absolute: Duration,
    /// For this long after its first use the parent token gets the same child again (10 s by default).
    pub grace: Duration,
}

impl Default for SessionPolicy {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(7 * 86_400),
            absolute: Duration::from_secs(90 * 86_400),
            grace: Duration::from_secs(10),
        }
    }
}

/// One login on one device, and the family of refresh tokens that keeps it alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last refreshed.
    pub last_used_at: Timestamp,
    /// The generation of the newest refresh token, which was not used yet.
    pub generation: u32,
    /// When the token before the newest was first used.
    pub rotated_at: Option<Timestamp>,
    /// How the user proved who they are (RFC 8176).
    pub methods: Vec<String>,
    /// When they last did.
    pub authenticated_at: Timestamp,
    /// What the client called itself, shortened.
    pub user_agent: Option<String>,
    /// When and why it ended.
    pub ended: Option<(Timestamp, EndReason)>,
}

/// What to do with a refresh token whose seal was genuine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshDecision {
    /// The newest token: issue this generation.
    Rotate(u32),
    /// The parent of an unused child, within the grace: give that child again.
    Repeat(u32),
    /// A token that was used before: somebody else may hold a copy, the session must end.
    Reuse,
    /// The session ended already.
    Ended,
    /// Idle or in all too long.
    Expired,
}

impl Session {
    /// When it ends if nothing happens.
    pub fn expires_at(&self, policy: &SessionPolicy) -> Timestamp {
        self.last_used_at
            .plus(policy.idle)
            .min(self.created_at.plus(policy.absolute))
    }

    /// Judges a presented generation.
    pub fn present(&self, generation: u32, now: Timestamp, policy: &SessionPolicy) -> RefreshDecision {
        if self.ended.is_some() {
            return RefreshDecision::Ended;
        }
        if now >= self.expires_at(policy) {
            return RefreshDecision::Expired;
        }
        if generation == self.generation {
            // A family without a next generation is at its end: to give the same one twice would hide a reuse.
            return generation
                .checked_add(1)
                .map_or(RefreshDecision::Expired, RefreshDecision::Rotate);
        }
        let in_grace = self.rotated_at.is_some_and(|at| now < at.plus(policy.grace));
        if in_grace && generation.checked_add(1) == Some(self.generation) {
            return RefreshDecision::Repeat(self.generation);
        }
        RefreshDecision::Reuse
    }
}

/// Something that makes access tokens void before they expire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RevokedSubject {
    /// All tokens of the user: the account is disabled.
    User(UserId),
    /// All tokens of one session.
    Session(SessionId),
    /// Tokens of the user with a lower epoch.
    Epoch(UserId, u64),
}

/// A revocation; it needs to be known only as long as a token issued before it may live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// What is void.
    pub subject: RevokedSubject,
    /// Since when.
    pub at: Timestamp,
    /// When the last token that it concerns is over.
    pub expires_at: Timestamp,
}
