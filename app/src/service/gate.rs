//! The gate: is this access token good right now? Answered from memory, kept true by the revocation feed.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use domain::id::{SessionId, UserId};
use domain::session::RevokedSubject;
use domain::time::Timestamp;
use domain::token::Claims;
use ports::{BackendError, Clock, FedRevocation, RevocationFeed, TokenVerifier, VerifyTokenError};

/// A row may commit after one with a greater sequence: polls reach back by what was the greatest this long ago.
/// No transaction of ours lasts half as long.
const OVERLAP: Duration = Duration::from_secs(30);

/// Four polls without a reading: the process was paused, or the database is slow.
const LATE: Duration = Duration::from_secs(1);

/// Checks access tokens against keys and revocations that are already in memory.
pub struct Gate {
    verifier: Arc<dyn TokenVerifier>,
    feed: Arc<dyn RevocationFeed>,
    clock: Arc<dyn Clock>,
    max_age: Duration,
    map: RwLock<Map>,
    /// Whether the feed said that it changed and has not been read to its end since: it says so only once.
    unread: AtomicBool,
    /// Whether the last reading failed.
    failing: AtomicBool,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Map {
    /// Disabled users, since when, and until when that is of use.
    users: HashMap<UserId, (Timestamp, Timestamp)>,
    /// Ended sessions, and until when that is of use.
    sessions: HashMap<SessionId, Timestamp>,
    /// The least epoch of a user's tokens, and until when that is of use.
    epochs: HashMap<UserId, (u64, Timestamp)>,
    /// When what is of no more use was last dropped.
    swept_at: Timestamp,
    /// When the feed was last read to its end.
    fresh_at: Option<Timestamp>,
    /// The greatest sequence seen, and when; oldest first.
    seen: VecDeque<(Timestamp, i64)>,
    greatest: i64,
}

/// Why a token does not open the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// Not genuine.
    #[error("the token is not genuine")]
    Invalid,
    /// Over: refresh.
    #[error("the token has expired")]
    Expired,
    /// Older than a change of tier or role: refresh.
    #[error("the token is older than a change of the account")]
    Outdated,
    /// Its session ended.
    #[error("the session has ended")]
    SessionEnded,
    /// Its user is disabled.
    #[error("the account is disabled")]
    AccountDisabled,
    /// Revocations could not be read for too long: nobody can tell.
    #[error("revocations could not be read for too long")]
    Stale,
}

impl Gate {
    /// A gate that is closed until [`refresh`](Self::refresh) has read the feed once.
    pub fn new(
        verifier: Arc<dyn TokenVerifier>,
        feed: Arc<dyn RevocationFeed>,
        clock: Arc<dyn Clock>,
        max_age: Duration,
    ) -> Self {
        Self {
            verifier,
            feed,
            clock,
            max_age,
            map: RwLock::default(),
            unread: AtomicBool::new(true),
            failing: AtomicBool::new(false),
        }
    }

    /// The claims of a token that is good now. Reads memory only.
    ///
    /// # Errors
    /// Why it is not.
    pub fn check(&self, token: &str) -> Result<Claims, GateError> {
        let claims = self
            .verifier
            .verify(token, self.clock.now())
            .map_err(|error| match error {
                VerifyTokenError::Invalid => GateError::Invalid,
                VerifyTokenError::Expired => GateError::Expired,
            })?;
        self.standing(&claims)?;
        Ok(claims)
    }

    /// Whether claims that were verified before still stand: for streams, which live longer than a request.
    ///
    /// # Errors
    /// Why they do not.
    pub fn standing(&self, claims: &Claims) -> Result<(), GateError> {
        let now = self.clock.now();
        if now >= claims.expires_at {
            return Err(GateError::Expired);
        }
        let map = self.read();
        if map.fresh_at.is_none_or(|at| now.since(at) > self.max_age) {
            return Err(GateError::Stale);
        }
        if map
            .users
            .get(&claims.subject)
            .is_some_and(|(at, _)| claims.issued_at <= *at && !began_after(claims.session, *at))
        {
            return Err(GateError::AccountDisabled);
        }
        if map.sessions.contains_key(&claims.session) {
            return Err(GateError::SessionEnded);
        }
        if map
            .epochs
            .get(&claims.subject)
            .is_some_and(|(least, _)| claims.epoch < *least)
        {
            return Err(GateError::Outdated);
        }
        Ok(())
    }

