//! Accounts: signing up, verifying, resetting, the profile.

mod letter;
mod password;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::email::EmailAddress;
use domain::event::{Actor, OwnEvent};
use domain::id::{RegistrationId, UserId};
use domain::mail::MailTemplate;
use domain::password::{Password, PasswordPolicy, PasswordRecord, PasswordRefusal};
use domain::tier::TierName;
use domain::time::Timestamp;
use domain::token::{TokenHash, TokenPurpose, TokenSubject};
use domain::user::{DisplayName, Registration, Role, User};
use ports::{
    BackendError, CompleteRegistrationError, Effects, EffectsError, HashPasswordError, OneTimeTokenRepository,
    PasswordHasher, RegistrationCompletion, RegistrationRepository, Sealer, UpdateUserError, UserRepository,
    UserUpdate, Wakeup,
};
use serde_json::json;

use self::letter::Letter;
use super::gate::Gate;
use super::judge::{Judge, JudgeError};
use super::sessions::TokenPolicy;
use super::throttle::{Throttle, ThrottleError};
use super::{Origin, Toolkit};

/// What the service is made over.
pub struct AccountParts {
    /// Time, randomness, ids.
    pub toolkit: Toolkit,
    /// Accounts.
    pub users: Arc<dyn UserRepository>,
    /// Sign-ups.
    pub registrations: Arc<dyn RegistrationRepository>,
    /// One-time tokens.
    pub tokens: Arc<dyn OneTimeTokenRepository>,
    /// Hashing.
    pub hasher: Arc<dyn PasswordHasher>,
    /// Seals tokens for the mail ledger.
    pub sealer: Arc<dyn Sealer>,
    /// Revocations.
    pub gate: Arc<Gate>,
    /// Floods.
    pub throttle: Arc<Throttle>,
    /// What a new password must satisfy.
    pub password_policy: PasswordPolicy,
    /// Lives of tokens.
    pub token_policy: TokenPolicy,
    /// Whether anybody may sign up.
    pub registration_open: bool,
    /// The language of mails, a BCP 47 tag.
    pub locale: String,
    /// How long a link that verifies an address is good.
    pub verify_life: Duration,
    /// How long a link that sets a new password is good.
    pub reset_life: Duration,
}

impl std::fmt::Debug for AccountParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountParts").finish_non_exhaustive()
    }
}

/// Accounts.
pub struct Accounts {
    p: AccountParts,
    judge: Judge,
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accounts").finish_non_exhaustive()
    }
}

/// A sign-up.
#[derive(Debug)]
pub struct SignUp<'a> {
    /// The address.
    pub email: EmailAddress,
    /// The name.
    pub name: DisplayName,
    /// The password.
    pub password: Password,
    /// The client's address or its /64.
    pub client: &'a str,
    /// Where the request comes from.
    pub origin: Origin,
}

