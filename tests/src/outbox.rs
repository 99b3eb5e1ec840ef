//! The mail that a Plinth without an SMTP server wrote: `.eml` files below `outbox` in its data folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::mime::Message;

/// How long a mail may take. Workers send within milliseconds; the rest is for a machine that also compiles.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

/// The folder that mails are written to.
#[derive(Debug, Clone)]
pub struct Outbox {
    folder: PathBuf,
}

/// One mail as it was handed over.
#[derive(Debug, Clone)]
pub struct Mail {
    /// The file.
    pub path: PathBuf,
    /// The header `To`.
    pub to: String,
    /// The header `Subject`, decoded.
    pub subject: String,
    /// The text of all parts, decoded.
    pub body: String,
    /// The whole mail.
    pub message: Message,
}

impl Outbox {
    /// The outbox in this folder, which need not exist yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Every mail so far, oldest first.
    pub fn mails(&self) -> Vec<Mail> {
        let mut files = Vec::new();
        collect(&self.folder, &mut files);
        files.sort();
        files.into_iter().filter_map(|(_, path)| Mail::read(path)).collect()
    }

    /// The mails so far to `address` whose subject or body contains `text`, oldest first; an empty `text` is in all.
    pub fn matching(&self, address: &str, text: &str) -> Vec<Mail> {
        let wanted = |mail: &Mail| mail.is_to(address) && (mail.subject.contains(text) || mail.body.contains(text));
        self.mails().into_iter().filter(wanted).collect()
    }

    /// Waits for a mail to `address` whose subject or body contains `text`; the newest one when there are several.
    ///
    /// # Panics
    /// After 20 seconds without one, naming what did come.
    pub async fn wait_for(&self, address: &str, text: &str) -> Mail {
        let mut mails = self.wait_for_count(address, text, 1).await;
        mails.pop().expect("at least one mail was waited for")
    }

    /// Waits until at least `count` such mails are there; all of them, oldest first.
    ///
    /// # Panics
    /// After 20 seconds without them, naming what did come.
    pub async fn wait_for_count(&self, address: &str, text: &str, count: usize) -> Vec<Mail> {
        let polling = async {
            loop {
                let mails = self.matching(address, text);
                if mails.len() >= count {
                    return mails;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(PATIENCE, polling).await.unwrap_or_else(|_| {
            let seen: Vec<String> = self
                .mails()
                .iter()
                .map(|mail| format!("  to {}: {}", mail.to, mail.subject))
                .collect();
            panic!(
                "{count} mails to {address} with {text:?} did not come; in {}:\n{}",
                self.folder.display(),
                seen.join("\n")
            )
        })
    }
}

impl Mail {
    /// None when the file went away, or is not text.
    fn read(path: PathBuf) -> Option<Self> {
        let message = Message::parse(&std::fs::read_to_string(&path).ok()?);
        let header = |name: &str| message.header(name).unwrap_or_default().to_owned();
        Some(Self {
            to: header("to"),
            subject: header("subject"),
            body: message.body.clone(),
            path,
            message,
        })
    }

    fn is_to(&self, address: &str) -> bool {
        self.to
            .split([',', ' ', '<', '>', '"'])
            .any(|part| part.eq_ignore_ascii_case(address))
    }

    /// The secret of the first link, `token=...`.
    ///
    /// # Panics
    /// When there is none.
    pub fn token(&self) -> String {
        token_in(&self.body).unwrap_or_else(|| panic!("no token in the mail {:?}:\n{}", self.subject, self.body))
    }

    /// The first link, from its scheme to the next space, quote or bracket, as its text says it.
    ///
    /// # Panics
    /// When there is none.
    pub fn link(&self) -> String {
        let start = self
            .body
            .find("http://")
            .or_else(|| self.body.find("https://"))
            .expect("a link in the mail");
        let end = self.body[start..].find(|c: char| c.is_whitespace() || "\"'<>)]".contains(c));
        self.body[start..]
            .get(..end.unwrap_or(self.body.len() - start))
            .unwrap_or_default()
            .replace("&amp;", "&")
    }
}

/// The value of the first `token=`, up to the first character that a token cannot have.
fn token_in(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("token=")?;
    let end = rest
        .find(|c: char| !(c.is_ascii_alphanumeric() || "-_.~%".contains(c)))
        .unwrap_or(rest.len());
    // A full stop after the link belongs to the sentence.
    let token = rest[..end].trim_end_matches('.');
    (!token.is_empty()).then(|| token.to_owned())
}

/// All `.eml` files below a folder, with the time of writing. A file that is being renamed into place may vanish
/// between the two calls, which is no fault.
fn collect(folder: &Path, files: &mut Vec<(std::time::SystemTime, PathBuf)>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "eml")
            && let Ok(written) = entry.metadata().and_then(|metadata| metadata.modified())
        {
            files.push((written, path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_where_its_alphabet_does() {
        assert_eq!(
            token_in("see https://x/verify?token=aB-_9&x=1"),
            Some("aB-_9".to_owned())
        );
        assert_eq!(token_in("<a href=\"/r?token=zz\">"), Some("zz".to_owned()));
        assert_eq!(token_in("go to /r?token=zz."), Some("zz".to_owned()));
        assert_eq!(token_in("token="), None);
        assert_eq!(token_in("nothing"), None);
    }

    #[tokio::test]
    async fn waits_for_the_mail_that_matches() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let outbox = Outbox::new(folder.path().join("outbox"));
        assert!(outbox.mails().is_empty());

        let writing = async {
            tokio::time::sleep(Duration::from_millis(60)).await;
            let below = folder.path().join("outbox/2026");
            std::fs::create_dir_all(&below).expect("a folder");
            std::fs::write(below.join("a.eml"), "To: B <b@example.org>\nSubject: Hello\n\nno\n").expect("a file");
            std::fs::write(below.join("b.txt"), "To: a@example.org\nSubject: Hello\n\nno\n").expect("a file");
            std::fs::write(
                below.join("c.eml"),
                "To: Ann <A@Example.org>\nSubject: Hello\n\nGo to http://127.0.0.1:1/verify?token=abc now\n",
            )
            .expect("a file");
        };
        let (mail, ()) = tokio::join!(outbox.wait_for("a@example.org", "Hello"), writing);
        assert_eq!(mail.token(), "abc");
        assert_eq!(mail.link(), "http://127.0.0.1:1/verify?token=abc");
        assert_eq!(outbox.matching("b@example.org", "").len(), 1);
        assert!(outbox.matching("b@example.org", "else").is_empty());
    }
}
