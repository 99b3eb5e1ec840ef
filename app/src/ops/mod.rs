//! The operations listener: health and figures, on a port of its own.

mod health;
mod stats;

use std::sync::Arc;

use poem::http::{Method, StatusCode, header};
use poem::web::Data;
use poem::{Endpoint, EndpointExt, Request, Response, Route, get, handler};
use sha2::{Digest, Sha256};

pub use health::{BackendState, Health};
pub use stats::{HttpCounters, Stats, StatsParts};

use crate::config::Secret;
use crate::http::layer::RouteTable;
use crate::http::problem::Fault;

/// The paths of the listener.
pub fn table() -> RouteTable {
    let paths = ["/health/live", "/health/ready", "/ops/stats"];
    paths
        .iter()
        .fold(RouteTable::new(), |table, path| table.route(path, &[Method::GET]))
}

/// The routes of the listener. With a token, `/ops/*` asks for it; health stays open, since probes carry no secrets.
pub fn routes(health: Arc<Health>, stats: Arc<Stats>, token: Option<Secret<String>>) -> impl Endpoint + 'static {
    Route::new()
        .at("/health/live", get(live))
        .at("/health/ready", get(ready).data(health))
        .at("/ops/stats", get(figures).data(stats).data(Token(token)))
}

#[derive(Clone)]
struct Token(Option<Secret<String>>);

impl Token {
    fn admits(&self, request: &Request) -> bool {
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
    if !token.admits(request) {
        let fault = if request.headers().contains_key(header::AUTHORIZATION) {
            Fault::token_invalid()
        } else {
            Fault::token_missing()
        };
        return Err(fault.into());
    }
    Ok(json(StatusCode::OK, &stats.read().await))
}

fn json(status: StatusCode, body: &impl serde::Serialize) -> Response {
    let text = serde_json::to_vec(body).unwrap_or_default();
    Response::builder()
        .status(status)
        .content_type("application/json")
        .body(text)
}
