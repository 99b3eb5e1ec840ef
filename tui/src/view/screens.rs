//! What each screen shows between the notes and the keys.
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Widget, Wrap};

use super::panels::{as_rows, boxed, grid};
use super::tables::{Table, happenings, shown_of};
use super::text::{left, split};
use super::{faint, strong};
use crate::format::span;
use crate::model::{Link, Model, Screen};
use crate::panel::{Panel, panels};
use crate::table;
use crate::warning::Severity;

/// Narrower than this there is no room for borders.
const ROOM_FOR_BORDERS: u16 = 76;

/// The least height of two rows of boxes and a table.
const LEAST_HEIGHT: u16 = 14;

/// From this width on three panels stand beside each other.
const WIDE: u16 = 110;

/// How many panels have a box where two stand beside each other; what comes after them is a row.
const IN_BOXES: usize = 4;

/// The least height of a box that is worth its border.
const LEAST_BOX: u16 = 4;

pub(super) fn screen(model: &Model, area: Rect, buffer: &mut Buffer) {
    let panels = panels(model.shown(), model.screen);
    if panels.is_empty() {
        empty(model, area, buffer);
    } else if area.width < ROOM_FOR_BORDERS || area.height < least_height(model, &panels, area.width) {
        narrow(model, &panels, area, buffer);
    } else {
        match model.screen {
            Screen::Overview => overview(model, &panels, area, buffer),
            Screen::Pool | Screen::Events => with_table(model, &panels, area, buffer),
            Screen::Mail => mail(model, &panels, area, buffer),
        }
    }
}

/// Lower than this panels are rows, so that none of them, nor the table, is without a place.
fn least_height(model: &Model, panels: &[Panel], width: u16) -> u16 {
    let is_grid = width >= WIDE || model.screen == Screen::Mail;
    let rows = if is_grid {
        0
    } else {
        panels.len().saturating_sub(IN_BOXES)
    };
    LEAST_HEIGHT.saturating_add(u16::try_from(rows).unwrap_or(u16::MAX))
}

/// Before the first figures.
fn empty(model: &Model, area: Rect, buffer: &mut Buffer) {
    let mut text = vec![Line::from(Span::styled(
        format!("Waiting for the figures of {}", model.address),
        strong(),
    ))];
    if let Link::Lost {
        since,
        reason,
        retry_at,
    } = &model.link
    {
        text.push(Line::default());
        text.push(Line::from(format!(
            "No answer for {}: {reason}.",
            span(model.now.saturating_sub(*since))
        )));
        text.push(Line::from(format!(
            "Next try in {}.",
            span(retry_at.saturating_sub(model.now))
        )));
        text.push(Line::default());
        let hint = "Does the server run? It tells its ops address when it starts; --url takes it.";
        text.push(Line::from(Span::styled(hint, faint())));
    }
    let area = area.centered(Constraint::Percentage(90), Constraint::Length(8.min(area.height)));
    Paragraph::new(text)
        .centered()
        .wrap(Wrap { trim: true })
        .render(area, buffer);
}

fn narrow(model: &Model, panels: &[Panel], area: Rect, buffer: &mut Buffer) {
    let rest = as_rows(panels, area, buffer);
    if rest.height < 3 {
        return;
    }
    let (gap, rest) = split(rest, 1);
    if model.screen.has_table() {
        let hidden = shown_of(table::rows(model).len(), rest.height);
        if !hidden.is_empty() {
            let title = format!(" {}{hidden}", title(model));
            left(&Line::from(Span::styled(title, faint())), gap, buffer);
        }
        rows(model, inset(rest), buffer);
    } else {
        happenings(model, rest, buffer);
    }
}

/// Panels in a grid of two rows of boxes, what has no room in it as rows of text, and gives what is left.
fn top(model: &Model, panels: &[Panel], height: u16, area: Rect, buffer: &mut Buffer) -> Rect {
    if area.width >= WIDE {
        let (top, rest) = split(area, height * 2);
        grid(model, panels, 3, top, buffer);
        return rest;
    }
    let boxed = panels.len().min(IN_BOXES);
    let (top, rest) = split(area, height * 2);
    grid(model, &panels[..boxed], 2, top, buffer);
    as_rows(&panels[boxed..], rest, buffer)
}

