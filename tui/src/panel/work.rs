//! Panels of what is done behind the requests: the log, its groups and streams, and mail.
use openapi::StatsBody;

use super::{FEW, Panel, is_some, p50, p99, speed, told, whole};
use crate::data::Data;
use crate::format::{count, rate, seconds};
use crate::rates::Rates;
use crate::warning::{LATE_EVENT_MS, MAIL_LATE};

pub(super) fn events(data: &Data, stats: &StatsBody) -> Panel {
    let panel = Panel::new(
        "Events",
        told(data.rates().map(|rates| rates.events), "ev/s"),
        data.rate(|rates| rates.events),
        rate,
    )
    .fact("to stream p99", p99(data, |rates| rates.publish))
    .line()
    .fact("waiting", count(stats.log.unsequenced))
    .fact("behind", count(behind(stats)))
    .line()
    .fact("head", count(stats.log.head));
    // Where nothing is dead there is nothing to see.
    match letters(stats) {
        0 => panel.fact("streams", count(stats.http.streams)),
        letters => panel.fact_if("dead", count(letters), true),
    }
}

/// Dead letters, of all groups.
fn letters(stats: &StatsBody) -> u64 {
    stats.log.lags.iter().map(|lag| lag.dead).sum()
}

fn behind(stats: &StatsBody) -> u64 {
    stats.log.lags.iter().map(|lag| lag.events).sum()
}

pub(super) fn written(data: &Data, stats: &StatsBody) -> Panel {
    let here = data.rates().filter(|_| stats.workers.is_some());
    Panel::new(
        "Log",
        told(data.rates().map(|rates| rates.events), "ev/s"),
        data.rate(|rates| rates.events),
        rate,
    )
    .fact("head", count(stats.log.head))
    .line()
    .fact(
        "sequenced here",
        here.map_or("-".to_owned(), |rates| rate(rates.sequenced)),
    )
}

pub(super) fn published(data: &Data) -> Panel {
    let timed = |rates: &Rates| rates.publish;
    let p99_now = data.rates().and_then(|rates| rates.publish.p99);
    Panel::of_p99("Commit to stream", data, timed)
        .bad_if(p99_now.is_some_and(|p99| p99.reaches(LATE_EVENT_MS)))
        .limit(LATE_EVENT_MS)
        .fact("p50", p50(data, timed))
        .line()
        .fact("published", speed(data, |rates| rates.publish.per_second))
}

pub(super) fn appended(data: &Data) -> Panel {
    let timed = |rates: &Rates| rates.append;
    Panel::of_p99("Call to commit", data, timed)
        .fact("p50", p50(data, timed))
        .line()
        .fact("appended here", speed(data, |rates| rates.append.per_second))
}

pub(super) fn unsequenced(data: &Data, stats: &StatsBody) -> Panel {
    let history = data.gauge(|gauges| gauges.unsequenced as f64);
    Panel::new(
        "Without a position",
        format!("{} waiting", count(stats.log.unsequenced)),
        history,
        whole,
    )
    .floor(FEW)
    .line()
    .fact("all groups behind", count(behind(stats)))
}

pub(super) fn handled(data: &Data, stats: &StatsBody) -> Panel {
    let held: u64 = stats.log.lags.iter().map(|lag| lag.held).sum();
    let Some(workers) = stats.workers else {
        return Panel::new("Handlers", "no workers here".to_owned(), Vec::new(), rate);
    };
    let panel = Panel::new(
        "Handlers",
        told(data.rates().map(|rates| rates.handled), "handled/s"),
        data.rate(|rates| rates.handled),
        rate,
    )
    .line()
    .fact("handled", count(workers.handled))
    .fact_if(
        "failed",
        count(workers.handler_failures),
        is_some(data, |rates| rates.handler_failures),
    );
    if held + letters(stats) == 0 {
        return panel;
    }
    let panel = panel.line().fact("held", count(held));
    panel.fact_if("dead", count(letters(stats)), letters(stats) > 0)
}

pub(super) fn streams(data: &Data, stats: &StatsBody) -> Panel {
    Panel::new(
        "Streams",
        format!("{} open", count(stats.http.streams)),
        data.gauge(|gauges| gauges.streams as f64),
        whole,
    )
    .floor(FEW)
}

pub(super) fn mail(data: &Data, stats: &StatsBody) -> Panel {
    let workers = data.rates().filter(|_| stats.workers.is_some());
    let done = |read: fn(&Rates) -> f64| workers.map_or("-".to_owned(), |rates| rate(read(rates)));
    Panel::new(
        "Mail",
        format!("{} queued", count(stats.mail.queued)),
        data.gauge(|gauges| gauges.mails as f64),
        whole,
    )
    .floor(FEW)
    .fact_if(
        "oldest",
        seconds(stats.mail.oldest_due_seconds),
        stats.mail.oldest_due_seconds >= MAIL_LATE.0,
    )
    .fact_if("dead", count(stats.mail.dead), stats.mail.dead > 0)
    .line()
    .fact("sent", done(|rates| rates.mails_sent))
    .fact_if(
        "failed",
        done(|rates| rates.mail_failures),
        is_some(data, |rates| rates.mail_failures),
    )
    .fact("p99", p99(data, |rates| rates.hand_over))
    .line()
    .fact("sending", count(stats.mail.sending))
}

pub(super) fn sent(data: &Data, stats: &StatsBody) -> Panel {
    let Some(workers) = stats.workers else {
        return Panel::new("Handed over", "no workers here".to_owned(), Vec::new(), rate);
    };
    Panel::new(
        "Handed over",
        told(data.rates().map(|rates| rates.mails_sent), "mails/s"),
        data.rate(|rates| rates.mails_sent),
        rate,
    )
    .line()
    .fact("since the start", count(workers.mails_sent))
}

pub(super) fn hand_over(data: &Data) -> Panel {
    let timed = |rates: &Rates| rates.hand_over;
    Panel::of_p99("Time to hand over", data, timed).fact("p50", p50(data, timed))
}

pub(super) fn attempts(data: &Data, stats: &StatsBody) -> Panel {
    let now = data.rates().map(|rates| rates.mail_failures);
    let total = stats
        .workers
        .map_or("-".to_owned(), |workers| count(workers.mail_failures));
    Panel::new(
        "Failed attempts",
        told(now, "failed/s"),
        data.rate(|rates| rates.mail_failures),
        rate,
    )
    .floor(1.0)
    .bad_if(now > Some(0.0))
    .line()
    .fact("since the start", total)
}

pub(super) fn oldest(data: &Data, stats: &StatsBody) -> Panel {
    let age = stats.mail.oldest_due_seconds;
    Panel::new(
        "Oldest due",
        format!("waits {}", seconds(age)),
        data.gauge(|gauges| gauges.oldest_due as f64),
        |value| seconds(value as u64),
    )
    .limit(MAIL_LATE.0 as f64)
    .floor(FEW)
    .bad_if(age >= MAIL_LATE.0)
}

pub(super) fn dead(data: &Data, stats: &StatsBody) -> Panel {
    Panel::new(
        "Given up",
        format!("{} dead", count(stats.mail.dead)),
        data.gauge(|gauges| gauges.dead as f64),
        whole,
    )
    .floor(FEW)
    .bad_if(stats.mail.dead > 0)
}
