//! Panels: with a border and a chart where there is room, as one row where there is not.
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Widget};

use super::chart::Chart;
use super::text::{fit, left, row, split};
use super::{faint, severity_style, strong};
use crate::format::span;
use crate::model::Model;
use crate::panel::{Fact, Panel};
use crate::warning::Severity;

/// Letters between two facts.
const GAP: usize = 2;

/// The columns that a chart of a row has at least, where facts stand beside it.
const ROW_CHART: usize = 16;

/// A border with a title, drawn; gives the area inside.
pub(super) fn boxed(title: Line<'_>, note: String, severity: Severity, area: Rect, buffer: &mut Buffer) -> Rect {
    let border = if severity == Severity::Fine {
        faint()
    } else {
        severity_style(severity)
    };
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(border)
        .title(title);
    let block = if note.is_empty() {
        block
    } else {
        block.title(Line::from(Span::styled(note, faint())).right_aligned())
    };
    let inside = block.inner(area);
    block.render(area, buffer);
    inside
}

/// Draws panels in a grid of so many columns that fills the area.
pub(super) fn grid(model: &Model, panels: &[Panel], columns: u16, area: Rect, buffer: &mut Buffer) {
    let count = u16::try_from(panels.len()).unwrap_or(u16::MAX);
    let rows = count.div_ceil(columns).max(1);
    for (index, panel) in (0..count).zip(panels) {
        let (column, line) = (index % columns, index / columns);
        let x = (area.width * column / columns, area.width * (column + 1) / columns);
        let y = (area.height * line / rows, area.height * (line + 1) / rows);
        let area = Rect {
            x: area.x + x.0,
            y: area.y + y.0,
            width: x.1 - x.0,
            height: y.1 - y.0,
        };
        bordered(model, panel, area, buffer);
    }
}

fn bordered(model: &Model, panel: &Panel, area: Rect, buffer: &mut Buffer) {
    let columns = area.width.saturating_sub(4);
    let title = panel.screen.map_or_else(
        || format!(" {} ", panel.title),
        |screen| format!(" {} [{}] ", panel.title, screen.index() + 1),
    );
    let note = note(model, panel, usize::from(columns));
    let has_room = title.chars().count() + note.chars().count() + 2 <= usize::from(area.width);
    let note = if has_room { note } else { String::new() };
    let inside = boxed(
        Line::from(Span::styled(title, strong())),
        note,
        panel.severity,
        area,
        buffer,
    );
    let inside = Rect {
        x: inside.x + 1,
        width: inside.width.saturating_sub(2),
        ..inside
    };
    let most = usize::from(inside.height.saturating_sub(1).max(1));
    let lines = facts(panel, usize::from(inside.width), most);
    for (index, line) in (0..).zip(&lines) {
        left(line, row(inside, index), buffer);
    }
    let (_, chart) = split(inside, u16::try_from(lines.len()).unwrap_or(u16::MAX));
    chart_of(panel).draw(chart, buffer);
}

fn chart_of(panel: &Panel) -> Chart<'_> {
    Chart {
        history: &panel.history,
        limit: panel.limit,
        floor: panel.floor,
    }
}

/// What the chart spans: its greatest value and its time.
fn note(model: &Model, panel: &Panel, columns: usize) -> String {
    let points = &model.shown().points;
    let shown = columns.min(panel.history.len());
    let (Some(first), Some(last)) = (points.get(points.len().saturating_sub(shown)), points.back()) else {
        return String::new();
    };
    if shown < 2 {
        return String::new();
    }
    format!(
        " max {} in {} ",
        panel.peak(shown),
        span(last.at.saturating_sub(first.at))
    )
}

