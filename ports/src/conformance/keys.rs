//! Scenarios for [`SigningKeyRepository`](crate::SigningKeyRepository).

use domain::id::UserId;
use domain::token::{KeyStatus, SigningKey};
use futures_util::future::join_all;

use super::samples::{at, uuid};
use super::stores::{ALL_SEEN, NONE_SEEN, Stores, witnesses};
use crate::Effects;

/// One test for each scenario; the fixture is a future of `Option<(stores::Stores, guard)>`.
#[macro_export]
macro_rules! signing_key_repository_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            keys,
            [
                every_field_round_trips_oldest_first,
                of_many_first_keys_one_is_stored,
                a_key_that_is_not_the_first_is_not_stored_as_such,
                a_taken_id_is_refused,
                a_transition_is_made_from_its_status_alone,
                becoming_active_retires_the_active_one,
                of_many_that_become_active_one_stays,
            ]
        );
    };
}

fn key(status: KeyStatus, second: i64) -> SigningKey {
    SigningKey {
        kid: format!("k4.pid.{}", uuid().simple()),
        public: format!("k4.public.{}", uuid().simple()),
        sealed_secret: vec![0, 255, 1, 254],
        status,
        created_at: at(second),
        activates_at: at(second + 600),
        retired_at: None,
    }
}

async fn insert(stores: &Stores, key: &SigningKey) {
    assert!(
        stores
            .keys
            .insert(key, false, &Effects::none())
            .await
            .expect("inserted")
    );
}

async fn transition(stores: &Stores, key: &SigningKey, from: KeyStatus, to: KeyStatus, second: i64) -> bool {
    stores
        .keys
        .transition(&key.kid, from, to, at(second), &Effects::none())
        .await
        .expect("an answer")
}

async fn stored(stores: &Stores, key: &SigningKey) -> SigningKey {
    let keys = stores.keys.list().await.expect("the keys");
    keys.into_iter()
        .find(|stored| stored.kid == key.kid)
        .expect("the key is there")
}

/// All of a key, whatever its status.
pub async fn every_field_round_trips_oldest_first(stores: &Stores) {
    assert_eq!(stores.keys.list().await.expect("the keys"), []);
    let oldest = SigningKey {
        retired_at: Some(at(50)),
        ..key(KeyStatus::Revoked, 1)
    };
    let middle = SigningKey {
        retired_at: Some(at(60)),
        ..key(KeyStatus::Retiring, 2)
    };
    let (newer, newest) = (key(KeyStatus::Active, 3), key(KeyStatus::Pending, 4));
    for key in [&newest, &middle, &oldest, &newer] {
        insert(stores, key).await;
    }
    assert_eq!(
        stores.keys.list().await.expect("the keys"),
        [oldest, middle, newer, newest]
    );
}

/// Many nodes start at once on a new installation.
pub async fn of_many_first_keys_one_is_stored(stores: &Stores) {
    let keys: Vec<SigningKey> = (0..6).map(|_| key(KeyStatus::Active, 1)).collect();
    let none = Effects::none();
    let stored = join_all(keys.iter().map(|key| stores.keys.insert(key, true, &none))).await;
    let stored: Vec<bool> = stored.into_iter().map(|result| result.expect("an answer")).collect();
    assert_eq!(stored.iter().filter(|stored| **stored).count(), 1, "{stored:?}");
    let winner = keys
        .into_iter()
        .zip(stored)
        .find(|(_, stored)| *stored)
        .expect("a winner")
        .0;
    assert_eq!(stores.keys.list().await.expect("the keys"), [winner]);
}

/// Whatever the status of the one that is there; its effects are not written.
pub async fn a_key_that_is_not_the_first_is_not_stored_as_such(stores: &Stores) {
    let owner = UserId::SYSTEM;
    let (first, effects) = (key(KeyStatus::Revoked, 1), witnesses(owner));
    assert!(stores.keys.insert(&first, true, &effects).await.expect("an answer"));
    assert_eq!(stores.seen(owner, &effects).await, ALL_SEEN);
    let effects = witnesses(owner);
    assert!(
        !stores
            .keys
            .insert(&key(KeyStatus::Active, 2), true, &effects)
            .await
            .expect("an answer")
    );
    assert_eq!(stores.keys.list().await.expect("the keys"), [first]);
    assert_eq!(stores.seen(owner, &effects).await, NONE_SEEN);
}

