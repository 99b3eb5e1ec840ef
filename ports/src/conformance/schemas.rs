//! Scenarios for [`SchemaRepository`](crate::SchemaRepository).

use std::fmt;
use std::sync::Arc;

use domain::event::EventType;
use domain::id::UserId;
use domain::schema::Compatibility;
use futures_util::future::join_all;

use super::samples::at;
use super::stores::{ALL_SEEN, NONE_SEEN, Stores, witnesses};
use crate::{Effects, InsertSchemaError, RegisteredSchema, RegisteredType, SchemaRepository};

/// The repository, and the stores in which its effects are seen.
pub struct SchemaStores {
    /// The port.
    pub schemas: Arc<dyn SchemaRepository>,
    /// Everything else on the same backend.
    pub stores: Stores,
}

impl fmt::Debug for SchemaStores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchemaStores").finish_non_exhaustive()
    }
}

/// One test for each scenario; the fixture is a future of `Option<(schemas::SchemaStores, guard)>`.
#[macro_export]
macro_rules! schema_repository_conformance {
    ($fixture:expr) => {
        $crate::conformance_scenarios!(
            $fixture,
            schemas,
            [
                every_field_round_trips,
                every_change_raises_the_revision_and_is_told_after_it,
                a_version_out_of_turn_is_refused_and_nothing_written,
                a_version_judged_by_another_rule_is_refused,
                of_many_at_once_one_is_stored,
                the_effects_of_a_version_are_written_with_it,
                the_rule_of_an_unknown_type_is_not_changed,
            ]
        );
    };
}

const ORDERS: &str = "app.order.placed";

fn kind(name: &str) -> EventType {
    name.parse().expect("a type")
}

fn schema(name: &str, version: u32) -> RegisteredSchema {
    RegisteredSchema {
        event_type: kind(name),
        version,
        schema: format!("{{\"title\":\"{name} {version} \u{1F9E6}\"}}"),
        created_at: at(i64::from(version)),
        created_by: UserId::SYSTEM,
    }
}

async fn insert(subject: &SchemaStores, schema: &RegisteredSchema) {
    insert_with(subject, schema, &Effects::none()).await;
}

async fn insert_with(subject: &SchemaStores, schema: &RegisteredSchema, effects: &Effects) {
    let rule = Compatibility::Backward;
    subject.schemas.insert(schema, rule, effects).await.expect("inserted");
}

/// Changes the rule for orders.
async fn set(subject: &SchemaStores, compatibility: Compatibility, effects: &Effects) -> bool {
    let orders = kind(ORDERS);
    let changed = subject.schemas.set_compatibility(&orders, compatibility, effects).await;
    changed.expect("an answer")
}

async fn stored(subject: &SchemaStores) -> Vec<RegisteredSchema> {
    subject.schemas.changes(0).await.expect("the changes").schemas
}

fn rule(name: &str, compatibility: Compatibility) -> RegisteredType {
    RegisteredType {
        event_type: kind(name),
        compatibility,
    }
}

/// Versions come in their order, and a type begins with the rule `backward`.
pub async fn every_field_round_trips(subject: &SchemaStores) {
    assert_eq!(subject.schemas.revision().await.expect("a revision"), 0);
    assert_eq!(stored(subject).await, []);
    let all = [schema(ORDERS, 1), schema(ORDERS, 2), schema("app.b", 1)];
    for one in &all {
        insert(subject, one).await;
    }
    let changes = subject.schemas.changes(0).await.expect("the changes");
    let of = |name: &str| -> Vec<RegisteredSchema> {
        let mut found = changes.schemas.clone();
        found.retain(|schema| schema.event_type == kind(name));
        found
    };
    assert_eq!(of(ORDERS), all[..2]);
    assert_eq!(of("app.b"), all[2..]);
    let mut types = changes.types;
    types.sort_by(|a, b| a.event_type.cmp(&b.event_type));
    let backward = Compatibility::Backward;
    assert_eq!(types, [rule("app.b", backward), rule(ORDERS, backward)]);
}

