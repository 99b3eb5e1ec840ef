//! Scenarios for [`FileRepository`](crate::FileRepository).

use std::sync::Arc;

use domain::file::{File, Reservation, StorageUsage};
use domain::id::{EventId, FileId, UserId};
use domain::page::PageRequest;
use futures_util::future::join_all;

use super::samples::{at, event, events, file, file_type, payloads, reservation, sequence_all, user, uuid};
use crate::{
    Effects, EffectsError, EventStore, FileRepository, InboxMark, InsertFileError, LogSequencer, ReserveError,
};

/// What the scenarios need: the files, and the log in which their events show.
pub struct Subject {
    /// The files under test.
    pub files: Arc<dyn FileRepository>,
    /// The store of the same backend.
    pub store: Arc<dyn EventStore>,
    /// Its sequencer.
    pub sequencer: Arc<dyn LogSequencer>,
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject").finish_non_exhaustive()
    }
}

/// One test for each scenario; the fixture is a future of `Option<(file_repository::Subject, guard)>`.
#[macro_export]
macro_rules! file_repository_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            file_repository,
            [
                every_field_round_trips,
                room_held_becomes_room_taken,
                a_quota_is_kept_to_the_byte,
                many_at_once_never_pass_the_quota_together,
                without_its_reservation_a_file_is_refused,
                a_refused_insert_writes_nothing,
                cancelling_gives_the_room_back_once,
                another_user_gets_none,
                a_list_visits_each_file_once_newest_first,
                a_removed_file_is_gone_and_leaves_its_blob,
                removing_what_is_not_there_writes_nothing,
                a_refused_removal_removes_nothing,
                leftovers_are_what_is_over_and_no_more_than_asked_for,
                a_reservation_that_is_being_swept_becomes_no_file,
                usage_survives_many_changes_at_once,
            ]
        );
    };
}

const QUOTA: u64 = 1_000;

async fn reserve(subject: &Subject, user: UserId, bytes: u64) -> Reservation {
    let held = reservation(user, bytes, at(0), at(600));
    subject.files.reserve(&held, QUOTA).await.expect("room");
    held
}

async fn store(subject: &Subject, user: UserId, bytes: u64, kind: &str) -> File {
    let stored = file(&reserve(subject, user, bytes).await, kind);
    subject.files.insert(&stored, &Effects::none()).await.expect("stored");
    stored
}

async fn usage(subject: &Subject, user: UserId) -> (u64, u64, u64) {
    let StorageUsage { files, bytes, reserved } = subject.files.usage(user).await.expect("usage");
    (files, bytes, reserved)
}

async fn leftovers(subject: &Subject, seconds: i64) -> Vec<FileId> {
    let left = subject.files.leftovers(at(seconds), 100).await.expect("leftovers");
    left.iter().map(|reservation| reservation.id).collect()
}

fn marked() -> Effects {
    let mark = InboxMark {
        group: "files".to_owned(),
        event_id: EventId::new(uuid()),
        at: at(1),
    };
    Effects {
        inbox: Some(mark),
        ..Effects::none()
    }
}

/// What was stored is what is found, by its owner and by the id alone; leftovers show a reservation as it was made.
pub async fn every_field_round_trips(subject: &Subject) {
    let user = user();
    let abandoned = reserve(subject, user, 99).await;
    assert_eq!(
        subject.files.leftovers(at(600), 10).await.expect("leftovers"),
        [abandoned]
    );
    let stored = file(&reserve(subject, user, 77).await, "report");
    subject
        .files
        .insert(&stored, &events(vec![event(user, 1)]))
        .await
        .expect("stored");
    assert_eq!(
        subject.files.find(user, stored.id).await.expect("a read"),
        Some(stored.clone())
    );
    assert_eq!(
        subject.files.find_any(stored.id).await.expect("a read"),
        Some(stored.clone())
    );
    assert_eq!(
        subject
            .files
            .list(user, None, &PageRequest::first())
            .await
            .expect("a page")
            .items,
        [stored]
    );
    sequence_all(&*subject.sequencer).await;
    assert_eq!(payloads(&*subject.store, user).await, ["{\"number\":1}"]);
}

