//! `plinth events tail` and `plinth events history`.

use std::time::Duration;

use domain::event::{EventType, LoggedEvent, Shard};
use domain::id::UserId;
use ports::Cursor;
use serde::Serialize;
use serde_json::Value;

use super::super::args::{ExitCode, Format};
use super::super::output::Row;
use super::{Fault, Open};

/// How often the log is looked at: this process hears no bell.
const LOOK: Duration = Duration::from_millis(200);
/// Events that are read at once.
const PAGE: u32 = 200;

/// An event on the command line.
#[derive(Serialize)]
#[serde(transparent)]
struct EventRow {
    envelope: Value,
    #[serde(skip)]
    cells: Vec<String>,
}

impl EventRow {
    fn new(logged: &LoggedEvent, source: &str) -> Self {
        let event = &logged.event;
        Self {
            envelope: logged.to_cloud_event(source),
            cells: vec![
                event.id.to_string(),
                event.time.to_rfc3339(),
                event.event_type.to_string(),
                event.user_id.to_string(),
                logged.position.to_string(),
                event.actor.as_text(),
                event.data.clone().unwrap_or_else(|| "(erased)".to_owned()),
            ],
        }
    }
}

impl Row for EventRow {
    const TITLES: &'static [&'static str] = &["id", "time", "type", "user", "position", "actor", "data"];

    fn cells(&self) -> Vec<String> {
        self.cells.clone()
    }
}

/// The user that is meant: an id, an address, or `system` for what belongs to no user.
async fn find(open: &Open<'_>, user: &str) -> Result<UserId, Fault> {
    if user == "system" {
        return Ok(UserId::SYSTEM);
    }
    // Events outlive their user, so an id need not be anybody's any more.
    if let Ok(id) = user.parse::<UserId>() {
        return Ok(id);
    }
    let address = user
        .parse()
        .map_err(|_| Fault::Usage("--user must be an id, an e-mail address or `system`".to_owned()))?;
    Ok(open.services.admin.show_by_email(&address).await?.id)
}

pub(super) async fn tail(
    open: Open<'_>,
    user: Option<&str>,
    event_type: Option<&EventType>,
    after: Option<u64>,
    limit: Option<u64>,
) -> Result<ExitCode, Fault> {
    let user = match user {
        Some(user) => Some(find(&open, user).await?),
        None => None,
    };
    let mut cursors = open.ports.log.heads().await?;
    if let Some(user) = user {
        cursors.retain(|cursor| cursor.shard == Shard::of(user));
        if let (Some(after), Some(cursor)) = (after, cursors.first_mut()) {
            cursor.position = after;
        }
    }
    let source = open.services.dead_letters.source();
    let mut left = limit.unwrap_or(u64::MAX);
    while left > 0 {
        let events = open.ports.log.read(&cursors, PAGE).await?;
        if events.is_empty() {
            tokio::time::sleep(LOOK).await;
            continue;
        }
        for logged in &events {
            pass(&mut cursors, logged);
            let event = &logged.event;
            let wanted = user.is_none_or(|user| user == event.user_id)
                && event_type.is_none_or(|kind| *kind == event.event_type);
            if wanted && left > 0 {
                left -= 1;
                let line = match open.output.format() {
                    Format::Json => logged.to_cloud_event(source).to_string(),
                    Format::Table => EventRow::new(logged, source).cells[1..].join("  "),
                };
                open.output.line(&event.id.to_string(), &line)?;
            }
        }
    }
    Ok(ExitCode::Done)
}

fn pass(cursors: &mut [Cursor], logged: &LoggedEvent) {
    if let Some(cursor) = cursors.iter_mut().find(|cursor| cursor.shard == logged.shard) {
        cursor.position = logged.position;
    }
}

pub(super) async fn history(
    open: Open<'_>,
    user: &str,
    event_type: Option<&EventType>,
    after: u64,
    limit: u64,
) -> Result<ExitCode, Fault> {
    let user = find(&open, user).await?;
    let source = open.services.dead_letters.source();
    let (mut rows, mut position, mut more) = (Vec::new(), after, true);
    while more && (rows.len() as u64) < limit {
        let page = open.ports.events.history(user, position, PAGE).await?;
        more = page.len() == PAGE as usize;
        for logged in page {
            if rows.len() as u64 == limit {
                more = true;
                break;
            }
            position = logged.position;
            if event_type.is_none_or(|kind| *kind == logged.event.event_type) {
                rows.push(EventRow::new(&logged, source));
            }
        }
    }
    open.output.list(&rows)?;
    if more {
        open.output.note(&format!("more with --after {position}"))?;
    } else if rows.is_empty() {
        open.output.note("no events")?;
        return Ok(ExitCode::Nothing);
    }
    Ok(ExitCode::Done)
}
