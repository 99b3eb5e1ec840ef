//! What keys and messages do to the model.
use serde_json::json;
use tui::model::{Link, Screen};
use tui::{Effect, Key, Message, Model, Way, table, update};

use crate::scenes::{RICH, after, drowning, healthy, keys, live, opened, stale, stats};

fn press(model: &mut Model, key: Key) -> Effect {
    update(model, Message::Key(key))
}

fn names(model: &Model) -> Vec<String> {
    table::rows(model)
        .into_iter()
        .map(|row| row.cells[0].text.clone())
        .collect()
}

#[test]
fn screens_are_reached_by_number_and_in_turn() {
    let mut model = after(RICH, live());
    press(&mut model, Key::Char('3'));
    assert_eq!(model.screen, Screen::Events);
    press(&mut model, Key::Tab);
    press(&mut model, Key::Tab);
    assert_eq!(model.screen, Screen::Overview);
    press(&mut model, Key::BackTab);
    assert_eq!(model.screen, Screen::Mail);
}

#[test]
fn the_cause_of_a_warning_is_one_key_away() {
    let mut model = after(RICH, drowning());
    let warnings = model.warnings();
    let wanted = warnings
        .iter()
        .position(|warning| warning.screen == Screen::Mail)
        .expect("a warning about mail");
    for _ in 0..wanted {
        press(&mut model, Key::Down);
    }
    press(&mut model, Key::Enter);
    assert_eq!(model.screen, Screen::Mail);
}

#[test]
fn rows_are_filtered_and_sorted() {
    let mut model = after(RICH, live().into_iter().chain(keys("3")));
    assert_eq!(names(&model), ["webhooks", "usage", "welcome"]);
    press(&mut model, Key::Char('S'));
    assert_eq!(names(&model), ["welcome", "usage", "webhooks"]);
    // From the second of five columns round to the first: by name, from its first letter.
    for _ in 0..4 {
        press(&mut model, Key::Char('s'));
    }
    assert_eq!(names(&model), ["usage", "webhooks", "welcome"]);
    for message in keys("/WE") {
        update(&mut model, message);
    }
    assert_eq!(names(&model), ["webhooks", "welcome"]);
    press(&mut model, Key::Char('q'));
    assert_eq!((names(&model), model.choice().filter.as_str()), (Vec::new(), "WEq"));
    press(&mut model, Key::Backspace);
    press(&mut model, Key::Enter);
    assert_eq!(names(&model), ["webhooks", "welcome"]);
    press(&mut model, Key::Esc);
    assert_eq!(names(&model).len(), 3);
}

#[test]
fn screens_without_a_table_have_no_filter() {
    let mut model = after(RICH, live().into_iter().chain(keys("4")));
    press(&mut model, Key::Char('/'));
    assert!(!model.writing);
}

#[test]
fn the_chosen_row_stays_inside() {
    let mut model = after(RICH, live().into_iter().chain(keys("3")));
    press(&mut model, Key::Char('G'));
    assert_eq!(model.choice().row, 2);
    press(&mut model, Key::Down);
    assert_eq!(model.choice().row, 2);
    for message in keys("/webh") {
        update(&mut model, message);
    }
    assert_eq!(model.choice().row, 0);
}

#[test]
fn a_frozen_picture_holds_while_reading_goes_on() {
    let mut model = after(RICH, live());
    press(&mut model, Key::Char('f'));
    let shown = model.shown().clone();
    update(&mut model, stats(90_000, healthy(90)));
    update(&mut model, Message::Tick(95_000));
    assert_eq!(*model.shown(), shown);
    assert_eq!(model.age(), Some(6_000));
    press(&mut model, Key::Char('f'));
    assert_eq!((model.shown().points.len(), model.age()), (91, Some(5_000)));
}

#[test]
fn the_pace_has_limits() {
    let mut model = after(RICH, live());
    assert_eq!(press(&mut model, Key::Char('+')), Effect::Interval(500));
    assert_eq!(press(&mut model, Key::Char('+')), Effect::Interval(250));
    assert_eq!(press(&mut model, Key::Char('+')), Effect::None);
    assert_eq!(press(&mut model, Key::Char('-')), Effect::Interval(500));
    for _ in 0..20 {
        press(&mut model, Key::Char('-'));
    }
    assert_eq!(model.interval_ms, 60_000);
}

#[test]
fn quitting_and_reading_now_are_effects() {
    let mut model = after(RICH, live());
    assert_eq!(press(&mut model, Key::Char('q')), Effect::Quit);
    assert_eq!(press(&mut model, Key::Ctrl('c')), Effect::Quit);
    assert_eq!(press(&mut model, Key::Char('r')), Effect::Refresh);
    assert_eq!(update(&mut model, Message::Resized), Effect::Redraw);
    assert_eq!(press(&mut model, Key::Char('x')), Effect::None);
}

