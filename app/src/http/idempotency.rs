//! `Idempotency-Key`: the same request sent twice is carried out once and answered alike.

use std::sync::Arc;
use std::time::Duration;

use domain::time::Timestamp;
use ports::{Begun, Clock, IdempotencyScope, IdempotencyStore, StoredAnswer};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

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
    dropped: UnboundedSender<IdempotencyScope>,
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
    New(
        IdempotencyScope,
        Arc<dyn IdempotencyStore>,
        UnboundedSender<IdempotencyScope>,
    ),
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
    /// Over a store. The future releases the keys of requests that were dropped half-way, as happens when a client goes away; it ends with the last ticket.
    pub fn new(
        store: Arc<dyn IdempotencyStore>,
        clock: Arc<dyn Clock>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (dropped, mut scopes) = unbounded_channel();
        let releaser = Arc::clone(&store);
        let driver = async move {
            while let Some(scope) = scopes.recv().await {
                forget(&*releaser, &scope).await;
            }
        };
        (Self { store, clock, dropped }, driver)
    }

    /// Looks a request up by its key, scoped to caller and route, and begins it when it is new.
    ///
    /// # Errors
    /// 422 when the key has another content or a form that is not allowed, 409 while the first request is still running, and the store's own failures.
    pub async fn begin(
        &self,
        key: Option<&str>,
        caller: &Caller,
        route: &'static str,
        fingerprint: [u8; 32],
    ) -> Result<Ticket, Fault> {
        let Some(key) = key else { return Ok(Ticket(State::None)) };
        if !(1..=255).contains(&key.len()) || !key.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            let detail = "must have 1 to 255 printable ASCII characters";
            return Err(Fault::validation_failed().at("#/headers/Idempotency-Key", "length", detail));
        }
        let scope = IdempotencyScope {
            user_id: caller.user_id(),
            route: route.to_owned(),
            key: key.to_owned(),
        };
        let now: Timestamp = self.clock.now();
        match self.store.begin(&scope, &fingerprint, now, LOCK, KEEP).await? {
            Begun::New => Ok(Ticket(State::New(scope, Arc::clone(&self.store), self.dropped.clone()))),
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
            State::New(scope, ..) => Some(StoredAnswer {
                scope: scope.clone(),
                status,
                resources,
            }),
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
    pub async fn release(mut self) {
        if let State::New(scope, store, _) = std::mem::replace(&mut self.0, State::None) {
            forget(&*store, &scope).await;
        }
    }
}

/// A ticket that is dropped was either answered, and then there is nothing to forget, or its request was dropped with it. When the commit of such a request is still under way, either it finds its key and the answer stands, or it does not and nothing of it is kept.
impl Drop for Ticket {
    fn drop(&mut self) {
        if let State::New(scope, _, dropped) = std::mem::replace(&mut self.0, State::None) {
            // Nobody listens any more when the process ends; the key frees itself within a minute.
            let _ = dropped.send(scope);
        }
    }
}

async fn forget(store: &dyn IdempotencyStore, scope: &IdempotencyScope) {
    if let Err(error) = store.release(scope).await {
        tracing::warn!(%error, "an idempotency key could not be released; it frees itself within a minute");
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use domain::id::{SessionId, UserId};
    use domain::tier::TierName;
    use domain::token::Claims;
    use domain::user::Role;
    use ports::{MockClock, MockIdempotencyStore};
    use uuid::Uuid;

    use super::*;
    use crate::http::layer::ClientAddress;

    fn caller() -> Caller {
        let at = Timestamp::from_seconds(1);
        let claims = Claims {
            subject: UserId::new(Uuid::nil()),
            tier: TierName::free(),
            role: Role::User,
            session: SessionId::new(Uuid::nil()),
            epoch: 0,
            scope: Vec::new(),
            methods: Vec::new(),
            authenticated_at: at,
            actor: None,
            audience: String::new(),
            issuer: String::new(),
            issued_at: at,
            not_before: at,
            expires_at: at,
            token_id: Uuid::nil(),
        };
        Caller {
            claims,
            request_id: None,
            client: ClientAddress::new(Ipv4Addr::LOCALHOST.into()),
        }
    }

    #[tokio::test]
    async fn a_request_that_is_dropped_gives_its_key_back() {
        let (mut store, mut clock) = (MockIdempotencyStore::new(), MockClock::new());
        clock.expect_now().return_const(Timestamp::from_seconds(1));
        store.expect_begin().times(2).returning(|_, _, _, _, _| Ok(Begun::New));
        store
            .expect_release()
            .withf(|scope| scope.key == "dropped")
            .times(1)
            .returning(|_| Ok(()));
        store
            .expect_release()
            .withf(|scope| scope.key == "failed")
            .times(1)
            .returning(|_| Ok(()));
        let (keys, driver) = Idempotency::new(Arc::new(store), Arc::new(clock));
        drop(
            keys.begin(Some("dropped"), &caller(), "POST /x", [0; 32])
                .await
                .unwrap(),
        );
        keys.begin(Some("failed"), &caller(), "POST /x", [0; 32])
            .await
            .unwrap()
            .release()
            .await;
        drop(keys);
        driver.await;
    }
}
