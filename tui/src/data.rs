//! What was read so far: the newest figures, their history, and what changed on the way.
use std::collections::VecDeque;

use openapi::StatsBody;

use crate::burst::{self, Burst};
use crate::happening::{Happening, What, changes};
use crate::rates::{self, OperationRates, Rates, RouteRates};
use crate::warning::{WINDOW_MS, Warning, warnings};

/// How many points are kept: ten minutes at one a second, and more columns than a terminal has.
const MOST_POINTS: usize = 600;

/// How many happenings are kept: more than any screen shows.
const MOST_HAPPENINGS: usize = 200;

/// Counted happenings of one kind within this time are told as one, in milliseconds: trouble that goes on must not push
/// out of sight how it began.
const ONE_HAPPENING_MS: u64 = 60_000;

/// How things stood at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// When, in milliseconds since the dashboard was opened.
    pub at: u64,
    /// The figures; none when the server did not answer.
    pub gauges: Option<Gauges>,
    /// How fast the counters went up; none without a reading of the same process before.
    pub rates: Option<Rates>,
}

/// The figures that have a history.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Gauges {
    /// Connections in use.
    pub in_use: u32,
    /// The most connections.
    pub pool_max: u32,
    /// Events with a position.
    pub head: u64,
    /// Events without a position.
    pub unsequenced: u64,
    /// How far each group is behind.
    pub lags: Vec<(String, u64)>,
    /// Messages that wait or are being handed over.
    pub mails: u64,
    /// Seconds that the oldest due message has waited.
    pub oldest_due: u64,
    /// Password hashings that wait or run.
    pub hashings: usize,
    /// The age of the revocation feed in milliseconds.
    pub revocations_age: Option<u64>,
    /// Requests whose answer has not begun.
    pub in_flight: u64,
    /// Live event streams.
    pub streams: u64,
    /// Messages given up.
    pub dead: u64,
}

impl Gauges {
    fn of(stats: &StatsBody) -> Self {
        Self {
            in_use: stats.pool.open.saturating_sub(stats.pool.idle),
            pool_max: stats.pool.max,
            head: stats.log.head,
            unsequenced: stats.log.unsequenced,
            lags: lags_of(stats),
            mails: stats.mail.queued + stats.mail.sending,
            oldest_due: stats.mail.oldest_due_seconds,
            hashings: stats.passwords.waiting + stats.passwords.running,
            revocations_age: stats.revocations_age_ms,
            in_flight: stats.http.in_flight,
            streams: stats.http.streams,
            dead: stats.mail.dead,
        }
    }

    /// How far a group is behind.
    pub fn lag(&self, group: &str) -> Option<u64> {
        self.lags
            .iter()
            .find(|(name, _)| name == group)
            .map(|(_, events)| *events)
    }
}

/// How far each group is behind: in the log, and in the topics of other services of which this process has a part.
pub fn lags_of(stats: &StatsBody) -> Vec<(String, u64)> {
    let in_log = stats.log.lags.iter().map(|lag| (lag.group.clone(), lag.events));
    let in_topics = stats.subscriptions.iter().map(|read| {
        let behind = read.partitions.iter().filter_map(|partition| partition.lag).sum();
        (format!("{} of topics", read.group), behind)
    });
    in_log.chain(in_topics).collect()
}

/// What was read so far.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Data {
    /// When the newest figures came.
    pub at: u64,
    /// The newest figures.
    pub latest: Option<StatsBody>,
    /// The history, oldest first.
    pub points: VecDeque<Point>,
    /// What changed, newest first.
    pub happenings: VecDeque<Happening>,
    /// The rates of the last seconds; none without an earlier reading of the same process.
    pub lately: Option<Rates>,
    /// What came to each route in these seconds.
    pub routes: Vec<RouteRates>,
    /// What came to each operation of each backend in these seconds.
    pub operations: Vec<OperationRates>,
    /// What somebody should look at, worst first.
    pub warnings: Vec<Warning>,
    /// The burst of failing requests that goes on.
    burst: Option<Burst>,
    /// The readings of these seconds before the newest, oldest first.
    earlier: VecDeque<(u64, StatsBody)>,
}

impl Data {
    /// Takes an answer.
    pub fn take(&mut self, at: u64, stats: StatsBody) {
        let before = self.latest.take();
        let rates = before
            .as_ref()
            .and_then(|before| Rates::between(before, &stats, at.saturating_sub(self.at)));
        let silent_since = self
            .points
            .back()
            .filter(|point| point.gauges.is_none())
            .map(|_| self.at);
        let whats = before.as_ref().map_or_else(
            || {
                vec![What::First {
                    health: stats.health.status.clone(),
                }]
            },
            |before| {
                let silent_ms = silent_since.map(|since| at.saturating_sub(since));
                changes(before, &stats, at.saturating_sub(self.at), silent_ms)
            },
        );
        for what in whats {
            self.happened(at, what);
        }
        if let Some(what) = burst::follow(&mut self.burst, at, rates.as_ref()) {
            self.happened(at, what);
        }
        self.push(Point {
            at,
            gauges: Some(Gauges::of(&stats)),
            rates,
        });
        self.remember(at, before, &stats);
        self.at = at;
        self.latest = Some(stats);
        self.warnings = warnings(self);
    }

