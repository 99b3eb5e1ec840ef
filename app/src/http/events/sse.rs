//! Server-sent events: how a live stream is written (WHATWG HTML, section 9.2).

use std::io;

use bytes::Bytes;
use futures_util::stream::unfold;
use openapi::EventBody;
use poem::{Body, IntoResponse, Response};
use poem_openapi::payload::Payload;
use poem_openapi::registry::MetaSchemaRef;
use poem_openapi::types::Type;

use crate::service::events::{LiveEvents, Signal};

/// How long a browser waits before it connects again, in milliseconds.
const RETRY_MILLIS: u32 = 2_000;

/// The body of a live stream.
#[derive(Debug)]
pub struct EventFeed(Body);

impl EventFeed {
    /// Writes what the stream says, as the client reads it.
    pub(super) fn new(live: LiveEvents, source: String) -> Self {
        let frames = unfold((live, source), |(mut live, source)| async {
            let signal = live.next().await?;
            let frame = Bytes::from(frame(&signal, &source));
            Some((Ok::<_, io::Error>(frame), (live, source)))
        });
        Self(Body::from_bytes_stream(frames))
    }
}

impl Payload for EventFeed {
    const CONTENT_TYPE: &'static str = "text/event-stream";

    fn schema_ref() -> MetaSchemaRef {
        String::schema_ref()
    }
}

impl IntoResponse for EventFeed {
    fn into_response(self) -> Response {
        // The second header keeps reverse proxies from collecting the stream before they pass it on.
        Response::builder()
            .content_type(Self::CONTENT_TYPE)
            .header("X-Accel-Buffering", "no")
            .body(self.0)
    }
}

fn frame(signal: &Signal, source: &str) -> String {
    match signal {
        // An id without data is no event to the client, and is what it sends when it connects again.
        Signal::Begin(position) => format!("retry: {RETRY_MILLIS}\nid: {position}\n\n"),
        Signal::Gap(position) => format!("id: {position}\nevent: gap\ndata: {{\"after\":\"{position}\"}}\n\n"),
        Signal::Events(events) => {
            let mut text = String::new();
            for logged in events {
                let envelope = serde_json::to_string(&EventBody::new(logged, source)).unwrap_or_default();
                let (position, kind) = (logged.position, &logged.event.event_type);
                text.push_str(&format!("id: {position}\nevent: {kind}\ndata: {envelope}\n\n"));
            }
            text
        }
        Signal::Heartbeat => ":\n\n".to_owned(),
        Signal::End(end) => format!("event: end\ndata: {{\"reason\":\"{}\"}}\n\n", end.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::service::events::StreamEnd;
    use crate::service::gate::GateError;
    use crate::worker::testing::{logged, user_in};

    #[test]
    fn every_signal_is_one_frame_or_one_for_each_event() {
        assert_eq!(frame(&Signal::Begin(7), "s"), "retry: 2000\nid: 7\n\n");
        assert_eq!(
            frame(&Signal::Gap(9), "s"),
            "id: 9\nevent: gap\ndata: {\"after\":\"9\"}\n\n"
        );
        assert_eq!(frame(&Signal::Heartbeat, "s"), ":\n\n");
        let end = Signal::End(StreamEnd::Refused(GateError::Expired));
        assert_eq!(frame(&end, "s"), "event: end\ndata: {\"reason\":\"token_expired\"}\n\n");
        let (user, data) = (user_in(1), "{\"text\":\"two\\nlines\"}");
        let events = [8, 12].map(|position| Arc::new(logged(user, position, "app.order.placed", data)));
        let text = frame(&Signal::Events(events.to_vec()), "urn:plinth:x");
        let frames: Vec<&str> = text.split_terminator("\n\n").collect();
        assert_eq!(frames.len(), 2);
        for (frame, logged) in frames.iter().zip(&events) {
            let lines: Vec<&str> = frame.lines().collect();
            assert_eq!(
                lines[..2],
                [format!("id: {}", logged.position), "event: app.order.placed".to_owned()]
            );
            let envelope: serde_json::Value = serde_json::from_str(lines[2].strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!(envelope, logged.to_cloud_event("urn:plinth:x"));
        }
    }
}
