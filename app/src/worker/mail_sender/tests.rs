//! The mail sender over a ledger and a mailer that do as they are told.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use domain::id::{MailId, UserId};
use domain::mail::{MailTemplate, RenderedMail};
use ports::{MockClock, MockIds, MockMailQueue, MockMailer, MockRandomness};
use uuid::Uuid;

use super::*;
use crate::service::mail::MailCounts;
use crate::service::mail::tests::{NOON, mail, mails};
use crate::worker::testing::TestWakeups;

const LEASE: Duration = Duration::from_secs(30);

/// What one call of `settle` was given.
type Settled = (Vec<MailOutcome>, Vec<Event>);

/// A world at noon, whose clock the test moves.
struct World {
    passed: Arc<AtomicI64>,
    settled: Arc<Mutex<Vec<Settled>>>,
    queue: MockMailQueue,
    mailer: MockMailer,
    mails: Arc<Mails>,
}

impl World {
    fn new(waiting: Vec<Mail>) -> Self {
        let mut queue = MockMailQueue::new();
        let waiting = Mutex::new(waiting);
        queue.expect_claim().returning(move |owner, now, lease, limit| {
            assert_eq!((owner, lease), ("node-1", LEASE));
            assert!(now >= NOON);
            let mut waiting = waiting.lock().unwrap();
            let taken = waiting.len().min(limit as usize);
            Ok(waiting.drain(..taken).collect())
        });
        Self {
            passed: Arc::default(),
            settled: Arc::default(),
            queue,
            mailer: MockMailer::new(),
            mails: Arc::new(mails(true)),
        }
    }

    /// Records every call, and gives back the ids but those of `lost`.
    fn settling(mut self, lost: &[MailId]) -> Self {
        let (settled, lost) = (Arc::clone(&self.settled), lost.to_vec());
        self.queue.expect_settle().returning(move |owner, outcomes, effects| {
            assert_eq!(owner, "node-1");
            settled
                .lock()
                .unwrap()
                .push((outcomes.to_vec(), effects.events.clone()));
            Ok(outcomes
                .iter()
                .map(|outcome| outcome.id)
                .filter(|id| !lost.contains(id))
                .collect())
        });
        self
    }

    fn answering(mut self, answer: impl Fn(&RenderedMail) -> Result<String, SendMailError> + Send + 'static) -> Self {
        self.mailer.expect_send().returning(move |mail| answer(mail));
        self
    }

    fn sender(self, concurrency: usize) -> (MailSender, Arc<Mutex<Vec<Settled>>>, Arc<Mails>) {
        let mut clock = MockClock::new();
        let passed = Arc::clone(&self.passed);
        clock
            .expect_now()
            .returning(move || NOON.plus(Duration::from_secs(passed.load(Ordering::SeqCst).unsigned_abs())));
        let mut randomness = MockRandomness::new();
        randomness.expect_fill().returning(|bytes| bytes.fill(0));
        let mut ids = MockIds::new();
        let next = AtomicUsize::new(1_000);
        ids.expect_next()
            .returning(move || Uuid::from_u128(next.fetch_add(1, Ordering::SeqCst) as u128));
        let toolkit = Toolkit {
            clock: Arc::new(clock),
            randomness: Arc::new(randomness),
            ids: Arc::new(ids),
            wakeups: Arc::new(TestWakeups::default()),
        };
        let parts = SenderParts {
            toolkit,
            queue: Arc::new(self.queue),
            mailer: Arc::new(self.mailer),
            mails: Arc::clone(&self.mails),
        };
        let settings = SenderSettings {
            owner: "node-1".to_owned(),
            concurrency,
            lease: LEASE,
            show_links: false,
        };
        (MailSender::new(parts, settings), self.settled, self.mails)
    }
}

fn user(number: u128) -> UserId {
    UserId::new(Uuid::from_u128(number))
}

fn letters(count: u128) -> Vec<Mail> {
    let letter = |number| Mail {
        id: MailId::new(Uuid::from_u128(number)),
        ..mail(MailTemplate::PasswordChanged, Some(user(number)))
    };
    (1..=count).map(letter).collect()
}

fn accepted(_: &RenderedMail) -> Result<String, SendMailError> {
    Ok("250 ok".to_owned())
}

