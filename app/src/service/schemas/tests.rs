//! Schemas: what is registered and refused, what data is held against, and how copies follow.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use domain::event::Event;
use ports::RegisteredType;

use super::*;
use crate::worker::testing::{Kit, kit, user_in};

/// What nodes share, and how often it was read.
#[derive(Default)]
struct Table {
    stored: Mutex<(SchemaChanges, Vec<Event>)>,
    reads: AtomicUsize,
    /// So many insertions find that somebody else was faster.
    overtaken: AtomicUsize,
}

#[async_trait]
impl SchemaRepository for Table {
    async fn revision(&self) -> Result<u64, BackendError> {
        Ok(self.stored.lock().unwrap().0.revision)
    }

    async fn changes(&self, _after: u64) -> Result<SchemaChanges, BackendError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        // Everything again, as changes that overlap are told.
        Ok(self.stored.lock().unwrap().0.clone())
    }

    async fn insert(
        &self,
        schema: &RegisteredSchema,
        judged_by: Compatibility,
        effects: &Effects,
    ) -> Result<(), InsertSchemaError> {
        let left = self.overtaken.load(Ordering::SeqCst);
        if left > 0 {
            self.overtaken.store(left - 1, Ordering::SeqCst);
            return Err(InsertSchemaError::Overtaken);
        }
        let mut stored = self.stored.lock().unwrap();
        if schema.version == 1 {
            stored.0.types.push(RegisteredType {
                event_type: schema.event_type.clone(),
                compatibility: judged_by,
            });
        }
        stored.0.schemas.push(schema.clone());
        stored.0.revision += 1;
        stored.1.extend(effects.events.clone());
        Ok(())
    }

    async fn set_compatibility(
        &self,
        event_type: &EventType,
        compatibility: Compatibility,
        effects: &Effects,
    ) -> Result<bool, EffectsError> {
        let mut stored = self.stored.lock().unwrap();
        stored.1.extend(effects.events.clone());
        stored.0.revision += 1;
        let mut types = stored.0.types.iter_mut();
        let found = types.find(|known| known.event_type == *event_type);
        Ok(found.map(|known| known.compatibility = compatibility).is_some())
    }
}

fn node(kit: &Kit, table: &Arc<Table>, require: bool) -> Schemas {
    Schemas::new(SchemaParts {
        toolkit: kit.toolkit.clone(),
        repository: Arc::clone(table) as _,
        client_prefix: "app.".to_owned(),
        require,
    })
}

fn kind(name: &str) -> EventType {
    name.parse().unwrap()
}

