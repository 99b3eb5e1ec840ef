//! Passwords: one normal form, bounds in code points, and nothing that is guessed early.

use domain::password::{Password, PasswordPolicy, PasswordRecord, PasswordRefusal};
use proptest::prelude::*;
use unicode_normalization::UnicodeNormalization;

/// The Arabic ligature that NFKC writes as eighteen code points, more than any other.
const LONGEST: char = '\u{FDFA}';

fn parse(text: &str) -> Password {
    Password::parse(text).expect("within the bounds")
}

fn judge(text: &str, context: &[&str]) -> Result<(), PasswordRefusal> {
    PasswordPolicy::default().check(&parse(text), context)
}

/// Texts whose spellings differ much: Korean syllables, accents, ligatures, wide and mathematical letters, anything.
fn texts(length: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    let one = prop_oneof![
        prop::char::range('\u{AC00}', '\u{D7A3}'),
        prop::char::range('\u{C0}', '\u{24F}'),
        prop::char::range('\u{1F00}', '\u{1FFC}'),
        prop::char::range('\u{300}', '\u{36F}'),
        prop::char::range('\u{FF01}', '\u{FFDC}'),
        prop::char::range('\u{1D400}', '\u{1D7FF}'),
        prop::char::range(' ', '~'),
        any::<char>(),
    ];
    prop::collection::vec(one, length).prop_map(String::from_iter)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn every_spelling_is_one_password(text in texts(0..300)) {
        let spelt = |text: String| Password::parse(&text);
        let composed = spelt(text.nfc().collect());
        prop_assert_eq!(&composed, &spelt(text.nfd().collect()));
        prop_assert_eq!(&composed, &spelt(text.nfkc().collect()));
        prop_assert_eq!(&composed, &spelt(text.nfkd().collect()));
        prop_assert_eq!(&composed, &spelt(text));
    }

    #[test]
    fn what_is_held_is_the_normal_form_and_within_the_bounds(text in texts(0..300)) {
        let normal: String = text.nfkc().collect();
        let fits = normal.chars().count() <= 256 && normal.len() <= 1_024;
        match Password::parse(&text) {
            Ok(password) => prop_assert!(fits && password.as_bytes() == normal.as_bytes()),
            Err(refusal) => prop_assert!(!fits && refusal == PasswordRefusal::TooLong),
        }
    }

    #[test]
    fn every_byte_counts(text in "[ -~]{1,256}", at in any::<prop::sample::Index>()) {
        let at = at.index(text.len());
        let mut other = text.clone().into_bytes();
        other[at] = if other[at] == b'x' { b'y' } else { b'x' };
        let other = String::from_utf8(other).expect("ascii");
        prop_assume!(other != text);
        prop_assert_ne!(parse(&text), parse(&other));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn no_text_breaks_the_judgement(text in texts(0..130), name in texts(0..40)) {
        let Ok(password) = Password::parse(&text) else { return Ok(()) };
        let code_points = text.nfkc().count();
        let verdict = PasswordPolicy::default().check(&password, &[&name, "İstanbul@example.org"]);
        prop_assert_eq!(verdict == Err(PasswordRefusal::TooShort(15)), code_points < 15);
    }
}

#[test]
fn the_upper_bounds_hold_after_normalisation() {
    assert!(Password::parse(&"a".repeat(256)).is_ok());
    assert_eq!(Password::parse(&"a".repeat(257)), Err(PasswordRefusal::TooLong));
    assert_eq!(parse(&"🦀".repeat(256)).as_bytes().len(), Password::MAX_BYTES);
    assert_eq!(Password::parse(&"🦀".repeat(257)), Err(PasswordRefusal::TooLong));
    assert_eq!(Password::parse(&"a".repeat(1 << 20)), Err(PasswordRefusal::TooLong));

    let ligatures = |count: usize| Password::parse(&LONGEST.to_string().repeat(count));
    let fourteen = ligatures(14).expect("252 code points");
    assert_eq!(String::from_utf8_lossy(fourteen.as_bytes()).chars().count(), 14 * 18);
    assert_eq!(ligatures(15), Err(PasswordRefusal::TooLong));
}

#[test]
fn a_long_password_may_be_typed_decomposed() {
    let composed = "한".repeat(256);
    let decomposed: String = composed.nfd().collect();
    assert!(decomposed.len() > Password::MAX_BYTES);
    assert_eq!(parse(&composed), parse(&decomposed));
}

#[test]
fn nul_ends_nothing() {
    assert_eq!(parse("left\0right").as_bytes(), b"left\0right");
    assert_ne!(parse("left\0right"), parse("left\0wrong"));
}

#[test]
fn the_minimum_counts_code_points() {
    let fourteen = "森の奥で青い鳥が三羽鳴いた朝";
    assert_eq!((fourteen.chars().count(), fourteen.len()), (14, 42));
    assert_eq!(judge(fourteen, &[]), Err(PasswordRefusal::TooShort(15)));
    assert_eq!(judge(&format!("{fourteen}霧"), &[]), Ok(()));
    // Fourteen letters with an accent each, typed as twenty-eight code points, are still fourteen.
    let typed: String = "žáéíóúýčďňřšťů".nfd().collect();
    assert_eq!(typed.chars().count(), 28);
    assert_eq!(judge(&typed, &[]), Err(PasswordRefusal::TooShort(15)));
}

#[test]
fn no_policy_goes_below_eight() {
    let lax = PasswordPolicy { min_code_points: 1 };
    assert_eq!(lax.check(&parse("xK9$vQ2"), &[]), Err(PasswordRefusal::TooShort(8)));
    assert_eq!(lax.check(&parse("xK9$vQ2w"), &[]), Ok(()));
    assert_eq!(PasswordPolicy::default().min_code_points, 15);
}

#[test]
fn common_and_repeating_passwords_are_refused() {
    let common = [
        "passwordpassword",
        "passwordpasswordpasswordpassword",
        "PASSWORDpassword",
        "aaaaaaaaaaaaaaaaaaaaaa",
        "123456789012345678",
        "123456781234567812345678",
        "abcdefghijklmnopqrstuvwxyz",
        "qwertyuiopqwertyuiop",
        "qwertyqwertyqwerty",
        "abcabcabcabcabcabc",
        "111111111111111111",
        "iloveyouiloveyou",
    ];
    for text in common {
        assert_eq!(judge(text, &[]), Err(PasswordRefusal::Guessable), "{text}");
    }
    // In wide letters it is the same word.
    assert_eq!(
        judge("ｐａｓｓｗｏｒｄｐａｓｓｗｏｒｄ", &[]),
        Err(PasswordRefusal::Guessable)
    );
}

#[test]
fn the_users_own_words_are_refused() {
    let context = [
        "zbigniewa.kowalczyk-nowak@przyklad.example",
        "Zbigniewa Kowalczyk-Nowak",
    ];
    for text in [
        "zbigniewakowalczyk",
        "Kowalczyk-Nowak-2026",
        "kowalczyknowak1",
        "ZbigniewaZbigniewa",
        "zbigniewa.kowalczyk-nowak@przyklad.example",
    ] {
        assert_eq!(judge(text, &[]), Ok(()), "{text} is fine for others");
        assert_eq!(judge(text, &context), Err(PasswordRefusal::Guessable), "{text}");
    }
}

#[test]
fn own_words_may_stand_in_a_password_that_holds_enough_else() {
    let context = ["walnut@example.org", "Walnut Ferry"];
    assert_eq!(judge("walnut ferry copper lantern", &context), Ok(()));
    assert_eq!(judge("ferry walnut kx7!", &context), Err(PasswordRefusal::Guessable));
}

#[test]
fn a_name_is_found_however_it_was_typed() {
    let password = "jördisþórðardóttir";
    let typed: String = "Jördis Þórðardóttir".nfd().collect();
    assert_eq!(judge(password, &[]), Ok(()));
    assert_eq!(judge(password, &[&typed]), Err(PasswordRefusal::Guessable));
}

#[test]
fn a_fine_passphrase_is_accepted_without_composition_rules() {
    let context = ["ada@example.org", "Ada"];
    for text in [
        "walnut ferry copper lantern",
        "correct horse battery staple",
        "dreizehn grüne kamele schlafen",
    ] {
        assert_eq!(judge(text, &context), Ok(()), "{text}");
    }
}

#[test]
fn refusals_have_stable_codes_and_nothing_shows_the_secret() {
    assert_eq!(PasswordRefusal::TooShort(15).code(), "too_short");
    assert_eq!(PasswordRefusal::TooLong.code(), "too_long");
    assert_eq!(PasswordRefusal::Guessable.code(), "too_guessable");
    assert!(PasswordRefusal::TooShort(15).to_string().contains("15"));
    assert!(!format!("{:?}", parse("walnut ferry copper")).contains("walnut"));
    let record = PasswordRecord {
        scheme: "bcrypt-hmac-sha384".to_owned(),
        cost: 12,
        pepper_id: "pepper-one".to_owned(),
        hash: "$2b$12$abcdef".to_owned(),
    };
    let shown = format!("{record:?}");
    assert!(shown.contains("12") && !shown.contains("abcdef"), "{shown}");
}
