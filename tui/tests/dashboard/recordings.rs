//! A recording moves the model exactly as what was recorded did.
use tui::Message;
use tui::record::{RecordError, Recorder, read};

use crate::scenes::{RICH, after, drowning, keys, live, stale};

/// A path of its own for each test, below cargo's folder for such things.
fn path(name: &str) -> std::path::PathBuf {
    let path =
        std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.jsonl", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

#[test]
fn what_is_recorded_is_played_alike() {
    let path = path("alike");
    let story: Vec<Message> = [live(), drowning(), stale()]
        .into_iter()
        .flatten()
        .chain(keys("3/we"))
        .chain([Message::Resized])
        .collect();
    let mut recorder = Recorder::create(&path).unwrap();
    for message in &story {
        recorder.write(message).unwrap();
    }
    drop(recorder);
    let played = read(&path).unwrap();
    assert_eq!(played, story);
    assert_eq!(after(RICH, played), after(RICH, story));
}

#[test]
fn a_recording_is_never_written_over() {
    let path = path("twice");
    Recorder::create(&path).unwrap();
    assert!(matches!(Recorder::create(&path), Err(RecordError::File { .. })));
}

#[test]
fn a_line_that_is_no_message_is_named() {
    let path = path("broken");
    std::fs::write(&path, "{\"tick\":1}\n{\"tock\":2}\n").unwrap();
    let error = read(&path).unwrap_err();
    assert!(matches!(error, RecordError::Line { line: 2, .. }), "{error}");
}
