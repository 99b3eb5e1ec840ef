//! Server-sent events, read as they come (the WHATWG text format, as far as Plinth speaks it).

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::Value;

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerEvent {
    /// The field `id`, with which a reader comes back as `Last-Event-ID`.
    pub id: Option<String>,
    /// The field `event`; empty stands for `message`.
    pub event: String,
    /// The lines of the field `data`.
    pub data: String,
}

impl ServerEvent {
    /// The data as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.data))
    }
}

/// An open stream. Dropping it closes the connection.
#[derive(Debug)]
pub struct EventStream {
    response: reqwest::Response,
    reader: Reader,
}

impl EventStream {
    /// Takes over an answer.
    ///
    /// # Panics
    /// When it is not 200 `text/event-stream`.
    pub async fn of(response: reqwest::Response) -> Self {
        let status = response.status().as_u16();
        let media_type = response
            .headers()
            .get("content-type")
            .and_then(|value| value.to_str().ok());
        if status != 200 || !media_type.is_some_and(|value| value.starts_with("text/event-stream")) {
            panic!("not a stream: {status} {}", response.text().await.unwrap_or_default());
        }
        Self {
            response,
            reader: Reader::default(),
        }
    }

    /// The next event, heartbeats passed over; None when the server ended the stream.
    ///
    /// # Panics
    /// When nothing comes within `patience`, or the connection breaks.
    pub async fn next(&mut self, patience: Duration) -> Option<ServerEvent> {
        tokio::time::timeout(patience, self.read())
            .await
            .unwrap_or_else(|_| panic!("no event within {patience:?}"))
    }

    async fn read(&mut self) -> Option<ServerEvent> {
        loop {
            if let Some(event) = self.reader.events.pop_front() {
                return Some(event);
            }
            let chunk = self
                .response
                .chunk()
                .await
                .expect("the stream ends by its last chunk, not in the middle")?;
            self.reader.feed(&chunk);
        }
    }

    /// Whether nothing but heartbeats comes within `pause`.
    pub async fn is_quiet_for(&mut self, pause: Duration) -> bool {
        match tokio::time::timeout(pause, self.read()).await {
            Err(_) => true,
            Ok(None) => false,
            Ok(Some(event)) => {
                self.reader.events.push_front(event);
                false
            }
        }
    }
}

#[derive(Debug, Default)]
struct Reader {
    line: Vec<u8>,
    open: ServerEvent,
    has_data: bool,
    events: VecDeque<ServerEvent>,
}

impl Reader {
    fn feed(&mut self, chunk: &[u8]) {
        for byte in chunk {
            if *byte == b'\n' {
                let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
                self.take_line(line.strip_suffix('\r').unwrap_or(&line));
            } else {
                self.line.push(*byte);
            }
        }
    }

    fn take_line(&mut self, line: &str) {
        if line.is_empty() {
            let event = std::mem::take(&mut self.open);
            if std::mem::take(&mut self.has_data) {
                self.events.push_back(event);
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.open.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.open.event),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.open.data.push('\n');
                }
                self.open.data.push_str(value);
            }
            // A comment (no field name) is a heartbeat; `retry` is for browsers.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_events_across_chunks_and_passes_over_heartbeats() {
        let mut reader = Reader::default();
        reader.feed(b": beat\n\nid: 7\nevent: user.regis");
        assert!(reader.events.is_empty());
        reader.feed("tered\r\ndata: {\"a\":\ndata:\"é\"}\r\n\r\ndata: x\n\nevent: empty\n\n".as_bytes());

        let first = reader.events.pop_front().expect("an event");
        assert_eq!(
            (first.id.as_deref(), first.event.as_str()),
            (Some("7"), "user.registered")
        );
        assert_eq!(first.json()["a"], "é");
        let second = reader.events.pop_front().expect("an event");
        assert_eq!(
            second,
            ServerEvent {
                id: None,
                event: String::new(),
                data: "x".to_owned()
            }
        );
        assert!(reader.events.is_empty(), "an event without data is none");
    }
}
