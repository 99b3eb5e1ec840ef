//! The sequencer: gives committed events their positions.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::event::Shard;
use ports::{BackendError, LogSequencer, Wakeup};

use super::{IDLE, LEASE_TTL, Lease, Pace, WorkCounters, Worker, drive};
use crate::lifecycle::Shutdown;
use crate::service::Toolkit;

/// How many events get their positions in one step.
const BATCH: u32 = 2_000;

/// A step of so many events is one under load: the next lets events gather first.
const LOADED: u64 = 8;

/// How long they gather. Each step is a commit beside those of the publishers, on SQLite in their way, and wakes all who
/// follow the log, who commit in their turn: few large steps leave the publishers most of the disk. An event that comes
/// alone is not kept waiting.
const GATHERING: Duration = Duration::from_millis(15);

/// Sequences the shards that it holds. Any number may run: the leases decide who works.
pub struct SequencerWorker {
    sequencer: Arc<dyn LogSequencer>,
    toolkit: Toolkit,
    owner: String,
    counters: Arc<WorkCounters>,
    lease: Lease,
    held: Vec<Shard>,
    /// Whether the last claim changed nothing, so that the next need not come soon.
    settled: bool,
    /// Whether the last step was one under load.
    loaded: bool,
}

impl std::fmt::Debug for SequencerWorker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SequencerWorker")
            .field("owner", &self.owner)
            .field("held", &self.held.len())
            .finish_non_exhaustive()
    }
}

impl SequencerWorker {
    /// A sequencer under the name of this process, which no other may have.
    pub fn new(sequencer: Arc<dyn LogSequencer>, toolkit: Toolkit, owner: String) -> Self {
        Self {
            sequencer,
            toolkit,
            owner,
            counters: Arc::default(),
            lease: Lease::default(),
            held: Vec::new(),
            settled: false,
            loaded: false,
        }
    }

    /// Events that got their position from it, and failed steps.
    pub fn counters(&self) -> Arc<WorkCounters> {
        Arc::clone(&self.counters)
    }

    /// Renews the lease when it is time, and sequences once.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn step(&mut self) -> Result<Pace, BackendError> {
        let now = self.toolkit.now();
        if self.lease.is_due(now, self.settled) {
            let held = self.sequencer.lease(&self.owner, now, LEASE_TTL).await?;
            self.lease.renewed_at = Some(now);
            self.settled = !held.is_empty() && held == self.held;
            if held.len() != self.held.len() {
                tracing::info!(shards = held.len(), "shards to sequence");
            }
            self.held = held;
        }
        if self.held.is_empty() {
            return Ok(Pace::Rest);
        }
        self.loaded = false;
        let sequenced = self.sequencer.sequence(&self.owner, self.toolkit.now(), BATCH).await?;
        if sequenced.events == 0 {
            // What waits may be another's: asking again at once would not help.
            return Ok(Pace::Rest);
        }
        self.counters.add_done(sequenced.events);
        self.loaded = sequenced.events >= LOADED;
        self.toolkit.wakeups.wake(Wakeup::Sequenced);
        Ok(if sequenced.more { Pace::More } else { Pace::Rest })
    }

    /// Sequences until the process drains.
    pub async fn run(self, shutdown: Shutdown) {
        let toolkit = self.toolkit.clone();
        drive(self, &toolkit, &shutdown).await;
    }
}

#[async_trait]
impl Worker for SequencerWorker {
    fn name(&self) -> &str {
        "sequencer"
    }

    fn counters(&self) -> &WorkCounters {
        &self.counters
    }

    async fn step(&mut self) -> Result<Pace, BackendError> {
        Self::step(self).await
    }

    async fn rest(&mut self) {
        if self.loaded {
            tokio::time::sleep(GATHERING).await;
        } else {
            self.toolkit.wakeups.wait("sequencer", Wakeup::Written, IDLE).await;
        }
    }

