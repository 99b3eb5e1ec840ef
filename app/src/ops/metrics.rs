//! The figures in the exposition format of Prometheus: one page made of the same reading that `/ops/stats` shows.
//!
//! Labels hold names of ours alone (routes, statuses, operations, groups, configured backends and topics), never what a client sent,
//! so that the number of series has a bound. What could not be read is left out: a gap is honest, a zero is not.

mod broker;

use openapi::{BackendStatsBody, HistogramBody, LogStatsBody, StatsBody};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};

use super::stats::Reading;

/// The media type of the exposition.
pub(super) const MEDIA_TYPE: &str = prometheus::TEXT_FORMAT;

type Labels<'a> = &'a [(&'static str, &'a str)];

/// The page.
///
/// # Errors
/// When the encoder refuses a family, which would be a fault in this file.
pub(super) fn text(reading: &Reading) -> prometheus::Result<Vec<u8>> {
    let mut text = Vec::new();
    TextEncoder::new().encode(&families(reading), &mut text)?;
    Ok(text)
}

fn families(reading: &Reading) -> Vec<MetricFamily> {
    let mut page = Page::default();
    let stats = &reading.body;
    page.process(stats);
    page.http(stats);
    page.database(stats);
    page.tokens(stats);
    page.log(&stats.log, reading.log_known);
    page.mail(stats, reading.mail_known);
    webhooks::add(
        &mut page,
        &stats.webhooks,
        reading.webhooks_known,
        stats.workers.is_some(),
    );
    page.backends(&stats.backends);
    page.broker(stats);
    page.subscriptions(stats);
    page.health(stats);
    page.0
}

/// Families in the making. One without a sample is left out.
#[derive(Default)]
struct Page(Vec<MetricFamily>);

impl Page {
    fn add(&mut self, name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) {
        if metrics.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.0.push(family);
    }

