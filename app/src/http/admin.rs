//! `/v1/admin`: plans, users, the first administrator.

use std::sync::Arc;

use domain::id::UserId;
use openapi::{SetupBody, TierBody, UserBody, UserPageBody};
use poem::Request;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};
use uuid::Uuid;

use super::auth::{Bearer, Visitor};
use super::input::{Fields, page, refused_password};
use super::problem::Fault;
use super::throttled;
use crate::service::admin::{AdminError, Administration};

/// What the operations answer beyond what all may answer.
pub const ERRORS: &[(&str, &[&str])] = &[
    (
        "set_up",
        &[
            "validation_failed",
            "token_invalid",
            "conflict",
            "rate_limited",
            "overloaded",
        ],
    ),
    (
        "set_user_tier",
        &["validation_failed", "scope_missing", "not_found", "conflict"],
    ),
    ("list_users", &["validation_failed", "scope_missing"]),
    ("get_user", &["scope_missing", "not_found"]),
    ("disable_user", &["scope_missing", "not_found", "conflict"]),
    ("enable_user", &["scope_missing", "not_found", "conflict"]),
];

/// The operations.
#[derive(Debug)]
pub struct AdminApi {
    /// The service.
    pub admin: Arc<Administration>,
}

/// Made.
#[derive(Debug, ApiResponse)]
pub enum Created {
    /// The administrator.
    #[oai(status = 201)]
    Created(Json<UserBody>),
}

#[OpenApi(tag = "super::Tags::Administration")]
impl AdminApi {
    /// Make the first administrator
    ///
    /// Takes the one-time token that the server prints at its start while there is no administrator.
    #[oai(path = "/v1/admin/setup", method = "post", operation_id = "set_up")]
    async fn set_up(&self, request: &Request, body: Json<SetupBody>) -> Result<Created, Fault> {
        let visitor = Visitor::of(request);
        let mut fields = Fields::new();
        let (email, password) = (fields.email(&body.email), fields.password("#/password", &body.password));
        let (Some(email), Some(password)) = (email, password) else {
            return Err(fields.fault());
        };
        let client = visitor.client.bucket().to_string();
        let user = self
            .admin
            .set_up(&body.token, email, password, &client, &visitor.origin())
            .await?;
        Ok(Created::Created(Json((&user).into())))
    }

    /// Change a user's plan
    ///
    /// The user's access tokens are out of date within a second on every node: clients refresh and carry the new plan.
    #[oai(path = "/v1/admin/users/:id/tier", method = "put", operation_id = "set_user_tier")]
    async fn set_tier(
        &self,
        auth: Bearer,
        /// The user.
        id: Path<Uuid>,
        body: Json<TierBody>,
    ) -> Result<Json<UserBody>, Fault> {
        auth.0.require_admin()?;
        let mut fields = Fields::new();
        let Some(tier) = fields.read("#/tier", "format", &body.tier) else {
            return Err(fields.fault());
        };
        Ok(Json(
            (&self.admin.set_tier(UserId::new(id.0), &tier, &auth.0.origin()).await?).into(),
        ))
    }

    /// List users
    ///
    /// All users, oldest first, disabled ones too.
    #[oai(path = "/v1/admin/users", method = "get", operation_id = "list_users")]
    async fn list(
        &self,
        auth: Bearer,
        /// The `next_cursor` of the page before.
        after: Query<Option<String>>,
        /// How many items at the most, 1 to 200; 50 when left out.
        limit: Query<Option<u32>>,
    ) -> Result<Json<UserPageBody>, Fault> {
        auth.0.require_admin()?;
        let found = self.admin.list(&page(after.0, limit.0)?).await?;
        Ok(Json(UserPageBody {
            items: found.items.iter().map(Into::into).collect(),
            next_cursor: found.next,
        }))
    }

    /// Read a user
    ///
    /// The account as its owner sees it, and whether it is disabled.
    #[oai(path = "/v1/admin/users/:id", method = "get", operation_id = "get_user")]
    async fn get(
        &self,
        auth: Bearer,
        /// The user.
        id: Path<Uuid>,
    ) -> Result<Json<UserBody>, Fault> {
        auth.0.require_admin()?;
        Ok(Json((&self.admin.show(UserId::new(id.0)).await?).into()))
    }

    /// Disable a user
    ///
    /// All sessions end and all tokens are void within a second on every node.
    #[oai(path = "/v1/admin/users/:id/disable", method = "post", operation_id = "disable_user")]
    async fn disable(
        &self,
        auth: Bearer,
        /// The user.
        id: Path<Uuid>,
    ) -> Result<Json<UserBody>, Fault> {
        auth.0.require_admin()?;
        Ok(Json(
            (&self.admin.disable(UserId::new(id.0), &auth.0.origin()).await?).into(),
        ))
    }

    /// Enable a disabled user
    ///
    /// The user may sign in again; sessions that ended stay ended. An enabled user stays as they are.
    #[oai(path = "/v1/admin/users/:id/enable", method = "post", operation_id = "enable_user")]
    async fn enable(
        &self,
        auth: Bearer,
        /// The user.
        id: Path<Uuid>,
    ) -> Result<Json<UserBody>, Fault> {
        auth.0.require_admin()?;
        Ok(Json(
            (&self.admin.enable(UserId::new(id.0), &auth.0.origin()).await?).into(),
        ))
    }
}

impl From<AdminError> for Fault {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::NotFound => Self::not_found(),
            AdminError::UnknownTier(names) => {
                Self::validation_failed().at("#/tier", "enum", format!("must be one of {}", names.join(", ")))
            }
            AdminError::EmailTaken => Self::conflict().detail("Another user has this address."),
            AdminError::AdminExists => Self::conflict().detail("There is an administrator already."),
            AdminError::LastAdmin => Self::conflict().detail("The last administrator cannot be disabled."),
            AdminError::TokenInvalid => Self::link_token_invalid(),
            AdminError::Contended => Self::conflict().detail("The account is being changed by somebody else."),
            AdminError::Throttled(error) => throttled(error),
            AdminError::Password(refusal) => refused_password(refusal),
            AdminError::Hash(error) => error.into(),
            AdminError::Effects(error) => error.into(),
        }
    }
}
