//! Files and mail: every configured backend is used as a request would use it.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use domain::blob::{BlobKey, ByteRange, FileName, FileType};
use domain::email::EmailAddress;
use domain::id::{FileId, MailId, UserId};
use domain::mail::RenderedMail;
use domain::time::Timestamp;
use futures_util::{StreamExt as _, stream};
use ports::{
    BackendError, BlobStore, ByteStream, GetBlobError, MailQueue, Mailer, PutBlobError, SendMailError, StreamError,
};
use sha2::{Digest as _, Sha256};

use super::{Verdict, count, database, in_words, innermost};
use crate::compose::ComposeError;
use crate::service::Toolkit;
use crate::service::mail::Templates;

/// More than one piece of whatever a backend reads and writes in one go.
const BLOB: usize = 300_000;
/// In how large pieces it is handed over.
const PIECE: usize = 64 * 1024;
/// A message is handed over within seconds of its commit.
const WAITED: Duration = Duration::from_secs(60);

/// What to say of a backend that cannot be opened.
pub(super) fn unusable(error: &ComposeError, key: &str) -> Verdict {
    let full = matches!(error, ComposeError::Backend(error) if error.full);
    Verdict::fail(format!("it cannot be used: {}", innermost(error)), remedy(key, full))
}

fn remedy(key: &str, full: bool) -> String {
    if full {
        "make room on its disk".to_owned()
    } else {
        format!(
            "make what {key} names a folder that this user may write to, on a disk that is mounted and not read-only"
        )
    }
}

/// Puts a blob, meets it whole and in part, and removes it.
pub(super) async fn blobs(store: &dyn BlobStore, toolkit: &Toolkit, config_key: &str) -> Verdict {
    let key = match key(toolkit) {
        Ok(key) => key,
        Err(reason) => return Verdict::fail(reason, "this is a fault of Plinth; please report it"),
    };
    let mut body = vec![0; BLOB];
    toolkit.randomness.fill(&mut body);
    let body = Bytes::from(body);
    let used = use_blob(store, &key, &body).await;
    // Also what was only half put, or not read back, goes.
    let removed = match store.remove(&key).await {
        Ok(()) => store.size(&key).await.map(|size| size.is_none()),
        Err(error) => Err(error),
    };
    match (used, removed) {
        (Err(trouble), _) => trouble.verdict(config_key),
        (Ok(()), Err(error)) => Trouble::Failed(error).verdict(config_key),
        (Ok(()), Ok(false)) => Trouble::Wrong("a removed blob is still there").verdict(config_key),
        (Ok(()), Ok(true)) => Verdict::ok(format!(
            "{} KB written, read whole and in part, and removed",
            BLOB / 1_000
        )),
    }
}

fn key(toolkit: &Toolkit) -> Result<BlobKey, String> {
    let kind: FileType = "doctor".parse().map_err(|error| format!("{error}"))?;
    let name: FileName = "check".parse().map_err(|error| format!("{error}"))?;
    let id = FileId::new(toolkit.id());
    Ok(BlobKey::new(UserId::SYSTEM, &kind, id, toolkit.now(), &name))
}

