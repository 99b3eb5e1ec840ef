//! The mail ledger: messages come into it as effects, and are handed out under leases.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use domain::id::{MailId, RequestId, UserId};
use domain::mail::{Mail, MailAttempt, MailState, MailTemplate};
use domain::page::{Page, PageRequest};
use domain::stats::MailStats;
use domain::time::Timestamp;
use ports::{BackendError, Effects, EffectsError, MailOutcome, MailQueue, MailVerdict};
use sea_orm::Value;
use uuid::Uuid;

use crate::connect::{Database, Dialect, WriteTransaction};
use crate::effects::write_effects;
use crate::row::{
    Row, Start, empty_page, execute, fetch_all, fetch_one, finish_page, int, page_limit, placeholders, start,
};

const COLUMNS: &str = "mails.id, mails.user_id, mails.recipient, mails.template, mails.locale, mails.data, mails.sealed_token, \
    mails.state, mails.attempts, mails.next_attempt_at, mails.last_reply, mails.created_at, mails.sent_at, mails.request_id";

/// Waiting messages whose time has come, and held ones whose lease is over. The first line is the one that the index `mails_due` serves.
const DUE: &str =
    "state IN ('queued', 'sending') AND next_attempt_at <= $1 AND (state = 'queued' OR lease_until <= $1)";

/// [`MailQueue`] on SQL.
#[derive(Debug, Clone)]
pub struct SqlMailQueue {
    db: Database,
}

impl SqlMailQueue {
    /// Keeps the ledger in this database.
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }
}

fn mail_from(row: &Row) -> Result<Mail, BackendError> {
    let data: BTreeMap<String, String> =
        serde_json::from_str(&row.get::<String>("data")?).map_err(|_| row.corrupt("data"))?;
    Ok(Mail {
        id: MailId::new(row.get("id")?),
        user_id: row.get::<Option<Uuid>>("user_id")?.map(UserId::new),
        to: row.parse("recipient")?,
        template: row.word("template", MailTemplate::parse)?,
        locale: row.get("locale")?,
        data,
        sealed_token: row.get("sealed_token")?,
        state: row.word("state", MailState::parse)?,
        attempts: row.small_count("attempts")?,
        next_attempt_at: row.time("next_attempt_at")?,
        last_reply: row.get("last_reply")?,
        created_at: row.time("created_at")?,
        sent_at: row.time_or_none("sent_at")?,
        request_id: row.get::<Option<Uuid>>("request_id")?.map(RequestId::new),
    })
}

fn attempt_from(row: &Row) -> Result<MailAttempt, BackendError> {
    Ok(MailAttempt {
        number: row.small_count("number")?,
        at: row.time("at")?,
        accepted: row.get("accepted")?,
        reply: row.get("reply")?,
    })
}

fn state_after(verdict: MailVerdict) -> MailState {
    match verdict {
        MailVerdict::Sent => MailState::Sent,
        MailVerdict::Retry(_) => MailState::Queued,
        MailVerdict::Dead => MailState::Dead,
    }
}

/// Records what the owner still holds, in one statement; gives each with the number of its attempt. A lease that is over and
/// was not taken by another is the owner's still: to forget what became of the message would send it twice.
async fn record(
    tx: &WriteTransaction,
    owner: &str,
    outcomes: &[MailOutcome],
) -> Result<Vec<(MailId, u32)>, BackendError> {
    let sql = format!(
        "WITH v(id, state, at, due, reply) AS (VALUES {}) UPDATE mails SET state = v.state, last_reply = v.reply, \
         next_attempt_at = v.due, sent_at = CASE WHEN v.state = 'sent' THEN v.at END, \
         sealed_token = CASE WHEN v.state = 'queued' THEN mails.sealed_token END, lease_owner = NULL, lease_until = NULL \
         FROM v WHERE mails.id = v.id AND mails.state = 'sending' AND mails.lease_owner = $1 \
         RETURNING mails.id, mails.attempts",
        placeholders(2, outcomes.len(), 5)
    );
    let mut values: Vec<Value> = vec![owner.into()];
    for outcome in outcomes {
        let due = if let MailVerdict::Retry(due) = outcome.verdict {
            due
        } else {
            outcome.at
        };
        values.extend([
            outcome.id.uuid().into(),
            state_after(outcome.verdict).as_str().into(),
            outcome.at.micros().into(),
            due.micros().into(),
            outcome.reply.as_str().into(),
        ]);
    }
    let rows = fetch_all(tx.conn(), "mails.settle", &sql, values).await?;
    rows.iter()
        .map(|row| Ok((MailId::new(row.get("id")?), row.small_count("attempts")?)))
        .collect()
}

async fn write_attempts(
    tx: &WriteTransaction,
    outcomes: &[MailOutcome],
    recorded: &[(MailId, u32)],
) -> Result<(), BackendError> {
    let operation = "mails.settle";
    let mut values: Vec<Value> = Vec::with_capacity(recorded.len() * 5);
    for (id, number) in recorded {
        let Some(outcome) = outcomes.iter().find(|outcome| outcome.id == *id) else {
            continue;
        };
        values.extend([
            id.uuid().into(),
            int(operation, *number)?.into(),
            outcome.at.micros().into(),
            (outcome.verdict == MailVerdict::Sent).into(),
            outcome.reply.as_str().into(),
        ]);
    }
    let rows = placeholders(1, values.len() / 5, 5);
    let sql = format!("INSERT INTO mail_attempts (mail_id, number, at, accepted, reply) VALUES {rows}");
    execute(tx.conn(), operation, &sql, values).await?;
    Ok(())
}

