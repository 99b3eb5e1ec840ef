//! What each panel says: one headline, some facts, one history. Made once, for wide, narrow and plain output alike.
use openapi::{HashStatsBody, StatsBody};

use crate::data::Data;
use crate::format::{bytes, count, latency, latency_of, number, percent, rate, seconds};
use crate::model::Screen;
use crate::rates::{Rates, Timed};
use crate::warning::{LATE_EVENT_MS, MAIL_LATE, REVOCATIONS_STALE_MS, SLOW_STATEMENT_MS, Severity, is_near_limit};

/// So many of something waiting are nothing to look at.
const FEW: f64 = 10.0;

/// A tenth of a core is nothing to look at.
const A_TENTH: f64 = 0.1;

/// A figure with its name.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// What it is; empty where its unit tells.
    pub label: &'static str,
    /// How much.
    pub value: String,
    /// How bad that is.
    pub severity: Severity,
}

impl Fact {
    /// Both in one.
    pub fn text(&self) -> String {
        format!("{} {}", self.label, self.value).trim_start().to_owned()
    }
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
    /// The rest by lines, those beside the headline first.
    pub facts: Vec<Vec<Fact>>,
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
            facts: vec![Vec::new()],
            history,
            limit: None,
            floor: 0.0,
            tell,
        }
    }

    fn fact(self, label: &'static str, value: impl Into<String>) -> Self {
        self.fact_if(label, value, false)
    }

    /// A fact that is bad when it is so.
    fn fact_if(mut self, label: &'static str, value: impl Into<String>, is_bad: bool) -> Self {
        let fact = Fact {
            label,
            value: value.into(),
            severity: if is_bad { Severity::Warn } else { Severity::Fine },
        };
        if let Some(line) = self.facts.last_mut() {
            line.push(fact);
        }
        self
    }

    /// Further facts stand on the next line.
    fn line(mut self) -> Self {
        self.facts.push(Vec::new());
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

    fn bad_if(self, is_bad: bool) -> Self {
        let severity = if is_bad { Severity::Warn } else { self.severity };
        self.bad(severity)
    }

    /// The greatest value of the last so many readings; zero without any.
    pub fn peak(&self, readings: usize) -> f64 {
        let skipped = self.history.len().saturating_sub(readings);
        self.history[skipped..].iter().flatten().copied().fold(0.0, f64::max)
    }
}

/// The panels of a screen, the most telling first; none before the first figures.
pub fn panels(data: &Data, screen: Screen) -> Vec<Panel> {
    let Some(stats) = &data.latest else { return Vec::new() };
    match screen {
        Screen::Overview => vec![
            http(data, stats),
            pool(data, stats).more(Screen::Pool),
            events(data, stats).more(Screen::Events),
            mail(data, stats).more(Screen::Mail),
            tokens(data, stats).more(Screen::Pool),
            process(data, stats),
        ],
        Screen::Pool => vec![
            connections(data, stats),
            statements(data, stats),
            waiting_here(data, stats),
            hashing(data, stats),
            tokens(data, stats),
            revocations(data, stats),
        ],
        Screen::Events => vec![
            written(data, stats),
            published(data),
            unsequenced(data, stats),
            handled(data, stats),
            appended(data),
            streams(data, stats),
        ],
        Screen::Mail => vec![
            mail(data, stats),
            oldest(data, stats),
            sent(data, stats),
            hand_over(data),
            attempts(data, stats),
            dead(data, stats),
        ],
    }
}

fn told(rate_now: Option<f64>, unit: &str) -> String {
    rate_now.map_or_else(|| format!("- {unit}"), |value| format!("{} {unit}", number(value)))
}

/// A rate that needs two readings.
fn speed(data: &Data, read: impl Fn(&Rates) -> f64) -> String {
    data.rates().map_or_else(|| "-".to_owned(), |rates| rate(read(rates)))
}

fn share(data: &Data, read: impl Fn(&Rates) -> f64) -> String {
    data.rates()
        .map_or_else(|| "-".to_owned(), |rates| percent(read(rates)))
}

fn p50(data: &Data, read: impl Fn(&Rates) -> Timed) -> String {
    latency_of(data.rates().and_then(|rates| read(rates).p50_ms))
}

fn p99(data: &Data, read: impl Fn(&Rates) -> Timed) -> String {
    latency_of(data.rates().and_then(|rates| read(rates).p99_ms))
}

