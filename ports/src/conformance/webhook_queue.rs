//! Scenarios for [`WebhookQueue`](crate::WebhookQueue).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use domain::id::{DeliveryId, WebhookId};
use domain::page::PageRequest;
use domain::stats::WebhookStats;
use domain::time::Timestamp;
use domain::webhook::{Delivery, DeliveryAttempt, DeliveryFault, DeliveryState, DisableReason, Webhook};
use futures_util::future::join_all;

use super::samples::{TTL, at, delivery_to, event, events, full_event, payloads, sequence_all, user, uuid, webhook};
use crate::{
    ClaimedDelivery, DeliveryOutcome, DeliveryVerdict, Disabling, Effects, EventDeliveries, EventStore, InboxMark,
    LogSequencer, NewDelivery, Resent, Settled, WebhookQueue, WebhookRepository,
};

/// What the scenarios need.
pub struct Subject {
    /// The queue under test.
    pub queue: Arc<dyn WebhookQueue>,
    /// The addresses of the same backend.
    pub webhooks: Arc<dyn WebhookRepository>,
    /// The store of the same backend.
    pub store: Arc<dyn EventStore>,
    /// Its sequencer.
    pub sequencer: Arc<dyn LogSequencer>,
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject").finish_non_exhaustive()
    }
}

/// One test for each scenario; the fixture is a future of `Option<(webhook_queue::Subject, guard)>`.
#[macro_export]
macro_rules! webhook_queue_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            webhook_queue,
            [
                a_delivery_comes_with_its_webhook_and_its_event,
                an_event_that_is_marked_adds_nothing,
                a_claim_takes_the_oldest_due_of_hosts_that_are_not_busy,
                of_many_claimants_each_delivery_goes_to_one,
                a_lease_that_is_over_makes_the_delivery_due_again,
                what_is_given_back_is_as_it_was,
                a_delivery_whose_webhook_is_gone_is_cancelled,
                a_success_is_final_and_ends_failures,
                a_failure_waits_and_counts,
                a_retry_for_a_disabled_webhook_is_cancelled,
                a_delivery_lost_to_another_owner_is_left_alone,
                disabling_is_done_and_told_once,
                disabling_for_failures_needs_them_to_have_lasted,
                sending_anew_begins_the_schedule_again,
                another_webhook_gets_none,
                a_list_visits_each_newest_first_by_state,
                only_what_is_final_is_pruned,
                stats_tell_what_waits,
            ]
        );
    };
}

fn marked(deliveries: Vec<NewDelivery>) -> EventDeliveries {
    EventDeliveries {
        mark: InboxMark {
            group: "webhooks".to_owned(),
            event_id: deliveries[0].event_id,
            at: at(1),
        },
        deliveries,
    }
}

async fn stored(subject: &Subject) -> Webhook {
    let webhook = webhook(user());
    let inserted = subject.webhooks.insert(&webhook, 100, &Effects::none()).await;
    inserted.expect("inserted");
    webhook
}

async fn add(subject: &Subject, webhook: &Webhook, seconds: i64) -> DeliveryId {
    let delivery = delivery_to(webhook, at(seconds));
    subject.queue.add(&delivery, &Effects::none()).await.expect("added");
    delivery.id
}

async fn claim(subject: &Subject, owner: &str, seconds: i64, limit: u32) -> Vec<ClaimedDelivery> {
    let claimed = subject.queue.claim(owner, at(seconds), TTL, limit, &[]).await;
    claimed.expect("a claim")
}

fn ids(claimed: &[ClaimedDelivery]) -> Vec<DeliveryId> {
    claimed.iter().map(|claimed| claimed.delivery.id).collect()
}

fn outcome(id: DeliveryId, seconds: i64, verdict: DeliveryVerdict) -> DeliveryOutcome {
    let delivered = verdict == DeliveryVerdict::Delivered;
    DeliveryOutcome {
        id,
        at: at(seconds),
        took: Duration::from_micros(1_234_567),
        status: Some(if delivered { 204 } else { 503 }),
        fault: (!delivered).then_some(DeliveryFault::Status),
        verdict,
    }
}

