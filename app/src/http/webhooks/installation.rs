//! `/v1/admin/webhooks`: where the events of all users are sent, for administrators.

use domain::id::UserId;
use openapi::{CreateWebhookBody, DeliveryDetailBody, DeliveryPageBody, PatchWebhookBody, WebhookPageBody};
use poem_openapi::OpenApi;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use uuid::Uuid;

use super::super::accounts::Done;
use super::super::auth::Bearer;
use super::super::problem::Fault;
use super::{Changed, Made, Resent, Shared, Taken};

/// What the operations answer beyond what all may answer.
pub const ERRORS: &[(&str, &[&str])] = &[
    (
        "create_installation_webhook",
        &["scope_missing", "validation_failed", "quota_exceeded"],
    ),
    ("list_installation_webhooks", &["scope_missing", "validation_failed"]),
    ("get_installation_webhook", &["scope_missing", "not_found"]),
    (
        "update_installation_webhook",
        &[
            "scope_missing",
            "validation_failed",
            "not_found",
            "conflict",
            "precondition_failed",
        ],
    ),
    ("delete_installation_webhook", &["scope_missing", "not_found"]),
    (
        "rotate_installation_webhook_secret",
        &["scope_missing", "not_found", "conflict"],
    ),
    (
        "test_installation_webhook",
        &[
            "scope_missing",
            "not_found",
            "conflict",
            "idempotency_in_flight",
            "idempotency_key_reused",
        ],
    ),
    (
        "list_installation_webhook_deliveries",
        &["scope_missing", "validation_failed", "not_found"],
    ),
    ("get_installation_webhook_delivery", &["scope_missing", "not_found"]),
    (
        "resend_installation_webhook_delivery",
        &["scope_missing", "not_found", "conflict"],
    ),
];

/// The operations on the webhooks of the installation.
#[derive(Debug)]
pub struct InstallationWebhooksApi {
    /// What they share with those of users.
    pub shared: Shared,
}

