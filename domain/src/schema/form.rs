//! The bounds of a schema: what it may be made of, and how large it may be.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{DIALECT, join};

/// The most bytes of a schema, written compactly: 32 KiB.
pub const MAX_SCHEMA_BYTES: usize = 32 * 1024;
/// How deep values may lie inside each other.
const MAX_DEPTH: usize = 32;
/// How many schemas there may be once every reference is replaced by what it refers to: each value of an event's data
/// is looked at by at most so many.
const MAX_EXPANDED: usize = 2_000;
/// How many patterns there may be, and how long one may be: each is compiled on every node.
const MAX_PATTERNS: usize = 64;
const MAX_PATTERN_BYTES: usize = 512;
/// More faults than this are not listed.
const MOST: usize = 20;

/// Something in a schema that is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaFault {
    /// Where, as a JSON pointer.
    pub pointer: String,
    /// The stable name of the rule.
    pub code: &'static str,
    /// What the rule asks for.
    pub reason: String,
}

/// What stands under a keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Says nothing about which values are valid.
    Note,
    Text,
    Flag,
    Number,
    PositiveNumber,
    Count,
    Names,
    NamesByName,
    Any,
    Values,
    Types,
    Schema,
    Schemas,
    SchemasByName,
    Dialect,
    Reference,
}

/// Every keyword that is taken: the vocabularies of 2020-12 without identifiers and dynamic references.
pub(super) fn shape(keyword: &str) -> Option<Shape> {
    Some(match keyword {
        "$schema" => Shape::Dialect,
        "$ref" => Shape::Reference,
        "$comment" | "title" | "description" | "format" | "contentEncoding" | "contentMediaType" | "default"
        | "examples" | "deprecated" | "readOnly" | "writeOnly" => Shape::Note,
        "pattern" => Shape::Text,
        "uniqueItems" => Shape::Flag,
        "maximum" | "minimum" | "exclusiveMaximum" | "exclusiveMinimum" => Shape::Number,
        "multipleOf" => Shape::PositiveNumber,
        "maxLength" | "minLength" | "maxItems" | "minItems" | "maxContains" | "minContains" | "maxProperties"
        | "minProperties" => Shape::Count,
        "required" => Shape::Names,
        "dependentRequired" => Shape::NamesByName,
        "const" => Shape::Any,
        "enum" => Shape::Values,
        "type" => Shape::Types,
        "additionalProperties"
        | "items"
        | "contains"
        | "propertyNames"
        | "not"
        | "if"
        | "then"
        | "else"
        | "unevaluatedItems"
        | "unevaluatedProperties" => Shape::Schema,
        "allOf" | "anyOf" | "oneOf" | "prefixItems" => Shape::Schemas,
        "properties" | "patternProperties" | "dependentSchemas" | "$defs" => Shape::SchemasByName,
        other if other.starts_with("x-") => Shape::Note,
        _ => return None,
    })
}

/// What is wrong with a schema whose compact text has so many bytes.
pub(super) fn faults(schema: &Value, bytes: usize) -> Vec<SchemaFault> {
    let mut walk = Walk {
        faults: Vec::new(),
        root: schema,
        sizes: BTreeMap::new(),
        patterns: 0,
    };
    if bytes > MAX_SCHEMA_BYTES {
        walk.fault("#", "length", format!("must have at most {MAX_SCHEMA_BYTES} bytes"));
    } else if is_deeper(schema, MAX_DEPTH) {
        walk.fault("#", "depth", format!("must be at most {MAX_DEPTH} levels deep"));
    } else {
        walk.schema(schema, "#");
    }
    if walk.faults.is_empty() && walk.size(schema, &mut Vec::new()) > MAX_EXPANDED && walk.faults.is_empty() {
        let reason = format!("must be at most {MAX_EXPANDED} schemas once its references are followed");
        walk.fault("#", "length", reason);
    }
    walk.faults
}

