//! What is judged compatible is so: data that the writer's schema admits is admitted by the reader's, as an independent
//! validator sees it.

use std::cell::Cell;

use domain::schema::{Compatibility, Schema, incompatibilities};
use jsonschema::Validator;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

/// Small values that meet each other often.
fn data() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|flag| json!(flag)),
        (-2..4_i64).prop_map(|number| json!(number)),
        prop::sample::select(vec![json!(0.5), json!(1.0), json!(2.5)]),
        "[ab]{0,3}".prop_map(|text| json!(text)),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| json!(items)),
            prop::collection::btree_map("[abc]", inner, 0..4).prop_map(|members| json!(members)),
        ]
    })
}

fn keyword(inner: BoxedStrategy<Value>) -> BoxedStrategy<(String, Value)> {
    let named =
        |name: &'static str, value: BoxedStrategy<Value>| value.prop_map(move |value| (name.to_owned(), value)).boxed();
    let small = || (0..4_u32).prop_map(|count| json!(count)).boxed();
    let number = || (-2..4_i32).prop_map(|count| json!(f64::from(count) / 2.0)).boxed();
    let schemas = || {
        prop::collection::vec(inner.clone(), 1..3)
            .prop_map(|list| json!(list))
            .boxed()
    };
    let by_name = || {
        prop::collection::btree_map("[abc]", inner.clone(), 0..3)
            .prop_map(|map| json!(map))
            .boxed()
    };
    let names = || {
        prop::sample::subsequence(vec!["a", "b", "c"], 0..3)
            .prop_map(|names| json!(names))
            .boxed()
    };
    let kinds = vec!["null", "boolean", "object", "array", "string", "integer", "number"];
    prop_oneof![
        4 => prop::sample::subsequence(kinds, 1..4).prop_map(|kinds| ("type".to_owned(), json!(kinds))),
        1 => prop::collection::vec(data(), 1..4).prop_map(|values| ("enum".to_owned(), json!(values))),
        1 => named("const", data().boxed()),
        1 => named("minimum", number()),
        1 => named("exclusiveMinimum", number()),
        1 => named("maximum", number()),
        1 => named("exclusiveMaximum", number()),
        1 => named("multipleOf", prop::sample::select(vec![json!(1), json!(2), json!(0.5), json!(4)]).boxed()),
        1 => named("minLength", small()),
        1 => named("maxLength", small()),
        1 => named("pattern", prop::sample::select(vec![json!("^a"), json!("b$")]).boxed()),
        1 => named("minItems", small()),
        1 => named("maxItems", small()),
        1 => named("uniqueItems", any::<bool>().prop_map(|flag| json!(flag)).boxed()),
        2 => named("items", inner.clone()),
        1 => named("prefixItems", schemas()),
        1 => named("contains", inner.clone()),
        1 => named("minContains", small()),
        4 => named("properties", by_name()),
        3 => named("additionalProperties", prop_oneof![Just(json!(false)), inner.clone()].boxed()),
        1 => named("patternProperties", by_name()),
        2 => named("required", names()),
        1 => named("minProperties", small()),
        1 => named("maxProperties", small()),
        1 => named("propertyNames", inner.clone()),
        1 => named("dependentRequired", names().prop_map(|names| json!({ "a": names })).boxed()),
        1 => named("anyOf", schemas()),
        1 => named("allOf", schemas()),
        1 => named("oneOf", schemas()),
        1 => named("not", inner.clone()),
        1 => named("if", inner.clone()),
        1 => named("then", inner.clone()),
        1 => named("unevaluatedProperties", Just(json!(false)).boxed()),
        1 => named("unevaluatedItems", Just(json!(false)).boxed()),
    ]
    .boxed()
}

fn schema() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![4 => Just(json!({})), 1 => Just(json!(true)), 1 => Just(json!(false)), 4 => Just(json!({ "type": "string" }))];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop::collection::vec(keyword(inner.boxed()), 1..5)
            .prop_map(|keywords| Value::Object(keywords.into_iter().collect()))
    })
    .boxed()
}

/// A schema and one that differs from it a little, so that many pairs are compatible.
fn pair() -> impl Strategy<Value = (Value, Value)> {
    let changed = (
        schema(),
        prop::collection::vec(keyword(schema()), 0..3),
        any::<prop::sample::Index>(),
    );
    changed.prop_map(|(old, more, drop)| {
        let Value::Object(mut keywords) = old.clone() else {
            return (old.clone(), old);
        };
        if !keywords.is_empty() {
            let name = keywords.keys().nth(drop.index(keywords.len())).cloned();
            keywords.remove(&name.unwrap_or_default());
        }
        keywords.extend(more);
        (old, Value::Object(keywords))
    })
}

fn opened(schema: &Value) -> Value {
    match schema {
        Value::Object(keywords) => {
            let closed = |name: &str, value: &Value| name == "additionalProperties" && *value == json!(false);
            let kept = keywords.iter().filter(|(name, value)| !closed(name, value));
            kept.map(|(name, value)| {
                (
                    name.clone(),
                    if matches!(name.as_str(), "enum" | "const") {
                        value.clone()
                    } else {
                        opened(value)
                    },
                )
            })
            .collect()
        }
        Value::Array(items) => items.iter().map(opened).collect(),
        other => other.clone(),
    }
}

/// Data that the second validator must admit since the first does.
fn held(first: &Validator, second: &Validator, values: &[Value], pair: &(Value, Value)) -> Result<u32, TestCaseError> {
    let mut held = 0;
    for value in values.iter().filter(|value| first.is_valid(value)) {
        prop_assert!(second.is_valid(value), "{}\n{}\n{value}", pair.0, pair.1);
        held += 1;
    }
    Ok(held)
}

#[test]
fn what_is_judged_compatible_is() {
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 600,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let seen = Cell::new(0);
    let given = (pair(), prop::collection::vec(data(), 24), any::<bool>());
    let outcome = runner.run(&given, |(pair, values, swap)| {
        let (old, new) = if swap { (&pair.1, &pair.0) } else { (&pair.0, &pair.1) };
        let (Ok(before), Ok(after)) = (Schema::parse(old.clone()), Schema::parse(new.clone())) else {
            return Ok(());
        };
        let validator = |schema: &Value| jsonschema::draft202012::new(schema).expect("a schema");
        let (first, second) = (validator(old), validator(new));
        if incompatibilities(Compatibility::Backward, &before, &after).is_empty() {
            seen.set(seen.get() + held(&first, &second, &values, &pair)?);
        }
        if incompatibilities(Compatibility::Forward, &before, &after).is_empty() {
            seen.set(seen.get() + held(&second, &validator(&opened(old)), &values, &pair)?);
        }
        Ok(())
    });
    outcome.expect("what is judged compatible is");
    assert!(seen.get() > 500, "only {} values were tried", seen.get());
}
