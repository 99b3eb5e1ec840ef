//! What the forms of the pages send, read without ever repeating it in an error.

use poem::Request;
use poem::error::ReadBodyError;
use url::form_urlencoded;

use crate::http::problem::Fault;

/// The longest body: a password of 4 KiB with every byte escaped, and room for the rest.
const LONGEST_BODY: usize = 16 * 1024;
/// The longest token that is looked at; ours have 43 characters.
const LONGEST_TOKEN: usize = 256;

/// The fields, empty where they were not sent.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) token: String,
    pub(super) email: String,
    pub(super) password: String,
}

impl Form {
    /// The token of a link.
    pub(super) fn of_query(query: &str) -> Self {
        Self {
            token: Self::parse(query.as_bytes()).token,
            ..Self::default()
        }
    }

    /// Reads `application/x-www-form-urlencoded`.
    pub(super) async fn read(request: &mut Request) -> Result<Self, Fault> {
        let kind = request
            .content_type()
            .and_then(|kind| kind.split(';').next())
            .unwrap_or_default();
        if !kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(Fault::unsupported_media_type());
        }
        let body = request
            .take_body()
            .into_bytes_limit(LONGEST_BODY)
            .await
            .map_err(|error| match error {
                ReadBodyError::PayloadTooLarge => Fault::payload_too_large(),
                _ => Fault::malformed_request(),
            })?;
        let form = Self::parse(&body);
        // Bytes that are no UTF-8 become this character: two different passwords would be taken for one.
        if form.password.contains(char::REPLACEMENT_CHARACTER) {
            return Err(Fault::malformed_request().detail("the form must be sent as UTF-8"));
        }
        Ok(form)
    }

    fn parse(bytes: &[u8]) -> Self {
        let mut form = Self::default();
        for (name, value) in form_urlencoded::parse(bytes) {
            match &*name {
                "token" if value.len() <= LONGEST_TOKEN => form.token = value.into_owned(),
                "email" => form.email = value.into_owned(),
                "password" => form.password = value.into_owned(),
                _ => {}
            }
        }
        form
    }
}
