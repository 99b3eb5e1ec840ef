//! The event store on both engines.

mod support;

use std::sync::Arc;

use adapter_sql::{SqlEventStore, SqlLogSequencer};
use ports::conformance::event_store::Subject;
use support::Fixture;

fn subject(fixture: Option<Fixture>) -> Option<(Subject, Fixture)> {
    let fixture = fixture?;
    let store = Arc::new(SqlEventStore::new(&fixture.db));
    Some((
        Subject {
            store,
            sequencer: Arc::new(SqlLogSequencer::new(&fixture.db)),
        },
        fixture,
    ))
}

mod sqlite {
    ports::event_store_conformance!(async { super::subject(super::support::sqlite().await) });
}

mod postgres {
    ports::event_store_conformance!(async { super::subject(super::support::postgres().await) });
}
