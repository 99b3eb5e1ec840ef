//! What every request passes before and after its handler: one endpoint around the routes of a listener.
use std::{fmt, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use http_body_util::combinators::BoxBody;
use ipnet::IpNet;
use poem::{
    Body, Endpoint, IntoResponse, Request, Response, Result,
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{edge::Open, http::problem::Fault, lifecycle::panic_message};

mod body;
mod client;
mod cors;
mod current;
mod faults;
mod host;
mod pointers;
mod rate;
mod routes;

pub use body::{BodyWatch, Broken};
pub use client::{ClientAddress, RequestId};
pub use current::Current;
pub use rate::RateNote;
pub use routes::{Route, RouteTable};

/// The size of a body where nothing else is said: enough for any JSON of ours, 1 MiB.
pub const DEFAULT_BODY_LIMIT: u64 = 1024 * 1024;

/// The largest body in bytes that a route takes, by method and route template (`/v1/files/{id}`; empty where no route
/// matches).
pub type BodyLimit = Arc<dyn Fn(&Method, &str) -> u64 + Send + Sync>;
/// Makes the ids of requests.
pub type NewRequestId = Arc<dyn Fn() -> Uuid + Send + Sync>;
/// Is told of every answered request.
pub type Observer = Arc<dyn Fn(&Answered<'_>) + Send + Sync>;

/// Stands for the template of a route where none matches.
pub const UNMATCHED: &str = "unmatched";

/// A request that was answered. For a stream this is when its head was made.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    /// The method of the request.
    pub method: &'a Method,
    /// The template of its route, or [`UNMATCHED`]: never a path of the client's making.
    pub route: &'a str,
    /// The status of the answer.
    pub status: StatusCode,
    /// From the arrival of the head to the answer.
    pub took: Duration,
}

/// How a listener treats all of its requests.
#[derive(Clone)]
pub struct EdgePolicy {
    /// The paths that exist.
    pub routes: Arc<RouteTable>,
    /// Makes the ids of requests.
    pub new_request_id: NewRequestId,
    /// The largest body per route; [`DEFAULT_BODY_LIMIT`] everywhere by default.
    pub body_limit: BodyLimit,
    /// Peers whose `X-Forwarded-For`, `Forwarded` and `X-Request-Id` are believed; none by default.
    pub trusted_proxies: Vec<IpNet>,
    /// Exact origins whose pages may read the answers; none by default.
    pub cors_origins: Vec<String>,
    /// The hosts that the listener answers to, without port; all by default.
    pub allowed_hosts: Option<Vec<String>>,
    /// Is told of every answered request.
    pub observer: Option<Observer>,
    /// Counts the requests that are not answered.
    pub in_flight: Arc<Open>,
}

impl EdgePolicy {
    /// The defaults for these routes.
    pub fn new(routes: RouteTable, new_request_id: impl Fn() -> Uuid + Send + Sync + 'static) -> Self {
        Self {
            routes: Arc::new(routes),
            new_request_id: Arc::new(new_request_id),
            body_limit: Arc::new(|_, _| DEFAULT_BODY_LIMIT),
            trusted_proxies: Vec::new(),
            cors_origins: Vec::new(),
            allowed_hosts: None,
            observer: None,
            in_flight: Arc::default(),
        }
    }
}

impl fmt::Debug for EdgePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EdgePolicy")
            .field("trusted_proxies", &self.trusted_proxies)
            .field("cors_origins", &self.cors_origins)
            .field("allowed_hosts", &self.allowed_hosts)
            .finish_non_exhaustive()
    }
}

/// Puts the layers around `endpoint`. The outcome never fails: every error is a problem already.
pub fn stack<E: Endpoint>(endpoint: E, policy: EdgePolicy) -> Front<E> {
    Front { endpoint, policy }
}

/// An endpoint behind the layers.
#[derive(Debug)]
pub struct Front<E> {
    endpoint: E,
    policy: EdgePolicy,
}

