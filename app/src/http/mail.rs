//! `/v1/mail`: the messages that were sent to the caller.

use std::sync::Arc;

use domain::id::MailId;
use openapi::{MailDetailBody, MailPageBody};
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use uuid::Uuid;

use super::auth::Bearer;
use super::input::page;
use super::problem::Fault;
use crate::service::mail::Mails;

/// What the operations answer beyond what all may answer.
pub const ERRORS: &[(&str, &[&str])] = &[("list_mail", &["validation_failed"]), ("get_mail", &["not_found"])];

/// The operations.
#[derive(Debug)]
pub struct MailApi {
    /// The service.
    pub mails: Arc<Mails>,
}

#[OpenApi(tag = "super::Tags::Mail")]
impl MailApi {
    /// List the own mail
    ///
    /// The messages that were written to the caller's account, newest first, with where each stands. Bodies are not shown: they may have held a one-time token.
    #[oai(path = "/v1/mail", method = "get", operation_id = "list_mail")]
    async fn list(
        &self,
        auth: Bearer,
        /// The `next_cursor` of the page before.
        after: Query<Option<String>>,
        /// How many items at the most, 1 to 200; 50 when left out.
        limit: Query<Option<u32>>,
    ) -> Result<Json<MailPageBody>, Fault> {
        let found = self.mails.list(auth.0.user_id(), &page(after.0, limit.0)?).await?;
        Ok(Json(MailPageBody {
            items: found.items.iter().map(Into::into).collect(),
            next_cursor: found.next,
        }))
    }

    /// Read a message
    ///
    /// Where it stands, and every attempt to hand it over with what the mail server said.
    #[oai(path = "/v1/mail/:id", method = "get", operation_id = "get_mail")]
    async fn get(
        &self,
        auth: Bearer,
        /// The message.
        id: Path<Uuid>,
    ) -> Result<Json<MailDetailBody>, Fault> {
        let found = self.mails.find(auth.0.user_id(), MailId::new(id.0)).await?;
        Ok(Json((&found.ok_or_else(Fault::not_found)?).into()))
    }
}
