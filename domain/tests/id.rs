//! Ids: one canonical text, one kind each, in the order of their making.

use domain::id::{EventId, FileId, MailId, ParseIdError, UserId};
use proptest::prelude::*;
use uuid::Uuid;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

    #[test]
    fn an_id_is_read_as_it_was_written(number in any::<u128>()) {
        let id = FileId::new(Uuid::from_u128(number));
        let text = id.to_string();
        prop_assert_eq!(text.len(), 36);
        prop_assert!(text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b) || b == b'-'), "{}", text);
        prop_assert_eq!(text.parse(), Ok(id));
        prop_assert_eq!(text.to_ascii_uppercase().parse(), Ok(id));
        prop_assert_eq!(id.uuid().as_u128(), number);
    }

    #[test]
    fn json_holds_the_bare_text(number in any::<u128>()) {
        let id = MailId::new(Uuid::from_u128(number));
        let json = serde_json::to_string(&id).expect("json");
        prop_assert_eq!(&json, &format!("\"{id}\""));
        prop_assert_eq!(serde_json::from_str::<MailId>(&json).expect("an id"), id);
    }

    #[test]
    fn ids_sort_as_their_times_and_texts(one in any::<u128>(), two in any::<u128>()) {
        let (one, two) = (EventId::new(Uuid::from_u128(one)), EventId::new(Uuid::from_u128(two)));
        prop_assert_eq!(one.cmp(&two), one.to_string().cmp(&two.to_string()));
    }

    #[test]
    fn a_foreign_text_is_refused(text in prop_oneof![any::<String>(), "[0-9a-f-]{0,35}", "[0-9a-f]{8}-[0-9a-g]{28}"]) {
        if let Ok(id) = text.parse::<UserId>() {
            let digits: String = text.to_ascii_lowercase().chars().filter(char::is_ascii_hexdigit).collect();
            prop_assert_eq!(digits, id.uuid().as_simple().to_string());
        }
    }
}

#[test]
fn what_is_no_uuid_is_refused() {
    for text in [
        "",
        "1",
        "..",
        "01890a5d-ac96-774b-bcce-b302099a805",
        "01890a5d-ac96-774b-bcce-b302099a80577",
        "me",
    ] {
        assert_eq!(text.parse::<UserId>(), Err(ParseIdError), "{text}");
    }
}

#[test]
fn the_system_is_the_nil_user() {
    assert_eq!(UserId::SYSTEM.to_string(), "00000000-0000-0000-0000-000000000000");
}
