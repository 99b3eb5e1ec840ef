//! The body of every error answer: RFC 9457 problem details.
use serde::{Deserialize, Serialize};

/// The media type of a [`Problem`] (RFC 9457, section 3).
pub const PROBLEM_MEDIA_TYPE: &str = "application/problem+json";

/// Why a request was refused, as RFC 9457 problem details. `code` is stable; `title` and `detail` are for people and
/// may change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct Problem {
    /// Where this kind of error is described, relative to the public URL.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "server", oai(rename = "type"))]
    pub kind: String,
    /// What went wrong, the same for every problem with this `code`.
    pub title: String,
    /// The HTTP status of the answer.
    pub status: u16,
    /// What went wrong this time. Never holds a submitted value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", oai(skip_serializing_if_is_none))]
    pub detail: Option<String>,
    /// The stable name of the error, which programs may branch on.
    pub code: String,
    /// The id of the request, as in the header `X-Request-Id` and in the server's log.
    pub request_id: String,
    /// The parts of the request that were refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", oai(skip_serializing_if_is_none))]
    pub errors: Option<Vec<FieldProblem>>,
    /// Seconds after which the same request may be tried again, as in the header `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", oai(skip_serializing_if_is_none))]
    pub retry_after: Option<u64>,
    /// With `second_factor_required`: what to send back together with the second factor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", oai(skip_serializing_if_is_none))]
    pub challenge: Option<String>,
    /// With `second_factor_required`: the kinds of second factor that this account can answer with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", oai(skip_serializing_if_is_none))]
    pub methods: Option<Vec<String>>,
}

/// One refused part of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(poem_openapi::Object))]
pub struct FieldProblem {
    /// A JSON pointer into the body as a URI fragment (`#/events/3/data`); `#/parameters/NAME` is a parameter.
    pub pointer: String,
    /// The stable name of the rule that refused it: `required`, `type`, `format`, `length`, `range`, `enum`,
    /// `pattern`, `unknown_field`, or a name of the route's own.
    pub code: String,
    /// What the rule asks for. Never holds the submitted value.
    pub detail: String,
}

impl FieldProblem {
    /// A refused part at `pointer`, by the rule `code`, which asks for `detail`.
    pub fn new(pointer: impl Into<String>, code: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            code: code.into(),
            detail: detail.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_members_are_left_out_and_read_back() {
        let problem = Problem {
            kind: "/docs/errors#not_found".into(),
            title: "Not found".into(),
            status: 404,
            detail: None,
            code: "not_found".into(),
            request_id: "r".into(),
            errors: None,
            retry_after: None,
            challenge: None,
            methods: None,
        };
        let json = serde_json::to_value(&problem).unwrap();
        let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys.len(), 5, "{keys:?}");
        assert_eq!(json["type"], "/docs/errors#not_found");
        assert_eq!(serde_json::from_value::<Problem>(json).unwrap(), problem);
    }
}
