//! Data against a schema, by the crate `jsonschema`: where it is refused and by which rule, and never with what.

use domain::schema::SchemaFault;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{PatternOptions, ValidationError};
use serde_json::Value;

/// More refused parts than this are not listed.
const MOST: usize = 20;
/// What a compiled pattern may take, and what it may take while it runs: in bytes.
const PATTERN_SIZE: usize = 256 * 1024;
/// Longer names are not repeated.
const LONGEST_NAME: usize = 64;

/// A refused part of an event's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Where in the data: a JSON pointer, empty for the whole. It ends before a member whose name may be data itself.
    pub pointer: String,
    /// The stable name of the rule.
    pub code: &'static str,
    /// What the rule asks for.
    pub detail: String,
}

impl Violation {
    pub(super) fn of_whole(code: &'static str, detail: &str) -> Self {
        Self {
            pointer: String::new(),
            code,
            detail: detail.to_owned(),
        }
    }
}

/// A compiled schema.
#[derive(Debug)]
pub struct Validator(jsonschema::Validator);

impl Validator {
    /// Compiles a schema that keeps the bounds of [`domain::schema::Schema`]. Nothing is fetched, and patterns run in
    /// time linear in the text (the crate `regex`), so that no schema can hang the server.
    ///
    /// # Errors
    /// What is wrong with it: mostly a pattern that the engine does not take.
    pub fn compile(schema: &Value) -> Result<Self, SchemaFault> {
        let patterns = PatternOptions::regex()
            .size_limit(PATTERN_SIZE)
            .dfa_size_limit(PATTERN_SIZE);
        let options = jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .with_pattern_options(patterns)
            .should_validate_formats(false)
            .offline();
        options.build(schema).map(Self).map_err(|error| {
            let pattern = matches!(error.kind(), ValidationErrorKind::Format { .. });
            let (code, reason) = if pattern {
                (
                    "pattern",
                    "must be a regular expression without look-around and back references, and not too large",
                )
            } else {
                ("schema", "is not valid against the metaschema of 2020-12")
            };
            SchemaFault {
                pointer: format!("#{}", error.instance_path().as_str()),
                code,
                reason: reason.to_owned(),
            }
        })
    }

    /// The parts of the data that the schema refuses, at most twenty.
    pub fn violations(&self, data: &Value) -> Vec<Violation> {
        if self.0.is_valid(data) {
            return Vec::new();
        }
        let mut found: Vec<Violation> = self.0.iter_errors(data).take(MOST).flat_map(told).take(MOST).collect();
        if found.is_empty() {
            found.push(Violation::of_whole("schema", "must be valid against the schema"));
        }
        found
    }
}

/// What a refusal says to the caller: one part for each member that is missing or too much.
fn told(error: ValidationError<'_>) -> Vec<Violation> {
    let (at, whole) = safe(error.instance_path().as_str());
    let one = |code, detail: String| {
        vec![Violation {
            pointer: at.clone(),
            code,
            detail,
        }]
    };
    let member = |name: &str| match name.len() {
        1..=LONGEST_NAME if whole && is_plain(name) => format!("{at}/{name}"),
        _ => at.clone(),
    };
    let bound = |what: &str, limit: &dyn std::fmt::Display, unit: &str| format!("must have {what} {limit} {unit}");
    match error.kind() {
        ValidationErrorKind::Required { property } => vec![Violation {
            pointer: member(property.as_str().unwrap_or_default()),
            code: "required",
            detail: "this member is required".to_owned(),
        }],
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => unexpected
            .iter()
            .map(|name| Violation {
                pointer: member(name),
                code: "unknown_field",
                detail: "the schema does not know this member".to_owned(),
            })
            .collect(),
        ValidationErrorKind::Type { kind } => one("type", format!("must be {}", kinds(kind))),
        ValidationErrorKind::Constant { .. } | ValidationErrorKind::Enum { .. } => {
            one("enum", "must be one of the values that the schema lists".to_owned())
        }
        ValidationErrorKind::Minimum { limit } => one("range", format!("must be at least {limit}")),
        ValidationErrorKind::ExclusiveMinimum { limit } => one("range", format!("must be above {limit}")),
        ValidationErrorKind::Maximum { limit } => one("range", format!("must be at most {limit}")),
        ValidationErrorKind::ExclusiveMaximum { limit } => one("range", format!("must be below {limit}")),
        ValidationErrorKind::MultipleOf { multiple_of } => one("range", format!("must be a multiple of {multiple_of}")),
        ValidationErrorKind::MinLength { limit } => one("length", bound("at least", limit, "characters")),
        ValidationErrorKind::MaxLength { limit } => one("length", bound("at most", limit, "characters")),
        ValidationErrorKind::MinItems { limit } => one("length", bound("at least", limit, "items")),
        ValidationErrorKind::MaxItems { limit } => one("length", bound("at most", limit, "items")),
        ValidationErrorKind::AdditionalItems { limit } => one("length", bound("at most", limit, "items")),
        ValidationErrorKind::MinProperties { limit } => one("length", bound("at least", limit, "members")),
        ValidationErrorKind::MaxProperties { limit } => one("length", bound("at most", limit, "members")),
        ValidationErrorKind::Pattern { pattern } => one("pattern", format!("must match {pattern}")),
        ValidationErrorKind::UniqueItems => one("unique", "must have items that all differ".to_owned()),
        ValidationErrorKind::Contains => one("contains", "must have an item that the schema asks for".to_owned()),
        ValidationErrorKind::AnyOf { .. }
        | ValidationErrorKind::OneOfNotValid { .. }
        | ValidationErrorKind::OneOfMultipleValid { .. } => {
            one("form", "must be of one of the forms that the schema lists".to_owned())
        }
        ValidationErrorKind::PropertyNames { .. } => one(
            "name",
            "must have members of the names that the schema asks for".to_owned(),
        ),
        ValidationErrorKind::FalseSchema => one("unknown_field", "must not be there".to_owned()),
        other => one(
            "schema",
            format!("must keep the rule `{}` of the schema", other.keyword()),
        ),
    }
}

fn kinds(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(kind) => kind.to_string(),
        TypeKind::Multiple(kinds) => {
            let names: Vec<String> = kinds.iter().map(|kind| kind.to_string()).collect();
            names.join(" or ")
        }
    }
}

fn is_plain(name: &str) -> bool {
    name.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// As much of a pointer as names nothing that may be data, and whether that is all: a map by address is data in its names.
fn safe(pointer: &str) -> (String, bool) {
    let mut kept = String::new();
    for step in pointer.split('/').skip(1) {
        if step.len() > LONGEST_NAME || !is_plain(step) {
            return (kept, false);
        }
        kept.push('/');
        kept.push_str(step);
    }
    (kept, true)
}
