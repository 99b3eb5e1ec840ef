//! The Kafka that `scripts/test` started.

use std::io::Write as _;

#[expect(
    clippy::disallowed_methods,
    reason = "a test run is told by its environment where its servers are"
)]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The brokers that `PLINTH_TEST_KAFKA_BROKERS` names; said on standard error when there are none, and a failure with
/// `PLINTH_TEST_REQUIRE=1`.
pub(crate) fn brokers() -> Option<String> {
    let Some(brokers) = environment("PLINTH_TEST_KAFKA_BROKERS") else {
        let test = std::thread::current().name().unwrap_or("?").to_owned();
        assert!(
            environment("PLINTH_TEST_REQUIRE").as_deref() != Some("1"),
            "{test} needs Kafka: run scripts/test"
        );
        let _ = writeln!(std::io::stderr().lock(), "SKIPPED (no Kafka): {test}");
        return None;
    };
    Some(brokers)
}