/// The three figures follow each step; a file may be smaller than the room that was held for it.
pub async fn room_held_becomes_room_taken(subject: &Subject) {
    let user = user();
    assert_eq!(usage(subject, user).await, (0, 0, 0));
    let held = reserve(subject, user, 400).await;
    assert_eq!(usage(subject, user).await, (0, 0, 400));
    let smaller = File {
        size: 150,
        ..file(&held, "report")
    };
    subject.files.insert(&smaller, &Effects::none()).await.expect("stored");
    assert_eq!(usage(subject, user).await, (1, 150, 0));
    assert!(
        leftovers(subject, 10_000).await.is_empty(),
        "the reservation is used up"
    );
}

/// Stored and held bytes together may reach the quota and not pass it; another user's do not count.
pub async fn a_quota_is_kept_to_the_byte(subject: &Subject) {
    let (user, other) = (user(), user());
    store(subject, user, 600, "report").await;
    reserve(subject, user, 300).await;
    let refused = subject
        .files
        .reserve(&reservation(user, 101, at(0), at(600)), QUOTA)
        .await;
    assert!(matches!(refused, Err(ReserveError::QuotaExceeded)), "{refused:?}");
    assert_eq!(usage(subject, user).await, (1, 600, 300), "a refusal holds nothing");
    reserve(subject, user, 100).await;
    reserve(subject, other, 1_000).await;
    let none = subject
        .files
        .reserve(&reservation(self::user(), 1, at(0), at(600)), 0)
        .await;
    assert!(matches!(none, Err(ReserveError::QuotaExceeded)), "{none:?}");
}

