//! The sequencer, the log and its cursors on both engines.

mod support;

use std::sync::Arc;

use adapter_sql::{SqlCursorStore, SqlDeadLetterStore, SqlEventLog, SqlEventStore, SqlHeldEvents, SqlLogSequencer};
use ports::conformance::{cursor_store, event_log, held_events, log_sequencer};
use support::Fixture;

fn sequencer(fixture: Option<Fixture>) -> Option<(log_sequencer::Subject, Fixture)> {
    let fixture = fixture?;
    let subject = log_sequencer::Subject {
        sequencer: Arc::new(SqlLogSequencer::new(&fixture.db)),
        store: Arc::new(SqlEventStore::new(&fixture.db)),
        log: Arc::new(SqlEventLog::new(&fixture.db)),
    };
    Some((subject, fixture))
}

fn log(fixture: Option<Fixture>) -> Option<(event_log::Subject, Fixture)> {
    let fixture = fixture?;
    let subject = event_log::Subject {
        log: Arc::new(SqlEventLog::new(&fixture.db)),
        store: Arc::new(SqlEventStore::new(&fixture.db)),
        sequencer: Arc::new(SqlLogSequencer::new(&fixture.db)),
        cursors: Arc::new(SqlCursorStore::new(&fixture.db)),
    };
    Some((subject, fixture))
}

fn cursors(fixture: Option<Fixture>) -> Option<(cursor_store::Subject, Fixture)> {
    let fixture = fixture?;
    Some((
        cursor_store::Subject {
            cursors: Arc::new(SqlCursorStore::new(&fixture.db)),
            store: Arc::new(SqlEventStore::new(&fixture.db)),
            sequencer: Arc::new(SqlLogSequencer::new(&fixture.db)),
            held: Arc::new(SqlHeldEvents::new(&fixture.db)),
        },
        fixture,
    ))
}

fn held(fixture: Option<Fixture>) -> Option<(held_events::Subject, Fixture)> {
    let fixture = fixture?;
    let subject = held_events::Subject {
        held: Arc::new(SqlHeldEvents::new(&fixture.db)),
        letters: Arc::new(SqlDeadLetterStore::new(&fixture.db)),
        cursors: Arc::new(SqlCursorStore::new(&fixture.db)),
        store: Arc::new(SqlEventStore::new(&fixture.db)),
        sequencer: Arc::new(SqlLogSequencer::new(&fixture.db)),
    };
    Some((subject, fixture))
}

mod sequencer_sqlite {
    ports::log_sequencer_conformance!(async { super::sequencer(super::support::sqlite().await) });
}

mod sequencer_postgres {
    ports::log_sequencer_conformance!(async { super::sequencer(super::support::postgres().await) });
}

mod log_sqlite {
    ports::event_log_conformance!(async { super::log(super::support::sqlite().await) });
}

mod log_postgres {
    ports::event_log_conformance!(async { super::log(super::support::postgres().await) });
}

mod cursors_sqlite {
    ports::cursor_store_conformance!(async { super::cursors(super::support::sqlite().await) });
}

mod cursors_postgres {
    ports::cursor_store_conformance!(async { super::cursors(super::support::postgres().await) });
}

mod held_sqlite {
    ports::held_events_conformance!(async { super::held(super::support::sqlite().await) });
}

mod held_postgres {
    ports::held_events_conformance!(async { super::held(super::support::postgres().await) });
}

mod letters_sqlite {
    ports::dead_letter_store_conformance!(async { super::held(super::support::sqlite().await) });
}

mod letters_postgres {
    ports::dead_letter_store_conformance!(async { super::held(super::support::postgres().await) });
}
