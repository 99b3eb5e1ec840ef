//! The stores of accounts, sessions and keys against their contracts, on SQLite and on PostgreSQL.

mod support;

use std::sync::Arc;

use adapter_sql::{
    Database, SqlEventStore, SqlIdempotencyStore, SqlInstallationRepository, SqlLogSequencer, SqlMailQueue,
    SqlOneTimeTokenRepository, SqlProbe, SqlRegistrationRepository, SqlRevocationFeed, SqlSchemaRepository,
    SqlSessionRepository, SqlSignInLedger, SqlSigningKeyRepository, SqlUserRepository,
};
use ports::Probe;
use ports::conformance::schemas::SchemaStores;
use ports::conformance::stores::Stores;
use support::Fixture;

fn stores(db: &Database) -> Stores {
    Stores {
        users: Arc::new(SqlUserRepository::new(db)),
        registrations: Arc::new(SqlRegistrationRepository::new(db)),
        tokens: Arc::new(SqlOneTimeTokenRepository::new(db)),
        sessions: Arc::new(SqlSessionRepository::new(db)),
        revocations: Arc::new(SqlRevocationFeed::new(db)),
        sign_ins: Arc::new(SqlSignInLedger::new(db)),
        keys: Arc::new(SqlSigningKeyRepository::new(db)),
        installation: Arc::new(SqlInstallationRepository::new(db)),
        idempotency: Arc::new(SqlIdempotencyStore::new(db)),
        events: Arc::new(SqlEventStore::new(db)),
        sequencer: Arc::new(SqlLogSequencer::new(db)),
        mails: Arc::new(SqlMailQueue::new(db)),
    }
}

async fn on(fixture: impl Future<Output = Option<Fixture>>) -> Option<(Stores, Fixture)> {
    let fixture = fixture.await?;
    Some((stores(&fixture.db), fixture))
}

async fn schemas(fixture: impl Future<Output = Option<Fixture>>) -> Option<(SchemaStores, Fixture)> {
    let fixture = fixture.await?;
    let subject = SchemaStores {
        schemas: Arc::new(SqlSchemaRepository::new(&fixture.db)),
        stores: stores(&fixture.db),
    };
    Some((subject, fixture))
}

async fn probe(fixture: impl Future<Output = Option<Fixture>>) -> Option<(Arc<dyn Probe>, Fixture)> {
    let fixture = fixture.await?;
    Some((Arc::new(SqlProbe::new(&fixture.db)), fixture))
}

macro_rules! on_both {
    ($backend:ident) => {
        mod $backend {
            mod users {
                ports::user_repository_conformance!(crate::on(crate::support::$backend()));
            }
            mod registrations {
                ports::registration_repository_conformance!(crate::on(crate::support::$backend()));
            }
            mod one_time_tokens {
                ports::one_time_token_repository_conformance!(crate::on(crate::support::$backend()));
            }
            mod sessions {
                ports::session_repository_conformance!(crate::on(crate::support::$backend()));
            }
            mod revocations {
                ports::revocation_feed_conformance!(crate::on(crate::support::$backend()));
            }
            mod sign_ins {
                ports::sign_in_ledger_conformance!(crate::on(crate::support::$backend()));
            }
            mod keys {
                ports::signing_key_repository_conformance!(crate::on(crate::support::$backend()));
            }
            mod installation {
                ports::installation_repository_conformance!(crate::on(crate::support::$backend()));
            }
            mod idempotency {
                ports::idempotency_store_conformance!(crate::on(crate::support::$backend()));
            }
            mod schemas {
                ports::schema_repository_conformance!(crate::schemas(crate::support::$backend()));
            }
            mod probe {
                ports::probe_conformance!(crate::probe(crate::support::$backend()));
            }
        }
    };
}

on_both!(sqlite);
on_both!(postgres);
