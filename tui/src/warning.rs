//! What somebody should look at, as plain sentences, worst first.
mod requests;
mod work;

use openapi::{ProcessStatsBody, StatsBody};

use crate::data::Data;
use crate::format::{latency, of, rate, span};
use crate::happening::state_severity;
use crate::model::Screen;
use crate::rates::Rates;

pub use work::lag_slope;

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Severity {
    /// Not at all.
    #[default]
    Fine,
    /// Somebody should look at it.
    Warn,
    /// Somebody must look at it now.
    Severe,
}

/// A sentence, how bad it is, and the screen that shows the cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// How bad.
    pub severity: Severity,
    /// The sentence.
    pub text: String,
    /// Where to look.
    pub screen: Screen,
}

/// The stretch over which trends and failures are judged, in milliseconds: long enough that one slow second is no trend.
pub const WINDOW_MS: u64 = 10_000;

/// A pool that is full for this long makes requests wait, in milliseconds.
const FULL_MS: u64 = 3_000;

/// The share of the pool above which there is little left.
const NEARLY_FULL: f64 = 0.8;

/// A group that is fewer events behind than this is only as far behind as its last batch.
const SMALL_LAG: u64 = 10;

/// The age of the oldest due message from which its reader wonders, and from which links in it begin to be useless, in
/// seconds.
pub const MAIL_LATE: (u64, u64) = (60, 600);

/// The feed is read several times a second; this old, a logout on another node is no longer felt within a second.
pub const REVOCATIONS_STALE_MS: u64 = 2_000;

/// The time of a statement from which the server counts it as slow.
pub const SLOW_STATEMENT_MS: f64 = 100.0;

/// Statements this slow are felt by everybody.
const SEVERE_STATEMENT_MS: f64 = 1_000.0;

/// An event that takes this long from its commit to the streams is no longer live.
pub const LATE_EVENT_MS: f64 = 1_000.0;

/// An event that takes this long is behind a backlog.
const SEVERE_EVENT_MS: f64 = 10_000.0;

/// The share of the file descriptors above which a burst of connections reaches the limit.
const NEAR_LIMIT: f64 = 0.8;

/// The share of requests, statements or calls that may fail without a word.
pub const FAILED_SHARE: f64 = 0.01;

/// All warnings of the newest figures, worst first.
pub fn warnings(data: &Data) -> Vec<Warning> {
    let Some(stats) = &data.latest else { return Vec::new() };
    let mut found = Vec::new();
    health(stats, &mut found);
    requests::failed(data, &mut found);
    pool(data, stats, &mut found);
    statements(data, stats, &mut found);
    hashing(data, stats, &mut found);
    requests::shed(data, &mut found);
    work::waiting(data, stats, &mut found);
    work::published(data, stats, &mut found);
    breakers(stats, &mut found);
    work::storage(data, &mut found);
    work::lags(data, stats, &mut found);
    work::dead(stats, &mut found);
    work::failed(data, stats, &mut found);
    work::mail(stats, &mut found);
    requests::limited(data, &mut found);
    requests::tokens(data, &mut found);
    requests::files(stats, &mut found);
    revocations(stats, &mut found);
    found.sort_by_key(|warning| std::cmp::Reverse(warning.severity));
    found
}

fn warn(found: &mut Vec<Warning>, severity: Severity, screen: Screen, text: String) {
    found.push(Warning { severity, text, screen });
}

/// The kind of a backend that events are relayed to: it may be known to be away before its breaker opens.
pub const BROKER: &str = "events";

/// Dependencies, but for backends, whose breakers tell more.
fn health(stats: &StatsBody, found: &mut Vec<Warning>) {
    for dependency in &stats.health.dependencies {
        let severity = state_severity(&dependency.status);
        let backend = stats.backends.iter().find(|backend| backend.name == dependency.name);
        let told_by_its_breaker = backend.is_some_and(|backend| backend.kind != BROKER || backend.breaker != "closed");
        if severity == Severity::Fine || told_by_its_breaker {
            continue;
        }
        if backend.is_some() {
            work::broker_away(stats, &dependency.name, found);
            continue;
        }
        let reason = dependency
            .reason
            .as_deref()
            .map_or(String::new(), |reason| format!(": {reason}"));
        warn(
            found,
            severity,
            Screen::Pool,
            format!("{} is {}{reason}.", dependency.name, dependency.status),
        );
    }
}

fn breakers(stats: &StatsBody, found: &mut Vec<Warning>) {
    for backend in stats.backends.iter().filter(|backend| backend.breaker != "closed") {
        let name = &backend.name;
        let text = if backend.breaker == "open" {
            let refused = of(backend.refused, "call was", "calls were");
            format!("The breaker of {name} is open after repeated failures; {refused} refused so far.")
        } else {
            format!("The breaker of {name} lets trials through after failures.")
        };
        warn(found, state_severity(&backend.breaker), Screen::Pool, text);
    }
}

