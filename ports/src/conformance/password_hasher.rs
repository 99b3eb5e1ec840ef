//! The scenarios of [`PasswordHasher`](crate::PasswordHasher).

use domain::password::{Password, PasswordRecord};

use crate::PasswordHasher;

/// One named test per scenario. The fixture is a future of `Option<(hasher, guard)>`, at the least cost that the scheme has.
#[macro_export]
macro_rules! password_hasher_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            password_hasher,
            [
                takes_the_right_password_alone,
                says_no_without_a_record,
                counts_every_byte,
                counts_what_follows_a_nul,
                takes_composed_and_decomposed_alike,
                salts_each_hash,
                tells_a_record_that_is_out_of_date,
                says_no_to_a_record_of_another_making,
                keeps_its_queue_empty_when_idle,
            ]
        );
    };
}

const CLIENT: &str = "192.0.2.1";

fn password(text: &str) -> Password {
    Password::parse(text).expect("a password within bounds")
}

async fn hash(hasher: &dyn PasswordHasher, text: &str) -> PasswordRecord {
    hasher.hash(CLIENT, &password(text)).await.expect("a hash")
}

async fn matches(hasher: &dyn PasswordHasher, text: &str, record: &PasswordRecord) -> bool {
    hasher
        .verify(CLIENT, &password(text), Some(record.clone()))
        .await
        .expect("an answer")
}

/// The right one, and none like it.
pub async fn takes_the_right_password_alone(hasher: &dyn PasswordHasher) {
    let record = hash(hasher, "correct horse battery").await;
    assert!(matches(hasher, "correct horse battery", &record).await);
    for wrong in [
        "",
        "correct horse battery ",
        "Correct horse battery",
        "correct horse batter",
        &record.hash,
    ] {
        assert!(!matches(hasher, wrong, &record).await, "{wrong:?} was taken");
    }
}

/// An unknown account has no right password.
pub async fn says_no_without_a_record(hasher: &dyn PasswordHasher) {
    for text in ["", "correct horse battery"] {
        assert!(!hasher.verify(CLIENT, &password(text), None).await.expect("an answer"));
    }
}

/// The longest password there is, changed at the places where schemes stop counting.
pub async fn counts_every_byte(hasher: &dyn PasswordHasher) {
    let long = "x".repeat(Password::MAX_CODE_POINTS);
    let record = hash(hasher, &long).await;
    assert!(matches(hasher, &long, &record).await);
    for at in [0, 55, 71, 72, 73, 127, 128, 255] {
        let mut changed = long.clone();
        changed.replace_range(at..=at, "y");
        assert!(!matches(hasher, &changed, &record).await, "byte {at} does not count");
    }
    assert!(!matches(hasher, &long[..255], &record).await);
    assert!(!matches(hasher, &long[..72], &record).await);
}

/// A NUL ends nothing.
pub async fn counts_what_follows_a_nul(hasher: &dyn PasswordHasher) {
    let record = hash(hasher, "a").await;
    assert!(!matches(hasher, "a\0a", &record).await);
    let record = hash(hasher, "a\0b").await;
    assert!(matches(hasher, "a\0b", &record).await);
    assert!(!matches(hasher, "a\0c", &record).await);
    assert!(!matches(hasher, "a", &record).await);
}

/// One keyboard sends an accent with its letter, another after it, a third in full width.
pub async fn takes_composed_and_decomposed_alike(hasher: &dyn PasswordHasher) {
    let record = hash(hasher, "caf\u{e9} zürich").await;
    assert!(matches(hasher, "cafe\u{301} zu\u{308}rich", &record).await);
    assert!(matches(hasher, "\u{ff43}af\u{e9} zürich", &record).await);
    assert!(!matches(hasher, "cafe zurich", &record).await);
}

/// Two users with one password cannot be told.
pub async fn salts_each_hash(hasher: &dyn PasswordHasher) {
    assert_ne!(
        hash(hasher, "same for both").await.hash,
        hash(hasher, "same for both").await.hash
    );
}

/// A new record is as records are to be; each part that says otherwise shows.
pub async fn tells_a_record_that_is_out_of_date(hasher: &dyn PasswordHasher) {
    let record = hash(hasher, "correct horse battery").await;
    assert!(!hasher.is_outdated(&record));
    assert!(hasher.is_outdated(&PasswordRecord {
        scheme: "plain".to_owned(),
        ..record.clone()
    }));
    assert!(hasher.is_outdated(&PasswordRecord {
        cost: record.cost + 1,
        ..record.clone()
    }));
    assert!(hasher.is_outdated(&PasswordRecord {
        pepper_id: "other".to_owned(),
        ..record
    }));
}

/// Another scheme, another pepper, or no hash at all: no, and no failure that would tell the account apart.
pub async fn says_no_to_a_record_of_another_making(hasher: &dyn PasswordHasher) {
    let record = hash(hasher, "correct horse battery").await;
    for foreign in [
        PasswordRecord {
            scheme: "plain".to_owned(),
            ..record.clone()
        },
        PasswordRecord {
            pepper_id: "other".to_owned(),
            ..record.clone()
        },
        PasswordRecord {
            hash: String::new(),
            ..record.clone()
        },
        PasswordRecord {
            hash: "correct horse battery".to_owned(),
            ..record
        },
    ] {
        assert!(!matches(hasher, "correct horse battery", &foreign).await);
    }
}

/// What was answered waits no more.
pub async fn keeps_its_queue_empty_when_idle(hasher: &dyn PasswordHasher) {
    hash(hasher, "correct horse battery").await;
    let stats = hasher.queue();
    assert_eq!((stats.waiting, stats.shed), (0, 0));
    assert!(stats.capacity > 0);
}