fn is_deeper(value: &Value, levels: usize) -> bool {
    let Some(below) = levels.checked_sub(1) else {
        return true;
    };
    match value {
        Value::Array(items) => items.iter().any(|item| is_deeper(item, below)),
        Value::Object(members) => members.values().any(|member| is_deeper(member, below)),
        _ => false,
    }
}

/// The name in `#/$defs/NAME`, of letters, digits, `_`, `.` and `-`, so that nothing in it is escaped.
pub(super) fn definition(reference: &str) -> Option<&str> {
    let name = reference.strip_prefix("#/$defs/")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (!name.is_empty() && name.bytes().all(plain)).then_some(name)
}

struct Walk<'a> {
    faults: Vec<SchemaFault>,
    root: &'a Value,
    /// How many schemas a definition is, once it was looked at.
    sizes: BTreeMap<&'a str, usize>,
    patterns: usize,
}

impl<'a> Walk<'a> {
    fn fault(&mut self, at: &str, code: &'static str, reason: impl Into<String>) {
        if self.faults.len() < MOST {
            self.faults.push(SchemaFault {
                pointer: at.to_owned(),
                code,
                reason: reason.into(),
            });
        }
    }

    fn schema(&mut self, schema: &Value, at: &str) {
        match schema {
            Value::Bool(_) => {}
            Value::Object(keywords) => {
                for (keyword, value) in keywords {
                    self.keyword(keyword, value, &join(at, keyword), at == "#");
                }
            }
            _ => self.fault(at, "type", "must be a schema: an object, true or false"),
        }
    }

    fn keyword(&mut self, keyword: &str, value: &Value, at: &str, top: bool) {
        let Some(shape) = shape(keyword) else {
            return self.fault(
                at,
                "keyword",
                "is no keyword that is taken; those of 2020-12 are, without $id, anchors and dynamic references, and notes of your own begin with x-",
            );
        };
        if !top && matches!(keyword, "$defs" | "$schema") {
            return self.fault(at, "keyword", "stands at the top of a schema alone");
        }
        match (shape, value) {
            (Shape::Schema, _) => self.schema(value, at),
            (Shape::Schemas, Value::Array(schemas)) if !schemas.is_empty() => {
                for (index, schema) in schemas.iter().enumerate() {
                    self.schema(schema, &join(at, &index.to_string()));
                }
            }
            (Shape::SchemasByName, Value::Object(schemas)) => {
                for (name, schema) in schemas {
                    let place = join(at, name);
                    if keyword == "patternProperties" {
                        self.pattern(name, &place);
                    }
                    self.schema(schema, &place);
                }
            }
            (Shape::Text, Value::String(pattern)) => self.pattern(pattern, at),
            (Shape::Reference, Value::String(reference)) => self.reference(reference, at),
            (Shape::Dialect, _) => {
                if value.as_str().map(|uri| uri.trim_end_matches('#')) != Some(DIALECT) {
                    self.fault(at, "dialect", format!("must be {DIALECT}"));
                }
            }
            (shape, value) => {
                if let Some(wanted) = wanted(shape, value) {
                    self.fault(at, "type", wanted);
                }
            }
        }
    }

    /// Whether it is one the engine says that has to run it.
    fn pattern(&mut self, pattern: &str, at: &str) {
        self.patterns += 1;
        if pattern.len() > MAX_PATTERN_BYTES {
            self.fault(at, "length", format!("must have at most {MAX_PATTERN_BYTES} bytes"));
        } else if self.patterns == MAX_PATTERNS + 1 {
            self.fault(at, "length", format!("there are more than {MAX_PATTERNS} patterns"));
        }
    }

    fn reference(&mut self, reference: &str, at: &str) {
        let known = definition(reference).is_some_and(|name| self.root["$defs"].get(name).is_some());
        if !known {
            self.fault(
                at,
                "reference",
                "must be #/$defs/ and the name of a definition of this schema, of letters, digits, _ . and -",
            );
        }
    }

