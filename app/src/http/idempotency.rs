//! `Idempotency-Key`: the same request sent twice is carried out once and answered alike.

use std::sync::Arc;
use std::time::Duration;

use domain::time::Timestamp;
use ports::{Begun, Clock, IdempotencyScope, IdempotencyStore, StoredAnswer};

use super::auth::Caller;
use super::problem::Fault;

/// How long an answer is kept.
pub const KEEP: Duration = Duration::from_secs(24 * 3_600);
/// After how long a request that never answered is taken to have died with its node.
const LOCK: Duration = Duration::from_secs(60);

/// Begins and remembers requests that carry a key.
pub struct Idempotency {
    store: Arc<dyn IdempotencyStore>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Idempotency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Idempotency").finish_non_exhaustive()
    }
}

/// What a request with or without a key may do.
#[derive(Debug)]
#[must_use]
pub struct Ticket(State);

enum State {
    /// No key was sent.
    None,
    /// To be carried out; the scope stands until the answer is stored or the ticket released.
    New(IdempotencyScope, Arc<dyn IdempotencyStore>),
    /// Carried out before.
    Replay(StoredAnswer),
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::New(..) => "New",
            Self::Replay(_) => "Replay",
        })
    }
}

impl Idempotency {
    /// Over a store.
    pub fn new(store: Arc<dyn IdempotencyStore>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// Looks a request up by its key, scoped to caller and route, and begins it when it is new.
    ///
    /// # Errors
    /// 422 when the key has another content or a form that is not allowed, 409 while the first request is still running, and the store's own failures.
    pub async fn begin(&self, key: Option<&str>, caller: &Caller, route: &'static str, fingerprint: [u8; 32]) -> Result<Ticket, Fault> {
        let Some(key) = key else { return Ok(Ticket(State::None)) };
        if !(1..=255).contains(&key.len()) || !key.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            let detail = "must have 1 to 255 printable ASCII characters";
            return Err(Fault::validation_failed().at("#/headers/Idempotency-Key", "length", detail));
        }
        let scope = IdempotencyScope { user_id: caller.user_id(), route: route.to_owned(), key: key.to_owned() };
        let now: Timestamp = self.clock.now();
        match self.store.begin(&scope, &fingerprint, now, LOCK, KEEP).await? {
            Begun::New => Ok(Ticket(State::New(scope, Arc::clone(&self.store)))),
            Begun::Answered(answer) => Ok(Ticket(State::Replay(answer))),
            Begun::InFlight => Err(Fault::idempotency_in_flight().retry_after(1)),
            Begun::Reused => Err(Fault::idempotency_key_reused()),
        }
    }
}

impl Ticket {
    /// The answer to store with the change that the request makes; none without a key.
    pub fn answer(&self, status: u16, resources: Vec<String>) -> Option<StoredAnswer> {
        match &self.0 {
            State::New(scope, _) => Some(StoredAnswer { scope: scope.clone(), status, resources }),
            State::None | State::Replay(_) => None,
        }
    }

    /// The answer that the first request got.
    pub fn replay(&self) -> Option<&StoredAnswer> {
        match &self.0 {
            State::Replay(answer) => Some(answer),
            State::None | State::New(..) => None,
        }
    }

    /// Forgets a request that failed, so that it can be sent again with the same key. One whose node dies before this is forgotten after a minute.
    pub async fn release(self) {
        if let State::New(scope, store) = self.0
            && let Err(error) = store.release(&scope).await
        {
            tracing::warn!(%error, "an idempotency key could not be released; it frees itself within a minute");
        }
    }
}
