//! Events of other services, as topics bring them: `CloudEvents` 1.0, read with care for what they leave open.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use crate::event::{Actor, Event, EventType, LoggedEvent, NewEvent};
use crate::id::{EventId, RequestId, UserId};
use crate::time::Timestamp;

/// Where a record stands in a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPlace {
    /// The topic.
    pub topic: String,
    /// Its partition.
    pub partition: u32,
    /// The record's place in the partition.
    pub offset: u64,
}

/// An event of another service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignEvent {
    /// Who sent it: with `id` its name, which no other event has (`CloudEvents` 1.0, section 3.1).
    pub source: String,
    /// Its id there.
    pub id: String,
    /// The event as handlers take it. Its own id follows from `source` and `id`; it is nobody's ([`UserId::SYSTEM`]) when the record names no user.
    pub event: Event,
    /// Whose later events wait while this one is tried again: those of its user, or those of the record's key, or none.
    pub lane: UserId,
}

/// What a record says of itself beside the event.
#[derive(Debug, Clone, Copy)]
pub struct RecordFrame<'a> {
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// When it was written, for events that tell no time.
    pub written_at: Timestamp,
}

/// Why a record is no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadEventError {
    /// The record has no value, or one that is no JSON.
    #[error("the record is no JSON object")]
    NotJson,
    /// An attribute that every event has is missing.
    #[error("the attribute {0} is missing")]
    Missing(&'static str),
    /// An attribute breaks its rule.
    #[error("the attribute {0} {1}")]
    Attribute(&'static str, &'static str),
}

/// The media type of the structured mode.
pub const STRUCTURED: &str = "application/cloudevents+json";

/// What stands as type of a record that is no event: [`ForeignEvent::unreadable`]. No handler is given one.
const UNREADABLE: &str = "topic.unreadable";

impl ForeignEvent {
    /// Reads an event in structured mode: the value is the whole event as JSON.
    ///
    /// # Errors
    /// See [`ReadEventError`]. No value is repeated in it.
    pub fn from_structured(value: &[u8], frame: RecordFrame<'_>) -> Result<Self, ReadEventError> {
        let Ok(Value::Object(mut object)) = serde_json::from_slice(value) else {
            return Err(ReadEventError::NotJson);
        };
        let data = match (object.remove("data"), object.remove("data_base64")) {
            (Some(_), Some(_)) => return Err(ReadEventError::Attribute("data_base64", "stands beside data")),
            (Some(data), None) => data,
            (None, Some(Value::String(text))) => match STANDARD.decode(&text) {
                Ok(bytes) => whatever(&bytes, media_type(&object)),
                Err(_) => return Err(ReadEventError::Attribute("data_base64", "must be base64")),
            },
            (None, Some(_)) => return Err(ReadEventError::Attribute("data_base64", "must be base64")),
            (None, None) => Value::Null,
        };
        Self::read(&object, &data, frame)
    }