#[async_trait]
impl MailQueue for SqlMailQueue {
    async fn claim(&self, owner: &str, now: Timestamp, lease: Duration, limit: u32) -> Result<Vec<Mail>, BackendError> {
        let operation = "mails.claim";
        let due = format!("SELECT id FROM mails WHERE {DUE} ORDER BY next_attempt_at, id LIMIT $2");
        let take = "UPDATE mails SET state = 'sending', attempts = attempts + 1, lease_owner = $3, lease_until = $4";
        let sql = match self.db.dialect() {
            // A look that does not need the writer, since mostly nothing is due.
            Dialect::Sqlite => {
                let look = vec![now.micros().into(), 1_i64.into()];
                if fetch_one(self.db.read(), operation, &due, look).await?.is_none() {
                    return Ok(Vec::new());
                }
                format!("{take} WHERE id IN ({due}) RETURNING {COLUMNS}")
            }
            Dialect::Postgres => format!(
                "WITH due AS MATERIALIZED ({due} FOR UPDATE SKIP LOCKED) {take} FROM due WHERE mails.id = due.id \
                 RETURNING {COLUMNS}"
            ),
        };
        let until = now.plus(lease).micros();
        let values = vec![now.micros().into(), i64::from(limit).into(), owner.into(), until.into()];
        let rows = self.db.fetch_written(operation, &sql, values).await?;
        let mut mails: Vec<Mail> = rows.iter().map(mail_from).collect::<Result<_, BackendError>>()?;
        mails.sort_by_key(|mail| (mail.next_attempt_at, mail.id));
        Ok(mails)
    }

    async fn settle(
        &self,
        owner: &str,
        outcomes: &[MailOutcome],
        effects: &Effects,
    ) -> Result<Vec<MailId>, EffectsError> {
        if outcomes.is_empty() {
            return Ok(Vec::new());
        }
        let tx = self.db.begin_write().await?;
        let recorded = record(&tx, owner, outcomes).await?;
        if recorded.is_empty() {
            return Ok(Vec::new());
        }
        write_attempts(&tx, outcomes, &recorded).await?;
        write_effects(&self.db, &tx, effects).await?;
        tx.commit().await?;
        Ok(recorded.into_iter().map(|(id, _)| id).collect())
    }

    async fn find(&self, user: UserId, id: MailId) -> Result<Option<(Mail, Vec<MailAttempt>)>, BackendError> {
        let operation = "mails.find";
        let sql = format!("SELECT {COLUMNS} FROM mails WHERE mails.id = $1 AND mails.user_id = $2");
        let values = vec![id.uuid().into(), user.uuid().into()];
        let Some(row) = fetch_one(self.db.read(), operation, &sql, values).await? else {
            return Ok(None);
        };
        let sql = "SELECT number, at, accepted, reply FROM mail_attempts WHERE mail_id = $1 ORDER BY number";
        let attempts = fetch_all(self.db.read(), operation, sql, vec![id.uuid().into()]).await?;
        let attempts = attempts.iter().map(attempt_from).collect::<Result<_, _>>()?;
        Ok(Some((mail_from(&row)?, attempts)))
    }

    async fn list(&self, user: UserId, page: &PageRequest) -> Result<Page<Mail>, BackendError> {
        let mut values: Vec<Value> = vec![user.uuid().into(), (i64::from(page_limit(page)) + 1).into()];
        let beyond = match start(page) {
            Start::Nowhere => return Ok(empty_page()),
            Start::Beginning => "",
            Start::Beyond(id) => {
                values.push(id.into());
                "AND mails.id < $3"
            }
        };
        let sql =
            format!("SELECT {COLUMNS} FROM mails WHERE mails.user_id = $1 {beyond} ORDER BY mails.id DESC LIMIT $2");
        let rows = fetch_all(self.db.read(), "mails.list", &sql, values).await?;
        let mails = rows.iter().map(mail_from).collect::<Result<_, _>>()?;
        Ok(finish_page(mails, page, |mail: &Mail| mail.id.uuid()))
    }

    async fn stats(&self, now: Timestamp) -> Result<MailStats, BackendError> {
        let sql = "SELECT count(CASE WHEN state = 'queued' THEN 1 END) AS queued, \
            count(CASE WHEN state = 'sending' THEN 1 END) AS sending, \
            (SELECT count(*) FROM mails WHERE state = 'dead') AS dead, \
            min(CASE WHEN state = 'queued' AND next_attempt_at <= $1 THEN next_attempt_at END) AS oldest \
            FROM mails WHERE state IN ('queued', 'sending')";
        let row = fetch_one(self.db.read(), "mails.stats", sql, vec![now.micros().into()]).await?;
        let Some(row) = row else {
            return Ok(MailStats::default());
        };
        let waited = row
            .time_or_none("oldest")?
            .map(|oldest| now.since(oldest))
            .unwrap_or_default();
        Ok(MailStats {
            queued: row.count("queued")?,
            sending: row.count("sending")?,
            dead: row.count("dead")?,
            oldest_due_micros: u64::try_from(waited.as_micros()).unwrap_or(u64::MAX),
        })
    }
}
