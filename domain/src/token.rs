//! Tokens: the claims of an access token, signing keys and their life, one-time tokens.

use std::fmt;
use std::time::Duration;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::email::EmailAddress;
use crate::id::{RegistrationId, SessionId, UserId};
use crate::tier::TierName;
use crate::time::Timestamp;
use crate::user::Role;

/// What an access token says. Times have whole seconds on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// `sub`: the user.
    pub subject: UserId,
    /// `tier`: the plan, never stale thanks to `epoch`.
    pub tier: TierName,
    /// `role`.
    pub role: Role,
    /// `sid`: the session.
    pub session: SessionId,
    /// `epoch`: compared with the user's least valid one.
    pub epoch: u64,
    /// `scope`: what a narrowed token may do; empty for a full session.
    pub scope: Vec<String>,
    /// `amr`: how the user proved who they are (RFC 8176), for example `pwd`.
    pub methods: Vec<String>,
    /// `auth_time`: when they last did.
    pub authenticated_at: Timestamp,
    /// `act`: the administrator who impersonates the subject (RFC 8693).
    pub actor: Option<UserId>,
    /// `aud`.
    pub audience: String,
    /// `iss`.
    pub issuer: String,
    /// `iat`.
    pub issued_at: Timestamp,
    /// `nbf`.
    pub not_before: Timestamp,
    /// `exp`.
    pub expires_at: Timestamp,
    /// `jti`.
    pub token_id: Uuid,
}

/// The life of a signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyStatus {
    /// Published and verifying, not yet signing: caches learn of it first.
    Pending,
    /// The one that signs.
    Active,
    /// Signs no more, verifies until the last token of its is over.
    Retiring,
    /// Verifies nothing.
    Revoked,
}

impl KeyStatus {
    /// The word on the wire and in storage.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Retiring => "retiring",
            Self::Revoked => "revoked",
        }
    }

    /// The status of that word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Pending, Self::Active, Self::Retiring, Self::Revoked]
            .into_iter()
            .find(|status| status.as_str() == word)
    }

    /// Whether a token signed by such a key is taken.
    pub const fn verifies(self) -> bool {
        !matches!(self, Self::Revoked)
    }
}

/// A signing key as it is stored: the secret half sealed under the master key.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// The PASERK id (`k4.pid.…`) that stands as `kid` in the footer.
    pub kid: String,
    /// The public half as PASERK (`k4.public.…`).
    pub public: String,
    /// The secret half, sealed.
    pub sealed_secret: Vec<u8>,
    /// Where it is in its life.
    pub status: KeyStatus,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it became, or is to become, the signing one.
    pub activates_at: Timestamp,
    /// When it stopped signing.
    pub retired_at: Option<Timestamp>,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// What a one-time token may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenPurpose {
    /// Verify the address of a registration.
    VerifyEmail,
    /// Set a new password.
    ResetPassword,
    /// Make the first administrator.
    Setup,
}

impl TokenPurpose {
    /// Every purpose.
    pub const ALL: [Self; 3] = [Self::VerifyEmail, Self::ResetPassword, Self::Setup];

    /// The word in storage.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::ResetPassword => "reset_password",
            Self::Setup => "setup",
        }
    }

    /// The purpose of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == word)
    }

    /// How long such a token lives.
    pub const fn life(self) -> Duration {
        match self {
            Self::VerifyEmail => Duration::from_secs(24 * 3_600),
            Self::ResetPassword | Self::Setup => Duration::from_secs(30 * 60),
        }
    }
}

/// SHA-256 of a one-time token: what is stored. The token has 256 random bits, so a plain hash cannot be searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of the token as it stands in the link.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// As stored.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// For storage.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Whom a one-time token speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenSubject {
    /// A user.
    User(UserId),
    /// A registration.
    Registration(RegistrationId),
    /// The installation itself.
    Installation,
}

/// A one-time token as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneTimeToken {
    /// Its hash.
    pub hash: TokenHash,
    /// What it may be used for.
    pub purpose: TokenPurpose,
    /// Whom it speaks for.
    pub subject: TokenSubject,
    /// The address that it was sent to; a token outlives no change of address.
    pub email: Option<EmailAddress>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it is good.
    pub expires_at: Timestamp,
    /// When it was used.
    pub used_at: Option<Timestamp>,
    /// When something else made it void.
    pub voided_at: Option<Timestamp>,
}

impl OneTimeToken {
    /// Whether it can be used now.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.used_at.is_none() && self.voided_at.is_none() && now < self.expires_at
    }
}
