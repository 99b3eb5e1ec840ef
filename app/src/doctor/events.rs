//! The log: an event of ours is published, gets its position, and the handler groups go past it.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::event::{Event, OwnEvent, SHARDS};
use domain::id::UserId;
use domain::stats::LogStats;
use ports::{BackendError, Effects, EffectsError, EventLog, EventStore, LogSequencer};
use serde_json::json;
use tokio::time::Instant;

use super::{Verdict, count, database, in_words, innermost};
use crate::service::{Origin, Toolkit};

/// How often it is looked whether a worker got there.
const LOOK: Duration = Duration::from_millis(50);
/// Commit to position takes some milliseconds; an idle worker that was not woken looks ten times in a second.
const SLOW: Duration = Duration::from_secs(2);
/// How long a lease that the doctor took by asking would hold if it died before it gave it back.
const ASKED: Duration = Duration::from_secs(1);

/// The log and how long to wait for it.
pub(super) struct Log<'a> {
    pub(super) store: &'a dyn EventStore,
    pub(super) log: &'a dyn EventLog,
    pub(super) sequencer: &'a dyn LogSequencer,
    pub(super) patience: Duration,
}

enum Outcome {
    /// Nobody holds the log; so many events wait.
    NoWorker(u64),
    /// Workers hold it, and the event waits all the same.
    Stuck,
    /// It was published and consumed.
    Through {
        sequenced: Duration,
        behind: Vec<(String, u64)>,
    },
}

/// Publishes an event and waits until workers got past it. `serving`: a server of this installation answers here, so that somebody ought to be working.
pub(super) async fn publish_and_consume(log: &Log<'_>, toolkit: &Toolkit, serving: bool) -> Verdict {
    match attempt(log, toolkit).await {
        Err(error) => database::refused(&innermost(&error), error.full),
        Ok(Outcome::NoWorker(waiting)) => {
            let cause = format!("no worker runs; {} for a position", wait(waiting));
            let fix = "start `plinth worker`, or `plinth serve` without --no-workers";
            if serving {
                Verdict::fail(cause, fix)
            } else {
                Verdict::warn(cause, fix)
            }
        }
        Ok(Outcome::Stuck) => Verdict::fail(
            format!(
                "a worker holds the log, and an event got no position within {}",
                in_words(log.patience)
            ),
            "look into the log of the workers for `a worker is held up`, and restart them",
        ),
        Ok(Outcome::Through { behind, .. }) if !behind.is_empty() => {
            let groups: Vec<String> = behind.iter().map(|(group, lag)| format!("{group} by {lag}")).collect();
            Verdict::fail(
                format!("handlers stand still, behind the log: {}", groups.join(", ")),
                "look into the log of the workers for `a worker is held up`, and restart them",
            )
        }
        Ok(Outcome::Through { sequenced, .. }) if sequenced > SLOW => Verdict::warn(
            format!("an event got its position only after {}", in_words(sequenced)),
            "see what loads the database and the workers: `plinth top`, Events",
        ),
        Ok(Outcome::Through { sequenced, .. }) => Verdict::ok(format!(
            "published, in the log after {} and past the handlers",
            in_words(sequenced)
        )),
    }
}

fn wait(events: u64) -> String {
    let waits = if events == 1 { "waits" } else { "wait" };
    format!("{} {waits}", count(events, "event"))
}

async fn attempt(log: &Log<'_>, toolkit: &Toolkit) -> Result<Outcome, BackendError> {
    if free_shards(log.sequencer, toolkit).await? == usize::from(SHARDS) {
        return Ok(Outcome::NoWorker(log.log.stats().await?.unsequenced));
    }
    let event = toolkit.own_event(
        &Origin::SYSTEM,
        UserId::SYSTEM,
        OwnEvent::PlinthChecked,
        &json!({ "by": "doctor" }),
    );
    let id = event.id;
    publish(log.store, event).await?;
    let began = Instant::now();
    while log.store.find(UserId::SYSTEM, id).await?.is_none() {
        if began.elapsed() > log.patience {
            // What a killed worker held ran out meanwhile.
            let free = free_shards(log.sequencer, toolkit).await? == usize::from(SHARDS);
            let waiting = log.log.stats().await?.unsequenced;
            return Ok(if free {
                Outcome::NoWorker(waiting)
            } else {
                Outcome::Stuck
            });
        }
        tokio::time::sleep(LOOK).await;
    }
    let sequenced = began.elapsed();
    let behind = standing(log, log.patience.saturating_sub(sequenced)).await?;
    Ok(Outcome::Through { sequenced, behind })
}

async fn publish(store: &dyn EventStore, event: Event) -> Result<(), BackendError> {
    let effects = Effects {
        events: vec![event],
        ..Effects::none()
    };
    store.append(&effects).await.map_err(|error| match error {
        EffectsError::Backend(error) => error,
        other @ (EffectsError::AlreadyHandled | EffectsError::EventIdTaken(_)) => {
            BackendError::permanent("doctor", "publish", other)
        }
    })
}

/// How many shards nobody holds: what is free is had for the asking, and given back at once. A worker that starts in this moment asks again half a second later.
async fn free_shards(sequencer: &dyn LogSequencer, toolkit: &Toolkit) -> Result<usize, BackendError> {
    let owner = format!("doctor {}", toolkit.id());
    let free = sequencer.lease(&owner, toolkit.now(), ASKED).await?.len();
    if free > 0 {
        sequencer.release(&owner).await?;
    }
    Ok(free)
}

/// Groups that have events to pass and passed none of them while we looked. A busy group always has some, and moves.
async fn standing(log: &Log<'_>, patience: Duration) -> Result<Vec<(String, u64)>, BackendError> {
    let first = passed(&log.log.stats().await?);
    let began = Instant::now();
    loop {
        let stats = log.log.stats().await?;
        let now = passed(&stats);
        let behind: Vec<(String, u64)> = stats
            .lags
            .into_iter()
            .filter(|(group, lag)| *lag > 0 && now.get(group) <= first.get(group))
            .collect();
        if behind.is_empty() || began.elapsed() > patience {
            return Ok(behind);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// For each group, how many events it has passed.
fn passed(stats: &LogStats) -> BTreeMap<String, u64> {
    let passed = stats.lags.iter();
    passed
        .map(|(group, lag)| (group.clone(), stats.head.saturating_sub(*lag)))
        .collect()
}
