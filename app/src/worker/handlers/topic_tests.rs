//! The worker of topics against scripted subscribers and a handler that fails when told.

use std::sync::Mutex;

use domain::cloud_event::{ReadEventError, RecordFrame};
use domain::time::Timestamp;
use ports::{MockCursorStore, MockEventLog, MockHeldEvents, MockTopicSubscriber, WaitingUser};

use super::super::super::testing::{away, kit, user_in};
use super::*;

/// Fails at the subjects named; notes those that it handled.
#[derive(Default)]
struct Handler {
    failing: Mutex<Vec<(&'static str, HandleEventError)>>,
    handled: Mutex<Vec<String>>,
    at_once: bool,
}

#[async_trait]
impl EventHandler for Handler {
    fn group(&self) -> &'static str {
        "testers"
    }

    async fn handle(&self, event: &LoggedEvent) -> Result<(), HandleEventError> {
        let subject = event.event.subject.clone().unwrap_or_default();
        let mut failing = self.failing.lock().unwrap();
        if let Some(index) = failing.iter().position(|(name, _)| *name == subject) {
            return Err(failing.remove(index).1);
        }
        self.handled.lock().unwrap().push(subject);
        Ok(())
    }

    async fn handle_batch(&self, events: &[LoggedEvent]) -> Result<Option<Vec<bool>>, HandleEventError> {
        if !self.at_once {
            return Ok(None);
        }
        for event in events {
            self.handle(event).await?;
        }
        Ok(Some(vec![true; events.len()]))
    }
}

impl Handler {
    fn failing(subject: &'static str, error: HandleEventError) -> Arc<Self> {
        Arc::new(Self {
            failing: Mutex::new(vec![(subject, error)]),
            ..Self::default()
        })
    }

    fn handled(&self) -> Vec<String> {
        let mut handled = std::mem::take(&mut *self.handled.lock().unwrap());
        handled.sort();
        handled
    }
}

fn place(offset: u64) -> TopicPlace {
    TopicPlace {
        topic: "shop.orders".to_owned(),
        partition: u32::from(offset >= 100),
        offset,
    }
}

/// A record of a user, its subject made of both.
fn record(shard: u8, offset: u64) -> Received {
    let user = user_in(shard);
    let value = format!(
        r#"{{"specversion":"1.0","id":"{offset}","source":"shop","type":"app.a","userid":"{user}","subject":"{shard}/{offset}"}}"#
    );
    Received {
        place: place(offset),
        foreign: ForeignEvent::from_structured(value.as_bytes(), frame()).unwrap(),
        fault: None,
    }
}

fn frame() -> RecordFrame<'static> {
    RecordFrame {
        key: None,
        written_at: Timestamp::from_seconds(1_767_225_600),
    }
}

fn no_event(offset: u64) -> Received {
    let place = place(offset);
    Received {
        foreign: ForeignEvent::unreadable(&place, std::iter::empty(), Some(b"hello"), frame()),
        place,
        fault: Some(ReadEventError::NotJson),
    }
}

type Done = Arc<Mutex<Vec<Vec<TopicPlace>>>>;

/// Gives these once, and then nothing; notes what is done.
fn subscriber(records: Vec<Received>) -> (MockTopicSubscriber, Done) {
    let (mut subscriber, done) = (MockTopicSubscriber::new(), Done::default());
    let records = Mutex::new(records);
    subscriber
        .expect_receive()
        .returning(move |_, _| Ok(std::mem::take(&mut *records.lock().unwrap())));
    let noted = Arc::clone(&done);
    subscriber.expect_done().returning(move |places| {
        if !places.is_empty() {
            noted.lock().unwrap().push(places.to_vec());
        }
        Ok(())
    });
    (subscriber, done)
}

type Notes = Arc<Mutex<Vec<NewForeignEvent>>>;

/// Of these lanes events wait; notes what is held more.
fn holding(behind: &[u8]) -> (MockHeldEvents, Notes) {
    let (mut holding, notes) = (MockHeldEvents::new(), Notes::default());
    let behind: Vec<UserId> = behind.iter().map(|shard| user_in(*shard)).collect();
    holding.expect_waiting().returning(|_, _| Ok(Vec::new()));
    holding
        .expect_behind()
        .returning(move |_, lanes| Ok(lanes.iter().copied().filter(|lane| behind.contains(lane)).collect()));
    let held = Arc::clone(&notes);
    holding.expect_hold().returning(move |group, events, _| {
        assert_eq!(group, "testers");
        held.lock().unwrap().extend_from_slice(events);
        Ok(())
    });
    (holding, notes)
}

