//! The two addresses that need care: the database, which may hold a password, and the public one, which goes into links.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use url::Url;

use super::secret::{REDACTED, Secret};

/// Query parameters of a PostgreSQL address that may be shown; any other could hold a credential.
const SHOWN_PARAMETERS: [&str; 6] = ["sslmode", "application_name", "host", "port", "dbname", "options"];

/// Which engine the database address names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseEngine {
    /// SQLite, in the file at this absolute path.
    Sqlite(PathBuf),
    /// PostgreSQL.
    Postgres,
}

/// The address of the database. `Debug` and `Display` show user and host, never the password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    engine: DatabaseEngine,
    full: Secret<String>,
    shown: String,
}

impl DatabaseUrl {
    /// What an address must be, for a fault.
    pub(super) const RULE: &'static str = "must be sqlite://PATH without parameters, or postgres://USER@HOST/NAME";

    /// Reads an address; a relative SQLite path is taken from `working_dir`. `None` when it breaks the rule.
    pub(super) fn parse(text: &str, working_dir: &Path) -> Option<Self> {
        if let Some(path) = text.strip_prefix("sqlite://") {
            let path = percent_decode(path)?;
            let usable = !path.is_empty()
                && !path.ends_with('/')
                && !text.contains('?')
                && !path.contains('\0')
                && !path.contains(":memory:");
            return usable.then(|| Self::sqlite(&working_dir.join(path)));
        }
        let url = Url::parse(text).ok()?;
        let known = matches!(url.scheme(), "postgres" | "postgresql");
        let has_host = url.host_str().is_some_and(|host| !host.is_empty())
            || url
                .query_pairs()
                .any(|(name, value)| name == "host" && !value.is_empty());
        (known && has_host && url.fragment().is_none()).then(|| Self::postgres(text, &url))
    }

    /// The address of an SQLite file.
    pub(super) fn sqlite(path: &Path) -> Self {
        let path: PathBuf = path.components().collect();
        let full = format!("sqlite://{}", percent_encode(&path.to_string_lossy()));
        Self {
            engine: DatabaseEngine::Sqlite(path),
            shown: full.clone(),
            full: Secret::new(full),
        }
    }

    fn postgres(text: &str, url: &Url) -> Self {
        let mut shown = format!("{}://", url.scheme());
        if !url.username().is_empty() || url.password().is_some() {
            shown.push_str(url.username());
            if url.password().is_some() {
                shown.push(':');
                shown.push_str(REDACTED);
            }
            shown.push('@');
        }
        shown.push_str(url.host_str().unwrap_or_default());
        if let Some(port) = url.port() {
            shown.push_str(&format!(":{port}"));
        }
        shown.push_str(url.path());
        for (index, (name, value)) in url.query_pairs().enumerate() {
            let value = if SHOWN_PARAMETERS.contains(&&*name) {
                &*value
            } else {
                REDACTED
            };
            shown.push_str(&format!("{}{name}={value}", if index == 0 { '?' } else { '&' }));
        }
        Self {
            engine: DatabaseEngine::Postgres,
            full: Secret::new(text.to_owned()),
            shown,
        }
    }

    /// The engine that the address names.
    pub const fn engine(&self) -> &DatabaseEngine {
        &self.engine
    }

    /// Whether the database is PostgreSQL.
    pub const fn is_postgres(&self) -> bool {
        matches!(self.engine, DatabaseEngine::Postgres)
    }

    /// The whole address, password included, for the driver alone.
    pub fn expose(&self) -> &str {
        self.full.expose()
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.shown)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.shown)
    }
}

