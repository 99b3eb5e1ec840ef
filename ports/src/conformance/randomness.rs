//! The scenarios of [`Randomness`](crate::Randomness).

use std::collections::HashSet;

use crate::Randomness;

/// One named test per scenario. The fixture is a future of `Option<(randomness, guard)>`.
#[macro_export]
macro_rules! randomness_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            randomness,
            [
                fills_every_byte,
                fills_any_length,
                two_fills_differ,
                ones_and_zeroes_are_even
            ]
        );
    };
}

/// No byte of the buffer is left as it was.
pub async fn fills_every_byte(randomness: &dyn Randomness) {
    let mut seen = [false; 61];
    // A byte stays zero by chance once in 256; that it does so 64 times running does not happen.
    for _ in 0..64 {
        let mut bytes = [0; 61];
        randomness.fill(&mut bytes);
        for (seen, byte) in seen.iter_mut().zip(bytes) {
            *seen |= byte != 0;
        }
    }
    assert_eq!(seen, [true; 61]);
}

/// None, one, an odd number and many bytes.
pub async fn fills_any_length(randomness: &dyn Randomness) {
    for length in [0, 1, 7, 33, 100_000] {
        let mut bytes = vec![0; length];
        randomness.fill(&mut bytes);
        assert!(
            length < 33 || bytes.iter().any(|byte| *byte != 0),
            "{length} bytes were left alone"
        );
    }
}

/// Thousands of 16-byte values, no two alike.
pub async fn two_fills_differ(randomness: &dyn Randomness) {
    let mut seen = HashSet::new();
    for _ in 0..10_000 {
        let mut bytes = [0; 16];
        randomness.fill(&mut bytes);
        assert!(seen.insert(bytes), "the same sixteen bytes came twice");
    }
}

/// Of half a million bits, half are set: within one per cent, which is 14 standard deviations.
pub async fn ones_and_zeroes_are_even(randomness: &dyn Randomness) {
    let mut bytes = vec![0; 65_536];
    randomness.fill(&mut bytes);
    let ones: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
    assert!((259_522..=264_766).contains(&ones), "{ones} of 524,288 bits are set");
}
