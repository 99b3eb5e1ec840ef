//! Whether all that one schema admits is admitted by another, as far as that can be told.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

use super::{Direction, Incompatibility, join};

/// Comparing stops after so many pairs of schemas: alternatives are tried one with each.
const MOST_PAIRS: u32 = 20_000;

/// Each says something by itself, whatever stands beside it: it is equal, or the reader is without it, or it is unknown.
const ALONE: [&str; 6] = [
    "const",
    "oneOf",
    "not",
    "propertyNames",
    "dependentRequired",
    "dependentSchemas",
];

/// What these mean depends on all that stands beside them.
const BESIDE_ALL: [&str; 2] = ["unevaluatedItems", "unevaluatedProperties"];

type Keywords = Map<String, Value>;

/// Why data that `writer` admits may be refused by `reader`. Both are plain.
pub(super) fn judge(direction: Direction, reader: &Value, writer: &Value) -> Vec<Incompatibility> {
    let mut judge = Judge {
        direction,
        found: Vec::new(),
        pairs: 0,
    };
    judge.schemas(reader, writer, "#");
    judge.found
}

struct Judge {
    direction: Direction,
    found: Vec<Incompatibility>,
    pairs: u32,
}

impl Judge {
    fn blame(&mut self, at: &str, rule: &'static str, reason: impl Into<String>) {
        let found = Incompatibility {
            direction: self.direction,
            pointer: at.to_owned(),
            rule,
            reason: reason.into(),
        };
        if !self.found.contains(&found) {
            self.found.push(found);
        }
    }

    /// Who reads and who writes, in words.
    const fn names(&self) -> (&'static str, &'static str) {
        match self.direction {
            Direction::Backward => ("the new version", "the old one"),
            Direction::Forward => ("the old version", "the new one"),
        }
    }

    fn narrower(&mut self, at: &str, rule: &'static str, what: &str) {
        let (reader, writer) = self.names();
        self.blame(
            &join(at, rule),
            rule,
            format!("{reader} {what}, and {writer} does not say so"),
        );
    }

    fn unknown(&mut self, at: &str, rule: &'static str) {
        self.blame(
            &join(at, rule),
            rule,
            "a change here cannot be judged, and so is not taken for compatible",
        );
    }

    /// Whether nothing is to blame between these two; what is found is forgotten.
    fn goes(&mut self, reader: &Value, writer: &Value) -> bool {
        let before = self.found.len();
        self.schemas(reader, writer, "#");
        let goes = self.found.len() == before;
        self.found.truncate(before);
        goes
    }

    fn schemas(&mut self, reader: &Value, writer: &Value, at: &str) {
        self.pairs += 1;
        if self.pairs > MOST_PAIRS {
            return self.blame("#", "size", "the schemas are too large to be compared");
        }
        if reader == writer || *writer == Value::Bool(false) {
            return;
        }
        let (Some(reader), Some(writer)) = (reader.as_object(), writer.as_object()) else {
            let (reads, writes) = self.names();
            return self.blame(
                at,
                "false",
                format!("{reads} admits nothing here, and {writes} admits something"),
            );
        };
        let kinds = Kinds::of(writer);
        self.kinds(reader, kinds, at);
        self.values(reader, writer, at);
        self.unions(reader, writer, at);
        for rule in ALONE {
            if reader.contains_key(rule) && reader.get(rule) != writer.get(rule) {
                self.unknown(at, rule);
            }
        }
        for rule in BESIDE_ALL {
            if reader.contains_key(rule) {
                self.unknown(at, rule);
            }
        }
        self.together(reader, writer, "if", &["if", "then", "else"], at);
        if kinds.number() {
            self.numbers(reader, writer, kinds, at);
        }
        if kinds.has("string") {
            self.strings(reader, writer, at);
        }
        if kinds.has("array") {
            self.arrays(reader, writer, at);
        }
        if kinds.has("object") {
            self.objects(reader, writer, at);
        }
    }

    /// Keywords that mean something with each other only.
    fn together(&mut self, reader: &Keywords, writer: &Keywords, first: &'static str, all: &[&str], at: &str) {
        if reader.contains_key(first) && all.iter().any(|keyword| reader.get(*keyword) != writer.get(*keyword)) {
            self.unknown(at, first);
        }
    }

