//! Proving the log: every shard from its beginning to its head, several at a time, beside whoever writes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::audit::{Fault, Finding, Mark, RecordedRow, ShardWalk, Tally};
use domain::event::Shard;
use domain::id::EventId;
use domain::time::Timestamp;
use ports::{AuditTrail, BackendError, ShardBounds};
use tokio::sync::mpsc;

use super::Audit;
use super::evidence::{Evidence, GivenCheckpoint};
use crate::lifecycle::Lifecycle;

/// The most rows of one read.
const MOST_ROWS: u32 = 2_000;
/// What one read should hold of payloads, in bytes: a log of long ones is read in smaller parts.
const READ_BYTES: usize = 4 * 1024 * 1024;
/// Events that are looked through at once for some that are nowhere.
const WINDOW: u32 = 20_000;
/// Rows outside of the log that are named.
const INTRUDERS: u32 = 1_000;
/// The pause before a beginning that no checkpoint allows is looked at again.
const PAUSE: Duration = Duration::from_millis(250);

/// How to verify.
#[derive(Debug, Clone, Default)]
pub struct VerifyOptions {
    /// Checkpoints that were kept elsewhere.
    pub given: Vec<GivenCheckpoint>,
    /// How many findings to list; all are counted.
    pub most: usize,
    /// How many shards to walk along at once.
    pub at_once: usize,
    /// How often to look again at a beginning that no checkpoint allows: the one that does may be waiting for its position.
    pub patience: u32,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Rows that are checked.
    pub done: u64,
    /// Rows that there are.
    pub of: u64,
}

/// What was found.
#[derive(Debug, Clone)]
pub struct Report {
    /// Rows of the log that were checked.
    pub events: u64,
    /// Those of them whose payload is erased.
    pub erased: u64,
    /// Rows that retention removed before.
    pub removed: u64,
    /// Checkpoints whose signature holds.
    pub checkpoints: u64,
    /// The newest of them: serial number and time.
    pub newest: Option<(u64, Timestamp)>,
    /// Rows after the newest checkpoint, which nothing but the chain holds.
    pub uncovered: u64,
    /// What is wrong, in the order of shards and positions.
    pub findings: Vec<Finding>,
    /// How many findings are not listed.
    pub unlisted: u64,
    /// How long it took.
    pub took: Duration,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty() && self.unlisted == 0
    }
}

/// Why nothing is known of the log.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A checkpoint that was given is none of this installation.
    #[error("{0} holds no checkpoint that this installation signed")]
    Given(String),
    /// A part of the work was lost.
    #[error("a part of the log was not looked at")]
    Incomplete,
    /// The backend failed.
    #[error("{0}: {source}", source = .0.source)]
    Backend(#[from] BackendError),
}

/// A part of the work.
enum Job {
    Walk(Box<(ShardBounds, ShardWalk)>),
    Look,
}

/// What those who work tell.
enum Told {
    Rows(u64),
    Finding(Finding),
    Done(Tally),
    Failed(BackendError),
}

/// Findings up to a bound.
struct Findings {
    listed: Vec<Finding>,
    most: usize,
    unlisted: u64,
}

impl Findings {
    fn add(&mut self, finding: Finding) {
        if self.listed.len() < self.most {
            self.listed.push(finding);
        } else {
            self.unlisted += 1;
        }
    }
}

