//! The letters that accounts cause, and the one-time tokens in them.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::email::EmailAddress;
use domain::id::{MailId, UserId};
use domain::mail::{MailTemplate, NewMail};
use domain::time::Timestamp;
use domain::token::{OneTimeToken, TokenHash, TokenPurpose, TokenSubject};
use domain::user::DisplayName;
use ports::{BackendError, Effects, SealPurpose};

use super::{Accounts, new_secret};
use crate::service::Origin;

/// A letter before it is a row of the ledger.
pub(super) struct Letter<'a> {
    pub(super) template: MailTemplate,
    pub(super) to: &'a EmailAddress,
    pub(super) user: Option<UserId>,
    pub(super) name: Option<&'a DisplayName>,
}

impl Accounts {
    pub(super) fn with_token(
        &self,
        origin: &Origin,
        purpose: TokenPurpose,
        subject: TokenSubject,
        letter: &Letter<'_>,
        now: Timestamp,
    ) -> Result<Effects, BackendError> {
        let (secret, token) = self.one_time_token(purpose, subject, Some(letter.to.clone()), now);
        let carried = letter.template.carries_token().then_some(secret.as_str());
        let mail = self.letter(origin, letter, carried, now)?;
        Ok(Effects {
            mails: vec![mail],
            tokens: vec![token],
            ..Effects::none()
        })
    }

    fn life(&self, purpose: TokenPurpose) -> Duration {
        match purpose {
            TokenPurpose::VerifyEmail => self.p.verify_life,
            TokenPurpose::ResetPassword => self.p.reset_life,
            TokenPurpose::Setup => purpose.life(),
        }
    }

    pub(super) fn one_time_token(
        &self,
        purpose: TokenPurpose,
        subject: TokenSubject,
        email: Option<EmailAddress>,
        now: Timestamp,
    ) -> (String, OneTimeToken) {
        let secret = new_secret(&self.p.toolkit);
        let token = OneTimeToken {
            hash: TokenHash::of(&secret),
            purpose,
            subject,
            email,
            created_at: now,
            expires_at: now.plus(self.life(purpose)),
            used_at: None,
            voided_at: None,
        };
        (secret, token)
    }

    pub(super) fn letter(
        &self,
        origin: &Origin,
        letter: &Letter<'_>,
        token: Option<&str>,
        now: Timestamp,
    ) -> Result<NewMail, BackendError> {
        let id = MailId::new(self.p.toolkit.id());
        let seal = |token: &str| {
            self.p
                .sealer
                .seal(SealPurpose::MailToken, id.uuid().as_bytes(), token.as_bytes())
        };
        let name = letter.name.map(|name| ("name".to_owned(), name.as_str().to_owned()));
        Ok(NewMail {
            id,
            user_id: letter.user,
            to: letter.to.clone(),
            template: letter.template,
            locale: self.p.locale.clone(),
            data: name.into_iter().collect::<BTreeMap<_, _>>(),
            sealed_token: token.map(seal).transpose()?,
            created_at: now,
            request_id: origin.request_id,
            // A notice of a change of the password is never left out: it may be the owner's only sign of it.
            limited: letter.template != MailTemplate::PasswordChanged,
        })
    }
}
