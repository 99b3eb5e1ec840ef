//! What is on the disk before, during and after: names, rights, leftovers.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use adapter_local::{EmlMailer, LocalBlobStore, LocalEventBus};
use bytes::Bytes;
use domain::blob::ByteRange;
use domain::id::{MailId, UserId};
use domain::mail::RenderedMail;
use domain::time::Timestamp;
use futures_util::{StreamExt as _, stream};
use ports::conformance::blob_store::{body, key, read};
use ports::{BlobStore, ByteStream, EventSubscriber, Mailer, PutBlobError, SendMailError, StreamError};
use tempfile::TempDir;
use uuid::Uuid;

async fn store() -> (LocalBlobStore, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    (LocalBlobStore::open(folder.path()).await.expect("it opens"), folder)
}

/// Everything below a folder, directories with a slash at their end, sorted.
fn tree(folder: &Path) -> Vec<String> {
    fn walk(root: &Path, folder: &Path, names: &mut Vec<String>) {
        for path in fs::read_dir(folder)
            .expect("a folder")
            .flatten()
            .map(|entry| entry.path())
        {
            let name = path.strip_prefix(root).expect("below the root").display().to_string();
            if path.is_dir() {
                names.push(format!("{name}/"));
                walk(root, &path, names);
            } else {
                names.push(name);
            }
        }
    }
    let mut names = Vec::new();
    walk(folder, folder, &mut names);
    names.sort();
    names
}

#[tokio::test]
async fn a_blob_is_a_file_named_by_its_key_that_only_its_owner_reads() {
    let (store, folder) = store().await;
    store.put(&key(1), body(&["one"])).await.expect("it is stored");
    let path = folder.path().join(key(1).as_str());
    assert_eq!(fs::read(&path).expect("a file"), b"one");
    assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
    let parent = fs::metadata(path.parent().expect("a folder")).expect("a folder");
    assert_eq!(parent.permissions().mode() & 0o777, 0o700);
    assert_eq!(tree(&folder.path().join(".incoming")), Vec::<String>::new());
}

#[tokio::test]
async fn a_put_that_fails_leaves_no_file_and_no_folder() {
    let (store, folder) = store().await;
    let before = tree(folder.path());
    let large = Bytes::from(vec![7; 300_000]);
    let broken: ByteStream = Box::pin(stream::iter([Ok(large.clone()), Err(StreamError::Interrupted)]));
    assert!(matches!(
        store.put(&key(1), broken).await,
        Err(PutBlobError::Stream(StreamError::Interrupted))
    ));
    assert_eq!(tree(folder.path()), before);
    let stalled: ByteStream = Box::pin(stream::iter([Ok(large)]).chain(stream::pending()));
    assert!(
        tokio::time::timeout(Duration::from_millis(100), store.put(&key(1), stalled))
            .await
            .is_err()
    );
    assert_eq!(tree(folder.path()), before);
}

#[tokio::test]
async fn nothing_is_readable_under_the_key_while_it_is_being_written() {
    let (store, folder) = store().await;
    let path = folder.path().join(key(1).as_str());
    let chunks = stream::iter(0..4).map(move |_| {
        assert!(!path.exists(), "a part of the blob has its name already");
        Ok(Bytes::from(vec![7; 300_000]))
    });
    store.put(&key(1), Box::pin(chunks)).await.expect("it is stored");
    assert_eq!(store.size(&key(1)).await.expect("an answer"), Some(1_200_000));
}

#[tokio::test]
async fn removing_prunes_nothing_else() {
    let (store, folder) = store().await;
    store.put(&key(1), body(&["one"])).await.expect("it is stored");
    let folders: Vec<String> = tree(folder.path())
        .into_iter()
        .filter(|name| name.ends_with('/'))
        .collect();
    store.remove(&key(1)).await.expect("it is removed");
    assert_eq!(tree(folder.path()), folders);
}

#[tokio::test]
async fn a_sweep_takes_what_is_stale_and_leaves_what_is_under_way() {
    let (store, folder) = store().await;
    let stale = folder.path().join(".incoming/left-by-a-crash.0");
    fs::write(&stale, "half").expect("a file");
    let hour = Duration::from_secs(3_600);
    let written = fs::metadata(&stale).and_then(|file| file.modified()).expect("a time");
    fs::File::options()
        .append(true)
        .open(&stale)
        .and_then(|file| file.set_modified(written - hour))
        .expect("a time");
    fs::write(folder.path().join(".incoming/under-way.0"), "half").expect("a file");
    store.put(&key(1), body(&["one"])).await.expect("it is stored");

    let since_epoch = written.duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let half_an_hour_ago = Timestamp::default().plus(since_epoch).minus(hour / 2);
    assert_eq!(store.sweep(half_an_hour_ago).await.expect("it sweeps"), 1);
    assert_eq!(tree(&folder.path().join(".incoming")), ["under-way.0"]);
    assert_eq!(store.sweep(half_an_hour_ago).await.expect("it sweeps"), 0);
    assert_eq!(
        read(store.get(&key(1), None).await.expect("the blob is there")).await,
        b"one"
    );
}

