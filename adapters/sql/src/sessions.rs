//! Sessions.

use async_trait::async_trait;
use domain::id::{SessionId, UserId};
use domain::page::{Page, PageRequest};
use domain::password::PasswordRecord;
use domain::session::{EndReason, Revocation, RevokedSubject, Session};
use domain::time::Timestamp;
use ports::{
    AdvanceSessionError, BackendError, Effects, EffectsError, InsertSessionError, SessionEnding, SessionHorizon,
    SessionRepository, SessionSelection,
};
use sea_orm::Value;
use uuid::Uuid;

use crate::connect::{Database, Dialect, WriteTransaction};
use crate::effects::{is_empty, write_effects, write_revocations};
use crate::row::{
    Row, Start, empty_page, execute, fetch_all, fetch_one, finish_page, int, page_limit, skip_locked, start,
};

const COLUMNS: &str = "id, user_id, created_at, last_used_at, generation, rotated_at, methods, authenticated_at, \
    user_agent, ended_at, end_reason";

/// Sessions in the table `sessions`.
#[derive(Debug, Clone)]
pub struct SqlSessionRepository {
    db: Database,
}

impl SqlSessionRepository {
    /// On that database.
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }
}

#[async_trait]
impl SessionRepository for SqlSessionRepository {
    async fn insert(
        &self,
        session: &Session,
        proven: &PasswordRecord,
        effects: &Effects,
    ) -> Result<(), InsertSessionError> {
        let tx = self.db.begin_write().await.map_err(EffectsError::from)?;
        if !insert_session(&tx, session, proven).await.map_err(EffectsError::from)? {
            return Err(refusal(&tx, session.user_id).await.map_err(EffectsError::from)?);
        }
        write_effects(&self.db, &tx, effects).await?;
        Ok(tx.commit().await.map_err(EffectsError::from)?)
    }

    async fn find(&self, id: SessionId) -> Result<Option<Session>, BackendError> {
        let sql = format!("SELECT {COLUMNS} FROM sessions WHERE id = $1");
        let row = fetch_one(self.db.read(), "sessions.find", &sql, vec![id.uuid().into()]).await?;
        row.map(|row| read_session(&row)).transpose()
    }

    async fn list(
        &self,
        user: UserId,
        horizon: &SessionHorizon,
        page: &PageRequest,
    ) -> Result<Page<Session>, BackendError> {
        let mut values: Vec<Value> = vec![
            user.uuid().into(),
            i64::from(page_limit(page) + 1).into(),
            horizon.used.micros().into(),
            horizon.created.micros().into(),
        ];
        let beyond = match start(page) {
            Start::Nowhere => return Ok(empty_page()),
            Start::Beginning => "",
            Start::Beyond(id) => {
                values.push(id.into());
                "AND id < $5 "
            }
        };
        let sql = format!(
            "SELECT {COLUMNS} FROM sessions WHERE user_id = $1 AND ended_at IS NULL AND last_used_at > $3 \
             AND created_at > $4 {beyond}ORDER BY id DESC LIMIT $2"
        );
        let rows = fetch_all(self.db.read(), "sessions.list", &sql, values).await?;
        let sessions = rows.iter().map(read_session).collect::<Result<_, _>>()?;
        Ok(finish_page(sessions, page, |session: &Session| session.id.uuid()))
    }

    async fn advance(
        &self,
        id: SessionId,
        from: u32,
        at: Timestamp,
        effects: &Effects,
    ) -> Result<(), AdvanceSessionError> {
        let operation = "sessions.advance";
        let generation = |number| int(operation, number).map_err(EffectsError::from);
        let values = vec![
            generation(from.saturating_add(1))?.into(),
            at.micros().into(),
            id.uuid().into(),
            generation(from)?.into(),
        ];
        if is_empty(effects) {
            let advanced = self.db.execute(operation, ADVANCE, values).await;
            return match advanced.map_err(EffectsError::from)? {
                1 => Ok(()),
                _ => Err(AdvanceSessionError::Stale),
            };
        }
        let tx = self.db.begin_write().await.map_err(EffectsError::from)?;
        let advanced = execute(tx.conn(), operation, ADVANCE, values).await;
        if advanced.map_err(EffectsError::from)? != 1 {
            return Err(AdvanceSessionError::Stale);
        }
        write_effects(&self.db, &tx, effects).await?;
        Ok(tx.commit().await.map_err(EffectsError::from)?)
    }

    async fn end(
        &self,
        user: UserId,
        ending: &SessionEnding,
        at: Timestamp,
        effects: &Effects,
    ) -> Result<u64, EffectsError> {
        let tx = self.db.begin_write().await?;
        let ended = end_sessions(&tx, user, ending, at).await?;
        if ended == 0 {
            return Ok(0);
        }
        write_effects(&self.db, &tx, effects).await?;
        tx.commit().await?;
        Ok(ended)
    }

