//! What each panel says: one headline, some facts, one history. Made once, for wide, narrow and plain output alike.
use openapi::StatsBody;

use crate::data::Data;
use crate::format::{count, latency, number, percent, rate, seconds};
use crate::model::Screen;
use crate::warning::{MAIL_LATE, REVOCATIONS_STALE_MS, Severity};

/// So many of something waiting are nothing to look at.
const FEW: f64 = 10.0;

/// A figure with its name.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// What it is.
    pub label: &'static str,
    /// How much.
    pub value: String,
    /// How bad that is.
    pub severity: Severity,
}

/// A panel.
#[derive(Debug, Clone)]
pub struct Panel {
    /// Its name.
    pub title: &'static str,
    /// The screen that tells more, on the overview.
    pub screen: Option<Screen>,
    /// What matters most.
    pub head: String,
    /// How bad that is.
    pub severity: Severity,
    /// The rest.
    pub facts: Vec<Fact>,
    /// The history of the headline.
    pub history: Vec<Option<f64>>,
    /// Where the history becomes trouble, where there is such a figure.
    pub limit: Option<f64>,
    /// The least height of the chart: a few of something are no wall.
    pub floor: f64,
    /// How a value of the history is told.
    pub tell: fn(f64) -> String,
}

impl Panel {
    fn new(title: &'static str, head: String, history: Vec<Option<f64>>, tell: fn(f64) -> String) -> Self {
        Self {
            title,
            screen: None,
            head,
            severity: Severity::Fine,
            facts: Vec::new(),
            history,
            limit: None,
            floor: 0.0,
            tell,
        }
    }

    fn fact(mut self, label: &'static str, value: impl Into<String>) -> Self {
        self.facts.push(Fact {
            label,
            value: value.into(),
            severity: Severity::Fine,
        });
        self
    }

    /// A fact that is bad when it is so.
    fn fact_if(mut self, label: &'static str, value: impl Into<String>, is_bad: bool) -> Self {
        let severity = if is_bad { Severity::Warn } else { Severity::Fine };
        self.facts.push(Fact {
            label,
            value: value.into(),
            severity,
        });
        self
    }

    fn more(mut self, screen: Screen) -> Self {
        self.screen = Some(screen);
        self
    }

    fn limit(mut self, limit: f64) -> Self {
        self.limit = (limit > 0.0).then_some(limit);
        self
    }

    fn floor(mut self, floor: f64) -> Self {
        self.floor = floor;
        self
    }

