//! Users, sessions, the event log, the mail ledger and file rows on SeaORM: SQLite and PostgreSQL.
//!
//! One SQL text serves both engines wherever they agree (both take `$1`); where they differ the difference stands beside
//! the statement. A mutating method is one transaction: the row, then its effects, in [`effects`].

mod audit;
mod audit_search;
mod by_id;
mod connect;
mod cursors;
mod dead_letters;
mod deliveries;
mod effects;
mod error;
mod event_insert;
mod event_store;
mod files;
mod gather;
mod group;
mod held_events;
mod idempotency;
mod installation;
mod keys;
mod leases;
mod log;
mod log_keeper;
mod mails;
mod one_time_tokens;
mod probe;
mod registrations;
mod revocations;
mod row;
mod schemas;
mod sequencer;
mod sessions;
mod signin;
mod usage;
mod users;
mod wakeups;
mod webhooks;

pub use audit::SqlAuditTrail;
pub use connect::{ConnectError, Database, DatabaseOptions, Dialect, Obstacle, Synchronous};
pub use cursors::SqlCursorStore;
pub use dead_letters::SqlDeadLetterStore;
pub use deliveries::SqlWebhookQueue;
pub use event_store::SqlEventStore;
pub use files::SqlFileRepository;
pub use held_events::SqlHeldEvents;
pub use idempotency::SqlIdempotencyStore;
pub use installation::SqlInstallationRepository;
pub use keys::SqlSigningKeyRepository;
pub use log::SqlEventLog;
pub use log_keeper::SqlLogKeeper;
pub use mails::SqlMailQueue;
pub use one_time_tokens::SqlOneTimeTokenRepository;
pub use probe::SqlProbe;
pub use registrations::SqlRegistrationRepository;
pub use revocations::SqlRevocationFeed;
pub use schemas::SqlSchemaRepository;
pub use sequencer::SqlLogSequencer;
pub use sessions::SqlSessionRepository;
pub use signin::SqlSignInLedger;
pub use usage::SqlUsageRepository;
pub use users::SqlUserRepository;
pub use wakeups::PostgresWakeupBus;
pub use webhooks::SqlWebhookRepository;
