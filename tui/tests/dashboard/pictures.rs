//! Pictures compared with committed ones. `UPDATE=1` in the environment writes them anew; look at the difference.
use std::path::PathBuf;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier};
use serde_json::json;
use tui::{Message, Model, Profile, update, view};

use crate::scenes::{RICH, after, asked, drowning, empty, extreme, healthy, keys, live, opened, refused, stale, stats};

fn picture(model: &Model, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal in memory");
    terminal.draw(|frame| view(model, frame)).expect("a picture");
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> String {
    let rows = buffer.content().chunks(usize::from(buffer.area.width));
    let row = |cells: &[ratatui::buffer::Cell]| cells.iter().map(ratatui::buffer::Cell::symbol).collect::<String>();
    rows.map(|cells| row(cells).trim_end().to_owned() + "\n").collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the switch of a test, which the configuration of the server must not know"
)]
fn is_update() -> bool {
    std::env::var_os("UPDATE").is_some()
}

fn compare(name: &str, actual: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/snapshots")
        .join(format!("{name}.txt"));
    if is_update() {
        std::fs::write(&path, actual).expect("the picture can be written");
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == actual,
        "{name} differs; UPDATE=1 cargo test -p plinth-tui writes it anew\n--- committed\n{expected}\n--- now\n{actual}"
    );
}

/// A model with keys pressed.
fn pressed(model: &Model, text: &str) -> Model {
    let mut model = model.clone();
    for message in keys(text) {
        update(&mut model, message);
    }
    model
}

/// The sizes that every screen is judged at.
const SIZES: [(u16, u16); 2] = [(80, 24), (120, 40)];

fn compare_sizes(name: &str, messages: impl IntoIterator<Item = Message>) {
    let model = after(RICH, messages);
    for (width, height) in SIZES {
        compare(
            &format!("{name}-{width}x{height}"),
            &text(&picture(&model, width, height)),
        );
    }
}

#[test]
fn empty_before_the_first_answer() {
    compare_sizes("empty", empty());
}

#[test]
fn empty_when_nobody_listens() {
    compare_sizes("refused", refused());
}

#[test]
fn live_overview() {
    compare_sizes("live", live());
}

#[test]
fn asked_overview() {
    compare_sizes("asked", asked());
}

#[test]
fn extreme_screens() {
    for (key, name) in [("1", "overview"), ("2", "pool"), ("3", "events"), ("4", "mail")] {
        compare_sizes(&format!("extreme-{name}"), extreme().into_iter().chain(keys(key)));
    }
}

#[test]
fn live_screens() {
    for (key, name) in [("2", "pool"), ("3", "events"), ("4", "mail")] {
        compare_sizes(&format!("live-{name}"), live().into_iter().chain(keys(key)));
    }
}

#[test]
fn saturated_overview() {
    compare_sizes("saturated", drowning());
}

#[test]
fn saturated_screens() {
    for (key, name) in [("2", "pool"), ("3", "events"), ("4", "mail")] {
        compare_sizes(&format!("saturated-{name}"), drowning().into_iter().chain(keys(key)));
    }
}

#[test]
fn stale_overview() {
    compare_sizes("stale", stale());
}

#[test]
fn help_over_the_overview() {
    compare_sizes("help", live().into_iter().chain(keys("?")));
}

#[test]
fn frozen_while_time_goes_on() {
    let later = (90..102).map(|step| stats(step * 1_000, healthy(step)));
    compare_sizes("frozen", live().into_iter().chain(keys("f")).chain(later));
}

#[test]
fn filter_being_written() {
    compare_sizes("filter", live().into_iter().chain(keys("3/we")));
}

#[test]
fn too_small_says_what_it_needs() {
    let model = after(RICH, live());
    compare("too-small-30x8", &text(&picture(&model, 30, 8)));
    for (width, height) in [(39, 24), (80, 9), (1, 1), (3, 60)] {
        picture(&model, width, height);
    }
}

#[test]
fn narrow_shows_rows() {
    for (name, messages) in [("live", live()), ("saturated", drowning())] {
        let model = after(RICH, messages);
        compare(&format!("{name}-48x20"), &text(&picture(&model, 48, 20)));
    }
    let model = after(RICH, drowning().into_iter().chain(keys("3")));
    compare("saturated-events-48x20", &text(&picture(&model, 48, 20)));
}

