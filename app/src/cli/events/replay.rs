//! `plinth events replay`.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::super::args::{End, ExitCode, ReplayArgs};
use super::super::output::{Output, Row};
use super::{Fault, Open, confirm};
use crate::service::Origin;
use crate::service::dead_letters::{Progress, Replay, ReplayPoint};

/// How long a replay waits while its group has enough to do.
const PAUSE: Duration = Duration::from_secs(1);
/// After how long the next line of progress is told.
const EVERY: Duration = Duration::from_secs(2);

/// What a replay did.
#[derive(Serialize)]
struct ReplayRow {
    group: String,
    dry_run: bool,
    events: u64,
    left: u64,
    looked_at: u64,
}

impl Row for ReplayRow {
    const TITLES: &'static [&'static str] = &["group", "dry run", "events", "left alone", "looked at"];

    fn cells(&self) -> Vec<String> {
        let dry_run = if self.dry_run { "yes" } else { "no" };
        vec![
            self.group.clone(),
            dry_run.to_owned(),
            self.events.to_string(),
            self.left.to_string(),
            self.looked_at.to_string(),
        ]
    }
}

/// The part that the flags name, and where to go on.
fn part(args: &ReplayArgs) -> Result<(Replay, Option<ReplayPoint>), Fault> {
    let end = |flag: &str, text: &Option<String>| {
        let end = text.as_deref().map(|text| End::parse(text, args.shard.is_some()));
        end.transpose().map_err(|rule| Fault::Usage(format!("{flag} {rule}")))
    };
    let (from, to) = (end("--from", &args.from)?, end("--to", &args.to)?);
    let time = |end: Option<End>| match end {
        Some(End::Time(at)) => Some(at),
        _ => None,
    };
    let position = |end: Option<End>, otherwise: u64| match end {
        Some(End::Position(position)) => position,
        _ => otherwise,
    };
    let replay = Replay {
        group: args.group.clone(),
        since: time(from),
        before: time(to),
        shard: args.shard,
        from: position(from, 0),
        to: position(to, u64::MAX),
    };
    let resume = args.resume.as_deref().map(str::parse::<ReplayPoint>).transpose();
    let resume = resume.map_err(|error| Fault::Usage(format!("--resume {error}")))?;
    match resume {
        Some(point) if !point.is_of(&replay) => Err(Fault::Usage("--resume must be of the same replay".to_owned())),
        resume => Ok((replay, resume)),
    }
}

pub(super) async fn run(open: Open<'_>, args: ReplayArgs) -> Result<ExitCode, Fault> {
    let (replay, resume) = part(&args)?;
    if !args.dry_run && !args.yes {
        let question = format!(
            "Group {} does once more what it did for these events; one that adds up adds twice.",
            replay.group
        );
        if !confirm(&question)? {
            open.output.note("nothing was done")?;
            return Ok(ExitCode::Nothing);
        }
    }
    let total = total(&open, &replay).await?;
    let letters = &open.services.dead_letters;
    let (mut whole, mut at, started, mut told) = (Progress::default(), resume, Instant::now(), Instant::now());
    loop {
        let done = letters.replay(&replay, at, args.dry_run, &Origin::SYSTEM).await?;
        whole.events += done.events;
        whole.left += done.left;
        whole.looked_at += done.looked_at;
        at = done.resume;
        let Some(point) = at else { break };
        if told.elapsed() >= EVERY {
            told = Instant::now();
            progress(open.output, &whole, total, started.elapsed(), point, done.waiting)?;
        }
        if done.looked_at == 0 {
            tokio::time::sleep(PAUSE).await;
        }
    }
    let row = ReplayRow {
        group: replay.group,
        dry_run: args.dry_run,
        events: whole.events,
        left: whole.left,
        looked_at: whole.looked_at,
    };
    open.output.record(&row)?;
    Ok(if whole.events == 0 {
        ExitCode::Nothing
    } else {
        ExitCode::Done
    })
}

/// About how many events are to be looked at.
async fn total(open: &Open<'_>, replay: &Replay) -> Result<u64, Fault> {
    let heads = open.ports.log.heads().await?;
    let in_part = heads
        .iter()
        .filter(|head| replay.shard.is_none_or(|shard| shard == head.shard));
    Ok(in_part
        .map(|head| {
            head.position
                .min(replay.to)
                .saturating_sub(replay.from.saturating_sub(1))
        })
        .sum())
}

/// How far, how fast, how long still, and where to go on should this be the end.
fn progress(
    output: &mut Output,
    done: &Progress,
    total: u64,
    elapsed: Duration,
    point: ReplayPoint,
    waiting: u64,
) -> std::io::Result<()> {
    let rate = done.looked_at as f64 / elapsed.as_secs_f64().max(0.001);
    let left = total.saturating_sub(done.looked_at) as f64 / rate.max(0.001);
    output.note(&format!(
        "{} of about {total} looked at, {rate:.0}/s, about {left:.0} s left; {waiting} wait for the group's workers; --resume {point}",
        done.looked_at
    ))
}

#[cfg(test)]
mod tests {
    use domain::event::Shard;
    use domain::time::Timestamp;

    use super::*;

    fn args(from: &str, shard: Option<u8>, resume: Option<&str>) -> ReplayArgs {
        ReplayArgs {
            group: "usage".to_owned(),
            from: Some(from.to_owned()),
            to: None,
            shard: shard.and_then(Shard::new),
            resume: resume.map(str::to_owned),
            dry_run: true,
            yes: false,
        }
    }

    #[test]
    fn a_part_is_of_times_or_of_positions() {
        let (replay, _) = part(&args("2026-11-22T09:30:00Z", None, None)).unwrap();
        assert_eq!(replay.since, Timestamp::parse_rfc3339("2026-11-22T09:30:00Z").ok());
        assert_eq!((replay.from, replay.to), (0, u64::MAX));
        let (replay, resume) = part(&args("7", Some(3), Some("3:9"))).unwrap();
        assert_eq!((replay.since, replay.from), (None, 7));
        assert_eq!(resume.map(|point| point.to_string()).as_deref(), Some("3:9"));
        for (from, shard, resume) in [
            ("7", None, None),
            ("7", Some(3), Some("4:9")),
            ("7", Some(3), Some("3:2")),
            ("7", Some(3), Some("x")),
        ] {
            let refused = part(&args(from, shard, resume));
            assert!(matches!(refused, Err(Fault::Usage(_))), "{from} {shard:?} {resume:?}");
        }
    }
}
