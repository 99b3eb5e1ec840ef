//! The contract: the wire bodies of Plinth's HTTP interface.
mod accounts;
#[cfg(feature = "client")]
mod client;
mod events;
mod sessions;
mod mail;
mod files;
mod keys;
mod ops;
mod problem;
mod time;

pub use accounts::*;
#[cfg(feature = "client")]
pub use client::*;
pub use events::*;
pub use sessions::*;
pub use mail::*;
pub use files::*;
pub use keys::*;
pub use ops::*;
pub use problem::*;
pub use time::*;
