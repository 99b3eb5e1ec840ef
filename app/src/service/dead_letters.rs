//! Dead letters, and replays: what operators do about events that a handler group gave up, or should handle once more.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use domain::dead_letter::DeadLetter;
use domain::event::{OwnEvent, Shard};
use domain::id::{DeadLetterId, UserId};
use domain::page::{Page, PageRequest};
use domain::time::Timestamp;
use ports::{
    BackendError, ChangeDeadLettersError, DeadLetterFilter, DeadLetterStore, Effects, EffectsError, LetterEvent,
    ReasonCount, ReplayStep, Wakeup,
};
use serde_json::{Value, json};

use super::{Origin, Toolkit};

/// The most letters that one act changes, and how many when nothing is said.
pub const MOST_LETTERS: u32 = 10_000;
/// How many letters one act changes when nothing is said.
pub const USUAL_LETTERS: u32 = 1_000;
/// Letters that are changed in one transaction, with one event that names them.
const LETTERS: u32 = 100;
/// Events that one step of a replay looks at, in one transaction.
const STEP: u32 = 500;
/// Events that one call of a replay looks at.
const PIECE: u64 = 10_000;
/// When a group holds so many events, a replay gives it no more until it has handled some: the replay of a long log must not double the log.
const MOST_WAITING: u64 = 5_000;
/// How often an act is tried again when somebody else changed the same letters.
const RACES: usize = 4;

/// Dead letters.
pub struct DeadLetters {
    toolkit: Toolkit,
    store: Arc<dyn DeadLetterStore>,
    source: String,
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetters").finish_non_exhaustive()
    }
}

/// What is done to letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// They are handed to their groups again; those in a loop too, when forced.
    Redrive {
        /// Whether those are redriven that were so often before.
        force: bool,
    },
    /// They are thrown away.
    Discard,
}

/// What became of letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changed {
    /// How many were changed, or would be.
    pub changed: u64,
    /// How many were left because they are in a loop.
    pub in_a_loop: u64,
    /// Whether there are more.
    pub more: bool,
}

/// A part of the log that a group is to handle again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// The group.
    pub group: String,
    /// Events of this time or later.
    pub since: Option<Timestamp>,
    /// Events before this time.
    pub before: Option<Timestamp>,
    /// Of this shard alone.
    pub shard: Option<Shard>,
    /// From this position on.
    pub from: u64,
    /// Up to this position, itself among them.
    pub to: u64,
}

/// Where a replay goes on: after a position of a shard, then through the shards after it. As text `SHARD:POSITION`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayPoint {
    shard: Shard,
    after: u64,
}

impl ReplayPoint {
    /// Whether a replay can have come there.
    pub fn is_of(self, replay: &Replay) -> bool {
        replay.shard.is_none_or(|shard| shard == self.shard) && self.after >= replay.from.saturating_sub(1)
    }
}

impl fmt::Display for ReplayPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.shard.number(), self.after)
    }
}

/// A text is no point of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be what an earlier answer gave to resume with")]
pub struct ParseReplayPointError;

impl FromStr for ReplayPoint {
    type Err = ParseReplayPointError;

    fn from_str(text: &str) -> Result<Self, ParseReplayPointError> {
        let (shard, after) = text.split_once(':').ok_or(ParseReplayPointError)?;
        let shard = shard.parse().ok().and_then(Shard::new);
        // Beyond what the log can hold is no position of it.
        let after = after.parse().ok().filter(|after| i64::try_from(*after).is_ok());
        match (shard, after) {
            (Some(shard), Some(after)) => Ok(Self { shard, after }),
            _ => Err(ParseReplayPointError),
        }
    }
}

/// How far a call of a replay came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Events that the group handles again, or would.
    pub events: u64,
    /// Events that it holds or gave up anyway.
    pub left: u64,
    /// Events looked at.
    pub looked_at: u64,
    /// Events that wait for the group's workers now.
    pub waiting: u64,
    /// Where to go on; none when all is done.
    pub resume: Option<ReplayPoint>,
}

