//! The broker that events are relayed to, and the topics that are read from it.

use openapi::{StatsBody, SubscriptionStatsBody};

use super::Page;

impl Page {
    pub(super) fn broker(&mut self, stats: &StatsBody) {
        self.operations(
            stats.backends.iter().filter(|backend| backend.kind == "events"),
            [
                "plinth_broker_operation_duration_seconds",
                "plinth_broker_operation_failures_total",
            ],
            "How long a batch of events took until the broker had acknowledged all of it.",
        );
        let Some(cluster) = &stats.cluster else { return };
        for (name, help, value) in [
            (
                "plinth_broker_nodes",
                "Brokers that the cluster has told of.",
                f64::from(cluster.brokers),
            ),
            (
                "plinth_broker_nodes_connected",
                "Brokers that this process is connected to; it connects to those that it needs.",
                f64::from(cluster.brokers_up),
            ),
            (
                "plinth_broker_queue_events",
                "Events handed over by this process and not acknowledged yet.",
                cluster.queued_events as f64,
            ),
            (
                "plinth_broker_queue_bytes",
                "The size of those events.",
                cluster.queued_bytes as f64,
            ),
            (
                "plinth_broker_away",
                "1 when no broker is reached, or those that are take nothing.",
                f64::from(u8::from(cluster.away)),
            ),
        ] {
            self.gauge(name, help, value);
        }
    }

    /// What is read from topics of other services.
    pub(super) fn subscriptions(&mut self, stats: &StatsBody) {
        let read = &stats.subscriptions;
        let numbers: Vec<Vec<String>> = read
            .iter()
            .map(|read| read.partitions.iter().map(|one| one.partition.to_string()).collect())
            .collect();
        let places = read.iter().zip(&numbers).flat_map(|(read, numbers)| {
            let known = read.partitions.iter().zip(numbers);
            known.filter_map(|(one, number)| {
                let names = [
                    ("group", read.group.as_str()),
                    ("topic", one.topic.as_str()),
                    ("partition", number.as_str()),
                ];
                Some((names, one.lag?))
            })
        });
        let lags: Vec<([(&'static str, &str); 3], u64)> = places.collect();
        self.gauges(
            "plinth_topic_lag_events",
            "Records of a partition of another service's topic that a handler group is not done with, told by the process that has the partition.",
            lags.iter().map(|(names, lag)| (names.as_slice(), *lag as f64)),
        );
        let groups: Vec<[(&'static str, &str); 1]> = read.iter().map(|read| [("group", read.group.as_str())]).collect();
        let mut each = |name: &str, help: &str, value: &dyn Fn(&SubscriptionStatsBody) -> f64| {
            let samples = groups.iter().zip(read);
            self.gauges(name, help, samples.map(|(names, read)| (names.as_slice(), value(read))));
        };
        each(
            "plinth_topic_waiting_events",
            "Records received from topics of other services that wait to be handled in this process.",
            &|read| read.waiting as f64,
        );
        each(
            "plinth_topic_paused",
            "1 while no more records are fetched, since too many wait.",
            &|read| f64::from(u8::from(read.paused)),
        );
        each(
            "plinth_topic_away",
            "1 when no broker is reached to read topics from.",
            &|read| f64::from(u8::from(read.away)),
        );
    }
}
