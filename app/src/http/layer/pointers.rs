//! Where a refused JSON body went wrong: the parser's own message repeats what was submitted and names no field, so
//! the body is held against the operation's schema once more, on this path only.
use std::collections::BTreeMap;

use openapi::FieldProblem;
use poem_openapi::registry::{MetaSchema, MetaSchemaRef, Registry};
use serde_json::{Map, Value};

/// More refused parts than this are not listed.
const MOST: usize = 20;
/// Schemas that refer to themselves are followed this deep.
const DEEPEST: usize = 16;
/// An unknown field is named when its name looks like one.
const LONGEST_NAME: usize = 64;

/// The named schemas of an API.
#[derive(Debug, Default)]
pub(super) struct Schemas(BTreeMap<String, MetaSchema>);

impl Schemas {
    pub(super) fn add(&mut self, registry: Registry) {
        self.0.extend(registry.schemas);
    }

    /// The parts of `value` that `schema` refuses. When there are none, the one text of the type that the parser
    /// named, whose rule no schema can tell; and fields that the schema does not know only when there is nothing
    /// else, since many schemas take them.
    pub(super) fn refusals(&self, schema: &MetaSchemaRef, value: &Value, parser_named: &str) -> Vec<FieldProblem> {
        let mut search = Search::of(self);
        search.value(schema, value, "#", 0);
        let suspects: Vec<_> = search
            .formatted
            .into_iter()
            .filter(|(format, _)| parser_named == format!("string_{format}"))
            .collect();
        match (&search.refused[..], &suspects[..]) {
            ([], [(format, at)]) => vec![FieldProblem::new(at, "format", format!("expected the format {format}"))],
            ([], _) => search.unknown,
            _ => search.refused,
        }
    }
}

struct Search<'a> {
    schemas: &'a Schemas,
    refused: Vec<FieldProblem>,
    unknown: Vec<FieldProblem>,
    /// Texts of a format of their own, and where they are.
    formatted: Vec<(&'static str, String)>,
}

impl<'a> Search<'a> {
    fn of(schemas: &'a Schemas) -> Self {
        Self {
            schemas,
            refused: Vec::new(),
            unknown: Vec::new(),
            formatted: Vec::new(),
        }
    }

    fn refuse(&mut self, at: &str, code: &str, detail: impl Into<String>) {
        if self.refused.len() < MOST {
            self.refused.push(FieldProblem::new(at, code, detail));
        }
    }

    fn value(&mut self, schema: &MetaSchemaRef, value: &Value, at: &str, depth: usize) {
        if depth > DEEPEST {
            return;
        }
        let schemas = self.schemas;
        let schema = match schema {
            MetaSchemaRef::Inline(schema) => schema.as_ref(),
            MetaSchemaRef::Reference(name) => match schemas.0.get(name) {
                Some(schema) => schema,
                None => return,
            },
        };
        if value.is_null() && schema.nullable {
            return;
        }
        for part in &schema.all_of {
            self.value(part, value, at, depth + 1);
        }
        self.alternatives(schema, value, at, depth);
        match (schema.ty, value) {
            ("object", Value::Object(fields)) => self.object(schema, fields, at, depth),
            ("array", Value::Array(items)) => self.array(schema, items, at, depth),
            ("string", Value::String(text)) => self.text(schema, text, at),
            // The parser takes these for strings, too.
            ("string", Value::Number(_) | Value::Bool(_)) | ("boolean", Value::Bool(_)) => {}
            ("integer" | "number", Value::Number(number)) => self.number(schema, number, at),
            ("object" | "array" | "string" | "boolean" | "integer" | "number", _) => {
                self.refuse(at, "type", expected(schema.ty));
            }
            _ => {}
        }
    }

    fn alternatives(&mut self, schema: &MetaSchema, value: &Value, at: &str, depth: usize) {
        let forms = || schema.any_of.iter().chain(&schema.one_of);
        let fits = |form: &MetaSchemaRef| {
            let mut search = Search::of(self.schemas);
            search.value(form, value, at, depth + 1);
            search.refused.is_empty()
        };
        if forms().next().is_some() && !forms().any(fits) {
            self.refuse(at, "type", "expected one of the documented forms");
        }
    }

    fn object(&mut self, schema: &MetaSchema, fields: &Map<String, Value>, at: &str, depth: usize) {
        for name in &schema.required {
            if !fields.contains_key(*name) {
                self.refuse(&join(at, name), "required", "this field is required");
            }
        }
        for (name, value) in fields {
            let known = schema.properties.iter().find(|(known, _)| known == name);
            match (known, &schema.additional_properties) {
                (Some((name, _)), _) if value.is_null() && !schema.required.contains(name) => {}
                (Some((name, property)), _) => self.value(property, value, &join(at, name), depth + 1),
                (None, Some(additional)) => self.value(additional, value, at, depth + 1),
                (None, None) if schema.properties.is_empty() => {}
                (None, None) => self.unknown_field(schema, name, at),
            }
        }
    }

