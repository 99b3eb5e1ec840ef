//! The contract of what is sent: an AsyncAPI 3.0 document of the Kafka topic and the live stream, made of the schemas of
//! Plinth's own events. What is printed and what is committed are the same bytes.

use std::sync::LazyLock;

use openapi::{OWN_SCHEMAS, OwnSchema};
use serde_json::{Map, Value, json};

const DESCRIPTION: &str = "\
Events of Plinth as CloudEvents 1.0 in structured JSON mode: on a Kafka topic, for services, and as server-sent events, for the \
owner of the events.

**Promise**: at least once, always under the same `id`, in the order of `sequence` for each user. \
A consumer that handles each `id` once and ignores members and types that it does not know goes on working with every \
later version: a new version of a schema reads the data of the old one, and old consumers read the data of the new one.

**Schemas**: `dataschema` names type and version of the schema that `data` was valid with when it was written; \
`GET /v1/event-types/{type}/versions/{version}` of the server has it, those of clients' own types as well. \
`data` is absent once it was erased.";

/// The media type of an event (CloudEvents' JSON format, section 3.1).
const MEDIA_TYPE: &str = "application/cloudevents+json";
/// The message that stands for all types of clients.
const CLIENTS: &str = "clients";

/// The document, made once: pretty JSON with a closing line end, exactly as it is committed.
pub fn document() -> &'static str {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
        let mut text = serde_json::to_string_pretty(&made()).unwrap_or_default();
        text.push('\n');
        text
    });
    &DOCUMENT
}

/// The message of a version: older versions are in the log as well.
fn name(own: &OwnSchema) -> String {
    format!("{}.{}", own.event_type, own.version)
}

fn made() -> Value {
    let names: Vec<String> = OWN_SCHEMAS.iter().map(name).chain([CLIENTS.to_owned()]).collect();
    let messages: Map<String, Value> = names
        .iter()
        .map(|name| (name.clone(), json!({ "$ref": format!("#/components/messages/{name}") })))
        .collect();
    let operation = |channel: &str, summary: &str, description: &str| {
        let message = |name: &String| json!({ "$ref": format!("#/channels/{channel}/messages/{name}") });
        json!({
            "action": "send", "channel": { "$ref": format!("#/channels/{channel}") }, "summary": summary,
            "description": description, "messages": names.iter().map(message).collect::<Vec<_>>(),
        })
    };
    let mut components: Map<String, Value> = OWN_SCHEMAS.iter().map(|own| (name(own), message(own))).collect();
    components.insert(CLIENTS.to_owned(), clients_message());
    let mut schemas: Map<String, Value> = OWN_SCHEMAS.iter().map(|own| (name(own), schema(own))).collect();
    schemas.insert("CloudEvent".to_owned(), envelope());
    json!({
        "asyncapi": "3.0.0",
        "id": "urn:plinth:events",
        "info": {
            "title": "Plinth events", "version": env!("CARGO_PKG_VERSION"), "description": DESCRIPTION,
            "contact": { "name": "The operator of this server", "url": "http://127.0.0.1:8080/docs", "email": "operator@plinth.localhost" },
            "license": { "name": "MIT OR Apache-2.0", "url": "https://spdx.org/licenses/" },
            "tags": [{ "name": "events", "description": "What happened, in the past tense." }],
        },
        "defaultContentType": MEDIA_TYPE,
        "servers": {
            "kafka": {
                "host": "127.0.0.1:9092", "protocol": "kafka",
                "description": "The brokers that `kafka.brokers` names.",
            },
            "api": { "host": "127.0.0.1:8080", "protocol": "http", "description": "A server on this machine." },
        },
        "channels": {
            "topic": {
                "address": "plinth.events", "title": "The Kafka topic",
                "description": "Every event. The key of a record is the user's id, so that all events of a user are in one partition, in their order.",
                "servers": [{ "$ref": "#/servers/kafka" }], "messages": messages,
                "bindings": { "kafka": { "topic": "plinth.events", "bindingVersion": "0.5.0" } },
            },
            "stream": {
                "address": "/v1/events/stream", "title": "The live stream",
                "description": "The caller's own events as server-sent events: the field `event` is the type, `data` the event in one line. See the operation `stream_events` of the OpenAPI document.",
                "servers": [{ "$ref": "#/servers/api" }], "messages": messages,
            },
        },
        "operations": {
            "publishToTopic": operation(
                "topic", "Send events to the topic",
                "Every event, once it has its place in the log and at least once, with `acks=all` and idempotence.",
            ),
            "sendToStream": operation(
                "stream", "Send events to live streams",
                "Each event of a user to the streams of that user, from now on or after the cursor that a stream begins with.",
            ),
        },
        "components": { "messages": components, "schemas": schemas },
    })
}

fn kafka_parts(mut message: Value, type_schema: Value) -> Value {
    message["headers"] = json!({
        "type": "object",
        "description": "On Kafka; server-sent events have none.",
        "properties": {
            "content-type": { "const": "application/cloudevents+json; charset=UTF-8", "description": "The form of the value." },
            "type": type_schema,
        },
    });
    message["bindings"] = json!({ "kafka": {
        "key": { "type": "string", "format": "uuid", "description": "The id of the user whose event it is." },
        "bindingVersion": "0.5.0",
    } });
    message["contentType"] = json!(MEDIA_TYPE);
    message
}