/// Why an act was refused.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// There is no such dead letter.
    #[error("there is no such dead letter")]
    NotFound,
    /// There is no such group; the names of those there are.
    #[error("there is no such group")]
    UnknownGroup(Vec<String>),
    /// Somebody else keeps changing the same letters.
    #[error("the dead letters are being changed by somebody else")]
    Contended,
    /// The backend failed.
    #[error(transparent)]
    Effects(#[from] EffectsError),
}

impl From<BackendError> for DeadLetterError {
    fn from(error: BackendError) -> Self {
        Self::Effects(error.into())
    }
}

impl DeadLetters {
    /// The service over its parts; `source` is what events are said to come from.
    pub fn new(toolkit: Toolkit, store: Arc<dyn DeadLetterStore>, source: String) -> Self {
        Self { toolkit, store, source }
    }

    /// What events are said to come from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Dead letters, oldest first.
    ///
    /// # Errors
    /// When the backend fails.
    pub async fn list(&self, filter: &DeadLetterFilter, page: &PageRequest) -> Result<Page<DeadLetter>, BackendError> {
        self.store.list(filter, page).await
    }

    /// Dead letters by reason, the most first.
    ///
    /// # Errors
    /// When the backend fails.
    pub async fn reasons(&self, filter: &DeadLetterFilter) -> Result<Vec<ReasonCount>, BackendError> {
        self.store.reasons(filter).await
    }

    /// One dead letter with its event.
    ///
    /// # Errors
    /// When there is none or the backend fails.
    pub async fn find(&self, id: DeadLetterId) -> Result<(DeadLetter, LetterEvent), DeadLetterError> {
        self.store.find(id).await?.ok_or(DeadLetterError::NotFound)
    }

    /// Changes at most `limit` letters, oldest first, some at a time; each time one event names them. `told` hears after each step how many there are so far.
    ///
    /// # Errors
    /// When the backend fails or somebody else changes the same letters all the time; what was changed before is.
    pub async fn change(
        &self,
        act: Act,
        filter: &DeadLetterFilter,
        limit: u32,
        dry_run: bool,
        origin: &Origin,
        told: &mut (dyn FnMut(u64) + Send),
    ) -> Result<Changed, DeadLetterError> {
        let mut changed = Changed::default();
        let (mut after, mut races) = (None, 0);
        loop {
            let left = u64::from(limit).saturating_sub(changed.changed);
            let step = u32::try_from(left).unwrap_or(LETTERS).min(LETTERS);
            let page = PageRequest {
                after: after.clone(),
                limit: step.max(1),
            };
            let found = self.store.list(filter, &page).await?;
            if step == 0 {
                changed.more = !found.items.is_empty();
                return Ok(changed);
            }
            let looping = |letter: &&DeadLetter| act == (Act::Redrive { force: false }) && letter.is_in_a_loop();
            let in_a_loop = found.items.iter().filter(looping).count() as u64;
            let letters: Vec<&DeadLetter> = found.items.iter().filter(|letter| !looping(letter)).collect();
            if !dry_run {
                match self.change_some(act, &letters, origin).await {
                    Ok(()) => races = 0,
                    Err(ChangeDeadLettersError::Gone) if races < RACES => {
                        races += 1;
                        continue;
                    }
                    Err(ChangeDeadLettersError::Gone) => return Err(DeadLetterError::Contended),
                    Err(ChangeDeadLettersError::Effects(error)) => return Err(error.into()),
                }
            }
            changed.changed += letters.len() as u64;
            changed.in_a_loop += in_a_loop;
            told(changed.changed);
            after = found.next;
            if after.is_none() {
                return Ok(changed);
            }
        }
    }

