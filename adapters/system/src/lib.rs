//! The clock, randomness, ids and process figures of the operating system, and (feature `testing`) their settable twins for tests.

mod clock;
mod ids;
mod process;
mod randomness;
#[cfg(any(test, feature = "testing"))]
mod testing;

pub use clock::SystemClock;
pub use ids::SystemIds;
pub use process::process_stats;
pub use randomness::SystemRandomness;
#[cfg(any(test, feature = "testing"))]
pub use testing::{ManualClock, SeededRandomness};

#[cfg(test)]
mod tests;