async fn settle(subject: &Subject, owner: &str, outcome: &DeliveryOutcome) -> Settled {
    subject.queue.settle(owner, outcome, None).await.expect("an answer")
}

async fn find(subject: &Subject, webhook: &Webhook, id: DeliveryId) -> (Delivery, Vec<DeliveryAttempt>) {
    subject
        .queue
        .find(webhook.id, id)
        .await
        .expect("a read")
        .expect("found")
}

async fn standing(subject: &Subject, webhook: &Webhook) -> (Option<Timestamp>, u32, Option<Timestamp>) {
    let found = subject.webhooks.find(webhook.owner, webhook.id).await;
    let found = found.expect("a read").expect("found");
    (found.failing_since, found.failures, found.last_success_at)
}

/// All that sending takes; an event of no log brings its body, and one that is not kept is none.
pub async fn a_delivery_comes_with_its_webhook_and_its_event(subject: &Subject) {
    let webhook = stored(subject).await;
    let logged = full_event(webhook.owner);
    subject
        .store
        .append(&events(vec![logged.clone()]))
        .await
        .expect("appended");
    sequence_all(&*subject.sequencer).await;
    let of_log = NewDelivery {
        event_id: logged.id,
        event_type: logged.event_type.clone(),
        body: None,
        ..delivery_to(&webhook, at(1))
    };
    assert_eq!(
        subject
            .queue
            .enqueue(&[marked(vec![of_log.clone()])])
            .await
            .expect("new"),
        [true]
    );
    let by_hand = delivery_to(&webhook, at(2));
    subject.queue.add(&by_hand, &Effects::none()).await.expect("added");
    let claimed = claim(subject, "a", 5, 10).await;
    let expected = |new: &NewDelivery| Delivery {
        id: new.id,
        webhook_id: webhook.id,
        event_id: new.event_id,
        event_type: new.event_type.clone(),
        state: DeliveryState::Sending,
        attempts: 1,
        base_attempts: 0,
        next_attempt_at: new.created_at,
        last_status: None,
        last_fault: None,
        created_at: new.created_at,
        done_at: None,
    };
    assert_eq!(claimed[0].delivery, expected(&of_log));
    assert_eq!((&claimed[0].webhook, &claimed[0].body), (&webhook, &None));
    let position = claimed[0].event.as_ref().map(|event| event.position);
    assert_eq!(
        (claimed[0].event.as_ref().map(|event| &event.event), position),
        (Some(&logged), Some(1))
    );
    assert_eq!(claimed[1].delivery, expected(&by_hand));
    assert_eq!((&claimed[1].body, &claimed[1].event), (&by_hand.body, &None));
    assert_eq!(claimed[1].host, "hooks.example.org:443");
}

/// Neither in the same call nor in a later one.
pub async fn an_event_that_is_marked_adds_nothing(subject: &Subject) {
    let webhook = stored(subject).await;
    let (first, second) = (delivery_to(&webhook, at(1)), delivery_to(&webhook, at(2)));
    let again = |of: &NewDelivery| NewDelivery {
        id: DeliveryId::new(uuid()),
        ..of.clone()
    };
    let events = [
        marked(vec![first.clone()]),
        marked(vec![second.clone()]),
        marked(vec![again(&first)]),
    ];
    assert_eq!(
        subject.queue.enqueue(&events).await.expect("an answer"),
        [true, true, false]
    );
    let events = [marked(vec![again(&second)])];
    assert_eq!(subject.queue.enqueue(&events).await.expect("an answer"), [false]);
    assert_eq!(subject.queue.enqueue(&[]).await.expect("an answer"), Vec::<bool>::new());
    assert_eq!(ids(&claim(subject, "a", 9, 10).await), [first.id, second.id]);
}

