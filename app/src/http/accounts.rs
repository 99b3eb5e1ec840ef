//! `/v1/auth`: signing up, verifying, resetting a password.

use std::sync::Arc;

use openapi::{EmailBody, RegisterBody, ResetPasswordBody, TokenBody};
use poem::Request;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};

use super::auth::Visitor;
use super::input::{Fields, refused_password};
use super::problem::Fault;
use super::throttled;
use crate::service::accounts::{AccountError, Accounts, SignUp};

/// What the operations answer beyond what all may answer.
pub const ERRORS: &[(&str, &[&str])] = &[
    (
        "register",
        &["validation_failed", "registration_closed", "rate_limited", "overloaded"],
    ),
    ("verify_email", &["validation_failed", "token_invalid"]),
    ("resend_verification", &["validation_failed", "rate_limited"]),
    ("forgot_password", &["validation_failed", "rate_limited"]),
    (
        "reset_password",
        &[
            "validation_failed",
            "token_invalid",
            "rate_limited",
            "overloaded",
            "conflict",
        ],
    ),
];

/// The operations.
#[derive(Debug)]
pub struct AccountsApi {
    /// The service.
    pub accounts: Arc<Accounts>,
}

/// Taken; what follows comes by mail, if anything does.
#[derive(Debug, ApiResponse)]
pub enum Accepted {
    /// Taken. What follows, if anything, comes by mail: the answer is alike for every address.
    #[oai(status = 202)]
    Accepted,
}

/// Done.
#[derive(Debug, ApiResponse)]
pub enum Done {
    /// Done.
    #[oai(status = 204)]
    Done,
}

#[OpenApi(tag = "super::Tags::Accounts")]
impl AccountsApi {
    /// Sign up
    ///
    /// Stores the sign-up and mails a link that verifies the address; the account exists once the link was followed. The answer is alike whether or not the address has an account already; its owner then gets a mail that says so.
    #[oai(path = "/v1/auth/register", method = "post", operation_id = "register")]
    async fn register(&self, request: &Request, body: Json<RegisterBody>) -> Result<Accepted, Fault> {
        let visitor = Visitor::of(request);
        let mut fields = Fields::new();
        let (email, name) = (fields.email(&body.email), fields.name(&body.name));
        let password = fields.password("#/password", &body.password);
        let (Some(email), Some(name), Some(password)) = (email, name, password) else {
            return Err(fields.fault());
        };
        let client = visitor.client.bucket().to_string();
        let sign_up = SignUp {
            email,
            name,
            password,
            client: &client,
            origin: visitor.origin(),
        };
        self.accounts.register(sign_up).await?;
        Ok(Accepted::Accepted)
    }

    /// Verify an address
    ///
    /// Takes the token of the mailed link and makes the account. The same token again within its life (24 hours by default) answers 204 again.
    #[oai(path = "/v1/auth/verify", method = "post", operation_id = "verify_email")]
    async fn verify(&self, request: &Request, body: Json<TokenBody>) -> Result<Done, Fault> {
        self.accounts
            .verify(&body.token, &Visitor::of(request).origin())
            .await?;
        Ok(Done::Done)
    }

    /// Send the verification mail again
    ///
    /// At most one mail a minute and five an hour are sent to an address; beyond that the request is taken and nothing is sent.
    #[oai(
        path = "/v1/auth/verify/resend",
        method = "post",
        operation_id = "resend_verification"
    )]
    async fn resend(&self, request: &Request, body: Json<EmailBody>) -> Result<Accepted, Fault> {
        let visitor = Visitor::of(request);
        let mut fields = Fields::new();
        let Some(email) = fields.email(&body.email) else {
            return Err(fields.fault());
        };
        self.accounts
            .resend(&email, &visitor.client.bucket().to_string(), &visitor.origin())
            .await?;
        Ok(Accepted::Accepted)
    }

    /// Ask for a new password
    ///
    /// Mails a link that is good for 30 minutes by default, if the address has an account.
    #[oai(path = "/v1/auth/password/forgot", method = "post", operation_id = "forgot_password")]
    async fn forgot(&self, request: &Request, body: Json<EmailBody>) -> Result<Accepted, Fault> {
        let visitor = Visitor::of(request);
        let mut fields = Fields::new();
        let Some(email) = fields.email(&body.email) else {
            return Err(fields.fault());
        };
        self.accounts
            .forgot(&email, &visitor.client.bucket().to_string(), &visitor.origin())
            .await?;
        Ok(Accepted::Accepted)
    }

    /// Set a new password
    ///
    /// Takes the token of the mailed link. All sessions of the account end. A password that is refused leaves the token good.
    #[oai(path = "/v1/auth/password/reset", method = "post", operation_id = "reset_password")]
    async fn reset(&self, request: &Request, body: Json<ResetPasswordBody>) -> Result<Done, Fault> {
        let visitor = Visitor::of(request);
        let mut fields = Fields::new();
        let Some(password) = fields.password("#/password", &body.password) else {
            return Err(fields.fault());
        };
        let client = visitor.client.bucket().to_string();
        self.accounts
            .reset(&body.token, &password, &client, &visitor.origin())
            .await?;
        Ok(Done::Done)
    }
}

impl From<AccountError> for Fault {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::RegistrationClosed => Self::registration_closed(),
            AccountError::Password(refusal) => refused_password(refusal),
            AccountError::WrongPassword => {
                Self::validation_failed().at("#/current_password", "wrong", "must be the current password")
            }
            AccountError::TokenInvalid => Self::link_token_invalid(),
            AccountError::NotFound => Self::not_found(),
            AccountError::Contended => Self::conflict().detail("The account is being changed by somebody else."),
            AccountError::Throttled(error) => throttled(error),
            AccountError::Hash(error) => error.into(),
            AccountError::Effects(error) => error.into(),
        }
    }
}
