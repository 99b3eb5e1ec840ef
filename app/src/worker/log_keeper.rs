//! The log keeper: signs the log's heads now and then, and removes what is old from its front in small steps.

use std::sync::Arc;
use std::time::Duration;

use ports::{AuditTrail, BackendError, EffectsError, LogKeeper};

use crate::lifecycle::Shutdown;
use crate::service::Toolkit;
use crate::service::audit::Audit;

/// How often it looks, unless checkpoints are to come more often.
const LOOK: Duration = Duration::from_secs(30);
/// Events that one step takes from a shard: on SQLite a step holds the one writer, for some ten milliseconds.
const ROWS: u32 = 500;
/// The pause between steps, in which others write.
const PAUSE: Duration = Duration::from_millis(25);

/// How old the log may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPolicy {
    /// How often the heads are signed while they move.
    pub checkpoint_interval: Duration,
    /// The age at which events leave.
    pub retention: Option<Duration>,
    /// The age at which they lose their payload.
    pub payload_retention: Option<Duration>,
}

/// Keeps the log. Any number may run: checkpoints are numbered, and who comes second with a number does nothing; of a shard's front
/// one step at a time takes.
pub struct LogKeeperWorker {
    toolkit: Toolkit,
    audit: Arc<Audit>,
    trail: Arc<dyn AuditTrail>,
    keeper: Arc<dyn LogKeeper>,
    policy: LogPolicy,
}

