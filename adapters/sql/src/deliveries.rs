//! Deliveries to webhooks: written with the marks of their events, handed out under leases, recorded with the standing of
//! their webhook.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use async_trait::async_trait;
use domain::event::LoggedEvent;
use domain::id::{DeliveryId, EventId, WebhookId};
use domain::page::{Page, PageRequest};
use domain::stats::WebhookStats;
use domain::time::Timestamp;
use domain::webhook::{Delivery, DeliveryAttempt, DeliveryFault, DeliveryState, Webhook};
use ports::{
    BackendError, ClaimedDelivery, DeliveryOutcome, DeliveryVerdict, Disabling, Effects, EffectsError, EventDeliveries,
    InboxMark, NewDelivery, Resent, Settled, WebhookQueue,
};
use sea_orm::{ConnectionTrait, Value};
use uuid::Uuid;

use crate::connect::{Database, Dialect, WriteTransaction};
use crate::effects::write_effects;
use crate::log::{EVENT_COLUMNS, logged_from};
use crate::row::{
    Row, Start, bigint, empty_page, execute, fetch_all, fetch_one, finish_page, int, page_limit, placeholders,
    skip_locked, start,
};
use crate::webhooks::by_ids;

const COLUMNS: &str = "webhook_deliveries.id, webhook_deliveries.webhook_id, webhook_deliveries.host, \
    webhook_deliveries.event_id, webhook_deliveries.event_type, webhook_deliveries.body, webhook_deliveries.state, \
    webhook_deliveries.attempts, webhook_deliveries.base_attempts, webhook_deliveries.next_attempt_at, \
    webhook_deliveries.last_status, webhook_deliveries.last_fault, webhook_deliveries.created_at, webhook_deliveries.done_at";

/// Waiting deliveries whose time has come, and held ones whose lease is over. The first line is the one that the index `webhook_deliveries_due` serves.
const DUE: &str =
    "state IN ('queued', 'sending') AND next_attempt_at <= $1 AND (state = 'queued' OR lease_until <= $1)";

/// How many rows one statement writes: 14 values each, far below the 32,766 that SQLite binds.
const ROWS: usize = 200;

/// How often a success is noted at a webhook that had no failures, in microseconds: a row that every delivery wrote would be what they all wait for.
const SUCCESS_NOTED: i64 = 60_000_000;

/// [`WebhookQueue`] on SQL.
#[derive(Debug, Clone)]
pub struct SqlWebhookQueue {
    db: Database,
}

impl SqlWebhookQueue {
    /// Keeps the deliveries in this database.
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }
}

fn status_from(row: &Row, column: &str) -> Result<Option<u16>, BackendError> {
    let status = row.get::<Option<i32>>(column)?.map(u16::try_from);
    status.transpose().map_err(|_| row.corrupt(column))
}

fn fault_from(row: &Row, column: &str) -> Result<Option<DeliveryFault>, BackendError> {
    let word = row.get::<Option<String>>(column)?;
    let fault = word.map(|word| DeliveryFault::parse(&word).ok_or_else(|| row.corrupt(column)));
    fault.transpose()
}

fn delivery_from(row: &Row) -> Result<Delivery, BackendError> {
    Ok(Delivery {
        id: DeliveryId::new(row.get("id")?),
        webhook_id: WebhookId::new(row.get("webhook_id")?),
        event_id: EventId::new(row.get("event_id")?),
        event_type: row.parse("event_type")?,
        state: row.word("state", DeliveryState::parse)?,
        attempts: row.small_count("attempts")?,
        base_attempts: row.small_count("base_attempts")?,
        next_attempt_at: row.time("next_attempt_at")?,
        last_status: status_from(row, "last_status")?,
        last_fault: fault_from(row, "last_fault")?,
        created_at: row.time("created_at")?,
        done_at: row.time_or_none("done_at")?,
    })
}

fn attempt_from(row: &Row) -> Result<DeliveryAttempt, BackendError> {
    Ok(DeliveryAttempt {
        number: row.small_count("number")?,
        at: row.time("at")?,
        took: Duration::from_micros(row.count("took")?),
        status: status_from(row, "status")?,
        fault: fault_from(row, "fault")?,
    })
}

