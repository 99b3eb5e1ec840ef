//! The handler worker against scripted cursors, a log in memory and a handler that fails when told.

use std::sync::Mutex;

use domain::event::SHARDS;
use domain::id::UserId;
use ports::{MockCursorStore, MockEventLog, MockHeldEvents, WaitingUser};

use super::super::testing::{Kit, TestClock, away, kit, logged, user_in};
use super::held::MOST_HELD;
use super::*;

/// Fails at the events named, as often as said; notes what it handled.
#[derive(Default)]
struct Handler {
    failing: Mutex<Vec<(Shard, u64, HandleEventError)>>,
    handled: Mutex<Vec<(u8, u64)>>,
    slow: Option<(Arc<TestClock>, Duration)>,
    /// What becomes of batches, the last first; one that is not named here is refused.
    batches: Mutex<Vec<Result<Option<Vec<bool>>, HandleEventError>>>,
    batched: Mutex<Vec<Vec<(u8, u64)>>>,
    under_way: Mutex<(usize, usize)>,
}

#[async_trait]
impl EventHandler for Handler {
    fn group(&self) -> &'static str {
        "testers"
    }

    async fn handle(&self, event: &LoggedEvent) -> Result<(), HandleEventError> {
        if let Some((clock, takes)) = &self.slow {
            clock.advance(*takes);
        }
        self.note_under_way(1);
        tokio::task::yield_now().await;
        self.note_under_way(-1);
        let mut failing = self.failing.lock().unwrap();
        let found = failing
            .iter()
            .position(|(shard, position, _)| (*shard, *position) == (event.shard, event.position));
        if let Some(index) = found {
            return Err(failing.remove(index).2);
        }
        self.handled
            .lock()
            .unwrap()
            .push((event.shard.number(), event.position));
        Ok(())
    }

    async fn handle_batch(&self, events: &[LoggedEvent]) -> Result<Option<Vec<bool>>, HandleEventError> {
        let batch = events
            .iter()
            .map(|event| (event.shard.number(), event.position))
            .collect();
        let outcome = self.batches.lock().unwrap().pop().unwrap_or(Ok(None));
        if matches!(outcome, Ok(Some(_))) {
            self.batched.lock().unwrap().push(batch);
        }
        outcome
    }
}

impl Handler {
    fn note_under_way(&self, change: isize) {
        let mut under_way = self.under_way.lock().unwrap();
        under_way.0 = under_way.0.checked_add_signed(change).unwrap();
        under_way.1 = under_way.1.max(under_way.0);
    }

    fn failing(shard: u8, position: u64, error: HandleEventError) -> Self {
        Self {
            failing: Mutex::new(vec![(Shard::new(shard).unwrap(), position, error)]),
            ..Self::default()
        }
    }

    fn handled(&self) -> Vec<(u8, u64)> {
        let mut handled = std::mem::take(&mut *self.handled.lock().unwrap());
        handled.sort();
        handled
    }
}

/// A log with `count` events in each of these shards.
fn log(shards: &'static [u8], count: u64) -> MockEventLog {
    let mut log = MockEventLog::new();
    log.expect_read().returning(move |after, limit| {
        let of_shard = |cursor: &Cursor| {
            let count = if shards.contains(&cursor.shard.number()) {
                count
            } else {
                0
            };
            let user: UserId = user_in(cursor.shard.number());
            (cursor.position + 1..=count)
                .map(move |position| logged(user, position, "app.a", "1"))
                .collect::<Vec<_>>()
        };
        Ok(after.iter().flat_map(of_shard).take(limit as usize).collect())
    });
    log
}