    /// Reads an event in binary mode: its attributes stand beside the value, which is the data.
    ///
    /// # Errors
    /// See [`ReadEventError`].
    pub fn from_binary<'a>(
        attributes: impl Iterator<Item = (&'a str, &'a str)>,
        value: Option<&[u8]>,
        frame: RecordFrame<'_>,
    ) -> Result<Self, ReadEventError> {
        let object: Map<String, Value> = attributes
            .map(|(name, text)| (name.to_owned(), Value::from(text)))
            .collect();
        let data = value.map_or(Value::Null, |bytes| whatever(bytes, media_type(&object)));
        Self::read(&object, &data, frame)
    }

    /// A record that is no event, as one that can be kept and looked at: key, headers and value in base64 as its data.
    pub fn unreadable<'a>(
        place: &TopicPlace,
        headers: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>,
        value: Option<&[u8]>,
        frame: RecordFrame<'_>,
    ) -> Self {
        let text = |bytes: &[u8]| Value::from(STANDARD.encode(bytes));
        let headers: Map<String, Value> = headers
            .map(|(name, value)| (name.to_owned(), value.map_or(Value::Null, text)))
            .collect();
        let data = json!({
            "key_base64": frame.key.map(text),
            "value_base64": value.map(text),
            "headers_base64": headers,
        });
        let (source, id) = (
            format!("urn:topic:{}", place.topic),
            format!("{}/{}", place.partition, place.offset),
        );
        let own = derived(&[source.as_bytes(), id.as_bytes()]);
        let event = Event::new(NewEvent {
            id: EventId::new(own),
            user_id: UserId::SYSTEM,
            event_type: EventType::unchecked(UNREADABLE),
            subject: None,
            time: frame.written_at,
            data: data.to_string(),
            salt: [0; 16],
            actor: Actor::Anonymous,
            impersonator: None,
            request_id: None,
            client_id: true,
        });
        Self {
            source,
            id,
            event,
            lane: UserId::new(own),
        }
    }

    /// Whether it stands for a record that is no event.
    pub fn is_unreadable(event: &Event) -> bool {
        event.event_type.as_str() == UNREADABLE
    }

    /// The event in structured mode, from which [`from_structured`](Self::from_structured) makes the same one again.
    pub fn to_structured(&self) -> Value {
        let event = &self.event;
        let data = event
            .data
            .as_deref()
            .and_then(|text| serde_json::from_str::<Value>(text).ok());
        let mut envelope = json!({
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": event.event_type.as_str(),
            "time": event.time.to_rfc3339(),
            "datacontenttype": "application/json",
            "data": data,
        });
        if let Some(map) = envelope.as_object_mut() {
            let user = Some(event.user_id).filter(|user| *user != UserId::SYSTEM);
            let actor = Some(event.actor).filter(|actor| *actor != Actor::Anonymous);
            let optional = [
                ("subject", event.subject.clone()),
                ("userid", user.map(|user| user.to_string())),
                ("actorid", actor.map(Actor::as_text)),
                ("impersonatorid", event.impersonator.map(|id| id.to_string())),
                ("requestid", event.request_id.map(|id| id.to_string())),
            ];
            let present = optional.into_iter().filter_map(|(name, text)| Some((name, text?)));
            map.extend(present.map(|(name, text)| (name.to_owned(), text.into())));
        }
        envelope
    }

    /// The event as handlers take it from the log, its offset for a position.
    pub fn into_logged(self, offset: u64) -> LoggedEvent {
        LoggedEvent {
            shard: self.event.shard(),
            position: offset,
            // It is no link of our chain.
            hash: [0; 32],
            event: self.event,
        }
    }

    fn read(object: &Map<String, Value>, data: &Value, frame: RecordFrame<'_>) -> Result<Self, ReadEventError> {
        if needed(object, "specversion")? != "1.0" {
            return Err(ReadEventError::Attribute("specversion", "must be 1.0"));
        }
        let (source, id) = (needed(object, "source")?, needed(object, "id")?);
        let event_type = EventType::of_others(needed(object, "type")?)
            .ok_or(ReadEventError::Attribute("type", "must have 1 to 256 characters"))?;
        let time = match text(object, "time")? {
            None => frame.written_at,
            Some(time) => Timestamp::parse_rfc3339(time)
                .map_err(|_| ReadEventError::Attribute("time", "must be a time of RFC 3339"))?,
        };
        let subject = text(object, "subject")?.filter(|subject| !subject.is_empty());
        // Extensions are ours by name only: what another service means by them may be something else.
        let extension = |name| object.get(name).and_then(Value::as_str);
        let key = frame.key.and_then(|key| std::str::from_utf8(key).ok());
        let user = extension("userid").or(key).and_then(|text| text.parse::<UserId>().ok());
        let user = user.filter(|user| *user != UserId::SYSTEM);
        let own = derived(&[source.as_bytes(), id.as_bytes()]);
        let lane = match (user, frame.key) {
            (Some(user), _) => user,
            (None, Some(key)) => UserId::new(derived(&[key])),
            (None, None) => UserId::new(own),
        };
        let event = Event::new(NewEvent {
            id: EventId::new(own),
            user_id: user.unwrap_or(UserId::SYSTEM),
            event_type,
            subject: subject.map(str::to_owned),
            time,
            data: data.to_string(),
            // The digest is no secret here, and the same record is to give the same event.
            salt: [0; 16],
            actor: extension("actorid").and_then(Actor::parse).unwrap_or(Actor::Anonymous),
            impersonator: extension("impersonatorid").and_then(|id| id.parse().ok()),
            request_id: extension("requestid").and_then(|id| id.parse::<RequestId>().ok()),
            client_id: true,
        });
        Ok(Self {
            source: source.to_owned(),
            id: id.to_owned(),
            event,
            lane,
        })
    }
}

/// An attribute that may be left out; JSON's null stands for that (JSON format 1.0, section 2.2).
fn text<'a>(object: &'a Map<String, Value>, name: &'static str) -> Result<Option<&'a str>, ReadEventError> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(ReadEventError::Attribute(name, "must be a text")),
    }
}

fn needed<'a>(object: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, ReadEventError> {
    match text(object, name)? {
        None => Err(ReadEventError::Missing(name)),
        Some("") => Err(ReadEventError::Attribute(name, "must not be empty")),
        Some(text) => Ok(text),
    }
}

