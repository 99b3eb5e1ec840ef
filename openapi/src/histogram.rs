//! A distribution of times on the wire, and what a reader makes of it.
use serde::{Deserialize, Serialize};

/// How long things took: counts by bucket, since the start of the process. Two readings subtracted are the distribution
/// of the time between them. Without buckets nothing is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistogramBody {
    /// The upper bounds of the buckets in microseconds, each included, rising.
    pub bounds_micros: Vec<u64>,
    /// How many fell into each bucket; the last count is of what is above all bounds.
    pub counts: Vec<u64>,
    /// The sum of all times in microseconds.
    pub sum_micros: u64,
}

impl HistogramBody {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The mean in microseconds; none of nothing.
    pub fn mean(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum_micros as f64 / count as f64)
    }

    /// What came since an earlier reading of the same process. When the readings do not fit each other, all of this one.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let fits = before.bounds_micros == self.bounds_micros
            && before.counts.len() == self.counts.len()
            && before.counts.iter().zip(&self.counts).all(|(was, is)| was <= is);
        if !fits {
            return self.clone();
        }
        Self {
            bounds_micros: self.bounds_micros.clone(),
            counts: self
                .counts
                .iter()
                .zip(&before.counts)
                .map(|(is, was)| is - was)
                .collect(),
            sum_micros: self.sum_micros.saturating_sub(before.sum_micros),
        }
    }

    /// The time that a share of all, 0 to 1, did not exceed, in microseconds: even within a bucket, as Prometheus'
    /// `histogram_quantile` has it. Above the last bound it is that bound. None of nothing.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = share.clamp(0.0, 1.0) * count as f64;
        let (mut below, mut lower) = (0_u64, 0_u64);
        for (bound, inside) in self.bounds_micros.iter().zip(&self.counts) {
            let upto = below + inside;
            if *inside > 0 && upto as f64 >= rank {
                let part = (rank - below as f64) / *inside as f64;
                return Some(lower as f64 + (bound - lower) as f64 * part);
            }
            (below, lower) = (upto, *bound);
        }
        Some(lower as f64)
    }
}

#[cfg(feature = "server")]
impl From<domain::histogram::Snapshot> for HistogramBody {
    fn from(snapshot: domain::histogram::Snapshot) -> Self {
        Self {
            bounds_micros: snapshot.bounds.to_vec(),
            counts: snapshot.counts,
            sum_micros: snapshot.sum_micros,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(counts: &[u64], sum_micros: u64) -> HistogramBody {
        HistogramBody {
            bounds_micros: vec![100, 200, 400],
            counts: counts.to_vec(),
            sum_micros,
        }
    }

    #[test]
    fn a_quantile_lies_where_its_rank_falls() {
        let times = of(&[10, 80, 10, 0], 15_000);
        assert_eq!(times.quantile(0.05), Some(50.0));
        assert_eq!(times.quantile(0.5), Some(150.0));
        assert_eq!(times.quantile(0.95), Some(300.0));
        assert_eq!(times.quantile(1.0), Some(400.0));
        assert_eq!(times.mean(), Some(150.0));
        assert_eq!(of(&[0, 0, 0, 5], 5_000).quantile(0.5), Some(400.0));
        assert_eq!(of(&[0, 4, 0, 0], 600).quantile(0.0), Some(100.0));
    }

    #[test]
    fn of_nothing_there_is_no_quantile() {
        assert_eq!(HistogramBody::default().quantile(0.5), None);
        assert_eq!(HistogramBody::default().mean(), None);
    }

    #[test]
    fn two_readings_give_what_lies_between_them() {
        let (before, after) = (of(&[1, 2, 0, 0], 300), of(&[1, 5, 1, 0], 1_100));
        assert_eq!(after.since(&before), of(&[0, 3, 1, 0], 800));
        // A process that started anew, and one that had counted nothing before.
        assert_eq!(before.since(&after), before);
        assert_eq!(after.since(&HistogramBody::default()), after);
    }
}
