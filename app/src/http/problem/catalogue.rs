//! Every error code that Plinth answers with: one table, from which constructors and documentation are made.
use std::fmt::Write;

use super::Fault;

/// One line of the catalogue. `code` and `status` together are unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorEntry {
    /// The stable name, in [`openapi::Problem::code`].
    pub code: &'static str,
    /// The HTTP status it comes with.
    pub status: u16,
    /// What went wrong, in a few words.
    pub title: &'static str,
    /// What the caller does next.
    pub next: &'static str,
}

macro_rules! catalogue {
    ($($name:ident $status:literal $code:literal $title:literal $next:literal;)*) => {
        /// All errors, in the order of their status.
        pub const CATALOGUE: &[ErrorEntry] = &[
            $(ErrorEntry { code: $code, status: $status, title: $title, next: $next },)*
        ];

        impl Fault {
            $(
                #[doc = concat!($title, ": `", $code, "`, ", stringify!($status), ".")]
                pub fn $name() -> Self {
                    const ENTRY: ErrorEntry =
                        ErrorEntry { code: $code, status: $status, title: $title, next: $next };
                    Self::of(&ENTRY)
                }
            )*
        }
    };
}

catalogue! {
    malformed_request 400 "malformed_request" "The request cannot be parsed"
        "Mend the syntax: the body must be valid JSON (or valid multipart), parameters must have the documented form.";
    host_invalid 400 "host_invalid" "The Host header is missing, repeated or not accepted"
        "Send exactly one `Host` header with a host name and an optional port; on the operations listener, one of the accepted names.";
    token_missing 401 "token_missing" "No access token was sent"
        "Sign in, and send `Authorization: Bearer ...`.";
    token_invalid 401 "token_invalid" "The access token is not valid"
        "Sign in again.";
    session_ended 401 "session_ended" "The session has ended"
        "Sign in again.";
    account_disabled 401 "account_disabled" "The account is disabled"
        "Stop, and tell the user to turn to the operator of the service.";
    token_expired 401 "token_expired" "The access token has expired"
        "Refresh once, then repeat the request.";
    token_outdated 401 "token_outdated" "The access token is older than a change to the account"
        "Refresh once, then repeat the request: the new token carries the new plan or role.";
    invalid_credentials 401 "invalid_credentials" "The address or the password is wrong"
        "Ask the user again; after several failures offer the password reset.";
    email_unverified 401 "email_unverified" "The address has not been verified yet"
        "Ask the user to follow the link in the mail, or send it again with `POST /v1/auth/verify/resend`.";
    second_factor_required 401 "second_factor_required" "A second factor is needed"
        "Ask for one of `methods`, then send it with `challenge` to `POST /v1/auth/login/second`.";
    scope_missing 403 "scope_missing" "The token does not allow this"
        "Use a token with the role or scope that the operation names.";
    quota_exceeded 403 "quota_exceeded" "A quota of the plan is used up"
        "Free something, wait for the next period, or change the plan; `GET /v1/me/usage` shows the figures.";
    step_up_required 403 "step_up_required" "The sign-in is not recent enough for this"
        "Confirm with `POST /v1/auth/reauth`, then repeat the request with the new token.";
    registration_closed 403 "registration_closed" "Registration is closed"
        "Ask the operator of the service for an invitation.";
    not_found 404 "not_found" "There is no such thing here"
        "Check the path and the id. What belongs to another user answers in the same way.";
    method_not_allowed 405 "method_not_allowed" "This path does not know the method"
        "Use one of the methods in the header `Allow`.";
    request_timeout 408 "request_timeout" "The request did not arrive in time"
        "Send it again; the body stalled for too long, or came more slowly than 1 KiB a second.";
    conflict 409 "conflict" "The request contradicts the present state"
        "Read the present state, then decide.";
    idempotency_in_flight 409 "idempotency_in_flight" "The first request with this Idempotency-Key is still running"
        "Wait a moment, then repeat the same request with the same key.";
    upload_incomplete 409 "upload_incomplete" "Nothing has been uploaded to this reservation yet"
        "PUT the bytes to the reserved URL first, then complete.";
    precondition_failed 412 "precondition_failed" "A precondition in the headers does not hold"
        "Read the present version and its `ETag`, then decide.";
    payload_too_large 413 "payload_too_large" "The body is larger than this route takes"
        "Send less, or split it; large files go through `POST /v1/files` or `POST /v1/uploads`.";
    unsupported_media_type 415 "unsupported_media_type" "The route does not take this Content-Type"
        "Send one of the media types that the operation documents.";
    range_not_satisfiable 416 "range_not_satisfiable" "The range lies outside the file"
        "Ask for a range within the size that `Content-Range` names.";
    validation_failed 422 "validation_failed" "The request was understood but refused"
        "Mend the parts that `errors` points at.";
    idempotency_key_reused 422 "idempotency_key_reused" "The Idempotency-Key was used for another request"
        "Use a new key for a new request; repeat a request unchanged.";
    upload_mismatch 422 "upload_mismatch" "What was uploaded is not what was announced"
        "Reserve again with the right size and hash, and upload again.";
    link_token_invalid 422 "token_invalid" "The one-time token is not valid"
        "Ask for a new mail, or a new address: the token is wrong, used or too old.";
    rate_limited 429 "rate_limited" "Too many requests"
        "Wait as long as `Retry-After` says; `RateLimit` tells beforehand how many requests are left.";
    internal_error 500 "internal_error" "The server failed"
        "Try again later; when it persists, report the `request_id`.";
    overloaded 503 "overloaded" "The server is busy"
        "Wait as long as `Retry-After` says, then repeat the request.";
    auth_state_stale 503 "auth_state_stale" "The server cannot tell whether tokens were revoked"
        "Wait as long as `Retry-After` says; the server has lost sight of its database.";
    dependency_unavailable 503 "dependency_unavailable" "Something that the server needs is away"
        "Wait as long as `Retry-After` says, then repeat the request.";
    storage_full 507 "storage_full" "The storage is full"
        "Tell the operator of the service; repeating does not help.";
}