#[tokio::test]
async fn a_batch_is_recorded_in_one_call_with_an_event_for_each_owned_final_message() {
    let mut waiting = letters(4);
    waiting[1].user_id = None;
    let answer = |mail: &RenderedMail| match mail.id.uuid().as_u128() {
        3 => Err(SendMailError::Refused("550 no\r\nsuch\u{7} user".to_owned())),
        4 => Err(SendMailError::TryLater("451 later".to_owned())),
        _ => Ok("250 ok".to_owned()),
    };
    let (mut sender, settled, mails) = World::new(waiting).settling(&[]).answering(answer).sender(4);
    assert_eq!(sender.step().await.unwrap(), 4);
    let calls = settled.lock().unwrap();
    let [(outcomes, events)] = &calls[..] else {
        panic!("{} calls", calls.len())
    };
    let of = |number| {
        outcomes
            .iter()
            .find(|outcome| outcome.id.uuid().as_u128() == number)
            .unwrap()
    };
    assert_eq!(of(1).verdict, MailVerdict::Sent);
    assert_eq!(
        (of(3).verdict, of(3).reply.as_str()),
        (MailVerdict::Dead, "550 no such user")
    );
    // The first wait lies between 15 and 30 seconds; the lowest random number gives its lower end.
    assert_eq!(of(4).verdict, MailVerdict::Retry(NOON.plus(Duration::from_secs(15))));
    let mut told: Vec<_> = events
        .iter()
        .map(|event| (event.user_id, event.event_type.as_str()))
        .collect();
    told.sort();
    assert_eq!(told, [(user(1), "mail.sent"), (user(3), "mail.failed")]);
    for event in events {
        let data = event.data.clone().unwrap();
        assert!(
            data.contains("\"template\":\"password_changed\"") && data.contains("\"attempts\":1"),
            "{data}"
        );
        assert!(data.contains("mail_id") && !data.contains('@'), "{data}");
    }
    assert_eq!(
        mails.counts(),
        MailCounts {
            sent: 2,
            retried: 1,
            dead: 1,
            lost: 0
        }
    );
}

#[tokio::test]
async fn the_last_attempt_of_the_schedule_is_the_end() {
    let mut waiting = letters(2);
    waiting[0].attempts = RetrySchedule::MAIL.attempts;
    waiting[1].attempts = RetrySchedule::MAIL.attempts - 1;
    let answer = |_: &RenderedMail| Err(SendMailError::TryLater("421 busy".to_owned()));
    let (mut sender, settled, _) = World::new(waiting).settling(&[]).answering(answer).sender(2);
    sender.step().await.unwrap();
    let calls = settled.lock().unwrap();
    let verdict = |number| {
        calls[0]
            .0
            .iter()
            .find(|outcome| outcome.id.uuid().as_u128() == number)
            .unwrap()
            .verdict
    };
    assert_eq!(verdict(1), MailVerdict::Dead);
    assert!(matches!(verdict(2), MailVerdict::Retry(at) if at > NOON.plus(Duration::from_secs(3_600))));
}

#[tokio::test]
async fn what_cannot_be_made_or_never_ends_is_given_up_untried() {
    let mut waiting = letters(2);
    waiting[0] = Mail {
        sealed_token: None,
        ..mail(MailTemplate::ResetPassword, Some(user(1)))
    };
    waiting[1].attempts = RetrySchedule::MAIL.attempts + 1;
    // No expectation on the mailer: a call of it would panic.
    let (mut sender, settled, mails) = World::new(waiting).settling(&[]).sender(2);
    sender.step().await.unwrap();
    let calls = settled.lock().unwrap();
    assert!(calls[0].0.iter().all(|outcome| outcome.verdict == MailVerdict::Dead));
    assert!(
        calls[0]
            .0
            .iter()
            .any(|outcome| outcome.reply.contains("cannot be rendered"))
    );
    assert_eq!(mails.counts().dead, 2);
}

#[tokio::test]
async fn near_the_end_of_the_lease_each_message_is_recorded_for_itself() {
    let world = World::new(letters(3));
    let (passed, lost) = (Arc::clone(&world.passed), MailId::new(Uuid::from_u128(2)));
    let slow = move |_: &RenderedMail| {
        passed.store(26, Ordering::SeqCst);
        Ok("250 ok".to_owned())
    };
    let (mut sender, settled, mails) = world.settling(&[lost]).answering(slow).sender(3);
    sender.step().await.unwrap();
    let calls = settled.lock().unwrap();
    assert_eq!(calls.len(), 3);
    assert!(
        calls
            .iter()
            .all(|(outcomes, events)| outcomes.len() == 1 && events.len() == 1)
    );
    assert_eq!(
        mails.counts(),
        MailCounts {
            sent: 2,
            lost: 1,
            ..MailCounts::default()
        }
    );
}

