//! What all decorators share: admission, time, judgement.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::breaker::{Breaker, BreakerOpenError, BreakerPolicy, BreakerState};
use domain::histogram::{self, Histogram, Snapshot};
use ports::{BackendError, Clock};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// How much a backend is trusted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuardPolicy {
    /// How long an answer may take. Streams that callers feed have no such limit: their stalls are the callers'.
    pub timeout: Duration,
    /// Calls under way at once; as many streams besides, so that slow senders take nothing from readers.
    pub concurrency: usize,
    /// How long a call may wait for its place among them.
    pub patience: Duration,
    /// When to stop asking.
    pub breaker: BreakerPolicy,
}

impl Default for GuardPolicy {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            concurrency: 64,
            patience: Duration::from_secs(1),
            breaker: BreakerPolicy::default(),
        }
    }
}

/// What a guard counted since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardStats {
    /// Calls that reached the backend and came to an end there.
    pub calls: u64,
    /// Those of them that failed or took too long.
    pub failures: u64,
    /// Calls that were kept from the backend.
    pub refused: u64,
    /// The time of all calls together, in microseconds.
    pub total_micros: u64,
    /// The calls by operation, all of the port's.
    pub operations: Vec<OperationStats>,
}

/// The calls of one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationStats {
    /// Its name.
    pub name: &'static str,
    /// Calls that failed or took too long.
    pub failures: u64,
    /// How long calls took, failed ones too.
    pub time: Snapshot,
}

/// Why a guard gives an error of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GuardRefusal {
    /// The backend failed too often, and is left alone for a while.
    #[error(transparent)]
    Open(#[from] BreakerOpenError),
    /// As many calls as may be are under way.
    #[error("too many calls are under way")]
    Full,
    /// The backend did not answer in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
}

/// What an outcome says about the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// It is there and answers.
    Answered,
    /// It is in trouble.
    Failed,
    /// Nothing: the call ended for another reason.
    Silent,
}

impl Judgement {
    /// An error of the backend: what is for good is an answer, if no welcome one.
    pub(crate) const fn of(error: &BackendError) -> Self {
        if error.temporary { Self::Failed } else { Self::Answered }
    }
}

/// What is counted of one operation.
struct Operation {
    name: &'static str,
    failures: AtomicU64,
    time: Histogram,
}

/// How a call is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// By the timeout.
    Answer,
    /// By whoever feeds the stream.
    Stream,
}

/// The guard of one backend.
pub(crate) struct Guard {
    name: &'static str,
    policy: GuardPolicy,
    clock: Arc<dyn Clock>,
    breaker: Mutex<Breaker>,
    answers: Semaphore,
    streams: Semaphore,
    calls: AtomicU64,
    failures: AtomicU64,
    refused: AtomicU64,
    operations: Vec<Operation>,
}

/// An admitted call; when it is dropped without an outcome, the breaker is told that there will be none.
struct Admission<'a> {
    guard: &'a Guard,
    /// Whether it is the one call that tries a backend that failed.
    trial: bool,
    told: bool,
}

impl Guard {
    /// A guard for the calls named here, and no others.
    pub(crate) fn new(
        name: &'static str,
        operations: &[&'static str],
        policy: GuardPolicy,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let operation = |name: &&'static str| Operation {
            name,
            failures: AtomicU64::new(0),
            time: Histogram::new(histogram::BACKEND),
        };
        Self {
            name,
            policy,
            clock,
            breaker: Mutex::new(Breaker::new(policy.breaker)),
            answers: Semaphore::new(policy.concurrency),
            streams: Semaphore::new(policy.concurrency),
            calls: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            operations: operations.iter().map(operation).collect(),
        }
    }

