//! The error that every port shares: the backend itself failed.

use std::error::Error;
use std::fmt;

/// A backend failed at something that the caller has no branch for.
#[derive(Debug)]
pub struct BackendError {
    /// Which adapter, for example `sql` or `local`.
    pub adapter: &'static str,
    /// Which operation of it.
    pub operation: &'static str,
    /// Whether the same call may work a little later: drives retry, breaker and 503.
    pub temporary: bool,
    /// Whether there is no room left to write to: an operator must act, and the caller is told so (507).
    pub full: bool,
    /// What the technology said. Never shown to clients.
    pub source: Box<dyn Error + Send + Sync>,
}

impl BackendError {
    /// A failure that may pass: a lost connection, a timeout, a lock.
    pub fn temporary(
        adapter: &'static str,
        operation: &'static str,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            adapter,
            operation,
            temporary: true,
            full: false,
            source: source.into(),
        }
    }

    /// The same failure once more, for each of several callers who were gathered into one call. Of its source only the text is kept.
    pub fn again(&self) -> Self {
        let source = self.source.to_string().into();
        Self {
            adapter: self.adapter,
            operation: self.operation,
            temporary: self.temporary,
            full: self.full,
            source,
        }
    }

    /// A failure that will not pass by itself.
    pub fn permanent(
        adapter: &'static str,
        operation: &'static str,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            adapter,
            operation,
            temporary: false,
            full: false,
            source: source.into(),
        }
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.temporary { "temporarily" } else { "for good" };
        write!(f, "{} failed {kind} at {}", self.adapter, self.operation)
    }
}

impl Error for BackendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.source.as_ref())
    }
}
