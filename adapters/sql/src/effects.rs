//! What a change causes, written in the change's own transaction.

use domain::mail::{MailState, NewMail};
use domain::session::{Revocation, RevokedSubject};
use domain::token::OneTimeToken;
use ports::{BackendError, Effects, EffectsError, InboxMark, StoredAnswer};
use sea_orm::Value;
use uuid::Uuid;

use crate::connect::{Database, WriteTransaction};
use crate::error::ADAPTER;
use crate::event_insert::insert_events;
use crate::one_time_tokens::subject_columns;
use crate::row::{Hold, bigint, execute, hold, placeholders};

/// One message a minute and five an hour for one recipient and template, in microseconds.
const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 3_600_000_000;

/// How many messages there may be in the last minute and in the last hour, for one more to be written.
type Bounds = (i64, i64);

const BOUNDS: Bounds = (1, 5);

/// No count is below zero: the statement looks at both and then writes nothing, in the time that it takes with [`BOUNDS`].
const NEVER: Bounds = (1, 0);

/// A change without effects needs no transaction of its own.
pub(crate) fn is_empty(effects: &Effects) -> bool {
    let Effects {
        events,
        mails,
        decoy_mails,
        tokens,
        revocations,
        answer,
        inbox,
    } = effects;
    events.is_empty()
        && mails.is_empty()
        && decoy_mails.is_empty()
        && tokens.is_empty()
        && revocations.is_empty()
        && answer.is_none()
        && inbox.is_none()
}

/// Writes all effects; when it fails the transaction must be dropped.
///
/// The marks that can refuse come first, the events last: the rows that many writers wait for are held for the shortest time.
pub(crate) async fn write_effects(db: &Database, tx: &WriteTransaction, effects: &Effects) -> Result<(), EffectsError> {
    if let Some(mark) = &effects.inbox {
        write_mark(tx, mark).await?;
    }
    if let Some(answer) = &effects.answer {
        write_answer(tx, answer).await?;
    }
    write_tokens(tx, &effects.tokens).await?;
    for mail in &effects.mails {
        write_mail(tx, mail, mail.limited.then_some(BOUNDS)).await?;
    }
    for mail in &effects.decoy_mails {
        write_mail(tx, mail, Some(NEVER)).await?;
    }
    write_revocations(tx, &effects.revocations).await?;
    if !effects.events.is_empty() {
        insert_events(tx.conn(), db.dialect(), &effects.events).await?;
    }
    Ok(())
}

async fn write_mark(tx: &WriteTransaction, mark: &InboxMark) -> Result<(), EffectsError> {
    let sql = "INSERT INTO inbox (group_name, event_id, at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    let values = vec![
        mark.group.as_str().into(),
        mark.event_id.uuid().into(),
        mark.at.micros().into(),
    ];
    match execute(tx.conn(), "effects.inbox", sql, values).await? {
        0 => Err(EffectsError::AlreadyHandled),
        _ => Ok(()),
    }
}

/// An answer goes to the request that began under its key. When that is not there any more, another node took the request
/// for dead and carries it out itself: to commit as well would do it twice, so the whole change is refused.
async fn write_answer(tx: &WriteTransaction, answer: &StoredAnswer) -> Result<(), EffectsError> {
    let operation = "effects.answer";
    let resources =
        serde_json::to_string(&answer.resources).map_err(|error| BackendError::permanent(ADAPTER, operation, error))?;
    let sql = "UPDATE idempotency SET status = $1, resources = $2 \
        WHERE user_id = $3 AND route = $4 AND key = $5 AND status IS NULL";
    let scope = &answer.scope;
    let values = vec![
        i32::from(answer.status).into(),
        resources.into(),
        scope.user_id.uuid().into(),
        scope.route.as_str().into(),
        scope.key.as_str().into(),
    ];
    match execute(tx.conn(), operation, sql, values).await? {
        0 => Err(
            BackendError::temporary(ADAPTER, operation, "the request under this key is no longer this one's").into(),
        ),
        _ => Ok(()),
    }
}

