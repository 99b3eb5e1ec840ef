//! Administration: plans, disabling, the first administrator, users made by hand.

use std::sync::Arc;

use domain::email::EmailAddress;
use domain::event::{Event, OwnEvent};
use domain::id::UserId;
use domain::page::{Page, PageRequest};
use domain::password::{Password, PasswordPolicy, PasswordRefusal};
use domain::session::{EndReason, Revocation, RevokedSubject};
use domain::tier::{TierName, Tiers};
use domain::time::Timestamp;
use domain::token::{OneTimeToken, TokenHash, TokenPurpose, TokenSubject};
use domain::user::{DisplayName, Role, User};
use ports::{
    BackendError, Effects, EffectsError, HashPasswordError, InsertUserError, OneTimeTokenRepository, PasswordHasher,
    SessionEnding, SessionSelection, UpdateUserError, UserRepository, UserUpdate, Wakeup,
};
use serde_json::json;

use super::accounts::new_secret;
use super::gate::Gate;
use super::judge::{Judge, JudgeError};
use super::sessions::TokenPolicy;
use super::throttle::{Throttle, ThrottleError};
use super::{Origin, Toolkit};

/// What the service is made over.
pub struct AdminParts {
    /// Time, randomness, ids.
    pub toolkit: Toolkit,
    /// Accounts.
    pub users: Arc<dyn UserRepository>,
    /// One-time tokens.
    pub tokens: Arc<dyn OneTimeTokenRepository>,
    /// Hashing.
    pub hasher: Arc<dyn PasswordHasher>,
    /// Revocations.
    pub gate: Arc<Gate>,
    /// Floods.
    pub throttle: Arc<Throttle>,
    /// What a new password must satisfy.
    pub password_policy: PasswordPolicy,
    /// Lives of tokens.
    pub token_policy: TokenPolicy,
    /// The plans.
    pub tiers: Arc<Tiers>,
}

impl std::fmt::Debug for AdminParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminParts").finish_non_exhaustive()
    }
}

/// Administration.
pub struct Administration {
    p: AdminParts,
    judge: Judge,
}

impl std::fmt::Debug for Administration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Administration").finish_non_exhaustive()
    }
}

/// A user made by hand: no mail is sent, the address counts as verified.
#[derive(Debug)]
pub struct NewUser {
    /// The address.
    pub email: EmailAddress,
    /// The name.
    pub name: DisplayName,
    /// The password.
    pub password: Password,
    /// The role.
    pub role: Role,
}

