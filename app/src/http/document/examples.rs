//! An example for every body: what a reader of the page and a generator see first. The same few people, files and ids
//! stand in all of them, so that they read as one story.

use serde_json::{Map, Value, json};

const USER: &str = "019a8f3e-7c1b-7d4e-9b0a-2f6c1d8e4a57";
const SESSION: &str = "019a8f40-11d2-7a60-8c4e-0b6f5a3d9e21";
const FILE: &str = "019a8f41-53c8-7e02-a3d7-64f1c0b98e15";
const EVENT: &str = "019a8f42-0a9b-7c36-95f0-d18e72b3a604";
const SECOND_EVENT: &str = "019a8f42-0a9c-7f11-8b52-c07d946ae83f";
const LETTER: &str = "019a8f43-6d20-7b18-9f45-a0c3e7d15b92";
const MAIL: &str = "019a8f3e-7c1d-7b09-b6a2-f35e80d7c914";
const WEBHOOK: &str = "019a8f43-6b20-7a91-8d4c-51e07f3b2c68";
const DELIVERY: &str = "019a8f43-7c02-7e15-9a6b-0d38f4c5e721";
const SOURCE: &str = "urn:plinth:019a8f00-0000-7000-8000-000000000001";
const KEY_ID: &str = "k4.pid.tMv7Q99M4hByfZU-SnEzB_oZu30Dm2nnsL0zFOhoyGRX";
const PUBLIC_KEY: &str = "k4.public.Hh7Dc7LVrcBBDEsYDqUBo9hJK1cTTqNFcdsZJ1NRHqk";
const ACCESS_TOKEN: &str = "v4.public.eyJzdWIiOiIwMTlhOGYzZS03YzFiLTdkNGUtOWIwYS0yZjZjMWQ4ZTRhNTciLCJ0aWVyIjoiZnJlZSJ9";
const REFRESH_TOKEN: &str = "plr_AZqPQBHSemCMTgtvWj2eIQAAAAHNwu0cqf4J1Jm3bEo5sTn0";
const MAILED_TOKEN: &str = "pQm3nT5vX8zB1dF4hJ6kL9oR2sU7wY0aC3eG5iK8mNo";
const STREAM_TICKET: &str = "wH3nT5vX8zB1dF4hJ6kL9oR2sU7wY0aC3eG5iK8mNoQm";
const SHA256: &str = "3f79bb7b435b05321651daefd374cdc681dc06faa65e374e38337b88ca046dea";
const AT: &str = "2026-11-22T09:30:00.25Z";
const LATER: &str = "2026-11-22T09:45:00.25Z";
const EMAIL: &str = "ada@example.org";
const PASSWORD: &str = "three purple otters swim";

/// The bytes of a file, as far as a text can show them.
const BYTES: &str = "%PDF-1.7 …";

