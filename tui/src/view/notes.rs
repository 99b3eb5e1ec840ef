//! What the eye must find first: whether the figures are of now, and what is wrong, in sentences.
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::text::{left, right, row, split, wrap_within};
use super::{faint, severity_style};
use crate::format::span;
use crate::model::{Link, Model, Screen};
use crate::warning::{Severity, Warning};

/// From this height on there is room for more sentences.
const TALL: u16 = 30;

/// Below this height there is room for one line of them, and for one that tells how old the figures are.
const LOW: u16 = 18;

/// Letters beside a sentence: its mark, and the screen that shows the cause.
const BESIDE: usize = 17;

/// Draws the notes and gives what is left.
pub(super) fn notes(model: &Model, area: Rect, buffer: &mut Buffer) -> Rect {
    let mut rest = area;
    if let Some(text) = banner(model) {
        let lines = if buffer.area.height < LOW { 1 } else { usize::MAX };
        for part in wrap_within(&text, usize::from(area.width).saturating_sub(4), lines) {
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
    if is_silent {
        rest
    } else {
        let most = most(model, buffer.area.height, rest != area);
        warnings(model, most, rest, buffer)
    }
}

/// How many lines warnings may take, so that panels and some rows of a table keep their place below them.
fn most(model: &Model, height: u16, has_banner: bool) -> usize {
    let most = match (height, model.screen == Screen::Overview) {
        (TALL.., true) => 9,
        (TALL.., false) => 6,
        (LOW.., true) => 3,
        (LOW.., false) => 2,
        _ => 1,
    };
    if has_banner { most.min(2) } else { most }
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

fn warnings(model: &Model, most: usize, area: Rect, buffer: &mut Buffer) -> Rect {
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
    let chosen = Some(model.choice().row).filter(|row| is_overview && *row < all.len());
    let height = |index: usize, rows: usize| wrap_within(&all[index].text, room(area.width, ""), rows).len();
    // Whole sentences where all of them have room; else more of them, and the chosen or the first one whole.
    let has_room = (0..all.len()).map(|index| height(index, 2)).sum::<usize>() <= most;
    let is_whole = |index: usize| has_room || chosen == Some(index) || (!is_overview && index == 0);
    let rows = |index: usize| if is_whole(index) { 2.min(most) } else { 1 };
    // The chosen one and the one before it, so that it shows that there is one.
    let first = match chosen {
        Some(chosen) if !has_room && most > rows(chosen) => chosen.saturating_sub(1),
        Some(chosen) if !has_room => chosen,
        _ => 0,
    };
    let (mut used, mut shown) = (0, 0);
    while first + shown < all.len() && (shown == 0 || used + height(first + shown, rows(first + shown)) <= most) {
        used += height(first + shown, rows(first + shown));
        shown += 1;
    }
    let mut rest = area;
    for (index, warning) in all.iter().enumerate().skip(first).take(shown) {
        let mut note = if warning.screen == model.screen {
            String::new()
        } else {
            format!("{} [{}]", warning.screen.title(), warning.screen.index() + 1)
        };
        // What has no room is told beside the last that has some.
        let hidden = all.len() - index - 1;
        if index + 1 == first + shown && hidden > 0 {
            note = format!("+{hidden} more  {note}").trim_end().to_owned();
        }
        let is_marked = chosen == Some(index) && all.len() > 1;
        let lines = sentence(warning, is_marked, room(area.width, &note), rows(index));
        right(
            &Line::from(Span::styled(format!("{note} "), faint())),
            row(rest, 0),
            buffer,
        );
        for text in &lines {
            let (line, below) = split(rest, 1);
            left(text, line, buffer);
            rest = below;
        }
    }
    rest
}

/// The letters of a line of a sentence that has a note beside it.
fn room(width: u16, note: &str) -> usize {
    usize::from(width).saturating_sub(BESIDE.max(note.chars().count() + 6))
}

/// A warning on so many lines of so many letters at most.
fn sentence(warning: &Warning, is_chosen: bool, room: usize, rows: usize) -> Vec<Line<'static>> {
    let style = severity_style(warning.severity);
    let mark = if warning.severity == Severity::Severe {
        "✖"
    } else {
        "⚠"
    };
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
