//! A quantile as far as buckets tell it: a figure where that means something, else the bound that is known.
use std::fmt;

use openapi::HistogramBody;

use crate::format::latency;

/// Fewer times in a bucket than this have no spread that could be reckoned with.
const FEW: u64 = 10;

/// A bucket that holds more than this share of all times says no more than that nearly all lie in it.
const NEARLY_ALL: f64 = 0.9;

/// A quantile of a distribution over buckets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantile {
    /// Where it lies when the times are even within their bucket, in milliseconds: for charts, limits and order.
    pub millis: f64,
    /// What is known of it.
    known: Known,
}

/// What buckets tell of a quantile; bounds are in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Known {
    /// Enough to reckon it.
    Figure,
    /// It lies in the lowest bucket.
    Below(f64),
    /// It lies in the bucket with this upper bound.
    AtMost(f64),
    /// It lies above all bounds.
    Above(f64),
}

impl Quantile {
    /// The time that a share of all, 0 to 1, did not exceed; none of nothing.
    pub fn of(times: &HistogramBody, share: f64) -> Option<Self> {
        let millis = times.quantile(share)? / 1000.0;
        let (all, mut upto) = (times.count(), 0);
        let rank = share * all as f64;
        let bucket = times.counts.iter().position(|inside| {
            upto += inside;
            *inside > 0 && upto as f64 >= rank
        });
        let bucket = bucket.unwrap_or(times.bounds_micros.len());
        let inside = times.counts.get(bucket).copied().unwrap_or(0);
        let is_resolved = inside >= FEW && inside as f64 <= all as f64 * NEARLY_ALL;
        let known = match times.bounds_micros.get(bucket).map(|bound| *bound as f64 / 1000.0) {
            None => Known::Above(millis),
            Some(bound) if bucket == 0 => Known::Below(bound),
            Some(_) if is_resolved => Known::Figure,
            Some(bound) => Known::AtMost(bound),
        };
        Some(Self { millis, known })
    }

    /// Whether so many milliseconds are reached.
    pub fn reaches(self, millis: f64) -> bool {
        self.millis >= millis
    }
}

/// At most seven letters below some hours.
impl fmt::Display for Quantile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.known {
            Known::Figure => latency(self.millis),
            Known::Below(bound) => format!("<{}", latency(bound)),
            Known::AtMost(bound) => format!("≤{}", latency(bound)),
            Known::Above(bound) => format!(">{}", latency(bound)),
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(counts: [u64; 5], share: f64) -> Option<String> {
        let times = HistogramBody {
            bounds_micros: vec![25, 50, 100, 2_500_000],
            counts: counts.to_vec(),
            sum_micros: 0,
        };
        Quantile::of(&times, share).map(|quantile| quantile.to_string())
    }

    #[test]
    fn what_lies_in_the_lowest_bucket_is_below_its_bound() {
        assert_eq!(told([500, 500, 0, 0, 0], 0.4).as_deref(), Some("<25 µs"));
        assert_eq!(told([1, 0, 0, 0, 0], 0.99).as_deref(), Some("<25 µs"));
    }

    #[test]
    fn of_few_times_the_bound_of_their_bucket_is_known() {
        assert_eq!(told([0, 0, 0, 6, 0], 0.99).as_deref(), Some("≤2.5 s"));
        assert_eq!(told([300, 0, 0, 9, 0], 0.99).as_deref(), Some("≤2.5 s"));
        assert_eq!(told([0, 9, 9, 9, 0], 0.5).as_deref(), Some("≤100 µs"));
        assert_eq!(told([0, 10, 10, 10, 0], 0.5).as_deref(), Some("75 µs"));
    }

    #[test]
    fn of_a_bucket_that_holds_nearly_all_its_bound_is_known() {
        assert_eq!(told([0, 2_000, 0, 0, 0], 0.5).as_deref(), Some("≤50 µs"));
        assert_eq!(told([0, 2_000, 100, 0, 0], 0.5).as_deref(), Some("≤50 µs"));
        assert_eq!(told([0, 600, 400, 0, 0], 0.5).as_deref(), Some("46 µs"));
    }

    #[test]
    fn what_lies_above_all_bounds_is_above_the_last() {
        assert_eq!(told([90, 0, 0, 0, 90], 0.99).as_deref(), Some(">2.5 s"));
        assert_eq!(told([0; 5], 0.5), None);
    }
}