    fn kinds(&mut self, reader: &Keywords, written: Kinds, at: &str) {
        let lost = written.without(Kinds::named(reader.get("type")));
        if !lost.is_empty() {
            let (reads, writes) = self.names();
            let reason = format!("{writes} admits {}, and {reads} does not", lost.join(", "));
            self.blame(&join(at, "type"), "type", reason);
        }
    }

    fn values(&mut self, reader: &Keywords, writer: &Keywords, at: &str) {
        let Some(read) = list(reader, "enum") else { return };
        let lost = list(writer, "enum").is_none_or(|written| {
            !written
                .iter()
                .all(|value| read.iter().any(|known| same_value(known, value)))
        });
        if lost {
            let (reads, writes) = self.names();
            let reason = format!("{writes} admits values that {reads} does not list");
            self.blame(&join(at, "enum"), "enum", reason);
        }
    }

    fn unions(&mut self, reader: &Keywords, writer: &Keywords, at: &str) {
        let whole = Value::Object(writer.clone());
        if reader.get("allOf") != writer.get("allOf") {
            for (index, part) in list(reader, "allOf").unwrap_or_default().iter().enumerate() {
                if !list(writer, "allOf").is_some_and(|parts| parts.contains(part)) {
                    self.schemas(part, &whole, &join(&join(at, "allOf"), &index.to_string()));
                }
            }
        }
        let Some(forms) = list(reader, "anyOf").filter(|_| reader.get("anyOf") != writer.get("anyOf")) else {
            return;
        };
        let written = list(writer, "anyOf").or_else(|| list(writer, "oneOf"));
        let admitted = match written {
            Some(written) => written.iter().all(|one| forms.iter().any(|form| self.goes(form, one))),
            None => forms.iter().any(|form| self.goes(form, &whole)),
        };
        if !admitted {
            let (reads, writes) = self.names();
            let reason = format!("{writes} admits what no form of {reads} admits for certain");
            self.blame(&join(at, "anyOf"), "anyOf", reason);
        }
    }

    fn numbers(&mut self, reader: &Keywords, writer: &Keywords, kinds: Kinds, at: &str) {
        for side in [&LOWER, &UPPER] {
            for rule in [side.including, side.excluding] {
                let Some(Value::Number(bound)) = reader.get(rule) else {
                    continue;
                };
                if !side.keeps(writer, bound, rule == side.excluding) {
                    self.narrower(at, rule, "bounds the number more closely");
                }
            }
        }
        let Some(step) = reader.get("multipleOf") else { return };
        let whole = |value: &Value| value.as_i64();
        let multiple = match (whole(step), writer.get("multipleOf").and_then(whole)) {
            (Some(step), Some(written)) => written % step == 0,
            (Some(1), None) => !kinds.has("number"),
            _ => Some(step) == writer.get("multipleOf"),
        };
        if !multiple {
            self.narrower(at, "multipleOf", "asks for a multiple");
        }
    }

    fn strings(&mut self, reader: &Keywords, writer: &Keywords, at: &str) {
        let lengths = |keywords: &Keywords| -> Option<(u64, u64)> {
            let texts = list(keywords, "enum")?.iter().filter_map(Value::as_str);
            let lengths = texts.map(|text| text.chars().count() as u64);
            Some((lengths.clone().min()?, lengths.max()?))
        };
        let listed = lengths(writer);
        let least = count(writer, "minLength").max(listed.map(|(least, _)| least));
        let most = at_most(count(writer, "maxLength"), listed.map(|(_, most)| most));
        self.counts(reader, ("minLength", least), ("maxLength", most), at);
        if reader.contains_key("pattern") && reader.get("pattern") != writer.get("pattern") {
            self.unknown(at, "pattern");
        }
    }

