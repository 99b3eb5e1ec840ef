//! Events: their types, the `CloudEvents` 1.0 envelope, their shard and the hash chain of the log.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::id::{EventId, RequestId, UserId};
use crate::time::Timestamp;

/// How many shards the log has; a user's events are all in one.
pub const SHARDS: u8 = 16;

/// A part of the log: [`SHARDS`] of them, each ordered by its own positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shard(u8);

impl Shard {
    /// The shard of a user's events: all bytes of the id folded together.
    pub fn of(user: UserId) -> Self {
        Self(user.uuid().as_bytes().iter().fold(0, |folded, byte| folded ^ byte) % SHARDS)
    }

    /// The shard of that number, if there is one.
    pub const fn new(number: u8) -> Option<Self> {
        if number < SHARDS { Some(Self(number)) } else { None }
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// All shards in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SHARDS).map(Self)
    }
}

/// The type of an event: 2 to 8 parts of `a-z0-9_` joined by dots, a letter first in each, 128 characters at most.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventType(String);

/// A text cannot be the type of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 2 to 8 parts of a-z, 0-9 and _ joined by dots, each beginning with a letter, at most 128 characters")]
pub struct ParseEventTypeError;

impl EventType {
    /// The type as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A type as another service names it: any text of `CloudEvents` with 1 to 256 characters.
    pub fn of_others(text: &str) -> Option<Self> {
        is_subject(text).then(|| Self::unchecked(text))
    }

    /// A type of which its writer knows that it is one.
    pub(crate) fn unchecked(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Whether it lies under a prefix such as `app.`.
    pub fn is_under(&self, prefix: &str) -> bool {
        self.0.len() > prefix.len() && self.0.starts_with(prefix)
    }
}

impl FromStr for EventType {
    type Err = ParseEventTypeError;

    fn from_str(text: &str) -> Result<Self, ParseEventTypeError> {
        let part = |part: &str| {
            part.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        let parts = text.split('.').count();
        let fits = text.len() <= 128 && (2..=8).contains(&parts) && text.split('.').all(part);
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseEventTypeError)
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Whether a text may be the subject of an event: 1 to 256 code points, of those that a `CloudEvents` 1.0 string may
/// hold (its section 2: no control characters, no noncharacters).
pub fn is_subject(text: &str) -> bool {
    let noncharacter = |c: char| matches!(c, '\u{FDD0}'..='\u{FDEF}') || u32::from(c) & 0xFFFE == 0xFFFE;
    (1..=256).contains(&text.chars().count()) && !text.contains(|c: char| c.is_control() || noncharacter(c))
}

/// The types of Plinth's own events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OwnEvent {
    /// An address was verified and the user made.
    UserRegistered,
    /// An administrator made a user.
    UserCreated,
    /// Name or profile changed.
    UserUpdated,
    /// An administrator disabled the account.
    UserDisabled,
    /// An administrator enabled it again.
    UserEnabled,
    /// The password was changed or reset.
    PasswordChanged,
    /// The plan changed.
    TierChanged,
    /// A session began.
    SessionStarted,
    /// One session or several ended.
    SessionEnded,
    /// A refresh token was used twice.
    RefreshReused,
    /// A file was stored.
    FileUploaded,
    /// A file was deleted.
    FileDeleted,
    /// A message was handed over.
    MailSent,
    /// A message was given up.
    MailFailed,
    /// A signing key was made.
    KeyCreated,
    /// A signing key became the signing one.
    KeyActivated,
    /// Somebody had the installation examined.
    PlinthChecked,
    /// Dead letters were handed to their groups again.
    DeadLetterRedriven,
    /// Dead letters were thrown away.
    DeadLetterDiscarded,
    /// A part of the log was handed to a group again.
    EventsReplayed,
    /// The heads of the log were signed.
    AuditCheckpoint,
    /// An administrator registered a schema of clients' events.
    SchemaRegistered,
    /// An administrator changed how further versions of a schema are judged.
    CompatibilityChanged,
    /// A webhook was made.
    WebhookCreated,
    /// A webhook was changed, by its owner.
    WebhookUpdated,
    /// A webhook got a new secret.
    WebhookSecretRotated,
    /// A webhook was disabled by Plinth, since nothing reached it any more.
    WebhookDisabled,
    /// A webhook was deleted.
    WebhookDeleted,
}

impl OwnEvent {
    /// Every one.
    pub const ALL: [Self; 28] = [
        Self::UserRegistered,
        Self::UserCreated,
        Self::UserUpdated,
        Self::UserDisabled,
        Self::UserEnabled,
        Self::PasswordChanged,
        Self::TierChanged,
        Self::SessionStarted,
        Self::SessionEnded,
        Self::RefreshReused,
        Self::FileUploaded,
        Self::FileDeleted,
        Self::MailSent,
        Self::MailFailed,
        Self::KeyCreated,
        Self::KeyActivated,
        Self::PlinthChecked,
        Self::DeadLetterRedriven,
        Self::DeadLetterDiscarded,
        Self::EventsReplayed,
        Self::AuditCheckpoint,
        Self::SchemaRegistered,
        Self::CompatibilityChanged,
        Self::WebhookCreated,
        Self::WebhookUpdated,
        Self::WebhookSecretRotated,
        Self::WebhookDisabled,
        Self::WebhookDeleted,
    ];

