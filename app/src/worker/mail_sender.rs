//! The mail sender: claims due messages, hands them over, records what became of them.

use std::sync::Arc;
use std::time::Duration;

use domain::event::{Event, OwnEvent};
use domain::mail::Mail;
use domain::retry::RetrySchedule;
use domain::time::Timestamp;
use futures_util::{StreamExt, stream};
use ports::{BackendError, Effects, EffectsError, MailOutcome, MailQueue, MailVerdict, Mailer, SendMailError, Wakeup};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout_at};

use crate::lifecycle::Shutdown;
use crate::service::mail::{Mails, one_line};
use crate::service::{Origin, Toolkit};

/// The longest wait without a signal: another process may have written the message.
const LONGEST_POLL: Duration = Duration::from_millis(500);
/// The wait after the ledger failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// The wait before an unrecorded batch is recorded again.
const BEFORE_RECORDING_AGAIN: Duration = Duration::from_millis(100);
/// The longest reply that is kept, in characters, as [`MailOutcome::reply`] says.
const REPLY_LENGTH: usize = 500;
/// How many rounds of concurrent hand-overs one claim may be for, while the mail server is quick.
const MOST_ROUNDS: usize = 8;

/// What the sender is made over.
pub struct SenderParts {
    /// Time, randomness, ids, the bell.
    pub toolkit: Toolkit,
    /// The ledger.
    pub queue: Arc<dyn MailQueue>,
    /// Where messages go.
    pub mailer: Arc<dyn Mailer>,
    /// Makes messages of rows.
    pub mails: Arc<Mails>,
}

impl std::fmt::Debug for SenderParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SenderParts").finish_non_exhaustive()
    }
}

/// How the sender works.
#[derive(Debug, Clone)]
pub struct SenderSettings {
    /// Who holds the leases; no two senders may share a name.
    pub owner: String,
    /// How many messages are handed over at once, at least 1.
    pub concurrency: usize,
    /// How long a claim is held. A hand-over may take two thirds of it; the rest is for recording.
    pub lease: Duration,
    /// Whether the link of each message goes to the log: only where nobody else reads it and no mail leaves the machine.
    pub show_links: bool,
}

/// Hands messages over. Many senders may work on one ledger.
///
/// A message is handed over twice only when a process dies or loses its lease between the hand-over and its record; both
/// then have the same `Message-ID`.
#[derive(Debug)]
pub struct MailSender {
    p: SenderParts,
    settings: SenderSettings,
    rounds: usize,
}

/// An attempt that has an outcome.
#[derive(Debug)]
struct Attempt<'a> {
    mail: &'a Mail,
    outcome: MailOutcome,
}

impl MailSender {
    /// A sender over its parts.
    pub fn new(parts: SenderParts, settings: SenderSettings) -> Self {
        Self {
            p: parts,
            settings: SenderSettings {
                concurrency: settings.concurrency.max(1),
                ..settings
            },
            rounds: 1,
        }
    }

    /// Works until draining begins, and finishes the batch in hand.
    pub async fn run(mut self, shutdown: Shutdown) {
        while !shutdown.is_draining() {
            let sound = match self.step().await {
                Ok(0) => true,
                Ok(_) => continue,
                Err(error) => {
                    tracing::warn!(%error, cause = error.source.to_string(), "the mail ledger failed, trying again");
                    false
                }
            };
            let idle = async {
                if sound {
                    self.p
                        .toolkit
                        .wakeups
                        .wait(&self.settings.owner, Wakeup::Mail, LONGEST_POLL)
                        .await;
                } else {
                    sleep(AFTER_FAILURE).await;
                }
            };
            tokio::select! {
                () = shutdown.draining() => {}
                () = idle => {}
            }
        }
    }

    /// Claims what is due, hands it over and records it; gives how many messages it claimed.
    ///
    /// # Errors
    /// When the ledger fails. What was handed over but not recorded comes again when its lease is over.
    pub async fn step(&mut self) -> Result<usize, BackendError> {
        let SenderSettings {
            owner,
            concurrency,
            lease,
            ..
        } = &self.settings;
        let limit = concurrency * self.rounds;
        let claimed_at = self.p.toolkit.now();
        let deadline = Instant::now() + *lease * 2 / 3;
        let mails = self
            .p
            .queue
            .claim(owner, claimed_at, *lease, u32::try_from(limit).unwrap_or(u32::MAX))
            .await?;
        if mails.is_empty() {
            return Ok(0);
        }
        let attempts: Vec<_> = mails.iter().map(|mail| self.attempt(mail, deadline)).collect();
        let attempts: Vec<_> = stream::iter(attempts).buffer_unordered(*concurrency).collect().await;
        let attempts: Vec<Attempt<'_>> = attempts.into_iter().flatten().collect();
        let took = self.p.toolkit.now().since(claimed_at);
        let recorded = self.record(&attempts, claimed_at).await;
        self.rounds = match took {
            // A slow server: hold no more than is under way, or the last would wait for the first beyond the lease.
            took if took > *lease / 20 => 1,
            _ if mails.len() == limit => (self.rounds * 2).min(MOST_ROUNDS),
            _ => self.rounds,
        };
        recorded.map(|()| mails.len())
    }