impl<E: Endpoint> Endpoint for Front<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let arrived = Instant::now();
        let policy = &self.policy;
        let _in_flight = policy.in_flight.enter();
        let client = ClientAddress::of(&request, &policy.trusted_proxies);
        let id = RequestId::given(&request, &policy.trusted_proxies)
            .unwrap_or_else(|| RequestId::new((policy.new_request_id)().hyphenated().to_string()));
        request.set_data(client);
        request.set_data(id.clone());
        let rate = RateNote::default();
        request.set_data(rate.clone());
        let method = request.method().clone();
        let route = policy.routes.find(request.uri().path());
        let origin = cors::accepted(&request, &policy.cors_origins);
        let name = route.map_or(UNMATCHED, Route::template);
        let current = Current {
            id: id.clone(),
            method: method.clone(),
            route: route.map(Route::shared_template),
        };

        let mut response = current.during(self.answer(request, route, &id, origin.as_ref())).await;
        if method == Method::HEAD {
            response = without_body(response);
        }
        dress(&mut response, &id);
        rate.tell(response.headers_mut());
        if !policy.cors_origins.is_empty() {
            cors::mark(&mut response, origin, &method);
        }
        let answered = Answered {
            method: &method,
            route: name,
            status: response.status(),
            took: arrived.elapsed(),
        };
        tell(&answered, &id, client);
        if let Some(observer) = &policy.observer {
            observer(&answered);
        }
        Ok(response)
    }
}

impl<E: Endpoint> Front<E> {
    async fn answer(
        &self,
        mut request: Request,
        route: Option<&Route>,
        id: &RequestId,
        origin: Option<&HeaderValue>,
    ) -> Response {
        let mut context = faults::Context {
            id,
            body: None,
            schema: route.and_then(|route| route.body(request.method())),
            schemas: self.policy.routes.schemas(),
            allow: route.map(Route::allow),
            authorized: request.headers().contains_key(header::AUTHORIZATION),
        };
        if let Err(fault) = host::check(&request, self.policy.allowed_hosts.as_deref()) {
            return context.close(context.render(&fault));
        }
        if let Some(route) = route {
            if !route.takes(request.method()) {
                return context.render(&Fault::method_not_allowed());
            }
            if request.method() == Method::OPTIONS && !route.names(&Method::OPTIONS) {
                return cors::options(&request, route, origin);
            }
        }
        if request.method() == Method::HEAD && !route.is_some_and(|route| route.names(&Method::HEAD)) {
            request.set_method(Method::GET);
        }
        let path = route.map_or("", Route::template);
        let limit = (self.policy.body_limit)(request.method(), path);
        match body::limit(&mut request, limit) {
            Ok(watch) => context.body = watch,
            Err(fault) => return context.close(context.render(&fault)),
        }
        match AssertUnwindSafe(self.endpoint.call(request)).catch_unwind().await {
            Ok(Ok(output)) => context.tidy(output.into_response()),
            Ok(Err(error)) => context.answer(error),
            Err(panic) => {
                let said = panic_message(panic.as_ref()).to_owned();
                context.render(&Fault::internal_error().caused_by(format!("a panic: {said}")))
            }
        }
    }
}

/// The answer to HEAD: the head that GET would have had, the length of its body included.
fn without_body(mut response: Response) -> Response {
    let body: BoxBody<_, _> = response.take_body().into();
    let length = hyper::body::Body::size_hint(&body).exact();
    let told = response.headers().contains_key(header::CONTENT_LENGTH);
    let bodiless = matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if let (Some(length), false, false) = (length, told, bodiless) {
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    }
    response.set_body(Body::empty());
    response
}

/// The headers that every answer has, unless the handler chose its own. Made once: their texts are not looked through
/// again for every answer.
const DRESS: [(HeaderName, HeaderValue); 5] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("frame-ancestors 'none'"),
    ),
];

fn dress(response: &mut Response, id: &RequestId) {
    let headers = response.headers_mut();
    // With what the edge and the rate add; grown at once instead of by and by.
    headers.reserve(DRESS.len() + 5);
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        headers.insert(client::REQUEST_ID, value);
    }
    for (name, value) in DRESS {
        headers.entry(name).or_insert(value);
    }
}

fn tell(answered: &Answered<'_>, id: &RequestId, client: ClientAddress) {
    tracing::info!(
        target: "plinth::access",
        request_id = id.as_str(),
        client = %client,
        method = answered.method.as_str(),
        route = answered.route,
        status = answered.status.as_u16(),
        // Whole microseconds: more digits are noise, and take longer to write.
        duration_ms = answered.took.as_micros() as f64 / 1000.0,
        "answered"
    );
}
