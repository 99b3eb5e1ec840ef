//! Scenarios for [`SignInLedger`](crate::SignInLedger).

use futures_util::future::join_all;

use super::samples::at;
use super::stores::Stores;

/// One test for each scenario; the fixture is a future of `Option<(stores::Stores, guard)>`.
#[macro_export]
macro_rules! sign_in_ledger_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            signin,
            [
                failures_are_counted_by_account_and_utc_day,
                no_failure_of_many_at_once_is_lost,
                a_client_is_known_from_its_sign_in_on,
                a_client_is_known_to_its_account_alone,
                pruning_removes_what_is_older_and_keeps_to_its_limit,
            ]
        );
    };
}

const ALICE: [u8; 32] = [0xA1; 32];
const BOB: [u8; 32] = [0xB0; 32];
const LAPTOP: [u8; 32] = [0; 32];
const PHONE: [u8; 32] = [0xFF; 32];
const DAY: i64 = 86_400;

/// The scenarios begin at midnight, so the day ends with its last second.
pub async fn failures_are_counted_by_account_and_utc_day(stores: &Stores) {
    let ledger = &stores.sign_ins;
    assert_eq!(ledger.failures(&ALICE, at(0)).await.expect("an answer"), 0);
    for (second, expected) in [(0, 1), (10, 2), (DAY - 1, 3), (DAY, 1)] {
        assert_eq!(
            ledger.record_failure(&ALICE, at(second)).await.expect("counted"),
            expected
        );
    }
    assert_eq!(ledger.record_failure(&BOB, at(5)).await.expect("counted"), 1);
    assert_eq!(ledger.failures(&ALICE, at(DAY - 1)).await.expect("an answer"), 3);
    assert_eq!(ledger.failures(&ALICE, at(DAY)).await.expect("an answer"), 1);
    assert_eq!(ledger.failures(&ALICE, at(2 * DAY)).await.expect("an answer"), 0);
}

/// Each caller gets a count of its own.
pub async fn no_failure_of_many_at_once_is_lost(stores: &Stores) {
    let results = join_all((0..20).map(|_| stores.sign_ins.record_failure(&ALICE, at(1)))).await;
    let mut counts: Vec<u64> = results.into_iter().map(|result| result.expect("counted")).collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=20).collect::<Vec<u64>>());
}

/// A later sign-in counts; an older one that is written late does not push it back.
pub async fn a_client_is_known_from_its_sign_in_on(stores: &Stores) {
    let ledger = &stores.sign_ins;
    let knows = async |since| ledger.knows(&ALICE, &LAPTOP, at(since)).await.expect("an answer");
    assert!(!knows(0).await);
    ledger.remember(&ALICE, &LAPTOP, at(100)).await.expect("remembered");
    assert!(knows(100).await);
    assert!(!knows(101).await);
    ledger.remember(&ALICE, &LAPTOP, at(200)).await.expect("remembered");
    ledger.remember(&ALICE, &LAPTOP, at(150)).await.expect("remembered");
    assert!(knows(200).await);
}

/// Neither another client nor another account.
pub async fn a_client_is_known_to_its_account_alone(stores: &Stores) {
    let ledger = &stores.sign_ins;
    ledger.remember(&ALICE, &LAPTOP, at(100)).await.expect("remembered");
    assert!(!ledger.knows(&ALICE, &PHONE, at(0)).await.expect("an answer"));
    assert!(!ledger.knows(&BOB, &LAPTOP, at(0)).await.expect("an answer"));
    assert!(ledger.knows(&ALICE, &LAPTOP, at(0)).await.expect("an answer"));
}

/// Failures of days before, and clients that were not seen since.
pub async fn pruning_removes_what_is_older_and_keeps_to_its_limit(stores: &Stores) {
    let ledger = &stores.sign_ins;
    for (account, client) in [(&ALICE, &LAPTOP), (&ALICE, &PHONE), (&BOB, &PHONE)] {
        ledger.record_failure(account, at(1)).await.expect("counted");
        ledger.remember(account, client, at(1)).await.expect("remembered");
    }
    ledger.record_failure(&ALICE, at(DAY)).await.expect("counted");
    ledger.remember(&ALICE, &LAPTOP, at(DAY)).await.expect("remembered");
    let prune = async || ledger.prune(at(DAY), 3).await.expect("pruned");
    // Two days of failures, two clients: the third sign-in refreshed the first client.
    assert_eq!((prune().await, prune().await, prune().await), (3, 1, 0));
    assert_eq!(ledger.failures(&ALICE, at(1)).await.expect("an answer"), 0);
    assert_eq!(ledger.failures(&ALICE, at(DAY)).await.expect("an answer"), 1);
    assert!(ledger.knows(&ALICE, &LAPTOP, at(0)).await.expect("an answer"));
    assert!(!ledger.knows(&ALICE, &PHONE, at(0)).await.expect("an answer"));
}
