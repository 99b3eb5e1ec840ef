//! Wake-ups between nodes against their contract, on PostgreSQL.

mod support;

use std::sync::Arc;
use std::time::Duration;

use adapter_local::LocalWakeupBus;
use adapter_sql::{Database, PostgresWakeupBus};
use ports::{Wakeup, WakeupBus};
use sea_orm::sqlx::postgres::PgListener;
use support::{Fixture, postgres, sqlite};
use tokio::task::JoinSet;

const LONG: Duration = Duration::from_secs(600);
const PATIENCE: Duration = Duration::from_secs(20);

/// Carries wakes until it is dropped.
type Carrier = JoinSet<()>;

fn node(db: &Database, name: &str) -> (PostgresWakeupBus, Carrier) {
    let here = Arc::new(LocalWakeupBus::new());
    let (bus, carried) = PostgresWakeupBus::new(db, here, name.to_owned()).expect("PostgreSQL");
    let mut carrier = Carrier::new();
    carrier.spawn(carried);
    (bus, carrier)
}

async fn alone() -> Option<(PostgresWakeupBus, Fixture)> {
    let fixture = postgres().await?;
    // Nobody carries its wakes: what they do here must not wait for the others.
    let here = Arc::new(LocalWakeupBus::new());
    let (bus, _) = PostgresWakeupBus::new(&fixture.db, here, "a".to_owned())?;
    Some((bus, fixture))
}

ports::wakeup_bus_conformance!(alone());

#[tokio::test]
async fn there_is_none_on_sqlite() {
    let fixture = sqlite().await.expect("a file");
    let here = Arc::new(LocalWakeupBus::new());
    assert!(PostgresWakeupBus::new(&fixture.db, here, "a".to_owned()).is_none());
}

#[tokio::test]
async fn a_wake_reaches_the_other_nodes_and_comes_back_to_nobody() {
    let Some(fixture) = postgres().await else { return };
    let ((one, _one), (two, _two)) = (node(&fixture.db, "one"), node(&fixture.db, "two"));
    // Until the other one listens: wakes before that are lost, as they may be.
    let heard = async {
        loop {
            one.wake(Wakeup::Mail);
            let waited = tokio::time::timeout(Duration::from_millis(50), two.wait("b", Wakeup::Mail, LONG));
            if waited.await.is_ok() {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.expect("it is heard");
    // What is still under way has come when a wake of another kind has.
    one.wake(Wakeup::Sequenced);
    let sequenced = tokio::time::timeout(PATIENCE, two.wait("b", Wakeup::Sequenced, LONG));
    sequenced.await.expect("it is heard");
    one.wait("a", Wakeup::Mail, Duration::ZERO).await;
    two.wake(Wakeup::Sequenced);
    one.wait("a", Wakeup::Sequenced, LONG).await;
    let silent = tokio::time::timeout(Duration::from_millis(100), one.wait("a", Wakeup::Mail, LONG));
    assert!(silent.await.is_err(), "a node is not woken by itself");
}

#[tokio::test]
async fn many_wakes_are_told_as_one() {
    let Some(fixture) = postgres().await else { return };
    let pool = fixture.db.read().get_postgres_connection_pool();
    let mut listener = PgListener::connect_with(pool).await.expect("a connection");
    listener.listen("plinth_wakeups").await.expect("it listens");
    let (one, _one) = node(&fixture.db, "one");
    // Nothing else runs between them on this one thread.
    for _ in 0..1_000 {
        one.wake(Wakeup::Written);
    }
    let mut said = Vec::new();
    while said.len() < 2 {
        let next = tokio::time::timeout(PATIENCE, listener.recv())
            .await
            .expect("it is told");
        said.push(next.expect("a connection").payload().to_owned());
        one.wake(Wakeup::Mail);
    }
    assert_eq!(said, ["one written", "one mail"]);
}
