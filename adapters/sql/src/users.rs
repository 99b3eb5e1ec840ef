//! The accounts: rows, optimistic versions, and the administrator that must stay.

use async_trait::async_trait;
use domain::email::EmailAddress;
use domain::id::UserId;
use domain::page::{Page, PageRequest};
use domain::password::PasswordRecord;
use domain::time::Timestamp;
use domain::token::{TokenHash, TokenPurpose, TokenSubject};
use domain::user::{Role, User};
use ports::{BackendError, Effects, EffectsError, InsertUserError, UpdateUserError, UserRepository, UserUpdate};
use sea_orm::{DbErr, Value};

use crate::by_id::{ById, Table};
use crate::connect::{Database, Dialect, WriteTransaction};
use crate::effects::write_effects;
use crate::error::{backend, unique_violation};
use crate::one_time_tokens::{redeem, void_resets};
use crate::row::{
    Hold, Row, Start, bigint, empty_page, fetch_all, fetch_one, finish_page, hold, int, page_limit, placeholders,
    start, try_execute,
};
use crate::sessions::end_sessions;

const COLUMNS: &str = "id, email, name, password_scheme, password_cost, password_pepper, password_hash, tier, role, \
    epoch, disabled_at, created_at, updated_at, version";

/// Users in the table `users`.
#[derive(Debug)]
pub struct SqlUserRepository {
    db: Database,
    reads: ById<User>,
}

impl SqlUserRepository {
    /// On that database.
    pub fn new(db: &Database) -> Self {
        let reads = ById::new(
            db,
            Table {
                operation: "users.find",
                select: format!("SELECT {COLUMNS} FROM users"),
                read: read_user,
                id: |user: &User| user.id.uuid(),
            },
        );
        Self { db: db.clone(), reads }
    }

    async fn write_update(&self, update: &UserUpdate, effects: &Effects) -> Result<(), UpdateUserError> {
        let user = &update.user;
        let tx = self.db.begin_write().await.map_err(EffectsError::from)?;
        let stored = lock_version(&tx, user)
            .await
            .map_err(EffectsError::from)?
            .ok_or(UpdateUserError::Stale)?;
        if stored.administers
            && !is_enabled_admin(user)
            && !others_administer(&tx, user.id).await.map_err(EffectsError::from)?
        {
            return Err(UpdateUserError::LastAdmin);
        }
        if let Some(hash) = update.redeem {
            let subject = TokenSubject::User(user.id);
            if !redeem(&tx, hash, subject, None, update.at)
                .await
                .map_err(EffectsError::from)?
            {
                return Err(UpdateUserError::TokenInvalid);
            }
        }
        if stored.password_hash != user.password.hash {
            void_resets(&tx, user.id, update.at).await.map_err(EffectsError::from)?;
        }
        store(&tx, user).await?;
        if let Some(ending) = &update.end_sessions {
            end_sessions(&tx, user.id, ending, update.at)
                .await
                .map_err(EffectsError::from)?;
        }
        write_effects(&self.db, &tx, effects).await?;
        Ok(tx.commit().await.map_err(EffectsError::from)?)
    }
}

#[async_trait]
impl UserRepository for SqlUserRepository {
    async fn find(&self, id: UserId) -> Result<Option<User>, BackendError> {
        self.reads.find(id.uuid()).await
    }

    async fn find_by_email(&self, email: &EmailAddress) -> Result<Option<User>, BackendError> {
        let sql = format!("SELECT {COLUMNS} FROM users WHERE email = $1");
        let row = fetch_one(self.db.read(), "users.find_by_email", &sql, vec![email.as_str().into()]).await?;
        row.map(|row| read_user(&row)).transpose()
    }

