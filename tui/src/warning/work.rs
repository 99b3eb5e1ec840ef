//! Trouble with what is done behind the requests: events, groups, files and mail.
use openapi::{BackendStatsBody, LagBody, StatsBody};

use super::{
    FAILED_SHARE, LATE_EVENT_MS, MAIL_LATE, SEVERE_EVENT_MS, SMALL_LAG, Severity, WINDOW_MS, Warning, lately, warn,
};
use crate::data::{Data, Gauges, lags_of};
use crate::format::{count, number, of, rate, seconds, span};
use crate::model::Screen;
use crate::rates::is_mail;

/// Events are always without a position for a moment; it counts when that is more than the sequencer does in 2 seconds.
pub(super) fn waiting(data: &Data, stats: &StatsBody, found: &mut Vec<Warning>) {
    let waiting = stats.log.unsequenced;
    let (since, readings) = data.held(|gauges| gauges.unsequenced > 0);
    if readings < 3 || (waiting as f64) < 2.0 * lately(data, |rates| rates.events) {
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

/// Of events that wait for a position another sentence tells.
pub(super) fn published(data: &Data, stats: &StatsBody, found: &mut Vec<Warning>) {
    let p99 = data.lately.as_ref().and_then(|rates| rates.publish.p99);
    let Some(p99) = p99.filter(|p99| p99.reaches(LATE_EVENT_MS)) else {
        return;
    };
    let severity = if p99.reaches(SEVERE_EVENT_MS) {
        Severity::Severe
    } else {
        Severity::Warn
    };
    // Some are always without one for a moment.
    let waiting = stats.log.unsequenced;
    let cause = if waiting as f64 > lately(data, |rates| rates.events) {
        format!("{} without a position", of(waiting, "event is", "events are"))
    } else {
        "this process reads the log late".to_owned()
    };
    let text = format!("Events reach the streams late: p99 {p99} after their commit; {cause}.");
    warn(found, severity, Screen::Events, text);
}

/// A group that keeps pace is always some events behind, the more the more there are; it counts when it stands still, or when
/// it falls back and what it is behind is more than two seconds of the log.
pub(super) fn lags(data: &Data, stats: &StatsBody, found: &mut Vec<Warning>) {
    let two_seconds = 2.0 * lately(data, |rates| rates.events);
    for (group, events) in lags_of(stats).iter().filter(|(_, events)| *events >= SMALL_LAG) {
        let behind = count(*events);
        let passed = |gauges: &Gauges| gauges.lag(group).map(|events| gauges.head as f64 - events as f64);
        let (Some(slope), Some(speed)) = (lag_slope(data, group), data.slope(WINDOW_MS, passed)) else {
            continue;
        };
        let text = if speed == 0.0 {
            format!("Group {group} stands still, {behind} events behind.")
        } else if slope > 0.0 && *events as f64 >= two_seconds {
            format!(
                "Group {group} is {behind} events behind and loses {} more a second.",
                number(slope)
            )
        } else {
            continue;
        };
        warn(found, Severity::Warn, Screen::Events, text);
    }
}

/// Events that were given up stay so until somebody looks.
pub(super) fn dead(stats: &StatsBody, found: &mut Vec<Warning>) {
    let groups: Vec<&LagBody> = stats.log.lags.iter().filter(|lag| lag.dead > 0).collect();
    if groups.is_empty() {
        return;
    }
    let letters = of(
        groups.iter().map(|lag| lag.dead).sum(),
        "dead letter waits",
        "dead letters wait",
    );
    let each: Vec<String> = groups
        .iter()
        .map(|lag| format!("{} {}", lag.group, count(lag.dead)))
        .collect();
    let text = format!(
        "{letters} for somebody to look, `plinth events dead list`: {}.",
        each.join(", ")
    );
    warn(found, Severity::Warn, Screen::Events, text);
}

/// How many events a second a group falls behind, or catches up when below zero.
pub fn lag_slope(data: &Data, group: &str) -> Option<f64> {
    data.slope(WINDOW_MS, |gauges| gauges.lag(group).map(|events| events as f64))
}

/// Calls of files that fail while their breaker is closed. Once it is open that tells it, and mail has its own sentence.
pub(super) fn storage(data: &Data, found: &mut Vec<Warning>) {
    let failing = data.operations.iter().filter(|operation| {
        let is_told = is_mail(&operation.backend) || operation.breaker != "closed";
        let few = operation.timed.per_second * FAILED_SHARE;
        !is_told && operation.failures > 0.0 && operation.failures >= few
    });
    for operation in failing {
        let calls = operation.operation.as_deref().unwrap_or("call");
        let text = format!(
            "Storage fails: {calls} of {}, {} of {}; its breaker opens when that goes on.",
            operation.backend,
            rate(operation.failures),
            rate(operation.timed.per_second)
        );
        warn(found, Severity::Warn, Screen::Pool, text);
    }
}

pub(super) fn failed(data: &Data, stats: &StatsBody, found: &mut Vec<Warning>) {
    let handlings = lately(data, |rates| rates.handler_failures);
    if handlings > 0.0 {
        warn(
            found,
            Severity::Warn,
            Screen::Events,
            format!("Handlings of events fail, {} of late.", rate(handlings)),
        );
    }
    let attempts = lately(data, |rates| rates.mail_failures);
    // Between two attempts at the same message are longer and longer waits, in which nothing fails and nothing is better.
    let waiting = stats.mail.queued + stats.mail.sending;
    // An open breaker has its own sentence.
    let is_told = |backend: &BackendStatsBody| is_mail(&backend.name) && backend.breaker != "closed";
    let is_told = stats.backends.iter().any(is_told);
    let text = if attempts > 0.0 {
        format!("Attempts to hand over mail fail, {} of late.", rate(attempts))
    } else if let Some(ago) = data.mail_fails_since().filter(|_| waiting > 0 && !is_told) {
        format!(
            "Attempts to hand over mail fail: the last one {} ago, none succeeded since; {}.",
            span(ago),
            of(waiting, "message waits", "messages wait")
        )
    } else {
        return;
    };
    warn(found, Severity::Warn, Screen::Mail, text);
}

/// The broker is away, and what that means: events wait for it, and for it alone.
pub(super) fn broker_away(stats: &StatsBody, name: &str, found: &mut Vec<Warning>) {
    let waiting = stats.log.lags.iter().find(|lag| lag.group == name);
    let waiting = waiting.map_or(0, |lag| lag.events);
    let text = format!(
        "{name} is not reached, or takes nothing; {} for it. Streams and handlers go on.",
        of(waiting, "event waits", "events wait")
    );
    warn(found, Severity::Warn, Screen::Events, text);
}

pub(super) fn mail(stats: &StatsBody, found: &mut Vec<Warning>) {
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
