//! What the doctor says of backends that fail in every way, and that it says it of each whatever the others do.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use domain::blob::ByteRange;
use domain::event::{LoggedEvent, Shard};
use domain::password::PasswordRecord;
use domain::stats::{LogStats, MailStats};
use domain::time::Timestamp;
use futures_util::stream;
use openapi::{DependencyBody, ReadyBody};
use ports::{
    BackendError, Begun, BlobStore, MockBlobStore, MockClock, MockEventLog, MockEventStore, MockIdempotencyStore,
    MockLinkSigner, MockLogSequencer, MockMailQueue, MockMailer, MockPasswordHasher, MockProbe,
    MockSigningKeyRepository, PutBlobError, SendMailError, Survey,
};

use super::*;
use crate::config::{Environment, Origin};
use crate::worker::testing::{away, kit};

fn config(variables: &[(&str, &str)]) -> Config {
    let environment = Environment::of_map(variables.iter().copied(), Path::new("/srv"));
    crate::config::load(&environment, None, &[]).unwrap().config
}

#[track_caller]
fn assert_verdict(verdict: &Verdict, state: State, words: &[&str]) {
    let said = format!("{} → {}", verdict.cause, verdict.fix.as_deref().unwrap_or("nothing"));
    assert_eq!(verdict.state, state, "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in {said:?}");
    }
    assert_eq!(
        verdict.fix.is_some(),
        matches!(state, State::Warn | State::Fail),
        "trouble has a remedy, and only trouble: {said}"
    );
    assert!(!said.contains('\n'));
}

#[tokio::test]
async fn a_frozen_check_is_a_finding_and_the_next_one_is_made() {
    let mut told = Vec::new();
    let mut tell = |finding: &Finding| told.push((finding.name.clone(), finding.state));
    let mut examination = Examination::new(Duration::from_millis(20), &mut tell);
    let nothing = examination
        .obtain("frozen", std::future::pending::<(Verdict, Option<()>)>())
        .await;
    assert!(nothing.is_none());
    let state = examination.judge("well", async { Verdict::ok("it works") }).await;
    assert_eq!(state, State::Ok);
    let finding = &examination.findings[0];
    assert!(finding.cause.contains("20 ms") && finding.fix.is_some(), "{finding:?}");
    assert_eq!(
        told,
        [("frozen".to_owned(), State::Fail), ("well".to_owned(), State::Ok)]
    );
}

#[test]
fn a_cause_is_one_harmless_line() {
    let verdict = Verdict::fail("two\nlines\x1b[2J", "and\r\na fix");
    assert_eq!(
        (&*verdict.cause, verdict.fix.as_deref()),
        ("two lines\u{fffd}[2J", Some("and a fix"))
    );
}

#[test]
fn times_are_said_as_people_say_them() {
    for (micros, words) in [
        (240, "0.2 ms"),
        (12_400, "12 ms"),
        (1_840_000, "1.8 s"),
        (61_000_000, "61 s"),
        (180_000_000, "3 min"),
        (7_200_000_000, "2 h"),
    ] {
        assert_eq!(in_words(Duration::from_micros(micros)), words);
    }
}

fn rows(answers: Vec<Result<Begun, BackendError>>) -> MockIdempotencyStore {
    let mut store = MockIdempotencyStore::new();
    let answers = Mutex::new(answers);
    store
        .expect_begin()
        .returning(move |_, _, _, _, _| answers.lock().unwrap().remove(0));
    store.expect_release().returning(|_| Ok(()));
    store
}

#[tokio::test]
async fn rows_are_written_met_again_and_removed() {
    let full = BackendError {
        full: true,
        ..BackendError::permanent("sql", "begin", "database or disk is full")
    };
    let cases = [
        (vec![Ok(Begun::New), Ok(Begun::InFlight)], State::Ok, "a commit takes"),
        (vec![Ok(Begun::New), Ok(Begun::New)], State::Fail, "replica"),
        (vec![Err(full)], State::Fail, "make room"),
        (vec![Ok(Begun::New), Err(away())], State::Fail, "the backend is away"),
    ];
    for (answers, state, word) in cases {
        let mut probe = MockProbe::new();
        probe.expect_check().returning(|| Ok(()));
        let verdict = database::rows(&rows(answers), &probe, &kit().toolkit).await;
        assert_verdict(&verdict, state, &[word]);
    }
}

