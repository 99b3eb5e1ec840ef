//! Every error becomes a problem: those of the framework carry what was submitted in their messages, so only their
//! kind is used, and what a schema known here says about the body.
use openapi::FieldProblem;
use poem::{
    Error, Response,
    error::{
        MethodNotAllowedError, NotFoundError, ParseJsonError, ParseMultipartError, ParsePathError, ParseQueryError,
        ReadBodyError,
    },
    http::{HeaderValue, StatusCode, header},
};
use poem_openapi::{error as api, registry::MetaSchemaRef};
use serde_json::Value;

use super::{body::BodyWatch, client::RequestId, pointers::Schemas};
use crate::http::problem::Fault;

/// What is known of the request when its handler has failed.
pub(super) struct Context<'a> {
    pub(super) id: &'a RequestId,
    pub(super) body: Option<BodyWatch>,
    pub(super) schema: Option<&'a MetaSchemaRef>,
    pub(super) schemas: &'a Schemas,
    pub(super) allow: Option<&'a HeaderValue>,
    pub(super) authorized: bool,
}

impl Context<'_> {
    /// The answer to a request whose handler returned `error`.
    pub(super) fn answer(&self, error: Error) -> Response {
        if let Some(fault) = self.broken_off() {
            return self.close(self.render(&fault));
        }
        if error.is_from_response() {
            return self.tidy(error.into_response());
        }
        let fault = match error.downcast::<Fault>() {
            Ok(fault) => fault,
            Err(error) => self.framework(&error),
        };
        self.render(&fault)
    }

    /// An answer that a handler made itself, made a problem if it is a bare error status.
    pub(super) fn tidy(&self, response: Response) -> Response {
        let status = response.status();
        if !status.is_client_error() && !status.is_server_error() {
            return response;
        }
        if let Some(fault) = self.broken_off() {
            return self.close(self.render(&fault));
        }
        let kind = response.content_type().unwrap_or("text/plain");
        if !kind.starts_with("text/plain") {
            return response;
        }
        let mut rendered = self.render(&Fault::of_status(status));
        rendered.set_status(status);
        for (name, value) in response.headers() {
            if name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH {
                rendered.headers_mut().insert(name, value.clone());
            }
        }
        rendered
    }

    /// The answer made of a fault. What is the server's own fault is logged with its causes.
    pub(super) fn render(&self, fault: &Fault) -> Response {
        if fault.status_code().is_server_error() {
            log(fault);
        }
        let mut response = fault.respond(self.id.as_str());
        if response.status() == StatusCode::METHOD_NOT_ALLOWED && !response.headers().contains_key(header::ALLOW) {
            // RFC 9110, section 15.5.6: it is there even when there is nothing to say.
            let allow = self.allow.cloned().unwrap_or(HeaderValue::from_static(""));
            response.headers_mut().insert(header::ALLOW, allow);
        }
        response
    }

    /// The rest of a refused body may be on its way: the connection cannot serve another request.
    pub(super) fn close(&self, mut response: Response) -> Response {
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }

    fn broken_off(&self) -> Option<Fault> {
        self.body.as_ref().and_then(BodyWatch::fault)
    }

    fn framework(&self, error: &Error) -> Fault {
        if error.is::<NotFoundError>() || error.is::<api::ParsePathError>() || error.is::<ParsePathError>() {
            // An id that is none names nothing, like an unknown one.
            Fault::not_found()
        } else if error.is::<MethodNotAllowedError>() {
            Fault::method_not_allowed()
        } else if error.is::<api::AuthorizationError>() {
            if self.authorized {
                Fault::token_invalid()
            } else {
                Fault::token_missing()
            }
        } else if let Some(error) = error.downcast_ref::<api::ParseParamError>() {
            parameter(error)
        } else if let Some(error) = error.downcast_ref::<api::ParseRequestPayloadError>() {
            self.payload(&error.reason)
        } else if error.is::<ParseJsonError>() && error.status() == StatusCode::BAD_REQUEST {
            Fault::malformed_request().detail("the body is not the JSON that this route takes")
        } else if error.is::<ParseMultipartError>() && error.status() == StatusCode::BAD_REQUEST
            || error.is::<api::ParseMultipartError>()
        {
            Fault::malformed_request().detail("the body is not valid multipart/form-data")
        } else if error.is::<ParseQueryError>() {
            Fault::malformed_request().detail("the query cannot be parsed")
        } else if error.is::<ReadBodyError>() && error.status() == StatusCode::BAD_REQUEST {
            Fault::malformed_request().detail("the body cannot be read")
        } else if error.status().is_server_error() {
            let cause = error.to_string();
            Fault::of_status(error.status()).caused_by(cause)
        } else {
            Fault::of_status(error.status())
        }
    }

    fn payload(&self, reason: &str) -> Fault {
        let Some(body) = &self.body else {
            return Fault::malformed_request().detail("the body is missing");
        };
        let bytes = body.take();
        if bytes.is_empty() {
            // Too large to be kept: the parser's message is all there is.
            return if is_refusal(reason) {
                Fault::validation_failed().with_pointer_errors(said_by(reason))
            } else {
                Fault::malformed_request().detail("the body is not valid JSON")
            };
        }
        match serde_json::from_slice::<Value>(&bytes) {
            Err(error) => {
                let (line, column) = (error.line(), error.column());
                Fault::malformed_request().detail(format!("the body is not valid JSON at line {line}, column {column}"))
            }
            Ok(value) => {
                let schema = self
                    .schema
                    .map(|schema| self.schemas.refusals(schema, &value, named_by(reason)));
                let refused = schema.filter(|refused| !refused.is_empty());
                Fault::validation_failed().with_pointer_errors(refused.unwrap_or_else(|| said_by(reason)))
            }
        }
    }
}

