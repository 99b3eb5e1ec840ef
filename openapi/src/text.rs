//! A text in a request that is a text: poem-openapi takes numbers and truth values for one, against its own schema.

use std::ops::Deref;

use serde::{Deserialize, Serialize};

/// A JSON string, and nothing that could be written as one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text(pub String);

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text)
    }
}

#[cfg(feature = "server")]
mod server {
    use std::borrow::Cow;

    use poem_openapi::registry::MetaSchemaRef;
    use poem_openapi::types::{ParseError, ParseFromJSON, ParseResult, ToJSON, Type};
    use serde_json::Value;

    use super::Text;

    impl Type for Text {
        const IS_REQUIRED: bool = true;
        type RawValueType = Self;
        type RawElementValueType = Self;

        fn name() -> Cow<'static, str> {
            String::name()
        }

        fn schema_ref() -> MetaSchemaRef {
            String::schema_ref()
        }

        fn as_raw_value(&self) -> Option<&Self> {
            Some(self)
        }

        fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
            Box::new(std::iter::once(self))
        }
    }

    impl ToJSON for Text {
        fn to_json(&self) -> Option<Value> {
            Some(Value::String(self.0.clone()))
        }
    }

    impl ParseFromJSON for Text {
        fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
            match value.unwrap_or_default() {
                Value::String(text) => Ok(Self(text)),
                other => Err(ParseError::expected_type(other)),
            }
        }
    }
}

#[cfg(all(test, feature = "server"))]
mod tests {
    use poem_openapi::types::ParseFromJSON;
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_string_is_a_text() {
        assert_eq!(
            Text::parse_from_json(Some(json!("false"))).unwrap(),
            Text::from("false")
        );
        for other in [json!(false), json!(1), json!(null), json!(["a"]), json!({ "a": "b" })] {
            assert!(Text::parse_from_json(Some(other.clone())).is_err(), "{other}");
        }
        assert!(Text::parse_from_json(None).is_err());
    }
}
