//! Figures that a backend tells about itself, as operators see them.

use crate::histogram::Snapshot;

/// A pool of database connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolStats {
    /// The most connections that it may open.
    pub max: u32,
    /// Connections open now.
    pub open: u32,
    /// Connections open and free.
    pub idle: u32,
}

impl PoolStats {
    /// The share of the pool in use, 0 to 1.
    pub fn utilisation(&self) -> f64 {
        if self.max == 0 {
            0.0
        } else {
            (f64::from(self.open.saturating_sub(self.idle)) / f64::from(self.max)).min(1.0)
        }
    }
}

/// The statements of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementStats {
    /// Statements that failed.
    pub failures: u64,
    /// Statements that took longer than a tenth of a second.
    pub slow: u64,
    /// How long a statement took, the wait for a connection included.
    pub time: Snapshot,
}

/// A process as the kernel sees it. Zero where the kernel does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProcessStats {
    /// Bytes of memory that are resident.
    pub resident_bytes: u64,
    /// Bytes of address space.
    pub virtual_bytes: u64,
    /// Time on a core, user and system together, in microseconds.
    pub cpu_micros: u64,
    /// Threads.
    pub threads: u64,
    /// Open file descriptors.
    pub open_files: u64,
    /// The most file descriptors that it may open.
    pub max_files: u64,
    /// When it started, in milliseconds since 1970.
    pub started_at_ms: u64,
}

/// The log and what follows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogStats {
    /// Events committed and not yet given a position.
    pub unsequenced: u64,
    /// All positions given, over all shards.
    pub head: u64,
    /// For each cursor group, how many events it has yet to pass.
    pub lags: Vec<(String, u64)>,
    /// What groups hold and gave up; no entry for a group that does neither.
    pub holds: Vec<GroupHolds>,
}

/// Events that a handler group has passed without having handled them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct GroupHolds {
    /// The group.
    pub group: String,
    /// Events that are tried again, and those of the same users behind them.
    pub held: u64,
    /// Dead letters: events that were given up.
    pub dead: u64,
}

/// A cluster of brokers, as the client of this process sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClusterStats {
    /// Brokers that the cluster has told of.
    pub brokers: u32,
    /// Those of them that are connected. A client connects to those that it needs.
    pub brokers_up: u32,
    /// Events handed over and not acknowledged yet.
    pub queued_events: u64,
    /// Their size.
    pub queued_bytes: u64,
    /// Whether nothing can be handed over: no broker is reached, or those that are take nothing.
    pub away: bool,
}

/// The topic of events, as the cluster describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TopicStats {
    /// Brokers of the cluster.
    pub brokers: u32,
    /// Partitions of the topic.
    pub partitions: u32,
    /// Replicas of the partition that has the fewest.
    pub replicas: u32,
    /// Replicas in sync of the partition that has the fewest.
    pub in_sync: u32,
    /// Partitions that have no leader: nothing can be written to them or read from them.
    pub leaderless: u32,
}

/// A member of a group that shares the partitions of topics, as this process sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubscriptionStats {
    /// The partitions that are this member's.
    pub partitions: Vec<PartitionStats>,
    /// Records received that wait to be handled.
    pub waiting: u64,
    /// Whether no more are fetched until those are fewer.
    pub paused: bool,
    /// Whether no broker is reached.
    pub away: bool,
}

/// A partition of which records are received.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct PartitionStats {
    /// The topic.
    pub topic: String,
    /// Its number.
    pub partition: u32,
    /// How many of its records the group is not done with; none while nobody knows.
    pub lag: Option<u64>,
}

/// The mail ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MailStats {
    /// Messages that wait.
    pub queued: u64,
    /// Messages that a worker holds.
    pub sending: u64,
    /// Messages given up.
    pub dead: u64,
    /// How long the oldest due message has waited, in microseconds.
    pub oldest_due_micros: u64,
}

/// Deliveries to webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WebhookStats {
    /// Deliveries that wait.
    pub queued: u64,
    /// Deliveries that a worker holds.
    pub sending: u64,
    /// Deliveries given up and not yet pruned.
    pub dead: u64,
    /// How long the oldest due delivery has waited, in microseconds.
    pub oldest_due_micros: u64,
}
