//! The relay: hands the log's events over to a broker, in order, at least once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use domain::dead_letter::LetterOrigin;
use domain::event::LoggedEvent;
use ports::{BackendError, EventPublisher};

use super::handlers::{EventHandler, HandleEventError};

/// The name of its cursors, and the origin of dead letters that the broker refused.
const GROUP: &str = "kafka";

/// How many events the first batch has.
const FIRST_BATCH: u32 = 1_000;
/// The most and the fewest events of a batch. Each waits once for brokers and once for the cursors, whatever its length.
const MOST: u32 = 4_000;
const FEWEST: u32 = 100;
/// What a batch should hold of payloads, in bytes.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Publishes every event of the log. A batch is handed over together, and the cursors move when all of it is acknowledged. It keeps no marks: what comes twice carries the same id.
pub struct RelayHandler {
    publisher: Arc<dyn EventPublisher>,
    batch: AtomicU32,
}

impl std::fmt::Debug for RelayHandler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelayHandler").finish_non_exhaustive()
    }
}

impl RelayHandler {
    /// A handler that publishes with this.
    pub fn new(publisher: Arc<dyn EventPublisher>) -> Self {
        Self {
            publisher,
            batch: AtomicU32::new(FIRST_BATCH),
        }
    }
}

/// As many events as will have about [`BATCH_BYTES`], going by these.
fn fitting(events: &[LoggedEvent]) -> u32 {
    let bytes: usize = events
        .iter()
        .filter_map(|event| event.event.data.as_ref())
        .map(String::len)
        .sum();
    let mean = (bytes / events.len().max(1)).max(1);
    u32::try_from(BATCH_BYTES / mean).unwrap_or(MOST).clamp(FEWEST, MOST)
}

/// What may pass is no fault of the events: all of them wait. What a broker refuses for good it refuses every time, so that trying again would only keep its user's next events waiting.
fn judged(error: BackendError) -> HandleEventError {
    if error.temporary {
        HandleEventError::Backend(error)
    } else {
        HandleEventError::Refused {
            code: "broker_refused",
            source: error.into(),
        }
    }
}

#[async_trait]
impl EventHandler for RelayHandler {
    fn group(&self) -> &'static str {
        GROUP
    }

    fn origin(&self) -> LetterOrigin {
        LetterOrigin::Kafka
    }

    fn batch(&self) -> u32 {
        self.batch.load(Ordering::Relaxed)
    }

    async fn handle(&self, event: &LoggedEvent) -> Result<(), HandleEventError> {
        self.publisher.publish(&[Arc::new(event.clone())]).await.map_err(judged)
    }

    async fn handle_batch(&self, events: &[LoggedEvent]) -> Result<Option<Vec<bool>>, HandleEventError> {
        let shared: Vec<Arc<LoggedEvent>> = events.iter().cloned().map(Arc::new).collect();
        self.publisher.publish(&shared).await.map_err(judged)?;
        self.batch.store(fitting(events), Ordering::Relaxed);
        Ok(Some(vec![true; events.len()]))
    }
}

#[cfg(test)]
mod tests {
    use ports::MockEventPublisher;

    use super::super::testing::{away, logged, user_in};
    use super::*;

    #[tokio::test]
    async fn a_batch_goes_together_and_in_order() {
        let mut publisher = MockEventPublisher::new();
        publisher
            .expect_publish()
            .withf(|events| events.iter().map(|event| event.position).eq([1, 2, 3]))
            .times(1)
            .returning(|_| Ok(()));
        let events: Vec<LoggedEvent> = (1..=3).map(|at| logged(user_in(0), at, "app.a", "1")).collect();
        let handled = RelayHandler::new(Arc::new(publisher)).handle_batch(&events).await;
        assert_eq!(handled.unwrap(), Some(vec![true; 3]));
    }

    #[tokio::test]
    async fn batches_are_large_while_events_are_small() {
        let mut publisher = MockEventPublisher::new();
        publisher.expect_publish().returning(|_| Ok(()));
        let relay = RelayHandler::new(Arc::new(publisher));
        assert_eq!(relay.batch(), FIRST_BATCH);
        for (length, batch) in [(10, MOST), (4_096, 1_024), (65_536, FEWEST)] {
            let data = format!("\"{}\"", "x".repeat(length - 2));
            let events = [1, 2].map(|at| logged(user_in(0), at, "app.a", &data));
            relay.handle_batch(&events).await.unwrap();
            assert_eq!(relay.batch(), batch, "{length} bytes");
        }
    }

    #[tokio::test]
    async fn an_absent_broker_and_a_refused_event_are_told_apart() {
        let mut publisher = MockEventPublisher::new();
        publisher.expect_publish().times(1).returning(|_| Err(away()));
        publisher
            .expect_publish()
            .times(1)
            .returning(|_| Err(BackendError::permanent("kafka", "publish", "too large")));
        let relay = RelayHandler::new(Arc::new(publisher));
        let event = logged(user_in(0), 1, "app.a", "1");
        let waits = relay.handle(&event).await;
        assert!(matches!(waits, Err(HandleEventError::Backend(error)) if error.temporary));
        let refused = relay.handle(&event).await;
        assert!(matches!(
            refused,
            Err(HandleEventError::Refused {
                code: "broker_refused",
                ..
            })
        ));
    }
}
