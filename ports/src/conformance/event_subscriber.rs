//! The scenarios of [`EventSubscriber`](crate::EventSubscriber), fed by an [`EventPublisher`](crate::EventPublisher).

use super::event_publisher::{event, next, subscribe};
use crate::{EventPublisher, EventSubscriber};

/// One named test per scenario. The fixture is a future of `Option<((publisher, subscriber to it), guard)>`.
#[macro_export]
macro_rules! event_subscriber_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            event_subscriber,
            [
                shows_a_user_their_own_events,
                shows_events_from_now_on,
                shows_every_subscriber_the_same,
                ends_and_never_skips_when_too_slow,
                goes_on_for_others_when_one_is_too_slow,
            ]
        );
    };
}

/// No event of anybody else.
pub async fn shows_a_user_their_own_events<P: EventPublisher, S: EventSubscriber>((publisher, subscriber): &(P, S)) {
    let mut subscription = subscribe(subscriber, 1);
    publisher
        .publish(&[event(2, 1), event(3, 1), event(1, 2), event(2, 2), event(1, 5)])
        .await
        .expect("they are published");
    assert_eq!(next(&mut subscription).await, Some(2));
    assert_eq!(next(&mut subscription).await, Some(5));
}

/// What was published before is read from the log.
pub async fn shows_events_from_now_on<P: EventPublisher, S: EventSubscriber>((publisher, subscriber): &(P, S)) {
    publisher.publish(&[event(1, 1)]).await.expect("it is published");
    let mut subscription = subscribe(subscriber, 1);
    publisher.publish(&[event(1, 2)]).await.expect("it is published");
    assert_eq!(next(&mut subscription).await, Some(2));
}

/// Two devices of one user; one that goes away takes nothing from the other.
pub async fn shows_every_subscriber_the_same<P: EventPublisher, S: EventSubscriber>((publisher, subscriber): &(P, S)) {
    let (mut one, mut two) = (subscribe(subscriber, 1), subscribe(subscriber, 1));
    publisher.publish(&[event(1, 1)]).await.expect("it is published");
    assert_eq!((next(&mut one).await, next(&mut two).await), (Some(1), Some(1)));
    drop(one);
    publisher.publish(&[event(1, 2)]).await.expect("it is published");
    assert_eq!(next(&mut two).await, Some(2));
}

/// Publishing never waits for a reader: one that reads nothing gets a beginning without gaps, and then the end.
pub async fn ends_and_never_skips_when_too_slow<P: EventPublisher, S: EventSubscriber>(
    (publisher, subscriber): &(P, S),
) {
    let mut slow = subscribe(subscriber, 1);
    for position in 1..=100_000 {
        publisher.publish(&[event(1, position)]).await.expect("it is published");
    }
    let mut expected = 1;
    while let Some(position) = next(&mut slow).await {
        assert_eq!(position, expected, "events were skipped");
        expected += 1;
    }
    assert!(
        expected <= 100_000,
        "100,000 events were kept for one who does not read"
    );
}

/// A slow reader slows and ends nobody else.
pub async fn goes_on_for_others_when_one_is_too_slow<P: EventPublisher, S: EventSubscriber>(
    (publisher, subscriber): &(P, S),
) {
    let _slow = subscribe(subscriber, 1);
    let (mut same_user, mut other_user) = (subscribe(subscriber, 1), subscribe(subscriber, 2));
    for position in 1..=10_000 {
        publisher
            .publish(&[event(1, position), event(2, position)])
            .await
            .expect("they are published");
        assert_eq!(next(&mut same_user).await, Some(position));
        assert_eq!(next(&mut other_user).await, Some(position));
    }
}
