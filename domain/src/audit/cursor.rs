//! Where a search of the audit trail goes on.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::time::Timestamp;

/// Where a search goes on: opaque to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditCursor {
    /// Before this position, among the events of one user.
    Position(u64),
    /// Before this time, and at this time before this id.
    Moment(Timestamp, Uuid),
}

/// A text is not such a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be the next_cursor of the page before")]
pub struct ParseAuditCursorError;

impl fmt::Display for AuditCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Position(position) => write!(f, "p{position}"),
            Self::Moment(at, id) => write!(f, "t{}.{}", at.micros(), id.simple()),
        }
    }
}

impl FromStr for AuditCursor {
    type Err = ParseAuditCursorError;

    fn from_str(text: &str) -> Result<Self, ParseAuditCursorError> {
        let parsed = match text.split_at_checked(1) {
            Some(("p", digits)) => digits.parse().ok().map(Self::Position),
            Some(("t", rest)) => rest.split_once('.').and_then(|(micros, id)| {
                let at = Timestamp::from_micros(micros.parse().ok()?);
                Some(Self::Moment(at, Uuid::try_parse(id).ok()?))
            }),
            _ => None,
        };
        // One text for each place: `p07` and `p+7` are none of ours.
        parsed
            .filter(|cursor| cursor.to_string() == text)
            .ok_or(ParseAuditCursorError)
    }
}
