//! The broker that events are relayed to.

use openapi::StatsBody;

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
}