/// Twenty ask for a tenth each: ten get it.
pub async fn many_at_once_never_pass_the_quota_together(subject: &Subject) {
    let user = user();
    let asked: Vec<Reservation> = (0..20).map(|_| reservation(user, 100, at(0), at(600))).collect();
    let answers = join_all(asked.iter().map(|held| subject.files.reserve(held, QUOTA))).await;
    let mut granted = 0;
    for answer in answers {
        match answer {
            Ok(()) => granted += 1,
            Err(ReserveError::QuotaExceeded) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(granted, 10);
    assert_eq!(usage(subject, user).await, (0, 0, 1_000));
}

/// Never made, used up, given back, or another user's: refused alike.
pub async fn without_its_reservation_a_file_is_refused(subject: &Subject) {
    let user = user();
    let never = file(&reservation(user, 1, at(0), at(600)), "report");
    let used = store(subject, user, 1, "report").await;
    let cancelled = file(&reserve(subject, user, 1).await, "report");
    subject.files.cancel(cancelled.id).await.expect("given back");
    let theirs = File {
        user_id: self::user(),
        ..file(&reserve(subject, user, 1).await, "report")
    };
    for refused in [never, used, cancelled, theirs] {
        let answer = subject.files.insert(&refused, &events(vec![event(user, 1)])).await;
        assert!(matches!(answer, Err(InsertFileError::ReservationGone)), "{answer:?}");
    }
    assert_eq!(usage(subject, user).await, (1, 1, 1));
    sequence_all(&*subject.sequencer).await;
    assert!(
        payloads(&*subject.store, user).await.is_empty(),
        "a refused change writes no event"
    );
}

/// Effects that are refused take the row with them, and the room stays held.
pub async fn a_refused_insert_writes_nothing(subject: &Subject) {
    let (user, marked) = (user(), marked());
    subject.store.append(&marked).await.expect("marked");
    let refused = file(&reserve(subject, user, 50).await, "report");
    let answer = subject.files.insert(&refused, &marked).await;
    assert!(
        matches!(answer, Err(InsertFileError::Effects(EffectsError::AlreadyHandled))),
        "{answer:?}"
    );
    assert_eq!(subject.files.find_any(refused.id).await.expect("a read"), None);
    assert_eq!(usage(subject, user).await, (0, 0, 50));
    subject
        .files
        .insert(&refused, &Effects::none())
        .await
        .expect("the reservation is there still");
}

/// Idempotent: the second time gives nothing back.
pub async fn cancelling_gives_the_room_back_once(subject: &Subject) {
    let user = user();
    let (held, _other) = (reserve(subject, user, 300).await, reserve(subject, user, 200).await);
    for _ in 0..3 {
        subject.files.cancel(held.id).await.expect("given back");
        assert_eq!(usage(subject, user).await, (0, 0, 200));
    }
    subject
        .files
        .cancel(FileId::new(uuid()))
        .await
        .expect("an unknown one is no fault");
    let stored = store(subject, user, 10, "report").await;
    subject.files.cancel(stored.id).await.expect("no reservation any more");
    assert_eq!(usage(subject, user).await, (1, 10, 200), "a file is not a reservation");
}

/// Another user's file answers exactly like an unknown one.
pub async fn another_user_gets_none(subject: &Subject) {
    let (owner, stranger) = (user(), user());
    let theirs = store(subject, owner, 10, "report").await;
    assert_eq!(subject.files.find(stranger, theirs.id).await.expect("a read"), None);
    assert_eq!(
        subject
            .files
            .list(stranger, None, &PageRequest::first())
            .await
            .expect("a page")
            .items,
        vec![]
    );
    let removed = subject
        .files
        .remove(stranger, theirs.id, at(5), &events(vec![event(stranger, 1)]))
        .await;
    assert_eq!(removed.expect("an answer"), None);
    assert!(subject.files.find(owner, theirs.id).await.expect("a read").is_some());
    sequence_all(&*subject.sequencer).await;
    assert!(payloads(&*subject.store, stranger).await.is_empty());
}

/// Pages visit each once, also when only one type is asked for.
pub async fn a_list_visits_each_file_once_newest_first(subject: &Subject) {
    let user = user();
    let mut expected = Vec::new();
    for number in 0..9 {
        let kind = if number % 3 == 0 { "photo" } else { "report" };
        expected.insert(0, store(subject, user, 10, kind).await);
        store(subject, self::user(), 10, kind).await;
    }
    let photos: Vec<File> = expected
        .iter()
        .filter(|file| file.kind.as_str() == "photo")
        .cloned()
        .collect();
    for (kind, expected) in [
        (None, expected),
        (Some(file_type("photo")), photos),
        (Some(file_type("none")), vec![]),
    ] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = PageRequest { after, limit: 2 };
            let page = subject.files.list(user, kind.clone(), &page).await.expect("a page");
            seen.extend(page.items);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, expected);
    }
}

/// The room is free at once; the blob comes back as a leftover until its end is confirmed.
pub async fn a_removed_file_is_gone_and_leaves_its_blob(subject: &Subject) {
    let user = user();
    let (gone, _stays) = (
        store(subject, user, 70, "report").await,
        store(subject, user, 30, "report").await,
    );
    let removed = subject
        .files
        .remove(user, gone.id, at(5), &events(vec![event(user, 1)]))
        .await
        .expect("removed");
    assert_eq!(removed, Some(gone.clone()));
    assert_eq!(subject.files.find(user, gone.id).await.expect("a read"), None);
    assert_eq!(subject.files.find_any(gone.id).await.expect("a read"), None);
    assert_eq!(usage(subject, user).await, (1, 30, 0));
    for _ in 0..2 {
        let left = subject.files.leftovers(at(5), 10).await.expect("leftovers");
        assert_eq!(left.len(), 1);
        assert_eq!(
            (left[0].id, &left[0].key, &left[0].backend),
            (gone.id, &gone.key, &gone.backend)
        );
        assert_eq!(left[0].user_id, user);
    }
    subject.files.cancel(gone.id).await.expect("confirmed");
    assert!(leftovers(subject, 100).await.is_empty());
    assert_eq!(usage(subject, user).await, (1, 30, 0), "its room was given back before");
    sequence_all(&*subject.sequencer).await;
    assert_eq!(payloads(&*subject.store, user).await, ["{\"number\":1}"]);
}

