//! The scenarios of [`CheckpointSigner`](crate::CheckpointSigner).

use crate::CheckpointSigner;

/// One named test per scenario. The fixture is a future of `Option<((signer, signer under another key), guard)>`.
#[macro_export]
macro_rules! checkpoint_signer_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            checkpoint_signer,
            [
                gives_back_what_it_signed,
                its_key_never_changes_and_is_written_as_paserk,
                takes_nothing_that_another_key_signed,
                takes_nothing_that_was_changed,
            ]
        );
    };
}

const TEXT: &str = r#"{"serial":7,"note":"Ünïcode"}"#;

/// The signed text comes back whole.
pub async fn gives_back_what_it_signed<S: CheckpointSigner>((signer, _): &(S, S)) {
    let signed = signer.sign(TEXT).expect("signed");
    assert_eq!(signer.verify(&signed).as_deref(), Some(TEXT));
}

/// Whoever noted the key once can verify for ever.
pub async fn its_key_never_changes_and_is_written_as_paserk<S: CheckpointSigner>((signer, other): &(S, S)) {
    let (kid, key) = signer.public_key();
    assert!(
        kid.starts_with("k4.pid.") && key.starts_with("k4.public."),
        "{kid} {key}"
    );
    assert_eq!(signer.public_key(), (kid, key));
    assert_ne!(signer.public_key(), other.public_key());
}

/// Another installation's checkpoint says nothing of this one.
pub async fn takes_nothing_that_another_key_signed<S: CheckpointSigner>((signer, other): &(S, S)) {
    let signed = other.sign(TEXT).expect("signed");
    assert_eq!(signer.verify(&signed), None);
}

/// Not a letter may differ, and nothing that is no signed text is taken.
pub async fn takes_nothing_that_was_changed<S: CheckpointSigner>((signer, _): &(S, S)) {
    let signed = signer.sign(TEXT).expect("signed");
    for at in (10..signed.len() - 1).step_by(7) {
        let mut changed = signed.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).expect("ASCII");
        assert_eq!(signer.verify(&changed), None, "at {at}");
    }
    for text in [
        "",
        "v4.public.",
        TEXT,
        &signed[..signed.len() / 2],
        &"A".repeat(100_000),
    ] {
        assert_eq!(signer.verify(text), None);
    }
}
