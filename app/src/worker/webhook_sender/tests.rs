//! The sender's steps over mocks: what follows each answer, when a webhook is disabled, and who has a place.

use std::collections::VecDeque;

use domain::id::UserId;
use domain::webhook::Webhook;
use ports::{MockWebhookQueue, MockWebhookSender};
use uuid::Uuid;

use super::super::testing::{Kit, away, kit, user_in};
use super::*;
use crate::service::webhooks::tests::{Mocks, claimed, service, webhook};

const DAY: Duration = Duration::from_secs(86_400);

fn settings() -> DeliverySettings {
    DeliverySettings {
        owner: "me".to_owned(),
        concurrency: 4,
        per_host: 2,
        lease: Duration::from_secs(60),
        disable_after: DAY * 5,
    }
}

fn worker(kit: &Kit, mocks: Mocks) -> DeliveryWorker {
    DeliveryWorker::new(Arc::new(service(kit, mocks)), settings())
}

/// One attempt that is answered like this, and what is recorded of it.
async fn recorded(
    claimed: ClaimedDelivery,
    answer: Result<u16, DeliveryFault>,
) -> (DeliveryOutcome, Option<Disabling>) {
    let notes = Arc::new(Mutex::new(None));
    let (mut mocks, noted) = (Mocks::default(), Arc::clone(&notes));
    mocks.sender.expect_send().times(1).returning(move |_| answer);
    mocks
        .queue
        .expect_settle()
        .times(1)
        .returning(move |owner, outcome, disabling| {
            assert_eq!(owner, "me");
            *noted.lock().unwrap() = Some((outcome.clone(), disabling.cloned()));
            Ok(Settled::Recorded)
        });
    worker(&kit(), mocks).deliver(&claimed).await;
    notes.lock().unwrap().take().unwrap()
}

fn failing(days: u32, failures: u32) -> Webhook {
    let webhook = webhook(user_in(1));
    Webhook {
        failing_since: Some(webhook.created_at.minus(DAY * days)),
        failures,
        ..webhook
    }
}