    /// Tries one message. None when its turn did not come in time: its lease then ends by itself.
    async fn attempt<'a>(&self, mail: &'a Mail, deadline: Instant) -> Option<Attempt<'a>> {
        if Instant::now() >= deadline {
            return None;
        }
        let (verdict, reply) = self.hand_over(mail, deadline).await;
        let reply = one_line(&reply, REPLY_LENGTH);
        match verdict {
            MailVerdict::Sent => tracing::debug!(mail_id = %mail.id, "mail handed over"),
            MailVerdict::Retry(at) => {
                tracing::warn!(mail_id = %mail.id, attempt = mail.attempts, reply, next_attempt_at = %at, "mail put off");
            }
            MailVerdict::Dead => tracing::warn!(mail_id = %mail.id, attempt = mail.attempts, reply, "mail given up"),
        }
        let outcome = MailOutcome {
            id: mail.id,
            at: self.p.toolkit.now(),
            reply,
            verdict,
        };
        Some(Attempt { mail, outcome })
    }

    async fn hand_over(&self, mail: &Mail, deadline: Instant) -> (MailVerdict, String) {
        if mail.attempts > RetrySchedule::MAIL.attempts {
            // Only attempts that never came to an end lead here: the message itself may be what brings processes down.
            return (MailVerdict::Dead, "given up after attempts that did not end".to_owned());
        }
        let letter = match self.p.mails.render(mail) {
            Ok(letter) => letter,
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(mail_id = %mail.id, template = mail.template.as_str(), %error, cause, "a mail cannot be sent");
                return (MailVerdict::Dead, error.to_string());
            }
        };
        let sent = timeout_at(deadline, self.p.mailer.send(&letter.mail)).await;
        match sent.unwrap_or_else(|_| {
            Err(SendMailError::TryLater(
                "the mail server did not answer in time".to_owned(),
            ))
        }) {
            Ok(reply) => {
                if let Some(link) = letter.link.as_deref().filter(|_| self.settings.show_links) {
                    tracing::info!(template = mail.template.as_str(), link, "mail handed over, its link is");
                }
                (MailVerdict::Sent, reply)
            }
            Err(SendMailError::Refused(reply)) => (MailVerdict::Dead, reply),
            Err(SendMailError::TryLater(reply)) => {
                let random = u64::from_le_bytes(self.p.toolkit.random());
                let delay = RetrySchedule::MAIL.delay(mail.attempts, random);
                (
                    delay.map_or(MailVerdict::Dead, |delay| {
                        MailVerdict::Retry(self.p.toolkit.now().plus(delay))
                    }),
                    reply,
                )
            }
        }
    }

    /// Records all in one call while the lease is held for certain. Later, one by one: an event must not be written for
    /// a message that another sender took over, and effects belong to a whole call.
    async fn record(&self, attempts: &[Attempt<'_>], claimed_at: Timestamp) -> Result<(), BackendError> {
        while self.holds(claimed_at) {
            match self.settle(attempts).await {
                // The messages are out: what is not recorded now goes out a second time.
                Err(error) if error.temporary => {
                    tracing::warn!(%error, cause = error.source.to_string(), "mails are not recorded yet, trying again");
                    sleep(BEFORE_RECORDING_AGAIN).await;
                }
                settled => return settled,
            }
        }
        let mut outcome = Ok(());
        for attempt in attempts.chunks(1) {
            if let Err(error) = self.settle(attempt).await {
                outcome = Err(error);
            }
        }
        outcome
    }

    /// Whether the lease has a good part of its time left.
    fn holds(&self, claimed_at: Timestamp) -> bool {
        self.p.toolkit.now().since(claimed_at) < self.settings.lease * 5 / 6
    }

    async fn settle(&self, attempts: &[Attempt<'_>]) -> Result<(), BackendError> {
        if attempts.is_empty() {
            return Ok(());
        }
        let outcomes: Vec<MailOutcome> = attempts.iter().map(|attempt| attempt.outcome.clone()).collect();
        let events: Vec<Event> = attempts.iter().filter_map(|attempt| self.event(attempt)).collect();
        let written = !events.is_empty();
        let effects = Effects {
            events,
            ..Effects::none()
        };
        let recorded = match self.p.queue.settle(&self.settings.owner, &outcomes, &effects).await {
            Ok(recorded) => recorded,
            Err(EffectsError::Backend(error)) => return Err(error),
            // The events have new ids and there is no inbox mark.
            Err(error @ (EffectsError::AlreadyHandled | EffectsError::EventIdTaken(_))) => {
                return Err(BackendError::permanent("mail sender", "settle", error));
            }
        };
        for outcome in outcomes.iter().filter(|outcome| recorded.contains(&outcome.id)) {
            self.p.mails.count(outcome.verdict);
        }
        if written && !recorded.is_empty() {
            self.p.toolkit.wakeups.wake(Wakeup::Written);
        }
        let lost = outcomes.len().saturating_sub(recorded.len());
        if lost > 0 {
            self.p.mails.count_lost(lost);
            tracing::warn!(
                lost,
                "mails were taken over by another sender before they were recorded; consider a longer workers.lease"
            );
        }
        Ok(())
    }

    /// What the audit trail says of a message that has come to its end; it belongs to a user or to nobody.
    fn event(&self, attempt: &Attempt<'_>) -> Option<Event> {
        let kind = match attempt.outcome.verdict {
            MailVerdict::Sent => OwnEvent::MailSent,
            MailVerdict::Dead => OwnEvent::MailFailed,
            MailVerdict::Retry(_) => return None,
        };
        let mail = attempt.mail;
        let data = json!({ "mail_id": mail.id, "template": mail.template.as_str(), "attempts": mail.attempts });
        let origin = Origin {
            request_id: mail.request_id,
            ..Origin::SYSTEM
        };
        mail.user_id
            .map(|user| self.p.toolkit.own_event(&origin, user, kind, &data))
    }
}

#[cfg(test)]
mod tests;
