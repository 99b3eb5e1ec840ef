//! What the operations listener tells: health and figures. Aggregates only: no payload, no address, no user id.
//!
//! Counters go up from the start of the process. What a field's default says (nothing, zero) is also what a server of an
//! older version, which does not know the field, tells by leaving it out.
use serde::{Deserialize, Serialize};

use crate::HistogramBody;

/// The answer of `/health/live`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveBody {
    /// Always `live`.
    pub status: String,
}

/// The answer of `/health/ready`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadyBody {
    /// `ready`, `degraded` (something is away, this node still serves) or `unready` (send nothing here).
    pub status: String,
    /// Each dependency.
    pub dependencies: Vec<DependencyBody>,
}

/// How a dependency is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DependencyBody {
    /// Its name, such as `database`.
    pub name: String,
    /// `ok`, `degraded` or `down`.
    pub status: String,
    /// Why it is not `ok`, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The answer of `/ops/stats`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StatsBody {
    /// The version of the binary.
    pub version: String,
    /// The id of this process among those on the database.
    pub node: String,
    /// When the figures were read, in milliseconds since 1970.
    #[serde(default)]
    pub at_ms: u64,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// Health, as `/health/ready` tells it.
    pub health: ReadyBody,
    /// The process, as the kernel sees it.
    #[serde(default)]
    pub process: ProcessStatsBody,
    /// The runtime that its tasks run on.
    #[serde(default)]
    pub runtime: RuntimeStatsBody,
    /// Requests of the API listener since the start.
    pub http: HttpStatsBody,
    /// The database pool.
    pub pool: PoolStatsBody,
    /// The event log.
    pub log: LogStatsBody,
    /// What the workers of this process did since the start; absent without workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<WorkerStatsBody>,
    /// The mail ledger.
    pub mail: MailStatsBody,
    /// Deliveries to webhooks.
    #[serde(default)]
    pub webhooks: WebhookStatsBody,
    /// The password hashing queue.
    pub passwords: HashStatsBody,
    /// Checks of access tokens.
    #[serde(default)]
    pub tokens: TokenStatsBody,
    /// Milliseconds since the revocation feed was last read; absent before the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocations_age_ms: Option<u64>,
    /// Remote backends behind a breaker.
    pub backends: Vec<BackendStatsBody>,
    /// The brokers that events are relayed to, as this process sees them; absent when there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterStatsBody>,
    /// What this process reads from topics of other services, by handler group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subscriptions: Vec<SubscriptionStatsBody>,
}

/// Requests.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HttpStatsBody {
    /// Answered requests.
    pub requests: u64,
    /// By class of status: 1xx to 5xx.
    pub by_class: [u64; 5],
    /// The sum of the times from the head of a request to the head of its answer, in microseconds.
    pub total_micros: u64,
    /// Requests whose answer has not begun.
    #[serde(default)]
    pub in_flight: u64,
    /// Open connections.
    #[serde(default)]
    pub connections: u64,
    /// Live event streams.
    #[serde(default)]
    pub streams: u64,
    /// From the head of a request to the head of its answer, over all routes.
    #[serde(default)]
    pub latency: HistogramBody,
    /// By route, those that were asked for; what fits none is `unmatched`.
    #[serde(default)]
    pub routes: Vec<RouteStatsBody>,
}

impl HttpStatsBody {
    /// How many answers had this status.
    pub fn status(&self, status: u16) -> u64 {
        let counts = self.routes.iter().flat_map(|route| &route.statuses);
        counts
            .filter(|count| count.status == status)
            .map(|count| count.count)
            .sum()
    }
}

/// The requests of one route and method.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RouteStatsBody {
    /// The method, `OTHER` for what is none of the well-known ones.
    pub method: String,
    /// The template of the path, such as `/v1/files/{id}`.
    pub route: String,
    /// Answers by status.
    pub statuses: Vec<StatusCountBody>,
    /// From the head of a request to the head of its answer.
    pub latency: HistogramBody,
}

/// Answers with one status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusCountBody {
    /// The status.
    pub status: u16,
    /// How many.
    pub count: u64,
}

/// A process as the kernel sees it. Zero where the kernel does not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessStatsBody {
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

/// The runtime of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeStatsBody {
    /// Threads that run tasks.
    pub workers: u64,
    /// Tasks that have not ended.
    pub alive_tasks: u64,
    /// Tasks that wait for a worker in the queue that all workers share.
    pub queued_tasks: u64,
    /// The time that all workers together were busy, in microseconds.
    pub busy_micros: u64,
}

/// Checks of access tokens.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TokenStatsBody {
    /// Tokens taken.
    pub accepted: u64,
    /// Tokens refused, by the code of the answer.
    pub refused: Vec<CodeCountBody>,
    /// How long a check took.
    pub time: HistogramBody,
}

/// Refusals with one code.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeCountBody {
    /// The code of the problem.
    pub code: String,
    /// How many.
    pub count: u64,
}

/// A pool of connections.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PoolStatsBody {
    /// The most connections.
    pub max: u32,
    /// Open now.
    pub open: u32,
    /// Open and free.
    pub idle: u32,
    /// The share in use, 0 to 1.
    pub utilisation: f64,
    /// Statements that failed.
    #[serde(default)]
    pub failures: u64,
    /// Statements that took longer than a tenth of a second.
    #[serde(default)]
    pub slow: u64,
    /// How long a statement took, the wait for a connection included.
    #[serde(default)]
    pub statements: HistogramBody,
}