/// Cancels what waits for a webhook that is disabled or removed.
pub(crate) async fn cancel_queued(tx: &WriteTransaction, webhook: WebhookId, at: i64) -> Result<(), BackendError> {
    let sql =
        "UPDATE webhook_deliveries SET state = 'cancelled', done_at = $2 WHERE webhook_id = $1 AND state = 'queued'";
    execute(
        tx.conn(),
        "deliveries.cancel",
        sql,
        vec![webhook.uuid().into(), at.into()],
    )
    .await?;
    Ok(())
}

/// Writes the marks that are not there yet and gives their events. They come sorted, so that no two writers wait in a circle.
async fn write_marks(tx: &WriteTransaction, marks: &[&InboxMark]) -> Result<HashSet<Uuid>, BackendError> {
    let mut written = HashSet::new();
    for some in marks.chunks(ROWS) {
        let sql = format!(
            "INSERT INTO inbox (group_name, event_id, at) VALUES {} ON CONFLICT DO NOTHING RETURNING event_id",
            placeholders(1, some.len(), 3)
        );
        let columns = |mark: &&InboxMark| -> [Value; 3] {
            [
                mark.group.as_str().into(),
                mark.event_id.uuid().into(),
                mark.at.micros().into(),
            ]
        };
        let values = some.iter().flat_map(columns).collect();
        for row in fetch_all(tx.conn(), "deliveries.enqueue", &sql, values).await? {
            written.insert(row.get("event_id")?);
        }
    }
    Ok(written)
}

async fn write_deliveries(tx: &WriteTransaction, deliveries: &[&NewDelivery]) -> Result<(), BackendError> {
    for some in deliveries.chunks(ROWS) {
        let sql = format!(
            "INSERT INTO webhook_deliveries (id, webhook_id, user_id, host, event_id, event_type, body, state, attempts, \
             base_attempts, next_attempt_at, created_at) VALUES {}",
            placeholders(1, some.len(), 12)
        );
        let columns = |new: &&NewDelivery| -> [Value; 12] {
            [
                new.id.uuid().into(),
                new.webhook_id.uuid().into(),
                new.owner.uuid().into(),
                new.host.as_str().into(),
                new.event_id.uuid().into(),
                new.event_type.as_str().into(),
                new.body.clone().into(),
                DeliveryState::Queued.as_str().into(),
                0_i32.into(),
                0_i32.into(),
                new.created_at.micros().into(),
                new.created_at.micros().into(),
            ]
        };
        let values = some.iter().flat_map(columns).collect();
        execute(tx.conn(), "deliveries.enqueue", &sql, values).await?;
    }
    Ok(())
}

/// The events of these ids, as they are now.
async fn events_by_id(conn: &impl ConnectionTrait, ids: &[Uuid]) -> Result<BTreeMap<Uuid, LoggedEvent>, BackendError> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let sql = format!(
        "SELECT l.shard, l.position, l.hash, {EVENT_COLUMNS} FROM event_log l JOIN events e ON e.id = l.event_id \
         WHERE l.event_id IN {}",
        placeholders(1, 1, ids.len())
    );
    let values = ids.iter().map(|id| (*id).into()).collect();
    let rows = fetch_all(conn, "deliveries.events", &sql, values).await?;
    rows.iter()
        .map(|row| logged_from(row).map(|logged| (logged.event.id.uuid(), logged)))
        .collect()
}

