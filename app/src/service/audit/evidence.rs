//! What the checkpoints say, of the log itself and of files kept elsewhere, as far as their signatures hold.

use std::collections::{BTreeMap, BTreeSet};

use domain::audit::{Claim, Fault, Finding, Statement};
use domain::event::Shard;
use domain::id::UserId;
use domain::time::Timestamp;
use ports::{BackendError, ShardBounds};
use serde_json::Value;
use uuid::Uuid;

use super::Audit;
use super::verify::VerifyError;

/// Checkpoints that are read at once.
const PAGE: u32 = 200;

/// A checkpoint that was kept elsewhere.
#[derive(Debug, Clone)]
pub struct GivenCheckpoint {
    /// Where it comes from, for whoever gave it.
    pub name: String,
    /// The event as Kafka or the API shows it, or its data alone.
    pub value: Value,
}

/// What signed statements say.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// Of each shard.
    claims: BTreeMap<Shard, Vec<Claim>>,
    /// Up to where each shard may have been removed.
    removable: BTreeMap<Shard, u64>,
    /// The serial numbers of those in the log.
    logged: BTreeSet<u64>,
    /// The serial numbers of those that were given.
    given: BTreeSet<u64>,
    /// The newest: serial number and time.
    newest: Option<(u64, Timestamp)>,
    /// The position of the last one in the log.
    position: u64,
    /// What is wrong with those in the log.
    findings: Vec<Finding>,
}

impl Evidence {
    pub(super) fn claims_of(&self, shard: Shard) -> Vec<Claim> {
        self.claims.get(&shard).cloned().unwrap_or_default()
    }

    pub(super) fn newest(&self) -> Option<(u64, Timestamp)> {
        self.newest
    }

    /// How many statements hold.
    pub(super) fn count(&self) -> u64 {
        self.logged.union(&self.given).count() as u64
    }

    /// The furthest position of a shard that a checkpoint saw.
    pub(super) fn seen(&self, shard: Shard) -> u64 {
        let claims = self.claims.get(&shard).into_iter().flatten();
        claims.map(|claim| claim.mark.position).max().unwrap_or(0)
    }

    /// A shard whose beginning no checkpoint allows, with the furthest that one does.
    pub(super) fn beginning_fault(&self, bounds: &ShardBounds) -> Option<Finding> {
        let allowed = self.removable.get(&bounds.shard).copied().unwrap_or(0);
        (bounds.floor.position > allowed).then_some(Finding {
            shard: Some(bounds.shard),
            position: Some(bounds.floor.position),
            event_id: None,
            fault: Fault::BeginningMoved { allowed },
        })
    }

    /// What is wrong with the checkpoints themselves: forged ones, and gaps in their serial numbers. While nothing was
    /// removed from their shard the first is number 1.
    pub(super) fn findings(&self, beginning: u64) -> Vec<Finding> {
        let mut findings = self.findings.clone();
        let shard = Shard::of(UserId::SYSTEM);
        let mut tell = |from: u64, to: u64| {
            findings.push(Finding {
                shard: Some(shard),
                position: None,
                event_id: None,
                fault: Fault::CheckpointRemoved { from, to },
            });
        };
        let mut before = if beginning == 0 { Some(0) } else { None };
        for serial in &self.logged {
            if let Some(before) = before.filter(|before| before + 1 < *serial) {
                tell(before + 1, serial - 1);
            }
            before = Some(*serial);
        }
        if let Some(last) = self
            .given
            .last()
            .filter(|last| before.is_some_and(|before| before < **last))
        {
            tell(before.unwrap_or(0) + 1, *last);
        }
        findings
    }

    fn take(&mut self, statement: &Statement) {
        for shard in &statement.shards {
            self.claims.entry(shard.shard).or_default().push(Claim {
                mark: shard.head,
                serial: statement.serial,
            });
            let removable = self.removable.entry(shard.shard).or_default();
            *removable = shard.removable.max(*removable);
        }
        let this = (statement.serial, statement.at);
        if self.newest.is_none_or(|newest| newest.0 < this.0) {
            self.newest = Some(this);
        }
    }
}

impl Audit {
    /// Reads on in the checkpoints of the log, from where the evidence ends to the last.
    pub(super) async fn read_checkpoints(&self, evidence: &mut Evidence) -> Result<(), BackendError> {
        loop {
            let page = self.p.trail.checkpoints(evidence.position, PAGE).await?;
            for checkpoint in &page {
                evidence.position = checkpoint.position;
                let data = checkpoint
                    .data
                    .as_deref()
                    .and_then(|text| serde_json::from_str(text).ok());
                match data.as_ref().and_then(|data| self.genuine(data)) {
                    Some(statement) => {
                        evidence.logged.insert(statement.serial);
                        evidence.take(&statement);
                    }
                    None => evidence.findings.push(forged(checkpoint.position, checkpoint.event_id)),
                }
            }
            if page.len() < PAGE as usize {
                return Ok(());
            }
        }
    }

    /// Takes a checkpoint that was kept elsewhere.
    pub(super) fn take_given(&self, evidence: &mut Evidence, given: &GivenCheckpoint) -> Result<(), VerifyError> {
        let data = given.value.get("data").unwrap_or(&given.value);
        let statement = self
            .genuine(data)
            .ok_or_else(|| VerifyError::Given(given.name.clone()))?;
        evidence.given.insert(statement.serial);
        evidence.take(&statement);
        Ok(())
    }

    /// What the checkpoint says, if this installation signed exactly that.
    fn genuine(&self, data: &Value) -> Option<Statement> {
        let signed = self.p.signer.verify(data.get("signature")?.as_str()?)?;
        let signed: Value = serde_json::from_str(&signed).ok()?;
        if data.get("statement") != Some(&signed) {
            return None;
        }
        let statement = Statement::from_json(&signed).ok()?;
        (statement.installation == self.p.installation.uuid()).then_some(statement)
    }
}

fn forged(position: u64, event_id: Uuid) -> Finding {
    Finding {
        shard: Some(Shard::of(UserId::SYSTEM)),
        position: Some(position),
        event_id: Some(event_id),
        fault: Fault::CheckpointForged,
    }
}
