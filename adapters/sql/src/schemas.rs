//! The schemas of clients' event types.

use async_trait::async_trait;
use domain::event::EventType;
use domain::id::UserId;
use domain::schema::Compatibility;
use ports::{
    BackendError, Effects, EffectsError, InsertSchemaError, RegisteredSchema, RegisteredType, SchemaChanges,
    SchemaRepository,
};
use sea_orm::Value;

use crate::connect::{Database, WriteTransaction};
use crate::effects::write_effects;
use crate::row::{Row, bigint, execute, fetch_all, fetch_one, int};

/// [`SchemaRepository`] on SQL. Every change takes the one row of `schema_revision`, so that revisions are committed in
/// their order.
#[derive(Debug, Clone)]
pub struct SqlSchemaRepository {
    db: Database,
}

impl SqlSchemaRepository {
    /// On that database.
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }
}

/// Takes the next revision and holds everybody else off until the transaction ends.
async fn next_revision(tx: &WriteTransaction) -> Result<u64, BackendError> {
    let operation = "schemas.revise";
    let sql = "UPDATE schema_revision SET revision = revision + 1 WHERE singleton = 1 RETURNING revision";
    match fetch_one(tx.conn(), operation, sql, vec![]).await? {
        Some(row) => row.count("revision"),
        None => Err(crate::error::corrupt(operation, "revision")),
    }
}

/// The newest version of a type and its rule.
async fn newest(tx: &WriteTransaction, event_type: &EventType) -> Result<(u32, Option<Compatibility>), BackendError> {
    let sql = "SELECT t.compatibility, (SELECT max(s.version) FROM event_schemas s WHERE s.type = t.type) AS version \
        FROM event_types t WHERE t.type = $1";
    let row = fetch_one(tx.conn(), "schemas.newest", sql, vec![event_type.as_str().into()]).await?;
    let Some(row) = row else { return Ok((0, None)) };
    let version = row.small_count_or_none("version")?.unwrap_or_default();
    Ok((version, Some(row.parse("compatibility")?)))
}

#[async_trait]
impl SchemaRepository for SqlSchemaRepository {
    async fn revision(&self) -> Result<u64, BackendError> {
        let sql = "SELECT revision FROM schema_revision WHERE singleton = 1";
        let row = fetch_one(self.db.read(), "schemas.revision", sql, vec![]).await?;
        row.map_or(Ok(0), |row| row.count("revision"))
    }

    async fn changes(&self, after: u64) -> Result<SchemaChanges, BackendError> {
        let operation = "schemas.changes";
        // First: what is committed while the rows are read is told once more the next time, and never left out.
        let revision = self.revision().await?;
        let after: Value = bigint(operation, after)?.into();
        let sql = "SELECT type, compatibility FROM event_types WHERE revision > $1";
        let types = fetch_all(self.db.read(), operation, sql, vec![after.clone()]).await?;
        let sql = "SELECT type, version, schema, created_at, created_by FROM event_schemas WHERE revision > $1 ORDER BY revision";
        let schemas = fetch_all(self.db.read(), operation, sql, vec![after]).await?;
        Ok(SchemaChanges {
            revision,
            types: types.iter().map(read_type).collect::<Result<_, _>>()?,
            schemas: schemas.iter().map(read_schema).collect::<Result<_, _>>()?,
        })
    }

    async fn insert(
        &self,
        schema: &RegisteredSchema,
        judged_by: Compatibility,
        effects: &Effects,
    ) -> Result<(), InsertSchemaError> {
        let operation = "schemas.insert";
        let tx = self.db.begin_write().await?;
        let revision: Value = bigint(operation, next_revision(&tx).await?)?.into();
        let (version, rule) = newest(&tx, &schema.event_type).await?;
        if version.checked_add(1) != Some(schema.version) || rule.is_some_and(|rule| rule != judged_by) {
            return Err(InsertSchemaError::Overtaken);
        }
        let name: Value = schema.event_type.as_str().into();
        if rule.is_none() {
            let sql = "INSERT INTO event_types (type, compatibility, revision) VALUES ($1, $2, $3)";
            let values = vec![name.clone(), judged_by.as_str().into(), revision.clone()];
            execute(tx.conn(), operation, sql, values).await?;
        }
        let sql = "INSERT INTO event_schemas (type, version, schema, created_at, created_by, revision) \
            VALUES ($1, $2, $3, $4, $5, $6)";
        let values = vec![
            name,
            int(operation, schema.version)?.into(),
            schema.schema.as_str().into(),
            schema.created_at.micros().into(),
            schema.created_by.uuid().into(),
            revision,
        ];
        execute(tx.conn(), operation, sql, values).await?;
        write_effects(&self.db, &tx, effects).await?;
        Ok(tx.commit().await?)
    }

    async fn set_compatibility(
        &self,
        event_type: &EventType,
        compatibility: Compatibility,
        effects: &Effects,
    ) -> Result<bool, EffectsError> {
        let operation = "schemas.set_compatibility";
        let tx = self.db.begin_write().await?;
        let revision = bigint(operation, next_revision(&tx).await?)?;
        let sql = "UPDATE event_types SET compatibility = $2, revision = $3 WHERE type = $1";
        let values = vec![
            event_type.as_str().into(),
            compatibility.as_str().into(),
            revision.into(),
        ];
        if execute(tx.conn(), operation, sql, values).await? == 0 {
            return Ok(false);
        }
        write_effects(&self.db, &tx, effects).await?;
        tx.commit().await?;
        Ok(true)
    }
}

fn read_type(row: &Row) -> Result<RegisteredType, BackendError> {
    Ok(RegisteredType {
        event_type: row.parse("type")?,
        compatibility: row.parse("compatibility")?,
    })
}

fn read_schema(row: &Row) -> Result<RegisteredSchema, BackendError> {
    Ok(RegisteredSchema {
        event_type: row.parse("type")?,
        version: row.small_count("version")?,
        schema: row.get("schema")?,
        created_at: row.time("created_at")?,
        created_by: UserId::new(row.get("created_by")?),
    })
}
