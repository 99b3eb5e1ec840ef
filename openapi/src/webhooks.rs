//! Bodies about webhooks.
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::accounts::redacted;
use crate::{Text, Time};

/// A webhook to be made.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object), oai(deny_unknown_fields))]
pub struct CreateWebhookBody {
    /// Where to send: https, without user name, password or fragment, and leading to a public address.
    pub url: Text,
    /// Which events: exact types (`file.uploaded`), prefixes (`file.*`) or `*`; all when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub types: Option<Vec<Text>>,
    /// What it is for, at most 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<Text>,
}

/// A merge patch of a webhook: what is left out stays as it is.
#[derive(Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object), oai(deny_unknown_fields))]
pub struct PatchWebhookBody {
    /// Where to send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<Text>,
    /// Which events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub types: Option<Vec<Text>>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<Text>,
    /// `false` cancels what waits for it; `true` also ends a disabling by the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// A webhook. Its secret is never shown again.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct WebhookBody {
    /// The id.
    pub id: Uuid,
    /// Where to send.
    pub url: String,
    /// Which events.
    pub types: Vec<String>,
    /// What it is for.
    pub description: String,
    /// Whether it gets events.
    pub enabled: bool,
    /// Why not: `owner` said so, it was `gone` (410), or it was `failing` for days; null while it is enabled.
    pub disabled_reason: Option<String>,
    /// Since when every attempt has failed; null when the last one succeeded.
    pub failing_since: Option<Time>,
    /// Failures since then.
    pub failures: u32,
    /// When an attempt last succeeded, to the minute.
    pub last_success_at: Option<Time>,
    /// Until when the secret before the present one signs too; null when there is none.
    pub previous_secret_until: Option<Time>,
    /// When it was made.
    pub created_at: Time,
    /// When it was last changed.
    pub updated_at: Time,
}

/// A webhook with its secret, which is told this once.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct WebhookSecretBody {
    /// The webhook.
    pub webhook: WebhookBody,
    /// The secret: `whsec_` and base64, as the libraries of Standard Webhooks take it.
    pub secret: String,
}

/// A page of webhooks.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct WebhookPageBody {
    /// The webhooks, oldest first.
    pub items: Vec<WebhookBody>,
    /// Give this as `after` for the next page; null on the last.
    pub next_cursor: Option<String>,
}

/// One event on its way to a webhook.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct DeliveryBody {
    /// The id.
    pub id: Uuid,
    /// The event, also the header `webhook-id`.
    pub event_id: Uuid,
    /// Its type.
    pub event_type: String,
    /// `queued`, `sending`, `delivered`, `dead` or `cancelled`.
    pub state: String,
    /// Attempts so far.
    pub attempts: u32,
    /// When the next attempt is due; null in a final state.
    pub next_attempt_at: Option<Time>,
    /// The status of the last answer; null when none came.
    pub last_status: Option<u16>,
    /// Why the last attempt failed: `forbidden`, `resolve`, `connect`, `tls`, `timeout`, `protocol`, `too_large`, `redirect`, `gone`, `status`, `event_gone` or `secret`.
    pub last_error: Option<String>,
    /// When it was made.
    pub created_at: Time,
    /// When it came to its end.
    pub done_at: Option<Time>,
}

/// A delivery with its attempts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct DeliveryDetailBody {
    /// The delivery.
    pub delivery: DeliveryBody,
    /// The attempts, oldest first. What the other side said is not kept.
    pub attempts: Vec<DeliveryAttemptBody>,
}

/// One attempt of a delivery.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct DeliveryAttemptBody {
    /// Counted from 1.
    pub number: u32,
    /// When it began.
    pub at: Time,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// The status of the answer; null when none came.
    pub status: Option<u16>,
    /// Why it failed; null when it succeeded.
    pub error: Option<String>,
}

/// A page of deliveries.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct DeliveryPageBody {
    /// The deliveries, newest first.
    pub items: Vec<DeliveryBody>,
    /// Give this as `after` for the next page; null on the last.
    pub next_cursor: Option<String>,
}

redacted!(CreateWebhookBody PatchWebhookBody WebhookBody WebhookSecretBody WebhookPageBody);

#[cfg(feature = "server")]
mod server {
    use domain::time::Timestamp;
    use domain::webhook::{Delivery, DeliveryAttempt, DeliveryState, Webhook};

    use super::{DeliveryAttemptBody, DeliveryBody, DeliveryDetailBody, WebhookBody};

    impl WebhookBody {
        /// A webhook as it stands at that time.
        pub fn new(webhook: &Webhook, now: Timestamp) -> Self {
            let previous = webhook.previous.as_ref().map(|previous| previous.until);
            Self {
                id: webhook.id.uuid(),
                url: webhook.url.clone(),
                types: webhook.types.iter().map(ToString::to_string).collect(),
                description: webhook.description.clone(),
                enabled: webhook.disabled.is_none(),
                disabled_reason: webhook.disabled.map(|reason| reason.as_str().to_owned()),
                failing_since: webhook.failing_since.map(Into::into),
                failures: webhook.failures,
                last_success_at: webhook.last_success_at.map(Into::into),
                previous_secret_until: previous.filter(|until| *until > now).map(Into::into),
                created_at: webhook.created_at.into(),
                updated_at: webhook.updated_at.into(),
            }
        }
    }

    impl From<&Delivery> for DeliveryBody {
        fn from(delivery: &Delivery) -> Self {
            let waits = matches!(delivery.state, DeliveryState::Queued | DeliveryState::Sending);
            Self {
                id: delivery.id.uuid(),
                event_id: delivery.event_id.uuid(),
                event_type: delivery.event_type.as_str().to_owned(),
                state: delivery.state.as_str().to_owned(),
                attempts: delivery.attempts,
                next_attempt_at: waits.then(|| delivery.next_attempt_at.into()),
                last_status: delivery.last_status,
                last_error: delivery.last_fault.map(|fault| fault.as_str().to_owned()),
                created_at: delivery.created_at.into(),
                done_at: delivery.done_at.map(Into::into),
            }
        }
    }

    impl From<&DeliveryAttempt> for DeliveryAttemptBody {
        fn from(attempt: &DeliveryAttempt) -> Self {
            Self {
                number: attempt.number,
                at: attempt.at.into(),
                duration_ms: u64::try_from(attempt.took.as_millis()).unwrap_or(u64::MAX),
                status: attempt.status,
                error: attempt.fault.map(|fault| fault.as_str().to_owned()),
            }
        }
    }

    impl From<&(Delivery, Vec<DeliveryAttempt>)> for DeliveryDetailBody {
        fn from((delivery, attempts): &(Delivery, Vec<DeliveryAttempt>)) -> Self {
            Self {
                delivery: delivery.into(),
                attempts: attempts.iter().map(Into::into).collect(),
            }
        }
    }
}
