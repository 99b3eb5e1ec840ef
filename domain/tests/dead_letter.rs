//! Reasons of failures and the words of dead letters.

use domain::dead_letter::{FailureReason, LetterOrigin};
use domain::retry::RetrySchedule;
use std::time::Duration;

#[test]
fn a_reason_is_harmless_and_bounded() {
    let reason = FailureReason::new("Sql.usage add\n", "line one\nline two \u{1b}[2J");
    assert_eq!(reason.code(), "sql.usage_add_");
    assert_eq!(reason.text(), "line one line two  [2J");
    let long = FailureReason::new(&"x".repeat(100), &"ü".repeat(1_000));
    assert_eq!((long.code().len(), long.text().chars().count()), (64, 500));
    assert_eq!(FailureReason::new("", "").code(), "failed");
}

#[test]
fn origins_have_their_words() {
    for origin in LetterOrigin::ALL {
        assert_eq!(LetterOrigin::parse(origin.as_str()), Some(origin));
    }
    assert_eq!(LetterOrigin::parse("LOG"), None);
}

#[test]
fn an_event_is_tried_eight_times_in_five_to_ten_minutes_or_so() {
    let sum = |random: u64| -> Duration {
        (1..)
            .map_while(|failures| RetrySchedule::EVENT.delay(failures, random))
            .sum()
    };
    let (shortest, longest) = (sum(0), sum(u64::MAX - 1));
    assert!(shortest >= Duration::from_secs(300), "{shortest:?}");
    assert!(longest <= Duration::from_secs(620), "{longest:?}");
    assert_eq!(
        (1..)
            .map_while(|failures| RetrySchedule::EVENT.delay(failures, 0))
            .count(),
        7
    );
}
