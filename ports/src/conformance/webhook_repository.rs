//! Scenarios for [`WebhookRepository`](crate::WebhookRepository).

use std::sync::Arc;
use std::time::Duration;

use domain::id::{UserId, WebhookId};
use domain::page::PageRequest;
use domain::webhook::{DeliveryState, DisableReason, PreviousSecret, Webhook};
use futures_util::future::join_all;

use super::samples::{at, delivery_to, event, events, payloads, sequence_all, user, uuid, webhook};
use crate::{
    Effects, EventStore, InsertWebhookError, LogSequencer, UpdateWebhookError, WebhookQueue, WebhookRepository,
};

/// What the scenarios need.
pub struct Subject {
    /// The repository under test.
    pub webhooks: Arc<dyn WebhookRepository>,
    /// The deliveries of the same backend.
    pub queue: Arc<dyn WebhookQueue>,
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

/// One test for each scenario; the fixture is a future of `Option<(webhook_repository::Subject, guard)>`.
#[macro_export]
macro_rules! webhook_repository_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            webhook_repository,
            [
                every_field_comes_back,
                an_owner_has_only_so_many,
                of_many_at_once_only_so_many_are_made,
                another_owner_finds_changes_and_removes_none,
                a_list_visits_each_oldest_first,
                a_stale_version_changes_nothing,
                disabling_cancels_what_waits,
                enabling_again_forgets_failures,
                removing_cancels_what_waits_and_is_told_once,
                effects_come_with_the_change_alone,
                the_enabled_of_many_owners_are_found_at_once,
            ]
        );
    };
}

async fn insert(subject: &Subject, webhook: &Webhook) {
    subject
        .webhooks
        .insert(webhook, 100, &Effects::none())
        .await
        .expect("inserted");
}

async fn find(subject: &Subject, webhook: &Webhook) -> Option<Webhook> {
    subject.webhooks.find(webhook.owner, webhook.id).await.expect("a read")
}

/// With every optional field filled and with none.
pub async fn every_field_comes_back(subject: &Subject) {
    let bare = webhook(user());
    let full = Webhook {
        url: "https://hooks.example.org/päth?q=1".to_owned(),
        types: ["file.*", "app.order.placed", "*"]
            .map(|text| text.parse().expect("a filter"))
            .to_vec(),
        description: "„Bestellungen“ 🦀".to_owned(),
        disabled: Some(DisableReason::Failing),
        previous: Some(PreviousSecret {
            sealed: vec![0, 9, 255],
            until: at(77),
        }),
        failing_since: Some(at(5)),
        failures: 12,
        last_success_at: Some(at(4)),
        version: 3,
        ..webhook(UserId::SYSTEM)
    };
    for webhook in [bare, full] {
        insert(subject, &webhook).await;
        assert_eq!(find(subject, &webhook).await, Some(webhook));
    }
}

/// One more than that is refused; another owner does not mind.
pub async fn an_owner_has_only_so_many(subject: &Subject) {
    let owner = user();
    for _ in 0..2 {
        let made = subject.webhooks.insert(&webhook(owner), 2, &Effects::none()).await;
        assert!(made.is_ok(), "{made:?}");
    }
    let third = subject.webhooks.insert(&webhook(owner), 2, &Effects::none()).await;
    assert!(matches!(third, Err(InsertWebhookError::TooMany)), "{third:?}");
    let other = subject.webhooks.insert(&webhook(user()), 2, &Effects::none()).await;
    assert!(other.is_ok(), "{other:?}");
}

/// The bound holds among callers at the same time.
pub async fn of_many_at_once_only_so_many_are_made(subject: &Subject) {
    let owner = user();
    let new: Vec<Webhook> = (0..8).map(|_| webhook(owner)).collect();
    let none = Effects::none();
    let made = join_all(new.iter().map(|webhook| subject.webhooks.insert(webhook, 3, &none))).await;
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 3, "{made:?}");
    let page = subject
        .webhooks
        .list(owner, &PageRequest::first())
        .await
        .expect("a page");
    assert_eq!(page.items.len(), 3);
}

/// Another's id is as an unknown one.
pub async fn another_owner_finds_changes_and_removes_none(subject: &Subject) {
    let (theirs, stranger) = (webhook(user()), user());
    insert(subject, &theirs).await;
    assert_eq!(subject.webhooks.find(stranger, theirs.id).await.expect("a read"), None);
    assert_eq!(
        subject.webhooks.find(UserId::SYSTEM, theirs.id).await.expect("a read"),
        None
    );
    let claimed = Webhook {
        owner: stranger,
        ..theirs.clone()
    };
    let changed = subject.webhooks.update(&claimed, &Effects::none()).await;
    assert!(matches!(changed, Err(UpdateWebhookError::Stale)), "{changed:?}");
    let removed = subject.webhooks.remove(stranger, theirs.id, &Effects::none()).await;
    assert!(!removed.expect("an answer"));
    assert_eq!(find(subject, &theirs).await, Some(theirs));
}

