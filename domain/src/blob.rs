//! Blobs: the keys under which a backend stores bytes, always made by us from typed parts.

use std::fmt;
use std::str::FromStr;

use crate::id::{FileId, UserId};
use crate::time::Timestamp;

/// The type that a caller gives a file, such as `resume`: 1 to 32 of `a-z0-9_-`, a letter or digit first.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileType(String);

/// A text cannot be the type of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 32 of a-z, 0-9, _ and -, beginning with a letter or digit")]
pub struct ParseFileTypeError;

impl FileType {
    /// The type as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FileType {
    type Err = ParseFileTypeError;

    fn from_str(text: &str) -> Result<Self, ParseFileTypeError> {
        let fits = (1..=32).contains(&text.len())
            && text.as_bytes()[0].is_ascii_alphanumeric()
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseFileTypeError)
        }
    }
}

/// The name that a caller gives a file: 1 to 255 bytes, no path, no control or bidirectional override characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileName(String);

/// A text cannot be the name of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a name of 1 to 255 bytes without /, \\, control characters or direction overrides, and not . or ..")]
pub struct ParseFileNameError;

impl FileName {
    /// The name as given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as it stands in a key: ASCII letters, digits, `.`, `_` and `-`, at most 100, never a leading dot.
    pub fn to_key_part(&self) -> String {
        let safe = |c: char| {
            if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') {
                c
            } else {
                '_'
            }
        };
        let mut part: String = self.0.chars().map(safe).collect();
        if part.len() > 100 {
            part.drain(..part.len() - 100);
        }
        let trimmed = part.trim_start_matches(['.', '-']);
        if trimmed.is_empty() {
            "file".to_owned()
        } else {
            trimmed.to_owned()
        }
    }
}

impl FromStr for FileName {
    type Err = ParseFileNameError;

    fn from_str(text: &str) -> Result<Self, ParseFileNameError> {
        let bad =
            |c: char| c.is_control() || matches!(c, '/' | '\\' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
        let fits = (1..=255).contains(&text.len())
            && text != "."
            && text != ".."
            && !text.contains(bad)
            && !text.trim().is_empty();
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseFileNameError)
        }
    }
}

/// The place of a blob in its backend: `users/{user_id}/{type}/{timestamp}_{unique}_{safe name}`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobKey(String);

/// A stored text is not a key of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a blob key")]
pub struct ParseBlobKeyError;

impl BlobKey {
    /// Makes the key of a file. Two files never share one, since the id is in it.
    pub fn new(user: UserId, kind: &FileType, file: FileId, at: Timestamp, name: &FileName) -> Self {
        let (seconds, part) = (at.seconds().max(0), name.to_key_part());
        Self(format!(
            "users/{user}/{}/{seconds}_{}_{part}",
            kind.as_str(),
            file.uuid().as_simple()
        ))
    }

    /// The key as text: relative, with `/` between its parts, none of which is empty, `.` or `..`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Which file it holds.
    pub fn file(&self) -> Option<FileId> {
        self.0.rsplit('/').next().and_then(parse_leaf)
    }

    /// Whose blob it is.
    pub fn owner(&self) -> Option<UserId> {
        self.0.split('/').nth(1).and_then(|id| id.parse().ok())
    }
}

impl FromStr for BlobKey {
    type Err = ParseBlobKeyError;

    fn from_str(text: &str) -> Result<Self, ParseBlobKeyError> {
        let parts: Vec<&str> = text.split('/').collect();
        let [root, user, kind, leaf] = parts.as_slice() else {
            return Err(ParseBlobKeyError);
        };
        let canonical = user.parse::<UserId>().is_ok_and(|id| id.to_string() == **user);
        if *root == "users" && canonical && kind.parse::<FileType>().is_ok() && parse_leaf(leaf).is_some() {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseBlobKeyError)
        }
    }
}

/// The file of `{timestamp}_{unique}_{safe name}`, if it is written exactly as [`BlobKey::new`] writes it.
fn parse_leaf(leaf: &str) -> Option<FileId> {
    let mut parts = leaf.splitn(3, '_');
    let (seconds, unique, name) = (parts.next()?, parts.next()?, parts.next()?);
    let in_range = seconds
        .parse::<i64>()
        .is_ok_and(|s| (0..=Timestamp::MAX.seconds()).contains(&s) && s.to_string() == seconds);
    let file: FileId = unique.parse().ok()?;
    let canonical = file.uuid().as_simple().to_string() == unique;
    let safe = name
        .parse::<FileName>()
        .is_ok_and(|parsed| parsed.to_key_part() == name);
    (in_range && canonical && safe).then_some(file)
}

impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A part of a blob: `start..=end`, both counted from zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// The first byte.
    pub start: u64,
    /// The last byte.
    pub end: u64,
}

/// What a `Range` header asks of a representation of known size (RFC 9110 section 14).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeRequest {
    /// No range, several, another unit or not understood: answer with the whole.
    Whole,
    /// One part.
    Part(ByteRange),
    /// Beyond the end: 416.
    Unsatisfiable,
}

impl ByteRange {
    /// How many bytes it holds.
    pub const fn len(&self) -> u64 {
        self.end - self.start + 1
    }

    /// A range is never empty.
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Reads a `Range` header for something of `size` bytes.
    pub fn parse_header(header: &str, size: u64) -> RangeRequest {
        let Some((unit, spec)) = header.split_once('=') else {
            return RangeRequest::Whole;
        };
        let Some((first, last)) = spec.trim().split_once('-') else {
            return RangeRequest::Whole;
        };
        if !unit.trim().eq_ignore_ascii_case("bytes") || spec.contains(',') {
            return RangeRequest::Whole;
        }
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let (first, last) = (first.trim(), last.trim());
        if !digits(first) || !digits(last) || (first.is_empty() && last.is_empty()) {
            return RangeRequest::Whole;
        }
        // More digits than a u64 holds is past every end.
        let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
        if first.is_empty() {
            let suffix = number(last).min(size);
            return match (suffix, number(last)) {
                (0, 0) => RangeRequest::Unsatisfiable,
                // The last bytes of nothing are all of it, and `Content-Range` cannot write an empty part (section 14.1.2).
                (0, _) => RangeRequest::Whole,
                _ => RangeRequest::Part(Self {
                    start: size - suffix,
                    end: size - 1,
                }),
            };
        }
        let start = number(first);
        if !last.is_empty() && number(last) < start {
            return RangeRequest::Whole;
        }
        if start >= size {
            return RangeRequest::Unsatisfiable;
        }
        let end = if last.is_empty() {
            size - 1
        } else {
            number(last).min(size - 1)
        };
        RangeRequest::Part(Self { start, end })
    }
}
