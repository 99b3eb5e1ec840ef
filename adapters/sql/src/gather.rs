//! Gathers what concurrent callers ask for into one flush, without a task of its own.
//!
//! Callers that arrive while every flush is under way join one batch. The first of a batch that may drive it does so for
//! all; the work itself lies in the batch, so when its driver is dropped (a client that went away) the next member goes on
//! polling the very same future where it stood. Nothing is lost, nothing is run twice.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ports::BackendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// A future that lies in a batch, whoever polls it.
pub(crate) type Flushing<T> = Pin<Box<dyn Future<Output = T> + Send>>;

type Flush<K, V> = Box<dyn Fn(Vec<K>) -> Flushing<Vec<V>> + Send + Sync>;

/// Turns single calls into flushes of many.
pub(crate) struct Gather<K, V> {
    open: Mutex<Option<Arc<Batch<K, V>>>>,
    permits: Arc<Semaphore>,
    most: usize,
    flush: Flush<K, V>,
}

struct Batch<K, V> {
    members: Mutex<Vec<Member<K, V>>>,
    driver: tokio::sync::Mutex<Driver>,
}

struct Member<K, V> {
    key: K,
    answer: oneshot::Sender<V>,
}

enum Driver {
    Open,
    Running(Flushing<()>),
    Done,
}

impl<K, V> fmt::Debug for Gather<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gather")
            .field("most", &self.most)
            .field("permits", &self.permits.available_permits())
            .finish_non_exhaustive()
    }
}

