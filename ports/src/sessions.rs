//! Sessions, revocations and what is remembered of sign-ins.

use async_trait::async_trait;
use domain::id::{SessionId, UserId};
use domain::page::{Page, PageRequest};
use domain::password::PasswordRecord;
use domain::session::{Revocation, Session, SessionPolicy};
use domain::time::Timestamp;

use crate::{BackendError, Effects, EffectsError, SessionEnding};

/// Before which moments sessions are over by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionHorizon {
    /// One that was last used then or earlier is over.
    pub used: Timestamp,
    /// One that was made then or earlier is over, however much it is used.
    pub created: Timestamp,
}

impl SessionHorizon {
    /// The horizon of sessions of that policy at `now`: what [`Session::expires_at`] tells of each one.
    pub fn at(now: Timestamp, policy: &SessionPolicy) -> Self {
        Self {
            used: now.minus(policy.idle),
            created: now.minus(policy.absolute),
        }
    }
}

/// Sessions.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait SessionRepository: Send + Sync + 'static {
    /// Stores a new session. MUST be refused as [`InsertSessionError::UserGone`] when the user is missing or disabled at that moment, and as
    /// [`InsertSessionError::PasswordChanged`] when the user's password is no longer the one that was proven: proving takes long, and a reset in between ends the sessions that it sees.
    async fn insert(
        &self,
        session: &Session,
        proven: &PasswordRecord,
        effects: &Effects,
    ) -> Result<(), InsertSessionError>;

    /// The session of that id, ended or not. MUST give back every field as it was stored.
    async fn find(&self, id: SessionId) -> Result<Option<Session>, BackendError>;

    /// The user's sessions that have not ended and are not over by themselves, newest first. A page that has a next one MUST be full.
    async fn list(
        &self,
        user: UserId,
        horizon: &SessionHorizon,
        page: &PageRequest,
    ) -> Result<Page<Session>, BackendError>;

    /// Moves a session one refresh generation on and sets `last_used_at` and `rotated_at` to `at`. Of many callers with the same `from` exactly one MUST succeed.
    async fn advance(
        &self,
        id: SessionId,
        from: u32,
        at: Timestamp,
        effects: &Effects,
    ) -> Result<(), AdvanceSessionError>;

    /// Ends sessions of the user that have not ended, writes a revocation for each, and gives how many. When there was none, MUST write nothing, the effects neither.
    async fn end(
        &self,
        user: UserId,
        ending: &SessionEnding,
        at: Timestamp,
        effects: &Effects,
    ) -> Result<u64, EffectsError>;

    /// Removes sessions that ended before `ended_before` and those that were over by themselves, at most `limit`; gives how many. MUST NOT remove any other.
    async fn prune(&self, horizon: &SessionHorizon, ended_before: Timestamp, limit: u32) -> Result<u64, BackendError>;
}

/// Why a session was not stored.
#[derive(Debug, thiserror::Error)]
pub enum InsertSessionError {
    /// The user is missing or disabled.
    #[error("the user is gone or disabled")]
    UserGone,
    /// The user has another password, or another hash of it, than the one that was proven.
    #[error("the password has changed since it was proven")]
    PasswordChanged,
    /// The effects were refused.
    #[error(transparent)]
    Effects(#[from] EffectsError),
}

/// Why a session did not move on.
#[derive(Debug, thiserror::Error)]
pub enum AdvanceSessionError {
    /// It is not at that generation (any more), or it ended.
    #[error("the session has moved on or ended")]
    Stale,
    /// The effects were refused.
    #[error(transparent)]
    Effects(#[from] EffectsError),
}

/// A revocation with its place in the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FedRevocation {
    /// Grows with each row, but rows may become visible out of order.
    pub sequence: i64,
    /// The revocation.
    pub revocation: Revocation,
}

/// Revocations as every process follows them.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait RevocationFeed: Send + Sync + 'static {
    /// All rows with a greater sequence that are still of use at `now`, in the order of their sequence. MUST see every committed row. The caller overlaps its polls, since a row may commit after one with a greater sequence.
    async fn after(&self, sequence: i64, now: Timestamp) -> Result<Vec<FedRevocation>, BackendError>;

    /// Whether anything may have been written since the last call. A backend that cannot tell cheaply says yes.
    async fn changed(&self) -> Result<bool, BackendError>;

    /// Removes rows that are of no more use, at most `limit`; gives how many.
    async fn prune(&self, now: Timestamp, limit: u32) -> Result<u64, BackendError>;
}

/// What is remembered of sign-ins, so that guessing is slowed and owners are not locked out.
///
/// Accounts and clients are opaque keyed hashes: no address is stored.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait SignInLedger: Send + Sync + 'static {
    /// Counts a failed sign-in for the account key and gives the failures of the current UTC day with it.
    async fn record_failure(&self, account: &[u8; 32], now: Timestamp) -> Result<u64, BackendError>;

    /// Failures of the account key on the current UTC day.
    async fn failures(&self, account: &[u8; 32], now: Timestamp) -> Result<u64, BackendError>;

    /// Remembers that the client signed in to the account.
    async fn remember(&self, account: &[u8; 32], client: &[u8; 32], now: Timestamp) -> Result<(), BackendError>;

    /// Whether the client signed in to the account since then.
    async fn knows(&self, account: &[u8; 32], client: &[u8; 32], since: Timestamp) -> Result<bool, BackendError>;

    /// Removes what is older than then, at most `limit` rows; gives how many.
    async fn prune(&self, before: Timestamp, limit: u32) -> Result<u64, BackendError>;
}