fn media_type(object: &Map<String, Value>) -> Option<&str> {
    object.get("datacontenttype").and_then(Value::as_str)
}

/// Data as JSON: itself where it is JSON, else its text, else its base64.
fn whatever(bytes: &[u8], media_type: Option<&str>) -> Value {
    let essence = media_type.map(|name| name.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    let is_json = essence.is_none_or(|name| name.ends_with("/json") || name.ends_with("+json"));
    if is_json && let Ok(value) = serde_json::from_slice(bytes) {
        return value;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => STANDARD.encode(bytes).into(),
    }
}

/// A UUID that follows from these parts (RFC 9562, version 8).
fn derived(parts: &[&[u8]]) -> Uuid {
    let mut hash = Sha256::new_with_prefix(b"plinth.foreign.v1\0");
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    fn frame(key: Option<&[u8]>) -> RecordFrame<'_> {
        RecordFrame {
            key,
            written_at: Timestamp::from_seconds(1_767_225_600),
        }
    }

    fn structured(value: &Value, key: Option<&[u8]>) -> Result<ForeignEvent, ReadEventError> {
        ForeignEvent::from_structured(value.to_string().as_bytes(), frame(key))
    }

    fn sample() -> Value {
        json!({
            "specversion": "1.0", "id": "order/7", "source": "https://shop.example.org/orders",
            "type": "com.example.OrderPlaced", "time": "2026-11-25T10:00:00.25Z", "subject": "order 7",
            "userid": USER, "actorid": USER, "data": {"total": 12.5, "note": "ä\u{1F600}"},
        })
    }

    fn without(name: &str) -> Value {
        let mut value = sample();
        value.as_object_mut().unwrap().remove(name);
        value
    }

    fn with(name: &str, to: impl Into<Value>) -> Value {
        let mut value = sample();
        value[name] = to.into();
        value
    }

    #[test]
    fn a_structured_event_is_read_whole_and_can_be_written_again() {
        let read = structured(&sample(), None).unwrap();
        assert_eq!(read.source, "https://shop.example.org/orders");
        assert_eq!(read.id, "order/7");
        let event = &read.event;
        assert_eq!(event.user_id.to_string(), USER);
        assert_eq!(read.lane, event.user_id);
        assert_eq!(event.event_type.as_str(), "com.example.OrderPlaced");
        assert_eq!(event.time.to_rfc3339(), "2026-11-25T10:00:00.25Z");
        assert_eq!(event.subject.as_deref(), Some("order 7"));
        assert_eq!(event.actor, Actor::User(event.user_id));
        let data: Value = serde_json::from_str(event.data.as_deref().unwrap()).unwrap();
        assert_eq!(data, sample()["data"]);
        assert_eq!(structured(&read.to_structured(), None).unwrap(), read);
    }

    #[test]
    fn the_same_event_has_one_id_and_another_source_or_id_another() {
        let id = |value: &Value| structured(value, None).unwrap().event.id;
        assert_eq!(id(&sample()), id(&with("data", 1)));
        assert_ne!(id(&sample()), id(&with("id", "order/8")));
        assert_ne!(id(&sample()), id(&with("source", "https://shop.example.org/bills")));
        // What stands between the two cannot be moved from the one to the other.
        let (mut one, mut other) = (sample(), sample());
        (one["source"], one["id"]) = ("a".into(), "bc".into());
        (other["source"], other["id"]) = ("ab".into(), "c".into());
        assert_ne!(id(&one), id(&other));
    }

    #[test]
    fn the_user_is_named_by_the_event_or_else_by_the_key() {
        let other = "01890a5d-ac96-774b-bcce-b302099a8058";
        let user = |value: &Value, key: Option<&[u8]>| structured(value, key).unwrap().event.user_id.to_string();
        assert_eq!(user(&sample(), Some(other.as_bytes())), USER);
        assert_eq!(user(&without("userid"), Some(other.as_bytes())), other);
        for (value, key) in [
            (without("userid"), None),
            (without("userid"), Some(b"order 7".as_slice())),
            (without("userid"), Some(b"\xff".as_slice())),
            (with("userid", "anna"), None),
            (with("userid", 7), None),
            (with("userid", UserId::SYSTEM.to_string()), None),
        ] {
            let read = structured(&value, key).unwrap();
            assert_eq!(read.event.user_id, UserId::SYSTEM);
            assert_ne!(read.lane, UserId::SYSTEM, "nobody's events do not wait for each other");
        }
    }

    #[test]
    fn events_of_nobody_wait_for_those_of_their_key_alone() {
        let lane = |id: &str, key: Option<&[u8]>| {
            let mut value = with("id", id);
            value.as_object_mut().unwrap().remove("userid");
            structured(&value, key).unwrap().lane
        };
        assert_eq!(lane("1", Some(b"a")), lane("2", Some(b"a")));
        assert_ne!(lane("1", Some(b"a")), lane("1", Some(b"b")));
        assert_ne!(lane("1", None), lane("2", None));
    }

    #[test]
    fn binary_mode_gives_the_same_event() {
        let value = sample();
        let attributes: Vec<(String, String)> = value
            .as_object()
            .unwrap()
            .iter()
            .filter(|(name, _)| *name != "data")
            .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
            .collect();
        let pairs = || attributes.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        let data = value["data"].to_string();
        let read = ForeignEvent::from_binary(pairs(), Some(data.as_bytes()), frame(None)).unwrap();
        assert_eq!(read, structured(&value, None).unwrap());
        let empty = ForeignEvent::from_binary(pairs(), None, frame(None)).unwrap();
        assert_eq!(empty.event.data.as_deref(), Some("null"));
    }

    #[test]
    fn data_that_is_no_json_is_text_or_base64() {
        let data = |media_type: &'static str, value: &[u8]| {
            let attributes = [
                ("specversion", "1.0"),
                ("id", "1"),
                ("source", "s"),
                ("type", "t"),
                ("datacontenttype", media_type),
            ];
            let read = ForeignEvent::from_binary(attributes.into_iter(), Some(value), frame(None)).unwrap();
            read.event.data.unwrap()
        };
        assert_eq!(data("application/json; charset=utf-8", b"{\"a\":1}"), "{\"a\":1}");
        assert_eq!(data("application/vnd.shop+json", b"[1]"), "[1]");
        assert_eq!(data("text/plain", b"1"), "\"1\"");
        assert_eq!(data("application/json", b"not so"), "\"not so\"");
        assert_eq!(data("application/octet-stream", b"\xff\x00"), "\"/wA=\"");
        let mut value = without("data");
        value["data_base64"] = "/wA=".into();
        assert_eq!(
            structured(&value, None).unwrap().event.data.as_deref(),
            Some("\"/wA=\"")
        );
    }

    #[test]
    fn what_is_no_event_is_refused_by_name_and_never_by_value() {
        let refusals = [
            (without("specversion"), "specversion"),
            (with("specversion", "0.3"), "specversion"),
            (without("id"), "id"),
            (with("id", ""), "id"),
            (with("id", 7), "id"),
            (without("source"), "source"),
            (without("type"), "type"),
            (with("type", "x".repeat(257)), "type"),
            (with("type", "a\u{1}"), "type"),
            (with("time", "hunter2"), "time"),
            (with("data_base64", "aGk="), "data_base64"),
            (with("subject", json!({"a": 1})), "subject"),
        ];
        for (value, name) in refusals {
            let told = structured(&value, None).unwrap_err().to_string();
            assert!(told.contains(&format!("the attribute {name} ")), "{told}");
            assert!(!told.contains("hunter2"));
        }
        for value in ["", "7", "[]", "{", "null", "\u{0}"] {
            let read = ForeignEvent::from_structured(value.as_bytes(), frame(None));
            assert_eq!(read, Err(ReadEventError::NotJson), "{value:?}");
        }
    }

    #[test]
    fn a_time_that_is_left_out_is_that_of_the_record() {
        assert_eq!(
            structured(&without("time"), None).unwrap().event.time,
            frame(None).written_at
        );
    }

    #[test]
    fn a_record_that_is_no_event_is_kept_whole() {
        let place = TopicPlace {
            topic: "orders".to_owned(),
            partition: 3,
            offset: 9,
        };
        let headers = [("h", Some(b"\xfe".as_slice())), ("none", None)];
        let kept = ForeignEvent::unreadable(&place, headers.into_iter(), Some(b"\xff"), frame(Some(b"key")));
        assert!(ForeignEvent::is_unreadable(&kept.event));
        assert_eq!((kept.source.as_str(), kept.id.as_str()), ("urn:topic:orders", "3/9"));
        let data: Value = serde_json::from_str(kept.event.data.as_deref().unwrap()).unwrap();
        assert_eq!(
            data,
            json!({"key_base64": "a2V5", "value_base64": "/w==", "headers_base64": {"h": "/g==", "none": null}})
        );
        let again = structured(&kept.to_structured(), None).unwrap();
        assert_eq!(again.event, kept.event);
    }
}
