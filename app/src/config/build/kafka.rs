//! Section `kafka`: its values, and what they ask of each other.

use super::super::fault::Origin;
use super::super::{Config, KafkaConfig, Secret, rule};
use super::{Mismatch, Resolved, Rules};

/// Keys that are of no use without brokers, and that somebody who sets them counts on.
const KAFKA_WAYS: [&str; 8] = [
    "kafka.consume",
    "kafka.sasl_mechanism",
    "kafka.sasl_username",
    "kafka.sasl_password",
    "kafka.tls_ca",
    "kafka.tls_certificate",
    "kafka.tls_key",
    "kafka.settings",
];

/// The section; none without brokers.
pub(super) fn read(values: &Resolved) -> Result<Option<KafkaConfig>, Mismatch> {
    let brokers: Option<String> = values.get("kafka.brokers")?;
    let consume: Option<String> = values.get("kafka.consume")?;
    let settings: Option<Secret<String>> = values.get("kafka.settings")?;
    let settings = settings.and_then(|text| rule::read_settings(text.expose()));
    let config = |brokers| {
        Ok(KafkaConfig {
            brokers,
            topic: values.get("kafka.topic")?,
            partitions: values.get("kafka.partitions")?,
            replication: values.get("kafka.replication")?,
            consume: consume.as_deref().map(rule::read_topics).unwrap_or_default(),
            consume_from_beginning: values.get::<String>("kafka.consume_from")? == "earliest",
            group: values.get("kafka.group")?,
            delivery_timeout: values.get("kafka.delivery_timeout")?,
            security_protocol: values.get("kafka.security_protocol")?,
            sasl_mechanism: values.get("kafka.sasl_mechanism")?,
            sasl_username: values.get("kafka.sasl_username")?,
            sasl_password: values.get("kafka.sasl_password")?,
            tls_ca: values.get("kafka.tls_ca")?,
            tls_certificate: values.get("kafka.tls_certificate")?,
            tls_key: values.get("kafka.tls_key")?,
            settings: Secret::new(settings.unwrap_or_default()),
        })
    };
    brokers.map(config).transpose()
}

/// The settings of Kafka that need each other, or brokers.
pub(super) fn check(rules: &mut Rules<'_>, config: &Config) {
    let Some(kafka) = &config.kafka else {
        let set = |path: &str| {
            let entry = rules.resolved.entries.get(path);
            entry.is_some_and(|entry| entry.origin != Origin::Default)
        };
        if KAFKA_WAYS.iter().any(|path| set(path)) {
            rules.fault(
                "kafka.brokers",
                &KAFKA_WAYS,
                "must be set, because other keys of kafka are",
            );
        }
        return;
    };
    if kafka.consume.contains(&kafka.topic) {
        let rule = "must not name kafka.topic: our own events are handled from the log";
        rules.fault("kafka.consume", &["kafka.topic"], rule);
    }
    let protocol = kafka.security_protocol.as_str();
    let sasl = [
        ("kafka.sasl_mechanism", kafka.sasl_mechanism.is_some()),
        ("kafka.sasl_username", kafka.sasl_username.is_some()),
        ("kafka.sasl_password", kafka.sasl_password.is_some()),
    ];
    let tls = [
        ("kafka.tls_ca", kafka.tls_ca.is_some()),
        ("kafka.tls_certificate", kafka.tls_certificate.is_some()),
        ("kafka.tls_key", kafka.tls_key.is_some()),
    ];
    for (path, set) in sasl {
        if set != protocol.starts_with("sasl_") {
            let rule = if set {
                "must not be set unless kafka.security_protocol is sasl_plaintext or sasl_ssl"
            } else {
                "must be set, because kafka.security_protocol asks for SASL"
            };
            rules.fault(path, &["kafka.security_protocol"], rule);
        }
    }
    for (path, set) in tls {
        if set && !protocol.ends_with("ssl") {
            let rule = "must not be set unless kafka.security_protocol is ssl or sasl_ssl";
            rules.fault(path, &["kafka.security_protocol"], rule);
        }
    }
    match (kafka.tls_certificate.is_some(), kafka.tls_key.is_some()) {
        (true, false) => rules.fault("kafka.tls_key", &[], "must be set, because kafka.tls_certificate is"),
        (false, true) => rules.fault("kafka.tls_certificate", &[], "must be set, because kafka.tls_key is"),
        (true, true) | (false, false) => {}
    }
}
