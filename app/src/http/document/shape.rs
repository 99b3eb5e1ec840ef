//! What generators and readers need of a document beyond what poem-openapi writes: which members are there, what values
//! may be, and names that make good identifiers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// Schemas whose empty members are left out of an answer; all other answers write `null`.
const LEAVES_OUT: &[&str] = &["EventBody", "DeadLetterBody", "DeadLetterDetailBody", "Problem"];

/// The values that a request may hold, where poem-openapi knows only the type: the domain refuses the others. Bounds of
/// a configuration (the length of a password, the prefix of event types, the names of plans) are not written down.
const BOUNDS: &[(&str, &str, &str)] = &[
    ("*", "email", r#"{"format": "email", "minLength": 3, "maxLength": 254}"#),
    (
        "*",
        "password",
        r#"{"format": "password", "minLength": 1, "maxLength": 256}"#,
    ),
    (
        "*",
        "current_password",
        r#"{"format": "password", "minLength": 1, "maxLength": 256}"#,
    ),
    ("*", "name", r#"{"minLength": 1, "maxLength": 100}"#),
    ("*", "tier", r#"{"pattern": "^[a-z][a-z0-9_-]{0,31}$"}"#),
    (
        "PublishEventBody",
        "type",
        r#"{"pattern": "^[a-z][a-z0-9_]*(\\.[a-z][a-z0-9_]*){1,7}$", "maxLength": 128}"#,
    ),
    ("PublishEventBody", "subject", r#"{"minLength": 1, "maxLength": 256}"#),
    (
        "*",
        "url",
        r#"{"format": "uri", "pattern": "^https?://[!-~]+$", "maxLength": 2048}"#,
    ),
    (
        "*",
        "types",
        r#"{"minItems": 1, "maxItems": 50, "items": {"type": "string", "maxLength": 128, "pattern": "^([*]|[a-z][a-z0-9_]*([.][a-z][a-z0-9_]*){0,7}([.][*])?)$"}}"#,
    ),
    ("*", "description", r#"{"maxLength": 200}"#),
];

/// The same for parameters, by operation and name.
const PARAMETER_BOUNDS: &[(&str, &str, &str)] = &[
    ("*", "limit", r#"{"minimum": 1, "maximum": 200, "default": 50}"#),
    ("*", "type", r#"{"pattern": "^[a-z0-9][a-z0-9_-]{0,31}$"}"#),
    ("*", "Idempotency-Key", r#"{"minLength": 1, "maxLength": 255}"#),
    ("upload_file", "name", r#"{"minLength": 1, "maxLength": 255}"#),
    ("list_events", "after", r#"{"pattern": "^[0-9]{1,19}$"}"#),
    (
        "*",
        "state",
        r#"{"enum": ["queued", "sending", "delivered", "dead", "cancelled"]}"#,
    ),
    ("stream_events", "after", r#"{"pattern": "^[0-9]{1,19}$"}"#),
    ("stream_events", "Last-Event-Id", r#"{"pattern": "^([0-9]{1,19})?$"}"#),
    ("stream_events_by_ticket", "after", r#"{"pattern": "^[0-9]{1,19}$"}"#),
    (
        "stream_events_by_ticket",
        "Last-Event-Id",
        r#"{"pattern": "^([0-9]{1,19})?$"}"#,
    ),
];

/// The chapters in the order in which a client meets them; poem-openapi sorts them by name.
const CHAPTERS: &[&str] = &[
    "Accounts",
    "Sessions",
    "Files",
    "Events",
    "Webhooks",
    "Mail",
    "Keys",
    "Administration",
];

/// Gives every schema its final form.
pub(super) fn shape_schemas(document: &mut Value) {
    let asked = asked_schemas(document);
    write_choices_out(document, &asked);
    let schemas = document["components"]["schemas"].as_object_mut();
    for (name, schema) in schemas.into_iter().flatten() {
        whole_numbers(schema);
        if schema["type"] != "object" {
            continue;
        }
        let asked = asked.contains(name);
        members(name, schema, asked);
        if asked {
            // Unknown members are refused, so that a mistyped one is not silently without effect.
            schema["additionalProperties"] = json!(false);
            let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
            for (member, property) in properties.into_iter().flatten() {
                bound(BOUNDS, name, member, property);
            }
        }
    }
}

/// A choice that may be left out may be null, which OpenAPI 3.0 can say only where the type itself stands: there the words
/// of the choice are written out, null among them, and its name goes.
fn write_choices_out(document: &mut Value, asked: &BTreeSet<String>) {
    let Some(schemas) = document["components"]["schemas"].as_object_mut() else {
        return;
    };
    let choices: BTreeMap<String, Value> = schemas
        .iter()
        .filter(|(_, schema)| schema.get("enum").is_some())
        .map(|(name, schema)| (name.clone(), schema.clone()))
        .collect();
    for name in asked {
        let Some(schema) = schemas.get_mut(name) else { continue };
        let required: Vec<String> = serde_json::from_value(schema["required"].clone()).unwrap_or_default();
        let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
        let optional = properties
            .into_iter()
            .flatten()
            .filter(|(member, _)| !required.contains(member));
        let mut gone = Vec::new();
        for (_, property) in optional {
            // What this member is about says more than what the choice is.
            let parts = property["allOf"].as_array().cloned().unwrap_or_default();
            let own = parts.iter().find_map(|part| part.get("description").cloned());
            plain_reference(property);
            let choice = property["$ref"].as_str().and_then(|name| name.rsplit('/').next());
            if let Some((choice, words)) = choice.and_then(|choice| choices.get_key_value(choice)) {
                let mut words = words.clone();
                words["enum"]
                    .as_array_mut()
                    .into_iter()
                    .for_each(|words| words.push(Value::Null));
                *property = json!({ "type": "string", "enum": words["enum"], "description": own.as_ref().unwrap_or(&words["description"]) });
                gone.push(choice.clone());
            }
        }
        for choice in gone {
            schemas.remove(&choice);
        }
    }
}

/// The schemas that requests hold, those inside others too.
fn asked_schemas(document: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let paths = document["paths"].as_object().into_iter().flat_map(Map::values);
    let operations = paths.filter_map(Value::as_object).flat_map(Map::values);
    let mut open: Vec<&Value> = operations.map(|operation| &operation["requestBody"]).collect();
    while let Some(value) = open.pop() {
        if let Some(name) = value["$ref"].as_str().and_then(|name| name.rsplit('/').next())
            && found.insert(name.to_owned())
        {
            open.push(&document["components"]["schemas"][name]);
        }
        open.extend(value.as_object().into_iter().flat_map(Map::values));
        open.extend(value.as_array().into_iter().flatten());
    }
    found
}

/// Whether a member may be absent or null: in a request either, in an answer one of the two.
fn members(name: &str, schema: &mut Value, asked: bool) {
    let required: Vec<String> = serde_json::from_value(schema["required"].clone()).unwrap_or_default();
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    let mut always = required.clone();
    for (member, property) in properties.into_iter().flatten() {
        plain_reference(property);
        if required.contains(member) || (!asked && LEAVES_OUT.contains(&name)) {
            continue;
        }
        // OpenAPI 3.0 knows null only beside a type; what has none is a reference, or anything at all.
        if property.get("type").is_some() {
            property["nullable"] = json!(true);
        }
        if !asked {
            always.push(member.clone());
        }
    }
    if always.len() > required.len() {
        schema["required"] = json!(always);
    }
}

fn bound(table: &[(&str, &str, &str)], place: &str, member: &str, schema: &mut Value) {
    let own = table
        .iter()
        .find(|(known, name, _)| (*known == place || *known == "*") && *name == member);
    let bounds = own.and_then(|(_, _, bounds)| serde_json::from_str::<Map<String, Value>>(bounds).ok());
    if let (Some(bounds), Some(schema)) = (bounds, schema.as_object_mut()) {
        schema.extend(bounds);
    }
}

/// Bounds of whole numbers are whole: `1`, not `1.0`, which generators copy as it stands.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Object(members) => members.values_mut().for_each(whole_numbers),
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Number(number) => {
            let whole = number
                .as_f64()
                .filter(|float| number.is_f64() && float.fract() == 0.0 && float.abs() < 1e15);
            if let Some(float) = whole {
                *value = json!(float as i64);
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// Gives an operation's parameters, headers and bodies their final form.
pub(super) fn shape_operation(operation: &mut Map<String, Value>, id: &str) {
    describe_headers(operation);
    name_headers(operation);
    plain_json(operation.get_mut("requestBody"));
    let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
    responses
        .into_iter()
        .flat_map(Map::values_mut)
        .for_each(|response| plain_json(Some(response)));
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap_or_default().to_owned();
        whole_numbers(&mut parameter["schema"]);
        bound(PARAMETER_BOUNDS, id, &name, &mut parameter["schema"]);
    }
}

/// JSON is UTF-8 (RFC 8259) and its media type has no parameter; generators make names of what stands there.
fn plain_json(holder: Option<&mut Value>) {
    let content = holder
        .and_then(|holder| holder.get_mut("content"))
        .and_then(Value::as_object_mut);
    if let Some(content) = content
        && let Some(body) = content.remove("application/json; charset=utf-8")
    {
        content.insert("application/json".to_owned(), body);
    }
}

/// Puts the chapters into their order.
pub(super) fn order_chapters(document: &mut Value) {
    let place = |tag: &Value| CHAPTERS.iter().position(|name| tag["name"] == *name);
    if let Some(tags) = document["tags"].as_array_mut() {
        tags.sort_by_key(|tag| place(tag).unwrap_or(usize::MAX));
    }
}

/// A described property of a named type is written as a combination of one, which generators refuse where that type is a word of a list. The type describes itself.
fn plain_reference(property: &mut Value) {
    let parts = property["allOf"].as_array().cloned().unwrap_or_default();
    let alone = (parts.iter().filter(|part| part.get("description").is_none()).count() == 1).then(|| parts[0].clone());
    if let Some(reference) = alone.filter(|part| part.get("$ref").is_some()) {
        *property = reference;
    }
}

/// poem-openapi writes the names of headers in capitals; they are compared without case, but generators make identifiers of them.
fn name_headers(operation: &mut Map<String, Value>) {
    let canonical = |name: &str| {
        let parts = name.split('-').map(|part| {
            let (first, rest) = part.split_at(part.len().min(1));
            if part.eq_ignore_ascii_case("ratelimit") {
                "RateLimit".to_owned()
            } else if part.eq_ignore_ascii_case("etag") {
                "ETag".to_owned()
            } else {
                first.to_uppercase() + &rest.to_lowercase()
            }
        });
        parts.collect::<Vec<_>>().join("-")
    };
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    for parameter in parameters
        .into_iter()
        .flatten()
        .filter(|parameter| parameter["in"] == "header")
    {
        let name = canonical(parameter["name"].as_str().unwrap_or_default());
        parameter["name"] = json!(name);
    }
    let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
    for headers in responses
        .into_iter()
        .flat_map(Map::values_mut)
        .filter_map(|response| response["headers"].as_object_mut())
    {
        *headers = std::mem::take(headers)
            .into_iter()
            .map(|(name, header)| (canonical(&name), header))
            .collect();
    }
}

/// Every answer carries the request id; answers that the token was needed for carry the rate of the plan too. Refusals
/// name it always, so that those with and without a token can stand once.
fn describe_headers(operation: &mut Map<String, Value>) {
    let counted = operation["security"]
        .as_array()
        .is_some_and(|schemes| schemes.len() == 1);
    let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
    for response in responses
        .into_iter()
        .flat_map(Map::values_mut)
        .filter_map(Value::as_object_mut)
    {
        let counted = counted || response.contains_key("x-codes");
        let headers = response.entry("headers").or_insert_with(|| json!({}));
        headers["X-Request-Id"] = json!({ "$ref": "#/components/headers/RequestId" });
        if counted {
            headers["RateLimit"] = json!({ "$ref": "#/components/headers/RateLimit" });
            headers["RateLimit-Policy"] = json!({ "$ref": "#/components/headers/RateLimitPolicy" });
        }
    }
}