    fn bad(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// The greatest value of the last so many readings; zero without any.
    pub fn peak(&self, readings: usize) -> f64 {
        let skipped = self.history.len().saturating_sub(readings);
        self.history[skipped..].iter().flatten().copied().fold(0.0, f64::max)
    }
}

/// The panels of a screen; none before the first figures.
pub fn panels(data: &Data, screen: Screen) -> Vec<Panel> {
    let Some(stats) = &data.latest else { return Vec::new() };
    match screen {
        Screen::Overview => vec![
            http(data, stats),
            pool(data, stats).more(Screen::Pool),
            events(data, stats).more(Screen::Events),
            mail(data, stats).more(Screen::Mail),
            hashing(data, stats).more(Screen::Pool),
            revocations(data, stats).more(Screen::Pool),
        ],
        Screen::Pool => vec![pool(data, stats), hashing(data, stats), revocations(data, stats)],
        Screen::Events => vec![written(data, stats), waiting(data, stats), handled(data, stats)],
        Screen::Mail => vec![
            mail(data, stats),
            sent(data, stats),
            attempts(data),
            oldest(data, stats),
        ],
    }
}

fn told(rate_now: Option<f64>, unit: &str) -> String {
    rate_now.map_or_else(|| format!("- {unit}"), |value| format!("{} {unit}", number(value)))
}

fn whole(value: f64) -> String {
    count(value.round() as u64)
}

fn http(data: &Data, stats: &StatsBody) -> Panel {
    let rates = data.rates();
    let share = |class: usize| rates.map_or(0.0, |rates| rates.share(class));
    Panel::new(
        "HTTP",
        told(rates.map(|rates| rates.requests), "req/s"),
        data.rate(|rates| rates.requests),
        rate,
    )
    .fact(
        "mean",
        rates.and_then(|rates| rates.mean_ms).map_or("-".to_owned(), latency),
    )
    .fact_if("5xx", percent(share(5)), share(5) > 0.0)
    .fact("4xx", percent(share(4)))
    .fact("total", count(stats.http.requests))
}

fn pool(data: &Data, stats: &StatsBody) -> Panel {
    let (in_use, max) = (stats.pool.open.saturating_sub(stats.pool.idle), stats.pool.max);
    let severity = match f64::from(in_use) / f64::from(max.max(1)) {
        share if share >= 1.0 => Severity::Severe,
        share if share >= 0.8 => Severity::Warn,
        _ => Severity::Fine,
    };
    let history = data.gauge(|gauges| f64::from(gauges.in_use));
    Panel::new("Pool", format!("{in_use} of {max} in use"), history, whole)
        .limit(f64::from(max))
        .bad(severity)
        .fact("idle", stats.pool.idle.to_string())
        .fact("open", stats.pool.open.to_string())
        .fact("utilisation", percent(stats.pool.utilisation))
}

fn hashing(data: &Data, stats: &StatsBody) -> Panel {
    let queue = &stats.passwords;
    let shed_now = data.rates().map_or(0.0, |rates| rates.shed);
    let severity = if shed_now > 0.0 {
        Severity::Severe
    } else {
        Severity::Fine
    };
    Panel::new(
        "Password hashing",
        format!("{} running", queue.running),
        data.gauge(|gauges| gauges.hashings as f64),
        whole,
    )
    .bad(severity)
    .limit((queue.capacity + queue.running) as f64)
    .fact_if(
        "waiting",
        format!("{} of {}", queue.waiting, queue.capacity),
        queue.waiting * 2 >= queue.capacity.max(1),
    )
    .fact_if("refused", count(queue.shed), shed_now > 0.0)
}

fn revocations(data: &Data, stats: &StatsBody) -> Panel {
    let head = stats.revocations_age_ms.map_or("never read".to_owned(), |age| {
        format!("read {} ago", latency(age as f64))
    });
    let is_stale = stats
        .health
        .dependencies
        .iter()
        .any(|other| other.name == "revocations" && other.status != "ok");
    Panel::new(
        "Revocations",
        head,
        data.gauge(|gauges| gauges.revocations_age.unwrap_or_default() as f64),
        latency,
    )
    .limit(REVOCATIONS_STALE_MS as f64)
    .bad(if is_stale { Severity::Warn } else { Severity::Fine })
}

fn events(data: &Data, stats: &StatsBody) -> Panel {
    Panel::new(
        "Events",
        told(data.rates().map(|rates| rates.events), "events/s"),
        data.rate(|rates| rates.events),
        rate,
    )
    .fact("waiting", count(stats.log.unsequenced))
    .fact("behind", count(behind(stats)))
    .fact("head", count(stats.log.head))
    .fact("groups", stats.log.lags.len().to_string())
}

fn behind(stats: &StatsBody) -> u64 {
    stats.log.lags.iter().map(|lag| lag.events).sum()
}

fn written(data: &Data, stats: &StatsBody) -> Panel {
    let here = data.rates().map(|rates| rates.sequenced);
    Panel::new(
        "Log",
        told(data.rates().map(|rates| rates.events), "events/s"),
        data.rate(|rates| rates.events),
        rate,
    )
    .fact("head", count(stats.log.head))
    .fact("sequenced here", stats.workers.and(here).map_or("-".to_owned(), rate))
}

fn waiting(data: &Data, stats: &StatsBody) -> Panel {
    let history = data.gauge(|gauges| gauges.unsequenced as f64);
    Panel::new(
        "Without a position",
        format!("{} waiting", count(stats.log.unsequenced)),
        history,
        whole,
    )
    .floor(FEW)
    .fact("all groups behind", count(behind(stats)))
}

fn handled(data: &Data, stats: &StatsBody) -> Panel {
    let Some(workers) = stats.workers else {
        return Panel::new("Handlers", "no workers here".to_owned(), Vec::new(), rate);
    };
    let failing = data.rates().is_some_and(|rates| rates.handler_failures > 0.0);
    Panel::new(
        "Handlers",
        told(data.rates().map(|rates| rates.handled), "handled/s"),
        data.rate(|rates| rates.handled),
        rate,
    )
    .fact("handled", count(workers.handled))
    .fact_if("failed", count(workers.handler_failures), failing)
}

fn mail(data: &Data, stats: &StatsBody) -> Panel {
    let sent = data
        .rates()
        .filter(|_| stats.workers.is_some())
        .map_or("-".to_owned(), |rates| rate(rates.mails_sent));
    Panel::new(
        "Mail",
        format!("{} queued", count(stats.mail.queued)),
        data.gauge(|gauges| gauges.mails as f64),
        whole,
    )
    .floor(FEW)
    .fact("sending", count(stats.mail.sending))
    .fact_if("dead", count(stats.mail.dead), stats.mail.dead > 0)
    .fact_if(
        "oldest",
        seconds(stats.mail.oldest_due_seconds),
        stats.mail.oldest_due_seconds >= MAIL_LATE.0,
    )
    .fact("sent", sent)
}

fn sent(data: &Data, stats: &StatsBody) -> Panel {
    let Some(workers) = stats.workers else {
        return Panel::new("Handed over", "no workers here".to_owned(), Vec::new(), rate);
    };
    Panel::new(
        "Handed over",
        told(data.rates().map(|rates| rates.mails_sent), "mails/s"),
        data.rate(|rates| rates.mails_sent),
        rate,
    )
    .fact("since the start", count(workers.mails_sent))
}

fn attempts(data: &Data) -> Panel {
    let now = data.rates().map(|rates| rates.mail_failures);
    let total = data
        .latest
        .as_ref()
        .and_then(|stats| stats.workers)
        .map_or("-".to_owned(), |workers| count(workers.mail_failures));
    Panel::new(
        "Failed attempts",
        told(now, "failed/s"),
        data.rate(|rates| rates.mail_failures),
        rate,
    )
    .bad(if now > Some(0.0) {
        Severity::Warn
    } else {
        Severity::Fine
    })
    .fact("since the start", total)
}

fn oldest(data: &Data, stats: &StatsBody) -> Panel {
    let age = stats.mail.oldest_due_seconds;
    Panel::new(
        "Oldest due",
        format!("{} waited", seconds(age)),
        data.gauge(|gauges| gauges.oldest_due as f64),
        |value| seconds(value as u64),
    )
    .limit(MAIL_LATE.0 as f64)
    .bad(if age >= MAIL_LATE.0 {
        Severity::Warn
    } else {
        Severity::Fine
    })
}