    /// The type on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UserRegistered => "user.registered",
            Self::UserCreated => "user.created",
            Self::UserUpdated => "user.updated",
            Self::UserDisabled => "user.disabled",
            Self::UserEnabled => "user.enabled",
            Self::PasswordChanged => "password.changed",
            Self::TierChanged => "tier.changed",
            Self::SessionStarted => "session.started",
            Self::SessionEnded => "session.ended",
            Self::RefreshReused => "session.refresh_reused",
            Self::FileUploaded => "file.uploaded",
            Self::FileDeleted => "file.deleted",
            Self::MailSent => "mail.sent",
            Self::MailFailed => "mail.failed",
            Self::KeyCreated => "key.created",
            Self::KeyActivated => "key.activated",
            Self::PlinthChecked => "plinth.checked",
            Self::DeadLetterRedriven => "dead_letter.redriven",
            Self::DeadLetterDiscarded => "dead_letter.discarded",
            Self::EventsReplayed => "events.replayed",
            Self::AuditCheckpoint => "audit.checkpoint",
            Self::SchemaRegistered => "event.schema_registered",
            Self::CompatibilityChanged => "event.compatibility_changed",
            Self::WebhookCreated => "webhook.created",
            Self::WebhookUpdated => "webhook.updated",
            Self::WebhookSecretRotated => "webhook.secret_rotated",
            Self::WebhookDisabled => "webhook.disabled",
            Self::WebhookDeleted => "webhook.deleted",
        }
    }

    /// The one of that type, if it is one of ours.
    pub fn of(event_type: &EventType) -> Option<Self> {
        Self::ALL.into_iter().find(|own| own.as_str() == event_type.as_str())
    }

    /// The version of the schema that its data is written with now: a file `openapi/events/TYPE/VERSION.json`.
    pub const fn schema_version(self) -> u32 {
        1
    }

    /// The type as a checked value.
    pub fn event_type(self) -> EventType {
        EventType::unchecked(self.as_str())
    }
}

/// Who caused an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Actor {
    /// A user, on their own account or as an administrator.
    User(UserId),
    /// Somebody without a token, such as a visitor who registers.
    Anonymous,
    /// Plinth itself: a worker, or the command line on the machine.
    System,
}

impl Actor {
    /// The word in the envelope: an id, `anonymous` or `system`.
    pub fn as_text(self) -> String {
        match self {
            Self::User(id) => id.to_string(),
            Self::Anonymous => "anonymous".to_owned(),
            Self::System => "system".to_owned(),
        }
    }

    /// The actor of that word.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "anonymous" => Some(Self::Anonymous),
            "system" => Some(Self::System),
            id => id.parse().ok().map(Self::User),
        }
    }
}

