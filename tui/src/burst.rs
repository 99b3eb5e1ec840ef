//! Bursts of answers with a 5xx status: when one begins, and when it is over.
use crate::format::percent;
use crate::happening::What;
use crate::rates::Rates;
use crate::warning::{FAILED_SHARE, WINDOW_MS};

/// A burst that goes on. Readings with few failures are part of it until they have lasted: trouble comes and goes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Burst {
    /// When its first reading came, in milliseconds since the dashboard was opened.
    since: u64,
    /// When its last reading so far came.
    last: u64,
    /// How many answers failed.
    failed: f64,
    /// The greatest share of the requests of a reading that failed, 0 to 1.
    worst: f64,
}

/// Takes a reading; gives what is to be told of it.
pub(crate) fn follow(burst: &mut Option<Burst>, at: u64, rates: Option<&Rates>) -> Option<What> {
    let share = rates.map_or(0.0, |rates| rates.share(5));
    let failed = rates.map_or(0.0, |rates| rates.by_class[4] * rates.millis as f64 / 1000.0);
    if let Some(burst) = burst.as_mut() {
        burst.failed += failed;
        if share >= FAILED_SHARE {
            (burst.last, burst.worst) = (at, burst.worst.max(share));
        }
    } else if share >= FAILED_SHARE {
        *burst = Some(Burst {
            since: at,
            last: at,
            failed,
            worst: share,
        });
        return Some(What::FailuresBegan { share: percent(share) });
    }
    let over = burst.take_if(|burst| at.saturating_sub(burst.last) >= WINDOW_MS)?;
    Some(What::FailuresEnded {
        lasted_ms: over.last.saturating_sub(over.since),
        failed: over.failed.round() as u64,
        worst: percent(over.worst),
    })
}
