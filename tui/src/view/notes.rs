//! What the eye must find first: whether the figures are of now, and what is wrong, in sentences.
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::text::{left, right, row, split, wrap, wrap_within};
use super::{faint, severity_style};
use crate::format::span;
use crate::model::{Link, Model, Screen};
use crate::warning::{Severity, Warning};

/// From this height on there is room for more sentences.
const TALL: u16 = 30;

/// Draws the notes and gives what is left.
pub(super) fn notes(model: &Model, area: Rect, buffer: &mut Buffer) -> Rect {
    let mut rest = area;
    if let Some(text) = banner(model) {
        for part in wrap(&text, usize::from(area.width).saturating_sub(4)) {
            let (line, below) = split(rest, 1);
            buffer.set_style(line, severity_style(Severity::Severe).add_modifier(Modifier::REVERSED));
            buffer.set_stringn(
                line.x + 1,
                line.y,
                part,
                usize::from(line.width).saturating_sub(2),
                Style::new(),
            );
            rest = below;
        }
    }
    let is_calm = model.warnings().is_empty();
    // That old figures are without trouble says nothing.
    let is_silent = model.shown().latest.is_none() || (is_calm && rest != area);
    if is_silent { rest } else { warnings(model, rest, buffer) }
}

/// Why the figures are not of now.
fn banner(model: &Model) -> Option<String> {
    let address = &model.address;
    // On an empty screen the same is told in the middle.
    let age = model
        .live
        .latest
        .as_ref()
        .map(|_| span(model.now.saturating_sub(model.live.at)))?;
    match &model.link {
        Link::Lost { reason, retry_at, .. } => {
            let next = match retry_at.saturating_sub(model.now) {
                0 => "asking again now".to_owned(),
                wait => format!("next try in {}", span(wait)),
            };
            Some(format!(
                "✖ {address} does not answer: {reason}. The figures are {age} old; {next}."
            ))
        }
        Link::Live { .. } if model.is_old() => {
            Some(format!("⚠ {address} takes long to answer. The figures are {age} old."))
        }
        Link::Ended => Some("The recording ends here; q quits.".to_owned()),
        Link::Live { .. } | Link::Waiting => None,
    }
}

fn warnings(model: &Model, area: Rect, buffer: &mut Buffer) -> Rect {
    let mut all: Vec<&Warning> = model.warnings().iter().collect();
    let is_overview = model.screen == Screen::Overview;
    if !is_overview {
        // Here their causes are shown.
        all.sort_by_key(|warning| warning.screen != model.screen);
    }
    if all.is_empty() {
        let (line, rest) = split(area, 1);
        left(&Line::from(Span::styled("   no warnings", faint())), line, buffer);
        return rest;
    }
    let most = match (buffer.area.height >= TALL, is_overview) {
        (true, true) => 8,
        (false, true) => 4,
        (true, false) => 5,
        (false, false) => 2,
    };
    let chosen = Some(model.choice().row).filter(|row| is_overview && *row < all.len());
    let lines =
        |index: usize, rows: usize| sentence(all[index], chosen == Some(index) && all.len() > 1, area.width, rows);
    // Whole sentences where all of them have room; else more of them, and the chosen or the first one whole.
    let has_room = (0..all.len()).map(|index| lines(index, 2).len()).sum::<usize>() <= most;
    let is_whole = |index: usize| has_room || chosen == Some(index) || (!is_overview && index == 0);
    let rows = |index: usize| if is_whole(index) { 2 } else { 1 };
    // The chosen one and the one before it, so that it shows that there is one.
    let first = if has_room {
        0
    } else {
        chosen.map_or(0, |chosen| chosen.saturating_sub(1)).min(all.len() - 1)
    };
    let mut rest = area;
    let mut used = 0;
    for (index, warning) in all.iter().enumerate().skip(first) {
        let lines = lines(index, rows(index));
        let is_last = index + 1 == all.len();
        if used > 0 && used + lines.len() + usize::from(!is_last) > most {
            let (line, below) = split(rest, 1);
            left(
                &Line::from(Span::styled(format!("   and {} more", all.len() - index), faint())),
                line,
                buffer,
            );
            return below;
        }
        used += lines.len();
        if warning.screen != model.screen {
            let place = format!("{} [{}] ", warning.screen.title(), warning.screen.index() + 1);
            right(&Line::from(Span::styled(place, faint())), row(rest, 0), buffer);
        }
        for text in &lines {
            let (line, below) = split(rest, 1);
            left(text, line, buffer);
            rest = below;
        }
    }
    rest
}

/// A warning on so many lines at most.
fn sentence(warning: &Warning, is_chosen: bool, width: u16, rows: usize) -> Vec<Line<'static>> {
    let style = severity_style(warning.severity);
    let mark = if warning.severity == Severity::Severe {
        "✖"
    } else {
        "⚠"
    };
    // Beside it stands the screen that shows the cause.
    let room = usize::from(width).saturating_sub(17);
    let parts = wrap_within(&warning.text, room, rows);
    let starts = [
        format!("{}{mark} ", if is_chosen { "▸" } else { " " }),
        "   ".to_owned(),
    ];
    let lines = parts.into_iter().zip(starts);
    lines
        .map(|(part, start)| Line::from(vec![Span::styled(start, style), Span::styled(part, style)]))
        .collect()
}
