//! What the guards keep from a backend in trouble, and what they do not take for trouble.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use adapter_guard::{GuardPolicy, GuardRefusal, GuardStats, GuardedBlobStore, GuardedEventPublisher, GuardedMailer};
use async_trait::async_trait;
use domain::blob::{BlobKey, ByteRange};
use domain::breaker::{BreakerPolicy, BreakerState};
use domain::id::MailId;
use domain::mail::RenderedMail;
use domain::time::Timestamp;
use futures_util::{StreamExt as _, stream};
use ports::conformance::blob_store::{body, key};
use ports::{
    BackendError, BlobStore, ByteStream, Clock, EventPublisher as _, GetBlobError, Mailer as _, MockBlobStore,
    MockEventPublisher, MockMailer, PutBlobError, SendMailError, StreamError,
};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::support::TestClock;

const OPEN_FOR: Duration = Duration::from_secs(10);

/// Calls, failures, refusals and microseconds.
fn totals(stats: &GuardStats) -> [u64; 4] {
    [stats.calls, stats.failures, stats.refused, stats.total_micros]
}

fn policy() -> GuardPolicy {
    GuardPolicy {
        timeout: Duration::from_millis(5),
        concurrency: 2,
        patience: Duration::from_millis(5),
        breaker: BreakerPolicy {
            threshold: 3,
            open_for: OPEN_FOR,
            trials: 1,
        },
    }
}

fn guarded(inner: impl BlobStore) -> (GuardedBlobStore, Arc<TestClock>) {
    let clock = Arc::new(TestClock::default());
    let store = GuardedBlobStore::new(
        Arc::new(inner),
        "memory",
        policy(),
        Arc::clone(&clock) as Arc<dyn Clock>,
    );
    (store, clock)
}

fn guarded_mailer(inner: MockMailer) -> GuardedMailer {
    GuardedMailer::new(Arc::new(inner), "smtp", policy(), Arc::new(TestClock::default()))
}

fn temporary() -> BackendError {
    BackendError::temporary("memory", "size", "away")
}

fn permanent() -> BackendError {
    BackendError::permanent("memory", "get", "past the end")
}

fn refusal(error: &BackendError) -> Option<GuardRefusal> {
    assert!(error.temporary, "what a guard refuses may be tried again");
    error.source.downcast_ref::<GuardRefusal>().copied()
}

fn mail() -> RenderedMail {
    RenderedMail {
        id: MailId::new(Uuid::from_u128(1)),
        to: "ann@example.org".parse().expect("an address"),
        subject: "Hello".to_owned(),
        text: "Hello".to_owned(),
        html: "<p>Hello</p>".to_owned(),
        date: Timestamp::default(),
    }
}

/// Never tells a size, puts for as long as the body lasts, and does everything else at once.
#[derive(Default)]
struct Hanging {
    reached: AtomicUsize,
}

#[async_trait]
impl BlobStore for Hanging {
    async fn put(&self, _: &BlobKey, body: ByteStream) -> Result<u64, PutBlobError> {
        self.reached.fetch_add(1, Ordering::SeqCst);
        Ok(body.count().await as u64)
    }

    async fn get(&self, _: &BlobKey, _: Option<ByteRange>) -> Result<ByteStream, GetBlobError> {
        Err(GetBlobError::NotFound)
    }

    async fn size(&self, _: &BlobKey) -> Result<Option<u64>, BackendError> {
        self.reached.fetch_add(1, Ordering::SeqCst);
        pending().await
    }

    async fn remove(&self, _: &BlobKey) -> Result<(), BackendError> {
        Ok(())
    }
}

/// A body that never ends.
fn endless() -> ByteStream {
    Box::pin(stream::pending())
}

/// Polls a call once, so that it is under way.
async fn begun<T>(call: &mut (impl Future<Output = T> + Unpin)) {
    assert!(
        tokio::time::timeout(Duration::ZERO, call).await.is_err(),
        "the call hangs"
    );
}

#[tokio::test]
async fn opens_after_failures_in_a_row_and_keeps_calls_from_the_backend() {
    let mut inner = MockBlobStore::new();
    inner.expect_size().times(3).returning(|_| Err(temporary()));
    let (store, clock) = guarded(inner);
    for _ in 0..3 {
        assert_eq!(refusal(&store.size(&key(1)).await.expect_err("it fails")), None);
    }
    clock.advance(Duration::from_secs(4));
    let error = store.size(&key(1)).await.expect_err("it is refused");
    assert!(
        matches!(refusal(&error), Some(GuardRefusal::Open(open)) if open.retry_after == OPEN_FOR - Duration::from_secs(4))
    );
    let Err(GetBlobError::Backend(error)) = store.get(&key(1), None).await else {
        panic!("it is refused")
    };
    assert!(matches!(refusal(&error), Some(GuardRefusal::Open(_))));
    let Err(PutBlobError::Backend(error)) = store.put(&key(1), body(&["x"])).await else {
        panic!("it is refused")
    };
    assert!(matches!(refusal(&error), Some(GuardRefusal::Open(_))));
    assert_eq!(totals(&store.stats()), [3, 3, 3, 0]);
}