#[tokio::test]
async fn clocks_may_differ_by_less_than_a_lease() {
    let now = Timestamp::from_seconds(1_800_000_000);
    let minus = |millis| now.minus(Duration::from_millis(millis));
    let plus = |millis| now.plus(Duration::from_millis(millis));
    for (theirs, state, word) in [
        (now, State::Ok, "agree"),
        (plus(900), State::Ok, "agree"),
        (plus(2_000), State::Warn, "2.0 s behind"),
        (minus(2_000), State::Warn, "2.0 s ahead of"),
        (minus(90_000), State::Fail, "90 s ahead of"),
    ] {
        let mut clock = MockClock::new();
        clock.expect_now().return_const(now);
        let mut probe = MockProbe::new();
        let survey = Survey {
            clock: Some(theirs),
            machines: None,
        };
        probe.expect_survey().returning(move || Ok(survey));
        assert_verdict(&database::clock(&probe, &clock).await, state, &[word]);
    }
}

#[test]
fn a_schema_that_lacks_something_or_needs_a_newer_version_is_told() {
    let mut status = migration::Status {
        applied: vec!["a".to_owned()],
        pending: vec!["b".to_owned()],
        unknown: Vec::new(),
    };
    let verdict = database::behind(&status).unwrap();
    assert_verdict(&verdict, State::Fail, &["1 migration", "plinth migrate"]);
    status.applied.clear();
    assert_verdict(&database::behind(&status).unwrap(), State::Fail, &["no schema"]);
    status.pending.clear();
    assert!(database::behind(&status).is_none());
    assert_verdict(&database::too_old("9.0.0"), State::Fail, &["install version 9.0.0"]);
}

#[test]
fn the_master_key_is_compared_with_the_bound_one() {
    let place = "/srv/master.key";
    let (a, b) = (Some([1; 32]), Some([2; 32]));
    for (own, bound, looked, state, word) in [
        (a, a, true, State::Ok, "installation's"),
        (a, b, true, State::Fail, "not the one"),
        (None, b, true, State::Fail, "from a backup"),
        (a, None, true, State::Ok, "first start"),
        (a, None, false, State::Ok, "not compared"),
        (None, None, true, State::Skipped, "makes it"),
    ] {
        assert_verdict(&secrets::compare(own, bound, looked, place), state, &[word]);
    }
}

#[tokio::test]
async fn without_a_signing_key_there_is_nothing_to_sign_with_and_a_failure_is_told() {
    let mut none = MockSigningKeyRepository::new();
    none.expect_list().returning(|| Ok(Vec::new()));
    let (verdict, keys) = secrets::tokens(&none, |_| panic!("nothing to load"), &kit().toolkit).await;
    assert_verdict(&verdict, State::Skipped, &["first start"]);
    assert!(keys.is_none());
    let mut gone = MockSigningKeyRepository::new();
    gone.expect_list().returning(|| Err(away()));
    let (verdict, _) = secrets::tokens(&gone, |_| panic!("nothing to load"), &kit().toolkit).await;
    assert_verdict(&verdict, State::Fail, &["the backend is away"]);
}

#[test]
fn a_link_that_holds_when_it_was_changed_is_a_failure() {
    for (first, second, state) in [
        (true, false, State::Ok),
        (true, true, State::Fail),
        (false, false, State::Fail),
    ] {
        let mut signer = MockLinkSigner::new();
        signer.expect_sign().return_const("signature".to_owned());
        let answers = Mutex::new(vec![second, first]);
        signer
            .expect_verify()
            .returning(move |_, _| answers.lock().unwrap().pop().unwrap_or(false));
        assert_verdict(&secrets::links(&signer, &kit().toolkit), state, &["link"]);
    }
}

