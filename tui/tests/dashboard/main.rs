//! The dashboard as its reader meets it: pictures, keys, recordings, and a server that goes and comes back.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so best where it stands"
)]
mod behaviour;
mod pictures;
mod recordings;
mod scenes;
mod sentences;
mod server;
