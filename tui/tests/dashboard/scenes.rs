//! Stories told in messages, from which every picture and every judgement is made.
use openapi::StatsBody;
use serde_json::{Value, json};
use tui::{Message, Model, Profile, Way, update};

/// All that a terminal can show.
pub(crate) const RICH: Profile = Profile {
    colour: true,
    ascii: false,
};

/// How long a process has run when the stories begin, in seconds.
pub(crate) const UPTIME: u64 = 11_520;

/// A sum of a figure that goes up and down between `least` and `most`, after so many steps.
fn summed(step: u64, least: u64, most: u64) -> u64 {
    (0..=step).map(|step| wave(step, least, most)).sum()
}

/// A figure that goes up and down.
fn wave(step: u64, least: u64, most: u64) -> u64 {
    let phase = step % 24;
    let height = if phase < 12 { phase } else { 24 - phase };
    least + (most - least) * height / 12
}

/// The figures of a server in good health, so many seconds into the story.
pub(crate) fn healthy(step: u64) -> Value {
    let requests = 1_204_000 + summed(step, 2_400, 4_900);
    let events = 340_000 + summed(step, 380, 640);
    json!({
        "version": "0.1.0",
        "node": "019ab3c4-1111-7222-8333-944445555abc",
        "uptime_seconds": UPTIME + step,
        "health": {"status": "ready", "dependencies": [
            {"name": "database", "status": "ok"},
            {"name": "revocations", "status": "ok"},
            {"name": "files local", "status": "ok"},
        ]},
        "http": {
            "requests": requests,
            "by_class": [0, requests - requests / 200, 0, requests / 200, 0],
            "total_micros": requests * 1_900,
        },
        "pool": {"max": 15, "open": 12, "idle": 12 - wave(step, 2, 9), "utilisation": wave(step, 2, 9) as f64 / 15.0},
        "log": {"unsequenced": step % 3, "head": events, "lags": [
            {"group": "usage", "events": step % 4},
            {"group": "welcome", "events": 0},
            {"group": "webhooks", "events": 840 - 9 * step.min(90)},
        ]},
        "workers": {
            "sequenced": events, "handled": events * 2, "handler_failures": 3,
            "mails_sent": 5_120 + 3 * step, "mail_failures": 14,
        },
        "mail": {"queued": wave(step, 4, 18), "sending": 2, "dead": 0, "oldest_due_seconds": step % 5},
        "passwords": {"waiting": 0, "capacity": 64, "running": 1 + step % 2, "shed": 12},
        "revocations_age_ms": 120 + 37 * (step % 5),
        "backends": [
            {"name": "files local", "breaker": "closed", "calls": 88_000 + 31 * step, "failures": 2, "refused": 0,
             "total_micros": (88_000 + 31 * step) * 940},
            {"name": "mail smtp", "breaker": "closed", "calls": 5_200 + 3 * step, "failures": 14, "refused": 0,
             "total_micros": (5_200 + 3 * step) * 41_000},
        ],
    })
}

/// The figures of a server that everything goes wrong with, so many seconds into it.
pub(crate) fn saturated(step: u64) -> Value {
    let mut body = healthy(100 + step);
    let requests = body["http"]["requests"].as_u64().expect("a number");
    let failed = 160 * step;
    body["health"] = json!({"status": "degraded", "dependencies": [
        {"name": "database", "status": "ok"},
        {"name": "revocations", "status": "degraded",
         "reason": "the feed was last read 9 s ago; tokens will be refused when it stays so"},
        {"name": "files local", "status": "degraded", "reason": "its breaker is open after repeated failures"},
    ]});
    body["http"]["by_class"] = json!([0, requests - requests / 200 - failed, 0, requests / 200, failed]);
    body["http"]["total_micros"] = json!(requests * 1_900 + summed(step, 100, 240) * 400_000);
    body["pool"] = json!({"max": 15, "open": 15, "idle": 3_u64.saturating_sub(step), "utilisation": 1.0});
    body["log"]["unsequenced"] = json!(400 * step);
    body["log"]["head"] = json!(400_000 + 20 * step);
    body["log"]["lags"][1]["events"] = json!(37 * step);
    body["workers"]["handler_failures"] = json!(3 + step / 2);
    body["mail"] = json!({"queued": 60 + 12 * step, "sending": 4, "dead": step / 10, "oldest_due_seconds": 60 + step});
    body["passwords"] = json!({"waiting": 64, "capacity": 64, "running": 2, "shed": 12 + 7 * step});
    body["revocations_age_ms"] = json!(2_000 + 300 * step);
    body["backends"][0]["breaker"] = json!("open");
    body["backends"][0]["refused"] = json!(11 * step);
    body
}

/// The figures as the client reads them.
pub(crate) fn body(figures: Value) -> Box<StatsBody> {
    Box::new(serde_json::from_value(figures).expect("figures of the contract"))
}

/// An answer at a time in milliseconds.
pub(crate) fn stats(at: u64, figures: Value) -> Message {
    Message::Stats {
        at,
        way: Way::Stream,
        body: body(figures),
    }
}

/// The beginning of every story.
pub(crate) fn opened() -> Message {
    Message::Opened {
        address: "127.0.0.1:9090".to_owned(),
        interval_ms: 1_000,
    }
}

/// Nothing was heard yet.
pub(crate) fn empty() -> Vec<Message> {
    vec![opened(), Message::Tick(500)]
}

/// Nobody listens at the address.
pub(crate) fn refused() -> Vec<Message> {
    vec![
        opened(),
        Message::Lost {
            at: 3,
            reason: "connection refused".to_owned(),
            retry_ms: 1_000,
        },
        Message::Tick(500),
    ]
}

/// A minute and a half of a healthy server.
pub(crate) fn live() -> Vec<Message> {
    let answers = (0..90).map(|step| stats(step * 1_000, healthy(step)));
    std::iter::once(opened())
        .chain(answers)
        .chain([Message::Tick(89_400)])
        .collect()
}

/// A server that goes under after half a minute.
pub(crate) fn drowning() -> Vec<Message> {
    let before = (70..100).map(|step| stats((step - 70) * 1_000, healthy(step)));
    let after = (0..24).map(|step| stats((step + 30) * 1_000, saturated(step)));
    std::iter::once(opened())
        .chain(before)
        .chain(after)
        .chain([Message::Tick(53_300)])
        .collect()
}

/// A healthy server that stopped answering.
pub(crate) fn stale() -> Vec<Message> {
    let mut messages = live();
    for (at, retry_ms) in [(90_000, 1_000), (91_000, 1_000), (92_000, 2_000), (94_000, 4_000)] {
        messages.push(Message::Lost {
            at,
            reason: "connection refused".to_owned(),
            retry_ms,
        });
    }
    messages.push(Message::Tick(96_500));
    messages
}

/// The model after a story.
pub(crate) fn after(profile: Profile, messages: impl IntoIterator<Item = Message>) -> Model {
    let mut model = Model::new(profile);
    for message in messages {
        update(&mut model, message);
    }
    model
}

/// Keys, as messages.
pub(crate) fn keys(text: &str) -> impl Iterator<Item = Message> {
    text.chars().map(|letter| Message::Key(tui::Key::Char(letter)))
}
