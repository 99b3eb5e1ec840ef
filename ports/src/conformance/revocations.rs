//! Scenarios for [`RevocationFeed`](crate::RevocationFeed).

use domain::id::{SessionId, UserId};
use domain::session::{Revocation, RevokedSubject};
use futures_util::future::join_all;

use super::samples::{at, uuid};
use super::stores::Stores;
use crate::{Effects, FedRevocation};

/// One test for each scenario; the fixture is a future of `Option<(stores::Stores, guard)>`.
#[macro_export]
macro_rules! revocation_feed_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            revocations,
            [
                every_kind_round_trips_in_order,
                only_what_came_after_a_sequence_is_fed,
                what_is_of_no_more_use_is_not_fed,
                every_committed_row_of_many_writers_is_seen,
                a_change_is_noticed,
                pruning_removes_what_is_over_and_keeps_to_its_limit,
            ]
        );
    };
}

fn revocation(subject: RevokedSubject) -> Revocation {
    Revocation {
        subject,
        at: at(10),
        expires_at: at(900),
    }
}

fn session() -> RevokedSubject {
    RevokedSubject::Session(SessionId::new(uuid()))
}

async fn write(stores: &Stores, revocations: Vec<Revocation>) {
    stores
        .tokens
        .issue(&Effects {
            revocations,
            ..Effects::none()
        })
        .await
        .expect("written");
}

async fn feed(stores: &Stores, after: i64) -> Vec<FedRevocation> {
    stores.revocations.after(after, at(100)).await.expect("the feed")
}

/// User, session and epoch, in the order in which one change wrote them.
pub async fn every_kind_round_trips_in_order(stores: &Stores) {
    let user = UserId::new(uuid());
    let subjects = [
        RevokedSubject::User(user),
        session(),
        RevokedSubject::Epoch(user, 0),
        RevokedSubject::Epoch(user, 12),
    ];
    let written = subjects.map(revocation).to_vec();
    write(stores, written.clone()).await;
    let fed = feed(stores, 0).await;
    assert_eq!(fed.iter().map(|fed| fed.revocation).collect::<Vec<_>>(), written);
    assert!(
        fed.windows(2).all(|pair| pair[0].sequence < pair[1].sequence),
        "{fed:?}"
    );
}

/// A poll goes on where the one before it ended.
pub async fn only_what_came_after_a_sequence_is_fed(stores: &Stores) {
    assert_eq!(feed(stores, 0).await, []);
    write(stores, vec![revocation(session()), revocation(session())]).await;
    let first = feed(stores, 0).await;
    let last = first.last().expect("two rows").sequence;
    assert_eq!(feed(stores, first[0].sequence).await, first[1..]);
    assert_eq!(feed(stores, last).await, []);
    let next = revocation(session());
    write(stores, vec![next]).await;
    assert_eq!(
        feed(stores, last)
            .await
            .iter()
            .map(|fed| fed.revocation)
            .collect::<Vec<_>>(),
        [next]
    );
}

/// From the moment at which the last token that it concerns is over.
pub async fn what_is_of_no_more_use_is_not_fed(stores: &Stores) {
    write(stores, vec![revocation(session())]).await;
    let count = async |second| stores.revocations.after(0, at(second)).await.expect("the feed").len();
    assert_eq!((count(899).await, count(900).await), (1, 0));
}

/// However they interleave.
pub async fn every_committed_row_of_many_writers_is_seen(stores: &Stores) {
    let subjects: Vec<RevokedSubject> = (0..30).map(|_| session()).collect();
    join_all(
        subjects
            .chunks(3)
            .map(|some| write(stores, some.iter().copied().map(revocation).collect())),
    )
    .await;
    let mut seen: Vec<RevokedSubject> = feed(stores, 0)
        .await
        .into_iter()
        .map(|fed| fed.revocation.subject)
        .collect();
    let mut expected = subjects;
    let key = |subject: &RevokedSubject| format!("{subject:?}");
    seen.sort_by_key(key);
    expected.sort_by_key(key);
    assert_eq!(seen, expected);
}

/// The first answer is yes, since nothing is known; and so is the one after each change. A backend that cannot tell says yes always.
pub async fn a_change_is_noticed(stores: &Stores) {
    let changed = async || stores.revocations.changed().await.expect("an answer");
    assert!(changed().await);
    for _ in 0..3 {
        write(stores, vec![revocation(session())]).await;
        assert!(changed().await);
        changed().await;
    }
}

/// What is of use stays.
pub async fn pruning_removes_what_is_over_and_keeps_to_its_limit(stores: &Stores) {
    let over = |second: i64| Revocation {
        expires_at: at(second),
        ..revocation(session())
    };
    let kept = over(201);
    write(stores, vec![over(100), over(150), kept, over(200)]).await;
    let prune = async || stores.revocations.prune(at(200), 2).await.expect("pruned");
    assert_eq!((prune().await, prune().await, prune().await), (2, 1, 0));
    let left = stores.revocations.after(0, at(0)).await.expect("the feed");
    assert_eq!(left.iter().map(|fed| fed.revocation).collect::<Vec<_>>(), [kept]);
}