#[tokio::test]
async fn a_hasher_that_takes_any_password_is_a_failure() {
    for (wrong, state, word) in [(false, State::Ok, "logins/s"), (true, State::Fail, "wrong one taken")] {
        let mut hasher = MockPasswordHasher::new();
        hasher.expect_hash().returning(|_, _| Ok(PasswordRecord::unusable()));
        let calls = AtomicU32::new(0);
        hasher
            .expect_verify()
            .returning(move |_, _, _| Ok(calls.fetch_add(1, Ordering::SeqCst) == 0 || wrong));
        let verdict = secrets::passwords(&hasher, 12, 2, &kit().toolkit).await;
        assert_verdict(&verdict, state, &[word]);
    }
}

/// A store of one blob that is broken in one way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Broken {
    Not,
    Full,
    ReadOnly,
    TakesTwice,
    GivesOther,
    GivesWhole,
    Keeps,
}

fn store(broken: Broken) -> MockBlobStore {
    let mut store = MockBlobStore::new();
    let held: Arc<Mutex<Option<u64>>> = Arc::default();
    let (on_put, on_size, on_remove) = (Arc::clone(&held), Arc::clone(&held), held);
    store.expect_put().returning(move |_, _| {
        let mut held = on_put.lock().unwrap();
        match broken {
            Broken::Full => return Err(PutBlobError::Full),
            Broken::ReadOnly => {
                let error = BackendError::permanent("local", "put", "Read-only file system");
                return Err(PutBlobError::Backend(error));
            }
            _ if held.is_some() && broken != Broken::TakesTwice => return Err(PutBlobError::Exists),
            _ => *held = Some(300_000),
        }
        Ok(300_000)
    });
    store.expect_size().returning(move |_| Ok(*on_size.lock().unwrap()));
    store.expect_remove().returning(move |_| {
        if broken != Broken::Keeps {
            *on_remove.lock().unwrap() = None;
        }
        Ok(())
    });
    // The randomness of these tests is zeros.
    store.expect_get().returning(move |_, range: Option<ByteRange>| {
        let size = match range {
            Some(range) if broken != Broken::GivesWhole => usize::try_from(range.len()).unwrap(),
            _ => 300_000,
        };
        let byte = u8::from(broken == Broken::GivesOther);
        Ok(Box::pin(stream::iter([Ok(Bytes::from(vec![byte; size]))])))
    });
    store
}

#[tokio::test]
async fn a_blob_is_put_read_in_whole_and_part_and_removed() {
    for (broken, state, words) in [
        (Broken::Not, State::Ok, &["300 KB"][..]),
        (Broken::Full, State::Fail, &["full", "make room"]),
        (
            Broken::ReadOnly,
            State::Fail,
            &["Read-only file system", "files.backends.local.root"],
        ),
        (Broken::TakesTwice, State::Fail, &["taken key"]),
        (Broken::GivesOther, State::Fail, &["not what was stored"]),
        (Broken::GivesWhole, State::Fail, &["a part"]),
        (Broken::Keeps, State::Fail, &["still there"]),
    ] {
        let store: &dyn BlobStore = &store(broken);
        let verdict = backends::blobs(store, &kit().toolkit, "files.backends.local.root").await;
        assert_verdict(&verdict, state, words);
    }
}

#[tokio::test]
async fn a_message_is_handed_over_only_when_an_address_is_given() {
    let folder = Some(Path::new("/srv/outbox"));
    let mut mailer = MockMailer::new();
    mailer
        .expect_check()
        .times(1)
        .returning(|| Ok("it can be written to".to_owned()));
    let verdict = backends::mailer(&mailer, None, folder, &kit().toolkit).await;
    assert_verdict(&verdict, State::Ok, &["--send-mail-to"]);
    let to = "ops@example.org".parse().unwrap();
    mailer
        .expect_send()
        .times(1)
        .returning(|mail| Ok(format!("250 ok {}", mail.to.as_str())));
    let verdict = backends::mailer(&mailer, Some(&to), folder, &kit().toolkit).await;
    assert_verdict(&verdict, State::Ok, &["250 ok ops@example.org", "/srv/outbox"]);
    mailer
        .expect_send()
        .returning(|_| Err(SendMailError::Refused("550 not\nfrom here".to_owned())));
    let verdict = backends::mailer(&mailer, Some(&to), None, &kit().toolkit).await;
    assert_verdict(&verdict, State::Fail, &["550 not from here", "docs/configuration.md"]);
}

