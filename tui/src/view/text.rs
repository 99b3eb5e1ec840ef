//! Lines of text: cut, broken, and set at the left or the right.
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

/// A text of at most so many letters, with `…` where it was cut.
pub(super) fn fit(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// A text broken at spaces into lines of at most so many letters.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(fit(word, width)),
        }
    }
    lines
}

/// A text on at most so many lines; where it does not end there, that shows, and no word is cut.
pub(super) fn wrap_within(text: &str, width: usize, lines: usize) -> Vec<String> {
    let whole = wrap(text, width);
    if whole.len() <= lines {
        return whole;
    }
    let mut parts = wrap(text, width.saturating_sub(2));
    parts.truncate(lines);
    if let Some(last) = parts.last_mut() {
        last.push_str(" …");
    }
    parts
}

/// Sets a line at the left of a row.
pub(super) fn left(line: &Line<'_>, row: Rect, buffer: &mut Buffer) {
    if row.height > 0 {
        buffer.set_line(row.x, row.y, line, row.width);
    }
}

/// Sets a line at the right of a row.
pub(super) fn right(line: &Line<'_>, row: Rect, buffer: &mut Buffer) {
    let width = u16::try_from(line.width()).unwrap_or(u16::MAX).min(row.width);
    if row.height > 0 {
        buffer.set_line(row.right() - width, row.y, line, width);
    }
}

/// The first so many rows of an area, and the rest.
pub(super) fn split(area: Rect, rows: u16) -> (Rect, Rect) {
    let rows = rows.min(area.height);
    (
        Rect { height: rows, ..area },
        Rect {
            y: area.y + rows,
            height: area.height - rows,
            ..area
        },
    )
}

/// One row of an area, counted from its top; empty below its end.
pub(super) fn row(area: Rect, index: u16) -> Rect {
    let height = u16::from(index < area.height);
    Rect {
        y: area.y + index.min(area.height),
        height,
        ..area
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_and_broken() {
        assert_eq!((fit("abc", 3), fit("abcd", 3)), ("abc".into(), "ab…".into()));
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh ij", 4), ["abc…", "ij"]);
        assert_eq!(wrap_within("one two three", 8, 2), ["one two", "three"]);
        assert_eq!(wrap_within("one two three", 8, 1), ["one …"]);
    }
}
