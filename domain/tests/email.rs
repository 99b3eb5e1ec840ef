//! E-mail addresses: whatever is held may stand in a header and in an SMTP command.

use domain::email::{EmailAddress, ParseEmailError};
use proptest::prelude::*;

/// The characters of a held address, told apart from the parser: a fault in one shows in the other.
fn assert_harmless(address: &EmailAddress) {
    let text = address.as_str();
    let (local, host) = text.split_once('@').expect("one @");
    assert!(!host.contains('@'), "two @ in {text:?}");
    assert!(
        text.len() <= 254 && (1..=64).contains(&local.len()),
        "too long: {text:?}"
    );
    let atom = "abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+/=?^_`{|}~-.";
    assert!(local.chars().all(|c| atom.contains(c)), "local part of {text:?}");
    let letters = "abcdefghijklmnopqrstuvwxyz0123456789-.";
    assert!(host.chars().all(|c| letters.contains(c)), "host of {text:?}");
    for part in [local, host] {
        assert!(
            !part.starts_with('.') && !part.ends_with('.') && !part.contains(".."),
            "dots of {text:?}"
        );
    }
    assert_eq!(address.domain(), host);
}

/// Pieces of addresses mixed with everything that ends a line, a command, a quotation or a recipient.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a",
        "B",
        "z9",
        "@",
        "@",
        ".",
        ".",
        "-",
        "+",
        "_",
        "example",
        "org",
        "COM",
        "xn--bcher-kva",
        "\r\n",
        "\n",
        "\r",
        "\0",
        "\t",
        " ",
        "<",
        ">",
        "\"",
        "(",
        ")",
        ",",
        ";",
        ":",
        "\\",
        "[",
        "]",
        "'",
        "é",
        "İ",
        "\u{212A}",
        "\u{202E}",
        "\u{2028}",
        "\u{85}",
        "\u{7F}",
        "\u{FF20}",
        "\u{3002}",
        "RCPT TO:",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn valid() -> impl Strategy<Value = String> {
    (
        "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]{1,12}(\\.[a-zA-Z0-9+_-]{1,8}){0,3}",
        "([a-zA-Z0-9]{1,10}\\.){1,3}[a-zA-Z]{2,6}",
    )
        .prop_map(|(local, host)| format!("{local}@{host}"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn whatever_is_held_is_harmless(text in prop_oneof![pieces(), any::<String>()]) {
        if let Ok(address) = text.parse::<EmailAddress>() {
            assert_harmless(&address);
        }
    }

    #[test]
    fn a_valid_address_is_taken_in_lower_case(text in valid()) {
        let address: EmailAddress = text.parse().expect("valid");
        assert_harmless(&address);
        prop_assert_eq!(address.as_str(), text.to_ascii_lowercase());
    }

    #[test]
    fn normalising_twice_changes_nothing(text in valid()) {
        let once: EmailAddress = format!(" \t{text} ").parse().expect("valid");
        let twice: EmailAddress = once.as_str().parse().expect("its own form");
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn case_makes_no_second_address(text in valid()) {
        let upper: EmailAddress = text.to_ascii_uppercase().parse().expect("valid");
        let lower: EmailAddress = text.to_ascii_lowercase().parse().expect("valid");
        prop_assert_eq!(upper, lower);
    }

    #[test]
    fn one_foreign_character_anywhere_refuses_the_whole(
        text in valid(),
        at in any::<prop::sample::Index>(),
        foreign in prop_oneof![
            prop::sample::select("\r\n\0<>\"(),;:\\[]@\u{7f}\u{85}\u{2028}".chars().collect::<Vec<_>>()),
            prop::char::range('\u{80}', '\u{10FFFF}'),
        ],
    ) {
        let mut text = text;
        let at = at.index(text.len() + 1);
        text.insert(at, foreign);
        prop_assert!(text.parse::<EmailAddress>().is_err(), "{:?} was taken", text);
    }
}

#[test]
fn the_reason_names_the_rule() {
    let cases = [
        ("", ParseEmailError::Empty),
        (" \t ", ParseEmailError::Empty),
        ("plain", ParseEmailError::Shape),
        ("@example.org", ParseEmailError::Shape),
        ("a@", ParseEmailError::Shape),
        ("a@b@example.org", ParseEmailError::Shape),
        (".a@example.org", ParseEmailError::LocalPart),
        ("a.@example.org", ParseEmailError::LocalPart),
        ("a..b@example.org", ParseEmailError::LocalPart),
        ("a b@example.org", ParseEmailError::LocalPart),
        ("\"a\"@example.org", ParseEmailError::LocalPart),
        ("jörg@example.org", ParseEmailError::LocalPart),
        ("a@localhost", ParseEmailError::Domain),
        ("a@-example.org", ParseEmailError::Domain),
        ("a@example-.org", ParseEmailError::Domain),
        ("a@example..org", ParseEmailError::Domain),
        ("a@example.org.", ParseEmailError::Domain),
        ("a@127.0.0.1", ParseEmailError::Domain),
        ("a@[127.0.0.1]", ParseEmailError::Domain),
        ("a@bücher.example", ParseEmailError::Domain),
        ("a@example.org>, <evil@example.org", ParseEmailError::Shape),
        ("a@example.org\r\nRCPT TO:<evil>", ParseEmailError::Domain),
    ];
    for (text, reason) in cases {
        assert_eq!(text.parse::<EmailAddress>(), Err(reason), "{text:?}");
    }
}

#[test]
fn the_bounds_are_64_before_the_at_63_in_a_label_and_254_in_all() {
    let takes = |text: &str| text.parse::<EmailAddress>();
    assert!(takes(&format!("{}@example.org", "a".repeat(64))).is_ok());
    assert_eq!(
        takes(&format!("{}@example.org", "a".repeat(65))),
        Err(ParseEmailError::TooLong)
    );
    assert!(takes(&format!("a@{}.org", "b".repeat(63))).is_ok());
    assert_eq!(
        takes(&format!("a@{}.org", "b".repeat(64))),
        Err(ParseEmailError::Domain)
    );

    let local = "a".repeat(64);
    let host = format!("{0}.{0}.{1}", "b".repeat(63), "c".repeat(61));
    let longest = format!("{local}@{host}");
    assert_eq!(longest.len(), 254);
    assert!(takes(&longest).is_ok());
    assert_eq!(takes(&format!("{longest}c")), Err(ParseEmailError::TooLong));
}

#[test]
fn debug_shows_no_local_part() {
    let address: EmailAddress = "secret.person@example.org".parse().expect("valid");
    let shown = format!("{address:?}");
    assert!(!shown.contains("secret") && shown.contains("example.org"), "{shown}");
    assert_eq!(address.to_string(), "secret.person@example.org");
}
