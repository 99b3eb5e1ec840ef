//! The usage projection: what each user did, counted from the log.

use async_trait::async_trait;
use domain::id::UserId;
use domain::time::Timestamp;

use crate::{BackendError, Effects, EffectsError};

/// One figure of a user in a month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageFigure {
    /// The meter, for example `events` or `files_uploaded_bytes`.
    pub meter: String,
    /// The amount.
    pub amount: u64,
}

/// What users did, by calendar month in UTC.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait UsageRepository: Send + Sync + 'static {
    /// Adds figures to the month of `at`, with the handler's inbox mark in `effects`. MUST add nothing when the mark is there already.
    async fn add(&self, user: UserId, at: Timestamp, figures: &[UsageFigure], effects: &Effects) -> Result<(), EffectsError>;

    /// The figures of the month of `at`, by meter.
    async fn get(&self, user: UserId, at: Timestamp) -> Result<Vec<UsageFigure>, BackendError>;
}