    /// How many schemas there are in it with every reference followed. A circle is a fault: data of 64 KiB could lead
    /// round it in more ways than there is time for.
    fn size(&mut self, schema: &'a Value, within: &mut Vec<&'a str>) -> usize {
        let Value::Object(keywords) = schema else { return 1 };
        let mut size = 1_usize;
        for (keyword, value) in keywords {
            let inside: Vec<&Value> = match (shape(keyword), value) {
                (Some(Shape::Schema), schema) => vec![schema],
                (Some(Shape::Schemas), Value::Array(schemas)) => schemas.iter().collect(),
                (Some(Shape::SchemasByName), Value::Object(schemas)) => schemas.values().collect(),
                (Some(Shape::Reference), Value::String(reference)) => {
                    let named = definition(reference).map_or(0, |name| self.definition_size(name, within));
                    size = size.saturating_add(named);
                    continue;
                }
                _ => continue,
            };
            for schema in inside {
                size = size.saturating_add(self.size(schema, within));
            }
        }
        size
    }

    fn definition_size(&mut self, name: &'a str, within: &mut Vec<&'a str>) -> usize {
        if let Some(known) = self.sizes.get(name) {
            return *known;
        }
        if within.contains(&name) {
            self.fault(
                &join("#/$defs", name),
                "reference",
                "must not lead back to itself: write out the levels that there are",
            );
            return 0;
        }
        let root = self.root;
        let Some(schema) = root["$defs"].get(name) else {
            return 0;
        };
        within.push(name);
        let size = self.size(schema, within);
        within.pop();
        self.sizes.insert(name, size);
        size
    }
}

/// What a keyword asks for, when it is not there.
fn wanted(shape: Shape, value: &Value) -> Option<&'static str> {
    let (fits, wanted) = match shape {
        Shape::Note | Shape::Any => return None,
        Shape::Text => (value.is_string(), "must be a text"),
        Shape::Flag => (value.is_boolean(), "must be true or false"),
        Shape::Number => (value.is_number(), "must be a number"),
        Shape::PositiveNumber => (
            value.as_f64().is_some_and(|number| number > 0.0),
            "must be a number above 0",
        ),
        Shape::Count => (
            value.as_u64().is_some_and(|count| count <= u64::from(u32::MAX)),
            "must be a whole number from 0 to 4294967295",
        ),
        Shape::Names => (are_names(value), "must be a list of different names"),
        Shape::NamesByName => (
            value.as_object().is_some_and(|lists| lists.values().all(are_names)),
            "must be lists of different names, by name",
        ),
        Shape::Values => (
            value.as_array().is_some_and(|values| !values.is_empty()),
            "must be a list of values",
        ),
        Shape::Types => (
            are_types(value),
            "must be null, boolean, object, array, number, integer or string, or a list of them",
        ),
        Shape::Schemas => (false, "must be a list of schemas"),
        Shape::SchemasByName => (false, "must be schemas by name"),
        Shape::Schema | Shape::Dialect | Shape::Reference => (false, "must be a text"),
    };
    (!fits).then_some(wanted)
}

fn are_names(value: &Value) -> bool {
    let Some(names) = value.as_array() else { return false };
    let texts: std::collections::BTreeSet<&str> = names.iter().filter_map(Value::as_str).collect();
    texts.len() == names.len()
}

fn are_types(value: &Value) -> bool {
    let known = |name: &Value| {
        name.as_str()
            .is_some_and(|name| ["null", "boolean", "object", "array", "number", "integer", "string"].contains(&name))
    };
    match value {
        Value::Array(names) => !names.is_empty() && are_names(value) && names.iter().all(known),
        name => known(name),
    }
}

/// The keywords of an object that say which values are valid.
pub(super) fn asserting(keywords: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    let asserts = |keyword: &str| !matches!(shape(keyword), None | Some(Shape::Note | Shape::Dialect));
    keywords
        .iter()
        .filter(move |(keyword, _)| asserts(keyword) && *keyword != "$defs")
}