/// Cursors that are free and move as told.
fn cursors() -> MockCursorStore {
    let mut cursors = MockCursorStore::new();
    let positions: Arc<Mutex<BTreeMap<Shard, u64>>> =
        Arc::new(Mutex::new(Shard::all().map(|shard| (shard, 0)).collect()));
    let claimed = Arc::clone(&positions);
    cursors.expect_claim().returning(move |group, owner, _, _| {
        assert_eq!((group, owner), ("testers", "node-1"));
        let claimed = claimed.lock().unwrap();
        Ok(claimed
            .iter()
            .map(|(shard, position)| Cursor {
                shard: *shard,
                position: *position,
            })
            .collect())
    });
    cursors.expect_advance().returning(move |group, owner, moves, _| {
        assert_eq!((group, owner), ("testers", "node-1"));
        let mut positions = positions.lock().unwrap();
        for step in moves {
            assert_eq!(positions.insert(step.shard, step.to), Some(step.from));
        }
        Ok(moves.iter().map(|step| step.shard).collect())
    });
    cursors
}

fn worker(handler: &Arc<Handler>, log: MockEventLog, cursors: MockCursorStore, kit: &Kit) -> HandlerWorker {
    let mut holding = MockHeldEvents::new();
    holding.expect_waiting().returning(|_, _| Ok(Vec::new()));
    worker_over(handler, log, cursors, holding, kit)
}

fn worker_over(
    handler: &Arc<Handler>,
    log: MockEventLog,
    cursors: MockCursorStore,
    holding: MockHeldEvents,
    kit: &Kit,
) -> HandlerWorker {
    let handler: Arc<dyn EventHandler> = Arc::clone(handler) as _;
    let stores = Stores {
        log: Arc::new(log),
        cursors: Arc::new(cursors),
        holding: Arc::new(holding),
    };
    HandlerWorker::new(handler, stores, kit.toolkit.clone(), "node-1".to_owned())
}

#[tokio::test]
async fn each_event_is_handled_once_in_order() {
    let (kit, handler) = (kit(), Arc::new(Handler::default()));
    let mut worker = worker(&handler, log(&[1, 4], 3), cursors(), &kit);
    assert_eq!(worker.step().await.unwrap(), Pace::Rest);
    // Taken as they came, shard by shard.
    let handled = std::mem::take(&mut *handler.handled.lock().unwrap());
    for shard in [1, 4] {
        let positions: Vec<u64> = handled
            .iter()
            .filter(|(of, _)| *of == shard)
            .map(|(_, position)| *position)
            .collect();
        assert_eq!(positions, [1, 2, 3]);
    }
    assert_eq!(worker.step().await.unwrap(), Pace::Rest);
    assert_eq!(handler.handled(), []);
    assert_eq!(worker.counters().done(), 6);
}

#[tokio::test]
async fn few_shards_are_handled_at_the_same_time() {
    let (kit, handler) = (kit(), Arc::new(Handler::default()));
    let shards = &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut worker = worker(&handler, log(shards, 3), cursors(), &kit);
    worker.step().await.unwrap();
    assert_eq!(handler.handled().len(), 48);
    assert_eq!(*handler.under_way.lock().unwrap(), (0, SIDE_BY_SIDE));
}

#[tokio::test]
async fn a_handler_that_can_takes_all_shards_at_once() {
    let kit = kit();
    let batches = vec![Ok(Some(vec![true, false, true, true]))];
    let handler = Arc::new(Handler {
        batches: Mutex::new(batches),
        ..Handler::default()
    });
    let mut worker = worker(&handler, log(&[1, 4], 2), cursors(), &kit);
    assert_eq!(worker.step().await.unwrap(), Pace::Rest);
    assert_eq!(*handler.batched.lock().unwrap(), [vec![(1, 1), (1, 2), (4, 1), (4, 2)]]);
    assert_eq!(worker.step().await.unwrap(), Pace::Rest);
    assert_eq!(handler.handled(), [], "the cursors passed all of them");
    assert_eq!(
        (worker.counters().done(), worker.counters().failures()),
        (3, 0),
        "one was handled before"
    );
}

