//! The scenarios that every adapter must pass: one module per port, each with one list inside a macro.
