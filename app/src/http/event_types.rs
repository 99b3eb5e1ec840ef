//! `/v1/event-types`: the schemas of events, for everybody to read and for administrators to register.
//!
//! Reading needs no token. A schema is a contract, as `/openapi.json` is: consumers of topics and webhooks have no
//! account here, and every user of the product has a token, so that asking for one would keep nothing from anybody.

use std::sync::Arc;

use domain::event::{EventType, schema_name};
use domain::page::PageRequest;
use domain::schema::{Direction, Incompatibility};
use openapi::{
    AnyJson, CompatibilityBody, EventSchemaBody, EventTypeBody, EventTypePageBody, FieldProblem, RegisterSchemaBody,
};
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};

use super::auth::Bearer;
use super::input::Fields;
use super::problem::Fault;
use crate::service::schemas::{KnownSchema, KnownType, RegisterSchemaError, Schemas, SetCompatibilityError};

/// What the operations answer beyond what all may answer.
pub const ERRORS: &[(&str, &[&str])] = &[
    ("list_event_types", &["validation_failed"]),
    ("get_event_type", &["not_found"]),
    ("get_event_schema", &["not_found"]),
    (
        "register_event_schema",
        &["validation_failed", "scope_missing", "conflict"],
    ),
    (
        "set_event_compatibility",
        &["validation_failed", "scope_missing", "not_found"],
    ),
];

/// More reasons of one refusal than this are not listed.
const MOST: usize = 20;

/// The operations.
#[derive(Debug)]
pub struct EventTypesApi {
    /// The service.
    pub schemas: Arc<Schemas>,
    /// `source` of the installation's events.
    pub source: String,
}

/// A version of a schema, for everybody.
#[derive(Debug, ApiResponse)]
pub enum Schema {
    /// The version.
    #[oai(status = 200)]
    Schema(
        Json<EventSchemaBody>,
        /// A version never changes.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

/// A version was registered.
#[derive(Debug, ApiResponse)]
pub enum Registered {
    /// The newest version says the same already.
    #[oai(status = 200)]
    Known(Json<EventSchemaBody>),
    /// The new version.
    #[oai(status = 201)]
    Created(Json<EventSchemaBody>),
}

#[OpenApi]
impl EventTypesApi {
    /// List the types of events that have a schema
    ///
    /// The server's own types and those that were registered, in the order of their names. Needs no token.
    #[oai(
        path = "/v1/event-types",
        method = "get",
        operation_id = "list_event_types",
        tag = "super::Tags::Events"
    )]
    async fn list(
        &self,
        /// The `next_cursor` of the page before.
        after: Query<Option<String>>,
        /// How many items at the most.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "200")))]
        limit: Query<u32>,
    ) -> Result<Json<EventTypePageBody>, Fault> {
        if after
            .0
            .as_deref()
            .is_some_and(|cursor| cursor.parse::<EventType>().is_err())
        {
            let detail = "must be the next_cursor of the page before";
            return Err(Fault::validation_failed().at("#/parameters/after", "cursor", detail));
        }
        let limit = usize::try_from(limit.0).unwrap_or_default();
        let mut found = self.schemas.list(after.0.as_deref(), limit + 1);
        let more = found.len() > limit;
        found.truncate(limit);
        let last = found.last().filter(|_| more);
        let next_cursor = last.map(|known| known.event_type.to_string());
        Ok(Json(EventTypePageBody {
            items: found.iter().map(type_body).collect(),
            next_cursor,
        }))
    }