#[test]
fn help_comes_and_goes() {
    let mut model = after(RICH, live());
    press(&mut model, Key::Char('?'));
    assert!(model.help);
    press(&mut model, Key::Esc);
    assert!(!model.help);
    press(&mut model, Key::Char('?'));
    press(&mut model, Key::Char('2'));
    assert!(!model.help && model.screen == Screen::Pool);
}

#[test]
fn rates_come_from_differences() {
    let mut model = after(RICH, [opened(), stats(0, healthy(0))]);
    assert_eq!(model.live.rates(), None);
    let mut later = healthy(0);
    later["http"]["requests"] = json!(later["http"]["requests"].as_u64().unwrap() + 500);
    later["http"]["by_class"][4] = json!(50);
    later["http"]["total_micros"] = json!(later["http"]["total_micros"].as_u64().unwrap() + 1_000_000);
    later["log"]["head"] = json!(later["log"]["head"].as_u64().unwrap() + 30);
    update(&mut model, stats(2_000, later));
    let rates = model.live.rates().unwrap();
    assert_eq!((rates.requests, rates.events, rates.mean_ms), (250.0, 15.0, Some(2.0)));
    assert_eq!((rates.by_class[4], rates.share(5), rates.share(4)), (25.0, 0.1, 0.0));
}

#[test]
fn another_process_has_no_rates_with_the_one_before() {
    let mut model = after(RICH, [opened(), stats(0, healthy(50))]);
    let mut younger = healthy(51);
    younger["uptime_seconds"] = json!(1);
    update(&mut model, stats(1_000, younger));
    assert_eq!(model.live.rates(), None);
    assert_eq!(model.live.happenings[0].what.text(), "the server was restarted");
}

#[test]
fn a_restart_is_one_line_and_another_process_is_none() {
    let other = |uptime: u64, version: &str| {
        let mut figures = healthy(0);
        figures["node"] = json!("019ab3c4-1111-7222-8333-94444555ffff");
        figures["uptime_seconds"] = json!(uptime);
        figures["version"] = json!(version);
        figures
    };
    let lost = |at| Message::Lost {
        at,
        reason: "connection refused".to_owned(),
        retry_ms: 8_000,
    };
    let told = |uptime, version| -> Vec<String> {
        let story = [
            opened(),
            stats(0, healthy(0)),
            lost(1_000),
            stats(16_000, other(uptime, version)),
        ];
        let model = after(RICH, story);
        let happenings = model.live.happenings.iter();
        happenings
            .map(|happening| happening.what.text())
            .take_while(|text| !text.contains("stopped"))
            .collect()
    };
    assert_eq!(
        told(3, "0.1.0"),
        ["the server was restarted and answers again, after 16 s"]
    );
    assert_eq!(
        told(3, "0.2.0"),
        ["the server was restarted and answers again, after 16 s, version 0.2.0"]
    );
    assert_eq!(
        told(90_000, "0.1.0"),
        [
            "another process answers: 019ab3c4…ffff",
            "the server answers again, after 16 s"
        ]
    );
}

#[test]
fn a_lost_server_leaves_a_gap_and_is_told() {
    let mut model = after(RICH, stale());
    assert!(matches!(
        &model.link,
        Link::Lost {
            since: 90_000,
            retry_at: 98_000,
            ..
        }
    ));
    assert_eq!(model.age(), Some(7_500));
    assert!(
        model
            .live
            .points
            .iter()
            .rev()
            .take(4)
            .all(|point| point.gauges.is_none())
    );
    assert_eq!(
        model.live.happenings[0].what.text(),
        "the server stopped answering (connection refused)"
    );
    update(&mut model, stats(98_000, healthy(98)));
    assert_eq!(model.link, Link::Live { way: Way::Stream });
    assert_eq!(
        model.live.happenings[0].what.text(),
        "the server answers again, after 9.0 s"
    );
    // The rate over the gap is the mean over its whole length, not a leap.
    let rates = model.live.rates().unwrap();
    assert!(
        rates.requests > 2_000.0 && rates.requests < 5_000.0,
        "{}",
        rates.requests
    );
}

#[test]
fn history_is_bounded() {
    let model = after(RICH, (0..2_000).map(|step| stats(step * 1_000, healthy(step))));
    assert_eq!(model.live.points.len(), 600);
    assert!(model.live.happenings.len() <= 200);
}

#[test]
fn silence_without_a_failure_is_noticed() {
    let mut model = after(RICH, live());
    assert!(!model.is_old());
    update(&mut model, Message::Tick(93_000));
    assert!(model.is_old());
}
