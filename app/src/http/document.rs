//! The contract: poem-openapi's document after one pass of ours. What is served and what is committed are the same bytes.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use poem::endpoint::BoxEndpoint;
use poem::http::Method;
use poem_openapi::payload::Json;
use poem_openapi::registry::{MetaApi, Registry};
use poem_openapi::{ContactObject, LicenseObject, OpenApi, OpenApiService, ServerObject};
use serde_json::{Map, Value, json};

use super::problem::{CATALOGUE, ErrorEntry, Fault};
use super::{accounts, admin, events, files, keys, mail, me, sessions};

/// All operations, in the order of the contract.
pub type Apis = (
    accounts::AccountsApi,
    sessions::SessionsApi,
    me::MeApi,
    files::FilesApi,
    events::EventsApi,
    mail::MailApi,
    admin::AdminApi,
    keys::KeysApi,
);

/// What each operation answers beyond what all may answer.
const ERRORS: [&[(&str, &[&str])]; 8] = [
    accounts::ERRORS,
    sessions::ERRORS,
    me::ERRORS,
    files::ERRORS,
    events::ERRORS,
    mail::ERRORS,
    admin::ERRORS,
    keys::ERRORS,
];

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

const DESCRIPTION: &str = "\
Accounts, tokens, files, events and mail for the product that stands on this server.

**Errors** are `application/problem+json` (RFC 9457) with a stable `code`; branch on it. Every 401 tells by its code what \
to do: `token_expired` and `token_outdated` mean refresh once and repeat, all others mean sign in again.

**Lists** are `{items, next_cursor}`: give `next_cursor` back as `after`.

**Repeating** a POST that creates something is safe with an `Idempotency-Key`.

**Times** are RFC 3339 in UTC, ids are UUIDs. Another user's id answers exactly as an unknown one.";

/// Where `plinth serve` listens when nothing else is said.
const SERVER: &str = "http://127.0.0.1:8080";
const SERVER_TITLE: &str = "A server on this machine";

/// The types of the contract without the services behind them: enough to write the document.
struct Contract;

impl OpenApi for Contract {
    fn meta() -> Vec<MetaApi> {
        Apis::meta()
    }

    fn register(registry: &mut Registry) {
        Apis::register(registry);
    }

    fn add_routes(self, _routes: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {}
}

fn service() -> OpenApiService<Contract, ()> {
    OpenApiService::new(Contract, "Plinth", env!("CARGO_PKG_VERSION"))
        .description(DESCRIPTION)
        .contact(ContactObject::new().name("The operator of this server"))
        .license(LicenseObject::new("MIT OR Apache-2.0").url("https://spdx.org/licenses/"))
        .server(ServerObject::new(SERVER).description(SERVER_TITLE))
}

/// The document, made once: pretty JSON with a closing line end, exactly as it is committed.
pub fn document() -> &'static str {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
        let mut document: Value = serde_json::from_str(&service().spec()).unwrap_or_default();
        complete(&mut document);
        let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
        text.push('\n');
        text
    });
    &DOCUMENT
}

/// The page that shows the document, with all that it needs inside.
pub fn page() -> &'static str {
    static PAGE: LazyLock<String> = LazyLock::new(|| {
        let service = service();
        // The page is served beside the API, under whatever address and prefix: there it tries the operations out.
        let here = document()
            .replacen(&format!("\"{SERVER}\""), "\"./\"", 1)
            .replacen(SERVER_TITLE, "This server", 1);
        let html = service.swagger_ui_html().replacen(&service.spec(), &here, 1);
        html.replacen("<title>Swagger UI</title>", "<title>Plinth API</title>", 1)
    });
    &PAGE
}

