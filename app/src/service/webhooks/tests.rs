//! The rules of webhooks over mocks, and what the tests of their workers share.

use std::sync::Mutex;

use domain::event::Actor;
use domain::webhook::signature;
use ports::{
    ClaimedDelivery, MockSealer, MockWebhookQueue, MockWebhookRepository, MockWebhookSender, SealPurpose, TargetRefusal,
};
use uuid::Uuid;

use super::*;
use crate::worker::testing::{Kit, kit, logged, user_in};

/// The ports that a test does not set answer nothing.
#[derive(Default)]
pub(crate) struct Mocks {
    pub(crate) webhooks: MockWebhookRepository,
    pub(crate) queue: MockWebhookQueue,
    pub(crate) sender: MockWebhookSender,
}

/// A service whose sender takes every https address, and whose sealer puts context and secret side by side.
pub(crate) fn service(kit: &Kit, mut mocks: Mocks) -> Webhooks {
    mocks
        .sender
        .expect_target()
        .returning(|url| match url.strip_prefix("https://") {
            Some(host) => Ok(format!("{}:443", host.split('/').next().unwrap_or_default())),
            None => Err(TargetRefusal::NotHttps),
        });
    let mut sealer = MockSealer::new();
    sealer.expect_seal().returning(|purpose, context, secret| {
        assert_eq!(purpose, SealPurpose::WebhookSecret);
        Ok([context, secret].concat())
    });
    sealer.expect_open().returning(|purpose, context, sealed| {
        assert_eq!(purpose, SealPurpose::WebhookSecret);
        let secret = sealed.strip_prefix(context).map(<[u8]>::to_vec);
        secret.ok_or_else(|| BackendError::permanent("crypto", "open", "another key"))
    });
    Webhooks::new(WebhookParts {
        toolkit: kit.toolkit.clone(),
        webhooks: Arc::new(mocks.webhooks),
        queue: Arc::new(mocks.queue),
        sender: Arc::new(mocks.sender),
        sealer: Arc::new(sealer),
        source: "urn:plinth:test".to_owned(),
        most: 3,
    })
}

/// A webhook of that owner for everything, with the secret `secret`.
pub(crate) fn webhook(owner: UserId) -> Webhook {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let id = Uuid::from_u128(u128::from(COUNT.fetch_add(1, Ordering::Relaxed)) << 32);
    Webhook {
        id: WebhookId::new(id),
        owner,
        url: "https://hooks.example.org/plinth".to_owned(),
        types: vec![TypeFilter::All],
        description: String::new(),
        disabled: None,
        sealed_secret: [id.as_bytes().as_slice(), b"secret"].concat(),
        previous: None,
        failing_since: None,
        failures: 0,
        last_success_at: None,
        created_at: domain::time::Timestamp::from_seconds(1_767_225_600),
        updated_at: domain::time::Timestamp::from_seconds(1_767_225_600),
        version: 4,
    }
}

/// A delivery of an event in a worker's hand, at its first attempt.
pub(crate) fn claimed(webhook: Webhook) -> ClaimedDelivery {
    let event = logged(user_in(1), 7, "app.order.placed", "{\"order\":7}");
    let now = event.event.time;
    ClaimedDelivery {
        delivery: Delivery {
            id: DeliveryId::new(Uuid::from_u128(99)),
            webhook_id: webhook.id,
            event_id: event.event.id,
            event_type: event.event.event_type.clone(),
            state: DeliveryState::Sending,
            attempts: 1,
            base_attempts: 0,
            next_attempt_at: now,
            last_status: None,
            last_fault: None,
            created_at: now,
            done_at: None,
        },
        host: "hooks.example.org:443".to_owned(),
        webhook,
        event: Some(event),
        body: None,
    }
}

fn draft(url: &str, types: Option<&[&str]>) -> WebhookDraft {
    WebhookDraft {
        url: url.to_owned(),
        types: types.map(|types| types.iter().map(|text| (*text).to_owned()).collect()),
        description: "orders".to_owned(),
    }
}

