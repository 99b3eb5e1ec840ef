//! Verifying and signing over a log in memory, whose trail does what a database would beside a running server.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use domain::audit::{Fault, Mark, RecordedEvent, RecordedRow};
use domain::event::{Shard, chain_hash};
use domain::id::{EventId, InstallationId, UserId};
use ports::{LastCheckpoint, Looked, MockLogKeeper, RecordedCheckpoint, ShardBounds, Stray};
use serde_json::Value;
use uuid::Uuid;

use super::*;
use crate::lifecycle::Lifecycle;
use crate::worker::testing::{Kit, away, kit, logged, user_in};

const INSTALLATION: InstallationId = InstallationId::new(Uuid::from_u128(5));
/// The shard that the tests fill; the checkpoints are in that of the installation, which is another.
const FILLED: u8 = 3;

/// Signs by a prefix.
struct Prefixing;

impl CheckpointSigner for Prefixing {
    fn public_key(&self) -> (String, String) {
        ("k4.pid.x".to_owned(), "k4.public.x".to_owned())
    }

    fn sign(&self, text: &str) -> Result<String, BackendError> {
        Ok(format!("signed:{text}"))
    }

    fn verify(&self, signed: &str) -> Option<String> {
        signed.strip_prefix("signed:").map(str::to_owned)
    }
}

/// A log of one shard.
#[derive(Default)]
struct Trail {
    rows: Mutex<Vec<RecordedRow>>,
    floor: Mutex<Option<Mark>>,
    head: Mutex<Option<Mark>>,
    checkpoints: Mutex<Vec<RecordedCheckpoint>>,
    strays: Vec<Uuid>,
    /// Removed from the front before the second read, as retention would.
    trim: Mutex<Option<u64>>,
    reads: AtomicU32,
    broken: bool,
}

fn row(position: u64, hash: [u8; 32]) -> RecordedRow {
    let event = logged(user_in(FILLED), position, "app.counted", "1").event;
    RecordedRow {
        position,
        event_id: event.id.uuid(),
        user_id: event.user_id.uuid(),
        hash: hash.to_vec(),
        event: Some(RecordedEvent {
            shard: FILLED.into(),
            user_id: event.user_id.uuid(),
            event_type: event.event_type.as_str().to_owned(),
            subject: event.subject,
            time: event.time.micros(),
            data: event.data,
            salt: event.salt.map(|salt| salt.to_vec()),
            digest: event.digest.to_vec(),
            actor: event.actor.as_text(),
            impersonator: None,
            request_id: None,
            schema_version: event.schema_version.map(u32::cast_signed),
        }),
    }
}

impl Trail {
    fn of(count: u64) -> Self {
        let (mut rows, mut hash) = (Vec::new(), [0; 32]);
        for position in 1..=count {
            let event = logged(user_in(FILLED), position, "app.counted", "1").event;
            hash = chain_hash(&hash, Shard::of(event.user_id), position, &event);
            rows.push(row(position, hash));
        }
        Self {
            rows: Mutex::new(rows),
            head: Mutex::new(Some(Mark { position: count, hash })),
            ..Self::default()
        }
    }

    fn mark(&self, position: u64) -> Mark {
        let rows = self.rows.lock().unwrap();
        let row = rows.iter().find(|row| row.position == position).unwrap();
        Mark {
            position,
            hash: row.hash.clone().try_into().unwrap(),
        }
    }

    fn remove_to(&self, position: u64) {
        let mark = self.mark(position);
        self.rows.lock().unwrap().retain(|row| row.position > position);
        *self.floor.lock().unwrap() = Some(mark);
    }

    fn checkpoint(&self, serial: u64, head: Mark, removable: u64) -> Value {
        let statement = Statement {
            serial,
            installation: INSTALLATION.uuid(),
            at: Timestamp::from_seconds(1_800_000_000 + i64::try_from(serial).unwrap()),
            shards: vec![ShardStatement {
                shard: Shard::new(FILLED).unwrap(),
                head,
                removable,
            }],
        };
        let statement = statement.to_json();
        json!({ "signature": format!("signed:{statement}"), "statement": statement })
    }

    fn publish(&self, data: &Value) {
        let mut checkpoints = self.checkpoints.lock().unwrap();
        let position = checkpoints.len() as u64 + 1;
        checkpoints.push(RecordedCheckpoint {
            position,
            event_id: Uuid::from_u128(position.into()),
            data: Some(data.to_string()),
        });
    }
}

