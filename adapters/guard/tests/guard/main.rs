//! The guards: the suites of the ports that they decorate, and what they add.

mod conformance;
mod guarding;
mod support;
