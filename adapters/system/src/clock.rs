//! The time of day as the operating system tells it.

use std::time::{SystemTime, UNIX_EPOCH};

use domain::time::Timestamp;
use ports::Clock;

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the one place that asks the operating system for the time"
        )]
        let now = SystemTime::now();
        match now.duration_since(UNIX_EPOCH) {
            Ok(since) => Timestamp::default().plus(since),
            // A machine without a battery may believe itself before 1970.
            Err(before) => Timestamp::default().minus(before.duration()),
        }
    }
}
