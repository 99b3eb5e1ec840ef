//! The schemas of clients' event types, as administrators registered them.

use async_trait::async_trait;
use domain::event::EventType;
use domain::id::UserId;
use domain::schema::Compatibility;
use domain::time::Timestamp;

use crate::{BackendError, Effects, EffectsError};

/// A version of a type's schema. It never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredSchema {
    /// The type.
    pub event_type: EventType,
    /// The version, counted from 1 without gaps.
    pub version: u32,
    /// The schema as compact JSON text.
    pub schema: String,
    /// When it was registered.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: UserId,
}

/// A type that has a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredType {
    /// The type.
    pub event_type: EventType,
    /// How a further version is held against the one before.
    pub compatibility: Compatibility,
}

/// What changed since a revision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SchemaChanges {
    /// What to ask with the next time.
    pub revision: u64,
    /// Types that are new or whose rule changed.
    pub types: Vec<RegisteredType>,
    /// New versions, those of a type in their order.
    pub schemas: Vec<RegisteredSchema>,
}

/// Why a version was not stored.
#[derive(Debug, thiserror::Error)]
pub enum InsertSchemaError {
    /// Another version or another rule came between: what the version was held against is out of date.
    #[error("the type was changed by somebody else")]
    Overtaken,
    /// The effects were refused.
    #[error(transparent)]
    Effects(#[from] EffectsError),
}

impl From<BackendError> for InsertSchemaError {
    fn from(error: BackendError) -> Self {
        Self::Effects(error.into())
    }
}

/// Schemas in the database, shared by all nodes, each of which keeps a copy and asks what changed.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait SchemaRepository: Send + Sync + 'static {
    /// A number that is greater after every change, 0 before the first. Asked every second by every node: one row by its key.
    async fn revision(&self) -> Result<u64, BackendError>;

    /// What changed after a revision (0 for everything). MUST hold every change up to the revision that it gives, and MAY hold later ones.
    async fn changes(&self, after: u64) -> Result<SchemaChanges, BackendError>;

    /// Stores a version with its effects, and with version 1 the type under the rule `judged_by`. MUST refuse as [`InsertSchemaError::Overtaken`], writing nothing, when it is not the next version of the type or `judged_by` is not the type's rule; of many at once one MUST be stored.
    async fn insert(
        &self,
        schema: &RegisteredSchema,
        judged_by: Compatibility,
        effects: &Effects,
    ) -> Result<(), InsertSchemaError>;

    /// Changes the rule of a type with its effects and gives true; without such a type MUST write nothing and give false.
    async fn set_compatibility(
        &self,
        event_type: &EventType,
        compatibility: Compatibility,
        effects: &Effects,
    ) -> Result<bool, EffectsError>;
}
