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

/// The steps of one wave.
const WAVE: u64 = 24;

/// A sum of a figure that goes up and down between `least` and `most`, after so many steps.
fn summed(step: u64, least: u64, most: u64) -> u64 {
    let sum = |steps| (0..steps).map(|step| wave(step, least, most)).sum::<u64>();
    (step + 1) / WAVE * sum(WAVE) + sum((step + 1) % WAVE)
}

/// A figure that goes up and down.
fn wave(step: u64, least: u64, most: u64) -> u64 {
    let phase = step % WAVE;
    let height = if phase < 12 { phase } else { WAVE - phase };
    least + (most - least) * height / 12
}

/// How many of a thousand fall into which bucket, counted from the one that is given.
const SPREAD: [u64; 6] = [120, 480, 270, 100, 22, 8];

/// The upper bounds of the buckets in microseconds.
const BOUNDS: [u64; 16] = [
    5, 25, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000,
    60_000_000,
];

/// The times of so many calls, the fastest of which lie in the bucket with this number.
pub(crate) fn times(count: u64, fastest: usize) -> Value {
    both((count, fastest), (0, 0))
}

/// The times of two kinds of calls together.
fn both(some: (u64, usize), others: (u64, usize)) -> Value {
    let mut counts = [0_u64; BOUNDS.len() + 1];
    for (count, fastest) in [some, others] {
        for (index, part) in SPREAD.iter().enumerate() {
            counts[(fastest + index).min(BOUNDS.len())] += count * part / 1_000;
        }
    }
    let sums = counts
        .iter()
        .zip(BOUNDS)
        .map(|(count, bound)| count.saturating_mul(bound * 2 / 3));
    let sum = sums.fold(0, u64::saturating_add);
    if counts.iter().all(|count| *count == 0) {
        return json!({"bounds_micros": [], "counts": [], "sum_micros": 0});
    }
    json!({"bounds_micros": BOUNDS, "counts": counts, "sum_micros": sum})
}

/// A route with its answers by status, and where its fastest lie.
fn route(method: &str, route: &str, statuses: &[(u16, u64)], fastest: usize) -> Value {
    let all: u64 = statuses.iter().map(|(_, count)| count).sum();
    let counted = statuses.iter().filter(|(_, count)| *count > 0);
    let statuses: Vec<Value> = counted
        .map(|(status, count)| json!({"status": status, "count": count}))
        .collect();
    json!({"method": method, "route": route, "statuses": statuses, "latency": times(all, fastest)})
}

