//! Webhooks: which events go where, how they are signed, when they are tried again, and what may become of them.
//!
//! Signing is that of Standard Webhooks 1.0: HMAC-SHA256 over id, time and body.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::event::{Event, EventType};
use crate::id::{DeliveryId, EventId, UserId, WebhookId};
use crate::time::Timestamp;

/// The most filters of one webhook.
pub const MAX_TYPES: usize = 50;
/// The longest address of a webhook, in bytes.
pub const MAX_URL_BYTES: usize = 2_048;
/// The longest description, in code points.
pub const MAX_DESCRIPTION: usize = 200;
/// How long the secret before the present one signs too.
pub const SECRET_OVERLAP: Duration = Duration::from_secs(24 * 3_600);
/// How far the clock of whoever made an event may be behind that of whoever made the webhook: no event after the
/// making may be lost by it, so those of the last seconds before it may come as well.
pub const CLOCK_SLACK: Duration = Duration::from_secs(5);

/// Which events a webhook wants.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TypeFilter {
    /// All: `*`.
    All,
    /// Those below a prefix, which ends in a dot: `file.*`.
    Under(String),
    /// One type: `file.uploaded`.
    Exactly(EventType),
}

/// A text is no filter of event types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be the type of an event such as file.uploaded, the beginning of one such as file.*, or * for all")]
pub struct ParseTypeFilterError;

impl TypeFilter {
    /// Whether it lets the type through.
    pub fn matches(&self, event_type: &EventType) -> bool {
        match self {
            Self::All => true,
            Self::Under(prefix) => event_type.is_under(prefix),
            Self::Exactly(exact) => event_type == exact,
        }
    }
}

impl FromStr for TypeFilter {
    type Err = ParseTypeFilterError;

    fn from_str(text: &str) -> Result<Self, ParseTypeFilterError> {
        if text == "*" {
            return Ok(Self::All);
        }
        match text.strip_suffix(".*") {
            // A prefix is what a type could begin with.
            Some(prefix) => match format!("{prefix}.x").parse::<EventType>() {
                Ok(_) => Ok(Self::Under(format!("{prefix}."))),
                Err(_) => Err(ParseTypeFilterError),
            },
            None => text.parse().map(Self::Exactly).map_err(|_| ParseTypeFilterError),
        }
    }
}

impl fmt::Display for TypeFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Under(prefix) => write!(f, "{prefix}*"),
            Self::Exactly(exact) => exact.fmt(f),
        }
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word for it, in storage and on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// The one of that word.
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.as_str() == word)
            }
        }
    };
}

words! {
    /// Why a webhook gets nothing.
    DisableReason {
        /// Its owner said so.
        Owner "owner",
        /// It answered 410 Gone.
        Gone "gone",
        /// Nothing reached it for days.
        Failing "failing",
    }
}

words! {
    /// Where a delivery stands.
    DeliveryState {
        /// Waits for its next attempt.
        Queued "queued",
        /// A worker has it in hand.
        Sending "sending",
        /// The webhook took it. Final.
        Delivered "delivered",
        /// Given up after the last attempt. Final.
        Dead "dead",
        /// Its webhook was disabled or deleted meanwhile. Final.
        Cancelled "cancelled",
    }
}

words! {
    /// Why an attempt did not succeed: a class, never a text of the other side.
    DeliveryFault {
        /// The address may not be sent to, or the name leads to one that may not.
        Forbidden "forbidden",
        /// The name could not be resolved.
        Resolve "resolve",
        /// No connection came about, or it broke.
        Connect "connect",
        /// TLS failed: mostly a certificate that is not trusted or not for this name.
        Tls "tls",
        /// It took longer than an attempt may take.
        Timeout "timeout",
        /// What came was not an answer of HTTP.
        Protocol "protocol",
        /// The head of the answer was longer than one may be.
        TooLarge "too_large",
        /// It answered with a redirect, which is not followed.
        Redirect "redirect",
        /// It answered with 410: it wants no more.
        Gone "gone",
        /// It answered with another status than 2xx.
        Status "status",
        /// The event is no longer kept.
        EventGone "event_gone",
        /// The secret does not open: it was sealed under another master key.
        Secret "secret",
    }
}

impl fmt::Display for DeliveryFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for DeliveryFault {}