    fn counts(
        &mut self,
        reader: &Keywords,
        (low, least): (&'static str, Option<u64>),
        (high, most): (&'static str, Option<u64>),
        at: &str,
    ) {
        if count(reader, low).is_some_and(|bound| bound > least.unwrap_or_default()) {
            self.narrower(at, low, "asks for more");
        }
        if count(reader, high).is_some_and(|bound| most.is_none_or(|most| most > bound)) {
            self.narrower(at, high, "takes fewer");
        }
    }

    fn arrays(&mut self, reader: &Keywords, writer: &Keywords, at: &str) {
        let most = count(writer, "maxItems");
        self.counts(reader, ("minItems", count(writer, "minItems")), ("maxItems", most), at);
        if reader.get("uniqueItems") == Some(&Value::Bool(true))
            && writer.get("uniqueItems") != Some(&Value::Bool(true))
            && most.is_none_or(|most| most > 1)
        {
            self.narrower(at, "uniqueItems", "asks for different items");
        }
        self.together(
            reader,
            writer,
            "contains",
            &["contains", "minContains", "maxContains"],
            at,
        );
        let firsts = |keywords: &Keywords| list(keywords, "prefixItems").map_or(0, <[Value]>::len);
        for index in 0..firsts(reader).max(firsts(writer)) {
            if most.is_none_or(|most| most > index as u64) {
                let place = join(&join(at, "prefixItems"), &index.to_string());
                let (reader, writer) = (item(reader, index), item(writer, index));
                self.schemas(&reader, &writer, &place);
            }
        }
        if most.is_none_or(|most| most > firsts(reader).max(firsts(writer)) as u64) {
            self.schemas(&or_any(reader, "items"), &or_any(writer, "items"), &join(at, "items"));
        }
    }

    fn objects(&mut self, reader: &Keywords, writer: &Keywords, at: &str) {
        let (read, written) = (names(reader), names(writer));
        for name in read.iter().filter(|name| !written.contains(name)) {
            let (reads, writes) = self.names();
            let reason = format!("{reads} requires a member that {writes} does not");
            self.blame(&join(&join(at, "properties"), name), "required", reason);
        }
        let least = count(writer, "minProperties").max(Some(written.len() as u64));
        let most = count(writer, "maxProperties");
        self.counts(reader, ("minProperties", least), ("maxProperties", most), at);
        let patterned = members(writer, "patternProperties").is_some_and(|patterns| !patterns.is_empty());
        let alike = reader.get("patternProperties") == writer.get("patternProperties");
        if !alike && reader.contains_key("patternProperties") {
            self.unknown(at, "patternProperties");
        }
        self.properties(reader, writer, patterned, at);
        // Names of the writer's patterns fall to the reader's rule for all others when it has not these patterns.
        let others = if patterned && !alike {
            any()
        } else {
            or_any(writer, REST)
        };
        self.schemas(&or_any(reader, REST), &others, &join(at, REST));
    }

    /// Each member that one of the two names. For the other it is one of those that it does not name.
    fn properties(&mut self, reader: &Keywords, writer: &Keywords, patterned: bool, at: &str) {
        let none = Map::new();
        let read = members(reader, "properties").unwrap_or(&none);
        let written = members(writer, "properties").unwrap_or(&none);
        let others = if patterned { any() } else { or_any(writer, REST) };
        let rest = or_any(reader, REST);
        for name in read
            .keys()
            .chain(written.keys().filter(|name| !read.contains_key(*name)))
        {
            let place = join(&join(at, "properties"), name);
            match (read.get(name), written.get(name)) {
                (Some(reads), Some(writes)) => self.schemas(reads, writes, &place),
                (Some(reads), None) if !self.goes(reads, &others) => {
                    let (reader, writer) = self.names();
                    let reason = format!(
                        "{reader} names this member, and {writer} admits anything under it: only a closed schema (additionalProperties: false) may get members"
                    );
                    self.blame(&place, "properties", reason);
                }
                (None, Some(writes)) if !self.goes(&rest, writes) => {
                    let (reader, writer) = self.names();
                    let reason = format!("{writer} admits this member, and {reader} has no place for it");
                    self.blame(&place, "properties", reason);
                }
                _ => {}
            }
        }
    }
}

const REST: &str = "additionalProperties";

/// A bound of numbers from one side.
struct Side {
    including: &'static str,
    excluding: &'static str,
    /// How a closer bound compares with a wider one.
    closer: Ordering,
}

const LOWER: Side = Side {
    including: "minimum",
    excluding: "exclusiveMinimum",
    closer: Ordering::Greater,
};
const UPPER: Side = Side {
    including: "maximum",
    excluding: "exclusiveMaximum",
    closer: Ordering::Less,
};

impl Side {
    /// Whether every number of the writer's keeps the bound.
    fn keeps(&self, writer: &Keywords, bound: &Number, excluding: bool) -> bool {
        let keeps = |number: &Number, is_excluded: bool| match order(number, bound) {
            Some(Ordering::Equal) => !excluding || is_excluded,
            Some(order) => order == self.closer,
            None => false,
        };
        let bounded = |rule: &str, is_excluded| match writer.get(rule) {
            Some(Value::Number(number)) => keeps(number, is_excluded),
            _ => false,
        };
        let listed = list(writer, "enum").is_some_and(|values| {
            let mut numbers = values.iter().filter_map(Value::as_number);
            numbers.all(|number| keeps(number, false))
        });
        listed || bounded(self.including, false) || bounded(self.excluding, true)
    }
}

/// Kinds of JSON values; whole numbers are `integer`, all others `number`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kinds([bool; 7]);

const KINDS: [&str; 7] = ["null", "boolean", "object", "array", "string", "integer", "number"];

impl Kinds {
    /// The kinds of all values that may be valid.
    fn of(schema: &Keywords) -> Self {
        let named = Self::named(schema.get("type"));
        let Some(values) = list(schema, "enum") else {
            return named;
        };
        let kinds: Vec<&str> = values.iter().map(kind).collect();
        Self(std::array::from_fn(|index| {
            named.0[index] && kinds.contains(&KINDS[index])
        }))
    }

    fn named(types: Option<&Value>) -> Self {
        let names: Vec<&str> = match types {
            None => return Self([true; 7]),
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            Some(name) => name.as_str().into_iter().collect(),
        };
        let any_number = names.contains(&"number");
        Self(std::array::from_fn(|index| {
            names.contains(&KINDS[index]) || (any_number && KINDS[index] == "integer")
        }))
    }

    fn has(self, name: &str) -> bool {
        KINDS.iter().zip(self.0).any(|(kind, there)| there && *kind == name)
    }

    fn number(self) -> bool {
        self.has("integer") || self.has("number")
    }

    fn without(self, other: Self) -> Vec<&'static str> {
        let lost = |index: &usize| self.0[*index] && !other.0[*index];
        (0..KINDS.len()).filter(lost).map(|index| KINDS[index]).collect()
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Object(_) => "object",
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(number) if number.as_f64().is_some_and(|number| number.fract() == 0.0) => "integer",
        Value::Number(_) => "number",
    }
}

/// Equal as JSON Schema has it: 1 and 1.0 are one number.
fn same_value(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => order(one, other) == Some(Ordering::Equal),
        (one, other) => one == other,
    }
}

