//! Users and the registrations that become users.

use std::fmt;
use std::str::FromStr;

use crate::email::EmailAddress;
use crate::id::{RegistrationId, UserId};
use crate::password::PasswordRecord;
use crate::tier::TierName;
use crate::time::Timestamp;

/// What a user may do beyond their own data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Their own account only.
    User,
    /// A machine of the customer's.
    Service,
    /// Every account.
    Admin,
}

impl Role {
    /// The word on the wire and in storage.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Service => "service",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Role {
    type Err = ParseRoleError;

    fn from_str(text: &str) -> Result<Self, ParseRoleError> {
        match text {
            "user" => Ok(Self::User),
            "service" => Ok(Self::Service),
            "admin" => Ok(Self::Admin),
            _ => Err(ParseRoleError),
        }
    }
}

/// A text is none of the roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be user, service or admin")]
pub struct ParseRoleError;

/// The name that a user gives: 1 to 100 code points, trimmed, without control characters, line separators or direction overrides.
#[derive(Clone, PartialEq, Eq)]
pub struct DisplayName(String);

/// A text cannot be a display name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must have 1 to 100 characters, and no control characters, line separators or direction overrides")]
pub struct ParseDisplayNameError;

impl DisplayName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DisplayName {
    type Err = ParseDisplayNameError;

    fn from_str(text: &str) -> Result<Self, ParseDisplayNameError> {
        let text = text.trim();
        // The name stands in mails and in tables of administrators: it must not break a line or turn the rest of one round.
        let bad = |c: char| {
            c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
        };
        let fits = (1..=100).contains(&text.chars().count()) && !text.contains(bad);
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseDisplayNameError)
        }
    }
}

impl fmt::Debug for DisplayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DisplayName([personal])")
    }
}

/// A verified account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// The verified address; no two users share one.
    pub email: EmailAddress,
    /// The name they gave.
    pub name: DisplayName,
    /// Their password.
    pub password: PasswordRecord,
    /// Their plan.
    pub tier: TierName,
    /// Their role.
    pub role: Role,
    /// Raised by every change that makes tokens out of date (tier, role): older tokens get `token_outdated`.
    pub epoch: u64,
    /// When an administrator disabled the account.
    pub disabled_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Counts stored changes; an update states the one that it read.
    pub version: u64,
}

/// A sign-up: its own name and password hash, none of which touches an account until its address is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Its id.
    pub id: RegistrationId,
    /// The address to verify.
    pub email: EmailAddress,
    /// The name given.
    pub name: DisplayName,
    /// The password given.
    pub password: PasswordRecord,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it can be verified.
    pub expires_at: Timestamp,
    /// The user that it became.
    pub completed_as: Option<UserId>,
    /// When another registration of the same address won.
    pub voided_at: Option<Timestamp>,
}