fn complete(document: &mut Value) {
    add_problem(document);
    nullable(document);
    let particular: BTreeMap<&str, &[&str]> = ERRORS.iter().flat_map(|list| list.iter().copied()).collect();
    document["components"]["headers"] = json!({
        "RequestId": { "description": "The id of the request, as in the server's log.", "schema": { "type": "string" } },
        "RetryAfter": { "description": "Seconds to wait before the next try.", "schema": { "type": "integer", "minimum": 1 } },
        "RateLimit": { "description": "What is left of the plan's rate: `\"default\";r=599;t=1`, r requests, t seconds. Absent where limits are off.", "schema": { "type": "string" } },
        "RateLimitPolicy": { "description": "The plan's rate: `\"default\";q=600;w=60`, q requests in w seconds. Absent where limits are off.", "schema": { "type": "string" } },
        "Authenticate": { "description": "The challenge of RFC 6750.", "schema": { "type": "string" } },
    });
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    for operation in paths.into_iter().flat_map(Map::values_mut).flat_map(operations) {
        let id = operation
            .get("operationId")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        secure(operation, &id);
        let errors = errors_of(operation, particular.get(id.as_str()).copied().unwrap_or_default());
        add_errors(operation, &errors);
        describe_headers(operation);
        name_headers(operation);
    }
    share_errors(document);
}

/// No operation returns a problem by its type, so poem-openapi leaves its schemas out.
fn add_problem(document: &mut Value) {
    let alone = OpenApiService::new(ProblemAlone, "", "").spec();
    let alone: Value = serde_json::from_str(&alone).unwrap_or_default();
    let schemas = alone["components"]["schemas"].as_object().cloned().unwrap_or_default();
    for (name, schema) in schemas {
        document["components"]["schemas"][name] = schema;
    }
}

