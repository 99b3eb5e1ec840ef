//! The terminal: taken on entry, given back on every way out, and its keys as messages.
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, poll, read};
use tokio::sync::mpsc::Sender;

use crate::event::{Key, Message};

/// How long the thread of the keys sleeps before it looks whether anybody still listens.
const LOOK: Duration = Duration::from_millis(200);

/// The terminal in its full-screen state. Dropping it gives it back as it was; a panic gives it back before its text is
/// printed.
#[derive(Debug)]
pub(crate) struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    /// Takes the terminal.
    pub(crate) fn enter() -> std::io::Result<Self> {
        Ok(Self {
            terminal: ratatui::try_init()?,
        })
    }

    /// What is drawn on.
    pub(crate) fn terminal(&mut self) -> &mut DefaultTerminal {
        &mut self.terminal
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // There is nothing left to do with a terminal that cannot be given back.
        let _ = ratatui::try_restore();
    }
}

/// Sends keys from a thread of their own, since reading them blocks, until nobody listens.
pub(crate) fn listen(messages: Sender<Message>) -> std::io::Result<()> {
    let listen = move || {
        while !messages.is_closed() {
            match poll(LOOK).and_then(|is_there| if is_there { read().map(Some) } else { Ok(None) }) {
                Ok(Some(event)) => {
                    if let Some(message) = translate(&event)
                        && messages.blocking_send(message).is_err()
                    {
                        return;
                    }
                }
                Ok(None) => {}
                // The terminal is gone; what draws on it will notice too.
                Err(_) => return,
            }
        }
    };
    std::thread::Builder::new()
        .name("keys".to_owned())
        .spawn(listen)
        .map(|_| ())
}

fn translate(event: &Event) -> Option<Message> {
    match event {
        Event::Key(event) if event.kind != KeyEventKind::Release => key(*event).map(Message::Key),
        Event::Resize(_, _) => Some(Message::Resized),
        _ => None,
    }
}

fn key(event: KeyEvent) -> Option<Key> {
    Some(match event.code {
        KeyCode::Char(letter) if event.modifiers.contains(KeyModifiers::CONTROL) => {
            Key::Ctrl(letter.to_ascii_lowercase())
        }
        KeyCode::Char(letter) => Key::Char(letter),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Esc,
        KeyCode::Tab => Key::Tab,
        KeyCode::BackTab => Key::BackTab,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_the_terminal_become_keys_of_the_dashboard() {
        let press = |code, modifiers| translate(&Event::Key(KeyEvent::new(code, modifiers)));
        assert_eq!(
            press(KeyCode::Char('c'), KeyModifiers::CONTROL),
            Some(Message::Key(Key::Ctrl('c')))
        );
        assert_eq!(
            press(KeyCode::Char('S'), KeyModifiers::SHIFT),
            Some(Message::Key(Key::Char('S')))
        );
        assert_eq!(press(KeyCode::F(1), KeyModifiers::NONE), None);
        let mut release = KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE);
        release.kind = KeyEventKind::Release;
        assert_eq!(translate(&Event::Key(release)), None);
        assert_eq!(translate(&Event::Resize(80, 24)), Some(Message::Resized));
    }
}