    async fn list(&self, page: &PageRequest) -> Result<Page<User>, BackendError> {
        let mut values: Vec<Value> = vec![i64::from(page_limit(page) + 1).into()];
        let beyond = match start(page) {
            Start::Nowhere => return Ok(empty_page()),
            Start::Beginning => "",
            Start::Beyond(id) => {
                values.push(id.into());
                "WHERE id > $2 "
            }
        };
        let sql = format!("SELECT {COLUMNS} FROM users {beyond}ORDER BY id LIMIT $1");
        let rows = fetch_all(self.db.read(), "users.list", &sql, values).await?;
        let users = rows.iter().map(read_user).collect::<Result<_, _>>()?;
        Ok(finish_page(users, page, |user: &User| user.id.uuid()))
    }

    async fn has_admin(&self) -> Result<bool, BackendError> {
        let sql = "SELECT id FROM users WHERE role = 'admin' AND disabled_at IS NULL LIMIT 1";
        Ok(fetch_one(self.db.read(), "users.has_admin", sql, Vec::new())
            .await?
            .is_some())
    }

    async fn insert(
        &self,
        user: &User,
        first_admin: Option<TokenHash>,
        effects: &Effects,
    ) -> Result<(), InsertUserError> {
        let tx = self.db.begin_write().await.map_err(EffectsError::from)?;
        if let Some(hash) = first_admin {
            if others_administer(&tx, user.id).await.map_err(EffectsError::from)? {
                return Err(InsertUserError::AdminExists);
            }
            let purpose = Some(TokenPurpose::Setup);
            let redeemed = redeem(&tx, hash, TokenSubject::Installation, purpose, user.created_at).await;
            if !redeemed.map_err(EffectsError::from)? {
                return Err(InsertUserError::TokenInvalid);
            }
        }
        insert_user(&tx, user).await.map_err(|refusal| match refusal {
            InsertRefusal::EmailTaken => InsertUserError::EmailTaken,
            InsertRefusal::Backend(error) => EffectsError::from(error).into(),
        })?;
        write_effects(&self.db, &tx, effects).await?;
        Ok(tx.commit().await.map_err(EffectsError::from)?)
    }

    async fn update(&self, update: &UserUpdate, effects: &Effects) -> Result<(), UpdateUserError> {
        self.write_update(update, effects).await
    }
}

/// Why a row was not inserted.
#[derive(Debug)]
pub(crate) enum InsertRefusal {
    /// Another user has the address.
    EmailTaken,
    /// The database failed, or the id is taken.
    Backend(BackendError),
}

/// Inserts the row of a user.
pub(crate) async fn insert_user(tx: &WriteTransaction, user: &User) -> Result<(), InsertRefusal> {
    let operation = "users.insert";
    let sql = format!("INSERT INTO users ({COLUMNS}) VALUES {}", placeholders(1, 1, 14));
    let mut values = vec![user.id.uuid().into()];
    values.extend(changeable(operation, user).map_err(InsertRefusal::Backend)?);
    values.extend([
        user.created_at.micros().into(),
        user.updated_at.micros().into(),
        bigint(operation, user.version).map_err(InsertRefusal::Backend)?.into(),
    ]);
    match try_execute(tx.conn(), &sql, values).await {
        Ok(_) => Ok(()),
        Err(error) if breaks_email(&error) => Err(InsertRefusal::EmailTaken),
        Err(error) => Err(InsertRefusal::Backend(backend(operation, error))),
    }
}

fn breaks_email(error: &DbErr) -> bool {
    unique_violation(error).is_some_and(|constraint| constraint.contains("email"))
}

/// `email` to `disabled_at`, in the order of [`COLUMNS`].
fn changeable(operation: &'static str, user: &User) -> Result<[Value; 10], BackendError> {
    let [scheme, cost, pepper, hash] = password_values(operation, &user.password)?;
    Ok([
        user.email.as_str().into(),
        user.name.as_str().into(),
        scheme,
        cost,
        pepper,
        hash,
        user.tier.as_str().into(),
        user.role.as_str().into(),
        bigint(operation, user.epoch)?.into(),
        user.disabled_at.map(Timestamp::micros).into(),
    ])
}

