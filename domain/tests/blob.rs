//! Blob keys: made of typed parts, read back exactly, and never a way out of their folder.

use domain::blob::{BlobKey, FileName, FileType};
use domain::file::BackendName;
use domain::id::{FileId, UserId};
use domain::time::Timestamp;
use proptest::prelude::*;
use uuid::Uuid;

const KEY: &str =
    "users/01890a5d-ac96-774b-bcce-b302099a8057/resume/1800000000_017f22e279b07cc398c4dc0c0c07398f_cv.pdf";

fn key(user: u128, kind: &str, file: u128, at: Timestamp, name: &FileName) -> BlobKey {
    let kind: FileType = kind.parse().expect("a type");
    BlobKey::new(
        UserId::new(Uuid::from_u128(user)),
        &kind,
        FileId::new(Uuid::from_u128(file)),
        at,
        name,
    )
}

/// What no backend, file system or URL could take for anything but a plain relative path of four parts.
fn assert_tame(key: &BlobKey) {
    let parts: Vec<&str> = key.as_str().split('/').collect();
    assert_eq!(parts.len(), 4, "{key}");
    for part in &parts {
        assert!(!part.is_empty() && !part.starts_with('.') && *part != "..", "{key}");
        assert!(
            part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)),
            "{key}"
        );
    }
    assert!(parts[3].len() <= 200 && key.as_str().len() <= 300, "{key}");
}

fn names() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "..", ".", "/", "\\", "%2e%2e", "\0", "\n", " ", "-", "_", "a", "Z", "9", "é", "🦀", "\u{202E}", "\u{2066}",
        ":", "~", "CON", "con.txt", "\u{FF0F}", "\u{2215}", "$(x)", "..pdf", "\"",
    ]);
    prop_oneof![
        prop::collection::vec(piece, 0..9).prop_map(|pieces| pieces.concat()),
        any::<String>(),
        ".{200,300}"
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn no_name_leads_out_of_the_folder(text in names(), user in any::<u128>(), file in any::<u128>(), micros in any::<i64>()) {
        let Ok(name) = text.parse::<FileName>() else { return Ok(()) };
        prop_assert_eq!(name.as_str(), &text);
        prop_assert!(!text.contains(['/', '\\', '\0', '\r', '\n']) && !text.is_empty() && text.len() <= 255);
        let made = key(user, "resume", file, Timestamp::from_micros(micros), &name);
        assert_tame(&made);
        let folder = format!("users/{}/resume/", Uuid::from_u128(user));
        prop_assert!(made.as_str().starts_with(&folder));
    }

    #[test]
    fn a_key_is_read_as_it_was_made(text in names(), kind in "[a-z0-9][a-z0-9_-]{0,31}", user in any::<u128>(), file in any::<u128>(), micros in any::<i64>()) {
        let Ok(name) = text.parse::<FileName>() else { return Ok(()) };
        let made = key(user, &kind, file, Timestamp::from_micros(micros), &name);
        prop_assert_eq!(made.as_str().parse::<BlobKey>(), Ok(made.clone()));
        prop_assert_eq!(made.owner(), Some(UserId::new(Uuid::from_u128(user))));
        prop_assert_eq!(made.file(), Some(FileId::new(Uuid::from_u128(file))));
        prop_assert_eq!(made.to_string(), made.as_str());
    }

    #[test]
    fn two_files_never_share_a_key(name in "[a-z]{1,8}", one in any::<u128>(), two in any::<u128>()) {
        let name: FileName = name.parse().expect("a name");
        let made = |file| key(1, "doc", file, Timestamp::from_seconds(5), &name);
        prop_assert_eq!(made(one) == made(two), one == two);
    }

    #[test]
    fn a_foreign_text_is_tame_or_no_key(
        text in prop_oneof![any::<String>(), "users/[0-9a-f-]{36}/[a-z/.]{0,9}/[0-9]{1,3}_[0-9a-f]{32}_[a-z/.%]{0,9}"],
    ) {
        if let Ok(read) = text.parse::<BlobKey>() {
            assert_tame(&read);
            prop_assert!(read.owner().is_some() && read.file().is_some());
        }
    }

    #[test]
    fn a_changed_byte_is_tame_or_no_key(at in any::<prop::sample::Index>(), with in any::<char>()) {
        let at = at.index(KEY.len());
        let text = format!("{}{with}{}", &KEY[..at], &KEY[at + 1..]);
        if let Ok(read) = text.parse::<BlobKey>() {
            assert_tame(&read);
        }
    }
}