    /// Makes the call, if it may be made, and gives its outcome.
    pub(crate) async fn call<T>(
        &self,
        operation: &'static str,
        lane: Lane,
        call: impl Future<Output = T> + Send,
        judge: impl FnOnce(&T) -> Judgement + Send,
    ) -> Result<T, GuardRefusal> {
        let refused = |refusal| {
            self.refused.fetch_add(1, Ordering::Relaxed);
            refusal
        };
        // Before waiting for a place: with an open breaker there is nothing to wait for.
        self.peek().map_err(refused)?;
        let places = if lane == Lane::Answer {
            &self.answers
        } else {
            &self.streams
        };
        let place = timeout(self.policy.patience, places.acquire()).await;
        let Ok(Ok(_place)) = place else {
            return Err(refused(GuardRefusal::Full));
        };
        let admission = self.admit().map_err(refused)?;

        let began = self.clock.now();
        let outcome = match lane {
            Lane::Stream => Ok(call.await),
            Lane::Answer => timeout(self.policy.timeout, call).await,
        };
        let took = self.clock.now().since(began);
        let judgement = outcome.as_ref().map_or(Judgement::Failed, judge);
        if let Some(operation) = self.operations.iter().find(|known| known.name == operation) {
            operation.time.observe(took);
            if judgement == Judgement::Failed {
                operation.failures.fetch_add(1, Ordering::Relaxed);
            }
        }
        admission.tell(judgement);
        outcome.map_err(|_| GuardRefusal::TimedOut(self.policy.timeout))
    }

    /// The refusal as an error of the backend: it may pass.
    pub(crate) fn error(&self, operation: &'static str, refusal: GuardRefusal) -> BackendError {
        BackendError::temporary(self.name, operation, refusal)
    }

    pub(crate) fn stats(&self) -> GuardStats {
        let read = |operation: &Operation| OperationStats {
            name: operation.name,
            failures: operation.failures.load(Ordering::Relaxed),
            time: operation.time.snapshot(),
        };
        let operations: Vec<OperationStats> = self.operations.iter().map(read).collect();
        GuardStats {
            calls: self.calls.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            total_micros: operations.iter().map(|operation| operation.time.sum_micros).sum(),
            operations,
        }
    }

    pub(crate) fn breaker(&self) -> BreakerState {
        self.lock().state()
    }

    fn lock(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the breaker would refuse, without asking it for a trial.
    fn peek(&self) -> Result<(), GuardRefusal> {
        // The breaker is a small value: a copy may be asked in its place.
        let mut copy = *self.lock();
        copy.admit(self.clock.now()).map_err(GuardRefusal::from)
    }

    fn admit(&self) -> Result<Admission<'_>, GuardRefusal> {
        let mut breaker = self.lock();
        breaker.admit(self.clock.now())?;
        let trial = matches!(breaker.state(), BreakerState::HalfOpen { .. });
        Ok(Admission {
            guard: self,
            trial,
            told: false,
        })
    }

    fn log_change(&self, before: BreakerState, after: BreakerState) {
        match (before, after) {
            (BreakerState::Open { .. }, BreakerState::Open { .. }) => {}
            (_, BreakerState::Open { .. }) => tracing::warn!(backend = self.name, "breaker opened"),
            (BreakerState::HalfOpen { .. }, BreakerState::Closed { .. }) => {
                tracing::info!(backend = self.name, "breaker closed")
            }
            _ => {}
        }
    }
}

impl Admission<'_> {
    fn tell(mut self, judgement: Judgement) {
        let guard = self.guard;
        guard.calls.fetch_add(1, Ordering::Relaxed);
        if judgement == Judgement::Failed {
            guard.failures.fetch_add(1, Ordering::Relaxed);
        }
        self.settle(judgement);
    }

    fn settle(&mut self, judgement: Judgement) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        let now = self.guard.clock.now();
        let mut breaker = self.guard.lock();
        let before = breaker.state();
        // While one call tries the backend, the outcome of a call that was admitted before says nothing.
        if matches!(before, BreakerState::HalfOpen { .. }) && !self.trial {
            return;
        }
        match judgement {
            Judgement::Answered => breaker.success(),
            Judgement::Failed => breaker.failure(now),
            Judgement::Silent => breaker.abandon(),
        }
        let after = breaker.state();
        drop(breaker);
        self.guard.log_change(before, after);
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        self.settle(Judgement::Silent);
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("name", &self.name)
            .field("breaker", &self.breaker())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
