//! `plinth audit`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use domain::audit::{AuditCursor, Finding};
use openapi::AuditEntryBody;
use serde::Serialize;
use serde_json::{Value, json};

use super::args::{ExitCode, Format};
use super::output::{Output, RED, Row, paint};
use super::run::{open_existing, refuse};
use crate::config::Config;
use crate::lifecycle::Lifecycle;
use crate::service::audit::{
    Audit, AuditSearch, Checkpoint, GivenCheckpoint, Progress, Report, VerifyError, VerifyOptions,
};

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_secs(2);
/// How often a doubtful beginning is looked at again: five seconds in all, far longer than an event waits for its position.
const PATIENCE: u32 = 20;

/// What `audit` does.
#[derive(Clone, Debug, Subcommand)]
pub enum AuditCommand {
    /// Prove that the log is as it was written; exit code 1 when something is wrong
    Verify {
        /// A checkpoint that was kept elsewhere, as JSON: the event, its data, or a list of them; may be repeated
        #[arg(long, value_name = "FILE")]
        checkpoint: Vec<PathBuf>,
        /// How many findings to list; all are counted
        #[arg(long, value_name = "NUMBER", default_value_t = 100)]
        most: usize,
    },
    /// Sign the heads of the log now, and print the signed checkpoint
    Checkpoint {
        /// Also write it to this file, to be kept elsewhere
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Search the audit trail, newest first
    List(ListArgs),
    /// Print the public key that checkpoints are signed with
    Key,
}

/// Flags of `audit list`.
#[derive(Args, Clone, Debug, Default)]
pub struct ListArgs {
    /// Whose events: the id of a user
    #[arg(long, value_name = "ID")]
    pub user: Option<String>,
    /// Their type, or the beginning of several with a dot at its end
    #[arg(long = "type", value_name = "TYPE")]
    pub event_type: Option<String>,
    /// Who caused them: the id of a user, anonymous or system
    #[arg(long, value_name = "ACTOR")]
    pub actor: Option<String>,
    /// The administrator behind the actor
    #[arg(long, value_name = "ID")]
    pub impersonator: Option<String>,
    /// The request that caused them
    #[arg(long = "request-id", value_name = "ID")]
    pub request: Option<String>,
    /// Not before this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Before this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// How many at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub limit: u32,
    /// Go on after a page: the cursor that it printed
    #[arg(long, value_name = "CURSOR")]
    pub after: Option<AuditCursor>,
}

pub(super) async fn run(command: AuditCommand, config: &Config, output: &mut Output) -> std::io::Result<ExitCode> {
    let given = match &command {
        AuditCommand::Verify { checkpoint, .. } => match read_given(checkpoint) {
            Ok(given) => given,
            Err(text) => {
                output.fault(&text)?;
                return Ok(ExitCode::Failed);
            }
        },
        _ => Vec::new(),
    };
    let (ports, services) = match open_existing(config).await {
        Ok(opened) => opened,
        Err(error) => return refuse(&error, output),
    };
    let audit = &services.audit;
    let code = match command {
        AuditCommand::Verify { most, .. } => {
            let at_once = std::thread::available_parallelism().map_or(2, |cores| cores.get() * 2);
            let connections = usize::try_from(config.database.max_connections).unwrap_or(2);
            let options = VerifyOptions {
                given,
                most,
                at_once: at_once.min(8).min(connections.saturating_sub(2)).max(1),
                patience: PATIENCE,
            };
            verify(audit, &options, output).await
        }
        AuditCommand::Checkpoint { output: file } => {
            let source = services.events.source().to_owned();
            checkpoint(audit, &source, file.as_deref(), output).await
        }
        AuditCommand::List(args) => list(audit, services.events.source(), args, output).await,
        AuditCommand::Key => {
            let (kid, paserk) = audit.public_key();
            output.record(&KeyRow { kid, paserk }).map(|()| ExitCode::Done)
        }
    };
    ports.close().await;
    code
}

/// Checkpoints of files: an event, its data, or a list of either.
fn read_given(files: &[PathBuf]) -> Result<Vec<GivenCheckpoint>, String> {
    let mut given = Vec::new();
    for file in files {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file).map_err(|error| format!("{name} cannot be read: {error}"))?;
        let value: Value = serde_json::from_str(&text).map_err(|error| format!("{name} is not JSON: {error}"))?;
        let values = match value {
            Value::Array(values) => values,
            value => vec![value],
        };
        given.extend(values.into_iter().map(|value| GivenCheckpoint {
            name: name.clone(),
            value,
        }));
    }
    Ok(given)
}

