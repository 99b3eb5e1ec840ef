//! Decorators over the ports: timeout, breaker, bulkhead and counters around every backend.
//!
//! They pass the suites of the ports that they decorate. What a call says about the backend is judged here, and not whether it
//! pleased its caller: "there is no such blob" is an answer, and a breaker that opened at it would make an outage of it.

mod blobs;
mod events;
mod guard;
mod mailer;

pub use blobs::GuardedBlobStore;
pub use events::GuardedEventPublisher;
pub use guard::{GuardPolicy, GuardRefusal, GuardStats, OperationStats};
pub use mailer::GuardedMailer;
