//! Bodies about mail.
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Time;

/// A message in the ledger. Its body is never shown: it may have held a one-time token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct MailBody {
    /// The id, from which the `Message-ID` is made.
    pub id: Uuid,
    /// The template, such as `reset_password`.
    pub template: String,
    /// To whom.
    pub to: String,
    /// `queued`, `sending`, `sent`, `dead` or `cancelled`.
    pub state: String,
    /// Attempts so far.
    pub attempts: u32,
    /// When the next attempt is due; null in a final state.
    pub next_attempt_at: Option<Time>,
    /// What the mail server said last.
    pub last_reply: Option<String>,
    /// When it was written.
    pub created_at: Time,
    /// When it was handed over.
    pub sent_at: Option<Time>,
}

/// A message with its attempts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct MailDetailBody {
    /// The id.
    pub id: Uuid,
    /// The template.
    pub template: String,
    /// To whom.
    pub to: String,
    /// `queued`, `sending`, `sent`, `dead` or `cancelled`.
    pub state: String,
    /// When the next attempt is due; null in a final state.
    pub next_attempt_at: Option<Time>,
    /// When it was written.
    pub created_at: Time,
    /// When it was handed over.
    pub sent_at: Option<Time>,
    /// The attempts, oldest first.
    pub attempts: Vec<MailAttemptBody>,
}

/// One attempt to hand a message over.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct MailAttemptBody {
    /// Counted from 1.
    pub number: u32,
    /// When.
    pub at: Time,
    /// Whether the server took it.
    pub accepted: bool,
    /// What the server said.
    pub reply: String,
}

/// A page of messages.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct MailPageBody {
    /// The messages, newest first.
    pub items: Vec<MailBody>,
    /// Give this as `after` for the next page; null on the last.
    pub next_cursor: Option<String>,
}

#[cfg(feature = "server")]
mod server {
    use domain::mail::{Mail, MailAttempt, MailState};

    use super::{MailAttemptBody, MailBody, MailDetailBody};
    use crate::Time;

    fn next_attempt(mail: &Mail) -> Option<Time> {
        matches!(mail.state, MailState::Queued | MailState::Sending).then(|| mail.next_attempt_at.into())
    }

    impl From<&Mail> for MailBody {
        fn from(mail: &Mail) -> Self {
            Self {
                id: mail.id.uuid(),
                template: mail.template.as_str().to_owned(),
                to: mail.to.to_string(),
                state: mail.state.as_str().to_owned(),
                attempts: mail.attempts,
                next_attempt_at: next_attempt(mail),
                last_reply: mail.last_reply.clone(),
                created_at: mail.created_at.into(),
                sent_at: mail.sent_at.map(Into::into),
            }
        }
    }

    impl From<&(Mail, Vec<MailAttempt>)> for MailDetailBody {
        fn from((mail, attempts): &(Mail, Vec<MailAttempt>)) -> Self {
            Self {
                id: mail.id.uuid(),
                template: mail.template.as_str().to_owned(),
                to: mail.to.to_string(),
                state: mail.state.as_str().to_owned(),
                next_attempt_at: next_attempt(mail),
                created_at: mail.created_at.into(),
                sent_at: mail.sent_at.map(Into::into),
                attempts: attempts.iter().map(Into::into).collect(),
            }
        }
    }

    impl From<&MailAttempt> for MailAttemptBody {
        fn from(attempt: &MailAttempt) -> Self {
            Self {
                number: attempt.number,
                at: attempt.at.into(),
                accepted: attempt.accepted,
                reply: attempt.reply.clone(),
            }
        }
    }
}