    fn gauges<'a>(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = (Labels<'a>, f64)>) {
        let metrics = samples.into_iter().map(|(names, value)| {
            let mut metric = Metric::from_label(labels(names));
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
            metric
        });
        self.add(name, help, MetricType::GAUGE, metrics.collect());
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.gauges(name, help, [(&[] as Labels<'_>, value)]);
    }

    fn counter(&mut self, name: &str, help: &str, value: f64) {
        self.add(name, help, MetricType::COUNTER, vec![count(&[], value)]);
    }

    fn histogram(&mut self, name: &str, help: &str, times: &HistogramBody) {
        let metrics = distribution(&[], times).into_iter().collect();
        self.add(name, help, MetricType::HISTOGRAM, metrics);
    }

    fn process(&mut self, stats: &StatsBody) {
        let version: Labels<'_> = &[("version", &stats.version)];
        self.gauges(
            "plinth_build_info",
            "The version that runs, as a label.",
            [(version, 1.0)],
        );
        let process = &stats.process;
        if process.started_at_ms > 0 {
            self.counter(
                "process_cpu_seconds_total",
                "Time on a core, user and system together.",
                seconds(process.cpu_micros),
            );
            for (name, help, value) in [
                (
                    "process_resident_memory_bytes",
                    "Resident memory.",
                    process.resident_bytes as f64,
                ),
                (
                    "process_virtual_memory_bytes",
                    "Address space.",
                    process.virtual_bytes as f64,
                ),
                ("process_threads", "Threads.", process.threads as f64),
                ("process_open_fds", "Open file descriptors.", process.open_files as f64),
                (
                    "process_max_fds",
                    "The most file descriptors that may be open.",
                    process.max_files as f64,
                ),
                (
                    "process_start_time_seconds",
                    "When the process started, since 1970.",
                    process.started_at_ms as f64 / 1_000.0,
                ),
            ] {
                self.gauge(name, help, value);
            }
        }
        let runtime = &stats.runtime;
        self.gauge(
            "plinth_runtime_workers",
            "Threads that run tasks.",
            runtime.workers as f64,
        );
        self.gauge(
            "plinth_runtime_tasks",
            "Tasks that have not ended.",
            runtime.alive_tasks as f64,
        );
        self.gauge(
            "plinth_runtime_queued_tasks",
            "Tasks that wait in the queue that all workers share.",
            runtime.queued_tasks as f64,
        );
        self.counter(
            "plinth_runtime_busy_seconds_total",
            "The time that all workers together were busy.",
            seconds(runtime.busy_micros),
        );
    }

    fn http(&mut self, stats: &StatsBody) {
        let http = &stats.http;
        let (mut answers, mut times) = (Vec::new(), Vec::new());
        for route in &http.routes {
            let names = [("method", route.method.as_str()), ("route", route.route.as_str())];
            times.extend(distribution(&names, &route.latency));
            for status in &route.statuses {
                let text = status.status.to_string();
                answers.push(count(
                    &[names[0], names[1], ("status", text.as_str())],
                    status.count as f64,
                ));
            }
        }
        self.add(
            "plinth_http_requests_total",
            "Answers by route template and status; what fits no route is `unmatched`.",
            MetricType::COUNTER,
            answers,
        );
        self.add(
            "plinth_http_request_duration_seconds",
            "From the head of a request to the head of its answer.",
            MetricType::HISTOGRAM,
            times,
        );
        for (name, help, value) in [
            (
                "plinth_http_requests_in_flight",
                "Requests whose answer has not begun.",
                http.in_flight,
            ),
            (
                "plinth_http_connections",
                "Open connections of the API listener.",
                http.connections,
            ),
            (
                "plinth_event_streams",
                "Live event streams of this process.",
                http.streams,
            ),
        ] {
            self.gauge(name, help, value as f64);
        }
    }

    fn database(&mut self, stats: &StatsBody) {
        let pool = &stats.pool;
        let (idle, used): (Labels<'_>, Labels<'_>) = (&[("state", "idle")], &[("state", "in_use")]);
        self.gauges(
            "plinth_database_pool_connections",
            "Open connections of the database pool.",
            [
                (idle, f64::from(pool.idle)),
                (used, f64::from(pool.open.saturating_sub(pool.idle))),
            ],
        );
        self.gauge(
            "plinth_database_pool_max_connections",
            "The most connections that the pool opens.",
            f64::from(pool.max),
        );
        self.gauge(
            "plinth_database_pool_utilisation_ratio",
            "The share of the pool in use, 0 to 1.",
            pool.utilisation,
        );
        self.histogram(
            "plinth_database_statement_duration_seconds",
            "How long a statement took, the wait for a connection included.",
            &pool.statements,
        );
        self.counter(
            "plinth_database_statement_failures_total",
            "Statements that failed.",
            pool.failures as f64,
        );
        self.counter(
            "plinth_database_slow_statements_total",
            "Statements that took longer than 0.1 s.",
            pool.slow as f64,
        );
    }

    fn tokens(&mut self, stats: &StatsBody) {
        self.histogram(
            "plinth_token_validation_duration_seconds",
            "How long the check of an access token took.",
            &stats.tokens.time,
        );
        let refused = stats.tokens.refused.iter().map(|code| (code.code.as_str(), code.count));
        let outcomes = [("accepted", stats.tokens.accepted)].into_iter().chain(refused);
        let metrics = outcomes.map(|(outcome, times)| count(&[("outcome", outcome)], times as f64));
        self.add(
            "plinth_token_validations_total",
            "Checks of access tokens, `accepted` or by the code of the refusal.",
            MetricType::COUNTER,
            metrics.collect(),
        );
        if let Some(age) = stats.revocations_age_ms {
            self.gauge(
                "plinth_revocation_feed_age_seconds",
                "Since the revocation feed was last read.",
                age as f64 / 1_000.0,
            );
        }
        let passwords = &stats.passwords;
        for (name, help, value) in [
            (
                "plinth_password_hashing_waiting",
                "Passwords that wait to be hashed.",
                passwords.waiting,
            ),
            (
                "plinth_password_hashing_running",
                "Passwords that are being hashed.",
                passwords.running,
            ),
            (
                "plinth_password_hashing_capacity",
                "Passwords that may wait.",
                passwords.capacity,
            ),
        ] {
            self.gauge(name, help, value as f64);
        }
        self.counter(
            "plinth_password_hashings_shed_total",
            "Passwords that were not hashed because too many waited.",
            passwords.shed as f64,
        );
        self.histogram(
            "plinth_password_hashing_duration_seconds",
            "How long the hashing of a password took, the wait for its turn included.",
            &passwords.time,
        );
    }

    fn log(&mut self, log: &LogStatsBody, known: bool) {
        self.histogram(
            "plinth_event_append_duration_seconds",
            "Of events made by clients, from the call to the commit.",
            &log.append,
        );
        let groups = log.lags.iter().map(|lag| (lag.group.as_str(), &lag.delay));
        let followers = [("streams", &log.publish)].into_iter().chain(groups);
        let metrics = followers.filter_map(|(follower, times)| distribution(&[("follower", follower)], times));
        self.add(
            "plinth_event_publish_duration_seconds",
            "Publish latency: from the time of an event until live streams or a handler group of this process had it.",
            MetricType::HISTOGRAM,
            metrics.collect(),
        );
        if !known {
            return;
        }
        self.gauge(
            "plinth_log_unsequenced_events",
            "Committed events that wait for their position.",
            log.unsequenced as f64,
        );
        self.gauge(
            "plinth_log_head_events",
            "Events with a position, of all nodes.",
            log.head as f64,
        );
        let lags: Vec<[(&'static str, &str); 1]> = log.lags.iter().map(|lag| [("group", lag.group.as_str())]).collect();
        let samples = lags
            .iter()
            .zip(&log.lags)
            .map(|(names, lag)| (names.as_slice(), lag.events as f64));
        self.gauges("plinth_log_lag_events", "Events that a group has yet to pass.", samples);
        let each = |count: fn(&openapi::LagBody) -> u64| {
            let samples = lags.iter().zip(&log.lags);
            samples.map(move |(names, lag)| (names.as_slice(), count(lag) as f64))
        };
        self.gauges(
            "plinth_log_held_events",
            "Events that a group failed at and tries again, and those of the same users behind them.",
            each(|lag| lag.held),
        );
        self.gauges(
            "plinth_log_dead_letters",
            "Events that a group gave up: somebody must redrive or discard them.",
            each(|lag| lag.dead),
        );
    }

    fn mail(&mut self, stats: &StatsBody, known: bool) {
        if known {
            let states: [(Labels<'_>, u64); 3] = [
                (&[("state", "queued")], stats.mail.queued),
                (&[("state", "sending")], stats.mail.sending),
                (&[("state", "dead")], stats.mail.dead),
            ];
            self.gauges(
                "plinth_mail_queue_messages",
                "Mail queue depth: messages that wait, that a worker holds, and that were given up.",
                states.map(|(names, messages)| (names, messages as f64)),
            );
            self.gauge(
                "plinth_mail_queue_oldest_due_seconds",
                "How long the oldest due message has waited.",
                stats.mail.oldest_due_seconds as f64,
            );
        }
        let Some(workers) = &stats.workers else { return };
        for (name, help, value) in [
            (
                "plinth_mails_sent_total",
                "Messages handed over by this process.",
                workers.mails_sent,
            ),
            (
                "plinth_mail_failures_total",
                "Attempts to hand a message over that failed in this process.",
                workers.mail_failures,
            ),
            (
                "plinth_events_sequenced_total",
                "Events that got their position in this process.",
                workers.sequenced,
            ),
            (
                "plinth_events_handled_total",
                "Events handled in this process.",
                workers.handled,
            ),
            (
                "plinth_event_handling_failures_total",
                "Handlings of events that failed in this process.",
                workers.handler_failures,
            ),
        ] {
            self.counter(name, help, value as f64);
        }
    }

    fn backends(&mut self, backends: &[BackendStatsBody]) {
        self.operations(
            backends.iter().filter(|backend| backend.kind == "files"),
            [
                "plinth_storage_operation_duration_seconds",
                "plinth_storage_operation_failures_total",
            ],
            "Storage operation time: reading until the first byte, writing until the last.",
        );
        self.operations(
            backends.iter().filter(|backend| backend.kind == "mail"),
            [
                "plinth_mail_operation_duration_seconds",
                "plinth_mail_operation_failures_total",
            ],
            "How long handing a message over took.",
        );
        let states = ["closed", "half_open", "open"];
        let named = backends.iter().flat_map(|backend| {
            states.map(|state| {
                let is = f64::from(u8::from(backend.breaker == state));
                ([("backend", backend.name.as_str()), ("state", state)], is)
            })
        });
        let named: Vec<_> = named.collect();
        self.gauges(
            "plinth_breaker_state",
            "1 for the state that the breaker of a backend is in.",
            named.iter().map(|(names, is)| (names.as_slice(), *is)),
        );
        let refused = backends
            .iter()
            .map(|backend| count(&[("backend", backend.name.as_str())], backend.refused as f64));
        self.add(
            "plinth_backend_refused_calls_total",
            "Calls that were kept from a backend by its breaker or its bulkhead.",
            MetricType::COUNTER,
            refused.collect(),
        );
    }

    fn operations<'a>(&mut self, backends: impl Iterator<Item = &'a BackendStatsBody>, names: [&str; 2], help: &str) {
        let (mut times, mut failures) = (Vec::new(), Vec::new());
        for backend in backends {
            for operation in &backend.operations {
                let labels = [
                    ("backend", backend.name.as_str()),
                    ("operation", operation.operation.as_str()),
                ];
                times.extend(distribution(&labels, &operation.time));
                failures.push(count(&labels, operation.failures as f64));
            }
        }
        self.add(names[0], help, MetricType::HISTOGRAM, times);
        self.add(names[1], "Calls of it that failed.", MetricType::COUNTER, failures);
    }

    fn health(&mut self, stats: &StatsBody) {
        let dependencies = &stats.health.dependencies;
        let names: Vec<[(&'static str, &str); 1]> = dependencies
            .iter()
            .map(|dependency| [("dependency", dependency.name.as_str())])
            .collect();
        let samples = names.iter().zip(dependencies).map(|(names, dependency)| {
            let up = f64::from(u8::from(dependency.status == "ok"));
            (names.as_slice(), up)
        });
        self.gauges("plinth_dependency_up", "1 when a dependency is well, else 0.", samples);
        self.gauge(
            "plinth_ready",
            "1 when this node may be sent requests, else 0.",
            f64::from(u8::from(stats.health.status != super::health::UNREADY)),
        );
    }
}

fn labels(names: Labels<'_>) -> Vec<LabelPair> {
    let pair = |(name, value): &(&'static str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    names.iter().map(pair).collect()
}

fn count(names: Labels<'_>, value: f64) -> Metric {
    let mut metric = Metric::from_label(labels(names));
    let mut counter = Counter::default();
    counter.set_value(value);
    metric.set_counter(counter);
    metric
}

/// None where nothing is known.
fn distribution(names: Labels<'_>, times: &HistogramBody) -> Option<Metric> {
    if times.counts.is_empty() {
        return None;
    }
    let mut upto = 0;
    let buckets = times.bounds_micros.iter().zip(&times.counts).map(|(bound, inside)| {
        upto += inside;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(seconds(*bound));
        bucket.set_cumulative_count(upto);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(times.count());
    histogram.set_sample_sum(seconds(times.sum_micros));
    let mut metric = Metric::from_label(labels(names));
    metric.set_histogram(histogram);
    Some(metric)
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

mod webhooks;

#[cfg(test)]
mod tests;
