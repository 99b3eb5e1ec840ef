//! A Kafka record as an event: `CloudEvents`' Kafka binding 1.0.2, structured and binary mode.

use domain::cloud_event::{ForeignEvent, ReadEventError, RecordFrame, STRUCTURED, TopicPlace};
use domain::time::Timestamp;
use ports::Received;
use rdkafka::Timestamp as RecordTime;
use rdkafka::message::{Headers as _, Message};

/// What every attribute's header begins with in binary mode.
const ATTRIBUTE: &str = "ce_";
/// The header of the value's media type.
const CONTENT_TYPE: &str = "content-type";

/// Reads a record.
pub(crate) fn received(message: &impl Message) -> Received {
    let place = TopicPlace {
        topic: message.topic().to_owned(),
        partition: u32::try_from(message.partition()).unwrap_or_default(),
        offset: u64::try_from(message.offset()).unwrap_or_default(),
    };
    let frame = RecordFrame {
        key: message.key(),
        written_at: time_of(message.timestamp()),
    };
    match read(message, frame) {
        Ok(foreign) => Received {
            place,
            foreign,
            fault: None,
        },
        Err(fault) => {
            let foreign = ForeignEvent::unreadable(&place, headers(message), message.payload(), frame);
            Received {
                place,
                foreign,
                fault: Some(fault),
            }
        }
    }
}

fn headers<M: Message>(message: &M) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
    let all = message.headers().into_iter().flat_map(|headers| headers.iter());
    all.map(|header| (header.key, header.value))
}

/// Headers whose value is a text; those of binary mode are UTF-8 (section 3.2.3).
fn texts<M: Message>(message: &M) -> impl Iterator<Item = (&str, &str)> {
    headers(message).filter_map(|(name, value)| Some((name, std::str::from_utf8(value?).ok()?)))
}

fn read<M: Message>(message: &M, frame: RecordFrame<'_>) -> Result<ForeignEvent, ReadEventError> {
    let attribute = |name: &str| {
        name.get(..ATTRIBUTE.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(ATTRIBUTE))
    };
    let structured = texts(message).any(|(name, value)| {
        name.eq_ignore_ascii_case(CONTENT_TYPE)
            && value
                .get(..STRUCTURED.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(STRUCTURED))
    });
    // A producer that leaves the media type out cannot mean binary mode without its attributes.
    if structured || !headers(message).any(|(name, _)| attribute(name)) {
        return ForeignEvent::from_structured(message.payload().unwrap_or_default(), frame);
    }
    let attributes: Vec<(String, &str)> = texts(message)
        .filter_map(|(name, value)| {
            if name.eq_ignore_ascii_case(CONTENT_TYPE) {
                Some(("datacontenttype".to_owned(), value))
            } else {
                let name = name.get(ATTRIBUTE.len()..).filter(|_| attribute(name))?;
                Some((name.to_ascii_lowercase(), value))
            }
        })
        .collect();
    let attributes = attributes.iter().map(|(name, value)| (name.as_str(), *value));
    ForeignEvent::from_binary(attributes, message.payload(), frame)
}

fn time_of(time: RecordTime) -> Timestamp {
    Timestamp::from_micros(time.to_millis().unwrap_or_default().saturating_mul(1_000))
}

#[cfg(test)]
mod tests {
    use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};

    use super::*;

    const USER: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    fn record(headers: &[(&str, &str)], value: Option<&str>) -> OwnedMessage {
        let headers = headers.iter().fold(OwnedHeaders::new(), |all, (key, value)| {
            all.insert(Header {
                key,
                value: Some(*value),
            })
        });
        OwnedMessage::new(
            value.map(|value| value.as_bytes().to_vec()),
            Some(USER.as_bytes().to_vec()),
            "shop.orders".to_owned(),
            RecordTime::CreateTime(1_767_225_600_250),
            3,
            9,
            Some(headers),
        )
    }

    const EVENT: &str =
        r#"{"specversion":"1.0","id":"1","source":"shop","type":"app.order.placed","data":{"total":1}}"#;

    #[test]
    fn structured_mode_is_known_by_its_media_type_or_by_the_want_of_attributes() {
        for headers in [
            &[("content-type", "application/cloudevents+json; charset=UTF-8")][..],
            &[
                ("Content-Type", "Application/CloudEvents+JSON"),
                ("ce_id", "of no meaning"),
            ],
            &[],
            &[("content-type", "application/json"), ("traceparent", "00-0")],
        ] {
            let read = received(&record(headers, Some(EVENT)));
            assert_eq!(read.fault, None, "{headers:?}");
            assert_eq!((read.foreign.source.as_str(), read.foreign.id.as_str()), ("shop", "1"));
            let place = TopicPlace {
                topic: "shop.orders".to_owned(),
                partition: 3,
                offset: 9,
            };
            assert_eq!(read.place, place);
            let event = read.foreign.event;
            assert_eq!(event.user_id.to_string(), USER, "the key names the user");
            assert_eq!(event.time.to_rfc3339(), "2026-01-01T00:00:00.25Z", "as the record");
        }
    }

    #[test]
    fn binary_mode_is_known_by_its_attributes() {
        let headers = [
            ("CE_specversion", "1.0"),
            ("ce_id", "1"),
            ("ce_source", "shop"),
            ("ce_type", "app.order.placed"),
            ("ce_time", "2026-11-25T10:00:00Z"),
            ("content-type", "application/json"),
            ("traceparent", "00-0"),
        ];
        let read = received(&record(&headers, Some("{\"total\":1}")));
        assert_eq!(read.fault, None);
        let same = received(&record(&[], Some(EVENT))).foreign.event;
        let event = read.foreign.event;
        assert_eq!((event.id, event.data), (same.id, same.data));
        assert_eq!(event.time.to_rfc3339(), "2026-11-25T10:00:00Z");
    }

    #[test]
    fn what_is_no_event_is_kept_with_the_reason() {
        for (headers, value) in [
            (&[][..], None),
            (&[], Some("hello")),
            (&[("ce_id", "1")], Some("{}")),
            (&[("content-type", "application/cloudevents-batch+json")], Some("[]")),
            (&[("content-type", "application/cloudevents+avro")], Some("x")),
        ] {
            let read = received(&record(headers, value));
            assert!(read.fault.is_some(), "{headers:?} {value:?}");
            assert!(ForeignEvent::is_unreadable(&read.foreign.event));
        }
    }
}