/// Oldest due first, no more than asked for, none that is not due, none of a host that has enough to do.
pub async fn a_claim_takes_the_oldest_due_of_hosts_that_are_not_busy(subject: &Subject) {
    let webhook = stored(subject).await;
    let slow = NewDelivery {
        host: "slow.example.org:443".to_owned(),
        ..delivery_to(&webhook, at(5))
    };
    subject.queue.add(&slow, &Effects::none()).await.expect("added");
    let mut expected = Vec::new();
    for seconds in [30, 10, 20, 120] {
        expected.push((seconds, add(subject, &webhook, seconds).await));
    }
    expected.sort();
    let busy = ["slow.example.org:443".to_owned(), "other.example.org:443".to_owned()];
    let claimed = subject.queue.claim("a", at(100), TTL, 2, &busy).await.expect("a claim");
    assert_eq!(ids(&claimed), [expected[0].1, expected[1].1]);
    assert_eq!(ids(&claim(subject, "a", 100, 10).await), [slow.id, expected[2].1]);
    assert_eq!(ids(&claim(subject, "a", 119, 10).await), []);
    assert_eq!(ids(&claim(subject, "a", 120, 10).await), [expected[3].1]);
}

/// Many at once: each delivery is handed out once.
pub async fn of_many_claimants_each_delivery_goes_to_one(subject: &Subject) {
    let webhook = stored(subject).await;
    let new: Vec<NewDelivery> = (0..40).map(|_| delivery_to(&webhook, at(0))).collect();
    let events: Vec<EventDeliveries> = new.iter().map(|new| marked(vec![new.clone()])).collect();
    subject.queue.enqueue(&events).await.expect("new");
    let owners: Vec<String> = (0..8).map(|number| format!("owner-{number}")).collect();
    let mut claimed = Vec::new();
    loop {
        let round = join_all(owners.iter().map(|owner| claim(subject, owner, 1, 3))).await;
        let round: Vec<DeliveryId> = round.iter().flat_map(|some| ids(some)).collect();
        if round.is_empty() {
            break;
        }
        claimed.extend(round);
    }
    assert_eq!(claimed.len(), 40);
    assert_eq!(
        claimed.into_iter().collect::<BTreeSet<_>>(),
        new.iter().map(|new| new.id).collect()
    );
}

/// A crashed owner's delivery is tried again, and that attempt counts.
pub async fn a_lease_that_is_over_makes_the_delivery_due_again(subject: &Subject) {
    let webhook = stored(subject).await;
    let id = add(subject, &webhook, 0).await;
    assert_eq!(ids(&claim(subject, "a", 1, 10).await), [id]);
    assert_eq!(
        ids(&claim(subject, "a", 2, 10).await),
        [],
        "not to the same owner either"
    );
    assert_eq!(ids(&claim(subject, "b", 60, 10).await), []);
    let again = claim(subject, "b", 62, 10).await;
    assert_eq!((ids(&again), again[0].delivery.attempts), (vec![id], 2));
}

/// The attempt that was not made does not count; what another holds is not given back.
pub async fn what_is_given_back_is_as_it_was(subject: &Subject) {
    let webhook = stored(subject).await;
    let id = add(subject, &webhook, 0).await;
    claim(subject, "a", 1, 10).await;
    subject.queue.release("b", &[id]).await.expect("an answer");
    assert_eq!(ids(&claim(subject, "b", 2, 10).await), []);
    subject.queue.release("a", &[id]).await.expect("an answer");
    subject.queue.release("a", &[]).await.expect("an answer");
    let (found, attempts) = find(subject, &webhook, id).await;
    assert_eq!(
        (found.state, found.attempts, attempts.len()),
        (DeliveryState::Queued, 0, 0)
    );
    assert_eq!(claim(subject, "b", 2, 10).await[0].delivery.attempts, 1);
}

/// As when it was removed after the deliveries of an event were looked up and before they were written.
pub async fn a_delivery_whose_webhook_is_gone_is_cancelled(subject: &Subject) {
    let (gone, kept) = (webhook(user()), stored(subject).await);
    let (orphan, other) = (add(subject, &gone, 0).await, add(subject, &kept, 1).await);
    assert_eq!(ids(&claim(subject, "a", 5, 10).await), [other]);
    let (found, _) = find(subject, &gone, orphan).await;
    assert_eq!((found.state, found.attempts), (DeliveryState::Cancelled, 0));
    assert_eq!(found.done_at, Some(at(5)));
}

