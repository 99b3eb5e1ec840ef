//! Webhooks: the addresses that a user's, or everybody's, events are sent to.

mod message;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::event::{Event, OwnEvent};
use domain::histogram::{self, Histogram, Snapshot};
use domain::id::{DeliveryId, EventId, UserId, WebhookId};
use domain::page::{Page, PageRequest};
use domain::webhook::{
    Delivery, DeliveryAttempt, DeliveryState, DisableReason, MAX_DESCRIPTION, MAX_TYPES, MAX_URL_BYTES, PreviousSecret,
    SECRET_OVERLAP, TypeFilter, Webhook, secret_text,
};
use ports::{
    BackendError, DeliveryVerdict, Effects, EffectsError, InsertWebhookError, NewDelivery, Resent, SealPurpose, Sealer,
    StoredAnswer, UpdateWebhookError, Wakeup, WebhookQueue, WebhookRepository, WebhookSender,
};
use serde_json::json;

use super::{Origin, Toolkit};

/// Where deliveries to an address are counted that may no longer be sent to; each of them fails by itself.
const NOWHERE: &str = "-";

/// What the service is made over.
pub struct WebhookParts {
    /// Time, randomness, ids, the bell.
    pub toolkit: Toolkit,
    /// The addresses.
    pub webhooks: Arc<dyn WebhookRepository>,
    /// The deliveries.
    pub queue: Arc<dyn WebhookQueue>,
    /// Judges addresses, and sends.
    pub sender: Arc<dyn WebhookSender>,
    /// Seals the secrets.
    pub sealer: Arc<dyn Sealer>,
    /// The source of the envelope.
    pub source: String,
    /// The most webhooks of one owner.
    pub most: u32,
}

impl std::fmt::Debug for WebhookParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookParts").finish_non_exhaustive()
    }
}

/// Webhooks.
#[derive(Debug)]
pub struct Webhooks {
    pub(crate) p: WebhookParts,
    counters: Counters,
}

#[derive(Debug)]
struct Counters {
    delivered: AtomicU64,
    retried: AtomicU64,
    dead: AtomicU64,
    disabled: AtomicU64,
    lost: AtomicU64,
    time: Histogram,
}

/// What became of attempts in this process since its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookCounts {
    /// Taken by their webhook.
    pub delivered: u64,
    /// Failed, to be tried again.
    pub retried: u64,
    /// Failed, and given up.
    pub dead: u64,
    /// Webhooks that were disabled since nothing reached them.
    pub disabled: u64,
    /// Attempts whose lease was lost before they were recorded: these are made again.
    pub lost: u64,
    /// How long an attempt took.
    pub time: Snapshot,
}

/// What is asked for of a new webhook.
#[derive(Debug, Clone)]
pub struct WebhookDraft {
    /// Where to.
    pub url: String,
    /// The filters; all events when left out.
    pub types: Option<Vec<String>>,
    /// Free text.
    pub description: String,
}

/// What is to be changed; what is left out stays.
#[derive(Debug, Clone, Default)]
pub struct WebhookChange {
    /// Where to.
    pub url: Option<String>,
    /// The filters.
    pub types: Option<Vec<String>>,
    /// Free text.
    pub description: Option<String>,
    /// Whether it gets events.
    pub enabled: Option<bool>,
}

/// A part of a request that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Where, such as `#/types/2`.
    pub pointer: String,
    /// The rule.
    pub code: &'static str,
    /// The rule in words.
    pub detail: String,
}

/// Why something about a webhook was not done.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// There is none of that id, or it is another's.
    #[error("there is no such webhook")]
    NotFound,
    /// Parts of the request.
    #[error("parts of the request are refused")]
    Refused(Vec<Refusal>),
    /// The owner has as many as one may have.
    #[error("there may be {0} webhooks at the most")]
    TooMany(u32),
    /// It is not in the version that the caller knows.
    #[error("the webhook was changed since it was read")]
    Stale,
    /// It is being changed by somebody else.
    #[error("the webhook is being changed by somebody else")]
    Contended,
    /// It is disabled.
    #[error("the webhook is disabled")]
    Disabled,
    /// The delivery is being sent now.
    #[error("the delivery is being sent")]
    InHand,
    /// The backend failed.
    #[error(transparent)]
    Effects(#[from] EffectsError),
}

