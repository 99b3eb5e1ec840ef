//! `/v1/admin/audit`: the audit trail, searched by administrators.

use std::sync::Arc;

use domain::audit::AuditCursor;
use openapi::{AuditEntryBody, AuditPageBody};
use poem_openapi::OpenApi;
use poem_openapi::param::Query;
use poem_openapi::payload::Json;

use super::auth::Bearer;
use super::input::page;
use super::problem::Fault;
use crate::service::audit::{Audit, AuditSearch};

/// What the operations answer beyond what all may answer.
pub const ERRORS: &[(&str, &[&str])] = &[("list_audit", &["validation_failed", "scope_missing"])];

/// The operations.
#[derive(Debug)]
pub struct AuditApi {
    /// The service.
    pub audit: Arc<Audit>,
    /// `source` of every envelope.
    pub source: String,
}

#[OpenApi(tag = "super::Tags::Administration")]
impl AuditApi {
    /// Search the audit trail
    ///
    /// Events of all users, newest first, each with its place in the hash chain. Filters may be combined. With `user`
    /// the order is that of the user's log, otherwise that of the events' times; an event that waits for its position is
    /// not there yet. What retention removed or erased is gone from here too.
    #[oai(path = "/v1/admin/audit", method = "get", operation_id = "list_audit")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the contract")]
    async fn list(
        &self,
        auth: Bearer,
        /// Whose events: the id of a user.
        user: Query<Option<String>>,
        /// A type such as `tier.changed`, or the beginning of several with a dot at its end, such as `mail.`.
        #[oai(name = "type")]
        event_type: Query<Option<String>>,
        /// Who caused them: the id of a user, `anonymous` or `system`.
        actor: Query<Option<String>>,
        /// The administrator who acted for the actor.
        impersonator: Query<Option<String>>,
        /// The request that caused them.
        request_id: Query<Option<String>>,
        /// Not before this time (RFC 3339).
        from: Query<Option<String>>,
        /// Before this time (RFC 3339).
        to: Query<Option<String>>,
        /// The `next_cursor` of the page before.
        after: Query<Option<String>>,
        /// How many items at the most, 1 to 200; 50 when left out.
        limit: Query<Option<u32>>,
    ) -> Result<Json<AuditPageBody>, Fault> {
        auth.0.require_admin()?;
        let search = AuditSearch {
            user: user.0,
            event_type: event_type.0,
            actor: actor.0,
            impersonator: impersonator.0,
            request: request_id.0,
            from: from.0,
            to: to.0,
        };
        let query = search.read().map_err(|refused| {
            refused.into_iter().fold(Fault::validation_failed(), |fault, filter| {
                fault.at(format!("#/parameters/{}", filter.name), filter.code, filter.detail)
            })
        })?;
        let limit = page(None, limit.0)?.limit;
        let after = after.0.map(|text| text.parse::<AuditCursor>()).transpose();
        let after =
            after.map_err(|error| Fault::validation_failed().at("#/parameters/after", "cursor", error.to_string()))?;
        let found = self.audit.search(&query, after, limit).await?;
        let entry = |logged| AuditEntryBody::new(logged, &self.source);
        Ok(Json(AuditPageBody {
            items: found.items.iter().map(entry).collect(),
            next_cursor: found.next.map(|cursor| cursor.to_string()),
        }))
    }
}
