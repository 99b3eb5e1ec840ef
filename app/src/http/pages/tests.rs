//! The pages over services whose stores hold one token for each page.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::id::{RegistrationId, UserId};
use domain::limit::RateDecision;
use domain::password::{PasswordPolicy, PasswordRecord};
use domain::session::SessionPolicy;
use domain::tier::{Tier, TierLimits, TierName, Tiers};
use domain::time::Timestamp;
use domain::token::{OneTimeToken, TokenHash, TokenPurpose, TokenSubject};
use domain::user::{Registration, Role, User};
use ports::{
    HashPasswordError, InsertUserError, MockOneTimeTokenRepository, MockPasswordHasher, MockRateLimiter,
    MockRegistrationRepository, MockRevocationFeed, MockSealer, MockSignInLedger, MockTokenVerifier,
    MockUserRepository,
};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::*;
use crate::service::Toolkit;
use crate::service::accounts::AccountParts;
use crate::service::admin::AdminParts;
use crate::service::gate::Gate;
use crate::service::sessions::TokenPolicy;
use crate::service::throttle::{Throttle, ThrottleParts};
use crate::worker::testing::{away, kit};

const FORM: &str = "application/x-www-form-urlencoded";
const GOOD: &str = "verdant+harbour+7+pianos+whisper";

/// What is wrong with the world behind the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    /// The limiter refuses for 7 seconds.
    Flooded,
    /// No password can be hashed for 3 seconds.
    Busy,
    /// The token store is away.
    Away,
    /// There is an administrator already.
    AdminExists,
}

/// The pages, and how often something was changed through them.
struct World {
    route: Route,
    changes: Arc<AtomicUsize>,
}

fn record() -> PasswordRecord {
    PasswordRecord {
        scheme: "test".to_owned(),
        cost: 4,
        pepper_id: "p".to_owned(),
        hash: "h".to_owned(),
    }
}

fn user() -> User {
    User {
        id: UserId::new(Uuid::from_u128(5)),
        email: "anna@example.org".parse().unwrap(),
        name: "Anna".parse().unwrap(),
        password: record(),
        tier: TierName::free(),
        role: Role::User,
        epoch: 0,
        disabled_at: None,
        created_at: Timestamp::from_seconds(0),
        updated_at: Timestamp::from_seconds(0),
        version: 0,
    }
}

fn tokens(trouble: Trouble, now: Timestamp) -> MockOneTimeTokenRepository {
    let held = [
        (
            "verify-1",
            TokenPurpose::VerifyEmail,
            TokenSubject::Registration(RegistrationId::new(Uuid::from_u128(3))),
        ),
        ("reset-1", TokenPurpose::ResetPassword, TokenSubject::User(user().id)),
        ("setup-1", TokenPurpose::Setup, TokenSubject::Installation),
    ];
    let mut tokens = MockOneTimeTokenRepository::new();
    tokens.expect_find().returning(move |hash| {
        if trouble == Trouble::Away {
            return Err(away());
        }
        let found = held.iter().find(|(text, ..)| TokenHash::of(text) == *hash);
        Ok(found.map(|&(_, purpose, subject)| OneTimeToken {
            hash: *hash,
            purpose,
            subject,
            email: Some(user().email),
            created_at: now,
            expires_at: now.plus(Duration::from_secs(60)),
            used_at: None,
            voided_at: None,
        }))
    });
    tokens
}

