//! The scenarios of [`BlobStore`](crate::BlobStore).

use std::time::Duration;

use bytes::Bytes;
use domain::blob::{BlobKey, ByteRange};
use domain::id::{FileId, UserId};
use domain::time::Timestamp;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream;
use uuid::Uuid;

use crate::{BlobStore, ByteStream, GetBlobError, PutBlobError, StreamError};

/// One named test per scenario. The fixture is a future of `Option<(store, guard)>`; the store is empty.
#[macro_export]
macro_rules! blob_store_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            blob_store,
            [
                gives_back_what_was_put,
                keeps_an_empty_blob,
                keeps_keys_apart,
                streams_a_large_blob,
                reads_a_part,
                refuses_a_range_past_the_end,
                has_nothing_under_an_unknown_key,
                refuses_a_taken_key,
                lets_one_of_many_writers_win,
                leaves_nothing_of_a_stream_that_broke_off,
                leaves_nothing_of_a_put_that_was_dropped,
                removes_for_good_and_idempotently,
                reads_on_while_the_blob_is_removed,
            ]
        );
    };
}

/// A key of its own for each number.
pub fn key(number: u128) -> BlobKey {
    let kind = "sample".parse().expect("a type");
    let name = "a name.txt".parse().expect("a name");
    let at = Timestamp::from_seconds(1_800_000_000);
    BlobKey::new(
        UserId::new(Uuid::from_u128(1)),
        &kind,
        FileId::new(Uuid::from_u128(number)),
        at,
        &name,
    )
}

/// A body of one chunk for each text.
pub fn body(chunks: &[&'static str]) -> ByteStream {
    let chunks: Vec<_> = chunks
        .iter()
        .map(|chunk| Ok(Bytes::from_static(chunk.as_bytes())))
        .collect();
    Box::pin(stream::iter(chunks))
}

/// Reads a stream to its end.
///
/// # Panics
/// When it breaks off.
pub async fn read(mut stream: ByteStream) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(chunk) = stream.next().await {
        all.extend_from_slice(&chunk.expect("the stream goes on"));
    }
    all
}

async fn get(store: &dyn BlobStore, key: &BlobKey) -> Vec<u8> {
    read(store.get(key, None).await.expect("the blob is there")).await
}

async fn assert_nothing_under(store: &dyn BlobStore, key: &BlobKey) {
    assert_eq!(store.size(key).await.expect("an answer"), None);
    assert!(matches!(store.get(key, None).await, Err(GetBlobError::NotFound)));
}

/// All chunks in order, and the size of them.
pub async fn gives_back_what_was_put(store: &dyn BlobStore) {
    let size = store
        .put(&key(1), body(&["one ", "", "two ", "three"]))
        .await
        .expect("it is stored");
    assert_eq!(size, 13);
    assert_eq!(store.size(&key(1)).await.expect("an answer"), Some(13));
    assert_eq!(get(store, &key(1)).await, b"one two three");
}

/// No byte is a blob, too.
pub async fn keeps_an_empty_blob(store: &dyn BlobStore) {
    assert_eq!(store.put(&key(1), body(&[])).await.expect("it is stored"), 0);
    assert_eq!(store.size(&key(1)).await.expect("an answer"), Some(0));
    assert_eq!(get(store, &key(1)).await, b"");
    assert!(matches!(
        store.put(&key(1), body(&["x"])).await,
        Err(PutBlobError::Exists)
    ));
}

/// Each key has its own bytes.
pub async fn keeps_keys_apart(store: &dyn BlobStore) {
    store.put(&key(1), body(&["one"])).await.expect("it is stored");
    store.put(&key(2), body(&["two"])).await.expect("it is stored");
    store.remove(&key(1)).await.expect("it is removed");
    assert_eq!(get(store, &key(2)).await, b"two");
}

/// Sixteen mebibytes in 64 KiB chunks, each of another byte, come back in order and in many chunks.
pub async fn streams_a_large_blob(store: &dyn BlobStore) {
    const CHUNK: usize = 65_536;
    let chunks = stream::iter((0..=255_u8).map(|byte| Ok(Bytes::from(vec![byte; CHUNK]))));
    assert_eq!(
        store.put(&key(1), Box::pin(chunks)).await.expect("it is stored"),
        256 * CHUNK as u64
    );
    let mut stream = store.get(&key(1), None).await.expect("the blob is there");
    let (mut at, mut largest) = (0_usize, 0);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.expect("the stream goes on");
        largest = largest.max(chunk.len());
        for byte in chunk {
            assert_eq!(usize::from(byte), at / CHUNK, "at {at}");
            at += 1;
        }
    }
    assert_eq!(at, 256 * CHUNK);
    assert!(
        largest <= 4 * 1024 * 1024,
        "a chunk of {largest} bytes is no constant memory"
    );
}

/// Beginning, middle, end, one byte and the whole.
pub async fn reads_a_part(store: &dyn BlobStore) {
    store
        .put(&key(1), body(&["0123", "456", "789"]))
        .await
        .expect("it is stored");
    for (start, end, expected) in [(0, 3, "0123"), (2, 7, "234567"), (9, 9, "9"), (0, 9, "0123456789")] {
        let part = store
            .get(&key(1), Some(ByteRange { start, end }))
            .await
            .expect("the part is there");
        assert_eq!(read(part).await, expected.as_bytes());
    }
}

