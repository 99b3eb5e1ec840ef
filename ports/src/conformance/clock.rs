//! The scenarios of [`Clock`](crate::Clock).

use std::time::Duration;

use domain::time::Timestamp;

use crate::Clock;

/// One named test per scenario. The fixture is a future of `Option<(clock, guard)>`.
#[macro_export]
macro_rules! clock_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            clock,
            [never_goes_far_backwards, tells_a_time_that_can_be_written]
        );
    };
}

/// An operating system may set its clock by less than a second at a time; nothing else moves time backwards.
pub async fn never_goes_far_backwards(clock: &dyn Clock) {
    let mut latest = clock.now();
    for _ in 0..10_000 {
        let now = clock.now();
        assert!(
            latest.since(now) < Duration::from_secs(1),
            "{latest} was followed by {now}"
        );
        latest = latest.max(now);
    }
}

/// The time passes through RFC 3339 unchanged.
pub async fn tells_a_time_that_can_be_written(clock: &dyn Clock) {
    let now = clock.now();
    assert_eq!(Timestamp::parse_rfc3339(&now.to_rfc3339()), Ok(now));
}
