//! What became of the events of a step, shard by shard, and why some of them failed.

use std::collections::BTreeMap;
use std::error::Error;

use domain::dead_letter::FailureReason;
use domain::event::{Event, LoggedEvent, Shard};
use domain::id::{EventId, UserId};
use domain::retry::RetrySchedule;
use domain::time::Timestamp;
use ports::{FailedAttempt, HeldFate, HeldOutcome, HeldVerdict, NewHeldEvent};

use super::HandleEventError;

/// What became of a shard's part of a step.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) shard: Shard,
    /// How many events were dealt with.
    pub(super) handled: u64,
    /// Up to where the cursor may move.
    pub(super) done_to: Option<u64>,
    /// Events that the cursor passes and that are held.
    pub(super) held: Vec<NewHeldEvent>,
    /// Held events that were tried.
    pub(super) tried: Vec<(UserId, HeldOutcome)>,
    /// The backend was away: the shard waits.
    pub(super) away: Option<(EventId, HandleEventError)>,
}

impl Outcome {
    pub(super) const fn new(shard: Shard) -> Self {
        Self {
            shard,
            handled: 0,
            done_to: None,
            held: Vec::new(),
            tried: Vec::new(),
            away: None,
        }
    }

    /// Whether anything but the cursor changes.
    pub(super) const fn is_plain(&self) -> bool {
        self.held.is_empty() && self.tried.is_empty()
    }
}

/// What an attempt means for its event.
pub(super) enum Judgement {
    /// It is handled; now, when true.
    Handled(bool),
    /// Nothing: the backend is away for all of them.
    Away(HandleEventError),
    /// It may work another time.
    Again(FailureReason),
    /// It never will.
    Never(FailureReason),
}

/// Judges an attempt. A disk that is full passes as little by itself as a server that is gone, and is as little the event's fault.
pub(super) fn judge(attempt: Result<(), HandleEventError>) -> Judgement {
    match attempt {
        Ok(()) => Judgement::Handled(true),
        Err(HandleEventError::AlreadyHandled) => Judgement::Handled(false),
        Err(HandleEventError::Backend(error)) if error.temporary || error.full => Judgement::Away(error.into()),
        // What a database says may repeat what it was given, so its own words stay in the log.
        Err(HandleEventError::Backend(error)) => {
            let code = format!("{}.{}", error.adapter, error.operation);
            Judgement::Again(FailureReason::new(&code, &error.to_string()))
        }
        Err(HandleEventError::Failed(source)) => {
            Judgement::Again(FailureReason::new("failed", &in_words(source.as_ref())))
        }
        Err(HandleEventError::Refused { code, source }) => {
            Judgement::Never(FailureReason::new(code, &in_words(source.as_ref())))
        }
    }
}

/// An error and what is behind it, in one line.
fn in_words(error: &(dyn Error + Send + Sync + 'static)) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        words.push_str(": ");
        words.push_str(&error.to_string());
        source = error.source();
    }
    words
}

/// What follows a failed attempt.
pub(super) enum Next {
    Retry(FailedAttempt, Timestamp),
    Dead(FailedAttempt),
}

impl Next {
    /// After a failure that may pass, of an event that failed `before` times.
    pub(super) fn again(reason: FailureReason, before: u32, now: Timestamp, random: u64) -> Self {
        let attempts = before.saturating_add(1);
        let failed = FailedAttempt {
            attempts,
            at: now,
            reason,
        };
        match RetrySchedule::EVENT.delay(attempts, random) {
            Some(wait) => Self::Retry(failed, now.plus(wait)),
            None => Self::Dead(failed),
        }
    }

    /// After a failure that stays.
    pub(super) fn never(reason: FailureReason, before: u32, now: Timestamp) -> Self {
        let attempts = before.saturating_add(1);
        Self::Dead(FailedAttempt {
            attempts,
            at: now,
            reason,
        })
    }
}

/// Tells of a failure and what follows it.
pub(super) fn tell(worker: &str, event: &Event, next: &Next) {
    let (event_id, kind) = (event.id, event.event_type.as_str());
    match next {
        Next::Retry(failed, at) => {
            let (attempts, code, reason) = (failed.attempts, failed.reason.code(), failed.reason.text());
            let retry_at = at.to_rfc3339();
            tracing::warn!(
                worker, %event_id, kind, attempts, code, reason, retry_at,
                "an event fails and holds its user's later events"
            );
        }
        Next::Dead(failed) => {
            let (attempts, code, reason) = (failed.attempts, failed.reason.code(), failed.reason.text());
            tracing::error!(
                worker, %event_id, kind, attempts, code, reason,
                "an event is given up: see `plinth events dead list`"
            );
        }
    }
}

impl From<Next> for HeldFate {
    fn from(next: Next) -> Self {
        match next {
            Next::Retry(failed, at) => Self::Retry(failed, at),
            Next::Dead(failed) => Self::Dead(failed),
        }
    }
}

impl From<Next> for HeldVerdict {
    fn from(next: Next) -> Self {
        match next {
            Next::Retry(failed, at) => Self::Retry(failed, at),
            Next::Dead(failed) => Self::Dead(failed),
        }
    }
}

/// A held event and what became of it.
pub(super) fn tried(event: &LoggedEvent, verdict: HeldVerdict) -> (UserId, HeldOutcome) {
    let outcome = HeldOutcome {
        event_id: event.event.id,
        verdict,
    };
    (event.event.user_id, outcome)
}

/// The events of each shard, in order.
pub(super) fn by_shard<T>(events: Vec<T>, event: impl Fn(&T) -> &LoggedEvent) -> BTreeMap<Shard, Vec<T>> {
    let mut shards: BTreeMap<Shard, Vec<T>> = BTreeMap::new();
    for one in events {
        shards.entry(event(&one).shard).or_default().push(one);
    }
    shards
}
