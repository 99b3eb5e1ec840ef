//! The tailer: follows the whole log and publishes it to the live streams of this process.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use domain::event::{LoggedEvent, Shard};
use ports::{BackendError, Cursor, EventLog, EventPublisher, Wakeup};

use super::{IDLE, Pace, WorkCounters, Worker, drive};
use crate::lifecycle::Shutdown;
use crate::service::Toolkit;

/// How many events are read in one step.
const BATCH: u32 = 500;

/// Publishes every event that gets its position from now on, in order, perhaps more than once. Each process that serves
/// streams runs its own, without a lease: nothing depends on which node sequenced an event.
pub struct Tailer {
    log: Arc<dyn EventLog>,
    publisher: Arc<dyn EventPublisher>,
    toolkit: Toolkit,
    cursors: Vec<Cursor>,
    counters: Arc<WorkCounters>,
}

impl std::fmt::Debug for Tailer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tailer").finish_non_exhaustive()
    }
}

impl Tailer {
    /// A tailer that goes on from the heads of the log as they are now. To be made before the first stream is served: a
    /// stream subscribes and then reads the log, so what comes before that is read and what comes after is published.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn begin(
        log: Arc<dyn EventLog>,
        publisher: Arc<dyn EventPublisher>,
        toolkit: Toolkit,
    ) -> Result<Self, BackendError> {
        let cursors = log.heads().await?;
        Ok(Self {
            log,
            publisher,
            toolkit,
            cursors,
            counters: Arc::default(),
        })
    }

    /// Events that it published, and failed steps.
    pub fn counters(&self) -> Arc<WorkCounters> {
        Arc::clone(&self.counters)
    }

    /// Publishes once what came after the last step.
    ///
    /// # Errors
    /// When the log cannot be read or the publisher is away; nothing is passed over.
    pub async fn step(&mut self) -> Result<Pace, BackendError> {
        if !self.publisher.has_audience() {
            let heads = self.log.heads().await?;
            // Whoever subscribed meanwhile may have read the log before these heads; whoever subscribes from now on reads it after.
            if !self.publisher.has_audience() {
                self.cursors = heads;
                return Ok(Pace::Rest);
            }
        }
        let read = self.log.read(&self.cursors, BATCH).await?;
        if read.is_empty() {
            return Ok(Pace::Rest);
        }
        let events: Vec<Arc<LoggedEvent>> = read.into_iter().map(Arc::new).collect();
        self.publisher.publish(&events).await?;
        let last: HashMap<Shard, u64> = events.iter().map(|event| (event.shard, event.position)).collect();
        for cursor in &mut self.cursors {
            cursor.position = last.get(&cursor.shard).copied().unwrap_or(cursor.position);
        }
        self.counters.add_done(events.len() as u64);
        self.counters
            .add_delays(self.toolkit.now(), events.iter().map(AsRef::as_ref));
        Ok(if events.len() < BATCH as usize {
            Pace::Rest
        } else {
            Pace::More
        })
    }

    /// Publishes until the process drains.
    pub async fn run(self, shutdown: Shutdown) {
        let toolkit = self.toolkit.clone();
        drive(self, &toolkit, &shutdown).await;
    }
}

#[async_trait]
impl Worker for Tailer {
    fn name(&self) -> &str {
        "tailer"
    }

    fn counters(&self) -> &WorkCounters {
        &self.counters
    }

    async fn step(&mut self) -> Result<Pace, BackendError> {
        Self::step(self).await
    }

    async fn rest(&mut self) {
        self.toolkit.wakeups.wait("tailer", Wakeup::Sequenced, IDLE).await;
    }

    async fn finish(&mut self) -> Result<(), BackendError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ports::{MockEventLog, MockEventPublisher};

    use super::super::testing::{away, kit, logged, user_in};
    use super::*;

    fn heads(first: u64) -> Vec<Cursor> {
        Shard::all()
            .map(|shard| Cursor {
                shard,
                position: if shard.number() == 0 { first } else { 0 },
            })
            .collect()
    }

    fn position_of(cursors: &[Cursor], shard: u8) -> u64 {
        cursors
            .iter()
            .find(|cursor| cursor.shard.number() == shard)
            .unwrap()
            .position
    }

    fn followed() -> MockEventPublisher {
        let mut publisher = MockEventPublisher::new();
        publisher.expect_has_audience().return_const(true);
        publisher
    }

