//! The request that a task is busy with: every line of the log that it causes tells which one.
use std::{future::Future, sync::Arc};

use poem::http::Method;

use super::RequestId;

tokio::task_local! {
    static CURRENT: Current;
}

/// What lines of the log say of the request that caused them.
///
/// A value of the task and not a span of `tracing`: a span is written out for every request, and nearly none of them
/// logs anything within.
#[derive(Debug, Clone)]
pub struct Current {
    /// The id of the request.
    pub id: RequestId,
    /// Its method.
    pub method: Method,
    /// The template of its route; none where no route matches.
    pub route: Option<Arc<str>>,
}

impl Current {
    /// The template of the route, or `unmatched`.
    pub fn route(&self) -> &str {
        self.route.as_deref().unwrap_or("unmatched")
    }

    /// Runs what answers this request.
    pub(super) fn during<F: Future>(self, answering: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, answering)
    }

    /// Tells of the request that this task answers, if it answers one.
    pub fn with(tell: impl FnOnce(&Self)) {
        // An error says that there is none.
        let _ = CURRENT.try_with(tell);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_known_while_the_request_is_answered_and_not_after() {
        let seen = || {
            let mut seen = None;
            Current::with(|current| seen = Some((current.id.to_string(), current.route().to_owned())));
            seen
        };
        let current = Current {
            id: RequestId::new("r1"),
            method: Method::GET,
            route: None,
        };
        let during = current.during(async { seen() }).await;
        assert_eq!(during, Some(("r1".to_owned(), "unmatched".to_owned())));
        assert_eq!(seen(), None);
    }
}
