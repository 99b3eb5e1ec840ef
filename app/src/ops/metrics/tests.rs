//! The exposition over figures of which every part is there, and its reference page.

use std::fmt::Write as _;

use openapi::{
    ClusterStatsBody, CodeCountBody, DependencyBody, LagBody, OperationStatsBody, PartitionStatsBody, RouteStatsBody,
    StatusCountBody, SubscriptionStatsBody, WorkerStatsBody,
};

use super::*;

const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");

fn times() -> HistogramBody {
    HistogramBody {
        bounds_micros: vec![1_000, 250_000],
        counts: vec![3, 2, 1],
        sum_micros: 1_500_000,
    }
}

/// Figures in which nothing is left out.
fn full() -> Reading {
    let mut body = StatsBody {
        version: "0.0.0".to_owned(),
        ..StatsBody::default()
    };
    body.process.started_at_ms = 1_000;
    body.http.routes = vec![RouteStatsBody {
        method: "GET".to_owned(),
        route: "/v1/files/{id}".to_owned(),
        statuses: vec![StatusCountBody { status: 200, count: 6 }],
        latency: times(),
    }];
    body.pool.statements = times();
    body.tokens.time = times();
    body.tokens.refused = vec![CodeCountBody {
        code: "token_expired".to_owned(),
        count: 2,
    }];
    body.revocations_age_ms = Some(250);
    body.passwords.time = times();
    body.webhooks.time = times();
    body.log.append = times();
    body.log.publish = times();
    body.log.lags = vec![LagBody {
        group: "usage".to_owned(),
        events: 7,
        delay: times(),
        held: 2,
        dead: 1,
    }];
    body.workers = Some(WorkerStatsBody::default());
    let backend = |kind: &str, name: &str, operation: &str| BackendStatsBody {
        name: name.to_owned(),
        kind: kind.to_owned(),
        breaker: "open".to_owned(),
        operations: vec![OperationStatsBody {
            operation: operation.to_owned(),
            failures: 1,
            time: times(),
        }],
        ..BackendStatsBody::default()
    };
    body.backends = vec![
        backend("files", "files local", "get"),
        backend("mail", "mail", "send"),
        backend("events", "kafka", "publish"),
    ];
    body.cluster = Some(ClusterStatsBody::default());
    let partition = |partition, lag| PartitionStatsBody {
        topic: "shop.orders".to_owned(),
        partition,
        lag,
    };
    body.subscriptions = vec![SubscriptionStatsBody {
        group: "usage".to_owned(),
        waiting: 7,
        partitions: vec![partition(0, Some(12)), partition(3, None)],
        ..SubscriptionStatsBody::default()
    }];
    body.health.dependencies = vec![DependencyBody {
        name: "database".to_owned(),
        status: "ok".to_owned(),
        reason: None,
    }];
    Reading {
        body,
        log_known: true,
        mail_known: true,
        webhooks_known: true,
    }
}

fn page(reading: &Reading) -> String {
    String::from_utf8(text(reading).unwrap()).unwrap()
}

#[test]
fn a_distribution_is_cumulative_and_ends_with_all() {
    let page = page(&full());
    let name = "plinth_storage_operation_duration_seconds";
    let labels = "backend=\"files local\",operation=\"get\"";
    for line in [
        format!("{name}_bucket{{{labels},le=\"0.001\"}} 3"),
        format!("{name}_bucket{{{labels},le=\"0.25\"}} 5"),
        format!("{name}_bucket{{{labels},le=\"+Inf\"}} 6"),
        format!("{name}_sum{{{labels}}} 1.5"),
        format!("{name}_count{{{labels}}} 6"),
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
}

#[test]
fn the_lag_of_a_partition_is_told_once_it_is_known() {
    let page = page(&full());
    let lag = "plinth_topic_lag_events{group=\"usage\",topic=\"shop.orders\",partition=\"0\"} 12";
    assert!(page.lines().any(|line| line == lag), "{page}");
    assert!(!page.contains("partition=\"3\""));
    assert!(page.contains("plinth_topic_waiting_events{group=\"usage\"} 7"));
}

#[test]
fn what_could_not_be_read_is_left_out_rather_than_zero() {
    let known = page(&full());
    for name in [
        "plinth_log_lag_events",
        "plinth_log_unsequenced_events",
        "plinth_mail_queue_messages",
    ] {
        assert!(known.contains(name), "{name}");
    }
    let unknown = page(&Reading {
        log_known: false,
        mail_known: false,
        webhooks_known: false,
        ..full()
    });
    for name in [
        "plinth_log_lag_events",
        "plinth_log_unsequenced_events",
        "plinth_mail_queue_messages",
    ] {
        assert!(!unknown.contains(name), "{name}");
    }
    assert!(unknown.contains("plinth_http_requests_total"));
}

#[test]
fn a_process_without_figures_tells_no_zeros_about_itself() {
    let reading = Reading {
        body: StatsBody::default(),
        log_known: false,
        mail_known: false,
        webhooks_known: false,
    };
    assert!(!page(&reading).contains("process_"));
}

#[test]
fn no_family_stands_twice() {
    let page = page(&full());
    let mut names: Vec<&str> = page.lines().filter(|line| line.starts_with("# TYPE")).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!((names.len(), all > 30), (all, true));
}

fn reference() -> String {
    let mut text = "\
# Metrics

`GET /metrics` on the operations listener (`127.0.0.1:9090` unless `PLINTH_OPS_BIND` says otherwise) gives every figure
below in the text format of Prometheus. It needs no token, holds no id, address or name of a user, and its labels are
names of Plinth's own, so that the number of series does not grow with what clients send. A figure whose backend does not
answer is left out until it does. The five to watch first are in bold.

```yaml
scrape_configs:
  - job_name: plinth
    static_configs: [{ targets: ['127.0.0.1:9090'] }]
```

[examples/alerts.yaml](examples/alerts.yaml) has rules to begin with. `GET /ops/stats` tells the same as one JSON
document, `GET /ops/stats/stream?every_ms=1000` again and again; `plinth top` shows that.

This page is made from the code: `UPDATE=1 cargo test -p plinth metrics` writes it anew.

| metric | type | labels | meaning |
|---|---|---|---|
"
    .to_owned();
    let five = [
        "plinth_database_pool_utilisation_ratio",
        "plinth_event_publish_duration_seconds",
        "plinth_storage_operation_duration_seconds",
        "plinth_token_validation_duration_seconds",
        "plinth_mail_queue_messages",
    ];
    for family in families(&full()) {
        let kind = match family.get_field_type() {
            MetricType::COUNTER => "counter",
            MetricType::HISTOGRAM => "histogram",
            _ => "gauge",
        };
        let names = family.get_metric()[0].get_label().iter().map(LabelPair::name);
        let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
        let mark = if five.contains(&family.name()) { "**" } else { "" };
        writeln!(
            text,
            "| {mark}`{}`{mark} | {kind} | {} | {} |",
            family.name(),
            names.join(", "),
            family.help()
        )
        .unwrap();
    }
    text
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "whoever runs the test says whether the page is to be written"
)]
fn the_committed_reference_is_what_the_code_says() {
    let fresh = reference();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(REFERENCE, &fresh).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(REFERENCE).unwrap(),
        fresh,
        "docs/metrics.md is out of date: run `UPDATE=1 cargo test -p plinth metrics`"
    );
}
