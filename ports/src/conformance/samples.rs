//! Values for scenarios: distinct, deterministic, and filled in every field.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::blob::{BlobKey, FileName, FileType};
use domain::event::{Actor, Event, LoggedEvent, NewEvent};
use domain::file::{BackendName, File, Reservation};
use domain::id::{DeliveryId, EventId, FileId, MailId, RequestId, UserId, WebhookId};
use domain::mail::{MailTemplate, NewMail};
use domain::time::Timestamp;
use domain::webhook::Webhook;
use uuid::Uuid;

use crate::{Cursor, Effects, EventLog, EventStore, LogSequencer, NewDelivery};

/// 2026-01-01T00:00:00Z: the scenarios' beginning of time.
const EPOCH_SECONDS: i64 = 1_767_225_600;

/// A minute, the usual lease of a scenario.
pub const TTL: Duration = Duration::from_secs(60);

/// A moment of a scenario, in seconds from its beginning.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(EPOCH_SECONDS + seconds)
}

/// An id of the form of a version 7 UUID; each sorts after the one before.
pub fn uuid() -> Uuid {
    static COUNTER: AtomicU64 = AtomicU64::new(1);
    let count = u128::from(COUNTER.fetch_add(1, Ordering::Relaxed));
    let millis = u128::from(EPOCH_SECONDS.unsigned_abs()) * 1_000 + count / 16;
    // The low bits are scattered, so that users fall into all shards.
    let low = (count.wrapping_mul(0x9E37_79B9_7F4A_7C15)) & 0x3FFF_FFFF_FFFF_FFFF;
    Uuid::from_u128((millis << 80) | (7 << 76) | ((count & 0xFFF) << 64) | (2 << 62) | low)
}

/// A user.
pub fn user() -> UserId {
    UserId::new(uuid())
}

/// An event with the fields that every one has; `number` is its payload.
pub fn event(user: UserId, number: u64) -> Event {
    Event::new(NewEvent {
        id: EventId::new(uuid()),
        user_id: user,
        event_type: "app.counted".parse().expect("an event type"),
        subject: None,
        time: at(1),
        data: format!("{{\"number\":{number}}}"),
        salt: [7; 16],
        actor: Actor::System,
        impersonator: None,
        request_id: None,
        client_id: false,
    })
}

/// An event with every field filled, text beyond ASCII among them.
pub fn full_event(user: UserId) -> Event {
    Event::new(NewEvent {
        id: EventId::new(uuid()),
        user_id: user,
        event_type: "app.order.placed_2".parse().expect("an event type"),
        subject: Some("Bestellung „7“, {a}, \\b\\ 'c' \"d\"".to_owned()),
        time: Timestamp::from_micros(at(5).micros() + 123_457),
        data: r#"{"a":[1,null,"\u0000 Ünïcode 🦀, {}"],"b":{"c":"\\\""}}"#.to_owned(),
        salt: [0xA5; 16],
        actor: Actor::User(user),
        impersonator: Some(self::user()),
        request_id: Some(RequestId::new(uuid())),
        client_id: true,
    })
    .of_schema(7)
}

/// An event whose id the publisher chose.
pub fn client_event(user: UserId, id: EventId, data: &str) -> Event {
    Event::new(NewEvent {
        id,
        user_id: user,
        event_type: "app.chosen".parse().expect("an event type"),
        subject: Some("chosen".to_owned()),
        time: at(2),
        data: data.to_owned(),
        salt: [9; 16],
        actor: Actor::User(user),
        impersonator: None,
        request_id: None,
        client_id: true,
    })
}

/// Effects of events alone.
pub fn events(events: Vec<Event>) -> Effects {
    Effects {
        events,
        ..Effects::default()
    }
}

/// Effects of mails alone.
pub fn mails(mails: Vec<NewMail>) -> Effects {
    Effects {
        mails,
        ..Effects::default()
    }
}

