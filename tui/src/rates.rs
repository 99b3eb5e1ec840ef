//! How fast the counters of a process go up, from two readings of them.
use openapi::{BackendStatsBody, StatsBody};

/// Counts a second between two readings.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rates {
    /// Answered requests.
    pub requests: f64,
    /// By class of status: 1xx to 5xx.
    pub by_class: [f64; 5],
    /// The mean time of a request in milliseconds; none without requests.
    pub mean_ms: Option<f64>,
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
    /// Password hashings refused.
    pub shed: f64,
    /// Backends.
    pub backends: Vec<BackendRates>,
}

/// Counts a second of one backend.
#[derive(Debug, Clone, PartialEq)]
pub struct BackendRates {
    /// Its name.
    pub name: String,
    /// Calls.
    pub calls: f64,
    /// Calls that failed.
    pub failures: f64,
    /// The mean time of a call in milliseconds; none without calls.
    pub mean_ms: Option<f64>,
}

impl Rates {
    /// The rates between two readings that lie so many milliseconds apart. None when they are of two processes, which
    /// share no counters, or at one time.
    pub fn between(before: &StatsBody, after: &StatsBody, millis: u64) -> Option<Self> {
        let is_same = before.node == after.node && after.uptime_seconds >= before.uptime_seconds;
        if !is_same || after.http.requests < before.http.requests || millis == 0 {
            return None;
        }
        let per_second = |before: u64, after: u64| after.saturating_sub(before) as f64 * 1000.0 / millis as f64;
        let (was, is) = (before.workers.unwrap_or_default(), after.workers.unwrap_or_default());
        let backend = |body: &BackendStatsBody| {
            let before = before.backends.iter().find(|other| other.name == body.name)?;
            Some(BackendRates {
                name: body.name.clone(),
                calls: per_second(before.calls, body.calls),
                failures: per_second(before.failures, body.failures),
                mean_ms: mean((before.calls, body.calls), (before.total_micros, body.total_micros)),
            })
        };
        let http = (&before.http, &after.http);
        Some(Self {
            requests: per_second(http.0.requests, http.1.requests),
            by_class: std::array::from_fn(|class| per_second(http.0.by_class[class], http.1.by_class[class])),
            mean_ms: mean(
                (http.0.requests, http.1.requests),
                (http.0.total_micros, http.1.total_micros),
            ),
            events: per_second(before.log.head, after.log.head),
            sequenced: per_second(was.sequenced, is.sequenced),
            handled: per_second(was.handled, is.handled),
            handler_failures: per_second(was.handler_failures, is.handler_failures),
            mails_sent: per_second(was.mails_sent, is.mails_sent),
            mail_failures: per_second(was.mail_failures, is.mail_failures),
            shed: per_second(before.passwords.shed, after.passwords.shed),
            backends: after.backends.iter().filter_map(backend).collect(),
        })
    }

    /// The share of requests whose status is of a class (2 to 5), 0 to 1.
    pub fn share(&self, class: usize) -> f64 {
        if self.requests > 0.0 {
            self.by_class[class - 1] / self.requests
        } else {
            0.0
        }
    }
}

fn mean(calls: (u64, u64), micros: (u64, u64)) -> Option<f64> {
    let calls = calls.1.saturating_sub(calls.0);
    let micros = micros.1.saturating_sub(micros.0);
    (calls > 0).then(|| micros as f64 / 1000.0 / calls as f64)
}
