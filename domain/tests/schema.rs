//! Schemas: their bounds, and which changes go with the version before.

use domain::schema::{Compatibility, Direction, Schema, incompatibilities};
use serde_json::{Value, json};

#[track_caller]
fn schema(value: Value) -> Schema {
    Schema::parse(value).unwrap_or_else(|faults| panic!("{faults:?}"))
}

/// Pointers and codes of what is wrong with it.
fn faults(value: Value) -> Vec<(String, &'static str)> {
    let faults = Schema::parse(value).err().unwrap_or_default();
    faults.into_iter().map(|fault| (fault.pointer, fault.code)).collect()
}

fn blamed(compatibility: Compatibility, old: &Value, new: &Value) -> Vec<(Direction, String, &'static str)> {
    let (old, new) = (schema(old.clone()), schema(new.clone()));
    incompatibilities(compatibility, &old, &new)
        .into_iter()
        .map(|found| (found.direction, found.pointer, found.rule))
        .collect()
}

/// An object of these members, closed.
fn closed(properties: Value, required: Value) -> Value {
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn open(properties: Value) -> Value {
    json!({ "type": "object", "properties": properties })
}

/// What the version before, the version after and the blame for each way are.
#[track_caller]
fn judged(name: &str, old: &Value, new: &Value, backward: &[(&str, &str)], forward: &[(&str, &str)]) {
    let found = |compatibility| -> Vec<(String, &'static str)> {
        let found = blamed(compatibility, old, new).into_iter();
        found.map(|(_, pointer, rule)| (pointer, rule)).collect()
    };
    let wanted = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter()
            .map(|(pointer, rule)| ((*pointer).to_owned(), (*rule).to_owned()))
            .collect()
    };
    let owned = |list: Vec<(String, &'static str)>| -> Vec<(String, String)> {
        list.into_iter()
            .map(|(pointer, rule)| (pointer, rule.to_owned()))
            .collect()
    };
    assert_eq!(
        owned(found(Compatibility::Backward)),
        wanted(backward),
        "{name}, backward"
    );
    assert_eq!(owned(found(Compatibility::Forward)), wanted(forward), "{name}, forward");
    assert_eq!(
        found(Compatibility::Full).len(),
        backward.len() + forward.len(),
        "{name}, full"
    );
    assert!(found(Compatibility::None).is_empty(), "{name}, none");
}

#[test]
fn members_come_and_go_as_the_content_model_lets_them() {
    let (text, number) = (json!({ "type": "string" }), json!({ "type": "integer" }));
    let one = closed(json!({ "a": text }), json!(["a"]));
    let optional = closed(json!({ "a": text, "b": number }), json!(["a"]));
    let needed = closed(json!({ "a": text, "b": number }), json!(["a", "b"]));
    judged("an optional member for a closed schema", &one, &optional, &[], &[]);
    judged(
        "it goes again",
        &optional,
        &one,
        &[("#/properties/b", "properties")],
        &[],
    );
    judged(
        "a required member",
        &one,
        &needed,
        &[("#/properties/b", "required")],
        &[],
    );
    judged(
        "it goes again",
        &needed,
        &one,
        &[("#/properties/b", "properties")],
        &[("#/properties/b", "required")],
    );
    judged(
        "an optional one becomes required",
        &optional,
        &needed,
        &[("#/properties/b", "required")],
        &[],
    );
    judged(
        "a required one becomes optional",
        &needed,
        &optional,
        &[],
        &[("#/properties/b", "required")],
    );

    let (some, more) = (open(json!({ "a": text })), open(json!({ "a": text, "b": number })));
    judged(
        "a member for an open schema",
        &some,
        &more,
        &[("#/properties/b", "properties")],
        &[],
    );
    judged("it goes again", &more, &some, &[], &[("#/properties/b", "properties")]);
    let anything = open(json!({ "a": text, "b": true }));
    judged("a member that may be anything", &some, &anything, &[], &[]);
    judged(
        "an open schema is closed",
        &some,
        &closed(json!({ "a": text }), json!([])),
        &[("#/additionalProperties", "false")],
        &[],
    );
    judged(
        "a closed one is opened",
        &closed(json!({ "a": text }), json!([])),
        &some,
        &[],
        &[],
    );
    let texts = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    let texts_and =
        json!({ "type": "object", "properties": { "n": number }, "additionalProperties": { "type": "string" } });
    judged(
        "a member of another type where all others are texts",
        &texts,
        &texts_and,
        &[("#/properties/n", "properties")],
        &[("#/properties/n", "properties")],
    );
}

