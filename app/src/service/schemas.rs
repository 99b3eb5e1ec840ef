//! The schemas of events: Plinth's own, compiled in, and those that administrators registered for clients' types.
//!
//! Every process keeps a copy with compiled validators and asks the database each second whether something changed, so
//! that publishing an event costs no read. A version that another node registered holds here within about a second.

mod known;
#[cfg(test)]
mod tests;
mod validator;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use domain::event::{EventType, OwnEvent};
use domain::id::UserId;
use domain::schema::{Compatibility, Incompatibility, Schema, SchemaFault, incompatibilities};
use ports::{
    BackendError, Effects, EffectsError, InsertSchemaError, RegisteredSchema, SchemaChanges, SchemaRepository, Wakeup,
};
use serde_json::{Value, json};

use super::{Origin, Toolkit};

pub use known::{KnownSchema, KnownType};
pub use validator::{Validator, Violation};

use known::Catalogue;

/// How often the copy is compared with the database.
pub const LOOK: Duration = Duration::from_secs(1);
/// The most types of clients' events.
pub const MAX_TYPES: usize = 1_000;
/// The most versions of a type.
pub const MAX_VERSIONS: u32 = 200;
/// The most bytes of all registered schemas together: every process keeps them.
pub const MAX_ALL_BYTES: usize = 16 * 1024 * 1024;
/// How often a registration is tried again when somebody else was faster.
const ATTEMPTS: usize = 5;

/// Why a version was not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterSchemaError {
    /// The type is none that clients may publish.
    #[error("{0}")]
    Type(String),
    /// The schema breaks rules of form.
    #[error("the schema is not taken")]
    Schema(Vec<SchemaFault>),
    /// It does not go with the version before.
    #[error("the schema is not compatible with version {version}")]
    Incompatible {
        /// The version before.
        version: u32,
        /// The rule that it was held against.
        rule: Compatibility,
        /// Why.
        reasons: Vec<Incompatibility>,
    },
    /// There is no room for another.
    #[error("{0}")]
    TooMany(String),
    /// Others register versions of the type all the time.
    #[error("the type is being changed by somebody else")]
    Contended,
    /// The backend failed.
    #[error(transparent)]
    Effects(#[from] EffectsError),
}

impl From<BackendError> for RegisterSchemaError {
    fn from(error: BackendError) -> Self {
        Self::Effects(error.into())
    }
}

/// Why a rule was not changed.
#[derive(Debug, thiserror::Error)]
pub enum SetCompatibilityError {
    /// No schema was registered for such a type.
    #[error("there is no such type")]
    NotFound,
    /// The backend failed.
    #[error(transparent)]
    Effects(#[from] EffectsError),
}

/// Why an event's data is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataRefusal {
    /// The type has no schema, and every type must have one.
    SchemaMissing,
    /// The type has no such version.
    UnknownVersion,
    /// These parts, at most twenty of them.
    Violations(Vec<Violation>),
}

/// What the service is made over.
#[derive(Clone)]
pub struct SchemaParts {
    /// Time, randomness, ids, wake-ups.
    pub toolkit: Toolkit,
    /// What was registered.
    pub repository: Arc<dyn SchemaRepository>,
    /// How the types of clients' events begin.
    pub client_prefix: String,
    /// Whether a type must have a schema to be published.
    pub require: bool,
}

impl std::fmt::Debug for SchemaParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SchemaParts")
            .field("client_prefix", &self.client_prefix)
            .field("require", &self.require)
            .finish_non_exhaustive()
    }
}

/// All schemas that this process knows.
#[derive(Debug)]
pub struct Schemas {
    p: SchemaParts,
    known: RwLock<Arc<Catalogue>>,
}

impl Schemas {
    /// The service with Plinth's own types; [`Schemas::refresh`] brings the registered ones.
    pub fn new(parts: SchemaParts) -> Self {
        Self {
            p: parts,
            known: RwLock::new(Arc::new(Catalogue::own())),
        }
    }

    fn known(&self) -> Arc<Catalogue> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over what was registered since the last time, by this process or another.
    ///
    /// # Errors
    /// When the database cannot be read; what is known stays.
    pub async fn refresh(&self) -> Result<(), BackendError> {
        let before = self.known().revision;
        if self.p.repository.revision().await? == before {
            return Ok(());
        }
        let changes = self.p.repository.changes(before).await?;
        self.take(&changes);
        Ok(())
    }

