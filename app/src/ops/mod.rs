//! The operations listener: health and figures, on a port of its own.

mod health;
mod http;
mod measured;
mod metrics;
mod stats;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use poem::http::{Method, StatusCode, header};
use poem::web::Data;
use poem::{Endpoint, EndpointExt, Request, Response, Route, get, handler};
use sha2::{Digest, Sha256};

pub use health::{BackendState, Health};
pub use http::HttpCounters;
pub use measured::MeasuredEventStore;
pub use stats::{Stats, StatsParts};

use crate::config::Secret;
use crate::http::layer::RouteTable;
use crate::http::problem::Fault;
use crate::lifecycle::Shutdown;

/// How long a backend may take to say how it is: a load balancer asks about every second and gives up after a few.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// The paths of the listener.
pub fn table() -> RouteTable {
    let paths = [
        "/health/live",
        "/health/ready",
        "/metrics",
        "/ops/stats",
        "/ops/stats/stream",
    ];
    paths
        .iter()
        .fold(RouteTable::new(), |table, path| table.route(path, &[Method::GET]))
}

/// The routes of the listener. With a token, `/ops/*` asks for it; health and metrics stay open, since probes and scrapers
/// carry no secrets.
pub fn routes(
    health: Arc<Health>,
    stats: Arc<Stats>,
    token: Option<Secret<String>>,
    shutdown: Shutdown,
) -> impl Endpoint + 'static {
    let token = Token(token);
    Route::new()
        .at("/health/live", get(live))
        .at("/health/ready", get(ready).data(health))
        .at("/metrics", get(exposition).data(Arc::clone(&stats)))
        .at("/ops/stats", get(figures).data(Arc::clone(&stats)).data(token.clone()))
        .at("/ops/stats/stream", get(watched).data(stats).data(token).data(shutdown))
}

#[derive(Clone)]
struct Token(Option<Secret<String>>);

impl Token {
    fn admit(&self, request: &Request) -> Result<(), Fault> {
        if self.knows(request) {
            Ok(())
        } else if request.headers().contains_key(header::AUTHORIZATION) {
            Err(Fault::token_invalid())
        } else {
            Err(Fault::token_missing())
        }
    }

    fn knows(&self, request: &Request) -> bool {
        let Some(token) = &self.0 else { return true };
        let given = request
            .headers()
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let given = given
            .and_then(|value| value.strip_prefix("Bearer "))
            .unwrap_or_default();
        // Hashed first, so that the comparison's time tells nothing about the token.
        Sha256::digest(given.as_bytes()) == Sha256::digest(token.expose().as_bytes())
    }
}

#[handler]
fn live() -> Response {
    json(
        StatusCode::OK,
        &openapi::LiveBody {
            status: "live".to_owned(),
        },
    )
}

#[handler]
async fn ready(health: Data<&Arc<Health>>) -> Response {
    let body = health.check().await;
    let status = if body.status == health::UNREADY {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    };
    json(status, &body)
}

#[handler]
async fn figures(request: &Request, stats: Data<&Arc<Stats>>, token: Data<&Token>) -> poem::Result<Response> {
    token.admit(request)?;
    Ok(json(StatusCode::OK, &stats.read().await.body))
}

#[handler]
fn watched(
    request: &Request,
    stats: Data<&Arc<Stats>>,
    token: Data<&Token>,
    shutdown: Data<&Shutdown>,
) -> poem::Result<Response> {
    token.admit(request)?;
    let every = stream::interval(request.uri().query())?;
    Ok(stream::answer(Arc::clone(stats.0), every, shutdown.0.clone()))
}

#[handler]
async fn exposition(stats: Data<&Arc<Stats>>) -> poem::Result<Response> {
    let text = metrics::text(stats.read().await.as_ref())
        .map_err(|error| Fault::internal_error().caused_by(error.to_string()))?;
    Ok(Response::builder().content_type(metrics::MEDIA_TYPE).body(text))
}

fn json(status: StatusCode, body: &impl serde::Serialize) -> Response {
    let text = serde_json::to_vec(body).unwrap_or_default();
    Response::builder()
        .status(status)
        .content_type("application/json")
        .body(text)
}