/// Drivers read the part after `sqlite://` percent-decoded and cut it at `?`, so these letters must be escaped.
fn percent_encode(path: &str) -> String {
    path.replace('%', "%25").replace('?', "%3F").replace('#', "%23")
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = after.get(2..)?;
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

/// The address under which clients reach the API: absolute, http or https, with an optional path prefix and without a
/// trailing slash. Every link is built from it, never from a request's headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(String);

impl PublicUrl {
    /// What a public address must be, for a fault.
    pub(super) const RULE: &'static str =
        "must be an absolute http:// or https:// address without user, query or fragment";

    /// Reads an address. `None` when it breaks the rule.
    pub fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let sound = matches!(url.scheme(), "http" | "https")
            && text
                .get(..url.scheme().len() + 3)
                .is_some_and(|start| start.ends_with("://"))
            && url.host_str().is_some_and(|host| !host.is_empty())
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        sound.then(|| Self(url.as_str().trim_end_matches('/').to_owned()))
    }

    /// The address of a listener, for a loopback bind without a configured public address.
    pub fn of_listener(address: SocketAddr) -> Self {
        Self(format!("http://{address}"))
    }

    /// The address without a trailing slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address of a path under the prefix; `path` begins with a slash.
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// Whether traffic to this address is encrypted.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// Whether the host is this machine only.
    pub fn is_loopback(&self) -> bool {
        match Url::parse(&self.0).ok().as_ref().and_then(Url::host) {
            Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.to_canonical().is_loopback(),
            None => false,
        }
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(text: &str) -> Option<DatabaseUrl> {
        DatabaseUrl::parse(text, Path::new("/srv"))
    }

    #[test]
    fn a_postgres_address_hides_password_and_unknown_parameters() {
        let url = database("postgres://app:s3cret@db.example:5433/plinth?sslmode=require&password=tr0ub4dor").unwrap();
        let shown = "postgres://app:[redacted]@db.example:5433/plinth?sslmode=require&password=[redacted]";
        assert_eq!(url.to_string(), shown);
        assert_eq!(format!("{url:?}"), shown);
        assert!(url.is_postgres());
        assert!(url.expose().contains("s3cret"));
        assert!(database("postgresql:///plinth?host=/run/postgresql").is_some());
    }

    #[test]
    fn sqlite_paths_are_absolute_and_escaped() {
        let url = database("sqlite://data/50%25.db").unwrap();
        assert_eq!(url.engine(), &DatabaseEngine::Sqlite(PathBuf::from("/srv/data/50%.db")));
        assert_eq!(url.expose(), "sqlite:///srv/data/50%25.db");
        let url = database("sqlite:///var/lib/./plinth.db").unwrap();
        assert_eq!(
            url.engine(),
            &DatabaseEngine::Sqlite(PathBuf::from("/var/lib/plinth.db"))
        );
    }

    #[test]
    fn other_databases_are_refused() {
        let wrong = [
            "mysql://host/db",
            "sqlite://",
            "sqlite::memory:",
            "sqlite://:memory:",
            "sqlite://a.db?mode=ro",
            "sqlite://a%zz",
            "postgres:///name",
            "plinth.db",
            "",
        ];
        for text in wrong {
            assert_eq!(database(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_public_address_keeps_its_prefix() {
        let url = PublicUrl::parse("https://example.org/plinth/").unwrap();
        assert_eq!(url.as_str(), "https://example.org/plinth");
        assert_eq!(url.join("/v1/me"), "https://example.org/plinth/v1/me");
        assert_eq!(
            PublicUrl::parse("https://example.org").unwrap().join("/docs"),
            "https://example.org/docs"
        );
        let wrong = [
            "example.org",
            "ftp://example.org",
            "https://a/?q",
            "https://a/#f",
            "https://u:p@a",
            "https:a",
            "/x",
            "",
        ];
        for text in wrong {
            assert_eq!(PublicUrl::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn loopback_hosts_are_known() {
        for (text, loopback) in [
            ("http://localhost:8080", true),
            ("http://127.0.0.1", true),
            ("http://[::1]:1", true),
            ("https://example.org", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(PublicUrl::parse(text).unwrap().is_loopback(), loopback, "{text}");
        }
    }
}
