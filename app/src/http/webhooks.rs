//! `/v1/webhooks`: where the caller's own events are sent. Those of the installation differ in their owner alone.

mod installation;
mod shared;

use domain::id::UserId;
use openapi::{
    CreateWebhookBody, DeliveryBody, DeliveryDetailBody, DeliveryPageBody, PatchWebhookBody, WebhookPageBody,
};
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};
use uuid::Uuid;

use super::accounts::Done;
use super::auth::{Bearer, Caller};
use super::problem::Fault;

pub use installation::{ERRORS as INSTALLATION_ERRORS, InstallationWebhooksApi};
pub use shared::{Changed, Made, Shared, Taken};

/// What the operations answer beyond what all may answer.
pub const ERRORS: &[(&str, &[&str])] = &[
    ("create_webhook", &["validation_failed", "quota_exceeded"]),
    ("list_webhooks", &["validation_failed"]),
    ("get_webhook", &["not_found"]),
    (
        "update_webhook",
        &["validation_failed", "not_found", "conflict", "precondition_failed"],
    ),
    ("delete_webhook", &["not_found"]),
    ("rotate_webhook_secret", &["not_found", "conflict"]),
    (
        "test_webhook",
        &[
            "not_found",
            "conflict",
            "idempotency_in_flight",
            "idempotency_key_reused",
        ],
    ),
    ("list_webhook_deliveries", &["validation_failed", "not_found"]),
    ("get_webhook_delivery", &["not_found"]),
    ("resend_webhook_delivery", &["not_found", "conflict"]),
];

/// The operations on the caller's own webhooks.
#[derive(Debug)]
pub struct WebhooksApi {
    /// What they share with those of the installation.
    pub shared: Shared,
}

#[OpenApi(tag = "super::Tags::Webhooks")]
impl WebhooksApi {
    /// Make a webhook
    ///
    /// From now on the caller's events that its filters let through are sent there, signed as Standard Webhooks 1.0 says, each at least once and under its own id. The secret is told this once.
    #[oai(path = "/v1/webhooks", method = "post", operation_id = "create_webhook")]
    async fn create(&self, auth: Bearer, body: Json<CreateWebhookBody>) -> Result<Made, Fault> {
        self.shared.create(owner(&auth.0), &auth.0, body.0).await
    }

    /// List the own webhooks
    ///
    /// Oldest first, disabled ones too.
    #[oai(path = "/v1/webhooks", method = "get", operation_id = "list_webhooks")]
    async fn list(
        &self,
        auth: Bearer,
        /// The `next_cursor` of the page before.
        after: Query<Option<String>>,
        /// How many items at the most, 1 to 200; 50 when left out.
        limit: Query<Option<u32>>,
    ) -> Result<Json<WebhookPageBody>, Fault> {
        self.shared.list(owner(&auth.0), after.0, limit.0).await
    }

    /// Read a webhook
    ///
    /// How it is set, and how it has been doing. The secret is not shown.
    #[oai(path = "/v1/webhooks/:id", method = "get", operation_id = "get_webhook")]
    async fn get(
        &self,
        auth: Bearer,
        /// The webhook.
        id: Path<Uuid>,
    ) -> Result<Changed, Fault> {
        self.shared.get(owner(&auth.0), id.0).await
    }

    /// Change a webhook
    ///
    /// A merge patch: what is left out stays as it is. Disabling cancels what waits; enabling ends a disabling by the server too, and what happened meanwhile is not sent.
    #[oai(path = "/v1/webhooks/:id", method = "patch", operation_id = "update_webhook")]
    async fn update(
        &self,
        auth: Bearer,
        /// The webhook.
        id: Path<Uuid>,
        /// The `ETag` that the webhook must still have.
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
        body: Json<PatchWebhookBody>,
    ) -> Result<Changed, Fault> {
        self.shared
            .update(owner(&auth.0), &auth.0, id.0, if_match.0.as_deref(), body.0)
            .await
    }