#[async_trait]
impl AuditTrail for Trail {
    async fn bounds(&self) -> Result<Vec<ShardBounds>, BackendError> {
        let bounds = |shard: Shard| {
            let here = |mark: &Mutex<Option<Mark>>| {
                let mark = mark.lock().unwrap().filter(|_| shard.number() == FILLED);
                mark.unwrap_or(Mark::BEGINNING)
            };
            ShardBounds {
                shard,
                floor: here(&self.floor),
                head: here(&self.head),
                removable: 0,
            }
        };
        Ok(Shard::all().map(bounds).collect())
    }

    async fn rows(&self, shard: Shard, after: u64, to: u64, limit: u32) -> Result<Vec<RecordedRow>, BackendError> {
        if self.broken {
            return Err(away());
        }
        if shard.number() != FILLED {
            return Ok(Vec::new());
        }
        if self.reads.fetch_add(1, Ordering::SeqCst) == 1
            && let Some(to) = self.trim.lock().unwrap().take()
        {
            self.remove_to(to);
        }
        let rows = self.rows.lock().unwrap();
        let found = rows.iter().filter(|row| row.position > after && row.position <= to);
        Ok(found.take((limit as usize).min(10)).cloned().collect())
    }

    async fn intruders(&self, _limit: u32) -> Result<Vec<Stray>, BackendError> {
        Ok(Vec::new())
    }

    async fn look(&self, _after: Option<EventId>, _window: u32) -> Result<Looked, BackendError> {
        let stray = |event_id: &Uuid| Stray {
            place: None,
            event_id: *event_id,
        };
        Ok(Looked {
            events: 0,
            next: None,
            strays: self.strays.iter().map(stray).collect(),
        })
    }

    async fn checkpoints(&self, after: u64, _limit: u32) -> Result<Vec<RecordedCheckpoint>, BackendError> {
        let checkpoints = self.checkpoints.lock().unwrap();
        Ok(checkpoints.iter().filter(|one| one.position > after).cloned().collect())
    }

    async fn search(&self, _: &AuditQuery, _: Option<AuditCursor>, _: u32) -> Result<AuditPage, BackendError> {
        Err(away())
    }
}

fn audit_of(trail: Arc<dyn AuditTrail>, keeper: MockLogKeeper, kit: &Kit, retention: Option<Duration>) -> Audit {
    Audit::new(AuditParts {
        toolkit: kit.toolkit.clone(),
        trail,
        keeper: Arc::new(keeper),
        signer: Arc::new(Prefixing),
        installation: INSTALLATION,
        retention,
    })
}

async fn verify(trail: &Arc<Trail>, given: Vec<Value>) -> Result<Report, VerifyError> {
    let trail = Arc::clone(trail) as Arc<dyn AuditTrail>;
    let audit = audit_of(trail, MockLogKeeper::new(), &kit(), None);
    let given = given.into_iter().map(|value| GivenCheckpoint {
        name: "kept.json".to_owned(),
        value,
    });
    let options = VerifyOptions {
        given: given.collect(),
        most: 3,
        at_once: 4,
        patience: 1,
    };
    audit.verify(&options, &Lifecycle::new(), |_| {}).await
}

fn codes(report: &Report) -> Vec<(Option<u64>, &'static str)> {
    let findings = report.findings.iter();
    findings
        .map(|finding| (finding.position, finding.fault.code()))
        .collect()
}

#[tokio::test]
async fn a_sound_log_is_counted_with_what_checkpoints_cover() {
    let trail = Trail::of(35);
    trail.publish(&trail.checkpoint(1, trail.mark(10), 0));
    trail.publish(&trail.checkpoint(2, trail.mark(30), 0));
    if let Some(event) = &mut trail.rows.lock().unwrap()[4].event {
        (event.data, event.salt) = (None, None);
    }
    let report = verify(&Arc::new(trail), vec![]).await.unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!((report.events, report.erased, report.removed), (35, 1, 0));
    assert_eq!(
        (report.checkpoints, report.newest.unwrap().0, report.uncovered),
        (2, 2, 5)
    );
}

#[tokio::test]
async fn findings_are_listed_up_to_a_bound_and_counted_beyond_it() {
    let trail = Trail::of(40);
    for row in trail.rows.lock().unwrap().iter_mut().skip(20) {
        if let Some(event) = &mut row.event {
            event.actor = "somebody".to_owned();
        }
    }
    let report = verify(&Arc::new(trail), vec![]).await.unwrap();
    assert_eq!(
        codes(&report),
        [(Some(21), "changed"), (Some(22), "changed"), (Some(23), "changed")]
    );
    assert_eq!((report.unlisted, report.is_sound(), report.events), (17, false, 40));
}

#[tokio::test]
async fn events_that_are_nowhere_are_told() {
    let trail = Trail {
        strays: vec![Uuid::from_u128(9)],
        ..Trail::of(3)
    };
    let report = verify(&Arc::new(trail), vec![]).await.unwrap();
    assert_eq!(report.findings[0].event_id, Some(Uuid::from_u128(9)));
    assert_eq!(codes(&report), [(None, "unlogged")]);
}

