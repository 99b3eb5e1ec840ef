//! The operations over mocked ports: what is answered, and what refusals point to.

use domain::event::Shard;
use domain::id::UserId;
use domain::tier::{Tier, TierLimits, TierName, Tiers};
use poem::http::{Method, StatusCode, header};
use poem::{Endpoint, EndpointExt, Request, Response};
use poem_openapi::OpenApiService;
use ports::{
    Begun, Clock, Cursor, EffectsError, MockEventLog, MockEventStore, MockEventSubscriber, MockIdempotencyStore,
    MockRateLimiter, MockRevocationFeed, MockSealer, MockSignInLedger, MockTokenIssuer, MockTokenVerifier,
};
use serde_json::{Value, json};

use super::*;
use crate::config::PublicUrl;
use crate::service::events::EventsParts;
use crate::service::stream_tickets::TicketParts;
use crate::service::throttle::{Throttle, ThrottleParts};
use crate::worker::testing::{Kit, claims, kit, logged, no_schemas, user_in};

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
            features: Default::default(),
            limits,
        }])
        .unwrap(),
    )
}

async fn gate(kit: &Kit) -> Arc<Gate> {
    let (mut verifier, mut feed) = (MockTokenVerifier::new(), MockRevocationFeed::new());
    verifier.expect_verify().returning(|_, now| Ok(claims(now)));
    feed.expect_after().returning(|_, _| Ok(Vec::new()));
    let gate = Gate::new(
        Arc::new(verifier),
        Arc::new(feed),
        kit.toolkit.clock.clone(),
        Duration::from_secs(60),
    );
    gate.refresh().await.unwrap();
    Arc::new(gate)
}

fn throttle(kit: &Kit) -> Arc<Throttle> {
    Arc::new(Throttle::new(ThrottleParts {
        limiter: Arc::new(MockRateLimiter::new()),
        ledger: Arc::new(MockSignInLedger::new()),
        sealer: Arc::new(MockSealer::new()),
        clock: kit.toolkit.clock.clone(),
        tiers: tiers(),
        enabled: false,
    }))
}

struct Setup {
    store: MockEventStore,
    idempotency: MockIdempotencyStore,
    shutdown: Shutdown,
}

impl Setup {
    fn new() -> Self {
        Self {
            store: MockEventStore::new(),
            idempotency: MockIdempotencyStore::new(),
            shutdown: Shutdown::new(),
        }
    }

    async fn api(self) -> impl Endpoint<Output = Response> {
        let kit = kit();
        let (mut log, mut subscriber) = (MockEventLog::new(), MockEventSubscriber::new());
        log.expect_heads()
            .returning(|| Ok(Shard::all().map(|shard| Cursor { shard, position: 41 }).collect()));
        // What is before the third event is gone.
        log.expect_floors()
            .returning(|| Ok(Shard::all().map(|shard| Cursor { shard, position: 2 }).collect()));
        subscriber
            .expect_subscribe()
            .returning(|_| Box::pin(futures_util::stream::pending()));
        let events = Events::new(EventsParts {
            toolkit: kit.toolkit.clone(),
            store: Arc::new(self.store),
            log: Arc::new(log),
            subscriber: Arc::new(subscriber),
            limiter: Arc::new(MockRateLimiter::new()),
            tiers: tiers(),
            limits_enabled: false,
            client_prefix: "app.".to_owned(),
            schemas: no_schemas(&kit),
            source: "urn:plinth:x".to_owned(),
            streams_per_user: 5,
            heartbeat: Duration::from_secs(15),
        });
        let clock: Arc<dyn Clock> = kit.toolkit.clock.clone();
        let gate = gate(&kit).await;
        let api = EventsApi {
            events: Arc::new(events),
            idempotency: Arc::new(Idempotency::new(Arc::new(self.idempotency), clock).0),
            tickets: Arc::new(tickets(&kit, Arc::clone(&gate))),
            gate: Arc::clone(&gate),
            shutdown: self.shutdown,
        };
        OpenApiService::new(api, "test", "1")
            .data(gate)
            .data(throttle(&kit))
            .map_to_response()
    }
}

/// Tickets that nobody can make or use.
fn tickets(kit: &Kit, gate: Arc<Gate>) -> StreamTickets {
    StreamTickets::new(TicketParts {
        toolkit: kit.toolkit.clone(),
        issuer: Arc::new(MockTokenIssuer::new()),
        gate,
        sealer: Arc::new(MockSealer::new()),
        used: Arc::new(MockIdempotencyStore::new()),
        public_url: PublicUrl::parse("https://plinth.example.org").unwrap(),
    })
}

fn request(method: Method, uri: &str) -> poem::RequestBuilder {
    Request::builder()
        .method(method)
        .uri(uri.parse().unwrap())
        .header(header::AUTHORIZATION, "Bearer token")
}

fn post(uri: &str, body: &Value) -> Request {
    request(Method::POST, uri)
        .content_type("application/json")
        .body(body.to_string())
}

fn get(uri: &str) -> Request {
    request(Method::GET, uri).finish()
}

