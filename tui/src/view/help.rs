//! The help: the key map itself, over everything else.
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Widget};

use super::panels::boxed;
use super::text::{left, row};
use super::{faint, strong};
use crate::keymap::{BINDINGS, Binding};
use crate::warning::Severity;

/// Letters that the names of keys need.
const KEYS_WIDTH: usize = 15;

/// Letters of the widest line of help.
const WIDTH: u16 = 76;

pub(super) fn help(area: Rect, buffer: &mut Buffer) {
    let height = u16::try_from(BINDINGS.len()).unwrap_or(u16::MAX).saturating_add(2);
    let area = area.centered(
        Constraint::Length(WIDTH.min(area.width)),
        Constraint::Length(height.min(area.height)),
    );
    Clear.render(area, buffer);
    let title = Line::from(Span::styled(" Keys ", strong()));
    let inside = boxed(title, " ? closes ".to_owned(), Severity::Fine, area, buffer);
    for (index, binding) in (0..inside.height).zip(BINDINGS) {
        left(&line(binding), row(inside, index), buffer);
    }
}

fn line(binding: &Binding) -> Line<'static> {
    let keys: Vec<String> = binding.keys.iter().map(ToString::to_string).collect();
    Line::from(vec![
        Span::styled(format!(" {:KEYS_WIDTH$}", keys.join("  ")), strong()),
        Span::styled(binding.help, faint()),
    ])
}
