//! Panels of this process: its requests, its pool, its tokens, and what it takes of the machine.
use openapi::{DependencyBody, HashStatsBody, StatsBody};

use super::{FEW, Panel, is_some, p50, p99, rates_told, share, speed, told, whole};
use crate::data::Data;
use crate::format::{bytes, count, latency, latency_of, percent, rate};
use crate::rates::Rates;
use crate::warning::{REVOCATIONS_STALE_MS, SLOW_STATEMENT_MS, Severity, is_near_limit};

/// A tenth of a core is nothing to look at.
const A_TENTH: f64 = 0.1;

pub(super) fn http(data: &Data, stats: &StatsBody) -> Panel {
    let failed = data.rates().map(|rates| rates.share(5));
    let panel = Panel::new(
        "HTTP",
        told(data.rates().map(|rates| rates.requests), "req/s"),
        data.rate(|rates| rates.requests),
        rate,
    );
    // A server of an older version tells the mean alone.
    let panel = if data.is_of_older() {
        panel.fact("mean", latency_of(data.rates().and_then(|rates| rates.mean_ms)))
    } else {
        let timed = |rates: &Rates| rates.latency;
        panel.fact("p50", p50(data, timed)).fact("p99", p99(data, timed))
    };
    panel
        .line()
        .fact_if(
            "5xx",
            failed.map_or_else(|| "-".to_owned(), percent),
            is_some(data, |rates| rates.by_class[4]),
        )
        .fact_if(
            "503",
            share(data, |rates| rates.share_of(rates.unavailable)),
            is_some(data, |rates| rates.unavailable),
        )
        .fact("429", share(data, |rates| rates.share_of(rates.limited)))
        .line()
        .fact("401", share(data, |rates| rates.share_of(rates.unauthorised)))
        .fact("in flight", count(stats.http.in_flight))
}

pub(super) fn in_use(data: &Data, stats: &StatsBody) -> Panel {
    let (in_use, max) = (stats.pool.open.saturating_sub(stats.pool.idle), stats.pool.max);
    let severity = match f64::from(in_use) / f64::from(max.max(1)) {
        share if share >= 1.0 => Severity::Severe,
        share if share >= 0.8 => Severity::Warn,
        _ => Severity::Fine,
    };
    let history = data.gauge(|gauges| f64::from(gauges.in_use));
    Panel::new(
        "Pool",
        format!("{} of {} in use", count(in_use.into()), count(max.into())),
        history,
        whole,
    )
    .limit(f64::from(max))
    .floor(f64::from(max))
    .bad(severity)
}

pub(super) fn pool(data: &Data, stats: &StatsBody) -> Panel {
    let timed = |rates: &Rates| rates.statements;
    in_use(data, stats)
        .fact("p99", p99(data, timed))
        .line()
        .fact("statements", speed(data, |rates| rates.statements.per_second))
        .fact("p50", p50(data, timed))
        .line()
        .fact_if(
            "slow",
            speed(data, |rates| rates.slow),
            is_some(data, |rates| rates.slow),
        )
        .fact_if(
            "failed",
            speed(data, |rates| rates.statement_failures),
            is_some(data, |rates| rates.statement_failures),
        )
        .fact("idle", count(stats.pool.idle.into()))
}

pub(super) fn connections(data: &Data, stats: &StatsBody) -> Panel {
    in_use(data, stats)
        .fact("busy", percent(stats.pool.utilisation))
        .line()
        .fact("open", count(stats.pool.open.into()))
        .fact("idle", count(stats.pool.idle.into()))
        .fact("most", count(stats.pool.max.into()))
}

pub(super) fn statements(data: &Data, stats: &StatsBody) -> Panel {
    let timed = |rates: &Rates| rates.statements;
    let p99_now = data.rates().and_then(|rates| rates.statements.p99);
    Panel::of_p99("Statements", data, timed)
        .bad_if(p99_now.is_some_and(|p99| p99.reaches(SLOW_STATEMENT_MS)))
        .limit(SLOW_STATEMENT_MS)
        .fact("p50", p50(data, timed))
        .fact("", speed(data, |rates| rates.statements.per_second))
        .line()
        .fact_if("slow", count(stats.pool.slow), is_some(data, |rates| rates.slow))
        .fact_if(
            "failed",
            count(stats.pool.failures),
            is_some(data, |rates| rates.statement_failures),
        )
}