impl From<BackendError> for WebhookError {
    fn from(error: BackendError) -> Self {
        Self::Effects(error.into())
    }
}

impl Webhooks {
    /// The service over its parts.
    pub fn new(parts: WebhookParts) -> Self {
        let counters = Counters {
            delivered: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            dead: AtomicU64::new(0),
            disabled: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            time: Histogram::new(histogram::BACKEND),
        };
        Self { p: parts, counters }
    }

    /// Makes a webhook; gives it with its secret, which is told this once.
    ///
    /// # Errors
    /// When parts are refused, the owner has enough, or the backend fails.
    pub async fn create(
        &self,
        owner: UserId,
        draft: WebhookDraft,
        origin: &Origin,
    ) -> Result<(Webhook, String), WebhookError> {
        let mut refusals = Vec::new();
        self.judge_url(&draft.url, &mut refusals);
        let types = draft.types.unwrap_or_else(|| vec!["*".to_owned()]);
        let types = judge_types(&types, &mut refusals);
        judge_description(&draft.description, &mut refusals);
        if !refusals.is_empty() {
            return Err(WebhookError::Refused(refusals));
        }
        let (id, now) = (WebhookId::new(self.p.toolkit.id()), self.p.toolkit.now());
        let (secret, sealed_secret) = self.new_secret(id)?;
        let webhook = Webhook {
            id,
            owner,
            url: draft.url,
            types,
            description: draft.description,
            disabled: None,
            sealed_secret,
            previous: None,
            failing_since: None,
            failures: 0,
            last_success_at: None,
            created_at: now,
            updated_at: now,
            version: 1,
        };
        let effects = self.told(&webhook, OwnEvent::WebhookCreated, origin);
        match self.p.webhooks.insert(&webhook, self.p.most, &effects).await {
            Ok(()) => {}
            Err(InsertWebhookError::TooMany) => return Err(WebhookError::TooMany(self.p.most)),
            Err(InsertWebhookError::Effects(error)) => return Err(error.into()),
        }
        self.p.toolkit.wakeups.wake(Wakeup::Written);
        Ok((webhook, secret))
    }

    /// The owner's webhooks, oldest first.
    ///
    /// # Errors
    /// When the backend fails.
    pub async fn list(&self, owner: UserId, page: &PageRequest) -> Result<Page<Webhook>, BackendError> {
        self.p.webhooks.list(owner, page).await
    }

    /// One of the owner's.
    ///
    /// # Errors
    /// When there is none of that id, or the backend fails.
    pub async fn find(&self, owner: UserId, id: WebhookId) -> Result<Webhook, WebhookError> {
        self.p.webhooks.find(owner, id).await?.ok_or(WebhookError::NotFound)
    }

    /// Changes a webhook; with a version only when it is still in it.
    ///
    /// # Errors
    /// When parts are refused, the version is another, or the backend fails.
    pub async fn update(
        &self,
        owner: UserId,
        id: WebhookId,
        version: Option<u64>,
        change: WebhookChange,
        origin: &Origin,
    ) -> Result<Webhook, WebhookError> {
        let mut webhook = self.find(owner, id).await?;
        if version.is_some_and(|version| version != webhook.version) {
            return Err(WebhookError::Stale);
        }
        let before = webhook.clone();
        let mut refusals = Vec::new();
        if let Some(url) = change.url {
            self.judge_url(&url, &mut refusals);
            webhook.url = url;
        }
        if let Some(types) = change.types {
            webhook.types = judge_types(&types, &mut refusals);
        }
        if let Some(description) = change.description {
            judge_description(&description, &mut refusals);
            webhook.description = description;
        }
        if !refusals.is_empty() {
            return Err(WebhookError::Refused(refusals));
        }
        match change.enabled {
            Some(true) => webhook.disabled = None,
            // Why it was disabled first is what its owner wants to know.
            Some(false) => webhook.disabled = webhook.disabled.or(Some(DisableReason::Owner)),
            None => {}
        }
        if webhook == before {
            return Ok(webhook);
        }
        self.store(webhook, OwnEvent::WebhookUpdated, origin).await
    }

