//! The scenarios of [`TokenVerifier`](crate::TokenVerifier), on something that is keyring and issuer as well.

use std::time::Duration;

use domain::token::{Claims, KeyStatus, SigningKey};

use super::token_keyring::{NOW, claims, key};
use crate::{TokenIssuer, TokenKeyring, TokenVerifier, VerifyTokenError};

/// One named test per scenario. The fixture is a future of `Option<(tokens, guard)>`, made for
/// [`ISSUER`](super::token_keyring::ISSUER) and [`AUDIENCE`](super::token_keyring::AUDIENCE), with nothing loaded yet.
#[macro_export]
macro_rules! token_verifier_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            token_verifier,
            [
                takes_tokens_of_every_key_that_verifies,
                refuses_an_unknown_key,
                refuses_a_revoked_key,
                refuses_another_issuer_or_audience,
                expires_at_the_second,
                allows_a_minute_of_clock_skew_before,
                refuses_a_changed_byte_anywhere,
                refuses_another_footer,
                refuses_what_is_no_token,
            ]
        );
    };
}

const INVALID: Result<Claims, VerifyTokenError> = Err(VerifyTokenError::Invalid);

/// An active key, loaded, and a token of it.
fn signed<T: TokenKeyring + TokenIssuer>(tokens: &T, claims: &Claims) -> (SigningKey, String) {
    let key = key(tokens, KeyStatus::Active);
    tokens.load(std::slice::from_ref(&key)).expect("the key loads");
    let token = tokens.issue(claims).expect("a token");
    (key, token)
}

/// Rotation logs nobody out: a token is good while its key is pending, active or retiring.
pub async fn takes_tokens_of_every_key_that_verifies<T: TokenKeyring + TokenIssuer + TokenVerifier>(tokens: &T) {
    let (signing, token) = signed(tokens, &claims());
    for status in [KeyStatus::Pending, KeyStatus::Active, KeyStatus::Retiring] {
        let keys = [
            SigningKey {
                status,
                ..signing.clone()
            },
            key(tokens, KeyStatus::Active),
        ];
        tokens.load(&keys).expect("the keys load");
        assert_eq!(tokens.verify(&token, NOW), Ok(claims()), "{}", status.as_str());
    }
}

/// A token of a key that is not loaded.
pub async fn refuses_an_unknown_key<T: TokenKeyring + TokenIssuer + TokenVerifier>(tokens: &T) {
    let (_, token) = signed(tokens, &claims());
    tokens.load(&[key(tokens, KeyStatus::Active)]).expect("the key loads");
    assert_eq!(tokens.verify(&token, NOW), INVALID);
    tokens.load(&[]).expect("nothing loads");
    assert_eq!(tokens.verify(&token, NOW), INVALID);
}

/// Revoking a key ends its tokens.
pub async fn refuses_a_revoked_key<T: TokenKeyring + TokenIssuer + TokenVerifier>(tokens: &T) {
    let (signing, token) = signed(tokens, &claims());
    // Known by now, should the adapter remember what it verified.
    assert_eq!(tokens.verify(&token, NOW), Ok(claims()));
    tokens
        .load(&[SigningKey {
            status: KeyStatus::Revoked,
            ..signing
        }])
        .expect("the key loads");
    assert_eq!(tokens.verify(&token, NOW), INVALID);
}

/// Signed by us, and not by this installation or not for it; expired or not.
pub async fn refuses_another_issuer_or_audience<T: TokenKeyring + TokenIssuer + TokenVerifier>(tokens: &T) {
    for other in [
        Claims {
            issuer: "urn:plinth:other".to_owned(),
            ..claims()
        },
        Claims {
            audience: "urn:plinth:other".to_owned(),
            ..claims()
        },
        Claims {
            audience: String::new(),
            ..claims()
        },
    ] {
        let (_, token) = signed(tokens, &other);
        assert_eq!(tokens.verify(&token, NOW), INVALID);
        assert_eq!(tokens.verify(&token, other.expires_at), INVALID);
    }
}

/// Good until the last microsecond before `exp`, over at it.
pub async fn expires_at_the_second<T: TokenKeyring + TokenIssuer + TokenVerifier>(tokens: &T) {
    let (_, token) = signed(tokens, &claims());
    let end = claims().expires_at;
    assert!(tokens.verify(&token, end.minus(Duration::from_micros(1))).is_ok());
    assert_eq!(tokens.verify(&token, end), Err(VerifyTokenError::Expired));
    assert_eq!(
        tokens.verify(&token, end.plus(Duration::from_secs(86_400))),
        Err(VerifyTokenError::Expired)
    );
}

/// `nbf` may lie 60 s ahead, not more: nodes' clocks differ a little.
pub async fn allows_a_minute_of_clock_skew_before<T: TokenKeyring + TokenIssuer + TokenVerifier>(tokens: &T) {
    let (_, token) = signed(tokens, &claims());
    assert!(tokens.verify(&token, NOW.minus(Duration::from_secs(60))).is_ok());
    assert_eq!(
        tokens.verify(&token, NOW.minus(Duration::from_micros(60_000_001))),
        INVALID
    );
}

/// Every character of the token, header, payload, signature and footer alike.
pub async fn refuses_a_changed_byte_anywhere<T: TokenKeyring + TokenIssuer + TokenVerifier>(tokens: &T) {
    let (_, token) = signed(tokens, &claims());
    for at in 0..token.len() {
        for new in ["A", "B", "w", "-", "."] {
            let mut changed = token.clone();
            changed.replace_range(at..=at, new);
            if changed != token {
                assert_eq!(
                    tokens.verify(&changed, NOW),
                    INVALID,
                    "character {at} may be {new} as well"
                );
            }
        }
        let mut shorter = token.clone();
        shorter.remove(at);
        assert_eq!(tokens.verify(&shorter, NOW), INVALID, "character {at} may be missing");
    }
}

/// The footer belongs to the token: none, another token's, and a very long one are refused.
pub async fn refuses_another_footer<T: TokenKeyring + TokenIssuer + TokenVerifier>(tokens: &T) {
    let (_, token) = signed(tokens, &claims());
    let (body, footer) = token.rsplit_once('.').expect("a token has parts");
    for other in [
        body.to_owned(),
        format!("{body}."),
        format!("{token}.{footer}"),
        format!("{body}.{}", "A".repeat(1 << 20)),
    ] {
        assert_eq!(tokens.verify(&other, NOW), INVALID);
    }
    let (_, second) = signed(tokens, &claims());
    let (_, foreign) = second.rsplit_once('.').expect("a token has parts");
    assert_eq!(tokens.verify(&format!("{body}.{foreign}"), NOW), INVALID);
}

/// Text from anywhere.
pub async fn refuses_what_is_no_token<T: TokenKeyring + TokenIssuer + TokenVerifier>(tokens: &T) {
    let (_, token) = signed(tokens, &claims());
    let padded = format!(" {token}");
    let wrong = [
        "",
        ".",
        "...",
        "v4.public.",
        "v4.public..",
        "v4.public.AAAA.AAAA",
        "é",
        "\0",
        "Bearer x",
        &padded,
    ];
    for wrong in wrong {
        assert_eq!(tokens.verify(wrong, NOW), INVALID, "{wrong:?}");
    }
    let other_version = token.replacen("v4.", "v3.", 1);
    let local = token.replacen(".public.", ".local.", 1);
    for wrong in [other_version, local, token.to_uppercase(), "v4.public.".repeat(100_000)] {
        assert_eq!(tokens.verify(&wrong, NOW), INVALID);
    }
}