fn overview(model: &Model, panels: &[Panel], area: Rect, buffer: &mut Buffer) {
    let rest = top(model, panels, (area.height / 5).clamp(5, 9), area, buffer);
    if rest.height < LEAST_BOX {
        happenings(model, rest, buffer);
    } else if area.width < WIDE {
        // The newest of what happened has the last row, where a box of routes leaves one.
        let (table, below) = split(rest, rest.height - u16::from(rest.height > LEAST_BOX + 1));
        boxed_rows(model, table, buffer);
        happenings(model, below, buffer);
    } else {
        let beside = Rect {
            width: rest.width * 16 / 25,
            ..rest
        };
        let right = Rect {
            x: beside.right(),
            width: rest.width - beside.width,
            ..rest
        };
        boxed_rows(model, beside, buffer);
        let (columns, times) = table::times(model.shown());
        let needed = u16::try_from(times.len()).unwrap_or(u16::MAX).saturating_add(3);
        let (above, below) = split(right, needed.max(LEAST_BOX).min(right.height / 2));
        if above.height >= LEAST_BOX {
            let inside = tabled(OPERATIONS, times.len(), String::new(), above, buffer);
            let order = None;
            Table {
                columns,
                rows: &times,
                order,
                chosen: None,
                empty: NO_BACKENDS,
            }
            .draw(inside, buffer);
        }
        let inside = padded("What happened", String::new(), below, buffer);
        happenings(model, inside, buffer);
    }
}

fn boxed_rows(model: &Model, area: Rect, buffer: &mut Buffer) {
    let inside = tabled(title(model), table::rows(model).len(), filter(model), area, buffer);
    rows(model, inside, buffer);
}

/// The title of the screen's table.
fn title(model: &Model) -> &'static str {
    match model.screen {
        Screen::Overview => "Routes, last 10 s",
        Screen::Pool => OPERATIONS,
        Screen::Events | Screen::Mail => "Groups",
    }
}

const OPERATIONS: &str = "Storage and mail, last 10 s";

/// A box for so many rows; when some have no room, its title says so.
fn tabled(title: &str, rows: usize, note: String, area: Rect, buffer: &mut Buffer) -> Rect {
    let title = format!("{title}{}", shown_of(rows, area.height.saturating_sub(2)));
    padded(&title, note, area, buffer)
}

fn inset(area: Rect) -> Rect {
    Rect {
        x: area.x + 1,
        width: area.width.saturating_sub(2),
        ..area
    }
}

fn padded(title: &str, note: String, area: Rect, buffer: &mut Buffer) -> Rect {
    let title = Line::from(Span::styled(format!(" {title} "), strong()));
    inset(boxed(title, note, Severity::Fine, area, buffer))
}

const NO_BACKENDS: &str = "no backend was called yet";

/// What the filter leaves, where there is one.
fn filter(model: &Model) -> String {
    let choice = model.choice();
    if choice.filter.is_empty() {
        return String::new();
    }
    let all = table::all(model.shown(), model.screen).len();
    format!(" {} of {all} hold \"{}\" ", table::rows(model).len(), choice.filter)
}

fn with_table(model: &Model, panels: &[Panel], area: Rect, buffer: &mut Buffer) {
    let height = if area.width < WIDE {
        5
    } else {
        (area.height / 4).clamp(5, 12)
    };
    let rest = top(model, panels, height, area, buffer);
    boxed_rows(model, rest, buffer);
}

fn rows(model: &Model, area: Rect, buffer: &mut Buffer) {
    let rows = table::rows(model);
    let choice = model.choice();
    let empty = match model.screen {
        _ if !choice.filter.is_empty() => "no row holds that text; Esc drops the filter",
        Screen::Overview if model.shown().is_of_older() => "a server of this version does not tell its routes",
        Screen::Overview => "nothing was asked for yet",
        Screen::Pool => NO_BACKENDS,
        _ => "no group follows the log yet",
    };
    let columns = table::columns(model.screen);
    let order = Some((choice.column, choice.descending));
    let above = if model.screen == Screen::Overview {
        model.warnings().len()
    } else {
        0
    };
    Table {
        columns,
        rows: &rows,
        order,
        chosen: choice.row.checked_sub(above),
        empty,
    }
    .draw(area, buffer);
}

fn mail(model: &Model, panels: &[Panel], area: Rect, buffer: &mut Buffer) {
    let columns = if area.width < WIDE { 2 } else { 3 };
    grid(model, panels, columns, area, buffer);
}
