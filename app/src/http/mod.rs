//! The HTTP interface under `/v1`: routes, their bodies and what every request passes through.

pub mod accounts;
pub mod admin;
pub mod audit;
pub mod auth;
pub mod convert;
pub mod dead_letters;
pub mod document;
pub mod events;
pub mod files;
pub mod idempotency;
pub mod input;
pub mod keys;
pub mod layer;
pub mod mail;
pub mod me;
pub mod pages;
pub mod problem;
pub mod sessions;
pub mod system;
pub mod written;

use poem_openapi::Tags as DeriveTags;

/// The chapters of the contract.
#[derive(Debug, Clone, Copy, DeriveTags)]
pub enum Tags {
    /// Signing up, verifying the address, resetting a password; the profile and what was used of the plan.
    Accounts,
    /// Signing in and out, refreshing tokens, and where the account is signed in. A session is one login on one device.
    Sessions,
    /// Uploading, reading and deleting files, and signed links for those without an account.
    Files,
    /// Publishing events, reading the history in order, and following it: by long poll (`GET /v1/events?wait=30`), which every client can, or as a stream of server-sent events.
    Events,
    /// The messages that were written to the caller, and what became of each.
    Mail,
    /// Users and their plans, for administrators alone.
    Administration,
    /// The public keys, with which any service verifies access tokens by itself.
    Keys,
}

/// A request that must wait, on the wire.
pub fn throttled(error: crate::service::throttle::ThrottleError) -> problem::Fault {
    use crate::service::throttle::ThrottleError;
    match error {
        // Rounded up: a client that waits exactly as told must not be told again.
        ThrottleError::TooMany(wait) => {
            problem::Fault::rate_limited().retry_after(wait.as_millis().div_ceil(1_000) as u64)
        }
        ThrottleError::Backend(error) => error.into(),
    }
}