/// Pages visit each of the owner's once.
pub async fn a_list_visits_each_oldest_first(subject: &Subject) {
    let owner = user();
    let mut expected = Vec::new();
    for _ in 0..5 {
        let mine = webhook(owner);
        insert(subject, &mine).await;
        insert(subject, &webhook(user())).await;
        expected.push(mine.id);
    }
    let (mut seen, mut after): (Vec<WebhookId>, Option<String>) = (Vec::new(), None);
    loop {
        let page = subject
            .webhooks
            .list(owner, &PageRequest { after, limit: 2 })
            .await
            .expect("a page");
        seen.extend(page.items.iter().map(|webhook| webhook.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, expected);
}

/// Of two who read the same, one changes it.
pub async fn a_stale_version_changes_nothing(subject: &Subject) {
    let read = webhook(user());
    insert(subject, &read).await;
    let first = Webhook {
        url: "https://first.example.org/".to_owned(),
        sealed_secret: vec![5; 40],
        updated_at: at(9),
        ..read.clone()
    };
    subject
        .webhooks
        .update(&first, &Effects::none())
        .await
        .expect("changed");
    let expected = Webhook {
        version: read.version + 1,
        ..first
    };
    assert_eq!(find(subject, &read).await, Some(expected.clone()));
    let second = Webhook {
        description: "late".to_owned(),
        ..read.clone()
    };
    let late = subject.webhooks.update(&second, &Effects::none()).await;
    assert!(matches!(late, Err(UpdateWebhookError::Stale)), "{late:?}");
    assert_eq!(find(subject, &read).await, Some(expected));
}

/// What waits is cancelled, what is done stays.
pub async fn disabling_cancels_what_waits(subject: &Subject) {
    let (read, other) = (webhook(user()), webhook(user()));
    let mut deliveries = Vec::new();
    for to in [&read, &other] {
        insert(subject, to).await;
        let delivery = delivery_to(to, at(1));
        subject.queue.add(&delivery, &Effects::none()).await.expect("added");
        deliveries.push(delivery.id);
    }
    let disabled = Webhook {
        disabled: Some(DisableReason::Owner),
        ..read.clone()
    };
    subject
        .webhooks
        .update(&disabled, &Effects::none())
        .await
        .expect("changed");
    for (to, id, state) in [
        (&read, deliveries[0], DeliveryState::Cancelled),
        (&other, deliveries[1], DeliveryState::Queued),
    ] {
        let (found, _) = subject.queue.find(to.id, id).await.expect("a read").expect("found");
        assert_eq!(
            (found.state, found.done_at.is_some()),
            (state, state == DeliveryState::Cancelled)
        );
    }
}

/// Otherwise it would be disabled again by its first failure.
pub async fn enabling_again_forgets_failures(subject: &Subject) {
    let failing = |disabled| Webhook {
        disabled,
        failing_since: Some(at(1)),
        failures: 9,
        ..webhook(user())
    };
    for (stored, kept) in [(failing(Some(DisableReason::Failing)), false), (failing(None), true)] {
        insert(subject, &stored).await;
        let enabled = Webhook {
            disabled: None,
            ..stored.clone()
        };
        subject
            .webhooks
            .update(&enabled, &Effects::none())
            .await
            .expect("changed");
        let found = find(subject, &stored).await.expect("found");
        let expected = if kept { (Some(at(1)), 9) } else { (None, 0) };
        assert_eq!((found.failing_since, found.failures), expected);
    }
}

/// Gone, with nothing waiting for it.
pub async fn removing_cancels_what_waits_and_is_told_once(subject: &Subject) {
    let read = webhook(user());
    insert(subject, &read).await;
    let delivery = delivery_to(&read, at(1));
    subject.queue.add(&delivery, &Effects::none()).await.expect("added");
    for there in [true, false] {
        let removed = subject.webhooks.remove(read.owner, read.id, &Effects::none()).await;
        assert_eq!(removed.expect("an answer"), there);
    }
    assert_eq!(find(subject, &read).await, None);
    let ttl = Duration::from_secs(60);
    assert_eq!(
        subject.queue.claim("a", at(100), ttl, 9, &[]).await.expect("a claim"),
        vec![]
    );
    let (found, _) = subject
        .queue
        .find(read.id, delivery.id)
        .await
        .expect("a read")
        .expect("found");
    assert_eq!(found.state, DeliveryState::Cancelled);
}

/// A change that is refused writes none.
pub async fn effects_come_with_the_change_alone(subject: &Subject) {
    let mine = webhook(user());
    let told = |number| events(vec![event(mine.owner, number)]);
    subject.webhooks.insert(&mine, 1, &told(1)).await.expect("inserted");
    subject
        .webhooks
        .insert(&webhook(mine.owner), 1, &told(2))
        .await
        .expect_err("one too many");
    subject.webhooks.update(&mine, &told(3)).await.expect("changed");
    subject.webhooks.update(&mine, &told(4)).await.expect_err("stale");
    assert!(
        !subject
            .webhooks
            .remove(mine.owner, WebhookId::new(uuid()), &told(5))
            .await
            .expect("an answer")
    );
    assert!(
        subject
            .webhooks
            .remove(mine.owner, mine.id, &told(6))
            .await
            .expect("an answer")
    );
    sequence_all(&*subject.sequencer).await;
    let payload = |number: u64| format!("{{\"number\":{number}}}");
    assert_eq!(payloads(&*subject.store, mine.owner).await, [1, 3, 6].map(payload));
}

/// Those of the owners that are asked for, without the disabled ones.
pub async fn the_enabled_of_many_owners_are_found_at_once(subject: &Subject) {
    let (one, two) = (webhook(user()), webhook(UserId::SYSTEM));
    let off = Webhook {
        disabled: Some(DisableReason::Gone),
        ..webhook(one.owner)
    };
    for webhook in [&one, &two, &off, &webhook(user())] {
        insert(subject, webhook).await;
    }
    let found = subject
        .webhooks
        .enabled_of(&[one.owner, UserId::SYSTEM, user()])
        .await
        .expect("a read");
    let mut found: Vec<WebhookId> = found.iter().map(|webhook| webhook.id).collect();
    found.sort();
    let mut expected = [one.id, two.id];
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(subject.webhooks.enabled_of(&[]).await.expect("a read"), vec![]);
}