/// A message with every field filled.
pub fn mail(user: Option<UserId>, to: &str, created_at: Timestamp) -> NewMail {
    NewMail {
        id: MailId::new(uuid()),
        user_id: user,
        to: to.parse().expect("an address"),
        template: MailTemplate::ResetPassword,
        locale: "de-AT".to_owned(),
        data: BTreeMap::from([
            ("name".to_owned(), "Zoë „Z“".to_owned()),
            ("empty".to_owned(), String::new()),
        ]),
        sealed_token: Some(vec![0, 1, 2, 255]),
        created_at,
        request_id: Some(RequestId::new(uuid())),
        limited: false,
    }
}

/// Held room for a file of that many bytes.
pub fn reservation(user: UserId, bytes: u64, created_at: Timestamp, expires_at: Timestamp) -> Reservation {
    let id = FileId::new(uuid());
    let (kind, name) = (file_type("report"), file_name());
    Reservation {
        id,
        user_id: user,
        backend: "disk".parse::<BackendName>().expect("a backend name"),
        key: BlobKey::new(user, &kind, id, created_at, &name),
        bytes,
        created_at,
        expires_at,
    }
}

/// The file that a reservation becomes.
pub fn file(reservation: &Reservation, kind: &str) -> File {
    File {
        id: reservation.id,
        user_id: reservation.user_id,
        kind: file_type(kind),
        name: file_name(),
        key: reservation.key.clone(),
        backend: reservation.backend.clone(),
        size: reservation.bytes,
        media_type: "application/pdf; charset=binary".to_owned(),
        sha256: [0x5A; 32],
        created_at: reservation.created_at,
    }
}

/// A type of files.
pub fn file_type(text: &str) -> FileType {
    text.parse().expect("a file type")
}

fn file_name() -> FileName {
    "Jahresübersicht 2026 'final'.pdf".parse().expect("a file name")
}

/// A webhook with the fields that every one has.
pub fn webhook(owner: UserId) -> Webhook {
    Webhook {
        id: WebhookId::new(uuid()),
        owner,
        url: "https://hooks.example.org/plinth".to_owned(),
        types: vec!["*".parse().expect("a filter")],
        description: String::new(),
        disabled: None,
        sealed_secret: vec![0, 1, 2, 255],
        previous: None,
        failing_since: None,
        failures: 0,
        last_success_at: None,
        created_at: at(0),
        updated_at: at(0),
        version: 1,
    }
}

/// A delivery of an event that is in no log.
pub fn delivery_to(webhook: &Webhook, created_at: Timestamp) -> NewDelivery {
    NewDelivery {
        id: DeliveryId::new(uuid()),
        webhook_id: webhook.id,
        owner: webhook.owner,
        host: "hooks.example.org:443".to_owned(),
        event_id: EventId::new(uuid()),
        event_type: "webhook.test".parse().expect("a type"),
        body: Some("{\"n\":\"ü\"}".to_owned()),
        created_at,
    }
}

/// Gives every waiting event its position, as one owner alone would.
pub async fn sequence_all(sequencer: &dyn LogSequencer) {
    sequencer
        .lease("conformance", at(0), Duration::from_secs(1_000_000))
        .await
        .expect("a lease");
    while sequencer
        .sequence("conformance", at(0), 200)
        .await
        .expect("a step")
        .more
    {}
    sequencer.release("conformance").await.expect("a release");
}

/// Everything in the log, each shard from its beginning.
pub async fn whole_log(log: &dyn EventLog) -> Vec<LoggedEvent> {
    let mut cursors: Vec<Cursor> = domain::event::Shard::all()
        .map(|shard| Cursor { shard, position: 0 })
        .collect();
    let mut all = Vec::new();
    loop {
        let read = log.read(&cursors, 100).await.expect("a read");
        if read.is_empty() {
            return all;
        }
        for event in &read {
            let cursor = cursors
                .iter_mut()
                .find(|cursor| cursor.shard == event.shard)
                .expect("the shard was asked for");
            assert_eq!(event.position, cursor.position + 1, "no gap in {:?}", event.shard);
            cursor.position = event.position;
        }
        all.extend(read);
    }
}

/// The payloads of a user's events that have their position, in order.
pub async fn payloads(store: &dyn EventStore, user: UserId) -> Vec<String> {
    let history = store.history(user, 0, 200).await.expect("a history");
    history.into_iter().filter_map(|logged| logged.event.data).collect()
}
