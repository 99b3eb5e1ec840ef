//! The circuit breaker as a pure state machine: closed, open, half open.

use std::time::Duration;

use crate::time::Timestamp;

/// When a breaker opens and how it closes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// Failures in a row that open it.
    pub threshold: u32,
    /// How long it stays open before it lets a trial through.
    pub open_for: Duration,
    /// Successful trials in a row that close it.
    pub trials: u32,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self {
            threshold: 5,
            open_for: Duration::from_secs(10),
            trials: 2,
        }
    }
}

/// Where a breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls pass; so many failed in a row.
    Closed {
        /// Failures since the last success.
        failures: u32,
    },
    /// Calls are refused until then.
    Open {
        /// When a trial may pass.
        until: Timestamp,
    },
    /// One trial at a time passes.
    HalfOpen {
        /// Trials that succeeded.
        successes: u32,
        /// Whether one is under way.
        trial: bool,
    },
}

/// A breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker {
    policy: BreakerPolicy,
    state: BreakerState,
    round: u64,
}

/// A call is refused because the breaker is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the circuit breaker is open")]
pub struct BreakerOpenError {
    /// How long until a trial may pass.
    pub retry_after: Duration,
}

impl Breaker {
    /// A closed breaker.
    pub const fn new(policy: BreakerPolicy) -> Self {
        Self {
            policy,
            state: BreakerState::Closed { failures: 0 },
            round: 0,
        }
    }

    /// Where it stands.
    pub const fn state(&self) -> BreakerState {
        self.state
    }

    /// Changes whenever the breaker opens, half opens or closes.
    ///
    /// Calls overlap: one that was admitted while the breaker was closed may end while a trial is under way, and says
    /// nothing about it. So a caller notes the round after [`admit`](Self::admit), and tells how the call ended only
    /// when the round is still the same.
    pub const fn round(&self) -> u64 {
        self.round
    }

    /// Asks to make a call; an accepted call must be followed by [`success`](Self::success), [`failure`](Self::failure) or
    /// [`abandon`](Self::abandon) unless the [`round`](Self::round) has changed since.
    ///
    /// # Errors
    /// When the call must not be made.
    pub fn admit(&mut self, now: Timestamp) -> Result<(), BreakerOpenError> {
        match self.state {
            BreakerState::Closed { .. } => Ok(()),
            BreakerState::Open { until } if now < until => Err(BreakerOpenError {
                retry_after: until.since(now),
            }),
            BreakerState::Open { .. } => {
                self.turn(BreakerState::HalfOpen {
                    successes: 0,
                    trial: true,
                });
                Ok(())
            }
            BreakerState::HalfOpen { trial: true, .. } => Err(BreakerOpenError {
                retry_after: self.policy.open_for,
            }),
            BreakerState::HalfOpen {
                successes,
                trial: false,
            } => {
                self.state = BreakerState::HalfOpen { successes, trial: true };
                Ok(())
            }
        }
    }

    /// An admitted call worked.
    pub fn success(&mut self) {
        match self.state {
            BreakerState::Closed { .. } => self.state = BreakerState::Closed { failures: 0 },
            BreakerState::HalfOpen { successes, .. } if successes.saturating_add(1) >= self.policy.trials => {
                self.turn(BreakerState::Closed { failures: 0 });
            }
            BreakerState::HalfOpen { successes, .. } => {
                self.state = BreakerState::HalfOpen {
                    successes: successes + 1,
                    trial: false,
                };
            }
            // A call admitted before it opened says nothing about now.
            BreakerState::Open { .. } => {}
        }
    }

    /// An admitted call failed.
    pub fn failure(&mut self, now: Timestamp) {
        match self.state {
            BreakerState::Closed { failures } if failures.saturating_add(1) < self.policy.threshold => {
                self.state = BreakerState::Closed { failures: failures + 1 };
            }
            BreakerState::Closed { .. } | BreakerState::HalfOpen { .. } => {
                self.turn(BreakerState::Open {
                    until: now.plus(self.policy.open_for),
                });
            }
            BreakerState::Open { .. } => {}
        }
    }

    /// An admitted call was dropped before it told: a trial must not stay under way for ever.
    pub fn abandon(&mut self) {
        if let BreakerState::HalfOpen { successes, .. } = self.state {
            self.state = BreakerState::HalfOpen {
                successes,
                trial: false,
            };
        }
    }

    fn turn(&mut self, state: BreakerState) {
        self.state = state;
        self.round = self.round.wrapping_add(1);
    }
}
