//! What the tests of files are made of: a clock that they set, and mocks that force failures.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use domain::blob::{BlobKey, FileName};
use domain::event::Actor;
use domain::file::{BackendName, File};
use domain::id::{FileId, UserId};
use domain::tier::{Tier, TierLimits, TierName, Tiers};
use domain::time::Timestamp;
use futures_util::{FutureExt, StreamExt, stream};
use ports::{
    BlobStore, ByteStream, MockBlobStore, MockClock, MockFileRepository, MockIds, MockLinkSigner, MockRandomness,
    MockWakeupBus, StreamError,
};
use sha2::{Digest, Sha256};
use url::Url;
use uuid::Uuid;

use super::{Backends, Files, Length, NewFile};
use crate::service::{Origin, Toolkit};

/// The largest file of the tests' only plan.
pub(crate) const MAX_FILE: u64 = 1_000;
/// All files of it.
pub(crate) const QUOTA: u64 = 1_500;
/// When the tests begin, in seconds.
pub(crate) const START: i64 = 1_800_000_000;

/// A user.
pub(crate) fn user() -> UserId {
    UserId::new(Uuid::from_u128(7))
}

/// The user as the author of a change.
pub(crate) fn origin() -> Origin {
    Origin {
        actor: Actor::User(user()),
        impersonator: None,
        request_id: None,
    }
}

/// A stored file of these bytes.
pub(crate) fn file(bytes: &[u8]) -> File {
    let (id, at) = (FileId::new(Uuid::from_u128(99)), Timestamp::from_seconds(START));
    let (kind, name) = ("report".parse().unwrap(), "a b.pdf".parse::<FileName>().unwrap());
    File {
        id,
        user_id: user(),
        key: BlobKey::new(user(), &kind, id, at, &name),
        kind,
        name,
        backend: backend(),
        size: bytes.len() as u64,
        media_type: "application/pdf".to_owned(),
        sha256: Sha256::digest(bytes).into(),
        created_at: at,
    }
}

/// The only backend.
pub(crate) fn backend() -> BackendName {
    "local".parse().unwrap()
}

/// An upload of the user's.
pub(crate) fn new_file(length: Length) -> NewFile {
    NewFile {
        user_id: user(),
        tier: TierName::free(),
        origin: origin(),
        kind: "report".parse().unwrap(),
        name: "a b.pdf".parse().unwrap(),
        length,
        media_type: Some("text/plain".to_owned()),
    }
}

/// A body of these chunks.
pub(crate) fn body(chunks: &[&'static [u8]]) -> ByteStream {
    Box::pin(stream::iter(
        chunks
            .iter()
            .map(|chunk| Ok(Bytes::from_static(chunk)))
            .collect::<Vec<_>>(),
    ))
}

/// A body that must not be read.
pub(crate) fn untouchable() -> ByteStream {
    Box::pin(stream::poll_fn(|_| panic!("the body was read")))
}

/// Reads a body of the tests, none of which ever waits, as a backend does.
pub(crate) fn drain(body: ByteStream) -> Result<u64, StreamError> {
    let chunks = body.collect::<Vec<_>>().now_or_never().unwrap();
    chunks
        .into_iter()
        .try_fold(0, |sum, chunk| Ok(sum + chunk?.len() as u64))
}

/// The parts of a service, before it is one.
pub(crate) struct Bench {
    /// Seconds that the clock shows; a test moves it.
    pub(crate) clock: Arc<AtomicI64>,
    /// How often the workers were woken.
    pub(crate) wakes: Arc<AtomicUsize>,
    /// The rows.
    pub(crate) repository: MockFileRepository,
    /// The backend.
    pub(crate) store: MockBlobStore,
    /// The signer.
    pub(crate) links: MockLinkSigner,
}

impl Bench {
    /// Everything fails that a test does not expect.
    pub(crate) fn new() -> Self {
        Self {
            clock: Arc::new(AtomicI64::new(START)),
            wakes: Arc::default(),
            repository: MockFileRepository::new(),
            store: MockBlobStore::new(),
            links: MockLinkSigner::new(),
        }
    }

    /// The service.
    pub(crate) fn files(self) -> Files {
        let limits = TierLimits {
            max_file_bytes: MAX_FILE,
            storage_bytes: QUOTA,
            requests_per_minute: 1,
            events_per_minute: 1,
        };
        let tier = Tier {
            name: TierName::free(),
            features: [].into(),
            limits,
        };
        let store: Arc<dyn BlobStore> = Arc::new(self.store);
        let backends = Backends {
            default: backend(),
            stores: BTreeMap::from([(backend(), store)]),
        };
        Files::new(
            toolkit(self.clock, self.wakes),
            Arc::new(self.repository),
            backends,
            Arc::new(self.links),
            Arc::new(Tiers::new([tier]).unwrap()),
            Url::parse("https://files.example.com/base/").unwrap(),
        )
    }
}

fn toolkit(seconds: Arc<AtomicI64>, wakes: Arc<AtomicUsize>) -> Toolkit {
    let mut clock = MockClock::new();
    clock
        .expect_now()
        .returning(move || Timestamp::from_seconds(seconds.load(Ordering::SeqCst)));
    let mut randomness = MockRandomness::new();
    randomness.expect_fill().returning(|bytes| bytes.fill(1));
    let mut ids = MockIds::new();
    let next = AtomicU64::new(1);
    ids.expect_next()
        .returning(move || Uuid::from_u128(next.fetch_add(1, Ordering::SeqCst).into()));
    let mut bus = MockWakeupBus::new();
    bus.expect_wake().returning(move |_| {
        wakes.fetch_add(1, Ordering::SeqCst);
    });
    Toolkit {
        clock: Arc::new(clock),
        randomness: Arc::new(randomness),
        ids: Arc::new(ids),
        wakeups: Arc::new(bus),
    }
}
