//! The usage projection: what each user did, counted from the log.

use async_trait::async_trait;
use domain::id::UserId;
use domain::time::Timestamp;

use crate::{BackendError, InboxMark};

/// One figure of a user in a month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageFigure {
    /// The meter, for example `events` or `files_uploaded_bytes`.
    pub meter: String,
    /// The amount.
    pub amount: u64,
}

/// What one event adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageEntry {
    /// Whose it is.
    pub user: UserId,
    /// The figures are added to the month of this moment.
    pub at: Timestamp,
    /// What is added; nothing for an event that only gets its mark.
    pub figures: Vec<UsageFigure>,
    /// The mark of the event.
    pub mark: InboxMark,
}

/// What users did, by calendar month in UTC.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait UsageRepository: Send + Sync + 'static {
    /// Adds the figures of all entries, each with its mark, in one transaction: all or nothing. An entry whose mark is there already (or came before in this call) MUST add nothing.
    /// Tells of each entry, in their order, whether it was added now.
    async fn add_many(&self, entries: &[UsageEntry]) -> Result<Vec<bool>, BackendError>;

    /// The figures of the month of `at`, by meter.
    async fn get(&self, user: UserId, at: Timestamp) -> Result<Vec<UsageFigure>, BackendError>;
}
