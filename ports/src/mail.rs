//! The mail ledger and the hand-over.

use std::time::Duration;

use async_trait::async_trait;
use domain::id::{MailId, UserId};
use domain::mail::{Mail, MailAttempt, RenderedMail};
use domain::page::{Page, PageRequest};
use domain::stats::MailStats;
use domain::time::Timestamp;

use crate::{BackendError, Effects, EffectsError};

/// What became of a claimed message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailOutcome {
    /// Which.
    pub id: MailId,
    /// When it was tried.
    pub at: Timestamp,
    /// What the server said, one line of at most 500 characters.
    pub reply: String,
    /// What follows.
    pub verdict: MailVerdict,
}

/// What follows an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailVerdict {
    /// Handed over. Final; the sealed token is blanked.
    Sent,
    /// To be tried again then.
    Retry(Timestamp),
    /// Given up. Final; the sealed token is blanked.
    Dead,
}

/// The mail ledger; messages come into it as [`Effects::mails`].
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait MailQueue: Send + Sync + 'static {
    /// Takes at most `limit` due messages for `owner` until `now + lease`, oldest due first, and counts the attempt. Of many claimants each message MUST go to one. A message whose lease is over is due again.
    async fn claim(&self, owner: &str, now: Timestamp, lease: Duration, limit: u32) -> Result<Vec<Mail>, BackendError>;

    /// Records what became of messages that `owner` still holds, each with an attempt row, in one transaction with the effects; gives those recorded. One that was lost to another owner MUST be left alone; the effects are written when at least one was recorded.
    async fn settle(
        &self,
        owner: &str,
        outcomes: &[MailOutcome],
        effects: &Effects,
    ) -> Result<Vec<MailId>, EffectsError>;

    /// One of the user's messages with its attempts. Another user's id MUST give none.
    async fn find(&self, user: UserId, id: MailId) -> Result<Option<(Mail, Vec<MailAttempt>)>, BackendError>;

    /// The user's messages, newest first.
    async fn list(&self, user: UserId, page: &PageRequest) -> Result<Page<Mail>, BackendError>;

    /// What waits.
    async fn stats(&self, now: Timestamp) -> Result<MailStats, BackendError>;
}

/// Hands a message over to the world.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait Mailer: Send + Sync + 'static {
    /// Goes as far as a hand-over goes without a message (a server is reached and signed in to, a folder is written to) and says in one line what it found. MUST hand nothing over and leave nothing behind.
    async fn check(&self) -> Result<String, SendMailError>;

    /// Hands over; gives the server's reply, one line. The `Message-ID` MUST be made from the ledger id alone, so that a second hand-over can be told. A header MUST NOT be injectable through any field.
    async fn send(&self, mail: &RenderedMail) -> Result<String, SendMailError>;
}

/// Why a message was not handed over.
#[derive(Debug, thiserror::Error)]
pub enum SendMailError {
    /// The server said to come back (4yz, RFC 5321 section 4.2.1) or could not be reached.
    #[error("the mail server asks to try later")]
    TryLater(String),
    /// The server refused for good (5yz).
    #[error("the mail server refused the message")]
    Refused(String),
}