/// Delivered is the end, and the webhook is well again.
pub async fn a_success_is_final_and_ends_failures(subject: &Subject) {
    let webhook = stored(subject).await;
    let (failed, id) = (add(subject, &webhook, 0).await, add(subject, &webhook, 0).await);
    claim(subject, "a", 1, 10).await;
    settle(subject, "a", &outcome(failed, 2, DeliveryVerdict::Dead)).await;
    assert_eq!(standing(subject, &webhook).await, (Some(at(2)), 1, None));
    let sent = outcome(id, 3, DeliveryVerdict::Delivered);
    assert_eq!(settle(subject, "a", &sent).await, Settled::Recorded);
    let (found, attempts) = find(subject, &webhook, id).await;
    assert_eq!((found.state, found.done_at), (DeliveryState::Delivered, Some(at(3))));
    assert_eq!((found.last_status, found.last_fault), (Some(204), None));
    let expected = DeliveryAttempt {
        number: 1,
        at: at(3),
        took: sent.took,
        status: Some(204),
        fault: None,
    };
    assert_eq!(attempts, [expected]);
    assert_eq!(standing(subject, &webhook).await, (None, 0, Some(at(3))));
    let (dead, _) = find(subject, &webhook, failed).await;
    assert_eq!((dead.state, dead.done_at), (DeliveryState::Dead, Some(at(2))));
    assert_eq!(settle(subject, "a", &sent).await, Settled::Lost);
    assert_eq!(ids(&claim(subject, "b", 100_000, 10).await), []);
}

/// Not before its time; each attempt has its row; failures count from the first one.
pub async fn a_failure_waits_and_counts(subject: &Subject) {
    let webhook = stored(subject).await;
    let id = add(subject, &webhook, 0).await;
    claim(subject, "a", 1, 1).await;
    settle(subject, "a", &outcome(id, 2, DeliveryVerdict::Retry(at(40)))).await;
    let (found, _) = find(subject, &webhook, id).await;
    assert_eq!(
        (found.state, found.next_attempt_at, found.done_at),
        (DeliveryState::Queued, at(40), None)
    );
    assert_eq!(
        (found.last_status, found.last_fault),
        (Some(503), Some(DeliveryFault::Status))
    );
    assert_eq!(ids(&claim(subject, "b", 39, 1).await), []);
    assert_eq!(ids(&claim(subject, "b", 40, 1).await), [id]);
    let late = DeliveryOutcome {
        status: None,
        fault: Some(DeliveryFault::Timeout),
        ..outcome(id, 41, DeliveryVerdict::Retry(at(400)))
    };
    settle(subject, "b", &late).await;
    assert_eq!(standing(subject, &webhook).await, (Some(at(2)), 2, None));
    let (_, attempts) = find(subject, &webhook, id).await;
    let shown: Vec<_> = attempts
        .iter()
        .map(|attempt| (attempt.number, attempt.status, attempt.fault))
        .collect();
    assert_eq!(
        shown,
        [
            (1, Some(503), Some(DeliveryFault::Status)),
            (2, None, Some(DeliveryFault::Timeout))
        ]
    );
}

/// It would wait for ever.
pub async fn a_retry_for_a_disabled_webhook_is_cancelled(subject: &Subject) {
    let webhook = stored(subject).await;
    let id = add(subject, &webhook, 0).await;
    claim(subject, "a", 1, 1).await;
    let disabled = Webhook {
        disabled: Some(DisableReason::Owner),
        ..webhook.clone()
    };
    subject
        .webhooks
        .update(&disabled, &Effects::none())
        .await
        .expect("changed");
    settle(subject, "a", &outcome(id, 2, DeliveryVerdict::Retry(at(40)))).await;
    let (found, attempts) = find(subject, &webhook, id).await;
    assert_eq!(
        (found.state, found.done_at, attempts.len()),
        (DeliveryState::Cancelled, Some(at(2)), 1)
    );
}

