//! Signing up and in, the own account and its sessions, the published keys, and administration.

use reqwest::Method;
use serde::Serialize;
use uuid::Uuid;

use super::{ApiClient, ApiError, Tokens, read};
use crate::{
    ChangePasswordBody, ClaimsBody, EmailBody, KeysBody, LoginBody, LogoutBody, LogoutScope, PatchMeBody, RegisterBody,
    ResetPasswordBody, SecondFactorBody, SessionPageBody, SetupBody, TierBody, TokenBody, TokenPairBody, UsageBody,
    UserBody, UserPageBody,
};

/// Signing up and in. Each method is the operation of nearly its name in the contract, and fails as it says there.
#[expect(clippy::missing_errors_doc, reason = "every call fails alike, with an `ApiError`")]
impl ApiClient {
    /// Signs up; what follows comes by mail.
    pub async fn register(&self, body: &RegisterBody) -> Result<(), ApiError> {
        self.tell(&["v1", "auth", "register"], body).await
    }

    /// Verifies an address with the token of its mail.
    pub async fn verify_email(&self, token: &str) -> Result<(), ApiError> {
        let body = TokenBody { token: token.into() };
        self.tell(&["v1", "auth", "verify"], &body).await
    }

    /// Sends the verification mail again.
    pub async fn resend_verification(&self, email: &str) -> Result<(), ApiError> {
        let body = EmailBody { email: email.into() };
        self.tell(&["v1", "auth", "verify", "resend"], &body).await
    }

    /// Asks for a mail with a link to a new password.
    pub async fn forgot_password(&self, email: &str) -> Result<(), ApiError> {
        let body = EmailBody { email: email.into() };
        self.tell(&["v1", "auth", "password", "forgot"], &body).await
    }

    /// Sets a new password with the token of its mail.
    pub async fn reset_password(&self, body: &ResetPasswordBody) -> Result<(), ApiError> {
        self.tell(&["v1", "auth", "password", "reset"], body).await
    }

    /// Signs in and keeps the tokens.
    pub async fn login(&self, email: &str, password: &str) -> Result<TokenPairBody, ApiError> {
        let body = LoginBody {
            email: email.into(),
            password: password.into(),
        };
        self.sign_in(&["v1", "auth", "login"], &body).await
    }

    /// Goes on with a sign-in that wants a second factor, and keeps the tokens.
    pub async fn login_second(&self, body: &SecondFactorBody) -> Result<TokenPairBody, ApiError> {
        self.sign_in(&["v1", "auth", "login", "second"], body).await
    }

    /// Refreshes the tokens now. Calls do so by themselves when they must.
    pub async fn refresh(&self) -> Result<Tokens, ApiError> {
        let used = self.tokens().unwrap_or(Tokens {
            access: String::new(),
            refresh: None,
        });
        self.refreshed(&used).await
    }

    /// Ends this session, the others or all; the tokens that are kept here are forgotten when their session ended.
    pub async fn logout(&self, scope: LogoutScope) -> Result<(), ApiError> {
        let body = LogoutBody {
            scope,
            refresh_token: None,
        };
        self.send(self.request(Method::POST, &["v1", "auth", "logout"]).json(&body))
            .await?;
        if scope != LogoutScope::Others {
            self.set_tokens(None);
        }
        Ok(())
    }

    /// The claims of the access token.
    pub async fn whoami(&self) -> Result<ClaimsBody, ApiError> {
        self.get(&["v1", "auth", "whoami"], &[]).await
    }

    /// The own account.
    pub async fn me(&self) -> Result<UserBody, ApiError> {
        self.get(&["v1", "me"], &[]).await
    }

    /// Changes the own account.
    pub async fn update_me(&self, body: &PatchMeBody) -> Result<UserBody, ApiError> {
        read(self.send(self.request(Method::PATCH, &["v1", "me"]).json(body)).await?).await
    }

    /// Changes the password; the other sessions end.
    pub async fn change_password(&self, body: &ChangePasswordBody) -> Result<(), ApiError> {
        self.send(self.request(Method::POST, &["v1", "me", "password"]).json(body))
            .await?;
        Ok(())
    }

    /// A page of the own sessions.
    pub async fn sessions(&self, after: Option<&str>, limit: Option<u32>) -> Result<SessionPageBody, ApiError> {
        self.get(&["v1", "me", "sessions"], &page(after, limit)).await
    }

    /// Ends one session.
    pub async fn end_session(&self, id: Uuid) -> Result<(), ApiError> {
        self.send(self.request(Method::DELETE, &["v1", "me", "sessions", &id.to_string()]))
            .await?;
        Ok(())
    }

    /// What the account used.
    pub async fn usage(&self) -> Result<UsageBody, ApiError> {
        self.get(&["v1", "me", "usage"], &[]).await
    }

    /// The public keys that verify access tokens.
    pub async fn public_keys(&self) -> Result<KeysBody, ApiError> {
        read(
            self.open(self.request(Method::GET, &[".well-known", "paseto-keys"]))
                .await?,
        )
        .await
    }

    /// Makes the first administrator.
    pub async fn set_up(&self, body: &SetupBody) -> Result<UserBody, ApiError> {
        read(
            self.open(self.request(Method::POST, &["v1", "admin", "setup"]).json(body))
                .await?,
        )
        .await
    }

    /// A page of all users.
    pub async fn users(&self, after: Option<&str>, limit: Option<u32>) -> Result<UserPageBody, ApiError> {
        self.get(&["v1", "admin", "users"], &page(after, limit)).await
    }

    /// One user.
    pub async fn user(&self, id: Uuid) -> Result<UserBody, ApiError> {
        self.get(&["v1", "admin", "users", &id.to_string()], &[]).await
    }

    /// Disables a user.
    pub async fn disable_user(&self, id: Uuid) -> Result<UserBody, ApiError> {
        let path = ["v1", "admin", "users", &id.to_string(), "disable"];
        read(self.send(self.request(Method::POST, &path)).await?).await
    }

    /// Enables a disabled user.
    pub async fn enable_user(&self, id: Uuid) -> Result<UserBody, ApiError> {
        let path = ["v1", "admin", "users", &id.to_string(), "enable"];
        read(self.send(self.request(Method::POST, &path)).await?).await
    }

    /// Changes a user's plan.
    pub async fn set_user_tier(&self, id: Uuid, tier: &str) -> Result<UserBody, ApiError> {
        let body = TierBody { tier: tier.into() };
        let path = ["v1", "admin", "users", &id.to_string(), "tier"];
        read(self.send(self.request(Method::PUT, &path).json(&body)).await?).await
    }

    async fn tell(&self, path: &[&str], body: &impl Serialize) -> Result<(), ApiError> {
        self.open(self.request(Method::POST, path).json(body)).await?;
        Ok(())
    }

    async fn sign_in(&self, path: &[&str], body: &impl Serialize) -> Result<TokenPairBody, ApiError> {
        let pair: TokenPairBody = read(self.open(self.request(Method::POST, path).json(body)).await?).await?;
        self.set_tokens(Some((&pair).into()));
        Ok(pair)
    }
}

/// The parameters of a page.
pub(super) fn page(after: Option<&str>, limit: Option<u32>) -> [(&'static str, Option<String>); 2] {
    [
        ("after", after.map(str::to_owned)),
        ("limit", limit.map(|limit| limit.to_string())),
    ]
}
