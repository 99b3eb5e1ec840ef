//! Points in time: what RFC 3339 can write, and nothing else.

use std::time::Duration;

use domain::time::{ParseTimestampError, Timestamp};
use proptest::prelude::*;

fn times() -> impl Strategy<Value = Timestamp> {
    let near = prop::sample::select(vec![Timestamp::MIN, Timestamp::MAX, Timestamp::default()]);
    prop_oneof![
        4 => (Timestamp::MIN.micros()..=Timestamp::MAX.micros()).prop_map(Timestamp::from_micros),
        1 => (near, -2_000_000_i64..2_000_000).prop_map(|(at, by)| Timestamp::from_micros(at.micros() + by)),
    ]
}

fn durations() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (0_u64..1 << 50).prop_map(Duration::from_micros),
        any::<Duration>(),
        Just(Duration::MAX)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn what_is_written_is_read_again(at in times()) {
        let text = at.to_rfc3339();
        prop_assert!(text.ends_with('Z') && text.as_bytes()[10] == b'T' && text.len() >= 20, "{}", text);
        prop_assert_eq!(Timestamp::parse_rfc3339(&text), Ok(at));
    }

    #[test]
    fn an_offset_names_the_same_moment(at in times(), minutes in -1_439_i64..=1_439) {
        let local = at.micros() + minutes * 60_000_000;
        let shown = Timestamp::from_micros(local);
        prop_assume!(shown.micros() == local);
        let sign = if minutes < 0 { '-' } else { '+' };
        let (hours, rest) = (minutes.abs() / 60, minutes.abs() % 60);
        let text = format!("{}{sign}{hours:02}:{rest:02}", shown.to_rfc3339().trim_end_matches('Z'));
        prop_assert_eq!(Timestamp::parse_rfc3339(&text), Ok(at), "{}", text);
    }

    #[test]
    fn every_number_is_brought_into_the_range(micros in any::<i64>(), seconds in any::<i64>()) {
        for at in [Timestamp::from_micros(micros), Timestamp::from_seconds(seconds)] {
            prop_assert!((Timestamp::MIN..=Timestamp::MAX).contains(&at));
            prop_assert_eq!(Timestamp::parse_rfc3339(&at.to_rfc3339()), Ok(at));
        }
        let nearest = micros.clamp(Timestamp::MIN.micros(), Timestamp::MAX.micros());
        prop_assert_eq!(Timestamp::from_micros(micros).micros(), nearest);
    }

    #[test]
    fn moving_stops_at_the_ends(at in times(), by in durations()) {
        let by_micros = i128::try_from(by.as_micros()).expect("far below");
        let clamp = |micros: i128| micros.clamp(i128::from(Timestamp::MIN.micros()), i128::from(Timestamp::MAX.micros()));
        prop_assert_eq!(i128::from(at.plus(by).micros()), clamp(i128::from(at.micros()) + by_micros));
        prop_assert_eq!(i128::from(at.minus(by).micros()), clamp(i128::from(at.micros()) - by_micros));
    }

    #[test]
    fn the_distance_is_what_was_added(at in times(), other in times()) {
        let (early, late) = (at.min(other), at.max(other));
        prop_assert_eq!(early.plus(late.since(early)), late);
        prop_assert_eq!(early.since(late), Duration::ZERO);
    }

    #[test]
    fn whole_seconds_round_down(at in times()) {
        let whole = Timestamp::from_seconds(at.seconds());
        prop_assert!(whole <= at && at.since(whole) < Duration::from_secs(1));
    }

    #[test]
    fn no_text_breaks_the_reader(text in any::<String>()) {
        if let Ok(at) = Timestamp::parse_rfc3339(&text) {
            prop_assert!((Timestamp::MIN..=Timestamp::MAX).contains(&at));
        }
    }
}

#[test]
fn known_moments() {
    for (text, micros) in [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000001Z", 1),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("2026-11-22T12:34:56.5Z", 1_795_350_896_500_000),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000_000),
        ("0000-01-01T00:00:00Z", Timestamp::MIN.micros()),
        ("9999-12-31T23:59:59.999999Z", Timestamp::MAX.micros()),
    ] {
        assert_eq!(Timestamp::from_micros(micros).to_string(), text);
        assert_eq!(
            Timestamp::parse_rfc3339(text),
            Ok(Timestamp::from_micros(micros)),
            "{text}"
        );
    }
}

#[test]
fn finer_digits_are_cut_off() {
    let parsed = Timestamp::parse_rfc3339("1970-01-01T00:00:00.123456789Z").expect("a time");
    assert_eq!(parsed.micros(), 123_456);
    let before = Timestamp::parse_rfc3339("1969-12-31T23:59:59.9999999Z").expect("a time");
    assert_eq!(before.micros(), -1);
}

#[test]
fn a_moment_outside_the_years_of_utc_is_refused_and_not_moved() {
    for text in [
        "9999-12-31T23:59:59-00:01",
        "0000-01-01T00:00:00+00:01",
        "10000-01-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-11-22T24:00:00Z",
        "2026-11-22T12:00:00",
        "2026-11-22",
        "1795350896",
        "",
    ] {
        assert_eq!(Timestamp::parse_rfc3339(text), Err(ParseTimestampError), "{text}");
    }
}