/// Who comes back after its lease was taken records nothing and disables nothing.
pub async fn a_delivery_lost_to_another_owner_is_left_alone(subject: &Subject) {
    let webhook = stored(subject).await;
    let id = add(subject, &webhook, 0).await;
    claim(subject, "a", 1, 1).await;
    claim(subject, "b", 62, 1).await;
    let disabling = Disabling {
        reason: DisableReason::Gone,
        failing_since: None,
        effects: events(vec![event(webhook.owner, 1)]),
    };
    let late = outcome(id, 63, DeliveryVerdict::Dead);
    let settled = subject.queue.settle("a", &late, Some(&disabling)).await;
    assert_eq!(settled.expect("an answer"), Settled::Lost);
    let (found, attempts) = find(subject, &webhook, id).await;
    assert_eq!(
        (found.state, found.last_status, attempts),
        (DeliveryState::Sending, None, vec![])
    );
    assert_eq!(standing(subject, &webhook).await, (None, 0, None));
    sequence_all(&*subject.sequencer).await;
    assert!(payloads(&*subject.store, webhook.owner).await.is_empty());
    assert_eq!(
        settle(subject, "b", &outcome(id, 64, DeliveryVerdict::Delivered)).await,
        Settled::Recorded
    );
}

/// Two deliveries that both find it gone disable it once, with one event; what waits is cancelled.
pub async fn disabling_is_done_and_told_once(subject: &Subject) {
    let webhook = stored(subject).await;
    let (one, two) = (add(subject, &webhook, 0).await, add(subject, &webhook, 0).await);
    claim(subject, "a", 1, 2).await;
    let waiting = add(subject, &webhook, 0).await;
    for (number, id, expected) in [(1, one, Settled::Disabled), (2, two, Settled::Recorded)] {
        let disabling = Disabling {
            reason: DisableReason::Gone,
            failing_since: None,
            effects: events(vec![event(webhook.owner, number)]),
        };
        let dead = outcome(id, 2, DeliveryVerdict::Dead);
        let settled = subject.queue.settle("a", &dead, Some(&disabling)).await;
        assert_eq!(settled.expect("an answer"), expected);
    }
    let found = subject
        .webhooks
        .find(webhook.owner, webhook.id)
        .await
        .expect("a read")
        .expect("found");
    assert_eq!(
        (found.disabled, found.version),
        (Some(DisableReason::Gone), webhook.version + 1)
    );
    assert_eq!(find(subject, &webhook, waiting).await.0.state, DeliveryState::Cancelled);
    sequence_all(&*subject.sequencer).await;
    assert_eq!(payloads(&*subject.store, webhook.owner).await, ["{\"number\":1}"]);
}

/// A success between the claim and the record has the last word.
pub async fn disabling_for_failures_needs_them_to_have_lasted(subject: &Subject) {
    let webhook = stored(subject).await;
    let disabling = Disabling {
        reason: DisableReason::Failing,
        failing_since: Some(at(10)),
        effects: events(vec![event(webhook.owner, 1)]),
    };
    for (seconds, expected) in [(20, Settled::Recorded), (30, Settled::Recorded)] {
        let id = add(subject, &webhook, 0).await;
        claim(subject, "a", seconds, 1).await;
        let dead = outcome(id, seconds, DeliveryVerdict::Dead);
        let settled = subject.queue.settle("a", &dead, Some(&disabling)).await;
        assert_eq!(settled.expect("an answer"), expected, "failing since 20 s only");
    }
    let id = add(subject, &webhook, 0).await;
    claim(subject, "a", 40, 1).await;
    let longer = Disabling {
        failing_since: Some(at(20)),
        ..disabling
    };
    let dead = outcome(id, 40, DeliveryVerdict::Dead);
    let settled = subject.queue.settle("a", &dead, Some(&longer)).await;
    assert_eq!(settled.expect("an answer"), Settled::Disabled);
}

/// Whatever became of it, unless it is in hand.
pub async fn sending_anew_begins_the_schedule_again(subject: &Subject) {
    let webhook = stored(subject).await;
    let id = add(subject, &webhook, 0).await;
    claim(subject, "a", 1, 1).await;
    let resend = || subject.queue.resend(webhook.id, id, at(50));
    assert_eq!(resend().await.expect("an answer"), Resent::InHand);
    settle(subject, "a", &outcome(id, 2, DeliveryVerdict::Dead)).await;
    let Resent::Due(due) = resend().await.expect("an answer") else {
        panic!("a dead delivery can be sent anew");
    };
    assert_eq!(
        (due.state, due.attempts, due.base_attempts),
        (DeliveryState::Queued, 1, 1)
    );
    assert_eq!((due.next_attempt_at, due.done_at), (at(50), None));
    let again = claim(subject, "a", 50, 1).await;
    assert_eq!((again[0].delivery.attempts, again[0].delivery.base_attempts), (2, 1));
    let unknown = subject.queue.resend(WebhookId::new(uuid()), id, at(50)).await;
    assert_eq!(unknown.expect("an answer"), Resent::Unknown);
}