/// The caller knows the size; asking beyond it is its fault and no outage.
pub async fn refuses_a_range_past_the_end(store: &dyn BlobStore) {
    store.put(&key(1), body(&["0123456789"])).await.expect("it is stored");
    for (start, end) in [(0, 10), (10, 10), (5, u64::MAX - 1)] {
        match store.get(&key(1), Some(ByteRange { start, end })).await {
            Err(GetBlobError::Backend(error)) => assert!(!error.temporary, "{start}-{end} may not be retried"),
            Err(GetBlobError::NotFound) => panic!("{start}-{end}: the blob is there"),
            Ok(_) => panic!("{start}-{end} was read"),
        }
    }
}

/// Nothing there: no size, no bytes.
pub async fn has_nothing_under_an_unknown_key(store: &dyn BlobStore) {
    assert_nothing_under(store, &key(1)).await;
    store.put(&key(1), body(&["x"])).await.expect("it is stored");
    assert_nothing_under(store, &key(2)).await;
}

/// The first blob stays as it was.
pub async fn refuses_a_taken_key(store: &dyn BlobStore) {
    store.put(&key(1), body(&["first"])).await.expect("it is stored");
    assert!(matches!(
        store.put(&key(1), body(&["second, longer"])).await,
        Err(PutBlobError::Exists)
    ));
    assert_eq!(get(store, &key(1)).await, b"first");
}

/// Eight at once under one key: one is told that it won, and its bytes are there whole.
pub async fn lets_one_of_many_writers_win(store: &dyn BlobStore) {
    const TEXTS: [&str; 8] = ["aaaa", "bbbbb", "cccccc", "ddddddd", "eeeeeeee", "f", "gg", "hhh"];
    let key = key(1);
    let outcomes = join_all(TEXTS.iter().map(|text| store.put(&key, body(&[text, text])))).await;
    let winners: Vec<usize> = (0..TEXTS.len()).filter(|index| outcomes[*index].is_ok()).collect();
    assert_eq!(winners.len(), 1, "{outcomes:?}");
    assert!(
        outcomes
            .iter()
            .filter_map(|outcome| outcome.as_ref().err())
            .all(|error| matches!(error, PutBlobError::Exists))
    );
    assert_eq!(get(store, &key).await, TEXTS[winners[0]].repeat(2).as_bytes());
}

/// The reason comes back, nothing is readable, and the key is free.
pub async fn leaves_nothing_of_a_stream_that_broke_off(store: &dyn BlobStore) {
    let large = Bytes::from(vec![7; 300_000]);
    let broken: ByteStream = Box::pin(stream::iter([
        Ok(large.clone()),
        Ok(large),
        Err(StreamError::TooLarge(600_000)),
    ]));
    let outcome = store.put(&key(1), broken).await;
    assert!(
        matches!(outcome, Err(PutBlobError::Stream(StreamError::TooLarge(600_000)))),
        "{outcome:?}"
    );
    assert_nothing_under(store, &key(1)).await;
    store.put(&key(1), body(&["whole"])).await.expect("the key is free");
    assert_eq!(get(store, &key(1)).await, b"whole");
}

/// A client that goes away in the middle leaves a free key.
pub async fn leaves_nothing_of_a_put_that_was_dropped(store: &dyn BlobStore) {
    let started: ByteStream = Box::pin(stream::iter([Ok(Bytes::from(vec![7; 300_000]))]).chain(stream::pending()));
    assert!(
        tokio::time::timeout(Duration::from_millis(100), store.put(&key(1), started))
            .await
            .is_err()
    );
    assert_nothing_under(store, &key(1)).await;
    store.put(&key(1), body(&["whole"])).await.expect("the key is free");
}

/// Removing what is not there is well, and what was removed can be put again.
pub async fn removes_for_good_and_idempotently(store: &dyn BlobStore) {
    store.remove(&key(1)).await.expect("nothing to remove");
    store.put(&key(1), body(&["one"])).await.expect("it is stored");
    for _ in 0..2 {
        store.remove(&key(1)).await.expect("it is removed");
        assert_nothing_under(store, &key(1)).await;
    }
    store.put(&key(1), body(&["two"])).await.expect("the key is free");
    assert_eq!(get(store, &key(1)).await, b"two");
}

/// A reader gets all bytes or an error, never other bytes and never a shorter blob as a whole one.
pub async fn reads_on_while_the_blob_is_removed(store: &dyn BlobStore) {
    let chunks = stream::iter((0..32_u8).map(|byte| Ok(Bytes::from(vec![byte; 65_536]))));
    store.put(&key(1), Box::pin(chunks)).await.expect("it is stored");
    let mut stream = store.get(&key(1), None).await.expect("the blob is there");
    let mut read = stream
        .next()
        .await
        .expect("a first chunk")
        .expect("the stream goes on")
        .len();
    store.remove(&key(1)).await.expect("it is removed");
    let mut broken = false;
    while let Some(chunk) = stream.next().await {
        match chunk {
            Ok(chunk) => read += chunk.len(),
            Err(_) => broken = true,
        }
    }
    assert!(broken || read == 32 * 65_536, "{read} bytes came as the whole blob");
}