    #[tokio::test]
    async fn without_an_audience_it_keeps_to_the_heads_unless_one_comes_meanwhile() {
        let (mut log, mut publisher) = (MockEventLog::new(), MockEventPublisher::new());
        log.expect_heads().times(1).returning(|| Ok(heads(7)));
        log.expect_heads().times(2).returning(|| Ok(heads(9)));
        let mut answers = vec![false, false, false, true].into_iter();
        publisher
            .expect_has_audience()
            .times(4)
            .returning(move || answers.next().unwrap());
        log.expect_read()
            .withf(|after, _| position_of(after, 0) == 9)
            .times(1)
            .returning(|_, _| Ok(Vec::new()));
        let mut tailer = Tailer::begin(Arc::new(log), Arc::new(publisher), kit().toolkit)
            .await
            .unwrap();
        assert_eq!(
            tailer.step().await.unwrap(),
            Pace::Rest,
            "nobody follows: nothing is read"
        );
        assert_eq!(
            tailer.step().await.unwrap(),
            Pace::Rest,
            "somebody came between the looks: the log is read from where it was"
        );
    }

    #[tokio::test]
    async fn it_begins_at_the_heads_and_goes_on_after_what_it_published() {
        let (mut log, mut publisher) = (MockEventLog::new(), followed());
        log.expect_heads().times(1).returning(|| Ok(heads(7)));
        log.expect_read()
            .withf(|after, _| position_of(after, 0) == 7 && after.len() == 16)
            .times(1)
            .returning(|_, _| {
                let (a, b) = (user_in(0), user_in(3));
                Ok(vec![
                    logged(a, 8, "app.a", "1"),
                    logged(b, 1, "app.a", "1"),
                    logged(a, 9, "app.a", "1"),
                ])
            });
        publisher
            .expect_publish()
            .withf(|events| events.iter().map(|event| event.position).eq([8, 1, 9]))
            .times(1)
            .returning(|_| Ok(()));
        log.expect_read()
            .withf(|after, _| position_of(after, 0) == 9 && position_of(after, 3) == 1)
            .times(1)
            .returning(|_, _| Ok(Vec::new()));
        let mut tailer = Tailer::begin(Arc::new(log), Arc::new(publisher), kit().toolkit)
            .await
            .unwrap();
        assert_eq!(tailer.step().await.unwrap(), Pace::Rest);
        assert_eq!(tailer.step().await.unwrap(), Pace::Rest);
        assert_eq!(tailer.counters().done(), 3);
    }

    #[tokio::test]
    async fn what_could_not_be_published_is_read_again() {
        let (mut log, mut publisher) = (MockEventLog::new(), followed());
        log.expect_heads().returning(|| Ok(heads(0)));
        log.expect_read()
            .withf(|after, _| position_of(after, 0) == 0)
            .times(2)
            .returning(|_, _| Ok(vec![logged(user_in(0), 1, "app.a", "1")]));
        publisher.expect_publish().times(1).returning(|_| Err(away()));
        publisher.expect_publish().times(1).returning(|_| Ok(()));
        let mut tailer = Tailer::begin(Arc::new(log), Arc::new(publisher), kit().toolkit)
            .await
            .unwrap();
        assert!(tailer.step().await.is_err());
        assert_eq!(tailer.counters().done(), 0);
        assert_eq!(tailer.step().await.unwrap(), Pace::Rest);
        assert_eq!(tailer.counters().done(), 1);
    }

    #[tokio::test]
    async fn a_full_batch_is_followed_by_another_and_a_log_that_is_away_by_an_error() {
        let (mut log, mut publisher) = (MockEventLog::new(), followed());
        log.expect_heads().returning(|| Ok(heads(0)));
        log.expect_read().times(1).returning(|_, limit| {
            Ok((1..=u64::from(limit))
                .map(|position| logged(user_in(0), position, "app.a", "1"))
                .collect())
        });
        log.expect_read().times(1).returning(|_, _| Err(away()));
        publisher.expect_publish().times(1).returning(|_| Ok(()));
        let mut tailer = Tailer::begin(Arc::new(log), Arc::new(publisher), kit().toolkit)
            .await
            .unwrap();
        assert_eq!(tailer.step().await.unwrap(), Pace::More);
        assert!(tailer.step().await.is_err());
    }

    #[tokio::test]
    async fn there_is_no_tailer_without_heads() {
        let mut log = MockEventLog::new();
        log.expect_heads().returning(|| Err(away()));
        let begun = Tailer::begin(Arc::new(log), Arc::new(MockEventPublisher::new()), kit().toolkit).await;
        assert!(begun.is_err());
    }
}
