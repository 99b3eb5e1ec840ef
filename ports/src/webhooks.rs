//! Webhooks: the addresses, the deliveries to them, and the sending.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use domain::event::{EventType, LoggedEvent};
use domain::id::{DeliveryId, EventId, UserId, WebhookId};
use domain::page::{Page, PageRequest};
use domain::stats::WebhookStats;
use domain::time::Timestamp;
use domain::webhook::{Delivery, DeliveryAttempt, DeliveryFault, DeliveryState, DisableReason, Webhook};

use crate::{BackendError, Effects, EffectsError, InboxMark};

/// Why a webhook was not made.
#[derive(Debug, thiserror::Error)]
pub enum InsertWebhookError {
    /// The owner has as many as one may have.
    #[error("the owner has as many webhooks as one may have")]
    TooMany,
    /// Effects were refused or the backend failed.
    #[error(transparent)]
    Effects(#[from] EffectsError),
}

/// Why a webhook was not changed.
#[derive(Debug, thiserror::Error)]
pub enum UpdateWebhookError {
    /// It was changed or removed since it was read.
    #[error("the webhook was changed meanwhile")]
    Stale,
    /// Effects were refused or the backend failed.
    #[error(transparent)]
    Effects(#[from] EffectsError),
}

/// The addresses that events are sent to.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait WebhookRepository: Send + Sync + 'static {
    /// Stores a new one. MUST refuse it when its owner has `most` already, many callers at once included.
    async fn insert(&self, webhook: &Webhook, most: u32, effects: &Effects) -> Result<(), InsertWebhookError>;

    /// One of the owner's. Another owner's id MUST give none.
    async fn find(&self, owner: UserId, id: WebhookId) -> Result<Option<Webhook>, BackendError>;

    /// The owner's, oldest first.
    async fn list(&self, owner: UserId, page: &PageRequest) -> Result<Page<Webhook>, BackendError>;

    /// Stores address, filters, description, secrets and whether it is disabled, if the version is still the one that was read; the version goes up by one. One that is disabled now MUST have its waiting deliveries cancelled; one that is enabled again begins without failures.
    async fn update(&self, webhook: &Webhook, effects: &Effects) -> Result<(), UpdateWebhookError>;

    /// Removes one of the owner's and cancels its waiting deliveries; says whether it was there. The effects are written only then.
    async fn remove(&self, owner: UserId, id: WebhookId, effects: &Effects) -> Result<bool, EffectsError>;

    /// The enabled ones of all these owners. MUST see what was committed before the call.
    async fn enabled_of(&self, owners: &[UserId]) -> Result<Vec<Webhook>, BackendError>;
}

/// A delivery to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDelivery {
    /// The id.
    pub id: DeliveryId,
    /// Where to.
    pub webhook_id: WebhookId,
    /// Whose webhook it is.
    pub owner: UserId,
    /// Host and port: what attempts at one place are counted by.
    pub host: String,
    /// Of which event.
    pub event_id: EventId,
    /// Its type.
    pub event_type: EventType,
    /// The body, for an event that is in no log; else it is made of the log's when it is sent.
    pub body: Option<String>,
    /// When, and when its first attempt is due.
    pub created_at: Timestamp,
}

/// What follows from one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventDeliveries {
    /// The mark of the event.
    pub mark: InboxMark,
    /// Its deliveries.
    pub deliveries: Vec<NewDelivery>,
}

/// A delivery in a worker's hand, with all that it takes to send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedDelivery {
    /// The delivery, this attempt counted.
    pub delivery: Delivery,
    /// Host and port.
    pub host: String,
    /// Where to, as it is now.
    pub webhook: Webhook,
    /// The event as it is now; none when it is no longer kept.
    pub event: Option<LoggedEvent>,
    /// The body, of an event that is in no log.
    pub body: Option<String>,
}

/// What follows an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryVerdict {
    /// The webhook took it. Final.
    Delivered,
    /// To be tried again then.
    Retry(Timestamp),
    /// Given up. Final.
    Dead,
}

/// What became of a claimed delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryOutcome {
    /// Which.
    pub id: DeliveryId,
    /// When it was tried.
    pub at: Timestamp,
    /// How long that took.
    pub took: Duration,
    /// The status of the answer, if one came.
    pub status: Option<u16>,
    /// Why it failed; none when it succeeded.
    pub fault: Option<DeliveryFault>,
    /// What follows.
    pub verdict: DeliveryVerdict,
}

/// That the webhook of an outcome is to be disabled with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disabling {
    /// Why.
    pub reason: DisableReason,
    /// Only when it has been failing since then or longer; none for at once.
    pub failing_since: Option<Timestamp>,
    /// What is written when it was disabled by this call.
    pub effects: Effects,
}

/// What came of recording an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Recorded.
    Recorded,
    /// Recorded, and the webhook was disabled with it.
    Disabled,
    /// Another owner has it: nothing was written.
    Lost,
}

