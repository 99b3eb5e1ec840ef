//! The suites of the ports that this adapter implements.

use std::path::Path;

use adapter_local::{EmlMailer, LocalBlobStore, LocalEventBus, LocalRateLimiter, LocalWakeupBus};
use ports::conformance::mailer::MailerSubject;
use tempfile::TempDir;

async fn blobs() -> Option<(LocalBlobStore, TempDir)> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = LocalBlobStore::open(folder.path().join("data/blobs"))
        .await
        .expect("it opens");
    Some((store, folder))
}

/// Every message in the folder.
fn messages(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    let files = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "eml"));
    files
        .map(|path| std::fs::read_to_string(path).expect("a message is text"))
        .collect()
}

async fn mails() -> Option<(MailerSubject<EmlMailer>, TempDir)> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let outbox = folder.path().join("outbox");
    let from = "noreply@plinth.example".parse().expect("an address");
    let mailer = EmlMailer::open(&outbox, from, "Plinth").await.expect("it opens");
    Some((
        MailerSubject {
            mailer,
            handed_over: Box::new(move || messages(&outbox)),
        },
        folder,
    ))
}

async fn buses() -> Option<((LocalEventBus, LocalEventBus), ())> {
    let bus = LocalEventBus::new();
    Some(((bus.clone(), bus), ()))
}

mod blob_store {
    ports::blob_store_conformance!(super::blobs());
}

mod mailer {
    ports::mailer_conformance!(super::mails());
}

mod wakeup_bus {
    ports::wakeup_bus_conformance!(async { Some((super::LocalWakeupBus::new(), ())) });
}

mod event_publisher {
    ports::event_publisher_conformance!(super::buses());
}

mod event_subscriber {
    ports::event_subscriber_conformance!(super::buses());
}

mod rate_limiter {
    ports::rate_limiter_conformance!(async { Some((super::LocalRateLimiter::new(), ())) });
}
