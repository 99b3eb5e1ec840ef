//! Types of events and their schemas.
use serde::{Deserialize, Serialize};

use crate::{AnyJson, Text, Time};

/// A type of events that has a schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct EventTypeBody {
    /// The type, as events carry it.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "server", oai(rename = "type"))]
    pub event_type: String,
    /// Whether it is one of the server's own types: those clients cannot publish or change.
    pub own: bool,
    /// How a further version is held against the one before: `backward` (a consumer of the new version reads data of the
    /// old one), `forward` (a consumer of the old version that ignores members it does not know reads data of the new
    /// one), `full` (both) or `none`.
    pub compatibility: String,
    /// The newest version, which events are held against unless they name another. Versions are counted from 1.
    pub newest_version: u32,
}

/// A part of the types.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct EventTypePageBody {
    /// Types in the order of their names.
    pub items: Vec<EventTypeBody>,
    /// What to send as `after` for the next page; null when this is the last.
    pub next_cursor: Option<String>,
}

/// A version of a type's schema. It never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct EventSchemaBody {
    /// The type, as events carry it.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "server", oai(rename = "type"))]
    pub event_type: String,
    /// The version, counted from 1.
    pub version: u32,
    /// The name of this version, as events that were valid with it carry it.
    pub dataschema: String,
    /// JSON Schema (2020-12) of the events' `data`.
    pub schema: AnyJson,
    /// When it was registered; null for the server's own types.
    pub created_at: Option<Time>,
}

/// A version to be registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object), oai(deny_unknown_fields))]
pub struct RegisterSchemaBody {
    /// JSON Schema (2020-12) of the events' `data`: at most 32,768 bytes when written without white space and 32 levels
    /// deep, with references (`$ref`) into its own `$defs` alone, none of them in a circle. Patterns know no look-around
    /// and no back references.
    pub schema: AnyJson,
}

/// A rule for further versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object), oai(deny_unknown_fields))]
pub struct CompatibilityBody {
    /// `backward`, `forward`, `full` or `none`.
    pub compatibility: Text,
}
