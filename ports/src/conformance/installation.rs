//! Scenarios for [`InstallationRepository`](crate::InstallationRepository).

use futures_util::future::join_all;

use super::stores::Stores;
use crate::BindMasterKeyError;

/// One test for each scenario; the fixture is a future of `Option<(stores::Stores, guard)>`.
#[macro_export]
macro_rules! installation_repository_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            installation,
            [
                the_installation_stays_the_same,
                the_first_master_key_is_bound_for_good,
                of_many_master_keys_one_is_bound,
                the_bound_master_key_is_told_and_asking_binds_none,
            ]
        );
    };
}

/// Made before the first read, with an id of its own.
pub async fn the_installation_stays_the_same(stores: &Stores) {
    let first = stores.installation.get().await.expect("the installation");
    assert!(!first.id.uuid().is_nil());
    assert!(
        first.created_at.seconds() > 1_767_225_600,
        "made after the beginning of 2026: {}",
        first.created_at
    );
    stores.installation.bind_master_key(&[1; 32]).await.expect("bound");
    assert_eq!(stores.installation.get().await.expect("the installation"), first);
}

/// The same key again is welcome, another never.
pub async fn the_first_master_key_is_bound_for_good(stores: &Stores) {
    for _ in 0..2 {
        stores.installation.bind_master_key(&[1; 32]).await.expect("bound");
        let other = stores.installation.bind_master_key(&[2; 32]).await;
        assert!(matches!(other, Err(BindMasterKeyError::OtherKey)), "{other:?}");
    }
}

/// Nodes that start at once with different keys: one of them starts.
pub async fn of_many_master_keys_one_is_bound(stores: &Stores) {
    let keys: Vec<[u8; 32]> = (1..=5).map(|n| [n; 32]).collect();
    let results = join_all(keys.iter().map(|key| stores.installation.bind_master_key(key))).await;
    assert!(
        results
            .iter()
            .all(|result| matches!(result, Ok(()) | Err(BindMasterKeyError::OtherKey))),
        "{results:?}"
    );
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
}

/// None at first, however often it is asked, and then the bound one.
pub async fn the_bound_master_key_is_told_and_asking_binds_none(stores: &Stores) {
    for _ in 0..2 {
        assert_eq!(stores.installation.bound_master_key().await.expect("an answer"), None);
    }
    stores.installation.bind_master_key(&[3; 32]).await.expect("bound");
    let bound = stores.installation.bound_master_key().await.expect("an answer");
    assert_eq!(bound, Some([3; 32]));
}
