//! The kinds of value a key can take: what is allowed, in words, and how the text becomes a value.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use ipnet::IpNet;

use super::address::{DatabaseUrl, PublicUrl};
use super::secret::{REDACTED, Secret};
use super::unit::{format_duration, format_size, parse_duration, parse_size};

/// Base64 as `base64` and `openssl` print it, with or without the closing padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a key may be set to.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A text that a test accepts; the words say what it accepts.
    Text(&'static str, fn(&str) -> bool),
    /// A secret text that a test accepts.
    SecretText(&'static str, fn(&str) -> bool),
    /// 32 bytes in base64, secret.
    MasterKey,
    /// A file or folder; a relative one is taken from the folder in which the process started.
    Path,
    /// `true` or `false`.
    Bool,
    /// A whole number, both ends included.
    Integer(u64, u64),
    /// A duration in milliseconds, both ends included.
    Duration(u64, u64),
    /// A size in bytes, both ends included.
    Size(u64, u64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// An IP address and a port to listen on.
    Listen,
    /// The public address.
    PublicUrl,
    /// The database address; secret, because it may hold a password.
    Database,
    /// Exact browser origins.
    Origins,
    /// IP addresses and networks.
    Networks,
    /// Lower-case words.
    Words,
    /// Host names, IP addresses and networks.
    Targets,
    /// A key of a technology that this binary was built without; setting it is a fault that says so. The flag marks a
    /// secret.
    Absent(&'static str, bool),
}

/// A value read from its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing sets the key and it has no built-in value.
    Unset,
    Text(String),
    Secret(Secret<String>),
    MasterKey(Secret<[u8; 32]>),
    Path(PathBuf),
    Bool(bool),
    Integer(u64),
    Duration(Duration),
    Size(u64),
    Listen(SocketAddr),
    PublicUrl(PublicUrl),
    Database(DatabaseUrl),
    List(Vec<String>),
    Networks(Vec<IpNet>),
}

/// A value before its kind is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Raw {
    /// One text, number or truth value, as text.
    One(String),
    /// A list of texts.
    Many(Vec<String>),
}

impl Raw {
    /// The entries of a list: a list as it is, a single text split at commas.
    fn entries(&self) -> Vec<&str> {
        match self {
            Self::One(text) => text
                .split(',')
                .map(str::trim)
                .filter(|entry| !entry.is_empty())
                .collect(),
            Self::Many(entries) => entries.iter().map(String::as_str).collect(),
        }
    }
}

impl Kind {
    /// Whether the value must never be shown whole; such a key also exists with `_file`.
    pub const fn is_secret(&self) -> bool {
        matches!(
            self,
            Self::SecretText(..) | Self::MasterKey | Self::Database | Self::Absent(_, true)
        )
    }

    /// Whether the value is a list, written with commas in a variable.
    pub const fn is_list(&self) -> bool {
        matches!(self, Self::Origins | Self::Networks | Self::Words | Self::Targets)
    }

    /// What is allowed, in words.
    pub fn allowed(&self) -> String {
        match self {
            Self::Text(rule, _) | Self::SecretText(rule, _) => (*rule).to_owned(),
            Self::MasterKey => "32 bytes in base64".to_owned(),
            Self::Path => "a path".to_owned(),
            Self::Bool => "`true` or `false`".to_owned(),
            Self::Integer(min, max) => format!("a whole number from {min} to {max}"),
            Self::Duration(min, max) => {
                let [min, max] = [min, max].map(|bound| format_duration(Duration::from_millis(*bound)));
                format!("a duration from {min} to {max}, such as `250ms`, `10s`, `15m`, `24h` or `7d`")
            }
            Self::Size(min, max) => {
                format!(
                    "a size from {} to {}, such as `512B`, `64KiB` or `5GiB`",
                    format_size(*min),
                    format_size(*max)
                )
            }
            Self::Choice(words) => {
                let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
                format!("one of {}", quoted.join(", "))
            }
            Self::Listen => "an IP address and a port, such as `127.0.0.1:8080` or `[::1]:0`".to_owned(),
            Self::PublicUrl => PublicUrl::RULE.trim_start_matches("must be ").to_owned(),
            Self::Database => DatabaseUrl::RULE.trim_start_matches("must be ").to_owned(),
            Self::Origins => {
                "a list of exact origins, such as `https://app.example.org`, without path or `*`".to_owned()
            }
            Self::Networks => "a list of IP addresses or networks, such as `10.0.0.0/8`".to_owned(),
            Self::Targets => {
                "a list of host names, IP addresses or networks, such as `hooks.internal` or `10.1.0.0/16`".to_owned()
            }
            Self::Words => "a list of words of lower-case letters, digits, `_`, `-` and `.`".to_owned(),
            Self::Absent(what, _) => format!("nothing: this binary was built without {what}"),
        }
    }

    /// The fault's sentence for a value that is not allowed.
    pub(super) fn rule(&self) -> String {
        match self {
            Self::Absent(what, _) => format!("must not be set: this binary was built without {what}"),
            _ => format!("must be {}", self.allowed().replace('`', "")),
        }
    }

    /// Reads a value; `None` when it is not allowed.
    pub(super) fn read(&self, raw: &Raw, working_dir: &Path) -> Option<Value> {
        match (self, raw) {
            (Self::Absent(..), _) => None,
            (Self::Origins, raw) => {
                all(&raw.entries(), |entry| is_origin(entry).then(|| entry.to_owned())).map(Value::List)
            }
            (Self::Words, raw) => {
                all(&raw.entries(), |entry| is_word(entry).then(|| entry.to_owned())).map(Value::List)
            }
            (Self::Targets, raw) => {
                all(&raw.entries(), |entry| is_target(entry).then(|| entry.to_owned())).map(Value::List)
            }
            (Self::Networks, raw) => all(&raw.entries(), read_network).map(Value::Networks),
            (_, Raw::Many(_)) => None,
            (_, Raw::One(text)) => self.read_one(text, working_dir),
        }
    }

    fn read_one(&self, text: &str, working_dir: &Path) -> Option<Value> {
        match self {
            Self::Text(_, accepts) => accepts(text).then(|| Value::Text(text.to_owned())),
            Self::SecretText(_, accepts) => accepts(text).then(|| Value::Secret(Secret::new(text.to_owned()))),
            Self::MasterKey => {
                let bytes = BASE64.decode(text.trim()).ok()?;
                Some(Value::MasterKey(Secret::new(bytes.try_into().ok()?)))
            }
            Self::Path if text.is_empty() || text.contains('\0') => None,
            Self::Path => Some(Value::Path(working_dir.join(text).components().collect())),
            Self::Bool => text.parse().ok().map(Value::Bool),
            Self::Integer(min, max) => within(text.parse().ok()?, *min, *max).map(Value::Integer),
            Self::Duration(min, max) => {
                let duration = parse_duration(text)?;
                within(u64::try_from(duration.as_millis()).ok()?, *min, *max)?;
                Some(Value::Duration(duration))
            }
            Self::Size(min, max) => within(parse_size(text)?, *min, *max).map(Value::Size),
            Self::Choice(words) => words.contains(&text).then(|| Value::Text(text.to_owned())),
            Self::Listen => text.parse().ok().map(Value::Listen),
            Self::PublicUrl => PublicUrl::parse(text).map(Value::PublicUrl),
            Self::Database => DatabaseUrl::parse(text, working_dir).map(Value::Database),
            Self::Origins | Self::Networks | Self::Words | Self::Targets | Self::Absent(..) => None,
        }
    }
}

impl fmt::Display for Value {
    /// The value as an operator would write it; a secret as [`REDACTED`].
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset => Ok(()),
            Self::Text(text) => formatter.write_str(text),
            Self::Secret(_) | Self::MasterKey(_) => formatter.write_str(REDACTED),
            Self::Path(path) => write!(formatter, "{}", path.display()),
            Self::Bool(value) => write!(formatter, "{value}"),
            Self::Integer(value) => write!(formatter, "{value}"),
            Self::Duration(value) => formatter.write_str(&format_duration(*value)),
            Self::Size(value) => formatter.write_str(&format_size(*value)),
            Self::Listen(value) => write!(formatter, "{value}"),
            Self::PublicUrl(value) => write!(formatter, "{value}"),
            Self::Database(value) => write!(formatter, "{value}"),
            Self::List(entries) => formatter.write_str(&entries.join(",")),
            Self::Networks(entries) => {
                let entries: Vec<String> = entries.iter().map(IpNet::to_string).collect();
                formatter.write_str(&entries.join(","))
            }
        }
    }
}

