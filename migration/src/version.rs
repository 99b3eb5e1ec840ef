//! Versions of the binary, in their order.

use std::fmt;
use std::str::FromStr;

/// `MAJOR.MINOR.PATCH`. A pre-release or build part is dropped: what the schema promises to a release it promises to its candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    major: u64,
    minor: u64,
    patch: u64,
}

/// A text is not a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a version such as 1.2.3")]
pub struct ParseVersionError(String);

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, ParseVersionError> {
        let release = text.split(['-', '+']).next().unwrap_or_default();
        let mut numbers = release.split('.').map(|part| part.parse::<u64>().ok());
        let mut next = || numbers.next().flatten();
        match (next(), next(), next(), numbers.next()) {
            (Some(major), Some(minor), Some(patch), None) => Ok(Self { major, minor, patch }),
            _ => Err(ParseVersionError(text.to_owned())),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().expect("a version")
    }

    #[test]
    fn versions_are_ordered_as_numbers() {
        assert!(version("0.9.0") < version("0.10.0"));
        assert!(version("0.10.9") < version("1.0.0"));
        assert_eq!(version("1.2.3-rc.1+build.5"), version("1.2.3"));
        assert_eq!(version("1.2.3").to_string(), "1.2.3");
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in ["", "1", "1.2", "1.2.3.4", "1.x.3", "v1.2.3"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }
}