    /// Reads what is new in the feed. A change made by this process calls it before it answers; the poller calls it all the time.
    ///
    /// # Errors
    /// When the feed cannot be read; what was known stays known.
    pub async fn refresh(&self) -> Result<(), BackendError> {
        let now = self.clock.now();
        let low = self.read().low(now);
        // Cleared before the reading: a change that is told during it is read again.
        let unread = self.unread.swap(false, Ordering::SeqCst);
        match self.feed.after(low, now).await {
            Ok(rows) => {
                self.write().take(&rows, now);
                self.failing.store(false, Ordering::SeqCst);
                Ok(())
            }
            Err(error) => {
                self.unread.fetch_or(unread, Ordering::SeqCst);
                self.failing.store(true, Ordering::SeqCst);
                Err(error)
            }
        }
    }

    /// A poll: reads the feed only when it may have changed.
    ///
    /// # Errors
    /// When the feed cannot be read.
    pub async fn poll(&self) -> Result<(), BackendError> {
        if self.feed.changed().await? {
            self.unread.store(true, Ordering::SeqCst);
        }
        if !self.unread.load(Ordering::SeqCst) {
            let now = self.clock.now();
            let mut map = self.write();
            map.fresh_at = Some(now);
            map.forget(now);
            return Ok(());
        }
        self.refresh().await
    }

    /// Reads the feed when it was not read for a second, as after the process or its machine was paused, so that what was revoked meanwhile is not taken. Waits a moment at most, and not at all while the feed cannot be read anyway.
    pub async fn catch_up(&self) {
        let late = self.age().is_some_and(|age| age > LATE);
        if late && !self.failing.load(Ordering::SeqCst) {
            self.unread.store(true, Ordering::SeqCst);
            if !matches!(tokio::time::timeout(LATE, self.refresh()).await, Ok(Ok(()))) {
                self.failing.store(true, Ordering::SeqCst);
            }
        }
    }

    /// How old the knowledge of revocations is; none before the first reading.
    pub fn age(&self) -> Option<Duration> {
        let now = self.clock.now();
        self.read().fresh_at.map(|at| now.since(at))
    }

