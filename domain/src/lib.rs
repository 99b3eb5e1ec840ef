//! The values and rules of Plinth: pure, no I/O, no clock.
