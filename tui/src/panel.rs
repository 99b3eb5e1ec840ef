//! What each panel says: one headline, some facts, one history. Made once, for wide, narrow and plain output alike.
mod here;
mod work;

use crate::data::Data;
use crate::format::{count, latency, number, percent, rate};
use crate::model::Screen;
use crate::quantile::Quantile;
use crate::rates::{Rates, Timed};
use crate::warning::Severity;

/// So many of something waiting are nothing to look at.
const FEW: f64 = 10.0;

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
    tell: fn(f64) -> String,
    /// The quantiles that the history is made of, where it is: what is told of them says what is known.
    quantiles: Vec<Option<Quantile>>,
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
            quantiles: Vec::new(),
        }
    }

    /// A panel about the time that 99 of 100 do not exceed.
    fn of_p99(title: &'static str, data: &Data, read: fn(&Rates) -> Timed) -> Self {
        let quantiles = data.rate_of(|rates| read(rates).p99);
        let history = quantiles
            .iter()
            .map(|quantile| quantile.map(|quantile| quantile.millis));
        let panel = Self::new(title, format!("p99 {}", p99(data, read)), history.collect(), latency);
        Self { quantiles, ..panel }
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

    /// The greatest value of the last so many readings, as it is told; that of zero without any.
    pub fn peak(&self, readings: usize) -> String {
        let skipped = self.history.len().saturating_sub(readings);
        let greatest = self.quantiles.iter().skip(skipped).flatten();
        match greatest.max_by(|one, two| one.millis.total_cmp(&two.millis)) {
            Some(quantile) => quantile.to_string(),
            None => (self.tell)(self.history[skipped..].iter().flatten().copied().fold(0.0, f64::max)),
        }
    }
}

/// The panels of a screen, the most telling first; none before the first figures.
pub fn panels(data: &Data, screen: Screen) -> Vec<Panel> {
    let Some(stats) = &data.latest else { return Vec::new() };
    match screen {
        Screen::Overview => vec![
            here::http(data, stats),
            here::pool(data, stats).more(Screen::Pool),
            work::events(data, stats).more(Screen::Events),
            work::mail(data, stats).more(Screen::Mail),
            here::tokens(data, stats).more(Screen::Pool),
            here::process(data, stats),
        ],
        Screen::Pool => vec![
            here::connections(data, stats),
            here::statements(data, stats),
            here::waiting_here(data, stats),
            here::hashing(data, stats),
            here::token_checks(data),
            here::revocations(data, stats),
        ],
        Screen::Events => vec![
            work::written(data, stats),
            work::published(data),
            work::unsequenced(data, stats),
            work::handled(data, stats),
            work::appended(data),
            work::streams(data, stats),
        ],
        Screen::Mail => vec![
            work::mail(data, stats),
            work::oldest(data, stats),
            work::sent(data, stats),
            work::hand_over(data),
            work::attempts(data, stats),
            work::dead(data, stats),
        ],
    }
}

fn told(rate_now: Option<f64>, unit: &str) -> String {
    rate_now.map_or_else(|| format!("- {unit}"), |value| format!("{} {unit}", number(value)))
}

/// The newest rates, for figures that a server of an older version does not tell: its zeros mean nothing.
fn rates_told(data: &Data) -> Option<&Rates> {
    data.rates().filter(|_| !data.is_of_older())
}

/// A rate that needs two readings.
fn speed(data: &Data, read: impl Fn(&Rates) -> f64) -> String {
    rates_told(data).map_or_else(|| "-".to_owned(), |rates| rate(read(rates)))
}

fn share(data: &Data, read: impl Fn(&Rates) -> f64) -> String {
    rates_told(data).map_or_else(|| "-".to_owned(), |rates| percent(read(rates)))
}

fn p50(data: &Data, read: impl Fn(&Rates) -> Timed) -> String {
    told_of(data.rates().and_then(|rates| read(rates).p50))
}

fn p99(data: &Data, read: impl Fn(&Rates) -> Timed) -> String {
    told_of(data.rates().and_then(|rates| read(rates).p99))
}

fn told_of(quantile: Option<Quantile>) -> String {
    quantile.map_or_else(|| "-".to_owned(), |quantile| quantile.to_string())
}

/// Whether something happens at all.
fn is_some(data: &Data, read: impl Fn(&Rates) -> f64) -> bool {
    data.rates().is_some_and(|rates| read(rates) > 0.0)
}

fn whole(value: f64) -> String {
    count(value.round() as u64)
}