impl Audit {
    /// Verifies the log as it stands at the beginning; what comes meanwhile is left to the next time.
    ///
    /// # Errors
    /// When the log cannot be read, or a given checkpoint is none.
    pub async fn verify(
        &self,
        options: &VerifyOptions,
        lifecycle: &Lifecycle,
        mut progress: impl FnMut(Progress),
    ) -> Result<Report, VerifyError> {
        let began = self.p.toolkit.now();
        let mut evidence = Evidence::default();
        for given in &options.given {
            self.take_given(&mut evidence, given)?;
        }
        // Checkpoints first: each speaks of heads that the log has already.
        self.read_checkpoints(&mut evidence).await?;
        let bounds = self.p.trail.bounds().await?;
        let mut findings = Findings {
            listed: Vec::new(),
            most: options.most,
            unlisted: 0,
        };
        self.judge_bounds(&mut evidence, &bounds, options.patience, &mut findings)
            .await?;
        let of = bounds.iter().map(rows_of).sum();
        let (jobs, count) = jobs(&evidence, &bounds);
        let mut told = self.begin(jobs, options.at_once, lifecycle);
        let (mut tally, mut done, mut ended) = (Tally::default(), 0, 0);
        while let Some(told) = told.recv().await {
            match told {
                Told::Rows(rows) => {
                    done += rows;
                    progress(Progress { done, of });
                }
                Told::Finding(finding) => findings.add(finding),
                Told::Done(part) => {
                    ended += 1;
                    tally.rows += part.rows;
                    tally.erased += part.erased;
                }
                Told::Failed(error) => return Err(error.into()),
            }
        }
        if ended != count {
            return Err(VerifyError::Incomplete);
        }
        findings.listed.sort_by_key(|finding| (finding.shard, finding.position));
        Ok(Report {
            events: tally.rows,
            erased: tally.erased,
            removed: bounds.iter().map(|bounds| bounds.floor.position).sum(),
            checkpoints: evidence.count(),
            newest: evidence.newest(),
            uncovered: bounds.iter().map(|bounds| uncovered(&evidence, bounds)).sum(),
            findings: findings.listed,
            unlisted: findings.unlisted,
            took: self.p.toolkit.now().since(began),
        })
    }

    /// What beginnings, heads and checkpoints tell before a row is read.
    async fn judge_bounds(
        &self,
        evidence: &mut Evidence,
        bounds: &[ShardBounds],
        patience: u32,
        findings: &mut Findings,
    ) -> Result<(), BackendError> {
        for attempt in 0..patience {
            if bounds.iter().all(|bounds| evidence.beginning_fault(bounds).is_none()) {
                break;
            }
            if attempt > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            self.read_checkpoints(evidence).await?;
        }
        for shard in bounds {
            if let Some(fault) = evidence.beginning_fault(shard) {
                findings.add(fault);
            }
            if shard.floor.position > shard.head.position {
                findings.add(Finding {
                    shard: Some(shard.shard),
                    position: Some(shard.head.position),
                    event_id: None,
                    fault: Fault::HeadDiffers,
                });
            }
        }
        let system = Shard::of(domain::id::UserId::SYSTEM);
        let beginning = bounds.iter().find(|bounds| bounds.shard == system);
        let beginning = beginning.map_or(0, |bounds| bounds.floor.position);
        for finding in evidence.findings(beginning) {
            findings.add(finding);
        }
        for stray in self.p.trail.intruders(INTRUDERS).await? {
            findings.add(Finding {
                shard: stray.place.map(|place| place.shard),
                position: stray.place.map(|place| place.position),
                event_id: Some(stray.event_id),
                fault: Fault::Inserted,
            });
        }
        Ok(())
    }

    fn begin(&self, jobs: VecDeque<Job>, at_once: usize, lifecycle: &Lifecycle) -> mpsc::Receiver<Told> {
        let (tell, told) = mpsc::channel(1_024);
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..at_once.max(1) {
            let (trail, jobs, tell) = (Arc::clone(&self.p.trail), Arc::clone(&jobs), tell.clone());
            lifecycle.spawn("audit", async move {
                loop {
                    let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(job) = job else { return };
                    let done = match job {
                        Job::Walk(walk) => walk_along(&*trail, walk.0, walk.1, &tell).await,
                        Job::Look => look_through(&*trail, &tell).await,
                    };
                    let told = done.map_or_else(Told::Failed, Told::Done);
                    if tell.send(told).await.is_err() {
                        return;
                    }
                }
            });
        }
        told
    }
}