fn worker(handler: &Arc<Handler>, subscriber: MockTopicSubscriber, holding: MockHeldEvents) -> TopicWorker {
    let handler: Arc<dyn EventHandler> = Arc::clone(handler) as _;
    let source = "urn:plinth:here".to_owned();
    TopicWorker::new(handler, Arc::new(subscriber), Arc::new(holding), kit().toolkit, source)
}

/// Offset and fate of what is held.
fn fates(notes: &Notes) -> Vec<(u64, &'static str)> {
    let mut fates: Vec<(u64, &'static str)> = notes
        .lock()
        .unwrap()
        .iter()
        .map(|held| {
            let fate = match &held.fate {
                HeldFate::Waits => "waits",
                HeldFate::Retry(..) => "again",
                HeldFate::Dead(_) => "dead",
            };
            (held.place.offset, fate)
        })
        .collect();
    fates.sort_unstable();
    fates
}

#[tokio::test]
async fn what_is_handled_is_noted_once_for_each_partition() {
    for at_once in [false, true] {
        let handler = Arc::new(Handler {
            at_once,
            ..Handler::default()
        });
        let records = vec![record(1, 4), record(2, 5), record(1, 6), record(3, 100)];
        let ((subscriber, done), (holding, notes)) = (subscriber(records), holding(&[]));
        let mut worker = worker(&handler, subscriber, holding);
        assert_eq!(worker.step().await.unwrap(), Pace::More);
        assert_eq!(handler.handled(), ["1/4", "1/6", "2/5", "3/100"]);
        assert_eq!(*done.lock().unwrap(), [vec![place(6), place(100)]]);
        assert_eq!(worker.step().await.unwrap(), Pace::More, "receiving waits by itself");
        assert_eq!((worker.counters().done(), fates(&notes)), (4, vec![]));
    }
}

#[tokio::test]
async fn an_event_that_fails_is_held_and_so_are_the_later_ones_of_its_lane_alone() {
    let handler = Handler::failing("1/4", HandleEventError::Failed("the shop is closed".into()));
    let records = vec![record(1, 4), record(2, 5), record(1, 6), record(3, 7)];
    let ((subscriber, done), (holding, notes)) = (subscriber(records), holding(&[3]));
    let mut worker = worker(&handler, subscriber, holding);
    worker.step().await.unwrap();
    assert_eq!(handler.handled(), ["2/5"]);
    assert_eq!(fates(&notes), [(4, "again"), (6, "waits"), (7, "waits")]);
    assert_eq!(*done.lock().unwrap(), [vec![place(7)]], "held is done with");
    assert_eq!((worker.counters().done(), worker.counters().failures()), (1, 1));
}

#[tokio::test]
async fn what_the_handler_refuses_is_dead_and_holds_up_nobody() {
    let refused = HandleEventError::Refused {
        code: "unknown_product",
        source: "there is none".into(),
    };
    let handler = Handler::failing("1/4", refused);
    let ((subscriber, _), (holding, notes)) = (subscriber(vec![record(1, 4), record(1, 5)]), holding(&[]));
    worker(&handler, subscriber, holding).step().await.unwrap();
    assert_eq!(
        (handler.handled(), fates(&notes)),
        (vec!["1/5".to_owned()], vec![(4, "dead")])
    );
}

#[tokio::test]
async fn while_a_backend_is_away_the_records_stay_in_hand() {
    let handler = Handler::failing("2/5", HandleEventError::Backend(away()));
    let ((subscriber, done), (holding, notes)) = (subscriber(vec![record(1, 4), record(2, 5)]), holding(&[]));
    let mut worker = worker(&handler, subscriber, holding);
    assert!(worker.step().await.unwrap_err().temporary);
    assert_eq!((done.lock().unwrap().len(), fates(&notes)), (0, vec![]));
    worker.step().await.unwrap();
    // The first comes again; its mark makes that nothing.
    assert_eq!(handler.handled(), ["1/4", "1/4", "2/5"]);
    assert_eq!(*done.lock().unwrap(), [vec![place(5)]]);
}

#[tokio::test]
async fn what_cannot_be_held_is_not_noted_as_done() {
    let handler = Handler::failing("1/4", HandleEventError::Failed("bad".into()));
    let (subscriber, done) = subscriber(vec![record(1, 4)]);
    let mut holding = MockHeldEvents::new();
    holding.expect_waiting().returning(|_, _| Ok(Vec::new()));
    holding.expect_behind().returning(|_, _| Ok(Vec::new()));
    holding.expect_hold().times(1).returning(|_, _, _| Err(away()));
    let mut worker = worker(&handler, subscriber, holding);
    assert!(worker.step().await.is_err());
    assert_eq!(done.lock().unwrap().len(), 0);
    worker.step().await.unwrap();
    assert_eq!(
        (handler.handled(), done.lock().unwrap().len()),
        (vec!["1/4".to_owned()], 1)
    );
}

#[tokio::test]
async fn a_record_that_is_no_event_is_given_up_and_the_handler_never_sees_it() {
    let handler = Arc::new(Handler::default());
    let ((subscriber, done), (holding, notes)) = (subscriber(vec![no_event(4), record(1, 5)]), holding(&[]));
    worker(&handler, subscriber, holding).step().await.unwrap();
    assert_eq!(handler.handled(), ["1/5"]);
    assert_eq!(fates(&notes), [(4, "dead")]);
    let HeldFate::Dead(failed) = notes.lock().unwrap()[0].fate.clone() else {
        panic!("it is dead");
    };
    assert_eq!((failed.attempts, failed.reason.code()), (1, "not_an_event"));
    assert_eq!(failed.reason.text(), "the record is no JSON object");
    assert_eq!(*done.lock().unwrap(), [vec![place(5)]]);
}

#[tokio::test]
async fn our_own_events_are_passed_over() {
    let handler = Arc::new(Handler::default());
    let mut own = record(1, 4);
    own.foreign.source = "urn:plinth:here".to_owned();
    let ((subscriber, done), (holding, notes)) = (subscriber(vec![own]), holding(&[]));
    worker(&handler, subscriber, holding).step().await.unwrap();
    assert_eq!((handler.handled(), fates(&notes)), (vec![], vec![]));
    assert_eq!(*done.lock().unwrap(), [vec![place(4)]]);
}

#[tokio::test]
async fn while_too_much_is_held_nothing_more_is_received() {
    let handler = Arc::new(Handler::default());
    let (subscriber, _) = subscriber(vec![record(1, 4)]);
    let mut holding = MockHeldEvents::new();
    let counts = Mutex::new(vec![1, MOST_HELD]);
    holding.expect_waiting().times(2).returning(move |_, shards| {
        assert_eq!(shards.len(), 16);
        Ok(vec![WaitingUser {
            shard: shards[0],
            user_id: user_in(0),
            count: counts.lock().unwrap().pop().unwrap(),
            due_at: Timestamp::from_seconds(0),
        }])
    });
    holding.expect_behind().returning(|_, _| Ok(Vec::new()));
    let mut worker = worker(&handler, subscriber, holding);
    assert_eq!(worker.step().await.unwrap(), Pace::Rest);
    assert_eq!(handler.handled(), Vec::<String>::new());
    assert_eq!(worker.step().await.unwrap(), Pace::More);
    assert_eq!(handler.handled(), ["1/4"]);
}

/// The group's other worker tries what is held again: a record that is no event stays a dead letter.
#[tokio::test]
async fn a_record_that_is_no_event_stays_dead_when_it_is_redriven() {
    let (handler, event) = (Arc::new(Handler::default()), no_event(4));
    let logged = logged(&event);
    let shard = logged.shard;
    let mut cursors = MockCursorStore::new();
    cursors
        .expect_claim()
        .returning(move |_, _, _, _| Ok(vec![ports::Cursor { shard, position: 0 }]));
    let mut log = MockEventLog::new();
    log.expect_read().returning(|_, _| Ok(Vec::new()));
    let mut holding = MockHeldEvents::new();
    let waiting = WaitingUser {
        shard,
        user_id: event.foreign.lane,
        count: 1,
        due_at: Timestamp::from_seconds(0),
    };
    holding.expect_waiting().returning(move |_, _| Ok(vec![waiting]));
    let due = ports::DueEvent {
        event: logged,
        attempts: 0,
    };
    holding.expect_due().returning(move |_, _, _, _| Ok(vec![due.clone()]));
    holding.expect_settle().times(1).returning(|_, _, steps, _| {
        let outcome = &steps[0].outcomes[0].verdict;
        assert!(
            matches!(outcome, ports::HeldVerdict::Dead(failed) if failed.reason.code() == "not_an_event"),
            "{outcome:?}"
        );
        Ok(vec![steps[0].shard])
    });
    let stores = super::super::Stores {
        log: Arc::new(log),
        cursors: Arc::new(cursors),
        holding: Arc::new(holding),
    };
    let handler: Arc<dyn EventHandler> = handler;
    let mut worker = super::super::HandlerWorker::new(handler, stores, kit().toolkit, "node-1".to_owned());
    worker.step().await.unwrap();
}
