//! The contract: the wire bodies of Plinth's HTTP interface, and with the feature `client` a typed client of it.
mod accounts;
#[cfg(feature = "client")]
mod api_client;
mod audit;
#[cfg(feature = "client")]
mod client;
mod dead_letters;
mod events;
mod files;
mod histogram;
mod keys;
mod mail;
mod ops;
mod problem;
mod sessions;
mod text;
mod time;
#[cfg(feature = "client")]
mod watch;

pub use accounts::*;
#[cfg(feature = "client")]
pub use api_client::*;
pub use audit::*;
#[cfg(feature = "client")]
pub use client::*;
pub use dead_letters::*;
pub use events::*;
pub use files::*;
pub use histogram::*;
pub use keys::*;
pub use mail::*;
pub use ops::*;
pub use problem::*;
pub use sessions::*;
pub use text::*;
pub use time::*;
#[cfg(feature = "client")]
pub use watch::*;
