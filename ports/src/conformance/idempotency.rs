//! Scenarios for [`IdempotencyStore`](crate::IdempotencyStore).

use std::time::Duration;

use domain::id::UserId;
use futures_util::future::join_all;

use super::samples::{at, uuid};
use super::stores::Stores;
use crate::{Begun, Effects, IdempotencyScope, StoredAnswer};

/// One test for each scenario; the fixture is a future of `Option<(stores::Stores, guard)>`.
#[macro_export]
macro_rules! idempotency_store_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            idempotency,
            [
                a_request_is_new_then_in_flight_then_answered,
                another_content_under_the_key_is_told,
                scopes_do_not_concern_each_other,
                of_many_at_once_one_is_new,
                a_request_that_died_is_taken_over_by_its_like_once,
                what_is_too_old_counts_as_absent,
                a_released_request_is_new_again_but_an_answered_one_stays,
                pruning_removes_what_is_older_and_keeps_to_its_limit,
            ]
        );
    };
}

const ONE: [u8; 32] = [1; 32];
const TWO: [u8; 32] = [2; 32];

fn scope() -> IdempotencyScope {
    IdempotencyScope {
        user_id: UserId::new(uuid()),
        route: "POST /v1/files".to_owned(),
        key: "key „1“".to_owned(),
    }
}

async fn begin(stores: &Stores, scope: &IdempotencyScope, content: &[u8; 32], second: i64) -> Begun {
    let (lock, keep) = (Duration::from_secs(60), Duration::from_secs(1_000));
    stores
        .idempotency
        .begin(scope, content, at(second), lock, keep)
        .await
        .expect("an answer")
}

async fn answer(stores: &Stores, scope: &IdempotencyScope) -> StoredAnswer {
    let answer = StoredAnswer {
        scope: scope.clone(),
        status: 201,
        resources: vec![uuid().to_string()],
    };
    stores
        .tokens
        .issue(&Effects {
            answer: Some(answer.clone()),
            ..Effects::none()
        })
        .await
        .expect("answered");
    answer
}

/// And the answer is the stored one, each time.
pub async fn a_request_is_new_then_in_flight_then_answered(stores: &Stores) {
    let scope = scope();
    assert_eq!(begin(stores, &scope, &ONE, 0).await, Begun::New);
    assert_eq!(begin(stores, &scope, &ONE, 1).await, Begun::InFlight);
    let answer = answer(stores, &scope).await;
    for second in [2, 500] {
        assert_eq!(
            begin(stores, &scope, &ONE, second).await,
            Begun::Answered(answer.clone())
        );
    }
}

/// Before and after the answer.
pub async fn another_content_under_the_key_is_told(stores: &Stores) {
    let scope = scope();
    assert_eq!(begin(stores, &scope, &ONE, 0).await, Begun::New);
    assert_eq!(begin(stores, &scope, &TWO, 1).await, Begun::Reused);
    answer(stores, &scope).await;
    assert_eq!(begin(stores, &scope, &TWO, 2).await, Begun::Reused);
}

/// Another user, route or key is another request.
pub async fn scopes_do_not_concern_each_other(stores: &Stores) {
    let first = scope();
    let others = [
        IdempotencyScope {
            user_id: UserId::new(uuid()),
            ..first.clone()
        },
        IdempotencyScope {
            route: "POST /v1/events".to_owned(),
            ..first.clone()
        },
        IdempotencyScope {
            key: "key „2“".to_owned(),
            ..first.clone()
        },
    ];
    for scope in others.iter().chain([&first]) {
        assert_eq!(begin(stores, scope, &ONE, 0).await, Begun::New);
    }
}

/// The others wait for it.
pub async fn of_many_at_once_one_is_new(stores: &Stores) {
    let scope = scope();
    let results = join_all((0..8).map(|_| begin(stores, &scope, &ONE, 0))).await;
    assert_eq!(results.iter().filter(|begun| **begun == Begun::New).count(), 1);
    assert_eq!(results.iter().filter(|begun| **begun == Begun::InFlight).count(), 7);
}

/// After its lock, and not by another content: were the first one only slow, its answer would stand under the wrong content.
pub async fn a_request_that_died_is_taken_over_by_its_like_once(stores: &Stores) {
    let scope = scope();
    assert_eq!(begin(stores, &scope, &ONE, 0).await, Begun::New);
    assert_eq!(begin(stores, &scope, &ONE, 59).await, Begun::InFlight);
    assert_eq!(begin(stores, &scope, &TWO, 61).await, Begun::Reused);
    let results = join_all((0..8).map(|_| begin(stores, &scope, &ONE, 60))).await;
    assert_eq!(results.iter().filter(|begun| **begun == Begun::New).count(), 1);
    assert_eq!(
        begin(stores, &scope, &ONE, 119).await,
        Begun::InFlight,
        "the lock begins anew"
    );
}

/// Answered or not, whatever the content.
pub async fn what_is_too_old_counts_as_absent(stores: &Stores) {
    let scope = scope();
    assert_eq!(begin(stores, &scope, &ONE, 0).await, Begun::New);
    let answer = answer(stores, &scope).await;
    assert_eq!(begin(stores, &scope, &ONE, 999).await, Begun::Answered(answer));
    assert_eq!(begin(stores, &scope, &TWO, 1_000).await, Begun::New);
    assert_eq!(
        begin(stores, &scope, &TWO, 1_001).await,
        Begun::InFlight,
        "the old answer is forgotten"
    );
}

/// Releasing is idempotent.
pub async fn a_released_request_is_new_again_but_an_answered_one_stays(stores: &Stores) {
    let scope = scope();
    stores.idempotency.release(&scope).await.expect("nothing to release");
    assert_eq!(begin(stores, &scope, &ONE, 0).await, Begun::New);
    stores.idempotency.release(&scope).await.expect("released");
    assert_eq!(begin(stores, &scope, &TWO, 1).await, Begun::New);
    let answer = answer(stores, &scope).await;
    stores
        .idempotency
        .release(&scope)
        .await
        .expect("an answered one is left");
    assert_eq!(begin(stores, &scope, &TWO, 2).await, Begun::Answered(answer));
}

/// By when they were begun.
pub async fn pruning_removes_what_is_older_and_keeps_to_its_limit(stores: &Stores) {
    let scopes: Vec<IdempotencyScope> = (0..4).map(|_| scope()).collect();
    for (second, scope) in (0..).zip(&scopes) {
        assert_eq!(begin(stores, scope, &ONE, second).await, Begun::New);
    }
    let prune = async || stores.idempotency.prune(at(3), 2).await.expect("pruned");
    assert_eq!((prune().await, prune().await, prune().await), (2, 1, 0));
    assert_eq!(begin(stores, &scopes[3], &ONE, 4).await, Begun::InFlight);
    assert_eq!(begin(stores, &scopes[0], &ONE, 4).await, Begun::New);
}
