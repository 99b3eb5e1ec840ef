//! Webhooks: the addresses, with their secrets sealed and their standing.

use async_trait::async_trait;
use domain::id::{UserId, WebhookId};
use domain::page::{Page, PageRequest};
use domain::webhook::{DisableReason, PreviousSecret, TypeFilter, Webhook};
use ports::{BackendError, Effects, EffectsError, InsertWebhookError, UpdateWebhookError, WebhookRepository};
use sea_orm::{ConnectionTrait, Value};
use uuid::Uuid;

use crate::connect::{Database, Dialect, WriteTransaction};
use crate::deliveries::cancel_queued;
use crate::effects::write_effects;
use crate::error::ADAPTER;
use crate::row::{
    Hold, Row, Start, bigint, empty_page, execute, fetch_all, fetch_one, finish_page, hold, int, page_limit,
    placeholders, start,
};

const COLUMNS: &str = "id, user_id, url, types, description, disabled, sealed_secret, previous_secret, previous_until, \
    failing_since, failures, last_success_at, created_at, updated_at, version";

/// [`WebhookRepository`] on SQL.
#[derive(Debug, Clone)]
pub struct SqlWebhookRepository {
    db: Database,
}

impl SqlWebhookRepository {
    /// On that database.
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }
}

pub(crate) fn webhook_from(row: &Row) -> Result<Webhook, BackendError> {
    let types: Vec<String> = serde_json::from_str(&row.get::<String>("types")?).map_err(|_| row.corrupt("types"))?;
    let types = types.iter().map(|text| text.parse::<TypeFilter>());
    let previous = (
        row.get::<Option<Vec<u8>>>("previous_secret")?,
        row.time_or_none("previous_until")?,
    );
    let disabled = row.get::<Option<String>>("disabled")?;
    let disabled = disabled.map(|word| DisableReason::parse(&word).ok_or_else(|| row.corrupt("disabled")));
    Ok(Webhook {
        id: WebhookId::new(row.get("id")?),
        owner: UserId::new(row.get("user_id")?),
        url: row.get("url")?,
        types: types.collect::<Result<_, _>>().map_err(|_| row.corrupt("types"))?,
        description: row.get("description")?,
        disabled: disabled.transpose()?,
        sealed_secret: row.get("sealed_secret")?,
        previous: match previous {
            (Some(sealed), Some(until)) => Some(PreviousSecret { sealed, until }),
            _ => None,
        },
        failing_since: row.time_or_none("failing_since")?,
        failures: row.small_count("failures")?,
        last_success_at: row.time_or_none("last_success_at")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
        version: row.count("version")?,
    })
}

/// `url` to `previous_until`, in the order of [`COLUMNS`].
fn changeable(operation: &'static str, webhook: &Webhook) -> Result<[Value; 7], BackendError> {
    let types: Vec<String> = webhook.types.iter().map(ToString::to_string).collect();
    let types = serde_json::to_string(&types).map_err(|error| BackendError::permanent(ADAPTER, operation, error))?;
    let previous = webhook.previous.as_ref();
    Ok([
        webhook.url.as_str().into(),
        types.into(),
        webhook.description.as_str().into(),
        webhook.disabled.map(DisableReason::as_str).into(),
        webhook.sealed_secret.clone().into(),
        previous.map(|previous| previous.sealed.clone()).into(),
        previous.map(|previous| previous.until.micros()).into(),
    ])
}

async fn insert(tx: &WriteTransaction, webhook: &Webhook, most: u32) -> Result<bool, BackendError> {
    let operation = "webhooks.insert";
    // Two requests at once would each see that there is room for one.
    hold(tx, Hold::Webhooks, &webhook.owner.to_string()).await?;
    let sql = "SELECT count(*) AS webhooks FROM webhooks WHERE user_id = $1";
    let row = fetch_one(tx.conn(), operation, sql, vec![webhook.owner.uuid().into()]).await?;
    if row.map(|row| row.count("webhooks")).transpose()?.unwrap_or_default() >= u64::from(most) {
        return Ok(false);
    }
    let sql = format!("INSERT INTO webhooks ({COLUMNS}) VALUES {}", placeholders(1, 1, 15));
    let mut values: Vec<Value> = vec![webhook.id.uuid().into(), webhook.owner.uuid().into()];
    values.extend(changeable(operation, webhook)?);
    values.extend([
        webhook.failing_since.map(|at| at.micros()).into(),
        int(operation, webhook.failures)?.into(),
        webhook.last_success_at.map(|at| at.micros()).into(),
        webhook.created_at.micros().into(),
        webhook.updated_at.micros().into(),
        bigint(operation, webhook.version)?.into(),
    ]);
    execute(tx.conn(), operation, &sql, values).await?;
    Ok(true)
}

