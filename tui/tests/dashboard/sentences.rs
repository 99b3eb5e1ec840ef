//! What somebody is told: each kind of trouble has its sentence, and health has none.
use serde_json::{Value, json};
use tui::warning::Severity;

use crate::scenes::{RICH, after, drowning, healthy, keys, live, opened, stats, times};

/// The warnings after fifteen seconds of figures that `change` has changed.
fn told(change: impl Fn(u64, &mut Value)) -> Vec<(Severity, String)> {
    let figures = |step: u64| {
        let mut figures = healthy(step);
        figures["log"]["lags"] = json!([]);
        change(step, &mut figures);
        figures
    };
    let model = after(
        RICH,
        std::iter::once(opened()).chain((0..15).map(|step| stats(step * 1_000, figures(step)))),
    );
    model
        .warnings()
        .iter()
        .map(|warning| (warning.severity, warning.text.clone()))
        .collect()
}

fn only(change: impl Fn(u64, &mut Value)) -> (Severity, String) {
    let mut all = told(change);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

#[test]
fn health_has_no_sentence() {
    assert_eq!(after(RICH, live()).warnings(), []);
}

#[test]
fn the_worst_stands_first() {
    let model = after(RICH, drowning());
    let warnings = model.warnings();
    let severities: Vec<Severity> = warnings.iter().map(|warning| warning.severity).collect();
    assert!(severities.is_sorted_by(|one, two| one >= two), "{warnings:?}");
    assert_eq!(severities[0], Severity::Severe);
}

#[test]
fn a_full_pool() {
    let (severity, text) =
        only(|_, figures| figures["pool"] = json!({"max": 8, "open": 8, "idle": 0, "utilisation": 1.0}));
    assert_eq!(
        (severity, text.as_str()),
        (
            Severity::Severe,
            "The pool is saturated: 8 connections in use, for 14 s; requests wait."
        )
    );
    let (severity, text) =
        only(|_, figures| figures["pool"] = json!({"max": 10, "open": 10, "idle": 1, "utilisation": 0.9}));
    assert_eq!(
        (severity, text.as_str()),
        (
            Severity::Warn,
            "The pool is nearly full: 9 of 10 connections in use, for 14 s."
        )
    );
    // One full reading is only just so.
    let (severity, _) = only(|step, figures| {
        if step == 14 {
            figures["pool"] = json!({"max": 8, "open": 8, "idle": 0, "utilisation": 1.0});
        }
    });
    assert_eq!(severity, Severity::Warn);
}

#[test]
fn events_that_wait() {
    let (severity, text) = only(|_, figures| {
        figures["log"]["unsequenced"] = json!(40);
        figures["log"]["head"] = json!(1_000);
    });
    let expected = "40 committed events wait for their positions, for 14 s so far.";
    assert_eq!((severity, text.as_str()), (Severity::Severe, expected));
    let (_, text) = only(|_, figures| {
        figures["log"]["unsequenced"] = json!(1);
        figures["log"]["head"] = json!(1_000);
        figures["workers"] = Value::Null;
    });
    assert!(
        text.ends_with("This process has no workers: does one run elsewhere?"),
        "{text}"
    );
    // A sequencer that keeps pace always has some in hand.
    assert_eq!(told(|_, figures| figures["log"]["unsequenced"] = json!(300)), []);
}

#[test]
fn dead_letters_that_wait_for_somebody() {
    let group = |group: &str, dead: u64| json!({"group": group, "events": 0, "held": 4, "dead": dead});
    let (severity, text) = only(|_, figures| {
        figures["log"]["lags"] = json!([group("usage", 2), group("webhooks", 0), group("welcome", 1)])
    });
    assert_eq!(severity, Severity::Warn);
    assert_eq!(
        text,
        "3 dead letters wait for somebody to look, `plinth events dead list`: usage 2, welcome 1."
    );
    let (_, text) = only(|_, figures| figures["log"]["lags"] = json!([group("usage", 1)]));
    assert!(text.starts_with("1 dead letter waits for somebody"), "{text}");
}

#[test]
fn a_group_that_falls_behind() {
    let lag = |events: u64| json!([{"group": "usage", "events": events}]);
    let (_, text) = only(|step, figures| figures["log"]["lags"] = lag(2_000 + 30 * step));
    assert_eq!(text, "Group usage is 2,420 events behind and loses 30 more a second.");
    let (_, text) = only(|_, figures| {
        figures["log"]["lags"] = lag(100);
        figures["log"]["head"] = json!(1_000);
    });
    assert_eq!(text, "Group usage stands still, 100 events behind.");
    assert_eq!(
        told(|step, figures| figures["log"]["lags"] = lag(1_000 - 30 * step)),
        []
    );
    // What is little beside what comes in is only its last batch.
    assert_eq!(told(|step, figures| figures["log"]["lags"] = lag(200 + step)), []);
    assert_eq!(told(|step, figures| figures["log"]["lags"] = lag(step % 9)), []);
}

#[test]
fn mail_that_is_late_or_dead() {
    let (severity, text) = only(|_, figures| figures["mail"]["oldest_due_seconds"] = json!(130));
    assert!(
        severity == Severity::Warn && text.starts_with("Mail is late: the oldest due message has waited 2m10s;"),
        "{text}"
    );
    assert_eq!(
        only(|_, figures| figures["mail"]["oldest_due_seconds"] = json!(700)).0,
        Severity::Severe
    );
    assert_eq!(
        only(|_, figures| figures["mail"]["dead"] = json!(1)).1,
        "1 message is given up."
    );
    let (_, text) = only(|step, figures| figures["workers"]["mail_failures"] = json!(step * 2));
    assert_eq!(text, "Attempts to hand over mail fail, 2.0/s of late.");
}

#[test]
fn mail_that_fails_is_told_until_an_attempt_succeeds() {
    // Three messages; the attempts at them failed in the third second, and again only after half a minute.
    let told_with = |steps: u64, sent: u64, queued: u64, breaker: &str| {
        let figures = |step: u64| {
            let mut figures = healthy(step);
            figures["mail"] = json!({"queued": queued, "sending": 0, "dead": 0, "oldest_due_seconds": 0});
            let after = u64::from(step >= 20);
            figures["workers"]["mails_sent"] = json!(100 + sent * after);
            figures["workers"]["mail_failures"] = json!(if step < 3 { 0 } else { 3 });
            figures["backends"][1]["breaker"] = json!(breaker);
            figures
        };
        let story = std::iter::once(opened()).chain((0..steps).map(|step| stats(step * 1_000, figures(step))));
        let model = after(RICH, story);
        let mut texts = model.warnings().iter().map(|warning| warning.text.clone());
        texts.find(|text| text.contains("hand over mail"))
    };
    let told = |steps, sent, queued| told_with(steps, sent, queued, "closed");
    assert_eq!(
        told(5, 0, 3).as_deref(),
        Some("Attempts to hand over mail fail, 0.8/s of late.")
    );
    assert_eq!(
        told(30, 0, 3).as_deref(),
        Some("Attempts to hand over mail fail: the last one 26 s ago, none succeeded since; 3 messages wait.")
    );
    assert_eq!(told(30, 1, 2), None);
    assert_eq!(told(30, 0, 0), None);
    assert_eq!(told_with(30, 0, 3, "open"), None);
}

#[test]
fn rate_limits_that_refuse_many() {
    let limit = |share: u64| {
        move |step: u64, figures: &mut Value| {
            let limited = 10 * step * share / 100;
            let statuses = json!([{"status": 200, "count": 10 * step - limited}, {"status": 429, "count": limited}]);
            figures["http"] = json!({"requests": 10 * step, "by_class": [0, 10 * step - limited, 0, limited, 0],
                "total_micros": 0, "routes": [{"method": "GET", "route": "/v1/me", "statuses": statuses,
                "latency": times(0, 0)}]});
        }
    };
    let (severity, text) = only(limit(80));
    let expected = "Rate limits refuse 80 % of the requests with 429, 8.0/s of late, most of them on GET /v1/me.";
    assert_eq!((severity, text.as_str()), (Severity::Warn, expected));
    assert_eq!(told(limit(5)), []);
}

#[test]
fn a_burst_of_failures_is_told_when_it_begins_and_when_it_is_over() {
    // Ten requests a second; from the fifth to the ninth second three of them fail, one second without a failure between.
    let figures = |step: u64| {
        let mut figures = healthy(step);
        let failed = 3 * step.saturating_sub(4).min(2) + 3 * step.saturating_sub(7).min(2);
        figures["http"] =
            json!({"requests": 10 * step, "by_class": [0, 10 * step - failed, 0, 0, failed], "total_micros": 0});
        stats(1_000 * step, figures)
    };
    let told = |steps: u64| -> Vec<(u64, String)> {
        let model = after(RICH, std::iter::once(opened()).chain((0..steps).map(figures)));
        let told = model.live.happenings.iter().map(|told| (told.at, told.what.text()));
        told.filter(|(_, text)| text.contains("5xx")).collect()
    };
    assert_eq!(told(5), []);
    let began = (
        5_000,
        "requests began to fail with a 5xx status, 30 % of them".to_owned(),
    );
    assert_eq!(told(19), std::slice::from_ref(&began));
    let over = "no 5xx any more: 12 requests failed within 4.0 s, at worst 30 % of all".to_owned();
    assert_eq!(told(40), [(19_000, over), began]);
}

#[test]
fn an_open_breaker_is_told_once() {
    let (severity, text) = only(|_, figures| {
        figures["health"] = json!({"status": "degraded", "dependencies": [{"name": "mail", "status": "degraded", "reason": "its breaker is open"}]});
        figures["backends"][1]["breaker"] = json!("open");
        figures["backends"][1]["refused"] = json!(1_204);
    });
    let expected = "The breaker of mail is open after repeated failures; 1,204 calls were refused so far.";
    assert_eq!((severity, text.as_str()), (Severity::Severe, expected));
    assert_eq!(
        only(|_, figures| figures["backends"][1]["breaker"] = json!("half_open")).0,
        Severity::Warn
    );
}

#[test]
fn a_breaker_that_tries_is_half_open_in_words() {
    let mut half_open = healthy(1);
    half_open["backends"][1]["breaker"] = json!("half_open");
    let model = after(
        RICH,
        [opened(), stats(0, healthy(0)), stats(1_000, half_open)]
            .into_iter()
            .chain(keys("2")),
    );
    assert_eq!(model.live.happenings[0].what.text(), "breaker mail: closed → half open");
    assert_eq!(tui::table::rows(&model)[2].cells[2].text, "half open");
}

#[test]
fn stale_revocations_are_told_once() {
    let (_, text) = only(|_, figures| figures["revocations_age_ms"] = json!(3_200));
    assert!(
        text.starts_with("Revocations are stale: the feed was last read 3.2 s ago"),
        "{text}"
    );
    let (_, text) = only(|_, figures| {
        figures["revocations_age_ms"] = json!(9_000);
        figures["health"] = json!({"status": "degraded", "dependencies": [{"name": "revocations", "status": "degraded", "reason": "the feed is old"}]});
    });
    assert_eq!(text, "revocations is degraded: the feed is old.");
    assert_eq!(
        only(|_, figures| figures["revocations_age_ms"] = Value::Null).1,
        "Revocations were never read."
    );
}

#[test]
fn a_database_that_is_down() {
    let (severity, text) = only(|_, figures| {
        figures["health"] = json!({"status": "unready", "dependencies": [{"name": "database", "status": "down", "reason": "it refuses"}]});
    });
    assert_eq!(
        (severity, text.as_str()),
        (Severity::Severe, "database is down: it refuses.")
    );
}

#[test]
fn refused_logins_and_failing_requests() {
    let (severity, text) = only(|step, figures| {
        figures["passwords"] = json!({"waiting": 64, "capacity": 64, "running": 2, "shed": 7 * step});
    });
    let expected = "Logins are refused, 7.0/s of late: 64 of 64 places in the hashing queue taken.";
    assert_eq!((severity, text.as_str()), (Severity::Severe, expected));
    let (_, text) = only(|_, figures| figures["passwords"]["waiting"] = json!(32));
    assert_eq!(text, "Logins wait: 32 of 64 places in the hashing queue taken.");
    let (severity, text) = only(|step, figures| {
        figures["http"] =
            json!({"requests": 100 * step, "by_class": [0, 95 * step, 0, 0, 5 * step], "total_micros": 0});
    });
    assert_eq!(
        (severity, text.as_str()),
        (
            Severity::Severe,
            "5.0 % of the requests fail with a 5xx status, 5.0/s of late."
        )
    );
    let (_, text) = only(|step, figures| figures["workers"]["handler_failures"] = json!(step));
    assert_eq!(text, "Handlings of events fail, 1.0/s of late.");
}

#[test]
fn slow_and_failing_statements() {
    let (severity, text) = only(|step, figures| {
        figures["pool"]["statements"] = times(1_000 * step, 9);
        figures["pool"]["slow"] = json!(400 * step);
    });
    let expected =
        "Statements are slow: p99 932 ms, 400/s over 100 ms, though connections are free: the database itself is slow.";
    assert_eq!((severity, text.as_str()), (Severity::Warn, expected));
    let (severity, text) = only(|step, figures| {
        figures["pool"]["statements"] = times(1_000 * step, 3);
        figures["pool"]["failures"] = json!(50 * step);
    });
    let expected = "Statements of the database fail, 50/s of 1,000/s: the server's log tells why.";
    assert_eq!((severity, text.as_str()), (Severity::Severe, expected));
}

/// One login is no distribution: whatever is told of it is a bound, and no figure that looks measured.
#[test]
fn of_few_calls_only_bounds_are_told() {
    let at = |step: u64| {
        let mut figures = healthy(0);
        figures["at_ms"] = json!(1_767_225_600_000_u64 + 1_000 * step);
        figures["http"]["routes"] = json!([
            {"method": "POST", "route": "/v1/auth/login", "statuses": [{"status": 200, "count": step}],
             "latency": {"bounds_micros": [250_000, 500_000, 2_500_000], "counts": [0, step, 0, 0], "sum_micros": 375_000 * step}},
            {"method": "GET", "route": "/healthz", "statuses": [{"status": 200, "count": 900 * step}],
             "latency": {"bounds_micros": [25, 50], "counts": [900 * step, 0, 0], "sum_micros": 9_000 * step}},
        ]);
        figures["passwords"]["time"] = json!({"bounds_micros": [250_000, 500_000, 2_500_000], "counts": [0, 0, step, 0], "sum_micros": 1_000_000 * step});
        stats(1_000 * step, figures)
    };
    let model = after(RICH, [opened(), at(0), at(1)]);
    let cells: Vec<Vec<String>> = tui::table::rows(&model)
        .into_iter()
        .map(|row| row.cells[2..4].iter().map(|cell| cell.text.clone()).collect())
        .collect();
    assert_eq!(cells, [["<25 µs", "<25 µs"], ["≤500 ms", "≤500 ms"]]);
    let panels = tui::panel::panels(&model.live, tui::model::Screen::Pool);
    let told: Vec<String> = panels[3].facts.iter().flatten().map(tui::panel::Fact::text).collect();
    assert_eq!(told[..2], ["p50 ≤2.5 s", "p99 ≤2.5 s"]);
}

#[test]
fn a_full_pool_says_how_long_it_makes_wait() {
    let (_, text) = only(|step, figures| {
        figures["pool"] =
            json!({"max": 8, "open": 8, "idle": 0, "utilisation": 1.0, "statements": times(1_000 * step, 9)});
    });
    let expected = "The pool is saturated: 8 connections in use, for 14 s; statements wait for one, p99 932 ms.";
    assert_eq!(text, expected);
}

#[test]
fn events_that_reach_the_streams_late() {
    let (severity, text) = only(|step, figures| figures["log"]["publish"] = times(1_000 * step, 12));
    let expected = "Events reach the streams late: p99 >1m00s after their commit; this process reads the log late.";
    assert_eq!((severity, text.as_str()), (Severity::Severe, expected));
    assert_eq!(
        told(|step, figures| figures["log"]["publish"] = times(1_000 * step, 8)),
        []
    );
}

#[test]
fn storage_that_fails_while_its_breaker_is_closed() {
    let fail = |step: u64, figures: &mut Value| {
        figures["backends"][0]["operations"][1]["failures"] = json!(3 * step);
    };
    let (severity, text) = only(fail);
    let expected = "Storage fails: put of files local, 3.0/s of 4.0/s; its breaker opens when that goes on.";
    assert_eq!((severity, text.as_str()), (Severity::Warn, expected));
    let all = told(|step, figures| {
        fail(step, figures);
        figures["backends"][0]["breaker"] = json!("open");
    });
    assert_eq!(all.len(), 1, "{all:?}");
}

#[test]
fn requests_that_are_turned_away() {
    let (severity, text) = only(|step, figures| {
        figures["http"]["by_class"][4] = json!(200 * step);
        figures["http"]["routes"][4]["statuses"] = json!([{"status": 503, "count": 200 * step}]);
    });
    assert_eq!(severity, Severity::Severe);
    assert_eq!(
        text,
        "The server turns requests away with 503, 200/s of late (4.7 % of all), most of them on POST /v1/files."
    );
}

#[test]
fn tokens_that_are_refused() {
    let refuse = |code: &'static str| {
        move |step: u64, figures: &mut Value| {
            figures["tokens"] = json!({"accepted": 100 * step, "refused": [{"code": "token_expired", "count": 900},
                {"code": code, "count": 100 * step}], "time": times(200 * step, 0)});
        }
    };
    let (severity, text) = only(refuse("token_outdated"));
    let expected = "Tokens are refused, 100/s of late (50 % of all); most are older than a change to their account: do clients refresh them?";
    assert_eq!((severity, text.as_str()), (Severity::Warn, expected));
    assert!(
        only(refuse("token_invalid"))
            .1
            .ends_with("; most are not valid: another server's, or guessed.")
    );
    assert!(only(refuse("new_code")).1.ends_with("; most with code new_code."));
}

#[test]
fn few_file_descriptors() {
    let (severity, text) = only(|_, figures| figures["process"]["open_files"] = json!(900));
    let expected = "900 of 1,024 file descriptors are open, 64 connections: at the limit no connection is taken; raise it (ulimit -n).";
    assert_eq!((severity, text.as_str()), (Severity::Warn, expected));
    assert_eq!(
        only(|_, figures| figures["process"]["open_files"] = json!(1_020)).0,
        Severity::Severe
    );
}
