//! The audit trail as administrators read it.
use serde::{Deserialize, Serialize};

use crate::EventBody;

/// An event with its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct AuditEntryBody {
    /// The shard of the log that it is in, 0 to 15: that of its user.
    pub shard: u8,
    /// Its position in the shard, from 1 on, without gaps.
    pub position: u64,
    /// Its hash of the chain, in 64 hexadecimal digits: over the hash before it and everything of it but the payload,
    /// of which it holds a digest.
    pub hash: String,
    /// The event.
    pub event: EventBody,
}

/// A part of what was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct AuditPageBody {
    /// Events, newest first.
    pub items: Vec<AuditEntryBody>,
    /// Give it back as `after`; null at the end. A page may be short or empty and still have one: each looks at a
    /// bounded number of events.
    pub next_cursor: Option<String>,
}

#[cfg(feature = "server")]
mod server {
    use std::fmt::Write as _;

    use domain::event::LoggedEvent;

    use super::AuditEntryBody;
    use crate::EventBody;

    impl AuditEntryBody {
        /// The entry of an event.
        pub fn new(logged: &LoggedEvent, source: &str) -> Self {
            let hash = logged.hash.iter().fold(String::with_capacity(64), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            });
            Self {
                shard: logged.shard.number(),
                position: logged.position,
                hash,
                event: EventBody::new(logged, source),
            }
        }
    }
}
