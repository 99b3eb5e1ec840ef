//! Signals between the tasks of one process.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use ports::{Wakeup, WakeupBus};
use tokio::sync::watch;

const KINDS: usize = Wakeup::ALL.len();
/// Far more waiters than a process has workers. Past it all are forgotten, which wakes each once for nothing.
const MAX_WAITERS: usize = 4_096;

/// Counts the wakes of each kind, and for each waiter how many of them it has seen: a wake that comes while nobody waits is
/// the difference, and many at once are one.
#[derive(Debug)]
pub struct LocalWakeupBus {
    counts: [watch::Sender<u64>; KINDS],
    seen: Mutex<HashMap<String, [u64; KINDS]>>,
}

impl LocalWakeupBus {
    /// A bus on which nothing was signalled yet.
    pub fn new() -> Self {
        Self {
            counts: std::array::from_fn(|_| watch::Sender::new(0)),
            seen: Mutex::default(),
        }
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<String, [u64; KINDS]>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, waiter: &str, kind: usize, count: u64) {
        let mut seen = self.seen();
        if let Some(counts) = seen.get_mut(waiter) {
            counts[kind] = count;
            return;
        }
        if seen.len() >= MAX_WAITERS {
            seen.clear();
        }
        let mut counts = [0; KINDS];
        counts[kind] = count;
        seen.insert(waiter.to_owned(), counts);
    }
}

impl Default for LocalWakeupBus {
    fn default() -> Self {
        Self::new()
    }
}

const fn index(wakeup: Wakeup) -> usize {
    match wakeup {
        Wakeup::Written => 0,
        Wakeup::Sequenced => 1,
        Wakeup::Mail => 2,
        Wakeup::Webhook => 3,
    }
}

#[async_trait]
impl WakeupBus for LocalWakeupBus {
    fn wake(&self, wakeup: Wakeup) {
        self.counts[index(wakeup)].send_modify(|count| *count += 1);
    }

    async fn wait(&self, waiter: &str, wakeup: Wakeup, at_most: Duration) {
        let kind = index(wakeup);
        let seen = self.seen().get(waiter).map_or(0, |counts| counts[kind]);
        let mut count = self.counts[kind].subscribe();
        // The sender is ours, so that waiting ends by a wake or by the time and never by its going away.
        let _ = tokio::time::timeout(at_most, async { count.wait_for(|count| *count > seen).await.is_ok() }).await;
        let now = *count.borrow();
        self.remember(waiter, kind, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_without_end_do_not_fill_the_memory_and_cost_one_needless_wake() {
        let bus = LocalWakeupBus::new();
        bus.wake(Wakeup::Mail);
        bus.wait("worker", Wakeup::Mail, Duration::ZERO).await;
        for number in 0..2 * MAX_WAITERS {
            bus.wait(&format!("waiter {number}"), Wakeup::Mail, Duration::ZERO)
                .await;
        }
        assert!(bus.seen().len() <= MAX_WAITERS);
        bus.wait("worker", Wakeup::Mail, Duration::from_secs(600)).await;
        assert_eq!(bus.seen().get("worker"), Some(&[0, 0, 1, 0]));
    }

    #[test]
    fn each_kind_has_a_place_of_its_own() {
        assert_eq!(Wakeup::ALL.map(index), [0, 1, 2, 3]);
    }
}
