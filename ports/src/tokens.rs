//! Signing keys as they are stored, and the tokens made with them.

use async_trait::async_trait;
use domain::time::Timestamp;
use domain::token::{Claims, KeyStatus, SigningKey};

use crate::{BackendError, Effects, EffectsError};

/// Signing keys in the database, shared by all nodes.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait SigningKeyRepository: Send + Sync + 'static {
    /// All keys, oldest first.
    async fn list(&self) -> Result<Vec<SigningKey>, BackendError>;

    /// Stores a key. With `only_first` it MUST do nothing and give false when there is a key already: many nodes may start at once.
    async fn insert(&self, key: &SigningKey, only_first: bool, effects: &Effects) -> Result<bool, EffectsError>;

    /// Moves a key from one status to another and gives whether it was in the first; becoming active MUST retire the active one in the same transaction, with `at` as its `retired_at`.
    async fn transition(
        &self,
        kid: &str,
        from: KeyStatus,
        to: KeyStatus,
        at: Timestamp,
        effects: &Effects,
    ) -> Result<bool, EffectsError>;
}

/// A public key as it is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedKey {
    /// The PASERK id.
    pub kid: String,
    /// The key as PASERK `k4.public`.
    pub paserk: String,
    /// Its status.
    pub status: KeyStatus,
}

/// The keys that this process signs and verifies with. Nothing here waits: keys are loaded before.
#[cfg_attr(feature = "mocks", mockall::automock)]
pub trait TokenKeyring: Send + Sync + 'static {
    /// Makes a key pair with its secret sealed; it is not in use until it is stored and loaded.
    fn generate(&self, status: KeyStatus, now: Timestamp, activates_at: Timestamp) -> Result<SigningKey, BackendError>;

    /// Takes these keys in place of those before. MUST keep the old ones when one cannot be opened.
    fn load(&self, keys: &[SigningKey]) -> Result<(), BackendError>;

    /// The keys that verify, as they are published.
    fn published(&self) -> Vec<PublishedKey>;
}

/// Issues access tokens.
#[cfg_attr(feature = "mocks", mockall::automock)]
pub trait TokenIssuer: Send + Sync + 'static {
    /// Signs the claims with the active key. Fails when none is loaded.
    fn issue(&self, claims: &Claims) -> Result<String, BackendError>;
}

/// Verifies access tokens.
#[cfg_attr(feature = "mocks", mockall::automock)]
pub trait TokenVerifier: Send + Sync + 'static {
    /// The claims of a genuine token. MUST find the key by `kid` and fail closed: unknown or revoked key, other issuer or audience, a changed byte anywhere, an oversized footer, `exp` reached, `nbf` more than 60 s ahead.
    fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, VerifyTokenError>;
}

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyTokenError {
    /// Not one of ours, or tampered with.
    #[error("the token is not genuine")]
    Invalid,
    /// Genuine, and over.
    #[error("the token has expired")]
    Expired,
}
