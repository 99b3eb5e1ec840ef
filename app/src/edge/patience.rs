//! How long a peer may keep the server waiting: spent by waiting, earned by bytes, so that a trickle wears it out.
use std::time::Duration;

use tokio::time::Instant;

/// Bytes per second below which a peer is not slow but holding a connection: 1 KiB. Apache's mod_reqtimeout asks
/// 500 by default; the poorest mobile connections do several thousand.
const LEAST_RATE: u64 = 1024;

/// What is left of the time that the server waits for one peer.
///
/// Waiting spends it and every byte earns its time at the least rate, but never more than there was at first:
/// a part that came quickly does not pay for standing still later. What takes the server time costs the peer nothing.
#[derive(Debug)]
pub(super) struct Patience {
    most: Duration,
    left: Duration,
    waiting_since: Option<Instant>,
}

impl Patience {
    pub(super) fn new(most: Duration) -> Self {
        Self {
            most,
            left: most,
            waiting_since: None,
        }
    }

    /// From now on there is at most so much.
    pub(super) fn cap(&mut self, most: Duration) {
        self.most = self.most.min(most);
        self.left = self.left.min(most);
    }

    /// Begins to wait, unless it is begun.
    pub(super) fn wait(&mut self, now: Instant) {
        self.waiting_since.get_or_insert(now);
    }

    /// What is left, that of a wait under way not taken off.
    pub(super) fn left(&self) -> Duration {
        self.left
    }

    /// Ends a wait: so many bytes came or went.
    pub(super) fn moved(&mut self, bytes: usize, now: impl FnOnce() -> Instant) {
        if let Some(since) = self.waiting_since.take() {
            self.left = self.left.saturating_sub(now().duration_since(since));
        }
        let earned = Duration::from_micros((bytes as u64).saturating_mul(1_000_000 / LEAST_RATE));
        self.left = self.left.saturating_add(earned).min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn after(start: Instant, patience: &mut Patience, wait: Duration, bytes: usize) -> Duration {
        patience.wait(start);
        patience.moved(bytes, || start + wait);
        patience.left()
    }

    #[test]
    fn a_trickle_wears_it_out() {
        let start = Instant::now();
        let mut patience = Patience::new(30 * SECOND);
        assert!(after(start, &mut patience, 20 * SECOND, 1) < 11 * SECOND);
        assert!(after(start, &mut patience, 20 * SECOND, 1) < SECOND);
    }

    #[test]
    fn the_least_rate_keeps_it_whole_and_more_does_not_add_to_it() {
        let start = Instant::now();
        let mut patience = Patience::new(30 * SECOND);
        for _ in 0..100 {
            assert!(after(start, &mut patience, 20 * SECOND, 21 * 1024) == 30 * SECOND);
        }
        assert_eq!(after(start, &mut patience, SECOND, usize::MAX), 30 * SECOND);
        assert_eq!(after(start, &mut patience, 29 * SECOND, 0), SECOND);
    }

    #[test]
    fn only_waiting_is_spent_and_a_cap_stays() {
        let start = Instant::now();
        let mut patience = Patience::new(30 * SECOND);
        patience.moved(0, || start + 100 * SECOND);
        assert_eq!(patience.left(), 30 * SECOND);
        patience.cap(3 * SECOND);
        assert_eq!(after(start, &mut patience, SECOND, 1024 * 1024), 3 * SECOND);
    }
}
