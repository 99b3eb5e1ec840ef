//! The rows at the top and at the foot: who is looked at, how old that is, which screens and keys there are.
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use super::text::{left, right, row, split};
use super::{faint, severity_style, strong};
use crate::event::Way;
use crate::format::{seconds, short, span, words};
use crate::happening::state_severity;
use crate::keymap::{BINDINGS, Binding, FILTER_BINDINGS, Place};
use crate::model::{Link, Model, Screen};
use crate::warning::Severity;

/// Below this height the row of the dependencies is left out.
const ROOM_FOR_HEALTH: u16 = 16;

/// Narrower than this the state has no room beside the address and the pace.
const ROOM_FOR_PACE: u16 = 60;

/// Draws the top and gives what is left. Whether the server is ready is told at every size.
pub(super) fn head(model: &Model, area: Rect, buffer: &mut Buffer) -> Rect {
    let has_health = area.height >= ROOM_FOR_HEALTH && model.shown().latest.is_some();
    let (top, rest) = split(area, if has_health { 3 } else { 2 });
    let age = age(model, has_health || area.width >= ROOM_FOR_PACE);
    let room = usize::from(top.width).saturating_sub(age.width() + 2);
    let start = if has_health {
        Line::from(Span::styled(" plinth", strong()))
    } else {
        state(model).unwrap_or_else(|| Line::from(Span::styled(" plinth", strong())))
    };
    left(&identity(model, start, room), row(top, 0), buffer);
    right(&age, row(top, 0), buffer);
    left(&tabs(model), row(top, 1), buffer);
    if has_health {
        left(&health(model, usize::from(top.width)), row(top, 2), buffer);
    }
    rest
}

/// As much as has room, the most telling first.
fn identity(model: &Model, mut line: Line<'static>, room: usize) -> Line<'static> {
    let mut parts = vec![model.address.clone()];
    if let Some(stats) = &model.shown().latest {
        parts.push(format!("up {}", seconds(stats.uptime_seconds)));
        parts.push(format!("v{}", stats.version));
        parts.push(short(&stats.node));
    }
    for part in parts {
        if line.width() + 3 + part.chars().count() > room {
            break;
        }
        line.push_span(Span::styled(" │ ", faint()));
        line.push_span(Span::raw(part));
    }
    line
}

fn age(model: &Model, has_pace: bool) -> Line<'static> {
    let every = match model.interval_ms {
        _ if !has_pace => String::new(),
        millis if millis.is_multiple_of(1000) => format!(" every {} s", millis / 1000),
        millis => format!(" every {millis} ms"),
    };
    let age = model.age().map(span);
    let (text, style) = match (&model.link, age) {
        (_, Some(age)) if model.frozen.is_some() => (
            format!("FROZEN, {age} old"),
            Style::new().add_modifier(Modifier::REVERSED),
        ),
        (Link::Ended, _) => ("recording".to_owned(), Style::new()),
        (Link::Lost { .. }, Some(age)) => (format!("{age} old"), severity_style(Severity::Severe)),
        (_, Some(age)) if model.is_old() => (format!("{age} old"), severity_style(Severity::Warn)),
        (Link::Live { way: Way::Asked }, Some(age)) => (format!("{age} ago, asked{every}"), Style::new()),
        (_, Some(age)) => (
            if has_pace {
                format!("{age} ago,{every}")
            } else {
                format!("{age} ago")
            },
            Style::new(),
        ),
        (_, None) => ("no figures yet".to_owned(), faint()),
    };
    Line::from(vec![Span::styled(text, style), Span::raw(" ")])
}

/// A screen that shows the cause of a warning is marked in the warning's colour.
fn tabs(model: &Model) -> Line<'static> {
    let warnings = model.warnings();
    let mut line = Line::from(" ");
    for screen in Screen::ALL {
        let worst = warnings
            .iter()
            .filter(|warning| warning.screen == screen)
            .map(|warning| warning.severity)
            .max();
        let is_marked = worst.is_some() && screen != Screen::Overview;
        let title = format!(
            " {} {}{} ",
            screen.index() + 1,
            screen.title(),
            if is_marked { "!" } else { "" }
        );
        let style = match (screen == model.screen, is_marked) {
            (true, _) => Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD),
            (false, true) => severity_style(worst.unwrap_or_default()),
            (false, false) => Style::new(),
        };
        line.push_span(Span::styled(title, style));
        line.push_span(Span::raw(" "));
    }
    line
}

/// Whether the server is ready; none before the first figures.
fn state(model: &Model) -> Option<Line<'static>> {
    let status = &model.shown().latest.as_ref()?.health.status;
    // A server that does not answer is not ready, whatever it said last.
    let (mark, text) = if matches!(model.link, Link::Lost { .. }) {
        (
            severity_style(Severity::Severe),
            format!("silent, was {}", words(status)),
        )
    } else {
        (state_style(status), words(status))
    };
    Some(Line::from(vec![Span::styled(" ● ", mark), Span::styled(text, mark)]))
}

/// The one place where what is well has a colour: it is looked for here.
fn state_style(status: &str) -> Style {
    match state_severity(status) {
        Severity::Fine => Style::new().fg(Color::Green),
        severity => severity_style(severity),
    }
}

/// The state and those of the dependencies; where these have no room, the worst come first, and that some are missing shows.
fn health(model: &Model, width: usize) -> Line<'static> {
    let (Some(stats), Some(mut line)) = (&model.shown().latest, state(model)) else {
        return Line::default();
    };
    // What they were some time ago is no news of now.
    let is_stale = matches!(model.link, Link::Lost { .. }) || model.is_old();
    let mut parts: Vec<(Severity, Line<'static>)> = stats
        .health
        .dependencies
        .iter()
        .map(|dependency| {
            let severity = state_severity(&dependency.status);
            let style = if is_stale { faint() } else { severity_style(severity) };
            let name = Span::styled(format!("   {} ", dependency.name), faint());
            (
                severity,
                Line::from(vec![name, Span::styled(words(&dependency.status), style)]),
            )
        })
        .collect();
    let needed: usize = parts.iter().map(|(_, part)| part.width()).sum();
    let is_cut = line.width() + needed > width;
    if is_cut {
        parts.sort_by_key(|(severity, _)| std::cmp::Reverse(*severity));
    }
    for (_, part) in parts {
        if is_cut && line.width() + part.width() + 2 > width {
            break;
        }
        line.extend(part);
    }
    if is_cut {
        line.push_span(Span::styled(" …", faint()));
    }
    line
}

/// Draws the keys at the foot and gives what is left.
pub(super) fn foot(model: &Model, area: Rect, buffer: &mut Buffer) -> Rect {
    let (rest, foot) = split(area, area.height - 1);
    let mut line = Line::from(" ");
    let table = if model.writing { FILTER_BINDINGS } else { BINDINGS };
    if model.writing {
        line.push_span(Span::styled(format!("/{}▏", model.choice().filter), strong()));
        line.push_span(Span::raw("   "));
    }
    let has_cause = !model.warnings().is_empty();
    let is_of_use =
        |binding: &&Binding| binding.place.is(model.screen) && (binding.place != Place::Overview || has_cause);
    for binding in table.iter().filter(is_of_use) {
        let (Some(hint), Some(key)) = (binding.hint, binding.keys.first()) else {
            continue;
        };
        let key = key.to_string();
        if line.width() + key.chars().count() + hint.len() + 1 > usize::from(foot.width) {
            break;
        }
        line.push_span(Span::styled(key, strong()));
        line.push_span(Span::styled(format!(" {hint}  "), faint()));
    }
    left(&line, foot, buffer);
    rest
}