/// Another's id answers exactly like an unknown one.
pub async fn another_webhook_gets_none(subject: &Subject) {
    let (mine, other) = (stored(subject).await, stored(subject).await);
    let id = add(subject, &mine, 0).await;
    assert!(subject.queue.find(mine.id, id).await.expect("a read").is_some());
    assert_eq!(subject.queue.find(other.id, id).await.expect("a read"), None);
    let page = subject
        .queue
        .list(other.id, None, &PageRequest::first())
        .await
        .expect("a page");
    assert_eq!(page.items, vec![]);
}

/// Pages visit each once, all or those of a state.
pub async fn a_list_visits_each_newest_first_by_state(subject: &Subject) {
    let webhook = stored(subject).await;
    let mut expected = Vec::new();
    for _ in 0..5 {
        expected.insert(0, add(subject, &webhook, 0).await);
    }
    claim(subject, "a", 1, 10).await;
    settle(subject, "a", &outcome(expected[1], 2, DeliveryVerdict::Dead)).await;
    settle(subject, "a", &outcome(expected[3], 2, DeliveryVerdict::Dead)).await;
    for (state, expected) in [
        (None, expected.clone()),
        (Some(DeliveryState::Dead), vec![expected[1], expected[3]]),
        (Some(DeliveryState::Queued), vec![]),
    ] {
        let (mut seen, mut after): (Vec<DeliveryId>, Option<String>) = (Vec::new(), None);
        loop {
            let request = PageRequest { after, limit: 1 };
            let page = subject.queue.list(webhook.id, state, &request).await.expect("a page");
            seen.extend(page.items.iter().map(|delivery| delivery.id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, expected, "{state:?}");
    }
}

/// With their attempts; so many at once.
pub async fn only_what_is_final_is_pruned(subject: &Subject) {
    let webhook = stored(subject).await;
    let mut all = Vec::new();
    for seconds in [0, 1, 2, 3, 50] {
        all.push(add(subject, &webhook, seconds).await);
    }
    claim(subject, "a", 60, 10).await;
    for id in [all[0], all[1], all[4]] {
        settle(subject, "a", &outcome(id, 61, DeliveryVerdict::Delivered)).await;
    }
    settle(subject, "a", &outcome(all[2], 61, DeliveryVerdict::Retry(at(90)))).await;
    assert_eq!(subject.queue.prune(at(50), 1).await.expect("pruned"), 1);
    assert_eq!(subject.queue.prune(at(50), 10).await.expect("pruned"), 1);
    assert_eq!(subject.queue.prune(at(50), 10).await.expect("pruned"), 0);
    for (id, kept) in all.into_iter().zip([false, false, true, true, true]) {
        assert_eq!(
            subject.queue.find(webhook.id, id).await.expect("a read").is_some(),
            kept
        );
    }
}

/// Waiting, held and given up, and how long the oldest due one waits.
pub async fn stats_tell_what_waits(subject: &Subject) {
    assert_eq!(
        subject.queue.stats(at(0)).await.expect("stats"),
        WebhookStats::default()
    );
    let webhook = stored(subject).await;
    for seconds in [0, 10, 20, 30, 9_000] {
        add(subject, &webhook, seconds).await;
    }
    let held = claim(subject, "a", 40, 2).await;
    settle(subject, "a", &outcome(held[0].delivery.id, 41, DeliveryVerdict::Dead)).await;
    let expected = WebhookStats {
        queued: 3,
        sending: 1,
        dead: 1,
        oldest_due_micros: 80_000_000,
    };
    assert_eq!(subject.queue.stats(at(100)).await.expect("stats"), expected);
}
