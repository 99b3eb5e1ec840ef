//! The scenarios that every adapter must pass: one module per port, each with one list inside a macro.

pub mod audit_trail;
pub mod blob_store;
pub mod checkpoint_signer;
pub mod clock;
pub mod cursor_store;
pub mod dead_letters;
pub mod event_log;
pub mod event_publisher;
pub mod event_store;
pub mod event_subscriber;
pub mod file_repository;
pub mod held_events;
pub mod idempotency;
pub mod ids;
pub mod installation;
pub mod keys;
pub mod link_signer;
pub mod log_keeper;
pub mod log_sequencer;
pub mod mail_queue;
pub mod mailer;
pub mod one_time_tokens;
pub mod password_hasher;
pub mod probe;
pub mod randomness;
pub mod rate_limiter;
pub mod refresh_token_codec;
pub mod registrations;
pub mod revocations;
pub mod samples;
pub mod schemas;
pub mod sealer;
pub mod sessions;
pub mod signin;
pub mod stores;
pub mod token_issuer;
pub mod token_keyring;
pub mod token_verifier;
pub mod topic_subscriber;
pub mod usage;
pub mod users;
pub mod wakeup_bus;
pub mod webhook_queue;
pub mod webhook_repository;
pub mod webhook_sender;

/// Turns a list of scenarios into one named test each. `$fixture` is a future of `Option<(subject, guard)>`: none when the
/// backend is not there (the fixture has said so), and the guard keeps the fresh backend alive until the scenario is over.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_scenarios {
    ($fixture:expr, $suite:ident, [$($scenario:ident),+ $(,)?]) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $scenario() {
            let Some((subject, _guard)) = $fixture.await else { return };
            $crate::conformance::$suite::$scenario(&subject).await;
        }
    )+};
}