/// Stores what may change, one version on; false when the row has another version or is gone.
async fn update(tx: &WriteTransaction, webhook: &Webhook) -> Result<bool, BackendError> {
    let operation = "webhooks.update";
    let standing = if webhook.disabled.is_none() {
        // What is enabled again begins without failures.
        "failing_since = CASE WHEN disabled IS NULL THEN failing_since END, \
         failures = CASE WHEN disabled IS NULL THEN failures ELSE 0 END, "
    } else {
        ""
    };
    let sql = format!(
        "UPDATE webhooks SET {standing}url = $1, types = $2, description = $3, disabled = $4, sealed_secret = $5, \
         previous_secret = $6, previous_until = $7, updated_at = $8, version = version + 1 \
         WHERE id = $9 AND user_id = $10 AND version = $11"
    );
    let mut values = changeable(operation, webhook)?.to_vec();
    values.extend([
        webhook.updated_at.micros().into(),
        webhook.id.uuid().into(),
        webhook.owner.uuid().into(),
        bigint(operation, webhook.version)?.into(),
    ]);
    if execute(tx.conn(), operation, &sql, values).await? == 0 {
        return Ok(false);
    }
    if webhook.disabled.is_some() {
        cancel_queued(tx, webhook.id, webhook.updated_at.micros()).await?;
    }
    Ok(true)
}

/// The webhooks of these ids.
pub(crate) async fn by_ids(conn: &impl ConnectionTrait, ids: &[Uuid]) -> Result<Vec<Webhook>, BackendError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT {COLUMNS} FROM webhooks WHERE id IN {}",
        placeholders(1, 1, ids.len())
    );
    let values = ids.iter().map(|id| (*id).into()).collect();
    let rows = fetch_all(conn, "webhooks.by_ids", &sql, values).await?;
    rows.iter().map(webhook_from).collect()
}

#[async_trait]
impl WebhookRepository for SqlWebhookRepository {
    async fn insert(&self, webhook: &Webhook, most: u32, effects: &Effects) -> Result<(), InsertWebhookError> {
        let tx = self.db.begin_write().await.map_err(EffectsError::from)?;
        if !insert(&tx, webhook, most).await.map_err(EffectsError::from)? {
            return Err(InsertWebhookError::TooMany);
        }
        write_effects(&self.db, &tx, effects).await?;
        Ok(tx.commit().await.map_err(EffectsError::from)?)
    }

    async fn find(&self, owner: UserId, id: WebhookId) -> Result<Option<Webhook>, BackendError> {
        let sql = format!("SELECT {COLUMNS} FROM webhooks WHERE id = $1 AND user_id = $2");
        let values = vec![id.uuid().into(), owner.uuid().into()];
        let row = fetch_one(self.db.read(), "webhooks.find", &sql, values).await?;
        row.as_ref().map(webhook_from).transpose()
    }

    async fn list(&self, owner: UserId, page: &PageRequest) -> Result<Page<Webhook>, BackendError> {
        let mut values: Vec<Value> = vec![owner.uuid().into(), (i64::from(page_limit(page)) + 1).into()];
        let beyond = match start(page) {
            Start::Nowhere => return Ok(empty_page()),
            Start::Beginning => "",
            Start::Beyond(id) => {
                values.push(id.into());
                "AND id > $3"
            }
        };
        let sql = format!("SELECT {COLUMNS} FROM webhooks WHERE user_id = $1 {beyond} ORDER BY id LIMIT $2");
        let rows = fetch_all(self.db.read(), "webhooks.list", &sql, values).await?;
        let webhooks = rows.iter().map(webhook_from).collect::<Result<_, _>>()?;
        Ok(finish_page(webhooks, page, |webhook: &Webhook| webhook.id.uuid()))
    }

    async fn update(&self, webhook: &Webhook, effects: &Effects) -> Result<(), UpdateWebhookError> {
        let tx = self.db.begin_write().await.map_err(EffectsError::from)?;
        if !update(&tx, webhook).await.map_err(EffectsError::from)? {
            return Err(UpdateWebhookError::Stale);
        }
        write_effects(&self.db, &tx, effects).await?;
        Ok(tx.commit().await.map_err(EffectsError::from)?)
    }

    async fn remove(&self, owner: UserId, id: WebhookId, effects: &Effects) -> Result<bool, EffectsError> {
        let tx = self.db.begin_write().await?;
        let sql = "DELETE FROM webhooks WHERE id = $1 AND user_id = $2";
        let values = vec![id.uuid().into(), owner.uuid().into()];
        if execute(tx.conn(), "webhooks.remove", sql, values).await? == 0 {
            return Ok(false);
        }
        let at = effects.events.first().map_or(0, |event| event.time.micros());
        cancel_queued(&tx, id, at).await?;
        write_effects(&self.db, &tx, effects).await?;
        tx.commit().await?;
        Ok(true)
    }

    async fn enabled_of(&self, owners: &[UserId]) -> Result<Vec<Webhook>, BackendError> {
        let mut webhooks = Vec::new();
        // Far below what one statement may bind; a batch of events has 200 users at the most.
        for some in owners.chunks(500) {
            let sql = format!(
                "SELECT {COLUMNS} FROM webhooks WHERE disabled IS NULL AND user_id IN {} ORDER BY id",
                placeholders(1, 1, some.len())
            );
            let values = some.iter().map(|owner| owner.uuid().into()).collect();
            // On SQLite a reader sees what was committed before it began; a replica, should there be one, might not.
            let rows = match self.db.dialect() {
                Dialect::Sqlite => fetch_all(self.db.read(), "webhooks.enabled_of", &sql, values).await?,
                Dialect::Postgres => fetch_all(self.db.writer(), "webhooks.enabled_of", &sql, values).await?,
            };
            for row in &rows {
                webhooks.push(webhook_from(row)?);
            }
        }
        Ok(webhooks)
    }
}