#[tokio::test]
async fn a_batch_that_fails_comes_again_or_one_by_one() {
    let kit = kit();
    let permanent = BackendError::permanent("test", "anything", "an event that cannot be handled");
    let handler = Arc::new(Handler {
        batches: Mutex::new(vec![Err(permanent.into()), Err(away().into())]),
        ..Handler::failing(1, 1, HandleEventError::Failed("bad".into()))
    });
    let mut holding = MockHeldEvents::new();
    holding.expect_waiting().returning(|_, _| Ok(Vec::new()));
    holding.expect_settle().times(1).returning(|group, owner, steps, _| {
        assert_eq!((group, owner), ("testers", "node-1"));
        let fates: Vec<Vec<bool>> = steps
            .iter()
            .map(|step| step.held.iter().map(|held| held.fate == HeldFate::Waits).collect())
            .collect();
        let by_shard: BTreeMap<u8, Vec<bool>> = steps.iter().map(|step| step.shard.number()).zip(fates).collect();
        assert_eq!(by_shard, BTreeMap::from([(1, vec![false, true]), (4, vec![])]));
        assert!(steps.iter().all(|step| (step.from, step.to) == (0, 2)));
        Ok(steps.iter().map(|step| step.shard).collect())
    });
    let mut worker = worker_over(&handler, log(&[1, 4], 2), cursors(), holding, &kit);
    assert!(worker.step().await.unwrap_err().temporary);
    assert_eq!(handler.handled(), [], "the backend is away for all of them");
    worker.step().await.unwrap();
    assert_eq!(handler.handled(), [(4, 1), (4, 2)], "the bad one holds its user alone");
}

