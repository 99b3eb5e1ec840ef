//! Sessions: signing in, refreshing, signing out.

use std::sync::Arc;
use std::time::Duration;

use domain::email::EmailAddress;
use domain::event::OwnEvent;
use domain::id::{SessionId, UserId};
use domain::page::{Page, PageRequest};
use domain::password::Password;
use domain::session::{EndReason, RefreshDecision, Session, SessionPolicy};
use domain::time::Timestamp;
use domain::token::Claims;
use domain::user::User;
use ports::{
    AdvanceSessionError, BackendError, Effects, EffectsError, HashPasswordError, InsertSessionError, PasswordHasher,
    RefreshTokenCodec, RegistrationRepository, SessionEnding, SessionHorizon, SessionRepository, SessionSelection,
    TokenIssuer, UserRepository, UserUpdate, Wakeup,
};
use serde_json::json;

use super::gate::Gate;
use super::throttle::{Attempt, Throttle, ThrottleError};
use super::{Origin, Toolkit};

/// What tokens are made with.
#[derive(Debug, Clone)]
pub struct TokenPolicy {
    /// How long an access token lives.
    pub access_ttl: Duration,
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
    /// How long sessions live.
    pub session: SessionPolicy,
}

impl TokenPolicy {
    /// Until when an access token that exists now can live: how long a revocation is of use. A token's times are whole seconds and another node's clock may be a little ahead, hence a minute more.
    pub fn revoked_until(&self, now: Timestamp) -> Timestamp {
        now.plus(self.access_ttl + Duration::from_secs(60))
    }
}

/// What the service is made over.
pub struct SessionParts {
    /// Time, randomness, ids.
    pub toolkit: Toolkit,
    /// Accounts.
    pub users: Arc<dyn UserRepository>,
    /// Sign-ups.
    pub registrations: Arc<dyn RegistrationRepository>,
    /// Sessions.
    pub sessions: Arc<dyn SessionRepository>,
    /// Hashing.
    pub hasher: Arc<dyn PasswordHasher>,
    /// Access tokens.
    pub issuer: Arc<dyn TokenIssuer>,
    /// Refresh tokens.
    pub refresh_tokens: Arc<dyn RefreshTokenCodec>,
    /// Revocations.
    pub gate: Arc<Gate>,
    /// Guessing.
    pub throttle: Arc<Throttle>,
    /// Lives and names.
    pub policy: TokenPolicy,
}

impl std::fmt::Debug for SessionParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionParts").finish_non_exhaustive()
    }
}

/// Sessions and their tokens.
pub struct Sessions {
    p: SessionParts,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

/// Who tries to sign in, and with what.
#[derive(Debug)]
pub struct Login<'a> {
    /// The address.
    pub email: EmailAddress,
    /// The password.
    pub password: Password,
    /// The client's address or its /64.
    pub client: &'a str,
    /// What the client calls itself.
    pub user_agent: Option<String>,
    /// Where the request comes from.
    pub origin: Origin,
}

/// The tokens of a session.
#[derive(Clone)]
pub struct TokenPair {
    /// The access token.
    pub access_token: String,
    /// The refresh token.
    pub refresh_token: String,
    /// How long the access token lives.
    pub expires_in: Duration,
    /// The session.
    pub session_id: SessionId,
}

impl std::fmt::Debug for TokenPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenPair")
            .field("session_id", &self.session_id)
            .finish_non_exhaustive()
    }
}

