//! What a message changes. Pure: the same messages make the same model, on any machine at any time.
use crate::event::{Key, Message, Way};
use crate::keymap::{Action, action};
use crate::model::{INTERVALS, Link, Model, Screen};
use crate::table;

/// The most letters of a filter.
const MOST_FILTER_LETTERS: usize = 40;

/// What is to be done outside the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// End.
    Quit,
    /// Read now.
    Refresh,
    /// Read at this interval, in milliseconds.
    Interval(u64),
    /// Draw everything again, whatever the terminal is believed to show.
    Redraw,
}

/// Takes a message.
pub fn update(model: &mut Model, message: Message) -> Effect {
    if let Some(at) = message.at() {
        model.now = model.now.max(at);
    }
    match message {
        Message::Opened { address, interval_ms } => {
            model.address = address;
            model.interval_ms = interval_ms;
        }
        Message::Tick(_) => {}
        Message::Stats { at, way, body } => {
            let told = model.warnings().len();
            model.live.take(at, *body);
            if way == Way::Asked && !matches!(model.link, Link::Live { .. }) {
                model.live.asked(at);
            }
            model.link = Link::Live { way };
            keep_row(model, told);
            clamp_row(model);
        }
        Message::Lost { at, reason, retry_ms } => {
            model.live.miss(at, &reason);
            let since = match model.link {
                Link::Lost { since, .. } => since,
                _ => at,
            };
            model.link = Link::Lost {
                since,
                reason,
                retry_at: at + retry_ms,
            };
        }
        Message::Key(key) => return press(model, key),
        Message::Resized => return Effect::Redraw,
        Message::Ended => model.link = Link::Ended,
    }
    Effect::None
}

fn press(model: &mut Model, key: Key) -> Effect {
    let Some(action) = action(key, model.writing) else {
        return Effect::None;
    };
    match action {
        Action::Quit => return Effect::Quit,
        Action::Refresh => return Effect::Refresh,
        Action::Redraw => return Effect::Redraw,
        Action::Faster => {
            return pace(model, |current| {
                INTERVALS.iter().rev().find(|interval| **interval < current)
            });
        }
        Action::Slower => return pace(model, |current| INTERVALS.iter().find(|interval| **interval > current)),
        Action::Help => model.help = !model.help,
        Action::Show(screen) => model.screen = screen,
        Action::Next => model.screen = model.screen.step(1),
        Action::Previous => model.screen = model.screen.step(Screen::ALL.len() - 1),
        Action::Up => model.choice_mut().row = model.choice().row.saturating_sub(1),
        Action::Down => model.choice_mut().row += 1,
        Action::First => model.choice_mut().row = 0,
        Action::Last => model.choice_mut().row = usize::MAX,
        Action::Open => open(model),
        Action::Freeze => freeze(model),
        Action::Back => back(model),
        Action::Filter | Action::Sort | Action::Reverse if !model.screen.has_table() => {}
        Action::Filter => model.writing = true,
        Action::Sort => sort(model),
        Action::Reverse => model.choice_mut().descending = !model.choice().descending,
        Action::Write(letter) => write(model, letter),
        Action::Erase => drop(model.choice_mut().filter.pop()),
        Action::Clear => model.choice_mut().filter.clear(),
        Action::Keep => model.writing = false,
    }
    if matches!(action, Action::Show(_) | Action::Next | Action::Previous | Action::Open) {
        model.help = false;
    }
    clamp_row(model);
    Effect::None
}

fn pace<'a>(model: &mut Model, choose: impl Fn(u64) -> Option<&'a u64>) -> Effect {
    match choose(model.interval_ms) {
        Some(interval) => {
            model.interval_ms = *interval;
            Effect::Interval(*interval)
        }
        None => Effect::None,
    }
}

fn open(model: &mut Model) {
    let chosen = model.warnings().get(model.choice().row);
    if let Some(screen) = chosen
        .map(|warning| warning.screen)
        .filter(|_| model.screen == Screen::Overview)
    {
        model.screen = screen;
    }
}

fn freeze(model: &mut Model) {
    model.frozen = match model.frozen.take() {
        Some(_) => None,
        None => model.live.latest.is_some().then(|| Box::new(model.live.clone())),
    };
}

fn back(model: &mut Model) {
    if model.writing || (!model.help && !model.choice().filter.is_empty()) {
        model.writing = false;
        model.choice_mut().filter.clear();
    } else if model.help {
        model.help = false;
    } else {
        model.frozen = None;
    }
}

/// The next column, from its natural end: names from the first letter, numbers from the greatest.
fn sort(model: &mut Model) {
    let columns = table::columns(model.screen);
    let choice = model.choice_mut();
    choice.column = (choice.column + 1) % columns.len().max(1);
    choice.descending = columns.get(choice.column).is_some_and(|column| column.is_number);
}

fn write(model: &mut Model, letter: char) {
    let filter = &mut model.choice_mut().filter;
    if filter.chars().count() < MOST_FILTER_LETTERS && !letter.is_control() {
        filter.push(letter);
    }
}

/// The rows of the overview follow the warnings: whoever has chosen a row keeps it when warnings come and go. The first row
/// of all is where nobody has chosen yet, and there a first warning takes its place.
fn keep_row(model: &mut Model, told: usize) {
    let now = model.warnings().len();
    let row = &mut model.choices[Screen::Overview.index()].row;
    if *row > 0 && *row >= told {
        *row = *row - told + now;
    }
}

fn clamp_row(model: &mut Model) {
    let last = model.choosable().saturating_sub(1);
    let choice = model.choice_mut();
    choice.row = choice.row.min(last);
}
