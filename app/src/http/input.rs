//! Reading what callers send into domain values: each refusal names the field and the rule, never the value.

use std::str::FromStr;

use domain::email::EmailAddress;
use domain::page::PageRequest;
use domain::password::{Password, PasswordRefusal};
use domain::user::DisplayName;
use openapi::FieldProblem;

use super::problem::Fault;

/// Collects the refusals of several fields, so that all are reported at once.
#[derive(Debug, Default)]
pub struct Fields(Vec<FieldProblem>);

impl Fields {
    /// Nothing refused yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a field by the rules of its type.
    pub fn read<T>(&mut self, pointer: &str, code: &str, text: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.0.push(FieldProblem::new(pointer, code, error.to_string()));
                None
            }
        }
    }

    /// Reads an address.
    pub fn email(&mut self, text: &str) -> Option<EmailAddress> {
        self.read("#/email", "format", text)
    }

    /// Reads a display name.
    pub fn name(&mut self, text: &str) -> Option<DisplayName> {
        self.read("#/name", "length", text)
    }

    /// Reads a password; whether it is good enough for a new one is judged later.
    pub fn password(&mut self, pointer: &str, text: &str) -> Option<Password> {
        match Password::parse(text) {
            Ok(password) => Some(password),
            Err(refusal) => {
                self.0
                    .push(FieldProblem::new(pointer, refusal.code(), refusal.to_string()));
                None
            }
        }
    }

    /// The refusals, once a field that was needed could not be read.
    pub fn fault(self) -> Fault {
        Fault::validation_failed().with_pointer_errors(self.0)
    }
}

/// A new password that the policy refuses.
pub fn refused_password(refusal: PasswordRefusal) -> Fault {
    Fault::validation_failed().at("#/password", refusal.code(), refusal.to_string())
}

/// Reads the parameters of a list whose cursor is an id.
///
/// # Errors
/// 422 naming the parameter.
pub fn page(after: Option<String>, limit: Option<u32>) -> Result<PageRequest, Fault> {
    let limit = limit.unwrap_or(PageRequest::DEFAULT_LIMIT);
    if !(1..=PageRequest::MAX_LIMIT).contains(&limit) {
        return Err(Fault::validation_failed().at("#/parameters/limit", "range", "must be 1 to 200"));
    }
    if after
        .as_deref()
        .is_some_and(|cursor| uuid::Uuid::try_parse(cursor).is_err())
    {
        let detail = "must be the next_cursor of the page before";
        return Err(Fault::validation_failed().at("#/parameters/after", "cursor", detail));
    }
    Ok(PageRequest { after, limit })
}