    async fn change_some(
        &self,
        act: Act,
        letters: &[&DeadLetter],
        origin: &Origin,
    ) -> Result<(), ChangeDeadLettersError> {
        if letters.is_empty() {
            return Ok(());
        }
        let ids: Vec<DeadLetterId> = letters.iter().map(|letter| letter.id).collect();
        let named: Vec<Value> = letters
            .iter()
            .map(|letter| {
                json!({ "id": letter.id.to_string(), "group": letter.group, "event_id": letter.event_id.to_string() })
            })
            .collect();
        let data = json!({ "letters": named });
        let kind = match act {
            Act::Redrive { .. } => OwnEvent::DeadLetterRedriven,
            Act::Discard => OwnEvent::DeadLetterDiscarded,
        };
        let effects = self.effects(origin, kind, &data);
        match act {
            Act::Redrive { .. } => self.store.redrive(&ids, self.toolkit.now(), &effects).await?,
            Act::Discard => self.store.discard(&ids, &effects).await?,
        }
        self.toolkit.wakeups.wake(Wakeup::Written);
        Ok(())
    }

    fn effects(&self, origin: &Origin, kind: OwnEvent, data: &Value) -> Effects {
        Effects {
            events: vec![self.toolkit.own_event(origin, UserId::SYSTEM, kind, data)],
            ..Effects::none()
        }
    }

    /// Hands one piece of a part of the log to a group again; with `dry_run` only counts it. The event that tells of it comes with the first piece.
    ///
    /// # Errors
    /// When there is no such group or the backend fails; what was handed out before is, and is not handed out twice by going on.
    pub async fn replay(
        &self,
        replay: &Replay,
        resume: Option<ReplayPoint>,
        dry_run: bool,
        origin: &Origin,
    ) -> Result<Progress, DeadLetterError> {
        let groups = self.store.groups().await?;
        if !groups.contains(&replay.group) {
            return Err(DeadLetterError::UnknownGroup(groups));
        }
        let first = replay.shard.or_else(|| Shard::new(0));
        let start = first.map(|shard| ReplayPoint {
            shard,
            after: replay.from.saturating_sub(1),
        });
        let mut telling = resume.is_none() && !dry_run;
        let mut progress = Progress {
            resume: resume.or(start),
            ..Progress::default()
        };
        progress.waiting = self.store.held(&replay.group).await?;
        while let Some(point) = progress.resume.filter(|_| progress.looked_at < PIECE) {
            if !dry_run && progress.waiting >= MOST_WAITING {
                break;
            }
            let effects = if telling {
                self.replayed(replay, origin)
            } else {
                Effects::none()
            };
            let step = self.step(replay, point, dry_run);
            let done = self.store.replay(&step, &effects).await?;
            telling = false;
            progress.events += done.events;
            progress.left += done.left;
            progress.looked_at += done.position.saturating_sub(point.after);
            progress.waiting += if dry_run { 0 } else { done.events };
            progress.resume = if done.more {
                Some(ReplayPoint {
                    after: done.position,
                    ..point
                })
            } else {
                let next = Shard::new(point.shard.number() + 1).filter(|_| replay.shard.is_none());
                next.map(|shard| ReplayPoint {
                    shard,
                    after: replay.from.saturating_sub(1),
                })
            };
        }
        self.toolkit.wakeups.wake(Wakeup::Written);
        Ok(progress)
    }

    fn step(&self, replay: &Replay, point: ReplayPoint, dry_run: bool) -> ReplayStep {
        let ids = (0..STEP).map(|_| DeadLetterId::new(self.toolkit.id()));
        ReplayStep {
            group: replay.group.clone(),
            shard: point.shard,
            after: point.after,
            to: replay.to,
            since: replay.since,
            before: replay.before,
            limit: STEP,
            at: self.toolkit.now(),
            ids: if dry_run { Vec::new() } else { ids.collect() },
            dry_run,
        }
    }

    fn replayed(&self, replay: &Replay, origin: &Origin) -> Effects {
        let time = |at: Option<Timestamp>| at.map(Timestamp::to_rfc3339);
        let bounded = replay.to != u64::MAX;
        let data = json!({
            "group": replay.group, "from": time(replay.since), "to": time(replay.before),
            "shard": replay.shard.map(Shard::number), "from_position": replay.from,
            "to_position": bounded.then_some(replay.to),
        });
        self.effects(origin, OwnEvent::EventsReplayed, &data)
    }
}
