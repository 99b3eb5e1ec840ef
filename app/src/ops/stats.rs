//! Figures: what the services and workers count, put together when somebody asks.

use std::sync::Arc;
use std::time::Duration;

use domain::stats::{ClusterStats, LogStats, MailStats, ProcessStats, WebhookStats};
use domain::time::Timestamp;
use openapi::{
    BackendStatsBody, ClusterStatsBody, HashStatsBody, HistogramBody, LagBody, LogStatsBody, MailStatsBody,
    PoolStatsBody, ProcessStatsBody, RuntimeStatsBody, StatsBody, WebhookStatsBody,
};
use ports::{BackendError, Clock, EventLog, MailQueue, PasswordHasher, Probe, WebhookQueue};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::PROBE_TIMEOUT;
use super::health::Health;
use super::http::HttpCounters;
use super::measured::MeasuredEventStore;
use crate::http::auth::TokenMeter;
use crate::service::events::Events;
use crate::service::gate::Gate;
use crate::service::webhooks::Webhooks;
use crate::start::Workers;
use crate::worker::WorkCounters;

/// How long figures serve for whoever asks next: watchers are told the same, and however many there are cost the database
/// one reading.
const FRESH: Duration = Duration::from_millis(150);

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
    /// Checks of tokens.
    pub tokens: Arc<TokenMeter>,
    /// The pool and its statements.
    pub database: Arc<dyn Probe>,
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// The writing of events.
    pub appended: Arc<MeasuredEventStore>,
    /// The live streams.
    pub events: Arc<Events>,
    /// The ledger.
    pub mails: Arc<dyn MailQueue>,
    /// Deliveries to webhooks.
    pub webhooks: Arc<dyn WebhookQueue>,
    /// What this process sent of them.
    pub sent_webhooks: Arc<Webhooks>,
    /// Hashing.
    pub hasher: Arc<dyn PasswordHasher>,
    /// Revocations.
    pub gate: Arc<Gate>,
    /// What follows the log for live streams, in a process that serves them.
    pub tailer: Option<Arc<WorkCounters>>,
    /// What the workers of this process did, where it has any.
    pub workers: Option<Workers>,
    /// The broker, where there is one.
    pub broker: Option<Arc<dyn Probe>>,
    /// Backends behind a breaker.
    pub backends: Vec<Arc<dyn Fn() -> BackendStatsBody + Send + Sync>>,
    /// The process, as the kernel sees it.
    pub process: Arc<dyn Fn() -> ProcessStats + Send + Sync>,
}

impl std::fmt::Debug for StatsParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StatsParts").finish_non_exhaustive()
    }
}

/// What was read at one time.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The figures.
    pub body: StatsBody,
    /// Whether the figures of the log are known; they are zero otherwise.
    pub log_known: bool,
    /// Whether the figures of the mail ledger are known; they are zero otherwise.
    pub mail_known: bool,
    /// Whether the figures of the deliveries to webhooks are known; they are zero otherwise.
    pub webhooks_known: bool,
}

/// The figures.
pub struct Stats {
    p: StatsParts,
    last: Mutex<Option<(Instant, Arc<Reading>)>>,
}

impl std::fmt::Debug for Stats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stats").finish_non_exhaustive()
    }
}

impl Stats {
    /// Figures from these parts.
    pub fn new(parts: StatsParts) -> Self {
        Self {
            p: parts,
            last: Mutex::new(None),
        }
    }

    /// All of them, read now or just before. A figure whose backend is away is zero; `health` says that it is. A backend
    /// that does not answer holds nobody up for longer than two seconds.
    pub async fn read(&self) -> Arc<Reading> {
        // Held while reading, so that all who ask meanwhile get what the first one reads.
        let mut last = self.last.lock().await;
        if let Some((at, reading)) = &*last
            && at.elapsed() < FRESH
        {
            return Arc::clone(reading);
        }
        let reading = Arc::new(self.read_now().await);
        *last = Some((Instant::now(), Arc::clone(&reading)));
        reading
    }

    async fn read_now(&self) -> Reading {
        let now = self.p.clock.now();
        // First, since the questions below take connections themselves.
        let pool = self.pool();
        let (log, mails, webhooks, health) = tokio::join!(
            told("log", self.p.log.stats()),
            told("mail ledger", self.p.mails.stats(now)),
            told("webhook deliveries", self.p.webhooks.stats(now)),
            self.p.health.check(),
        );
        let (log_known, mail_known, webhooks_known) = (log.is_some(), mails.is_some(), webhooks.is_some());
        let gate_age = self.p.gate.age();
        let body = StatsBody {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.p.node.clone(),
            at_ms: u64::try_from(now.micros() / 1_000).unwrap_or(0),
            uptime_seconds: now.since(self.p.started_at).as_secs(),
            health,
            process: process((self.p.process)()),
            runtime: runtime(),
            http: self.p.http.read(self.p.events.streams()),
            pool,
            log: self.log(log.unwrap_or_default()),
            workers: self.p.workers.as_ref().map(Workers::read),
            mail: mail(mails.unwrap_or_default()),
            webhooks: self.webhooks(webhooks.unwrap_or_default()),
            passwords: self.passwords(),
            tokens: self.p.tokens.read(),
            revocations_age_ms: gate_age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            backends: self.p.backends.iter().map(|read| read()).collect(),
            cluster: self.p.broker.as_ref().and_then(|broker| broker.cluster()).map(cluster),
            subscriptions: self.p.workers.as_ref().map(Workers::subscriptions).unwrap_or_default(),
        };
        Reading {
            body,
            log_known,
            mail_known,
            webhooks_known,
        }
    }

