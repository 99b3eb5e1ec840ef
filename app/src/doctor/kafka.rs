//! Kafka: whether the cluster answers, and what the topic of events is like.

use std::net::IpAddr;

use domain::stats::TopicStats;

use super::{Verdict, count, innermost};
use crate::compose::look;
use crate::config::KafkaConfig;

/// Asks the cluster for the topic. That events reach it is seen by the check of the log, which waits for all groups.
pub(super) async fn topic(kafka: &KafkaConfig) -> Verdict {
    match look::topic(kafka, &kafka.topic).await {
        Ok(Some(stats)) => judge(&kafka.topic, stats),
        Ok(None) => Verdict::warn(
            format!("the cluster answers and has no topic {}", kafka.topic),
            "start a worker, which makes it, or make it by hand; kafka.topic names another",
        ),
        Err(error) => Verdict::fail(
            innermost(&error),
            "start it, or correct kafka.brokers and what kafka.security_protocol, sasl_ and tls_ say; until then events wait in the log",
        ),
    }
}

/// Asks the cluster for the topics of other services.
pub(super) async fn foreign(kafka: &KafkaConfig) -> Verdict {
    let (mut partitions, mut missing) = (0_u64, Vec::new());
    for name in &kafka.consume {
        match look::topic(kafka, name).await {
            Ok(Some(stats)) if stats.leaderless > 0 => {
                return Verdict::fail(
                    format!("{} partitions of {name} without a leader", stats.leaderless),
                    "bring back the brokers that are away: what is there is not read until then",
                );
            }
            Ok(Some(stats)) => partitions += u64::from(stats.partitions),
            Ok(None) => missing.push(name.as_str()),
            Err(error) => return Verdict::fail(innermost(&error), "as for the check before"),
        }
    }
    if missing.is_empty() {
        let names = kafka.consume.join(", ");
        return Verdict::ok(format!("{names}: {}", count(partitions, "partition")));
    }
    Verdict::warn(
        format!("the cluster has no topic {}", missing.join(", ")),
        "let the service that writes there make it, or correct kafka.consume; a topic that is made later is found within half a minute",
    )
}

fn judge(topic: &str, stats: TopicStats) -> Verdict {
    let brokers = count(stats.brokers.into(), "broker");
    let partitions = count(stats.partitions.into(), "partition");
    if stats.leaderless > 0 {
        let cause = format!("{} of {partitions} of {topic} without a leader", stats.leaderless);
        return Verdict::fail(
            cause,
            "bring back the brokers that are away: events of some users wait until then",
        );
    }
    if stats.in_sync < stats.replicas {
        let cause = format!(
            "{topic}: a partition has {} of {} replicas in sync",
            stats.in_sync, stats.replicas
        );
        return Verdict::warn(
            cause,
            "bring back the broker that is away, or wait until it has caught up",
        );
    }
    if stats.replicas < 2 {
        return Verdict::warn(
            format!("{brokers}, {topic} of {partitions} without a second replica: what is on a lost disk is lost"),
            "give the topic three replicas, of which two must be in sync (min.insync.replicas)",
        );
    }
    let replicas = count(stats.replicas.into(), "replica");
    Verdict::ok(format!(
        "{brokers}, {topic} of {partitions} with {replicas}, all in sync"
    ))
}

/// Whether the way to the brokers is encrypted. On this machine it need not be.
pub(super) fn tls(kafka: &KafkaConfig) -> Verdict {
    if kafka.security_protocol.ends_with("ssl") {
        return Verdict::ok("encrypted");
    }
    let elsewhere = kafka.brokers.split(',').map(str::trim).find(|broker| !is_here(broker));
    match elsewhere {
        None => Verdict::ok("the brokers are on this machine"),
        Some(broker) => Verdict::warn(
            format!("what goes to {broker} is unencrypted"),
            "set kafka.security_protocol to sasl_ssl or ssl, and kafka.tls_ca when the brokers' authority is your own",
        ),
    }
}

fn is_here(broker: &str) -> bool {
    let host = broker.rsplit_once(':').map_or(broker, |(host, _)| host);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    fn stats(replicas: u32, in_sync: u32, leaderless: u32) -> TopicStats {
        TopicStats {
            brokers: 3,
            partitions: 12,
            replicas,
            in_sync,
            leaderless,
        }
    }

    #[test]
    fn what_is_wrong_with_a_topic_is_told_by_its_weight() {
        for (stats, state, word) in [
            (stats(3, 3, 0), State::Ok, "all in sync"),
            (stats(3, 2, 0), State::Warn, "2 of 3 replicas"),
            (stats(1, 1, 0), State::Warn, "second replica"),
            (stats(3, 1, 4), State::Fail, "4 of 12 partitions"),
        ] {
            let verdict = judge("plinth.events", stats);
            assert!(verdict.state == state && verdict.cause.contains(word), "{verdict:?}");
        }
    }

    #[test]
    fn brokers_elsewhere_are_to_be_spoken_to_encrypted() {
        assert!(is_here("localhost:9092") && is_here("127.0.0.1:9092") && is_here("[::1]:9092"));
        assert!(!is_here("kafka:9092") && !is_here("10.0.0.1:9092"));
    }
}
