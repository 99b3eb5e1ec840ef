//! What somebody should look at, as plain sentences, worst first.
use openapi::StatsBody;

use crate::data::Data;
use crate::format::{count, latency, number, of, percent, rate, seconds, span};
use crate::happening::state_severity;
use crate::model::Screen;

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

/// The share of requests that may fail without a word.
const FAILED_SHARE: f64 = 0.01;

/// All warnings of the newest figures, worst first.
pub fn warnings(data: &Data) -> Vec<Warning> {
    let Some(stats) = &data.latest else { return Vec::new() };
    let mut found = Vec::new();
    health(stats, &mut found);
    failed_requests(data, &mut found);
    pool(data, stats, &mut found);
    hashing(data, stats, &mut found);
    waiting(data, stats, &mut found);
    breakers(stats, &mut found);
    lags(data, stats, &mut found);
    failed_work(data, &mut found);
    mail(stats, &mut found);
    revocations(stats, &mut found);
    found.sort_by_key(|warning| std::cmp::Reverse(warning.severity));
    found
}

fn warn(found: &mut Vec<Warning>, severity: Severity, screen: Screen, text: String) {
    found.push(Warning { severity, text, screen });
}

/// Dependencies, but for backends, whose breakers tell more.
fn health(stats: &StatsBody, found: &mut Vec<Warning>) {
    for dependency in &stats.health.dependencies {
        let severity = state_severity(&dependency.status);
        if severity == Severity::Fine || stats.backends.iter().any(|backend| backend.name == dependency.name) {
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
        let text = format!(
            "The pool is saturated: {} in use{since}; requests wait.",
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

fn hashing(data: &Data, stats: &StatsBody, found: &mut Vec<Warning>) {
    let queue = &stats.passwords;
    let shed = mean_rate(data, |rates| rates.shed);
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

/// Events are always without a position for a moment; it counts when that is more than the sequencer does in 2 seconds.
fn waiting(data: &Data, stats: &StatsBody, found: &mut Vec<Warning>) {
    let waiting = stats.log.unsequenced;
    let (since, readings) = data.held(|gauges| gauges.unsequenced > 0);
    if readings < 3 || (waiting as f64) < 2.0 * mean_rate(data, |rates| rates.events) {
        return;
    }
    let events = of(
        waiting,
        "committed event waits for its position",
        "committed events wait for their positions",
    );
    let hint = if stats.workers.is_none() {
        " This process has no workers: does one run elsewhere?"
    } else {
        ""
    };
    let severity = if since >= WINDOW_MS {
        Severity::Severe
    } else {
        Severity::Warn
    };
    warn(
        found,
        severity,
        Screen::Events,
        format!("{events}, for {} so far.{hint}", span(since)),
    );
}

fn lags(data: &Data, stats: &StatsBody, found: &mut Vec<Warning>) {
    for lag in stats.log.lags.iter().filter(|lag| lag.events >= SMALL_LAG) {
        let Some(slope) = lag_slope(data, &lag.group) else {
            continue;
        };
        let (group, behind) = (&lag.group, count(lag.events));
        if slope > 0.0 {
            let text = format!(
                "Group {group} is {behind} events behind and loses {} more a second.",
                number(slope)
            );
            warn(found, Severity::Warn, Screen::Events, text);
        } else if slope == 0.0 {
            warn(
                found,
                Severity::Warn,
                Screen::Events,
                format!("Group {group} stands still, {behind} events behind."),
            );
        }
    }
}

/// How many events a second a group falls behind, or catches up when below zero.
pub fn lag_slope(data: &Data, group: &str) -> Option<f64> {
    data.slope(WINDOW_MS, |gauges| gauges.lag(group).map(|events| events as f64))
}

fn failed_requests(data: &Data, found: &mut Vec<Warning>) {
    let requests = mean_rate(data, |rates| rates.requests);
    let failed = mean_rate(data, |rates| rates.by_class[4]);
    if requests > 0.0 && failed / requests >= FAILED_SHARE {
        let text = format!(
            "{} of the requests fail with a 5xx status, {} of late.",
            percent(failed / requests),
            rate(failed)
        );
        warn(found, Severity::Severe, Screen::Overview, text);
    }
}

fn failed_work(data: &Data, found: &mut Vec<Warning>) {
    let handlings = mean_rate(data, |rates| rates.handler_failures);
    if handlings > 0.0 {
        warn(
            found,
            Severity::Warn,
            Screen::Events,
            format!("Handlings of events fail, {} of late.", rate(handlings)),
        );
    }
    let attempts = mean_rate(data, |rates| rates.mail_failures);
    if attempts > 0.0 {
        warn(
            found,
            Severity::Warn,
            Screen::Mail,
            format!("Attempts to hand over mail fail, {} of late.", rate(attempts)),
        );
    }
}

fn mail(stats: &StatsBody, found: &mut Vec<Warning>) {
    let (dead, oldest) = (stats.mail.dead, stats.mail.oldest_due_seconds);
    if oldest >= MAIL_LATE.0 {
        let severity = if oldest >= MAIL_LATE.1 {
            Severity::Severe
        } else {
            Severity::Warn
        };
        let text = format!(
            "Mail is late: the oldest due message has waited {}; {} in the queue.",
            seconds(oldest),
            count(stats.mail.queued)
        );
        warn(found, severity, Screen::Mail, text);
    }
    if dead > 0 {
        warn(
            found,
            Severity::Warn,
            Screen::Mail,
            format!("{} given up.", of(dead, "message is", "messages are")),
        );
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

/// A rate's mean over the window; zero when nothing is known.
fn mean_rate(data: &Data, read: impl Fn(&crate::rates::Rates) -> f64) -> f64 {
    let values: Vec<f64> = data
        .recent(WINDOW_MS)
        .filter_map(|point| point.rates.as_ref().map(&read))
        .collect();
    if values.is_empty() {
        0.0
    } else {
        values.iter().sum::<f64>() / values.len() as f64
    }
}
