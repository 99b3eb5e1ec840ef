//! Counts the requests of a listener, by route and status.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use domain::histogram::{self, Histogram};
use openapi::{HistogramBody, HttpStatsBody, RouteStatsBody, StatusCountBody};
use poem::http::Method;

use crate::edge::Open;
use crate::http::layer::{Answered, RouteTable, UNMATCHED};

/// The methods that are told apart, in the order of their counters; whatever else a client sends is `OTHER`.
const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];
const OTHER: &str = "OTHER";

/// The statuses that are told apart: those that we answer with. Another one counts as the first of its class.
const STATUSES: [u16; 27] = [
    100, 200, 201, 202, 204, 206, 300, 303, 304, 400, 401, 403, 404, 405, 408, 409, 412, 413, 415, 416, 421, 422, 429,
    500, 501, 503, 507,
];

/// The counters of a listener. What they hold is bounded by its routes, whatever clients send: paths that are no route
/// are counted together.
#[derive(Debug)]
pub struct HttpCounters {
    routes: HashMap<String, [OnceLock<RouteCounters>; METHODS.len() + 1]>,
    /// Requests whose answer has not begun.
    pub in_flight: Arc<Open>,
    /// Open connections.
    pub connections: Arc<Open>,
}

#[derive(Debug)]
struct RouteCounters {
    statuses: [AtomicU64; STATUSES.len()],
    latency: Histogram,
}

impl RouteCounters {
    fn new() -> Self {
        Self {
            statuses: std::array::from_fn(|_| AtomicU64::new(0)),
            latency: Histogram::new(histogram::REQUEST),
        }
    }

    fn count(&self, answered: &Answered<'_>) {
        self.statuses[slot(answered.status.as_u16())].fetch_add(1, Ordering::Relaxed);
        self.latency.observe(answered.took);
    }

    fn read(&self, route: &str, method: usize) -> RouteStatsBody {
        let counts = STATUSES.iter().zip(&self.statuses);
        let counts = counts.map(|(status, count)| StatusCountBody {
            status: *status,
            count: count.load(Ordering::Relaxed),
        });
        RouteStatsBody {
            method: METHODS.get(method).map_or(OTHER, Method::as_str).to_owned(),
            route: route.to_owned(),
            statuses: counts.filter(|count| count.count > 0).collect(),
            latency: self.latency.snapshot().into(),
        }
    }
}

/// The counter of a status.
fn slot(status: u16) -> usize {
    let of = |status| STATUSES.binary_search(&status).ok();
    // 200, the first status of most answers, is looked for like any other: five comparisons.
    of(status).or_else(|| of(status / 100 * 100)).unwrap_or(0)
}

impl HttpCounters {
    /// Counters for these routes.
    pub fn new(table: &RouteTable) -> Self {
        let names = table.templates().map(str::to_owned).chain([UNMATCHED.to_owned()]);
        Self {
            routes: names.map(|name| (name, Default::default())).collect(),
            in_flight: Arc::default(),
            connections: Arc::default(),
        }
    }

    /// Counts one answer.
    pub fn count(&self, answered: &Answered<'_>) {
        let Some(methods) = self.routes.get(answered.route) else {
            return;
        };
        let method = METHODS.iter().position(|method| method == answered.method);
        methods[method.unwrap_or(METHODS.len())]
            .get_or_init(RouteCounters::new)
            .count(answered);
    }

    /// What was counted.
    pub fn read(&self, streams: u64) -> HttpStatsBody {
        let asked = self.routes.iter().flat_map(|(route, methods)| {
            let counters = methods.iter().enumerate();
            counters.filter_map(move |(method, counters)| Some(counters.get()?.read(route, method)))
        });
        let mut routes: Vec<RouteStatsBody> = asked.collect();
        routes.sort_by(|a, b| (&a.route, &a.method).cmp(&(&b.route, &b.method)));
        let mut by_class = [0; 5];
        for count in routes.iter().flat_map(|route| &route.statuses) {
            by_class[usize::from(count.status / 100).clamp(1, 5) - 1] += count.count;
        }
        let latency = sum(routes.iter().map(|route| &route.latency));
        HttpStatsBody {
            requests: by_class.iter().sum(),
            by_class,
            total_micros: latency.sum_micros,
            in_flight: self.in_flight.count(),
            connections: self.connections.count(),
            streams,
            latency,
            routes,
        }
    }
}

