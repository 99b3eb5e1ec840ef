//! Dead letters: events that a handler group gave up, with the reason; and the reasons of failures.

use crate::cloud_event::TopicPlace;
use crate::event::{EventType, Shard};
use crate::id::{DeadLetterId, EventId, UserId};
use crate::time::Timestamp;

/// Where a handler got its events from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LetterOrigin {
    /// It follows the log.
    Log,
    /// It hands them on to Kafka.
    Kafka,
    /// A topic brought them, from another service.
    Topic,
}

impl LetterOrigin {
    /// Every origin.
    pub const ALL: [Self; 3] = [Self::Log, Self::Kafka, Self::Topic];

    /// The word in storage and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Kafka => "kafka",
            Self::Topic => "topic",
        }
    }

    /// The origin of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|origin| origin.as_str() == word)
    }
}

/// Why an event was not handled: a code to count by, and a sentence for people. Neither holds anything of the payload.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FailureReason {
    code: String,
    text: String,
}

impl FailureReason {
    /// The longest code.
    pub const CODE_LENGTH: usize = 64;
    /// The longest text, in characters.
    pub const TEXT_LENGTH: usize = 500;

    /// A reason. In the code every letter but `a-z`, `0-9`, `.`, `_` and `-` becomes `_`; in the text what is no letter that can be shown becomes a space. What is too long is cut.
    pub fn new(code: &str, text: &str) -> Self {
        let plain = |c: char| match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9' | '.' | '_' | '-') => c,
            _ => '_',
        };
        let shown = |c: char| if c.is_control() { ' ' } else { c };
        let code: String = code.chars().take(Self::CODE_LENGTH).map(plain).collect();
        Self {
            code: if code.is_empty() { "failed".to_owned() } else { code },
            text: text.chars().take(Self::TEXT_LENGTH).map(shown).collect(),
        }
    }

    /// The code.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The sentence.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// An event that a handler group gave up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its own id: the same event may be dead in several groups.
    pub id: DeadLetterId,
    /// The group.
    pub group: String,
    /// The event.
    pub event_id: EventId,
    /// The event's shard.
    pub shard: Shard,
    /// The event's place in the shard; the offset of one that a topic brought.
    pub position: u64,
    /// Whose event it is.
    pub user_id: UserId,
    /// The event's type.
    pub event_type: EventType,
    /// Where the group got it from.
    pub origin: LetterOrigin,
    /// The record that it was, when a topic brought it.
    pub place: Option<TopicPlace>,
    /// Attempts since it failed first, or since it was redriven.
    pub attempts: u32,
    /// When it failed first.
    pub first_failed_at: Timestamp,
    /// When it failed last.
    pub last_failed_at: Timestamp,
    /// Why it failed last.
    pub reason: FailureReason,
    /// How often it was redriven.
    pub redrives: u32,
}

impl DeadLetter {
    /// A dead letter that was redriven so often is not redriven again unless that is forced: what made it fail is still there.
    pub const MOST_REDRIVES: u32 = 3;

    /// Whether redriving it once more would go in a circle.
    pub const fn is_in_a_loop(&self) -> bool {
        self.redrives >= Self::MOST_REDRIVES
    }
}