async fn verify(audit: &Audit, options: &VerifyOptions, output: &mut Output) -> std::io::Result<ExitCode> {
    let lifecycle = Lifecycle::new();
    let began = tokio::time::Instant::now();
    let mut next = TELL_EVERY;
    let verified = audit
        .verify(options, &lifecycle, |progress| {
            let passed = began.elapsed();
            if passed >= next {
                next = passed + TELL_EVERY;
                // Who cannot be told of progress is told of the end.
                let _ = output.note(&in_words(progress, passed));
            }
        })
        .await;
    match verified {
        Ok(report) => tell(&report, output),
        Err(error) => {
            output.fault(&error.to_string())?;
            Ok(match error {
                VerifyError::Given(_) | VerifyError::Incomplete | VerifyError::Backend(_) => ExitCode::Failed,
            })
        }
    }
}

fn in_words(progress: Progress, passed: Duration) -> String {
    let Progress { done, of } = progress;
    let rate = per_second(done, passed);
    let left = of.saturating_sub(done).div_ceil(rate.max(1));
    format!(
        "{} of {} events checked, {} a second, {left} s left",
        grouped(done),
        grouped(of),
        grouped(rate)
    )
}

fn per_second(events: u64, took: Duration) -> u64 {
    let micros = took.as_micros().max(1);
    u64::try_from(u128::from(events) * 1_000_000 / micros).unwrap_or(u64::MAX)
}

/// With a comma after every three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[derive(Serialize)]
struct FindingRow {
    shard: Option<u8>,
    position: Option<u64>,
    event_id: Option<String>,
    code: &'static str,
    detail: String,
}

impl From<&Finding> for FindingRow {
    fn from(finding: &Finding) -> Self {
        Self {
            shard: finding.shard.map(domain::event::Shard::number),
            position: finding.position,
            event_id: finding.event_id.map(|id| id.to_string()),
            code: finding.fault.code(),
            detail: finding.fault.to_string(),
        }
    }
}

impl Row for FindingRow {
    const TITLES: &[&str] = &["shard", "position", "event", "fault", "what"];

    fn cells(&self) -> Vec<String> {
        let shown = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        vec![
            shown(self.shard.map(u64::from)),
            shown(self.position),
            self.event_id.clone().unwrap_or_else(|| "-".to_owned()),
            self.code.to_owned(),
            self.detail.clone(),
        ]
    }
}

fn tell(report: &Report, output: &mut Output) -> std::io::Result<ExitCode> {
    let rows: Vec<FindingRow> = report.findings.iter().map(FindingRow::from).collect();
    let sound = report.is_sound();
    if output.format() == Format::Json {
        let newest = report
            .newest
            .map(|(serial, at)| json!({ "serial": serial, "at": at.to_rfc3339() }));
        output.json(&json!({
            "sound": sound,
            "events": report.events,
            "erased": report.erased,
            "removed": report.removed,
            "checkpoints": report.checkpoints,
            "newest_checkpoint": newest,
            "uncovered": report.uncovered,
            "seconds": report.took.as_secs_f64(),
            "events_per_second": per_second(report.events, report.took),
            "findings": rows,
            "unlisted": report.unlisted,
        }))?;
    } else {
        output.list(&rows)?;
        if !output.is_quiet() {
            let text = summary(report, output.style().colour);
            output.text(&text)?;
        }
    }
    Ok(if sound { ExitCode::Done } else { ExitCode::Failed })
}

fn summary(report: &Report, colour: bool) -> String {
    let verdict = if report.is_sound() {
        "the log is as it was written".to_owned()
    } else {
        let count = report.findings.len() as u64 + report.unlisted;
        let hidden = match report.unlisted {
            0 => String::new(),
            hidden => format!(", {} of them not listed (see --most)", grouped(hidden)),
        };
        let things = if count == 1 { "thing is" } else { "things are" };
        paint(&format!("{} {things} wrong{hidden}", grouped(count)), RED, colour)
    };
    let erased = match report.erased {
        0 => String::new(),
        erased => format!(", {} of them erased", grouped(erased)),
    };
    let removed = match report.removed {
        0 => String::new(),
        removed => format!("; {} older ones were removed by retention", grouped(removed)),
    };
    let seconds = report.took.as_secs_f64();
    let rate = grouped(per_second(report.events, report.took));
    let checkpoints = match report.newest {
        None => "no checkpoint was signed yet: only the chain itself speaks for the log".to_owned(),
        Some((serial, at)) => format!(
            "{} checkpoints hold; the newest, {serial} of {at}, covers all but {} events",
            grouped(report.checkpoints),
            grouped(report.uncovered)
        ),
    };
    format!(
        "{verdict}\n{} events were checked{erased}{removed} ({seconds:.1} s, {rate} a second)\n{checkpoints}\n",
        grouped(report.events)
    )
}

#[derive(Serialize)]
struct KeyRow {
    kid: String,
    paserk: String,
}