#[tokio::test]
async fn messages_that_wait_or_were_given_up_are_told() {
    let queue = |queued, dead, seconds: u64| {
        let mut queue = MockMailQueue::new();
        let stats = MailStats {
            queued,
            sending: 0,
            dead,
            oldest_due_micros: seconds * 1_000_000,
        };
        queue.expect_stats().returning(move |_| Ok(stats));
        queue
    };
    let now = kit().toolkit.now();
    for (queue, serving, state, word) in [
        (queue(3, 0, 5), true, State::Ok, "3 messages under way"),
        (
            queue(1, 0, 300),
            true,
            State::Fail,
            "1 message waits, the oldest for 5 min",
        ),
        (queue(2, 0, 300), false, State::Warn, "2 messages wait"),
        (queue(0, 1, 0), true, State::Warn, "1 message given up"),
    ] {
        assert_verdict(&backends::mail_queue(&queue, now, serving).await, state, &[word]);
    }
}

/// A log whose shards are free or held, that sequences or not, with a group that is so far behind.
async fn log(free: bool, sequences: bool, lag: u64, serving: bool) -> Verdict {
    let mut sequencer = MockLogSequencer::new();
    let shards: Vec<Shard> = if free { Shard::all().collect() } else { Vec::new() };
    sequencer.expect_lease().returning(move |_, _, _| Ok(shards.clone()));
    sequencer
        .expect_release()
        .times(usize::from(free))
        .returning(|_| Ok(()));
    let mut store = MockEventStore::new();
    let written: Arc<Mutex<Option<domain::event::Event>>> = Arc::default();
    let on_find = Arc::clone(&written);
    store.expect_append().returning(move |effects| {
        assert_eq!(effects.events[0].event_type.as_str(), "plinth.checked");
        *written.lock().unwrap() = effects.events.first().cloned();
        Ok(())
    });
    store.expect_find().returning(move |_, id| {
        let event = on_find
            .lock()
            .unwrap()
            .clone()
            .filter(|event| event.id == id && sequences);
        Ok(event.map(|event| LoggedEvent {
            shard: event.shard(),
            position: 1,
            hash: [0; 32],
            event,
        }))
    });
    let mut log = MockEventLog::new();
    log.expect_stats().returning(move || {
        Ok(LogStats {
            unsequenced: 4,
            head: 10,
            lags: vec![("usage".to_owned(), lag)],
            holds: Vec::new(),
        })
    });
    let log = events::Log {
        store: &store,
        log: &log,
        sequencer: &sequencer,
        patience: Duration::from_millis(120),
    };
    events::publish_and_consume(&log, &kit().toolkit, serving).await
}

#[tokio::test]
async fn an_event_is_published_and_followed_past_the_handlers() {
    assert_verdict(&log(false, true, 0, true).await, State::Ok, &["past the handlers"]);
    assert_verdict(&log(false, true, 7, true).await, State::Fail, &["usage by 7"]);
    assert_verdict(
        &log(false, false, 0, true).await,
        State::Fail,
        &["no position", "restart"],
    );
    assert_verdict(
        &log(true, false, 0, true).await,
        State::Fail,
        &["4 events wait", "plinth worker"],
    );
    assert_verdict(&log(true, false, 0, false).await, State::Warn, &["no worker runs"]);
}

#[test]
fn a_server_that_is_not_ready_says_why() {
    let body = |status: &str| ReadyBody {
        status: status.to_owned(),
        dependencies: vec![DependencyBody {
            name: "database".to_owned(),
            status: "down".to_owned(),
            reason: Some("it refuses".to_owned()),
        }],
    };
    let bind = "127.0.0.1:9090".parse().unwrap();
    assert_verdict(&listeners::readiness(bind, &body("ready")), State::Ok, &["ready"]);
    assert_verdict(
        &listeners::readiness(bind, &body("degraded")),
        State::Warn,
        &["database: it refuses"],
    );
    assert_verdict(
        &listeners::readiness(bind, &body("unready")),
        State::Fail,
        &["database: it refuses"],
    );
}