/// The stored key stays as it was.
pub async fn a_taken_id_is_refused(stores: &Stores) {
    let first = key(KeyStatus::Pending, 1);
    insert(stores, &first).await;
    let second = SigningKey {
        kid: first.kid.clone(),
        ..key(KeyStatus::Pending, 2)
    };
    assert!(stores.keys.insert(&second, false, &Effects::none()).await.is_err());
    assert_eq!(stores.keys.list().await.expect("the keys"), [first]);
}

/// From another one, or for an unknown key, nothing happens and no effects are written.
pub async fn a_transition_is_made_from_its_status_alone(stores: &Stores) {
    let (active, pending) = (key(KeyStatus::Active, 1), key(KeyStatus::Pending, 2));
    insert(stores, &active).await;
    insert(stores, &pending).await;
    let before = stores.keys.list().await.expect("the keys");
    let unknown = key(KeyStatus::Pending, 3);
    for (key, from, to) in [
        (&pending, KeyStatus::Retiring, KeyStatus::Active),
        (&unknown, KeyStatus::Pending, KeyStatus::Active),
        (&active, KeyStatus::Retiring, KeyStatus::Revoked),
    ] {
        let effects = witnesses(UserId::SYSTEM);
        let moved = stores
            .keys
            .transition(&key.kid, from, to, at(100), &effects)
            .await
            .expect("an answer");
        assert!(!moved);
        assert_eq!(
            stores.keys.list().await.expect("the keys"),
            before,
            "the active one is not retired either"
        );
        assert_eq!(stores.seen(UserId::SYSTEM, &effects).await, NONE_SEEN);
    }
    let effects = witnesses(UserId::SYSTEM);
    let (from, to) = (KeyStatus::Pending, KeyStatus::Revoked);
    assert!(
        stores
            .keys
            .transition(&pending.kid, from, to, at(100), &effects)
            .await
            .expect("an answer")
    );
    assert_eq!(stored(stores, &pending).await.status, KeyStatus::Revoked);
    assert_eq!(stores.seen(UserId::SYSTEM, &effects).await, ALL_SEEN);
}

/// In one step, with the moment at which the old one stopped signing and the new one began.
pub async fn becoming_active_retires_the_active_one(stores: &Stores) {
    let (old, new) = (key(KeyStatus::Active, 1), key(KeyStatus::Pending, 2));
    insert(stores, &old).await;
    insert(stores, &new).await;
    assert!(transition(stores, &new, KeyStatus::Pending, KeyStatus::Active, 700).await);
    let retired = SigningKey {
        status: KeyStatus::Retiring,
        retired_at: Some(at(700)),
        ..old
    };
    let active = SigningKey {
        status: KeyStatus::Active,
        activates_at: at(700),
        ..new
    };
    assert_eq!(stores.keys.list().await.expect("the keys"), [retired.clone(), active]);
    assert!(transition(stores, &retired, KeyStatus::Retiring, KeyStatus::Revoked, 1_700).await);
    assert_eq!(
        stored(stores, &retired).await,
        SigningKey {
            status: KeyStatus::Revoked,
            ..retired
        }
    );
}

/// There is never more than one active key, and each that was is retiring.
pub async fn of_many_that_become_active_one_stays(stores: &Stores) {
    let keys: Vec<SigningKey> = (0..6).map(|n| key(KeyStatus::Pending, n)).collect();
    for key in &keys {
        insert(stores, key).await;
    }
    let moved = join_all(
        keys.iter()
            .map(|key| transition(stores, key, KeyStatus::Pending, KeyStatus::Active, 700)),
    )
    .await;
    assert!(moved.into_iter().all(|moved| moved));
    let mut count = [0; 2];
    for key in stores.keys.list().await.expect("the keys") {
        match key.status {
            KeyStatus::Active => count[0] += 1,
            KeyStatus::Retiring => count[1] += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(count, [1, 5]);
}
