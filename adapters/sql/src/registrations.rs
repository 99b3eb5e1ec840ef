//! Registrations, and how one becomes a user.

use async_trait::async_trait;
use domain::email::EmailAddress;
use domain::id::{RegistrationId, UserId};
use domain::time::Timestamp;
use domain::token::{TokenPurpose, TokenSubject};
use domain::user::Registration;
use ports::{
    BackendError, CompleteRegistrationError, Effects, EffectsError, RegistrationCompletion, RegistrationRepository,
};
use uuid::Uuid;

use crate::connect::{Database, Dialect, WriteTransaction};
use crate::effects::write_effects;
use crate::one_time_tokens::redeem;
use crate::row::{Hold, Row, execute, fetch_one, hold, placeholders, skip_locked};
use crate::users::{InsertRefusal, insert_user, password_values, read_password};

const COLUMNS: &str = "id, email, name, password_scheme, password_cost, password_pepper, password_hash, created_at, \
    expires_at, completed_as, voided_at";

/// Registrations in the table `registrations`.
#[derive(Debug, Clone)]
pub struct SqlRegistrationRepository {
    db: Database,
}

impl SqlRegistrationRepository {
    /// On that database.
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }
}

#[async_trait]
impl RegistrationRepository for SqlRegistrationRepository {
    async fn insert(&self, registration: &Registration, effects: &Effects) -> Result<(), EffectsError> {
        let tx = self.db.begin_write().await?;
        insert_row(&tx, registration).await?;
        write_effects(&self.db, &tx, effects).await?;
        Ok(tx.commit().await?)
    }

    async fn find(&self, id: RegistrationId) -> Result<Option<Registration>, BackendError> {
        let sql = format!("SELECT {COLUMNS} FROM registrations WHERE id = $1");
        let row = fetch_one(self.db.read(), "registrations.find", &sql, vec![id.uuid().into()]).await?;
        row.map(|row| read_registration(&row)).transpose()
    }

    async fn newest(&self, email: &EmailAddress, now: Timestamp) -> Result<Option<Registration>, BackendError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM registrations \
             WHERE email = $1 AND expires_at > $2 AND completed_as IS NULL AND voided_at IS NULL \
             ORDER BY created_at DESC, id DESC LIMIT 1"
        );
        let values = vec![email.as_str().into(), now.micros().into()];
        let row = fetch_one(self.db.read(), "registrations.newest", &sql, values).await?;
        row.map(|row| read_registration(&row)).transpose()
    }

    async fn remind(&self, id: RegistrationId, effects: &Effects) -> Result<(), EffectsError> {
        let tx = self.db.begin_write().await?;
        // The moment of the reminder is that of its new token; without one the expiry cannot matter.
        let now = effects.tokens.first().map(|token| token.created_at);
        match lock_registration(&tx, id).await? {
            Some(registration) if is_open(&registration, now) => {}
            _ => return Ok(()),
        }
        write_effects(&self.db, &tx, effects).await?;
        Ok(tx.commit().await?)
    }

    async fn complete(
        &self,
        completion: &RegistrationCompletion,
        effects: &Effects,
    ) -> Result<(), CompleteRegistrationError> {
        let tx = self.db.begin_write().await.map_err(EffectsError::from)?;
        take(&tx, completion).await?;
        insert_user(&tx, &completion.user)
            .await
            .map_err(|refusal| match refusal {
                InsertRefusal::EmailTaken => CompleteRegistrationError::Gone,
                InsertRefusal::Backend(error) => EffectsError::from(error).into(),
            })?;
        settle(&tx, completion).await.map_err(EffectsError::from)?;
        write_effects(&self.db, &tx, effects).await?;
        Ok(tx.commit().await.map_err(EffectsError::from)?)
    }

    async fn prune(&self, before: Timestamp, limit: u32) -> Result<u64, BackendError> {
        let sql = format!(
            "DELETE FROM registrations WHERE id IN \
             (SELECT id FROM registrations WHERE expires_at < $1 ORDER BY expires_at LIMIT $2{})",
            skip_locked(self.db.dialect())
        );
        let values = vec![before.micros().into(), i64::from(limit).into()];
        self.db.execute("registrations.prune", &sql, values).await
    }
}

