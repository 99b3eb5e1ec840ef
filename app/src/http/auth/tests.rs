//! What a signed-in caller is told of the rate of the plan.

use std::sync::Mutex;
use std::time::Duration;

use domain::id::SessionId;
use domain::limit::RateState;
use domain::tier::{Tier, TierLimits, TierName, Tiers};
use domain::time::Timestamp;
use poem::http::{Method, StatusCode};
use poem::{Endpoint, EndpointExt, Response};
use poem_openapi::payload::PlainText;
use poem_openapi::{OpenApi, OpenApiService};
use ports::{
    MockClock, MockRateLimiter, MockRevocationFeed, MockSealer, MockSignInLedger, MockTokenVerifier, RateLimiter,
};
use uuid::Uuid;

use super::*;
use crate::http::layer::{EdgePolicy, RouteTable, stack};
use crate::service::throttle::ThrottleParts;

struct Api;

#[OpenApi]
impl Api {
    #[oai(path = "/private", method = "get")]
    async fn private(&self, auth: Bearer) -> PlainText<String> {
        PlainText(auth.0.user_id().to_string())
    }

    #[oai(path = "/refused", method = "get")]
    async fn refused(&self, _auth: Bearer) -> Result<PlainText<String>, Fault> {
        Err(Fault::conflict())
    }

    #[oai(path = "/public", method = "get")]
    async fn public(&self) -> PlainText<&'static str> {
        PlainText("anybody")
    }
}

fn now() -> Timestamp {
    Timestamp::from_seconds(1_800_000_000)
}

fn clock() -> Arc<MockClock> {
    let mut clock = MockClock::new();
    clock.expect_now().returning(now);
    Arc::new(clock)
}

fn claims() -> Claims {
    Claims {
        subject: UserId::new(Uuid::from_u128(1)),
        tier: TierName::free(),
        role: Role::User,
        session: SessionId::new(Uuid::from_u128(9)),
        epoch: 0,
        scope: Vec::new(),
        methods: Vec::new(),
        authenticated_at: now(),
        actor: None,
        audience: String::new(),
        issuer: String::new(),
        issued_at: now(),
        not_before: now(),
        expires_at: now().plus(Duration::from_secs(900)),
        token_id: Uuid::from_u128(8),
    }
}

async fn gate() -> Arc<Gate> {
    let (mut verifier, mut feed) = (MockTokenVerifier::new(), MockRevocationFeed::new());
    verifier.expect_verify().returning(|_, _| Ok(claims()));
    feed.expect_after().returning(|_, _| Ok(Vec::new()));
    let gate = Gate::new(Arc::new(verifier), Arc::new(feed), clock(), Duration::from_secs(60));
    gate.refresh().await.unwrap();
    Arc::new(gate)
}

fn limiter() -> Arc<dyn RateLimiter> {
    let (mut limiter, state) = (MockRateLimiter::new(), Mutex::new(RateState::default()));
    limiter.expect_take().returning(move |_, rule, cost, now| {
        let mut state = state.lock().unwrap();
        let (decision, next) = rule.take(*state, cost, now);
        *state = next;
        Ok(decision)
    });
    Arc::new(limiter)
}

async fn api(enabled: bool) -> impl Endpoint<Output = Response> {
    let limits = TierLimits {
        max_file_bytes: 1,
        storage_bytes: 1,
        requests_per_minute: 3,
        events_per_minute: 1,
    };
    let tier = Tier {
        name: TierName::free(),
        features: Default::default(),
        limits,
    };
    let throttle = Throttle::new(ThrottleParts {
        limiter: limiter(),
        ledger: Arc::new(MockSignInLedger::new()),
        sealer: Arc::new(MockSealer::new()),
        clock: clock(),
        tiers: Arc::new(Tiers::new([tier]).unwrap()),
        enabled,
    });
    let service = OpenApiService::new(Api, "test", "1")
        .data(gate().await)
        .data(Arc::new(throttle));
    stack(service, EdgePolicy::new(RouteTable::new().api::<Api>(), Uuid::nil))
}

async fn ask(api: &impl Endpoint<Output = Response>, path: &str) -> (StatusCode, [String; 3]) {
    let request = Request::builder()
        .method(Method::GET)
        .uri(path.parse().unwrap())
        .header(header::HOST, "test")
        .header(header::AUTHORIZATION, "Bearer token");
    let response = api.call(request.finish()).await.unwrap();
    let told = |name: &str| response.header(name).unwrap_or_default().to_owned();
    (
        response.status(),
        [told("ratelimit-policy"), told("ratelimit"), told("retry-after")],
    )
}

#[tokio::test]
async fn every_answer_to_a_caller_tells_the_rate_and_what_is_left_of_it() {
    let api = api(true).await;
    for (path, status, standing, retry) in [
        ("/private", 200, "\"default\";r=2;t=20", ""),
        ("/refused", 409, "\"default\";r=1;t=40", ""),
        ("/private", 200, "\"default\";r=0;t=20", ""),
        ("/private", 429, "\"default\";r=0;t=20", "20"),
    ] {
        let (answered, told) = ask(&api, path).await;
        assert_eq!(answered.as_u16(), status, "{path}");
        assert_eq!(
            told,
            ["\"default\";q=3;w=60", standing, retry].map(str::to_owned),
            "{path}"
        );
    }
    assert_eq!(ask(&api, "/public").await, (StatusCode::OK, Default::default()));
}

#[tokio::test]
async fn nothing_is_told_where_nothing_is_limited() {
    assert_eq!(
        ask(&api(false).await, "/private").await,
        (StatusCode::OK, Default::default())
    );
}
