//! Mail: the caller's own messages, and turning a row of the ledger into a message.

mod templates;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::id::{MailId, UserId};
use domain::mail::{Mail, MailAttempt, MailTemplate, RenderedMail};
use domain::page::{Page, PageRequest};
use domain::stats::MailStats;
use domain::time::Timestamp;
use ports::{BackendError, Clock, MailQueue, MailVerdict, SealPurpose, Sealer};
use time::OffsetDateTime;
use time::macros::format_description;
use url::form_urlencoded;

use crate::config::PublicUrl;
pub use templates::{TemplateFault, TemplateFaults, Templates, Texts, Values, environment, one_line};

/// What the service is made over.
pub struct MailParts {
    /// The ledger.
    pub queue: Arc<dyn MailQueue>,
    /// Opens the tokens.
    pub sealer: Arc<dyn Sealer>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The texts.
    pub templates: Templates,
    /// What every link begins with.
    pub public_url: PublicUrl,
    /// How long a link that verifies an address works.
    pub verify_life: Duration,
    /// How long a link that resets a password works.
    pub reset_life: Duration,
}

impl std::fmt::Debug for MailParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MailParts").finish_non_exhaustive()
    }
}

/// Mail.
pub struct Mails {
    p: MailParts,
    counters: Counters,
}

impl std::fmt::Debug for Mails {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mails")
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Counters {
    sent: AtomicU64,
    retried: AtomicU64,
    dead: AtomicU64,
    lost: AtomicU64,
}

/// What became of messages in this process since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MailCounts {
    /// Handed over.
    pub sent: u64,
    /// Attempts that failed and are tried again.
    pub retried: u64,
    /// Given up.
    pub dead: u64,
    /// Attempts whose lease was lost before they were recorded: these messages may be handed over twice.
    pub lost: u64,
}

/// A message ready to go, and where its link leads if it has one.
#[derive(Clone, PartialEq, Eq)]
pub struct Letter {
    /// The message.
    pub mail: RenderedMail,
    /// The link with its secret; for the log of a development machine alone.
    pub link: Option<String>,
}

impl std::fmt::Debug for Letter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Letter")
            .field("mail", &self.mail)
            .finish_non_exhaustive()
    }
}