#[test]
fn a_default_makes_no_member_of_old_data() {
    let old = closed(json!({}), json!([]));
    let new = closed(json!({ "a": { "type": "string", "default": "x" } }), json!(["a"]));
    judged(
        "required with a default",
        &old,
        &new,
        &[("#/properties/a", "required")],
        &[],
    );
}

#[test]
fn types_grow_and_never_shrink_for_who_reads_old_data() {
    for (name, old, new, backward, forward) in [
        (
            "widened",
            json!({ "type": "string" }),
            json!({ "type": ["string", "null"] }),
            0,
            1,
        ),
        (
            "narrowed",
            json!({ "type": ["string", "null"] }),
            json!({ "type": "string" }),
            1,
            0,
        ),
        (
            "changed",
            json!({ "type": "string" }),
            json!({ "type": "integer" }),
            1,
            1,
        ),
        (
            "whole numbers are numbers",
            json!({ "type": "integer" }),
            json!({ "type": "number" }),
            0,
            1,
        ),
        ("dropped", json!({ "type": "string" }), json!({}), 0, 1),
        ("added", json!({}), json!({ "type": "string" }), 1, 0),
        ("nothing fits any more", json!({ "type": "string" }), json!(false), 1, 0),
        ("nothing fitted", json!(false), json!({ "type": "string" }), 0, 1),
        ("all fits", json!({ "type": "string" }), json!(true), 0, 1),
        (
            "an enumeration without a type",
            json!({ "enum": ["a", 1] }),
            json!({ "type": ["string", "integer"] }),
            0,
            1,
        ),
        (
            "a float that is whole",
            json!({ "enum": [1.0, 2.0] }),
            json!({ "type": "integer" }),
            0,
            1,
        ),
    ] {
        assert_eq!(
            blamed(Compatibility::Backward, &old, &new).len(),
            backward,
            "{name}, backward"
        );
        assert_eq!(
            blamed(Compatibility::Forward, &old, &new).len(),
            forward,
            "{name}, forward"
        );
    }
}

#[test]
fn values_are_added_and_never_taken() {
    let (two, three) = (json!({ "enum": ["a", "b"] }), json!({ "enum": ["a", "b", "c"] }));
    judged("one more value", &two, &three, &[], &[("#/enum", "enum")]);
    judged("one value less", &three, &two, &[("#/enum", "enum")], &[]);
    judged(
        "a constant becomes a list",
        &json!({ "const": "a" }),
        &two,
        &[],
        &[("#/enum", "enum")],
    );
    judged("1 is 1.0", &json!({ "enum": [1] }), &json!({ "enum": [1.0] }), &[], &[]);
    judged(
        "a text becomes a list",
        &json!({ "type": "string" }),
        &json!({ "type": "string", "enum": ["a"] }),
        &[("#/enum", "enum")],
        &[],
    );
}

