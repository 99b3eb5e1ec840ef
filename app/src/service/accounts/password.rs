//! Passwords that are forgotten, reset and changed.

use domain::email::EmailAddress;
use domain::event::{Actor, OwnEvent};
use domain::id::UserId;
use domain::mail::MailTemplate;
use domain::password::{Password, PasswordRecord};
use domain::session::EndReason;
use domain::token::{Claims, TokenHash, TokenPurpose, TokenSubject};
use domain::user::User;
use ports::{BackendError, Effects, SessionEnding, SessionSelection, UpdateUserError, UserUpdate, Wakeup};
use serde_json::json;

use super::letter::Letter;
use super::{AccountError, Accounts, RACES};
use crate::service::Origin;

impl Accounts {
    /// Sends a link to set a new password. Silent when the address has no account that may sign in.
    ///
    /// # Errors
    /// When throttled or the backend fails.
    pub async fn forgot(&self, email: &EmailAddress, client: &str, origin: &Origin) -> Result<(), AccountError> {
        self.p.throttle.public("forgot", client).await?;
        let now = self.p.toolkit.now();
        let user = self
            .p
            .users
            .find_by_email(email)
            .await?
            .filter(|user| user.disabled_at.is_none());
        let purpose = TokenPurpose::ResetPassword;
        let Some(user) = user else {
            return self
                .pretend(purpose, MailTemplate::ResetPassword, email, origin, now)
                .await;
        };
        let letter = Letter {
            template: MailTemplate::ResetPassword,
            to: email,
            user: Some(user.id),
            name: Some(&user.name),
        };
        let effects = self.with_token(origin, purpose, TokenSubject::User(user.id), &letter, now)?;
        self.p.tokens.issue(&effects).await?;
        self.p.toolkit.wakeups.wake(Wakeup::Mail);
        Ok(())
    }

    /// Sets a new password by a mailed token; ends all sessions and voids the other tokens.
    ///
    /// # Errors
    /// A refused password leaves the token good.
    pub async fn reset(
        &self,
        token: &str,
        password: &Password,
        client: &str,
        origin: &Origin,
    ) -> Result<(), AccountError> {
        self.p.throttle.public("reset", client).await?;
        let hash = TokenHash::of(token);
        let user = self.reset_subject(&hash).await?;
        let id = user.id;
        self.judge
            .check(password, &[user.email.as_str(), user.name.as_str()])
            .await?;
        let record = self.p.hasher.hash(client, password).await?;
        let change = PasswordChange {
            record,
            proven: None,
            redeem: Some(hash),
            selection: SessionSelection::All,
            how: "reset",
        };
        self.store_password(
            id,
            &change,
            &Origin {
                actor: Actor::User(id),
                ..*origin
            },
        )
        .await
    }

    async fn reset_subject(&self, hash: &TokenHash) -> Result<User, AccountError> {
        let now = self.p.toolkit.now();
        let found = self.p.tokens.find(hash).await?.ok_or(AccountError::TokenInvalid)?;
        match found.subject {
            TokenSubject::User(id) if found.purpose == TokenPurpose::ResetPassword && found.is_live(now) => {
                let user = self.p.users.find(id).await?.ok_or(AccountError::TokenInvalid)?;
                // The address may have changed since the mail was sent.
                if found.email.as_ref() == Some(&user.email) && user.disabled_at.is_none() {
                    Ok(user)
                } else {
                    Err(AccountError::TokenInvalid)
                }
            }
            TokenSubject::User(_) | TokenSubject::Registration(_) | TokenSubject::Installation => {
                Err(AccountError::TokenInvalid)
            }
        }
    }

    /// Changes the caller's password; their other sessions end.
    ///
    /// # Errors
    /// When the current password is wrong or the new one is refused.
    pub async fn change_password(
        &self,
        claims: &Claims,
        current: &Password,
        new: &Password,
        client: &str,
        origin: &Origin,
    ) -> Result<(), AccountError> {
        let user = self.p.users.find(claims.subject).await?.ok_or(AccountError::NotFound)?;
        let attempt = self.p.throttle.sign_in(client, &user.email).await?;
        if !self
            .p
            .hasher
            .verify(client, current, Some(user.password.clone()))
            .await?
        {
            self.p.throttle.failed(&attempt).await?;
            return Err(AccountError::WrongPassword);
        }
        self.judge
            .check(new, &[user.email.as_str(), user.name.as_str()])
            .await?;
        let record = self.p.hasher.hash(client, new).await?;
        let selection = SessionSelection::Others(claims.session);
        let change = PasswordChange {
            record,
            proven: Some(user.password),
            redeem: None,
            selection,
            how: "change",
        };
        self.store_password(user.id, &change, origin).await
    }

    async fn store_password(&self, id: UserId, change: &PasswordChange, origin: &Origin) -> Result<(), AccountError> {
        for _ in 0..RACES {
            let user = self.p.users.find(id).await?.ok_or(AccountError::NotFound)?;
            // The proof was made against a password that has been changed since, by a reset perhaps: it proves nothing now.
            if change.proven.as_ref().is_some_and(|proven| *proven != user.password) {
                return Err(AccountError::WrongPassword);
            }
            let at = self.p.toolkit.now();
            let event = self
                .p
                .toolkit
                .own_event(origin, id, OwnEvent::PasswordChanged, &json!({ "how": change.how }));
            let letter = Letter {
                template: MailTemplate::PasswordChanged,
                to: &user.email,
                user: Some(id),
                name: Some(&user.name),
            };
            let mail = self.letter(origin, &letter, None, at)?;
            let effects = Effects {
                events: vec![event],
                mails: vec![mail],
                ..Effects::none()
            };
            let ending = SessionEnding {
                selection: change.selection,
                reason: EndReason::PasswordChanged,
                revoked_until: self.p.token_policy.revoked_until(at),
            };
            let user = User {
                password: change.record.clone(),
                updated_at: at,
                ..user
            };
            let update = UserUpdate {
                user,
                redeem: change.redeem,
                end_sessions: Some(ending),
                at,
            };
            match self.p.users.update(&update, &effects).await {
                Ok(()) => {
                    self.p.gate.refresh().await?;
                    self.p.toolkit.wakeups.wake(Wakeup::Written);
                    self.p.toolkit.wakeups.wake(Wakeup::Mail);
                    return Ok(());
                }
                Err(UpdateUserError::Stale) => {}
                Err(UpdateUserError::TokenInvalid) => return Err(AccountError::TokenInvalid),
                Err(UpdateUserError::Effects(error)) => return Err(error.into()),
                // Neither address nor role is changed here.
                Err(error @ (UpdateUserError::EmailTaken | UpdateUserError::LastAdmin)) => {
                    return Err(BackendError::permanent("accounts", "change a password", error).into());
                }
            }
        }
        Err(AccountError::Contended)
    }
}

struct PasswordChange {
    record: PasswordRecord,
    /// The record that the current password was proven against.
    proven: Option<PasswordRecord>,
    redeem: Option<TokenHash>,
    selection: SessionSelection,
    how: &'static str,
}
