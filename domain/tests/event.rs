//! Events: types, shards, digests, the chain, and the envelope of `CloudEvents` 1.0.

use domain::event::{Actor, Event, EventType, LoggedEvent, NewEvent, OwnEvent, SHARDS, Shard, is_subject};
use domain::id::{EventId, RequestId, UserId};
use domain::time::Timestamp;
use proptest::prelude::*;
use uuid::Uuid;

const SALT: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
const OWNER: Uuid = Uuid::from_u128(0x0189_0a5d_ac96_774b_bcce_b302_099a_8057);

fn sample() -> Event {
    Event::new(NewEvent {
        id: EventId::new(Uuid::from_u128(10)),
        user_id: UserId::new(OWNER),
        event_type: "app.order_placed".parse().expect("a type"),
        subject: Some("order/17".to_owned()),
        time: Timestamp::from_micros(1_800_000_000_123_456),
        data: r#"{"total":3}"#.to_owned(),
        salt: SALT,
        actor: Actor::User(UserId::new(OWNER)),
        impersonator: Some(UserId::new(Uuid::from_u128(11))),
        request_id: Some(RequestId::new(Uuid::from_u128(12))),
        client_id: false,
    })
}

fn logged(event: Event, position: u64) -> LoggedEvent {
    LoggedEvent {
        shard: event.shard(),
        position,
        hash: [7; 32],
        event,
    }
}

/// The rule of the type's doc comment, said another way.
fn is_type(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    let letters = "abcdefghijklmnopqrstuvwxyz";
    let part = |part: &&str| {
        part.chars().next().is_some_and(|first| letters.contains(first))
            && part.chars().all(|c| letters.contains(c) || "0123456789_".contains(c))
    };
    parts.len() >= 2 && parts.len() <= 8 && text.len() <= 128 && parts.iter().all(part)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn types_are_taken_by_their_rule(
        text in prop_oneof!["[a-z][a-z0-9_]{0,20}(\\.[a-z0-9_]{0,20}){0,9}", "[a-zA-Z0-9._ \n-]{0,20}", any::<String>()],
    ) {
        let parsed = text.parse::<EventType>();
        prop_assert_eq!(parsed.is_ok(), is_type(&text), "{:?}", text);
        if let Ok(parsed) = parsed {
            prop_assert_eq!(parsed.as_str(), text);
        }
    }

    #[test]
    fn the_sequence_sorts_as_text(one in any::<u64>(), two in any::<u64>()) {
        let text = |position| logged(sample(), position).to_cloud_event("urn:plinth:x")["sequence"].as_str().map(str::to_owned);
        prop_assert_eq!(text(one).cmp(&text(two)), one.cmp(&two));
    }

    #[test]
    fn the_text_says_what_the_value_says(
        data in prop_oneof!["[ -~]{0,40}", any::<String>(), (any::<f64>(), any::<String>()).prop_map(|(number, text)| {
            serde_json::json!({ "number": number, "list": [text, null, true], "more": { "": -1 } }).to_string()
        })],
        subject in proptest::option::of(any::<String>()),
        schema_version in proptest::option::of(any::<u32>()),
    ) {
        let logged = logged(Event { data: Some(data), subject, schema_version, ..sample() }, 7);
        let text = logged.to_cloud_event_text("urn:plinth:x");
        let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        prop_assert_eq!(read, logged.to_cloud_event("urn:plinth:x"));
    }

    #[test]
    fn an_actor_is_read_as_it_was_written(id in any::<u128>()) {
        for actor in [Actor::User(UserId::new(Uuid::from_u128(id))), Actor::Anonymous, Actor::System] {
            prop_assert_eq!(Actor::parse(&actor.as_text()), Some(actor));
        }
    }
}

#[test]
fn a_type_has_two_to_eight_parts_and_128_characters() {
    let parts = |count: usize| vec!["a"; count].join(".").parse::<EventType>().is_ok();
    assert_eq!(
        (1..=10).filter(|count| parts(*count)).collect::<Vec<_>>(),
        [2, 3, 4, 5, 6, 7, 8]
    );
    let long = |length: usize| format!("app.{}", "a".repeat(length - 4)).parse::<EventType>().is_ok();
    assert!(long(128) && !long(129));
    for text in ["a.", ".a", "a..b", "a.1", "a._b", "A.b", "a.b ", "a.b\n", "a-b.c", ""] {
        assert!(text.parse::<EventType>().is_err(), "{text:?}");
    }
}

#[test]
fn shards_stay_what_they_are() {
    // Positions that are stored depend on these.
    for (user, shard) in [
        (0, 0),
        (0x0189_0a5d_ac96_774b_bcce_b302_099a_8057, 14),
        (0x017f_22e2_79b0_7cc3_98c4_dc0c_0c07_398f, 9),
    ] {
        assert_eq!(Shard::of(UserId::new(Uuid::from_u128(user))).number(), shard);
    }
    assert_eq!(Shard::all().count(), usize::from(SHARDS));
    assert_eq!(Shard::new(15).map(Shard::number), Some(15));
    assert_eq!(Shard::new(16), None);
}

