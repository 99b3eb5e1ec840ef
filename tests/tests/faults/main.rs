//! What must hold when much happens at once, and when processes end: by signal, by crash, or at their start.

mod cluster;
mod crash;
mod kafka;
mod load;
#[path = "../common/rows.rs"]
mod rows;
mod shutdown;
mod start;