/// A server with thirteen routes and three stores of files.
fn crowded() -> Vec<Message> {
    let figures = |step: u64| {
        let mut figures = healthy(step);
        let routes = figures["http"]["routes"].as_array_mut().unwrap();
        routes.extend_from_within(..4);
        let backends = figures["backends"].as_array_mut().unwrap();
        backends.extend_from_within(..1);
        backends.extend_from_within(..1);
        figures
    };
    let answers = (0..12).map(|step| stats(step * 1_000, figures(step)));
    std::iter::once(opened()).chain(answers).collect()
}

#[test]
fn a_table_says_how_many_rows_have_no_room() {
    let title = |story: Vec<Message>, key: &str, (width, height): (u16, u16)| {
        let model = pressed(&after(RICH, story), key);
        let drawn = text(&picture(&model, width, height));
        let line = drawn.lines().find(|line| {
            ["Routes,", "Storage and mail,", "Groups"]
                .iter()
                .any(|title| line.contains(title))
        });
        line.unwrap_or_default().to_owned()
    };
    for (key, size, expected) in [
        ("1", (80, 24), "Routes, last 10 s ─ 3 of 13 ─"),
        ("2", (80, 24), "Storage and mail, last 10 s ─ 4 of 7 ─"),
        ("1", (120, 30), "Routes, last 10 s ─ 12 of 13 ─"),
        ("1", (48, 20), "Routes, last 10 s ─ 7 of 13"),
        ("1/events", (80, 24), "Routes, last 10 s ──"),
        ("3", (80, 24), "Groups ──"),
    ] {
        let line = title(crowded(), key, size);
        assert!(line.contains(expected), "{key} {size:?}: {line}");
    }
}

/// A server in trouble that stopped answering as well.
fn lost() -> Vec<Message> {
    let loss = Message::Lost {
        at: 54_000,
        reason: "it ended the stream, as a server that shuts down does".to_owned(),
        retry_ms: 1_000,
    };
    drowning().into_iter().chain([loss, Message::Tick(60_000)]).collect()
}

#[test]
fn warnings_take_the_place_of_no_panel() {
    for (story, size) in [
        (drowning(), (80, 24)),
        (drowning(), (80, 18)),
        (drowning(), (48, 20)),
        (lost(), (80, 24)),
        (extreme(), (80, 24)),
    ] {
        let model = after(RICH, story);
        let drawn = text(&picture(&model, size.0, size.1));
        for title in ["HTTP", "Pool", "Events", "Mail", "Tokens", "Process", "Routes", " more"] {
            let found = drawn.lines().skip(2).any(|line| line.contains(title));
            assert!(found, "{title} at {size:?}:\n{drawn}");
        }
        assert!(drawn.lines().last().unwrap().contains("? help"), "{drawn}");
    }
    for story in [drowning(), stale()] {
        let drawn = text(&picture(&after(RICH, story), 40, 10));
        assert!(drawn.contains(" Process "), "{drawn}");
    }
}

#[test]
fn whether_the_server_is_ready_stands_there_at_every_size() {
    let mut unready = healthy(12);
    unready["health"]["status"] = json!("unready");
    let told = [
        (live(), "● ready"),
        (asked(), "● ready"),
        (drowning(), "● degraded"),
        (stale(), "● silent, was ready"),
        (lost(), "● silent, was degraded"),
        (vec![opened(), stats(0, unready)], "● unready"),
    ];
    for (story, expected) in told {
        let model = after(RICH, story);
        for (width, height) in [(40, 10), (40, 12), (80, 10), (80, 15), (80, 24), (48, 20), (120, 40)] {
            let drawn = text(&picture(&model, width, height));
            let head = drawn.lines().take(3).collect::<Vec<_>>().join("\n");
            assert!(head.contains(expected), "{expected} at {width}x{height}:\n{drawn}");
        }
    }
}

