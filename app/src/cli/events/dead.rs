//! `plinth events dead`.

use std::time::Duration;

use domain::dead_letter::DeadLetter;
use domain::id::DeadLetterId;
use domain::page::PageRequest;
use ports::{DeadLetterFilter, LetterEvent, ReasonCount};
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use super::super::args::{DeadCommand, DeadFilter, ExitCode};
use super::super::output::Row;
use super::{Fault, Open, confirm};
use crate::service::Origin;
use crate::service::dead_letters::{Act, Changed};

/// After how long the next line of progress is told.
const EVERY: Duration = Duration::from_secs(2);

/// A dead letter on the command line.
#[derive(Serialize)]
struct LetterRow {
    id: String,
    group: String,
    reason: String,
    detail: String,
    event_type: String,
    event_id: String,
    user_id: String,
    shard: u8,
    position: u64,
    origin: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<u32>,
    attempts: u32,
    redrives: u32,
    first_failed_at: String,
    last_failed_at: String,
}

impl From<&DeadLetter> for LetterRow {
    fn from(letter: &DeadLetter) -> Self {
        Self {
            id: letter.id.to_string(),
            group: letter.group.clone(),
            reason: letter.reason.code().to_owned(),
            detail: letter.reason.text().to_owned(),
            event_type: letter.event_type.to_string(),
            event_id: letter.event_id.to_string(),
            user_id: letter.user_id.to_string(),
            shard: letter.shard.number(),
            position: letter.position,
            origin: letter.origin.as_str(),
            topic: letter.place.as_ref().map(|place| place.topic.clone()),
            partition: letter.place.as_ref().map(|place| place.partition),
            attempts: letter.attempts,
            redrives: letter.redrives,
            first_failed_at: letter.first_failed_at.to_rfc3339(),
            last_failed_at: letter.last_failed_at.to_rfc3339(),
        }
    }
}

impl Row for LetterRow {
    const TITLES: &'static [&'static str] = &[
        "id",
        "group",
        "reason",
        "type",
        "user",
        "attempts",
        "redrives",
        "last failed",
        "detail",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.group.clone(),
            self.reason.clone(),
            self.event_type.clone(),
            self.user_id.clone(),
            self.attempts.to_string(),
            self.redrives.to_string(),
            self.last_failed_at.clone(),
            self.detail.clone(),
        ]
    }
}

/// One letter with all that is known of it.
#[derive(Serialize)]
struct DetailRow {
    letter: LetterRow,
    event: Value,
}

impl DetailRow {
    fn new(letter: &DeadLetter, event: &LetterEvent, source: &str) -> Self {
        Self {
            letter: letter.into(),
            event: match event {
                LetterEvent::Logged(logged) => logged.to_cloud_event(source),
                LetterEvent::Foreign(foreign) => foreign.to_structured(),
            },
        }
    }
}

impl Row for DetailRow {
    const TITLES: &'static [&'static str] = &[
        "id",
        "group",
        "reason",
        "detail",
        "origin",
        "attempts",
        "redrives",
        "first failed",
        "last failed",
        "shard",
        "position",
        "event",
    ];

    fn cells(&self) -> Vec<String> {
        let letter = &self.letter;
        vec![
            letter.id.clone(),
            letter.group.clone(),
            letter.reason.clone(),
            letter.detail.clone(),
            match (&letter.topic, letter.partition) {
                (Some(topic), Some(partition)) => format!("{} {topic}, partition {partition}", letter.origin),
                _ => letter.origin.to_owned(),
            },
            letter.attempts.to_string(),
            letter.redrives.to_string(),
            letter.first_failed_at.clone(),
            letter.last_failed_at.clone(),
            letter.shard.to_string(),
            letter.position.to_string(),
            self.event.to_string(),
        ]
    }
}

/// A reason and how many letters have it.
#[derive(Serialize)]
struct ReasonRow {
    group: String,
    reason: String,
    count: u64,
    first_at: String,
    last_at: String,
    example: String,
}

impl From<ReasonCount> for ReasonRow {
    fn from(count: ReasonCount) -> Self {
        Self {
            group: count.group,
            reason: count.code,
            count: count.count,
            first_at: count.first_at.to_rfc3339(),
            last_at: count.last_at.to_rfc3339(),
            example: count.example,
        }
    }
}

impl Row for ReasonRow {
    const TITLES: &'static [&'static str] = &[
        "reason",
        "group",
        "letters",
        "first failed",
        "last failed",
        "for example",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.reason.clone(),
            self.group.clone(),
            self.count.to_string(),
            self.first_at.clone(),
            self.last_at.clone(),
            self.example.clone(),
        ]
    }
}

/// What became of letters.
#[derive(Serialize)]
struct ChangedRow {
    act: &'static str,
    dry_run: bool,
    changed: u64,
    in_a_loop: u64,
    more: bool,
}

impl Row for ChangedRow {
    const TITLES: &'static [&'static str] = &["act", "dry run", "letters", "left, in a loop", "more"];

    fn cells(&self) -> Vec<String> {
        let word = |is: bool| if is { "yes" } else { "no" }.to_owned();
        vec![
            self.act.to_owned(),
            word(self.dry_run),
            self.changed.to_string(),
            self.in_a_loop.to_string(),
            word(self.more),
        ]
    }
}

