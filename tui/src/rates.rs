//! How fast the counters of a process go up and how long things took, from two readings of it.
use openapi::{
    BackendStatsBody, CodeCountBody, HistogramBody, HttpStatsBody, OperationStatsBody, RouteStatsBody, StatsBody,
};

use crate::quantile::Quantile;

/// What took time between two readings.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Timed {
    /// How many a second.
    pub per_second: f64,
    /// The time that half of them did not exceed; none without any.
    pub p50: Option<Quantile>,
    /// The time that 99 of 100 did not exceed; none without any.
    pub p99: Option<Quantile>,
}

impl Timed {
    fn between(before: &HistogramBody, after: &HistogramBody, millis: u64) -> Self {
        Self::of(&after.since(before), millis)
    }

    fn of(times: &HistogramBody, millis: u64) -> Self {
        Self {
            per_second: a_second(times.count(), millis),
            p50: Quantile::of(times, 0.5),
            p99: Quantile::of(times, 0.99),
        }
    }
}

/// Counts a second between two readings.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rates {
    /// The time between the readings, in milliseconds.
    pub millis: u64,
    /// Answered requests.
    pub requests: f64,
    /// By class of status: 1xx to 5xx.
    pub by_class: [f64; 5],
    /// The mean time of a request in milliseconds; none without requests.
    pub mean_ms: Option<f64>,
    /// The times of the requests.
    pub latency: Timed,
    /// Answers with status 401.
    pub unauthorised: f64,
    /// Answers with status 429.
    pub limited: f64,
    /// Answers with status 503.
    pub unavailable: f64,
    /// The share of one core that the process used; above 1 on several.
    pub cpu: f64,
    /// The share of their time that the workers of the runtime were busy, 0 to 1.
    pub busy: f64,
    /// Statements of the database.
    pub statements: Timed,
    /// Statements that took longer than a tenth of a second.
    pub slow: f64,
    /// Statements that failed.
    pub statement_failures: f64,
    /// Checks of access tokens.
    pub tokens: Timed,
    /// Tokens refused.
    pub refused: f64,
    /// The code that most of them were refused with; none when none was.
    pub refused_as: Option<String>,
    /// Events made by this process, from the call to the commit.
    pub append: Timed,
    /// Events from anywhere, from their time to the streams of this process.
    pub publish: Timed,
    /// Events that got a position, anywhere.
    pub events: f64,
    /// Events that got their position in this process.
    pub sequenced: f64,
    /// Events handled in this process.
    pub handled: f64,
    /// Handlings that failed in this process.
    pub handler_failures: f64,
    /// Messages handed over by this process.
    pub mails_sent: f64,
    /// Attempts that failed in this process.
    pub mail_failures: f64,
    /// Handing over of messages.
    pub hand_over: Timed,
    /// Password hashings.
    pub hashing: Timed,
    /// Password hashings refused.
    pub shed: f64,
}

/// What came to one route between two readings.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteRates {
    /// Method and template of the path.
    pub name: String,
    /// The requests.
    pub timed: Timed,
    /// The share answered with a 4xx status, 0 to 1; none without requests.
    pub refused: Option<f64>,
    /// The share answered with a 5xx status, 0 to 1; none without requests.
    pub failed: Option<f64>,
    /// Answers with status 429, a second.
    pub limited: f64,
    /// Answers with status 503, a second.
    pub unavailable: f64,
}

/// What came to one operation of a backend between two readings.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationRates {
    /// The backend's name.
    pub backend: String,
    /// The operation's name; none where a server tells of all of them together only.
    pub operation: Option<String>,
    /// The state of the backend's breaker.
    pub breaker: String,
    /// The calls.
    pub timed: Timed,
    /// Calls that failed, a second.
    pub failures: f64,
    /// Calls to the backend that were refused since the start.
    pub refused: u64,
}

/// So many in so many milliseconds, a second.
fn a_second(count: u64, millis: u64) -> f64 {
    count as f64 * 1000.0 / millis.max(1) as f64
}

