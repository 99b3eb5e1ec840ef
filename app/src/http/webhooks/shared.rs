//! What the operations on a user's webhooks and on those of the installation share: all but the owner.

use std::sync::Arc;

use domain::id::{DeliveryId, UserId, WebhookId};
use domain::webhook::{DeliveryState, Webhook};
use openapi::{
    CreateWebhookBody, DeliveryBody, DeliveryDetailBody, DeliveryPageBody, PatchWebhookBody, Text, WebhookBody,
    WebhookPageBody, WebhookSecretBody,
};
use poem_openapi::ApiResponse;
use poem_openapi::payload::Json;
use ports::Clock;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::super::accounts::Done;
use super::super::auth::Caller;
use super::super::idempotency::Idempotency;
use super::super::input::page;
use super::super::problem::Fault;
use super::Resent;
use crate::service::webhooks::{WebhookChange, WebhookDraft, WebhookError, Webhooks};

/// A webhook with a new secret.
#[derive(Debug, ApiResponse)]
pub enum Made {
    /// The webhook and its secret, which is told this once.
    #[oai(status = 201)]
    Made(
        Json<WebhookSecretBody>,
        /// The version of the webhook, for `If-Match`.
        #[oai(header = "ETag")]
        String,
    ),
}

/// A webhook.
#[derive(Debug, ApiResponse)]
pub enum Changed {
    /// The webhook as it is now.
    #[oai(status = 200)]
    Now(
        Json<WebhookBody>,
        /// The version of the webhook, for `If-Match`.
        #[oai(header = "ETag")]
        String,
    ),
}

/// A delivery on its way.
#[derive(Debug, ApiResponse)]
pub enum Taken {
    /// The delivery is written and due now.
    #[oai(status = 202)]
    Due(
        Json<DeliveryBody>,
        /// `true` when this repeats the answer to an earlier request with the same `Idempotency-Key`.
        #[oai(header = "Idempotency-Replayed")]
        Option<bool>,
    ),
}

