//! Retry schedules: exponential back-off with jitter.

use std::time::Duration;

/// When to try again, and when to give up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetrySchedule {
    /// The wait after the first failure.
    pub base: Duration,
    /// The longest wait.
    pub cap: Duration,
    /// How many attempts in all.
    pub attempts: u32,
}

impl RetrySchedule {
    /// Mail: 30 s doubling to 4 h over 17 attempts, about a day with the jitter (16 to 32 hours); RFC 5321 section 4.5.4.1 asks for 4 to 5 days from relays, not from the first sender of a sign-up mail.
    pub const MAIL: Self = Self {
        base: Duration::from_secs(30),
        cap: Duration::from_secs(4 * 3_600),
        attempts: 17,
    };

    /// Events that a handler fails at: 5 s doubling to 5 min over 8 attempts, 5 to 10 minutes with the jitter. As long as it takes to roll a bad deployment back, and no longer: the user's later events wait.
    pub const EVENT: Self = Self {
        base: Duration::from_secs(5),
        cap: Duration::from_secs(5 * 60),
        attempts: 8,
    };

    /// The wait after `failures` failed attempts, none when it is time to give up.
    ///
    /// `random` is any number; the wait lies evenly between half of the exponential step and the whole of it, so that what failed together does not return together.
    pub fn delay(&self, failures: u32, random: u64) -> Option<Duration> {
        if failures == 0 || failures >= self.attempts {
            return None;
        }
        let factor = 1_u32.checked_shl(failures - 1).unwrap_or(u32::MAX);
        let step = self.base.checked_mul(factor).unwrap_or(self.cap).min(self.cap);
        let half = step / 2;
        let span = u64::try_from((step - half).as_micros()).unwrap_or(u64::MAX).max(1);
        Some(half + Duration::from_micros(random % span))
    }
}