/// Makes sure that the registration can be completed, alone, and uses up its token.
async fn take(tx: &WriteTransaction, completion: &RegistrationCompletion) -> Result<(), CompleteRegistrationError> {
    // Two registrations of one address would each hold their row and wait for the other's, so the address comes first.
    hold(tx, Hold::Registrations, completion.user.email.as_str())
        .await
        .map_err(EffectsError::from)?;
    let found = lock_registration(tx, completion.registration)
        .await
        .map_err(EffectsError::from)?;
    let registration = found.ok_or(CompleteRegistrationError::Gone)?;
    if registration.completed_as.is_some() {
        return Err(CompleteRegistrationError::AlreadyCompleted);
    }
    if !is_open(&registration, Some(completion.at)) || registration.email != completion.user.email {
        return Err(CompleteRegistrationError::Gone);
    }
    let subject = TokenSubject::Registration(registration.id);
    let redeemed = redeem(
        tx,
        completion.token,
        subject,
        Some(TokenPurpose::VerifyEmail),
        completion.at,
    )
    .await;
    if !redeemed.map_err(EffectsError::from)? {
        return Err(CompleteRegistrationError::Gone);
    }
    if completion.alone && has_rival(tx, completion).await.map_err(EffectsError::from)? {
        return Err(CompleteRegistrationError::Contested);
    }
    Ok(())
}

/// Whether another registration of the address can still be completed.
async fn has_rival(tx: &WriteTransaction, completion: &RegistrationCompletion) -> Result<bool, BackendError> {
    let sql = "SELECT id FROM registrations WHERE email = $1 AND id <> $2 \
        AND completed_as IS NULL AND voided_at IS NULL AND expires_at > $3 LIMIT 1";
    let values = vec![
        completion.user.email.as_str().into(),
        completion.registration.uuid().into(),
        completion.at.micros().into(),
    ];
    Ok(fetch_one(tx.conn(), "registrations.rival", sql, values)
        .await?
        .is_some())
}

/// Marks the registration, and voids the others of its address with their tokens.
async fn settle(tx: &WriteTransaction, completion: &RegistrationCompletion) -> Result<(), BackendError> {
    let (id, at) = (completion.registration.uuid(), completion.at.micros());
    let sql = "UPDATE registrations SET completed_as = $1 WHERE id = $2";
    let values = vec![completion.user.id.uuid().into(), id.into()];
    execute(tx.conn(), "registrations.complete", sql, values).await?;
    let sql = "UPDATE one_time_tokens SET voided_at = $1 \
        WHERE subject_kind = 2 AND used_at IS NULL AND voided_at IS NULL AND subject_id IN \
        (SELECT id FROM registrations WHERE email = $2 AND completed_as IS NULL AND voided_at IS NULL)";
    let values = vec![at.into(), completion.user.email.as_str().into()];
    execute(tx.conn(), "registrations.void_tokens", sql, values.clone()).await?;
    let sql = "UPDATE registrations SET voided_at = $1 WHERE email = $2 AND completed_as IS NULL AND voided_at IS NULL";
    execute(tx.conn(), "registrations.void", sql, values).await?;
    Ok(())
}

async fn insert_row(tx: &WriteTransaction, registration: &Registration) -> Result<(), BackendError> {
    let operation = "registrations.insert";
    let sql = format!(
        "INSERT INTO registrations ({COLUMNS}) VALUES {}",
        placeholders(1, 1, 11)
    );
    let [scheme, cost, pepper, hash] = password_values(operation, &registration.password)?;
    let values = vec![
        registration.id.uuid().into(),
        registration.email.as_str().into(),
        registration.name.as_str().into(),
        scheme,
        cost,
        pepper,
        hash,
        registration.created_at.micros().into(),
        registration.expires_at.micros().into(),
        registration.completed_as.map(UserId::uuid).into(),
        registration.voided_at.map(Timestamp::micros).into(),
    ];
    execute(tx.conn(), operation, &sql, values).await?;
    Ok(())
}

async fn lock_registration(tx: &WriteTransaction, id: RegistrationId) -> Result<Option<Registration>, BackendError> {
    let lock = match tx.dialect() {
        Dialect::Postgres => " FOR UPDATE",
        Dialect::Sqlite => "",
    };
    let sql = format!("SELECT {COLUMNS} FROM registrations WHERE id = $1{lock}");
    let row = fetch_one(tx.conn(), "registrations.lock", &sql, vec![id.uuid().into()]).await?;
    row.map(|row| read_registration(&row)).transpose()
}

fn is_open(registration: &Registration, now: Option<Timestamp>) -> bool {
    registration.completed_as.is_none()
        && registration.voided_at.is_none()
        && now.is_none_or(|now| now < registration.expires_at)
}

fn read_registration(row: &Row) -> Result<Registration, BackendError> {
    Ok(Registration {
        id: RegistrationId::new(row.get("id")?),
        email: row.parse("email")?,
        name: row.parse("name")?,
        password: read_password(row)?,
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
        completed_as: row.get::<Option<Uuid>>("completed_as")?.map(UserId::new),
        voided_at: row.time_or_none("voided_at")?,
    })
}
