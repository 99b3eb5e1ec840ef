//! The scenarios of [`TokenKeyring`](crate::TokenKeyring), and the samples that the token suites share.

use std::time::Duration;

use domain::id::{SessionId, UserId};
use domain::tier::TierName;
use domain::time::Timestamp;
use domain::token::{Claims, KeyStatus, SigningKey};
use domain::user::Role;
use uuid::Uuid;

use crate::TokenKeyring;

/// One named test per scenario. The fixture is a future of `Option<(tokens, guard)>`; nothing is loaded yet.
#[macro_export]
macro_rules! token_keyring_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            token_keyring,
            [
                generates_what_was_asked_for,
                generates_another_pair_each_time,
                does_not_use_what_it_generated,
                publishes_the_keys_that_verify,
                takes_the_keys_in_place_of_those_before,
                keeps_the_old_keys_when_one_cannot_be_opened,
                refuses_a_key_whose_public_half_was_exchanged,
            ]
        );
    };
}

/// The issuer that the fixtures of the token suites are made for.
pub const ISSUER: &str = "urn:plinth:conformance";
/// The audience that the fixtures of the token suites are made for.
pub const AUDIENCE: &str = "urn:plinth:conformance:audience";
/// When the token suites play.
pub const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// A key in that status, made by the keyring.
pub fn key(keyring: &dyn TokenKeyring, status: KeyStatus) -> SigningKey {
    keyring.generate(status, NOW, NOW).expect("a key pair")
}

/// Claims with something in every part, good from [`NOW`] on for 15 minutes.
pub fn claims() -> Claims {
    Claims {
        subject: UserId::new(Uuid::from_u128(1)),
        tier: TierName::free(),
        role: Role::Admin,
        session: SessionId::new(Uuid::from_u128(2)),
        epoch: 42,
        scope: vec!["files:read".to_owned(), "events:write".to_owned()],
        methods: vec!["pwd".to_owned(), "otp".to_owned()],
        authenticated_at: NOW.minus(Duration::from_secs(60)),
        actor: Some(UserId::new(Uuid::from_u128(3))),
        audience: AUDIENCE.to_owned(),
        issuer: ISSUER.to_owned(),
        issued_at: NOW,
        not_before: NOW,
        expires_at: NOW.plus(Duration::from_secs(900)),
        token_id: Uuid::from_u128(4),
    }
}

/// Status and times as given, ids as PASERK writes them.
pub async fn generates_what_was_asked_for(keyring: &dyn TokenKeyring) {
    let later = NOW.plus(Duration::from_secs(600));
    let key = keyring.generate(KeyStatus::Pending, NOW, later).expect("a key pair");
    assert_eq!(
        (key.status, key.created_at, key.activates_at),
        (KeyStatus::Pending, NOW, later)
    );
    assert_eq!(key.retired_at, None);
    assert!(
        key.kid.starts_with("k4.pid.") && key.public.starts_with("k4.public."),
        "{key:?}"
    );
}

/// No two keys are alike.
pub async fn generates_another_pair_each_time(keyring: &dyn TokenKeyring) {
    let (one, two) = (key(keyring, KeyStatus::Active), key(keyring, KeyStatus::Active));
    assert_ne!(one.kid, two.kid);
    assert_ne!(one.public, two.public);
    assert_ne!(one.sealed_secret, two.sealed_secret);
}

/// A key has no effect before it is stored and loaded.
pub async fn does_not_use_what_it_generated(keyring: &dyn TokenKeyring) {
    key(keyring, KeyStatus::Active);
    assert_eq!(keyring.published(), []);
}

/// Pending, active and retiring ones with their status; a revoked one not.
pub async fn publishes_the_keys_that_verify(keyring: &dyn TokenKeyring) {
    let all = [
        KeyStatus::Retiring,
        KeyStatus::Revoked,
        KeyStatus::Active,
        KeyStatus::Pending,
    ];
    let keys = all.map(|status| key(keyring, status));
    keyring.load(&keys).expect("the keys load");
    let published = keyring.published();
    assert_eq!(published.len(), 3);
    for key in keys.iter().filter(|key| key.status != KeyStatus::Revoked) {
        let found = published
            .iter()
            .find(|published| published.kid == key.kid)
            .expect("it is published");
        assert_eq!((&found.paserk, found.status), (&key.public, key.status));
    }
}

/// Loading replaces; loading nothing leaves nothing.
pub async fn takes_the_keys_in_place_of_those_before(keyring: &dyn TokenKeyring) {
    let (one, two) = (key(keyring, KeyStatus::Active), key(keyring, KeyStatus::Active));
    for keys in [vec![one], vec![two], vec![]] {
        keyring.load(&keys).expect("the keys load");
        let expected: Vec<&str> = keys.iter().map(|key| key.kid.as_str()).collect();
        let published = keyring.published();
        assert_eq!(
            published.iter().map(|key| key.kid.as_str()).collect::<Vec<_>>(),
            expected
        );
    }
}

/// One bad key changes nothing, whatever its status.
pub async fn keeps_the_old_keys_when_one_cannot_be_opened(keyring: &dyn TokenKeyring) {
    let good = key(keyring, KeyStatus::Active);
    keyring.load(std::slice::from_ref(&good)).expect("the key loads");
    for status in [KeyStatus::Pending, KeyStatus::Active, KeyStatus::Retiring] {
        let mut bad = key(keyring, status);
        bad.sealed_secret[30] ^= 1;
        assert!(keyring.load(&[key(keyring, KeyStatus::Retiring), bad]).is_err());
        let published = keyring.published();
        assert_eq!(published.iter().map(|key| &key.kid).collect::<Vec<_>>(), [&good.kid]);
    }
}

/// Whoever can write to the database cannot slip in a public key: kid, public and sealed half must belong together.
pub async fn refuses_a_key_whose_public_half_was_exchanged(keyring: &dyn TokenKeyring) {
    let (ours, theirs) = (key(keyring, KeyStatus::Retiring), key(keyring, KeyStatus::Retiring));
    let exchanged = SigningKey {
        public: theirs.public.clone(),
        ..ours.clone()
    };
    let renamed = SigningKey {
        kid: theirs.kid.clone(),
        public: theirs.public.clone(),
        ..ours.clone()
    };
    let mislabelled = SigningKey {
        kid: theirs.kid,
        ..ours
    };
    for bad in [exchanged, renamed, mislabelled] {
        assert!(keyring.load(&[bad]).is_err());
    }
    assert_eq!(keyring.published(), []);
}