/// What waits in this process, or is about to.
pub(super) fn waiting_here(data: &Data, stats: &StatsBody) -> Panel {
    let runtime = &stats.runtime;
    Panel::new(
        "Under way",
        format!("{} in flight", count(stats.http.in_flight)),
        data.gauge(|gauges| gauges.in_flight as f64),
        whole,
    )
    .floor(FEW)
    .line()
    .fact("tasks", count(runtime.alive_tasks))
    .fact("queued", count(runtime.queued_tasks))
    .fact("busy", share(data, |rates| rates.busy))
}

fn places(queue: &HashStatsBody) -> String {
    format!("{} of {}", count(queue.waiting as u64), count(queue.capacity as u64))
}

fn is_crowded(queue: &HashStatsBody) -> bool {
    queue.waiting * 2 >= queue.capacity.max(1)
}

pub(super) fn hashing(data: &Data, stats: &StatsBody) -> Panel {
    let queue = &stats.passwords;
    let is_shedding = is_some(data, |rates| rates.shed);
    let timed = |rates: &Rates| rates.hashing;
    Panel::new(
        "Password hashing",
        format!("{} running", queue.running),
        data.gauge(|gauges| gauges.hashings as f64),
        whole,
    )
    .bad(if is_shedding { Severity::Severe } else { Severity::Fine })
    .limit((queue.capacity + queue.running) as f64)
    .floor(FEW)
    .fact("p50", p50(data, timed))
    .fact("p99", p99(data, timed))
    .line()
    .fact_if("waiting", places(queue), is_crowded(queue))
    .fact_if("refused", count(queue.shed), is_shedding)
}

pub(super) fn tokens(data: &Data, stats: &StatsBody) -> Panel {
    let age = stats.revocations_age_ms.map(|age| age as f64);
    token_checks(data).line().fact_if(
        "revocations read",
        age.map_or("never".to_owned(), |age| format!("{} ago", latency(age))),
        age.is_none_or(|age| age >= REVOCATIONS_STALE_MS as f64),
    )
}

/// Without the feed of revocations, where that has a panel of its own.
pub(super) fn token_checks(data: &Data) -> Panel {
    let timed = |rates: &Rates| rates.tokens;
    Panel::new(
        "Tokens",
        told(rates_told(data).map(|rates| rates.tokens.per_second), "checks/s"),
        data.rate(|rates| rates.tokens.per_second),
        rate,
    )
    .fact("p99", p99(data, timed))
    .line()
    .fact("refused", share(data, Rates::refused_share))
    .fact("p50", p50(data, timed))
}

pub(super) fn revocations(data: &Data, stats: &StatsBody) -> Panel {
    let head = stats.revocations_age_ms.map_or("never read".to_owned(), |age| {
        format!("read {} ago", latency(age as f64))
    });
    let is_stale = stats.revocations_age_ms.is_none_or(|age| age >= REVOCATIONS_STALE_MS);
    let is_degraded = |other: &DependencyBody| other.name == "revocations" && other.status != "ok";
    let is_stale = is_stale || stats.health.dependencies.iter().any(is_degraded);
    let age = |gauges: &crate::data::Gauges| gauges.revocations_age.unwrap_or_default() as f64;
    Panel::new("Revocations", head, data.gauge(age), latency)
        .limit(REVOCATIONS_STALE_MS as f64)
        .floor(REVOCATIONS_STALE_MS as f64 / 2.0)
        .bad_if(is_stale)
}

/// The process, as far as the server's kernel tells.
pub(super) fn process(data: &Data, stats: &StatsBody) -> Panel {
    let process = &stats.process;
    let known = |text: String| if process.threads == 0 { "-".to_owned() } else { text };
    Panel::new(
        "Process",
        format!("{} cpu", known(share(data, |rates| rates.cpu))),
        data.rate(|rates| rates.cpu),
        percent,
    )
    .floor(A_TENTH)
    .fact("memory", known(bytes(process.resident_bytes)))
    .line()
    .fact_if(
        "fds",
        known(format!("{} of {}", count(process.open_files), count(process.max_files))),
        is_near_limit(process),
    )
    .fact("threads", known(count(process.threads)))
    .line()
    .fact("connections", count(stats.http.connections))
    .fact("tasks", count(stats.runtime.alive_tasks))
}
