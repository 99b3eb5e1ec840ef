//! Password hashing, sealing, and the codes that are derived from the master key.

use async_trait::async_trait;
use domain::histogram::Snapshot;
use domain::id::{FileId, SessionId};
use domain::password::{Password, PasswordRecord};
use domain::time::Timestamp;
use std::time::Duration;

use crate::BackendError;

/// Hashes and verifies passwords off the async workers.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait PasswordHasher: Send + Sync + 'static {
    /// Hashes with the configured cost. Every byte MUST count: two passwords that differ anywhere never share a hash. `client` names who asks (an address prefix): the queue is fair between clients and none holds over a quarter of it.
    async fn hash(&self, client: &str, password: &Password) -> Result<PasswordRecord, HashPasswordError>;

    /// Whether the password is the recorded one. Without a record it MUST do the same work and say no, so that time tells nothing.
    /// `record` is owned since it is handed to another thread.
    async fn verify(
        &self,
        client: &str,
        password: &Password,
        record: Option<PasswordRecord>,
    ) -> Result<bool, HashPasswordError>;

    /// Whether the record was made with another scheme, cost or pepper than new ones are.
    fn is_outdated(&self, record: &PasswordRecord) -> bool;

    /// How many calls wait now, and how many may.
    fn queue(&self) -> HashQueueStats;
}

/// The state of the hashing queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashQueueStats {
    /// Calls that wait.
    pub waiting: usize,
    /// Calls that may wait.
    pub capacity: usize,
    /// Calls under way.
    pub running: usize,
    /// Calls refused since the start.
    pub shed: u64,
    /// How long calls took that were not refused, the wait for their turn included.
    pub time: Snapshot,
}

/// Why a password was not hashed.
#[derive(Debug, thiserror::Error)]
pub enum HashPasswordError {
    /// Too many wait: try again later.
    #[error("too many passwords are being hashed")]
    Overloaded {
        /// When it is worth trying again, at least a second.
        retry_after: Duration,
    },
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// What a secret is sealed for: each use has its own sub-key of the master key, so that one sealed thing never opens as another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SealPurpose {
    /// The secret half of a signing key.
    SigningKey,
    /// The one-time token of a message in the ledger.
    MailToken,
    /// The secret that signs what is sent to a webhook.
    WebhookSecret,
    /// A ticket for a live stream.
    StreamTicket,
}

/// Seals secrets for storage under the master key.
#[cfg_attr(feature = "mocks", mockall::automock)]
pub trait Sealer: Send + Sync + 'static {
    /// Seals. `context` is bound to the result (an id, say) and must be given again to open it.
    fn seal(&self, purpose: SealPurpose, context: &[u8], secret: &[u8]) -> Result<Vec<u8>, BackendError>;

    /// Opens. MUST fail for another purpose, another context, another master key or any changed byte.
    fn open(&self, purpose: SealPurpose, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, BackendError>;

    /// A fingerprint of the master key that does not tell the key.
    fn fingerprint(&self) -> [u8; 32];

    /// A keyed hash for a stored look-up key (an account, a client address) that nobody can guess from a dump.
    fn blind(&self, label: &str, text: &str) -> [u8; 32];
}

/// Refresh tokens: session id and generation under a keyed code, so that the same child can be made again and nothing usable is stored.
#[cfg_attr(feature = "mocks", mockall::automock)]
pub trait RefreshTokenCodec: Send + Sync + 'static {
    /// The token of that session and generation; always the same.
    fn encode(&self, session: SessionId, generation: u32) -> String;

    /// What a genuine token says. MUST give none for anything that was not encoded with this key, in constant time.
    fn decode(&self, token: &str) -> Option<(SessionId, u32)>;
}

/// What a signed link allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkGrant {
    /// The HTTP method, `GET` or `PUT`.
    pub method: String,
    /// The file.
    pub file: FileId,
    /// Until when, whole seconds.
    pub expires_at: Timestamp,
    /// `attachment` or `inline`.
    pub disposition: String,
}

/// Signs links to our own download route.
#[cfg_attr(feature = "mocks", mockall::automock)]
pub trait LinkSigner: Send + Sync + 'static {
    /// The signature, URL-safe text. MUST cover version, method, file, expiry and disposition.
    fn sign(&self, grant: &LinkGrant) -> String;

    /// Whether the signature is genuine, compared in constant time. It does not look at the time.
    fn verify(&self, grant: &LinkGrant, signature: &str) -> bool;
}