#[tokio::test]
async fn a_full_batch_goes_on_at_once() {
    let (kit, handler) = (kit(), Arc::new(Handler::default()));
    let mut worker = worker(&handler, log(&[2], 250), cursors(), &kit);
    assert_eq!(worker.step().await.unwrap(), Pace::More);
    assert_eq!(worker.step().await.unwrap(), Pace::Rest);
    assert_eq!(
        handler.handled(),
        (1..=250).map(|position| (2, position)).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn an_absent_backend_holds_one_shard_until_its_time_and_no_event_is_to_blame() {
    let kit = kit();
    let full = BackendError {
        full: true,
        ..BackendError::permanent("test", "anything", "no space is left")
    };
    let handler = Arc::new(Handler::failing(1, 2, full.into()));
    let mut worker = worker(&handler, log(&[1, 4], 3), cursors(), &kit);
    worker.step().await.unwrap();
    assert_eq!(handler.handled(), [(1, 1), (4, 1), (4, 2), (4, 3)]);
    assert_eq!((worker.counters().done(), worker.counters().failures()), (4, 1));
    assert_eq!(worker.step().await.unwrap(), Pace::Rest);
    assert_eq!(handler.handled(), [], "its time has not come");
    kit.clock.advance(RETRY.base);
    worker.step().await.unwrap();
    assert_eq!(handler.handled(), [(1, 2), (1, 3)]);
}

#[tokio::test]
async fn what_fails_again_waits_longer() {
    let kit = kit();
    let handler = Arc::new(Handler::failing(1, 1, away().into()));
    handler
        .failing
        .lock()
        .unwrap()
        .push((Shard::new(1).unwrap(), 1, away().into()));
    let mut worker = worker(&handler, log(&[1], 1), cursors(), &kit);
    worker.step().await.unwrap();
    kit.clock.advance(RETRY.base / 2);
    worker.step().await.unwrap();
    assert_eq!(worker.counters().failures(), 2);
    kit.clock.advance(RETRY.base / 2);
    worker.step().await.unwrap();
    assert_eq!(handler.handled(), [], "the second wait is longer");
    kit.clock.advance(RETRY.base / 2);
    worker.step().await.unwrap();
    assert_eq!(handler.handled(), [(1, 1)]);
}

#[tokio::test]
async fn an_event_that_was_handled_before_counts_as_done() {
    let kit = kit();
    let handler = Arc::new(Handler::failing(1, 1, HandleEventError::AlreadyHandled));
    let mut worker = worker(&handler, log(&[1], 2), cursors(), &kit);
    assert_eq!(worker.step().await.unwrap(), Pace::Rest);
    assert_eq!(handler.handled(), [(1, 2)]);
    assert_eq!((worker.counters().done(), worker.counters().failures()), (1, 0));
    worker.step().await.unwrap();
    assert_eq!(handler.handled(), [], "the cursor passed both");
}

#[tokio::test]
async fn a_shard_that_another_took_is_let_go() {
    let (kit, handler) = (kit(), Arc::new(Handler::default()));
    let mut mock = MockCursorStore::new();
    let all = || Shard::all().map(|shard| Cursor { shard, position: 0 });
    mock.expect_claim()
        .times(1)
        .returning(move |_, _, _, _| Ok(all().collect()));
    // The second claim: shard 1 is another's, and the handler is not fed from it.
    mock.expect_claim()
        .times(1)
        .returning(move |_, _, _, _| Ok(all().filter(|cursor| cursor.shard.number() > 1).collect()));
    mock.expect_advance().times(1).returning(|_, _, _, _| Ok(Vec::new()));
    let mut worker = worker(&handler, log(&[1], 1), mock, &kit);
    worker.step().await.unwrap();
    assert_eq!(handler.handled(), [(1, 1)]);
    worker.step().await.unwrap();
    assert_eq!(handler.handled(), []);
    assert_eq!(worker.held.len(), 14);
}

#[tokio::test]
async fn what_could_not_be_noted_is_noted_later() {
    let (kit, handler) = (kit(), Arc::new(Handler::default()));
    let mut mock = MockCursorStore::new();
    mock.expect_claim()
        .returning(|_, _, _, _| Ok(Shard::all().map(|shard| Cursor { shard, position: 0 }).collect()));
    mock.expect_advance().times(1).returning(|_, _, _, _| Err(away()));
    mock.expect_advance()
        .times(1)
        .returning(|_, _, moves, _| Ok(moves.iter().map(|step| step.shard).collect()));
    let mut worker = worker(&handler, log(&[1], 1), mock, &kit);
    assert!(worker.step().await.is_err());
    worker.step().await.unwrap();
    assert_eq!(handler.handled(), [(1, 1)], "not a second time");
    worker.step().await.unwrap();
    assert_eq!(handler.handled(), []);
}

#[tokio::test]
async fn moves_that_follow_each_other_soon_are_written_in_one_commit() {
    let (kit, handler) = (kit(), Arc::new(Handler::default()));
    let (count, written) = (Arc::new(Mutex::new(1)), Arc::new(Mutex::new(Vec::new())));
    let (mut mock, mut log) = (MockCursorStore::new(), MockEventLog::new());
    let last = Arc::clone(&count);
    log.expect_read().returning(move |after, _| {
        let position = after.iter().find(|cursor| cursor.shard.number() == 1).unwrap().position;
        let events = (position + 1..=*last.lock().unwrap()).map(|at| logged(user_in(1), at, "app.a", "1"));
        Ok(events.collect())
    });
    mock.expect_claim()
        .times(1)
        .returning(|_, _, _, _| Ok(Shard::all().map(|shard| Cursor { shard, position: 0 }).collect()));
    let notes = Arc::clone(&written);
    mock.expect_advance().returning(move |_, _, moves, _| {
        notes
            .lock()
            .unwrap()
            .extend(moves.iter().map(|step| (step.from, step.to)));
        Ok(moves.iter().map(|step| step.shard).collect())
    });
    mock.expect_release().times(1).returning(|_, _| Ok(()));
    let mut worker = worker(&handler, log, mock, &kit);
    let more = async |events: u64, worker: &mut HandlerWorker| {
        *count.lock().unwrap() += events;
        worker.step().await.unwrap();
        std::mem::take(&mut *written.lock().unwrap())
    };
    assert_eq!(more(0, &mut worker).await, [(0, 1)], "one that comes alone at once");
    assert_eq!(more(1, &mut worker).await, []);
    assert_eq!(more(2, &mut worker).await, []);
    kit.clock.advance(WRITING);
    assert_eq!(more(0, &mut worker).await, [(1, 4)]);
    assert_eq!(more(200, &mut worker).await, [(4, 204)], "not too many");
    assert_eq!(more(3, &mut worker).await, []);
    Worker::finish(&mut worker).await.unwrap();
    assert_eq!(*written.lock().unwrap(), [(204, 207)], "all of them in the end");
}

#[tokio::test]
async fn a_slow_batch_stops_in_time_to_renew_the_lease() {
    let kit = kit();
    let slow = Some((Arc::clone(&kit.clock), LEASE_TTL / 4));
    let handler = Arc::new(Handler {
        slow,
        ..Handler::default()
    });
    let mut worker = worker(&handler, log(&[1], 5), cursors(), &kit);
    assert_eq!(worker.step().await.unwrap(), Pace::More);
    assert_eq!(handler.handled(), [(1, 1), (1, 2)]);
    while worker.step().await.unwrap() == Pace::More {}
    assert_eq!(handler.handled(), [(1, 3), (1, 4), (1, 5)]);
}

#[tokio::test]
async fn draining_gives_the_cursors_back() {
    let (kit, handler) = (kit(), Arc::new(Handler::default()));
    let mut mock = MockCursorStore::new();
    mock.expect_release()
        .withf(|group, owner| (group, owner) == ("testers", "node-1"))
        .times(1)
        .returning(|_, _| Ok(()));
    let shutdown = Shutdown::new();
    shutdown.drain();
    worker(&handler, MockEventLog::new(), mock, &kit).run(shutdown).await;
}

#[tokio::test]
async fn a_shard_that_holds_too_much_goes_no_further() {
    let (kit, handler) = (kit(), Arc::new(Handler::default()));
    let mut holding = MockHeldEvents::new();
    let far = kit.toolkit.now().plus(Duration::from_secs(3_600));
    holding.expect_waiting().returning(move |_, _| {
        let waiting = |shard: u8, count| WaitingUser {
            shard: Shard::new(shard).unwrap(),
            user_id: UserId::new(uuid::Uuid::from_u128(99)),
            count,
            due_at: far,
        };
        Ok(vec![waiting(1, MOST_HELD), waiting(4, MOST_HELD - 1)])
    });
    let mut worker = worker_over(&handler, log(&[1, 4], 2), cursors(), holding, &kit);
    worker.step().await.unwrap();
    assert_eq!(handler.handled(), [(4, 1), (4, 2)]);
}

#[tokio::test]
async fn what_a_claim_leaves_unchanged_is_asked_for_less_often() {
    let (kit, handler) = (kit(), Arc::new(Handler::default()));
    let asked = Arc::new(Mutex::new(0));
    let mut mock = MockCursorStore::new();
    let counted = Arc::clone(&asked);
    mock.expect_claim().returning(move |_, _, _, _| {
        *counted.lock().unwrap() += 1;
        Ok(Shard::all()
            .take(usize::from(SHARDS) / 2)
            .map(|shard| Cursor { shard, position: 0 })
            .collect())
    });
    let mut worker = worker(&handler, log(&[], 0), mock, &kit);
    for (wait, expected) in [(0, 1), (400, 1), (100, 2), (500, 2), (1_100, 2), (100, 3)] {
        kit.clock.advance(Duration::from_millis(wait));
        worker.step().await.unwrap();
        assert_eq!(*asked.lock().unwrap(), expected, "{wait}");
    }
}