    /// Read a type of events
    ///
    /// Its newest version and the rule for the next one. Needs no token.
    #[oai(
        path = "/v1/event-types/:type",
        method = "get",
        operation_id = "get_event_type",
        tag = "super::Tags::Events"
    )]
    async fn get(
        &self,
        /// The type, such as `app.order.placed`.
        r#type: Path<String>,
    ) -> Result<Json<EventTypeBody>, Fault> {
        Ok(Json(type_body(&self.find(&r#type.0)?)))
    }

    /// Read a version of a schema
    ///
    /// JSON Schema (2020-12) of the `data` of events whose `dataschema` names this type and version. Needs no token.
    #[oai(
        path = "/v1/event-types/:type/versions/:version",
        method = "get",
        operation_id = "get_event_schema",
        tag = "super::Tags::Events"
    )]
    async fn version(
        &self,
        /// The type, such as `app.order.placed`.
        r#type: Path<String>,
        /// The version, counted from 1.
        version: Path<u32>,
    ) -> Result<Schema, Fault> {
        let found = self.find(&r#type.0)?;
        let schema = found.version(version.0).ok_or_else(Fault::not_found)?;
        let body = self.schema_body(schema);
        Ok(Schema::Schema(Json(body), "public, max-age=86400".to_owned()))
    }

    /// Register a schema for a type of clients' events
    ///
    /// The next version of the type. From then on the `data` of every event of the type is held against it, unless the
    /// event names an earlier version; other nodes follow within about a second. What the newest version says already
    /// is not registered again. A version that does not go with the one before by the rule of the type is refused as
    /// `conflict`, with each reason in `errors`; what cannot be judged is refused as well. A new type has the rule
    /// `backward`. Needs the role `admin`.
    #[oai(
        path = "/v1/admin/event-types/:type/versions",
        method = "post",
        operation_id = "register_event_schema",
        tag = "super::Tags::Administration"
    )]
    async fn register(
        &self,
        auth: Bearer,
        /// The type, under the prefix of clients' own events.
        r#type: Path<String>,
        body: Json<RegisterSchemaBody>,
    ) -> Result<Registered, Fault> {
        let caller = auth.0;
        caller.require_admin()?;
        let (schema, new) = self
            .schemas
            .register(caller.user_id(), &caller.origin(), &r#type.0, body.0.schema.0)
            .await?;
        let body = Json(self.schema_body(&schema));
        Ok(if new {
            Registered::Created(body)
        } else {
            Registered::Known(body)
        })
    }

    /// Set the rule for further versions of a type
    ///
    /// How the next version is held against the one before; versions that are there stay as they are. Needs the role
    /// `admin`.
    #[oai(
        path = "/v1/admin/event-types/:type/compatibility",
        method = "put",
        operation_id = "set_event_compatibility",
        tag = "super::Tags::Administration"
    )]
    async fn set_compatibility(
        &self,
        auth: Bearer,
        /// The type, under the prefix of clients' own events.
        r#type: Path<String>,
        body: Json<CompatibilityBody>,
    ) -> Result<Json<EventTypeBody>, Fault> {
        let caller = auth.0;
        caller.require_admin()?;
        let mut fields = Fields::new();
        let Some(compatibility) = fields.read("#/compatibility", "enum", &body.compatibility) else {
            return Err(fields.fault());
        };
        let event_type = r#type.0.parse().map_err(|_| Fault::not_found())?;
        let changed = self
            .schemas
            .set_compatibility(caller.user_id(), &caller.origin(), &event_type, compatibility)
            .await?;
        Ok(Json(type_body(&changed)))
    }
}

impl EventTypesApi {
    fn find(&self, event_type: &str) -> Result<KnownType, Fault> {
        let parsed = event_type.parse().ok();
        parsed
            .and_then(|event_type| self.schemas.find(&event_type))
            .ok_or_else(Fault::not_found)
    }

    fn schema_body(&self, known: &KnownSchema) -> EventSchemaBody {
        EventSchemaBody {
            event_type: known.event_type.to_string(),
            version: known.version,
            dataschema: schema_name(&self.source, &known.event_type, known.version),
            schema: AnyJson(known.schema.value().clone()),
            created_at: known.created_at.map(Into::into),
        }
    }
}

fn default_limit() -> u32 {
    PageRequest::DEFAULT_LIMIT
}

fn type_body(known: &KnownType) -> EventTypeBody {
    EventTypeBody {
        event_type: known.event_type.to_string(),
        own: known.own,
        compatibility: known.compatibility.as_str().to_owned(),
        newest_version: known.versions.last().map_or(0, |newest| newest.version),
    }
}

/// A pointer into the schema as one into the body.
fn below_schema(pointer: &str) -> String {
    format!("#/schema{}", pointer.trim_start_matches('#'))
}

fn reason(found: &Incompatibility) -> FieldProblem {
    let who = match found.direction {
        Direction::Backward => "consumers of this version cannot read all earlier data",
        Direction::Forward => "consumers of the version before cannot read all new data",
    };
    FieldProblem::new(
        below_schema(&found.pointer),
        "incompatible",
        format!("{} ({}): {who}: {}", found.direction.as_str(), found.rule, found.reason),
    )
}

impl From<RegisterSchemaError> for Fault {
    fn from(error: RegisterSchemaError) -> Self {
        match error {
            RegisterSchemaError::Type(rule) => Self::validation_failed().at("#/parameters/type", "format", rule),
            RegisterSchemaError::Schema(faults) => {
                let errors = faults
                    .into_iter()
                    .map(|fault| FieldProblem::new(below_schema(&fault.pointer), fault.code, fault.reason));
                Self::validation_failed().with_pointer_errors(errors)
            }
            RegisterSchemaError::Incompatible { version, rule, reasons } => Self::conflict()
                .detail(format!(
                    "The schema does not go with version {version} by the rule `{}` of this type.",
                    rule.as_str()
                ))
                .with_pointer_errors(reasons.iter().take(MOST).map(reason)),
            RegisterSchemaError::TooMany(limit) => Self::conflict().detail(limit),
            RegisterSchemaError::Contended => {
                Self::conflict().detail("Others register versions of this type just now: try again.")
            }
            RegisterSchemaError::Effects(error) => error.into(),
        }
    }
}

impl From<SetCompatibilityError> for Fault {
    fn from(error: SetCompatibilityError) -> Self {
        match error {
            SetCompatibilityError::NotFound => Self::not_found(),
            SetCompatibilityError::Effects(error) => error.into(),
        }
    }
}
