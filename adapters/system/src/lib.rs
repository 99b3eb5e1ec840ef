//! The clock, randomness and ids of the operating system, and (feature `testing`) their settable twins for tests.

mod clock;
mod ids;
mod randomness;
#[cfg(any(test, feature = "testing"))]
mod testing;

pub use clock::SystemClock;
pub use ids::SystemIds;
pub use randomness::SystemRandomness;
#[cfg(any(test, feature = "testing"))]
pub use testing::{ManualClock, SeededRandomness};

#[cfg(test)]
mod tests;
