//! The scenarios of [`Mailer`](crate::Mailer).

use std::fmt;

use domain::id::MailId;
use domain::mail::RenderedMail;
use domain::time::Timestamp;
use uuid::Uuid;

use crate::{Mailer, SendMailError};

/// A mailer and the eyes of its recipients.
pub struct MailerSubject<M> {
    /// The mailer.
    pub mailer: M,
    /// The source of every message handed over so far, in any order.
    pub handed_over: Box<dyn Fn() -> Vec<String> + Send + Sync>,
}

impl<M> fmt::Debug for MailerSubject<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailerSubject").finish_non_exhaustive()
    }
}

/// One named test per scenario. The fixture is a future of `Option<(MailerSubject, guard)>`; nothing was handed over yet.
#[macro_export]
macro_rules! mailer_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            mailer,
            [
                hands_over_what_was_rendered,
                answers_with_one_line,
                makes_the_message_id_from_the_ledger_id_alone,
                shows_each_hand_over,
                lets_no_subject_make_a_header,
                says_that_a_machine_wrote_it,
                a_check_says_one_line_and_hands_nothing_over,
            ]
        );
    };
}

fn mail(id: u128) -> RenderedMail {
    RenderedMail {
        id: MailId::new(Uuid::from_u128(id)),
        to: "ann@example.org".parse().expect("an address"),
        subject: "Verify your address".to_owned(),
        text: "Plain words to read.\n".to_owned(),
        html: "<p>Marked words to read.</p>\n".to_owned(),
        date: Timestamp::from_seconds(1_800_000_000),
    }
}

/// Name in lower case and value of each header, unfolded (RFC 5322 section 2.2.3).
fn headers(source: &str) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = Vec::new();
    // A receiver may take a bare carriage return or line feed for the end of a line: so does this reader.
    for line in source.replace("\r\n", "\n").replace('\r', "\n").split('\n') {
        if line.is_empty() {
            break;
        }
        match (line.starts_with([' ', '\t']), line.split_once(':'), headers.last_mut()) {
            (true, _, Some((_, value))) => value.push_str(line),
            (false, Some((name, value)), _) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
            _ => panic!("a line that is no header: {line:?}"),
        }
    }
    headers
}

/// The value of a header that stands there exactly once.
fn header(source: &str, name: &str) -> String {
    let found: Vec<String> = headers(source)
        .into_iter()
        .filter(|(known, _)| known == name)
        .map(|(_, value)| value)
        .collect();
    assert_eq!(found.len(), 1, "{name} stands there {} times in\n{source}", found.len());
    found.into_iter().next().unwrap_or_default()
}

/// The only message so far.
fn only<M>(subject: &MailerSubject<M>) -> String {
    let mut handed = (subject.handed_over)();
    assert_eq!(handed.len(), 1);
    handed.pop().unwrap_or_default()
}

/// Recipient, subject, date and both parts.
pub async fn hands_over_what_was_rendered<M: Mailer>(subject: &MailerSubject<M>) {
    subject.mailer.send(&mail(1)).await.expect("it is handed over");
    let source = only(subject);
    assert!(header(&source, "to").contains("ann@example.org"));
    assert!(header(&source, "from").contains('@'));
    assert_eq!(header(&source, "subject"), "Verify your address");
    assert_eq!(header(&source, "date"), "Fri, 15 Jan 2027 08:00:00 +0000");
    assert!(header(&source, "content-type").starts_with("multipart/alternative"));
    assert!(source.contains("Plain words to read.") && source.contains("<p>Marked words to read.</p>"));
}

/// The reply goes into the ledger and on a screen.
pub async fn answers_with_one_line<M: Mailer>(subject: &MailerSubject<M>) {
    let reply = subject.mailer.send(&mail(1)).await.expect("it is handed over");
    assert!(!reply.is_empty() && !reply.contains(char::is_control), "{reply:?}");
}

/// A second hand-over after a crash can be told, whatever was rendered the second time.
pub async fn makes_the_message_id_from_the_ledger_id_alone<M: Mailer>(subject: &MailerSubject<M>) {
    let changed = RenderedMail {
        subject: "Another".to_owned(),
        date: Timestamp::from_seconds(1_900_000_000),
        ..mail(1)
    };
    for mail in [mail(1), changed, mail(2)] {
        subject.mailer.send(&mail).await.expect("it is handed over");
    }
    let mut ids: Vec<String> = (subject.handed_over)()
        .iter()
        .map(|source| header(source, "message-id"))
        .collect();
    ids.sort();
    assert_eq!(ids.len(), 3);
    assert!(ids[0] == ids[1] && ids[1] != ids[2], "{ids:?}");
    assert!(
        ids[0].contains(&MailId::new(Uuid::from_u128(1)).to_string()),
        "{}",
        ids[0]
    );
    assert!(
        ids.iter()
            .all(|id| id.starts_with('<') && id.ends_with('>') && id.matches('@').count() == 1)
    );
}

/// Handed over twice is seen twice.
pub async fn shows_each_hand_over<M: Mailer>(subject: &MailerSubject<M>) {
    for expected in 1..=3 {
        subject.mailer.send(&mail(1)).await.expect("it is handed over");
        assert_eq!((subject.handed_over)().len(), expected);
    }
}

/// Whatever ends a line somewhere ends none here: refused, or one header as before.
pub async fn lets_no_subject_make_a_header<M: Mailer>(subject: &MailerSubject<M>) {
    let ends = [
        "\r\n",
        "\n",
        "\r",
        "\r\n\r\n",
        "\0\r\n",
        "\u{b}\n",
        "\u{85}\r\n",
        "\u{2028}\n",
    ];
    let long = "many words ".repeat(40);
    for (number, end) in (10_u128..).zip(ends) {
        for start in ["Hello", "Grüße", long.as_str()] {
            let evil = RenderedMail {
                subject: format!("{start}{end}Bcc: evil@example.net{end}X-Evil: 1"),
                ..mail(number)
            };
            match subject.mailer.send(&evil).await {
                Ok(_) | Err(SendMailError::Refused(_)) => {}
                Err(SendMailError::TryLater(reply)) => panic!("trying later makes it no better: {reply}"),
            }
        }
    }
    for source in (subject.handed_over)() {
        for name in ["to", "from", "subject", "message-id", "date"] {
            header(&source, name);
        }
        let names: Vec<String> = headers(&source).into_iter().map(|(name, _)| name).collect();
        assert!(!names.iter().any(|name| name == "bcc" || name == "x-evil"), "{names:?}");
    }
}

/// RFC 3834: so that no out-of-office note answers.
pub async fn says_that_a_machine_wrote_it<M: Mailer>(subject: &MailerSubject<M>) {
    subject.mailer.send(&mail(1)).await.expect("it is handed over");
    assert_eq!(header(&only(subject), "auto-submitted"), "auto-generated");
}

/// Before and after a message alike.
pub async fn a_check_says_one_line_and_hands_nothing_over<M: Mailer>(subject: &MailerSubject<M>) {
    for handed_over in 0..2 {
        let found = subject.mailer.check().await.expect("a healthy mailer");
        assert!(!found.is_empty() && !found.contains(['\r', '\n']), "{found:?}");
        assert_eq!((subject.handed_over)().len(), handed_over);
        subject.mailer.send(&mail(31)).await.expect("it is handed over");
    }
}