/// An event as it is written, before the sequencer gives it a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its id, the same in every delivery.
    pub id: EventId,
    /// Whose event it is: its key, its shard and who may read it.
    pub user_id: UserId,
    /// Its type.
    pub event_type: EventType,
    /// Free text of the publisher about what it concerns; see [`is_subject`].
    pub subject: Option<String>,
    /// When it happened.
    pub time: Timestamp,
    /// The payload: compact JSON text. Nothing once it was erased.
    pub data: Option<String>,
    /// Random bytes that keep the digest of a guessable payload from being guessed; gone with the payload.
    pub salt: Option<[u8; 16]>,
    /// Digest of salt, subject and payload: outlives them.
    pub digest: [u8; 32],
    /// Who caused it.
    pub actor: Actor,
    /// The administrator behind the actor, when impersonating.
    pub impersonator: Option<UserId>,
    /// The request that caused it.
    pub request_id: Option<RequestId>,
    /// Whether the publisher chose the id: then a second write of the same content is the same event.
    pub client_id: bool,
    /// The version of the type's schema that the payload was valid with when it was written; none where the type had no schema.
    pub schema_version: Option<u32>,
}

/// What an event is made of; [`Event::new`] adds the digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Its id.
    pub id: EventId,
    /// Whose event it is.
    pub user_id: UserId,
    /// Its type.
    pub event_type: EventType,
    /// Free text of the publisher.
    pub subject: Option<String>,
    /// When it happened.
    pub time: Timestamp,
    /// Compact JSON text.
    pub data: String,
    /// Sixteen random bytes.
    pub salt: [u8; 16],
    /// Who caused it.
    pub actor: Actor,
    /// The administrator behind the actor.
    pub impersonator: Option<UserId>,
    /// The request that caused it.
    pub request_id: Option<RequestId>,
    /// Whether the publisher chose the id.
    pub client_id: bool,
}

impl Event {
    /// Completes an event with the digest of its payload.
    pub fn new(new: NewEvent) -> Self {
        let digest = payload_digest(&new.salt, new.subject.as_deref(), &new.data);
        Self {
            id: new.id,
            user_id: new.user_id,
            event_type: new.event_type,
            subject: new.subject,
            time: new.time,
            data: Some(new.data),
            salt: Some(new.salt),
            digest,
            actor: new.actor,
            impersonator: new.impersonator,
            request_id: new.request_id,
            client_id: new.client_id,
            schema_version: None,
        }
    }

    /// The same, its payload valid with this version of the type's schema.
    #[must_use]
    pub const fn of_schema(mut self, version: u32) -> Self {
        self.schema_version = Some(version);
        self
    }

    /// Whether a second event of the same id says the same.
    pub fn same_content(&self, other: &Self) -> bool {
        self.user_id == other.user_id
            && self.event_type == other.event_type
            && self.subject == other.subject
            && self.data == other.data
    }

    /// The shard that it belongs to.
    pub fn shard(&self) -> Shard {
        Shard::of(self.user_id)
    }
}

/// SHA-256 of salt, subject and payload, each part framed so that none can pass for another.
pub fn payload_digest(salt: &[u8; 16], subject: Option<&str>, data: &str) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix(b"plinth.payload.v1\0");
    hash.update(salt);
    framed(&mut hash, subject.map(str::as_bytes));
    framed(&mut hash, Some(data.as_bytes()));
    hash.finalize().into()
}

/// The hash of an event at its position: SHA-256 over the hash before it and everything but the payload itself.
pub fn chain_hash(previous: &[u8; 32], shard: Shard, position: u64, event: &Event) -> [u8; 32] {
    let link = Link {
        event_id: event.id.uuid(),
        time: event.time.micros(),
        user_id: event.user_id.uuid(),
        event_type: event.event_type.as_str(),
        actor: &event.actor.as_text(),
        impersonator: event.impersonator.map(UserId::uuid),
        request_id: event.request_id.map(RequestId::uuid),
        digest: &event.digest,
        schema_version: event.schema_version,
    };
    link.hash(previous, shard, position)
}

/// What the chain binds of an event, as it is stored: an audit hashes what stands there, whether or not it could be a value of ours.
#[derive(Debug, Clone, Copy)]
pub struct Link<'a> {
    /// Its id.
    pub event_id: Uuid,
    /// When it happened, in microseconds.
    pub time: i64,
    /// Whose it is.
    pub user_id: Uuid,
    /// Its type.
    pub event_type: &'a str,
    /// Who caused it.
    pub actor: &'a str,
    /// The administrator behind the actor.
    pub impersonator: Option<Uuid>,
    /// The request that caused it.
    pub request_id: Option<Uuid>,
    /// The digest of its payload.
    pub digest: &'a [u8],
    /// The version of its type's schema.
    pub schema_version: Option<u32>,
}