impl Row for KeyRow {
    const TITLES: &[&str] = &["kid", "key"];

    fn cells(&self) -> Vec<String> {
        vec![self.kid.clone(), self.paserk.clone()]
    }
}

#[derive(Serialize)]
struct CheckpointRow {
    serial: u64,
    at: String,
    events: u64,
    event_id: String,
}

impl Row for CheckpointRow {
    const TITLES: &[&str] = &["serial", "at", "events", "event"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.serial.to_string(),
            self.at.clone(),
            self.events.to_string(),
            self.event_id.clone(),
        ]
    }
}

async fn checkpoint(
    audit: &Audit,
    source: &str,
    file: Option<&Path>,
    output: &mut Output,
) -> std::io::Result<ExitCode> {
    let made = match audit.checkpoint().await {
        Ok(Some(made)) => made,
        Ok(None) => {
            output.note("another process signed a checkpoint at the same moment")?;
            return Ok(ExitCode::Nothing);
        }
        Err(error) => {
            output.fault(&error.to_string())?;
            return Ok(ExitCode::Failed);
        }
    };
    let event = envelope(&made, source);
    if let Some(file) = file {
        let mut text = serde_json::to_string_pretty(&event).map_err(std::io::Error::other)?;
        text.push('\n');
        if let Err(error) = std::fs::write(file, text) {
            output.fault(&format!("{} cannot be written: {error}", file.display()))?;
            return Ok(ExitCode::Failed);
        }
    }
    if output.format() == Format::Json {
        output.json(&event)?;
    } else {
        let statement = &made.statement;
        output.record(&CheckpointRow {
            serial: statement.serial,
            at: statement.at.to_rfc3339(),
            events: statement.shards.iter().map(|shard| shard.head.position).sum(),
            event_id: made.event.id.to_string(),
        })?;
    }
    Ok(ExitCode::Done)
}

/// The event as it will be delivered, but for its place in the log, which it does not have yet.
fn envelope(made: &Checkpoint, source: &str) -> Value {
    let event = &made.event;
    let data = event
        .data
        .as_deref()
        .and_then(|text| serde_json::from_str::<Value>(text).ok());
    json!({
        "specversion": "1.0",
        "id": event.id.to_string(),
        "source": source,
        "type": event.event_type.as_str(),
        "time": event.time.to_rfc3339(),
        "datacontenttype": "application/json",
        "userid": event.user_id.to_string(),
        "actorid": event.actor.as_text(),
        "data": data,
    })
}

#[derive(Serialize)]
#[serde(transparent)]
struct EntryRow(AuditEntryBody);

impl Row for EntryRow {
    const TITLES: &[&str] = &["event", "time", "type", "user", "actor", "impersonator", "place"];

    fn cells(&self) -> Vec<String> {
        let event = &self.0.event;
        vec![
            event.id.to_string(),
            event.time.0.clone(),
            event.event_type.clone(),
            event.userid.to_string(),
            event.actorid.clone(),
            event.impersonatorid.map_or_else(|| "-".to_owned(), |id| id.to_string()),
            format!("{}/{}", self.0.shard, self.0.position),
        ]
    }
}

async fn list(audit: &Audit, source: &str, args: ListArgs, output: &mut Output) -> std::io::Result<ExitCode> {
    let search = AuditSearch {
        user: args.user,
        event_type: args.event_type,
        actor: args.actor,
        impersonator: args.impersonator,
        request: args.request,
        from: args.from,
        to: args.to,
    };
    let query = match search.read() {
        Ok(query) => query,
        Err(refused) => {
            for filter in refused {
                output.fault(&format!("--{} {}", filter.name.replace('_', "-"), filter.detail))?;
            }
            return Ok(ExitCode::Usage);
        }
    };
    let found = match audit.search(&query, args.after, args.limit).await {
        Ok(found) => found,
        Err(error) => {
            output.fault(&error.to_string())?;
            return Ok(ExitCode::Failed);
        }
    };
    let entry = |logged| EntryRow(AuditEntryBody::new(logged, source));
    let rows: Vec<EntryRow> = found.items.iter().map(entry).collect();
    output.list(&rows)?;
    match found.next {
        Some(next) => output.note(&format!("more with --after {next}"))?,
        None if rows.is_empty() => output.note("no events")?,
        None => {}
    }
    Ok(if rows.is_empty() {
        ExitCode::Nothing
    } else {
        ExitCode::Done
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_for_people() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
        let progress = Progress {
            done: 250_000,
            of: 1_000_000,
        };
        assert_eq!(
            in_words(progress, Duration::from_secs(1)),
            "250,000 of 1,000,000 events checked, 250,000 a second, 3 s left"
        );
    }
}
