//! Scenarios for [`UsageRepository`](crate::UsageRepository).

use std::sync::Arc;

use domain::id::{EventId, UserId};
use domain::time::Timestamp;
use futures_util::future::join_all;

use super::samples::{at, user, uuid};
use crate::{Effects, EffectsError, InboxMark, UsageFigure, UsageRepository};

/// What the scenarios need: the usage alone.
pub struct Subject {
    /// The usage under test.
    pub usage: Arc<dyn UsageRepository>,
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject").finish_non_exhaustive()
    }
}

/// One test for each scenario; the fixture is a future of `Option<(usage::Subject, guard)>`.
#[macro_export]
macro_rules! usage_repository_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            usage,
            [
                figures_add_up_by_meter,
                one_meter_twice_in_a_call_adds_both,
                months_and_users_are_apart,
                an_event_that_was_counted_adds_nothing,
                many_at_once_add_up,
            ]
        );
    };
}

const DAY: i64 = 86_400;

fn figure(meter: &str, amount: u64) -> UsageFigure {
    UsageFigure {
        meter: meter.to_owned(),
        amount,
    }
}

fn counted(event_id: EventId) -> Effects {
    Effects {
        inbox: Some(InboxMark {
            group: "usage".to_owned(),
            event_id,
        }),
        ..Effects::none()
    }
}

async fn add(subject: &Subject, user: UserId, at: Timestamp, figures: &[UsageFigure]) {
    subject
        .usage
        .add(user, at, figures, &counted(EventId::new(uuid())))
        .await
        .expect("added");
}

async fn get(subject: &Subject, user: UserId, at: Timestamp) -> Vec<UsageFigure> {
    subject.usage.get(user, at).await.expect("a read")
}

/// Sums, in the order of the meters' names.
pub async fn figures_add_up_by_meter(subject: &Subject) {
    let user = user();
    assert_eq!(get(subject, user, at(0)).await, vec![]);
    add(subject, user, at(0), &[figure("mails", 1), figure("events", 2)]).await;
    add(
        subject,
        user,
        at(5),
        &[figure("events", 40), figure("bytes", 5_000_000_000)],
    )
    .await;
    add(subject, user, at(6), &[]).await;
    let expected = [figure("bytes", 5_000_000_000), figure("events", 42), figure("mails", 1)];
    assert_eq!(get(subject, user, at(9)).await, expected);
}

/// A call may name a meter more than once.
pub async fn one_meter_twice_in_a_call_adds_both(subject: &Subject) {
    let user = user();
    add(subject, user, at(0), &[figure("events", 1), figure("events", 2)]).await;
    assert_eq!(get(subject, user, at(0)).await, [figure("events", 3)]);
}

/// The month is the calendar's in UTC: January has 31 days, and its last moment is its own.
pub async fn months_and_users_are_apart(subject: &Subject) {
    let (user, other) = (user(), user());
    let last_of_january = Timestamp::from_micros(at(31 * DAY).micros() - 1);
    add(subject, user, at(0), &[figure("events", 1)]).await;
    add(subject, user, last_of_january, &[figure("events", 10)]).await;
    add(subject, user, at(31 * DAY), &[figure("events", 100)]).await;
    add(subject, other, at(0), &[figure("events", 1_000)]).await;
    assert_eq!(get(subject, user, at(15 * DAY)).await, [figure("events", 11)]);
    assert_eq!(get(subject, user, at(40 * DAY)).await, [figure("events", 100)]);
    assert_eq!(get(subject, other, at(40 * DAY)).await, vec![]);
}

/// The second delivery of an event counts nothing.
pub async fn an_event_that_was_counted_adds_nothing(subject: &Subject) {
    let (user, effects) = (user(), counted(EventId::new(uuid())));
    subject
        .usage
        .add(user, at(0), &[figure("events", 1)], &effects)
        .await
        .expect("the first");
    let again = subject.usage.add(user, at(0), &[figure("events", 1)], &effects).await;
    assert!(matches!(again, Err(EffectsError::AlreadyHandled)), "{again:?}");
    assert_eq!(get(subject, user, at(0)).await, [figure("events", 1)]);
}

/// No addition is lost, whatever order the meters are named in.
pub async fn many_at_once_add_up(subject: &Subject) {
    let user = user();
    join_all((0..24_u64).map(|number| async move {
        let mut figures = vec![figure("a", 1), figure("b", 2)];
        if number % 2 == 0 {
            figures.reverse();
        }
        add(subject, user, at(0), &figures).await;
    }))
    .await;
    assert_eq!(get(subject, user, at(0)).await, [figure("a", 24), figure("b", 48)]);
}