#[test]
fn the_key_has_the_documented_form() {
    let name: FileName = "My CV (final).pdf".parse().expect("a name");
    let made = key(
        0x0189_0a5d_ac96_774b_bcce_b302_099a_8057,
        "resume",
        0x017f_22e2_79b0_7cc3_98c4_dc0c_0c07_398f,
        Timestamp::from_seconds(1_800_000_000),
        &name,
    );
    assert_eq!(made.as_str(), KEY.replace("cv.pdf", "My_CV__final_.pdf"));
}

#[test]
fn only_what_we_would_have_written_is_a_key() {
    assert!(KEY.parse::<BlobKey>().is_ok());
    for (from, to) in [
        ("users/", "Users/"),
        ("users/", "/users/"),
        ("users/", "incoming/"),
        ("01890a5d-ac96", "01890A5D-ac96"),
        (
            "01890a5d-ac96-774b-bcce-b302099a8057",
            "01890a5dac96774bbcceb302099a8057",
        ),
        (
            "01890a5d-ac96-774b-bcce-b302099a8057",
            "{01890a5d-ac96-774b-bcce-b302099a8057}",
        ),
        ("01890a5d-ac96-774b-bcce-b302099a8057", ".."),
        ("resume", ".."),
        ("resume", "Resume"),
        ("resume", ""),
        ("resume/", "resume/more/"),
        ("1800000000", "01800000000"),
        ("1800000000", "-1800000000"),
        ("1800000000", "+1800000000"),
        ("1800000000", "1800000000000000"),
        ("017f22e279b0", "017F22e279b0"),
        ("017f22e279b0", "17f22e279b0"),
        ("_cv.pdf", ""),
        ("cv.pdf", ""),
        ("cv.pdf", ".pdf"),
        ("cv.pdf", "-cv.pdf"),
        ("cv.pdf", "c v.pdf"),
        ("cv.pdf", "../cv.pdf"),
        ("cv.pdf", "%2e%2e"),
        ("cv.pdf", "cv.pdf\n"),
    ] {
        let text = KEY.replace(from, to);
        assert_ne!(text, KEY);
        assert!(text.parse::<BlobKey>().is_err(), "{text:?}");
    }
    assert!(KEY.replace("cv.pdf", &"a".repeat(100)).parse::<BlobKey>().is_ok());
    assert!(KEY.replace("cv.pdf", &"a".repeat(101)).parse::<BlobKey>().is_err());
}

#[test]
fn names_that_are_no_names_are_refused() {
    for text in [
        "",
        " ",
        "\u{3000}",
        ".",
        "..",
        "a/b",
        "a\\b",
        "../../etc/passwd",
        "a\0",
        "a\r\nb",
        "x\u{202E}fdp.exe",
        "x\u{2066}",
    ] {
        assert!(text.parse::<FileName>().is_err(), "{text:?}");
    }
    assert!("a".repeat(255).parse::<FileName>().is_ok());
    assert!("a".repeat(256).parse::<FileName>().is_err());
    assert!("é".repeat(128).parse::<FileName>().is_err(), "the bound is in bytes");
}

#[test]
fn a_long_name_keeps_its_end_in_the_key() {
    let part = |text: &str| text.parse::<FileName>().expect("a name").to_key_part();
    let long = part(&format!("{}.pdf", "x".repeat(200)));
    assert!(long.len() == 100 && long.ends_with("xx.pdf"));
    assert_eq!(part("...hidden"), "hidden");
    assert_eq!(part("-rf"), "rf");
    assert_eq!(part(".-.-"), "file");
    assert_eq!(part("übung.txt"), "_bung.txt");
}

#[test]
fn types_and_backends_have_short_plain_names() {
    for text in ["a", "0", "resume", "profile-photo", "x_1", &"a".repeat(32)] {
        assert!(text.parse::<FileType>().is_ok(), "{text}");
    }
    for text in ["", "A", "-a", "_a", "a.b", "a/b", "..", "é", "a b", &"a".repeat(33)] {
        assert!(text.parse::<FileType>().is_err(), "{text}");
        assert!(text.parse::<BackendName>().is_err(), "{text}");
    }
    assert!("eu_1".parse::<BackendName>().is_ok());
    assert!("1eu".parse::<BackendName>().is_err() && "eu-1".parse::<BackendName>().is_err());
}
