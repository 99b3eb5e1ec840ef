//! A schema in the form in which two are compared: without notes, with every reference replaced by what it refers to.

use serde_json::{Map, Value};

use super::form::{Shape, asserting, definition, shape};

/// The plain form of a schema within the bounds. `tolerant` takes away every `additionalProperties: false`: so reads
/// who ignores members that they do not know.
pub(super) fn plain(schema: &Value, tolerant: bool) -> Value {
    Plain { root: schema, tolerant }.schema(schema)
}

struct Plain<'a> {
    root: &'a Value,
    tolerant: bool,
}

impl Plain<'_> {
    fn schema(&self, schema: &Value) -> Value {
        let Value::Object(keywords) = schema else {
            return match schema {
                Value::Bool(false) => Value::Bool(false),
                _ => Value::Object(Map::new()),
            };
        };
        let mut made = Map::new();
        let mut referred = None;
        for (keyword, value) in asserting(keywords) {
            match (shape(keyword), value) {
                (Some(Shape::Reference), Value::String(reference)) => {
                    let target = definition(reference).and_then(|name| self.root["$defs"].get(name));
                    referred = target.map(|target| self.schema(target));
                }
                (Some(Shape::Schema), Value::Bool(false)) if self.tolerant && keyword == "additionalProperties" => {}
                (Some(Shape::Schema), value) => drop(made.insert(keyword.clone(), self.schema(value))),
                (Some(Shape::Schemas), Value::Array(values)) => {
                    let schemas = values.iter().map(|value| self.schema(value)).collect();
                    made.insert(keyword.clone(), Value::Array(schemas));
                }
                (Some(Shape::SchemasByName), Value::Object(values)) => {
                    let schemas = values.iter().map(|(name, value)| (name.clone(), self.schema(value)));
                    made.insert(keyword.clone(), Value::Object(schemas.collect()));
                }
                // One value is an enumeration of one.
                (Some(Shape::Any), value) if !keywords.contains_key("enum") => {
                    made.insert("enum".to_owned(), Value::Array(vec![value.clone()]));
                }
                (_, value) => drop(made.insert(keyword.clone(), value.clone())),
            }
        }
        match referred {
            Some(target) if made.is_empty() => return target,
            // Beside a reference everything else holds as well.
            Some(target) => {
                let all = made.entry("allOf").or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(all) = all {
                    all.push(target);
                }
            }
            None => {}
        }
        Value::Object(made)
    }
}