/// Whether two readings are of one process, so that its counters may be subtracted.
pub fn is_same(before: &StatsBody, after: &StatsBody) -> bool {
    before.node == after.node
        && after.uptime_seconds >= before.uptime_seconds
        && after.http.requests >= before.http.requests
}

/// The time between two readings in milliseconds: by the server's clock where it tells it, else by `arrived`.
fn between(before: &StatsBody, after: &StatsBody, arrived: u64) -> u64 {
    match (before.at_ms, after.at_ms) {
        (was @ 1.., is) if is > was => is - was,
        _ => arrived,
    }
}

impl Rates {
    /// The rates between two readings that came so many milliseconds apart. None when they are of two processes, which
    /// share no counters, or of one time.
    pub fn between(before: &StatsBody, after: &StatsBody, arrived: u64) -> Option<Self> {
        let millis = between(before, after, arrived);
        if !is_same(before, after) || millis == 0 {
            return None;
        }
        let per_second = |before: u64, after: u64| a_second(after.saturating_sub(before), millis);
        let timed = |before: &HistogramBody, after: &HistogramBody| Timed::between(before, after, millis);
        let (was, is) = (before.workers.unwrap_or_default(), after.workers.unwrap_or_default());
        let http = (&before.http, &after.http);
        let status = |status: u16| per_second(http.0.status(status), http.1.status(status));
        let refused = |stats: &StatsBody| stats.tokens.refused.iter().map(|code| code.count).sum();
        let busy = per_second(before.runtime.busy_micros, after.runtime.busy_micros) / 1e6;
        Some(Self {
            millis,
            requests: per_second(http.0.requests, http.1.requests),
            by_class: std::array::from_fn(|class| per_second(http.0.by_class[class], http.1.by_class[class])),
            mean_ms: mean(http),
            latency: timed(&http.0.latency, &http.1.latency),
            unauthorised: status(401),
            limited: status(429),
            unavailable: status(503),
            cpu: per_second(before.process.cpu_micros, after.process.cpu_micros) / 1e6,
            busy: busy / after.runtime.workers.max(1) as f64,
            statements: timed(&before.pool.statements, &after.pool.statements),
            slow: per_second(before.pool.slow, after.pool.slow),
            statement_failures: per_second(before.pool.failures, after.pool.failures),
            tokens: timed(&before.tokens.time, &after.tokens.time),
            refused: per_second(refused(before), refused(after)),
            refused_as: refused_as(before, after),
            append: timed(&before.log.append, &after.log.append),
            publish: timed(&before.log.publish, &after.log.publish),
            events: per_second(before.log.head, after.log.head),
            sequenced: per_second(was.sequenced, is.sequenced),
            handled: per_second(was.handled, is.handled),
            handler_failures: per_second(was.handler_failures, is.handler_failures),
            mails_sent: per_second(was.mails_sent, is.mails_sent),
            mail_failures: per_second(was.mail_failures, is.mail_failures),
            hand_over: Timed::of(&hand_over(before, after), millis),
            hashing: timed(&before.passwords.time, &after.passwords.time),
            shed: per_second(before.passwords.shed, after.passwords.shed),
        })
    }

    /// The share of requests whose status is of a class (2 to 5), 0 to 1.
    pub fn share(&self, class: usize) -> f64 {
        self.share_of(self.by_class[class - 1])
    }

    /// The share of requests that so many a second are, 0 to 1.
    pub fn share_of(&self, per_second: f64) -> f64 {
        share(per_second, self.requests)
    }

