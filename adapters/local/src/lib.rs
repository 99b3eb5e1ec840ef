//! What Plinth needs and one machine has: a disk for blobs and mails, memory for signals, live events and rate limits.

mod blobs;
mod disk;
mod events;
mod limits;
mod mailer;
mod part;
mod wakeups;

pub use blobs::LocalBlobStore;
pub use events::LocalEventBus;
pub use limits::LocalRateLimiter;
pub use mailer::EmlMailer;
pub use wakeups::LocalWakeupBus;

/// The name of this adapter in errors.
const ADAPTER: &str = "local";