    /// Two that refresh at once may bring the same changes twice, and an older one last: what is known never goes back.
    fn take(&self, changes: &SchemaChanges) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if changes.revision > known.revision {
            *known = Arc::new(known.with(changes));
        }
    }

    /// The types after a name, in the order of their names, at most `limit`.
    pub fn list(&self, after: Option<&str>, limit: usize) -> Vec<KnownType> {
        self.known().list(after, limit)
    }

    /// A type.
    pub fn find(&self, event_type: &EventType) -> Option<KnownType> {
        self.known().find(event_type).cloned()
    }

    /// Holds the data of a client's event against the version that it names or the newest one, and gives that version.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn check(
        &self,
        event_type: &EventType,
        version: Option<u32>,
        data: &Value,
    ) -> Result<Option<u32>, DataRefusal> {
        let known = self.known();
        let Some(found) = known.find(event_type) else {
            return match version {
                Some(_) => Err(DataRefusal::UnknownVersion),
                None if self.p.require => Err(DataRefusal::SchemaMissing),
                None => Ok(None),
            };
        };
        let schema = match version {
            Some(version) => found.version(version),
            None => found.versions.last(),
        };
        let schema = schema.ok_or(DataRefusal::UnknownVersion)?;
        let violations = schema.violations(data);
        if violations.is_empty() {
            Ok(Some(schema.version))
        } else {
            Err(DataRefusal::Violations(violations))
        }
    }

    /// Registers the next version of a type, or gives the newest one when it says the same: then the flag is false.
    ///
    /// # Errors
    /// Why it is refused.
    pub async fn register(
        &self,
        administrator: UserId,
        origin: &Origin,
        event_type: &str,
        schema: Value,
    ) -> Result<(Arc<KnownSchema>, bool), RegisterSchemaError> {
        let event_type = self.clients_type(event_type)?;
        let schema = Schema::parse(schema).map_err(RegisterSchemaError::Schema)?;
        Validator::compile(schema.value()).map_err(|fault| RegisterSchemaError::Schema(vec![fault]))?;
        for _ in 0..ATTEMPTS {
            self.refresh().await?;
            let found = self.find(&event_type);
            let newest = found.as_ref().and_then(|found| found.versions.last());
            if let Some(newest) = newest.filter(|newest| newest.schema.value() == schema.value()) {
                return Ok((Arc::clone(newest), false));
            }
            let rule = found.as_ref().map(|found| found.compatibility).unwrap_or_default();
            if let Some(newest) = newest {
                let reasons = incompatibilities(rule, &newest.schema, &schema);
                if !reasons.is_empty() {
                    let version = newest.version;
                    return Err(RegisterSchemaError::Incompatible { version, rule, reasons });
                }
            }
            let version = newest.map_or(1, |newest| newest.version.saturating_add(1));
            self.make_room(version, schema.text().len())?;
            let stored = RegisteredSchema {
                event_type: event_type.clone(),
                version,
                schema: schema.text().to_owned(),
                created_at: self.p.toolkit.now(),
                created_by: administrator,
            };
            let data = json!({ "event_type": event_type.as_str(), "version": version, "compatibility": rule.as_str() });
            let effects = self.told(administrator, origin, OwnEvent::SchemaRegistered, &data);
            match self.p.repository.insert(&stored, rule, &effects).await {
                Ok(()) => {
                    self.p.toolkit.wakeups.wake(Wakeup::Written);
                    self.refresh().await?;
                    return Ok((Arc::new(KnownSchema::registered(&stored, schema)), true));
                }
                Err(InsertSchemaError::Overtaken) => {}
                Err(InsertSchemaError::Effects(error)) => return Err(error.into()),
            }
        }
        Err(RegisterSchemaError::Contended)
    }

    /// Changes how further versions of a type are held against the one before.
    ///
    /// # Errors
    /// When no schema was registered for the type.
    pub async fn set_compatibility(
        &self,
        administrator: UserId,
        origin: &Origin,
        event_type: &EventType,
        compatibility: Compatibility,
    ) -> Result<KnownType, SetCompatibilityError> {
        self.refresh().await.map_err(EffectsError::from)?;
        let found = self.find(event_type).filter(|found| !found.own);
        let found = found.ok_or(SetCompatibilityError::NotFound)?;
        if found.compatibility != compatibility {
            let (from, to) = (found.compatibility.as_str(), compatibility.as_str());
            let data = json!({ "event_type": event_type.as_str(), "from": from, "to": to });
            let effects = self.told(administrator, origin, OwnEvent::CompatibilityChanged, &data);
            let changed = self
                .p
                .repository
                .set_compatibility(event_type, compatibility, &effects)
                .await?;
            if !changed {
                return Err(SetCompatibilityError::NotFound);
            }
            self.p.toolkit.wakeups.wake(Wakeup::Written);
            self.refresh().await.map_err(EffectsError::from)?;
        }
        Ok(KnownType { compatibility, ..found })
    }

    fn told(&self, administrator: UserId, origin: &Origin, kind: OwnEvent, data: &Value) -> Effects {
        Effects {
            events: vec![self.p.toolkit.own_event(origin, administrator, kind, data)],
            ..Effects::none()
        }
    }

    fn clients_type(&self, text: &str) -> Result<EventType, RegisterSchemaError> {
        let event_type: EventType = text
            .parse()
            .map_err(|error: domain::event::ParseEventTypeError| RegisterSchemaError::Type(error.to_string()))?;
        if event_type.is_under(&self.p.client_prefix) {
            return Ok(event_type);
        }
        let prefix = &self.p.client_prefix;
        Err(RegisterSchemaError::Type(format!("must begin with `{prefix}`")))
    }

    /// By what is known here: registrations on several nodes at once may pass the bounds by a few.
    fn make_room(&self, version: u32, bytes: usize) -> Result<(), RegisterSchemaError> {
        let known = self.known();
        let refused = if version > MAX_VERSIONS {
            format!("A type may have {MAX_VERSIONS} versions.")
        } else if version == 1 && known.registered_types() >= MAX_TYPES {
            format!("There may be {MAX_TYPES} types.")
        } else if known.registered_bytes.saturating_add(bytes) > MAX_ALL_BYTES {
            format!("All schemas together may have {MAX_ALL_BYTES} bytes.")
        } else {
            return Ok(());
        };
        Err(RegisterSchemaError::TooMany(refused))
    }
}

/// Whether the data of one of Plinth's own events is what its schema says: why not, if it is not.
pub fn own_violations(kind: OwnEvent, data: &Value) -> Vec<Violation> {
    known::own_schema(kind).map_or_else(
        || vec![Violation::of_whole("schema_missing", "the event has no schema")],
        |schema| schema.violations(data),
    )
}
