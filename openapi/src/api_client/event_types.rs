//! Operations on types of events and their schemas.
use reqwest::Method;

use super::account::page;
use super::{ApiClient, ApiError, read};
use crate::{CompatibilityBody, EventSchemaBody, EventTypeBody, EventTypePageBody, RegisterSchemaBody};

#[expect(clippy::missing_errors_doc, reason = "every call fails alike, with an `ApiError`")]
impl ApiClient {
    /// A page of the types that have a schema.
    pub async fn event_types(&self, after: Option<&str>, limit: Option<u32>) -> Result<EventTypePageBody, ApiError> {
        self.get(&["v1", "event-types"], &page(after, limit)).await
    }

    /// A type.
    pub async fn event_type(&self, name: &str) -> Result<EventTypeBody, ApiError> {
        self.get(&["v1", "event-types", name], &[]).await
    }

    /// A version of a type's schema.
    pub async fn event_schema(&self, name: &str, version: u32) -> Result<EventSchemaBody, ApiError> {
        self.get(&["v1", "event-types", name, "versions", &version.to_string()], &[])
            .await
    }

    /// Registers the next version of a type's schema; for administrators.
    pub async fn register_event_schema(
        &self,
        name: &str,
        body: &RegisterSchemaBody,
    ) -> Result<EventSchemaBody, ApiError> {
        let path = ["v1", "admin", "event-types", name, "versions"];
        read(self.send(self.request(Method::POST, &path).json(body)).await?).await
    }

    /// Sets the rule for further versions of a type; for administrators.
    pub async fn set_event_compatibility(
        &self,
        name: &str,
        body: &CompatibilityBody,
    ) -> Result<EventTypeBody, ApiError> {
        let path = ["v1", "admin", "event-types", name, "compatibility"];
        read(self.send(self.request(Method::PUT, &path).json(body)).await?).await
    }
}
