//! File rows, and the usage projection, on both engines.

mod support;

use std::sync::Arc;

use adapter_sql::{SqlEventStore, SqlFileRepository, SqlLogSequencer, SqlUsageRepository};
use ports::conformance::{file_repository, usage};
use support::Fixture;

fn files(fixture: Option<Fixture>) -> Option<(file_repository::Subject, Fixture)> {
    let fixture = fixture?;
    let subject = file_repository::Subject {
        files: Arc::new(SqlFileRepository::new(&fixture.db)),
        store: Arc::new(SqlEventStore::new(&fixture.db)),
        sequencer: Arc::new(SqlLogSequencer::new(&fixture.db)),
    };
    Some((subject, fixture))
}

fn counted(fixture: Option<Fixture>) -> Option<(usage::Subject, Fixture)> {
    let fixture = fixture?;
    Some((
        usage::Subject {
            usage: Arc::new(SqlUsageRepository::new(&fixture.db)),
        },
        fixture,
    ))
}

mod files_sqlite {
    ports::file_repository_conformance!(async { super::files(super::support::sqlite().await) });
}

mod files_postgres {
    ports::file_repository_conformance!(async { super::files(super::support::postgres().await) });
}

mod usage_sqlite {
    ports::usage_repository_conformance!(async { super::counted(super::support::sqlite().await) });
}

mod usage_postgres {
    ports::usage_repository_conformance!(async { super::counted(super::support::postgres().await) });
}
