//! The audit of the log: searching it, signing its heads, proving it.

mod evidence;
mod query;
#[cfg(test)]
mod tests;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use domain::audit::{AuditCursor, ShardStatement, Statement};
use domain::event::{Event, OwnEvent};
use domain::id::UserId;
use domain::time::Timestamp;
use ports::{
    AuditPage, AuditQuery, AuditTrail, BackendError, CheckpointSigner, Cursor, Effects, EffectsError, LogKeeper,
    NewCheckpoint, Wakeup,
};
use serde_json::json;

use super::{Origin, Toolkit};

pub use evidence::GivenCheckpoint;
pub use query::{AuditSearch, RefusedFilter};
pub use verify::{Progress, Report, VerifyError, VerifyOptions};

/// What the service is made over.
pub struct AuditParts {
    /// Time, randomness, ids, wake-ups.
    pub toolkit: Toolkit,
    /// The log as it stands.
    pub trail: Arc<dyn AuditTrail>,
    /// Its checkpoints and its beginning.
    pub keeper: Arc<dyn LogKeeper>,
    /// Signs checkpoints.
    pub signer: Arc<dyn CheckpointSigner>,
    /// The installation that checkpoints speak of.
    pub installation: domain::id::InstallationId,
    /// The age at which events may leave the log.
    pub retention: Option<Duration>,
}

/// The audit of the log.
pub struct Audit {
    p: AuditParts,
}

impl std::fmt::Debug for AuditParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditParts")
            .field("retention", &self.retention)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Audit").finish_non_exhaustive()
    }
}

/// A checkpoint that was made.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// What it says.
    pub statement: Statement,
    /// Its event.
    pub event: Event,
}

impl Audit {
    /// The service over its parts.
    pub fn new(parts: AuditParts) -> Self {
        Self { p: parts }
    }

    /// The public key of checkpoints: id and key.
    pub fn public_key(&self) -> (String, String) {
        self.p.signer.public_key()
    }

    /// A part of the events that fit the query, newest first.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn search(
        &self,
        query: &AuditQuery,
        after: Option<AuditCursor>,
        limit: u32,
    ) -> Result<AuditPage, BackendError> {
        self.p.trail.search(query, after, limit).await
    }

    /// Signs the heads when there is anything new to say; none when there is not, or when another node did it just now.
    ///
    /// # Errors
    /// When the backend fails.
    pub async fn checkpoint_if_moved(&self) -> Result<Option<Checkpoint>, EffectsError> {
        self.sign(false).await
    }

    /// Signs the heads now; none when another node did it at the same moment.
    ///
    /// # Errors
    /// When the backend fails.
    pub async fn checkpoint(&self) -> Result<Option<Checkpoint>, EffectsError> {
        self.sign(true).await
    }

    async fn sign(&self, anyway: bool) -> Result<Option<Checkpoint>, EffectsError> {
        let p = &self.p;
        let last = p.keeper.last_checkpoint().await?;
        let bounds = p.trail.bounds().await?;
        let now = p.toolkit.now();
        let (mut shards, mut removable) = (Vec::new(), Vec::new());
        for bounds in &bounds {
            let allowed = self.removable(bounds, now).await?;
            if allowed > bounds.removable {
                removable.push(Cursor {
                    shard: bounds.shard,
                    position: allowed,
                });
            }
            if bounds.head.position > 0 {
                shards.push(ShardStatement {
                    shard: bounds.shard,
                    head: bounds.head,
                    removable: allowed,
                });
            }
        }
        let events = bounds.iter().map(|bounds| bounds.head.position).sum();
        // The event of the last checkpoint itself is nothing new.
        let known = last.events + u64::from(last.serial > 0);
        if !anyway && events <= known && removable.is_empty() {
            return Ok(None);
        }
        let statement = Statement {
            serial: last.serial + 1,
            installation: p.installation.uuid(),
            at: now,
            shards,
        };
        let event = self.event_of(&statement)?;
        let new = NewCheckpoint {
            serial: statement.serial,
            at: now,
            events,
            removable,
        };
        let effects = Effects {
            events: vec![event.clone()],
            ..Effects::none()
        };
        if !p.keeper.checkpoint(&new, &effects).await? {
            return Ok(None);
        }
        p.toolkit.wakeups.wake(Wakeup::Written);
        Ok(Some(Checkpoint { statement, event }))
    }

    /// Up to where a shard may be removed: never less than what was allowed before, never beyond what is signed with it.
    async fn removable(&self, bounds: &ports::ShardBounds, now: Timestamp) -> Result<u64, BackendError> {
        let Some(retention) = self.p.retention else {
            return Ok(bounds.removable);
        };
        let boundary = self.p.keeper.boundary(bounds.shard, now.minus(retention)).await?;
        Ok(boundary.min(bounds.head.position).max(bounds.removable))
    }

    fn event_of(&self, statement: &Statement) -> Result<Event, BackendError> {
        let said = statement.to_json();
        let (kid, key) = self.p.signer.public_key();
        let signature = self.p.signer.sign(&said.to_string())?;
        let data = json!({ "statement": said, "kid": kid, "key": key, "signature": signature });
        let kind = OwnEvent::AuditCheckpoint;
        Ok(self.p.toolkit.own_event(&Origin::SYSTEM, UserId::SYSTEM, kind, &data))
    }
}