/// The figures of a server in good health, so many seconds into the story.
pub(crate) fn healthy(step: u64) -> Value {
    let requests = 1_204_000 + summed(step, 2_400, 4_900);
    let events = 340_000 + summed(step, 380, 640);
    let share = |thousandths: u64| requests * thousandths / 1_000;
    let in_use = wave(step, 2, 9);
    let (stored, mails) = (88_000 + 31 * step, 5_200 + 3 * step);
    json!({
        "version": "0.1.0",
        "node": "019ab3c4-1111-7222-8333-944445555abc",
        "at_ms": 1_767_225_600_000_u64 + 1_000 * step,
        "uptime_seconds": UPTIME + step,
        "webhooks": {"queued": 0, "sending": 0, "dead": 0, "oldest_due_seconds": 0, "delivered": 0, "retried": 0,
            "given_up": 0, "disabled": 0, "lost": 0, "time": {"bounds_micros": [], "counts": [], "sum_micros": 0}},
        "health": {"status": "ready", "dependencies": [
            {"name": "database", "status": "ok"},
            {"name": "revocations", "status": "ok"},
            {"name": "files local", "status": "ok"},
        ]},
        "process": {
            "resident_bytes": 88_080_384 + 65_536 * wave(step, 0, 40), "virtual_bytes": 812_000_000,
            "cpu_micros": 4_100_000_000_u64 + 1_000 * summed(step, 620, 940), "threads": 9,
            "open_files": 80 + wave(step, 0, 12), "max_files": 1_024, "started_at_ms": 1_767_214_080_000_u64,
        },
        "runtime": {"workers": 2, "alive_tasks": 104 + wave(step, 0, 30), "queued_tasks": step % 2,
            "busy_micros": 5_000_000_000_u64 + 1_000 * summed(step, 500, 820)},
        "http": {
            "requests": requests,
            "by_class": [0, requests - share(5), 0, share(5), 0],
            "total_micros": requests * 1_900,
            "in_flight": wave(step, 3, 14), "connections": 64, "streams": 3,
            "latency": times(requests, 5),
            "routes": [
                route("POST", "/v1/events", &[(201, share(430))], 5),
                route("GET", "/v1/me", &[(200, share(330)), (401, share(4))], 3),
                route("GET", "/v1/files/{id}/content", &[(200, share(150)), (404, share(1))], 4),
                route("GET", "/v1/auth/whoami", &[(200, share(60))], 2),
                route("POST", "/v1/files", &[(201, share(20))], 8),
                route("POST", "/v1/auth/login", &[(200, 6_000 + 6 * step), (401, 900 + step)], 10),
                route("POST", "/v1/auth/register", &[(202, 800 + step / 8)], 10),
                route("GET", "/v1/events/stream", &[(200, 3)], 5),
                route("OTHER", "unmatched", &[(404, 14)], 2),
            ],
        },
        "pool": {"max": 15, "open": 12, "idle": 12 - in_use, "utilisation": in_use as f64 / 15.0,
            "failures": 0, "slow": 2, "statements": times(3 * requests, 3)},
        "log": {"unsequenced": step % 3, "head": events, "lags": [
            {"group": "usage", "events": step % 4, "delay": times(events, 7), "held": 0, "dead": 0},
            {"group": "welcome", "events": 0, "delay": times(800 + step / 8, 7), "held": 0, "dead": 0},
            {"group": "webhooks", "events": 840 - 9 * step.min(90), "delay": times(events / 2, 12), "held": 0, "dead": 0},
        ], "append": times(events, 5), "publish": times(events, 6)},
        "workers": {
            "sequenced": events, "handled": events * 2, "handler_failures": 3,
            "mails_sent": 5_120 + 3 * step, "mail_failures": 14,
        },
        "mail": {"queued": wave(step, 4, 18), "sending": 2, "dead": 0, "oldest_due_seconds": step % 5},
        "passwords": {"waiting": 0, "capacity": 64, "running": 1 + step % 2, "shed": 12, "time": times(7_000 + 7 * step, 10)},
        "tokens": {
            "accepted": share(800),
            "refused": [{"code": "token_expired", "count": share(3)}, {"code": "token_outdated", "count": share(1)}],
            "time": times(share(804), 0),
        },
        "revocations_age_ms": 120 + 37 * (step % 5),
        "backends": [
            {"name": "files local", "kind": "files", "breaker": "closed", "calls": stored, "failures": 2, "refused": 0,
             "total_micros": stored * 940, "operations": [
                {"operation": "get", "failures": 0, "time": times(27 * step + 80_000, 4)},
                {"operation": "put", "failures": 2, "time": times(4 * step + 8_000, 7)},
             ]},
            {"name": "mail", "kind": "mail", "breaker": "closed", "calls": mails, "failures": 14, "refused": 0,
             "total_micros": mails * 41_000, "operations": [
                {"operation": "send", "failures": 14, "time": times(mails, 8)},
             ]},
        ],
    })
}

/// The figures of a server that everything goes wrong with, so many seconds into it.
pub(crate) fn saturated(step: u64) -> Value {
    let mut body = healthy(100 + step);
    let requests = body["http"]["requests"].as_u64().expect("a number");
    let (failed, shed) = (160 * step, 90 * step);
    let stored = requests * 20 / 1_000;
    body["health"] = json!({"status": "degraded", "dependencies": [
        {"name": "database", "status": "ok"},
        {"name": "revocations", "status": "degraded",
         "reason": "the feed was last read 9 s ago; tokens will be refused when it stays so"},
        {"name": "files local", "status": "degraded", "reason": "its breaker is open after repeated failures"},
    ]});
    body["process"]["open_files"] = json!(700 + 12 * step);
    let http = &mut body["http"];
    http["by_class"] = json!([
        0,
        requests - requests / 200 - failed - shed,
        0,
        requests / 200,
        failed + shed
    ]);
    http["total_micros"] = json!(requests * 1_900 + summed(step, 100, 240) * 400_000);
    http["in_flight"] = json!(120 + 40 * step);
    http["connections"] = json!(620 + 12 * step);
    http["latency"] = both((requests, 5), (900 * step, 11));
    http["routes"][4] = route("POST", "/v1/files", &[(201, stored), (500, failed)], 9);
    http["routes"][5] = route("POST", "/v1/auth/login", &[(200, 6_700), (401, 1_000), (503, shed)], 10);
    body["pool"] = json!({"max": 15, "open": 15, "idle": 3_u64.saturating_sub(step), "utilisation": 1.0,
        "failures": 0, "slow": 2 + 400 * step, "statements": both((3 * requests, 3), (2_000 * step, 10))});
    body["log"]["unsequenced"] = json!(400 * step);
    body["log"]["head"] = json!(400_000 + 60 * step);
    body["log"]["lags"][1]["events"] = json!(37 * step);
    body["log"]["lags"][1]["held"] = json!(12);
    body["log"]["lags"][1]["dead"] = json!(3);
    body["log"]["publish"] = both((400_000, 6), (60 * step, 13));
    body["workers"]["handler_failures"] = json!(3 + step / 2);
    body["mail"] = json!({"queued": 60 + 12 * step, "sending": 4, "dead": step / 10, "oldest_due_seconds": 60 + step});
    body["passwords"]["waiting"] = json!(64);
    body["passwords"]["running"] = json!(2);
    body["passwords"]["shed"] = json!(12 + 7 * step);
    body["tokens"]["refused"][0]["count"] = json!(requests * 3 / 1_000 + 1_900 * step);
    body["revocations_age_ms"] = json!(2_000 + 300 * step);
    body["backends"][0]["breaker"] = json!("open");
    body["backends"][0]["refused"] = json!(11 * step);
    body
}

