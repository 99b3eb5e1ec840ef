//! An event as a Kafka record: CloudEvents' Kafka binding 1.0.2, structured mode.

use domain::event::LoggedEvent;
use rdkafka::message::{Header, OwnedHeaders};

/// The media type of the value, as the binding's section 3.3 asks.
pub(crate) const CONTENT_TYPE: &str = "application/cloudevents+json; charset=UTF-8";

/// A record before it is handed over. Its time is that of the hand-over, not the event's: brokers refuse records from an hour
/// ahead, and retention would take those of a long backlog at once.
pub(crate) struct Record {
    /// The user's id: all events of a user are in one partition.
    pub(crate) key: String,
    /// The event as JSON.
    pub(crate) value: String,
    event_type: String,
}

impl Record {
    /// The record of an event.
    pub(crate) fn of(event: &LoggedEvent, source: &str) -> Self {
        Self {
            key: event.event.user_id.to_string(),
            value: event.to_cloud_event_text(source),
            event_type: event.event.event_type.as_str().to_owned(),
        }
    }

    /// The headers: the form of the value, and the type, so that a consumer may pass over what it does not want unread.
    pub(crate) fn headers(&self) -> OwnedHeaders {
        let header = |key, value| Header {
            key,
            value: Some(value),
        };
        OwnedHeaders::new_with_capacity(2)
            .insert(header("content-type", CONTENT_TYPE))
            .insert(header("type", self.event_type.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use ports::conformance::event_publisher::event;
    use rdkafka::message::Headers as _;

    use super::*;

    #[test]
    fn a_record_has_the_users_key_and_the_whole_event() {
        let record = Record::of(&event(7, 3), "urn:plinth:test");
        assert_eq!(record.key, "00000000-0000-0000-0000-000000000007");
        let value: serde_json::Value = serde_json::from_str(&record.value).expect("JSON");
        assert_eq!(value["specversion"], "1.0");
        assert_eq!(value["source"], "urn:plinth:test");
        assert_eq!(value["userid"], record.key.as_str());
        assert_eq!(value["time"], event(7, 3).event.time.to_rfc3339());
        assert_eq!(value["sequence"], "00000000000000000003");
        assert_eq!(value["data"]["position"], 3);
        let headers = record.headers();
        let read: Vec<(&str, &[u8])> = headers
            .iter()
            .map(|header| (header.key, header.value.unwrap_or_default()))
            .collect();
        assert_eq!(
            read,
            [
                ("content-type", CONTENT_TYPE.as_bytes()),
                ("type", b"app.sampled".as_slice())
            ]
        );
    }
}
