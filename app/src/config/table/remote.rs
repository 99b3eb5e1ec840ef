//! What a process reaches over the network beyond its database.

use super::super::key::Key;
use super::super::key::Preset::{Is, Words};
use super::super::kind::Kind;
use super::super::rule;
use super::{MINUTE, SECOND};

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "smtp.url",
        Kind::Absent("SMTP; mails land in the outbox folder", true),
        Words("none"),
        "",
        "The mail server.",
    ),
    Key::new(
        "kafka.brokers",
        Kind::Text("one or several `HOST:PORT` with commas between", rule::brokers),
        Words("none: events are read from the log alone"),
        "kafka-1.example.org:9092,kafka-2.example.org:9092",
        "The brokers that are asked for the others. With them every event of the log goes to Kafka; while they are away it waits in the log, and nothing else does.",
    ),
    Key::new(
        "kafka.topic",
        Kind::Text("1 to 249 of `a-z A-Z 0-9 . _ -`, not `.` or `..`", rule::topic),
        Is("plinth.events"),
        "shop.events",
        "The topic that events go to. It is made when it is missing.",
    ),
    Key::new(
        "kafka.partitions",
        Kind::Integer(1, 10_000),
        Is("12"),
        "48",
        "Partitions of the topic when it is made here. More can be added later, which moves users to other partitions: see docs/events.md.",
    ),
    Key::new(
        "kafka.replication",
        Kind::Integer(1, 32),
        Words("as many as the cluster makes by itself"),
        "3",
        "Replicas of each partition when the topic is made here. Three of which two must be in sync (`min.insync.replicas` of the cluster) lose nothing when a broker dies.",
    ),
    Key::new(
        "kafka.consume",
        Kind::Text("one or several names of topics with commas between", rule::topics),
        Words("none: only our own events are handled"),
        "shop.orders,shop.bills",
        "Topics of other services: their events, which must be CloudEvents, are handled as ours are, once each. See docs/events.md.",
    ),
    Key::new(
        "kafka.consume_from",
        Kind::Choice(&["earliest", "latest"]),
        Is("earliest"),
        "latest",
        "Where reading begins in a topic that was never read: with the oldest record that it has, or with the next one.",
    ),
    Key::new(
        "kafka.group",
        Kind::Text("1 to 249 of `a-z A-Z 0-9 . _ -`, not `.` or `..`", rule::topic),
        Is("plinth"),
        "shop",
        "What the names of our consumer groups begin with: the handler group `usage` is `plinth.usage` to the brokers. Installations that share a cluster need one each.",
    ),
    Key::new(
        "kafka.delivery_timeout",
        Kind::Duration(SECOND, 5 * MINUTE),
        Is("30s"),
        "1m",
        "How long a batch may take until all replicas in sync have it; then it is handed over again.",
    ),
    Key::new(
        "kafka.security_protocol",
        Kind::Choice(&["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]),
        Is("plaintext"),
        "sasl_ssl",
        "How brokers are spoken to.",
    ),
    Key::new(
        "kafka.sasl_mechanism",
        Kind::Choice(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]),
        Words("none"),
        "SCRAM-SHA-512",
        "How we prove to brokers who we are.",
    ),
    Key::new(
        "kafka.sasl_username",
        Kind::Text("1 to 256 letters without control letters", rule::short_text),
        Words("none"),
        "plinth",
        "Who we are to brokers.",
    ),
    Key::new(
        "kafka.sasl_password",
        Kind::SecretText("1 to 256 letters without control letters", rule::short_text),
        Words("none"),
        "",
        "The password towards brokers.",
    ),
    Key::new(
        "kafka.tls_ca",
        Kind::Path,
        Words("the authorities that the system trusts"),
        "/etc/plinth/kafka-ca.pem",
        "A file of the certificate authorities, in PEM, that vouch for the brokers.",
    ),
    Key::new(
        "kafka.tls_certificate",
        Kind::Path,
        Words("none"),
        "/etc/plinth/kafka.pem",
        "A file with our certificate, in PEM, for brokers that ask for one.",
    ),
    Key::new(
        "kafka.tls_key",
        Kind::Path,
        Words("none"),
        "/etc/plinth/kafka.key",
        "A file with the key of our certificate, in PEM.",
    ),
    Key::new(
        "kafka.settings",
        Kind::SecretText(
            "settings `name=value` with commas or line breaks between",
            rule::settings,
        ),
        Words("none"),
        "",
        "Further settings of librdkafka by their own names, such as `socket.timeout.ms=5000`. Those that the order of events or their safety rests on are refused.",
    ),
    Key::new(
        "redis.url",
        Kind::Absent("Redis; limits are kept by each process", true),
        Words("none"),
        "",
        "The Redis server.",
    ),
];
