//! Events: publishing them, and reading them back as `CloudEvents`.
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{Text, Time};

/// Any JSON value, `null` among them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AnyJson(pub Value);

/// An event to be published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object), oai(deny_unknown_fields, example))]
pub struct PublishEventBody {
    /// What happened, in the past tense: 2 to 8 parts of `a-z`, `0-9` and `_` joined by dots, each beginning with a
    /// letter, at most 128 characters, under the prefix of clients' own events (`app.` unless configured otherwise).
    #[serde(rename = "type")]
    #[cfg_attr(feature = "server", oai(rename = "type"))]
    pub event_type: Text,
    /// Any JSON value, at most 65,536 bytes when written without white space. Numbers beyond 64 bits are kept as
    /// double-precision ones.
    pub data: AnyJson,
    /// What it concerns, in words of your own: 1 to 256 characters without control characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Text>,
    /// The version of the type's schema that the data is valid with; the newest one when left out. Not for a type
    /// without a schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", oai(validator(minimum(value = "1"))))]
    pub schema_version: Option<u32>,
    /// An id of your own choice. Publishing the same content under it again changes nothing and answers alike; another
    /// content is a conflict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
}

/// Events to be published together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object), oai(deny_unknown_fields, example))]
pub struct PublishEventsBody {
    /// 1 to 1,000 events, in the order in which they happened; their data together at most 4 MiB.
    #[cfg_attr(feature = "server", oai(validator(min_items = "1", max_items = "1000")))]
    pub events: Vec<PublishEventBody>,
}

/// An event that was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct PublishedEventBody {
    /// Its id, the same in every delivery.
    pub id: Uuid,
}

/// Events that were published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct PublishedEventsBody {
    /// Their ids, in the order of the request.
    pub ids: Vec<Uuid>,
}

/// An event as `CloudEvents` 1.0 writes it in structured JSON mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct EventBody {
    /// Always `1.0`.
    pub specversion: String,
    /// Its id, the same in every delivery.
    pub id: Uuid,
    /// The installation that it comes from.
    pub source: String,
    /// What happened.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "server", oai(rename = "type"))]
    pub event_type: String,
    /// What it concerns, in the publisher's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", oai(skip_serializing_if_is_none))]
    pub subject: Option<String>,
    /// When it happened.
    pub time: Time,
    /// Always `application/json`.
    pub datacontenttype: String,
    /// The version of the schema that the payload was valid with when it was published, such as
    /// `urn:plinth:schema:user.registered:1`: its last two parts are type and version for
    /// `GET /v1/event-types/{type}/versions/{version}`. Absent where the type had no schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", oai(skip_serializing_if_is_none))]
    pub dataschema: Option<String>,
    /// Whose event it is.
    pub userid: Uuid,
    /// Who caused it: the id of a user, `anonymous` or `system`.
    pub actorid: String,
    /// The administrator who acted for that user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", oai(skip_serializing_if_is_none))]
    pub impersonatorid: Option<Uuid>,
    /// The request that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", oai(skip_serializing_if_is_none))]
    pub requestid: Option<Uuid>,
    /// Its place in the log, twenty digits: later events of the same user have greater ones, not always the next.
    pub sequence: String,
    /// The payload; absent once it was erased.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[cfg_attr(feature = "server", oai(skip_serializing_if_is_none))]
    pub data: Option<AnyJson>,
}

/// An address that opens one live stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct StreamTicketBody {
    /// The address. Whoever has it may use it, once: do not keep it.
    pub url: String,
    /// Until when.
    pub expires_at: Time,
}

/// A part of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct EventPageBody {
    /// Events in the order of the log.
    pub items: Vec<EventBody>,
    /// What to send as `after` to go on from here, now or when more has happened. Null only where nothing was read
    /// and no `after` was given: an empty page keeps the cursor that it was asked with.
    pub next_cursor: Option<String>,
    /// Whether events are missing, or may be, between the given `after` and the first item: those that were removed
    /// because of their age. The page goes on with what is left.
    #[serde(default)]
    pub gap: bool,
}

/// A `null` that is there is a value; only an absent member is none.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<AnyJson>, D::Error> {
    AnyJson::deserialize(deserializer).map(Some)
}

#[cfg(feature = "server")]
mod server {
    use std::borrow::Cow;

    use domain::event::{LoggedEvent, schema_name};
    use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
    use poem_openapi::types::{Example, ParseError, ParseFromJSON, ParseResult, ToJSON, Type};
    use serde_json::{Value, json};

    use super::{AnyJson, EventBody, PublishEventBody, PublishEventsBody};

