//! One-time tokens: their rows, and using one up inside another change.

use async_trait::async_trait;
use domain::id::{RegistrationId, UserId};
use domain::time::Timestamp;
use domain::token::{OneTimeToken, TokenHash, TokenPurpose, TokenSubject};
use ports::{BackendError, Effects, EffectsError, OneTimeTokenRepository};
use uuid::Uuid;

use crate::connect::{Database, WriteTransaction};
use crate::effects::{is_empty, write_effects};
use crate::row::{Row, execute, fetch_one};

/// One-time tokens in the table `one_time_tokens`.
#[derive(Debug, Clone)]
pub struct SqlOneTimeTokenRepository {
    db: Database,
}

impl SqlOneTimeTokenRepository {
    /// On that database.
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }
}

#[async_trait]
impl OneTimeTokenRepository for SqlOneTimeTokenRepository {
    async fn find(&self, hash: &TokenHash) -> Result<Option<OneTimeToken>, BackendError> {
        let sql = "SELECT purpose, subject_kind, subject_id, email, created_at, expires_at, used_at, voided_at \
            FROM one_time_tokens WHERE hash = $1";
        let row = fetch_one(
            self.db.read(),
            "one_time_tokens.find",
            sql,
            vec![hash.as_bytes().to_vec().into()],
        )
        .await?;
        row.map(|row| read_token(*hash, &row)).transpose()
    }

    async fn issue(&self, effects: &Effects) -> Result<(), EffectsError> {
        if is_empty(effects) {
            return Ok(());
        }
        let tx = self.db.begin_write().await?;
        write_effects(&self.db, &tx, effects).await?;
        Ok(tx.commit().await?)
    }

    async fn prune(&self, before: Timestamp, limit: u32) -> Result<u64, BackendError> {
        let sql = "DELETE FROM one_time_tokens WHERE hash IN \
            (SELECT hash FROM one_time_tokens WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";
        let values = vec![before.micros().into(), i64::from(limit).into()];
        self.db.execute("one_time_tokens.prune", sql, values).await
    }
}

fn read_token(hash: TokenHash, row: &Row) -> Result<OneTimeToken, BackendError> {
    Ok(OneTimeToken {
        hash,
        purpose: row.word("purpose", TokenPurpose::parse)?,
        subject: read_subject(row)?,
        email: row.parse_or_none("email")?,
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
        used_at: row.time_or_none("used_at")?,
        voided_at: row.time_or_none("voided_at")?,
    })
}

fn read_subject(row: &Row) -> Result<TokenSubject, BackendError> {
    match (row.get::<i16>("subject_kind")?, row.get::<Option<Uuid>>("subject_id")?) {
        (0, None) => Ok(TokenSubject::Installation),
        (1, Some(id)) => Ok(TokenSubject::User(UserId::new(id))),
        (2, Some(id)) => Ok(TokenSubject::Registration(RegistrationId::new(id))),
        _ => Err(row.corrupt("subject_kind")),
    }
}

/// The columns `subject_kind` and `subject_id`.
pub(crate) fn subject_columns(subject: TokenSubject) -> (i16, Option<Uuid>) {
    match subject {
        TokenSubject::Installation => (0, None),
        TokenSubject::User(id) => (1, Some(id.uuid())),
        TokenSubject::Registration(id) => (2, Some(id.uuid())),
    }
}

/// Uses up a live token of that subject, and of that purpose where one is asked for, and voids the other live ones of its
/// purpose and subject. False when there was nothing to use up; then nothing was written.
pub(crate) async fn redeem(
    tx: &WriteTransaction,
    hash: TokenHash,
    subject: TokenSubject,
    purpose: Option<TokenPurpose>,
    at: Timestamp,
) -> Result<bool, BackendError> {
    let (kind, id) = subject_columns(subject);
    // `subject_id IS NULL` for the installation: `=` never holds for it, and the engines write the null-safe one differently.
    let sql = "UPDATE one_time_tokens SET used_at = $1 \
        WHERE hash = $2 AND used_at IS NULL AND voided_at IS NULL AND expires_at > $1 \
        AND subject_kind = $3 AND (subject_id = $4 OR (subject_id IS NULL AND $3 = 0)) AND ($5 = '' OR purpose = $5) \
        RETURNING purpose";
    let values = vec![
        at.micros().into(),
        hash.as_bytes().to_vec().into(),
        kind.into(),
        id.into(),
        purpose.map_or("", TokenPurpose::as_str).into(),
    ];
    let Some(row) = fetch_one(tx.conn(), "one_time_tokens.redeem", sql, values).await? else {
        return Ok(false);
    };
    let purpose: String = row.get("purpose")?;
    let sql = "UPDATE one_time_tokens SET voided_at = $1 \
        WHERE purpose = $2 AND subject_kind = $3 AND (subject_id = $4 OR (subject_id IS NULL AND $3 = 0)) \
        AND used_at IS NULL AND voided_at IS NULL AND hash <> $5";
    let values = vec![
        at.micros().into(),
        purpose.into(),
        kind.into(),
        id.into(),
        hash.as_bytes().to_vec().into(),
    ];
    execute(tx.conn(), "one_time_tokens.void", sql, values).await?;
    Ok(true)
}

/// Voids the user's live tokens that reset a password.
pub(crate) async fn void_resets(tx: &WriteTransaction, user: UserId, at: Timestamp) -> Result<(), BackendError> {
    let (kind, id) = subject_columns(TokenSubject::User(user));
    let sql = "UPDATE one_time_tokens SET voided_at = $1 \
        WHERE subject_id = $2 AND subject_kind = $3 AND purpose = $4 AND used_at IS NULL AND voided_at IS NULL";
    let values = vec![
        at.micros().into(),
        id.into(),
        kind.into(),
        TokenPurpose::ResetPassword.as_str().into(),
    ];
    execute(tx.conn(), "one_time_tokens.void_resets", sql, values).await?;
    Ok(())
}
