//! The picture: made from the model alone, which it reads and never changes.
mod chart;
mod frame;
mod help;
mod notes;
mod panels;
mod plain;
mod profile;
mod screens;
mod tables;
mod text;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::widgets::{Paragraph, Widget, Wrap};

use crate::model::Model;
use crate::warning::Severity;

pub use plain::plain;

/// The least width and height at which anything can be told.
const LEAST: (u16, u16) = (40, 10);

/// Draws the model.
pub fn view(model: &Model, frame: &mut Frame<'_>) {
    let area = frame.area();
    draw(model, area, frame.buffer_mut());
}

fn draw(model: &Model, area: Rect, buffer: &mut Buffer) {
    if area.width < LEAST.0 || area.height < LEAST.1 {
        too_small(area, buffer);
    } else {
        let area = frame::head(model, area, buffer);
        let area = frame::foot(model, area, buffer);
        let area = notes::notes(model, area, buffer);
        screens::screen(model, area, buffer);
        if model.help {
            help::help(buffer.area, buffer);
        }
    }
    profile::apply(model.profile, buffer);
}

fn too_small(area: Rect, buffer: &mut Buffer) {
    let text = format!(
        "The window has {} x {}; the dashboard needs {} x {}.",
        area.width, area.height, LEAST.0, LEAST.1
    );
    Paragraph::new(text).wrap(Wrap { trim: true }).render(area, buffer);
}

/// Colour is for trouble alone, but for the state of a server that is well.
fn severity_style(severity: Severity) -> Style {
    match severity {
        Severity::Fine => Style::new(),
        Severity::Warn => Style::new().fg(Color::Yellow),
        Severity::Severe => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
    }
}

/// What is needed and not looked for.
const fn faint() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

/// What is looked for.
const fn strong() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}
