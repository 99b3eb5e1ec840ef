//! Signing in while the password changes, over a store that holds one user.

use std::sync::Mutex;

use domain::password::PasswordRecord;
use domain::tier::TierName;
use domain::user::Role;
use ports::{
    MockPasswordHasher, MockRateLimiter, MockRefreshTokenCodec, MockRegistrationRepository, MockRevocationFeed,
    MockSealer, MockSessionRepository, MockSignInLedger, MockTokenIssuer, MockTokenVerifier, MockUserRepository,
};
use uuid::Uuid;

use super::super::throttle::ThrottleParts;
use super::*;
use crate::worker::testing::kit;

const TYPED: &str = "verdant+harbour+7+pianos+whisper";

/// A record of a password: the hash is the password with a salt before it.
fn record(salt: &str, password: &str) -> PasswordRecord {
    PasswordRecord {
        scheme: "test".to_owned(),
        cost: 4,
        pepper_id: "p".to_owned(),
        hash: format!("{salt} {password}"),
    }
}

fn user(password: PasswordRecord) -> User {
    User {
        id: UserId::new(Uuid::from_u128(5)),
        email: "anna@example.org".parse().unwrap(),
        name: "Anna".parse().unwrap(),
        password,
        tier: TierName::free(),
        role: Role::User,
        epoch: 0,
        disabled_at: None,
        created_at: Timestamp::from_seconds(0),
        updated_at: Timestamp::from_seconds(0),
        version: 0,
    }
}

/// The stored password as it is before each proof, and what the sessions were begun with.
type World = (Sessions, Arc<Mutex<Vec<PasswordRecord>>>, Arc<Mutex<Vec<bool>>>);

/// `after` are the records that come into force, one after each proof; the last one stays.
fn world(before: PasswordRecord, after: Vec<PasswordRecord>) -> World {
    let toolkit = kit().toolkit;
    let stored = Arc::new(Mutex::new(before));
    let (begun, proofs): (Arc<Mutex<Vec<_>>>, Arc<Mutex<Vec<bool>>>) = (Arc::default(), Arc::default());
    let mut users = MockUserRepository::new();
    let now = Arc::clone(&stored);
    users
        .expect_find_by_email()
        .returning(move |_| Ok(Some(user(now.lock().unwrap().clone()))));
    let mut hasher = MockPasswordHasher::new();
    let (now, noted, after) = (Arc::clone(&stored), Arc::clone(&proofs), Mutex::new(after));
    hasher.expect_verify().returning(move |_, _, record| {
        let right = record.is_some_and(|record| record.hash.ends_with(TYPED));
        noted.lock().unwrap().push(right);
        let mut after = after.lock().unwrap();
        if !after.is_empty() {
            *now.lock().unwrap() = after.remove(0);
        }
        Ok(right)
    });
    hasher.expect_is_outdated().returning(|_| false);
    let mut sessions = MockSessionRepository::new();
    let noted = Arc::clone(&begun);
    sessions.expect_insert().returning(move |_, proven, _| {
        if *proven != *stored.lock().unwrap() {
            return Err(InsertSessionError::PasswordChanged);
        }
        noted.lock().unwrap().push(proven.clone());
        Ok(())
    });
    let mut registrations = MockRegistrationRepository::new();
    registrations.expect_newest().returning(|_, _| Ok(None));
    let (mut issuer, mut codec) = (MockTokenIssuer::new(), MockRefreshTokenCodec::new());
    issuer.expect_issue().returning(|_| Ok("access".to_owned()));
    codec.expect_encode().returning(|_, _| "refresh".to_owned());
    let mut sealer = MockSealer::new();
    sealer.expect_blind().returning(|_, _| [0; 32]);
    let throttle = Throttle::new(ThrottleParts {
        limiter: Arc::new(MockRateLimiter::new()),
        ledger: Arc::new(MockSignInLedger::new()),
        sealer: Arc::new(sealer),
        clock: Arc::clone(&toolkit.clock),
        tiers: Arc::new(domain::tier::Tiers::new([free()]).unwrap()),
        enabled: false,
    });
    let (verifier, feed) = (Arc::new(MockTokenVerifier::new()), Arc::new(MockRevocationFeed::new()));
    let gate = Gate::new(verifier, feed, Arc::clone(&toolkit.clock), Duration::from_secs(60));
    let sessions = Sessions::new(SessionParts {
        toolkit,
        users: Arc::new(users),
        registrations: Arc::new(registrations),
        sessions: Arc::new(sessions),
        hasher: Arc::new(hasher),
        issuer: Arc::new(issuer),
        refresh_tokens: Arc::new(codec),
        gate: Arc::new(gate),
        throttle: Arc::new(throttle),
        policy: TokenPolicy {
            access_ttl: Duration::from_secs(900),
            issuer: "i".to_owned(),
            audience: "a".to_owned(),
            session: SessionPolicy::default(),
        },
    });
    (sessions, begun, proofs)
}

fn free() -> domain::tier::Tier {
    let limits = domain::tier::TierLimits {
        max_file_bytes: 1,
        storage_bytes: 1,
        requests_per_minute: 1,
        events_per_minute: 1,
    };
    domain::tier::Tier {
        name: TierName::free(),
        features: std::collections::BTreeSet::new(),
        limits,
    }
}

async fn login(sessions: &Sessions) -> Result<TokenPair, LoginError> {
    let login = Login {
        email: "anna@example.org".parse().unwrap(),
        password: Password::parse(TYPED).unwrap(),
        client: "127.0.0.1",
        user_agent: None,
        origin: Origin::SYSTEM,
    };
    sessions.login(login).await
}

#[tokio::test]
async fn a_password_that_was_reset_while_it_was_proven_begins_no_session() {
    let (sessions, begun, proofs) = world(record("1", TYPED), vec![record("2", "another")]);
    assert!(matches!(login(&sessions).await, Err(LoginError::InvalidCredentials)));
    assert!(begun.lock().unwrap().is_empty());
    assert_eq!(
        *proofs.lock().unwrap(),
        [true, false],
        "it is judged by what stands now"
    );
}

#[tokio::test]
async fn a_hash_that_was_brought_up_to_date_meanwhile_turns_nobody_away() {
    let (sessions, begun, proofs) = world(record("1", TYPED), vec![record("2", TYPED)]);
    login(&sessions).await.unwrap();
    assert_eq!(*begun.lock().unwrap(), [record("2", TYPED)]);
    assert_eq!(*proofs.lock().unwrap(), [true, true]);
}

#[tokio::test]
async fn a_password_that_keeps_changing_is_not_proven_for_ever() {
    let after = (2..9).map(|salt| record(&salt.to_string(), TYPED)).collect();
    let (sessions, begun, proofs) = world(record("1", TYPED), after);
    assert!(matches!(login(&sessions).await, Err(LoginError::InvalidCredentials)));
    assert!(begun.lock().unwrap().is_empty());
    assert_eq!(proofs.lock().unwrap().len(), 2);
}
