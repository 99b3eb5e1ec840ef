//! What the operations listener tells: health and figures. Aggregates only: no payload, no address, no user id.
use serde::{Deserialize, Serialize};

/// The answer of `/health/live`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveBody {
    /// Always `live`.
    pub status: String,
}

/// The answer of `/health/ready`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatsBody {
    /// The version of the binary.
    pub version: String,
    /// The id of this process among those on the database.
    pub node: String,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// Health, as `/health/ready` tells it.
    pub health: ReadyBody,
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
    /// The password hashing queue.
    pub passwords: HashStatsBody,
    /// Milliseconds since the revocation feed was last read; absent before the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocations_age_ms: Option<u64>,
    /// Remote backends behind a breaker.
    pub backends: Vec<BackendStatsBody>,
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
}

/// A pool of connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct PoolStatsBody {
    /// The most connections.
    pub max: u32,
    /// Open now.
    pub open: u32,
    /// Open and free.
    pub idle: u32,
    /// The share in use, 0 to 1.
    pub utilisation: f64,
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
}

/// How far a group is behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LagBody {
    /// The group.
    pub group: String,
    /// Events that it has yet to pass.
    pub events: u64,
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

/// The password hashing queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashStatsBody {
    /// Calls that wait.
    pub waiting: usize,
    /// Calls that may wait.
    pub capacity: usize,
    /// Calls under way.
    pub running: usize,
    /// Calls refused since the start.
    pub shed: u64,
}

/// A backend behind a breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendStatsBody {
    /// Its name, such as `files local`.
    pub name: String,
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
}
