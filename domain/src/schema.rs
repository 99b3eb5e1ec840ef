//! Schemas of events' data: a bounded form of JSON Schema 2020-12, and whether one version goes with another.
//!
//! A schema is a set of JSON values. Whether a change is compatible is therefore a question about two sets: data that
//! the writer's schema admits must be admitted by the reader's. The content model decides most cases, as in Confluent's
//! Schema Registry (`json-schema-provider`, `ObjectSchemaDiff`): a member may be added only where the version before was
//! closed (`additionalProperties: false`), because an open one admitted anything under that name. Two things differ. A
//! member that became required is never compatible, `default` or not, since no validator fills it in. And a consumer of
//! an older version is taken to ignore members that it does not know, so that closed schemas can grow in both
//! directions: every event names the version that it was written with, and strict validation is done with that one.

mod form;
mod judge;
mod plain;

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

pub use form::{MAX_SCHEMA_BYTES, SchemaFault};

/// The dialect of every schema.
pub const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// A schema within the bounds: at most [`MAX_SCHEMA_BYTES`], no deeper than 32 levels, known keywords alone, references
/// into its own `$defs` alone and none in a circle.
#[derive(Clone, PartialEq)]
pub struct Schema {
    value: Value,
    text: String,
}

impl Schema {
    /// Takes a schema that keeps the bounds.
    ///
    /// # Errors
    /// What is wrong with it, at most twenty faults, each with a pointer that begins with `#`.
    pub fn parse(value: Value) -> Result<Self, Vec<SchemaFault>> {
        let text = value.to_string();
        let faults = form::faults(&value, text.len());
        if faults.is_empty() {
            Ok(Self { value, text })
        } else {
            Err(faults)
        }
    }

    /// The schema as JSON.
    pub const fn value(&self) -> &Value {
        &self.value
    }

    /// The schema as compact JSON text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// How a new version of a type must go with the version before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compatibility {
    /// A consumer of the new version reads data of the old one.
    #[default]
    Backward,
    /// A consumer of the old version reads data of the new one.
    Forward,
    /// Both.
    Full,
    /// It need not.
    None,
}

/// A text names no compatibility.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be backward, forward, full or none")]
pub struct ParseCompatibilityError;

impl Compatibility {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Backward, Self::Forward, Self::Full, Self::None];

    /// The word on the wire and in storage.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Backward => "backward",
            Self::Forward => "forward",
            Self::Full => "full",
            Self::None => "none",
        }
    }

    const fn asks_backward(self) -> bool {
        matches!(self, Self::Backward | Self::Full)
    }

    const fn asks_forward(self) -> bool {
        matches!(self, Self::Forward | Self::Full)
    }
}

impl FromStr for Compatibility {
    type Err = ParseCompatibilityError;

    fn from_str(text: &str) -> Result<Self, ParseCompatibilityError> {
        let named = |known: &Self| known.as_str() == text;
        Self::ALL.into_iter().find(named).ok_or(ParseCompatibilityError)
    }
}

/// Which way a change does not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The new version does not read what the old one wrote.
    Backward,
    /// The old version does not read what the new one writes.
    Forward,
}

impl Direction {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Backward => "backward",
            Self::Forward => "forward",
        }
    }
}

/// One reason why a version does not go with the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incompatibility {
    /// Which way.
    pub direction: Direction,
    /// Where, as a JSON pointer into the schemas with their references followed: `#/properties/order/minimum`.
    pub pointer: String,
    /// The keyword that is to blame.
    pub rule: &'static str,
    /// What changed. Names keywords, types and members, never another value.
    pub reason: String,
}

/// Why `new` cannot follow `old`; nothing when it can. What cannot be judged counts as a reason.
pub fn incompatibilities(compatibility: Compatibility, old: &Schema, new: &Schema) -> Vec<Incompatibility> {
    let mut found = Vec::new();
    if compatibility.asks_backward() {
        let (reader, writer) = (plain::plain(new.value(), false), plain::plain(old.value(), false));
        found.extend(judge::judge(Direction::Backward, &reader, &writer));
    }
    if compatibility.asks_forward() {
        let (reader, writer) = (plain::plain(old.value(), true), plain::plain(new.value(), false));
        found.extend(judge::judge(Direction::Forward, &reader, &writer));
    }
    found
}

/// One step down a JSON pointer (RFC 6901, section 3).
fn join(at: &str, step: &str) -> String {
    format!("{at}/{}", step.replace('~', "~0").replace('/', "~1"))
}
