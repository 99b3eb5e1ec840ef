//! The values and rules of Plinth: pure, without I/O, without a clock, without a vendor type.
//!
//! One file per word of the vocabulary. A value that exists is valid: the only way to hold an
//! [`EmailAddress`](email::EmailAddress) or a [`BlobKey`](blob::BlobKey) is to have it checked.

pub mod audit;
pub mod blob;
pub mod breaker;
pub mod cloud_event;
pub mod dead_letter;
pub mod email;
pub mod event;
pub mod file;
pub mod histogram;
pub mod id;
pub mod limit;
pub mod mail;
pub mod page;
pub mod password;
pub mod retry;
pub mod schema;
pub mod session;
pub mod stats;
pub mod tier;
pub mod time;
pub mod token;
pub mod user;
pub mod webhook;
