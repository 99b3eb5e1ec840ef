//! What is not under `/v1`: the document, its page, the page of errors.

use std::fmt::Write;
use std::sync::LazyLock;

use poem::http::{StatusCode, header};
use poem::{IntoResponse, Response, Route, get, handler};

use super::document;
use super::problem::CATALOGUE;

/// The documentation page carries its scripts and styles inside and talks to this server only.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'";
const TEXT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

/// Adds the routes of this module.
pub fn routes(route: Route) -> Route {
    route
        .at("/openapi.json", get(openapi_json))
        .at("/docs", get(docs))
        .at("/docs/errors", get(errors))
        .at("/", get(root))
}

/// The templates and methods of this module's routes.
pub const PATHS: &[&str] = &["/openapi.json", "/docs", "/docs/errors", "/"];

#[handler]
fn root() -> Response {
    Response::builder()
        .status(StatusCode::SEE_OTHER)
        .header(header::LOCATION, "docs")
        .finish()
}

#[handler]
fn openapi_json() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "public, max-age=300"),
    ];
    answer(document::document(), &headers)
}

#[handler]
fn docs() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, DOCS_POLICY),
    ];
    answer(document::page(), &headers)
}

#[handler]
fn errors() -> Response {
    static PAGE: LazyLock<String> = LazyLock::new(errors_page);
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, TEXT_POLICY),
    ];
    answer(PAGE.as_str(), &headers)
}

fn answer(body: &'static str, headers: &[(header::HeaderName, &'static str)]) -> Response {
    let mut response = bytes::Bytes::from_static(body.as_bytes()).into_response();
    for (name, value) in headers {
        response
            .headers_mut()
            .insert(name, header::HeaderValue::from_static(value));
    }
    response
}

/// Every `type` of a problem points here. The texts are ours and hold nothing that HTML would read as markup but backticks.
fn errors_page() -> String {
    let mut page = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Errors of the Plinth API</title>\
         <style>body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}\
         h2{font-family:ui-monospace,monospace;margin-bottom:0}p{margin-top:.3rem}</style><h1>Errors</h1>",
    );
    let mut known: Option<&str> = None;
    for entry in CATALOGUE {
        let anchor = if known == Some(entry.code) {
            String::new()
        } else {
            format!(" id=\"{}\"", entry.code)
        };
        known = Some(entry.code);
        // Writing to a string cannot fail.
        let _ = write!(
            page,
            "<h2{anchor}>{} {}</h2><p><b>{}.</b> {}</p>",
            entry.status,
            entry.code,
            entry.title,
            entry.next.replace('`', "")
        );
    }
    page.push_str("</html>");
    page
}