enum Trouble {
    Full,
    Failed(BackendError),
    Wrong(&'static str),
}

impl Trouble {
    fn verdict(&self, key: &str) -> Verdict {
        match self {
            Self::Full => Verdict::fail("it is full", remedy(key, true)),
            Self::Failed(error) => Verdict::fail(innermost(error), remedy(key, error.full)),
            Self::Wrong(what) => Verdict::fail(
                *what,
                "keep new files off it (files.default), and see whether two machines share it rightly",
            ),
        }
    }
}

impl From<BackendError> for Trouble {
    fn from(error: BackendError) -> Self {
        if error.full { Self::Full } else { Self::Failed(error) }
    }
}

async fn use_blob(store: &dyn BlobStore, key: &BlobKey, body: &Bytes) -> Result<(), Trouble> {
    let size = put(store, key, body).await?;
    if size != Some(body.len() as u64) {
        return Err(Trouble::Wrong(
            "it says that it stored another number of bytes than it was given",
        ));
    }
    if put(store, key, body).await?.is_some() {
        return Err(Trouble::Wrong("it takes a second blob under a taken key"));
    }
    if store.size(key).await? != size {
        return Err(Trouble::Wrong("it says another size than it stored"));
    }
    if digest(store, key, None).await? != Sha256::digest(body)[..] {
        return Err(Trouble::Wrong("what it gives back is not what was stored"));
    }
    let part = ByteRange {
        start: 100_000,
        end: 100_999,
    };
    if digest(store, key, Some(part)).await? != Sha256::digest(&body[100_000..101_000])[..] {
        return Err(Trouble::Wrong(
            "a part that it gives back is not the one that was asked for",
        ));
    }
    Ok(())
}

/// Gives the size, or none when the key is taken.
async fn put(store: &dyn BlobStore, key: &BlobKey, body: &Bytes) -> Result<Option<u64>, Trouble> {
    let pieces: Vec<Result<Bytes, StreamError>> = (0..body.len())
        .step_by(PIECE)
        .map(|start| Ok(body.slice(start..body.len().min(start + PIECE))))
        .collect();
    match store.put(key, Box::pin(stream::iter(pieces))).await {
        Ok(size) => Ok(Some(size)),
        Err(PutBlobError::Exists) => Ok(None),
        Err(PutBlobError::Full) => Err(Trouble::Full),
        Err(PutBlobError::Backend(error)) => Err(error.into()),
        Err(PutBlobError::Stream(error)) => Err(broken(error)),
    }
}

fn broken(error: StreamError) -> Trouble {
    match error {
        StreamError::Backend(error) => error.into(),
        StreamError::Interrupted | StreamError::TooLarge(_) | StreamError::Corrupt => {
            Trouble::Wrong("the bytes break off on their way")
        }
    }
}

async fn digest(store: &dyn BlobStore, key: &BlobKey, range: Option<ByteRange>) -> Result<Vec<u8>, Trouble> {
    let mut stream: ByteStream = match store.get(key, range).await {
        Ok(stream) => stream,
        Err(GetBlobError::NotFound) => return Err(Trouble::Wrong("what was just stored is not found")),
        Err(GetBlobError::Backend(error)) => return Err(error.into()),
    };
    let mut hash = Sha256::new();
    while let Some(piece) = stream.next().await {
        hash.update(piece.map_err(broken)?);
    }
    Ok(hash.finalize().to_vec())
}

/// Goes as far as a hand-over does without a message, or hands one over to whoever is named.
pub(super) async fn mailer(
    mailer: &dyn Mailer,
    to: Option<&EmailAddress>,
    folder: Option<&Path>,
    toolkit: &Toolkit,
) -> Verdict {
    let told = match to {
        Some(to) => mailer.send(&message(to, toolkit)).await,
        None => mailer.check().await,
    };
    let place = folder
        .map(|folder| format!(" in {}", folder.display()))
        .unwrap_or_default();
    let fix = match folder {
        Some(_) => remedy("mail.outbox_dir", false),
        None => "mend what the server says, and see the section mail in docs/configuration.md".to_owned(),
    };
    match (told, to) {
        (Ok(found), None) => Verdict::ok(format!("{found}; --send-mail-to ADDRESS hands a message over")),
        (Ok(reply), Some(to)) => Verdict::ok(format!("handed over for {to}: {reply}{place}")),
        (Err(SendMailError::TryLater(reply) | SendMailError::Refused(reply)), _) => {
            Verdict::fail(format!("no message can be handed over{place}: {reply}"), fix)
        }
    }
}

fn message(to: &EmailAddress, toolkit: &Toolkit) -> RenderedMail {
    let text = "This is a test of the mail of a Plinth installation, sent by `plinth doctor`. Nothing is to be done.";
    RenderedMail {
        id: MailId::new(toolkit.id()),
        to: to.clone(),
        subject: "Plinth: a test message".to_owned(),
        text: format!("{text}\n"),
        html: format!("<p>{}</p>\n", text.replace('`', "")),
        date: toolkit.now(),
    }
}

/// Whether the templates in the folder can be used.
pub(super) fn templates(folder: &Path, from_name: &str) -> Verdict {
    match Templates::load(Some(folder), from_name) {
        Ok(_) => Verdict::ok(format!("those in {} render", folder.display())),
        Err(faults) => Verdict::fail(
            faults.to_string(),
            "mend the templates in the folder that mail.templates_dir names: until then no server starts",
        ),
    }
}

/// Whether messages leave the ledger.
pub(super) async fn mail_queue(queue: &dyn MailQueue, now: Timestamp, serving: bool) -> Verdict {
    let stats = match queue.stats(now).await {
        Ok(stats) => stats,
        Err(error) => return database::refused(&innermost(&error), error.full),
    };
    let waited = Duration::from_micros(stats.oldest_due_micros);
    let waiting = stats.queued + stats.sending;
    if waited > WAITED {
        let waits = if waiting == 1 { "waits" } else { "wait" };
        let oldest = format!(
            "{} {waits}, the oldest for {}",
            count(waiting, "message"),
            in_words(waited)
        );
        let fix =
            "start `plinth worker` or `plinth serve`; when one runs, look into its log for what the mail server said";
        return if serving {
            Verdict::fail(oldest, fix)
        } else {
            Verdict::warn(oldest, fix)
        };
    }
    if stats.dead > 0 {
        return Verdict::warn(
            format!("{} given up", count(stats.dead, "message")),
            "see `last_reply` in the table mails for the reason; their users can ask for a new link",
        );
    }
    Verdict::ok(format!("{} under way, none given up", count(waiting, "message")))
}
