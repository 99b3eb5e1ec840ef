//! A few threads for work that fills a core, behind a bounded queue that is fair between clients.
//!
//! Threads of its own rather than the runtime's blocking pool: that one is shared with every file operation, so a flood of
//! logins would slow downloads, and its queue is neither bounded nor fair.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::histogram::{self, Histogram};
use ports::{BackendError, Clock, HashPasswordError, HashQueueStats};
use tokio::sync::oneshot;

use crate::ADAPTER;

/// The share of the queue that one client may hold.
const SHARE: usize = 4;

type Work = Box<dyn FnOnce() + Send>;

/// Runs work on its own threads, one job of each waiting client in turn.
pub(crate) struct FairPool {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    ready: Condvar,
    clock: Arc<dyn Clock>,
    threads: usize,
    capacity: usize,
    times: Histogram,
}

struct State {
    /// The jobs of each client that has any.
    queues: HashMap<String, VecDeque<Job>>,
    /// These clients, the next one to be served first.
    turns: VecDeque<String>,
    waiting: usize,
    running: usize,
    shed: u64,
    last_id: u64,
    /// What a job takes, as a moving average.
    cost: Duration,
    closed: bool,
}

struct Job {
    id: u64,
    work: Work,
}

/// A caller's place in the queue; given up when the caller goes away.
struct Place<'a> {
    shared: &'a Shared,
    client: &'a str,
    id: u64,
}

impl FairPool {
    /// Starts the threads. `expected_cost` is what a job takes until one was measured.
    pub(crate) fn new(
        threads: usize,
        capacity: usize,
        expected_cost: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, BackendError> {
        let state = State {
            queues: HashMap::new(),
            turns: VecDeque::new(),
            waiting: 0,
            running: 0,
            shed: 0,
            last_id: 0,
            cost: expected_cost,
            closed: false,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            ready: Condvar::new(),
            clock,
            threads,
            capacity,
            times: Histogram::new(histogram::BACKEND),
        });
        // Made before the threads, so that those that were started end when one cannot be.
        let pool = Self { shared };
        for number in 0..threads {
            let shared = Arc::clone(&pool.shared);
            let thread = std::thread::Builder::new().name(format!("plinth-hash-{number}"));
            thread
                .spawn(move || shared.work())
                .map_err(|error| BackendError::temporary(ADAPTER, "start", error))?;
        }
        Ok(pool)
    }

    /// Waits for the turn of `client`, then for the answer. When the caller goes away before its turn, its place is free at once.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        client: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HashPasswordError> {
        let (answer, answered) = oneshot::channel();
        // Nobody listens any more when sending fails, and that is well.
        let work = Box::new(move || drop(answer.send(work())));
        let began = self.shared.clock.now();
        let id = self.shared.admit(client, work)?;
        let _place = Place {
            shared: &self.shared,
            client,
            id,
        };
        let gone = |_| BackendError::temporary(ADAPTER, "hash", "the hashing pool is closing, or its work panicked");
        let answer = answered.await.map_err(gone)?;
        self.shared.times.observe(self.shared.clock.now().since(began));
        Ok(answer)
    }

    pub(crate) fn stats(&self) -> HashQueueStats {
        let state = self.shared.lock();
        HashQueueStats {
            waiting: state.waiting,
            capacity: self.shared.capacity,
            running: state.running,
            shed: state.shed,
            time: self.shared.times.snapshot(),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(&self, client: &str, work: Work) -> Result<u64, HashPasswordError> {
        let mut state = self.lock();
        let held = state.queues.get(client).map_or(0, VecDeque::len);
        if state.waiting >= self.capacity || held >= (self.capacity / SHARE).max(1) {
            state.shed += 1;
            return Err(HashPasswordError::Overloaded {
                retry_after: self.drained_after(&state),
            });
        }
        state.last_id += 1;
        let id = state.last_id;
        state.push(client, Job { id, work });
        drop(state);
        self.ready.notify_one();
        Ok(id)
    }

    /// How long until what waits now is done: whole seconds, at least one.
    fn drained_after(&self, state: &State) -> Duration {
        let jobs = u32::try_from(state.waiting + state.running).unwrap_or(u32::MAX);
        let threads = u32::try_from(self.threads).unwrap_or(u32::MAX).max(1);
        let seconds = (state.cost.saturating_mul(jobs) / threads).as_secs_f64().ceil();
        Duration::from_secs_f64(seconds.clamp(1.0, 3_600.0))
    }

    /// The life of a thread.
    fn work(&self) {
        while let Some(job) = self.next() {
            let began = self.clock.now();
            // A panic ends the job (its caller gets an error), not the thread.
            let outcome = catch_unwind(AssertUnwindSafe(job.work));
            if outcome.is_err() {
                tracing::error!("a job of the hashing pool panicked");
            }
            let took = self.clock.now().since(began);
            let mut state = self.lock();
            state.running -= 1;
            if took > Duration::ZERO {
                state.cost = (state.cost * 7 + took) / 8;
            }
        }
    }

    /// Waits for the next job; none when the pool is closed.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(job) = state.take() {
                return Some(job);
            }
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl State {
    fn push(&mut self, client: &str, job: Job) {
        match self.queues.entry(client.to_owned()) {
            Entry::Occupied(mut queue) => queue.get_mut().push_back(job),
            Entry::Vacant(queue) => {
                queue.insert(VecDeque::from([job]));
                self.turns.push_back(client.to_owned());
            }
        }
        self.waiting += 1;
    }

    /// The first job of the client whose turn it is; that client goes to the end of the line.
    fn take(&mut self) -> Option<Job> {
        let client = self.turns.pop_front()?;
        let queue = self.queues.get_mut(&client)?;
        let job = queue.pop_front()?;
        if queue.is_empty() {
            self.queues.remove(&client);
        } else {
            self.turns.push_back(client);
        }
        self.waiting -= 1;
        self.running += 1;
        Some(job)
    }

    /// Takes a job out of the line, if it is still there.
    fn remove(&mut self, client: &str, id: u64) -> Option<Job> {
        let queue = self.queues.get_mut(client)?;
        let at = queue.iter().position(|job| job.id == id)?;
        let job = queue.remove(at)?;
        if queue.is_empty() {
            self.queues.remove(client);
            self.turns.retain(|turn| turn != client);
        }
        self.waiting -= 1;
        Some(job)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let job = self.shared.lock().remove(self.client, self.id);
        // Only now, outside the lock: dropping the work may wake whoever waits for its answer.
        drop(job);
    }
}

impl Drop for FairPool {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.waiting = 0;
        state.turns.clear();
        let jobs = std::mem::take(&mut state.queues);
        drop(state);
        self.shared.ready.notify_all();
        drop(jobs);
    }
}