/// The answer as the layers would see it: a body, or a fault.
async fn answer(
    api: &impl Endpoint<Output = Response>,
    request: Request,
) -> Result<(StatusCode, Response, Value), Fault> {
    match api.call(request).await {
        Ok(mut response) => {
            let text = response.take_body().into_string().await.unwrap();
            Ok((
                response.status(),
                response,
                serde_json::from_str(&text).unwrap_or(Value::String(text)),
            ))
        }
        Err(error) => Err(error.downcast::<Fault>().expect("a fault")),
    }
}

async fn refusal(api: &impl Endpoint<Output = Response>, request: Request) -> (&'static str, Vec<(String, String)>) {
    let fault = answer(api, request).await.expect_err("a refusal");
    let errors = fault
        .pointer_errors()
        .iter()
        .map(|error| (error.pointer.clone(), error.code.clone()));
    (fault.code(), errors.collect())
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(pointer, code)| ((*pointer).to_owned(), (*code).to_owned()))
        .collect()
}

#[tokio::test]
async fn publishing_answers_with_the_ids_and_stores_them_under_the_key() {
    let mut setup = Setup::new();
    setup
        .idempotency
        .expect_begin()
        .times(1)
        .returning(|scope, _, _, _, _| {
            assert_eq!(
                (scope.route.as_str(), scope.key.as_str(), scope.user_id),
                ("POST /v1/events/batch", "k", user_in(1))
            );
            Ok(Begun::New)
        });
    setup.store.expect_append().times(1).returning(|effects| {
        let stored = effects.answer.as_ref().expect("an answer to keep");
        let ids: Vec<String> = effects.events.iter().map(|event| event.id.to_string()).collect();
        assert_eq!((stored.status, &stored.resources), (201, &ids));
        Ok(())
    });
    setup.store.expect_append().times(1).returning(|effects| {
        assert_eq!(effects.answer, None);
        Ok(())
    });
    let api = setup.api().await;
    let event = json!({ "type": "app.order.placed", "data": { "order": 7 }, "subject": "order 7" });
    let mut batch = post("/v1/events/batch", &json!({ "events": [event, event] }));
    batch.headers_mut().insert("Idempotency-Key", "k".parse().unwrap());
    let (status, response, body) = answer(&api, batch).await.unwrap();
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(body["ids"].as_array().map(Vec::len), Some(2));
    assert!(response.header("Idempotency-Replayed").is_none());
    let (status, _, body) = answer(&api, post("/v1/events", &event)).await.unwrap();
    assert_eq!(status, StatusCode::CREATED);
    assert!(body["id"].as_str().is_some_and(|id| id.parse::<EventId>().is_ok()));
}

#[tokio::test]
async fn a_replay_publishes_nothing_and_says_so() {
    let mut setup = Setup::new();
    let id = Uuid::from_u128(5).to_string();
    let resources = vec![id.clone()];
    setup.idempotency.expect_begin().returning(move |scope, _, _, _, _| {
        Ok(Begun::Answered(StoredAnswer {
            scope: scope.clone(),
            status: 201,
            resources: resources.clone(),
        }))
    });
    let api = setup.api().await;
    let mut again = post("/v1/events", &json!({ "type": "app.a", "data": 1 }));
    again.headers_mut().insert("Idempotency-Key", "k".parse().unwrap());
    let (status, response, body) = answer(&api, again).await.unwrap();
    assert_eq!((status, body["id"].as_str()), (StatusCode::CREATED, Some(id.as_str())));
    assert_eq!(response.header("Idempotency-Replayed"), Some("true"));
}

#[tokio::test]
async fn refusals_point_into_the_body_and_free_the_key() {
    let mut setup = Setup::new();
    setup
        .idempotency
        .expect_begin()
        .returning(|_, _, _, _, _| Ok(Begun::New));
    setup.idempotency.expect_release().times(1).returning(|_| Ok(()));
    let taken = EventId::new(Uuid::from_u128(6));
    setup
        .store
        .expect_append()
        .times(1)
        .returning(move |_| Err(EffectsError::EventIdTaken(taken)));
    let api = setup.api().await;
    let good = json!({ "type": "app.a", "data": 1 });
    let large = json!({ "type": "app.a", "data": "x".repeat(65_536) });
    let mut batch = post(
        "/v1/events/batch",
        &json!({ "events": [good, { "type": "mail.sent", "data": 1 }, good, large] }),
    );
    batch.headers_mut().insert("Idempotency-Key", "k".parse().unwrap());
    let expected = pairs(&[("#/events/1/type", "prefix"), ("#/events/3/data", "length")]);
    assert_eq!(refusal(&api, batch).await, ("validation_failed", expected));
    let one = refusal(
        &api,
        post("/v1/events", &json!({ "type": "app.a", "data": 1, "subject": "\u{7}" })),
    )
    .await;
    assert_eq!(one, ("validation_failed", pairs(&[("#/subject", "length")])));
    let body = json!({ "events": [good, { "type": "app.a", "data": 1, "id": taken.to_string() }] });
    let conflict = refusal(&api, post("/v1/events/batch", &body)).await;
    assert_eq!(conflict, ("conflict", pairs(&[("#/events/1/id", "taken")])));
}

