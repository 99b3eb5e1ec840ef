//! The words of the vocabulary: each is read as it is written, and none stands for two things.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::str::FromStr;
use std::time::Duration;

use domain::id::UserId;
use domain::mail::{MailState, MailTemplate};
use domain::stats::PoolStats;
use domain::time::Timestamp;
use domain::token::{KeyStatus, OneTimeToken, TokenHash, TokenPurpose, TokenSubject};
use domain::user::{DisplayName, Role};

fn assert_words<T: Copy + PartialEq + Debug>(
    all: &[T],
    write: impl Fn(T) -> &'static str,
    read: impl Fn(&str) -> Option<T>,
) {
    let words: BTreeSet<&str> = all.iter().map(|one| write(*one)).collect();
    assert_eq!(words.len(), all.len(), "{all:?}");
    for one in all {
        let word = write(*one);
        assert_eq!(read(word), Some(*one));
        assert_eq!(read(&word.to_ascii_uppercase()), None, "{word} in capitals");
        assert_eq!(read(&format!("{word} ")), None, "{word} and a space");
    }
    assert_eq!(read(""), None);
}

#[test]
fn every_word_is_read_as_it_is_written() {
    assert_words(&MailTemplate::ALL, MailTemplate::as_str, MailTemplate::parse);
    assert_words(&MailState::ALL, MailState::as_str, MailState::parse);
    assert_words(&TokenPurpose::ALL, TokenPurpose::as_str, TokenPurpose::parse);
    let keys = [
        KeyStatus::Pending,
        KeyStatus::Active,
        KeyStatus::Retiring,
        KeyStatus::Revoked,
    ];
    assert_words(&keys, KeyStatus::as_str, KeyStatus::parse);
    assert_words(&[Role::User, Role::Service, Role::Admin], Role::as_str, |word| {
        Role::from_str(word).ok()
    });
}

#[test]
fn only_a_revoked_key_verifies_nothing() {
    assert!(KeyStatus::Pending.verifies() && KeyStatus::Active.verifies() && KeyStatus::Retiring.verifies());
    assert!(!KeyStatus::Revoked.verifies());
}

#[test]
fn templates_with_a_link_are_those_that_carry_a_token() {
    let carry: Vec<&str> = MailTemplate::ALL
        .into_iter()
        .filter(|t| t.carries_token())
        .map(MailTemplate::as_str)
        .collect();
    assert_eq!(carry, ["verify_email", "reset_password"]);
}

#[test]
fn a_one_time_token_is_good_once_and_until_its_end() {
    let made = Timestamp::from_seconds(1_800_000_000);
    let token = OneTimeToken {
        hash: TokenHash::of("secret"),
        purpose: TokenPurpose::ResetPassword,
        subject: TokenSubject::User(UserId::SYSTEM),
        email: None,
        created_at: made,
        expires_at: made.plus(TokenPurpose::ResetPassword.life()),
        used_at: None,
        voided_at: None,
    };
    let end = made.plus(Duration::from_secs(1_800));
    assert!(token.is_live(made) && token.is_live(end.minus(Duration::from_micros(1))));
    assert!(!token.is_live(end));
    assert!(
        !OneTimeToken {
            used_at: Some(made),
            ..token.clone()
        }
        .is_live(made)
    );
    assert!(
        !OneTimeToken {
            voided_at: Some(made),
            ..token
        }
        .is_live(made)
    );
    assert_eq!(TokenPurpose::VerifyEmail.life(), Duration::from_secs(86_400));
}

#[test]
fn a_token_is_stored_as_its_sha_256() {
    // The example "abc" of FIPS 180-4.
    let wanted = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let shown: String = TokenHash::of("abc")
        .as_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(shown, wanted);
    assert_eq!(
        TokenHash::from_bytes(*TokenHash::of("abc").as_bytes()),
        TokenHash::of("abc")
    );
}

#[test]
fn a_display_name_breaks_no_line_and_turns_nothing_round() {
    let name = |text: &str| text.parse::<DisplayName>();
    assert_eq!(
        name("  Ada Lovelace \n").map(|n| n.as_str().to_owned()),
        Ok("Ada Lovelace".to_owned())
    );
    assert!(name("李").is_ok() && name("عائشة").is_ok() && name(&"é".repeat(100)).is_ok());
    for text in [
        "",
        "   ",
        "a\0b",
        "a\r\nBcc: x",
        "a\u{85}b",
        "a\u{2028}b",
        "a\u{202E}b",
        "a\u{2067}b",
        &"é".repeat(101),
    ] {
        assert!(name(text).is_err(), "{text:?}");
    }
    assert!(name("Ada").is_ok_and(|n| !format!("{n:?}").contains("Ada")));
}

#[test]
fn the_pool_is_used_between_nothing_and_all() {
    let used = |max, open, idle| PoolStats { max, open, idle }.utilisation();
    assert!((used(8, 6, 4) - 0.25).abs() < f64::EPSILON);
    assert!((used(0, 0, 0)).abs() < f64::EPSILON);
    assert!((used(4, 9, 0) - 1.0).abs() < f64::EPSILON);
    assert!((used(4, 1, 3)).abs() < f64::EPSILON);
}