    /// Gives a webhook a new secret, which is told this once. The one before signs too for a day.
    ///
    /// # Errors
    /// When there is none of that id, or the backend fails.
    pub async fn rotate(
        &self,
        owner: UserId,
        id: WebhookId,
        origin: &Origin,
    ) -> Result<(Webhook, String), WebhookError> {
        let mut webhook = self.find(owner, id).await?;
        let (secret, sealed) = self.new_secret(id)?;
        webhook.previous = Some(PreviousSecret {
            sealed: std::mem::replace(&mut webhook.sealed_secret, sealed),
            until: self.p.toolkit.now().plus(SECRET_OVERLAP),
        });
        let webhook = self.store(webhook, OwnEvent::WebhookSecretRotated, origin).await?;
        Ok((webhook, secret))
    }

    /// Deletes a webhook; what waits for it is not sent.
    ///
    /// # Errors
    /// When there is none of that id, or the backend fails.
    pub async fn remove(&self, owner: UserId, id: WebhookId, origin: &Origin) -> Result<(), WebhookError> {
        let event = self.event(owner, id, OwnEvent::WebhookDeleted, origin);
        let effects = Effects {
            events: vec![event],
            ..Effects::none()
        };
        if !self.p.webhooks.remove(owner, id, &effects).await? {
            return Err(WebhookError::NotFound);
        }
        self.p.toolkit.wakeups.wake(Wakeup::Written);
        Ok(())
    }

    /// Sends a `webhook.test` to a webhook, whatever its filters are; it is in no log. Gives the id of the delivery.
    ///
    /// # Errors
    /// When there is none of that id, it is disabled, or the backend fails.
    pub async fn test(
        &self,
        owner: UserId,
        id: WebhookId,
        origin: &Origin,
        answer: impl FnOnce(DeliveryId) -> Option<StoredAnswer>,
    ) -> Result<DeliveryId, WebhookError> {
        let webhook = self.find(owner, id).await?;
        if webhook.disabled.is_some() {
            return Err(WebhookError::Disabled);
        }
        let now = self.p.toolkit.now();
        let event_id = EventId::new(self.p.toolkit.id());
        let delivery = NewDelivery {
            id: DeliveryId::new(self.p.toolkit.id()),
            webhook_id: id,
            owner,
            host: self.host(&webhook),
            event_id,
            event_type: message::test_type()?,
            body: Some(message::test_body(&self.p.source, event_id, &webhook, now, origin)),
            created_at: now,
        };
        let effects = Effects {
            answer: answer(delivery.id),
            ..Effects::none()
        };
        self.p.queue.add(&delivery, &effects).await?;
        self.p.toolkit.wakeups.wake(Wakeup::Webhook);
        Ok(delivery.id)
    }

    /// The deliveries to a webhook, newest first.
    ///
    /// # Errors
    /// When there is none of that id, or the backend fails.
    pub async fn deliveries(
        &self,
        owner: UserId,
        id: WebhookId,
        state: Option<DeliveryState>,
        page: &PageRequest,
    ) -> Result<Page<Delivery>, WebhookError> {
        self.find(owner, id).await?;
        Ok(self.p.queue.list(id, state, page).await?)
    }

    /// One delivery with its attempts.
    ///
    /// # Errors
    /// When there is none of these ids, or the backend fails.
    pub async fn delivery(
        &self,
        owner: UserId,
        id: WebhookId,
        delivery: DeliveryId,
    ) -> Result<(Delivery, Vec<DeliveryAttempt>), WebhookError> {
        self.find(owner, id).await?;
        self.p.queue.find(id, delivery).await?.ok_or(WebhookError::NotFound)
    }

    /// Sends a delivery once more, whatever became of it.
    ///
    /// # Errors
    /// When there is none of these ids, the webhook is disabled, the delivery is being sent just now, or the backend fails.
    pub async fn resend(&self, owner: UserId, id: WebhookId, delivery: DeliveryId) -> Result<Delivery, WebhookError> {
        if self.find(owner, id).await?.disabled.is_some() {
            return Err(WebhookError::Disabled);
        }
        match self.p.queue.resend(id, delivery, self.p.toolkit.now()).await? {
            Resent::Due(delivery) => {
                self.p.toolkit.wakeups.wake(Wakeup::Webhook);
                Ok(delivery)
            }
            Resent::InHand => Err(WebhookError::InHand),
            Resent::Unknown => Err(WebhookError::NotFound),
        }
    }

    /// Host and port of a webhook, by which attempts at one place are counted.
    pub fn host(&self, webhook: &Webhook) -> String {
        self.p
            .sender
            .target(&webhook.url)
            .unwrap_or_else(|_| NOWHERE.to_owned())
    }