/// The operations for any owner.
pub struct Shared {
    /// The service.
    pub webhooks: Arc<Webhooks>,
    /// Requests with a key.
    pub idempotency: Arc<Idempotency>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) async fn create(&self, owner: UserId, caller: &Caller, body: CreateWebhookBody) -> Result<Made, Fault> {
        let draft = WebhookDraft {
            url: body.url.0,
            types: body.types.map(texts),
            description: body.description.map(|text| text.0).unwrap_or_default(),
        };
        let (webhook, secret) = self.webhooks.create(owner, draft, &caller.origin()).await?;
        Ok(self.made(&webhook, secret))
    }

    pub(super) async fn list(
        &self,
        owner: UserId,
        after: Option<String>,
        limit: Option<u32>,
    ) -> Result<Json<WebhookPageBody>, Fault> {
        let found = self.webhooks.list(owner, &page(after, limit)?).await?;
        let now = self.clock.now();
        Ok(Json(WebhookPageBody {
            items: found
                .items
                .iter()
                .map(|webhook| WebhookBody::new(webhook, now))
                .collect(),
            next_cursor: found.next,
        }))
    }

    pub(super) async fn get(&self, owner: UserId, id: Uuid) -> Result<Changed, Fault> {
        Ok(self.changed(&self.webhooks.find(owner, WebhookId::new(id)).await?))
    }

    pub(super) async fn update(
        &self,
        owner: UserId,
        caller: &Caller,
        id: Uuid,
        if_match: Option<&str>,
        body: PatchWebhookBody,
    ) -> Result<Changed, Fault> {
        let version = if_match.map(version).transpose()?.flatten();
        let change = WebhookChange {
            url: body.url.map(|text| text.0),
            types: body.types.map(texts),
            description: body.description.map(|text| text.0),
            enabled: body.enabled,
        };
        let changed = self
            .webhooks
            .update(owner, WebhookId::new(id), version, change, &caller.origin())
            .await?;
        Ok(self.changed(&changed))
    }

    pub(super) async fn delete(&self, owner: UserId, caller: &Caller, id: Uuid) -> Result<Done, Fault> {
        self.webhooks
            .remove(owner, WebhookId::new(id), &caller.origin())
            .await?;
        Ok(Done::Done)
    }

    pub(super) async fn rotate(&self, owner: UserId, caller: &Caller, id: Uuid) -> Result<Made, Fault> {
        let (webhook, secret) = self
            .webhooks
            .rotate(owner, WebhookId::new(id), &caller.origin())
            .await?;
        Ok(self.made(&webhook, secret))
    }

    pub(super) async fn test(
        &self,
        owner: UserId,
        caller: &Caller,
        id: Uuid,
        (key, route): (Option<String>, &'static str),
    ) -> Result<Taken, Fault> {
        let fingerprint = Sha256::digest(id.as_bytes()).into();
        let ticket = self
            .idempotency
            .begin(key.as_deref(), caller, route, fingerprint)
            .await?;
        let id = WebhookId::new(id);
        if let Some(answer) = ticket.replay() {
            let delivery = answer.resources.first().and_then(|id| Uuid::try_parse(id).ok());
            let delivery = delivery.ok_or_else(Fault::internal_error)?;
            let (delivery, _) = self.webhooks.delivery(owner, id, DeliveryId::new(delivery)).await?;
            return Ok(Taken::Due(Json((&delivery).into()), Some(true)));
        }
        let answer = |delivery: DeliveryId| ticket.answer(202, vec![delivery.to_string()]);
        let delivery = match self.webhooks.test(owner, id, &caller.origin(), answer).await {
            Ok(delivery) => delivery,
            Err(error) => {
                ticket.release().await;
                return Err(error.into());
            }
        };
        let (delivery, _) = self.webhooks.delivery(owner, id, delivery).await?;
        Ok(Taken::Due(Json((&delivery).into()), None))
    }

    pub(super) async fn deliveries(
        &self,
        owner: UserId,
        id: Uuid,
        state: Option<&str>,
        after: Option<String>,
        limit: Option<u32>,
    ) -> Result<Json<DeliveryPageBody>, Fault> {
        let state = state.map(|word| {
            DeliveryState::parse(word).ok_or_else(|| {
                let words: Vec<&str> = DeliveryState::ALL.iter().map(|state| state.as_str()).collect();
                let detail = format!("must be one of {}", words.join(", "));
                Fault::validation_failed().at("#/parameters/state", "enum", detail)
            })
        });
        let (state, page) = (state.transpose()?, page(after, limit)?);
        let found = self
            .webhooks
            .deliveries(owner, WebhookId::new(id), state, &page)
            .await?;
        Ok(Json(DeliveryPageBody {
            items: found.items.iter().map(Into::into).collect(),
            next_cursor: found.next,
        }))
    }

    pub(super) async fn delivery(
        &self,
        owner: UserId,
        id: Uuid,
        delivery: Uuid,
    ) -> Result<Json<DeliveryDetailBody>, Fault> {
        let found = self
            .webhooks
            .delivery(owner, WebhookId::new(id), DeliveryId::new(delivery))
            .await?;
        Ok(Json((&found).into()))
    }

    pub(super) async fn resend(&self, owner: UserId, id: Uuid, delivery: Uuid) -> Result<Resent, Fault> {
        let due = self
            .webhooks
            .resend(owner, WebhookId::new(id), DeliveryId::new(delivery))
            .await?;
        Ok(Resent::Due(Json((&due).into())))
    }

    fn made(&self, webhook: &Webhook, secret: String) -> Made {
        let webhook_body = WebhookBody::new(webhook, self.clock.now());
        let body = WebhookSecretBody {
            webhook: webhook_body,
            secret,
        };
        Made::Made(Json(body), tag(webhook))
    }

    fn changed(&self, webhook: &Webhook) -> Changed {
        Changed::Now(Json(WebhookBody::new(webhook, self.clock.now())), tag(webhook))
    }
}

fn texts(texts: Vec<Text>) -> Vec<String> {
    texts.into_iter().map(|text| text.0).collect()
}

fn tag(webhook: &Webhook) -> String {
    format!("\"{}\"", webhook.version)
}

/// The version that `If-Match` names; none for `*`, which any version is.
fn version(if_match: &str) -> Result<Option<u64>, Fault> {
    let text = if_match.trim();
    if text == "*" {
        return Ok(None);
    }
    let version = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .and_then(|text| text.parse::<u64>().ok());
    // A tag that is none of ours is of no version.
    version.map(Some).ok_or_else(Fault::precondition_failed)
}

impl From<WebhookError> for Fault {
    fn from(error: WebhookError) -> Self {
        match error {
            WebhookError::NotFound => Self::not_found(),
            WebhookError::Refused(refusals) => {
                refusals.into_iter().fold(Self::validation_failed(), |fault, refusal| {
                    fault.at(refusal.pointer, refusal.code, refusal.detail)
                })
            }
            WebhookError::TooMany(most) => {
                Self::quota_exceeded().detail(format!("There may be {most} webhooks at the most: delete one first."))
            }
            WebhookError::Stale => Self::precondition_failed(),
            WebhookError::Contended => Self::conflict().detail("The webhook is being changed by somebody else."),
            WebhookError::Disabled => Self::conflict().detail("The webhook is disabled: enable it first."),
            WebhookError::InHand => Self::conflict().detail("The delivery is being sent just now."),
            WebhookError::Effects(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_tag_is_a_version_or_any() {
        assert_eq!(version("\"7\"").unwrap(), Some(7));
        assert_eq!(version(" * ").unwrap(), None);
        for other in ["7", "W/\"7\"", "\"x\"", "", "\"7\", \"8\""] {
            assert_eq!(version(other).unwrap_err().code(), "precondition_failed", "{other}");
        }
    }
}
