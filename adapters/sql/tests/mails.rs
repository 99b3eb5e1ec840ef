//! The mail ledger on both engines.

mod support;

use std::sync::Arc;

use adapter_sql::{SqlEventStore, SqlLogSequencer, SqlMailQueue};
use ports::conformance::mail_queue::Subject;
use support::Fixture;

fn subject(fixture: Option<Fixture>) -> Option<(Subject, Fixture)> {
    let fixture = fixture?;
    let subject = Subject {
        queue: Arc::new(SqlMailQueue::new(&fixture.db)),
        store: Arc::new(SqlEventStore::new(&fixture.db)),
        sequencer: Arc::new(SqlLogSequencer::new(&fixture.db)),
    };
    Some((subject, fixture))
}

mod sqlite {
    ports::mail_queue_conformance!(async { super::subject(super::support::sqlite().await) });
}

mod postgres {
    ports::mail_queue_conformance!(async { super::subject(super::support::postgres().await) });
}
