//! A clock to move, and backends in memory that are as good as the contract asks: what stands behind the guards in tests.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use domain::blob::{BlobKey, ByteRange};
use domain::event::LoggedEvent;
use domain::id::UserId;
use domain::mail::RenderedMail;
use domain::time::Timestamp;
use futures_util::{StreamExt as _, stream};
use ports::{
    BackendError, BlobStore, ByteStream, Clock, EventPublisher, EventSubscriber, EventSubscription, GetBlobError,
    Mailer, PutBlobError, SendMailError,
};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_micros()).expect("a short time");
        self.0.fetch_add(by, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// Blobs in memory.
#[derive(Debug, Default)]
pub(crate) struct MemoryBlobStore(Mutex<HashMap<BlobKey, Bytes>>);

#[async_trait]
impl BlobStore for MemoryBlobStore {
    async fn put(&self, key: &BlobKey, mut body: ByteStream) -> Result<u64, PutBlobError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = body.next().await {
            bytes.extend_from_slice(&chunk.map_err(PutBlobError::Stream)?);
        }
        let mut blobs = self.0.lock().expect("nobody panicked");
        if blobs.contains_key(key) {
            return Err(PutBlobError::Exists);
        }
        let size = bytes.len() as u64;
        blobs.insert(key.clone(), Bytes::from(bytes));
        Ok(size)
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<ByteStream, GetBlobError> {
        let bytes = self
            .0
            .lock()
            .expect("nobody panicked")
            .get(key)
            .cloned()
            .ok_or(GetBlobError::NotFound)?;
        let bytes = match range {
            None => bytes,
            Some(range) if range.end < bytes.len() as u64 => {
                let index = |at| usize::try_from(at).expect("within memory");
                bytes.slice(index(range.start)..=index(range.end))
            }
            Some(_) => return Err(BackendError::permanent("memory", "get", "past the end").into()),
        };
        let chunks: Vec<_> = bytes
            .chunks(65_536)
            .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
            .collect();
        Ok(Box::pin(stream::iter(chunks)))
    }

    async fn size(&self, key: &BlobKey) -> Result<Option<u64>, BackendError> {
        Ok(self
            .0
            .lock()
            .expect("nobody panicked")
            .get(key)
            .map(|bytes| bytes.len() as u64))
    }

    async fn remove(&self, key: &BlobKey) -> Result<(), BackendError> {
        self.0.lock().expect("nobody panicked").remove(key);
        Ok(())
    }
}

/// Messages in memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryMailer(Arc<Mutex<Vec<String>>>);

impl MemoryMailer {
    pub(crate) fn handed_over(&self) -> Vec<String> {
        self.0.lock().expect("nobody panicked").clone()
    }
}

#[async_trait]
impl Mailer for MemoryMailer {
    async fn check(&self) -> Result<String, SendMailError> {
        Ok("memory is there".to_owned())
    }

    async fn send(&self, mail: &RenderedMail) -> Result<String, SendMailError> {
        let subject = mail.subject.replace(char::is_control, " ");
        let at = OffsetDateTime::from_unix_timestamp(mail.date.seconds()).expect("a time");
        let date = at.format(&Rfc2822).expect("a time that can be written");
        let source = format!(
            "From: noreply@plinth.example\r\nTo: {}\r\nSubject: {subject}\r\nMessage-ID: <{}@plinth.example>\r\nDate: {date}\r\n\
             Auto-Submitted: auto-generated\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n\
             --b\r\n\r\n{}\r\n--b\r\nContent-Type: text/html\r\n\r\n{}\r\n--b--\r\n",
            mail.to, mail.id, mail.text, mail.html
        );
        self.0.lock().expect("nobody panicked").push(source);
        Ok("250 2.0.0 ok".to_owned())
    }
}

/// Live events in memory, for whoever follows a user.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryBus(Arc<Mutex<Vec<(UserId, UnboundedSender<Arc<LoggedEvent>>)>>>);

#[async_trait]
impl EventPublisher for MemoryBus {
    async fn publish(&self, events: &[Arc<LoggedEvent>]) -> Result<(), BackendError> {
        let followers = self.0.lock().expect("nobody panicked");
        for event in events {
            let of_the_user = followers.iter().filter(|(user, _)| *user == event.event.user_id);
            for (_, follower) in of_the_user {
                let _ = follower.send(Arc::clone(event));
            }
        }
        Ok(())
    }

    fn has_audience(&self) -> bool {
        true
    }
}

impl EventSubscriber for MemoryBus {
    fn subscribe(&self, user: UserId) -> EventSubscription {
        let (sender, receiver) = unbounded_channel();
        self.0.lock().expect("nobody panicked").push((user, sender));
        Box::pin(stream::unfold(receiver, |mut receiver| async move {
            Some((receiver.recv().await?, receiver))
        }))
    }
}
