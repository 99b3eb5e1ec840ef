//! Mail as `.eml` files in a folder: what a developer reads, and what a test follows.

use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use domain::email::EmailAddress;
use domain::mail::RenderedMail;
use mail_builder::MessageBuilder;
use mail_builder::headers::raw::Raw;
use ports::{BackendError, Mailer, SendMailError};

use crate::disk::{Draft, blocking, make_directories, unusable};

/// Writes each message into a file of its own: `{id}.eml`, and `{id}.2.eml` should it be handed over a second time.
///
/// A file appears whole, with its own name, durable, and readable by its owner alone: the links in it are secrets.
#[derive(Debug, Clone)]
pub struct EmlMailer {
    folder: Arc<Path>,
    from: EmailAddress,
    from_name: String,
}

impl EmlMailer {
    /// Opens the folder, making it when it is not there. `from_name` stands beside the sender's address.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub async fn open(folder: impl Into<PathBuf>, from: EmailAddress, from_name: &str) -> Result<Self, BackendError> {
        let folder: PathBuf = folder.into();
        let made = blocking("open", {
            let folder = folder.clone();
            move || make_directories(&folder).and_then(|()| folder.canonicalize())
        });
        let folder = made.await?.map_err(unusable)?;
        Ok(Self {
            folder: folder.into(),
            from,
            from_name: one_line(from_name),
        })
    }

    /// The message as it goes over the wire (RFC 5322 and 2045).
    fn source(&self, mail: &RenderedMail) -> io::Result<Vec<u8>> {
        MessageBuilder::new()
            .message_id(format!("{}@{}", mail.id, self.from.domain()))
            .date(mail.date.seconds().max(0))
            .from((self.from_name.as_str(), self.from.as_str()))
            .to(mail.to.as_str())
            .subject(one_line(&mail.subject))
            // RFC 3834 section 5: so that no out-of-office note answers.
            .header("Auto-Submitted", Raw::new("auto-generated"))
            .text_body(mail.text.as_str())
            .html_body(mail.html.as_str())
            .write_to_vec()
    }
}

/// The text without anything that could end a header line: the builder writes a carriage return with a line feed as it is.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
                ' '
            } else {
                c
            }
        })
        .collect()
}

/// Writes the source under the first free name of this id and gives that name.
fn write(folder: &Path, id: &str, source: &[u8]) -> io::Result<String> {
    let mut draft = Draft::create(folder, &format!(".{id}.draft"))?;
    draft.file.write_all(source)?;
    for number in 1_u32.. {
        let name = if number == 1 {
            format!("{id}.eml")
        } else {
            format!("{id}.{number}.eml")
        };
        match draft.publish(&folder.join(&name)) {
            Ok(()) => return Ok(name),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

#[async_trait]
impl Mailer for EmlMailer {
    async fn check(&self) -> Result<String, SendMailError> {
        let refused = |error: &dyn std::fmt::Display| SendMailError::Refused(one_line(&error.to_string()));
        let folder = Arc::clone(&self.folder);
        // What is dropped takes its name with it. It is never called `.eml`, so that nobody takes it for a message.
        let tried = blocking("check", move || {
            let mut draft = Draft::create(&folder, ".check.draft")?;
            draft.file.write_all(b"plinth")?;
            draft.file.sync_all()
        });
        let tried = tried.await.map_err(|error| refused(&error))?;
        tried.map_err(|error| refused(&error))?;
        Ok(one_line(&format!("{} can be written to", self.folder.display())))
    }

    async fn send(&self, mail: &RenderedMail) -> Result<String, SendMailError> {
        let later =
            |error: &dyn std::fmt::Display| SendMailError::TryLater(one_line(&format!("the mail folder: {error}")));
        let source = self.source(mail).map_err(|error| later(&error))?;
        let (folder, id) = (Arc::clone(&self.folder), mail.id.to_string());
        let written = blocking("send", move || write(&folder, &id, &source))
            .await
            .map_err(|error| later(&error))?;
        written
            .map(|name| format!("written to {name}"))
            .map_err(|error| later(&error))
    }
}