#[tokio::test]
async fn a_page_goes_on_where_the_last_ended_and_an_empty_one_keeps_the_cursor() {
    let mut setup = Setup::new();
    setup.store.expect_history().returning(|user: UserId, after, limit| {
        assert_eq!((user, limit), (user_in(1), 2));
        Ok((after + 1..=3)
            .take(2)
            .map(|position| logged(user, position * 10, "app.a", "1"))
            .collect())
    });
    let api = setup.api().await;
    let (_, _, page) = answer(&api, get("/v1/events?limit=2")).await.unwrap();
    assert_eq!(page["next_cursor"], "20");
    assert_eq!(page["items"][1]["sequence"], "00000000000000000020");
    assert_eq!(page["items"][0]["source"], "urn:plinth:x");
    let (_, _, page) = answer(&api, get("/v1/events?limit=2&after=30&wait=0")).await.unwrap();
    assert_eq!((&page["items"], &page["next_cursor"]), (&json!([]), &json!("30")));
    assert_eq!(page["gap"], false);
}

#[tokio::test]
async fn a_cursor_before_what_is_left_is_told_of_the_gap_once() {
    let mut setup = Setup::new();
    setup.store.expect_history().returning(|_, _, _| Ok(Vec::new()));
    let api = setup.api().await;
    let (_, _, page) = answer(&api, get("/v1/events?after=1&wait=0")).await.unwrap();
    assert_eq!((&page["gap"], &page["next_cursor"]), (&json!(true), &json!("2")));
    let (_, _, page) = answer(&api, get("/v1/events?after=2&wait=0")).await.unwrap();
    assert_eq!((&page["gap"], &page["next_cursor"]), (&json!(false), &json!("2")));
    let (_, _, page) = answer(&api, get("/v1/events")).await.unwrap();
    assert_eq!(page["gap"], false, "who asks for what there is misses nothing");
}

#[tokio::test]
async fn nothing_read_from_the_beginning_has_no_cursor() {
    let mut setup = Setup::new();
    setup.store.expect_history().returning(|_, _, _| Ok(Vec::new()));
    let (_, _, page) = answer(&setup.api().await, get("/v1/events")).await.unwrap();
    assert_eq!((&page["items"], &page["next_cursor"]), (&json!([]), &Value::Null));
}

#[tokio::test]
async fn a_wait_ends_when_the_process_drains() {
    let mut setup = Setup::new();
    setup.store.expect_history().returning(|_, _, _| Ok(Vec::new()));
    setup.shutdown.drain();
    let (_, _, page) = answer(&setup.api().await, get("/v1/events?after=7&wait=30"))
        .await
        .unwrap();
    assert_eq!(page["next_cursor"], "7");
}

#[tokio::test]
async fn cursors_that_are_none_are_refused() {
    let api = Setup::new().api().await;
    for text in ["x", "-1", "1.5", "+1", "9223372036854775808", "000000000000000000001"] {
        let uri = format!("/v1/events?after={}", text.replace('+', "%2B"));
        assert_eq!(
            refusal(&api, get(&uri)).await,
            ("validation_failed", pairs(&[("#/parameters/after", "cursor")]))
        );
    }
    let resumed = request(Method::GET, "/v1/events/stream")
        .header("Last-Event-ID", "x")
        .finish();
    assert_eq!(
        refusal(&api, resumed).await,
        ("validation_failed", pairs(&[("#/headers/Last-Event-ID", "cursor")]))
    );
}

#[tokio::test]
async fn a_stream_tells_where_it_begins_and_why_it_ends() {
    for (uri, last, begins) in [
        ("/v1/events/stream", "", 41),
        ("/v1/events/stream?after=7", "", 7),
        ("/v1/events/stream?after=7", "8", 8),
    ] {
        let setup = Setup::new();
        setup.shutdown.drain();
        let opened = request(Method::GET, uri).header("Last-Event-ID", last).finish();
        let (status, response, text) = answer(&setup.api().await, opened).await.unwrap();
        assert_eq!(
            (status, response.content_type()),
            (StatusCode::OK, Some("text/event-stream"))
        );
        let expected = format!("retry: 2000\nid: {begins}\n\nevent: end\ndata: {{\"reason\":\"draining\"}}\n\n");
        assert_eq!(text.as_str(), Some(expected.as_str()));
    }
}

#[test]
fn every_operation_says_what_it_may_be_refused_with() {
    let api = <EventsApi as OpenApi>::meta();
    let operations = api.iter().flat_map(|api| &api.paths).flat_map(|path| &path.operations);
    let mut named: Vec<&str> = operations.filter_map(|operation| operation.operation_id).collect();
    let mut listed: Vec<&str> = ERRORS.iter().map(|(operation, _)| *operation).collect();
    named.sort_unstable();
    listed.sort_unstable();
    assert_eq!(named, listed);
    for code in ERRORS.iter().flat_map(|(_, codes)| *codes) {
        assert!(
            crate::http::problem::CATALOGUE.iter().any(|entry| entry.code == *code),
            "{code}"
        );
    }
}