#[tokio::test]
async fn a_checkpoint_kept_elsewhere_sees_what_was_cut_with_everything_about_it() {
    let trail = Trail::of(30);
    let kept = trail.checkpoint(7, trail.mark(30), 0);
    trail.rows.lock().unwrap().truncate(25);
    *trail.head.lock().unwrap() = Some(trail.mark(25));
    let trail = Arc::new(trail);
    assert!(
        verify(&trail, vec![]).await.unwrap().is_sound(),
        "by itself it looks whole"
    );
    // As an event, and as its data alone.
    for given in [json!({ "type": "audit.checkpoint", "data": kept }), kept.clone()] {
        let report = verify(&trail, vec![given]).await.unwrap();
        let cut = Fault::CutOff {
            to: 30,
            checkpoint: Some(7),
        };
        assert!(report.findings.iter().any(|finding| finding.fault == cut), "{report:?}");
        let gone = Fault::CheckpointRemoved { from: 1, to: 7 };
        assert!(
            report.findings.iter().any(|finding| finding.fault == gone),
            "{report:?}"
        );
    }
    let mut other = kept;
    other["statement"]["serial"] = json!(8);
    let refused = verify(&trail, vec![other]).await;
    assert!(matches!(refused, Err(VerifyError::Given(name)) if name == "kept.json"));
}

#[tokio::test]
async fn forged_and_missing_checkpoints_are_told() {
    let trail = Trail::of(30);
    trail.publish(&trail.checkpoint(1, trail.mark(5), 0));
    let mut forged = trail.checkpoint(
        2,
        Mark {
            position: 9,
            hash: [1; 32],
        },
        0,
    );
    forged["signature"] = json!("nothing that was signed");
    trail.publish(&forged);
    trail.publish(&json!(null));
    trail.publish(&trail.checkpoint(5, trail.mark(30), 0));
    let report = verify(&Arc::new(trail), vec![]).await.unwrap();
    assert_eq!(
        codes(&report),
        [
            (None, "checkpoint_removed"),
            (Some(2), "checkpoint_forged"),
            (Some(3), "checkpoint_forged")
        ]
    );
    assert_eq!(
        report.unlisted, 0,
        "what a forged one says of the heads counts for nothing"
    );
}

#[tokio::test]
async fn the_beginning_lies_where_a_checkpoint_allows_it() {
    let trail = Arc::new(Trail::of(30));
    trail.publish(&trail.checkpoint(1, trail.mark(30), 12));
    trail.remove_to(12);
    let report = verify(&trail, vec![]).await.unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!((report.events, report.removed), (18, 12));
    trail.remove_to(13);
    let report = verify(&trail, vec![]).await.unwrap();
    assert_eq!(report.findings[0].fault, Fault::BeginningMoved { allowed: 12 });
}

#[tokio::test]
async fn what_retention_removes_meanwhile_is_no_fault() {
    // Two reads of ten rows; before the second all up to the 26th goes.
    let trail = Trail {
        trim: Mutex::new(Some(26)),
        ..Trail::of(30)
    };
    let report = verify(&Arc::new(trail), vec![]).await.unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(report.events, 14);
    let whole = Trail {
        trim: Mutex::new(Some(30)),
        ..Trail::of(30)
    };
    assert!(verify(&Arc::new(whole), vec![]).await.unwrap().is_sound());
}

#[tokio::test]
async fn a_log_that_cannot_be_read_is_not_called_sound() {
    let trail = Trail {
        broken: true,
        ..Trail::of(3)
    };
    let refused = verify(&Arc::new(trail), vec![]).await;
    assert!(matches!(refused, Err(VerifyError::Backend(_))), "{refused:?}");
}

fn keeper(last: LastCheckpoint) -> MockLogKeeper {
    let mut keeper = MockLogKeeper::new();
    keeper.expect_last_checkpoint().returning(move || Ok(last));
    keeper
}

fn last(serial: u64, events: u64) -> LastCheckpoint {
    LastCheckpoint {
        serial,
        at: Timestamp::from_seconds(0),
        events,
    }
}

