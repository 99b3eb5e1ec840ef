//! The scenarios of [`Sealer`](crate::Sealer).

use crate::{SealPurpose, Sealer};

/// One named test per scenario. The fixture is a future of `Option<((sealer, sealer under another master key), guard)>`.
#[macro_export]
macro_rules! sealer_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            sealer,
            [
                opens_what_it_sealed,
                hides_the_secret,
                seals_differently_each_time,
                refuses_another_purpose,
                refuses_another_context,
                refuses_another_master_key,
                refuses_any_changed_byte,
                refuses_any_other_length,
                fingerprint_names_the_master_key,
                blind_depends_on_label_text_and_key,
            ]
        );
    };
}

const PURPOSE: SealPurpose = SealPurpose::SigningKey;
const CONTEXT: &[u8] = b"k4.pid.example";
const SECRET: &[u8] = b"a secret of some length";

fn sealed(sealer: &dyn Sealer) -> Vec<u8> {
    sealer.seal(PURPOSE, CONTEXT, SECRET).expect("sealing works")
}

/// Secrets and contexts of any length come back.
pub async fn opens_what_it_sealed<S: Sealer>((sealer, _): &(S, S)) {
    for secret in [&b""[..], b"\0", SECRET, &[7; 65_536]] {
        for context in [&b""[..], CONTEXT] {
            let sealed = sealer
                .seal(SealPurpose::MailToken, context, secret)
                .expect("sealing works");
            assert_eq!(
                sealer.open(SealPurpose::MailToken, context, &sealed).expect("it opens"),
                secret
            );
        }
    }
}

/// The sealed form does not contain the secret.
pub async fn hides_the_secret<S: Sealer>((sealer, _): &(S, S)) {
    assert!(
        !sealed(sealer)
            .windows(8)
            .any(|part| SECRET.windows(8).any(|secret| secret == part))
    );
}

/// Two seals of one secret cannot be told to be of one secret.
pub async fn seals_differently_each_time<S: Sealer>((sealer, _): &(S, S)) {
    assert_ne!(sealed(sealer), sealed(sealer));
}

/// What was sealed for one use never opens for another.
pub async fn refuses_another_purpose<S: Sealer>((sealer, _): &(S, S)) {
    assert!(sealer.open(SealPurpose::MailToken, CONTEXT, &sealed(sealer)).is_err());
}

/// What was sealed for one id never opens for another.
pub async fn refuses_another_context<S: Sealer>((sealer, _): &(S, S)) {
    for context in [&b""[..], b"k4.pid.other", b"k4.pid.example\0"] {
        assert!(sealer.open(PURPOSE, context, &sealed(sealer)).is_err());
    }
}

/// A dump without its master key opens nothing.
pub async fn refuses_another_master_key<S: Sealer>((sealer, other): &(S, S)) {
    assert!(other.open(PURPOSE, CONTEXT, &sealed(sealer)).is_err());
}

/// Every bit of every byte counts.
pub async fn refuses_any_changed_byte<S: Sealer>((sealer, _): &(S, S)) {
    let sealed = sealed(sealer);
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(
            sealer.open(PURPOSE, CONTEXT, &changed).is_err(),
            "bit {bit} does not count"
        );
    }
}

/// Cut short anywhere, or with a byte too many.
pub async fn refuses_any_other_length<S: Sealer>((sealer, _): &(S, S)) {
    let sealed = sealed(sealer);
    for length in 0..sealed.len() {
        assert!(
            sealer.open(PURPOSE, CONTEXT, &sealed[..length]).is_err(),
            "{length} bytes are enough"
        );
    }
    let longer: Vec<u8> = sealed.iter().copied().chain([0]).collect();
    assert!(sealer.open(PURPOSE, CONTEXT, &longer).is_err());
}

/// Always the same for one master key, and another for another.
pub async fn fingerprint_names_the_master_key<S: Sealer>((sealer, other): &(S, S)) {
    assert_eq!(sealer.fingerprint(), sealer.fingerprint());
    assert_ne!(sealer.fingerprint(), other.fingerprint());
}

/// Label and text cannot run into each other, and nobody without the key can make the same.
pub async fn blind_depends_on_label_text_and_key<S: Sealer>((sealer, other): &(S, S)) {
    let blind = sealer.blind("account", "ann@example.org");
    assert_eq!(blind, sealer.blind("account", "ann@example.org"));
    assert_ne!(blind, sealer.blind("address", "ann@example.org"));
    assert_ne!(blind, sealer.blind("account", "bob@example.org"));
    assert_ne!(blind, sealer.blind("accountann", "@example.org"));
    assert_ne!(blind, other.blind("account", "ann@example.org"));
}