fn users(trouble: Trouble, changes: &Arc<AtomicUsize>) -> MockUserRepository {
    let mut users = MockUserRepository::new();
    users.expect_find().returning(|_| Ok(Some(user())));
    let count = Arc::clone(changes);
    users.expect_update().returning(move |update, _| {
        assert_eq!(update.redeem, Some(TokenHash::of("reset-1")));
        count.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    let count = Arc::clone(changes);
    users.expect_insert().returning(move |user, first_admin, _| {
        assert_eq!((user.role, first_admin), (Role::Admin, Some(TokenHash::of("setup-1"))));
        if trouble == Trouble::AdminExists {
            return Err(InsertUserError::AdminExists);
        }
        count.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    users
}

fn registrations(changes: &Arc<AtomicUsize>) -> MockRegistrationRepository {
    let mut registrations = MockRegistrationRepository::new();
    registrations.expect_find().returning(|id| {
        Ok(Some(Registration {
            id,
            email: user().email,
            name: user().name,
            password: record(),
            created_at: Timestamp::from_seconds(0),
            expires_at: Timestamp::MAX,
            completed_as: None,
            voided_at: None,
        }))
    });
    let count = Arc::clone(changes);
    registrations.expect_complete().returning(move |_, _| {
        count.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    registrations
}

fn hasher(trouble: Trouble) -> MockPasswordHasher {
    let mut hasher = MockPasswordHasher::new();
    hasher.expect_hash().returning(move |_, _| match trouble {
        Trouble::Busy => Err(HashPasswordError::Overloaded {
            retry_after: Duration::from_secs(3),
        }),
        _ => Ok(record()),
    });
    hasher
}

fn throttle(trouble: Trouble, toolkit: &Toolkit) -> Throttle {
    let mut limiter = MockRateLimiter::new();
    limiter.expect_take().returning(move |_, _, _, _| {
        let allowed = trouble != Trouble::Flooded;
        let wait = Duration::from_secs(if allowed { 0 } else { 7 });
        Ok(RateDecision {
            allowed,
            remaining: 1,
            retry_after: wait,
            reset_after: wait,
        })
    });
    Throttle::new(ThrottleParts {
        limiter: Arc::new(limiter),
        ledger: Arc::new(MockSignInLedger::new()),
        sealer: Arc::new(MockSealer::new()),
        clock: Arc::clone(&toolkit.clock),
        tiers: tiers(),
        enabled: true,
    })
}

fn world(trouble: Trouble) -> World {
    let toolkit = kit().toolkit;
    let changes = Arc::new(AtomicUsize::new(0));
    let mut feed = MockRevocationFeed::new();
    feed.expect_after().returning(|_, _| Ok(Vec::new()));
    let verifier = Arc::new(MockTokenVerifier::new());
    let gate = Arc::new(Gate::new(
        verifier,
        Arc::new(feed),
        Arc::clone(&toolkit.clock),
        Duration::from_secs(60),
    ));
    let token_policy = || TokenPolicy {
        access_ttl: Duration::from_secs(900),
        issuer: "i".to_owned(),
        audience: "a".to_owned(),
        session: SessionPolicy::default(),
    };
    let mut sealer = MockSealer::new();
    sealer.expect_seal().returning(|_, _, secret| Ok(secret.to_vec()));
    let throttle = Arc::new(throttle(trouble, &toolkit));
    let users: Arc<MockUserRepository> = Arc::new(users(trouble, &changes));
    let tokens = Arc::new(tokens(trouble, toolkit.now()));
    let hasher = Arc::new(hasher(trouble));
    let accounts = Accounts::new(AccountParts {
        toolkit: toolkit.clone(),
        users: users.clone(),
        registrations: Arc::new(registrations(&changes)),
        tokens: tokens.clone(),
        hasher: hasher.clone(),
        sealer: Arc::new(sealer),
        gate: gate.clone(),
        throttle: throttle.clone(),
        password_policy: PasswordPolicy::default(),
        token_policy: token_policy(),
        registration_open: true,
        verify_life: Duration::from_secs(86_400),
        reset_life: Duration::from_secs(1_800),
        locale: "en".to_owned(),
    });
    let admin = Administration::new(AdminParts {
        toolkit,
        users,
        tokens,
        hasher,
        gate,
        throttle,
        password_policy: PasswordPolicy::default(),
        token_policy: token_policy(),
        tiers: tiers(),
    });
    World {
        route: routes(Arc::new(accounts), Arc::new(admin)),
        changes,
    }
}

fn tiers() -> Arc<Tiers> {
    let limits = TierLimits {
        max_file_bytes: 1,
        storage_bytes: 1,
        requests_per_minute: 1,
        events_per_minute: 1,
    };
    Arc::new(
        Tiers::new([Tier {
            name: TierName::free(),
            features: BTreeSet::new(),
            limits,
        }])
        .unwrap(),
    )
}

impl World {
    async fn send(&self, method: Method, path: &str, kind: &str, body: &str) -> Answer {
        let uri = path.parse().unwrap();
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .content_type(kind)
            .body(body.to_owned());
        Answer::of(self.route.get_response(request).await).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, FORM, "").await
    }

    async fn post(&self, path: &str, body: &str) -> Answer {
        self.send(Method::POST, path, FORM, body).await
    }

    fn changes(&self) -> usize {
        self.changes.load(Ordering::SeqCst)
    }
}

/// An answer with its body read.
#[derive(Debug)]
struct Answer {
    status: u16,
    html: String,
    retry_after: Option<String>,
}

impl Answer {
    async fn of(mut response: Response) -> Self {
        let header = |name: &str| {
            response
                .headers()
                .get(name)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        let status = response.status().as_u16();
        let retry_after = header("retry-after");
        let policy = header("content-security-policy");
        if header("content-type").is_some_and(|kind| kind.starts_with("text/html")) {
            assert_eq!(header("referrer-policy").as_deref(), Some("no-referrer"));
            assert_eq!(header("cache-control").as_deref(), Some("no-store"));
            let policy = policy.as_deref().unwrap();
            for rule in [
                "default-src 'none'",
                "style-src 'sha256-",
                "form-action 'self'",
                "frame-ancestors 'none'",
            ] {
                assert!(policy.contains(rule), "{policy}");
            }
        }
        let html = response.take_body().into_string().await.unwrap();
        if let Some((_, style)) = html.split_once("<style>") {
            // A browser hashes exactly what stands between the tags.
            let style = style.split_once("</style>").unwrap().0;
            let hash = STANDARD.encode(Sha256::digest(style.as_bytes()));
            assert!(policy.unwrap().contains(&format!("'sha256-{hash}'")));
        }
        Self {
            status,
            html,
            retry_after,
        }
    }

    fn shows(&self, status: u16, text: &str) {
        assert!(
            self.status == status && self.html.contains(text),
            "{text:?} in {self:?}"
        );
    }
}

#[tokio::test]
async fn opening_a_link_shows_a_button_and_changes_nothing() {
    let world = world(Trouble::None);
    for page in ["verify", "reset", "setup"] {
        let answer = world.get(&format!("/{page}?token={page}-1")).await;
        answer.shows(200, &format!("<form method=\"post\" action=\"{page}\">"));
        answer.shows(200, &format!("name=\"token\" value=\"{page}-1\""));
        assert!(
            !answer.html.contains("<script") && !answer.html.contains("role=\"alert\""),
            "{}",
            answer.html
        );
        assert_eq!(
            world
                .send(Method::HEAD, &format!("/{page}?token={page}-1"), FORM, "")
                .await
                .status,
            200
        );
    }
    assert_eq!(world.changes(), 0);
}

#[tokio::test]
async fn a_link_without_its_token_says_so() {
    let world = world(Trouble::None);
    for query in ["", "?token=", "?tok=verify-1"] {
        world
            .get(&format!("/verify{query}"))
            .await
            .shows(422, "This link is incomplete");
    }
    let long = "x".repeat(300);
    world
        .get(&format!("/verify?token={long}"))
        .await
        .shows(422, "This link is incomplete");
}

#[tokio::test]
async fn what_a_link_carries_stays_text() {
    let answer = world(Trouble::None)
        .get("/reset?token=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
        .await;
    answer.shows(200, "&quot;&gt;&lt;script&gt;");
    assert!(!answer.html.contains("<script"), "{}", answer.html);
}

#[tokio::test]
async fn the_button_verifies() {
    let world = world(Trouble::None);
    world
        .post("/verify", "token=verify-1")
        .await
        .shows(200, "Your address is confirmed");
    assert_eq!(world.changes(), 1);
    for token in ["unknown", "reset-1", ""] {
        world
            .post("/verify", &format!("token={token}"))
            .await
            .shows(422, "This link cannot be used");
    }
    assert_eq!(world.changes(), 1);
}

#[tokio::test]
async fn a_new_password_is_set_or_the_rule_is_told_and_the_link_stays_good() {
    let world = world(Trouble::None);
    let short = world.post("/reset", "token=reset-1&password=qzv-7pw").await;
    short.shows(422, "The password must have at least 15 characters.");
    short.shows(422, "name=\"token\" value=\"reset-1\"");
    assert!(!short.html.contains("qzv-7pw"), "{}", short.html);
    let common = world
        .post("/reset", "token=reset-1&password=aaaaaaaaaaaaaaaaaaaa")
        .await;
    common.shows(422, "The password is too easy to guess");
    let long = world
        .post("/reset", &format!("token=reset-1&password={}", "ab".repeat(200)))
        .await;
    long.shows(422, "The password must have at most 256 characters");
    assert_eq!(world.changes(), 0);
    world
        .post("/reset", &format!("token=reset-1&password={GOOD}"))
        .await
        .shows(200, "Your new password is set");
    assert_eq!(world.changes(), 1);
    world
        .post("/reset", &format!("token=verify-1&password={GOOD}"))
        .await
        .shows(422, "This link cannot be used");
}

#[tokio::test]
async fn the_first_administrator_is_made() {
    let world = world(Trouble::None);
    let refused = world
        .post("/setup", &format!("token=setup-1&email=nobody&password={GOOD}"))
        .await;
    refused.shows(422, "The address must have one @");
    refused.shows(422, "value=\"nobody\"");
    let hostile = world
        .post("/setup", "token=setup-1&email=%22%3E%3Cb%3E&password=x")
        .await;
    assert!(!hostile.html.contains("<b>"), "{}", hostile.html);
    world
        .post("/setup", "token=setup-1&email=a@b.org&password=short")
        .await
        .shows(422, "The password must have");
    let body = format!("email=root@example.org&password={GOOD}&token=");
    world
        .post("/setup", &format!("{body}reset-1"))
        .await
        .shows(422, "This link cannot be used");
    assert_eq!(world.changes(), 0);
    world
        .post("/setup", &format!("{body}setup-1"))
        .await
        .shows(200, "The administrator is made");
    assert_eq!(world.changes(), 1);
    let late = self::world(Trouble::AdminExists)
        .post("/setup", &format!("{body}setup-1"))
        .await;
    late.shows(422, "There is an administrator already");
}

#[tokio::test]
async fn waiting_times_are_told_on_the_page_and_in_the_header() {
    let body = format!("token=reset-1&password={GOOD}");
    let flooded = world(Trouble::Flooded).post("/reset", &body).await;
    flooded.shows(429, "Wait 7 seconds and try again.");
    flooded.shows(429, "name=\"token\" value=\"reset-1\"");
    assert_eq!(flooded.retry_after.as_deref(), Some("7"));
    let busy = world(Trouble::Busy).post("/reset", &body).await;
    busy.shows(503, "The server is busy. Wait 3 seconds and try again.");
    assert_eq!(busy.retry_after.as_deref(), Some("3"));
    let away = world(Trouble::Away).post("/verify", "token=verify-1").await;
    away.shows(503, "Wait 1 second and try again.");
    assert!(!away.html.contains("the backend is away"), "{}", away.html);
}

#[tokio::test]
async fn only_forms_of_a_sensible_size_are_read() {
    let world = world(Trouble::None);
    assert_eq!(
        world
            .send(Method::POST, "/verify", "application/json", "{}")
            .await
            .status,
        415
    );
    let large = world
        .post("/reset", &format!("token=reset-1&password={}", "x".repeat(20_000)))
        .await;
    assert_eq!(large.status, 413);
    // Bytes that are no text would all be the same password.
    let broken = world
        .post("/reset", "token=reset-1&password=%ff%fe-correct-horse-battery")
        .await;
    assert_eq!((broken.status, world.changes()), (400, 0));
    assert_eq!(world.send(Method::PUT, "/verify", FORM, "").await.status, 405);
    let kind = "application/x-www-form-urlencoded; charset=UTF-8";
    world
        .send(Method::POST, "/verify", kind, "token=verify-1")
        .await
        .shows(200, "confirmed");
}
