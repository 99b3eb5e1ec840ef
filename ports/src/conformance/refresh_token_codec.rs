//! The scenarios of [`RefreshTokenCodec`](crate::RefreshTokenCodec).

use domain::id::SessionId;
use uuid::Uuid;

use crate::RefreshTokenCodec;

/// One named test per scenario. The fixture is a future of `Option<((codec, codec under another key), guard)>`.
#[macro_export]
macro_rules! refresh_token_codec_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            refresh_token_codec,
            [
                decodes_what_it_encoded,
                encodes_alike_each_time,
                refuses_a_change_anywhere,
                refuses_what_is_not_exactly_a_token,
                refuses_tokens_of_another_key,
            ]
        );
    };
}

const SESSION: SessionId = SessionId::new(Uuid::from_u128(0x0199_aa00_0000_7000_8000_0000_0000_0abc));

/// Every generation of every session comes back.
pub async fn decodes_what_it_encoded<C: RefreshTokenCodec>((codec, _): &(C, C)) {
    for session in [SESSION, SessionId::new(Uuid::nil()), SessionId::new(Uuid::max())] {
        for generation in [0, 1, 255, 256, u32::MAX] {
            assert_eq!(
                codec.decode(&codec.encode(session, generation)),
                Some((session, generation))
            );
        }
    }
}

/// The same child can be made again; another generation is another token.
pub async fn encodes_alike_each_time<C: RefreshTokenCodec>((codec, _): &(C, C)) {
    assert_eq!(codec.encode(SESSION, 3), codec.encode(SESSION, 3));
    assert_ne!(codec.encode(SESSION, 3), codec.encode(SESSION, 4));
}

/// Each character, replaced by each other one of its alphabet: so that bits that decoding drops would show, too.
pub async fn refuses_a_change_anywhere<C: RefreshTokenCodec>((codec, _): &(C, C)) {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=";
    let token = codec.encode(SESSION, 7);
    for (at, old) in token.char_indices() {
        for new in ALPHABET.chars().filter(|new| *new != old) {
            let mut changed = token.clone();
            changed.replace_range(at..=at, new.encode_utf8(&mut [0; 4]));
            assert_eq!(codec.decode(&changed), None, "character {at} may be {new} as well");
        }
    }
}

/// Nothing before it, nothing after it, nothing of it missing.
pub async fn refuses_what_is_not_exactly_a_token<C: RefreshTokenCodec>((codec, _): &(C, C)) {
    let token = codec.encode(SESSION, 7);
    for length in 0..token.len() {
        assert_eq!(codec.decode(&token[..length]), None);
    }
    for wrong in [
        format!(" {token}"),
        format!("{token}\n"),
        format!("{token}="),
        format!("{token}A"),
        token.repeat(2),
    ] {
        assert_eq!(codec.decode(&wrong), None, "{wrong:?}");
    }
    assert_eq!(codec.decode("plr_é"), None);
}

/// Two installations do not take each other's tokens.
pub async fn refuses_tokens_of_another_key<C: RefreshTokenCodec>((codec, other): &(C, C)) {
    assert_eq!(other.decode(&codec.encode(SESSION, 7)), None);
}
