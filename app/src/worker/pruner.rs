//! The pruner: removes what is over from the tables that would otherwise only grow.

use std::sync::Arc;
use std::time::Duration;

use domain::session::SessionPolicy;
use ports::{
    BackendError, Clock, CursorStore, IdempotencyStore, OneTimeTokenRepository, RegistrationRepository, RevocationFeed,
    SessionHorizon, SessionRepository, SignInLedger, WebhookQueue,
};

use crate::lifecycle::Shutdown;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(60);
/// Rows that one statement removes: few enough to hold no lock for long.
const ROWS: u32 = 1_000;
const DAY: Duration = Duration::from_secs(86_400);
/// How long the mark of a handled event stays after it was made. The cursor has passed it long before; a worker that lost its lease without knowing, because it was frozen, say, still finds it.
const MARKS: Duration = Duration::from_secs(3_600);
/// How long the mark of an event stays that a topic brought: as long as Kafka keeps records by itself (`log.retention.hours`, 168), so that a group whose offsets are lost or set back handles nothing twice.
const FOREIGN_MARKS: Duration = Duration::from_secs(7 * 86_400);
/// How long sign-ins are remembered: those of 30 days count.
const SIGN_INS: Duration = Duration::from_secs(31 * 86_400);

/// What it prunes.
pub struct PrunerParts {
    /// One-time tokens.
    pub tokens: Arc<dyn OneTimeTokenRepository>,
    /// Sign-ups.
    pub registrations: Arc<dyn RegistrationRepository>,
    /// Sessions.
    pub sessions: Arc<dyn SessionRepository>,
    /// Revocations.
    pub revocations: Arc<dyn RevocationFeed>,
    /// Kept answers.
    pub answers: Arc<dyn IdempotencyStore>,
    /// Sign-ins.
    pub sign_ins: Arc<dyn SignInLedger>,
    /// Cursors, with the marks of handlers.
    pub cursors: Arc<dyn CursorStore>,
    /// Deliveries to webhooks.
    pub deliveries: Arc<dyn WebhookQueue>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// How long sessions live.
    pub policy: SessionPolicy,
    /// How long deliveries are kept.
    pub keep_deliveries: Duration,
}

impl std::fmt::Debug for PrunerParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrunerParts").finish_non_exhaustive()
    }
}

/// Removes what is over.
#[derive(Debug)]
pub struct Pruner {
    p: PrunerParts,
}

impl Pruner {
    /// A pruner of these.
    pub fn new(parts: PrunerParts) -> Self {
        Self { p: parts }
    }

    /// Removes a bounded number of rows of each kind; true when there may be more. A kind that cannot be pruned now keeps no other from it.
    pub async fn step(&self) -> bool {
        let p = &self.p;
        let now = p.clock.now();
        // A verification token must answer 204 again within its life, and a day more tells a late click from a forged one; an ended session is told as ended for as long.
        let yesterday = now.minus(DAY);
        let horizon = SessionHorizon::at(yesterday, &p.policy);
        let done: [Result<u64, BackendError>; 9] = [
            p.tokens.prune(yesterday, ROWS).await,
            p.registrations.prune(yesterday, ROWS).await,
            p.sessions.prune(&horizon, yesterday, ROWS).await,
            p.revocations.prune(now, ROWS).await,
            p.answers.prune(now.minus(crate::http::idempotency::KEEP), ROWS).await,
            p.sign_ins.prune(now.minus(SIGN_INS), ROWS).await,
            p.cursors.prune_inbox(now.minus(MARKS), ROWS).await,
            p.cursors.prune_foreign_inbox(now.minus(FOREIGN_MARKS), ROWS).await,
            p.deliveries.prune(now.minus(p.keep_deliveries), ROWS).await,
        ];
        let mut more = false;
        for removed in done {
            match removed {
                Ok(removed) => more |= removed >= u64::from(ROWS),
                Err(error) => tracing::warn!(%error, source = %error.source, "what is over cannot be removed"),
            }
        }
        more
    }