pub(super) async fn run(open: Open<'_>, command: DeadCommand) -> Result<ExitCode, Fault> {
    match command {
        DeadCommand::List {
            filter,
            reasons,
            limit,
            after,
        } => {
            let filter = chosen(Vec::new(), filter);
            if reasons {
                return count(open, &filter).await;
            }
            list(open, &filter, PageRequest { after, limit }).await
        }
        DeadCommand::Show { id } => {
            let letters = &open.services.dead_letters;
            let (letter, event) = letters.find(id).await?;
            open.output.record(&DetailRow::new(&letter, &event, letters.source()))?;
            Ok(ExitCode::Done)
        }
        DeadCommand::Redrive {
            ids,
            filter,
            all,
            limit,
            force,
            dry_run,
            yes,
        } => {
            let wanted = Wanted {
                act: Act::Redrive { force },
                filter: chosen(ids, filter),
                all,
                limit,
                dry_run,
                yes,
            };
            change(open, wanted).await
        }
        DeadCommand::Discard {
            ids,
            filter,
            all,
            limit,
            dry_run,
            yes,
        } => {
            let wanted = Wanted {
                act: Act::Discard,
                filter: chosen(ids, filter),
                all,
                limit,
                dry_run,
                yes,
            };
            change(open, wanted).await
        }
    }
}

fn chosen(ids: Vec<DeadLetterId>, filter: DeadFilter) -> DeadLetterFilter {
    DeadLetterFilter {
        ids,
        group: filter.group,
        reason: filter.reason,
        event_type: filter.event_type,
        user: filter.user,
    }
}

async fn count(open: Open<'_>, filter: &DeadLetterFilter) -> Result<ExitCode, Fault> {
    let reasons = open.services.dead_letters.reasons(filter).await?;
    let rows: Vec<ReasonRow> = reasons.into_iter().map(Into::into).collect();
    open.output.list(&rows)?;
    if rows.is_empty() {
        open.output.note("no dead letters")?;
        return Ok(ExitCode::Nothing);
    }
    Ok(ExitCode::Done)
}

async fn list(open: Open<'_>, filter: &DeadLetterFilter, page: PageRequest) -> Result<ExitCode, Fault> {
    let letters = &open.services.dead_letters;
    let found = letters.list(filter, &page).await?;
    let rows: Vec<LetterRow> = found.items.iter().map(Into::into).collect();
    open.output.list(&rows)?;
    if rows.is_empty() {
        open.output.note("no dead letters")?;
        return Ok(ExitCode::Nothing);
    }
    for reason in letters.reasons(filter).await? {
        let ReasonCount { group, code, count, .. } = reason;
        open.output.note(&format!("{count} of group {group}: {code}"))?;
    }
    if let Some(next) = &found.next {
        open.output.note(&format!("more with --after {next}"))?;
    }
    Ok(ExitCode::Done)
}

/// What is wanted of which letters.
struct Wanted {
    act: Act,
    filter: DeadLetterFilter,
    all: bool,
    limit: u32,
    dry_run: bool,
    yes: bool,
}

async fn change(open: Open<'_>, wanted: Wanted) -> Result<ExitCode, Fault> {
    if (wanted.filter == DeadLetterFilter::default()) != wanted.all {
        let rule = "name dead letters by their ids, by --group, --reason, --type or --user, or say --all alone";
        return Err(Fault::Usage(rule.to_owned()));
    }
    let letters = &open.services.dead_letters;
    let (act, filter, limit) = (wanted.act, &wanted.filter, wanted.limit);
    let (verb, past) = match act {
        Act::Redrive { .. } => ("redrive", "redriven"),
        Act::Discard => ("discard", "discarded"),
    };
    let origin = Origin::SYSTEM;
    let expected = letters.change(act, filter, limit, true, &origin, &mut |_| {}).await?;
    if expected.changed == 0 || wanted.dry_run {
        return tell(open, verb, true, expected);
    }
    if !wanted.yes && !confirm(&format!("This would {verb} {} dead letters.", expected.changed))? {
        open.output.note("nothing was done")?;
        return Ok(ExitCode::Nothing);
    }
    let started = Instant::now();
    let mut told = started;
    let Open {
        ports,
        services,
        output,
    } = open;
    let mut progress = |changed: u64| {
        if told.elapsed() < EVERY {
            return;
        }
        told = Instant::now();
        let rate = changed as f64 / started.elapsed().as_secs_f64();
        let left = expected.changed.saturating_sub(changed) as f64 / rate.max(0.001);
        let line = format!(
            "{changed} of {} {past}, {rate:.0}/s, about {left:.0} s left",
            expected.changed
        );
        // Progress that nobody can read is no reason to stop half-way.
        let _ = output.note(&line);
    };
    let changed = services
        .dead_letters
        .change(act, filter, limit, false, &origin, &mut progress)
        .await?;
    tell(
        Open {
            ports,
            services,
            output,
        },
        verb,
        false,
        changed,
    )
}

fn tell(open: Open<'_>, act: &'static str, dry_run: bool, changed: Changed) -> Result<ExitCode, Fault> {
    open.output.record(&ChangedRow {
        act,
        dry_run,
        changed: changed.changed,
        in_a_loop: changed.in_a_loop,
        more: changed.more,
    })?;
    if changed.in_a_loop > 0 {
        open.output.note(&format!(
            "{} died again after {} redrives each and were left; mend the cause, then redrive them with --force",
            changed.in_a_loop,
            DeadLetter::MOST_REDRIVES
        ))?;
    }
    if changed.more {
        open.output.note("there are more: run it again")?;
    }
    Ok(if changed.changed == 0 {
        ExitCode::Nothing
    } else {
        ExitCode::Done
    })
}