fn within(value: u64, min: u64, max: u64) -> Option<u64> {
    (min..=max).contains(&value).then_some(value)
}

fn all<T>(entries: &[&str], read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    entries.iter().map(|entry| read(entry)).collect()
}

/// A network, or a single address as a network of one.
fn read_network(text: &str) -> Option<IpNet> {
    text.parse()
        .ok()
        .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// A network, an address, or a name of lower-case labels.
fn is_target(text: &str) -> bool {
    let label = |label: &str| {
        let allowed = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "_-".contains(letter);
        (1..=63).contains(&label.len()) && label.chars().all(allowed)
    };
    let numbers = |text: &str| {
        text.rsplit('.')
            .next()
            .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()))
    };
    read_network(text).is_some() || (text.len() <= 253 && text.split('.').all(label) && !numbers(text))
}

fn is_origin(text: &str) -> bool {
    url::Url::parse(text)
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.origin().ascii_serialization() == text)
}

fn is_word(text: &str) -> bool {
    let allowed = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "_-.".contains(letter);
    (1..=64).contains(&text.len()) && text.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: Kind, text: &str) -> Option<Value> {
        kind.read(&Raw::One(text.to_owned()), Path::new("/srv"))
    }

    #[test]
    fn numbers_keep_to_their_range() {
        let kind = Kind::Integer(4, 16);
        assert_eq!(read(kind, "4"), Some(Value::Integer(4)));
        for wrong in ["3", "17", "-4", "4.0", "four", ""] {
            assert_eq!(read(kind, wrong), None, "{wrong:?}");
        }
        assert_eq!(kind.rule(), "must be a whole number from 4 to 16");
        assert_eq!(
            read(Kind::Duration(1_000, 60_000), "1m"),
            Some(Value::Duration(Duration::from_secs(60)))
        );
        assert_eq!(read(Kind::Duration(1_000, 60_000), "61s"), None);
        assert_eq!(read(Kind::Size(1, 1024), "2KiB"), None);
    }

    #[test]
    fn a_master_key_is_exactly_32_bytes() {
        let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        assert_eq!(read(Kind::MasterKey, key), Some(Value::MasterKey(Secret::new([0; 32]))));
        assert_eq!(
            read(Kind::MasterKey, &format!("{key}=")),
            Some(Value::MasterKey(Secret::new([0; 32])))
        );
        for wrong in ["", "AAAA", "not base64 at all, but long enough to be one"] {
            assert_eq!(read(Kind::MasterKey, wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn relative_paths_start_in_the_working_folder() {
        assert_eq!(
            read(Kind::Path, "./plinth-data"),
            Some(Value::Path(PathBuf::from("/srv/plinth-data")))
        );
        assert_eq!(
            read(Kind::Path, "/var/lib/plinth"),
            Some(Value::Path(PathBuf::from("/var/lib/plinth")))
        );
        assert_eq!(read(Kind::Path, ""), None);
    }

    #[test]
    fn origins_are_exact() {
        assert!(read(Kind::Origins, "https://a.example,http://localhost:3000").is_some());
        for wrong in [
            "*",
            "null",
            "https://a.example/",
            "https://A.example",
            "https://a.example/x",
            "a.example",
        ] {
            assert_eq!(read(Kind::Origins, wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn networks_take_single_addresses() {
        let value = read(Kind::Networks, "10.0.0.0/8, ::1").map(|value| value.to_string());
        assert_eq!(value.as_deref(), Some("10.0.0.0/8,::1/128"));
        assert_eq!(read(Kind::Networks, "10.0.0.0/33"), None);
    }

    #[test]
    fn targets_are_hosts_addresses_or_networks() {
        let value = read(Kind::Targets, "127.0.0.1/32, hooks.internal,::1,box").map(|value| value.to_string());
        assert_eq!(value.as_deref(), Some("127.0.0.1/32,hooks.internal,::1,box"));
        for wrong in [
            "*",
            "*.internal",
            "http://x",
            "x:80",
            "10.0.0.0/40",
            "10.0.0",
            "A.example",
            "a..b",
            "a/b",
        ] {
            assert_eq!(read(Kind::Targets, wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn secrets_are_shown_by_mark_only() {
        let kind = Kind::SecretText("any", |_| true);
        assert_eq!(
            read(kind, "hunter2").map(|value| value.to_string()).as_deref(),
            Some(REDACTED)
        );
        assert!(kind.is_secret());
        assert!(!format!("{:?}", read(kind, "hunter2")).contains("hunter2"));
    }

    #[test]
    fn a_list_is_refused_where_one_value_is_due() {
        let raw = Raw::Many(vec!["1".to_owned()]);
        assert_eq!(Kind::Integer(0, 9).read(&raw, Path::new("/")), None);
        assert!(Kind::Words.read(&raw, Path::new("/")).is_some());
    }
}
