//! The typed error that every handler returns, and how it looks on the wire (RFC 9457).
use std::{borrow::Cow, error::Error as StdError, fmt};

use openapi::{FieldProblem, PROBLEM_MEDIA_TYPE, Problem};
use poem::{
    Response,
    error::ResponseError,
    http::{HeaderName, HeaderValue, StatusCode, header},
};

mod catalogue;
pub use catalogue::{CATALOGUE, ErrorEntry, render_catalogue};

/// The realm named in `WWW-Authenticate` (RFC 9110, section 11.5).
const BEARER: &str = "Bearer realm=\"plinth\"";

/// A refusal: an entry of the [`CATALOGUE`] and what is particular to this case. Made by the constructor named after
/// the code, refined by the builder methods, and returned as the error of a handler.
#[derive(Debug)]
pub struct Fault(Box<Parts>);

#[derive(Debug)]
struct Parts {
    entry: &'static ErrorEntry,
    detail: Option<Cow<'static, str>>,
    errors: Vec<FieldProblem>,
    retry_after: Option<u64>,
    www_authenticate: Option<HeaderValue>,
    challenge: Option<(String, Vec<String>)>,
    headers: Vec<(HeaderName, HeaderValue)>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// With every bare 415: an upload takes any type, and everything else takes JSON.
const JSON_IS_MEANT: &str =
    "Send the body as JSON with `Content-Type: application/json`; curl sends another type unless told.";

impl Fault {
    pub(crate) fn of(entry: &'static ErrorEntry) -> Self {
        let retry_after = (entry.status == 503).then_some(1);
        Self(Box::new(Parts {
            entry,
            detail: None,
            errors: Vec::new(),
            retry_after,
            www_authenticate: None,
            challenge: None,
            headers: Vec::new(),
            source: None,
        }))
    }