#[test]
fn bounds_may_be_widened() {
    let number = |more: Value| {
        let mut schema = json!({ "type": "integer" });
        schema
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        schema
    };
    let text = |more: Value| {
        let mut schema = json!({ "type": "string" });
        schema
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        schema
    };
    // Each pair is from the closer to the wider: compatible one way and not the other.
    for (closer, wider, rule) in [
        (
            number(json!({ "minimum": 1 })),
            number(json!({ "minimum": 0 })),
            "minimum",
        ),
        (number(json!({ "minimum": 1 })), number(json!({})), "minimum"),
        (
            number(json!({ "exclusiveMinimum": 0 })),
            number(json!({ "minimum": 0 })),
            "exclusiveMinimum",
        ),
        (
            number(json!({ "maximum": 5 })),
            number(json!({ "maximum": 5.5 })),
            "maximum",
        ),
        (
            number(json!({ "exclusiveMaximum": 5 })),
            number(json!({ "maximum": 5 })),
            "exclusiveMaximum",
        ),
        (
            number(json!({ "multipleOf": 6 })),
            number(json!({ "multipleOf": 3 })),
            "multipleOf",
        ),
        (
            json!({ "type": "integer" }),
            json!({ "type": "number", "multipleOf": 1 }),
            "type",
        ),
        (
            number(json!({ "enum": [1, 2] })),
            number(json!({ "minimum": 1, "maximum": 2 })),
            "enum",
        ),
        (
            number(json!({ "minimum": 9_007_199_254_740_993_i64 })),
            number(json!({ "minimum": 9_007_199_254_740_992_i64 })),
            "minimum",
        ),
        (
            text(json!({ "minLength": 2 })),
            text(json!({ "minLength": 1 })),
            "minLength",
        ),
        (text(json!({ "maxLength": 2 })), text(json!({})), "maxLength"),
        (
            text(json!({ "enum": ["ab", "abc"] })),
            text(json!({ "minLength": 2, "maxLength": 3 })),
            "enum",
        ),
        (
            json!({ "type": "array", "maxItems": 2 }),
            json!({ "type": "array", "maxItems": 3 }),
            "maxItems",
        ),
        (
            json!({ "type": "array", "minItems": 2 }),
            json!({ "type": "array" }),
            "minItems",
        ),
        (
            json!({ "type": "array", "uniqueItems": true }),
            json!({ "type": "array" }),
            "uniqueItems",
        ),
        (
            json!({ "type": "object", "minProperties": 1 }),
            json!({ "type": "object" }),
            "minProperties",
        ),
        (
            json!({ "type": "object", "maxProperties": 1 }),
            json!({ "type": "object" }),
            "maxProperties",
        ),
    ] {
        assert_eq!(
            blamed(Compatibility::Backward, &closer, &wider),
            [],
            "{closer} to {wider}"
        );
        let found = blamed(Compatibility::Backward, &wider, &closer);
        assert_eq!(
            found,
            [(Direction::Backward, format!("#/{rule}"), rule)],
            "{wider} to {closer}"
        );
        let found = blamed(Compatibility::Forward, &closer, &wider);
        assert_eq!(
            found,
            [(Direction::Forward, format!("#/{rule}"), rule)],
            "{closer} to {wider}, forward"
        );
    }
    judged(
        "a bound of what no text is",
        &text(json!({})),
        &text(json!({ "minimum": 3 })),
        &[],
        &[],
    );
    judged(
        "a least number of members that are required",
        &closed(json!({ "a": {}, "b": {} }), json!(["a", "b"])),
        &json!({ "type": "object", "minProperties": 2, "properties": { "a": {}, "b": {} } }),
        &[],
        &[("#/properties/a", "required"), ("#/properties/b", "required")],
    );
}

#[test]
fn items_are_judged_where_they_lie() {
    let of = |items: Value| json!({ "type": "array", "items": items });
    let (text, number) = (json!({ "type": "string" }), json!({ "type": "integer" }));
    judged(
        "items of another type",
        &of(text.clone()),
        &of(number.clone()),
        &[("#/items/type", "type")],
        &[("#/items/type", "type")],
    );
    let pair = json!({ "type": "array", "prefixItems": [text, number], "items": false });
    let first = json!({ "type": "array", "prefixItems": [text], "items": false });
    judged("a further place", &first, &pair, &[], &[("#/prefixItems/1", "false")]);
    let loose = json!({ "type": "array", "prefixItems": [text] });
    judged(
        "a place of open items",
        &loose,
        &json!({ "type": "array", "prefixItems": [text, number] }),
        &[("#/prefixItems/1/type", "type")],
        &[],
    );
    let short = json!({ "type": "array", "maxItems": 1, "items": text });
    judged(
        "what cannot be there does not count",
        &short,
        &json!({ "type": "array", "prefixItems": [text], "items": number }),
        &[],
        &[("#/maxItems", "maxItems"), ("#/items/type", "type")],
    );
}

