//! Retry schedules: doubling, capped, spread, and over at some point.

use std::time::Duration;

use domain::retry::RetrySchedule;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn the_wait_lies_between_half_of_the_step_and_the_whole(
        base in 0_u64..10_000_000_000,
        cap in 0_u64..100_000_000_000,
        attempts in 0_u32..200,
        failures in 0_u32..210,
        random in any::<u64>(),
    ) {
        let schedule = RetrySchedule { base: Duration::from_micros(base), cap: Duration::from_micros(cap), attempts };
        let Some(wait) = schedule.delay(failures, random) else {
            prop_assert!(failures == 0 || failures >= attempts);
            return Ok(());
        };
        prop_assert!(failures > 0 && failures < attempts);
        // 2 to the 60th of even one microsecond is past every cap here.
        let step = (u128::from(base) << (failures - 1).min(60)).min(u128::from(cap));
        prop_assert!(wait.as_nanos() >= step * 500, "{:?} of a step of {} us", wait, step);
        prop_assert!(wait.as_nanos() <= step * 1_000, "{:?} of a step of {} us", wait, step);
    }

    #[test]
    fn no_schedule_overflows(base in any::<u64>(), cap in any::<u64>(), failures in any::<u32>(), random in any::<u64>()) {
        let schedule = RetrySchedule { base: Duration::from_secs(base), cap: Duration::from_secs(cap), attempts: u32::MAX };
        if let Some(wait) = schedule.delay(failures, random) {
            prop_assert!(wait <= schedule.cap);
        }
    }
}

#[test]
fn the_jitter_uses_its_whole_span_evenly() {
    let schedule = RetrySchedule {
        base: Duration::from_secs(8),
        cap: Duration::from_secs(60),
        attempts: 9,
    };
    let waits = |random| schedule.delay(1, random).expect("a wait");
    assert_eq!(waits(0), Duration::from_secs(4));
    assert_eq!(waits(3_999_999), Duration::from_micros(7_999_999));
    let mut tenths = [0_u32; 10];
    let mut random = 0_u64;
    for _ in 0..10_000 {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let past_half = waits(random >> 11) - Duration::from_secs(4);
        tenths[usize::try_from(past_half.as_micros() / 400_000).expect("small")] += 1;
    }
    assert!(tenths.iter().all(|count| (850..1_150).contains(count)), "{tenths:?}");
}

#[test]
fn mail_is_tried_for_about_a_day() {
    let schedule = RetrySchedule::MAIL;
    let total = |random: u64| -> Duration {
        (1..schedule.attempts)
            .map(|failures| schedule.delay(failures, random).expect("a wait"))
            .sum()
    };
    let shortest = total(0);
    assert_eq!(schedule.delay(1, 0), Some(Duration::from_secs(15)));
    assert_eq!(
        schedule.delay(schedule.attempts - 1, 0),
        Some(Duration::from_secs(2 * 3_600))
    );
    assert_eq!(schedule.delay(schedule.attempts, 0), None);
    // The mean is one and a half times the shortest.
    let mean = shortest * 3 / 2;
    assert!(
        (Duration::from_secs(22 * 3_600)..Duration::from_secs(26 * 3_600)).contains(&mean),
        "{mean:?}"
    );
}