    fn unknown_field(&mut self, schema: &MetaSchema, name: &str, at: &str) {
        if self.unknown.len() == MOST {
            return;
        }
        let close = |known: &&str| strsim::damerau_levenshtein(known, name) <= 2;
        let near = schema.properties.iter().map(|(known, _)| *known).find(close);
        let detail = near.map_or_else(
            || "this field is not known here".to_owned(),
            |known| format!("this field is not known here, did you mean `{known}`?"),
        );
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let named = name.len() <= LONGEST_NAME && !name.is_empty() && name.bytes().all(plain);
        let pointer = if named { join(at, name) } else { at.to_owned() };
        self.unknown.push(FieldProblem::new(pointer, "unknown_field", detail));
    }

    fn array(&mut self, schema: &MetaSchema, items: &[Value], at: &str, depth: usize) {
        if let Some(detail) = between(items.len(), schema.min_items, schema.max_items, "items") {
            self.refuse(at, "length", detail);
        }
        if let Some(form) = &schema.items {
            for (index, item) in items.iter().enumerate() {
                self.value(form, item, &join(at, &index.to_string()), depth + 1);
            }
        }
    }

    fn text(&mut self, schema: &MetaSchema, text: &str, at: &str) {
        if let Some(detail) = between(text.chars().count(), schema.min_length, schema.max_length, "characters") {
            self.refuse(at, "length", detail);
        }
        if !schema.enum_items.is_empty() && !schema.enum_items.iter().any(|item| item == text) {
            let choices: Vec<&str> = schema.enum_items.iter().filter_map(Value::as_str).collect();
            self.refuse(at, "enum", format!("expected one of: {}", choices.join(", ")));
        }
        if let Some(format) = schema.format {
            self.formatted.push((format, at.to_owned()));
        }
        if schema.format == Some("uuid") && uuid::Uuid::parse_str(text).is_err() {
            self.refuse(at, "format", "expected a UUID");
        }
        let rfc3339 = &time::format_description::well_known::Rfc3339;
        if schema.format == Some("date-time") && time::OffsetDateTime::parse(text, rfc3339).is_err() {
            self.refuse(at, "format", "expected a time as RFC 3339 writes it");
        }
    }

    fn number(&mut self, schema: &MetaSchema, number: &serde_json::Number, at: &str) {
        let whole = number
            .as_i64()
            .map(i128::from)
            .or_else(|| number.as_u64().map(i128::from));
        if schema.ty == "integer" {
            let Some(whole) = whole else {
                return self.refuse(at, "type", expected("integer"));
            };
            let (least, most) = integers(schema.format);
            if whole < least || whole > most {
                return self.refuse(at, "range", format!("expected a whole number from {least} to {most}"));
            }
        }
        let Some(number) = number.as_f64() else { return };
        let low = schema.minimum.is_some_and(|least| number < least);
        let high = schema.maximum.is_some_and(|most| number > most);
        let edge = (schema.exclusive_minimum == Some(true) && schema.minimum == Some(number))
            || (schema.exclusive_maximum == Some(true) && schema.maximum == Some(number));
        if low || high || edge {
            let bound = |word: &str, bound: Option<f64>| bound.map(|bound| format!("{word} {bound}"));
            let bounds: Vec<String> = [bound("at least", schema.minimum), bound("at most", schema.maximum)]
                .into_iter()
                .flatten()
                .collect();
            self.refuse(at, "range", format!("expected {}", bounds.join(" and ")));
        }
    }
}

/// One step down a JSON pointer (RFC 6901, section 3).
fn join(at: &str, step: &str) -> String {
    format!("{at}/{}", step.replace('~', "~0").replace('/', "~1"))
}

fn expected(ty: &str) -> &'static str {
    match ty {
        "object" => "expected an object",
        "array" => "expected an array",
        "string" => "expected a string",
        "boolean" => "expected true or false",
        "integer" => "expected a whole number",
        _ => "expected a number",
    }
}

fn between(size: usize, least: Option<usize>, most: Option<usize>, unit: &str) -> Option<String> {
    let outside = least.is_some_and(|least| size < least) || most.is_some_and(|most| size > most);
    outside.then(|| match (least, most) {
        (Some(least), Some(most)) => format!("expected {least} to {most} {unit}"),
        (Some(least), None) => format!("expected at least {least} {unit}"),
        (None, most) => format!("expected at most {} {unit}", most.unwrap_or_default()),
    })
}

fn integers(format: Option<&str>) -> (i128, i128) {
    match format {
        Some("int8") => (i8::MIN.into(), i8::MAX.into()),
        Some("int16") => (i16::MIN.into(), i16::MAX.into()),
        Some("int32") => (i32::MIN.into(), i32::MAX.into()),
        Some("uint8") => (0, u8::MAX.into()),
        Some("uint16") => (0, u16::MAX.into()),
        Some("uint32") => (0, u32::MAX.into()),
        Some("uint64") => (0, u64::MAX.into()),
        _ => (i64::MIN.into(), i64::MAX.into()),
    }
}
