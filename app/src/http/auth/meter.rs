//! How long checks of access tokens take and how they end.

use std::sync::atomic::{AtomicU64, Ordering};

use domain::histogram::{self, Histogram};
use openapi::{CodeCountBody, TokenStatsBody};
use tokio::time::Instant;

use crate::service::gate::GateError;

/// Every way in which a check can refuse, and the code that the client is told.
const REFUSALS: [(GateError, &str); 6] = [
    (GateError::Invalid, "token_invalid"),
    (GateError::Expired, "token_expired"),
    (GateError::Outdated, "token_outdated"),
    (GateError::SessionEnded, "session_ended"),
    (GateError::AccountDisabled, "account_disabled"),
    (GateError::Stale, "auth_state_stale"),
];

/// Counts checks of access tokens.
#[derive(Debug)]
pub struct TokenMeter {
    accepted: AtomicU64,
    refused: [AtomicU64; REFUSALS.len()],
    time: Histogram,
}

impl Default for TokenMeter {
    fn default() -> Self {
        Self {
            accepted: AtomicU64::new(0),
            refused: Default::default(),
            time: Histogram::new(histogram::TOKEN),
        }
    }
}

impl TokenMeter {
    /// Makes a check and counts it.
    ///
    /// # Errors
    /// What the check refuses with.
    pub fn measure<T>(&self, check: impl FnOnce() -> Result<T, GateError>) -> Result<T, GateError> {
        let began = Instant::now();
        let outcome = check();
        self.time.observe(began.elapsed());
        let counter = match &outcome {
            Ok(_) => Some(&self.accepted),
            Err(error) => REFUSALS
                .iter()
                .position(|(refusal, _)| refusal == error)
                .map(|index| &self.refused[index]),
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    /// What was counted; every code is told, those that never occurred as zero.
    pub fn read(&self) -> TokenStatsBody {
        let refused = REFUSALS
            .iter()
            .zip(&self.refused)
            .map(|((_, code), count)| CodeCountBody {
                code: (*code).to_owned(),
                count: count.load(Ordering::Relaxed),
            });
        TokenStatsBody {
            accepted: self.accepted.load(Ordering::Relaxed),
            refused: refused.collect(),
            time: self.time.snapshot().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::problem::Fault;

    #[test]
    fn every_outcome_is_counted_under_the_code_that_the_client_is_told() {
        let meter = TokenMeter::default();
        assert!(meter.measure(|| Ok(())).is_ok());
        for (refusal, _) in REFUSALS {
            assert_eq!(meter.measure(|| Err::<(), _>(refusal)), Err(refusal));
        }
        let stats = meter.read();
        assert_eq!(stats.accepted, 1);
        assert_eq!(stats.time.count(), 7);
        for ((refusal, _), counted) in REFUSALS.iter().zip(&stats.refused) {
            let told = Fault::from(*refusal).problem("-").code;
            assert_eq!((counted.code.as_str(), counted.count), (told.as_str(), 1));
        }
    }
}
