//! What the terminal cannot show is taken out last, so that no part of the picture has to think of it.
use ratatui::buffer::Buffer;
use ratatui::style::Color;

use crate::model::Profile;

/// Fits a picture to the terminal.
pub(super) fn apply(profile: Profile, buffer: &mut Buffer) {
    if profile.colour && !profile.ascii {
        return;
    }
    for cell in &mut buffer.content {
        if !profile.colour {
            cell.fg = Color::Reset;
            cell.bg = Color::Reset;
        }
        if profile.ascii && !cell.symbol().is_ascii() {
            let letter = cell.symbol().chars().next().unwrap_or(' ');
            cell.set_char(ascii(letter));
        }
    }
}

/// The letter of ASCII that looks most like another one.
pub(super) fn ascii(letter: char) -> char {
    match letter {
        letter if letter.is_ascii() => letter,
        '─' => '-',
        '│' | '▏' => '|',
        '╭' | '╮' | '╰' | '╯' => '+',
        '▁' => '_',
        '▂' => '.',
        '▃' => ':',
        '▄' => '-',
        '▅' => '=',
        '▆' => '+',
        '▇' => '*',
        '█' => '#',
        '·' | '…' => '.',
        '→' | '▸' => '>',
        '←' | '≤' => '<',
        '↑' | '▲' => '^',
        '↓' | '▼' => 'v',
        'µ' => 'u',
        '●' => '*',
        '⚠' => '!',
        '✖' => 'X',
        _ => '?',
    }
}
