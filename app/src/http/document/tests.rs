//! The document holds what it promises, and its examples are what the wire types read and write.
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::problem::CATALOGUE;
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
        assert!(
            operation["description"].as_str().is_some_and(|text| !text.is_empty()),
            "{id} is not described"
        );
        let internal = &operation["responses"]["500"]["$ref"];
        assert_eq!(internal, "#/components/responses/InternalError", "{id} has no errors");
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

#[test]
fn every_body_and_every_successful_answer_has_an_example() {
    let mut seen = 0;
    for operation in &all() {
        let id = operation["operationId"].as_str().unwrap();
        let answers = operation["responses"].as_object().unwrap().iter();
        let answers = answers
            .filter(|(status, _)| status.starts_with('2'))
            .map(|(_, answer)| answer);
        for holder in answers.chain(operation.get("requestBody")) {
            for (media_type, body) in holder["content"].as_object().into_iter().flatten() {
                assert!(body.get("example").is_some(), "{id} has no example of {media_type}");
                seen += 1;
            }
        }
    }
    assert!(seen > 40, "{seen} examples");
}

/// The example is read by the wire type, which writes the same again: nothing is missing, unknown or of another kind.
#[track_caller]
fn assert_example<T: Serialize + DeserializeOwned>(name: &str, checked: &mut Vec<String>) {
    let example = examples::body_example(name).unwrap_or_else(|| panic!("{name} has no example"));
    let body: T = serde_json::from_value(example.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(serde_json::to_value(&body).unwrap(), example, "{name}");
    checked.push(name.to_owned());
}

macro_rules! assert_examples {
    ($checked:ident: $($name:ident)*) => {
        $(assert_example::<openapi::$name>(stringify!($name), &mut $checked);)*
    };
}

#[test]
fn every_example_is_what_its_wire_type_reads_and_writes() {
    let mut checked = vec!["UploadForm".to_owned()];
    assert_examples!(checked: RegisterBody EmailBody TokenBody ResetPasswordBody ChangePasswordBody SetupBody PatchMeBody
        TierBody LoginBody SecondFactorBody RefreshBody LogoutBody CreateLinkBody PublishEventBody PublishEventsBody
        TokenPairBody ClaimsBody UserBody UserPageBody SessionPageBody UsageBody KeysBody FileBody FilePageBody
        LinkBody PublishedEventBody PublishedEventsBody StreamTicketBody EventPageBody EventTypeBody EventTypePageBody EventSchemaBody
        RegisterSchemaBody CompatibilityBody MailPageBody MailDetailBody DeadLetterPageBody DeadLetterReasonsBody
        DeadLetterDetailBody RedriveBody DiscardBody ChangedLettersBody ReplayBody ReplayedBody AuditPageBody
        CreateWebhookBody PatchWebhookBody WebhookBody WebhookSecretBody WebhookPageBody DeliveryBody DeliveryDetailBody
        DeliveryPageBody);
    for operation in &all() {
        let text = serde_json::to_string(operation).unwrap();
        for part in text.split("#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            let known = name == "Problem" || checked.iter().any(|known| known == name);
            assert!(known, "the example of {name} is not held against its type");
        }
    }
}

#[test]
fn shared_refusals_have_names_that_say_them() {
    let document: Value = serde_json::from_str(document()).unwrap();
    let names: Vec<&String> = document["components"]["responses"]
        .as_object()
        .unwrap()
        .keys()
        .collect();
    for wanted in [
        "NotFound",
        "Unauthorized",
        "UnauthorizedLogin",
        "ConflictOrIdempotencyInFlight",
    ] {
        assert!(
            names.iter().any(|name| *name == wanted),
            "{wanted} is not among {names:?}"
        );
    }
}

#[test]
fn bounds_are_of_parts_that_are_there() {
    let document: Value = serde_json::from_str(document()).unwrap();
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["RegisterBody"]["properties"]["email"]["format"], "email");
    assert_eq!(schemas["RegisterBody"]["additionalProperties"], false);
    assert_eq!(schemas["PublishEventBody"]["properties"]["type"]["maxLength"], 128);
    assert!(
        schemas["UserBody"]["properties"]["email"].get("format").is_none(),
        "answers are not bound"
    );
    let disposition = &schemas["CreateLinkBody"]["properties"]["disposition"];
    assert_eq!(
        (&disposition["enum"][0], &disposition["nullable"]),
        (&json!("attachment"), &json!(true))
    );
    assert!(
        disposition["description"].as_str().unwrap().contains("Only images"),
        "its own words"
    );
    let required = schemas["MailBody"]["required"].as_array().unwrap();
    assert!(
        required.contains(&json!("sent_at")),
        "it is null or a time, and always there"
    );
    let parameters = document["paths"]["/v1/files"]["get"]["parameters"].as_array().unwrap();
    let limit = parameters
        .iter()
        .find(|parameter| parameter["name"] == "limit")
        .unwrap();
    assert_eq!(limit["schema"]["maximum"], 200);
}
