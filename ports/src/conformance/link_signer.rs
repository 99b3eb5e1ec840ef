//! The scenarios of [`LinkSigner`](crate::LinkSigner).

use std::time::Duration;

use domain::id::FileId;
use domain::time::Timestamp;
use uuid::Uuid;

use crate::{LinkGrant, LinkSigner};

/// One named test per scenario. The fixture is a future of `Option<((signer, signer under another key), guard)>`.
#[macro_export]
macro_rules! link_signer_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            link_signer,
            [
                takes_its_own_signature,
                covers_every_part_of_the_grant,
                counts_whole_seconds,
                keeps_the_parts_apart,
                refuses_a_change_anywhere_in_the_signature,
                refuses_signatures_of_another_key,
            ]
        );
    };
}

fn grant() -> LinkGrant {
    LinkGrant {
        method: "GET".to_owned(),
        file: FileId::new(Uuid::from_u128(7)),
        expires_at: Timestamp::from_seconds(1_800_000_000),
        disposition: "attachment".to_owned(),
    }
}

/// A signature is genuine, always the same, and fit for a query as it is.
pub async fn takes_its_own_signature<L: LinkSigner>((signer, _): &(L, L)) {
    let signature = signer.sign(&grant());
    assert!(signer.verify(&grant(), &signature));
    assert_eq!(signature, signer.sign(&grant()));
    assert!(
        signature
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')),
        "{signature}"
    );
}

/// A signature for one thing is none for another.
pub async fn covers_every_part_of_the_grant<L: LinkSigner>((signer, _): &(L, L)) {
    let signature = signer.sign(&grant());
    let others = [
        LinkGrant {
            method: "PUT".to_owned(),
            ..grant()
        },
        LinkGrant {
            file: FileId::new(Uuid::from_u128(8)),
            ..grant()
        },
        LinkGrant {
            expires_at: grant().expires_at.plus(Duration::from_secs(1)),
            ..grant()
        },
        LinkGrant {
            disposition: "inline".to_owned(),
            ..grant()
        },
    ];
    for other in others {
        assert!(!signer.verify(&other, &signature), "{other:?}");
    }
}

/// The link carries the expiry in seconds: what is lost on the way does not count.
pub async fn counts_whole_seconds<L: LinkSigner>((signer, _): &(L, L)) {
    let finer = LinkGrant {
        expires_at: grant().expires_at.plus(Duration::from_micros(999_999)),
        ..grant()
    };
    assert!(signer.verify(&grant(), &signer.sign(&finer)));
}

/// What moves from one part into the next makes another grant.
pub async fn keeps_the_parts_apart<L: LinkSigner>((signer, _): &(L, L)) {
    let with = |method: &str, disposition: &str| LinkGrant {
        method: method.to_owned(),
        disposition: disposition.to_owned(),
        ..grant()
    };
    assert_ne!(signer.sign(&with("GET", "")), signer.sign(&with("GE", "T")));
    assert_ne!(signer.sign(&with("", "GET")), signer.sign(&with("GET", "")));
}

/// Each character replaced by each other one, so that bits that decoding drops would show, too.
pub async fn refuses_a_change_anywhere_in_the_signature<L: LinkSigner>((signer, _): &(L, L)) {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=";
    let signature = signer.sign(&grant());
    for (at, old) in signature.char_indices() {
        for new in ALPHABET.chars().filter(|new| *new != old) {
            let mut changed = signature.clone();
            changed.replace_range(at..=at, new.encode_utf8(&mut [0; 4]));
            assert!(
                !signer.verify(&grant(), &changed),
                "character {at} may be {new} as well"
            );
        }
    }
    for wrong in [
        String::new(),
        format!("{signature}="),
        format!("{signature}A"),
        signature[1..].to_owned(),
        "é".to_owned(),
    ] {
        assert!(!signer.verify(&grant(), &wrong), "{wrong:?}");
    }
}

/// Two installations do not take each other's links.
pub async fn refuses_signatures_of_another_key<L: LinkSigner>((signer, other): &(L, L)) {
    assert!(!other.verify(&grant(), &signer.sign(&grant())));
}
