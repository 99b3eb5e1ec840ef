//! What librdkafka tells about the cluster while it works: who can be reached, what waits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::stats::ClusterStats;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;

/// How the cluster was when it was last heard of; shared by whoever works with it.
#[derive(Clone, Default)]
pub(crate) struct Watch(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    stats: ClusterStats,
    /// Whether no broker could be reached; until the first word of one nobody knows.
    all_down: bool,
    /// Whether the last look for the topic failed.
    lost: bool,
    /// Whether the last attempt to hand events over failed.
    failing: bool,
    /// What the last fault was, in the words of librdkafka.
    fault: Option<String>,
}

impl Watch {
    /// What is known now.
    pub(crate) fn cluster(&self) -> ClusterStats {
        let seen = self.lock();
        ClusterStats {
            away: seen.all_down || seen.lost || seen.failing,
            ..seen.stats
        }
    }

    /// Why a broker could not be reached or spoken to, when that was the last that was heard. Calls fail with no more than a
    /// code; the address and the reason are told aside.
    pub(crate) fn fault(&self) -> Option<String> {
        self.lock().fault.clone()
    }

    /// Notes how a look for the topic ended. That it is there says nothing about whether it takes events.
    pub(crate) fn looked(&self, well: bool) {
        self.lock().lost = !well;
    }

    /// Notes how an attempt to hand events over ended.
    pub(crate) fn attempted(&self, well: bool) {
        let mut seen = self.lock();
        seen.failing = !well;
        if well {
            (seen.all_down, seen.lost) = (false, false);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Watch {
    /// librdkafka says everything several times over; what matters of it is told by whoever calls it.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(facility, "{message}");
            }
            RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning
            | RDKafkaLogLevel::Notice
            | RDKafkaLogLevel::Info
            | RDKafkaLogLevel::Debug => tracing::debug!(facility, "{message}"),
        }
    }

    fn stats(&self, statistics: Statistics) {
        let up = |state: &str| u32::from(state == "UP");
        // The addresses that were given are brokers too, under numbers below zero, until these are known by their own.
        let known = statistics.brokers.values().filter(|broker| broker.nodeid >= 0);
        let (brokers, brokers_up) = known.fold((0_u32, 0_u32), |(all, there), broker| {
            (all.saturating_add(1), there.saturating_add(up(&broker.state)))
        });
        let any_up = statistics.brokers.values().any(|broker| up(&broker.state) == 1);
        let mut seen = self.lock();
        seen.stats = ClusterStats {
            brokers,
            brokers_up,
            queued_events: statistics.msg_cnt,
            queued_bytes: statistics.msg_size,
            away: false,
        };
        if any_up {
            seen.all_down = false;
            seen.fault = None;
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            let mut seen = self.lock();
            if !std::mem::replace(&mut seen.all_down, true) {
                tracing::warn!(reason, "no Kafka broker can be reached");
            }
            seen.stats.brokers_up = 0;
        } else {
            tracing::debug!(%error, reason, "a fault that librdkafka mends by itself");
            self.lock().fault = Some(reason.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_down() -> KafkaError {
        KafkaError::Global(RDKafkaErrorCode::AllBrokersDown)
    }

    fn told(brokers: &[(i32, &str)]) -> Statistics {
        let of = |(id, state): &(i32, &str)| {
            let name = format!("broker {id}");
            let broker = rdkafka::statistics::Broker {
                nodeid: *id,
                state: (*state).to_owned(),
                ..rdkafka::statistics::Broker::default()
            };
            (name, broker)
        };
        Statistics {
            brokers: brokers.iter().map(of).collect(),
            msg_cnt: 7,
            msg_size: 700,
            ..Statistics::default()
        }
    }

    #[test]
    fn brokers_are_counted_under_their_own_numbers() {
        let watch = Watch::default();
        watch.stats(told(&[(-1, "UP"), (1, "UP"), (2, "DOWN"), (3, "UP")]));
        let stats = watch.cluster();
        assert_eq!((stats.brokers, stats.brokers_up), (3, 2));
        assert_eq!((stats.queued_events, stats.queued_bytes), (7, 700));
    }

    #[test]
    fn a_cluster_is_away_until_one_of_it_is_heard_of() {
        let watch = Watch::default();
        assert!(!watch.cluster().away, "nothing is known yet");
        let refused = KafkaError::Global(RDKafkaErrorCode::BrokerTransportFailure);
        watch.error(refused, "kafka:9092/bootstrap: Connection refused");
        watch.error(all_down(), "2/2 brokers are down");
        assert!(watch.cluster().away);
        assert!(watch.fault().is_some_and(|fault| fault.contains("Connection refused")));
        watch.stats(told(&[(1, "CONNECT"), (2, "DOWN")]));
        assert!(watch.cluster().away);
        watch.stats(told(&[(1, "CONNECT"), (2, "UP")]));
        assert!(!watch.cluster().away);
        assert_eq!(watch.fault(), None);
    }

    #[test]
    fn a_cluster_that_takes_nothing_is_away_too() {
        let watch = Watch::default();
        watch.attempted(false);
        watch.stats(told(&[(1, "UP")]));
        watch.looked(true);
        assert!(watch.cluster().away);
        watch.looked(false);
        watch.attempted(true);
        assert!(!watch.cluster().away);
    }
}