    /// The share of tokens that were refused, 0 to 1. Whatever was checked was taken or refused.
    pub fn refused_share(&self) -> f64 {
        share(self.refused, self.tokens.per_second.max(self.refused))
    }
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

fn mean((before, after): (&HttpStatsBody, &HttpStatsBody)) -> Option<f64> {
    let requests = after.requests.saturating_sub(before.requests);
    let micros = after.total_micros.saturating_sub(before.total_micros);
    (requests > 0).then(|| micros as f64 / 1000.0 / requests as f64)
}

fn refused_as(before: &StatsBody, after: &StatsBody) -> Option<String> {
    let more = |is: &CodeCountBody| {
        let was = before.tokens.refused.iter().find(|was| was.code == is.code);
        is.count.saturating_sub(was.map_or(0, |was| was.count))
    };
    let most = after.tokens.refused.iter().max_by_key(|code| more(code))?;
    (more(most) > 0).then(|| most.code.clone())
}

/// Whether a backend takes mail; every other one keeps files.
pub fn is_mail(backend: &str) -> bool {
    backend.split(' ').next() == Some("mail")
}

/// The times of handing over. There is one backend for mail, and one thing to ask of it.
fn hand_over(before: &StatsBody, after: &StatsBody) -> HistogramBody {
    let mail = |stats: &StatsBody| {
        let backend = stats.backends.iter().find(|backend| is_mail(&backend.name));
        backend.and_then(|backend| backend.operations.first().map(|operation| operation.time.clone()))
    };
    mail(after).unwrap_or_default().since(&mail(before).unwrap_or_default())
}

/// What came to each route between two readings of one process.
pub fn routes(before: &StatsBody, after: &StatsBody, arrived: u64) -> Vec<RouteRates> {
    let millis = between(before, after, arrived);
    let nothing = RouteStatsBody::default();
    let route = |is: &RouteStatsBody| {
        let mut earlier = before.http.routes.iter();
        let was = earlier.find(|was| was.route == is.route && was.method == is.method);
        let was = was.unwrap_or(&nothing);
        let of = |statuses: std::ops::Range<u16>| {
            let count = |route: &RouteStatsBody| -> u64 {
                let counts = route.statuses.iter().filter(|count| statuses.contains(&count.status));
                counts.map(|count| count.count).sum()
            };
            a_second(count(is).saturating_sub(count(was)), millis)
        };
        let timed = Timed::between(&was.latency, &is.latency, millis);
        let all = of(0..u16::MAX);
        let part = |part: f64| (all > 0.0).then(|| part / all);
        RouteRates {
            name: format!("{} {}", is.method, is.route),
            timed: Timed {
                per_second: all,
                ..timed
            },
            refused: part(of(400..500)),
            failed: part(of(500..600)),
            limited: of(429..430),
            unavailable: of(503..504),
        }
    };
    after.http.routes.iter().map(route).collect()
}

/// What came to each operation of each backend between two readings of one process.
pub fn operations(before: &StatsBody, after: &StatsBody, arrived: u64) -> Vec<OperationRates> {
    let millis = between(before, after, arrived);
    let nothing = BackendStatsBody::default();
    let of_backend = |is: &BackendStatsBody| {
        let was = before
            .backends
            .iter()
            .find(|was| was.name == is.name)
            .unwrap_or(&nothing);
        let row = |operation: Option<&str>, timed: Timed, failures: u64| OperationRates {
            backend: is.name.clone(),
            operation: operation.map(str::to_owned),
            breaker: is.breaker.clone(),
            timed,
            failures: a_second(failures, millis),
            refused: is.refused,
        };
        if is.operations.is_empty() {
            let per_second = a_second(is.calls.saturating_sub(was.calls), millis);
            let timed = Timed {
                per_second,
                ..Timed::default()
            };
            return vec![row(None, timed, is.failures.saturating_sub(was.failures))];
        }
        let never = OperationStatsBody::default();
        let of_operation = |is: &OperationStatsBody| {
            let was = was.operations.iter().find(|was| was.operation == is.operation);
            let was = was.unwrap_or(&never);
            let timed = Timed::between(&was.time, &is.time, millis);
            row(Some(&is.operation), timed, is.failures.saturating_sub(was.failures))
        };
        is.operations.iter().map(of_operation).collect()
    };
    after.backends.iter().flat_map(of_backend).collect()
}
