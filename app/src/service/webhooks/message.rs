//! What is sent: the body of an event, and its signatures.

use bytes::Bytes;
use domain::event::EventType;
use domain::id::{EventId, WebhookId};
use domain::time::Timestamp;
use domain::webhook::{DeliveryFault, Webhook, signature};
use ports::{BackendError, ClaimedDelivery, SealPurpose, WebhookRequest};
use serde_json::json;

use super::{Origin, Webhooks};

/// The type of the event that is sent on demand.
const TEST_TYPE: &str = "webhook.test";

/// The media type of the body: an event in the structured mode of `CloudEvents`, by which its libraries know it.
const MEDIA_TYPE: &str = "application/cloudevents+json; charset=utf-8";

pub(super) fn test_type() -> Result<EventType, BackendError> {
    TEST_TYPE
        .parse()
        .map_err(|error| BackendError::permanent("webhooks", "test", error))
}

/// The body of a test: an envelope like every other, without a place in the log.
pub(super) fn test_body(source: &str, id: EventId, webhook: &Webhook, now: Timestamp, origin: &Origin) -> String {
    let mut body = json!({
        "specversion": "1.0",
        "id": id.to_string(),
        "source": source,
        "type": TEST_TYPE,
        "time": now.to_rfc3339(),
        "datacontenttype": "application/json",
        "userid": webhook.owner.to_string(),
        "actorid": origin.actor.as_text(),
        "data": { "webhook_id": webhook.id },
    });
    if let Some(request) = origin.request_id {
        body["requestid"] = request.to_string().into();
    }
    body.to_string()
}

impl Webhooks {
    /// The request of one attempt: the event as it is now, signed at this time by each secret that is in force.
    ///
    /// # Errors
    /// When the event is no longer kept, or no secret opens. Waiting helps in neither case.
    pub(crate) fn message(&self, claimed: &ClaimedDelivery, now: Timestamp) -> Result<WebhookRequest, DeliveryFault> {
        let webhook = &claimed.webhook;
        let body = match (&claimed.body, &claimed.event) {
            (Some(body), _) => body.clone(),
            (None, Some(event)) => event.to_cloud_event_text(&self.p.source),
            (None, None) => return Err(DeliveryFault::EventGone),
        };
        let id = claimed.delivery.event_id.to_string();
        let previous = webhook.previous.as_ref().filter(|previous| previous.until > now);
        let sealed = [Some(&webhook.sealed_secret), previous.map(|previous| &previous.sealed)];
        let mut signatures = Vec::with_capacity(2);
        for sealed in sealed.into_iter().flatten() {
            let secret = self.open(webhook.id, sealed)?;
            signatures.push(signature(&secret, &id, now.seconds(), body.as_bytes()));
        }
        Ok(WebhookRequest {
            url: webhook.url.clone(),
            id,
            timestamp: now.seconds(),
            signature: signatures.join(" "),
            content_type: MEDIA_TYPE,
            body: Bytes::from(body),
        })
    }

    fn open(&self, id: WebhookId, sealed: &[u8]) -> Result<Vec<u8>, DeliveryFault> {
        let opened = self
            .p
            .sealer
            .open(SealPurpose::WebhookSecret, id.uuid().as_bytes(), sealed);
        opened.map_err(|error| {
            tracing::error!(webhook_id = %id, %error, "the secret of a webhook does not open: was it sealed under another master key?");
            DeliveryFault::Secret
        })
    }
}