fn message(own: &OwnSchema) -> Value {
    let (title, description, examples) = {
        let kept: Value = serde_json::from_str(own.text).unwrap_or_default();
        (
            kept["title"].clone(),
            kept["description"].clone(),
            kept["examples"].clone(),
        )
    };
    let dataschema = format!("urn:plinth:schema:{}:{}", own.event_type, own.version);
    let example = |data: &Value| {
        json!({ "name": own.event_type.replace('.', "_"), "payload": {
            "specversion": "1.0", "id": "019a8f42-0a9b-7c36-95f0-d18e72b3a604",
            "source": "urn:plinth:019a8f00-0000-7000-8000-000000000001", "type": own.event_type,
            "time": "2026-11-22T09:30:00.25Z", "datacontenttype": "application/json", "dataschema": dataschema,
            "userid": "019a8f3e-7c1b-7d4e-9b0a-2f6c1d8e4a57", "actorid": "019a8f3e-7c1b-7d4e-9b0a-2f6c1d8e4a57",
            "sequence": "00000000000000000042", "data": data,
        } })
    };
    let examples: Vec<Value> = examples.as_array().into_iter().flatten().map(example).collect();
    let kind = json!({ "const": own.event_type, "description": "The type, so that a consumer may pass over what it does not want unread." });
    let message = json!({
        "name": own.event_type, "title": title, "summary": description, "examples": examples,
        "payload": { "allOf": [
            { "$ref": "#/components/schemas/CloudEvent" },
            { "type": "object", "properties": {
                "type": { "const": own.event_type }, "dataschema": { "const": dataschema },
                "data": { "$ref": format!("#/components/schemas/{}", name(own)) },
            }, "required": ["dataschema"] },
        ] },
    });
    kafka_parts(message, kind)
}

fn clients_message() -> Value {
    let kind = json!({ "type": "string", "description": "The type, under the prefix of clients' own events (`app.` unless configured otherwise)." });
    let message = json!({
        "name": CLIENTS, "title": "An event of a client",
        "summary": "Anything that clients publish. When its type has a registered schema, `dataschema` names the version that `data` was valid with.",
        "payload": { "$ref": "#/components/schemas/CloudEvent" },
    });
    kafka_parts(message, kind)
}

/// AsyncAPI has a dialect of its own, which says nothing of `$schema`; our schemas keep to what both know.
fn schema(own: &OwnSchema) -> Value {
    let mut kept: Value = serde_json::from_str(own.text).unwrap_or_default();
    if let Some(keywords) = kept.as_object_mut() {
        keywords.remove("$schema");
    }
    kept
}

fn envelope() -> Value {
    let text = |description: &str| json!({ "type": "string", "minLength": 1, "description": description });
    let id = |description: &str| json!({ "type": "string", "format": "uuid", "description": description });
    json!({
        "type": "object", "title": "CloudEvent", "description": "An event as CloudEvents 1.0 writes it in structured JSON mode.",
        "properties": {
            "specversion": { "const": "1.0" },
            "id": id("Its id, the same in every delivery."),
            "source": text("The installation that it comes from."),
            "type": text("What happened."),
            "subject": text("What it concerns, in the publisher's words."),
            "time": { "type": "string", "format": "date-time", "description": "When it happened." },
            "datacontenttype": { "const": "application/json" },
            "dataschema": { "type": "string", "format": "uri", "description": "Type and version of the schema that `data` was valid with; absent where the type had none." },
            "userid": id("Whose event it is."),
            "actorid": text("Who caused it: the id of a user, `anonymous` or `system`."),
            "impersonatorid": id("The administrator who acted for that user."),
            "requestid": id("The request that caused it."),
            "sequence": { "type": "string", "pattern": "^[0-9]{20}$", "description": "Its place in the log: later events of the same user have greater ones." },
            "data": { "description": "The payload; absent once it was erased." },
        },
        "required": ["specversion", "id", "source", "type", "time", "datacontenttype", "userid", "actorid", "sequence"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_committed_document_is_what_the_code_says() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../openapi/asyncapi.json");
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            kept == document(),
            "openapi/asyncapi.json is out of date: scripts/spec refresh"
        );
    }

    #[test]
    fn examples_are_valid_and_real_events_are_what_the_envelope_says() {
        let mut whole = made();
        let validator = |schema: &Value| jsonschema::draft202012::new(schema).unwrap();
        let messages = whole["components"]["messages"].as_object().unwrap().clone();
        let mut seen = 0;
        for (name, message) in &messages {
            // The payload refers into the document, so that the document is the schema that it stands in.
            whole["allOf"] = json!([message["payload"]]);
            let payload = validator(&whole);
            for example in message["examples"].as_array().into_iter().flatten() {
                assert!(payload.is_valid(&example["payload"]), "{name}: {example}");
                let mut other = example["payload"].clone();
                other["data"] = json!({ "surprise": 1 });
                assert!(!payload.is_valid(&other), "{name}");
                seen += 1;
            }
        }
        assert!(seen >= OWN_SCHEMAS.len(), "{seen}");
        let logged = crate::worker::testing::logged(domain::id::UserId::SYSTEM, 1, "app.a", "{}");
        let envelope = validator(&envelope());
        assert!(envelope.is_valid(&logged.to_cloud_event("urn:plinth:x")), "{logged:?}");
    }
}
