//! What an outsider sees of our tokens: the form on the wire, and forgeries that only a signer could make.

use std::sync::Arc;

use adapter_crypto::{Keys, MasterKey, MasterSealer, PasetoKeyring};
use domain::token::{KeyStatus, SigningKey};
use pasetors::Public;
use pasetors::keys::{AsymmetricPublicKey, AsymmetricSecretKey};
use pasetors::token::UntrustedToken;
use pasetors::version4::{PublicToken, V4};
use ports::conformance::token_keyring::{AUDIENCE, ISSUER, NOW, claims, key};
use ports::{Randomness, SealPurpose, Sealer, TokenIssuer, TokenKeyring, TokenVerifier, VerifyTokenError};
use serde_json::{Value, json};

struct Fixed;

impl Randomness for Fixed {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(5);
    }
}

/// A keyring with one active key, that key, and its secret half as only the owner of the master key has it.
fn keyring() -> (PasetoKeyring, SigningKey, AsymmetricSecretKey<V4>) {
    let sealer = Arc::new(MasterSealer::new(
        &Keys::new(&MasterKey::from_bytes([1; 32])),
        Arc::new(Fixed),
    ));
    let keyring = PasetoKeyring::new(Arc::clone(&sealer) as Arc<dyn Sealer>, ISSUER, AUDIENCE);
    let active = key(&keyring, KeyStatus::Active);
    keyring.load(std::slice::from_ref(&active)).expect("the key loads");
    let secret = sealer
        .open(SealPurpose::SigningKey, active.kid.as_bytes(), &active.sealed_secret)
        .expect("it opens");
    (
        keyring,
        active,
        AsymmetricSecretKey::from(&secret).expect("a secret key"),
    )
}

fn payload(token: &str) -> Value {
    let untrusted = UntrustedToken::<Public, V4>::try_from(token).expect("a token");
    serde_json::from_slice(untrusted.untrusted_payload()).expect("a payload in JSON")
}

#[test]
fn another_service_verifies_with_the_published_key_alone() {
    let (keyring, _, _) = keyring();
    let token = keyring.issue(&claims()).expect("a token");
    let published = keyring.published();
    let untrusted = UntrustedToken::<Public, V4>::try_from(&token).expect("a token");
    let footer: Value = serde_json::from_slice(untrusted.untrusted_footer()).expect("a footer in JSON");
    assert_eq!(footer, json!({ "kid": published[0].kid }));
    let public = AsymmetricPublicKey::<V4>::try_from(published[0].paserk.as_str()).expect("a key");
    let trusted = PublicToken::verify(&public, &untrusted, None, None).expect("a genuine token");
    let payload: Value = serde_json::from_str(trusted.payload()).expect("a payload in JSON");
    assert_eq!(payload["exp"], "2027-01-15T08:15:00Z");
    assert_eq!(payload["sub"], claims().subject.to_string());
}

#[test]
fn a_footer_that_is_not_ours_is_refused_though_it_is_signed() {
    let (keyring, active, secret) = keyring();
    let body = payload(&keyring.issue(&claims()).expect("a token")).to_string();
    let verified = |footer: Option<&str>| {
        let token = PublicToken::sign(&secret, body.as_bytes(), footer.map(str::as_bytes), None).expect("a token");
        keyring.verify(&token, NOW)
    };
    assert_eq!(verified(Some(&json!({ "kid": active.kid }).to_string())), Ok(claims()));
    let oversized = json!({ "kid": active.kid, "more": "x".repeat(1_000) }).to_string();
    for footer in [
        "x",
        "null",
        "[]",
        "{}",
        "{\"kid\":1}",
        "{\"kid\":\"k4.pid.unknown\"}",
        &oversized,
    ] {
        assert_eq!(verified(Some(footer)), Err(VerifyTokenError::Invalid), "{footer}");
    }
    assert_eq!(verified(None), Err(VerifyTokenError::Invalid));
}

#[test]
fn a_payload_that_is_not_ours_is_refused_though_it_is_signed() {
    let (keyring, active, secret) = keyring();
    let footer = json!({ "kid": active.kid }).to_string();
    let verified = |payload: &str| {
        let token = PublicToken::sign(&secret, payload.as_bytes(), Some(footer.as_bytes()), None).expect("a token");
        keyring.verify(&token, NOW)
    };
    let genuine = payload(&keyring.issue(&claims()).expect("a token"));
    assert_eq!(verified(&genuine.to_string()), Ok(claims()));
    for bad in ["x", "null", "[]", "{}"] {
        assert_eq!(verified(bad), Err(VerifyTokenError::Invalid), "{bad}");
    }
    for (name, value) in [
        ("exp", json!(9_999_999_999_u64)),
        ("exp", json!("never")),
        ("role", json!("root")),
        ("aud", json!([AUDIENCE])),
    ] {
        let mut bad = genuine.clone();
        bad[name] = value;
        assert_eq!(verified(&bad.to_string()), Err(VerifyTokenError::Invalid), "{bad}");
    }
}

#[test]
fn a_key_of_another_pair_does_not_verify_under_our_kid() {
    let (keyring, active, _) = keyring();
    let (_, _, foreign) = self::keyring();
    let body = payload(&keyring.issue(&claims()).expect("a token")).to_string();
    let footer = json!({ "kid": active.kid }).to_string();
    let forged = PublicToken::sign(&foreign, body.as_bytes(), Some(footer.as_bytes()), None).expect("a token");
    assert_eq!(keyring.verify(&forged, NOW), Err(VerifyTokenError::Invalid));
}

#[test]
fn a_token_too_long_to_be_taken_is_not_issued() {
    let (keyring, _, _) = keyring();
    let scope = (0..400).map(|number| format!("scope:{number}")).collect();
    let long = domain::token::Claims { scope, ..claims() };
    assert!(keyring.issue(&long).is_err());
}

#[test]
fn of_two_active_keys_the_later_one_signs_on_every_node() {
    let (keyring, first, _) = keyring();
    let later = NOW.plus(std::time::Duration::from_secs(1));
    let second = keyring.generate(KeyStatus::Active, NOW, later).expect("a key pair");
    for keys in [[first.clone(), second.clone()], [second.clone(), first]] {
        keyring.load(&keys).expect("the keys load");
        let token = keyring.issue(&claims()).expect("a token");
        let untrusted = UntrustedToken::<Public, V4>::try_from(&token).expect("a token");
        assert_eq!(
            untrusted.untrusted_footer(),
            json!({ "kid": second.kid }).to_string().as_bytes()
        );
    }
}

#[test]
fn debug_shows_no_secret() {
    let (keyring, active, _) = keyring();
    assert_eq!(
        format!("{keyring:?}"),
        format!("PasetoKeyring {{ kids: [{:?}], .. }}", active.kid)
    );
}
