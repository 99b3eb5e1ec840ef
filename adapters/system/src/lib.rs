//! The clock, randomness and ids of the operating system, and their settable twins for tests.