fn closed(properties: Value) -> Value {
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

async fn register(schemas: &Schemas, name: &str, schema: Value) -> Result<(u32, bool), RegisterSchemaError> {
    let registered = schemas.register(user_in(1), &Origin::SYSTEM, name, schema).await;
    registered.map(|(known, new)| (known.version, new))
}

fn pointers(refusal: DataRefusal) -> Vec<(String, &'static str)> {
    match refusal {
        DataRefusal::Violations(violations) => {
            let found = violations.into_iter();
            found.map(|violation| (violation.pointer, violation.code)).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn versions_are_counted_and_told_and_the_same_is_not_registered_twice() {
    let (kit, table) = (kit(), Arc::new(Table::default()));
    let schemas = node(&kit, &table, false);
    let first = closed(json!({ "a": { "type": "string" } }));
    let second = closed(json!({ "a": { "type": "string" }, "b": { "type": "integer" } }));
    assert_eq!(register(&schemas, "app.a", first.clone()).await.unwrap(), (1, true));
    assert_eq!(register(&schemas, "app.a", first.clone()).await.unwrap(), (1, false));
    assert_eq!(register(&schemas, "app.a", second).await.unwrap(), (2, true));
    let told: Vec<Value> = table.stored.lock().unwrap().1.iter().map(data).collect();
    let version = |number| json!({ "event_type": "app.a", "version": number, "compatibility": "backward" });
    assert_eq!(told, [version(1), version(2)]);
    assert_eq!(kit.wakeups.woken().len(), 2);
    let found = schemas.find(&kind("app.a")).unwrap();
    assert_eq!((found.versions.len(), found.own), (2, false));
    assert_eq!(found.version(1).unwrap().schema.value(), &first);
    assert!(found.version(0).is_none() && found.version(3).is_none());
}

fn data(event: &Event) -> Value {
    serde_json::from_str(event.data.as_deref().unwrap()).unwrap()
}

#[tokio::test]
async fn what_does_not_go_with_the_version_before_is_refused_by_the_rule_of_the_type() {
    let (kit, table) = (kit(), Arc::new(Table::default()));
    let schemas = node(&kit, &table, false);
    register(&schemas, "app.a", closed(json!({ "a": { "type": "string" } })))
        .await
        .unwrap();
    let other = closed(json!({ "a": { "type": "integer" } }));
    let Err(RegisterSchemaError::Incompatible { version, rule, reasons }) =
        register(&schemas, "app.a", other.clone()).await
    else {
        panic!("taken")
    };
    assert_eq!((version, rule, reasons.len()), (1, Compatibility::Backward, 1));
    assert_eq!(reasons[0].pointer, "#/properties/a/type");
    let (registered, own) = (kind("app.a"), kind("user.registered"));
    let set = |of: &EventType, rule| {
        let (of, schemas) = (of.clone(), &schemas);
        async move { schemas.set_compatibility(user_in(1), &Origin::SYSTEM, &of, rule).await }
    };
    let none = Compatibility::None;
    assert_eq!(set(&registered, none).await.unwrap().compatibility, none);
    set(&registered, none).await.unwrap();
    let told = table.stored.lock().unwrap().1.len();
    assert_eq!(told, 2, "the same rule again is no change");
    assert_eq!(register(&schemas, "app.a", other).await.unwrap(), (2, true));
    assert!(matches!(set(&own, none).await, Err(SetCompatibilityError::NotFound)));
}

#[tokio::test]
async fn somebody_faster_is_waited_out_and_not_for_ever() {
    let (kit, table) = (kit(), Arc::new(Table::default()));
    let schemas = node(&kit, &table, false);
    table.overtaken.store(2, Ordering::SeqCst);
    assert_eq!(register(&schemas, "app.a", json!({})).await.unwrap(), (1, true));
    table.overtaken.store(100, Ordering::SeqCst);
    let refused = register(&schemas, "app.b", json!({})).await;
    assert!(matches!(refused, Err(RegisterSchemaError::Contended)));
}

#[tokio::test]
async fn types_and_schemas_keep_their_forms() {
    let (kit, table) = (kit(), Arc::new(Table::default()));
    let schemas = node(&kit, &table, false);
    for name in ["user.registered", "nope", "App.A", "app."] {
        let refused = register(&schemas, name, json!({})).await;
        assert!(matches!(refused, Err(RegisterSchemaError::Type(_))), "{name}");
    }
    for (schema, pointer, code) in [
        (json!({ "tpye": "string" }), "#/tpye", "keyword"),
        (
            json!({ "properties": { "a": { "pattern": "(?=a)" } } }),
            "#/properties/a/pattern",
            "pattern",
        ),
        (json!({ "pattern": "(a" }), "#/pattern", "pattern"),
    ] {
        let Err(RegisterSchemaError::Schema(faults)) = register(&schemas, "app.a", schema.clone()).await else {
            panic!("{schema}")
        };
        assert_eq!(
            (faults[0].pointer.as_str(), faults[0].code),
            (pointer, code),
            "{faults:?}"
        );
    }
    for pattern in [r"(\w{1000}){1000}", r"(a)\1"] {
        let refused = register(&schemas, "app.a", json!({ "pattern": pattern })).await;
        assert!(
            matches!(refused, Err(RegisterSchemaError::Schema(_))),
            "{pattern}: {refused:?}"
        );
    }
    assert_eq!(table.stored.lock().unwrap().0.revision, 0);
}

#[tokio::test]
async fn data_is_held_against_the_newest_version_or_the_one_it_names() {
    let (kit, table) = (kit(), Arc::new(Table::default()));
    let schemas = node(&kit, &table, false);
    let kind = kind("app.a");
    assert_eq!(
        schemas.check(&kind, None, &json!(1)),
        Ok(None),
        "no schema, nothing asked"
    );
    assert_eq!(
        schemas.check(&kind, Some(1), &json!(1)),
        Err(DataRefusal::UnknownVersion)
    );
    let first = closed(json!({ "a": { "type": "string" } }));
    register(&schemas, "app.a", first).await.unwrap();
    register(
        &schemas,
        "app.a",
        closed(json!({ "a": { "type": ["string", "null"] } })),
    )
    .await
    .unwrap();
    let null = json!({ "a": null });
    assert_eq!(schemas.check(&kind, None, &null), Ok(Some(2)));
    assert_eq!(schemas.check(&kind, Some(2), &null), Ok(Some(2)));
    let refused = schemas.check(&kind, Some(1), &null).unwrap_err();
    assert_eq!(pointers(refused), [("/a".to_owned(), "type")]);
    assert_eq!(schemas.check(&kind, Some(3), &null), Err(DataRefusal::UnknownVersion));
}

#[tokio::test]
async fn every_type_needs_a_schema_where_that_is_asked_for() {
    let (kit, table) = (kit(), Arc::new(Table::default()));
    let schemas = node(&kit, &table, true);
    assert_eq!(
        schemas.check(&kind("app.a"), None, &json!(1)),
        Err(DataRefusal::SchemaMissing)
    );
    register(&schemas, "app.a", json!({})).await.unwrap();
    assert_eq!(schemas.check(&kind("app.a"), None, &json!(1)), Ok(Some(1)));
}

#[tokio::test]
async fn another_node_follows_and_reads_nothing_while_nothing_changes() {
    let (kit, table) = (kit(), Arc::new(Table::default()));
    let (here, there) = (node(&kit, &table, false), node(&kit, &table, false));
    register(&here, "app.a", json!({ "type": "string" })).await.unwrap();
    assert_eq!(there.check(&kind("app.a"), None, &json!(1)), Ok(None), "not told yet");
    there.refresh().await.unwrap();
    let reads = table.reads.load(Ordering::SeqCst);
    for _ in 0..10 {
        there.refresh().await.unwrap();
        assert!(there.check(&kind("app.a"), None, &json!(1)).is_err());
    }
    assert_eq!(table.reads.load(Ordering::SeqCst), reads);
    register(&here, "app.a", json!({ "type": ["string", "integer"] }))
        .await
        .unwrap();
    there.refresh().await.unwrap();
    assert_eq!(there.check(&kind("app.a"), None, &json!(1)), Ok(Some(2)));
    assert_eq!(
        there.find(&kind("app.a")).unwrap().versions.len(),
        2,
        "what is told twice is there once"
    );
}

#[tokio::test]
async fn refusals_name_what_the_schema_knows_and_never_data() {
    let (kit, table) = (kit(), Arc::new(Table::default()));
    let schemas = node(&kit, &table, false);
    let schema = json!({
        "type": "object",
        "properties": {
            "n": { "type": "integer", "minimum": 3, "maximum": 5 }, "list": { "type": "array", "maxItems": 1, "items": { "enum": ["a"] } },
            "text": { "type": "string", "pattern": "^a+$", "minLength": 2 }, "either": { "anyOf": [{ "type": "null" }, { "const": 1 }] },
            "map": { "type": "object", "additionalProperties": { "type": "integer" } }, "gone": {},
        },
        "required": ["n", "gone"], "additionalProperties": false,
    });
    register(&schemas, "app.a", schema).await.unwrap();
    let secret = "hunter2@example.org";
    let refused = |value: Value| {
        let refusal = schemas.check(&kind("app.a"), None, &value).unwrap_err();
        assert!(!format!("{refusal:?}").contains("hunter2"), "{refusal:?}");
        let mut found = pointers(refusal);
        found.sort();
        found
    };
    let at = |pointer: &str, code| (pointer.to_owned(), code);
    assert_eq!(
        refused(json!({ "n": 9, "list": [secret, "a"], "text": secret, "either": secret, "extra": secret })),
        [
            at("/either", "form"),
            at("/extra", "unknown_field"),
            at("/gone", "required"),
            at("/list", "length"),
            at("/list/0", "enum"),
            at("/n", "range"),
            at("/text", "pattern")
        ]
    );
    assert_eq!(
        refused(json!({ "n": 3, "gone": 1, "map": { secret: secret }, secret: 1 })),
        [at("", "unknown_field"), at("/map", "type")],
        "a name that may be data is not repeated"
    );
    assert_eq!(refused(json!(secret)), [at("", "type")]);
}

#[test]
fn no_pattern_hangs_the_server() {
    let validator = Validator::compile(&json!({ "pattern": "^(a+)+$" })).unwrap();
    let began = tokio::time::Instant::now();
    assert_eq!(
        validator.violations(&json!(format!("{}!", "a".repeat(60_000)))).len(),
        1
    );
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn every_own_event_has_a_schema_of_its_version_and_examples_that_are_valid() {
    for kind in OwnEvent::ALL {
        let newest = known::own_schema(kind).unwrap_or_else(|| panic!("{kind:?} has no schema"));
        let value = newest.schema.value();
        for keyword in ["title", "description"] {
            assert!(
                value[keyword].as_str().is_some_and(|text| text.len() > 5),
                "{kind:?} lacks {keyword}"
            );
        }
        assert_eq!(
            (&value["type"], &value["additionalProperties"]),
            (&json!("object"), &json!(false)),
            "{kind:?}"
        );
        let examples = value["examples"].as_array().filter(|examples| !examples.is_empty());
        for example in examples.unwrap_or_else(|| panic!("{kind:?} has no example")) {
            assert_eq!(own_violations(kind, example), [], "{kind:?}: {example}");
        }
        assert_ne!(
            own_violations(kind, &json!({ "surprise": 1 })),
            [],
            "{kind:?} is closed"
        );
    }
    let kept: Vec<&str> = openapi::OWN_SCHEMAS.iter().map(|kept| kept.event_type).collect();
    assert!(kept.is_sorted(), "{kept:?}");
    for name in kept {
        let own = OwnEvent::of(&kind(name)).unwrap_or_else(|| panic!("{name} is no event of ours"));
        let newest = openapi::OWN_SCHEMAS
            .iter()
            .filter(|kept| kept.event_type == name)
            .map(|kept| kept.version)
            .max();
        assert_eq!(
            newest,
            Some(own.schema_version()),
            "{name} is written with its newest version"
        );
    }
}