/// Stores a user whose row is locked, one version on.
async fn store(tx: &WriteTransaction, user: &User) -> Result<(), UpdateUserError> {
    let operation = "users.update";
    let sql = "UPDATE users SET email = $1, name = $2, password_scheme = $3, password_cost = $4, password_pepper = $5, \
        password_hash = $6, tier = $7, role = $8, epoch = $9, disabled_at = $10, updated_at = $11, version = $12 + 1 \
        WHERE id = $13 AND version = $12";
    let mut values = changeable(operation, user).map_err(EffectsError::from)?.to_vec();
    let version = bigint(operation, user.version).map_err(EffectsError::from)?;
    values.extend([user.updated_at.micros().into(), version.into(), user.id.uuid().into()]);
    match try_execute(tx.conn(), sql, values).await {
        Ok(0) => Err(UpdateUserError::Stale),
        Ok(_) => Ok(()),
        Err(error) if breaks_email(&error) => Err(UpdateUserError::EmailTaken),
        Err(error) => Err(EffectsError::from(backend(operation, error)).into()),
    }
}

/// What an update must know of the row that it changes.
#[derive(Debug)]
struct Stored {
    /// Whether it is an enabled administrator's.
    administers: bool,
    password_hash: String,
}

/// Locks the row if it still has the version that was read.
async fn lock_version(tx: &WriteTransaction, user: &User) -> Result<Option<Stored>, BackendError> {
    let operation = "users.lock";
    let lock = match tx.dialect() {
        Dialect::Postgres => " FOR UPDATE",
        Dialect::Sqlite => "",
    };
    let sql = format!("SELECT role, disabled_at, password_hash FROM users WHERE id = $1 AND version = $2{lock}");
    let values = vec![user.id.uuid().into(), bigint(operation, user.version)?.into()];
    let Some(row) = fetch_one(tx.conn(), operation, &sql, values).await? else {
        return Ok(None);
    };
    Ok(Some(Stored {
        administers: row.parse::<Role>("role")? == Role::Admin && row.time_or_none("disabled_at")?.is_none(),
        password_hash: row.get("password_hash")?,
    }))
}

fn is_enabled_admin(user: &User) -> bool {
    user.role == Role::Admin && user.disabled_at.is_none()
}

/// Whether anybody else is an enabled administrator, and stays it until the transaction ends.
async fn others_administer(tx: &WriteTransaction, user: UserId) -> Result<bool, BackendError> {
    hold(tx, Hold::Administrators, "").await?;
    let sql = "SELECT id FROM users WHERE role = 'admin' AND disabled_at IS NULL AND id <> $1 LIMIT 1";
    Ok(
        fetch_one(tx.conn(), "users.others_administer", sql, vec![user.uuid().into()])
            .await?
            .is_some(),
    )
}

fn read_user(row: &Row) -> Result<User, BackendError> {
    Ok(User {
        id: UserId::new(row.get("id")?),
        email: row.parse("email")?,
        name: row.parse("name")?,
        password: read_password(row)?,
        tier: row.parse("tier")?,
        role: row.parse("role")?,
        epoch: row.count("epoch")?,
        disabled_at: row.time_or_none("disabled_at")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
        version: row.count("version")?,
    })
}

/// `password_scheme` to `password_hash`.
pub(crate) fn password_values(operation: &'static str, password: &PasswordRecord) -> Result<[Value; 4], BackendError> {
    Ok([
        password.scheme.as_str().into(),
        int(operation, password.cost)?.into(),
        password.pepper_id.as_str().into(),
        password.hash.as_str().into(),
    ])
}

/// The password of a user or a registration.
pub(crate) fn read_password(row: &Row) -> Result<PasswordRecord, BackendError> {
    Ok(PasswordRecord {
        scheme: row.get("password_scheme")?,
        cost: row.small_count("password_cost")?,
        pepper_id: row.get("password_pepper")?,
        hash: row.get("password_hash")?,
    })
}
