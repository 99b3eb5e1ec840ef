//! Webhooks and their deliveries on both engines.

mod support;

use std::sync::Arc;

use adapter_sql::{SqlEventStore, SqlLogSequencer, SqlWebhookQueue, SqlWebhookRepository};
use ports::conformance::{webhook_queue, webhook_repository};
use support::Fixture;

fn addresses(fixture: Option<Fixture>) -> Option<(webhook_repository::Subject, Fixture)> {
    let fixture = fixture?;
    let subject = webhook_repository::Subject {
        webhooks: Arc::new(SqlWebhookRepository::new(&fixture.db)),
        queue: Arc::new(SqlWebhookQueue::new(&fixture.db)),
        store: Arc::new(SqlEventStore::new(&fixture.db)),
        sequencer: Arc::new(SqlLogSequencer::new(&fixture.db)),
    };
    Some((subject, fixture))
}

fn deliveries(fixture: Option<Fixture>) -> Option<(webhook_queue::Subject, Fixture)> {
    let fixture = fixture?;
    let subject = webhook_queue::Subject {
        queue: Arc::new(SqlWebhookQueue::new(&fixture.db)),
        webhooks: Arc::new(SqlWebhookRepository::new(&fixture.db)),
        store: Arc::new(SqlEventStore::new(&fixture.db)),
        sequencer: Arc::new(SqlLogSequencer::new(&fixture.db)),
    };
    Some((subject, fixture))
}

mod sqlite_addresses {
    ports::webhook_repository_conformance!(async { super::addresses(super::support::sqlite().await) });
}

mod sqlite_deliveries {
    ports::webhook_queue_conformance!(async { super::deliveries(super::support::sqlite().await) });
}

mod postgres_addresses {
    ports::webhook_repository_conformance!(async { super::addresses(super::support::postgres().await) });
}

mod postgres_deliveries {
    ports::webhook_queue_conformance!(async { super::deliveries(super::support::postgres().await) });
}
