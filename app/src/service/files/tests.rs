//! The rules of files, with every neighbour failing where it can.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use domain::blob::ByteRange;
use domain::event::OwnEvent;
use domain::file::{Reservation, StorageUsage};
use futures_util::{FutureExt, StreamExt, stream};
use ports::{
    BackendError, EffectsError, GetBlobError, IdempotencyScope, InsertFileError, PutBlobError, ReserveError,
    StoredAnswer, StreamError,
};
use sha2::{Digest, Sha256};

use super::samples::{Bench, MAX_FILE, QUOTA, START, body, drain, file, new_file, origin, untouchable, user};
use super::*;

mod reading;

fn down() -> BackendError {
    BackendError::temporary("test", "anything", "it is away")
}

fn broken() -> BackendError {
    BackendError::permanent("test", "anything", "it is broken")
}

fn none(_: &File) -> Option<StoredAnswer> {
    None
}

/// The blob goes, and after it the room.
fn expect_clear(bench: &mut Bench) {
    let removed = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&removed);
    bench.store.expect_remove().times(1).returning(move |_| {
        removed.store(true, Ordering::SeqCst);
        Ok(())
    });
    bench.repository.expect_cancel().times(1).returning(move |_| {
        assert!(
            seen.load(Ordering::SeqCst),
            "the room names the blob until the blob is gone"
        );
        Ok(())
    });
}

/// A backend that reads the body as a real one does.
fn expect_put(bench: &mut Bench) {
    bench
        .store
        .expect_put()
        .times(1)
        .returning(|_, body| drain(body).map_err(PutBlobError::Stream));
}

