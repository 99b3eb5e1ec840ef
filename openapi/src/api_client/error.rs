//! Why a call failed: what the server said of it, or why it said nothing.

use std::error::Error;
use std::time::Duration;

use crate::Problem;

/// Why a call of the API failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The server refused: its problem, whose `code` programs branch on.
    #[error("{} ({}): {}, request {}", .0.code, .0.status, .0.detail.as_deref().unwrap_or(&.0.title), .0.request_id)]
    Refused(Box<Problem>),
    /// An answer that is no success and no problem of Plinth: something else answered, such as a proxy.
    #[error("the answer has status {0} and no problem of Plinth")]
    Status(u16),
    /// The answer is not what this client reads.
    #[error("the answer cannot be read: {0}")]
    Body(String),
    /// Nobody could be reached, or the connection broke.
    #[error("{0}")]
    Unreachable(String),
    /// No answer, or only a part of one, in time.
    #[error("no answer in time")]
    Slow,
    /// The address is none.
    #[error("the address cannot be used: {0}")]
    Address(String),
    /// The token cannot stand in a header.
    #[error("the token holds letters that no header can carry")]
    Token,
}

impl ApiError {
    /// What the server said, if it refused.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            Self::Status(_) | Self::Body(_) | Self::Unreachable(_) | Self::Slow | Self::Address(_) | Self::Token => {
                None
            }
        }
    }

    /// The stable name of the refusal.
    pub fn code(&self) -> Option<&str> {
        self.problem().map(|problem| problem.code.as_str())
    }

    /// The id under which the server's log knows the request.
    pub fn request_id(&self) -> Option<&str> {
        self.problem().map(|problem| problem.request_id.as_str())
    }

    /// How long the server asks to wait before the same call is made again.
    pub fn retry_after(&self) -> Option<Duration> {
        self.problem()
            .and_then(|problem| problem.retry_after)
            .map(Duration::from_secs)
    }

    /// Whether the session is over for this client, and only a new sign-in helps.
    pub fn asks_to_sign_in(&self) -> bool {
        let again = ["token_missing", "token_invalid", "session_ended", "account_disabled"];
        self.problem()
            .is_some_and(|problem| problem.status == 401 && again.contains(&problem.code.as_str()))
    }

    /// Whether a refresh and the same call once more help; the client does both by itself.
    pub(super) fn asks_to_refresh(&self) -> bool {
        let refresh = ["token_expired", "token_outdated"];
        self.problem()
            .is_some_and(|problem| problem.status == 401 && refresh.contains(&problem.code.as_str()))
    }
}

/// The innermost cause alone: the layers above it repeat the address, which may hold what no log should.
pub(super) fn told(error: &reqwest::Error) -> ApiError {
    if error.is_timeout() {
        return ApiError::Slow;
    }
    let mut cause: &(dyn Error + 'static) = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    ApiError::Unreachable(match cause.downcast_ref::<std::io::Error>() {
        Some(error) if error.raw_os_error().is_some() => error.kind().to_string(),
        _ => cause.to_string(),
    })
}
