//! The rows of the screens that have a table: chosen by the filter, ordered by the sorted column.
use std::cmp::Ordering;

use crate::data::{Data, lags_of};
use crate::format::{count, number, percent, rate, span, words};
use crate::happening::state_severity;
use crate::model::{Model, Screen};
use crate::quantile::Quantile;
use crate::rates::{OperationRates, RouteRates};
use crate::warning::{FAILED_SHARE, Severity, lag_slope};

/// A column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its title.
    pub title: &'static str,
    /// Letters that it needs; 0 takes what is left.
    pub width: u16,
    /// Whether it holds numbers: these stand at the right, and the greatest comes first.
    pub is_number: bool,
}

const fn text(title: &'static str, width: u16) -> Column {
    Column {
        title,
        width,
        is_number: false,
    }
}

const fn numbers(title: &'static str, width: u16) -> Column {
    Column {
        title,
        width,
        is_number: true,
    }
}

const ROUTES: &[Column] = &[
    text("Route", 0),
    numbers("req/s", 7),
    numbers("p50", 7),
    numbers("p99", 7),
    numbers("4xx", 7),
    numbers("5xx", 7),
];

const OPERATIONS: &[Column] = &[
    text("Backend", 0),
    text("Call", 6),
    text("Breaker", 9),
    numbers("Rate", 9),
    numbers("p50", 7),
    numbers("p99", 7),
    numbers("Failed", 9),
    numbers("Refused", 9),
];

/// What the overview has room for of the operations, by the columns of their table.
const TIMES: [usize; 4] = [0, 1, 4, 5];

const TIMES_COLUMNS: &[Column] = &[
    OPERATIONS[TIMES[0]],
    OPERATIONS[TIMES[1]],
    OPERATIONS[TIMES[2]],
    OPERATIONS[TIMES[3]],
];

const GROUPS: &[Column] = &[
    text("Group", 0),
    numbers("Behind", 11),
    numbers("Change", 11),
    numbers("Level in", 9),
    numbers("Last minute", 20),
];

/// The column of [`Screen::Events`] that tells how far a group is behind.
pub const BEHIND: usize = 1;

/// The column of [`Screen::Overview`] that tells how often a route is asked for.
pub const REQUESTS: usize = 1;

/// A cell: what is shown, and what it is ordered by.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// What is shown.
    pub text: String,
    /// Its number; cells without one are ordered by their text.
    pub number: Option<f64>,
}

impl Cell {
    fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            number: None,
        }
    }

    fn number(number: Option<f64>, tell: impl Fn(f64) -> String) -> Self {
        Self {
            text: number.map_or("-".to_owned(), tell),
            number: Some(number.unwrap_or(f64::NEG_INFINITY)),
        }
    }

    /// Ordered by where it lies, whatever is told of it.
    fn time(quantile: Option<Quantile>) -> Self {
        Self {
            text: quantile.map_or("-".to_owned(), |quantile| quantile.to_string()),
            number: Some(quantile.map_or(f64::NEG_INFINITY, |quantile| quantile.millis)),
        }
    }

    fn order(&self, other: &Self) -> Ordering {
        match (self.number, other.number) {
            (Some(one), Some(two)) => one.total_cmp(&two),
            _ => self.text.to_lowercase().cmp(&other.text.to_lowercase()),
        }
    }
}

/// A row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its cells, as many as columns.
    pub cells: Vec<Cell>,
    /// How bad things stand with it.
    pub severity: Severity,
    /// The history that its last column shows, where that is a picture.
    pub history: Vec<Option<f64>>,
}

/// The columns of a screen; none where it has no table.
pub fn columns(screen: Screen) -> &'static [Column] {
    match screen {
        Screen::Overview => ROUTES,
        Screen::Pool => OPERATIONS,
        Screen::Events => GROUPS,
        Screen::Mail => &[],
    }
}