    /// The entry that stands for a bare status, where nothing better is known.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        match status.as_u16() {
            401 => Self::token_invalid(),
            403 => Self::scope_missing(),
            405 => Self::method_not_allowed(),
            408 => Self::request_timeout(),
            409 => Self::conflict(),
            412 => Self::precondition_failed(),
            413 => Self::payload_too_large(),
            415 => Self::unsupported_media_type().detail(JSON_IS_MEANT),
            416 => Self::range_not_satisfiable(),
            422 => Self::validation_failed(),
            429 => Self::rate_limited(),
            404 | 410 => Self::not_found(),
            507 => Self::storage_full(),
            502..=504 => Self::dependency_unavailable(),
            500.. => Self::internal_error(),
            _ => Self::malformed_request(),
        }
    }

    /// Says what went wrong this time. Never put a submitted value here.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Names the refused parts of the request.
    #[must_use]
    pub fn with_pointer_errors(mut self, errors: impl IntoIterator<Item = FieldProblem>) -> Self {
        self.0.errors.extend(errors);
        self
    }

    /// Names one refused part: `pointer` is like `#/events/3/data`.
    #[must_use]
    pub fn at(self, pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        self.with_pointer_errors([FieldProblem::new(pointer, code, detail)])
    }

    /// Seconds after which the caller may try again. A 503 says 1 second unless told otherwise.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after = Some(seconds);
        self
    }

    /// Replaces the challenge that a 401 carries anyway.
    #[must_use]
    pub fn www_authenticate(mut self, value: HeaderValue) -> Self {
        self.0.www_authenticate = Some(value);
        self
    }

    /// What a login with a second factor goes on with.
    #[must_use]
    pub fn challenge(mut self, challenge: String, methods: Vec<String>) -> Self {
        self.0.challenge = Some((challenge, methods));
        self
    }

    /// Adds a header to the answer, such as `Content-Range` to a 416.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// Keeps the cause for the log. It never reaches the caller.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The stable name of the error.
    pub fn code(&self) -> &'static str {
        self.0.entry.code
    }

    /// The HTTP status of the answer.
    pub fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.0.entry.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The refused parts.
    pub fn pointer_errors(&self) -> &[FieldProblem] {
        &self.0.errors
    }

    /// The body of the answer to the request `request_id`.
    pub fn problem(&self, request_id: &str) -> Problem {
        let parts = &self.0;
        let (challenge, methods) = parts.challenge.clone().unzip();
        Problem {
            kind: format!("/docs/errors#{}", parts.entry.code),
            title: parts.entry.title.to_owned(),
            status: parts.entry.status,
            detail: parts.detail.as_deref().map(str::to_owned),
            code: parts.entry.code.to_owned(),
            request_id: request_id.to_owned(),
            errors: (!parts.errors.is_empty()).then(|| parts.errors.clone()),
            retry_after: parts.retry_after,
            challenge,
            methods,
        }
    }

    /// The whole answer to the request `request_id`.
    pub fn respond(&self, request_id: &str) -> Response {
        let body = serde_json::to_vec(&self.problem(request_id)).unwrap_or_default();
        let mut response = Response::builder()
            .status(self.status_code())
            .content_type(PROBLEM_MEDIA_TYPE)
            .body(body);
        let headers = response.headers_mut();
        if let Some(seconds) = self.0.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(challenge) = self.authenticate() {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        for (name, value) in &self.0.headers {
            headers.append(name, value.clone());
        }
        response
    }

    /// RFC 6750, section 3: a challenge without an error when no token was sent, else with one.
    fn authenticate(&self) -> Option<HeaderValue> {
        let given = self.0.www_authenticate.clone();
        let usual = match (self.0.entry.status, self.0.entry.code) {
            (401, "token_missing" | "invalid_credentials" | "email_unverified" | "second_factor_required") => {
                Some(HeaderValue::from_static(BEARER))
            }
            (401, _) => Some(HeaderValue::from_static(
                "Bearer realm=\"plinth\", error=\"invalid_token\"",
            )),
            (403, "scope_missing") => Some(HeaderValue::from_static(
                "Bearer realm=\"plinth\", error=\"insufficient_scope\"",
            )),
            _ => None,
        };
        given.or(usual)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl StdError for Fault {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

impl ResponseError for Fault {
    fn status(&self) -> StatusCode {
        self.status_code()
    }

    // Reached only outside the layers, which know the request id.
    fn as_response(&self) -> Response {
        self.respond("-")
    }
}

impl poem_openapi::ApiResponse for Fault {
    // The document gets its errors in one pass over all operations.
    fn meta() -> poem_openapi::registry::MetaResponses {
        poem_openapi::registry::MetaResponses { responses: Vec::new() }
    }

    fn register(_registry: &mut poem_openapi::registry::Registry) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_401_carries_a_challenge_and_every_503_a_pause() {
        for entry in CATALOGUE {
            let answer = Fault::of(entry).respond("r1");
            assert_eq!(answer.status().as_u16(), entry.status);
            assert_eq!(answer.headers().contains_key(header::WWW_AUTHENTICATE), {
                entry.status == 401 || entry.code == "scope_missing"
            });
            assert_eq!(
                answer.headers().contains_key(header::RETRY_AFTER),
                entry.status == 503,
                "{}",
                entry.code
            );
        }
    }

    #[test]
    fn the_body_carries_what_was_said_and_never_the_cause() {
        let fault = Fault::validation_failed()
            .detail("two fields were refused")
            .at("#/email", "format", "an e-mail address")
            .at("#/name", "length", "1 to 200 characters")
            .caused_by("secret of the database");
        let json = serde_json::to_string(&fault.problem("r1")).unwrap();
        assert!(!json.contains("secret"), "{json}");
        let problem: Problem = serde_json::from_str(&json).unwrap();
        assert_eq!(problem.kind, "/docs/errors#validation_failed");
        assert_eq!(problem.request_id, "r1");
        assert_eq!(problem.errors.unwrap()[1].pointer, "#/name");
    }

    #[test]
    fn a_bare_status_keeps_its_number_or_its_class() {
        for status in [
            400, 401, 403, 404, 405, 408, 409, 412, 413, 415, 416, 422, 429, 500, 503, 507,
        ] {
            let fault = Fault::of_status(StatusCode::from_u16(status).unwrap());
            assert_eq!(fault.status_code().as_u16(), status);
        }
        assert_eq!(Fault::of_status(StatusCode::IM_A_TEAPOT).status_code(), 400);
        assert_eq!(Fault::of_status(StatusCode::BAD_GATEWAY).status_code(), 503);
    }
}