fn pointers(error: WebhookError) -> Vec<String> {
    match error {
        WebhookError::Refused(refusals) => refusals.into_iter().map(|refusal| refusal.pointer).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_new_webhook_tells_its_secret_once_and_an_event_of_it_is_written() {
    let kit = kit();
    let stored = Arc::new(Mutex::new(None));
    let (mut mocks, notes) = (Mocks::default(), Arc::clone(&stored));
    mocks
        .webhooks
        .expect_insert()
        .times(1)
        .returning(move |webhook, most, effects| {
            assert_eq!((most, effects.events.len()), (3, 1));
            assert_eq!(effects.events[0].event_type.as_str(), "webhook.created");
            let data = effects.events[0].data.as_deref().unwrap();
            assert!(!data.contains("https"), "an address may hold a token: {data}");
            *notes.lock().unwrap() = Some(webhook.clone());
            Ok(())
        });
    let owner = user_in(1);
    let made = service(&kit, mocks)
        .create(owner, draft("https://a.example/x", None), &Origin::SYSTEM)
        .await;
    let (webhook, secret) = made.unwrap();
    assert_eq!(
        secret,
        format!("whsec_{}=", "A".repeat(43)),
        "32 bytes, zero in this test"
    );
    assert_eq!(
        (webhook.types.as_slice(), webhook.version),
        ([TypeFilter::All].as_slice(), 1)
    );
    assert_eq!(stored.lock().unwrap().as_ref(), Some(&webhook));
    assert_eq!(kit.wakeups.woken(), [Wakeup::Written]);
}

#[tokio::test]
async fn every_part_that_is_refused_is_named() {
    let service = service(&kit(), Mocks::default());
    let owner = user_in(1);
    let bad = WebhookDraft {
        description: "x".repeat(201),
        ..draft("http://a.example", Some(&["file.*", "File", "*", "a..b"]))
    };
    let refused = service.create(owner, bad, &Origin::SYSTEM).await.unwrap_err();
    assert_eq!(pointers(refused), ["#/url", "#/types/1", "#/types/3", "#/description"]);
    let long = format!("https://a.example/{}", "x".repeat(2_048));
    for (url, types) in [(long.as_str(), None), ("https://a.example", Some(&[] as &[&str]))] {
        assert!(service.create(owner, draft(url, types), &Origin::SYSTEM).await.is_err());
    }
}

#[tokio::test]
async fn a_change_touches_what_it_names_and_keeps_to_the_version() {
    let (kit, owner) = (kit(), user_in(1));
    let known = Webhook {
        disabled: Some(DisableReason::Failing),
        ..webhook(owner)
    };
    let id = known.id;
    let mut mocks = Mocks::default();
    let found = known.clone();
    mocks
        .webhooks
        .expect_find()
        .returning(move |asked, _| Ok((asked == owner).then(|| found.clone())));
    let before = known.clone();
    mocks
        .webhooks
        .expect_update()
        .times(1)
        .returning(move |webhook, effects| {
            let expected = Webhook {
                disabled: None,
                types: vec!["file.*".parse().unwrap()],
                updated_at: webhook.updated_at,
                ..before.clone()
            };
            assert_eq!(*webhook, expected);
            assert_eq!(effects.events[0].event_type.as_str(), "webhook.updated");
            Ok(())
        });
    let service = service(&kit, mocks);
    let change = || WebhookChange {
        types: Some(vec!["file.*".to_owned(), "file.*".to_owned()]),
        enabled: Some(true),
        ..WebhookChange::default()
    };
    service
        .update(owner, id, Some(4), change(), &Origin::SYSTEM)
        .await
        .unwrap();
    let stale = service.update(owner, id, Some(3), change(), &Origin::SYSTEM).await;
    assert!(matches!(stale, Err(WebhookError::Stale)), "{stale:?}");
    let nothing = service
        .update(owner, id, None, WebhookChange::default(), &Origin::SYSTEM)
        .await;
    assert_eq!(nothing.unwrap(), known, "nothing is written for nothing");
    let others = service.update(user_in(2), id, None, change(), &Origin::SYSTEM).await;
    assert!(matches!(others, Err(WebhookError::NotFound)), "{others:?}");
}

#[tokio::test]
async fn for_a_day_the_secret_before_signs_too() {
    let (kit, owner) = (kit(), user_in(1));
    let stored = Arc::new(Mutex::new(webhook(owner)));
    let (mut mocks, read, written) = (Mocks::default(), Arc::clone(&stored), Arc::clone(&stored));
    mocks
        .webhooks
        .expect_find()
        .returning(move |_, _| Ok(Some(read.lock().unwrap().clone())));
    mocks.webhooks.expect_update().returning(move |webhook, _| {
        *written.lock().unwrap() = webhook.clone();
        Ok(())
    });
    let service = service(&kit, mocks);
    let id = stored.lock().unwrap().id;
    service.rotate(owner, id, &Origin::SYSTEM).await.unwrap();
    let rotated = stored.lock().unwrap().clone();
    let now = kit.toolkit.now();
    let message = service.message(&claimed(rotated.clone()), now).unwrap();
    let signed = |secret: &[u8]| signature(secret, &message.id, now.seconds(), &message.body);
    assert_eq!(message.signature, format!("{} {}", signed(&[0; 32]), signed(b"secret")));
    kit.clock.advance(SECRET_OVERLAP);
    let later = kit.toolkit.now();
    let message = service.message(&claimed(rotated), later).unwrap();
    assert_eq!(
        message.signature,
        signature(&[0; 32], &message.id, later.seconds(), &message.body)
    );
}

#[test]
fn the_body_is_the_event_as_it_is_now() {
    let service = service(&kit(), Mocks::default());
    let mut claimed = claimed(webhook(user_in(1)));
    let now = claimed.delivery.created_at;
    let body = |claimed: &ClaimedDelivery| -> serde_json::Value {
        let message = service.message(claimed, now).unwrap();
        assert_eq!(message.id, claimed.delivery.event_id.to_string());
        serde_json::from_slice(&message.body).unwrap()
    };
    let whole = body(&claimed);
    assert_eq!(
        (&whole["type"], &whole["data"]["order"]),
        (&json!("app.order.placed"), &json!(7))
    );
    assert_eq!(whole["id"], json!(claimed.delivery.event_id));
    if let Some(logged) = &mut claimed.event {
        (logged.event.data, logged.event.salt) = (None, None);
    }
    assert_eq!(body(&claimed).get("data"), None, "erased meanwhile");
    claimed.event = None;
    assert_eq!(
        service.message(&claimed, now),
        Err(domain::webhook::DeliveryFault::EventGone)
    );
    claimed.body = Some("{\"by\":\"hand\"}".to_owned());
    assert_eq!(body(&claimed), json!({ "by": "hand" }));
    claimed.webhook.sealed_secret = b"of another key".to_vec();
    assert_eq!(
        service.message(&claimed, now),
        Err(domain::webhook::DeliveryFault::Secret)
    );
}

#[tokio::test]
async fn a_test_goes_to_an_enabled_webhook_whatever_its_filters() {
    let (kit, owner) = (kit(), user_in(1));
    let known = Webhook {
        types: vec!["file.*".parse().unwrap()],
        ..webhook(owner)
    };
    let id = known.id;
    let mut mocks = Mocks::default();
    let (first, second) = (known.clone(), known.clone());
    mocks
        .webhooks
        .expect_find()
        .times(1)
        .returning(move |_, _| Ok(Some(first.clone())));
    mocks.webhooks.expect_find().returning(move |_, _| {
        Ok(Some(Webhook {
            disabled: Some(DisableReason::Owner),
            ..second.clone()
        }))
    });
    mocks.queue.expect_add().times(1).returning(move |new, effects| {
        assert_eq!((new.webhook_id, new.event_type.as_str()), (id, "webhook.test"));
        assert!(effects.answer.is_none() && effects.events.is_empty());
        let body: serde_json::Value = serde_json::from_str(new.body.as_deref().unwrap()).unwrap();
        assert_eq!(
            (&body["id"], &body["specversion"]),
            (&json!(new.event_id), &json!("1.0"))
        );
        assert_eq!(body["data"]["webhook_id"], json!(id));
        Ok(())
    });
    let service = service(&kit, mocks);
    let origin = Origin {
        actor: Actor::User(owner),
        ..Origin::SYSTEM
    };
    service.test(owner, id, &origin, |_| None).await.unwrap();
    assert_eq!(kit.wakeups.woken(), [Wakeup::Webhook]);
    for disabled in [
        service.test(owner, id, &origin, |_| None).await.map(drop),
        service.resend(owner, id, DeliveryId::new(Uuid::nil())).await.map(drop),
    ] {
        assert!(matches!(disabled, Err(WebhookError::Disabled)), "{disabled:?}");
    }
}
