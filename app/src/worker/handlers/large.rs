//! Tests of handlers that take much at once: the log is read ahead, and leases are kept while a batch takes long.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use ports::{MockCursorStore, MockEventLog, MockHeldEvents};
use tokio::sync::Notify;

use super::super::testing::{kit, logged, user_in};
use super::*;

const LARGE: u32 = 400;

/// Takes large batches, and may take its time for them.
#[derive(Default)]
struct Large {
    taken: Mutex<Vec<usize>>,
    until: Option<Arc<Notify>>,
}

#[async_trait]
impl EventHandler for Large {
    fn group(&self) -> &'static str {
        "testers"
    }

    fn batch(&self) -> u32 {
        LARGE
    }

    async fn handle(&self, _: &LoggedEvent) -> Result<(), HandleEventError> {
        Ok(())
    }

    async fn handle_batch(&self, events: &[LoggedEvent]) -> Result<Option<Vec<bool>>, HandleEventError> {
        if let Some(until) = &self.until {
            until.notified().await;
        }
        self.taken.lock().unwrap().push(events.len());
        Ok(Some(vec![true; events.len()]))
    }
}

/// One shard with so many events; notes after which position it was read.
fn log(count: u64, reads: &Arc<Mutex<Vec<u64>>>) -> MockEventLog {
    let (mut log, reads) = (MockEventLog::new(), Arc::clone(reads));
    log.expect_read().returning(move |after, limit| {
        let position = after[0].position;
        reads.lock().unwrap().push(position);
        let events = (position + 1..=count).map(|at| logged(user_in(0), at, "app.a", "1"));
        Ok(events.take(limit as usize).collect())
    });
    log
}

/// The cursor of that shard alone; whoever is given is told of each claim after the first.
fn cursors(claimed: Option<Arc<Notify>>) -> MockCursorStore {
    let (mut cursors, position) = (MockCursorStore::new(), Arc::new(Mutex::new(0)));
    let (at, claims) = (Arc::clone(&position), AtomicUsize::new(0));
    cursors.expect_claim().returning(move |_, _, _, _| {
        if let (Some(claimed), 1..) = (&claimed, claims.fetch_add(1, Ordering::SeqCst)) {
            claimed.notify_one();
        }
        Ok(vec![Cursor {
            shard: Shard::new(0).unwrap(),
            position: *at.lock().unwrap(),
        }])
    });
    cursors.expect_advance().returning(move |_, _, moves, _| {
        *position.lock().unwrap() = moves[0].to;
        Ok(vec![moves[0].shard])
    });
    cursors
}

fn worker(handler: &Arc<Large>, log: MockEventLog, cursors: MockCursorStore) -> HandlerWorker {
    let mut holding = MockHeldEvents::new();
    holding.expect_waiting().returning(|_, _| Ok(Vec::new()));
    let stores = Stores {
        log: Arc::new(log),
        cursors: Arc::new(cursors),
        holding: Arc::new(holding),
    };
    HandlerWorker::new(Arc::clone(handler) as _, stores, kit().toolkit, "node-1".to_owned())
}

#[tokio::test]
async fn what_comes_next_is_read_while_a_full_batch_is_handled() {
    let (handler, reads) = (Arc::new(Large::default()), Arc::default());
    let mut worker = worker(&handler, log(405, &reads), cursors(None));
    assert_eq!(worker.step().await.unwrap(), Pace::More);
    assert_eq!(*reads.lock().unwrap(), [0, 400], "read ahead");
    assert_eq!(worker.step().await.unwrap(), Pace::Rest);
    assert_eq!(*reads.lock().unwrap(), [0, 400], "and not a second time");
    assert_eq!(*handler.taken.lock().unwrap(), [400, 5]);
    assert_eq!(worker.step().await.unwrap(), Pace::Rest);
    assert_eq!(*reads.lock().unwrap(), [0, 400, 405]);
}

#[tokio::test]
async fn leases_are_renewed_while_a_batch_takes_long() {
    let renewed = Arc::new(Notify::new());
    let handler = Arc::new(Large {
        until: Some(Arc::clone(&renewed)),
        ..Large::default()
    });
    let mut worker = worker(&handler, log(5, &Arc::default()), cursors(Some(renewed)));
    // It comes back only because the lease was renewed meanwhile.
    assert_eq!(worker.step().await.unwrap(), Pace::Rest);
    assert_eq!(*handler.taken.lock().unwrap(), [5]);
}