    /// What became of attempts in this process.
    pub fn counts(&self) -> WebhookCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        WebhookCounts {
            delivered: read(&counters.delivered),
            retried: read(&counters.retried),
            dead: read(&counters.dead),
            disabled: read(&counters.disabled),
            lost: read(&counters.lost),
            time: counters.time.snapshot(),
        }
    }

    /// Counts a recorded attempt.
    pub(crate) fn count(&self, verdict: DeliveryVerdict, took: Duration) {
        let counter = match verdict {
            DeliveryVerdict::Delivered => &self.counters.delivered,
            DeliveryVerdict::Retry(_) => &self.counters.retried,
            DeliveryVerdict::Dead => &self.counters.dead,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.counters.time.observe(took);
    }

    /// Counts a webhook that was disabled.
    pub(crate) fn count_disabled(&self) {
        self.counters.disabled.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an attempt that could not be recorded because its lease was lost.
    pub(crate) fn count_lost(&self) {
        self.counters.lost.fetch_add(1, Ordering::Relaxed);
    }

    async fn store(&self, mut webhook: Webhook, kind: OwnEvent, origin: &Origin) -> Result<Webhook, WebhookError> {
        webhook.updated_at = self.p.toolkit.now();
        let effects = self.told(&webhook, kind, origin);
        match self.p.webhooks.update(&webhook, &effects).await {
            Ok(()) => {}
            Err(UpdateWebhookError::Stale) => return Err(WebhookError::Contended),
            Err(UpdateWebhookError::Effects(error)) => return Err(error.into()),
        }
        self.p.toolkit.wakeups.wake(Wakeup::Written);
        self.find(webhook.owner, webhook.id).await
    }

    fn event(&self, owner: UserId, id: WebhookId, kind: OwnEvent, origin: &Origin) -> Event {
        self.p
            .toolkit
            .own_event(origin, owner, kind, &json!({ "webhook_id": id }))
    }

    fn told(&self, webhook: &Webhook, kind: OwnEvent, origin: &Origin) -> Effects {
        Effects {
            events: vec![self.event(webhook.owner, webhook.id, kind, origin)],
            ..Effects::none()
        }
    }

    /// 32 random bytes, as they are told and sealed as they are kept.
    fn new_secret(&self, id: WebhookId) -> Result<(String, Vec<u8>), BackendError> {
        let secret: [u8; 32] = self.p.toolkit.random();
        let sealed = self
            .p
            .sealer
            .seal(SealPurpose::WebhookSecret, id.uuid().as_bytes(), &secret)?;
        Ok((secret_text(&secret), sealed))
    }

    fn judge_url(&self, url: &str, refusals: &mut Vec<Refusal>) {
        let refusal = |code, detail: String| Refusal {
            pointer: "#/url".to_owned(),
            code,
            detail,
        };
        if url.len() > MAX_URL_BYTES {
            refusals.push(refusal("length", format!("must have at most {MAX_URL_BYTES} bytes")));
        } else if let Err(error) = self.p.sender.target(url) {
            refusals.push(refusal("url", error.to_string()));
        }
    }
}

fn judge_types(types: &[String], refusals: &mut Vec<Refusal>) -> Vec<TypeFilter> {
    if !(1..=MAX_TYPES).contains(&types.len()) {
        refusals.push(Refusal {
            pointer: "#/types".to_owned(),
            code: "length",
            detail: format!("must have 1 to {MAX_TYPES} entries"),
        });
        return Vec::new();
    }
    let mut filters = Vec::with_capacity(types.len());
    for (index, text) in types.iter().enumerate() {
        match text.parse::<TypeFilter>() {
            Ok(filter) if filters.contains(&filter) => {}
            Ok(filter) => filters.push(filter),
            Err(error) => refusals.push(Refusal {
                pointer: format!("#/types/{index}"),
                code: "format",
                detail: error.to_string(),
            }),
        }
    }
    filters
}

fn judge_description(description: &str, refusals: &mut Vec<Refusal>) {
    if description.chars().count() > MAX_DESCRIPTION || description.chars().any(char::is_control) {
        refusals.push(Refusal {
            pointer: "#/description".to_owned(),
            code: "length",
            detail: format!("must have at most {MAX_DESCRIPTION} characters, none of them a control character"),
        });
    }
}
