//! Which key does what. The help and the hints at the foot are made from these tables, so they cannot be wrong.
use crate::event::Key;
use crate::model::Screen;

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// End.
    Quit,
    /// Show the help, or take it away.
    Help,
    /// Show a screen.
    Show(Screen),
    /// Show the next screen.
    Next,
    /// Show the screen before.
    Previous,
    /// Go one row up.
    Up,
    /// Go one row down.
    Down,
    /// Go to the first row.
    First,
    /// Go to the last row.
    Last,
    /// Show the screen of the warning.
    Open,
    /// Begin to write a filter.
    Filter,
    /// Sort by the next column.
    Sort,
    /// Sort the other way round.
    Reverse,
    /// Hold the picture, or let it go on.
    Freeze,
    /// Read more often.
    Faster,
    /// Read less often.
    Slower,
    /// Read now.
    Refresh,
    /// Draw the whole screen again.
    Redraw,
    /// Take away what is on top: the help, else the filter, else the freeze.
    Back,
    /// Write a letter into the filter.
    Write(char),
    /// Take the filter's last letter away.
    Erase,
    /// Take all of the filter away.
    Clear,
    /// Keep the filter.
    Keep,
}

/// Where a binding is of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On every screen.
    Everywhere,
    /// On the overview.
    Overview,
    /// On screens with a table.
    Tables,
}

impl Place {
    /// Whether a screen is such a place.
    pub fn is(self, screen: Screen) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Overview => screen == Screen::Overview,
            Self::Tables => screen.has_table(),
        }
    }
}

/// Keys, what they do, and how that is told.
#[derive(Debug, Clone, Copy)]
pub struct Binding {
    /// Any of these.
    pub keys: &'static [Key],
    /// Does this.
    pub action: Action,
    /// In the help.
    pub help: &'static str,
    /// At the foot, where it stands there.
    pub hint: Option<&'static str>,
    /// Where it is of use.
    pub place: Place,
}

const fn bind(keys: &'static [Key], action: Action, help: &'static str) -> Binding {
    Binding {
        keys,
        action,
        help,
        hint: None,
        place: Place::Everywhere,
    }
}

impl Binding {
    const fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    const fn at(mut self, place: Place) -> Self {
        self.place = place;
        self
    }
}

/// The keys of the screens, in the order of the help.
pub const BINDINGS: &[Binding] = &[
    bind(
        &[Key::Char('?'), Key::Char('h')],
        Action::Help,
        "show or hide this help",
    )
    .hint("help"),
    bind(&[Key::Char('q'), Key::Ctrl('c')], Action::Quit, "quit").hint("quit"),
    bind(&[Key::Char('1')], Action::Show(Screen::Overview), "overview"),
    bind(
        &[Key::Char('2')],
        Action::Show(Screen::Pool),
        "pool: connections, password hashing, backends",
    ),
    bind(
        &[Key::Char('3')],
        Action::Show(Screen::Events),
        "events: the log, and how far each group is behind",
    ),
    bind(
        &[Key::Char('4')],
        Action::Show(Screen::Mail),
        "mail: the queue and what was handed over",
    ),
    bind(&[Key::Tab, Key::Right], Action::Next, "next screen"),
    bind(&[Key::BackTab, Key::Left], Action::Previous, "screen before"),
    bind(&[Key::Enter], Action::Open, "open the screen of the chosen warning")
        .hint("open")
        .at(Place::Overview),
    bind(
        &[Key::Up, Key::Char('k')],
        Action::Up,
        "choose the warning or row above",
    ),
    bind(
        &[Key::Down, Key::Char('j')],
        Action::Down,
        "choose the warning or row below",
    ),
    bind(&[Key::Home, Key::Char('g')], Action::First, "choose the first"),
    bind(&[Key::End, Key::Char('G')], Action::Last, "choose the last"),
    bind(&[Key::Char('/')], Action::Filter, "show only rows that hold a text")
        .hint("filter")
        .at(Place::Tables),
    bind(&[Key::Char('s')], Action::Sort, "sort by the next column")
        .hint("sort")
        .at(Place::Tables),
    bind(&[Key::Char('S')], Action::Reverse, "sort the other way round")
        .hint("reverse")
        .at(Place::Tables),
    bind(
        &[Key::Char('f'), Key::Char(' ')],
        Action::Freeze,
        "hold the picture, or let it go on",
    )
    .hint("freeze"),
    bind(&[Key::Char('+'), Key::Char('=')], Action::Faster, "read more often").hint("faster"),
    bind(&[Key::Char('-')], Action::Slower, "read less often").hint("slower"),
    bind(&[Key::Char('r')], Action::Refresh, "read now").hint("now"),
    bind(&[Key::Ctrl('l')], Action::Redraw, "draw the screen again"),
    bind(
        &[Key::Esc],
        Action::Back,
        "close the help, else drop the filter, else end the freeze",
    ),
];

/// The keys while a filter is written; every other letter is written.
pub const FILTER_BINDINGS: &[Binding] = &[
    bind(&[Key::Enter], Action::Keep, "keep the filter").hint("keep"),
    bind(&[Key::Esc], Action::Back, "drop the filter").hint("drop"),
    bind(
        &[Key::Backspace, Key::Ctrl('h')],
        Action::Erase,
        "take the last letter away",
    )
    .hint("erase"),
    bind(&[Key::Ctrl('u')], Action::Clear, "take all letters away"),
    bind(&[Key::Ctrl('c')], Action::Quit, "quit"),
];

/// What a key asks for; `writing` tells whether a filter is being written.
pub fn action(key: Key, writing: bool) -> Option<Action> {
    let table = if writing { FILTER_BINDINGS } else { BINDINGS };
    let bound = table
        .iter()
        .find(|binding| binding.keys.contains(&key))
        .map(|binding| binding.action);
    match key {
        Key::Char(letter) if writing => Some(Action::Write(letter)),
        _ => bound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_bound_twice() {
        for table in [BINDINGS, FILTER_BINDINGS] {
            let mut seen = Vec::new();
            for key in table.iter().flat_map(|binding| binding.keys) {
                assert!(!seen.contains(key), "{key} is bound twice");
                seen.push(*key);
            }
        }
    }

    #[test]
    fn every_screen_has_the_key_of_its_number() {
        for screen in Screen::ALL {
            let number = char::from(b'1' + u8::try_from(screen.index()).unwrap());
            assert_eq!(action(Key::Char(number), false), Some(Action::Show(screen)));
        }
    }

    #[test]
    fn letters_are_written_while_a_filter_is_written() {
        assert_eq!(action(Key::Char('q'), false), Some(Action::Quit));
        assert_eq!(action(Key::Char('q'), true), Some(Action::Write('q')));
        assert_eq!(action(Key::Ctrl('c'), true), Some(Action::Quit));
        assert_eq!(action(Key::Tab, true), None);
    }
}
