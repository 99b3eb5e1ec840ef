//! The refusals of each operation, from the catalogue; those that several share stand once, under a name.

use std::collections::BTreeMap;

use poem::http::StatusCode;
use serde_json::{Map, Value, json};

use super::super::problem::{CATALOGUE, ErrorEntry};
use super::operations;

/// What every operation may answer.
const ALWAYS: &[(u16, &str)] = &[
    (400, "host_invalid"),
    (500, "internal_error"),
    (503, "dependency_unavailable"),
    (503, "overloaded"),
];
/// What every operation with a body may answer.
const WITH_BODY: &[(u16, &str)] = &[
    (400, "malformed_request"),
    (408, "request_timeout"),
    (413, "payload_too_large"),
    (415, "unsupported_media_type"),
    (422, "validation_failed"),
];
/// What every operation with parameters may answer.
const WITH_PARAMETERS: &[(u16, &str)] = &[(400, "malformed_request"), (422, "validation_failed")];
/// What every operation with a token may answer.
const WITH_TOKEN: &[(u16, &str)] = &[
    (401, "token_missing"),
    (401, "token_invalid"),
    (401, "token_expired"),
    (401, "token_outdated"),
    (401, "session_ended"),
    (401, "account_disabled"),
    (429, "rate_limited"),
    (503, "auth_state_stale"),
];

/// What the operation may answer beside success, by status.
pub(super) fn errors_of(
    operation: &Map<String, Value>,
    particular: &[&str],
) -> BTreeMap<u16, Vec<&'static ErrorEntry>> {
    let filled = |name: &str| {
        operation
            .get(name)
            .and_then(Value::as_array)
            .is_some_and(|list| !list.is_empty())
    };
    let has_token = filled("security");
    let mut codes: Vec<(u16, &str)> = ALWAYS.to_vec();
    codes.extend(
        operation
            .contains_key("requestBody")
            .then_some(WITH_BODY)
            .into_iter()
            .flatten(),
    );
    codes.extend(filled("parameters").then_some(WITH_PARAMETERS).into_iter().flatten());
    codes.extend(has_token.then_some(WITH_TOKEN).into_iter().flatten());
    let mut found: BTreeMap<u16, Vec<&'static ErrorEntry>> = BTreeMap::new();
    let mut add = |entry: &'static ErrorEntry| {
        let entries = found.entry(entry.status).or_default();
        if !entries.iter().any(|known| known.code == entry.code) {
            entries.push(entry);
        }
    };
    for entry in CATALOGUE {
        let shared = codes.contains(&(entry.status, entry.code));
        // A bad mailed token is 422; a bad access token or refresh token is 401.
        let mailed = entry.code == "token_invalid" && has_token == (entry.status == 422);
        let own = particular.contains(&entry.code) && !mailed;
        if shared || own {
            add(entry);
        }
    }
    found
}

/// Writes the refusals into the operation.
pub(super) fn add_errors(operation: &mut Map<String, Value>, errors: &BTreeMap<u16, Vec<&'static ErrorEntry>>) {
    let Some(responses) = operation
        .entry("responses")
        .or_insert_with(|| json!({}))
        .as_object_mut()
    else {
        return;
    };
    for (status, entries) in errors {
        let lines: Vec<String> = entries
            .iter()
            .map(|entry| format!("- `{}`: {}.", entry.code, entry.title))
            .collect();
        let codes: Vec<&str> = entries.iter().map(|entry| entry.code).collect();
        let mut response = json!({
            "description": lines.join("\n"),
            "content": { "application/problem+json": {
                "schema": { "$ref": "#/components/schemas/Problem" },
                "example": example(entries[0]),
            } },
            "headers": { "X-Request-Id": { "$ref": "#/components/headers/RequestId" } },
            "x-codes": codes,
        });
        let extra = match status {
            401 => Some(("WWW-Authenticate", "Authenticate")),
            429 | 503 => Some(("Retry-After", "RetryAfter")),
            _ => None,
        };
        if let Some((name, component)) = extra {
            response["headers"][name] = json!({ "$ref": format!("#/components/headers/{component}") });
        }
        responses.insert(status.to_string(), response);
    }
}

fn example(entry: &ErrorEntry) -> Value {
    let mut example = json!({
        "type": format!("/docs/errors#{}", entry.code),
        "title": entry.title,
        "status": entry.status,
        "code": entry.code,
        "request_id": "019a8f3e-7c1b-7d4e-9b0a-2f6c1d8e4a57",
    });
    if entry.status == 429 || entry.status == 503 {
        example["retry_after"] = json!(1);
    }
    example
}

/// The same refusals of several operations stand once, under a name that says them.
pub(super) fn share_errors(document: &mut Value) {
    let mut shared: Map<String, Value> = Map::new();
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    for operation in paths.into_iter().flat_map(Map::values_mut).flat_map(operations) {
        let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
        let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
        for (status, response) in responses
            .into_iter()
            .flat_map(Map::iter_mut)
            .filter(|(_, response)| response.get("x-codes").is_some())
        {
            let mut name = name_of(status, response);
            if shared.get(&name).is_some_and(|known| known != response) {
                name.push_str(&camel(&id));
            }
            let reference = json!({ "$ref": format!("#/components/responses/{name}") });
            shared.insert(name, std::mem::replace(response, reference));
        }
    }
    document["components"]["responses"] = Value::Object(shared);
}

/// One or two codes are the name (`NotFound`, `ConflictOrIdempotencyInFlight`), more are called by their status.
fn name_of(status: &str, response: &Value) -> String {
    let codes = response["x-codes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let names: Vec<String> = codes.iter().filter_map(Value::as_str).map(camel).collect();
    if names.len() <= 2 {
        return names.join("Or");
    }
    let status = status.parse().ok().and_then(|status| StatusCode::from_u16(status).ok());
    status
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Error")
        .replace(' ', "")
}

fn camel(snake: &str) -> String {
    let capital = |part: &str| {
        let (first, rest) = part.split_at(part.len().min(1));
        first.to_uppercase() + rest
    };
    snake.split('_').map(capital).collect()
}