    /// Judges the newest reading against one that is some seconds older: in a single interval there may be few calls, and a
    /// table that is ordered by them would not stand still.
    fn remember(&mut self, at: u64, before: Option<StatsBody>, stats: &StatsBody) {
        self.earlier.extend(before.map(|before| (self.at, before)));
        if self
            .earlier
            .back()
            .is_some_and(|(_, before)| !rates::is_same(before, stats))
        {
            self.earlier.clear();
        }
        let from = at.saturating_sub(WINDOW_MS);
        while self.earlier.len() > 1 && self.earlier.front().is_some_and(|(at, _)| *at < from) {
            self.earlier.pop_front();
        }
        let Some((then, before)) = self.earlier.front() else {
            (self.lately, self.routes, self.operations) = (None, Vec::new(), Vec::new());
            return;
        };
        let millis = at.saturating_sub(*then);
        self.lately = Rates::between(before, stats, millis);
        self.routes = rates::routes(before, stats, millis);
        self.operations = rates::operations(before, stats, millis);
    }

    /// Takes the news that there was no answer.
    pub fn miss(&mut self, at: u64, reason: &str) {
        let was_answering = self.points.back().is_some_and(|point| point.gauges.is_some());
        if was_answering {
            self.happened(
                at,
                What::Gone {
                    reason: reason.to_owned(),
                },
            );
        }
        self.push(Point {
            at,
            gauges: None,
            rates: None,
        });
    }

    fn push(&mut self, point: Point) {
        if self.points.len() == MOST_POINTS {
            self.points.pop_front();
        }
        self.points.push_back(point);
    }

    fn happened(&mut self, at: u64, what: What) {
        let mut recent = self
            .happenings
            .iter_mut()
            .take_while(|other| at.saturating_sub(other.at) < ONE_HAPPENING_MS);
        if recent.any(|other| other.what.absorb(&what)) {
            return;
        }
        self.happenings.push_front(Happening { at, what });
        self.happenings.truncate(MOST_HAPPENINGS);
    }

    /// Whether the figures are of a server of an older version, which tells fewer of them.
    pub fn is_of_older(&self) -> bool {
        self.latest.as_ref().is_some_and(|stats| stats.at_ms == 0)
    }

    /// Takes the news that the server has no stream and is asked instead.
    pub fn asked(&mut self, at: u64) {
        self.happened(at, What::Asked);
    }

    /// The history of a gauge; gaps where the server did not answer.
    pub fn gauge(&self, read: impl Fn(&Gauges) -> f64) -> Vec<Option<f64>> {
        self.points
            .iter()
            .map(|point| point.gauges.as_ref().map(&read))
            .collect()
    }

    /// The history of a rate; gaps where it is not known.
    pub fn rate(&self, read: impl Fn(&Rates) -> f64) -> Vec<Option<f64>> {
        self.points
            .iter()
            .map(|point| point.rates.as_ref().map(&read))
            .collect()
    }

    /// The history of a figure that there may be none of; gaps where there is none.
    pub fn rate_of<T>(&self, read: impl Fn(&Rates) -> Option<T>) -> Vec<Option<T>> {
        self.points
            .iter()
            .map(|point| point.rates.as_ref().and_then(&read))
            .collect()
    }

    /// The rates at the newest figures.
    pub fn rates(&self) -> Option<&Rates> {
        self.points
            .iter()
            .rev()
            .find(|point| point.gauges.is_some())
            .and_then(|point| point.rates.as_ref())
    }

    /// The points from so many milliseconds before the newest figures on, oldest first.
    pub fn recent(&self, span_ms: u64) -> impl DoubleEndedIterator<Item = &Point> {
        let from = self.at.saturating_sub(span_ms);
        self.points.iter().filter(move |point| point.at >= from)
    }

    /// How long ago the last attempt to hand a message over failed, in milliseconds before the newest figures; none when one
    /// succeeded since, or none failed.
    pub fn mail_fails_since(&self) -> Option<u64> {
        let tried = |rates: &&Rates| rates.mail_failures > 0.0 || rates.mails_sent > 0.0;
        let known = self.points.iter().rev();
        let (at, last) = known
            .filter_map(|point| point.rates.as_ref().map(|rates| (point.at, rates)))
            .find(|(_, rates)| tried(rates))?;
        (last.mail_failures > 0.0).then(|| self.at.saturating_sub(at))
    }

    /// How long a state has held without a break up to the newest figures, in milliseconds, and for how many readings.
    pub fn held(&self, is: impl Fn(&Gauges) -> bool) -> (u64, usize) {
        let known = self
            .points
            .iter()
            .rev()
            .filter_map(|point| point.gauges.as_ref().map(|gauges| (point.at, gauges)));
        let (mut since, mut readings) = (self.at, 0);
        for (at, _) in known.take_while(|(_, gauges)| is(gauges)) {
            since = at;
            readings += 1;
        }
        (self.at.saturating_sub(since), readings)
    }

    /// How fast a gauge changes over the last so many milliseconds, a second; none with fewer than three readings.
    pub fn slope(&self, span_ms: u64, read: impl Fn(&Gauges) -> Option<f64>) -> Option<f64> {
        let known = |point: &Point| point.gauges.as_ref().and_then(&read).map(|value| (point.at, value));
        let readings: Vec<(u64, f64)> = self.recent(span_ms).filter_map(known).collect();
        let (first, last) = (readings.first()?, readings.last()?);
        let millis = last.0.saturating_sub(first.0);
        (readings.len() >= 3 && millis > 0).then(|| (last.1 - first.1) * 1000.0 / millis as f64)
    }
}
