//! The scenarios of [`EventPublisher`](crate::EventPublisher), seen through an [`EventSubscriber`](crate::EventSubscriber).

use std::sync::Arc;
use std::time::Duration;

use domain::event::{Actor, Event, LoggedEvent, NewEvent};
use domain::id::{EventId, UserId};
use domain::time::Timestamp;
use futures_util::StreamExt as _;
use uuid::Uuid;

use crate::{EventPublisher, EventSubscriber, EventSubscription};

/// One named test per scenario. The fixture is a future of `Option<((publisher, subscriber to it), guard)>`.
#[macro_export]
macro_rules! event_publisher_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            event_publisher,
            [
                delivers_every_event,
                keeps_the_order_within_each_user,
                publishes_to_nobody,
                publishes_nothing,
                tells_whether_anybody_follows
            ]
        );
    };
}

/// The event of that user at that position.
pub fn event(user: u128, position: u64) -> Arc<LoggedEvent> {
    let user_id = UserId::new(Uuid::from_u128(user));
    let event = Event::new(NewEvent {
        id: EventId::new(Uuid::from_u128((user << 64) | u128::from(position))),
        user_id,
        event_type: "app.sampled".parse().expect("a type"),
        subject: None,
        time: Timestamp::from_seconds(1_800_000_000),
        data: format!("{{\"position\":{position}}}"),
        salt: [7; 16],
        actor: Actor::User(user_id),
        impersonator: None,
        request_id: None,
        client_id: false,
    });
    Arc::new(LoggedEvent {
        shard: event.shard(),
        position,
        hash: [0; 32],
        event,
    })
}

/// Subscribes to the user of that number.
pub fn subscribe(subscriber: &dyn EventSubscriber, user: u128) -> EventSubscription {
    subscriber.subscribe(UserId::new(Uuid::from_u128(user)))
}

/// The position of the next event; none at the end.
///
/// # Panics
/// When neither comes.
pub async fn next(subscription: &mut EventSubscription) -> Option<u64> {
    let next = tokio::time::timeout(Duration::from_secs(20), subscription.next());
    next.await.expect("an event, or the end").map(|event| event.position)
}

/// As it was published, in every part.
pub async fn delivers_every_event<P: EventPublisher, S: EventSubscriber>((publisher, subscriber): &(P, S)) {
    let mut subscription = subscribe(subscriber, 1);
    publisher.publish(&[event(1, 1)]).await.expect("it is published");
    let delivered = tokio::time::timeout(Duration::from_secs(20), subscription.next())
        .await
        .expect("an event");
    assert_eq!(delivered.as_deref(), Some(&*event(1, 1)));
}

/// Two users' events mixed, over several calls.
pub async fn keeps_the_order_within_each_user<P: EventPublisher, S: EventSubscriber>((publisher, subscriber): &(P, S)) {
    let mut subscriptions = [subscribe(subscriber, 1), subscribe(subscriber, 2)];
    for start in [1, 11, 21] {
        let batch: Vec<_> = (start..start + 10)
            .flat_map(|position| [event(1, position), event(2, position)])
            .collect();
        publisher.publish(&batch).await.expect("they are published");
    }
    for subscription in &mut subscriptions {
        for position in 1..=30 {
            assert_eq!(next(subscription).await, Some(position));
        }
    }
}

/// That nobody listens is no failure.
pub async fn publishes_to_nobody<P: EventPublisher, S: EventSubscriber>((publisher, subscriber): &(P, S)) {
    drop(subscribe(subscriber, 1));
    publisher
        .publish(&[event(1, 1), event(2, 1)])
        .await
        .expect("they are published");
}

/// An empty batch is well.
pub async fn publishes_nothing<P: EventPublisher, S: EventSubscriber>((publisher, subscriber): &(P, S)) {
    let mut subscription = subscribe(subscriber, 1);
    publisher.publish(&[]).await.expect("it is published");
    publisher.publish(&[event(1, 1)]).await.expect("it is published");
    assert_eq!(next(&mut subscription).await, Some(1));
}

/// Somebody follows from the subscription on until it is dropped; an adapter that cannot tell says yes throughout.
pub async fn tells_whether_anybody_follows<P: EventPublisher, S: EventSubscriber>((publisher, subscriber): &(P, S)) {
    let before = publisher.has_audience();
    let subscription = subscribe(subscriber, 1);
    assert!(publisher.has_audience(), "a subscription is an audience");
    drop(subscription);
    assert_eq!(publisher.has_audience(), before);
}
