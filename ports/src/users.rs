//! Accounts and the registrations that become accounts.

use async_trait::async_trait;
use domain::email::EmailAddress;
use domain::id::{RegistrationId, UserId};
use domain::page::{Page, PageRequest};
use domain::session::EndReason;
use domain::time::Timestamp;
use domain::token::{OneTimeToken, TokenHash};
use domain::user::{Registration, User};

use crate::{BackendError, Effects, EffectsError};

/// A change of a user with what must happen in the same transaction.
#[derive(Debug, Clone)]
pub struct UserUpdate {
    /// The user as it is to be; `version` is the one that was read, the stored one becomes one higher.
    pub user: User,
    /// A one-time token that this change uses up; all other live tokens of its purpose and subject become void.
    pub redeem: Option<TokenHash>,
    /// Sessions of the user that end with it.
    pub end_sessions: Option<SessionEnding>,
    /// When the change happens.
    pub at: Timestamp,
}

/// Which sessions of a user end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionSelection {
    /// One.
    This(domain::id::SessionId),
    /// All but one.
    Others(domain::id::SessionId),
    /// All.
    All,
}

/// An ending of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionEnding {
    /// Which.
    pub selection: SessionSelection,
    /// Why.
    pub reason: EndReason,
    /// Until when their access tokens could have lived: how long the revocations are kept.
    pub revoked_until: Timestamp,
}

/// Verified accounts.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait UserRepository: Send + Sync + 'static {
    /// The user of that id. MUST give back every field as it was stored.
    async fn find(&self, id: UserId) -> Result<Option<User>, BackendError>;

    /// The user of that address; addresses are normalised, so case does not matter.
    async fn find_by_email(&self, email: &EmailAddress) -> Result<Option<User>, BackendError>;

    /// All users, oldest first (by id). MUST visit each user once when followed to the end.
    async fn list(&self, page: &PageRequest) -> Result<Page<User>, BackendError>;

    /// Whether there is an administrator who is not disabled.
    async fn has_admin(&self) -> Result<bool, BackendError>;

    /// Makes a user. MUST refuse a taken address or id. With `first_admin` it MUST refuse when an enabled administrator exists, and use up the given token.
    async fn insert(
        &self,
        user: &User,
        first_admin: Option<TokenHash>,
        effects: &Effects,
    ) -> Result<(), InsertUserError>;

    /// Stores a changed user. MUST refuse when the stored version is not the one that was read, or the token cannot be redeemed, and then write nothing. Each ended session MUST get its revocation.
    /// When the password hash changes, the user's live tokens that reset a password MUST become void: a mail that lies about must not undo the change.
    /// A live address conflict is refused as [`UpdateUserError::EmailTaken`]. Ending the last enabled administrator (disabling or demoting) MUST be refused as [`UpdateUserError::LastAdmin`].
    async fn update(&self, update: &UserUpdate, effects: &Effects) -> Result<(), UpdateUserError>;
}

/// Why a user was not made.
#[derive(Debug, thiserror::Error)]
pub enum InsertUserError {
    /// Another user has the address.
    #[error("the address is taken")]
    EmailTaken,
    /// There is an administrator already.
    #[error("there is an administrator already")]
    AdminExists,
    /// The token is unknown, used, void or over.
    #[error("the token cannot be used")]
    TokenInvalid,
    /// The effects were refused.
    #[error(transparent)]
    Effects(#[from] EffectsError),
}

/// Why a user was not changed.
#[derive(Debug, thiserror::Error)]
pub enum UpdateUserError {
    /// Somebody else changed the user since it was read, or it is gone.
    #[error("the user has changed since it was read")]
    Stale,
    /// Another user has the address.
    #[error("the address is taken")]
    EmailTaken,
    /// The token is unknown, used, void or over.
    #[error("the token cannot be used")]
    TokenInvalid,
    /// It is the last enabled administrator.
    #[error("the last administrator cannot be disabled or demoted")]
    LastAdmin,
    /// The effects were refused.
    #[error(transparent)]
    Effects(#[from] EffectsError),
}

/// Sign-ups that wait for their address to be verified.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait RegistrationRepository: Send + Sync + 'static {
    /// Stores a registration. MUST NOT look at accounts: known and unknown addresses are alike.
    async fn insert(&self, registration: &Registration, effects: &Effects) -> Result<(), EffectsError>;

    /// The registration of that id.
    async fn find(&self, id: RegistrationId) -> Result<Option<Registration>, BackendError>;

    /// The newest registration of an address that can still be completed.
    async fn newest(&self, email: &EmailAddress, now: Timestamp) -> Result<Option<Registration>, BackendError>;

    /// Writes the effects (a new verification mail and token) for a registration that can still be completed.
    async fn remind(&self, id: RegistrationId, effects: &Effects) -> Result<(), EffectsError>;

    /// Makes the user out of a registration: stores it, marks the registration, uses up the token, and voids the other registrations of the address with their tokens.
    /// MUST be refused when the registration was completed or voided or the address is taken.
    async fn complete(
        &self,
        completion: &RegistrationCompletion,
        effects: &Effects,
    ) -> Result<(), CompleteRegistrationError>;

    /// Removes registrations that were over before `before`, completed or not, at most `limit`; gives how many.
    async fn prune(&self, before: Timestamp, limit: u32) -> Result<u64, BackendError>;
}

/// A registration that becomes a user.
#[derive(Debug, Clone)]
pub struct RegistrationCompletion {
    /// Which.
    pub registration: RegistrationId,
    /// The token that proved the address.
    pub token: TokenHash,
    /// Refuse when another registration of the address can still be completed: the token proves the mailbox, and does not tell whose password it is.
    pub alone: bool,
    /// The user to be.
    pub user: User,
    /// When.
    pub at: Timestamp,
}

/// Why a registration did not become a user.
#[derive(Debug, thiserror::Error)]
pub enum CompleteRegistrationError {
    /// It became one before.
    #[error("the registration was completed before")]
    AlreadyCompleted,
    /// Another registration of the address can still be completed, and `alone` was asked for; nothing was written.
    #[error("another registration of the address can still be completed")]
    Contested,
    /// It is void, over or unknown, its token is no longer live, or the address has an account.
    #[error("the registration can no longer be completed")]
    Gone,
    /// The effects were refused.
    #[error(transparent)]
    Effects(#[from] EffectsError),
}

/// One-time tokens; they are written as [`Effects::tokens`] and used up by the change that they allow.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait OneTimeTokenRepository: Send + Sync + 'static {
    /// The token of that hash, live or not.
    async fn find(&self, hash: &TokenHash) -> Result<Option<OneTimeToken>, BackendError>;

    /// Writes effects that belong to no other row: a token with its mail, or nothing but a dummy of equal cost.
    async fn issue(&self, effects: &Effects) -> Result<(), EffectsError>;

    /// Removes tokens that were over before `before`, at most `limit`; gives how many.
    async fn prune(&self, before: Timestamp, limit: u32) -> Result<u64, BackendError>;
}