fn pool(data: &Data, stats: &StatsBody, found: &mut Vec<Warning>) {
    let max = stats.pool.max;
    if max == 0 {
        return;
    }
    let (full_for, full) = data.held(|gauges| gauges.in_use >= gauges.pool_max);
    if full > 0 {
        let severity = if full_for >= FULL_MS {
            Severity::Severe
        } else {
            Severity::Warn
        };
        let since = if full > 1 {
            format!(", for {}", span(full_for))
        } else {
            String::new()
        };
        let p99 = data.lately.as_ref().and_then(|rates| rates.statements.p99);
        let wait = p99.map_or_else(
            || "requests wait".to_owned(),
            |p99| format!("statements wait for one, p99 {p99}"),
        );
        let text = format!(
            "The pool is saturated: {} in use{since}; {wait}.",
            of(u64::from(max), "connection", "connections")
        );
        return warn(found, severity, Screen::Pool, text);
    }
    let (busy_for, _) = data.held(|gauges| f64::from(gauges.in_use) >= f64::from(gauges.pool_max) * NEARLY_FULL);
    if busy_for >= FULL_MS {
        let in_use = stats.pool.open.saturating_sub(stats.pool.idle);
        let text = format!(
            "The pool is nearly full: {in_use} of {max} connections in use, for {}.",
            span(busy_for)
        );
        warn(found, Severity::Warn, Screen::Pool, text);
    }
}

/// A full pool is told with its own sentence, and makes them slow.
fn statements(data: &Data, stats: &StatsBody, found: &mut Vec<Warning>) {
    let Some(rates) = &data.lately else { return };
    let is_full = stats.pool.max > 0 && stats.pool.open.saturating_sub(stats.pool.idle) >= stats.pool.max;
    if let Some(p99) = rates
        .statements
        .p99
        .filter(|p99| p99.reaches(SLOW_STATEMENT_MS) && !is_full)
    {
        let severity = if p99.reaches(SEVERE_STATEMENT_MS) {
            Severity::Severe
        } else {
            Severity::Warn
        };
        let text = format!(
            "Statements are slow: p99 {p99}, {} over 100 ms, though connections are free: the database itself is slow.",
            rate(rates.slow)
        );
        warn(found, severity, Screen::Pool, text);
    }
    let (failed, all) = (rates.statement_failures, rates.statements.per_second);
    if failed > 0.0 && failed >= all * FAILED_SHARE {
        let text = format!(
            "Statements of the database fail, {} of {}: the server's log tells why.",
            rate(failed),
            rate(all)
        );
        warn(found, Severity::Severe, Screen::Pool, text);
    }
}

fn hashing(data: &Data, stats: &StatsBody, found: &mut Vec<Warning>) {
    let queue = &stats.passwords;
    let shed = lately(data, |rates| rates.shed);
    if shed > 0.0 {
        let text = format!(
            "Logins are refused, {} of late: {} of {} places in the hashing queue taken.",
            rate(shed),
            queue.waiting,
            queue.capacity
        );
        warn(found, Severity::Severe, Screen::Pool, text);
    } else if queue.capacity > 0 && queue.waiting * 2 >= queue.capacity {
        let text = format!(
            "Logins wait: {} of {} places in the hashing queue taken.",
            queue.waiting, queue.capacity
        );
        warn(found, Severity::Warn, Screen::Pool, text);
    }
}

/// Told here only when health does not tell it already.
fn revocations(stats: &StatsBody, found: &mut Vec<Warning>) {
    let is_told = stats
        .health
        .dependencies
        .iter()
        .any(|other| other.name == "revocations" && other.status != "ok");
    match stats.revocations_age_ms {
        _ if is_told => {}
        Some(age) if age >= REVOCATIONS_STALE_MS => {
            let text = format!(
                "Revocations are stale: the feed was last read {} ago; a logout elsewhere is felt late.",
                latency(age as f64)
            );
            warn(found, Severity::Warn, Screen::Pool, text);
        }
        Some(_) => {}
        None => warn(
            found,
            Severity::Warn,
            Screen::Pool,
            "Revocations were never read.".to_owned(),
        ),
    }
}

/// Whether a process has few file descriptors left.
pub fn is_near_limit(process: &ProcessStatsBody) -> bool {
    process.max_files > 0 && process.open_files as f64 >= process.max_files as f64 * NEAR_LIMIT
}

/// A rate of the last seconds; zero when nothing is known.
fn lately(data: &Data, read: impl Fn(&Rates) -> f64) -> f64 {
    data.lately.as_ref().map_or(0.0, read)
}
