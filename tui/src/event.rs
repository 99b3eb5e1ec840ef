//! What can happen: everything that moves the dashboard is one of these, and a recording is a file of them.
use openapi::StatsBody;
use serde::{Deserialize, Serialize};

/// One thing that happened. Times are milliseconds since the dashboard was opened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// The dashboard was opened on a server.
    Opened {
        /// The server's ops address.
        address: String,
        /// How long it waits between two readings.
        interval_ms: u64,
    },
    /// Time went on.
    Tick(u64),
    /// Figures came.
    Stats {
        /// When.
        at: u64,
        /// How they came.
        way: Way,
        /// The figures.
        body: Box<StatsBody>,
    },
    /// The server did not answer.
    Lost {
        /// When.
        at: u64,
        /// Why, in words for people.
        reason: String,
        /// How long until it is asked again.
        retry_ms: u64,
    },
    /// A key was pressed.
    Key(Key),
    /// The terminal has another size.
    Resized,
    /// The recording that is played is at its end.
    Ended,
}

/// How figures come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// The server sends them by itself.
    Stream,
    /// The server, an older one, has no stream and is asked each time.
    Asked,
}

impl Message {
    /// When it happened, where it says so.
    pub fn at(&self) -> Option<u64> {
        match self {
            Self::Tick(at) | Self::Stats { at, .. } | Self::Lost { at, .. } => Some(*at),
            Self::Opened { .. } | Self::Key(_) | Self::Resized | Self::Ended => None,
        }
    }
}

/// A key, as far as the dashboard tells keys apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// A letter, a digit or a sign.
    Char(char),
    /// A letter held with Control.
    Ctrl(char),
    /// Enter.
    Enter,
    /// Escape.
    Esc,
    /// Tab.
    Tab,
    /// Tab held with Shift.
    BackTab,
    /// Backspace.
    Backspace,
    /// Arrow up.
    Up,
    /// Arrow down.
    Down,
    /// Arrow left.
    Left,
    /// Arrow right.
    Right,
    /// Home.
    Home,
    /// End.
    End,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self {
            Self::Char(' ') => "Space",
            Self::Char(letter) => return write!(f, "{letter}"),
            Self::Ctrl(letter) => return write!(f, "Ctrl-{}", letter.to_ascii_uppercase()),
            Self::Enter => "Enter",
            Self::Esc => "Esc",
            Self::Tab => "Tab",
            Self::BackTab => "Shift-Tab",
            Self::Backspace => "Backspace",
            Self::Up => "↑",
            Self::Down => "↓",
            Self::Left => "←",
            Self::Right => "→",
            Self::Home => "Home",
            Self::End => "End",
        };
        f.write_str(name)
    }
}
