//! Figures: what the services and workers count, put together when somebody asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::time::Timestamp;
use openapi::{
    BackendStatsBody, HashStatsBody, HttpStatsBody, LagBody, LogStatsBody, MailStatsBody, PoolStatsBody, StatsBody,
    WorkerStatsBody,
};
use ports::{BackendError, Clock, EventLog, MailQueue, PasswordHasher, Probe};

use super::health::Health;
use crate::http::layer::Answered;
use crate::service::gate::Gate;

/// Counts the requests of a listener.
#[derive(Debug, Default)]
pub struct HttpCounters {
    by_class: [AtomicU64; 5],
    total_micros: AtomicU64,
}

impl HttpCounters {
    /// Counts one answer.
    pub fn count(&self, answered: &Answered<'_>) {
        let class = usize::from(answered.status.as_u16() / 100).clamp(1, 5) - 1;
        self.by_class[class].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(answered.took.as_micros()).unwrap_or(u64::MAX);
        self.total_micros.fetch_add(micros, Ordering::Relaxed);
    }

    fn read(&self) -> HttpStatsBody {
        let by_class: [u64; 5] = std::array::from_fn(|class| self.by_class[class].load(Ordering::Relaxed));
        HttpStatsBody {
            requests: by_class.iter().sum(),
            by_class,
            total_micros: self.total_micros.load(Ordering::Relaxed),
        }
    }
}

/// What the figures are read from.
pub struct StatsParts {
    /// The id of this process.
    pub node: String,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// When the process started.
    pub started_at: Timestamp,
    /// Health.
    pub health: Arc<Health>,
    /// Requests.
    pub http: Arc<HttpCounters>,
    /// The pool.
    pub database: Arc<dyn Probe>,
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// The ledger.
    pub mails: Arc<dyn MailQueue>,
    /// Hashing.
    pub hasher: Arc<dyn PasswordHasher>,
    /// Revocations.
    pub gate: Arc<Gate>,
    /// What the workers of this process did, where it has any.
    pub workers: Option<Box<dyn Fn() -> WorkerStatsBody + Send + Sync>>,
    /// Backends behind a breaker.
    pub backends: Box<dyn Fn() -> Vec<BackendStatsBody> + Send + Sync>,
}

impl std::fmt::Debug for StatsParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StatsParts").finish_non_exhaustive()
    }
}

/// The figures.
pub struct Stats {
    p: StatsParts,
}

impl std::fmt::Debug for Stats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stats").finish_non_exhaustive()
    }
}

impl Stats {
    /// Figures from these parts.
    pub fn new(parts: StatsParts) -> Self {
        Self { p: parts }
    }

    /// Reads all of them. A figure whose backend is away is zero; `health` says that it is.
    pub async fn read(&self) -> StatsBody {
        let now = self.p.clock.now();
        let log = told("log", self.p.log.stats().await);
        let mails = told("mail ledger", self.p.mails.stats(now).await);
        let hash = self.p.hasher.queue();
        StatsBody {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.p.node.clone(),
            uptime_seconds: now.since(self.p.started_at).as_secs(),
            health: self.p.health.check().await,
            http: self.p.http.read(),
            pool: self.pool(),
            log: LogStatsBody {
                unsequenced: log.unsequenced,
                head: log.head,
                lags: log
                    .lags
                    .into_iter()
                    .map(|(group, events)| LagBody { group, events })
                    .collect(),
            },
            workers: self.p.workers.as_ref().map(|read| read()),
            mail: MailStatsBody {
                queued: mails.queued,
                sending: mails.sending,
                dead: mails.dead,
                oldest_due_seconds: mails.oldest_due_micros / 1_000_000,
            },
            passwords: HashStatsBody {
                waiting: hash.waiting,
                capacity: hash.capacity,
                running: hash.running,
                shed: hash.shed,
            },
            revocations_age_ms: self
                .p
                .gate
                .age()
                .map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            backends: (self.p.backends)(),
        }
    }

    fn pool(&self) -> PoolStatsBody {
        let pool = self.p.database.pool().unwrap_or_default();
        PoolStatsBody {
            max: pool.max,
            open: pool.open,
            idle: pool.idle,
            utilisation: pool.utilisation(),
        }
    }
}

fn told<T: Default>(what: &'static str, read: Result<T, BackendError>) -> T {
    read.unwrap_or_else(|error| {
        tracing::warn!(%error, what, "figures cannot be read");
        T::default()
    })
}
