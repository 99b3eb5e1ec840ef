//! Scenarios for [`UsageRepository`](crate::UsageRepository).

use std::sync::Arc;

use domain::id::{EventId, UserId};
use domain::time::Timestamp;
use futures_util::future::join_all;

use super::samples::{at, user, uuid};
use crate::{InboxMark, UsageEntry, UsageFigure, UsageRepository};

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
                a_batch_counts_each_event_once_for_its_own_user_and_month,
                a_batch_that_fails_leaves_no_mark,
                many_at_once_add_up,
                batches_that_overlap_count_each_event_once,
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

fn entry(user: UserId, at: Timestamp, figures: &[UsageFigure]) -> UsageEntry {
    UsageEntry {
        user,
        at,
        figures: figures.to_vec(),
        mark: InboxMark {
            group: "usage".to_owned(),
            event_id: EventId::new(uuid()),
            at,
        },
    }
}

async fn add_many(subject: &Subject, entries: &[UsageEntry]) -> Vec<bool> {
    subject.usage.add_many(entries).await.expect("added")
}

async fn add(subject: &Subject, user: UserId, at: Timestamp, figures: &[UsageFigure]) {
    assert_eq!(add_many(subject, &[entry(user, at, figures)]).await, [true]);
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
    let user = user();
    let once = [entry(user, at(0), &[figure("events", 1)])];
    assert_eq!(add_many(subject, &once).await, [true]);
    assert_eq!(add_many(subject, &once).await, [false]);
    assert_eq!(get(subject, user, at(0)).await, [figure("events", 1)]);
}

/// Beside events that were counted before, that come twice, that count nothing and that are of another group.
pub async fn a_batch_counts_each_event_once_for_its_own_user_and_month(subject: &Subject) {
    let (user, other) = (user(), user());
    assert_eq!(add_many(subject, &[]).await, [] as [bool; 0]);
    let before = entry(user, at(0), &[figure("events", 1)]);
    add_many(subject, std::slice::from_ref(&before)).await;
    let nothing = entry(user, at(0), &[]);
    let twice = entry(user, at(1), &[figure("events", 10), figure("bytes", 7)]);
    let mut another_group = before.clone();
    another_group.mark.group = "others".to_owned();
    let mut batch = vec![
        before,
        nothing.clone(),
        twice.clone(),
        entry(other, at(2), &[figure("events", 100)]),
        twice,
        entry(user, at(31 * DAY), &[figure("events", 1_000)]),
        another_group,
    ];
    // More than any statement takes in one piece.
    batch.extend((0..300).map(|_| entry(other, at(3), &[figure("mails", 1)])));
    let added = add_many(subject, &batch).await;
    assert_eq!(added[..7], [false, true, true, true, false, true, true]);
    assert!(added.len() == batch.len() && added[7..].iter().all(|added| *added));
    assert_eq!(
        get(subject, user, at(0)).await,
        [figure("bytes", 7), figure("events", 12)]
    );
    assert_eq!(get(subject, user, at(31 * DAY)).await, [figure("events", 1_000)]);
    assert_eq!(
        get(subject, other, at(0)).await,
        [figure("events", 100), figure("mails", 300)]
    );
    assert_eq!(add_many(subject, &[nothing]).await, [false], "its mark was written too");
}

/// An amount that no store holds refuses the whole batch, and what was in it can be counted later.
pub async fn a_batch_that_fails_leaves_no_mark(subject: &Subject) {
    let user = user();
    let good = entry(user, at(0), &[figure("events", 1)]);
    let bad = entry(user, at(0), &[figure("bytes", u64::MAX)]);
    subject
        .usage
        .add_many(&[good.clone(), bad])
        .await
        .expect_err("an amount beyond 63 bits");
    assert_eq!(get(subject, user, at(0)).await, vec![]);
    assert_eq!(add_many(subject, &[good]).await, [true]);
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

/// As two workers make them when one lost its lease and does not know it yet.
pub async fn batches_that_overlap_count_each_event_once(subject: &Subject) {
    let users = [user(), user()];
    let entries: Vec<UsageEntry> = (0..60)
        .map(|number| entry(users[number % 2], at(0), &[figure("a", 1), figure("b", 2)]))
        .collect();
    let mut reversed = entries.clone();
    reversed.reverse();
    let batches = [&entries[..], &reversed, &entries[20..], &reversed[10..40]];
    let added = join_all(batches.iter().map(|batch| add_many(subject, batch))).await;
    assert_eq!(added.concat().into_iter().filter(|added| *added).count(), 60);
    for user in users {
        assert_eq!(get(subject, user, at(0)).await, [figure("a", 30), figure("b", 60)]);
    }
}