/// Why nobody was signed in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The address or the password is wrong.
    #[error("the address or the password is wrong")]
    InvalidCredentials,
    /// The password is that of a sign-up whose address is not verified.
    #[error("the address is not verified")]
    EmailUnverified,
    /// The account is disabled.
    #[error("the account is disabled")]
    AccountDisabled,
    /// Too many attempts.
    #[error(transparent)]
    Throttled(#[from] ThrottleError),
    /// Too much hashing.
    #[error(transparent)]
    Hash(#[from] HashPasswordError),
    /// The backend failed.
    #[error(transparent)]
    Effects(#[from] EffectsError),
}

impl From<BackendError> for LoginError {
    fn from(error: BackendError) -> Self {
        Self::Effects(error.into())
    }
}

/// Why a session was not refreshed.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// Not one of our tokens.
    #[error("the refresh token is not genuine")]
    Invalid,
    /// The session is over, or was just ended because the token was used before.
    #[error("the session has ended")]
    SessionEnded,
    /// The account is disabled.
    #[error("the account is disabled")]
    AccountDisabled,
    /// The backend failed.
    #[error(transparent)]
    Effects(#[from] EffectsError),
}

impl From<BackendError> for RefreshError {
    fn from(error: BackendError) -> Self {
        Self::Effects(error.into())
    }
}

impl Sessions {
    /// The service over its parts.
    pub fn new(parts: SessionParts) -> Self {
        Self { p: parts }
    }

    /// Signs in: throttle first, then exactly one hash for the account (a dummy when there is none), then the newest sign-up of the address.
    ///
    /// # Errors
    /// Alike for known and unknown addresses unless the password is right.
    pub async fn login(&self, login: Login<'_>) -> Result<TokenPair, LoginError> {
        let attempt = self.p.throttle.sign_in(login.client, &login.email).await?;
        // While a password is proven it may be reset, or its hash brought up to date by another sign-in: what stands then is judged, once more.
        for _ in 0..2 {
            let user = self.p.users.find_by_email(&login.email).await?;
            let record = user.as_ref().map(|user| user.password.clone());
            let right = self.p.hasher.verify(login.client, &login.password, record).await?;
            let Some(user) = user.filter(|_| right) else {
                return Err(self.refuse(&login, &attempt).await);
            };
            if user.disabled_at.is_some() {
                return Err(LoginError::AccountDisabled);
            }
            let user = self.rehash(&login, user).await;
            let Some(pair) = self.begin(&user, &login).await? else {
                continue;
            };
            // The session is committed: that the client cannot be remembered must not take it away.
            if let Err(error) = self.p.throttle.succeeded(&attempt).await {
                tracing::warn!(%error, "the client of a sign-in cannot be remembered");
            }
            return Ok(pair);
        }
        Err(LoginError::InvalidCredentials)
    }

    async fn refuse(&self, login: &Login<'_>, attempt: &Attempt) -> LoginError {
        match self.unverified(login).await {
            Err(error) => error,
            Ok(true) => LoginError::EmailUnverified,
            Ok(false) => match self.p.throttle.failed(attempt).await {
                Ok(()) => LoginError::InvalidCredentials,
                Err(error) => error.into(),
            },
        }
    }

    /// Every address may have a sign-up, that of an account too: a match tells nothing about accounts.
    async fn unverified(&self, login: &Login<'_>) -> Result<bool, LoginError> {
        let pending = self.p.registrations.newest(&login.email, self.p.toolkit.now()).await?;
        let Some(pending) = pending else { return Ok(false) };
        Ok(self
            .p
            .hasher
            .verify(login.client, &login.password, Some(pending.password))
            .await?)
    }

    /// Brings the stored hash up to date. That it cannot be done now is no reason to turn the user away.
    async fn rehash(&self, login: &Login<'_>, mut user: User) -> User {
        if !self.p.hasher.is_outdated(&user.password) {
            return user;
        }
        let Ok(record) = self.p.hasher.hash(login.client, &login.password).await else {
            return user;
        };
        let at = self.p.toolkit.now();
        let changed = User {
            password: record,
            updated_at: at,
            ..user.clone()
        };
        let update = UserUpdate {
            user: changed.clone(),
            redeem: None,
            end_sessions: None,
            at,
        };
        match self.p.users.update(&update, &Effects::none()).await {
            Ok(()) => {
                user = User {
                    version: user.version + 1,
                    ..changed
                }
            }
            Err(error) => tracing::debug!(%error, user = %user.id, "the password hash was not brought up to date"),
        }
        user
    }

    /// Stores a session; none when the password is no longer the one that was proven.
    async fn begin(&self, user: &User, login: &Login<'_>) -> Result<Option<TokenPair>, LoginError> {
        let now = self.p.toolkit.now();
        let session = Session {
            id: SessionId::new(self.p.toolkit.id()),
            user_id: user.id,
            created_at: now,
            last_used_at: now,
            generation: 0,
            rotated_at: None,
            methods: vec!["pwd".to_owned()],
            authenticated_at: now,
            user_agent: login.user_agent.clone(),
            ended: None,
        };
        let origin = Origin {
            actor: domain::event::Actor::User(user.id),
            ..login.origin
        };
        let data = json!({ "session_id": session.id, "methods": session.methods });
        let event = self
            .p
            .toolkit
            .own_event(&origin, user.id, OwnEvent::SessionStarted, &data);
        let pair = self.tokens(user, &session, 0, now)?;
        let effects = Effects {
            events: vec![event],
            ..Effects::none()
        };
        match self.p.sessions.insert(&session, &user.password, &effects).await {
            Ok(()) => {}
            Err(InsertSessionError::PasswordChanged) => return Ok(None),
            Err(InsertSessionError::UserGone) => return Err(LoginError::AccountDisabled),
            Err(InsertSessionError::Effects(error)) => return Err(error.into()),
        }
        self.p.toolkit.wakeups.wake(Wakeup::Written);
        Ok(Some(pair))
    }

    fn tokens(
        &self,
        user: &User,
        session: &Session,
        generation: u32,
        now: Timestamp,
    ) -> Result<TokenPair, BackendError> {
        let issued_at = Timestamp::from_seconds(now.seconds());
        let claims = Claims {
            subject: user.id,
            tier: user.tier.clone(),
            role: user.role,
            session: session.id,
            epoch: user.epoch,
            scope: Vec::new(),
            methods: session.methods.clone(),
            authenticated_at: Timestamp::from_seconds(session.authenticated_at.seconds()),
            actor: None,
            audience: self.p.policy.audience.clone(),
            issuer: self.p.policy.issuer.clone(),
            issued_at,
            not_before: issued_at,
            expires_at: issued_at.plus(self.p.policy.access_ttl),
            token_id: self.p.toolkit.id(),
        };
        Ok(TokenPair {
            access_token: self.p.issuer.issue(&claims)?,
            refresh_token: self.p.refresh_tokens.encode(session.id, generation),
            expires_in: claims.expires_at.since(now),
            session_id: session.id,
        })
    }

    /// Goes on with a sign-in by a second factor. While no account can have one, no challenge was given out and none is good.
    ///
    /// # Errors
    /// [`LoginError::InvalidCredentials`], or when throttled.
    pub async fn login_second(&self, _challenge: &str, _code: &str, client: &str) -> Result<TokenPair, LoginError> {
        self.p.throttle.public("second factor", client).await?;
        Err(LoginError::InvalidCredentials)
    }

    /// Exchanges a refresh token for new tokens.
    ///
    /// # Errors
    /// A token that was used before ends the session, and that ending is kept although this fails.
    pub async fn refresh(&self, token: &str, origin: &Origin) -> Result<TokenPair, RefreshError> {
        let (id, generation) = self.p.refresh_tokens.decode(token).ok_or(RefreshError::Invalid)?;
        // Each lost race means that another request moved the session on; after the first, this token is at best the parent of what it made.
        for _ in 0..4 {
            let session = self.p.sessions.find(id).await?.ok_or(RefreshError::Invalid)?;
            let now = self.p.toolkit.now();
            match session.present(generation, now, &self.p.policy.session) {
                RefreshDecision::Rotate(next) => {
                    let user = self.user_of(&session).await?;
                    let pair = self.tokens(&user, &session, next, now)?;
                    match self.p.sessions.advance(id, generation, now, &Effects::none()).await {
                        Ok(()) => return Ok(pair),
                        Err(AdvanceSessionError::Stale) => {}
                        Err(AdvanceSessionError::Effects(error)) => return Err(error.into()),
                    }
                }
                RefreshDecision::Repeat(child) => {
                    let user = self.user_of(&session).await?;
                    return Ok(self.tokens(&user, &session, child, now)?);
                }
                RefreshDecision::Reuse => return Err(self.end_reused(&session, origin, now).await),
                RefreshDecision::Ended | RefreshDecision::Expired => return Err(RefreshError::SessionEnded),
            }
        }
        Err(RefreshError::SessionEnded)
    }

    async fn user_of(&self, session: &Session) -> Result<User, RefreshError> {
        let user = self
            .p
            .users
            .find(session.user_id)
            .await?
            .ok_or(RefreshError::SessionEnded)?;
        if user.disabled_at.is_some() {
            Err(RefreshError::AccountDisabled)
        } else {
            Ok(user)
        }
    }

    async fn end_reused(&self, session: &Session, origin: &Origin, now: Timestamp) -> RefreshError {
        tracing::warn!(session = %session.id, user = %session.user_id, "a refresh token was used twice; the session is ended");
        let data = json!({ "session_id": session.id });
        let event = self
            .p
            .toolkit
            .own_event(origin, session.user_id, OwnEvent::RefreshReused, &data);
        let selection = SessionSelection::This(session.id);
        match self
            .end(session.user_id, selection, EndReason::RefreshReuse, event, now)
            .await
        {
            Ok(_) => RefreshError::SessionEnded,
            Err(error) => error.into(),
        }
    }

    /// Ends sessions of a user: one, the others or all. Effective on this node when it returns, on all within a second. Gives how many ended.
    ///
    /// # Errors
    /// When the backend fails.
    pub async fn logout(
        &self,
        user: UserId,
        selection: SessionSelection,
        reason: EndReason,
        origin: &Origin,
    ) -> Result<u64, EffectsError> {
        let data = match selection {
            SessionSelection::This(id) => json!({ "scope": "this", "session_id": id, "reason": reason.as_str() }),
            SessionSelection::Others(id) => {
                json!({ "scope": "others", "kept_session_id": id, "reason": reason.as_str() })
            }
            SessionSelection::All => json!({ "scope": "all", "reason": reason.as_str() }),
        };
        let event = self.p.toolkit.own_event(origin, user, OwnEvent::SessionEnded, &data);
        self.end(user, selection, reason, event, self.p.toolkit.now()).await
    }

    async fn end(
        &self,
        user: UserId,
        selection: SessionSelection,
        reason: EndReason,
        event: domain::event::Event,
        now: Timestamp,
    ) -> Result<u64, EffectsError> {
        let ending = SessionEnding {
            selection,
            reason,
            revoked_until: self.p.policy.revoked_until(now),
        };
        let effects = Effects {
            events: vec![event],
            ..Effects::none()
        };
        let ended = self.p.sessions.end(user, &ending, now, &effects).await?;
        if ended > 0 {
            self.p.gate.refresh().await?;
            self.p.toolkit.wakeups.wake(Wakeup::Written);
        }
        Ok(ended)
    }

    /// The session behind a refresh token that could still be refreshed with, for signing out with it.
    ///
    /// # Errors
    /// When it could not: an old copy of a token must not end anything.
    pub async fn of_refresh_token(&self, token: &str) -> Result<Session, RefreshError> {
        let (id, generation) = self.p.refresh_tokens.decode(token).ok_or(RefreshError::Invalid)?;
        let session = self.p.sessions.find(id).await?.ok_or(RefreshError::Invalid)?;
        match session.present(generation, self.p.toolkit.now(), &self.p.policy.session) {
            RefreshDecision::Rotate(_) | RefreshDecision::Repeat(_) => Ok(session),
            RefreshDecision::Reuse => Err(RefreshError::Invalid),
            RefreshDecision::Ended | RefreshDecision::Expired => Err(RefreshError::SessionEnded),
        }
    }

    /// The user's sessions, newest first; those that ran out of time are left out.
    ///
    /// # Errors
    /// When the backend fails.
    pub async fn list(&self, user: UserId, page: &PageRequest) -> Result<Page<Session>, BackendError> {
        let horizon = SessionHorizon::at(self.p.toolkit.now(), &self.p.policy.session);
        self.p.sessions.list(user, &horizon, page).await
    }

    /// Until when a session lives if it is not used again.
    pub fn expires_at(&self, session: &Session) -> Timestamp {
        session.expires_at(&self.p.policy.session)
    }
}

#[cfg(test)]
mod tests;