    fn pool(&self) -> PoolStatsBody {
        let pool = self.p.database.pool().unwrap_or_default();
        let mut body = PoolStatsBody {
            max: pool.max,
            open: pool.open,
            idle: pool.idle,
            utilisation: pool.utilisation(),
            ..PoolStatsBody::default()
        };
        if let Some(statements) = self.p.database.statements() {
            body.failures = statements.failures;
            body.slow = statements.slow;
            body.statements = statements.time.into();
        }
        body
    }

    fn log(&self, log: LogStats) -> LogStatsBody {
        let workers = self.p.workers.as_ref();
        let delay = |group: &str| workers.and_then(|workers| workers.delays_of(group));
        let holds = log.holds;
        let lag = |(group, events): (String, u64)| {
            let holds = holds.iter().find(|holds| holds.group == group);
            LagBody {
                delay: delay(&group).map(HistogramBody::from).unwrap_or_default(),
                held: holds.map_or(0, |holds| holds.held),
                dead: holds.map_or(0, |holds| holds.dead),
                group,
                events,
            }
        };
        let published = self.p.tailer.as_ref().map(|tailer| tailer.delays());
        LogStatsBody {
            unsequenced: log.unsequenced,
            head: log.head,
            lags: log.lags.into_iter().map(lag).collect(),
            append: self.p.appended.appended().into(),
            publish: published.map(HistogramBody::from).unwrap_or_default(),
        }
    }

    fn webhooks(&self, waiting: WebhookStats) -> WebhookStatsBody {
        let sent = self.p.sent_webhooks.counts();
        WebhookStatsBody {
            queued: waiting.queued,
            sending: waiting.sending,
            dead: waiting.dead,
            oldest_due_seconds: waiting.oldest_due_micros / 1_000_000,
            delivered: sent.delivered,
            retried: sent.retried,
            given_up: sent.dead,
            disabled: sent.disabled,
            lost: sent.lost,
            time: sent.time.into(),
        }
    }

    fn passwords(&self) -> HashStatsBody {
        let hash = self.p.hasher.queue();
        HashStatsBody {
            waiting: hash.waiting,
            capacity: hash.capacity,
            running: hash.running,
            shed: hash.shed,
            time: hash.time.into(),
        }
    }
}

fn cluster(stats: ClusterStats) -> ClusterStatsBody {
    ClusterStatsBody {
        brokers: stats.brokers,
        brokers_up: stats.brokers_up,
        queued_events: stats.queued_events,
        queued_bytes: stats.queued_bytes,
        away: stats.away,
    }
}

fn mail(mails: MailStats) -> MailStatsBody {
    MailStatsBody {
        queued: mails.queued,
        sending: mails.sending,
        dead: mails.dead,
        oldest_due_seconds: mails.oldest_due_micros / 1_000_000,
    }
}

fn process(stats: ProcessStats) -> ProcessStatsBody {
    ProcessStatsBody {
        resident_bytes: stats.resident_bytes,
        virtual_bytes: stats.virtual_bytes,
        cpu_micros: stats.cpu_micros,
        threads: stats.threads,
        open_files: stats.open_files,
        max_files: stats.max_files,
        started_at_ms: stats.started_at_ms,
    }
}

fn runtime() -> RuntimeStatsBody {
    let metrics = tokio::runtime::Handle::current().metrics();
    let workers = metrics.num_workers();
    let busy: Duration = (0..workers)
        .map(|worker| metrics.worker_total_busy_duration(worker))
        .sum();
    RuntimeStatsBody {
        workers: workers as u64,
        alive_tasks: metrics.num_alive_tasks() as u64,
        queued_tasks: metrics.global_queue_depth() as u64,
        busy_micros: u64::try_from(busy.as_micros()).unwrap_or(u64::MAX),
    }
}

async fn told<T>(what: &'static str, read: impl Future<Output = Result<T, BackendError>>) -> Option<T> {
    match tokio::time::timeout(PROBE_TIMEOUT, read).await {
        Ok(Ok(figures)) => Some(figures),
        Ok(Err(error)) => {
            tracing::warn!(%error, what, "figures cannot be read");
            None
        }
        Err(_) => {
            tracing::warn!(what, "figures are not read in time");
            None
        }
    }
}
