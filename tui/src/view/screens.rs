//! What each screen shows between the notes and the keys.
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Widget, Wrap};

use super::panels::{as_rows, boxed, grid};
use super::tables::{Table, happenings};
use super::text::split;
use super::{faint, strong};
use crate::format::span;
use crate::model::{Link, Model, Screen};
use crate::panel::{Panel, panels};
use crate::table;
use crate::warning::Severity;

/// Narrower or lower than this there is no room for borders.
const ROOM_FOR_BORDERS: (u16, u16) = (76, 14);

/// From this width on three panels stand beside each other.
const WIDE: u16 = 110;

/// The least height of a box that is worth its border.
const LEAST_BOX: u16 = 4;

pub(super) fn screen(model: &Model, area: Rect, buffer: &mut Buffer) {
    let panels = panels(model.shown(), model.screen);
    if panels.is_empty() {
        empty(model, area, buffer);
    } else if area.width < ROOM_FOR_BORDERS.0 || area.height < ROOM_FOR_BORDERS.1 {
        narrow(model, &panels, area, buffer);
    } else {
        match model.screen {
            Screen::Overview => overview(model, &panels, area, buffer),
            Screen::Pool | Screen::Events => with_table(model, &panels, area, buffer),
            Screen::Mail => mail(model, &panels, area, buffer),
        }
    }
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
    let (_, rest) = split(rest, 1);
    if model.screen.has_table() {
        rows(
            model,
            Rect {
                x: rest.x + 1,
                width: rest.width - 2,
                ..rest
            },
            buffer,
        );
    } else {
        happenings(model, rest, buffer);
    }
}

fn overview(model: &Model, panels: &[Panel], area: Rect, buffer: &mut Buffer) {
    let is_wide = area.width >= WIDE;
    let height = (area.height * 13 / 20 / 2).clamp(5, 10) * 2;
    let below = area.height.saturating_sub(height);
    let (top, rest) = split(area, if below < LEAST_BOX { area.height } else { height });
    if is_wide {
        grid(model, panels, 3, top, buffer);
    } else {
        grid(model, &panels[..panels.len().min(4)], 2, top, buffer);
    }
    if rest.height < LEAST_BOX {
        return;
    }
    let half = Rect {
        width: rest.width / 2,
        ..rest
    };
    if is_wide {
        let inside = padded("Backends", half, buffer);
        backends(model, inside, buffer);
    } else {
        let inside = padded("Also", half, buffer);
        let rest = as_rows(&panels[panels.len().min(4)..], inside, buffer);
        backends(model, rest, buffer);
    }
    let half = Rect {
        x: rest.x + half.width,
        width: rest.width - half.width,
        ..rest
    };
    let inside = padded("What happened", half, buffer);
    happenings(model, inside, buffer);
}

fn padded(title: &'static str, area: Rect, buffer: &mut Buffer) -> Rect {
    let title = Line::from(Span::styled(format!(" {title} "), strong()));
    let inside = boxed(title, String::new(), Severity::Fine, area, buffer);
    Rect {
        x: inside.x + 1,
        width: inside.width.saturating_sub(2),
        ..inside
    }
}

const NO_BACKENDS: &str = "no backend stands behind a breaker";

fn backends(model: &Model, area: Rect, buffer: &mut Buffer) {
    let rows = table::all(model.shown(), Screen::Pool);
    let columns = table::columns(Screen::Pool);
    Table {
        columns,
        rows: &rows,
        order: None,
        chosen: None,
        empty: NO_BACKENDS,
    }
    .draw(area, buffer);
}

fn with_table(model: &Model, panels: &[Panel], area: Rect, buffer: &mut Buffer) {
    let (top, rest) = split(area, (area.height / 2).max(6));
    grid(model, panels, 3, top, buffer);
    let choice = model.choice();
    let all = table::all(model.shown(), model.screen).len();
    let title = if model.screen == Screen::Pool {
        "Backends"
    } else {
        "Groups"
    };
    let filter = if choice.filter.is_empty() {
        String::new()
    } else {
        format!(" {} of {all} hold \"{}\" ", table::rows(model).len(), choice.filter)
    };
    let title = Line::from(Span::styled(format!(" {title} "), strong()));
    let inside = boxed(title, filter, Severity::Fine, rest, buffer);
    rows(
        model,
        Rect {
            x: inside.x + 1,
            width: inside.width.saturating_sub(2),
            ..inside
        },
        buffer,
    );
}

fn rows(model: &Model, area: Rect, buffer: &mut Buffer) {
    let rows = table::rows(model);
    let choice = model.choice();
    let empty = match model.screen {
        _ if !choice.filter.is_empty() => "no row holds that text; Esc drops the filter",
        Screen::Pool => NO_BACKENDS,
        _ => "no group follows the log yet",
    };
    let columns = table::columns(model.screen);
    let order = Some((choice.column, choice.descending));
    Table {
        columns,
        rows: &rows,
        order,
        chosen: Some(choice.row),
        empty,
    }
    .draw(area, buffer);
}

fn mail(model: &Model, panels: &[Panel], area: Rect, buffer: &mut Buffer) {
    grid(model, panels, 2, area, buffer);
}