/// The longest shards first, so that none is left alone at the end.
fn jobs(evidence: &Evidence, bounds: &[ShardBounds]) -> (VecDeque<Job>, usize) {
    let mut shards: Vec<&ShardBounds> = bounds.iter().collect();
    shards.sort_by_key(|bounds| std::cmp::Reverse(rows_of(bounds)));
    let walks = shards.into_iter().map(|bounds| {
        let walk = ShardWalk::new(bounds.shard, bounds.floor, evidence.claims_of(bounds.shard));
        Job::Walk(Box::new((*bounds, walk)))
    });
    let mut jobs: VecDeque<Job> = std::iter::once(Job::Look).collect();
    jobs.extend(walks);
    let count = jobs.len();
    (jobs, count)
}

fn rows_of(bounds: &ShardBounds) -> u64 {
    bounds.head.position.saturating_sub(bounds.floor.position)
}

fn uncovered(evidence: &Evidence, bounds: &ShardBounds) -> u64 {
    let covered = evidence.seen(bounds.shard).max(bounds.floor.position);
    bounds.head.position.saturating_sub(covered)
}

async fn walk_along(
    trail: &dyn AuditTrail,
    bounds: ShardBounds,
    mut walk: ShardWalk,
    tell: &mpsc::Sender<Told>,
) -> Result<Tally, BackendError> {
    let (shard, head) = (bounds.shard, bounds.head);
    let mut limit = MOST_ROWS;
    loop {
        let rows = trail.rows(shard, walk.position(), head.position, limit).await?;
        let next = walk.position() + 1;
        let gap = rows.first().map_or(next <= head.position, |row| row.position > next);
        if gap {
            // Retention may have moved the beginning meanwhile.
            walk.begin_later(floor(trail, shard).await?);
        }
        if rows.is_empty() {
            break;
        }
        let mut found = Vec::new();
        for row in &rows {
            walk.row(row, |finding| found.push(finding));
        }
        for finding in found {
            let _ = tell.send(Told::Finding(finding)).await;
        }
        let _ = tell.send(Told::Rows(rows.len() as u64)).await;
        limit = next_limit(&rows);
        // Hashing holds the thread: others of this process get their turn.
        tokio::task::yield_now().await;
    }
    let mut found = Vec::new();
    let tally = walk.end(head, |finding| found.push(finding));
    for finding in found {
        let _ = tell.send(Told::Finding(finding)).await;
    }
    Ok(tally)
}

async fn floor(trail: &dyn AuditTrail, shard: Shard) -> Result<Mark, BackendError> {
    let bounds = trail.bounds().await?;
    let found = bounds.into_iter().find(|bounds| bounds.shard == shard);
    Ok(found.map_or(Mark::BEGINNING, |bounds| bounds.floor))
}

/// As many rows as will have about [`READ_BYTES`], going by these.
fn next_limit(rows: &[RecordedRow]) -> u32 {
    let payload = |row: &RecordedRow| {
        let data = row.event.as_ref().and_then(|event| event.data.as_ref());
        256 + data.map_or(0, String::len)
    };
    let bytes: usize = rows.iter().map(payload).sum();
    let mean = (bytes / rows.len().max(1)).max(1);
    u32::try_from(READ_BYTES / mean)
        .unwrap_or(MOST_ROWS)
        .clamp(32, MOST_ROWS)
}

async fn look_through(trail: &dyn AuditTrail, tell: &mpsc::Sender<Told>) -> Result<Tally, BackendError> {
    let mut after: Option<EventId> = None;
    loop {
        let looked = trail.look(after, WINDOW).await?;
        for stray in looked.strays {
            let finding = Finding {
                shard: None,
                position: None,
                event_id: Some(stray.event_id),
                fault: Fault::Unlogged,
            };
            let _ = tell.send(Told::Finding(finding)).await;
        }
        after = looked.next;
        if after.is_none() {
            return Ok(Tally::default());
        }
    }
}