const STREAM: &str = "\
id: 42
event: app.order.placed
data: {\"specversion\":\"1.0\",\"type\":\"app.order.placed\",\"sequence\":\"00000000000000000042\",\"data\":{\"order\":7}}

: still there

event: end
data: {\"reason\":\"token_expired\"}
";

/// Values of parameters that must be given. Others have none: a page that fills them in by itself would ask for less
/// than a reader means.
const PARAMETERS: &[(&str, &str, &str)] = &[
    ("upload_file", "type", "resume"),
    ("stream_events_by_ticket", "ticket", STREAM_TICKET),
    ("follow_file_link", "v", "1"),
    ("follow_file_link", "expires", "1795340100"),
    ("follow_file_link", "disposition", "attachment"),
    (
        "follow_file_link",
        "signature",
        "Zr3mTq8vXc1yKd5nWb7pLf0sHj4gUa9eRi2oQt6kYxM",
    ),
];

/// Gives the operation's bodies, successful answers and needed parameters their examples.
pub(super) fn illustrate(operation: &mut Map<String, Value>, id: &str) {
    illustrate_content(operation.get_mut("requestBody"));
    let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
    for (_, response) in responses
        .into_iter()
        .flat_map(Map::iter_mut)
        .filter(|(status, _)| status.starts_with('2'))
    {
        illustrate_content(Some(response));
    }
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten() {
        let wanted = |(operation, name, _): &&(&str, &str, &str)| *operation == id && parameter["name"] == *name;
        if let Some((_, _, value)) = PARAMETERS.iter().find(wanted) {
            let number = (parameter["schema"]["type"] == "integer").then(|| value.parse::<i64>().ok());
            parameter["example"] = number.flatten().map_or_else(|| json!(value), |number| json!(number));
        }
    }
}

fn illustrate_content(holder: Option<&mut Value>) {
    let content = holder
        .and_then(|holder| holder.get_mut("content"))
        .and_then(Value::as_object_mut);
    for (media_type, body) in content.into_iter().flat_map(Map::iter_mut) {
        let named = body["schema"]["$ref"].as_str().and_then(|name| name.rsplit('/').next());
        let example = match (named, media_type.as_str()) {
            (Some(name), _) => body_example(name),
            (None, "application/octet-stream") => Some(json!(BYTES)),
            (None, "text/event-stream") => Some(json!(STREAM)),
            (None, _) => None,
        };
        if let Some(example) = example {
            body["example"] = example;
        }
    }
}

/// The example of a body by the name of its schema.
pub(super) fn body_example(name: &str) -> Option<Value> {
    asked(name)
        .or_else(|| of_webhooks(name))
        .or_else(|| answered_account(name))
        .or_else(|| answered_content(name))
}

/// What clients send.
fn asked(name: &str) -> Option<Value> {
    Some(match name {
        "RegisterBody" => json!({ "email": EMAIL, "password": PASSWORD, "name": "Ada" }),
        "EmailBody" => json!({ "email": EMAIL }),
        "TokenBody" => json!({ "token": MAILED_TOKEN }),
        "ResetPasswordBody" => json!({ "token": MAILED_TOKEN, "password": "seven green herons wade" }),
        "ChangePasswordBody" => json!({ "current_password": PASSWORD, "password": "seven green herons wade" }),
        "SetupBody" => {
            json!({ "token": MAILED_TOKEN, "email": "root@example.org", "password": "nine silver foxes doze" })
        }
        "PatchMeBody" => json!({ "name": "Ada Lovelace" }),
        "TierBody" => json!({ "tier": "pro" }),
        "LoginBody" => json!({ "email": EMAIL, "password": PASSWORD }),
        "SecondFactorBody" => json!({ "challenge": MAILED_TOKEN, "code": "492039" }),
        "RefreshBody" => json!({ "refresh_token": REFRESH_TOKEN }),
        "LogoutBody" => json!({ "scope": "this" }),
        "CreateLinkBody" => json!({ "expires_in": 600, "disposition": "attachment" }),
        "UploadForm" => json!({ "file": BYTES }),
        "PublishEventBody" => placed(),
        "PublishEventsBody" => {
            json!({ "events": [placed(), { "type": "app.order.paid", "data": { "order": 7 } }] })
        }
        "RegisterSchemaBody" => json!({ "schema": placed_schema() }),
        "CompatibilityBody" => json!({ "compatibility": "full" }),
        _ => return None,
    })
}

/// What is answered about accounts, sessions and keys.
fn answered_account(name: &str) -> Option<Value> {
    Some(match name {
        "TokenPairBody" => json!({
            "access_token": ACCESS_TOKEN, "refresh_token": REFRESH_TOKEN, "token_type": "Bearer", "expires_in": 900,
            "session_id": SESSION,
        }),
        "ClaimsBody" => json!({
            "sub": USER, "tier": "free", "role": "user", "sid": SESSION, "epoch": 0, "scope": [], "amr": ["pwd"],
            "auth_time": AT, "act": null, "aud": SOURCE, "iss": SOURCE, "iat": AT, "nbf": AT, "exp": LATER,
            "jti": "019a8f40-11d3-7c58-a1e9-47b02d6f8c30",
        }),
        "UserBody" => json!({
            "id": USER, "email": EMAIL, "name": "Ada", "tier": "free", "role": "user", "disabled": false,
            "created_at": AT, "updated_at": AT,
        }),
        "UserPageBody" => json!({ "items": [body_example("UserBody")], "next_cursor": null }),
        "SessionBody" => json!({
            "id": SESSION, "current": true, "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0)", "methods": ["pwd"],
            "created_at": AT, "last_used_at": AT, "expires_at": "2026-11-29T09:30:00.25Z",
        }),
        "SessionPageBody" => json!({ "items": [body_example("SessionBody")], "next_cursor": null }),
        "UsageBody" => json!({
            "tier": "free", "features": ["events", "files"], "storage_bytes": 48_213, "storage_bytes_limit": 1_073_741_824,
            "files": 1, "meters": [{ "meter": "events", "amount": 12 }],
        }),
        "KeysBody" => json!({ "keys": [{ "kid": KEY_ID, "paserk": PUBLIC_KEY, "status": "active" }] }),
        _ => return None,
    })
}

/// What is answered about files, events and mail.
fn answered_content(name: &str) -> Option<Value> {
    Some(match name {
        "FileBody" => json!({
            "id": FILE, "type": "resume", "name": "cv.pdf", "size": 48_213, "media_type": "application/pdf",
            "sha256": SHA256, "backend": "local", "created_at": AT,
        }),
        "FilePageBody" => json!({ "items": [body_example("FileBody")], "next_cursor": null }),
        "LinkBody" => json!({
            "url": format!("https://plinth.example.org/v1/links/{FILE}?v=1&expires=1795340100&disposition=attachment&signature=Zr3mTq8vXc1yKd5nWb7pLf0sHj4gUa9eRi2oQt6kYxM"),
            "expires_at": LATER,
        }),
        "PublishedEventBody" => json!({ "id": EVENT }),
        "StreamTicketBody" => json!({
            "url": format!("https://plinth.example.org/v1/events/stream/{STREAM_TICKET}"), "expires_at": LATER,
        }),
        "PublishedEventsBody" => json!({ "ids": [EVENT, SECOND_EVENT] }),
        "EventPageBody" => json!({ "items": [{
            "specversion": "1.0", "id": EVENT, "source": SOURCE, "type": "app.order.placed", "subject": "order 7", "time": AT,
            "datacontenttype": "application/json", "dataschema": format!("{SOURCE}:schema:app.order.placed:1"),
            "userid": USER, "actorid": USER,
            "requestid": "019a8f42-0a9a-7d84-b3c1-5e90f7a2d648", "sequence": "00000000000000000042",
            "data": { "order": 7, "items": ["tea", "cup"] },
        }], "next_cursor": "42", "gap": false }),
        "AuditPageBody" => json!({ "items": [{
            "shard": 7, "position": 42, "hash": SHA256, "event": body_example("EventPageBody")?["items"][0],
        }], "next_cursor": "t1763803800250000.019a8f420a9b7c3695f0d18e72b3a604" }),
        "EventTypeBody" => json!({
            "type": "app.order.placed", "own": false, "compatibility": "backward", "newest_version": 1,
        }),
        "EventTypePageBody" => json!({ "items": [body_example("EventTypeBody")], "next_cursor": null }),
        "EventSchemaBody" => json!({
            "type": "app.order.placed", "version": 1, "dataschema": format!("{SOURCE}:schema:app.order.placed:1"),
            "schema": placed_schema(), "created_at": AT,
        }),
        "MailPageBody" => json!({ "items": [{
            "id": MAIL, "template": "verify_email", "to": EMAIL, "state": "sent", "attempts": 1, "next_attempt_at": null,
            "last_reply": "250 2.0.0 Ok: queued", "created_at": AT, "sent_at": AT,
        }], "next_cursor": null }),
        "MailDetailBody" => json!({
            "id": MAIL, "template": "verify_email", "to": EMAIL, "state": "sent", "next_attempt_at": null,
            "created_at": AT, "sent_at": AT,
            "attempts": [{ "number": 1, "at": AT, "accepted": true, "reply": "250 2.0.0 Ok: queued" }],
        }),
        _ => return answered_letters(name),
    })
}

/// What is asked and answered about dead letters.
fn answered_letters(name: &str) -> Option<Value> {
    Some(match name {
        "DeadLetterBody" => json!({
            "id": LETTER, "group": "usage", "event_id": EVENT, "event_type": "app.order.placed", "user_id": USER,
            "shard": 7, "position": 42, "origin": "log", "attempts": 8, "first_failed_at": AT, "last_failed_at": LATER,
            "reason": "failed", "detail": "the meter is jammed", "redrives": 0,
        }),
        "DeadLetterPageBody" => json!({ "items": [body_example("DeadLetterBody")], "next_cursor": null }),
        "DeadLetterDetailBody" => json!({
            "letter": body_example("DeadLetterBody"), "event": body_example("EventPageBody")?["items"][0],
        }),
        "DeadLetterReasonsBody" => json!({ "items": [{
            "group": "usage", "reason": "failed", "count": 3, "first_at": AT, "last_at": LATER,
            "example": "the meter is jammed",
        }] }),
        "RedriveBody" => json!({ "group": "usage", "reason": "failed", "limit": 100, "dry_run": true }),
        "DiscardBody" => json!({ "ids": [LETTER] }),
        "ChangedLettersBody" => json!({ "changed": 3, "in_a_loop": 0, "more": false }),
        "ReplayBody" => json!({ "group": "usage", "from": AT, "to": LATER, "dry_run": true }),
        "ReplayedBody" => json!({ "events": 1_204, "left": 3, "looked_at": 10_000, "waiting": 0, "resume": "4:2500" }),
        _ => return None,
    })
}

fn placed_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "order": { "type": "integer", "minimum": 1 },
            "items": { "type": "array", "items": { "type": "string" } },
        },
        "required": ["order"],
        "additionalProperties": false,
    })
}