#[tokio::test]
async fn a_file_is_stored_with_its_event_and_its_answer() {
    let mut bench = Bench::new();
    let wakes = Arc::clone(&bench.wakes);
    bench
        .repository
        .expect_reserve()
        .times(1)
        .returning(|reservation, quota| {
            assert_eq!((reservation.bytes, quota), (13, QUOTA));
            assert!(reservation.expires_at.since(reservation.created_at) > Duration::from_secs(15 * 60));
            Ok(())
        });
    expect_put(&mut bench);
    bench.repository.expect_insert().times(1).returning(|file, effects| {
        let [event] = effects.events.as_slice() else {
            panic!("one event")
        };
        assert_eq!(event.event_type, OwnEvent::FileUploaded.event_type());
        let data: serde_json::Value = serde_json::from_str(event.data.as_deref().unwrap()).unwrap();
        assert_eq!(data["file_id"], file.id.to_string());
        assert_eq!(data["sha256"].as_str().unwrap().len(), 64);
        assert!(data.get("name").is_none(), "events carry no names");
        assert_eq!(effects.answer.as_ref().unwrap().resources, [file.id.to_string()]);
        Ok(())
    });
    let files = bench.files();
    let answer = |file: &File| {
        let scope = IdempotencyScope {
            user_id: user(),
            route: "r".to_owned(),
            key: "k".to_owned(),
        };
        Some(StoredAnswer {
            scope,
            status: 201,
            resources: vec![file.id.to_string()],
        })
    };
    let file = files
        .upload(new_file(Length::Exact(13)), body(&[b"%PDF-1.7", b" text"]), answer)
        .await
        .unwrap();
    assert_eq!(file.size, 13);
    assert_eq!(file.media_type, "application/pdf");
    assert_eq!(file.sha256, <[u8; 32]>::from(Sha256::digest(b"%PDF-1.7 text")));
    assert_eq!(file.key.owner(), Some(user()));
    assert_eq!(wakes.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_cannot_fit_is_refused_before_the_body_is_read() {
    let mut bench = Bench::new();
    bench
        .repository
        .expect_reserve()
        .times(1)
        .returning(|_, _| Err(ReserveError::QuotaExceeded));
    let usage = StorageUsage {
        files: 1,
        bytes: QUOTA - 20,
        reserved: 20,
    };
    bench.repository.expect_usage().returning(move |_| Ok(usage));
    let files = bench.files();
    let full = files
        .upload(new_file(Length::Exact(MAX_FILE)), untouchable(), none)
        .await;
    assert!(matches!(full, Err(UploadFileError::QuotaExceeded)), "{full:?}");
    for length in [Length::Exact(MAX_FILE + 1), Length::Framed(MAX_FILE + 20_000)] {
        let large = files.upload(new_file(length), untouchable(), none).await;
        assert!(matches!(large, Err(UploadFileError::TooLarge(MAX_FILE))), "{large:?}");
    }
    for length in [Length::Unknown, Length::Framed(100)] {
        let full = files.upload(new_file(length), untouchable(), none).await;
        assert!(matches!(full, Err(UploadFileError::QuotaExceeded)), "{full:?}");
        let admitted = files.admit(user(), &domain::tier::TierName::free(), length).await;
        assert!(matches!(admitted, Err(UploadFileError::QuotaExceeded)), "{admitted:?}");
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_ends_at_what_is_left_and_leaves_nothing() {
    for (used, expected_room) in [(QUOTA - 4, 4), (0, MAX_FILE)] {
        let mut bench = Bench::new();
        let usage = StorageUsage {
            files: 1,
            bytes: used,
            reserved: 0,
        };
        bench.repository.expect_usage().returning(move |_| Ok(usage));
        bench
            .repository
            .expect_reserve()
            .times(1)
            .returning(move |reservation, _| {
                assert_eq!(reservation.bytes, expected_room);
                Ok(())
            });
        expect_put(&mut bench);
        expect_clear(&mut bench);
        let files = bench.files();
        let long = stream::repeat_with(|| Ok(Bytes::from_static(b"abc"))).take(1_000);
        let refused = files.upload(new_file(Length::Unknown), Box::pin(long), none).await;
        match refused {
            Err(UploadFileError::QuotaExceeded) => assert_eq!(expected_room, 4),
            Err(UploadFileError::TooLarge(most)) => assert_eq!((most, expected_room), (MAX_FILE, MAX_FILE)),
            other => panic!("{other:?}"),
        }
    }
}

/// A backend that never gets a body whole.
struct Waiting;

#[async_trait::async_trait]
impl BlobStore for Waiting {
    async fn put(&self, _: &BlobKey, _: ByteStream) -> Result<u64, PutBlobError> {
        std::future::pending().await
    }

    async fn get(&self, _: &BlobKey, _: Option<ByteRange>) -> Result<ByteStream, GetBlobError> {
        Err(down().into())
    }

    async fn size(&self, _: &BlobKey) -> Result<Option<u64>, BackendError> {
        Err(down())
    }

    async fn remove(&self, _: &BlobKey) -> Result<(), BackendError> {
        Err(down())
    }
}

#[tokio::test]
async fn a_user_has_so_many_uploads_at_one_time_and_one_that_is_dropped_makes_room() {
    let mut bench = Bench::new();
    bench.repository.expect_reserve().returning(|_, _| Ok(()));
    let mut files = bench.files();
    files.backends.stores.insert(samples::backend(), Arc::new(Waiting));
    let upload = |user| {
        let mut new = new_file(Length::Exact(1));
        new.user_id = user;
        let mut upload = Box::pin(files.upload(new, untouchable(), none));
        let outcome = (&mut upload).now_or_never();
        (upload, outcome)
    };
    let mut open: Vec<_> = (0..upload::AT_ONCE).map(|_| upload(user())).collect();
    assert!(open.iter().all(|(_, outcome)| outcome.is_none()), "they wait");
    let (_, refused) = upload(user());
    assert!(matches!(refused, Some(Err(UploadFileError::TooMany))), "{refused:?}");
    let (_, other) = upload(UserId::new(uuid::Uuid::from_u128(8)));
    assert!(other.is_none(), "users do not concern each other");
    open.pop();
    assert!(upload(user()).1.is_none());
}

#[tokio::test]
async fn room_that_a_parallel_upload_took_is_asked_for_anew() {
    let mut bench = Bench::new();
    let mut used = [0, QUOTA - 10].into_iter();
    bench.repository.expect_usage().times(2).returning(move |_| {
        Ok(StorageUsage {
            files: 0,
            bytes: used.next().unwrap(),
            reserved: 0,
        })
    });
    let mut tries = 0;
    bench
        .repository
        .expect_reserve()
        .times(2)
        .returning(move |reservation, _| {
            tries += 1;
            if tries == 1 {
                return Err(ReserveError::QuotaExceeded);
            }
            assert_eq!(reservation.bytes, 10);
            Ok(())
        });
    expect_put(&mut bench);
    bench.repository.expect_insert().returning(|_, _| Ok(()));
    assert!(
        bench
            .files()
            .upload(new_file(Length::Unknown), body(&[b"12345"]), none)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_failing_backend_leaves_nothing() {
    type Failure = fn() -> PutBlobError;
    let failures: [(Failure, fn(&UploadFileError) -> bool); 4] = [
        (
            || PutBlobError::Full,
            |error| matches!(error, UploadFileError::StorageFull),
        ),
        (
            || PutBlobError::Stream(StreamError::Interrupted),
            |error| matches!(error, UploadFileError::Interrupted),
        ),
        (
            || PutBlobError::Backend(down()),
            |error| matches!(error, UploadFileError::Effects(EffectsError::Backend(error)) if error.temporary),
        ),
        (
            || PutBlobError::Exists,
            |error| matches!(error, UploadFileError::Effects(EffectsError::Backend(error)) if !error.temporary),
        ),
    ];
    for (failure, is_expected) in failures {
        let mut bench = Bench::new();
        bench.repository.expect_reserve().returning(|_, _| Ok(()));
        bench.store.expect_put().times(1).returning(move |_, _| Err(failure()));
        expect_clear(&mut bench);
        let error = bench
            .files()
            .upload(new_file(Length::Exact(1)), body(&[b"1"]), none)
            .await
            .unwrap_err();
        assert!(is_expected(&error), "{error:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_as_long_as_it_said_or_was_not_kept_whole_is_not_stored() {
    for (said, kept) in [(4_u64, 3_u64), (3, 2)] {
        let mut bench = Bench::new();
        bench.repository.expect_reserve().returning(|_, _| Ok(()));
        bench
            .store
            .expect_put()
            .times(1)
            .returning(move |_, body| Ok(drain(body).unwrap().min(kept)));
        expect_clear(&mut bench);
        let error = bench
            .files()
            .upload(new_file(Length::Exact(said)), body(&[b"123"]), none)
            .await
            .unwrap_err();
        assert_eq!(matches!(error, UploadFileError::Interrupted), said == 4, "{error:?}");
    }
}

#[tokio::test]
async fn a_row_that_is_refused_takes_its_blob_with_it() {
    let refusals: [fn() -> InsertFileError; 2] = [
        || InsertFileError::ReservationGone,
        || InsertFileError::Effects(broken().into()),
    ];
    for refusal in refusals {
        let mut bench = Bench::new();
        bench.repository.expect_reserve().returning(|_, _| Ok(()));
        expect_put(&mut bench);
        bench
            .repository
            .expect_insert()
            .times(1)
            .returning(move |_, _| Err(refusal()));
        bench.repository.expect_find().times(1).returning(|_, _| Ok(None));
        expect_clear(&mut bench);
        assert!(
            bench
                .files()
                .upload(new_file(Length::Exact(1)), body(&[b"1"]), none)
                .await
                .is_err()
        );
    }
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_found_again() {
    let mut bench = Bench::new();
    bench.repository.expect_reserve().returning(|_, _| Ok(()));
    expect_put(&mut bench);
    bench
        .repository
        .expect_insert()
        .returning(|_, _| Err(InsertFileError::Effects(down().into())));
    bench
        .repository
        .expect_find()
        .times(1)
        .returning(|_, _| Ok(Some(file(b"1"))));
    bench.repository.expect_leftovers().returning(|_, _| Ok(Vec::new()));
    let clock = Arc::clone(&bench.clock);
    let files = bench.files();
    assert_eq!(
        files
            .upload(new_file(Length::Exact(1)), body(&[b"1"]), none)
            .await
            .unwrap(),
        file(b"1")
    );
    clock.store(START + 3_600, Ordering::SeqCst);
    assert_eq!(files.sweep().await.unwrap(), Swept::default());
}

#[tokio::test]
async fn a_commit_of_unknown_outcome_keeps_its_blob_until_it_is_decided() {
    for committed in [true, false] {
        let mut bench = Bench::new();
        bench.repository.expect_reserve().returning(|_, _| Ok(()));
        expect_put(&mut bench);
        bench
            .repository
            .expect_insert()
            .returning(|_, _| Err(InsertFileError::Effects(down().into())));
        bench.repository.expect_find().returning(|_, _| Err(down()));
        bench.repository.expect_leftovers().returning(|_, _| Ok(Vec::new()));
        bench
            .repository
            .expect_find_any()
            .times(1)
            .returning(move |_| Ok(committed.then(|| file(b"1"))));
        if !committed {
            expect_clear(&mut bench);
        }
        let clock = Arc::clone(&bench.clock);
        let files = bench.files();
        assert!(
            files
                .upload(new_file(Length::Exact(1)), body(&[b"1"]), none)
                .await
                .is_err()
        );
        assert_eq!(files.sweep().await.unwrap().removed, 0);
        clock.store(START + 61, Ordering::SeqCst);
        assert_eq!(files.sweep().await.unwrap().removed, u32::from(!committed));
        assert_eq!(files.sweep().await.unwrap().removed, 0);
    }
}

#[tokio::test]
async fn an_upload_that_is_dropped_is_swept() {
    let mut bench = Bench::new();
    bench.repository.expect_reserve().returning(|_, _| Ok(()));
    bench.repository.expect_leftovers().returning(|_, _| Ok(Vec::new()));
    bench.repository.expect_find_any().times(1).returning(|_| Ok(None));
    expect_clear(&mut bench);
    // A mock cannot wait, but it can die as a dropped request does: with the upload under way.
    bench.store.expect_put().returning(|_, _| panic!("on purpose"));
    let clock = Arc::clone(&bench.clock);
    let files = Arc::new(bench.files());
    let dying = Arc::clone(&files);
    let upload = async move {
        dying
            .upload(new_file(Length::Exact(1)), body(&[b"1"]), none)
            .await
            .map(|_| ())
    };
    assert!(
        FutureExt::catch_unwind(std::panic::AssertUnwindSafe(upload))
            .await
            .is_err()
    );
    clock.store(START + 61, Ordering::SeqCst);
    assert_eq!(
        files.sweep().await.unwrap(),
        Swept {
            removed: 1,
            failed: 0,
            more: false
        }
    );
}

#[tokio::test]
async fn a_sweep_goes_on_past_a_blob_that_stays() {
    let mut bench = Bench::new();
    let reservation = |text: &'static str| {
        let file = file(text.as_bytes());
        Reservation {
            id: FileId::new(uuid::Uuid::from_u128(text.len() as u128)),
            user_id: file.user_id,
            backend: file.backend,
            key: file.key,
            bytes: 1,
            created_at: file.created_at,
            expires_at: file.created_at,
        }
    };
    let mut unknown = reservation("123");
    unknown.backend = "gone".parse().unwrap();
    let left = vec![unknown, reservation("1"), reservation("12")];
    bench
        .repository
        .expect_leftovers()
        .times(1)
        .returning(move |_, _| Ok(left.clone()));
    let mut outcomes = [Err(down()), Ok(())].into_iter();
    bench
        .store
        .expect_remove()
        .times(2)
        .returning(move |_| outcomes.next().unwrap());
    bench
        .repository
        .expect_cancel()
        .times(1)
        .withf(|id| id.uuid().as_u128() == 2)
        .returning(|_| Ok(()));
    assert_eq!(
        bench.files().sweep().await.unwrap(),
        Swept {
            removed: 1,
            failed: 2,
            more: false
        }
    );
}

#[tokio::test]
async fn a_deleted_file_is_gone_though_its_blob_must_wait() {
    let mut bench = Bench::new();
    let mut found = [Some(file(b"1")), None].into_iter();
    bench
        .repository
        .expect_find()
        .times(2)
        .returning(move |_, _| Ok(found.next().unwrap()));
    bench.repository.expect_remove().times(1).returning(|_, _, _, effects| {
        assert_eq!(effects.events[0].event_type, OwnEvent::FileDeleted.event_type());
        Ok(Some(file(b"1")))
    });
    bench.store.expect_remove().times(1).returning(|_| Err(down()));
    let files = bench.files();
    files.remove(user(), &origin(), file(b"1").id).await.unwrap();
    let again = files.remove(user(), &origin(), file(b"1").id).await;
    assert!(matches!(again, Err(RemoveFileError::NotFound)));
}