    async fn finish(&mut self) -> Result<(), BackendError> {
        self.sequencer.release(&self.owner).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use domain::event::Shard;
    use ports::{MockLogSequencer, Sequenced};

    use super::super::testing::{Kit, away, kit};
    use super::*;

    fn worker(mock: MockLogSequencer, kit: &Kit) -> SequencerWorker {
        SequencerWorker::new(Arc::new(mock), kit.toolkit.clone(), "node-1".to_owned())
    }

    fn sequenced(events: u64, more: bool) -> Sequenced {
        Sequenced { events, more }
    }

    #[tokio::test]
    async fn a_step_leases_sequences_and_wakes_those_who_follow() {
        let (kit, mut mock) = (kit(), MockLogSequencer::new());
        let all = || Ok(Shard::all().collect());
        mock.expect_lease()
            .withf(|owner, _, ttl| owner == "node-1" && *ttl == LEASE_TTL)
            .times(1)
            .returning(move |_, _, _| all());
        mock.expect_sequence()
            .withf(|owner, _, limit| owner == "node-1" && *limit == BATCH)
            .times(1)
            .returning(|_, _, _| Ok(sequenced(2_000, true)));
        mock.expect_sequence()
            .times(1)
            .returning(|_, _, _| Ok(sequenced(3, false)));
        mock.expect_lease().times(1).returning(move |_, _, _| all());
        mock.expect_sequence()
            .times(1)
            .returning(|_, _, _| Ok(sequenced(0, false)));
        let mut worker = worker(mock, &kit);
        assert_eq!(worker.step().await.unwrap(), Pace::More);
        assert_eq!(worker.step().await.unwrap(), Pace::Rest);
        assert_eq!(kit.wakeups.woken(), [Wakeup::Sequenced, Wakeup::Sequenced]);
        kit.clock.advance(LEASE_TTL / 2);
        assert_eq!(worker.step().await.unwrap(), Pace::Rest);
        assert_eq!(kit.wakeups.woken(), []);
        assert_eq!(worker.counters().done(), 2_003);
    }

    #[tokio::test]
    async fn without_a_shard_nothing_is_sequenced_and_the_lease_is_asked_for_again() {
        let (kit, mut mock) = (kit(), MockLogSequencer::new());
        mock.expect_lease().times(1).returning(|_, _, _| Ok(Vec::new()));
        mock.expect_lease()
            .times(1)
            .returning(|_, _, _| Ok(Shard::all().collect()));
        mock.expect_sequence()
            .times(1)
            .returning(|_, _, _| Ok(sequenced(1, false)));
        let mut worker = worker(mock, &kit);
        assert_eq!(worker.step().await.unwrap(), Pace::Rest);
        assert_eq!(worker.step().await.unwrap(), Pace::Rest, "not asked at every step");
        kit.clock.advance(Duration::from_millis(500));
        worker.step().await.unwrap();
        assert_eq!(worker.counters().done(), 1);
    }

    #[tokio::test]
    async fn a_fenced_sequencer_does_not_spin() {
        let (kit, mut mock) = (kit(), MockLogSequencer::new());
        mock.expect_lease().returning(|_, _, _| Ok(Shard::all().collect()));
        mock.expect_sequence().returning(|_, _, _| Ok(sequenced(0, true)));
        assert_eq!(worker(mock, &kit).step().await.unwrap(), Pace::Rest);
        assert_eq!(kit.wakeups.woken(), []);
    }

    #[tokio::test]
    async fn a_failure_is_passed_on_and_the_next_step_asks_for_the_lease_again() {
        let (kit, mut mock) = (kit(), MockLogSequencer::new());
        mock.expect_lease().times(1).returning(|_, _, _| Err(away()));
        mock.expect_lease()
            .times(1)
            .returning(|_, _, _| Ok(Shard::all().collect()));
        mock.expect_sequence().times(1).returning(|_, _, _| Err(away()));
        let mut worker = worker(mock, &kit);
        assert!(worker.step().await.is_err());
        assert!(worker.step().await.is_err());
        assert_eq!(worker.counters().done(), 0);
    }

    #[tokio::test]
    async fn draining_gives_the_lease_back() {
        let (kit, mut mock) = (kit(), MockLogSequencer::new());
        mock.expect_release()
            .withf(|owner| owner == "node-1")
            .times(1)
            .returning(|_| Ok(()));
        let shutdown = Shutdown::new();
        shutdown.drain();
        worker(mock, &kit).run(shutdown).await;
    }
}
