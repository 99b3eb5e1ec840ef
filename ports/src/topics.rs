//! Events of other services, as topics bring them.

use std::time::Duration;

use async_trait::async_trait;
use domain::cloud_event::{ForeignEvent, ReadEventError, TopicPlace};
use domain::stats::SubscriptionStats;

use crate::BackendError;

/// A record that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Where it stands.
    pub place: TopicPlace,
    /// The event; what stands for the record where it is none.
    pub foreign: ForeignEvent,
    /// Why the record is no event.
    pub fault: Option<ReadEventError>,
}

/// A member of a group that shares the partitions of topics.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait TopicSubscriber: Send + Sync + 'static {
    /// The next records, at most `limit`, those of a partition in order and without a gap; none when there were none within `at_most`.
    /// A record MUST NOT be given again while its partition stays here. Whoever does not come for them MUST NOT make the process hold ever more, nor lose its part of the group.
    async fn receive(&self, limit: u32, at_most: Duration) -> Result<Vec<Received>, BackendError>;

    /// Notes that everything up to these places, themselves among it, is done with, at most one place for each partition. What was received and is not noted comes again to whoever gets the partition. A partition that is somebody else's by now MUST be passed over.
    async fn done(&self, places: &[TopicPlace]) -> Result<(), BackendError>;

    /// Leaves the group, what is done noted for good.
    async fn leave(&self) -> Result<(), BackendError>;

    /// What is known of the partitions that are this member's. MUST NOT wait.
    fn stats(&self) -> SubscriptionStats;
}