impl<K: Send + 'static, V: Send + 'static> Gather<K, V> {
    /// At most `most` keys in a flush and at most `flushes` under way. `flush` gives one answer for each key, in their order.
    pub(crate) fn new<F>(most: usize, flushes: usize, flush: impl Fn(Vec<K>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Vec<V>> + Send + 'static,
    {
        let permits = Arc::new(Semaphore::new(flushes.max(1)));
        Self {
            open: Mutex::new(None),
            permits,
            most: most.max(1),
            flush: Box::new(move |keys| Box::pin(flush(keys))),
        }
    }

    /// Asks for one key; returns its own answer, after the flush that it was part of.
    ///
    /// # Errors
    /// When the flush answered too few keys or panicked, which is a fault of the flush.
    pub(crate) async fn call(&self, key: K) -> Result<V, BackendError> {
        let (sender, mut answer) = oneshot::channel();
        let batch = self.join(Member { key, answer: sender });
        tokio::select! {
            biased;
            answered = &mut answer => return answered.map_err(|_| unanswered()),
            mut driver = batch.driver.lock() => self.drive(&batch, &mut driver).await,
        }
        answer.await.map_err(|_| unanswered())
    }

    fn join(&self, member: Member<K, V>) -> Arc<Batch<K, V>> {
        let mut open = lock(&self.open);
        let batch = Arc::clone(open.get_or_insert_with(|| Arc::new(Batch::new())));
        let mut members = lock(&batch.members);
        members.push(member);
        if members.len() >= self.most {
            *open = None;
        }
        drop(members);
        batch
    }

    async fn drive(&self, batch: &Arc<Batch<K, V>>, driver: &mut Driver) {
        if matches!(driver, Driver::Open) {
            // While this waits, others join the batch: that is the gathering. The semaphore is never closed.
            let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
                return;
            };
            *driver = Driver::Running(self.begin(batch, permit));
        }
        if let Driver::Running(flushing) = driver {
            flushing.await;
            *driver = Driver::Done;
        }
    }

    fn begin(&self, batch: &Arc<Batch<K, V>>, permit: OwnedSemaphorePermit) -> Flushing<()> {
        let mut open = lock(&self.open);
        if open.as_ref().is_some_and(|current| Arc::ptr_eq(current, batch)) {
            *open = None;
        }
        drop(open);
        let members = std::mem::take(&mut *lock(&batch.members));
        // Whoever was dropped before the flush began asked for nothing.
        let (keys, answers): (Vec<_>, Vec<_>) = members
            .into_iter()
            .filter(|member| !member.answer.is_closed())
            .map(|member| (member.key, member.answer))
            .unzip();
        let flushing = (self.flush)(keys);
        Box::pin(async move {
            let values = flushing.await;
            drop(permit);
            for (answer, value) in answers.into_iter().zip(values) {
                // A member that went away meanwhile does not want its answer.
                let _gone = answer.send(value);
            }
        })
    }
}

impl<K, V> Batch<K, V> {
    fn new() -> Self {
        Self {
            members: Mutex::new(Vec::new()),
            driver: tokio::sync::Mutex::new(Driver::Open),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unanswered() -> BackendError {
    BackendError::permanent("sql", "gather", "a flush left a caller without an answer")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A flush that waits at a gate, notes the sizes of its batches and answers each key with its double.
    fn doubling(most: usize, flushes: usize) -> (Arc<Gather<u64, u64>>, Arc<Semaphore>, Arc<Mutex<Vec<usize>>>) {
        let (gate, sizes) = (Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (inner_gate, inner_sizes) = (Arc::clone(&gate), Arc::clone(&sizes));
        let gather = Gather::new(most, flushes, move |keys: Vec<u64>| {
            let (gate, sizes) = (Arc::clone(&inner_gate), Arc::clone(&inner_sizes));
            async move {
                lock(&sizes).push(keys.len());
                gate.acquire().await.expect("open").forget();
                keys.into_iter().map(|key| key * 2).collect()
            }
        });
        (Arc::new(gather), gate, sizes)
    }

    #[expect(clippy::disallowed_methods, reason = "a test ends its own tasks")]
    fn call(gather: &Arc<Gather<u64, u64>>, key: u64) -> tokio::task::JoinHandle<u64> {
        let gather = Arc::clone(gather);
        tokio::spawn(async move { gather.call(key).await.expect("answer") })
    }

    async fn settle() {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn who_comes_during_a_flush_is_flushed_together() {
        let (gather, gate, sizes) = doubling(64, 1);
        let first = call(&gather, 1);
        settle().await;
        let others: Vec<_> = (2..12).map(|key| call(&gather, key)).collect();
        settle().await;
        gate.add_permits(2);
        assert_eq!(first.await.expect("join"), 2);
        for (key, other) in (2..12).zip(others) {
            assert_eq!(other.await.expect("join"), key * 2);
        }
        assert_eq!(*lock(&sizes), vec![1, 10]);
    }

    #[tokio::test]
    async fn a_full_batch_is_followed_by_another() {
        let (gather, gate, sizes) = doubling(4, 1);
        let calls: Vec<_> = (0..10).map(|key| call(&gather, key)).collect();
        settle().await;
        gate.add_permits(10);
        for (key, call) in (0..10).zip(calls) {
            assert_eq!(call.await.expect("join"), key * 2);
        }
        assert!(lock(&sizes).iter().all(|size| *size <= 4));
        assert_eq!(lock(&sizes).iter().sum::<usize>(), 10);
    }

    #[tokio::test]
    async fn a_dropped_driver_loses_no_follower_and_runs_nothing_twice() {
        let (gather, gate, sizes) = doubling(64, 1);
        let first = call(&gather, 1);
        settle().await;
        let leader = call(&gather, 2);
        settle().await;
        let followers: Vec<_> = (3..6).map(|key| call(&gather, key)).collect();
        settle().await;
        gate.add_permits(1);
        first.await.expect("join");
        settle().await;
        assert_eq!(*lock(&sizes), vec![1, 4], "the second flush is under way");
        leader.abort();
        assert!(leader.await.expect_err("aborted").is_cancelled());
        settle().await;
        gate.add_permits(1);
        for (key, follower) in (3..6).zip(followers) {
            assert_eq!(follower.await.expect("join"), key * 2);
        }
        assert_eq!(*lock(&sizes), vec![1, 4]);
    }

    #[tokio::test]
    async fn a_driver_dropped_before_the_flush_asks_for_nothing() {
        let (gather, gate, sizes) = doubling(64, 1);
        let first = call(&gather, 1);
        settle().await;
        let leader = call(&gather, 2);
        settle().await;
        let follower = call(&gather, 3);
        settle().await;
        leader.abort();
        settle().await;
        gate.add_permits(2);
        assert_eq!(first.await.expect("join"), 2);
        assert_eq!(follower.await.expect("join"), 6);
        assert_eq!(*lock(&sizes), vec![1, 1]);
    }

    #[tokio::test]
    async fn a_batch_that_everybody_left_serves_the_next_caller() {
        let (gather, gate, _) = doubling(64, 1);
        let first = call(&gather, 1);
        settle().await;
        let left = call(&gather, 2);
        settle().await;
        left.abort();
        settle().await;
        let next = call(&gather, 3);
        gate.add_permits(2);
        assert_eq!(first.await.expect("join"), 2);
        assert_eq!(next.await.expect("join"), 6);
    }

    #[tokio::test]
    async fn several_flushes_may_be_under_way() {
        let (gather, gate, sizes) = doubling(64, 3);
        let calls: Vec<_> = (0..3).map(|key| call(&gather, key)).collect();
        settle().await;
        assert_eq!(lock(&sizes).iter().sum::<usize>(), 3, "all three were begun");
        gate.add_permits(3);
        for call in calls {
            call.await.expect("join");
        }
    }

    #[tokio::test]
    async fn a_flush_that_answers_too_few_is_an_error_not_a_hang() {
        let count = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&count);
        let gather: Gather<u64, u64> = Gather::new(8, 1, move |keys| {
            seen.fetch_add(keys.len(), Ordering::Relaxed);
            async { Vec::new() }
        });
        assert!(!gather.call(1).await.expect_err("unanswered").temporary);
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }
}