/// Whether the message is that of a schema, not of the JSON parser.
fn is_refusal(reason: &str) -> bool {
    ["failed to parse \"", "Expected input type \"", "Type \""]
        .iter()
        .any(|start| reason.starts_with(start))
}

/// The name of the type whose own rule refused a value.
fn named_by(reason: &str) -> &str {
    reason
        .strip_prefix("failed to parse \"")
        .and_then(|rest| rest.split_once('"'))
        .map_or("", |(name, _)| name)
}

/// What the parser's message says in words that are certainly its own: a validator's verdict begins with the names of
/// the schema and its field, and with no submitted text.
fn said_by(reason: &str) -> Vec<FieldProblem> {
    let verdict = || {
        let (_, rest) = reason.strip_prefix("failed to parse \"")?.split_once("\": field `")?;
        let (field, rule) = rest.split_once("` verification failed. ")?;
        let plain = field.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        plain.then(|| ruled(&format!("#/{field}"), rule))
    };
    verdict().into_iter().collect()
}

/// A validator's verdict: `maxLength(40)`, `maximum(200, exclusive: false)` and the like, written in the code.
fn ruled(pointer: &str, rule: &str) -> FieldProblem {
    let (name, bounds) = rule.split_once('(').unwrap_or((rule, ""));
    let bounds = bounds.strip_suffix(')').unwrap_or(bounds);
    let (bound, exclusive) = match bounds.split_once(", exclusive: ") {
        Some((bound, exclusive)) => (bound, exclusive == "true"),
        None => (bounds, false),
    };
    let (code, detail) = match (name, exclusive) {
        ("maximum", false) => ("range", format!("must be at most {bound}")),
        ("maximum", true) => ("range", format!("must be less than {bound}")),
        ("minimum", false) => ("range", format!("must be at least {bound}")),
        ("minimum", true) => ("range", format!("must be more than {bound}")),
        ("multipleOf", _) => ("range", format!("must be a multiple of {bound}")),
        ("maxLength", _) => ("length", format!("must have at most {}", counted(bound, "character"))),
        ("minLength", _) => ("length", format!("must have at least {}", counted(bound, "character"))),
        ("maxItems", _) => ("length", format!("must have at most {}", counted(bound, "item"))),
        ("minItems", _) => ("length", format!("must have at least {}", counted(bound, "item"))),
        ("pattern", _) => ("pattern", format!("must match the pattern {}", bound.trim_matches('"'))),
        ("uniqueItems", _) => ("invalid", "must not hold the same item twice".to_owned()),
        _ => ("invalid", format!("the rule {rule} refuses it")),
    };
    FieldProblem::new(pointer, code, detail)
}

fn counted(bound: &str, unit: &str) -> String {
    let plural = if bound == "1" { "" } else { "s" };
    format!("{bound} {unit}{plural}")
}

/// A parameter that cannot be read is a malformed request, one that a rule refuses a failed validation.
fn parameter(error: &api::ParseParamError) -> Fault {
    let pointer = format!("#/parameters/{}", error.name);
    match error.reason.strip_prefix("verification failed. ") {
        Some(rule) => Fault::validation_failed().with_pointer_errors([ruled(&pointer, rule)]),
        None if error.reason.contains("expects an input value") => {
            Fault::malformed_request().at(pointer, "required", "this parameter is required")
        }
        None => Fault::malformed_request().at(pointer, "format", "this parameter cannot be read"),
    }
}

fn log(fault: &Fault) {
    let mut causes = String::new();
    let mut cause = std::error::Error::source(fault);
    while let Some(error) = cause {
        if !causes.is_empty() {
            causes.push_str(": ");
        }
        causes.push_str(&error.to_string());
        cause = error.source();
    }
    if fault.status_code() == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(code = fault.code(), causes, "a request failed");
    } else {
        tracing::warn!(code = fault.code(), causes, "a request was turned away");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_told_as_a_plain_sentence() {
        for (rule, code, detail) in [
            ("maximum(200, exclusive: false)", "range", "must be at most 200"),
            ("maximum(0.5, exclusive: true)", "range", "must be less than 0.5"),
            ("minimum(1, exclusive: false)", "range", "must be at least 1"),
            ("minimum(0, exclusive: true)", "range", "must be more than 0"),
            ("multipleOf(5)", "range", "must be a multiple of 5"),
            ("maxLength(40)", "length", "must have at most 40 characters"),
            ("minLength(1)", "length", "must have at least 1 character"),
            ("maxItems(100)", "length", "must have at most 100 items"),
            ("minItems(1)", "length", "must have at least 1 item"),
            (
                "pattern(\"^[a-z]{2}(x)$\")",
                "pattern",
                "must match the pattern ^[a-z]{2}(x)$",
            ),
            ("uniqueItems()", "invalid", "must not hold the same item twice"),
            ("other(1)", "invalid", "the rule other(1) refuses it"),
        ] {
            let problem = ruled("#/x", rule);
            assert_eq!(
                (problem.code.as_str(), problem.detail.as_str()),
                (code, detail),
                "{rule}"
            );
        }
    }
}
