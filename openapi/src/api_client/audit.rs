//! The audit trail.

use super::account::page;
use super::{ApiClient, ApiError};
use crate::AuditPageBody;

/// Which events to search for: those that fit all that is given, as the operation `list_audit` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Whose events.
    pub user: Option<String>,
    /// Their type, or the beginning of their types with a dot at its end.
    pub event_type: Option<String>,
    /// Who caused them.
    pub actor: Option<String>,
    /// The administrator behind the actor.
    pub impersonator: Option<String>,
    /// The request that caused them.
    pub request_id: Option<String>,
    /// Not before this time.
    pub from: Option<String>,
    /// Before this time.
    pub to: Option<String>,
}

/// For administrators.
#[expect(clippy::missing_errors_doc, reason = "every call fails alike, with an `ApiError`")]
impl ApiClient {
    /// A page of the audit trail, newest first.
    pub async fn audit(
        &self,
        filter: &AuditFilter,
        after: Option<&str>,
        limit: Option<u32>,
    ) -> Result<AuditPageBody, ApiError> {
        let [after, limit] = page(after, limit);
        let query = [
            ("user", filter.user.clone()),
            ("type", filter.event_type.clone()),
            ("actor", filter.actor.clone()),
            ("impersonator", filter.impersonator.clone()),
            ("request_id", filter.request_id.clone()),
            ("from", filter.from.clone()),
            ("to", filter.to.clone()),
            after,
            limit,
        ];
        self.get(&["v1", "admin", "audit"], &query).await
    }
}