/// The headline and the facts beside and below it, at most so many lines. What has no room on its line stands on the next.
fn facts(panel: &Panel, width: usize, most: usize) -> Vec<Line<'static>> {
    let head = Span::styled(fit(&panel.head, width), severity_style(panel.severity).patch(strong()));
    let mut lines = vec![vec![vec![head]]];
    for (index, line) in panel.facts.iter().enumerate() {
        if index > 0 {
            lines.push(Vec::new());
        }
        for fact in line {
            let needed: usize = lines
                .last()
                .map_or(0, |cells| cells.iter().map(|cell| width_of(cell) + GAP).sum());
            let fact = spans(fact);
            match lines.last_mut() {
                Some(cells) if needed + width_of(&fact) <= width => cells.push(fact),
                _ => lines.push(vec![fact]),
            }
        }
    }
    lines.retain(|cells| !cells.is_empty());
    lines.into_iter().take(most).map(|cells| set(cells, width)).collect()
}

fn spans(fact: &Fact) -> Vec<Span<'static>> {
    let label = if fact.label.is_empty() {
        String::new()
    } else {
        format!("{} ", fact.label)
    };
    vec![
        Span::styled(label, faint()),
        Span::styled(fact.value.clone(), severity_style(fact.severity)),
    ]
}

fn width_of(cell: &[Span<'_>]) -> usize {
    cell.iter().map(Span::width).sum()
}

/// Cells at thirds of the width where these have room, so that they stand below each other and do not move with every
/// digit; else one after the other.
fn set(cells: Vec<Vec<Span<'static>>>, width: usize) -> Line<'static> {
    let third = width / 3;
    let mut ends = 0_usize;
    let mut starts = Vec::new();
    for cell in &cells {
        let start = if ends == 0 {
            0
        } else {
            (ends + 1).next_multiple_of(third.max(1))
        };
        starts.push(start);
        ends = start + width_of(cell);
    }
    let has_room = ends <= width;
    let mut line = Line::default();
    for (cell, start) in cells.into_iter().zip(starts) {
        let used = line.width();
        let gap = if has_room { start - used } else { GAP.min(used) };
        line.push_span(Span::raw(" ".repeat(gap)));
        for span in cell {
            line.push_span(span);
        }
    }
    line
}

/// Draws panels as rows and gives what is left: the headline, facts where there is much room, and the history.
pub(super) fn as_rows(panels: &[Panel], area: Rect, buffer: &mut Buffer) -> Rect {
    let mut rest = area;
    let width = |texts: &mut dyn Iterator<Item = &str>| texts.map(|text| text.chars().count()).max().unwrap_or(0) + 2;
    let titles = width(&mut panels.iter().map(|panel| panel.title));
    let heads = width(&mut panels.iter().map(|panel| panel.head.as_str()));
    let room = usize::from(area.width).saturating_sub(titles + heads + 2 + ROW_CHART);
    let facts: Vec<Line<'_>> = panels.iter().map(|panel| facts_within(panel, room)).collect();
    let told = facts.iter().map(Line::width).max().unwrap_or(0);
    let used = titles + heads + 1 + if told > 0 { told + GAP } else { 0 };
    for (panel, facts) in panels.iter().zip(facts) {
        let (line, below) = split(rest, 1);
        let mut text = Line::from(vec![
            Span::styled(format!(" {:titles$}", panel.title), faint()),
            Span::styled(
                format!("{:heads$}", panel.head),
                severity_style(panel.severity).patch(strong()),
            ),
        ]);
        text.extend(facts);
        left(&text, line, buffer);
        let used = u16::try_from(used).unwrap_or(u16::MAX).min(line.width);
        let chart = Rect {
            x: line.x + used,
            width: (line.width - used).saturating_sub(1),
            ..line
        };
        chart_of(panel).draw(chart, buffer);
        rest = below;
    }
    rest
}

/// As many facts as have room, one after the other.
fn facts_within(panel: &Panel, room: usize) -> Line<'static> {
    let mut line = Line::default();
    for fact in panel.facts.iter().flatten() {
        let gap = if line.width() == 0 { 0 } else { GAP };
        let fact = spans(fact);
        if line.width() + gap + width_of(&fact) > room {
            break;
        }
        line.push_span(Span::raw(" ".repeat(gap)));
        line.extend(fact);
    }
    line
}
