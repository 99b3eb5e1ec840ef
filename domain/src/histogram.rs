//! Distributions of times: buckets that are counted without a lock, with bounds that fit what they measure.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of buckets in microseconds, rising.
pub type Bounds = &'static [u64];

/// Requests: from an answer out of memory, some tens of microseconds, to one that waited for a saturated hashing queue.
pub const REQUEST: Bounds = &[
    25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    1_500_000, 2_500_000, 10_000_000,
];
/// Statements of the database: 100 ms is where one counts as slow, 8 s where the wait for a connection is given up.
pub const STATEMENT: Bounds = &[
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000,
];
/// Checks of a token: a microsecond for one that is known, some tens for a signature, more when a core is contended.
pub const TOKEN: Bounds = &[1, 2, 5, 10, 25, 50, 75, 100, 250, 1_000, 10_000];
/// Events on their way, and their appending: a millisecond when all is well, minutes behind a backlog.
pub const EVENT: Bounds = &[
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    5_000_000,
    30_000_000,
    300_000_000,
];
/// Calls of backends over a disk or a network, and the hashing of passwords: up to a large upload.
pub const BACKEND: Bounds = &[
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 60_000_000,
];

/// Counts times by bucket. Counting is two additions; readings are not of one instant, and need not be.
#[derive(Debug)]
pub struct Histogram {
    bounds: Bounds,
    counts: Box<[AtomicU64]>,
    sum_micros: AtomicU64,
}

/// What a histogram has counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The upper bounds of the buckets in microseconds.
    pub bounds: Bounds,
    /// How many fell into each; one more than there are bounds, the last for what is above them.
    pub counts: Vec<u64>,
    /// The sum of all times in microseconds.
    pub sum_micros: u64,
}

impl Histogram {
    /// An empty one. `bounds` MUST rise.
    pub fn new(bounds: Bounds) -> Self {
        debug_assert!(bounds.is_sorted(), "bounds rise");
        Self {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum_micros: AtomicU64::new(0),
        }
    }

    /// Counts a time.
    pub fn observe(&self, took: Duration) {
        self.observe_many(took, 1);
    }

    /// Counts a time that several took together, each of them.
    pub fn observe_many(&self, took: Duration, times: u64) {
        // Rounded up to the microsecond that it reached into: what took 1.2 us did not take at most 1.
        let micros = u64::try_from(took.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX);
        let bucket = self.bounds.partition_point(|bound| *bound < micros);
        self.counts[bucket].fetch_add(times, Ordering::Relaxed);
        self.sum_micros
            .fetch_add(micros.saturating_mul(times), Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            bounds: self.bounds,
            counts: self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
            sum_micros: self.sum_micros.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_into_the_first_bucket_that_holds_it() {
        let histogram = Histogram::new(&[10, 100]);
        for nanos in [0, 10_000, 10_001, 100_000, 100_001, 5_000_000_000] {
            histogram.observe(Duration::from_nanos(nanos));
        }
        histogram.observe_many(Duration::from_micros(50), 3);
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.counts, [2, 5, 2]);
        assert_eq!(snapshot.sum_micros, 10 + 11 + 100 + 101 + 5_000_000 + 150);
    }

    /// Each is a series of every route for whoever scrapes them.
    #[test]
    fn requests_are_told_apart_from_some_microseconds_to_seconds_by_few_bounds() {
        let buckets = [20, 40, 80, 200, 400_000, 800_000, 1_200_000, 2_000_000, 5_000_000]
            .map(|micros| REQUEST.partition_point(|bound| *bound < micros));
        assert!(buckets.windows(2).all(|pair| pair[0] < pair[1]), "{buckets:?}");
        assert!(REQUEST.len() <= 18, "{}", REQUEST.len());
    }

    #[test]
    fn all_bounds_rise() {
        for bounds in [REQUEST, STATEMENT, TOKEN, EVENT, BACKEND] {
            assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]), "{bounds:?}");
        }
    }
}