/// Why an act of administration was refused.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// There is no such user.
    #[error("there is no such user")]
    NotFound,
    /// There is no such plan; the names of those there are.
    #[error("there is no such tier")]
    UnknownTier(Vec<String>),
    /// Another user has the address.
    #[error("the address is taken")]
    EmailTaken,
    /// There is an administrator already.
    #[error("there is an administrator already")]
    AdminExists,
    /// It is the last enabled administrator.
    #[error("the last administrator cannot be disabled")]
    LastAdmin,
    /// The set-up token is unknown, used or over.
    #[error("the token cannot be used")]
    TokenInvalid,
    /// Somebody else keeps changing the account.
    #[error("the account is being changed by somebody else")]
    Contended,
    /// Too many requests.
    #[error(transparent)]
    Throttled(#[from] ThrottleError),
    /// The password is refused.
    #[error(transparent)]
    Password(#[from] PasswordRefusal),
    /// Too much hashing.
    #[error(transparent)]
    Hash(#[from] HashPasswordError),
    /// The backend failed.
    #[error(transparent)]
    Effects(#[from] EffectsError),
}

impl From<BackendError> for AdminError {
    fn from(error: BackendError) -> Self {
        Self::Effects(error.into())
    }
}

impl From<JudgeError> for AdminError {
    fn from(error: JudgeError) -> Self {
        match error {
            JudgeError::Refused(refusal) => Self::Password(refusal),
            JudgeError::Hash(error) => Self::Hash(error),
        }
    }
}

/// A change of an account that makes its tokens out of date.
struct Change {
    user: User,
    event: (OwnEvent, serde_json::Value),
    revoked: Option<RevokedSubject>,
    end: Option<EndReason>,
}

/// How often a change is tried again when somebody else changed the account in between.
const RACES: usize = 4;
/// Who the command line hashes for, in the fair queue.
const LOCAL: &str = "local";

impl Administration {
    /// The service over its parts.
    pub fn new(parts: AdminParts) -> Self {
        Self {
            judge: Judge::new(parts.password_policy),
            p: parts,
        }
    }

    /// One user.
    ///
    /// # Errors
    /// When there is none or the backend fails.
    pub async fn show(&self, id: UserId) -> Result<User, AdminError> {
        self.p.users.find(id).await?.ok_or(AdminError::NotFound)
    }

    /// One user by address.
    ///
    /// # Errors
    /// When there is none or the backend fails.
    pub async fn show_by_email(&self, email: &EmailAddress) -> Result<User, AdminError> {
        self.p.users.find_by_email(email).await?.ok_or(AdminError::NotFound)
    }

    /// All users, oldest first.
    ///
    /// # Errors
    /// When the backend fails.
    pub async fn list(&self, page: &PageRequest) -> Result<Page<User>, BackendError> {
        self.p.users.list(page).await
    }

    /// The names of the plans.
    pub fn tier_names(&self) -> Vec<String> {
        self.p.tiers.iter().map(|tier| tier.name.to_string()).collect()
    }

    /// Moves a user to another plan. Their tokens are out of date on every node within a second.
    ///
    /// # Errors
    /// When the plan or the user does not exist.
    pub async fn set_tier(&self, id: UserId, tier: &TierName, origin: &Origin) -> Result<User, AdminError> {
        if self.p.tiers.find(tier).is_none() {
            return Err(AdminError::UnknownTier(self.tier_names()));
        }
        self.change(id, origin, |user| {
            if user.tier == *tier {
                return None;
            }
            let data = json!({ "from": user.tier.as_str(), "to": tier.as_str() });
            let epoch = user.epoch + 1;
            Some(Change {
                revoked: Some(RevokedSubject::Epoch(user.id, epoch)),
                user: User {
                    tier: tier.clone(),
                    epoch,
                    ..user
                },
                event: (OwnEvent::TierChanged, data),
                end: None,
            })
        })
        .await
    }

    /// Disables a user: all sessions end, all tokens are void within a second.
    ///
    /// # Errors
    /// When the user does not exist or is the last administrator.
    pub async fn disable(&self, id: UserId, origin: &Origin) -> Result<User, AdminError> {
        let now = self.p.toolkit.now();
        self.change(id, origin, |user| {
            if user.disabled_at.is_some() {
                return None;
            }
            Some(Change {
                revoked: Some(RevokedSubject::User(user.id)),
                user: User {
                    disabled_at: Some(now),
                    ..user
                },
                event: (OwnEvent::UserDisabled, json!({})),
                end: Some(EndReason::Disabled),
            })
        })
        .await
    }

    /// Lets a disabled user sign in again.
    ///
    /// # Errors
    /// When the user does not exist.
    pub async fn enable(&self, id: UserId, origin: &Origin) -> Result<User, AdminError> {
        self.change(id, origin, |user| {
            user.disabled_at?;
            Some(Change {
                user: User {
                    disabled_at: None,
                    ..user
                },
                event: (OwnEvent::UserEnabled, json!({})),
                revoked: None,
                end: None,
            })
        })
        .await
    }

    /// Applies a change unless it is one already; tried again when somebody else was faster.
    async fn change(
        &self,
        id: UserId,
        origin: &Origin,
        how: impl Fn(User) -> Option<Change>,
    ) -> Result<User, AdminError> {
        for _ in 0..RACES {
            let before = self.show(id).await?;
            let Some(change) = how(before.clone()) else {
                return Ok(before);
            };
            let at = self.p.toolkit.now();
            let expires_at = self.p.token_policy.revoked_until(at);
            let (kind, data) = &change.event;
            let effects = Effects {
                events: vec![self.p.toolkit.own_event(origin, id, *kind, data)],
                revocations: change
                    .revoked
                    .map(|subject| Revocation {
                        subject,
                        at,
                        expires_at,
                    })
                    .into_iter()
                    .collect(),
                ..Effects::none()
            };
            let user = User {
                updated_at: at,
                ..change.user
            };
            let ending = |reason| SessionEnding {
                selection: SessionSelection::All,
                reason,
                revoked_until: expires_at,
            };
            let update = UserUpdate {
                user: user.clone(),
                redeem: None,
                end_sessions: change.end.map(ending),
                at,
            };
            match self.p.users.update(&update, &effects).await {
                Ok(()) => {
                    self.p.gate.refresh().await?;
                    self.p.toolkit.wakeups.wake(Wakeup::Written);
                    return Ok(User {
                        version: user.version + 1,
                        ..user
                    });
                }
                Err(UpdateUserError::Stale) => {}
                Err(UpdateUserError::LastAdmin) => return Err(AdminError::LastAdmin),
                Err(UpdateUserError::Effects(error)) => return Err(error.into()),
                // Neither an address nor a token is part of such a change.
                Err(error @ (UpdateUserError::EmailTaken | UpdateUserError::TokenInvalid)) => {
                    return Err(BackendError::permanent("administration", "change a user", error).into());
                }
            }
        }
        Err(AdminError::Contended)
    }

    /// Makes a user by hand.
    ///
    /// # Errors
    /// When the password is refused or the address taken.
    pub async fn create(&self, new: NewUser, origin: &Origin) -> Result<User, AdminError> {
        self.insert(new, LOCAL, None, origin).await
    }

    /// Makes the first administrator by the set-up token.
    ///
    /// # Errors
    /// When there is an administrator, or the token cannot be used.
    pub async fn set_up(
        &self,
        token: &str,
        email: EmailAddress,
        password: Password,
        client: &str,
        origin: &Origin,
    ) -> Result<User, AdminError> {
        self.p.throttle.public("set-up", client).await?;
        let hash = TokenHash::of(token);
        let now = self.p.toolkit.now();
        let found = self.p.tokens.find(&hash).await?;
        // Looked at before the hash is computed, or anybody could make us hash.
        if !found.is_some_and(|found| found.purpose == TokenPurpose::Setup && found.is_live(now)) {
            return Err(AdminError::TokenInvalid);
        }
        self.insert(
            NewUser {
                email,
                name: administrator(),
                password,
                role: Role::Admin,
            },
            client,
            Some(hash),
            origin,
        )
        .await
    }

    async fn insert(
        &self,
        new: NewUser,
        client: &str,
        first_admin: Option<TokenHash>,
        origin: &Origin,
    ) -> Result<User, AdminError> {
        self.judge
            .check(&new.password, &[new.email.as_str(), new.name.as_str()])
            .await?;
        let password = self.p.hasher.hash(client, &new.password).await?;
        let now = self.p.toolkit.now();
        let user = User {
            id: UserId::new(self.p.toolkit.id()),
            email: new.email,
            name: new.name,
            password,
            tier: TierName::free(),
            role: new.role,
            epoch: 0,
            disabled_at: None,
            created_at: now,
            updated_at: now,
            version: 0,
        };
        let effects = Effects {
            events: vec![self.created(origin, &user)],
            ..Effects::none()
        };
        match self.p.users.insert(&user, first_admin, &effects).await {
            Ok(()) => {
                self.p.toolkit.wakeups.wake(Wakeup::Written);
                Ok(user)
            }
            Err(InsertUserError::EmailTaken) => Err(AdminError::EmailTaken),
            Err(InsertUserError::AdminExists) => Err(AdminError::AdminExists),
            Err(InsertUserError::TokenInvalid) => Err(AdminError::TokenInvalid),
            Err(InsertUserError::Effects(error)) => Err(error.into()),
        }
    }

    fn created(&self, origin: &Origin, user: &User) -> Event {
        let data = json!({ "role": user.role.as_str(), "tier": user.tier.as_str() });
        self.p.toolkit.own_event(origin, user.id, OwnEvent::UserCreated, &data)
    }

    /// A set-up token while there is no administrator; none when there is one.
    ///
    /// # Errors
    /// When the backend fails.
    pub async fn offer_set_up(&self) -> Result<Option<(String, Timestamp)>, AdminError> {
        if self.p.users.has_admin().await? {
            return Ok(None);
        }
        let secret = new_secret(&self.p.toolkit);
        let created_at = self.p.toolkit.now();
        let expires_at = created_at.plus(TokenPurpose::Setup.life());
        let token = OneTimeToken {
            hash: TokenHash::of(&secret),
            purpose: TokenPurpose::Setup,
            subject: TokenSubject::Installation,
            email: None,
            created_at,
            expires_at,
            used_at: None,
            voided_at: None,
        };
        self.p
            .tokens
            .issue(&Effects {
                tokens: vec![token],
                ..Effects::none()
            })
            .await?;
        Ok(Some((secret, expires_at)))
    }

    /// Makes the administrator that the environment names, unless there is one; gives whether it did. Many nodes may start at once.
    ///
    /// # Errors
    /// When the password is refused or the address taken.
    pub async fn ensure_admin(&self, email: EmailAddress, password: Password) -> Result<bool, AdminError> {
        if self.p.users.has_admin().await? {
            return Ok(false);
        }
        let new = NewUser {
            email,
            name: administrator(),
            password,
            role: Role::Admin,
        };
        match self.create(new, &Origin::SYSTEM).await {
            Ok(_) => Ok(true),
            Err(AdminError::EmailTaken) if self.p.users.has_admin().await? => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The name of an administrator who gave none.
pub fn administrator() -> DisplayName {
    "Administrator".parse().expect("the literal is a display name")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_name_of_an_administrator_is_a_name() {
        assert_eq!(super::administrator().as_str(), "Administrator");
    }
}