/// Why a request about an account was refused.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// Nobody may sign up by themselves.
    #[error("registration is closed")]
    RegistrationClosed,
    /// The new password is refused.
    #[error(transparent)]
    Password(#[from] PasswordRefusal),
    /// The current password is wrong.
    #[error("the current password is wrong")]
    WrongPassword,
    /// The one-time token is unknown, used, void or over.
    #[error("the token cannot be used")]
    TokenInvalid,
    /// The account is gone.
    #[error("there is no such user")]
    NotFound,
    /// Somebody else keeps changing the account.
    #[error("the account is being changed by somebody else")]
    Contended,
    /// Too many requests.
    #[error(transparent)]
    Throttled(#[from] ThrottleError),
    /// Too much hashing.
    #[error(transparent)]
    Hash(#[from] HashPasswordError),
    /// The backend failed.
    #[error(transparent)]
    Effects(#[from] EffectsError),
}

impl From<JudgeError> for AccountError {
    fn from(error: JudgeError) -> Self {
        match error {
            JudgeError::Refused(refusal) => Self::Password(refusal),
            JudgeError::Hash(error) => Self::Hash(error),
        }
    }
}

impl From<BackendError> for AccountError {
    fn from(error: BackendError) -> Self {
        Self::Effects(error.into())
    }
}

/// How often a change is tried again when somebody else changed the account in between.
const RACES: usize = 4;

impl Accounts {
    /// The service over its parts.
    pub fn new(parts: AccountParts) -> Self {
        Self {
            judge: Judge::new(parts.password_policy),
            p: parts,
        }
    }

    /// Signs up. Known and unknown addresses cost the same and leave the same: a registration of their own, a token, a mail; only what the mail says differs.
    ///
    /// # Errors
    /// What is wrong with the input, never whether the address has an account.
    pub async fn register(&self, sign_up: SignUp<'_>) -> Result<(), AccountError> {
        if !self.p.registration_open {
            return Err(AccountError::RegistrationClosed);
        }
        self.p.throttle.public("register", sign_up.client).await?;
        let context = [sign_up.email.as_str(), sign_up.name.as_str()];
        self.judge.check(&sign_up.password, &context).await?;
        if self.is_repeated(&sign_up).await? {
            return Ok(());
        }
        let password = self.p.hasher.hash(sign_up.client, &sign_up.password).await?;
        let owner = self.p.users.find_by_email(&sign_up.email).await?;
        let now = self.p.toolkit.now();
        let registration = Registration {
            id: RegistrationId::new(self.p.toolkit.id()),
            email: sign_up.email,
            name: sign_up.name,
            password,
            created_at: now,
            expires_at: now.plus(self.p.verify_life),
            completed_as: None,
            voided_at: None,
        };
        let subject = TokenSubject::Registration(registration.id);
        let template = if owner.is_some() {
            MailTemplate::AlreadyRegistered
        } else {
            MailTemplate::VerifyEmail
        };
        let letter = Letter {
            template,
            to: &registration.email,
            user: owner.map(|user| user.id),
            name: None,
        };
        let effects = self.with_token(&sign_up.origin, TokenPurpose::VerifyEmail, subject, &letter, now)?;
        self.p.registrations.insert(&registration, &effects).await?;
        self.p.toolkit.wakeups.wake(Wakeup::Mail);
        Ok(())
    }

    /// The same sign-up again, from a second click or an impatient visitor: the one that waits is reminded of, or two of the same person would contest each other. Costs a hash when a sign-up waits, which tells nothing about accounts.
    async fn is_repeated(&self, sign_up: &SignUp<'_>) -> Result<bool, AccountError> {
        let now = self.p.toolkit.now();
        let Some(pending) = self.p.registrations.newest(&sign_up.email, now).await? else {
            return Ok(false);
        };
        if !self
            .p
            .hasher
            .verify(sign_up.client, &sign_up.password, Some(pending.password))
            .await?
        {
            return Ok(false);
        }
        let owner = self.p.users.find_by_email(&sign_up.email).await?;
        let template = if owner.is_some() {
            MailTemplate::AlreadyRegistered
        } else {
            MailTemplate::VerifyEmail
        };
        let letter = Letter {
            template,
            to: &sign_up.email,
            user: owner.map(|user| user.id),
            name: None,
        };
        let subject = TokenSubject::Registration(pending.id);
        let effects = self.with_token(&sign_up.origin, TokenPurpose::VerifyEmail, subject, &letter, now)?;
        self.p.registrations.remind(pending.id, &effects).await?;
        self.p.toolkit.wakeups.wake(Wakeup::Mail);
        Ok(true)
    }

    /// Verifies the address of a sign-up and makes the user. The same token again within its life succeeds again.
    ///
    /// # Errors
    /// [`AccountError::TokenInvalid`] for every other token.
    pub async fn verify(&self, token: &str, origin: &Origin) -> Result<(), AccountError> {
        let now = self.p.toolkit.now();
        let hash = TokenHash::of(token);
        let found = self
            .p
            .tokens
            .find(&hash)
            .await?
            .filter(|found| found.purpose == TokenPurpose::VerifyEmail);
        let found = found
            .filter(|found| now < found.expires_at)
            .ok_or(AccountError::TokenInvalid)?;
        let TokenSubject::Registration(id) = found.subject else {
            return Err(AccountError::TokenInvalid);
        };
        let registration = self.p.registrations.find(id).await?.ok_or(AccountError::TokenInvalid)?;
        if found.used_at.is_some() && registration.completed_as.is_some() {
            return Ok(());
        }
        if !found.is_live(now) {
            return Err(AccountError::TokenInvalid);
        }
        let user = self.user_from(&registration, now);
        let origin = Origin {
            actor: Actor::User(user.id),
            ..*origin
        };
        let event = self.p.toolkit.own_event(
            &origin,
            user.id,
            OwnEvent::UserRegistered,
            &json!({ "tier": user.tier.as_str() }),
        );
        let effects = Effects {
            events: vec![event],
            ..Effects::none()
        };
        let completion = RegistrationCompletion {
            registration: id,
            token: hash,
            alone: true,
            user,
            at: now,
        };
        let completed = match self.p.registrations.complete(&completion, &effects).await {
            Err(CompleteRegistrationError::Contested) => self.complete_contested(completion, effects, &origin).await,
            other => other,
        };
        match completed {
            Ok(()) => self.p.toolkit.wakeups.wake(Wakeup::Written),
            // Two clicks at once: the other one did it.
            Err(CompleteRegistrationError::AlreadyCompleted) => {}
            Err(CompleteRegistrationError::Gone | CompleteRegistrationError::Contested) => {
                return Err(AccountError::TokenInvalid);
            }
            Err(CompleteRegistrationError::Effects(error)) => return Err(error.into()),
        }
        Ok(())
    }

    /// Several sign-ups wait with this address, perhaps a stranger's among them whose mail was the one that arrived. The click proves the mailbox and not the password: none of the passwords is taken, and the mailbox gets the link to choose one.
    async fn complete_contested(
        &self,
        completion: RegistrationCompletion,
        effects: Effects,
        origin: &Origin,
    ) -> Result<(), CompleteRegistrationError> {
        let user = User {
            password: PasswordRecord::unusable(),
            ..completion.user
        };
        let letter = Letter {
            template: MailTemplate::ResetPassword,
            to: &user.email,
            user: Some(user.id),
            name: None,
        };
        let subject = TokenSubject::User(user.id);
        let mut reset = self
            .with_token(origin, TokenPurpose::ResetPassword, subject, &letter, completion.at)
            .map_err(EffectsError::from)?;
        // The only way in: it must not be left out.
        for mail in &mut reset.mails {
            mail.limited = false;
        }
        let effects = Effects {
            mails: reset.mails,
            tokens: reset.tokens,
            ..effects
        };
        let completion = RegistrationCompletion {
            alone: false,
            user,
            ..completion
        };
        self.p.registrations.complete(&completion, &effects).await?;
        self.p.toolkit.wakeups.wake(Wakeup::Mail);
        Ok(())
    }

    fn user_from(&self, registration: &Registration, now: Timestamp) -> User {
        User {
            id: UserId::new(self.p.toolkit.id()),
            email: registration.email.clone(),
            name: registration.name.clone(),
            password: registration.password.clone(),
            tier: TierName::free(),
            role: Role::User,
            epoch: 0,
            disabled_at: None,
            created_at: now,
            updated_at: now,
            version: 0,
        }
    }

    /// Sends the verification mail of the newest sign-up again, with a new token. Silent when there is none.
    ///
    /// # Errors
    /// When throttled or the backend fails.
    pub async fn resend(&self, email: &EmailAddress, client: &str, origin: &Origin) -> Result<(), AccountError> {
        self.p.throttle.public("resend", client).await?;
        let now = self.p.toolkit.now();
        let pending = self.p.registrations.newest(email, now).await?;
        let owner = self.p.users.find_by_email(email).await?;
        let purpose = TokenPurpose::VerifyEmail;
        match pending {
            // A sign-up with the address of an account was never sent a token, and is not sent one now.
            Some(pending) if owner.is_none() => {
                let letter = Letter {
                    template: MailTemplate::VerifyEmail,
                    to: email,
                    user: None,
                    name: None,
                };
                let subject = TokenSubject::Registration(pending.id);
                let effects = self.with_token(origin, purpose, subject, &letter, now)?;
                self.p.registrations.remind(pending.id, &effects).await?;
                self.p.toolkit.wakeups.wake(Wakeup::Mail);
            }
            _ => {
                // The look that a reminder takes at its sign-up.
                self.p
                    .registrations
                    .find(RegistrationId::new(self.p.toolkit.id()))
                    .await?;
                self.pretend(purpose, MailTemplate::VerifyEmail, email, origin, now)
                    .await?;
            }
        }
        Ok(())
    }

    /// Writes a token that nobody will ever hold, and does for a mail everything but writing it, so that unknown addresses cost what known ones do.
    async fn pretend(
        &self,
        purpose: TokenPurpose,
        template: MailTemplate,
        to: &EmailAddress,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<(), AccountError> {
        let subject = TokenSubject::User(UserId::new(self.p.toolkit.id()));
        let (secret, token) = self.one_time_token(purpose, subject, None, now);
        let letter = Letter {
            template,
            to,
            user: None,
            name: None,
        };
        let decoy = self.letter(origin, &letter, Some(&secret), now)?;
        let effects = Effects {
            tokens: vec![token],
            decoy_mails: vec![decoy],
            ..Effects::none()
        };
        self.p.tokens.issue(&effects).await?;
        self.p.toolkit.wakeups.wake(Wakeup::Mail);
        Ok(())
    }

    /// The caller's account: one read by id.
    ///
    /// # Errors
    /// When it is gone or the backend fails.
    pub async fn profile(&self, id: UserId) -> Result<User, AccountError> {
        self.p.users.find(id).await?.ok_or(AccountError::NotFound)
    }

    /// Changes the name.
    ///
    /// # Errors
    /// When the account is gone, contended, or the backend fails.
    pub async fn rename(&self, id: UserId, name: &DisplayName, origin: &Origin) -> Result<User, AccountError> {
        for _ in 0..RACES {
            let user = self.profile(id).await?;
            if user.name == *name {
                return Ok(user);
            }
            let at = self.p.toolkit.now();
            let user = User {
                name: name.clone(),
                updated_at: at,
                ..user
            };
            let event = self
                .p
                .toolkit
                .own_event(origin, id, OwnEvent::UserUpdated, &json!({ "fields": ["name"] }));
            let effects = Effects {
                events: vec![event],
                ..Effects::none()
            };
            let update = UserUpdate {
                user: user.clone(),
                redeem: None,
                end_sessions: None,
                at,
            };
            match self.p.users.update(&update, &effects).await {
                Ok(()) => {
                    self.p.toolkit.wakeups.wake(Wakeup::Written);
                    return Ok(User {
                        version: user.version + 1,
                        ..user
                    });
                }
                Err(UpdateUserError::Stale) => {}
                Err(UpdateUserError::Effects(error)) => return Err(error.into()),
                Err(
                    error @ (UpdateUserError::EmailTaken | UpdateUserError::LastAdmin | UpdateUserError::TokenInvalid),
                ) => {
                    return Err(BackendError::permanent("accounts", "rename", error).into());
                }
            }
        }
        Err(AccountError::Contended)
    }
}

/// 256 random bits as they stand in a link.
pub fn new_secret(toolkit: &Toolkit) -> String {
    URL_SAFE_NO_PAD.encode(toolkit.random::<32>())
}
