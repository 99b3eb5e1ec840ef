//! Workers: loops whose body is one step, driven until the process drains.

pub mod file_sweeper;
pub mod handlers;
pub mod log_keeper;
pub mod mail_sender;
pub mod pruner;
pub mod relay;
pub mod sequencer;
pub mod tailer;
pub mod usage_handler;
pub mod welcome_handler;

#[cfg(test)]
pub(crate) mod testing;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use domain::event::LoggedEvent;
use domain::histogram::{self, Histogram, Snapshot};
use domain::retry::RetrySchedule;
use domain::time::Timestamp;
use ports::BackendError;

use crate::lifecycle::Shutdown;
use crate::service::Toolkit;

/// How long a lease of shards or cursors holds: what a killed node held goes on elsewhere after this.
pub const LEASE_TTL: Duration = Duration::from_secs(5);
/// How long an idle worker waits to be woken before it looks by itself.
pub const IDLE: Duration = Duration::from_millis(100);

/// How soon a worker asks for what others hold: soon after another node gave its leases back.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// How long giving leases back may take at the end; after it they run out by themselves.
const LAST_WORD: Duration = Duration::from_secs(2);
/// The waits of a worker whose backend is away.
const BACK_OFF: RetrySchedule = RetrySchedule {
    base: Duration::from_millis(100),
    cap: Duration::from_secs(5),
    attempts: u32::MAX,
};

/// What comes after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// There is more to do.
    More,
    /// There is nothing to do until something happens.
    Rest,
}

/// What a worker has done since it was made.
#[derive(Debug)]
pub struct WorkCounters {
    done: AtomicU64,
    failures: AtomicU64,
    delays: Histogram,
}

impl Default for WorkCounters {
    fn default() -> Self {
        Self {
            done: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            delays: Histogram::new(histogram::EVENT),
        }
    }
}

impl WorkCounters {
    /// Events that it is done with.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Steps, or events, that failed; each is tried again.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Counts work that is done.
    pub fn add_done(&self, count: u64) {
        self.done.fetch_add(count, Ordering::Relaxed);
    }

    /// From the time of an event until this worker was done with it.
    pub fn delays(&self) -> Snapshot {
        self.delays.snapshot()
    }

    /// Counts the delays of events that are done with now.
    pub fn add_delays<'a>(&self, now: Timestamp, events: impl Iterator<Item = &'a LoggedEvent>) {
        for logged in events {
            self.delays.observe(now.since(logged.event.time));
        }
    }

    /// Counts a failure.
    pub fn add_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}

/// A loop whose body is one step.
#[async_trait]
pub trait Worker: Send {
    /// Its name in the log.
    fn name(&self) -> &str;

    /// What it counts.
    fn counters(&self) -> &WorkCounters;

    /// Does what there is to do, a bounded amount of it.
    ///
    /// # Errors
    /// When a backend is away; the step is made again after a pause.
    async fn step(&mut self) -> Result<Pace, BackendError>;

    /// Waits until there may be something to do.
    async fn rest(&mut self);

    /// Gives back what it holds.
    ///
    /// # Errors
    /// When the backend is away; leases then run out by themselves.
    async fn finish(&mut self) -> Result<(), BackendError>;
}

/// Makes step after step until the process drains, then lets the worker finish. A failure is logged when it begins and when it is over, not at every attempt.
pub async fn drive(mut worker: impl Worker, toolkit: &Toolkit, shutdown: &Shutdown) {
    let mut failures = 0_u32;
    while !shutdown.is_draining() {
        match worker.step().await {
            Ok(pace) => {
                if failures > 0 {
                    tracing::info!(worker = worker.name(), failures, "a worker goes on");
                    failures = 0;
                }
                if pace == Pace::Rest {
                    tokio::select! {
                        () = worker.rest() => {}
                        () = shutdown.draining() => {}
                    }
                }
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                worker.counters().add_failure();
                if failures == 1 {
                    let cause = &error.source;
                    tracing::warn!(worker = worker.name(), %error, %cause, "a worker is held up and keeps trying");
                }
                let wait = BACK_OFF.delay(failures, u64::from_be_bytes(toolkit.random()));
                tokio::select! {
                    () = tokio::time::sleep(wait.unwrap_or(BACK_OFF.cap)) => {}
                    () = shutdown.draining() => {}
                }
            }
        }
    }
    match tokio::time::timeout(LAST_WORD, worker.finish()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(worker = worker.name(), %error, "leases could not be given back"),
        Err(_) => tracing::warn!(worker = worker.name(), "giving leases back took too long"),
    }
}