    impl EventBody {
        /// The event as [`LoggedEvent::to_cloud_event`] writes it, as a typed body.
        pub fn new(logged: &LoggedEvent, source: &str) -> Self {
            let event = &logged.event;
            let data = event.data.as_deref().and_then(|text| serde_json::from_str(text).ok());
            Self {
                specversion: "1.0".to_owned(),
                id: event.id.uuid(),
                source: source.to_owned(),
                event_type: event.event_type.as_str().to_owned(),
                subject: event.subject.clone().filter(|subject| !subject.is_empty()),
                time: event.time.into(),
                datacontenttype: "application/json".to_owned(),
                dataschema: event
                    .schema_version
                    .map(|version| schema_name(source, &event.event_type, version)),
                userid: event.user_id.uuid(),
                actorid: event.actor.as_text(),
                impersonatorid: event.impersonator.map(domain::id::UserId::uuid),
                requestid: event.request_id.map(domain::id::RequestId::uuid),
                sequence: format!("{:020}", logged.position),
                data: data.map(AnyJson),
            }
        }
    }

    impl Type for AnyJson {
        const IS_REQUIRED: bool = true;
        type RawValueType = Self;
        type RawElementValueType = Self;

        fn name() -> Cow<'static, str> {
            "any".into()
        }

        fn schema_ref() -> MetaSchemaRef {
            MetaSchemaRef::Inline(Box::new(MetaSchema::ANY))
        }

        fn as_raw_value(&self) -> Option<&Self> {
            Some(self)
        }

        fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
            Box::new(std::iter::once(self))
        }
    }

    impl ToJSON for AnyJson {
        fn to_json(&self) -> Option<Value> {
            Some(self.0.clone())
        }
    }

    impl ParseFromJSON for AnyJson {
        // Unlike poem-openapi's own, an absent member is no null.
        fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
            value.map(Self).ok_or_else(ParseError::expected_input)
        }
    }

    impl Example for PublishEventBody {
        fn example() -> Self {
            Self {
                event_type: "app.order.placed".into(),
                data: AnyJson(json!({ "order": 7, "items": ["tea", "cup"] })),
                subject: Some("order 7".into()),
                schema_version: None,
                id: None,
            }
        }
    }

    impl Example for PublishEventsBody {
        fn example() -> Self {
            let paid = PublishEventBody {
                event_type: "app.order.paid".into(),
                data: AnyJson(json!({ "order": 7 })),
                ..PublishEventBody::example()
            };
            Self {
                events: vec![PublishEventBody::example(), paid],
            }
        }
    }
}

#[cfg(all(test, feature = "server"))]
mod tests {
    use domain::event::{Actor, Event, LoggedEvent, NewEvent, Shard};
    use domain::id::{EventId, RequestId, UserId};
    use domain::time::Timestamp;
    use poem_openapi::types::{ParseFromJSON, ToJSON};
    use serde_json::json;

    use super::*;

    fn logged(data: &str) -> LoggedEvent {
        let user_id = UserId::new(Uuid::from_u128(1));
        let event = Event::new(NewEvent {
            id: EventId::new(Uuid::from_u128(2)),
            user_id,
            event_type: "app.order.placed".parse().expect("a type"),
            subject: Some("order 7".to_owned()),
            time: Timestamp::from_micros(1_767_225_600_250_000),
            data: data.to_owned(),
            salt: [1; 16],
            actor: Actor::User(user_id),
            impersonator: Some(UserId::new(Uuid::from_u128(3))),
            request_id: Some(RequestId::new(Uuid::from_u128(4))),
            client_id: false,
        });
        LoggedEvent {
            shard: Shard::of(user_id),
            position: 42,
            hash: [0; 32],
            event,
        }
    }

    #[test]
    fn the_body_is_the_cloud_event() {
        let mut full = logged("{\"a\":[1,null]}");
        full.event.schema_version = Some(3);
        let mut bare = logged("null");
        bare.event.subject = None;
        bare.event.impersonator = None;
        bare.event.request_id = None;
        let mut erased = logged("1");
        erased.event.data = None;
        for logged in [full, bare, erased] {
            let body = EventBody::new(&logged, "urn:plinth:x");
            let envelope = logged.to_cloud_event("urn:plinth:x");
            assert_eq!(serde_json::to_value(&body).unwrap(), envelope);
            assert_eq!(body.to_json().unwrap(), envelope, "the server writes it alike");
            assert_eq!(
                serde_json::from_value::<EventBody>(envelope).unwrap(),
                body,
                "and it is read back"
            );
        }
    }

    #[test]
    fn absent_data_is_refused_and_null_is_not() {
        let read = |value| PublishEventBody::parse_from_json(Some(value));
        assert!(read(json!({ "type": "app.a" })).is_err());
        assert_eq!(
            read(json!({ "type": "app.a", "data": null })).unwrap().data,
            AnyJson(Value::Null)
        );
        assert!(read(json!({ "type": "app.a", "data": 1, "more": 1 })).is_err());
    }
}
