//! The guards pass the suites of the ports that they decorate.

use std::sync::Arc;

use adapter_guard::{GuardPolicy, GuardedBlobStore, GuardedEventPublisher, GuardedMailer};
use ports::conformance::mailer::MailerSubject;

use super::support::{MemoryBlobStore, MemoryBus, MemoryMailer, TestClock};

async fn blobs() -> Option<(GuardedBlobStore, ())> {
    let clock = Arc::new(TestClock::default());
    let inner = Arc::new(MemoryBlobStore::default());
    Some((
        GuardedBlobStore::new(inner, "memory", GuardPolicy::default(), clock),
        (),
    ))
}

async fn mails() -> Option<(MailerSubject<GuardedMailer>, ())> {
    let clock = Arc::new(TestClock::default());
    let inner = MemoryMailer::default();
    let mailer = GuardedMailer::new(Arc::new(inner.clone()), "memory", GuardPolicy::default(), clock);
    Some((
        MailerSubject {
            mailer,
            handed_over: Box::new(move || inner.handed_over()),
        },
        (),
    ))
}

async fn events() -> Option<((GuardedEventPublisher, MemoryBus), ())> {
    let (clock, bus) = (Arc::new(TestClock::default()), MemoryBus::default());
    let publisher = GuardedEventPublisher::new(Arc::new(bus.clone()), "memory", GuardPolicy::default(), clock);
    Some(((publisher, bus), ()))
}

mod blob_store {
    ports::blob_store_conformance!(super::blobs());
}

mod event_publisher {
    ports::event_publisher_conformance!(super::events());
}

mod mailer {
    ports::mailer_conformance!(super::mails());
}