/// A second removal finds nothing, and so causes nothing.
pub async fn removing_what_is_not_there_writes_nothing(subject: &Subject) {
    let user = user();
    let gone = store(subject, user, 70, "report").await;
    let twice = join_all((0..4_u64).map(|number| {
        let gone = gone.id;
        async move {
            subject
                .files
                .remove(user, gone, at(5), &events(vec![event(user, number)]))
                .await
        }
    }))
    .await;
    let given = twice
        .into_iter()
        .filter_map(|answer| answer.expect("an answer"))
        .count();
    assert_eq!(given, 1);
    assert_eq!(usage(subject, user).await, (0, 0, 0));
    sequence_all(&*subject.sequencer).await;
    assert_eq!(payloads(&*subject.store, user).await.len(), 1);
}

/// Effects that are refused leave the file where it is.
pub async fn a_refused_removal_removes_nothing(subject: &Subject) {
    let (user, marked) = (user(), marked());
    subject.store.append(&marked).await.expect("marked");
    let stays = store(subject, user, 70, "report").await;
    let answer = subject.files.remove(user, stays.id, at(5), &marked).await;
    assert!(matches!(answer, Err(EffectsError::AlreadyHandled)), "{answer:?}");
    assert_eq!(subject.files.find(user, stays.id).await.expect("a read"), Some(stays));
    assert_eq!(usage(subject, user).await, (1, 70, 0));
    assert!(leftovers(subject, 100).await.is_empty());
}

/// Not before its end, and in portions.
pub async fn leftovers_are_what_is_over_and_no_more_than_asked_for(subject: &Subject) {
    let user = user();
    let mut over = Vec::new();
    for seconds in [10, 20, 30] {
        let held = reservation(user, 1, at(0), at(seconds));
        subject.files.reserve(&held, QUOTA).await.expect("room");
        over.push(held.id);
    }
    assert!(leftovers(subject, 9).await.is_empty());
    assert_eq!(leftovers(subject, 20).await, over[..2]);
    assert_eq!(subject.files.leftovers(at(30), 2).await.expect("leftovers").len(), 2);
    subject.files.cancel(over[0]).await.expect("confirmed");
    assert_eq!(leftovers(subject, 30).await, over[1..]);
}

/// Once its blob was told to be removed, an upload that comes in late must not make a file of it.
pub async fn a_reservation_that_is_being_swept_becomes_no_file(subject: &Subject) {
    let user = user();
    let late = reserve(subject, user, 50).await;
    assert_eq!(leftovers(subject, 600).await, [late.id]);
    let answer = subject.files.insert(&file(&late, "report"), &Effects::none()).await;
    assert!(matches!(answer, Err(InsertFileError::ReservationGone)), "{answer:?}");
    assert_eq!(leftovers(subject, 600).await, [late.id], "until it is confirmed");
    assert_eq!(
        usage(subject, user).await,
        (0, 0, 50),
        "its room is held as long as its blob may be there"
    );
    subject.files.cancel(late.id).await.expect("confirmed");
    assert_eq!(usage(subject, user).await, (0, 0, 0));
}

/// Uploads, removals and cancellations of one user at once: the figures add up.
pub async fn usage_survives_many_changes_at_once(subject: &Subject) {
    let user = user();
    join_all((0..12_u64).map(|number| async move {
        let held = reserve(subject, user, 10).await;
        if number % 3 == 0 {
            subject.files.cancel(held.id).await.expect("given back");
            return;
        }
        let stored = file(&held, "report");
        subject.files.insert(&stored, &Effects::none()).await.expect("stored");
        if number % 3 == 1 {
            subject
                .files
                .remove(user, stored.id, at(5), &Effects::none())
                .await
                .expect("removed");
        }
    }))
    .await;
    assert_eq!(usage(subject, user).await, (4, 40, 0));
}