/// What a body may leave out may also be null, and often is; `next_cursor` is always there.
fn nullable(document: &mut Value) {
    let schemas = document["components"]["schemas"].as_object_mut();
    for schema in schemas.into_iter().flat_map(Map::values_mut) {
        let required: Vec<String> = serde_json::from_value(schema["required"].clone()).unwrap_or_default();
        let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
        let mut always = required.clone();
        for (name, property) in properties.into_iter().flat_map(Map::iter_mut) {
            plain_reference(property);
            if required.contains(name) {
                continue;
            }
            // OpenAPI 3.0 knows null only beside a type; what has none is a reference, or anything at all.
            if property.get("type").is_some() {
                property["nullable"] = json!(true);
            }
            if name == "next_cursor" {
                always.push(name.clone());
            }
        }
        if always.len() > required.len() {
            schema["required"] = json!(always);
        }
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

/// The same refusals of several operations stand once, as `Error401` and the like.
fn share_errors(document: &mut Value) {
    let mut shared: Map<String, Value> = Map::new();
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    for operation in paths.into_iter().flat_map(Map::values_mut).flat_map(operations) {
        let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
        for (status, response) in responses
            .into_iter()
            .flat_map(Map::iter_mut)
            .filter(|(_, response)| response.get("x-codes").is_some())
        {
            let known = shared
                .iter()
                .find(|(_, known)| *known == response)
                .map(|(name, _)| name.clone());
            let name = known.unwrap_or_else(|| {
                let same = shared
                    .keys()
                    .filter(|name| name.starts_with(&format!("Error{status}")))
                    .count();
                let name = if same == 0 {
                    format!("Error{status}")
                } else {
                    format!("Error{status}Variant{same}")
                };
                shared.insert(name.clone(), response.clone());
                name
            });
            *response = json!({ "$ref": format!("#/components/responses/{name}") });
        }
    }
    document["components"]["responses"] = Value::Object(shared);
}

/// An operation that returns a problem, for its schemas alone.
struct ProblemAlone;

#[OpenApi]
impl ProblemAlone {
    #[oai(path = "/", method = "get")]
    async fn problem(&self) -> Json<openapi::Problem> {
        Json(Fault::not_found().problem("-"))
    }
}

fn operations(path: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    let methods = ["get", "put", "post", "patch", "delete", "head"];
    let entries = path.as_object_mut().into_iter().flat_map(Map::iter_mut);
    entries
        .filter(move |(method, _)| methods.contains(&method.as_str()))
        .filter_map(|(_, value)| value.as_object_mut())
}

/// poem-openapi says nothing about operations without a token; generators then take the global default, and linters complain.
fn secure(operation: &mut Map<String, Value>, id: &str) {
    // Signing out takes an access token, or a refresh token in its body.
    if id == "logout" {
        operation.insert("security".to_owned(), json!([{ "accessToken": [] }, {}]));
    } else {
        operation.entry("security").or_insert_with(|| json!([]));
    }
}

fn errors_of(operation: &Map<String, Value>, particular: &[&str]) -> BTreeMap<u16, Vec<&'static ErrorEntry>> {
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

fn add_errors(operation: &mut Map<String, Value>, errors: &BTreeMap<u16, Vec<&'static ErrorEntry>>) {
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

/// Every answer carries the request id; answers that the token was needed for carry the rate of the plan too.
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
        let headers = response.entry("headers").or_insert_with(|| json!({}));
        headers["X-Request-Id"] = json!({ "$ref": "#/components/headers/RequestId" });
        if counted {
            headers["RateLimit"] = json!({ "$ref": "#/components/headers/RateLimit" });
            headers["RateLimit-Policy"] = json!({ "$ref": "#/components/headers/RateLimitPolicy" });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Map<String, Value>> {
        let mut document: Value = serde_json::from_str(document()).unwrap();
        let paths = document["paths"].as_object_mut().unwrap();
        paths
            .values_mut()
            .flat_map(operations)
            .map(|operation| operation.clone())
            .collect()
    }

    #[test]
    fn every_operation_has_id_summary_security_tag_and_errors() {
        let all = all();
        assert!(all.len() > 30, "{} operations", all.len());
        for operation in &all {
            let id = operation["operationId"].as_str().expect("an id");
            assert!(
                operation["summary"].as_str().is_some_and(|text| !text.is_empty()),
                "{id} has no summary"
            );
            assert!(
                operation["security"].is_array(),
                "{id} does not say whether it needs a token"
            );
            assert!(
                operation["tags"].as_array().is_some_and(|tags| tags.len() == 1),
                "{id} is in no chapter"
            );
            let internal = &operation["responses"]["500"]["$ref"];
            let shared = internal
                .as_str()
                .is_some_and(|name| name.starts_with("#/components/responses/Error500"));
            assert!(shared, "{id} has no errors");
        }
    }

    #[test]
    fn every_declared_error_belongs_to_an_operation_and_to_the_catalogue() {
        let ids: Vec<String> = all()
            .iter()
            .map(|operation| operation["operationId"].as_str().unwrap().to_owned())
            .collect();
        for (id, codes) in ERRORS.iter().flat_map(|list| list.iter()) {
            assert!(ids.iter().any(|known| known == id), "{id} is no operation");
            for code in *codes {
                assert!(
                    CATALOGUE.iter().any(|entry| entry.code == *code),
                    "{id} names the unknown code {code}"
                );
            }
        }
        for id in &ids {
            assert!(
                ERRORS.iter().flat_map(|list| list.iter()).any(|(known, _)| known == id),
                "{id} declares no errors"
            );
        }
    }

    #[test]
    fn the_committed_document_is_the_served_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../openapi/openapi.json");
        #[expect(
            clippy::disallowed_methods,
            reason = "a switch of the test run, not a setting of Plinth"
        )]
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, document()).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == document(),
            "openapi/openapi.json is out of date: scripts/spec refresh"
        );
    }

    #[test]
    fn the_page_shows_the_completed_document() {
        assert!(page().contains("application/problem+json"));
        assert!(page().contains("<title>Plinth API</title>"));
        assert!(
            page().contains("\"url\": \"./\"") && !page().contains(SERVER),
            "it tries this server"
        );
    }
}