impl std::fmt::Debug for LogKeeperWorker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogKeeperWorker")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl LogKeeperWorker {
    /// A keeper over these.
    pub fn new(
        toolkit: Toolkit,
        audit: Arc<Audit>,
        trail: Arc<dyn AuditTrail>,
        keeper: Arc<dyn LogKeeper>,
        policy: LogPolicy,
    ) -> Self {
        Self {
            toolkit,
            audit,
            trail,
            keeper,
            policy,
        }
    }

    /// Signs when it is time; gives whether it did.
    ///
    /// # Errors
    /// When the backend fails.
    pub async fn sign(&self) -> Result<bool, EffectsError> {
        let last = self.keeper.last_checkpoint().await?;
        let now = self.toolkit.now();
        // A clock that was set back must not keep the next one from being made.
        if now >= last.at && now.since(last.at) < self.policy.checkpoint_interval {
            return Ok(false);
        }
        let made = self.audit.checkpoint_if_moved().await?;
        if let Some(made) = &made {
            tracing::debug!(serial = made.statement.serial, "the heads of the log were signed");
        }
        Ok(made.is_some())
    }

    /// Takes a bounded number of events from each shard; gives whether there may be more.
    ///
    /// # Errors
    /// When the backend fails.
    pub async fn step(&self) -> Result<bool, BackendError> {
        let now = self.toolkit.now();
        let mut more = false;
        if self.policy.retention.is_none() && self.policy.payload_retention.is_none() {
            return Ok(false);
        }
        for bounds in self.trail.bounds().await? {
            if let Some(age) = self.policy.retention
                && bounds.floor.position < bounds.removable
            {
                more |= self.keeper.trim(bounds.shard, now.minus(age), ROWS).await? == u64::from(ROWS);
            }
            if let Some(age) = self.policy.payload_retention
                && bounds.floor.position < bounds.head.position
            {
                more |= self.keeper.blank(bounds.shard, now.minus(age), ROWS).await? == u64::from(ROWS);
            }
        }
        Ok(more)
    }

    /// Keeps the log until the process drains.
    pub async fn run(self, shutdown: Shutdown) {
        let every = self.policy.checkpoint_interval.min(LOOK);
        let mut failing = false;
        loop {
            tokio::select! {
                () = shutdown.draining() => return,
                () = tokio::time::sleep(every) => {}
            }
            match self.round(&shutdown).await {
                Ok(()) => failing = false,
                Err(error) if !failing => {
                    tracing::warn!(%error, "the log cannot be kept now; it is tried again");
                    failing = true;
                }
                Err(_) => {}
            }
        }
    }

    async fn round(&self, shutdown: &Shutdown) -> Result<(), EffectsError> {
        self.sign().await?;
        while self.step().await? && !shutdown.is_draining() {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use domain::audit::Mark;
    use domain::event::Shard;
    use domain::id::InstallationId;
    use domain::time::Timestamp;
    use ports::{LastCheckpoint, MockAuditTrail, MockCheckpointSigner, MockLogKeeper, ShardBounds};

    use super::super::testing::{Kit, kit};
    use super::*;
    use crate::service::audit::AuditParts;

    const POLICY: LogPolicy = LogPolicy {
        checkpoint_interval: Duration::from_secs(600),
        retention: None,
        payload_retention: None,
    };

    /// Shard 2 has a thousand events, of which two hundred may go; the others have none.
    fn trail() -> MockAuditTrail {
        let mut trail = MockAuditTrail::new();
        trail.expect_bounds().returning(|| {
            let bounds = |shard: Shard| {
                let filled = u64::from(shard.number() == 2);
                ShardBounds {
                    shard,
                    floor: Mark::BEGINNING,
                    head: Mark {
                        position: filled * 1_000,
                        hash: [1; 32],
                    },
                    removable: filled * 200,
                }
            };
            Ok(Shard::all().map(bounds).collect())
        });
        trail
    }

    fn worker(keeper: MockLogKeeper, kit: &Kit, policy: LogPolicy) -> LogKeeperWorker {
        let (trail, keeper): (Arc<dyn AuditTrail>, Arc<dyn LogKeeper>) = (Arc::new(trail()), Arc::new(keeper));
        let mut signer = MockCheckpointSigner::new();
        signer
            .expect_public_key()
            .returning(|| ("id".to_owned(), "key".to_owned()));
        signer.expect_sign().returning(|text| Ok(text.to_owned()));
        let audit = Audit::new(AuditParts {
            toolkit: kit.toolkit.clone(),
            trail: Arc::clone(&trail),
            keeper: Arc::clone(&keeper),
            signer: Arc::new(signer),
            installation: InstallationId::new(uuid::Uuid::from_u128(1)),
            retention: policy.retention,
        });
        LogKeeperWorker::new(kit.toolkit.clone(), Arc::new(audit), trail, keeper, policy)
    }

    #[tokio::test]
    async fn the_heads_are_signed_when_it_is_time_and_not_before() {
        let kit = kit();
        let now = kit.toolkit.now();
        for (at, signs) in [
            (now.minus(Duration::from_secs(599)), false),
            (now.minus(Duration::from_secs(600)), true),
            (now.plus(Duration::from_secs(60)), true),
        ] {
            let mut keeper = MockLogKeeper::new();
            let last = LastCheckpoint {
                serial: 1,
                at,
                events: 0,
            };
            keeper.expect_last_checkpoint().returning(move || Ok(last));
            keeper
                .expect_checkpoint()
                .times(usize::from(signs))
                .returning(|_, _| Ok(true));
            assert_eq!(worker(keeper, &kit, POLICY).sign().await.unwrap(), signs, "{at}");
        }
    }

    #[tokio::test]
    async fn without_an_age_nothing_is_taken() {
        assert!(!worker(MockLogKeeper::new(), &kit(), POLICY).step().await.unwrap());
    }

    #[tokio::test]
    async fn each_age_takes_its_own_from_shards_that_have_something() {
        let kit = kit();
        let asked: Arc<Mutex<Vec<(&str, u8, Timestamp)>>> = Arc::default();
        let note = |name: &'static str, taken: u64| {
            let asked = Arc::clone(&asked);
            move |shard: Shard, before: Timestamp, limit: u32| {
                assert_eq!(limit, ROWS);
                asked.lock().unwrap().push((name, shard.number(), before));
                Ok(taken)
            }
        };
        for (trimmed, more) in [(500, true), (499, false)] {
            let mut keeper = MockLogKeeper::new();
            keeper.expect_trim().returning(note("trim", trimmed));
            keeper.expect_blank().returning(note("blank", 3));
            let policy = LogPolicy {
                retention: Some(Duration::from_secs(9_000)),
                payload_retention: Some(Duration::from_secs(4_000)),
                ..POLICY
            };
            assert_eq!(worker(keeper, &kit, policy).step().await.unwrap(), more);
            let now = kit.toolkit.now();
            let expected = [
                ("trim", 2, now.minus(Duration::from_secs(9_000))),
                ("blank", 2, now.minus(Duration::from_secs(4_000))),
            ];
            assert_eq!(std::mem::take(&mut *asked.lock().unwrap()), expected);
        }
    }
}