/// What is sent and answered about webhooks.
fn of_webhooks(name: &str) -> Option<Value> {
    Some(match name {
        "CreateWebhookBody" => json!({
            "url": "https://hooks.example.org/plinth", "types": ["file.*", "app.order.placed"], "description": "orders",
        }),
        "PatchWebhookBody" => json!({ "types": ["file.uploaded"], "enabled": true }),
        "WebhookBody" => json!({
            "id": WEBHOOK, "url": "https://hooks.example.org/plinth", "types": ["file.*", "app.order.placed"],
            "description": "orders", "enabled": true, "disabled_reason": null, "failing_since": null, "failures": 0,
            "last_success_at": AT, "previous_secret_until": null, "created_at": AT, "updated_at": AT,
        }),
        "WebhookSecretBody" => json!({
            "webhook": body_example("WebhookBody"), "secret": "whsec_7mWq3Xv0bTfJkYcR9sLhZp2uNaE5dGiO8xVwKqBt1zM=",
        }),
        "WebhookPageBody" => json!({ "items": [body_example("WebhookBody")], "next_cursor": null }),
        "DeliveryBody" => json!({
            "id": DELIVERY, "event_id": EVENT, "event_type": "app.order.placed", "state": "delivered", "attempts": 1,
            "next_attempt_at": null, "last_status": 204, "last_error": null, "created_at": AT, "done_at": AT,
        }),
        "DeliveryDetailBody" => json!({
            "delivery": body_example("DeliveryBody"),
            "attempts": [{ "number": 1, "at": AT, "duration_ms": 84, "status": 204, "error": null }],
        }),
        "DeliveryPageBody" => json!({ "items": [body_example("DeliveryBody")], "next_cursor": null }),
        _ => return None,
    })
}

fn placed() -> Value {
    json!({ "type": "app.order.placed", "data": { "order": 7, "items": ["tea", "cup"] }, "subject": "order 7" })
}
