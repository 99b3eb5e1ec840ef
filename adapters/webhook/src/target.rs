//! What an address tells by its text: whether it may be sent to, and where that is.

use std::net::IpAddr;

use ipnet::IpNet;
use ports::TargetRefusal;
use url::{Host, Url};

use crate::address::is_public;

/// Ports from 1024 upward on which nothing speaks HTTP, and on which what listens could take a request for something else (the list
/// of browsers, Fetch section 2.9, less what is below 1024).
const BAD_PORTS: &[u16] = &[
    1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
];

/// The exceptions: hosts and networks that may be sent to although they are not public, without TLS too.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    hosts: Vec<String>,
    networks: Vec<IpNet>,
}

/// An exception is neither a host name nor an address or network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadException;

impl Allowed {
    /// Reads exceptions: `127.0.0.1`, `10.1.0.0/16`, `hooks.internal`.
    ///
    /// # Errors
    /// When one is none.
    pub fn parse<'t>(entries: impl IntoIterator<Item = &'t str>) -> Result<Self, BadException> {
        let mut allowed = Self::default();
        for entry in entries {
            if let Ok(network) = entry.parse::<IpNet>() {
                allowed.networks.push(network);
            } else if let Ok(address) = entry.parse::<IpAddr>() {
                allowed.networks.push(address.into());
            } else {
                match Host::parse(entry) {
                    Ok(Host::Domain(name)) if !name.contains('*') => allowed.hosts.push(bare(&name).to_owned()),
                    _ => return Err(BadException),
                }
            }
        }
        Ok(allowed)
    }

    /// Whether the host is among them by its name.
    pub(crate) fn names(&self, host: &str) -> bool {
        self.hosts.iter().any(|known| known == host)
    }

    /// Whether the address is among them, in whichever form it is written.
    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        let canonical = address.to_canonical();
        self.networks
            .iter()
            .any(|network| network.contains(&address) || network.contains(&canonical))
    }
}

/// A name without the dot of its root.
fn bare(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Where an address leads, as far as its text tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) tls: bool,
    /// A name, or an address without brackets.
    pub(crate) host: String,
    /// The address itself, when it is written so.
    pub(crate) literal: Option<IpAddr>,
    pub(crate) port: u16,
    /// The header `Host`.
    pub(crate) authority: String,
    /// Path and query.
    pub(crate) path: String,
    /// Whether the host is an exception by its name.
    pub(crate) named: bool,
}

impl Target {
    /// Reads an address.
    ///
    /// # Errors
    /// Why it may not be sent to.
    pub(crate) fn parse(text: &str, allowed: &Allowed) -> Result<Self, TargetRefusal> {
        let url = Url::parse(text).map_err(|_| TargetRefusal::Malformed)?;
        let tls = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(TargetRefusal::NotHttps),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TargetRefusal::Userinfo);
        }
        if url.fragment().is_some() || text.chars().any(|letter| letter.is_control() || letter.is_whitespace()) {
            return Err(TargetRefusal::Malformed);
        }
        let (host, literal) = match url.host() {
            Some(Host::Domain(name)) => (bare(name).to_owned(), None),
            Some(Host::Ipv4(address)) => (address.to_string(), Some(IpAddr::V4(address))),
            Some(Host::Ipv6(address)) => (address.to_string(), Some(IpAddr::V6(address))),
            None => return Err(TargetRefusal::Malformed),
        };
        let port = url.port_or_known_default().ok_or(TargetRefusal::Malformed)?;
        let named = literal.is_none() && allowed.names(&host);
        let excepted = named || literal.is_some_and(|address| allowed.holds(address));
        if !excepted {
            if literal.is_some_and(|address| !is_public(address)) {
                return Err(TargetRefusal::NotPublic);
            }
            if !tls {
                return Err(TargetRefusal::NotHttps);
            }
            if (port < 1_024 && !matches!(port, 80 | 443)) || BAD_PORTS.contains(&port) {
                return Err(TargetRefusal::Port);
            }
        }
        let shown = match literal {
            Some(IpAddr::V6(_)) => format!("[{host}]"),
            _ => host.clone(),
        };
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        Ok(Self {
            authority: url
                .port()
                .map_or_else(|| shown.clone(), |port| format!("{shown}:{port}")),
            path: format!("{}{query}", url.path()),
            tls,
            host,
            literal,
            port,
            named,
        })
    }

    /// Host and port, by which attempts at one place are counted.
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> Allowed {
        Allowed::parse(["127.0.0.0/8", "::1", "hooks.internal", "Box."]).unwrap()
    }

    #[test]
    fn exceptions_are_hosts_addresses_and_networks() {
        for wrong in ["*.internal", "a b", "10.0.0.0/40", "http://x", "", "x/y"] {
            assert_eq!(Allowed::parse([wrong]).err(), Some(BadException), "{wrong:?}");
        }
        let allowed = allowed();
        assert!(allowed.names("hooks.internal") && allowed.names("box") && !allowed.names("internal"));
        assert!(allowed.holds("127.9.9.9".parse().unwrap()));
        assert!(allowed.holds("::ffff:127.0.0.1".parse().unwrap()));
        assert!(!allowed.holds("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn only_exceptions_may_do_without_tls_and_use_any_port() {
        let allowed = allowed();
        for (text, expected) in [
            ("http://127.0.0.1:81/x", Ok("127.0.0.1:81")),
            ("http://[::1]/", Ok("::1:80")),
            ("http://hooks.internal/", Ok("hooks.internal:80")),
            ("http://HOOKS.internal.:22/", Ok("hooks.internal:22")),
            ("http://example.org/", Err(TargetRefusal::NotHttps)),
            ("http://8.8.8.8/", Err(TargetRefusal::NotHttps)),
            ("https://8.8.8.8/", Ok("8.8.8.8:443")),
            ("https://[2606:4700::1111]:8443/", Ok("2606:4700::1111:8443")),
            ("https://10.1.1.1/", Err(TargetRefusal::NotPublic)),
            ("https://2130706433/", Ok("127.0.0.1:443")),
            ("https://0xa000001/", Err(TargetRefusal::NotPublic)),
            ("https://[::ffff:10.0.0.1]/", Err(TargetRefusal::NotPublic)),
            ("https://example.org:25/", Err(TargetRefusal::Port)),
            ("https://example.org:6667/", Err(TargetRefusal::Port)),
            ("https://example.org:80/", Ok("example.org:80")),
            ("https://exa mple.org/", Err(TargetRefusal::Malformed)),
            ("https://example.org/a\tb", Err(TargetRefusal::Malformed)),
            ("javascript:alert(1)", Err(TargetRefusal::NotHttps)),
        ] {
            let found = Target::parse(text, &allowed).map(|target| target.place());
            assert_eq!(found.as_deref(), expected.as_deref(), "{text}");
        }
    }

    #[test]
    fn path_query_and_host_header_are_as_they_were_given() {
        let target = Target::parse("https://Example.org:8443/a%20b?c=d&e", &Allowed::default()).unwrap();
        assert_eq!(
            (target.path.as_str(), target.authority.as_str()),
            ("/a%20b?c=d&e", "example.org:8443")
        );
        let target = Target::parse("https://example.org", &Allowed::default()).unwrap();
        assert_eq!((target.path.as_str(), target.authority.as_str()), ("/", "example.org"));
        let target = Target::parse("http://[::1]:81/", &allowed()).unwrap();
        assert_eq!(target.authority, "[::1]:81");
    }
}
