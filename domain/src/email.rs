//! E-mail addresses: parsed once, normalised, safe to put into a header or an SMTP command.

use std::fmt;
use std::str::FromStr;

/// An address that can be written to: lower-case ASCII, one local part, one domain name.
///
/// Nothing that could end a header line, open a second recipient or leave an SMTP command
/// (RFC 5321 section 4.1.2: quotes, angle brackets, comments, control characters, spaces) can be held.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EmailAddress(String);

/// Why a text is not taken as an address. It names the rule, never the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseEmailError {
    /// Nothing but white space.
    #[error("must not be empty")]
    Empty,
    /// RFC 5321 section 4.5.3.1: 64 octets for the local part, 254 for the path.
    #[error("must be at most 254 characters, 64 of them before the @")]
    TooLong,
    /// There must be exactly one `@` between two parts.
    #[error("must have one @ with text on both sides")]
    Shape,
    /// Only the characters of an RFC 5322 dot-atom.
    #[error("may have only letters, digits and .!#$%&'*+/=?^_`{{|}}~- before the @, no dot first, last or doubled")]
    LocalPart,
    /// Host name rules of RFC 1123, at least two labels.
    #[error("must have a domain name such as example.org after the @ (internationalised names in their xn-- form)")]
    Domain,
}

impl EmailAddress {
    /// The normalised address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part after the `@`.
    pub fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

impl FromStr for EmailAddress {
    type Err = ParseEmailError;

    fn from_str(text: &str) -> Result<Self, ParseEmailError> {
        let text = text.trim_matches([' ', '\t']);
        if text.is_empty() {
            return Err(ParseEmailError::Empty);
        }
        let (local, domain) = text.split_once('@').ok_or(ParseEmailError::Shape)?;
        if local.is_empty() || domain.is_empty() || domain.contains('@') {
            return Err(ParseEmailError::Shape);
        }
        if text.len() > 254 || local.len() > 64 {
            return Err(ParseEmailError::TooLong);
        }
        if !local.split('.').all(is_atom) {
            return Err(ParseEmailError::LocalPart);
        }
        if !is_domain(domain) {
            return Err(ParseEmailError::Domain);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

fn is_atom(part: &str) -> bool {
    !part.is_empty()
        && part
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-".contains(&b))
}

fn is_domain(domain: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    // A last label of digits alone would be an address, not a name (RFC 1123 section 2.1).
    domain.contains('.')
        && domain.split('.').all(label)
        && domain
            .rsplit('.')
            .next()
            .is_some_and(|last| !last.bytes().all(|b| b.is_ascii_digit()))
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Shows the domain only: addresses are personal data and do not belong in logs.
impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EmailAddress(…@{})", self.domain())
    }
}