impl fmt::Debug for FairPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FairPool").field("stats", &self.stats()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::sync::mpsc;
    use std::task::{Context, Poll, Waker};

    use domain::time::Timestamp;

    use super::*;

    /// Stands still until a job moves it.
    #[derive(Default)]
    struct TestClock(AtomicI64);

    impl Clock for TestClock {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(self.0.load(Ordering::SeqCst))
        }
    }

    fn pool(threads: usize, capacity: usize) -> FairPool {
        FairPool::new(
            threads,
            capacity,
            Duration::from_millis(500),
            Arc::new(TestClock::default()),
        )
        .expect("threads start")
    }

    type Running<'a> = Pin<Box<dyn Future<Output = Result<(), HashPasswordError>> + 'a>>;

    /// Puts a job into the line and leaves it there.
    fn queued<'a>(pool: &'a FairPool, client: &'a str, work: impl FnOnce() + Send + 'static) -> Running<'a> {
        let mut running: Running<'a> = Box::pin(pool.run(client, work));
        let _ = poll(&mut running);
        running
    }

    fn poll(running: &mut Running<'_>) -> Poll<Result<(), HashPasswordError>> {
        running.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Keeps the only thread busy until the sender is used or dropped; returns when it is.
    fn occupied(pool: &FairPool) -> (Running<'_>, mpsc::Sender<()>) {
        let ((started, starts), (release, released)) = (mpsc::channel(), mpsc::channel::<()>());
        let running = queued(pool, "occupier", move || {
            started.send(()).expect("the test waits");
            let _ = released.recv();
        });
        starts.recv().expect("the thread takes the job");
        (running, release)
    }

    fn retry_after(outcome: Poll<Result<(), HashPasswordError>>) -> Option<Duration> {
        match outcome {
            Poll::Ready(Err(HashPasswordError::Overloaded { retry_after })) => Some(retry_after),
            _ => None,
        }
    }

    #[tokio::test]
    async fn gives_the_answer_of_the_work() {
        assert_eq!(pool(2, 8).run("a", || 6 * 7).await.expect("an answer"), 42);
    }

    #[tokio::test]
    async fn serves_clients_in_turn_however_much_one_asks() {
        let pool = pool(1, 40);
        let (occupier, release) = occupied(&pool);
        let (order, served) = mpsc::channel();
        let mut jobs: Vec<Running<'_>> = Vec::new();
        for client in ["flood", "flood", "flood", "flood", "ann", "bob", "ann"] {
            let order = order.clone();
            jobs.push(queued(&pool, client, move || {
                order.send(client).expect("the test waits")
            }));
        }
        drop(release);
        occupier.await.expect("it ends");
        for job in jobs {
            job.await.expect("it ends");
        }
        drop(order);
        let served: Vec<&str> = served.iter().collect();
        assert_eq!(served, ["flood", "ann", "bob", "flood", "ann", "flood", "flood"]);
    }

    #[test]
    fn lets_no_client_hold_more_than_a_quarter() {
        let pool = pool(1, 8);
        let (_occupier, _release) = occupied(&pool);
        let _held = [queued(&pool, "flood", || ()), queued(&pool, "flood", || ())];
        let mut third = Box::pin(pool.run("flood", || ())) as Running<'_>;
        assert!(retry_after(poll(&mut third)).is_some());
        let mut other = queued(&pool, "ann", || ());
        assert!(poll(&mut other).is_pending());
        let stats = pool.stats();
        assert_eq!((stats.waiting, stats.capacity), (3, 8));
        assert_eq!((stats.running, stats.shed), (1, 1));
        assert_eq!(stats.time.counts.iter().sum::<u64>(), 0, "none has ended");
    }

    #[test]
    fn refuses_when_the_queue_is_full_and_says_when_it_is_worked_off() {
        let pool = pool(1, 5);
        let (_occupier, _release) = occupied(&pool);
        let clients = ["a", "b", "c", "d", "e"];
        let _held = clients.map(|client| queued(&pool, client, || ()));
        let mut sixth = Box::pin(pool.run("f", || ())) as Running<'_>;
        // Six jobs of half a second on one thread.
        assert_eq!(retry_after(poll(&mut sixth)), Some(Duration::from_secs(3)));
        assert_eq!(pool.stats().shed, 1);
    }

    #[test]
    fn never_asks_to_come_back_within_a_second() {
        let pool = pool(1, 1);
        let (_occupier, _release) = occupied(&pool);
        let _held = queued(&pool, "a", || ());
        let mut second = Box::pin(pool.run("b", || ())) as Running<'_>;
        assert_eq!(retry_after(poll(&mut second)), Some(Duration::from_secs(1)));
    }

    #[tokio::test]
    async fn learns_what_a_job_takes() {
        let clock = Arc::new(TestClock::default());
        let pool =
            FairPool::new(1, 1, Duration::from_secs(1), Arc::clone(&clock) as Arc<dyn Clock>).expect("threads start");
        for _ in 0..60 {
            let clock = Arc::clone(&clock);
            let work = move || clock.0.fetch_add(9_000_000, Ordering::SeqCst);
            pool.run("a", work).await.expect("an answer");
        }
        let (_occupier, _release) = occupied(&pool);
        let _held = queued(&pool, "a", || ());
        let mut refused = Box::pin(pool.run("b", || ())) as Running<'_>;
        // Two jobs of nine seconds, as far as the average has come.
        assert_eq!(retry_after(poll(&mut refused)), Some(Duration::from_secs(18)));
    }

    #[tokio::test]
    async fn a_caller_that_went_away_frees_its_place_and_is_never_served() {
        let pool = pool(1, 1);
        let (occupier, release) = occupied(&pool);
        let (served, serves) = mpsc::channel();
        let gone = queued(&pool, "a", move || served.send(()).expect("the test waits"));
        assert_eq!(pool.stats().waiting, 1);
        drop(gone);
        assert_eq!(pool.stats().waiting, 0);
        let next = queued(&pool, "b", || ());
        assert_eq!(pool.stats().waiting, 1);
        drop(release);
        occupier.await.expect("it ends");
        next.await.expect("it ends");
        assert!(serves.recv().is_err(), "the work of a caller that went away was done");
        assert_eq!(pool.shared.lock().queues.len(), 0);
        assert_eq!(pool.shared.lock().turns.len(), 0);
    }

    #[tokio::test]
    async fn a_panic_ends_the_job_and_not_the_thread() {
        let pool = pool(1, 4);
        let panicked = pool.run("a", || panic!("as the test asks")).await;
        assert!(matches!(panicked, Err(HashPasswordError::Backend(error)) if error.temporary));
        assert_eq!(pool.run("a", || 1).await.expect("an answer"), 1);
    }

    #[test]
    fn its_threads_end_with_it() {
        let pool = pool(3, 4);
        let shared = Arc::downgrade(&pool.shared);
        drop(pool);
        while shared.strong_count() > 0 {
            std::thread::yield_now();
        }
    }
}