/// Why a row of the ledger cannot become a message. None of these passes by waiting.
#[derive(Debug, thiserror::Error)]
pub enum RenderMailError {
    /// The row carries no token although its template needs one.
    #[error("cannot be rendered: its token is gone")]
    TokenGone,
    /// The token does not open.
    #[error("its link cannot be opened: it was sealed under another master key")]
    Sealed(#[source] BackendError),
    /// The link no longer works, so that sending it would only mislead.
    #[error("its link expired before it could be handed over")]
    Expired,
    /// A template failed.
    #[error("cannot be rendered")]
    Template(#[source] minijinja::Error),
}

impl Mails {
    /// The service over its parts.
    pub fn new(parts: MailParts) -> Self {
        Self {
            p: parts,
            counters: Counters::default(),
        }
    }

    /// The user's messages, newest first.
    ///
    /// # Errors
    /// When the backend fails.
    pub async fn list(&self, user: UserId, page: &PageRequest) -> Result<Page<Mail>, BackendError> {
        self.p.queue.list(user, page).await
    }

    /// One of the user's messages with its attempts; none for another user's.
    ///
    /// # Errors
    /// When the backend fails.
    pub async fn find(&self, user: UserId, id: MailId) -> Result<Option<(Mail, Vec<MailAttempt>)>, BackendError> {
        self.p.queue.find(user, id).await
    }

    /// What waits, over all nodes.
    ///
    /// # Errors
    /// When the backend fails.
    pub async fn stats(&self) -> Result<MailStats, BackendError> {
        self.p.queue.stats(self.p.clock.now()).await
    }

    /// What became of messages in this process.
    pub fn counts(&self) -> MailCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        MailCounts {
            sent: read(&counters.sent),
            retried: read(&counters.retried),
            dead: read(&counters.dead),
            lost: read(&counters.lost),
        }
    }

    /// Counts a recorded attempt.
    pub fn count(&self, verdict: MailVerdict) {
        let counter = match verdict {
            MailVerdict::Sent => &self.counters.sent,
            MailVerdict::Retry(_) => &self.counters.retried,
            MailVerdict::Dead => &self.counters.dead,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts attempts that could not be recorded because their lease was lost.
    pub fn count_lost(&self, attempts: usize) {
        self.counters.lost.fetch_add(attempts as u64, Ordering::Relaxed);
    }

    /// Makes the message: opens the token, builds its link from the public address, fills the template.
    ///
    /// # Errors
    /// Why it can never be made.
    pub fn render(&self, mail: &Mail) -> Result<Letter, RenderMailError> {
        let now = self.p.clock.now();
        let (link, expires) = match self.errand(mail.template) {
            Some((path, life)) => {
                let expires_at = mail.created_at.plus(life);
                if expires_at <= now {
                    return Err(RenderMailError::Expired);
                }
                (Some(self.link(path, mail)?), Some(in_words(expires_at)))
            }
            None => (None, None),
        };
        let name = mail.data.get("name").map(String::as_str);
        let values = Values {
            name,
            link: link.as_deref(),
            expires: expires.as_deref(),
        };
        let texts = self
            .p
            .templates
            .render(mail.template, &mail.locale, &values)
            .map_err(RenderMailError::Template)?;
        let mail = RenderedMail {
            id: mail.id,
            to: mail.to.clone(),
            subject: texts.subject,
            text: texts.text,
            html: texts.html,
            date: now,
        };
        Ok(Letter { mail, link })
    }

    /// The page that a template's link leads to, and how long the link works.
    fn errand(&self, template: MailTemplate) -> Option<(&'static str, Duration)> {
        match template {
            MailTemplate::VerifyEmail => Some(("/verify", self.p.verify_life)),
            MailTemplate::ResetPassword => Some(("/reset", self.p.reset_life)),
            MailTemplate::AlreadyRegistered | MailTemplate::PasswordChanged | MailTemplate::Welcome => None,
        }
    }

    fn link(&self, path: &str, mail: &Mail) -> Result<String, RenderMailError> {
        let sealed = mail.sealed_token.as_deref().ok_or(RenderMailError::TokenGone)?;
        let opened = self
            .p
            .sealer
            .open(SealPurpose::MailToken, mail.id.uuid().as_bytes(), sealed);
        let token = opened.map_err(RenderMailError::Sealed)?;
        let token: String = form_urlencoded::byte_serialize(&token).collect();
        Ok(self.p.public_url.join(&format!("{path}?token={token}")))
    }
}

/// A time as people write it: `22 November 2026, 14:05 UTC`.
fn in_words(at: Timestamp) -> String {
    let format = format_description!("[day padding:none] [month repr:long] [year], [hour]:[minute] UTC");
    let words = OffsetDateTime::from_unix_timestamp(at.seconds())
        .ok()
        .and_then(|at| at.format(format).ok());
    words.unwrap_or_else(|| at.to_rfc3339())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use domain::mail::MailState;
    use ports::{MockClock, MockMailQueue, MockSealer};
    use uuid::Uuid;

    /// 22 November 2026, 12:00 UTC.
    pub(crate) const NOON: Timestamp = Timestamp::from_seconds(1_795_348_800);

    pub(crate) fn mail(template: MailTemplate, user: Option<UserId>) -> Mail {
        Mail {
            id: MailId::new(Uuid::from_u128(7)),
            user_id: user,
            to: "anna@example.org".parse().unwrap(),
            template,
            locale: "en".to_owned(),
            data: [("name".to_owned(), "Anna".to_owned())].into(),
            sealed_token: template.carries_token().then(|| b"sealed".to_vec()),
            state: MailState::Sending,
            attempts: 1,
            next_attempt_at: NOON,
            last_reply: None,
            created_at: NOON,
            sent_at: None,
            request_id: None,
        }
    }

    /// A service at noon whose sealer opens what was sealed for the mail it is asked about.
    pub(crate) fn mails(opens: bool) -> Mails {
        let mut sealer = MockSealer::new();
        sealer.expect_open().returning(move |purpose, context, sealed| {
            assert_eq!(
                (purpose, context.len(), sealed),
                (SealPurpose::MailToken, 16, b"sealed".as_slice())
            );
            if opens {
                Ok(b"tok-en_1".to_vec())
            } else {
                Err(BackendError::permanent("crypto", "open", "wrong key"))
            }
        });
        let mut clock = MockClock::new();
        clock.expect_now().return_const(NOON);
        Mails::new(MailParts {
            queue: Arc::new(MockMailQueue::new()),
            sealer: Arc::new(sealer),
            clock: Arc::new(clock),
            templates: Templates::load(None, "Plinth").unwrap(),
            public_url: PublicUrl::parse("https://example.org/app/").unwrap(),
            verify_life: Duration::from_secs(86_400),
            reset_life: Duration::from_secs(1_800),
        })
    }

    #[test]
    fn a_link_is_the_public_address_with_its_prefix_and_the_opened_token() {
        let letter = mails(true).render(&mail(MailTemplate::VerifyEmail, None)).unwrap();
        assert_eq!(
            letter.link.as_deref(),
            Some("https://example.org/app/verify?token=tok-en_1")
        );
        assert!(
            letter
                .mail
                .text
                .contains("https://example.org/app/verify?token=tok-en_1"),
            "{}",
            letter.mail.text
        );
        assert!(
            letter.mail.text.contains("until 23 November 2026, 12:00 UTC"),
            "{}",
            letter.mail.text
        );
        let letter = mails(true).render(&mail(MailTemplate::ResetPassword, None)).unwrap();
        assert_eq!(
            letter.link.as_deref(),
            Some("https://example.org/app/reset?token=tok-en_1")
        );
        assert!(
            letter.mail.html.contains("until 22 November 2026, 12:30 UTC"),
            "{}",
            letter.mail.html
        );
        assert!(!format!("{letter:?}").contains("tok-en_1"));
    }

    #[test]
    fn a_message_without_a_token_needs_no_sealer() {
        let letter = mails(false).render(&mail(MailTemplate::PasswordChanged, None)).unwrap();
        assert_eq!(letter.link, None);
        assert_eq!(letter.mail.subject, "Your password for Plinth was changed");
        assert_eq!(letter.mail.date, NOON);
    }

    #[test]
    fn what_can_never_be_sent_says_why() {
        let reason = |mails: Mails, mail: &Mail| mails.render(mail).unwrap_err().to_string();
        let reset = mail(MailTemplate::ResetPassword, None);
        assert!(reason(mails(false), &reset).contains("another master key"));
        let blank = Mail {
            sealed_token: None,
            ..reset.clone()
        };
        assert!(reason(mails(true), &blank).contains("its token is gone"));
        let old = Mail {
            created_at: NOON.minus(Duration::from_secs(1_800)),
            ..reset
        };
        assert!(reason(mails(true), &old).contains("expired"));
    }

    #[tokio::test]
    async fn a_user_reads_their_own_messages_and_the_queue_is_asked_for_no_others() {
        let user = UserId::new(Uuid::from_u128(1));
        let mut queue = MockMailQueue::new();
        queue.expect_find().times(1).returning(move |asked, id| {
            assert_eq!((asked, id.uuid()), (user, Uuid::from_u128(9)));
            Ok(None)
        });
        let mut service = mails(true);
        service.p.queue = Arc::new(queue);
        assert_eq!(service.find(user, MailId::new(Uuid::from_u128(9))).await.unwrap(), None);
        service.count(MailVerdict::Sent);
        service.count(MailVerdict::Retry(NOON));
        service.count_lost(2);
        assert_eq!(
            service.counts(),
            MailCounts {
                sent: 1,
                retried: 1,
                dead: 0,
                lost: 2
            }
        );
    }
}