/// The secret before the present one.
#[derive(Clone, PartialEq, Eq)]
pub struct PreviousSecret {
    /// Sealed.
    pub sealed: Vec<u8>,
    /// Until when it signs too.
    pub until: Timestamp,
}

impl fmt::Debug for PreviousSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreviousSecret")
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

/// An address that events are sent to.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// The id.
    pub id: WebhookId,
    /// Whose it is, and whose events it gets; [`UserId::SYSTEM`] for one of the installation, which gets everybody's.
    pub owner: UserId,
    /// Where to send.
    pub url: String,
    /// The events that it wants: what any of these lets through.
    pub types: Vec<TypeFilter>,
    /// Free text of the owner.
    pub description: String,
    /// Why it gets nothing; none while it is enabled.
    pub disabled: Option<DisableReason>,
    /// The secret that signs, sealed.
    pub sealed_secret: Vec<u8>,
    /// The one before, while it signs too.
    pub previous: Option<PreviousSecret>,
    /// Since when every attempt fails; none when the last one succeeded.
    pub failing_since: Option<Timestamp>,
    /// Failures since then.
    pub failures: u32,
    /// When an attempt last succeeded, to the minute.
    pub last_success_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Counts the changes.
    pub version: u64,
}

/// The address may hold a token of the other side.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("id", &self.id)
            .field("owner", &self.owner)
            .field("disabled", &self.disabled)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl Webhook {
    /// Whether the event is to be sent there.
    pub fn wants(&self, event: &Event) -> bool {
        self.disabled.is_none()
            && (self.owner == UserId::SYSTEM || self.owner == event.user_id)
            && event.time.plus(CLOCK_SLACK) >= self.created_at
            && self.types.iter().any(|filter| filter.matches(&event.event_type))
    }
}

/// One event on its way to one webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The id.
    pub id: DeliveryId,
    /// Where to.
    pub webhook_id: WebhookId,
    /// Of which event.
    pub event_id: EventId,
    /// The event's type.
    pub event_type: EventType,
    /// Where it stands.
    pub state: DeliveryState,
    /// Attempts so far.
    pub attempts: u32,
    /// Attempts before it was last sent anew by hand: the schedule counts from there.
    pub base_attempts: u32,
    /// When the next attempt is due.
    pub next_attempt_at: Timestamp,
    /// The status of the last answer.
    pub last_status: Option<u16>,
    /// Why the last attempt failed.
    pub last_fault: Option<DeliveryFault>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it came to its end.
    pub done_at: Option<Timestamp>,
}

/// One attempt of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryAttempt {
    /// Counted from 1.
    pub number: u32,
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// The status of the answer, if one came.
    pub status: Option<u16>,
    /// Why it failed; none when it succeeded.
    pub fault: Option<DeliveryFault>,
}

/// The waits after each failure, in seconds: soon at first, then rarely; a day in all, near the example of Standard Webhooks.
const WAITS: [u64; 7] = [5, 300, 1_800, 7_200, 18_000, 28_800, 32_400];

/// How many attempts a delivery has.
pub const ATTEMPTS: u32 = WAITS.len() as u32 + 1;

/// The wait after that many failed attempts; none when it is time to give up. `random` is any number: the wait lies evenly
/// between nine and eleven tenths of the step, so that what failed together does not return together.
pub fn retry_delay(failures: u32, random: u64) -> Option<Duration> {
    let index = usize::try_from(failures.checked_sub(1)?).ok()?;
    let step = Duration::from_secs(*WAITS.get(index)?);
    let span = u64::try_from((step / 5).as_micros()).unwrap_or(u64::MAX).max(1);
    Some(step * 9 / 10 + Duration::from_micros(random % span))
}

/// A secret as it is shown, once: `whsec_` and base64.
pub fn secret_text(secret: &[u8]) -> String {
    format!("whsec_{}", STANDARD.encode(secret))
}

/// One signature of a message: `v1,` and base64 of the HMAC-SHA256 over id, time in seconds and body.
pub fn signature(secret: &[u8], id: &str, seconds: i64, body: &[u8]) -> String {
    // HMAC takes keys of every length; the length of ours is fixed anyway.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else {
        return String::new();
    };
    mac.update(id.as_bytes());
    mac.update(b".");
    mac.update(seconds.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}
