//! The dashboard as its reader meets it: pictures, keys, recordings, and a server that goes and comes back.
mod behaviour;
mod pictures;
mod recordings;
mod scenes;
mod sentences;
mod server;