fn order(one: &Number, other: &Number) -> Option<Ordering> {
    let whole = |number: &Number| {
        let signed = number.as_i64().map(i128::from);
        signed.or_else(|| number.as_u64().map(i128::from))
    };
    match (whole(one), whole(other)) {
        (Some(one), Some(other)) => Some(one.cmp(&other)),
        _ => one.as_f64()?.partial_cmp(&other.as_f64()?),
    }
}

fn list<'a>(keywords: &'a Keywords, keyword: &str) -> Option<&'a [Value]> {
    keywords.get(keyword)?.as_array().map(Vec::as_slice)
}

fn members<'a>(keywords: &'a Keywords, keyword: &str) -> Option<&'a Keywords> {
    keywords.get(keyword)?.as_object()
}

fn count(keywords: &Keywords, keyword: &str) -> Option<u64> {
    keywords.get(keyword)?.as_u64()
}

fn at_most(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.into_iter().chain(other).min()
}

fn names(keywords: &Keywords) -> Vec<&str> {
    let names = list(keywords, "required").unwrap_or_default();
    names.iter().filter_map(Value::as_str).collect()
}

fn any() -> Value {
    Value::Object(Map::new())
}

fn or_any(keywords: &Keywords, keyword: &str) -> Value {
    keywords.get(keyword).cloned().unwrap_or_else(any)
}

/// The schema of the item at a place.
fn item(keywords: &Keywords, index: usize) -> Value {
    let first = list(keywords, "prefixItems").and_then(|items| items.get(index));
    first.cloned().unwrap_or_else(|| or_any(keywords, "items"))
}