#[test]
fn users_spread_evenly_over_the_shards() {
    // Ids as version 7 makes them: a time that hardly moves, and random bits with version and variant set.
    let mut counts = [0_u32; SHARDS as usize];
    let mut random = 1_u128;
    for count in 0..16_000_u128 {
        random = random
            .wrapping_mul(0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645)
            .wrapping_add(0x5851_F42D_4C95_7F2D);
        let tail = (random >> 54) & 0x0FFF_3FFF_FFFF_FFFF_FFFF;
        let id = ((0x019A_8000_0000 + count / 100) << 80) | tail | (0x7 << 76) | (0x2 << 62);
        counts[usize::from(Shard::of(UserId::new(Uuid::from_u128(id))).number())] += 1;
    }
    assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
}

#[test]
fn the_envelope_is_a_cloud_event() {
    let envelope = logged(sample(), 42).to_cloud_event("urn:plinth:one");
    let wanted = serde_json::json!({
        "specversion": "1.0",
        "id": "00000000-0000-0000-0000-00000000000a",
        "source": "urn:plinth:one",
        "type": "app.order_placed",
        "subject": "order/17",
        "time": "2027-01-15T08:00:00.123456Z",
        "datacontenttype": "application/json",
        "userid": "01890a5d-ac96-774b-bcce-b302099a8057",
        "actorid": "01890a5d-ac96-774b-bcce-b302099a8057",
        "impersonatorid": "00000000-0000-0000-0000-00000000000b",
        "requestid": "00000000-0000-0000-0000-00000000000c",
        "sequence": "00000000000000000042",
        "data": {"total": 3},
    });
    assert_eq!(envelope, wanted);
    for name in envelope.as_object().expect("an object").keys() {
        let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        assert!(plain && name.len() <= 20, "attribute name {name}");
    }
}

#[test]
fn what_is_not_there_is_left_out_of_the_envelope() {
    let bare = Event {
        subject: Some(String::new()),
        data: None,
        impersonator: None,
        request_id: None,
        ..sample()
    };
    let envelope = logged(bare, 1).to_cloud_event("urn:plinth:one");
    for name in ["subject", "data", "impersonatorid", "requestid"] {
        assert!(envelope.get(name).is_none(), "{name}");
    }
    for name in ["specversion", "id", "source", "type", "time"] {
        assert!(envelope[name].as_str().is_some_and(|text| !text.is_empty()), "{name}");
    }
    let null = Event {
        data: Some("null".to_owned()),
        ..sample()
    };
    let envelope = logged(null, 1).to_cloud_event("urn:plinth:one");
    assert_eq!(envelope.get("data"), Some(&serde_json::Value::Null));
}

#[test]
fn the_same_content_is_told_from_other_content() {
    let event = sample();
    let again = Event {
        time: Timestamp::MAX,
        salt: Some([9; 16]),
        digest: [0; 32],
        ..event.clone()
    };
    assert!(event.same_content(&again));
    let id = UserId::new(Uuid::from_u128(1));
    assert!(!event.same_content(&Event {
        user_id: id,
        ..event.clone()
    }));
    assert!(!event.same_content(&Event {
        data: Some("{}".to_owned()),
        ..event.clone()
    }));
    assert!(!event.same_content(&Event {
        subject: None,
        ..event.clone()
    }));
    assert!(!event.same_content(&Event {
        event_type: "app.x".parse().expect("a type"),
        ..event.clone()
    }));
}

#[test]
fn our_own_types_are_types_and_none_is_a_clients() {
    let mut names: Vec<&str> = OwnEvent::ALL.iter().map(|own| own.as_str()).collect();
    for own in OwnEvent::ALL {
        assert_eq!(own.as_str().parse(), Ok(own.event_type()));
        assert!(!own.event_type().is_under("app."));
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), OwnEvent::ALL.len());
    assert!("app.a".parse::<EventType>().is_ok_and(|own| own.is_under("app.")));
    assert!("apps.a".parse::<EventType>().is_ok_and(|own| !own.is_under("app.")));
}

#[test]
fn a_subject_is_text_that_the_envelope_may_hold() {
    assert!(is_subject("order/17") && is_subject("größe 7 🦀") && is_subject(&"é".repeat(256)));
    for text in [
        "",
        "a\0b",
        "a\nb",
        "\u{85}",
        "\u{FDD0}",
        "\u{FFFE}",
        "\u{1FFFF}",
        &"a".repeat(257),
    ] {
        assert!(!is_subject(text), "{text:?}");
    }
}
