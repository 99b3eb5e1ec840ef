//! Time, randomness and ids.

use domain::time::Timestamp;
use uuid::Uuid;

/// The time of day. Everything that asks for the time asks here, so that tests set it.
#[cfg_attr(feature = "mocks", mockall::automock)]
pub trait Clock: Send + Sync + 'static {
    /// Now. MUST NOT go backwards within a process by more than the operating system's clock does.
    fn now(&self) -> Timestamp;
}

/// Unpredictable bytes.
#[cfg_attr(feature = "mocks", mockall::automock)]
pub trait Randomness: Send + Sync + 'static {
    /// Fills the buffer. MUST be fit for secrets in production; a test's may repeat itself.
    fn fill(&self, bytes: &mut [u8]);
}

/// New ids.
#[cfg_attr(feature = "mocks", mockall::automock)]
pub trait Ids: Send + Sync + 'static {
    /// A `UUIDv7` (RFC 9562). MUST be unique, and within a process each MUST sort after the one before.
    fn next(&self) -> Uuid;
}