#[tokio::test]
async fn a_checkpoint_is_an_event_that_verifies_and_counts_on() {
    let (kit, trail) = (kit(), Arc::new(Trail::of(30)));
    let mut keeper = keeper(last(4, 20));
    let written = Arc::new(Mutex::new(None));
    let notes = Arc::clone(&written);
    keeper.expect_checkpoint().times(1).returning(move |new, effects| {
        *notes.lock().unwrap() = Some((new.clone(), effects.clone()));
        Ok(true)
    });
    let audit = audit_of(Arc::clone(&trail) as _, keeper, &kit, None);
    let made = audit.checkpoint_if_moved().await.unwrap().unwrap();
    let (new, effects) = written.lock().unwrap().take().unwrap();
    assert_eq!((new.serial, new.events, new.removable), (5, 30, vec![]));
    assert_eq!(effects.events, [made.event]);
    let event = &effects.events[0];
    assert_eq!(
        (event.user_id, event.event_type.as_str()),
        (UserId::SYSTEM, "audit.checkpoint")
    );
    let data: Value = serde_json::from_str(event.data.as_deref().unwrap()).unwrap();
    assert_eq!(data["kid"], "k4.pid.x");
    let report = verify(&trail, vec![data]).await.unwrap();
    assert_eq!((report.checkpoints, report.uncovered), (1, 0));
    assert_eq!(kit.wakeups.woken(), [Wakeup::Written]);
}

#[tokio::test]
async fn nothing_new_is_not_signed_unless_asked_for() {
    let trail = Arc::new(Trail::of(30));
    let quiet = |serial, events| audit_of(Arc::clone(&trail) as _, keeper(last(serial, events)), &kit(), None);
    assert!(quiet(1, 30).checkpoint_if_moved().await.unwrap().is_none());
    let own = quiet(1, 29).checkpoint_if_moved().await.unwrap();
    assert!(own.is_none(), "the event of the last checkpoint itself");
    let mut asked = keeper(last(1, 30));
    asked.expect_checkpoint().times(2).returning(|_, _| Ok(false));
    let audit = audit_of(Arc::clone(&trail) as _, asked, &kit(), None);
    assert!(audit.checkpoint().await.unwrap().is_none(), "another node was first");
    let first = audit.checkpoint().await.unwrap();
    assert!(first.is_none());
}

#[tokio::test]
async fn what_is_old_is_allowed_to_go_but_never_more_than_is_signed() {
    let (kit, trail) = (kit(), Arc::new(Trail::of(30)));
    for (boundary, expected) in [(12, 12), (99, 30)] {
        let mut keeper = keeper(last(1, 30));
        let before = kit.toolkit.now().minus(Duration::from_secs(3_600));
        keeper
            .expect_boundary()
            .withf(move |_, asked| *asked == before)
            .returning(move |shard, _| Ok(if shard.number() == FILLED { boundary } else { 0 }));
        keeper.expect_checkpoint().times(1).returning(move |new, _| {
            assert_eq!(
                new.removable.iter().map(|goal| goal.position).collect::<Vec<_>>(),
                [expected]
            );
            Ok(true)
        });
        let audit = audit_of(Arc::clone(&trail) as _, keeper, &kit, Some(Duration::from_secs(3_600)));
        let made = audit.checkpoint_if_moved().await.unwrap().unwrap();
        assert_eq!(made.statement.shards[0].removable, expected);
    }
}

#[test]
fn filters_are_read_and_all_refusals_are_told() {
    let text = |text: &str| Some(text.to_owned());
    let id = "019a8f3e-7c1b-7d4e-9b0a-2f6c1d8e4a57";
    let search = AuditSearch {
        user: text(id),
        event_type: text("mail."),
        actor: text(&id.to_uppercase()),
        from: text("2026-11-22T09:30:00+01:00"),
        ..AuditSearch::default()
    };
    let query = search.read().unwrap();
    assert_eq!(
        (query.user.unwrap().to_string(), query.actor),
        (id.to_owned(), text(id))
    );
    assert_eq!(
        (query.event_type.as_deref(), query.from.unwrap().to_rfc3339()),
        (Some("mail."), "2026-11-22T08:30:00Z".to_owned())
    );
    let wrong = AuditSearch {
        user: text("ada"),
        event_type: text("%"),
        actor: text("nobody"),
        impersonator: text("1"),
        request: text(""),
        from: text("yesterday"),
        to: text("2026-11-22"),
    };
    let refused: Vec<&str> = wrong.read().unwrap_err().iter().map(|filter| filter.name).collect();
    assert_eq!(
        refused,
        ["user", "type", "actor", "impersonator", "request_id", "from", "to"]
    );
    for fits in ["app.order.placed", "app.", "app.order."] {
        let search = AuditSearch {
            event_type: text(fits),
            ..AuditSearch::default()
        };
        assert!(search.read().is_ok(), "{fits}");
    }
    for wrong in ["app", ".", "App.", "app..", "app.order%"] {
        let search = AuditSearch {
            event_type: text(wrong),
            ..AuditSearch::default()
        };
        assert!(search.read().is_err(), "{wrong}");
    }
}