/// Puts claimed rows together with their webhooks and events, and tells which have no enabled webhook any more.
fn complete(
    rows: &[Row],
    webhooks: &BTreeMap<Uuid, Webhook>,
    events: &BTreeMap<Uuid, LoggedEvent>,
) -> Result<(Vec<ClaimedDelivery>, Vec<Uuid>), BackendError> {
    let (mut claimed, mut orphans) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in rows {
        let delivery = delivery_from(row)?;
        match webhooks.get(&delivery.webhook_id.uuid()) {
            Some(webhook) if webhook.disabled.is_none() => claimed.push(ClaimedDelivery {
                host: row.get("host")?,
                webhook: webhook.clone(),
                event: events.get(&delivery.event_id.uuid()).cloned(),
                body: row.get("body")?,
                delivery,
            }),
            _ => orphans.push(delivery.id.uuid()),
        }
    }
    claimed.sort_by_key(|claimed| (claimed.delivery.next_attempt_at, claimed.delivery.id));
    Ok((claimed, orphans))
}

/// Records the outcome of what the owner still holds; gives its webhook. A lease that is over
/// and was not taken by another is the owner's still.
async fn record(
    tx: &WriteTransaction,
    owner: &str,
    outcome: &DeliveryOutcome,
) -> Result<Option<WebhookId>, BackendError> {
    let operation = "deliveries.settle";
    let sql = "UPDATE webhook_deliveries SET \
         state = CASE WHEN $3 = 'queued' AND NOT EXISTS (SELECT 1 FROM webhooks \
            WHERE webhooks.id = webhook_deliveries.webhook_id AND webhooks.disabled IS NULL) THEN 'cancelled' ELSE $3 END, \
         done_at = CASE WHEN $3 <> 'queued' OR NOT EXISTS (SELECT 1 FROM webhooks \
            WHERE webhooks.id = webhook_deliveries.webhook_id AND webhooks.disabled IS NULL) THEN $4 END, next_attempt_at = $5, last_status = $6, last_fault = $7, \
         lease_owner = NULL, lease_until = NULL \
         WHERE id = $1 AND state = 'sending' AND lease_owner = $2 RETURNING attempts, webhook_id";
    let (state, due) = match outcome.verdict {
        DeliveryVerdict::Delivered => (DeliveryState::Delivered, outcome.at),
        DeliveryVerdict::Retry(due) => (DeliveryState::Queued, due),
        DeliveryVerdict::Dead => (DeliveryState::Dead, outcome.at),
    };
    let values = vec![
        outcome.id.uuid().into(),
        owner.into(),
        state.as_str().into(),
        outcome.at.micros().into(),
        due.micros().into(),
        outcome.status.map(i32::from).into(),
        outcome.fault.map(DeliveryFault::as_str).into(),
    ];
    let Some(row) = fetch_one(tx.conn(), operation, sql, values).await? else {
        return Ok(None);
    };
    let number = row.small_count("attempts")?;
    let sql =
        "INSERT INTO webhook_attempts (delivery_id, number, at, took, status, fault) VALUES ($1, $2, $3, $4, $5, $6)";
    let took = u64::try_from(outcome.took.as_micros()).unwrap_or(u64::MAX);
    let values = vec![
        outcome.id.uuid().into(),
        int(operation, number)?.into(),
        outcome.at.micros().into(),
        bigint(operation, took)?.into(),
        outcome.status.map(i32::from).into(),
        outcome.fault.map(DeliveryFault::as_str).into(),
    ];
    execute(tx.conn(), operation, sql, values).await?;
    Ok(Some(WebhookId::new(row.get("webhook_id")?)))
}

/// Notes success or failure at the webhook.
async fn note_standing(
    tx: &WriteTransaction,
    webhook: WebhookId,
    outcome: &DeliveryOutcome,
) -> Result<(), BackendError> {
    let (sql, mut values): (&str, Vec<Value>) = if outcome.verdict == DeliveryVerdict::Delivered {
        (
            "UPDATE webhooks SET failures = 0, failing_since = NULL, last_success_at = $2 WHERE id = $1 \
             AND (failing_since IS NOT NULL OR last_success_at IS NULL OR last_success_at < $3)",
            vec![webhook.uuid().into(), outcome.at.micros().into()],
        )
    } else {
        (
            "UPDATE webhooks SET failures = failures + 1, failing_since = coalesce(failing_since, $2) \
             WHERE id = $1 AND failures < 1000000000",
            vec![webhook.uuid().into(), outcome.at.micros().into()],
        )
    };
    if outcome.verdict == DeliveryVerdict::Delivered {
        values.push(outcome.at.micros().saturating_sub(SUCCESS_NOTED).into());
    }
    execute(tx.conn(), "deliveries.settle", sql, values).await?;
    Ok(())
}

