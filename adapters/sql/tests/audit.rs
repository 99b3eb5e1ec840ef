//! The audit trail and the keeper of the log on both engines, and tampering with their tables by hand.

mod support;
mod tampering;

use std::sync::Arc;

use adapter_sql::{
    SqlAuditTrail, SqlCursorStore, SqlEventLog, SqlEventStore, SqlHeldEvents, SqlLogKeeper, SqlLogSequencer,
};
use ports::conformance::{audit_trail, log_keeper};
use support::Fixture;

fn trail(fixture: Option<Fixture>) -> Option<(audit_trail::Subject, Fixture)> {
    let fixture = fixture?;
    let subject = audit_trail::Subject {
        trail: Arc::new(SqlAuditTrail::new(&fixture.db)),
        store: Arc::new(SqlEventStore::new(&fixture.db)),
        sequencer: Arc::new(SqlLogSequencer::new(&fixture.db)),
        log: Arc::new(SqlEventLog::new(&fixture.db)),
    };
    Some((subject, fixture))
}

fn keeper(fixture: Option<Fixture>) -> Option<(log_keeper::Subject, Fixture)> {
    let fixture = fixture?;
    let subject = log_keeper::Subject {
        keeper: Arc::new(SqlLogKeeper::new(&fixture.db)),
        trail: Arc::new(SqlAuditTrail::new(&fixture.db)),
        store: Arc::new(SqlEventStore::new(&fixture.db)),
        sequencer: Arc::new(SqlLogSequencer::new(&fixture.db)),
        log: Arc::new(SqlEventLog::new(&fixture.db)),
        cursors: Arc::new(SqlCursorStore::new(&fixture.db)),
        held: Arc::new(SqlHeldEvents::new(&fixture.db)),
    };
    Some((subject, fixture))
}

mod trail_sqlite {
    ports::audit_trail_conformance!(async { super::trail(super::support::sqlite().await) });
}

mod trail_postgres {
    ports::audit_trail_conformance!(async { super::trail(super::support::postgres().await) });
}

mod keeper_sqlite {
    ports::log_keeper_conformance!(async { super::keeper(super::support::sqlite().await) });
}

mod keeper_postgres {
    ports::log_keeper_conformance!(async { super::keeper(super::support::postgres().await) });
}
