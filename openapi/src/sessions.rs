//! Bodies about sessions and access tokens.
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::accounts::redacted;
use crate::{Text, Time};

/// Signing in.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object), oai(deny_unknown_fields))]
pub struct LoginBody {
    /// The e-mail address.
    pub email: Text,
    /// The password.
    pub password: Text,
}

/// The second factor of a sign-in.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object), oai(deny_unknown_fields))]
pub struct SecondFactorBody {
    /// The `challenge` of the answer `second_factor_required`.
    pub challenge: Text,
    /// The code of the second factor.
    pub code: Text,
}

/// A refresh token.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object), oai(deny_unknown_fields))]
pub struct RefreshBody {
    /// The refresh token of the last answer; it is good for one use.
    pub refresh_token: Text,
}

/// Which sessions end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "server", derive(poem_openapi::Enum), oai(rename_all = "lowercase"))]
pub enum LogoutScope {
    /// The session of the request.
    This,
    /// All but the session of the request.
    Others,
    /// All.
    All,
}

/// Signing out.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object), oai(deny_unknown_fields))]
pub struct LogoutBody {
    /// Which sessions end.
    pub scope: LogoutScope,
    /// Instead of an access token, for a client whose access token is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<Text>,
}

/// The tokens of a session.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct TokenPairBody {
    /// Send it as `Authorization: Bearer ...`. A PASETO v4.public token that the public keys verify.
    pub access_token: String,
    /// Exchange it at `/v1/auth/refresh`, once.
    pub refresh_token: String,
    /// Always `Bearer`.
    pub token_type: String,
    /// Seconds until the access token is over.
    pub expires_in: u64,
    /// The session.
    pub session_id: Uuid,
}

/// A session.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct SessionBody {
    /// The id.
    pub id: Uuid,
    /// Whether it is the session of this request.
    pub current: bool,
    /// What the client called itself when it signed in.
    pub user_agent: Option<String>,
    /// How the user proved who they are (RFC 8176), such as `pwd`.
    pub methods: Vec<String>,
    /// When it began.
    pub created_at: Time,
    /// When it was last refreshed.
    pub last_used_at: Time,
    /// When it ends unless it is refreshed.
    pub expires_at: Time,
}

/// A page of sessions.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct SessionPageBody {
    /// The sessions, newest first.
    pub items: Vec<SessionBody>,
    /// Give this as `after` for the next page; null on the last.
    pub next_cursor: Option<String>,
}

/// The claims of an access token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct ClaimsBody {
    /// The user.
    pub sub: Uuid,
    /// The plan.
    pub tier: String,
    /// The role.
    pub role: String,
    /// The session.
    pub sid: Uuid,
    /// Raised by each change of plan or role.
    pub epoch: u64,
    /// What a narrowed token may do; empty for a full session.
    pub scope: Vec<String>,
    /// How the user proved who they are (RFC 8176).
    pub amr: Vec<String>,
    /// When they last did.
    pub auth_time: Time,
    /// The administrator who impersonates the user; null when nobody does.
    pub act: Option<Uuid>,
    /// Whom the token is for.
    pub aud: String,
    /// Who issued it.
    pub iss: String,
    /// When it was issued.
    pub iat: Time,
    /// From when it is good.
    pub nbf: Time,
    /// Until when it is good.
    pub exp: Time,
    /// Its id.
    pub jti: Uuid,
}

#[cfg(feature = "server")]
impl From<&domain::token::Claims> for ClaimsBody {
    fn from(claims: &domain::token::Claims) -> Self {
        Self {
            sub: claims.subject.uuid(),
            tier: claims.tier.to_string(),
            role: claims.role.as_str().to_owned(),
            sid: claims.session.uuid(),
            epoch: claims.epoch,
            scope: claims.scope.clone(),
            amr: claims.methods.clone(),
            auth_time: claims.authenticated_at.into(),
            act: claims.actor.map(domain::id::UserId::uuid),
            aud: claims.audience.clone(),
            iss: claims.issuer.clone(),
            iat: claims.issued_at.into(),
            nbf: claims.not_before.into(),
            exp: claims.expires_at.into(),
            jti: claims.token_id,
        }
    }
}

redacted!(LoginBody SecondFactorBody RefreshBody LogoutBody TokenPairBody);