/// Whether something happens at all.
fn is_some(data: &Data, read: impl Fn(&Rates) -> f64) -> bool {
    data.rates().is_some_and(|rates| read(rates) > 0.0)
}

fn whole(value: f64) -> String {
    count(value.round() as u64)
}

fn http(data: &Data, stats: &StatsBody) -> Panel {
    let panel = Panel::new(
        "HTTP",
        told(data.rates().map(|rates| rates.requests), "req/s"),
        data.rate(|rates| rates.requests),
        rate,
    );
    // A server of an older version tells the mean alone.
    let panel = if stats.http.latency.counts.is_empty() {
        panel.fact("mean", latency_of(data.rates().and_then(|rates| rates.mean_ms)))
    } else {
        let timed = |rates: &Rates| rates.latency;
        panel.fact("p50", p50(data, timed)).fact("p99", p99(data, timed))
    };
    panel
        .line()
        .fact_if(
            "5xx",
            share(data, |rates| rates.share(5)),
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

fn in_use(data: &Data, stats: &StatsBody) -> Panel {
    let (in_use, max) = (stats.pool.open.saturating_sub(stats.pool.idle), stats.pool.max);
    let severity = match f64::from(in_use) / f64::from(max.max(1)) {
        share if share >= 1.0 => Severity::Severe,
        share if share >= 0.8 => Severity::Warn,
        _ => Severity::Fine,
    };
    let history = data.gauge(|gauges| f64::from(gauges.in_use));
    Panel::new("Pool", format!("{in_use} of {max} in use"), history, whole)
        .limit(f64::from(max))
        .floor(f64::from(max))
        .bad(severity)
}

fn pool(data: &Data, stats: &StatsBody) -> Panel {
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
        .fact("idle", stats.pool.idle.to_string())
}

fn connections(data: &Data, stats: &StatsBody) -> Panel {
    in_use(data, stats)
        .fact("busy", percent(stats.pool.utilisation))
        .line()
        .fact("open", stats.pool.open.to_string())
        .fact("idle", stats.pool.idle.to_string())
        .fact("most", stats.pool.max.to_string())
}

fn statements(data: &Data, stats: &StatsBody) -> Panel {
    let timed = |rates: &Rates| rates.statements;
    let p99_now = data.rates().and_then(|rates| rates.statements.p99_ms);
    Panel::new(
        "Statements",
        format!("p99 {}", p99(data, timed)),
        data.rate_of(|rates| rates.statements.p99_ms),
        latency,
    )
    .bad_if(p99_now >= Some(SLOW_STATEMENT_MS))
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
fn waiting_here(data: &Data, stats: &StatsBody) -> Panel {
    let (queue, runtime) = (&stats.passwords, &stats.runtime);
    Panel::new(
        "Under way",
        format!("{} in flight", count(stats.http.in_flight)),
        data.gauge(|gauges| gauges.in_flight as f64),
        whole,
    )
    .floor(FEW)
    .fact_if(
        "hashing waits",
        format!("{} of {}", queue.waiting, queue.capacity),
        is_crowded(queue),
    )
    .line()
    .fact("tasks", count(runtime.alive_tasks))
    .fact("queued", count(runtime.queued_tasks))
    .fact("busy", share(data, |rates| rates.busy))
}

fn is_crowded(queue: &HashStatsBody) -> bool {
    queue.waiting * 2 >= queue.capacity.max(1)
}

fn hashing(data: &Data, stats: &StatsBody) -> Panel {
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
    .fact_if(
        "waiting",
        format!("{} of {}", queue.waiting, queue.capacity),
        is_crowded(queue),
    )
    .fact_if("refused", count(queue.shed), is_shedding)
}

fn tokens(data: &Data, stats: &StatsBody) -> Panel {
    let timed = |rates: &Rates| rates.tokens;
    let age = stats.revocations_age_ms.map(|age| age as f64);
    Panel::new(
        "Tokens",
        told(data.rates().map(|rates| rates.tokens.per_second), "checks/s"),
        data.rate(|rates| rates.tokens.per_second),
        rate,
    )
    .fact("p99", p99(data, timed))
    .line()
    .fact("refused", share(data, Rates::refused_share))
    .fact("p50", p50(data, timed))
    .line()
    .fact_if(
        "revocations read",
        age.map_or("never".to_owned(), |age| format!("{} ago", latency(age))),
        age.is_none_or(|age| age >= REVOCATIONS_STALE_MS as f64),
    )
}

fn revocations(data: &Data, stats: &StatsBody) -> Panel {
    let head = stats.revocations_age_ms.map_or("never read".to_owned(), |age| {
        format!("read {} ago", latency(age as f64))
    });
    let health = &stats.health.dependencies;
    let is_stale = health
        .iter()
        .any(|other| other.name == "revocations" && other.status != "ok");
    let age = |gauges: &crate::data::Gauges| gauges.revocations_age.unwrap_or_default() as f64;
    Panel::new("Revocations", head, data.gauge(age), latency)
        .limit(REVOCATIONS_STALE_MS as f64)
        .floor(REVOCATIONS_STALE_MS as f64 / 2.0)
        .bad_if(is_stale)
}

/// The process, as far as the server's kernel tells.
fn process(data: &Data, stats: &StatsBody) -> Panel {
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
        "files",
        known(format!("{} of {}", count(process.open_files), count(process.max_files))),
        is_near_limit(process),
    )
    .fact("threads", known(count(process.threads)))
    .line()
    .fact("connections", count(stats.http.connections))
    .fact("tasks", count(stats.runtime.alive_tasks))
}

fn events(data: &Data, stats: &StatsBody) -> Panel {
    Panel::new(
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
    .fact("head", count(stats.log.head))
    .fact("streams", count(stats.http.streams))
}

fn behind(stats: &StatsBody) -> u64 {
    stats.log.lags.iter().map(|lag| lag.events).sum()
}

fn written(data: &Data, stats: &StatsBody) -> Panel {
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

fn published(data: &Data) -> Panel {
    let timed = |rates: &Rates| rates.publish;
    let p99_now = data.rates().and_then(|rates| rates.publish.p99_ms);
    Panel::new(
        "Commit to stream",
        format!("p99 {}", p99(data, timed)),
        data.rate_of(|rates| rates.publish.p99_ms),
        latency,
    )
    .bad_if(p99_now >= Some(LATE_EVENT_MS))
    .limit(LATE_EVENT_MS)
    .fact("p50", p50(data, timed))
    .line()
    .fact("published", speed(data, |rates| rates.publish.per_second))
}

fn appended(data: &Data) -> Panel {
    let timed = |rates: &Rates| rates.append;
    Panel::new(
        "Call to commit",
        format!("p99 {}", p99(data, timed)),
        data.rate_of(|rates| rates.append.p99_ms),
        latency,
    )
    .fact("p50", p50(data, timed))
    .line()
    .fact("appended here", speed(data, |rates| rates.append.per_second))
}

fn unsequenced(data: &Data, stats: &StatsBody) -> Panel {
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

fn handled(data: &Data, stats: &StatsBody) -> Panel {
    let Some(workers) = stats.workers else {
        return Panel::new("Handlers", "no workers here".to_owned(), Vec::new(), rate);
    };
    Panel::new(
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
    )
}

fn streams(data: &Data, stats: &StatsBody) -> Panel {
    Panel::new(
        "Streams",
        format!("{} open", count(stats.http.streams)),
        data.gauge(|gauges| gauges.streams as f64),
        whole,
    )
    .floor(FEW)
}

fn mail(data: &Data, stats: &StatsBody) -> Panel {
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
    .line()
    .fact("since the start", count(workers.mails_sent))
}

fn hand_over(data: &Data) -> Panel {
    let timed = |rates: &Rates| rates.hand_over;
    Panel::new(
        "Time to hand over",
        format!("p99 {}", p99(data, timed)),
        data.rate_of(|rates| rates.hand_over.p99_ms),
        latency,
    )
    .fact("p50", p50(data, timed))
}

fn attempts(data: &Data, stats: &StatsBody) -> Panel {
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

fn oldest(data: &Data, stats: &StatsBody) -> Panel {
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

fn dead(data: &Data, stats: &StatsBody) -> Panel {
    Panel::new(
        "Given up",
        format!("{} dead", count(stats.mail.dead)),
        data.gauge(|gauges| gauges.dead as f64),
        whole,
    )
    .floor(FEW)
    .bad_if(stats.mail.dead > 0)
}