/// When a lease is to be renewed.
#[derive(Debug, Clone, Copy, Default)]
struct Lease {
    renewed_at: Option<Timestamp>,
}

impl Lease {
    /// Whether to ask now: after a third of the lease, sooner while there may be more to have.
    fn is_due(self, now: Timestamp, settled: bool) -> bool {
        let after = if settled { LEASE_TTL / 3 } else { ASK_AGAIN };
        // A clock that was set back must not keep a lease from being renewed.
        self.renewed_at.is_none_or(|at| now < at || now.since(at) >= after)
    }

    /// Until when a step may go on before it renews.
    fn step_until(self, now: Timestamp) -> Timestamp {
        self.renewed_at.unwrap_or(now).plus(LEASE_TTL / 2)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::Mutex;

    use super::testing::{away, kit};
    use super::*;

    /// Does what a script says, then drains the process; notes what was asked of it.
    struct Scripted {
        script: Vec<Result<Pace, BackendError>>,
        notes: Arc<Mutex<Vec<&'static str>>>,
        counters: Arc<WorkCounters>,
        shutdown: Shutdown,
    }

    #[async_trait]
    impl Worker for Scripted {
        fn name(&self) -> &str {
            "scripted"
        }

        fn counters(&self) -> &WorkCounters {
            &self.counters
        }

        async fn step(&mut self) -> Result<Pace, BackendError> {
            self.notes.lock().unwrap().push("step");
            let next = self.script.remove(0);
            if self.script.is_empty() {
                self.shutdown.drain();
            }
            next
        }

        async fn rest(&mut self) {
            self.notes.lock().unwrap().push("rest");
        }

        async fn finish(&mut self) -> Result<(), BackendError> {
            self.notes.lock().unwrap().push("finish");
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_worker_rests_when_idle_goes_on_after_failures_and_finishes() {
        let (notes, counters, shutdown) = (Arc::default(), Arc::new(WorkCounters::default()), Shutdown::new());
        let script = vec![
            Ok(Pace::More),
            Ok(Pace::Rest),
            Err(away()),
            Ok(Pace::More),
            Ok(Pace::More),
        ];
        let worker = Scripted {
            script,
            notes: Arc::clone(&notes),
            counters: Arc::clone(&counters),
            shutdown: shutdown.clone(),
        };
        drive(worker, &kit().toolkit, &shutdown).await;
        assert_eq!(
            *notes.lock().unwrap(),
            ["step", "step", "rest", "step", "step", "step", "finish"]
        );
        assert_eq!(counters.failures(), 1);
    }

    #[test]
    fn a_lease_is_renewed_in_time_and_asked_for_sooner_while_others_hold_a_part() {
        let start = Timestamp::from_seconds(100);
        let at = |millis| start.plus(Duration::from_millis(millis));
        assert!(Lease::default().is_due(start, true));
        let lease = Lease {
            renewed_at: Some(start),
        };
        assert!(!lease.is_due(at(1_600), true));
        assert!(lease.is_due(at(1_700), true));
        assert!(!lease.is_due(at(400), false));
        assert!(lease.is_due(at(500), false));
        assert!(
            lease.is_due(Timestamp::from_seconds(99), true),
            "the clock was set back"
        );
        assert!(lease.step_until(start) < start.plus(LEASE_TTL));
    }
}
