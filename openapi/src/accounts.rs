//! Bodies about accounts.
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Text, Time};

/// A sign-up.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object), oai(deny_unknown_fields))]
pub struct RegisterBody {
    /// The e-mail address, which a mailed link verifies.
    pub email: Text,
    /// 15 to 256 characters (the least is configurable), any characters, not easy to guess.
    pub password: Text,
    /// The name to be called by, 1 to 100 characters.
    pub name: Text,
}

/// An address.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object), oai(deny_unknown_fields))]
pub struct EmailBody {
    /// The e-mail address.
    pub email: Text,
}

/// A one-time token from a mail.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object), oai(deny_unknown_fields))]
pub struct TokenBody {
    /// What stands behind `token=` in the mailed link.
    pub token: Text,
}

/// A new password by a mailed token.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object), oai(deny_unknown_fields))]
pub struct ResetPasswordBody {
    /// What stands behind `token=` in the mailed link.
    pub token: Text,
    /// The new password.
    pub password: Text,
}

/// A new password by the current one.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object), oai(deny_unknown_fields))]
pub struct ChangePasswordBody {
    /// The current password.
    pub current_password: Text,
    /// The new password.
    pub password: Text,
}

/// The first administrator.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object), oai(deny_unknown_fields))]
pub struct SetupBody {
    /// The one-time set-up token that the server printed at its start.
    pub token: Text,
    /// The administrator's e-mail address.
    pub email: Text,
    /// The administrator's password.
    pub password: Text,
}

/// A merge patch of the own account: what is left out stays as it is.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object), oai(deny_unknown_fields))]
pub struct PatchMeBody {
    /// The name to be called by, 1 to 100 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Text>,
}

/// A plan by its name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object), oai(deny_unknown_fields))]
pub struct TierBody {
    /// One of the configured plans, such as `free`, `pro` or `enterprise`.
    pub tier: Text,
}

/// A user.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct UserBody {
    /// The id.
    pub id: Uuid,
    /// The verified e-mail address.
    pub email: String,
    /// The name to be called by.
    pub name: String,
    /// The plan.
    pub tier: String,
    /// `user`, `service` or `admin`.
    pub role: String,
    /// Whether an administrator disabled the account.
    pub disabled: bool,
    /// When it was made.
    pub created_at: Time,
    /// When it was last changed.
    pub updated_at: Time,
}

/// A page of users.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct UserPageBody {
    /// The users, oldest first.
    pub items: Vec<UserBody>,
    /// Give this as `after` for the next page; null on the last.
    pub next_cursor: Option<String>,
}

/// What the caller used this month, and what they may use.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct UsageBody {
    /// The plan.
    pub tier: String,
    /// The features that the plan gives, in the words of the product.
    pub features: Vec<String>,
    /// Bytes stored now.
    pub storage_bytes: u64,
    /// Bytes that the plan allows to be stored.
    pub storage_bytes_limit: u64,
    /// Files stored now.
    pub files: u64,
    /// Figures of this calendar month (UTC), by meter. They follow the event log and may be a moment behind.
    pub meters: Vec<MeterBody>,
}

/// One figure.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct MeterBody {
    /// What is counted, such as `events`.
    pub meter: String,
    /// How much.
    pub amount: u64,
}

#[cfg(feature = "server")]
impl From<&domain::user::User> for UserBody {
    fn from(user: &domain::user::User) -> Self {
        Self {
            id: user.id.uuid(),
            email: user.email.to_string(),
            name: user.name.as_str().to_owned(),
            tier: user.tier.to_string(),
            role: user.role.as_str().to_owned(),
            disabled: user.disabled_at.is_some(),
            created_at: user.created_at.into(),
            updated_at: user.updated_at.into(),
        }
    }
}

macro_rules! redacted {
    ($($name:ident)*) => {$(
        /// Shows nothing: it holds secrets or personal data.
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), " { .. }"))
            }
        }
    )*};
}
pub(crate) use redacted;

redacted!(RegisterBody EmailBody TokenBody ResetPasswordBody ChangePasswordBody SetupBody PatchMeBody);