impl Link<'_> {
    /// See [`chain_hash`].
    pub fn hash(&self, previous: &[u8; 32], shard: Shard, position: u64) -> [u8; 32] {
        let mut hash = Sha256::new_with_prefix(b"plinth.chain.v1\0");
        hash.update(previous);
        hash.update([shard.number()]);
        hash.update(position.to_be_bytes());
        hash.update(self.event_id.as_bytes());
        hash.update(self.time.to_be_bytes());
        hash.update(self.user_id.as_bytes());
        framed(&mut hash, Some(self.event_type.as_bytes()));
        framed(&mut hash, Some(self.actor.as_bytes()));
        framed(&mut hash, self.impersonator.as_ref().map(|id| id.as_bytes().as_slice()));
        framed(&mut hash, self.request_id.as_ref().map(|id| id.as_bytes().as_slice()));
        hash.update(self.digest);
        // All before it is framed, so that it can be told from nothing: events without a schema hash as ever.
        if let Some(version) = self.schema_version {
            hash.update(version.to_be_bytes());
        }
        hash.finalize().into()
    }
}

/// The name of a version of a type's schema, for `dataschema` (`CloudEvents` 1.0, section 3.1): those of Plinth's own
/// types are the same everywhere, those of clients' types belong to the installation.
pub fn schema_name(source: &str, event_type: &EventType, version: u32) -> String {
    let place = if OwnEvent::of(event_type).is_some() {
        "urn:plinth"
    } else {
        source
    };
    format!("{place}:schema:{event_type}:{version}")
}

fn framed(hash: &mut Sha256, part: Option<&[u8]>) {
    match part {
        None => hash.update([0]),
        Some(bytes) => {
            hash.update([1]);
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        }
    }
}

/// An event that has its place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedEvent {
    /// The shard.
    pub shard: Shard,
    /// Its place in the shard: 1 for the first, without gaps.
    pub position: u64,
    /// Its link of the audit chain.
    pub hash: [u8; 32],
    /// The event.
    pub event: Event,
}

/// [`LoggedEvent`] as `CloudEvents` 1.0 names its parts; the extensions are lower-case alphanumerics as its section 3.1 asks.
#[derive(Serialize)]
struct Envelope<'a, Data> {
    specversion: &'static str,
    id: Uuid,
    source: &'a str,
    #[serde(rename = "type")]
    event_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    time: String,
    datacontenttype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dataschema: Option<String>,
    userid: Uuid,
    actorid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    impersonatorid: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requestid: Option<Uuid>,
    sequence: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data>,
}

impl LoggedEvent {
    /// The event as `CloudEvents` 1.0 writes it in structured JSON mode. A payload that is not JSON is left out.
    pub fn to_cloud_event(&self, source: &str) -> serde_json::Value {
        serde_json::to_value(self.envelope::<serde_json::Value>(source)).unwrap_or_default()
    }

    /// The same as text, the payload as it is stored: without a tree of values.
    pub fn to_cloud_event_text(&self, source: &str) -> String {
        serde_json::to_string(&self.envelope::<&RawValue>(source)).unwrap_or_default()
    }

    fn envelope<'a, Data: Deserialize<'a>>(&'a self, source: &'a str) -> Envelope<'a, Data> {
        let event = &self.event;
        Envelope {
            specversion: "1.0",
            id: event.id.uuid(),
            source,
            event_type: event.event_type.as_str(),
            // An empty one is not allowed on the wire (section 2.2).
            subject: event.subject.as_deref().filter(|subject| !subject.is_empty()),
            time: event.time.to_rfc3339(),
            datacontenttype: "application/json",
            dataschema: event
                .schema_version
                .map(|version| schema_name(source, &event.event_type, version)),
            userid: event.user_id.uuid(),
            actorid: event.actor.as_text(),
            impersonatorid: event.impersonator.map(UserId::uuid),
            requestid: event.request_id.map(RequestId::uuid),
            sequence: format!("{:020}", self.position),
            data: event.data.as_deref().and_then(|text| serde_json::from_str(text).ok()),
        }
    }
}
