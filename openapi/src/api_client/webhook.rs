//! Webhooks: those of the caller, and those of the installation for administrators.

use reqwest::Method;
use reqwest::header::IF_MATCH;
use uuid::Uuid;

use super::account::page;
use super::{ApiClient, ApiError, read};
use crate::{
    CreateWebhookBody, DeliveryBody, DeliveryDetailBody, DeliveryPageBody, PatchWebhookBody, WebhookBody,
    WebhookPageBody, WebhookSecretBody,
};

/// Whose webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookOwner {
    /// The caller's, which get the caller's events.
    Own,
    /// The installation's, which get everybody's; for administrators.
    Installation,
}

impl WebhookOwner {
    fn path<'p>(self, rest: &[&'p str]) -> Vec<&'p str> {
        let start: &[&str] = match self {
            Self::Own => &["v1", "webhooks"],
            Self::Installation => &["v1", "admin", "webhooks"],
        };
        [start, rest].concat()
    }
}

/// Webhooks. Each method is the operation of nearly its name in the contract, and fails as it says there.
#[expect(clippy::missing_errors_doc, reason = "every call fails alike, with an `ApiError`")]
impl ApiClient {
    /// Makes a webhook; its secret is told this once.
    pub async fn create_webhook(
        &self,
        owner: WebhookOwner,
        body: &CreateWebhookBody,
    ) -> Result<WebhookSecretBody, ApiError> {
        read(
            self.send(self.request(Method::POST, &owner.path(&[])).json(body))
                .await?,
        )
        .await
    }

    /// A page of webhooks.
    pub async fn webhooks(
        &self,
        owner: WebhookOwner,
        after: Option<&str>,
        limit: Option<u32>,
    ) -> Result<WebhookPageBody, ApiError> {
        self.get(&owner.path(&[]), &page(after, limit)).await
    }

    /// One webhook.
    pub async fn webhook(&self, owner: WebhookOwner, id: Uuid) -> Result<WebhookBody, ApiError> {
        self.get(&owner.path(&[&id.to_string()]), &[]).await
    }

    /// Changes a webhook; with an entity tag only when it still has it.
    pub async fn update_webhook(
        &self,
        owner: WebhookOwner,
        id: Uuid,
        tag: Option<&str>,
        body: &PatchWebhookBody,
    ) -> Result<WebhookBody, ApiError> {
        let mut request = self.request(Method::PATCH, &owner.path(&[&id.to_string()])).json(body);
        if let Some(tag) = tag {
            request = request.header(IF_MATCH, tag);
        }
        read(self.send(request).await?).await
    }

    /// Deletes a webhook.
    pub async fn delete_webhook(&self, owner: WebhookOwner, id: Uuid) -> Result<(), ApiError> {
        self.send(self.request(Method::DELETE, &owner.path(&[&id.to_string()])))
            .await?;
        Ok(())
    }

    /// Gives a webhook a new secret, which is told this once; the one before signs too for a day.
    pub async fn rotate_webhook_secret(&self, owner: WebhookOwner, id: Uuid) -> Result<WebhookSecretBody, ApiError> {
        let id = id.to_string();
        read(
            self.send(self.request(Method::POST, &owner.path(&[&id, "rotate"])))
                .await?,
        )
        .await
    }

    /// Sends a test event.
    pub async fn test_webhook(&self, owner: WebhookOwner, id: Uuid) -> Result<DeliveryBody, ApiError> {
        let id = id.to_string();
        read(
            self.send(self.request(Method::POST, &owner.path(&[&id, "test"])))
                .await?,
        )
        .await
    }

    /// A page of deliveries, all or those in one state.
    pub async fn webhook_deliveries(
        &self,
        owner: WebhookOwner,
        id: Uuid,
        state: Option<&str>,
        after: Option<&str>,
        limit: Option<u32>,
    ) -> Result<DeliveryPageBody, ApiError> {
        let [after, limit] = page(after, limit);
        let query = [("state", state.map(str::to_owned)), after, limit];
        self.get(&owner.path(&[&id.to_string(), "deliveries"]), &query).await
    }

    /// One delivery with its attempts.
    pub async fn webhook_delivery(
        &self,
        owner: WebhookOwner,
        id: Uuid,
        delivery: Uuid,
    ) -> Result<DeliveryDetailBody, ApiError> {
        let (id, delivery) = (id.to_string(), delivery.to_string());
        self.get(&owner.path(&[&id, "deliveries", &delivery]), &[]).await
    }

    /// Sends a delivery once more.
    pub async fn resend_webhook_delivery(
        &self,
        owner: WebhookOwner,
        id: Uuid,
        delivery: Uuid,
    ) -> Result<DeliveryBody, ApiError> {
        let (id, delivery) = (id.to_string(), delivery.to_string());
        let path = owner.path(&[&id, "deliveries", &delivery, "resend"]);
        read(self.send(self.request(Method::POST, &path)).await?).await
    }
}
