//! What a change causes, committed with it.

use domain::event::Event;
use domain::id::{EventId, UserId};
use domain::mail::NewMail;
use domain::session::Revocation;
use domain::time::Timestamp;
use domain::token::OneTimeToken;

use crate::BackendError;

/// Everything that is written in the same transaction as the row that a method changes.
///
/// An adapter MUST write all of it or none of it, MUST keep the order of `events`, and MUST refuse
/// the whole call when the inbox mark is there already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effects {
    /// Events, in the order in which they happened.
    pub events: Vec<Event>,
    /// Messages for the ledger. One whose bounds are passed is left out silently, together with the token at the same index of nothing else: see [`NewMail::limited`].
    pub mails: Vec<NewMail>,
    /// Messages that only cost: an adapter MUST do for each what it does for a limited message, and MUST NOT write it. So an address that nobody has is answered as slowly as a known one.
    pub decoy_mails: Vec<NewMail>,
    /// One-time tokens.
    pub tokens: Vec<OneTimeToken>,
    /// Revocations of access tokens.
    pub revocations: Vec<Revocation>,
    /// The answer to keep for a request that came with an `Idempotency-Key`, begun before with [`IdempotencyStore::begin`](crate::IdempotencyStore::begin).
    pub answer: Option<StoredAnswer>,
    /// The mark of a handler: this group has handled this event.
    pub inbox: Option<InboxMark>,
}

impl Effects {
    /// Nothing but the change itself.
    pub fn none() -> Self {
        Self::default()
    }
}

/// Whose `Idempotency-Key` it is: keys are scoped to caller and route.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyScope {
    /// The caller.
    pub user_id: UserId,
    /// The route template with its method, for example `POST /v1/files`.
    pub route: String,
    /// The header's value.
    pub key: String,
}

/// What is kept of an answer: enough to say it again, never a body and never a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// Whose request it answered.
    pub scope: IdempotencyScope,
    /// Its HTTP status.
    pub status: u16,
    /// The ids of what it made, in order.
    pub resources: Vec<String>,
}

/// The mark that makes a handler idempotent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InboxMark {
    /// The handler's group.
    pub group: String,
    /// The event that it handled.
    pub event_id: EventId,
    /// When: a mark stays for a while after the group's cursor has passed the event. See [`CursorStore::prune_inbox`](crate::CursorStore::prune_inbox).
    pub at: Timestamp,
}

/// Why the effects of a change were refused; the change was not made either.
#[derive(Debug, thiserror::Error)]
pub enum EffectsError {
    /// The inbox mark is there: this group has handled the event before.
    #[error("the event was handled before")]
    AlreadyHandled,
    /// A client-chosen event id is taken by an event of other content.
    #[error("the event id is taken by another event")]
    EventIdTaken(EventId),
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}