async fn disable(
    tx: &WriteTransaction,
    webhook: WebhookId,
    disabling: &Disabling,
    at: Timestamp,
) -> Result<bool, BackendError> {
    let sql = "UPDATE webhooks SET disabled = $2, updated_at = $3, version = version + 1 \
        WHERE id = $1 AND disabled IS NULL AND (CAST($4 AS bigint) IS NULL OR failing_since <= CAST($4 AS bigint))";
    let values = vec![
        webhook.uuid().into(),
        disabling.reason.as_str().into(),
        at.micros().into(),
        disabling.failing_since.map(|since| since.micros()).into(),
    ];
    if execute(tx.conn(), "deliveries.settle", sql, values).await? == 0 {
        return Ok(false);
    }
    cancel_queued(tx, webhook, at.micros()).await?;
    Ok(true)
}

#[async_trait]
impl WebhookQueue for SqlWebhookQueue {
    async fn enqueue(&self, events: &[EventDeliveries]) -> Result<Vec<bool>, BackendError> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let mut marks: Vec<&InboxMark> = events.iter().map(|event| &event.mark).collect();
        marks.sort_by_key(|mark| mark.event_id);
        marks.dedup_by_key(|mark| mark.event_id);
        let tx = self.db.begin_write().await?;
        let mut written = write_marks(&tx, &marks).await?;
        let (mut new, mut deliveries) = (Vec::with_capacity(events.len()), Vec::new());
        for event in events {
            // Taken out, so that an event that comes twice counts once.
            let first = written.remove(&event.mark.event_id.uuid());
            new.push(first);
            if first {
                deliveries.extend(&event.deliveries);
            }
        }
        write_deliveries(&tx, &deliveries).await?;
        tx.commit().await?;
        Ok(new)
    }

    async fn add(&self, delivery: &NewDelivery, effects: &Effects) -> Result<(), EffectsError> {
        let tx = self.db.begin_write().await?;
        write_deliveries(&tx, &[delivery]).await?;
        write_effects(&self.db, &tx, effects).await?;
        Ok(tx.commit().await?)
    }

    async fn claim(
        &self,
        owner: &str,
        now: Timestamp,
        lease: Duration,
        limit: u32,
        busy: &[String],
    ) -> Result<Vec<ClaimedDelivery>, BackendError> {
        let operation = "deliveries.claim";
        let others = match busy.len() {
            0 => String::new(),
            hosts => format!(" AND host NOT IN {}", placeholders(5, 1, hosts)),
        };
        let due =
            format!("SELECT id FROM webhook_deliveries WHERE {DUE}{others} ORDER BY next_attempt_at, id LIMIT $2");
        let take = "UPDATE webhook_deliveries SET state = 'sending', attempts = attempts + 1, lease_owner = $3, \
            lease_until = $4";
        let until = now.plus(lease).micros();
        let mut values: Vec<Value> = vec![now.micros().into(), i64::from(limit).into(), owner.into(), until.into()];
        values.extend(busy.iter().map(|host| Value::from(host.as_str())));
        let sql = match self.db.dialect() {
            // A look that does not need the writer, since mostly nothing is due.
            Dialect::Sqlite => {
                let look = format!("SELECT id FROM webhook_deliveries WHERE {DUE} LIMIT 1");
                if fetch_one(self.db.read(), operation, &look, vec![now.micros().into()])
                    .await?
                    .is_none()
                {
                    return Ok(Vec::new());
                }
                format!("{take} WHERE id IN ({due}) RETURNING {COLUMNS}")
            }
            Dialect::Postgres => format!(
                "WITH due AS MATERIALIZED ({due} FOR UPDATE SKIP LOCKED) {take} FROM due \
                 WHERE webhook_deliveries.id = due.id RETURNING {COLUMNS}"
            ),
        };
        let rows = self.db.fetch_written(operation, &sql, values).await?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let (mut webhooks, mut events) = (HashSet::new(), HashSet::new());
        for row in &rows {
            webhooks.insert(row.get::<Uuid>("webhook_id")?);
            events.insert(row.get::<Uuid>("event_id")?);
        }
        let ids: Vec<Uuid> = webhooks.into_iter().collect();
        let webhooks = by_ids(self.db.read(), &ids).await?;
        let webhooks = webhooks
            .into_iter()
            .map(|webhook| (webhook.id.uuid(), webhook))
            .collect();
        let ids: Vec<Uuid> = events.into_iter().collect();
        let events = events_by_id(self.db.read(), &ids).await?;
        let (claimed, orphans) = complete(&rows, &webhooks, &events)?;
        if !orphans.is_empty() {
            let sql = format!(
                "UPDATE webhook_deliveries SET state = 'cancelled', done_at = $1, attempts = attempts - 1, \
                 lease_owner = NULL, lease_until = NULL WHERE state = 'sending' AND lease_owner = $2 AND id IN {}",
                placeholders(3, 1, orphans.len())
            );
            let mut values: Vec<Value> = vec![now.micros().into(), owner.into()];
            values.extend(orphans.into_iter().map(Value::from));
            self.db.execute(operation, &sql, values).await?;
        }
        Ok(claimed)
    }

    async fn release(&self, owner: &str, ids: &[DeliveryId]) -> Result<(), BackendError> {
        if ids.is_empty() {
            return Ok(());
        }
        let sql = format!(
            "UPDATE webhook_deliveries SET state = 'queued', attempts = attempts - 1, lease_owner = NULL, \
             lease_until = NULL WHERE state = 'sending' AND lease_owner = $1 AND id IN {}",
            placeholders(2, 1, ids.len())
        );
        let mut values: Vec<Value> = vec![owner.into()];
        values.extend(ids.iter().map(|id| Value::from(id.uuid())));
        self.db.execute("deliveries.release", &sql, values).await?;
        Ok(())
    }

    async fn settle<'a>(
        &self,
        owner: &str,
        outcome: &DeliveryOutcome,
        disabling: Option<&'a Disabling>,
    ) -> Result<Settled, EffectsError> {
        let tx = self.db.begin_write().await?;
        let Some(webhook) = record(&tx, owner, outcome).await? else {
            return Ok(Settled::Lost);
        };
        note_standing(&tx, webhook, outcome).await?;
        let mut settled = Settled::Recorded;
        if let Some(disabling) = disabling
            && disable(&tx, webhook, disabling, outcome.at).await?
        {
            write_effects(&self.db, &tx, &disabling.effects).await?;
            settled = Settled::Disabled;
        }
        tx.commit().await?;
        Ok(settled)
    }

    async fn find(
        &self,
        webhook: WebhookId,
        id: DeliveryId,
    ) -> Result<Option<(Delivery, Vec<DeliveryAttempt>)>, BackendError> {
        let operation = "deliveries.find";
        let sql = format!("SELECT {COLUMNS} FROM webhook_deliveries WHERE id = $1 AND webhook_id = $2");
        let values = vec![id.uuid().into(), webhook.uuid().into()];
        let Some(row) = fetch_one(self.db.read(), operation, &sql, values).await? else {
            return Ok(None);
        };
        let sql = "SELECT number, at, took, status, fault FROM webhook_attempts WHERE delivery_id = $1 ORDER BY number";
        let attempts = fetch_all(self.db.read(), operation, sql, vec![id.uuid().into()]).await?;
        let attempts = attempts.iter().map(attempt_from).collect::<Result<_, _>>()?;
        Ok(Some((delivery_from(&row)?, attempts)))
    }

    async fn list(
        &self,
        webhook: WebhookId,
        state: Option<DeliveryState>,
        page: &PageRequest,
    ) -> Result<Page<Delivery>, BackendError> {
        let mut values: Vec<Value> = vec![webhook.uuid().into(), (i64::from(page_limit(page)) + 1).into()];
        let mut also = String::new();
        match start(page) {
            Start::Nowhere => return Ok(empty_page()),
            Start::Beginning => {}
            Start::Beyond(id) => {
                values.push(id.into());
                also.push_str("AND id < $3 ");
            }
        }
        if let Some(state) = state {
            values.push(state.as_str().into());
            also.push_str(&format!("AND state = ${} ", values.len()));
        }
        let sql =
            format!("SELECT {COLUMNS} FROM webhook_deliveries WHERE webhook_id = $1 {also}ORDER BY id DESC LIMIT $2");
        let rows = fetch_all(self.db.read(), "deliveries.list", &sql, values).await?;
        let deliveries = rows.iter().map(delivery_from).collect::<Result<_, _>>()?;
        Ok(finish_page(deliveries, page, |delivery: &Delivery| delivery.id.uuid()))
    }

    async fn resend(&self, webhook: WebhookId, id: DeliveryId, now: Timestamp) -> Result<Resent, BackendError> {
        let sql = format!(
            "UPDATE webhook_deliveries SET state = 'queued', next_attempt_at = $3, base_attempts = attempts, done_at = NULL \
             WHERE id = $1 AND webhook_id = $2 AND state <> 'sending' RETURNING {COLUMNS}"
        );
        let values = vec![id.uuid().into(), webhook.uuid().into(), now.micros().into()];
        let rows = self.db.fetch_written("deliveries.resend", &sql, values).await?;
        if let Some(row) = rows.first() {
            return Ok(Resent::Due(delivery_from(row)?));
        }
        Ok(match self.find(webhook, id).await? {
            Some(_) => Resent::InHand,
            None => Resent::Unknown,
        })
    }

    async fn stats(&self, now: Timestamp) -> Result<WebhookStats, BackendError> {
        let sql = "SELECT count(CASE WHEN state = 'queued' THEN 1 END) AS queued, \
            count(CASE WHEN state = 'sending' THEN 1 END) AS sending, \
            (SELECT count(*) FROM webhook_deliveries WHERE state = 'dead') AS dead, \
            min(CASE WHEN state = 'queued' AND next_attempt_at <= $1 THEN next_attempt_at END) AS oldest \
            FROM webhook_deliveries WHERE state IN ('queued', 'sending')";
        let row = fetch_one(self.db.read(), "deliveries.stats", sql, vec![now.micros().into()]).await?;
        let Some(row) = row else {
            return Ok(WebhookStats::default());
        };
        let waited = row.time_or_none("oldest")?.map(|oldest| now.since(oldest));
        Ok(WebhookStats {
            queued: row.count("queued")?,
            sending: row.count("sending")?,
            dead: row.count("dead")?,
            oldest_due_micros: u64::try_from(waited.unwrap_or_default().as_micros()).unwrap_or(u64::MAX),
        })
    }

    async fn prune(&self, before: Timestamp, limit: u32) -> Result<u64, BackendError> {
        let operation = "deliveries.prune";
        let tx = self.db.begin_write().await?;
        let sql = format!(
            "DELETE FROM webhook_deliveries WHERE id IN (SELECT id FROM webhook_deliveries WHERE created_at < $1 \
             AND state NOT IN ('queued', 'sending') ORDER BY created_at LIMIT $2{}) RETURNING id",
            skip_locked(tx.dialect())
        );
        let values = vec![before.micros().into(), i64::from(limit).into()];
        let rows = fetch_all(tx.conn(), operation, &sql, values).await?;
        let ids: Vec<Uuid> = rows.iter().map(|row| row.get("id")).collect::<Result<_, _>>()?;
        for some in ids.chunks(ROWS) {
            let sql = format!(
                "DELETE FROM webhook_attempts WHERE delivery_id IN {}",
                placeholders(1, 1, some.len())
            );
            execute(tx.conn(), operation, &sql, some.iter().map(|id| (*id).into()).collect()).await?;
        }
        tx.commit().await?;
        Ok(ids.len() as u64)
    }
}
