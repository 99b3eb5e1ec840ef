//! Files, events and mail.

use reqwest::header::{CONTENT_TYPE, RANGE};
use reqwest::{Method, RequestBuilder};
use uuid::Uuid;

use super::account::page;
use super::{ApiClient, ApiError, ByteRange, Content, NewFile, asking, read};
use crate::{
    CreateLinkBody, EventPageBody, FileBody, FilePageBody, LinkBody, MailDetailBody, MailPageBody, PublishEventBody,
    PublishEventsBody, PublishedEventBody, PublishedEventsBody,
};

/// Files, events and mail. Each method is the operation of nearly its name in the contract, and fails as it says there.
#[expect(clippy::missing_errors_doc, reason = "every call fails alike, with an `ApiError`")]
impl ApiClient {
    /// Uploads a file. Bytes in memory are sent again after a refresh of the tokens; a stream cannot be.
    pub async fn upload_file(&self, file: &NewFile, bytes: impl Into<reqwest::Body>) -> Result<FileBody, ApiError> {
        let query = [("type", Some(file.kind.clone())), ("name", Some(file.name.clone()))];
        let mut request = asking(self.request(Method::POST, &["v1", "files"]), &query);
        request = keyed(request, file.idempotency_key.as_deref()).body(bytes);
        if let Some(media_type) = &file.media_type {
            request = request.header(CONTENT_TYPE, media_type);
        }
        read(self.send(request).await?).await
    }

    /// A page of the own files, of one type or all.
    pub async fn files(
        &self,
        kind: Option<&str>,
        after: Option<&str>,
        limit: Option<u32>,
    ) -> Result<FilePageBody, ApiError> {
        let [after, limit] = page(after, limit);
        self.get(&["v1", "files"], &[("type", kind.map(str::to_owned)), after, limit])
            .await
    }

    /// What is known of a file.
    pub async fn file(&self, id: Uuid) -> Result<FileBody, ApiError> {
        self.get(&["v1", "files", &id.to_string()], &[]).await
    }

    /// The bytes of a file, or a part of them.
    pub async fn download_file(&self, id: Uuid, range: Option<ByteRange>) -> Result<Content, ApiError> {
        let mut request = self.request(Method::GET, &["v1", "files", &id.to_string(), "content"]);
        if let Some(range) = range {
            request = request.header(RANGE, range.to_string());
        }
        Ok(Content(self.send(request).await?))
    }

    /// Deletes a file.
    pub async fn delete_file(&self, id: Uuid) -> Result<(), ApiError> {
        self.send(self.request(Method::DELETE, &["v1", "files", &id.to_string()]))
            .await?;
        Ok(())
    }

    /// Makes a signed link to a file.
    pub async fn create_file_link(&self, id: Uuid, body: &CreateLinkBody) -> Result<LinkBody, ApiError> {
        let path = ["v1", "files", &id.to_string(), "link"];
        read(self.send(self.request(Method::POST, &path).json(body)).await?).await
    }

    /// Follows a signed link as it stands. No token goes with it: a link may point elsewhere.
    pub async fn follow_file_link(&self, url: &str) -> Result<Content, ApiError> {
        Ok(Content(self.open(self.http.get(url)).await?))
    }

    /// Publishes an event, once for each key if one is given.
    pub async fn publish_event(
        &self,
        body: &PublishEventBody,
        key: Option<&str>,
    ) -> Result<PublishedEventBody, ApiError> {
        let request = keyed(self.request(Method::POST, &["v1", "events"]), key).json(body);
        read(self.send(request).await?).await
    }

    /// Publishes many events, all or none.
    pub async fn publish_events(
        &self,
        body: &PublishEventsBody,
        key: Option<&str>,
    ) -> Result<PublishedEventsBody, ApiError> {
        let request = keyed(self.request(Method::POST, &["v1", "events", "batch"]), key).json(body);
        read(self.send(request).await?).await
    }

    /// A part of the own history. With `wait` the answer comes when there is an event, after as many seconds at most.
    pub async fn events(&self, after: Option<&str>, limit: Option<u32>, wait: u32) -> Result<EventPageBody, ApiError> {
        let [after, limit] = page(after, limit);
        self.get(&["v1", "events"], &[after, limit, ("wait", Some(wait.to_string()))])
            .await
    }

    /// A page of the own messages.
    pub async fn mail(&self, after: Option<&str>, limit: Option<u32>) -> Result<MailPageBody, ApiError> {
        self.get(&["v1", "mail"], &page(after, limit)).await
    }

    /// A message with its attempts.
    pub async fn mail_message(&self, id: Uuid) -> Result<MailDetailBody, ApiError> {
        self.get(&["v1", "mail", &id.to_string()], &[]).await
    }
}

fn keyed(request: RequestBuilder, key: Option<&str>) -> RequestBuilder {
    match key {
        Some(key) => request.header("Idempotency-Key", key),
        None => request,
    }
}
