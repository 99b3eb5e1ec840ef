//! `/v1/auth`: signing in, refreshing, signing out; the claims of a token.

use std::sync::Arc;

use domain::session::EndReason;
use openapi::{ClaimsBody, LoginBody, LogoutBody, LogoutScope, RefreshBody, SecondFactorBody, TokenPairBody};
use poem::Request;
use poem_openapi::OpenApi;
use poem_openapi::payload::Json;
use ports::SessionSelection;

use super::accounts::Done;
use super::auth::{Bearer, Visitor};
use super::input::Fields;
use super::problem::Fault;
use super::throttled;
use super::written::Written;
use crate::service::gate::Gate;
use crate::service::sessions::{Login, LoginError, RefreshError, Sessions, TokenPair};

/// What the operations answer beyond what all may answer.
pub const ERRORS: &[(&str, &[&str])] = &[
    (
        "login",
        &[
            "validation_failed",
            "invalid_credentials",
            "email_unverified",
            "second_factor_required",
            "account_disabled",
            "rate_limited",
            "overloaded",
        ],
    ),
    (
        "login_second",
        &["validation_failed", "invalid_credentials", "rate_limited"],
    ),
    ("refresh", &["token_invalid", "session_ended", "account_disabled"]),
    (
        "logout",
        &[
            "token_missing",
            "token_invalid",
            "token_expired",
            "token_outdated",
            "session_ended",
            "account_disabled",
            "auth_state_stale",
        ],
    ),
    ("whoami", &[]),
];

/// The operations.
#[derive(Debug)]
pub struct SessionsApi {
    /// The service.
    pub sessions: Arc<Sessions>,
    /// Checks the token of a request that may come without one.
    pub gate: Arc<Gate>,
}

#[OpenApi(tag = "super::Tags::Sessions")]
impl SessionsApi {
    /// Sign in
    ///
    /// Begins a session. A wrong address and a wrong password answer alike, and take the same time.
    #[oai(path = "/v1/auth/login", method = "post", operation_id = "login")]
    async fn login(&self, request: &Request, body: Json<LoginBody>) -> Result<Json<TokenPairBody>, Fault> {
        let visitor = Visitor::of(request);
        let mut fields = Fields::new();
        let (email, password) = (fields.email(&body.email), fields.password("#/password", &body.password));
        let (Some(email), Some(password)) = (email, password) else {
            return Err(fields.fault());
        };
        let client = visitor.client.bucket().to_string();
        let origin = visitor.origin();
        let login = Login {
            email,
            password,
            client: &client,
            user_agent: visitor.user_agent,
            origin,
        };
        Ok(Json(body_of(self.sessions.login(login).await?)))
    }

    /// Sign in with a second factor
    ///
    /// Goes on with a sign-in that answered `second_factor_required`. No account of this version has a second factor yet: no challenge is ever given out, and every one is refused as `invalid_credentials`. Clients that handle it now are ready.
    #[oai(path = "/v1/auth/login/second", method = "post", operation_id = "login_second")]
    async fn login_second(
        &self,
        request: &Request,
        body: Json<SecondFactorBody>,
    ) -> Result<Json<TokenPairBody>, Fault> {
        let client = Visitor::of(request).client.bucket().to_string();
        let SecondFactorBody { challenge, code } = body.0;
        Ok(Json(body_of(
            self.sessions.login_second(&challenge, &code, &client).await?,
        )))
    }

    /// Refresh
    ///
    /// Exchanges a refresh token for new tokens. The same token again within 10 seconds gets the same refresh token again, as long as that was not used; any later use ends the session.
    #[oai(path = "/v1/auth/refresh", method = "post", operation_id = "refresh")]
    async fn refresh(&self, request: &Request, body: Json<RefreshBody>) -> Result<Json<TokenPairBody>, Fault> {
        Ok(Json(body_of(
            self.sessions
                .refresh(&body.refresh_token, &Visitor::of(request).origin())
                .await?,
        )))
    }

    /// Sign out
    ///
    /// Ends the session of the access token, its others or all, on every node within a second. With `refresh_token` it speaks for the session of that instead.
    #[oai(path = "/v1/auth/logout", method = "post", operation_id = "logout")]
    async fn logout(&self, request: &Request, body: Json<LogoutBody>) -> Result<Done, Fault> {
        let (user, session, origin) = match &body.refresh_token {
            Some(token) => {
                let session = self.sessions.of_refresh_token(token).await?;
                let actor = domain::event::Actor::User(session.user_id);
                (
                    session.user_id,
                    session.id,
                    crate::service::Origin {
                        actor,
                        ..Visitor::of(request).origin()
                    },
                )
            }
            None => {
                let caller = Bearer::from_request(request, &self.gate)?;
                (caller.user_id(), caller.claims.session, caller.origin())
            }
        };
        let selection = match body.scope {
            LogoutScope::This => SessionSelection::This(session),
            LogoutScope::Others => SessionSelection::Others(session),
            LogoutScope::All => SessionSelection::All,
        };
        self.sessions
            .logout(user, selection, EndReason::Logout, &origin)
            .await?;
        Ok(Done::Done)
    }

    /// Who am I
    ///
    /// The claims of the presented token, without a look at the database.
    #[oai(path = "/v1/auth/whoami", method = "get", operation_id = "whoami")]
    async fn whoami(&self, auth: Bearer) -> Written<ClaimsBody> {
        Written((&auth.0.claims).into())
    }
}

fn body_of(pair: TokenPair) -> TokenPairBody {
    TokenPairBody {
        access_token: pair.access_token,
        refresh_token: pair.refresh_token,
        token_type: "Bearer".to_owned(),
        expires_in: pair.expires_in.as_secs(),
        session_id: pair.session_id.uuid(),
    }
}

impl From<LoginError> for Fault {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::InvalidCredentials => Self::invalid_credentials(),
            LoginError::EmailUnverified => Self::email_unverified(),
            LoginError::AccountDisabled => Self::account_disabled(),
            LoginError::Throttled(error) => throttled(error),
            LoginError::Hash(error) => error.into(),
            LoginError::Effects(error) => error.into(),
        }
    }
}

impl From<RefreshError> for Fault {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::Invalid => Self::token_invalid(),
            RefreshError::SessionEnded => Self::session_ended(),
            RefreshError::AccountDisabled => Self::account_disabled(),
            RefreshError::Effects(error) => error.into(),
        }
    }
}