const HEAD: &str = "\
# Errors

Every error is answered with `application/problem+json` (RFC 9457). Programs branch on `code`; `title` and `detail` are
for people and may change. `request_id` is in the server's log too. `errors` lists refused parts as JSON pointers into
the body (`#/events/3/data`) or as `#/parameters/NAME`; a submitted value is never repeated. A 401 always has
`WWW-Authenticate`; `retry_after` equals the header `Retry-After`, in seconds.

This page is made from the table in the code: `UPDATE=1 cargo test -p plinth catalogue` writes it anew.

| status | code | meaning |
|---|---|---|
";

/// The catalogue as the Markdown of `docs/errors.md`.
pub fn render_catalogue() -> String {
    let mut page = HEAD.to_owned();
    for entry in CATALOGUE {
        // Writing to a string cannot fail.
        let _ = writeln!(
            page,
            "| {} | [`{}`](#{}) | {} |",
            entry.status, entry.code, entry.code, entry.title
        );
    }
    let mut seen: Vec<&str> = Vec::new();
    for entry in CATALOGUE {
        if seen.contains(&entry.code) {
            continue;
        }
        seen.push(entry.code);
        let _ = write!(page, "\n## {}\n", entry.code);
        for same in CATALOGUE.iter().filter(|other| other.code == entry.code) {
            let _ = write!(page, "\n**{}.** {}.\n{}\n", same.status, same.title, same.next);
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::HashSet, path::Path};

    #[test]
    fn catalogue_entries_are_unique_and_ordered() {
        let keys: HashSet<_> = CATALOGUE.iter().map(|entry| (entry.status, entry.code)).collect();
        assert_eq!(keys.len(), CATALOGUE.len());
        assert!(CATALOGUE.is_sorted_by_key(|entry| entry.status));
        for entry in CATALOGUE {
            assert!((400..600).contains(&entry.status), "{}", entry.code);
            assert!(
                entry.code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
                "{}",
                entry.code
            );
            assert!(
                entry.next.ends_with('.') && !entry.title.ends_with('.'),
                "{}",
                entry.code
            );
        }
    }

    #[test]
    fn catalogue_page_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors.md");
        let made = render_catalogue();
        #[expect(
            clippy::disallowed_methods,
            reason = "a switch of the test run, not a setting of Plinth"
        )]
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &made).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == made,
            "docs/errors.md is out of date: run `UPDATE=1 cargo test -p plinth catalogue`"
        );
    }
}