    async fn prune(&self, horizon: &SessionHorizon, ended_before: Timestamp, limit: u32) -> Result<u64, BackendError> {
        // One statement for each of the three indexes.
        let over = [
            ("ended_at < $1", ended_before),
            ("ended_at IS NULL AND last_used_at <= $1", horizon.used),
            ("ended_at IS NULL AND created_at <= $1", horizon.created),
        ];
        let mut removed = 0;
        for (condition, bound) in over {
            let sql = format!(
                "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE {condition} LIMIT $2{})",
                skip_locked(self.db.dialect())
            );
            let rest = i64::from(limit) - i64::try_from(removed).unwrap_or(i64::MAX);
            let values = vec![bound.micros().into(), rest.max(0).into()];
            removed += self.db.execute("sessions.prune", &sql, values).await?;
        }
        Ok(removed)
    }
}

/// False when the user is missing or disabled, or has another password.
async fn insert_session(
    tx: &WriteTransaction,
    session: &Session,
    proven: &PasswordRecord,
) -> Result<bool, BackendError> {
    let operation = "sessions.insert";
    // Waits for a change of the user that is under way: disabling, or a new password, ends the sessions that it sees, and must see this one or stop it.
    let lock = match tx.dialect() {
        Dialect::Postgres => " FOR SHARE",
        Dialect::Sqlite => "",
    };
    let sql = format!(
        "INSERT INTO sessions ({COLUMNS}) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11 \
         FROM users WHERE id = $2 AND disabled_at IS NULL AND password_hash = $12{lock}"
    );
    let values = vec![
        session.id.uuid().into(),
        session.user_id.uuid().into(),
        session.created_at.micros().into(),
        session.last_used_at.micros().into(),
        int(operation, session.generation)?.into(),
        session.rotated_at.map(Timestamp::micros).into(),
        session.methods.join(" ").into(),
        session.authenticated_at.micros().into(),
        session.user_agent.clone().into(),
        session.ended.map(|(at, _)| at.micros()).into(),
        session.ended.map(|(_, reason)| reason.as_str().to_owned()).into(),
        proven.hash.as_str().into(),
    ];
    Ok(execute(tx.conn(), operation, &sql, values).await? == 1)
}

/// Why the user got no session.
async fn refusal(tx: &WriteTransaction, user: UserId) -> Result<InsertSessionError, BackendError> {
    let sql = "SELECT id FROM users WHERE id = $1 AND disabled_at IS NULL";
    let enabled = fetch_one(tx.conn(), "sessions.insert", sql, vec![user.uuid().into()]).await?;
    Ok(match enabled {
        Some(_) => InsertSessionError::PasswordChanged,
        None => InsertSessionError::UserGone,
    })
}

const ADVANCE: &str = "UPDATE sessions SET generation = $1, last_used_at = $2, rotated_at = $2 \
    WHERE id = $3 AND generation = $4 AND ended_at IS NULL";

/// Ends the selected sessions that have not ended, each with its revocation; gives how many.
pub(crate) async fn end_sessions(
    tx: &WriteTransaction,
    user: UserId,
    ending: &SessionEnding,
    at: Timestamp,
) -> Result<u64, BackendError> {
    let mut values: Vec<Value> = vec![at.micros().into(), ending.reason.as_str().into(), user.uuid().into()];
    let selected = match ending.selection {
        SessionSelection::All => "",
        SessionSelection::This(id) => {
            values.push(id.uuid().into());
            "AND id = $4 "
        }
        SessionSelection::Others(id) => {
            values.push(id.uuid().into());
            "AND id <> $4 "
        }
    };
    let sql = format!(
        "UPDATE sessions SET ended_at = $1, end_reason = $2 WHERE user_id = $3 AND ended_at IS NULL {selected}RETURNING id"
    );
    let rows = fetch_all(tx.conn(), "sessions.end", &sql, values).await?;
    let mut revocations = Vec::with_capacity(rows.len());
    for row in &rows {
        let subject = RevokedSubject::Session(SessionId::new(row.get::<Uuid>("id")?));
        revocations.push(Revocation {
            subject,
            at,
            expires_at: ending.revoked_until,
        });
    }
    write_revocations(tx, &revocations).await?;
    Ok(revocations.len() as u64)
}

fn read_session(row: &Row) -> Result<Session, BackendError> {
    let ended = match row.time_or_none("ended_at")? {
        Some(at) => Some((at, row.word("end_reason", EndReason::parse)?)),
        None => None,
    };
    Ok(Session {
        id: SessionId::new(row.get("id")?),
        user_id: UserId::new(row.get("user_id")?),
        created_at: row.time("created_at")?,
        last_used_at: row.time("last_used_at")?,
        generation: row.small_count("generation")?,
        rotated_at: row.time_or_none("rotated_at")?,
        methods: row
            .get::<String>("methods")?
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
        authenticated_at: row.time("authenticated_at")?,
        user_agent: row.get("user_agent")?,
        ended,
    })
}