/// A copy that asks with the revision of the last answer misses nothing.
pub async fn every_change_raises_the_revision_and_is_told_after_it(subject: &SchemaStores) {
    insert(subject, &schema(ORDERS, 1)).await;
    let first = subject.schemas.changes(0).await.expect("the changes").revision;
    assert_eq!(subject.schemas.revision().await.expect("a revision"), first);
    assert!(first > 0);
    insert(subject, &schema(ORDERS, 2)).await;
    let second = subject.schemas.changes(first).await.expect("the changes");
    assert!(second.revision > first);
    assert_eq!(second.schemas, [schema(ORDERS, 2)], "what was told is not told again");
    let full = Compatibility::Full;
    assert!(set(subject, full, &Effects::none()).await);
    let third = subject.schemas.changes(second.revision).await.expect("the changes");
    assert!(third.revision > second.revision);
    assert_eq!((third.types, third.schemas), (vec![rule(ORDERS, full)], vec![]));
    let none = subject.schemas.changes(third.revision).await.expect("the changes");
    assert_eq!((none.types.len(), none.schemas.len()), (0, 0));
}

/// A version that is there, one that leaves a gap, and one of an unknown type that is not the first.
pub async fn a_version_out_of_turn_is_refused_and_nothing_written(subject: &SchemaStores) {
    insert(subject, &schema(ORDERS, 1)).await;
    let before = subject.schemas.changes(0).await.expect("the changes");
    for (name, version) in [(ORDERS, 1), (ORDERS, 3), ("app.unknown", 2)] {
        let effects = witnesses(UserId::SYSTEM);
        let refused = subject
            .schemas
            .insert(&schema(name, version), Compatibility::Backward, &effects)
            .await;
        assert!(matches!(refused, Err(InsertSchemaError::Overtaken)), "{name} {version}");
        assert_eq!(subject.stores.seen(UserId::SYSTEM, &effects).await, NONE_SEEN);
    }
    assert_eq!(subject.schemas.changes(0).await.expect("the changes"), before);
}

/// Whoever judged it read the rule before somebody changed it.
pub async fn a_version_judged_by_another_rule_is_refused(subject: &SchemaStores) {
    insert(subject, &schema(ORDERS, 1)).await;
    let full = Compatibility::Full;
    assert!(set(subject, full, &Effects::none()).await);
    let second = schema(ORDERS, 2);
    let insert = |rule| {
        let (schemas, second) = (Arc::clone(&subject.schemas), second.clone());
        async move { schemas.insert(&second, rule, &Effects::none()).await }
    };
    let refused = insert(Compatibility::Backward).await;
    assert!(matches!(refused, Err(InsertSchemaError::Overtaken)), "{refused:?}");
    insert(full).await.expect("inserted");
}

/// Many administrators register the next version at once, of a new type and of one that is there.
pub async fn of_many_at_once_one_is_stored(subject: &SchemaStores) {
    for version in [1, 2] {
        let all: Vec<RegisteredSchema> = (0..6)
            .map(|number| RegisteredSchema {
                schema: format!("{{\"title\":\"{number}\"}}"),
                ..schema(ORDERS, version)
            })
            .collect();
        let none = Effects::none();
        let inserts = all
            .iter()
            .map(|schema| subject.schemas.insert(schema, Compatibility::Backward, &none));
        let outcomes = join_all(inserts).await;
        let won: Vec<&RegisteredSchema> = all
            .iter()
            .zip(&outcomes)
            .filter_map(|(schema, outcome)| outcome.is_ok().then_some(schema))
            .collect();
        let lost = |outcome: &&Result<(), InsertSchemaError>| matches!(outcome, Err(InsertSchemaError::Overtaken));
        assert_eq!(
            (won.len(), outcomes.iter().filter(lost).count()),
            (1, 5),
            "{outcomes:?}"
        );
        assert_eq!(stored(subject).await.last(), Some(won[0]));
    }
}

/// Events and all.
pub async fn the_effects_of_a_version_are_written_with_it(subject: &SchemaStores) {
    let effects = witnesses(UserId::SYSTEM);
    insert_with(subject, &schema(ORDERS, 1), &effects).await;
    assert_eq!(subject.stores.seen(UserId::SYSTEM, &effects).await, ALL_SEEN);
    let effects = witnesses(UserId::SYSTEM);
    assert!(set(subject, Compatibility::None, &effects).await);
    assert_eq!(subject.stores.seen(UserId::SYSTEM, &effects).await, ALL_SEEN);
}

/// It gives false, and nothing changes.
pub async fn the_rule_of_an_unknown_type_is_not_changed(subject: &SchemaStores) {
    let effects = witnesses(UserId::SYSTEM);
    assert!(!set(subject, Compatibility::None, &effects).await);
    assert_eq!(subject.stores.seen(UserId::SYSTEM, &effects).await, NONE_SEEN);
    assert_eq!(subject.schemas.revision().await.expect("a revision"), 0);
}