#[tokio::test]
async fn closes_after_a_trial_that_worked_and_opens_again_after_one_that_did_not() {
    let mut inner = MockBlobStore::new();
    let mut number = 0;
    inner.expect_size().times(5).returning(move |_| {
        number += 1;
        if number == 5 { Ok(None) } else { Err(temporary()) }
    });
    let (store, clock) = guarded(inner);
    for _ in 0..3 {
        store.size(&key(1)).await.expect_err("it fails");
    }
    clock.advance(OPEN_FOR);
    assert_eq!(refusal(&store.size(&key(1)).await.expect_err("the trial fails")), None);
    assert!(refusal(&store.size(&key(1)).await.expect_err("it is open again")).is_some());
    clock.advance(OPEN_FOR);
    assert_eq!(store.size(&key(1)).await.expect("the trial works"), None);
    assert_eq!(store.breaker(), BreakerState::Closed { failures: 0 });
}

#[tokio::test]
async fn an_answer_that_its_caller_dislikes_is_no_failure() {
    let mut inner = MockBlobStore::new();
    inner.expect_get().times(10).returning(|_, range| match range {
        None => Err(GetBlobError::NotFound),
        Some(_) => Err(permanent().into()),
    });
    let mut puts = 0;
    inner.expect_put().times(15).returning(move |_, _| {
        puts += 1;
        Err(match puts % 3 {
            0 => PutBlobError::Exists,
            1 => PutBlobError::Full,
            _ => PutBlobError::Stream(StreamError::Interrupted),
        })
    });
    let (store, _) = guarded(inner);
    for _ in 0..5 {
        assert!(matches!(store.get(&key(1), None).await, Err(GetBlobError::NotFound)));
        let beyond = store.get(&key(1), Some(ByteRange { start: 5, end: 6 })).await;
        assert!(matches!(beyond, Err(GetBlobError::Backend(error)) if !error.temporary));
        assert!(matches!(
            store.put(&key(1), body(&["x"])).await,
            Err(PutBlobError::Full)
        ));
        assert!(matches!(
            store.put(&key(1), body(&["x"])).await,
            Err(PutBlobError::Stream(_))
        ));
        assert!(matches!(
            store.put(&key(1), body(&["x"])).await,
            Err(PutBlobError::Exists)
        ));
    }
    assert_eq!(store.breaker(), BreakerState::Closed { failures: 0 });
    assert_eq!(totals(&store.stats()), [25, 0, 0, 0]);
}

#[tokio::test]
async fn a_backend_that_does_not_answer_is_given_up_and_counts_as_failed() {
    let (store, _) = guarded(Hanging::default());
    for _ in 0..3 {
        let error = store.size(&key(1)).await.expect_err("it takes too long");
        assert_eq!(refusal(&error), Some(GuardRefusal::TimedOut(Duration::from_millis(5))));
    }
    assert!(matches!(store.breaker(), BreakerState::Open { .. }));
    assert_eq!(store.stats().failures, 3);
}

#[tokio::test]
async fn a_put_takes_the_time_that_its_body_takes() {
    let (store, _) = guarded(Hanging::default());
    let key = key(1);
    let (end, ends) = oneshot::channel();
    let slow = stream::once(async {
        ends.await.expect("the test goes on");
        Ok("late".into())
    });
    let put = store.put(&key, Box::pin(slow));
    // Begun after the put, and given up before it ends: by then an answer would have been waited for long enough.
    let given_up = async {
        let error = store.size(&key).await.expect_err("it takes too long");
        end.send(()).expect("the put goes on");
        refusal(&error)
    };
    let (put, given_up) = tokio::join!(put, given_up);
    assert!(matches!(given_up, Some(GuardRefusal::TimedOut(_))));
    assert_eq!(put.expect("it is stored"), 1);
}

#[tokio::test]
async fn no_more_calls_than_agreed_are_under_way_and_puts_take_no_place_of_reads() {
    let inner = Arc::new(Hanging::default());
    let clock = Arc::new(TestClock::default());
    let store = GuardedBlobStore::new(Arc::clone(&inner) as Arc<dyn BlobStore>, "memory", policy(), clock);
    let key = key(1);
    let mut puts = [store.put(&key, endless()), store.put(&key, endless())];
    for put in &mut puts {
        begun(put).await;
    }
    assert_eq!(inner.reached.load(Ordering::SeqCst), 2);
    let Err(PutBlobError::Backend(error)) = store.put(&key, endless()).await else {
        panic!("there is no place")
    };
    assert_eq!(refusal(&error), Some(GuardRefusal::Full));
    assert_eq!(
        inner.reached.load(Ordering::SeqCst),
        2,
        "a third put reached the backend"
    );
    assert!(matches!(store.get(&key, None).await, Err(GetBlobError::NotFound)));
    drop(puts);
    begun(&mut store.put(&key, endless())).await;
    assert_eq!(inner.reached.load(Ordering::SeqCst), 3, "a dropped put keeps its place");
}

