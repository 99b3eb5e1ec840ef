//! Mail: templates, the ledger row of a message and its states.

use std::collections::BTreeMap;

use crate::email::EmailAddress;
use crate::id::{MailId, RequestId, UserId};
use crate::time::Timestamp;

/// The messages that Plinth sends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MailTemplate {
    /// Verify the address of a sign-up.
    VerifyEmail,
    /// Somebody signed up with an address that has an account.
    AlreadyRegistered,
    /// Set a new password.
    ResetPassword,
    /// The password was changed.
    PasswordChanged,
    /// The account is there: the first message to its owner.
    Welcome,
}

impl MailTemplate {
    /// Every template.
    pub const ALL: [Self; 5] = [
        Self::VerifyEmail,
        Self::AlreadyRegistered,
        Self::ResetPassword,
        Self::PasswordChanged,
        Self::Welcome,
    ];

    /// Its name in storage, on the wire and as a folder of overrides.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::AlreadyRegistered => "already_registered",
            Self::ResetPassword => "reset_password",
            Self::PasswordChanged => "password_changed",
            Self::Welcome => "welcome",
        }
    }

    /// The template of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|template| template.as_str() == name)
    }

    /// Whether it carries a one-time token, so that its body is never shown again.
    pub const fn carries_token(self) -> bool {
        matches!(self, Self::VerifyEmail | Self::ResetPassword)
    }
}

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MailState {
    /// Waits for its first or next attempt.
    Queued,
    /// A worker holds it.
    Sending,
    /// Handed over to the mail server. Final.
    Sent,
    /// Given up. Final.
    Dead,
    /// Cancelled before it was sent. Final.
    Cancelled,
}

impl MailState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Sending, Self::Sent, Self::Dead, Self::Cancelled];

    /// The word in storage and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// A message to be written into the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMail {
    /// Its id; its `Message-ID` is made from it, so that a second hand-over can be told.
    pub id: MailId,
    /// The user who may see it in their list; none while the address belongs to nobody.
    pub user_id: Option<UserId>,
    /// To whom.
    pub to: EmailAddress,
    /// Which template.
    pub template: MailTemplate,
    /// The language wanted, a BCP 47 tag.
    pub locale: String,
    /// Harmless values for the template; never a secret.
    pub data: BTreeMap<String, String>,
    /// The one-time token for its link, sealed; blanked in a final state.
    pub sealed_token: Option<Vec<u8>>,
    /// When it was written.
    pub created_at: Timestamp,
    /// The request that caused it.
    pub request_id: Option<RequestId>,
    /// Whether the bounds of one a minute and five an hour per address and template hold: when they are passed it is left out silently.
    pub limited: bool,
}

/// A message in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Its id.
    pub id: MailId,
    /// Whose list it is in.
    pub user_id: Option<UserId>,
    /// To whom.
    pub to: EmailAddress,
    /// Which template.
    pub template: MailTemplate,
    /// The language.
    pub locale: String,
    /// Values for the template.
    pub data: BTreeMap<String, String>,
    /// The sealed token, until the state is final.
    pub sealed_token: Option<Vec<u8>>,
    /// Where it stands.
    pub state: MailState,
    /// Attempts so far.
    pub attempts: u32,
    /// When the next attempt is due; meaningless in a final state.
    pub next_attempt_at: Timestamp,
    /// What the mail server said last, without control characters, at most 500 characters.
    pub last_reply: Option<String>,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it was handed over.
    pub sent_at: Option<Timestamp>,
    /// The request that caused it.
    pub request_id: Option<RequestId>,
}

/// One attempt to hand a message over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailAttempt {
    /// Counted from 1.
    pub number: u32,
    /// When.
    pub at: Timestamp,
    /// Whether the server took it.
    pub accepted: bool,
    /// What the server said.
    pub reply: String,
}

/// A message ready to be handed over: rendered, with its secrets in it. It is never stored.
#[derive(Clone, PartialEq, Eq)]
pub struct RenderedMail {
    /// The ledger id, from which the `Message-ID` is made.
    pub id: MailId,
    /// To whom.
    pub to: EmailAddress,
    /// The subject, one line.
    pub subject: String,
    /// The text part.
    pub text: String,
    /// The HTML part.
    pub html: String,
    /// The `Date` header.
    pub date: Timestamp,
}

impl std::fmt::Debug for RenderedMail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RenderedMail")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
