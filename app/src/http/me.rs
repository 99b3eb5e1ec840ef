//! `/v1/me`: the caller's own account and sessions.

use std::sync::Arc;

use domain::id::SessionId;
use domain::session::{EndReason, Session};
use domain::tier::Tiers;
use openapi::{ChangePasswordBody, MeterBody, PatchMeBody, SessionBody, SessionPageBody, UsageBody, UserBody};
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use ports::{Clock, FileRepository, SessionSelection, UsageRepository};
use uuid::Uuid;

use super::accounts::Done;
use super::auth::{Bearer, Caller};
use super::input::{Fields, page};
use super::problem::Fault;
use super::written::Written;
use crate::service::accounts::Accounts;
use crate::service::sessions::Sessions;

/// What the operations answer beyond what all may answer.
pub const ERRORS: &[(&str, &[&str])] = &[
    ("get_me", &["not_found"]),
    ("update_me", &["validation_failed", "not_found", "conflict"]),
    (
        "change_password",
        &["validation_failed", "not_found", "conflict", "overloaded"],
    ),
    ("list_sessions", &["validation_failed"]),
    ("end_session", &["not_found"]),
    ("get_usage", &[]),
];

/// The operations.
pub struct MeApi {
    /// Accounts.
    pub accounts: Arc<Accounts>,
    /// Sessions.
    pub sessions: Arc<Sessions>,
    /// Figures from the log.
    pub usage: Arc<dyn UsageRepository>,
    /// Stored bytes.
    pub files: Arc<dyn FileRepository>,
    /// The plans.
    pub tiers: Arc<Tiers>,
    /// The month.
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for MeApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MeApi").finish_non_exhaustive()
    }
}

#[OpenApi]
impl MeApi {
    /// Read the own account
    ///
    /// The account as it is now; `GET /v1/auth/whoami` tells what the token says, without a look at the database.
    #[oai(
        path = "/v1/me",
        method = "get",
        operation_id = "get_me",
        tag = "super::Tags::Accounts"
    )]
    async fn get(&self, auth: Bearer) -> Result<Written<UserBody>, Fault> {
        Ok(Written((&self.accounts.profile(auth.0.user_id()).await?).into()))
    }

    /// Change the own account
    ///
    /// A merge patch: what is left out stays as it is.
    #[oai(
        path = "/v1/me",
        method = "patch",
        operation_id = "update_me",
        tag = "super::Tags::Accounts"
    )]
    async fn patch(&self, auth: Bearer, body: Json<PatchMeBody>) -> Result<Json<UserBody>, Fault> {
        let caller = auth.0;
        let Some(name) = &body.name else {
            return Ok(Json((&self.accounts.profile(caller.user_id()).await?).into()));
        };
        let mut fields = Fields::new();
        let Some(name) = fields.name(name) else {
            return Err(fields.fault());
        };
        Ok(Json(
            (&self.accounts.rename(caller.user_id(), &name, &caller.origin()).await?).into(),
        ))
    }

    /// Change the password
    ///
    /// The other sessions of the account end.
    #[oai(
        path = "/v1/me/password",
        method = "post",
        operation_id = "change_password",
        tag = "super::Tags::Accounts"
    )]
    async fn change_password(&self, auth: Bearer, body: Json<ChangePasswordBody>) -> Result<Done, Fault> {
        let caller = auth.0;
        let mut fields = Fields::new();
        let current = fields.password("#/current_password", &body.current_password);
        let new = fields.password("#/password", &body.password);
        let (Some(current), Some(new)) = (current, new) else {
            return Err(fields.fault());
        };
        let client = caller.client.bucket().to_string();
        self.accounts
            .change_password(&caller.claims, &current, &new, &client, &caller.origin())
            .await?;
        Ok(Done::Done)
    }

    /// List the own sessions
    ///
    /// The sessions that go on, newest first; `current` marks the one of this request.
    #[oai(
        path = "/v1/me/sessions",
        method = "get",
        operation_id = "list_sessions",
        tag = "super::Tags::Sessions"
    )]
    async fn sessions(
        &self,
        auth: Bearer,
        /// The `next_cursor` of the page before.
        after: Query<Option<String>>,
        /// How many items at the most, 1 to 200; 50 when left out.
        limit: Query<Option<u32>>,
    ) -> Result<Json<SessionPageBody>, Fault> {
        let found = self.sessions.list(auth.0.user_id(), &page(after.0, limit.0)?).await?;
        let items = found
            .items
            .iter()
            .map(|session| self.session_body(&auth.0, session))
            .collect();
        Ok(Json(SessionPageBody {
            items,
            next_cursor: found.next,
        }))
    }

    /// End a session
    ///
    /// Effective on every node within a second.
    #[oai(
        path = "/v1/me/sessions/:id",
        method = "delete",
        operation_id = "end_session",
        tag = "super::Tags::Sessions"
    )]
    async fn end_session(
        &self,
        auth: Bearer,
        /// The session.
        id: Path<Uuid>,
    ) -> Result<Done, Fault> {
        let selection = SessionSelection::This(SessionId::new(id.0));
        let ended = self
            .sessions
            .logout(auth.0.user_id(), selection, EndReason::Revoked, &auth.0.origin())
            .await?;
        if ended == 0 {
            Err(Fault::not_found())
        } else {
            Ok(Done::Done)
        }
    }

    /// Read the own usage
    ///
    /// What is stored now, and the figures of this calendar month.
    #[oai(
        path = "/v1/me/usage",
        method = "get",
        operation_id = "get_usage",
        tag = "super::Tags::Accounts"
    )]
    async fn usage(&self, auth: Bearer) -> Result<Json<UsageBody>, Fault> {
        let (user, now) = (auth.0.user_id(), self.clock.now());
        let stored = self.files.usage(user).await?;
        let figures = self.usage.get(user, now).await?;
        let tier = self.tiers.entitlement(&auth.0.claims.tier);
        let meters = figures.into_iter().map(|figure| MeterBody {
            meter: figure.meter,
            amount: figure.amount,
        });
        Ok(Json(UsageBody {
            tier: auth.0.claims.tier.to_string(),
            storage_bytes: stored.bytes,
            features: tier
                .map(|tier| tier.features.iter().cloned().collect())
                .unwrap_or_default(),
            storage_bytes_limit: tier.map_or(0, |tier| tier.limits.storage_bytes),
            files: stored.files,
            meters: meters.collect(),
        }))
    }
}

impl MeApi {
    fn session_body(&self, caller: &Caller, session: &Session) -> SessionBody {
        SessionBody {
            id: session.id.uuid(),
            current: session.id == caller.claims.session,
            user_agent: session.user_agent.clone(),
            methods: session.methods.clone(),
            created_at: session.created_at.into(),
            last_used_at: session.last_used_at.into(),
            expires_at: self.sessions.expires_at(session).into(),
        }
    }
}