    /// Prunes until the process drains.
    pub async fn run(self, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = shutdown.draining() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
            self.round(&shutdown).await;
        }
    }

    /// Steps until nothing is left, or the process drains.
    async fn round(&self, shutdown: &Shutdown) {
        while self.step().await && !shutdown.is_draining() {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use domain::time::Timestamp;
    use ports::{
        MockCursorStore, MockIdempotencyStore, MockOneTimeTokenRepository, MockRegistrationRepository,
        MockRevocationFeed, MockSessionRepository, MockSignInLedger, MockWebhookQueue,
    };

    use super::super::testing::{Kit, away, kit};
    use super::*;

    type Asked = Arc<Mutex<Vec<(&'static str, Timestamp)>>>;

    /// Stores that note what they are asked, of which the sessions answer as scripted and the tokens are away.
    fn parts(kit: &Kit, sessions: Vec<u64>) -> (PrunerParts, Asked) {
        let asked: Asked = Arc::default();
        let note = |name: &'static str, removed: u64| {
            let asked = Arc::clone(&asked);
            move |before: Timestamp, limit: u32| {
                assert_eq!(limit, ROWS);
                asked.lock().unwrap().push((name, before));
                Ok(removed)
            }
        };
        let mut tokens = MockOneTimeTokenRepository::new();
        tokens.expect_prune().returning(|_, _| Err(away()));
        let mut registrations = MockRegistrationRepository::new();
        registrations.expect_prune().returning(note("registrations", 999));
        let mut ended = MockSessionRepository::new();
        let (script, notes) = (Mutex::new(sessions), Arc::clone(&asked));
        ended.expect_prune().returning(move |horizon, before, _| {
            let mut notes = notes.lock().unwrap();
            notes.extend([("used", horizon.used), ("created", horizon.created), ("ended", before)]);
            Ok(script.lock().unwrap().pop().unwrap())
        });
        let mut revocations = MockRevocationFeed::new();
        revocations.expect_prune().returning(note("revocations", 0));
        let mut answers = MockIdempotencyStore::new();
        answers.expect_prune().returning(note("answers", 0));
        let mut sign_ins = MockSignInLedger::new();
        sign_ins.expect_prune().returning(note("sign-ins", 0));
        let mut cursors = MockCursorStore::new();
        cursors.expect_prune_inbox().returning(note("marks", 0));
        cursors.expect_prune_foreign_inbox().returning(note("foreign marks", 0));
        let mut deliveries = MockWebhookQueue::new();
        deliveries.expect_prune().returning(note("deliveries", 0));
        let parts = PrunerParts {
            tokens: Arc::new(tokens),
            registrations: Arc::new(registrations),
            sessions: Arc::new(ended),
            revocations: Arc::new(revocations),
            answers: Arc::new(answers),
            sign_ins: Arc::new(sign_ins),
            cursors: Arc::new(cursors),
            deliveries: Arc::new(deliveries),
            clock: Arc::clone(&kit.toolkit.clock),
            policy: SessionPolicy::default(),
            keep_deliveries: DAY * 30,
        };
        (parts, asked)
    }

    #[tokio::test]
    async fn each_kind_is_pruned_by_its_own_age_although_another_is_away() {
        let kit = kit();
        let (parts, asked) = parts(&kit, vec![0]);
        assert!(!Pruner::new(parts).step().await);
        let now = kit.toolkit.now();
        let days = |days: u32| now.minus(DAY * days);
        let expected = [
            ("registrations", days(1)),
            ("used", days(8)),
            ("created", days(91)),
            ("ended", days(1)),
            ("revocations", now),
            ("answers", days(1)),
            ("sign-ins", days(31)),
            ("marks", now.minus(Duration::from_secs(3_600))),
            ("foreign marks", now.minus(Duration::from_secs(7 * 86_400))),
            ("deliveries", days(30)),
        ];
        assert_eq!(*asked.lock().unwrap(), expected);
    }

    #[tokio::test]
    async fn a_full_step_is_gone_on_with_at_once_unless_the_process_drains() {
        let kit = kit();
        let rounds = |asked: &Asked| {
            asked
                .lock()
                .unwrap()
                .iter()
                .filter(|(name, _)| *name == "marks")
                .count()
        };
        let (busy, asked) = parts(&kit, vec![999, 1_000, 1_000]);
        let shutdown = Shutdown::new();
        Pruner::new(busy).round(&shutdown).await;
        assert_eq!(rounds(&asked), 3);
        let (busy, asked) = parts(&kit, vec![999, 1_000, 1_000]);
        shutdown.drain();
        Pruner::new(busy).round(&shutdown).await;
        assert_eq!(rounds(&asked), 1);
    }
}