async fn write_tokens(tx: &WriteTransaction, tokens: &[OneTimeToken]) -> Result<(), BackendError> {
    if tokens.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "INSERT INTO one_time_tokens (hash, purpose, subject_kind, subject_id, email, created_at, expires_at, used_at, voided_at) \
         VALUES {}",
        placeholders(1, tokens.len(), 9)
    );
    let values = tokens.iter().flat_map(token_values).collect();
    execute(tx.conn(), "effects.tokens", &sql, values).await?;
    Ok(())
}

fn token_values(token: &OneTimeToken) -> [Value; 9] {
    let (kind, id) = subject_columns(token.subject);
    [
        token.hash.as_bytes().to_vec().into(),
        token.purpose.as_str().into(),
        kind.into(),
        id.into(),
        token.email.as_ref().map(|email| email.as_str().to_owned()).into(),
        token.created_at.micros().into(),
        token.expires_at.micros().into(),
        token.used_at.map(|at| at.micros()).into(),
        token.voided_at.map(|at| at.micros()).into(),
    ]
}

async fn write_mail(tx: &WriteTransaction, mail: &NewMail, bounds: Option<Bounds>) -> Result<(), BackendError> {
    let operation = "effects.mails";
    let data = serde_json::to_string(&mail.data).map_err(|error| BackendError::permanent(ADAPTER, operation, error))?;
    let created_at = mail.created_at.micros();
    let mut values: Vec<Value> = vec![
        mail.id.uuid().into(),
        mail.user_id.map(|id| id.uuid()).into(),
        mail.to.as_str().into(),
        mail.template.as_str().into(),
        mail.locale.as_str().into(),
        data.into(),
        mail.sealed_token.clone().into(),
        MailState::Queued.as_str().into(),
        created_at.into(),
        mail.request_id.map(|id| id.uuid()).into(),
    ];
    let mut sql = "INSERT INTO mails (id, user_id, recipient, template, locale, data, sealed_token, state, \
        created_at, request_id, next_attempt_at, attempts) \
        SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $9, 0"
        .to_owned();
    if let Some((a_minute, an_hour)) = bounds {
        // Two requests at once would each see the other's message not yet there.
        hold(
            tx,
            Hold::MailBounds,
            &format!("{} {}", mail.template.as_str(), mail.to.as_str()),
        )
        .await?;
        sql.push_str(
            " WHERE (SELECT count(*) FROM mails WHERE recipient = $3 AND template = $4 AND created_at > $11) < $13 \
              AND (SELECT count(*) FROM mails WHERE recipient = $3 AND template = $4 AND created_at > $12) < $14",
        );
        values.extend([
            created_at.saturating_sub(MINUTE).into(),
            created_at.saturating_sub(HOUR).into(),
            a_minute.into(),
            an_hour.into(),
        ]);
    }
    execute(tx.conn(), operation, &sql, values).await?;
    Ok(())
}

/// Writes revocations, in one statement.
pub(crate) async fn write_revocations(tx: &WriteTransaction, revocations: &[Revocation]) -> Result<(), BackendError> {
    let operation = "effects.revocations";
    // Five values each: far below the 32,766 that SQLite binds, and a user may have many sessions.
    for some in revocations.chunks(1_000) {
        let sql = format!(
            "INSERT INTO revocations (kind, subject_id, epoch, at, expires_at) VALUES {}",
            placeholders(1, some.len(), 5)
        );
        let mut values: Vec<Value> = Vec::with_capacity(some.len() * 5);
        for revocation in some {
            let (kind, id, epoch) = revoked_columns(operation, revocation.subject)?;
            values.extend([
                kind.into(),
                id.into(),
                epoch.into(),
                revocation.at.micros().into(),
                revocation.expires_at.micros().into(),
            ]);
        }
        execute(tx.conn(), operation, &sql, values).await?;
    }
    Ok(())
}

fn revoked_columns(operation: &'static str, subject: RevokedSubject) -> Result<(i16, Uuid, Option<i64>), BackendError> {
    Ok(match subject {
        RevokedSubject::User(id) => (0, id.uuid(), None),
        RevokedSubject::Session(id) => (1, id.uuid(), None),
        RevokedSubject::Epoch(id, epoch) => (2, id.uuid(), Some(bigint(operation, epoch)?)),
    })
}
