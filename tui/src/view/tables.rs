//! Tables and lists: rows that can be chosen, and what happened.
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::chart::Chart;
use super::text::{fit, left, right, row, split, wrap};
use super::{faint, severity_style, strong};
use crate::format::span;
use crate::model::Model;
use crate::table::{Column, Row};

/// Letters between two columns.
const GAP: u16 = 2;

/// How a table is shown.
pub(super) struct Table<'a> {
    /// The columns.
    pub(super) columns: &'static [Column],
    /// The rows.
    pub(super) rows: &'a [Row],
    /// The column that orders them, and whether the greatest is first.
    pub(super) order: Option<(usize, bool)>,
    /// The chosen row.
    pub(super) chosen: Option<usize>,
    /// What stands in place of rows where there are none.
    pub(super) empty: &'a str,
}

/// How many of so many rows there is room for below the titles, where that is not all of them: ` ─ 3 of 13`.
pub(super) fn shown_of(rows: usize, height: u16) -> String {
    let room = usize::from(height.saturating_sub(1));
    if room < rows {
        format!(" ─ {room} of {rows}")
    } else {
        String::new()
    }
}

impl Table<'_> {
    pub(super) fn draw(&self, area: Rect, buffer: &mut Buffer) {
        let (titles, body) = split(area, 1);
        let places = places(self.columns, area);
        for (index, (column, place)) in self.columns.iter().zip(&places).enumerate() {
            let mark = match self.order {
                Some((ordered, descending)) if ordered == index => {
                    if descending {
                        " ▼"
                    } else {
                        " ▲"
                    }
                }
                _ => "",
            };
            let title = Line::from(Span::styled(format!("{}{mark}", column.title), faint().patch(strong())));
            set(
                &title,
                column.is_number,
                Rect {
                    y: titles.y,
                    height: titles.height,
                    ..*place
                },
                buffer,
            );
        }
        if self.rows.is_empty() {
            left(
                &Line::from(Span::styled(self.empty.to_owned(), faint())),
                row(body, 0),
                buffer,
            );
        }
        let visible = usize::from(body.height);
        let first = self.chosen.map_or(0, |chosen| (chosen + 1).saturating_sub(visible));
        for (index, (number, content)) in (0..body.height).zip(self.rows.iter().enumerate().skip(first)) {
            let line = row(body, index);
            self.row(content, line, &places, buffer);
            if self.chosen == Some(number) {
                buffer.set_style(line, Style::new().add_modifier(Modifier::REVERSED));
            }
        }
    }

    fn row(&self, content: &Row, line: Rect, places: &[Rect], buffer: &mut Buffer) {
        for ((cell, column), place) in content.cells.iter().zip(self.columns).zip(places) {
            let place = Rect {
                y: line.y,
                height: line.height,
                ..*place
            };
            let text = Line::from(Span::styled(
                fit(&cell.text, usize::from(place.width)),
                severity_style(content.severity),
            ));
            set(&text, column.is_number, place, buffer);
        }
        // The picture has the last column, where that has room.
        let is_whole = places.len() == self.columns.len();
        if let Some(place) = places.last().filter(|_| is_whole && !content.history.is_empty()) {
            Chart {
                history: &content.history,
                limit: None,
                floor: 10.0,
            }
            .draw(
                Rect {
                    y: line.y,
                    height: line.height,
                    ..*place
                },
                buffer,
            );
        }
    }
}

fn set(line: &Line<'_>, at_right: bool, place: Rect, buffer: &mut Buffer) {
    if at_right {
        right(line, place, buffer)
    } else {
        left(line, place, buffer)
    }
}

/// Where each column stands. What has no room is left out, from the right.
fn places(columns: &[Column], area: Rect) -> Vec<Rect> {
    let mut shown = columns.len();
    let fixed = |shown: usize| columns[..shown].iter().map(|column| column.width + GAP).sum::<u16>();
    while shown > 1 && fixed(shown) + 12 > area.width {
        shown -= 1;
    }
    let free = area.width.saturating_sub(fixed(shown).saturating_sub(GAP));
    let mut x = area.x;
    let place = |column: &Column| {
        let width = if column.width == 0 { free } else { column.width };
        let place = Rect { x, width, ..area };
        x += width + GAP;
        place.intersection(area)
    };
    columns[..shown].iter().map(place).collect()
}

/// Letters that the age of what happened needs.
const AGE: usize = 9;

/// Draws what happened, newest first.
pub(super) fn happenings(model: &Model, area: Rect, buffer: &mut Buffer) {
    let room = usize::from(area.width).saturating_sub(AGE);
    let mut rest = area;
    for happening in &model.shown().happenings {
        let mut age = format!("{:>7}  ", span(model.now.saturating_sub(happening.at)));
        let parts = wrap(&happening.what.text(), room);
        // Half a sentence says little.
        if parts.len() > usize::from(rest.height) {
            return;
        }
        for part in parts {
            let style = severity_style(happening.what.severity());
            let (line, below) = split(rest, 1);
            left(
                &Line::from(vec![Span::styled(age, faint()), Span::styled(part, style)]),
                line,
                buffer,
            );
            (rest, age) = (below, " ".repeat(AGE));
        }
    }
}
