//! Cross-origin requests: exact origins by configuration, none by default. Tokens travel in a header, so credentials
//! (cookies) are never allowed. The absence of these headers is the refusal: the browser enforces it.
use poem::{
    Request, Response,
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
};

use super::routes::Route;

const EXPOSED: HeaderValue = HeaderValue::from_static(
    "ETag, Location, Retry-After, RateLimit, RateLimit-Policy, X-Request-Id, Idempotency-Replayed, Content-Range, \
     Accept-Ranges, Content-Disposition",
);
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, If-Range, Range, Last-Event-ID, \
     X-Request-Id",
);
/// Ten minutes: long enough to spare most preflights, short enough to take a changed list soon.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// The request's origin if it is one of `origins`.
pub(super) fn accepted(request: &Request, origins: &[String]) -> Option<HeaderValue> {
    let origin = request.headers().get(header::ORIGIN)?;
    origins
        .iter()
        .any(|accepted| accepted.as_bytes() == origin.as_bytes())
        .then(|| origin.clone())
}

/// The answer to OPTIONS: what the path takes, and for a preflight of an accepted origin what a page may send.
pub(super) fn options(request: &Request, route: &Route, origin: Option<&HeaderValue>) -> Response {
    let mut response = Response::from(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, route.allow().clone());
    let asks = |name: HeaderName| request.headers().contains_key(name);
    if origin.is_some() && asks(header::ACCESS_CONTROL_REQUEST_METHOD) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, route.allow().clone());
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    }
    response
}

/// Lets the page read the answer, and tells caches that it depends on the origin.
pub(super) fn mark(response: &mut Response, origin: Option<HeaderValue>, method: &Method) {
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if method != Method::OPTIONS {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}