#[test]
fn references_are_followed_and_notes_ignored() {
    let old = json!({
        "title": "old", "$defs": { "id": { "type": "string", "description": "an id" }, "unused": { "type": "null" } },
        "type": "object", "properties": { "a": { "$ref": "#/$defs/id" } }, "additionalProperties": false,
    });
    let same = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema", "title": "new", "x-owner": "shop", "type": "object",
        "properties": { "a": { "type": "string", "format": "uuid", "examples": ["x"] } }, "additionalProperties": false,
    });
    judged("only words differ", &old, &same, &[], &[]);
    let other = json!({
        "$defs": { "id": { "type": "integer" } }, "type": "object", "properties": { "a": { "$ref": "#/$defs/id" } }, "additionalProperties": false,
    });
    judged(
        "the definition changed behind an equal reference",
        &old,
        &other,
        &[("#/properties/a/type", "type")],
        &[("#/properties/a/type", "type")],
    );
    let both = json!({
        "$defs": { "id": { "type": "string" } }, "type": "object",
        "properties": { "a": { "$ref": "#/$defs/id", "maxLength": 3 } }, "additionalProperties": false,
    });
    judged(
        "a keyword beside a reference",
        &old,
        &both,
        &[("#/properties/a/maxLength", "maxLength")],
        &[("#/properties/a/type", "type")],
    );
}

#[test]
fn alternatives_may_be_added() {
    let form =
        |name: &str| json!({ "type": "object", "properties": { "kind": { "const": name } }, "required": ["kind"] });
    let two = json!({ "anyOf": [form("a"), form("b")] });
    let three = json!({ "anyOf": [form("a"), form("b"), form("c")] });
    judged("one more", &two, &three, &[], &[("#/anyOf", "anyOf")]);
    judged(
        "the single form becomes one of several",
        &form("a"),
        &two,
        &[],
        &[
            ("#/type", "type"),
            ("#/properties/kind", "required"),
            ("#/properties/kind", "properties"),
        ],
    );
    let exactly = |forms: Value| json!({ "oneOf": forms });
    judged(
        "exactly one becomes any",
        &exactly(json!([form("a"), form("b")])),
        &three,
        &[],
        &[("#/oneOf", "oneOf")],
    );
}

#[test]
fn what_cannot_be_judged_is_never_compatible() {
    let text = json!({ "type": "string" });
    for (rule, one, other) in [
        ("pattern", json!("^a"), json!("^b")),
        ("not", json!({ "const": "a" }), json!({ "const": "b" })),
        ("oneOf", json!([text]), json!([text, { "type": "null" }])),
        ("if", json!({ "const": 1 }), json!({ "const": 2 })),
        ("propertyNames", json!({ "maxLength": 3 }), json!({ "maxLength": 4 })),
        ("dependentRequired", json!({ "a": ["b"] }), json!({ "a": [] })),
        ("dependentSchemas", json!({ "a": true }), json!({ "a": false })),
        ("patternProperties", json!({ "^a": true }), json!({ "^b": true })),
        ("contains", json!({ "const": 1 }), json!({ "const": 2 })),
        ("unevaluatedProperties", json!(true), json!(false)),
        ("unevaluatedItems", json!(true), json!(false)),
    ] {
        let (one, other) = (json!({ rule: one }), json!({ rule: other }));
        let pointer = format!("#/{rule}");
        judged(rule, &one, &other, &[(&pointer, rule)], &[(&pointer, rule)]);
        judged(rule, &one, &one, &[], &[]);
        judged(rule, &json!({}), &one, &[(&pointer, rule)], &[]);
        judged(rule, &one, &json!({}), &[], &[(&pointer, rule)]);
    }
    let evaluated = |properties: Value| json!({ "properties": properties, "unevaluatedProperties": false });
    let found = blamed(
        Compatibility::Backward,
        &evaluated(json!({ "a": true, "b": true })),
        &evaluated(json!({ "a": true })),
    );
    assert!(!found.is_empty(), "what is evaluated changed beside it");
}

#[test]
fn reasons_say_which_version_asks() {
    let (old, new) = (
        schema(closed(json!({}), json!([]))),
        schema(closed(json!({ "a": {} }), json!(["a"]))),
    );
    let found = incompatibilities(Compatibility::Full, &old, &new);
    assert_eq!(
        found[0].reason,
        "the new version requires a member that the old one does not"
    );
    let found = incompatibilities(Compatibility::Full, &new, &old);
    assert_eq!(
        found.last().unwrap().reason,
        "the old version requires a member that the new one does not"
    );
}

