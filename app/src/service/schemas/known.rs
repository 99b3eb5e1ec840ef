//! The copy of all schemas that a process keeps. It is never changed, only replaced.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, OnceLock};

use domain::event::{EventType, OwnEvent};
use domain::schema::{Compatibility, Schema};
use domain::time::Timestamp;
use openapi::OWN_SCHEMAS;
use ports::{RegisteredSchema, SchemaChanges};
use serde_json::Value;

use super::validator::{Validator, Violation};

/// A version of a type's schema.
#[derive(Debug)]
pub struct KnownSchema {
    /// The type.
    pub event_type: EventType,
    /// The version, counted from 1.
    pub version: u32,
    /// The schema.
    pub schema: Schema,
    /// When it was registered; none for Plinth's own.
    pub created_at: Option<Timestamp>,
    /// Compiled when the first event is held against it: of most types that is the newest version alone.
    validator: OnceLock<Option<Validator>>,
}

impl KnownSchema {
    pub(super) fn registered(stored: &RegisteredSchema, schema: Schema) -> Self {
        Self {
            event_type: stored.event_type.clone(),
            version: stored.version,
            schema,
            created_at: Some(stored.created_at),
            validator: OnceLock::new(),
        }
    }

    /// The parts of the data that the schema refuses, at most twenty.
    pub fn violations(&self, data: &Value) -> Vec<Violation> {
        let compiled = self
            .validator
            .get_or_init(|| Validator::compile(self.schema.value()).ok());
        compiled.as_ref().map_or_else(
            // Nothing was registered that did not compile: a newer binary may have taken more than this one knows.
            || {
                vec![Violation::of_whole(
                    "schema_unusable",
                    "the schema cannot be used by this server",
                )]
            },
            |validator| validator.violations(data),
        )
    }
}

/// A type with its versions.
#[derive(Debug, Clone)]
pub struct KnownType {
    /// The type.
    pub event_type: EventType,
    /// Whether it is one of Plinth's own.
    pub own: bool,
    /// How a further version is held against the one before.
    pub compatibility: Compatibility,
    /// All versions: the first is version 1.
    pub versions: Vec<Arc<KnownSchema>>,
}

impl KnownType {
    /// A version.
    pub fn version(&self, version: u32) -> Option<&Arc<KnownSchema>> {
        let index = usize::try_from(version).ok()?.checked_sub(1)?;
        self.versions.get(index)
    }
}

/// All types.
#[derive(Debug, Clone, Default)]
pub(super) struct Catalogue {
    /// Of the registered ones.
    pub(super) revision: u64,
    types: BTreeMap<String, KnownType>,
    /// What the registered schemas are together.
    pub(super) registered_bytes: usize,
}

/// Made once: a process may have several services over one set of own schemas, and tests have many.
static OWN: LazyLock<Catalogue> = LazyLock::new(|| {
    let mut own = Catalogue::default();
    for kept in OWN_SCHEMAS {
        let parsed = serde_json::from_str(kept.text)
            .ok()
            .and_then(|value| Schema::parse(value).ok());
        let (Ok(event_type), Some(schema)) = (kept.event_type.parse::<EventType>(), parsed) else {
            continue;
        };
        // Who only knows an older version ignores what it does not know, and the newest reads the oldest.
        let known = own.entry(&event_type, true, Compatibility::Full);
        known.versions.push(Arc::new(KnownSchema {
            event_type,
            version: kept.version,
            schema,
            created_at: None,
            validator: OnceLock::new(),
        }));
    }
    own
});

/// The schema that an own event is written with now.
pub(super) fn own_schema(kind: OwnEvent) -> Option<&'static Arc<KnownSchema>> {
    OWN.types.get(kind.as_str())?.version(kind.schema_version())
}

impl Catalogue {
    /// Plinth's own types alone.
    pub(super) fn own() -> Self {
        OWN.clone()
    }

    fn entry(&mut self, event_type: &EventType, own: bool, compatibility: Compatibility) -> &mut KnownType {
        self.types
            .entry(event_type.as_str().to_owned())
            .or_insert_with(|| KnownType {
                event_type: event_type.clone(),
                own,
                compatibility,
                versions: Vec::new(),
            })
    }

    /// The same with what changed. A version that is known already is told again when changes overlap.
    pub(super) fn with(&self, changes: &SchemaChanges) -> Self {
        let mut made = self.clone();
        made.revision = changes.revision;
        for changed in &changes.types {
            let known = made.entry(&changed.event_type, false, changed.compatibility);
            known.compatibility = changed.compatibility;
        }
        for stored in &changes.schemas {
            let value = serde_json::from_str(&stored.schema).ok();
            let Some(schema) = value.and_then(|value| Schema::parse(value).ok()) else {
                tracing::error!(event_type = %stored.event_type, version = stored.version, "a registered schema cannot be read");
                continue;
            };
            let bytes = stored.schema.len();
            let known = made.entry(&stored.event_type, false, Compatibility::default());
            if known.versions.len() + 1 == stored.version as usize {
                known.versions.push(Arc::new(KnownSchema::registered(stored, schema)));
                made.registered_bytes += bytes;
            }
        }
        made
    }

    pub(super) fn find(&self, event_type: &EventType) -> Option<&KnownType> {
        // A type whose versions are not told yet has none to be held against.
        let found = self.types.get(event_type.as_str());
        found.filter(|found| !found.versions.is_empty())
    }

    pub(super) fn list(&self, after: Option<&str>, limit: usize) -> Vec<KnownType> {
        let beyond = |name: &&String| after.is_none_or(|after| name.as_str() > after);
        let found = self
            .types
            .iter()
            .filter(|(name, known)| beyond(name) && !known.versions.is_empty());
        found.take(limit).map(|(_, known)| known.clone()).collect()
    }

    pub(super) fn registered_types(&self) -> usize {
        self.types.values().filter(|known| !known.own).count()
    }
}