/// Distributions over the same buckets as one.
fn sum<'a>(parts: impl Iterator<Item = &'a HistogramBody>) -> HistogramBody {
    let mut whole = HistogramBody::default();
    for part in parts.filter(|part| !part.counts.is_empty()) {
        if whole.counts.is_empty() {
            whole = part.clone();
            continue;
        }
        whole.sum_micros += part.sum_micros;
        for (sum, count) in whole.counts.iter_mut().zip(&part.counts) {
            *sum += count;
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use poem::http::StatusCode;

    use super::*;

    fn counters() -> HttpCounters {
        let table = RouteTable::new()
            .route("/v1/files", &[Method::GET, Method::POST])
            .route("/v1/files/{id}", &[Method::GET]);
        HttpCounters::new(&table)
    }

    fn answer(counters: &HttpCounters, method: &Method, route: &str, status: u16, millis: u64) {
        counters.count(&Answered {
            method,
            route,
            status: StatusCode::from_u16(status).unwrap(),
            took: Duration::from_millis(millis),
        });
    }

    #[test]
    fn answers_are_counted_by_route_method_and_status() {
        let counters = counters();
        answer(&counters, &Method::GET, "/v1/files", 200, 1);
        answer(&counters, &Method::GET, "/v1/files", 200, 3);
        answer(&counters, &Method::GET, "/v1/files", 401, 1);
        answer(&counters, &Method::POST, "/v1/files", 201, 1);
        answer(&counters, &Method::GET, UNMATCHED, 404, 1);
        let read = counters.read(3);
        assert_eq!((read.requests, read.by_class), (5, [0, 3, 0, 2, 0]));
        assert_eq!((read.streams, read.latency.count(), read.total_micros), (3, 5, 7_000));
        assert_eq!((read.status(200), read.status(401), read.status(503)), (2, 1, 0));
        let told: Vec<(&str, &str, Vec<(u16, u64)>)> = read
            .routes
            .iter()
            .map(|route| {
                let statuses = route.statuses.iter().map(|count| (count.status, count.count));
                (route.method.as_str(), route.route.as_str(), statuses.collect())
            })
            .collect();
        assert_eq!(
            told,
            [
                ("GET", "/v1/files", vec![(200, 2), (401, 1)]),
                ("POST", "/v1/files", vec![(201, 1)]),
                ("GET", UNMATCHED, vec![(404, 1)]),
            ]
        );
    }

    #[test]
    fn nothing_that_a_client_sends_adds_more_than_the_routes_have() {
        let counters = counters();
        for number in 0..1_000_u16 {
            let method = Method::from_bytes(format!("M{number}").as_bytes()).unwrap();
            answer(&counters, &method, UNMATCHED, 200 + number % 400, 1);
            answer(&counters, &Method::GET, &format!("/v1/{number}"), 200, 1);
        }
        let read = counters.read(0);
        assert_eq!(read.routes.len(), 1);
        assert_eq!((read.routes[0].method.as_str(), read.requests), (OTHER, 1_000));
        assert!(read.routes[0].statuses.len() <= STATUSES.len());
    }

    #[test]
    fn a_status_that_is_not_told_apart_counts_in_its_class() {
        for (status, counted) in [(200, 200), (418, 400), (599, 500), (308, 300), (226, 200), (100, 100)] {
            assert_eq!(STATUSES[slot(status)], counted, "{status}");
        }
        assert!(STATUSES.is_sorted());
        let ours = crate::http::problem::CATALOGUE.iter().map(|entry| entry.status);
        for status in ours {
            assert_eq!(STATUSES[slot(status)], status);
        }
    }
}