#[test]
fn dependencies_without_room_leave_a_sign_and_old_ones_are_dim() {
    let with_mail = |story: Vec<Message>| {
        let mut model = after(RICH, story);
        let dependencies = &mut model.live.latest.as_mut().unwrap().health.dependencies;
        let mut mail = dependencies[0].clone();
        (mail.name, mail.status) = ("mail".to_owned(), "degraded".to_owned());
        dependencies.push(mail);
        model
    };
    let third = |model: &Model, width| {
        let drawn = picture(model, width, 24);
        let line = text(&drawn).lines().nth(2).unwrap().to_owned();
        (line, drawn)
    };
    let (line, drawn) = third(&with_mail(live()), 80);
    assert_eq!(
        line,
        " ● ready   database ok   revocations ok   files local ok   mail degraded"
    );
    assert_eq!((drawn[(1, 2)].fg, drawn[(64, 2)].fg), (Color::Green, Color::Yellow));
    let (line, drawn) = third(&with_mail(stale()), 80);
    assert_eq!(
        line,
        " ● silent, was ready   mail degraded   database ok   revocations ok …"
    );
    assert_eq!((drawn[(1, 2)].fg, drawn[(28, 2)].fg), (Color::Red, Color::Reset));
    assert!(drawn[(28, 2)].modifier.contains(Modifier::DIM));
    assert_eq!(
        third(&with_mail(live()), 48).0,
        " ● ready   mail degraded   database ok …"
    );
}

#[test]
fn the_screen_of_the_pool_tells_each_figure_once() {
    let drawn = text(&picture(&pressed(&after(RICH, live()), "2"), 120, 40)).to_lowercase();
    for figure in ["read 268 ms ago", "0 of 64", "hashing"] {
        assert_eq!(drawn.matches(figure).count(), 1, "{figure}:\n{drawn}");
    }
}

#[test]
fn every_size_can_be_drawn_in_every_state() {
    for messages in [empty(), refused(), live(), asked(), drowning(), stale(), extreme()] {
        let story = after(RICH, messages);
        for key in ["1", "2", "3", "4", "?"] {
            let model = pressed(&story, key);
            for (width, height) in [
                (40, 10),
                (41, 17),
                (75, 14),
                (76, 15),
                (76, 60),
                (110, 16),
                (300, 90),
                (300, 11),
            ] {
                picture(&model, width, height);
            }
        }
    }
}

#[test]
fn a_terminal_of_ascii_gets_ascii() {
    let profile = Profile {
        colour: true,
        ascii: true,
    };
    for messages in [live(), drowning(), stale()] {
        let story = after(profile, messages);
        for key in ["1", "2", "3", "4", "?"] {
            // The one question that the dashboard asks.
            let drawn = text(&picture(&pressed(&story, key), 120, 40)).replace("refresh them?", "refresh them");
            assert!(drawn.is_ascii(), "{drawn}");
            // Whatever is shown as a question mark has no letter of its own.
            assert!(
                key == "?" || !drawn.trim_end().lines().rev().skip(1).any(|line| line.contains('?')),
                "{drawn}"
            );
        }
    }
    compare(
        "saturated-ascii-80x24",
        &text(&picture(&after(profile, drowning()), 80, 24)),
    );
}

#[test]
fn colour_is_for_trouble_and_goes_when_it_is_not_wanted() {
    let has = |profile, messages, colour: fn(Color) -> bool| {
        let drawn = picture(&after(profile, messages), 120, 40);
        drawn.content().iter().any(|cell| colour(cell.fg) || colour(cell.bg))
    };
    let plain = Profile {
        colour: false,
        ascii: false,
    };
    assert!(has(RICH, drowning(), |colour| colour == Color::Red) && has(RICH, stale(), |colour| colour == Color::Red));
    assert!(!has(RICH, live(), |colour| matches!(
        colour,
        Color::Red | Color::Yellow
    )));
    for messages in [live(), drowning(), stale()] {
        assert!(!has(plain, messages, |colour| colour != Color::Reset));
    }
}

#[test]
fn the_same_words_stand_there_without_colour() {
    let plain = Profile {
        colour: false,
        ascii: false,
    };
    assert_eq!(
        text(&picture(&after(RICH, drowning()), 120, 40)),
        text(&picture(&after(plain, drowning()), 120, 40))
    );
}

#[test]
fn plain_text_for_pipes() {
    compare("plain-live", &tui::plain(&after(RICH, live())));
    compare("plain-saturated", &tui::plain(&after(RICH, drowning())));
    let ascii = Profile {
        colour: false,
        ascii: true,
    };
    assert!(tui::plain(&after(ascii, drowning())).is_ascii());
}
