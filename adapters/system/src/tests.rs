//! The suites of the ports, and what only these adapters promise.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use domain::time::Timestamp;
use ports::{Clock, Ids, Randomness};
use uuid::Uuid;

use crate::{ManualClock, SeededRandomness, SystemClock, SystemIds, SystemRandomness};

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

mod system_clock {
    ports::clock_conformance!(async { Some((crate::SystemClock, ())) });
}

mod manual_clock {
    ports::clock_conformance!(async { Some((crate::ManualClock::new(super::NOW), ())) });
}

mod system_randomness {
    ports::randomness_conformance!(async { Some((crate::SystemRandomness, ())) });
}

mod seeded_randomness {
    ports::randomness_conformance!(async { Some((crate::SeededRandomness::new(7), ())) });
}

mod system_ids {
    ports::ids_conformance!(async { Some((super::ids(Arc::new(crate::SystemClock)), ())) });
    use std::sync::Arc;
}

mod ids_while_the_clock_stands_still {
    ports::ids_conformance!(async { Some((super::ids(Arc::new(crate::ManualClock::new(super::NOW))), ())) });
    use std::sync::Arc;
}

fn ids(clock: Arc<dyn Clock>) -> SystemIds {
    SystemIds::new(clock, Arc::new(SystemRandomness))
}

/// Every bit set: the largest tail and the largest step.
struct Ones;

impl Randomness for Ones {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0xFF);
    }
}

fn millis(id: Uuid) -> u128 {
    id.as_u128() >> 80
}

#[test]
fn the_system_clock_agrees_with_the_file_system() {
    let file = std::env::current_exe()
        .and_then(std::fs::metadata)
        .and_then(|file| file.modified())
        .expect("this program");
    let built = file.duration_since(std::time::UNIX_EPOCH).expect("built after 1970");
    let age = SystemClock.now().since(Timestamp::default().plus(built));
    assert!(
        age > Duration::ZERO && age < Duration::from_secs(366 * 86_400),
        "this program is {age:?} old"
    );
}

#[test]
fn a_manual_clock_moves_when_told() {
    let clock = ManualClock::new(NOW);
    assert_eq!((clock.now(), clock.now()), (NOW, NOW));
    clock.advance(Duration::from_micros(3));
    assert_eq!(clock.now(), NOW.plus(Duration::from_micros(3)));
    clock.set(NOW.minus(Duration::from_secs(5)));
    assert_eq!(clock.now(), NOW.minus(Duration::from_secs(5)));
}

#[test]
fn seeded_randomness_repeats_itself_and_differs_by_seed() {
    let bytes = |seed| {
        let (randomness, mut bytes) = (SeededRandomness::new(seed), [0; 20]);
        randomness.fill(&mut bytes);
        bytes
    };
    assert_eq!(bytes(1), bytes(1));
    assert_ne!(bytes(1), bytes(2));
}

#[test]
fn an_id_begins_with_the_milliseconds_of_its_making() {
    let clock = Arc::new(ManualClock::new(NOW.plus(Duration::from_micros(1_999))));
    let ids = ids(Arc::clone(&clock) as Arc<dyn Clock>);
    assert_eq!(millis(ids.next()), 1_800_000_000_001);
    clock.advance(Duration::from_secs(1));
    assert_eq!(millis(ids.next()), 1_800_000_001_001);
}

#[test]
fn ids_keep_their_order_when_the_clock_goes_back() {
    let clock = Arc::new(ManualClock::new(NOW));
    let ids = ids(Arc::clone(&clock) as Arc<dyn Clock>);
    let before = ids.next();
    clock.set(NOW.minus(Duration::from_secs(3_600)));
    let after = ids.next();
    assert!(after > before);
    assert_eq!(millis(after), millis(before));
    clock.set(Timestamp::from_micros(-1));
    assert!(ids.next() > after);
}

#[test]
fn ids_stay_unique_ordered_and_of_version_7_when_the_tail_is_used_up() {
    let ids = SystemIds::new(Arc::new(ManualClock::new(NOW)), Arc::new(Ones));
    *ids.last.lock().expect("nobody panicked") = crate::ids::Last {
        millis: 1_800_000_000_000,
        tail: (1 << 74) - 1 - 3 * (1 << 32),
    };
    let made: Vec<Uuid> = (0..6).map(|_| ids.next()).collect();
    assert!(made.is_sorted(), "{made:?}");
    assert_eq!(made.iter().collect::<HashSet<_>>().len(), 6);
    assert!(made.iter().all(|id| id.get_version_num() == 7));
    assert_eq!(
        (millis(made[0]), millis(made[5])),
        (1_800_000_000_000, 1_800_000_000_001)
    );
}

#[test]
fn random_parts_are_not_guessed_from_the_one_before() {
    let ids = ids(Arc::new(ManualClock::new(NOW)));
    let made: Vec<u128> = (0..1_000).map(|_| ids.next().as_u128()).collect();
    let steps: HashSet<u128> = made.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(steps.len() > 990, "steps repeat: {} of 999", steps.len());
}