/// The event log.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LogStatsBody {
    /// Committed events that wait for their position.
    pub unsequenced: u64,
    /// Events with a position.
    pub head: u64,
    /// How far each group is behind.
    pub lags: Vec<LagBody>,
    /// Of events that this process made, from the call to the commit.
    #[serde(default)]
    pub append: HistogramBody,
    /// Of events from anywhere, from their time to their publication on the live streams of this process. Without an
    /// audience nothing is published: then the delays of the groups tell how fast the log is followed.
    #[serde(default)]
    pub publish: HistogramBody,
}

/// How far a group is behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LagBody {
    /// The group.
    pub group: String,
    /// Events that it has yet to pass.
    pub events: u64,
    /// Of events that it handled in this process, from their time until they were handled.
    #[serde(default)]
    pub delay: HistogramBody,
    /// Events that it failed at and tries again, and those of the same users that wait behind them.
    #[serde(default)]
    pub held: u64,
    /// Dead letters: events that it gave up.
    #[serde(default)]
    pub dead: u64,
}

/// What the workers of a process did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStatsBody {
    /// Events that got their position here.
    pub sequenced: u64,
    /// Events handled here.
    pub handled: u64,
    /// Handlings that failed here.
    pub handler_failures: u64,
    /// Messages handed over here.
    pub mails_sent: u64,
    /// Attempts that failed here.
    pub mail_failures: u64,
}

/// The mail ledger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailStatsBody {
    /// Messages that wait.
    pub queued: u64,
    /// Messages that a worker holds.
    pub sending: u64,
    /// Messages given up.
    pub dead: u64,
    /// Seconds that the oldest due message has waited.
    pub oldest_due_seconds: u64,
}

/// Deliveries to webhooks: what waits on all nodes, and what became of the attempts of this process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookStatsBody {
    /// Deliveries that wait.
    pub queued: u64,
    /// Deliveries that a worker holds.
    pub sending: u64,
    /// Deliveries given up and still kept.
    pub dead: u64,
    /// Seconds that the oldest due delivery has waited.
    pub oldest_due_seconds: u64,
    /// Attempts that succeeded.
    pub delivered: u64,
    /// Attempts that failed and are made again.
    pub retried: u64,
    /// Attempts that failed and were the last.
    pub given_up: u64,
    /// Webhooks that were disabled since nothing reached them.
    pub disabled: u64,
    /// Attempts whose lease was lost before they were recorded.
    pub lost: u64,
    /// How long an attempt took.
    pub time: HistogramBody,
}

/// The password hashing queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashStatsBody {
    /// Calls that wait.
    pub waiting: usize,
    /// Calls that may wait.
    pub capacity: usize,
    /// Calls under way.
    pub running: usize,
    /// Calls refused since the start.
    pub shed: u64,
    /// How long a call took, the wait for its turn included.
    #[serde(default)]
    pub time: HistogramBody,
}

/// A backend behind a breaker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendStatsBody {
    /// Its name, such as `files local`.
    pub name: String,
    /// What it does: `files`, `mail` or `events`.
    #[serde(default)]
    pub kind: String,
    /// `closed`, `open` or `half_open`.
    pub breaker: String,
    /// Calls since the start.
    pub calls: u64,
    /// Calls that failed.
    pub failures: u64,
    /// Calls that were refused without being made.
    pub refused: u64,
    /// The sum of the calls' times, in microseconds.
    pub total_micros: u64,
    /// The calls by operation.
    #[serde(default)]
    pub operations: Vec<OperationStatsBody>,
}

/// The calls of one operation of a backend.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationStatsBody {
    /// Its name, such as `get`.
    pub operation: String,
    /// Calls that failed.
    pub failures: u64,
    /// How long a call took. Reading ends with the first byte, writing with the last.
    pub time: HistogramBody,
}

/// A handler group that is fed from topics of other services, as this process has a part in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionStatsBody {
    /// The handler group.
    pub group: String,
    /// Events that it handled since the start.
    pub handled: u64,
    /// Events and steps that failed.
    pub failures: u64,
    /// Records received that wait to be handled.
    pub waiting: u64,
    /// Whether no more are fetched until those are fewer.
    pub paused: bool,
    /// Whether no broker is reached.
    pub away: bool,
    /// The partitions that are this process's.
    pub partitions: Vec<PartitionStatsBody>,
}

/// A partition of a topic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionStatsBody {
    /// The topic.
    pub topic: String,
    /// Its number.
    pub partition: u32,
    /// How many of its records the group is not done with; absent while nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
}

/// Brokers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStatsBody {
    /// Brokers that the cluster has told of.
    pub brokers: u32,
    /// Those of them that this process is connected to; it connects to those that it needs.
    pub brokers_up: u32,
    /// Events handed over and not acknowledged yet.
    pub queued_events: u64,
    /// Their size.
    pub queued_bytes: u64,
    /// Whether nothing can be handed over.
    pub away: bool,
}