#[tokio::test]
async fn a_dropped_trial_lets_the_next_one_through() {
    let (store, clock) = guarded(Hanging::default());
    for _ in 0..3 {
        store.size(&key(1)).await.expect_err("it takes too long");
    }
    clock.advance(OPEN_FOR);
    let key = key(1);
    let mut trial = store.put(&key, endless());
    begun(&mut trial).await;
    assert_eq!(
        store.breaker(),
        BreakerState::HalfOpen {
            successes: 0,
            trial: true
        }
    );
    store.remove(&key).await.expect_err("one trial at a time");
    drop(trial);
    assert_eq!(
        store.breaker(),
        BreakerState::HalfOpen {
            successes: 0,
            trial: false
        }
    );
    store.remove(&key).await.expect("it is the trial now");
    assert_eq!(store.breaker(), BreakerState::Closed { failures: 0 });
}

#[tokio::test]
async fn a_call_from_before_does_not_decide_a_trial() {
    let (store, clock) = guarded(Hanging::default());
    let key = key(1);
    let mut before = store.put(&key, endless());
    begun(&mut before).await;
    for _ in 0..3 {
        store.size(&key).await.expect_err("it takes too long");
    }
    clock.advance(OPEN_FOR);
    let mut trial = store.put(&key, endless());
    begun(&mut trial).await;
    drop(before);
    assert_eq!(
        store.breaker(),
        BreakerState::HalfOpen {
            successes: 0,
            trial: true
        }
    );
    drop(trial);
    assert_eq!(
        store.breaker(),
        BreakerState::HalfOpen {
            successes: 0,
            trial: false
        }
    );
}

#[tokio::test]
async fn the_time_of_calls_is_counted() {
    let clock = Arc::new(TestClock::default());
    let mut inner = MockBlobStore::new();
    let moved = Arc::clone(&clock);
    inner.expect_size().returning(move |_| {
        moved.advance(Duration::from_micros(700));
        Ok(Some(1))
    });
    let store = GuardedBlobStore::new(Arc::new(inner), "memory", policy(), clock);
    for _ in 0..3 {
        assert_eq!(store.size(&key(1)).await.expect("an answer"), Some(1));
    }
    let stats = store.stats();
    assert_eq!(totals(&stats), [3, 0, 0, 2_100]);
    for operation in stats.operations {
        let calls = if operation.name == "size" { 3 } else { 0 };
        assert_eq!(operation.time.counts.iter().sum::<u64>(), calls, "{}", operation.name);
        assert_eq!(operation.failures, 0, "{}", operation.name);
    }
}

#[tokio::test]
async fn a_server_that_refuses_messages_is_at_work() {
    let mut inner = MockMailer::new();
    inner
        .expect_send()
        .times(10)
        .returning(|_| Err(SendMailError::Refused("550 no such user".to_owned())));
    let mailer = guarded_mailer(inner);
    for _ in 0..10 {
        assert!(
            matches!(mailer.send(&mail()).await, Err(SendMailError::Refused(reply)) if reply == "550 no such user")
        );
    }
    assert_eq!(mailer.breaker(), BreakerState::Closed { failures: 0 });
    assert_eq!(totals(&mailer.stats()), [10, 0, 0, 0]);
}

#[tokio::test]
async fn a_server_that_is_away_is_left_alone_and_its_messages_are_for_later() {
    let mut inner = MockMailer::new();
    inner
        .expect_send()
        .times(3)
        .returning(|_| Err(SendMailError::TryLater("421 going down".to_owned())));
    let mailer = guarded_mailer(inner);
    let mut replies = Vec::new();
    for _ in 0..4 {
        match mailer.send(&mail()).await {
            Err(SendMailError::TryLater(reply)) => replies.push(reply),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        replies,
        [
            "421 going down",
            "421 going down",
            "421 going down",
            "the circuit breaker is open"
        ]
    );
    let stats = mailer.stats();
    assert_eq!(totals(&stats), [3, 3, 1, 0]);
    assert_eq!((stats.operations[1].name, stats.operations[1].failures), ("send", 3));
}

#[tokio::test]
async fn a_broker_that_fails_is_left_alone_and_a_record_that_it_refuses_is_an_answer() {
    let mut inner = MockEventPublisher::new();
    inner.expect_publish().times(3).returning(|_| Err(permanent()));
    inner.expect_publish().times(3).returning(|_| Err(temporary()));
    let clock = Arc::new(TestClock::default());
    let publisher = GuardedEventPublisher::new(Arc::new(inner), "kafka", policy(), clock);
    for _ in 0..3 {
        let refused = publisher.publish(&[]).await.expect_err("the record is refused");
        assert!(!refused.temporary);
    }
    assert!(matches!(publisher.breaker(), BreakerState::Closed { .. }));
    for _ in 0..3 {
        publisher.publish(&[]).await.expect_err("the broker is away");
    }
    let left_alone = publisher.publish(&[]).await.expect_err("it is not asked");
    assert!(matches!(refusal(&left_alone), Some(GuardRefusal::Open(_))));
    assert_eq!(totals(&publisher.stats()), [6, 3, 1, 0]);
}