#[test]
fn what_is_no_schema_of_ours_is_refused_where_it_stands() {
    for (value, pointer, code) in [
        (json!(1), "#", "type"),
        (json!({ "requried": [] }), "#/requried", "keyword"),
        (json!({ "$id": "https://example.org" }), "#/$id", "keyword"),
        (json!({ "$anchor": "a" }), "#/$anchor", "keyword"),
        (json!({ "$dynamicRef": "#a" }), "#/$dynamicRef", "keyword"),
        (json!({ "definitions": {} }), "#/definitions", "keyword"),
        (
            json!({ "$schema": "http://json-schema.org/draft-07/schema#" }),
            "#/$schema",
            "dialect",
        ),
        (json!({ "items": { "$defs": {} } }), "#/items/$defs", "keyword"),
        (json!({ "$ref": "https://example.org/a.json" }), "#/$ref", "reference"),
        (
            json!({ "$ref": "#/properties/a", "properties": { "a": {} } }),
            "#/$ref",
            "reference",
        ),
        (json!({ "$ref": "#/$defs/a" }), "#/$ref", "reference"),
        (
            json!({ "$defs": { "a": { "items": { "$ref": "#/$defs/a" } } }, "$ref": "#/$defs/a" }),
            "#/$defs/a",
            "reference",
        ),
        (json!({ "type": "text" }), "#/type", "type"),
        (json!({ "type": [] }), "#/type", "type"),
        (json!({ "type": ["string", "string"] }), "#/type", "type"),
        (json!({ "required": ["a", "a"] }), "#/required", "type"),
        (json!({ "properties": [] }), "#/properties", "type"),
        (json!({ "properties": { "a/b": 1 } }), "#/properties/a~1b", "type"),
        (json!({ "anyOf": [] }), "#/anyOf", "type"),
        (json!({ "anyOf": [1] }), "#/anyOf/0", "type"),
        (json!({ "enum": [] }), "#/enum", "type"),
        (json!({ "minLength": -1 }), "#/minLength", "type"),
        (json!({ "multipleOf": 0 }), "#/multipleOf", "type"),
        (json!({ "minimum": "1" }), "#/minimum", "type"),
        (json!({ "uniqueItems": 1 }), "#/uniqueItems", "type"),
        (json!({ "pattern": "a".repeat(513) }), "#/pattern", "length"),
        (json!({ "description": "a".repeat(32 * 1024) }), "#", "length"),
    ] {
        assert_eq!(faults(value.clone()), [(pointer.to_owned(), code)], "{value}");
    }
}

#[test]
fn a_schema_is_bounded_in_depth_and_in_what_it_expands_to() {
    let nested = |levels: usize| (0..levels).fold(json!({}), |inner, _| json!({ "items": inner }));
    assert_eq!(faults(nested(30)), []);
    assert_eq!(faults(nested(40)), [("#".to_owned(), "depth")]);
    // Each definition refers twice to the next: two to the twentieth when followed.
    let mut definitions = serde_json::Map::new();
    for level in 0..20 {
        let next = json!({ "$ref": format!("#/$defs/d{}", level + 1) });
        definitions.insert(format!("d{level}"), json!({ "anyOf": [next, next] }));
    }
    definitions.insert("d20".to_owned(), json!({ "type": "string" }));
    let wide = json!({ "$defs": definitions, "$ref": "#/$defs/d0" });
    assert_eq!(faults(wide), [("#".to_owned(), "length")]);
    let patterns: serde_json::Map<String, Value> = (0..65).map(|n| (format!("^a{n}$"), json!(true))).collect();
    assert_eq!(faults(json!({ "patternProperties": patterns })).len(), 1);
}

#[test]
fn the_words_are_read_back() {
    for compatibility in Compatibility::ALL {
        assert_eq!(compatibility.as_str().parse(), Ok(compatibility));
    }
    assert!("BACKWARD".parse::<Compatibility>().is_err());
    assert_eq!(Compatibility::default(), Compatibility::Backward);
}
