//! A history as bars: one column for a reading, the newest at the right.
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::{faint, severity_style};
use crate::warning::Severity;

const EIGHTHS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// How much higher than the greatest value a chart is.
const AIR: f64 = 1.2;

/// The values of a chart and what they are measured by.
pub(super) struct Chart<'a> {
    /// The values; gaps are drawn as gaps.
    pub(super) history: &'a [Option<f64>],
    /// Where a value becomes trouble; bars near it are drawn so.
    pub(super) limit: Option<f64>,
    /// The least that the height stands for: where there is a measure of all, that.
    pub(super) floor: f64,
}

impl Chart<'_> {
    pub(super) fn draw(&self, area: Rect, buffer: &mut Buffer) {
        let width = usize::from(area.width);
        let shown = &self.history[self.history.len().saturating_sub(width)..];
        let greatest = shown.iter().flatten().copied().fold(0.0, f64::max);
        // Some air above the greatest, so that a steady figure is not a wall; what fills its measure has none.
        let full = if greatest <= self.floor {
            self.floor
        } else {
            greatest * AIR
        };
        let start = area.right() - u16::try_from(shown.len()).unwrap_or(area.width);
        for (x, value) in (start..).zip(shown) {
            self.bar(x, *value, full, area, buffer);
        }
    }

    fn bar(&self, x: u16, value: Option<f64>, full: f64, area: Rect, buffer: &mut Buffer) {
        let Some(bottom) = area.bottom().checked_sub(1).filter(|_| area.height > 0) else {
            return;
        };
        let Some(value) = value else {
            buffer.set_string(x, bottom, "·", faint());
            return;
        };
        if value <= 0.0 || full <= 0.0 {
            buffer.set_string(x, bottom, "▁", faint());
            return;
        }
        let steps = f64::from(area.height) * 8.0;
        // Whatever is more than nothing shows.
        let mut left = ((value / full * steps).round() as usize).clamp(1, usize::from(area.height) * 8);
        for y in (area.top()..area.bottom()).rev() {
            let here = left.min(8);
            if here == 0 {
                break;
            }
            buffer.set_string(x, y, EIGHTHS[here], self.style(value));
            left -= here;
        }
    }

    fn style(&self, value: f64) -> Style {
        match self.limit.map(|limit| value / limit) {
            Some(share) if share >= 1.0 => severity_style(Severity::Severe),
            Some(share) if share >= 0.8 => severity_style(Severity::Warn),
            _ => faint(),
        }
    }
}