/// A server that has just started and did nothing yet, and then figures beyond all that is likely.
pub(crate) fn extreme() -> Vec<Message> {
    let mut zero = older(healthy(0));
    zero["uptime_seconds"] = json!(0);
    zero["at_ms"] = json!(1);
    zero["http"] = json!({"requests": 0, "by_class": [0, 0, 0, 0, 0], "total_micros": 0});
    zero["log"] = json!({"unsequenced": 0, "head": 0, "lags": []});
    zero["backends"] = json!([]);
    let mut vast = saturated(10);
    const VAST: u64 = u64::MAX / 4;
    vast["at_ms"] = json!(1_001);
    vast["process"] = json!({"resident_bytes": VAST, "virtual_bytes": VAST, "cpu_micros": VAST, "threads": VAST,
        "open_files": VAST, "max_files": u64::MAX, "started_at_ms": 0});
    vast["http"]["requests"] = json!(VAST);
    vast["http"]["by_class"] = json!([0, VAST / 2, 0, VAST / 4, VAST / 4]);
    for name in ["in_flight", "connections", "streams"] {
        vast["http"][name] = json!(VAST);
    }
    vast["http"]["routes"] = json!([
        route(
            "GET",
            "/v1/files/{id}/content",
            &[(200, VAST / 1_000), (503, VAST / 1_000)],
            12
        ),
        route(
            "DELETE",
            "/v1/admin/organisations/{organisation}/users/{id}/sessions",
            &[(204, 1)],
            0
        ),
    ]);
    vast["pool"] = json!({"max": u32::MAX, "open": u32::MAX, "idle": 0, "utilisation": 1.0, "failures": VAST, "slow": VAST,
        "statements": times(VAST / 1_000, 12)});
    vast["log"] = json!({"unsequenced": VAST, "head": VAST, "lags": [{"group": "usage", "events": VAST}],
        "append": times(VAST / 1_000, 12), "publish": times(VAST / 1_000, 12)});
    vast["mail"] = json!({"queued": VAST, "sending": VAST, "dead": VAST, "oldest_due_seconds": VAST});
    vast["passwords"] = json!({"waiting": 9_000_000, "capacity": 9_000_000, "running": 64, "shed": VAST});
    vast["revocations_age_ms"] = json!(VAST);
    vec![opened(), stats(0, zero), stats(1_000, vast)]
}

/// What a server of an older version tells of the same: neither routes nor distributions.
pub(crate) fn older(mut figures: Value) -> Value {
    for part in ["at_ms", "process", "runtime", "tokens"] {
        figures.as_object_mut().expect("an object").remove(part);
    }
    for (part, names) in [
        (
            "http",
            &["in_flight", "connections", "streams", "latency", "routes"][..],
        ),
        ("pool", &["failures", "slow", "statements"]),
        ("log", &["append", "publish"]),
        ("passwords", &["time"]),
    ] {
        for name in names {
            figures[part].as_object_mut().expect("an object").remove(*name);
        }
    }
    for (part, name) in [
        ("/backends", "operations"),
        ("/backends", "kind"),
        ("/log/lags", "delay"),
        ("/log/lags", "held"),
        ("/log/lags", "dead"),
    ] {
        let list = figures.pointer_mut(part).and_then(Value::as_array_mut).expect("a list");
        for entry in list {
            entry.as_object_mut().expect("an object").remove(name);
        }
    }
    figures
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

/// A minute and a half of a healthy server of an older version.
pub(crate) fn asked() -> Vec<Message> {
    let answers = (0..90).map(|step| Message::Stats {
        at: step * 1_000,
        way: Way::Asked,
        body: body(older(healthy(step))),
    });
    std::iter::once(opened()).chain(answers).collect()
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
