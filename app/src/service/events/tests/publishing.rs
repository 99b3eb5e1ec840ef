//! What a publication must be, and how it is written.

use super::*;

fn publication(event_type: &str, data: Value) -> Publication {
    Publication {
        event_type: event_type.to_owned(),
        data,
        subject: None,
        schema_version: None,
        id: None,
    }
}

fn publisher() -> Publisher {
    let user_id = user_in(1);
    let origin = Origin {
        actor: Actor::User(user_id),
        impersonator: None,
        request_id: None,
    };
    Publisher {
        user_id,
        tier: TierName::free(),
        origin,
    }
}

/// A service whose store takes everything, and what it took.
fn publishing(kit: &Kit) -> (Events, Arc<Mutex<Vec<Effects>>>) {
    let written: Arc<Mutex<Vec<Effects>>> = Arc::default();
    let (mut store, notes) = (MockEventStore::new(), Arc::clone(&written));
    store.expect_append().returning(move |effects| {
        notes.lock().unwrap().push(effects.clone());
        Ok(())
    });
    (Events::new(parts(kit, Arc::new(store), World::with([]))), written)
}

async fn refusals(publications: Vec<Publication>) -> Vec<(Option<usize>, Option<Cow<'static, str>>, &'static str)> {
    let kit = kit();
    let (events, written) = publishing(&kit);
    let refused = events.publish(&publisher(), publications, |_| None).await;
    assert!(written.lock().unwrap().is_empty(), "all or nothing");
    assert!(kit.wakeups.woken().is_empty());
    match refused {
        Err(PublishEventsError::Refused(refusals)) => refusals
            .into_iter()
            .map(|refusal| (refusal.index, refusal.member, refusal.code))
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_batch_is_one_write_in_order_and_wakes_the_sequencer() {
    let kit = kit();
    let (events, written) = publishing(&kit);
    let batch = vec![
        publication("app.first", json!({ "b": 1, "a": [null] })),
        publication("app.second", json!(null)),
    ];
    let mut told = Vec::new();
    let ids = events
        .publish(&publisher(), batch, |ids| {
            told.extend_from_slice(ids);
            None
        })
        .await
        .unwrap();
    assert_eq!(told, ids, "the answer is made of the same ids");
    let written = written.lock().unwrap();
    let [effects] = written.as_slice() else {
        panic!("{written:?}")
    };
    assert_eq!(effects.events.iter().map(|event| event.id).collect::<Vec<_>>(), ids);
    let first = &effects.events[0];
    assert_eq!(first.data.as_deref(), Some("{\"a\":[null],\"b\":1}"), "compact");
    assert_eq!(
        (first.user_id, first.actor, first.client_id),
        (user_in(1), Actor::User(user_in(1)), false)
    );
    assert_eq!(effects.events[1].data.as_deref(), Some("null"));
    assert_eq!(kit.wakeups.woken(), [Wakeup::Written]);
}

#[tokio::test]
async fn each_refusal_names_its_event_and_member() {
    let long = "x".repeat(MAX_DATA_BYTES - 2);
    let batch = vec![
        publication("app.fits", json!(long)),
        publication("app.too_long", json!(format!("{long}x"))),
        publication("user.registered", json!(1)),
        publication("App.Wrong", json!(1)),
        Publication {
            subject: Some("line\nbreak".to_owned()),
            ..publication("app.a", json!(1))
        },
        Publication {
            subject: Some("x".repeat(257)),
            ..publication("app.a", json!(1))
        },
        Publication {
            subject: Some("ä".repeat(256)),
            ..publication("app.a", json!(1))
        },
    ];
    assert_eq!(
        refusals(batch).await,
        [
            (Some(1), Some("data".into()), "length"),
            (Some(2), Some("type".into()), "prefix"),
            (Some(3), Some("type".into()), "format"),
            (Some(4), Some("subject".into()), "length"),
            (Some(5), Some("subject".into()), "length"),
        ]
    );
}

#[tokio::test]
async fn a_batch_has_its_bounds() {
    assert_eq!(refusals(vec![]).await, [(None, None, "length")]);
    assert_eq!(
        refusals(vec![publication("app.a", json!(1)); 1_001]).await,
        [(None, None, "length")]
    );
    let full = publication("app.a", json!("x".repeat(MAX_DATA_BYTES - 2)));
    assert_eq!(refusals(vec![full.clone(); 65]).await, [(None, None, "length")]);
    assert_eq!(
        refusals(vec![publication("no", json!(1)); 1_000]).await.len(),
        MOST_REFUSALS
    );
    let (events, _) = publishing(&kit());
    assert!(
        events.publish(&publisher(), vec![full; 64], |_| None).await.is_ok(),
        "4 MiB in all"
    );
    let thousand = vec![publication("app.a", json!(1)); 1_000];
    assert_eq!(
        events.publish(&publisher(), thousand, |_| None).await.unwrap().len(),
        1_000
    );
}

#[tokio::test]
async fn an_id_of_the_clients_is_one_event() {
    let id = Uuid::from_u128(77);
    let chosen = |data| Publication {
        id: Some(id),
        ..publication("app.a", data)
    };
    let (events, written) = publishing(&kit());
    let ids = events
        .publish(&publisher(), vec![chosen(json!(1)), chosen(json!(1))], |_| None)
        .await
        .unwrap();
    assert_eq!(ids, [EventId::new(id); 2]);
    let effects = written.lock().unwrap().remove(0);
    assert_eq!(effects.events.len(), 1, "the same content once");
    assert!(effects.events[0].client_id);
    let other = vec![publication("app.a", json!(1)), chosen(json!(1)), chosen(json!(2))];
    let refused = events.publish(&publisher(), other, |_| None).await;
    assert!(matches!(refused, Err(PublishEventsError::IdTaken(2))), "{refused:?}");
}

#[tokio::test]
async fn what_the_store_refuses_is_told_by_its_place() {
    let kit = kit();
    let mut store = MockEventStore::new();
    store
        .expect_append()
        .times(1)
        .returning(|_| Err(EffectsError::EventIdTaken(EventId::new(Uuid::from_u128(77)))));
    store.expect_append().times(1).returning(|_| Err(away().into()));
    let events = Events::new(parts(&kit, Arc::new(store), World::with([])));
    let chosen = Publication {
        id: Some(Uuid::from_u128(77)),
        ..publication("app.a", json!(1))
    };
    let batch = vec![publication("app.a", json!(1)), chosen];
    let refused = events.publish(&publisher(), batch.clone(), |_| None).await;
    assert!(matches!(refused, Err(PublishEventsError::IdTaken(1))), "{refused:?}");
    let refused = events.publish(&publisher(), batch, |_| None).await;
    assert!(
        matches!(refused, Err(PublishEventsError::Effects(EffectsError::Backend(_)))),
        "{refused:?}"
    );
    assert!(kit.wakeups.woken().is_empty());
}

#[tokio::test]
async fn the_plan_bounds_the_events_of_a_minute() {
    let kit = kit();
    let mut limiter = MockRateLimiter::new();
    limiter.expect_take().times(1).returning(|key, rule, cost, _| {
        assert_eq!(
            (key, rule.limit, cost),
            (format!("events {}", user_in(1)).as_str(), 3, 2)
        );
        let wait = Duration::from_secs(40);
        Ok(domain::limit::RateDecision {
            allowed: false,
            remaining: 1,
            retry_after: wait,
            reset_after: wait,
        })
    });
    let limited = EventsParts {
        limiter: Arc::new(limiter),
        tiers: tiers(3),
        limits_enabled: true,
        ..parts(&kit, Arc::new(MockEventStore::new()), World::with([]))
    };
    let events = Events::new(limited);
    let refused = events
        .publish(&publisher(), vec![publication("app.a", json!(1)); 2], |_| None)
        .await;
    assert!(
        matches!(refused, Err(PublishEventsError::Throttled(ThrottleError::TooMany(wait))) if wait.as_secs() == 40),
        "{refused:?}"
    );
    let refused = events
        .publish(&publisher(), vec![publication("app.a", json!(1)); 4], |_| None)
        .await;
    assert!(matches!(refused, Err(PublishEventsError::AboveRate(3))), "{refused:?}");
}