/// What came of asking for a delivery to be sent anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resent {
    /// It is due now.
    Due(Delivery),
    /// A worker has it in hand: nothing was changed.
    InHand,
    /// There is no such delivery.
    Unknown,
}

/// The deliveries to webhooks.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait WebhookQueue: Send + Sync + 'static {
    /// Writes the deliveries of all these events with their marks, in one transaction; tells of each event whether it was new. An event whose mark is there MUST add nothing. An event that comes twice in one call counts once.
    async fn enqueue(&self, events: &[EventDeliveries]) -> Result<Vec<bool>, BackendError>;

    /// Writes one delivery together with the effects.
    async fn add(&self, delivery: &NewDelivery, effects: &Effects) -> Result<(), EffectsError>;

    /// Takes at most `limit` due deliveries for `owner` until `now + lease`, oldest due first, none of the `busy` hosts, and counts the attempt. Of many claimants each delivery MUST go to one. A delivery whose lease is over is due again.
    /// One whose webhook is disabled or gone MUST be cancelled instead of being given out. An event whose payload was erased comes without it.
    async fn claim(
        &self,
        owner: &str,
        now: Timestamp,
        lease: Duration,
        limit: u32,
        busy: &[String],
    ) -> Result<Vec<ClaimedDelivery>, BackendError>;

    /// Gives deliveries that `owner` still holds back as they were before they were claimed.
    async fn release(&self, owner: &str, ids: &[DeliveryId]) -> Result<(), BackendError>;

    /// Records what became of a delivery that `owner` still holds, with an attempt row and the webhook's standing: a success ends its failures, a failure counts among them. One that is to be tried again while its webhook is disabled is cancelled.
    /// With a `disabling` the webhook is disabled and its waiting deliveries cancelled, and the effects are written only when it was this call that did so. A delivery that was lost to another owner MUST be left alone. All in one transaction.
    async fn settle<'a>(
        &self,
        owner: &str,
        outcome: &DeliveryOutcome,
        disabling: Option<&'a Disabling>,
    ) -> Result<Settled, EffectsError>;

    /// One of the webhook's with its attempts, oldest first. Another webhook's id MUST give none.
    async fn find(
        &self,
        webhook: WebhookId,
        id: DeliveryId,
    ) -> Result<Option<(Delivery, Vec<DeliveryAttempt>)>, BackendError>;

    /// The webhook's, newest first; with a state only those that are in it.
    async fn list(
        &self,
        webhook: WebhookId,
        state: Option<DeliveryState>,
        page: &PageRequest,
    ) -> Result<Page<Delivery>, BackendError>;

    /// Makes one of the webhook's due now, with all its attempts before it again, unless a worker has it in hand.
    async fn resend(&self, webhook: WebhookId, id: DeliveryId, now: Timestamp) -> Result<Resent, BackendError>;

    /// What waits.
    async fn stats(&self, now: Timestamp) -> Result<WebhookStats, BackendError>;

    /// Removes final deliveries that were made before `before`, with their attempts, at most `limit`; gives how many. MUST NOT remove one that waits or is in hand.
    async fn prune(&self, before: Timestamp, limit: u32) -> Result<u64, BackendError>;
}

/// Why an address is refused before anything is sent to it. The messages complete "the address ...".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetRefusal {
    /// It is no absolute address with a host.
    #[error("must be an absolute https:// address with a host, without a fragment")]
    Malformed,
    /// It is not https, and its host is not among the exceptions.
    #[error("must begin with https://")]
    NotHttps,
    /// It carries a user name or password.
    #[error("must not carry a user name or a password")]
    Userinfo,
    /// Its port is one that no web server has.
    #[error("must not use this port")]
    Port,
    /// It names an address that is not public, and that is not among the exceptions.
    #[error("must lead to a public address")]
    NotPublic,
}

/// One attempt, ready to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookRequest {
    /// Where to.
    pub url: String,
    /// The header `webhook-id`.
    pub id: String,
    /// The header `webhook-timestamp`, seconds since 1970.
    pub timestamp: i64,
    /// The header `webhook-signature`.
    pub signature: String,
    /// The header `content-type`.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
}

/// Sends to addresses that users gave.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait WebhookSender: Send + Sync + 'static {
    /// Whether the address may be sent to as far as its text tells, without asking the network; gives its host and port.
    fn target(&self, url: &str) -> Result<String, TargetRefusal>;

    /// Sends one POST and gives the status of the answer, whatever it is. MUST refuse what [`target`](Self::target) refuses; MUST resolve the name once and connect to an address that was checked, and refuse when any address of the name is not public, unless it is among the exceptions; MUST follow no redirect and use no proxy;
    /// MUST end within its bounds of time and size; MUST check the certificate against the name.
    async fn send(&self, request: &WebhookRequest) -> Result<u16, DeliveryFault>;
}