    /// Whether tokens are refused because the feed could not be read for too long, or soon will be.
    pub fn is_stale(&self) -> bool {
        self.age().is_none_or(|age| age * 2 > self.max_age)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Map> {
        self.map.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Map> {
        self.map.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// `iat` has whole seconds: a user who was disabled, enabled and signed in again within one would be refused until it is over. The session's `UUIDv7` tells the millisecond.
fn began_after(session: SessionId, at: Timestamp) -> bool {
    let began = session.uuid().get_timestamp().map(|began| began.to_unix());
    began.is_some_and(|(seconds, nanos)| {
        let micros = i64::try_from(seconds)
            .unwrap_or(i64::MAX)
            .saturating_mul(1_000_000)
            .saturating_add(i64::from(nanos / 1_000));
        micros / 1_000 > at.micros() / 1_000
    })
}

impl Map {
    /// The sequence that was the greatest an overlap ago.
    fn low(&self, now: Timestamp) -> i64 {
        let old = now.minus(OVERLAP);
        self.seen
            .iter()
            .take_while(|(at, _)| *at <= old)
            .last()
            .map_or(0, |(_, sequence)| *sequence)
    }

    fn take(&mut self, rows: &[FedRevocation], now: Timestamp) {
        for row in rows {
            self.greatest = self.greatest.max(row.sequence);
            self.apply(row);
        }
        self.fresh_at = Some(now);
        // One note a second is enough to know the past by.
        if self
            .seen
            .back()
            .is_none_or(|(at, _)| now.since(*at) >= Duration::from_secs(1))
        {
            self.seen.push_back((now, self.greatest));
        }
        let old = now.minus(OVERLAP);
        while self.seen.get(1).is_some_and(|(at, _)| *at <= old) {
            self.seen.pop_front();
        }
        self.forget(now);
    }

    /// Rows within the overlap come again and again: applying one twice changes nothing.
    fn apply(&mut self, row: &FedRevocation) {
        let (at, until) = (row.revocation.at, row.revocation.expires_at);
        match row.revocation.subject {
            RevokedSubject::User(user) => {
                let known = self.users.entry(user).or_insert((at, until));
                *known = (known.0.max(at), known.1.max(until));
            }
            RevokedSubject::Session(session) => {
                let known = self.sessions.entry(session).or_insert(until);
                *known = until.max(*known);
            }
            RevokedSubject::Epoch(user, epoch) => {
                let known = self.epochs.entry(user).or_insert((epoch, until));
                *known = (known.0.max(epoch), known.1.max(until));
            }
        }
    }

    /// Drops what no living token can be concerned by, once a second.
    fn forget(&mut self, now: Timestamp) {
        if now.since(self.swept_at) < Duration::from_secs(1) {
            return;
        }
        self.swept_at = now;
        self.users.retain(|_, (_, until)| *until > now);
        self.sessions.retain(|_, until| *until > now);
        self.epochs.retain(|_, (_, until)| *until > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::session::Revocation;
    use uuid::Uuid;

    fn row(sequence: i64, subject: RevokedSubject, at: i64, until: i64) -> FedRevocation {
        let (at, expires_at) = (Timestamp::from_seconds(at), Timestamp::from_seconds(until));
        FedRevocation {
            sequence,
            revocation: Revocation {
                subject,
                at,
                expires_at,
            },
        }
    }

    #[test]
    fn a_poll_reaches_back_to_what_was_the_greatest_an_overlap_ago() {
        let mut map = Map::default();
        let session = |n| RevokedSubject::Session(SessionId::new(Uuid::from_u128(n)));
        map.take(&[row(7, session(7), 100, 1_000)], Timestamp::from_seconds(100));
        assert_eq!(
            map.low(Timestamp::from_seconds(101)),
            0,
            "a row before 7 may still commit"
        );
        map.take(&[row(9, session(9), 120, 1_000)], Timestamp::from_seconds(120));
        assert_eq!(map.low(Timestamp::from_seconds(131)), 7);
        map.take(&[row(8, session(8), 119, 1_000)], Timestamp::from_seconds(131));
        assert!(
            map.sessions.contains_key(&SessionId::new(Uuid::from_u128(8))),
            "the late row is known"
        );
        assert_eq!(map.low(Timestamp::from_seconds(162)), 9);
    }

    #[test]
    fn a_revocation_is_kept_as_long_as_its_longest_row() {
        let mut map = Map::default();
        let user = UserId::new(Uuid::from_u128(1));
        let rows = [
            row(1, RevokedSubject::Epoch(user, 2), 0, 50),
            row(2, RevokedSubject::Epoch(user, 1), 0, 80),
        ];
        map.take(&rows, Timestamp::from_seconds(10));
        map.take(&[], Timestamp::from_seconds(60));
        assert_eq!(map.epochs.get(&user).map(|(least, _)| *least), Some(2));
        map.take(&[], Timestamp::from_seconds(80));
        assert!(map.epochs.is_empty());
    }

    /// A gate over a scripted feed and a clock that stands at `now`.
    fn gate(feed: ports::MockRevocationFeed, now: &Arc<std::sync::atomic::AtomicI64>) -> Gate {
        let mut clock = ports::MockClock::new();
        let now = Arc::clone(now);
        clock
            .expect_now()
            .returning(move || Timestamp::from_seconds(now.load(Ordering::SeqCst)));
        Gate::new(
            Arc::new(ports::MockTokenVerifier::new()),
            Arc::new(feed),
            Arc::new(clock),
            Duration::from_secs(60),
        )
    }

    #[tokio::test]
    async fn a_reading_that_failed_is_made_again_although_the_feed_tells_of_no_change() {
        let (mut feed, now) = (ports::MockRevocationFeed::new(), Arc::new(100.into()));
        let mut told = vec![true, false, false].into_iter();
        feed.expect_changed()
            .returning(move || Ok(told.next().unwrap_or(false)));
        feed.expect_after()
            .times(1)
            .returning(|_, _| Err(BackendError::temporary("sql", "after", "away")));
        feed.expect_after().times(1).returning(|_, _| Ok(Vec::new()));
        let gate = gate(feed, &now);
        assert!(gate.poll().await.is_err());
        assert_eq!(gate.age(), None, "nothing was read");
        gate.poll().await.unwrap();
        assert_eq!(gate.age(), Some(Duration::ZERO));
        gate.poll().await.unwrap();
    }

    #[tokio::test]
    async fn after_a_pause_the_feed_is_read_before_a_token_is_judged() {
        let (mut feed, now) = (ports::MockRevocationFeed::new(), Arc::new(100.into()));
        feed.expect_after().times(1).returning(|_, _| Ok(Vec::new()));
        feed.expect_after().times(1).returning(|_, _| {
            let session = RevokedSubject::Session(SessionId::new(Uuid::from_u128(7)));
            Ok(vec![row(1, session, 102, 1_000)])
        });
        let gate = gate(feed, &now);
        gate.refresh().await.unwrap();
        gate.catch_up().await;
        now.store(103, Ordering::SeqCst);
        gate.catch_up().await;
        assert!(gate.read().sessions.contains_key(&SessionId::new(Uuid::from_u128(7))));
    }

    #[test]
    fn a_session_that_began_after_the_disabling_is_told_by_its_id() {
        let millis = 1_700_000_000_123_u64;
        let id = SessionId::new(uuid::Builder::from_unix_timestamp_millis(millis, &[7; 10]).into_uuid());
        let at = |millis: u64| Timestamp::from_micros(i64::try_from(millis).unwrap() * 1_000);
        assert!(began_after(id, at(millis - 1)));
        assert!(!began_after(id, at(millis)), "in doubt it did not");
    }
}
