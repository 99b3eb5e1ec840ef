//! What the dashboard knows and shows, without a word about terminals.
use crate::data::Data;
use crate::event::Way;
use crate::table;
use crate::warning::Warning;

/// The intervals between two readings that can be chosen, in milliseconds.
pub const INTERVALS: &[u64] = &[250, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000];

/// Figures that are older than this many intervals are called old.
const OLD_INTERVALS: u64 = 3;

/// The least age at which figures are called old, in milliseconds.
const OLD_MS: u64 = 3_000;

/// A screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Screen {
    /// Everything in short.
    Overview,
    /// Connections, password hashing, backends.
    Pool,
    /// The log and the groups that follow it.
    Events,
    /// The mail ledger.
    Mail,
}

impl Screen {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Overview, Self::Pool, Self::Events, Self::Mail];

    /// Where it stands among all.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its name.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Pool => "Pool",
            Self::Events => "Events",
            Self::Mail => "Mail",
        }
    }

    /// Whether it has a table, which can be filtered and sorted.
    pub const fn has_table(self) -> bool {
        matches!(self, Self::Overview | Self::Pool | Self::Events)
    }

    /// The one so many places on, around the end.
    pub fn step(self, by: usize) -> Self {
        Self::ALL[(self.index() + by) % Self::ALL.len()]
    }
}

/// What the terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// Colours.
    pub colour: bool,
    /// Only the letters of ASCII.
    pub ascii: bool,
}

/// Whether the server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// It was not heard of yet.
    Waiting,
    /// It answered.
    Live {
        /// How its figures come.
        way: Way,
    },
    /// It does not answer.
    Lost {
        /// Since when.
        since: u64,
        /// Why.
        reason: String,
        /// When it is asked again.
        retry_at: u64,
    },
    /// The recording is at its end.
    Ended,
}

/// How the rows of a screen are chosen and ordered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Choice {
    /// Rows that hold this text are shown, whatever its case.
    pub filter: String,
    /// The column that orders them.
    pub column: usize,
    /// Whether the greatest comes first.
    pub descending: bool,
    /// The chosen row. On the overview the warnings are chosen first, and the rows after them.
    pub row: usize,
}

/// All of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// What the terminal can show.
    pub profile: Profile,
    /// The server's address.
    pub address: String,
    /// Milliseconds since the dashboard was opened.
    pub now: u64,
    /// The interval between two readings, in milliseconds.
    pub interval_ms: u64,
    /// Whether the server answers.
    pub link: Link,
    /// What was read.
    pub live: Data,
    /// What is shown instead, while the picture is held.
    pub frozen: Option<Box<Data>>,
    /// The screen that is shown.
    pub screen: Screen,
    /// Whether the help is shown.
    pub help: bool,
    /// Whether a filter is being written.
    pub writing: bool,
    /// The choices on each screen.
    pub choices: [Choice; 4],
}

impl Model {
    /// Nothing known yet.
    pub fn new(profile: Profile) -> Self {
        let mut choices: [Choice; 4] = Default::default();
        // What is asked for most comes first, and whoever is furthest behind.
        choices[Screen::Overview.index()] = Choice {
            column: table::REQUESTS,
            descending: true,
            ..Choice::default()
        };
        choices[Screen::Events.index()] = Choice {
            column: table::BEHIND,
            descending: true,
            ..Choice::default()
        };
        Self {
            profile,
            address: String::new(),
            now: 0,
            interval_ms: 1_000,
            link: Link::Waiting,
            live: Data::default(),
            frozen: None,
            screen: Screen::Overview,
            help: false,
            writing: false,
            choices,
        }
    }

    /// What is shown: what was read, or what was when the picture was frozen.
    pub fn shown(&self) -> &Data {
        self.frozen.as_deref().unwrap_or(&self.live)
    }

    /// The choices on the screen that is shown.
    pub fn choice(&self) -> &Choice {
        &self.choices[self.screen.index()]
    }

    /// The choices on the screen that is shown, to change.
    pub fn choice_mut(&mut self) -> &mut Choice {
        &mut self.choices[self.screen.index()]
    }

    /// The age of the figures that are shown, in milliseconds; none before the first.
    pub fn age(&self) -> Option<u64> {
        let data = self.shown();
        data.latest.as_ref().map(|_| self.now.saturating_sub(data.at))
    }

    /// Whether the newest figures are older than they should be.
    pub fn is_old(&self) -> bool {
        let age = self.now.saturating_sub(self.live.at);
        self.link != Link::Ended && self.live.latest.is_some() && age > (OLD_INTERVALS * self.interval_ms).max(OLD_MS)
    }

    /// The warnings of what is shown.
    pub fn warnings(&self) -> &[Warning] {
        &self.shown().warnings
    }

    /// How many things can be chosen on the screen that is shown.
    pub fn choosable(&self) -> usize {
        match self.screen {
            Screen::Overview => self.warnings().len() + table::rows(self).len(),
            Screen::Pool | Screen::Events => table::rows(self).len(),
            Screen::Mail => 0,
        }
    }
}