/// All rows of a screen, in the order of the server.
pub fn all(data: &Data, screen: Screen) -> Vec<Row> {
    match screen {
        Screen::Overview => data.routes.iter().map(route).collect(),
        Screen::Pool => data.operations.iter().map(operation).collect(),
        Screen::Events => groups(data),
        Screen::Mail => Vec::new(),
    }
}

/// The rows of the screen that is shown, filtered and ordered.
pub fn rows(model: &Model) -> Vec<Row> {
    let choice = model.choice();
    let wanted = choice.filter.to_lowercase();
    let mut rows = all(model.shown(), model.screen);
    rows.retain(|row| row.cells.iter().any(|cell| cell.text.to_lowercase().contains(&wanted)));
    rows.sort_by(|one, two| {
        let order = match (one.cells.get(choice.column), two.cells.get(choice.column)) {
            (Some(one), Some(two)) => one.order(two),
            _ => Ordering::Equal,
        };
        if choice.descending { order.reverse() } else { order }
    });
    rows
}

fn route(route: &RouteRates) -> Row {
    let timed = &route.timed;
    let severity = match route.failed {
        Some(share) if share >= FAILED_SHARE => Severity::Severe,
        Some(share) if share > 0.0 => Severity::Warn,
        _ => Severity::Fine,
    };
    Row {
        cells: vec![
            Cell::text(&route.name),
            Cell::number(Some(timed.per_second), number),
            Cell::time(timed.p50),
            Cell::time(timed.p99),
            Cell::number(route.refused, percent),
            Cell::number(route.failed, percent),
        ],
        severity,
        history: Vec::new(),
    }
}

fn operation(row: &OperationRates) -> Row {
    let severity = if row.failures > 0.0 {
        Severity::Warn
    } else {
        Severity::Fine
    };
    Row {
        cells: vec![
            Cell::text(&row.backend),
            Cell::text(row.operation.as_deref().unwrap_or("all")),
            Cell::text(words(&row.breaker)),
            Cell::number(Some(row.timed.per_second), rate),
            Cell::time(row.timed.p50),
            Cell::time(row.timed.p99),
            Cell::number(Some(row.failures), rate),
            Cell::number(Some(row.refused as f64), |_| count(row.refused)),
        ],
        severity: state_severity(&row.breaker).max(severity),
        history: Vec::new(),
    }
}

/// The operations in short, as the overview shows them.
pub fn times(data: &Data) -> (&'static [Column], Vec<Row>) {
    let short = |mut row: Row| {
        row.cells = TIMES
            .iter()
            .filter_map(|index| row.cells.get(*index).cloned())
            .collect();
        row
    };
    (TIMES_COLUMNS, all(data, Screen::Pool).into_iter().map(short).collect())
}

fn groups(data: &Data) -> Vec<Row> {
    let Some(stats) = &data.latest else { return Vec::new() };
    let row = |(group, events): &(String, u64)| {
        let (events, slope) = (*events, lag_slope(data, group));
        let level_in = slope
            .filter(|slope| *slope < 0.0 && events > 0)
            .map(|slope| events as f64 / -slope);
        let is_losing = events > 0 && slope > Some(0.0);
        Row {
            cells: vec![
                Cell::text(group),
                Cell::number(Some(events as f64), |_| count(events)),
                Cell::number(slope, |slope| {
                    format!("{}{}/s", if slope > 0.0 { "+" } else { "" }, number(slope))
                }),
                Cell::number(level_in, |seconds| span((seconds * 1000.0) as u64)),
                // What the picture shows is ordered by what it ends with.
                Cell {
                    text: String::new(),
                    number: Some(events as f64),
                },
            ],
            severity: if is_losing { Severity::Warn } else { Severity::Fine },
            history: data
                .recent(60_000)
                .map(|point| point.gauges.as_ref()?.lag(group).map(|events| events as f64))
                .collect(),
        }
    };
    lags_of(stats).iter().map(row).collect()
}
