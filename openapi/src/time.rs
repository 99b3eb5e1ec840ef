//! Times on the wire: RFC 3339 text in UTC.

use serde::{Deserialize, Serialize};

/// A point in time as RFC 3339 writes it, in UTC: `2026-11-22T09:30:00.25Z`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(pub String);

#[cfg(feature = "server")]
mod server {
    use std::borrow::Cow;

    use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
    use poem_openapi::types::{ParseError, ParseFromJSON, ParseResult, ToJSON, Type};
    use serde_json::Value;

    use super::Time;

    impl From<domain::time::Timestamp> for Time {
        fn from(at: domain::time::Timestamp) -> Self {
            Self(at.to_rfc3339())
        }
    }

    impl Type for Time {
        const IS_REQUIRED: bool = true;
        type RawValueType = Self;
        type RawElementValueType = Self;

        fn name() -> Cow<'static, str> {
            "string_date-time".into()
        }

        fn schema_ref() -> MetaSchemaRef {
            MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "date-time")))
        }

        fn as_raw_value(&self) -> Option<&Self> {
            Some(self)
        }

        fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
            Box::new(std::iter::once(self))
        }
    }

    impl ToJSON for Time {
        fn to_json(&self) -> Option<Value> {
            Some(Value::String(self.0.clone()))
        }
    }

    impl ParseFromJSON for Time {
        fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
            match value.unwrap_or_default() {
                Value::String(text) => match domain::time::Timestamp::parse_rfc3339(&text) {
                    Ok(at) => Ok(Self(at.to_rfc3339())),
                    Err(error) => Err(ParseError::custom(error)),
                },
                other => Err(ParseError::expected_type(other)),
            }
        }
    }
}