#[test]
fn who_reaches_the_listeners_is_judged() {
    let https = ("PLINTH_PUBLIC_URL", "https://plinth.example.org");
    let proxy = ("PLINTH_HTTP_TRUSTED_PROXIES", "10.0.0.1");
    let open = [
        ("PLINTH_OPS_BIND", "0.0.0.0:9090"),
        ("PLINTH_OPS_TOKEN", "0123456789abcdef"),
    ];
    assert_verdict(&hygiene::reach(&config(&[])), State::Warn, &["PLINTH_PUBLIC_URL"]);
    assert_verdict(
        &hygiene::reach(&config(&[https])),
        State::Warn,
        &["PLINTH_HTTP_TRUSTED_PROXIES"],
    );
    assert_verdict(&hygiene::reach(&config(&[https, proxy])), State::Ok, &["https"]);
    for exposed in [config(&[https, proxy, open[0], open[1]]), config(&open)] {
        assert_verdict(&hygiene::reach(&exposed), State::Warn, &["0.0.0.0:9090", "/metrics"]);
    }
}

#[test]
fn an_unencrypted_way_to_the_database_is_told_and_its_password_is_not() {
    for (url, state) in [
        ("postgres://u:hunter2@db.example.org/p", State::Warn),
        ("postgres://u:hunter2@db.example.org/p?sslmode=prefer", State::Warn),
        ("postgres://u:hunter2@db.example.org/p?sslmode=require", State::Ok),
        ("postgres://u:hunter2@db.example.org/p?sslmode=verify-full", State::Ok),
        ("postgres://u:hunter2@127.0.0.1/p", State::Ok),
        ("postgres://u:hunter2@[::1]/p", State::Ok),
        ("postgres:///p?host=/run/postgresql", State::Ok),
    ] {
        let verdict = hygiene::database_tls(url);
        assert_verdict(&verdict, state, &[]);
        assert!(!format!("{verdict:?}").contains("hunter2"), "{verdict:?}");
    }
}

#[test]
fn a_secret_that_others_can_read_is_a_failure() {
    let kept = |mode| {
        vec![hygiene::Kept {
            path: "/srv/master.key".into(),
            mode,
        }]
    };
    let variable = Origin::Variable("PLINTH_MASTER_KEY".to_owned());
    assert_verdict(&hygiene::judge_secrets(&kept(0o100_600), None), State::Ok, &["1 file"]);
    for mode in [0o100_644, 0o100_604, 0o100_620, 0o100_666] {
        let verdict = hygiene::judge_secrets(&kept(mode), None);
        assert_verdict(&verdict, State::Fail, &["chmod 600 /srv/master.key"]);
    }
    assert_verdict(
        &hygiene::judge_secrets(&kept(0o100_640), None),
        State::Warn,
        &["the group"],
    );
    let verdict = hygiene::judge_secrets(&[], Some(&variable));
    assert_verdict(&verdict, State::Warn, &["PLINTH_MASTER_KEY,", "PLINTH_MASTER_KEY_FILE"]);
    assert_verdict(&hygiene::judge_secrets(&[], None), State::Skipped, &["no file"]);
}

#[tokio::test]
async fn folders_that_several_machines_do_not_share_are_told() {
    for (machines, state, word) in [
        (None, State::Skipped, "does not tell"),
        (Some(1), State::Ok, "only this machine"),
        (Some(2), State::Warn, "/srv/plinth-data/blobs"),
    ] {
        let mut probe = MockProbe::new();
        probe
            .expect_survey()
            .returning(move || Ok(Survey { clock: None, machines }));
        let verdict = hygiene::shared_folders(&config(&[]), &probe).await;
        assert_verdict(&verdict, state, &[word]);
    }
}