#[tokio::test]
async fn a_file_that_became_shorter_is_an_error_and_no_whole_blob() {
    let (store, folder) = store().await;
    let chunks = stream::iter((0..16).map(|_| Ok(Bytes::from(vec![7; 65_536]))));
    store.put(&key(1), Box::pin(chunks)).await.expect("it is stored");
    let mut reading = store.get(&key(1), None).await.expect("the blob is there");
    reading.next().await.expect("a chunk").expect("bytes");
    let file = fs::File::options()
        .write(true)
        .open(folder.path().join(key(1).as_str()))
        .expect("the file");
    file.set_len(200_000).expect("it is cut");
    let mut last = None;
    while let Some(chunk) = reading.next().await {
        last = Some(chunk.map(|chunk| chunk.len()));
    }
    assert!(matches!(last, Some(Err(StreamError::Backend(_)))), "{last:?}");
}

#[tokio::test]
async fn two_stores_on_one_folder_are_one() {
    let (one, folder) = store().await;
    let two = LocalBlobStore::open(folder.path()).await.expect("it opens");
    one.put(&key(1), body(&["one"])).await.expect("it is stored");
    assert!(matches!(
        two.put(&key(1), body(&["two"])).await,
        Err(PutBlobError::Exists)
    ));
    let part = two
        .get(&key(1), Some(ByteRange { start: 1, end: 2 }))
        .await
        .expect("the part is there");
    assert_eq!(read(part).await, b"ne");
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_told_at_once_and_for_good() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("file");
    fs::write(&file, "no folder").expect("a file");
    let error = LocalBlobStore::open(file.join("blobs"))
        .await
        .expect_err("it is below a file");
    assert!(!error.temporary, "{error}: {:?}", error.source);
}

#[tokio::test]
async fn a_file_in_the_place_of_a_folder_is_not_taken_for_a_taken_key() {
    let (store, folder) = store().await;
    fs::write(folder.path().join("users"), "no folder").expect("a file");
    let error = store
        .put(&key(1), body(&["one"]))
        .await
        .expect_err("there is no way to the key");
    assert!(
        matches!(error, PutBlobError::Backend(ref error) if error.temporary),
        "{error:?}"
    );
}

fn mail() -> RenderedMail {
    RenderedMail {
        id: MailId::new(Uuid::from_u128(1)),
        to: "ann@example.org".parse().expect("an address"),
        subject: "Grüße".to_owned(),
        text: "Hello\n".to_owned(),
        html: "<p>Hello</p>\n".to_owned(),
        date: Timestamp::from_seconds(1_800_000_000),
    }
}

async fn mailer(folder: PathBuf, name: &str) -> EmlMailer {
    EmlMailer::open(folder, "noreply@plinth.example".parse().expect("an address"), name)
        .await
        .expect("it opens")
}

#[tokio::test]
async fn each_hand_over_has_a_file_of_its_own_that_only_its_owner_reads() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let outbox = folder.path().join("outbox");
    let mailer = mailer(outbox.clone(), "Plinth").await;
    let mut replies = Vec::new();
    for _ in 0..3 {
        replies.push(mailer.send(&mail()).await.expect("it is handed over"));
    }
    let id = mail().id;
    assert_eq!(
        tree(&outbox),
        [format!("{id}.2.eml"), format!("{id}.3.eml"), format!("{id}.eml")]
    );
    assert_eq!(replies[1], format!("written to {id}.2.eml"));
    let mode = fs::metadata(outbox.join(format!("{id}.eml")))
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let source = fs::read_to_string(outbox.join(format!("{id}.eml"))).expect("a message");
    assert!(
        source.contains(&format!("Message-ID: <{id}@plinth.example>\r\n")),
        "{source}"
    );
}

#[tokio::test]
async fn no_name_of_a_sender_makes_a_header() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mailer = mailer(
        folder.path().to_path_buf(),
        "Plinth\r\nBcc: evil@example.net\r\n\r\n\" <evil@example.net>",
    )
    .await;
    mailer.send(&mail()).await.expect("it is handed over");
    let source = fs::read_to_string(folder.path().join(format!("{}.eml", mail().id))).expect("a message");
    let head = source.split("\r\n\r\n").next().unwrap_or_default();
    assert!(!head.contains("\nBcc:") && !head.contains("\n\n"), "{head}");
    // Whatever stands in the name stands in quotes: the last address of the line is the sender's.
    let unfolded = head.replace("\r\n\t", " ").replace("\r\n ", " ");
    let from = unfolded
        .lines()
        .find(|line| line.starts_with("From: "))
        .expect("a sender");
    assert!(
        from.ends_with("<noreply@plinth.example>") && from.contains("\\\" <evil"),
        "{from}"
    );
}

#[tokio::test]
async fn a_folder_that_went_away_is_a_reason_to_try_later() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let outbox = folder.path().join("outbox");
    let mailer = mailer(outbox.clone(), "Plinth").await;
    fs::remove_dir(&outbox).expect("it is removed");
    assert!(matches!(mailer.send(&mail()).await, Err(SendMailError::TryLater(reply)) if !reply.contains('\n')));
}

#[test]
fn a_subscription_that_is_dropped_leaves_nothing_on_the_bus() {
    let bus = LocalEventBus::new();
    let user = UserId::new(Uuid::from_u128(1));
    let (one, two) = (bus.subscribe(user), bus.subscribe(user));
    assert_eq!(bus.subscriptions(), 2);
    drop(one);
    assert_eq!(bus.subscriptions(), 1);
    drop(bus);
    drop(two);
}