#[tokio::test]
async fn only_2xx_is_success() {
    for (answer, fault) in [
        (Ok(200), None),
        (Ok(204), None),
        (Ok(299), None),
        (Ok(101), Some(DeliveryFault::Status)),
        (Ok(302), Some(DeliveryFault::Redirect)),
        (Ok(410), Some(DeliveryFault::Gone)),
        (Ok(429), Some(DeliveryFault::Status)),
        (Ok(500), Some(DeliveryFault::Status)),
        (Err(DeliveryFault::Timeout), Some(DeliveryFault::Timeout)),
        (Err(DeliveryFault::Forbidden), Some(DeliveryFault::Forbidden)),
    ] {
        let (outcome, _) = recorded(claimed(webhook(user_in(1))), answer).await;
        assert_eq!((outcome.status, outcome.fault), (answer.ok(), fault), "{answer:?}");
        match (fault, outcome.verdict) {
            (None, DeliveryVerdict::Delivered) | (Some(DeliveryFault::Gone), DeliveryVerdict::Dead) => {}
            (Some(_), DeliveryVerdict::Retry(at)) => assert_eq!(at, outcome.at.plus(Duration::from_millis(4_500))),
            other => panic!("{answer:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn the_schedule_ends_and_begins_again_when_sent_anew() {
    let at_attempt = |attempts, base_attempts| {
        let mut claimed = claimed(webhook(user_in(1)));
        (claimed.delivery.attempts, claimed.delivery.base_attempts) = (attempts, base_attempts);
        recorded(claimed, Ok(500))
    };
    assert_eq!(at_attempt(8, 0).await.0.verdict, DeliveryVerdict::Dead);
    assert!(matches!(at_attempt(7, 0).await.0.verdict, DeliveryVerdict::Retry(_)));
    assert!(matches!(at_attempt(9, 8).await.0.verdict, DeliveryVerdict::Retry(_)));
    assert_eq!(at_attempt(16, 8).await.0.verdict, DeliveryVerdict::Dead);
}

#[tokio::test]
async fn a_webhook_is_disabled_when_it_is_gone_or_has_failed_for_long_and_often() {
    for (webhook, answer, reason) in [
        (webhook(user_in(1)), Ok(410), Some(DisableReason::Gone)),
        (failing(5, 9), Ok(500), Some(DisableReason::Failing)),
        (failing(5, 8), Ok(500), None),
        (failing(4, 900), Err(DeliveryFault::Connect), None),
        (
            failing(9, 900),
            Err(DeliveryFault::Resolve),
            Some(DisableReason::Failing),
        ),
        (failing(9, 900), Ok(200), None),
        (webhook(user_in(1)), Ok(500), None),
    ] {
        let id = webhook.id;
        let (outcome, disabling) = recorded(claimed(webhook), answer).await;
        assert_eq!(
            disabling.as_ref().map(|disabling| disabling.reason),
            reason,
            "{answer:?}"
        );
        let Some(disabling) = disabling else { continue };
        let limit = (reason == Some(DisableReason::Failing)).then(|| outcome.at.minus(DAY * 5));
        assert_eq!(disabling.failing_since, limit);
        let event = &disabling.effects.events[0];
        assert_eq!(
            (event.event_type.as_str(), event.user_id),
            ("webhook.disabled", user_in(1))
        );
        let data: serde_json::Value = serde_json::from_str(event.data.as_deref().unwrap()).unwrap();
        assert_eq!(data["webhook_id"], json!(id));
    }
}

#[tokio::test]
async fn what_cannot_be_made_is_given_up_without_sending_and_blames_no_webhook() {
    let mut lost = claimed(failing(9, 900));
    lost.event = None;
    let mut mocks = Mocks::default();
    mocks.queue.expect_settle().times(1).returning(|_, outcome, disabling| {
        assert_eq!(
            (outcome.fault, outcome.verdict),
            (Some(DeliveryFault::EventGone), DeliveryVerdict::Dead)
        );
        assert!(disabling.is_none());
        Ok(Settled::Recorded)
    });
    worker(&kit(), mocks).deliver(&lost).await;
}

#[tokio::test]
async fn an_outcome_is_recorded_again_until_the_lease_is_over() {
    let kit = kit();
    let mut mocks = Mocks::default();
    mocks.sender.expect_send().returning(|_| Ok(200));
    mocks
        .queue
        .expect_settle()
        .times(2)
        .returning(|_, _, _| Err(away().into()));
    mocks
        .queue
        .expect_settle()
        .times(1)
        .returning(|_, _, _| Ok(Settled::Recorded));
    let clock = Arc::clone(&kit.clock);
    mocks.queue.expect_settle().times(1).returning(move |_, _, _| {
        clock.advance(Duration::from_secs(61));
        Err(away().into())
    });
    mocks
        .queue
        .expect_settle()
        .times(1)
        .returning(|_, _, _| Ok(Settled::Lost));
    let worker = worker(&kit, mocks);
    for _ in 0..3 {
        worker.deliver(&claimed(webhook(user_in(1)))).await;
    }
    let counts = worker.webhooks.counts();
    assert_eq!((counts.delivered, counts.lost), (1, 2));
}

#[tokio::test]
async fn a_disabled_webhook_is_counted_and_its_event_rung_for() {
    let kit = kit();
    let mut mocks = Mocks::default();
    mocks.sender.expect_send().returning(|_| Ok(410));
    mocks.queue.expect_settle().returning(|_, _, _| Ok(Settled::Disabled));
    let worker = worker(&kit, mocks);
    worker.deliver(&claimed(webhook(UserId::SYSTEM))).await;
    let counts = worker.webhooks.counts();
    assert_eq!((counts.dead, counts.disabled, counts.delivered), (1, 1, 0));
    assert_eq!(kit.wakeups.woken(), [Wakeup::Written]);
}

/// What a queue is asked for, and what it is given back.
type Asked = Arc<Mutex<Vec<(u32, Vec<String>, usize)>>>;

fn at_host(host: &str, number: u128) -> ClaimedDelivery {
    let mut claimed = claimed(webhook(user_in(1)));
    claimed.host = host.to_owned();
    claimed.delivery.id = DeliveryId::new(Uuid::from_u128(number));
    claimed
}

#[tokio::test]
async fn a_host_has_only_its_own_places() {
    let asked = Asked::default();
    let due = Mutex::new(VecDeque::from([
        vec![
            at_host("slow", 1),
            at_host("slow", 2),
            at_host("slow", 3),
            at_host("slow", 4),
        ],
        vec![at_host("other", 5)],
        vec![],
    ]));
    let (claims, releases) = (Arc::clone(&asked), Arc::clone(&asked));
    let mut queue = MockWebhookQueue::new();
    queue.expect_claim().returning(move |_, _, _, limit, busy| {
        claims.lock().unwrap().push((limit, busy.to_vec(), 0));
        Ok(due.lock().unwrap().pop_front().unwrap_or_default())
    });
    queue.expect_release().times(1).returning(move |_, ids| {
        releases.lock().unwrap().push((0, Vec::new(), ids.len()));
        Ok(())
    });
    let mocks = Mocks {
        queue,
        ..Mocks::default()
    };
    let worker = worker(&kit(), mocks);
    assert_eq!(worker.claim().await.unwrap().len(), 2, "two of four have a place");
    assert_eq!(worker.claim().await.unwrap().len(), 1);
    worker.rooms.give_back("slow");
    assert_eq!(worker.claim().await.unwrap().len(), 0);
    let slow = vec!["slow".to_owned()];
    assert_eq!(
        *asked.lock().unwrap(),
        [(4, vec![], 0), (0, vec![], 2), (2, slow, 0), (2, vec![], 0)]
    );
}

#[tokio::test]
async fn draining_finishes_what_is_under_way_and_claims_no_more() {
    let (kit, shutdown) = (kit(), Shutdown::new());
    let (mut queue, mut sender) = (MockWebhookQueue::new(), MockWebhookSender::new());
    let draining = shutdown.clone();
    queue.expect_claim().times(1).returning(move |_, _, _, _, _| {
        draining.drain();
        Ok(vec![at_host("a", 1), at_host("b", 2)])
    });
    sender.expect_send().times(2).returning(|_| Ok(200));
    queue
        .expect_settle()
        .times(2)
        .returning(|_, _, _| Ok(Settled::Recorded));
    let mocks = Mocks {
        queue,
        sender,
        ..Mocks::default()
    };
    let worker = worker(&kit, mocks);
    let webhooks = Arc::clone(&worker.webhooks);
    worker.run(shutdown).await;
    assert_eq!(webhooks.counts().delivered, 2);
}