#[OpenApi(tag = "super::super::Tags::Administration")]
impl InstallationWebhooksApi {
    /// Make a webhook of the installation
    ///
    /// From now on the events of all users that its filters let through are sent there, signed as Standard Webhooks 1.0 says, each at least once and under its own id. The secret is told this once.
    #[oai(
        path = "/v1/admin/webhooks",
        method = "post",
        operation_id = "create_installation_webhook"
    )]
    async fn create(&self, auth: Bearer, body: Json<CreateWebhookBody>) -> Result<Made, Fault> {
        auth.0.require_admin()?;
        self.shared.create(UserId::SYSTEM, &auth.0, body.0).await
    }

    /// List the webhooks of the installation
    ///
    /// Oldest first, disabled ones too.
    #[oai(
        path = "/v1/admin/webhooks",
        method = "get",
        operation_id = "list_installation_webhooks"
    )]
    async fn list(
        &self,
        auth: Bearer,
        /// The `next_cursor` of the page before.
        after: Query<Option<String>>,
        /// How many items at the most, 1 to 200; 50 when left out.
        limit: Query<Option<u32>>,
    ) -> Result<Json<WebhookPageBody>, Fault> {
        auth.0.require_admin()?;
        self.shared.list(UserId::SYSTEM, after.0, limit.0).await
    }

    /// Read a webhook of the installation
    ///
    /// How it is set, and how it has been doing. The secret is not shown.
    #[oai(
        path = "/v1/admin/webhooks/:id",
        method = "get",
        operation_id = "get_installation_webhook"
    )]
    async fn get(
        &self,
        auth: Bearer,
        /// The webhook.
        id: Path<Uuid>,
    ) -> Result<Changed, Fault> {
        auth.0.require_admin()?;
        self.shared.get(UserId::SYSTEM, id.0).await
    }

    /// Change a webhook of the installation
    ///
    /// A merge patch: what is left out stays as it is. Disabling cancels what waits; enabling ends a disabling by the server too, and what happened meanwhile is not sent.
    #[oai(
        path = "/v1/admin/webhooks/:id",
        method = "patch",
        operation_id = "update_installation_webhook"
    )]
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
        auth.0.require_admin()?;
        self.shared
            .update(UserId::SYSTEM, &auth.0, id.0, if_match.0.as_deref(), body.0)
            .await
    }

    /// Delete a webhook of the installation
    ///
    /// What waits for it is not sent any more, and its deliveries are not shown any more.
    #[oai(
        path = "/v1/admin/webhooks/:id",
        method = "delete",
        operation_id = "delete_installation_webhook"
    )]
    async fn delete(
        &self,
        auth: Bearer,
        /// The webhook.
        id: Path<Uuid>,
    ) -> Result<Done, Fault> {
        auth.0.require_admin()?;
        self.shared.delete(UserId::SYSTEM, &auth.0, id.0).await
    }

    /// Give a webhook of the installation a new secret
    ///
    /// It is told this once. For 24 hours each message carries two signatures, one by the new secret and one by that before; a third secret before that is void at once.
    #[oai(
        path = "/v1/admin/webhooks/:id/rotate",
        method = "post",
        operation_id = "rotate_installation_webhook_secret"
    )]
    async fn rotate(
        &self,
        auth: Bearer,
        /// The webhook.
        id: Path<Uuid>,
    ) -> Result<Made, Fault> {
        auth.0.require_admin()?;
        self.shared.rotate(UserId::SYSTEM, &auth.0, id.0).await
    }

    /// Send a test event to a webhook of the installation
    ///
    /// A `webhook.test` goes to this webhook alone, whatever its filters are. It is tried again like every other.
    #[oai(
        path = "/v1/admin/webhooks/:id/test",
        method = "post",
        operation_id = "test_installation_webhook"
    )]
    async fn test(
        &self,
        auth: Bearer,
        /// The webhook.
        id: Path<Uuid>,
        /// A name for this request, chosen by the client: repeated within 24 hours with the same content, it is answered alike and done once.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<String>>,
    ) -> Result<Taken, Fault> {
        auth.0.require_admin()?;
        let request = (idempotency_key.0, "POST /v1/admin/webhooks/{id}/test");
        self.shared.test(UserId::SYSTEM, &auth.0, id.0, request).await
    }

    /// List the deliveries to a webhook of the installation
    ///
    /// Newest first; they are kept for 30 days, unless configured otherwise.
    #[oai(
        path = "/v1/admin/webhooks/:id/deliveries",
        method = "get",
        operation_id = "list_installation_webhook_deliveries"
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
        auth.0.require_admin()?;
        self.shared
            .deliveries(UserId::SYSTEM, id.0, state.0.as_deref(), after.0, limit.0)
            .await
    }

    /// Read a delivery to a webhook of the installation
    ///
    /// Where it stands, and every attempt with what came of it.
    #[oai(
        path = "/v1/admin/webhooks/:id/deliveries/:delivery",
        method = "get",
        operation_id = "get_installation_webhook_delivery"
    )]
    async fn delivery(
        &self,
        auth: Bearer,
        /// The webhook.
        id: Path<Uuid>,
        /// The delivery.
        delivery: Path<Uuid>,
    ) -> Result<Json<DeliveryDetailBody>, Fault> {
        auth.0.require_admin()?;
        self.shared.delivery(UserId::SYSTEM, id.0, delivery.0).await
    }

    /// Send a delivery to a webhook of the installation again
    ///
    /// Now, whatever became of it, under the same `webhook-id`; when that fails, it is tried for another day.
    #[oai(
        path = "/v1/admin/webhooks/:id/deliveries/:delivery/resend",
        method = "post",
        operation_id = "resend_installation_webhook_delivery"
    )]
    async fn resend(
        &self,
        auth: Bearer,
        /// The webhook.
        id: Path<Uuid>,
        /// The delivery.
        delivery: Path<Uuid>,
    ) -> Result<Resent, Fault> {
        auth.0.require_admin()?;
        self.shared.resend(UserId::SYSTEM, id.0, delivery.0).await
    }
}
