//! The ports of Plinth: traits whose doc comments are contracts.
//!
//! Three rules hold for all of them. A method is the unit of atomicity: what it is told to write is
//! written whole or not at all, and no transaction crosses a port. What a change causes (events,
//! mails, revocations) travels with it as [`Effects`] and is committed with it. Errors have one
//! variant for each branch that a caller takes, and [`BackendError`] for all that it does not.

pub mod audit;
pub mod blobs;
pub mod bus;
pub mod crypto;
pub mod dead_letters;
pub mod effects;
pub mod error;
pub mod events;
pub mod files;
pub mod idempotency;
pub mod installation;
pub mod limits;
pub mod mail;
pub mod probe;
pub mod schemas;
pub mod sessions;
pub mod system;
pub mod tokens;
pub mod topics;
pub mod usage;
pub mod users;
pub mod webhooks;

#[cfg(feature = "conformance")]
pub mod conformance;

pub use audit::*;
pub use blobs::*;
pub use bus::*;
pub use crypto::*;
pub use dead_letters::*;
pub use effects::*;
pub use error::*;
pub use events::*;
pub use files::*;
pub use idempotency::*;
pub use installation::*;
pub use limits::*;
pub use mail::*;
pub use probe::*;
pub use schemas::*;
pub use sessions::*;
pub use system::*;
pub use tokens::*;
pub use topics::*;
pub use usage::*;
pub use users::*;
pub use webhooks::*;
