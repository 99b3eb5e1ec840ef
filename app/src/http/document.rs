//! The contract: poem-openapi's document after one pass of ours. What is served and what is committed are the same bytes.

mod errors;
mod examples;
mod shape;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use poem::endpoint::BoxEndpoint;
use poem::http::Method;
use poem_openapi::payload::Json;
use poem_openapi::registry::{MetaApi, Registry};
use poem_openapi::{ContactObject, LicenseObject, OpenApi, OpenApiService, ServerObject};
use serde_json::{Map, Value, json};

use super::problem::Fault;
use super::{accounts, admin, audit, dead_letters, events, files, keys, mail, me, sessions};

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
    dead_letters::DeadLettersApi,
    audit::AuditApi,
);

/// What each operation answers beyond what all may answer.
const ERRORS: [&[(&str, &[&str])]; 10] = [
    accounts::ERRORS,
    sessions::ERRORS,
    me::ERRORS,
    files::ERRORS,
    events::ERRORS,
    mail::ERRORS,
    admin::ERRORS,
    keys::ERRORS,
    dead_letters::ERRORS,
    audit::ERRORS,
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
    add_form(document);
    shape::shape_schemas(document);
    shape::order_chapters(document);
    let particular: BTreeMap<&str, &[&str]> = ERRORS.iter().flat_map(|list| list.iter().copied()).collect();
    document["components"]["headers"] = json!({
        "RequestId": { "description": "The id of the request, as in the server's log.", "schema": { "type": "string" } },
        "RetryAfter": { "description": "Seconds to wait before the next try.", "schema": { "type": "integer", "minimum": 1 } },
        "RateLimit": { "description": "What is left of the plan's rate: `\"default\";r=599;t=1`, r requests, t seconds. Absent where limits are off, and where no token was needed.", "schema": { "type": "string" } },
        "RateLimitPolicy": { "description": "The plan's rate: `\"default\";q=600;w=60`, q requests in w seconds. Absent where limits are off, and where no token was needed.", "schema": { "type": "string" } },
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
        let errors = errors::errors_of(operation, particular.get(id.as_str()).copied().unwrap_or_default());
        errors::add_errors(operation, &errors);
        shape::shape_operation(operation, &id);
        examples::illustrate(operation, &id);
    }
    errors::share_errors(document);
}

/// The form of an upload stands inside its operation, where generators invent a name for it.
fn add_form(document: &mut Value) {
    let form = document.pointer_mut("/paths/~1v1~1files/post/requestBody/content/multipart~1form-data/schema");
    if let Some(form) = form {
        let reference = json!({ "$ref": "#/components/schemas/UploadForm" });
        let mut schema = std::mem::replace(form, reference);
        schema["title"] = json!("UploadForm");
        schema["description"] = json!("A form around a file.");
        schema["properties"]["file"]["description"] =
            json!("The bytes of the file. The `filename` of the part is its name unless `name` gives one.");
        document["components"]["schemas"]["UploadForm"] = schema;
    }
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