    /// Delete a webhook
    ///
    /// What waits for it is not sent any more, and its deliveries are not shown any more.
    #[oai(path = "/v1/webhooks/:id", method = "delete", operation_id = "delete_webhook")]
    async fn delete(
        &self,
        auth: Bearer,
        /// The webhook.
        id: Path<Uuid>,
    ) -> Result<Done, Fault> {
        self.shared.delete(owner(&auth.0), &auth.0, id.0).await
    }

    /// Give a webhook a new secret
    ///
    /// It is told this once. For 24 hours each message carries two signatures, one by the new secret and one by that before; a third secret before that is void at once.
    #[oai(
        path = "/v1/webhooks/:id/rotate",
        method = "post",
        operation_id = "rotate_webhook_secret"
    )]
    async fn rotate(
        &self,
        auth: Bearer,
        /// The webhook.
        id: Path<Uuid>,
    ) -> Result<Made, Fault> {
        self.shared.rotate(owner(&auth.0), &auth.0, id.0).await
    }

    /// Send a test event
    ///
    /// A `webhook.test` goes to this webhook alone, whatever its filters are. It is tried again like every other.
    #[oai(path = "/v1/webhooks/:id/test", method = "post", operation_id = "test_webhook")]
    async fn test(
        &self,
        auth: Bearer,
        /// The webhook.
        id: Path<Uuid>,
        /// A name for this request, chosen by the client: repeated within 24 hours with the same content, it is answered alike and done once.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<String>>,
    ) -> Result<Taken, Fault> {
        let request = (idempotency_key.0, "POST /v1/webhooks/{id}/test");
        self.shared.test(owner(&auth.0), &auth.0, id.0, request).await
    }

    /// List the deliveries to a webhook
    ///
    /// Newest first; they are kept for 30 days, unless configured otherwise.
    #[oai(
        path = "/v1/webhooks/:id/deliveries",
        method = "get",
        operation_id = "list_webhook_deliveries"
    )]
    async fn deliveries(
        &self,
        auth: Bearer,
        /// The webhook.
        id: Path<Uuid>,
        /// Only deliveries in this state.
        state: Query<Option<String>>,
        /// The `next_cursor` of the page before.
        after: Query<Option<String>>,
        /// How many items at the most, 1 to 200; 50 when left out.
        limit: Query<Option<u32>>,
    ) -> Result<Json<DeliveryPageBody>, Fault> {
        self.shared
            .deliveries(owner(&auth.0), id.0, state.0.as_deref(), after.0, limit.0)
            .await
    }

    /// Read a delivery
    ///
    /// Where it stands, and every attempt with what came of it.
    #[oai(
        path = "/v1/webhooks/:id/deliveries/:delivery",
        method = "get",
        operation_id = "get_webhook_delivery"
    )]
    async fn delivery(
        &self,
        auth: Bearer,
        /// The webhook.
        id: Path<Uuid>,
        /// The delivery.
        delivery: Path<Uuid>,
    ) -> Result<Json<DeliveryDetailBody>, Fault> {
        self.shared.delivery(owner(&auth.0), id.0, delivery.0).await
    }

    /// Send a delivery again
    ///
    /// Now, whatever became of it, under the same `webhook-id`; when that fails, it is tried for another day.
    #[oai(
        path = "/v1/webhooks/:id/deliveries/:delivery/resend",
        method = "post",
        operation_id = "resend_webhook_delivery"
    )]
    async fn resend(
        &self,
        auth: Bearer,
        /// The webhook.
        id: Path<Uuid>,
        /// The delivery.
        delivery: Path<Uuid>,
    ) -> Result<Resent, Fault> {
        self.shared.resend(owner(&auth.0), id.0, delivery.0).await
    }
}

/// A delivery that is on its way again.
#[derive(Debug, ApiResponse)]
pub enum Resent {
    /// It is due now.
    #[oai(status = 202)]
    Due(Json<DeliveryBody>),
}

fn owner(caller: &Caller) -> UserId {
    caller.user_id()
}
