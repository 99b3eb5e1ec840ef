//! The scenarios of [`TokenIssuer`](crate::TokenIssuer), on something that is keyring and verifier as well.

use domain::token::KeyStatus;

use super::token_keyring::{NOW, claims, key};
use crate::{TokenIssuer, TokenKeyring, TokenVerifier};

/// One named test per scenario. The fixture is a future of `Option<(tokens, guard)>`, made for
/// [`ISSUER`](super::token_keyring::ISSUER) and [`AUDIENCE`](super::token_keyring::AUDIENCE), with nothing loaded yet.
#[macro_export]
macro_rules! token_issuer_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            token_issuer,
            [
                says_every_claim,
                leaves_out_what_there_is_not,
                fails_without_an_active_key,
                signs_with_the_active_key,
                refuses_a_scope_that_would_read_as_two,
            ]
        );
    };
}

/// What goes in comes out.
pub async fn says_every_claim<T: TokenKeyring + TokenIssuer + TokenVerifier>(tokens: &T) {
    tokens.load(&[key(tokens, KeyStatus::Active)]).expect("the key loads");
    let token = tokens.issue(&claims()).expect("a token");
    assert_eq!(tokens.verify(&token, NOW), Ok(claims()));
}

/// A full session of nobody's impersonation has no scope and no actor.
pub async fn leaves_out_what_there_is_not<T: TokenKeyring + TokenIssuer + TokenVerifier>(tokens: &T) {
    tokens.load(&[key(tokens, KeyStatus::Active)]).expect("the key loads");
    let plain = domain::token::Claims {
        scope: vec![],
        actor: None,
        methods: vec![],
        ..claims()
    };
    let token = tokens.issue(&plain).expect("a token");
    assert_eq!(tokens.verify(&token, NOW), Ok(plain));
}

/// Neither nothing nor a pending, retiring or revoked key signs.
pub async fn fails_without_an_active_key<T: TokenKeyring + TokenIssuer + TokenVerifier>(tokens: &T) {
    assert!(tokens.issue(&claims()).is_err());
    for status in [KeyStatus::Pending, KeyStatus::Retiring, KeyStatus::Revoked] {
        tokens.load(&[key(tokens, status)]).expect("the key loads");
        assert!(tokens.issue(&claims()).is_err(), "a {} key signed", status.as_str());
    }
}

/// With several keys loaded, the active one alone suffices to verify.
pub async fn signs_with_the_active_key<T: TokenKeyring + TokenIssuer + TokenVerifier>(tokens: &T) {
    let active = key(tokens, KeyStatus::Active);
    let keys = [
        key(tokens, KeyStatus::Retiring),
        active.clone(),
        key(tokens, KeyStatus::Pending),
    ];
    tokens.load(&keys).expect("the keys load");
    let token = tokens.issue(&claims()).expect("a token");
    tokens.load(&[active]).expect("the key loads");
    assert!(tokens.verify(&token, NOW).is_ok());
}

/// Scopes are joined by spaces on the wire (RFC 8693 section 4.2).
pub async fn refuses_a_scope_that_would_read_as_two<T: TokenKeyring + TokenIssuer + TokenVerifier>(tokens: &T) {
    tokens.load(&[key(tokens, KeyStatus::Active)]).expect("the key loads");
    for scope in ["files:read users:tier", "", "a\tb"] {
        let claims = domain::token::Claims {
            scope: vec![scope.to_owned()],
            ..claims()
        };
        assert!(tokens.issue(&claims).is_err(), "{scope:?}");
    }
}