#[tokio::test]
async fn what_the_ledger_could_not_take_for_a_moment_is_recorded_again_and_not_sent_again() {
    let mut world = World::new(letters(2));
    let mut failures = 1;
    let settled = Arc::clone(&world.settled);
    world
        .queue
        .expect_settle()
        .times(2)
        .returning(move |_, outcomes, effects| {
            if failures > 0 {
                failures -= 1;
                return Err(BackendError::temporary("sql", "settle", "cut off").into());
            }
            settled
                .lock()
                .unwrap()
                .push((outcomes.to_vec(), effects.events.clone()));
            Ok(outcomes.iter().map(|outcome| outcome.id).collect())
        });
    world.mailer.expect_send().times(2).returning(accepted);
    let (mut sender, settled, mails) = world.sender(2);
    assert_eq!(sender.step().await.unwrap(), 2);
    assert_eq!((settled.lock().unwrap().len(), mails.counts().sent), (1, 2));
}

#[tokio::test]
async fn a_ledger_that_fails_for_good_is_told() {
    let mut world = World::new(letters(1)).answering(accepted);
    let broken = || BackendError::permanent("sql", "settle", "no such table");
    world
        .queue
        .expect_settle()
        .times(1)
        .returning(move |_, _, _| Err(broken().into()));
    let (mut sender, _, mails) = world.sender(1);
    assert!(!sender.step().await.unwrap_err().temporary);
    assert_eq!(mails.counts(), MailCounts::default());
}

#[tokio::test]
async fn a_claim_grows_while_the_server_is_quick_and_shrinks_when_it_is_not() {
    let world = World::new(letters(60));
    let (passed, count) = (Arc::clone(&world.passed), Arc::new(AtomicUsize::new(0)));
    let answer = move |_: &RenderedMail| {
        if count.fetch_add(1, Ordering::SeqCst) == 13 {
            passed.fetch_add(2, Ordering::SeqCst);
        }
        Ok("250 ok".to_owned())
    };
    let (mut sender, ..) = world.settling(&[]).answering(answer).sender(2);
    let mut claimed = Vec::new();
    for _ in 0..7 {
        claimed.push(sender.step().await.unwrap());
    }
    // The fourteenth message, in the third claim, takes two of the thirty seconds.
    assert_eq!(claimed, [2, 4, 8, 2, 4, 8, 16]);
}

#[tokio::test]
async fn no_more_than_the_configured_number_is_under_way() {
    /// Counts how many sends run at once; each lets the others go first.
    struct Counting(AtomicUsize, AtomicUsize);
    #[async_trait::async_trait]
    impl Mailer for Counting {
        async fn check(&self) -> Result<String, SendMailError> {
            Ok("well".to_owned())
        }

        async fn send(&self, _: &RenderedMail) -> Result<String, SendMailError> {
            let now = self.0.fetch_add(1, Ordering::SeqCst) + 1;
            self.1.fetch_max(now, Ordering::SeqCst);
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            self.0.fetch_sub(1, Ordering::SeqCst);
            Ok("250 ok".to_owned())
        }
    }
    let (mut sender, _, mails) = World::new(letters(9)).settling(&[]).sender(3);
    let counting = Arc::new(Counting(AtomicUsize::new(0), AtomicUsize::new(0)));
    sender.p.mailer = Arc::clone(&counting) as Arc<dyn Mailer>;
    while sender.step().await.unwrap() > 0 {}
    assert_eq!((counting.1.load(Ordering::SeqCst), mails.counts().sent), (3, 9));
}

#[tokio::test]
async fn a_loop_that_is_told_to_drain_ends() {
    let (sender, settled, _) = World::new(letters(1)).settling(&[]).answering(accepted).sender(1);
    let shutdown = Shutdown::new();
    let stopper = shutdown.clone();
    let watch = async {
        while settled.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        stopper.drain();
    };
    let both = async { tokio::join!(sender.run(shutdown), watch) };
    tokio::time::timeout(Duration::from_secs(10), both)
        .await
        .expect("the loop ends");
    assert_eq!(settled.lock().unwrap().len(), 1);
}
