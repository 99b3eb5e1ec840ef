//! Who sent the request: the socket's address, or what a trusted proxy says of it; and the request's id.
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use ipnet::IpNet;
use poem::{
    Request,
    http::{HeaderMap, HeaderName, HeaderValue, header},
};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED: HeaderName = header::FORWARDED;
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// An id taken from a proxy may be this long; ours are 36.
const LONGEST_ID: usize = 128;

/// The address of the client, an extension of every request. IPv4 addresses written as IPv6 are IPv4 here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddress(IpAddr);

impl ClientAddress {
    /// An address, IPv4-mapped ones made IPv4.
    pub fn new(address: IpAddr) -> Self {
        Self(address.to_canonical())
    }

    /// The address itself.
    pub fn ip(self) -> IpAddr {
        self.0
    }

    /// What limits count by: the address, or for IPv6 its /64, because one subscriber holds at least that much
    /// (RFC 6177).
    pub fn bucket(self) -> IpNet {
        match self.0 {
            IpAddr::V4(address) => IpNet::from(IpAddr::V4(address)),
            IpAddr::V6(address) => {
                let prefix = u128::from(address) & !u128::from(u64::MAX);
                IpNet::new_assert(IpAddr::V6(Ipv6Addr::from(prefix)), 64)
            }
        }
    }

    /// The address of `request`: that of the peer, unless the peer is one of `trusted`.
    pub(super) fn of(request: &Request, trusted: &[IpNet]) -> Self {
        let peer = peer(request);
        if is_trusted(peer, trusted) {
            Self(behind(peer, request.headers(), trusted))
        } else {
            Self(peer)
        }
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of a request, an extension of every request; UUIDv7 unless a trusted proxy gave one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// An id that was made here.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id that a trusted proxy sent, if it is fit for headers and logs.
    pub(super) fn given(request: &Request, trusted: &[IpNet]) -> Option<Self> {
        if trusted.is_empty() || !is_trusted(peer(request), trusted) {
            return None;
        }
        let id = request.headers().get(REQUEST_ID)?.to_str().ok()?;
        let sane = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        ((1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(sane)).then(|| Self::new(id))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn peer(request: &Request) -> IpAddr {
    let socket = request.remote_addr().as_socket_addr();
    socket.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |socket| socket.ip().to_canonical())
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// Walks the proxies' notes from the right, each written by the hop after it, until one that is not trusted. A note
/// that is not an address ends the walk. When `Forwarded` and `X-Forwarded-For` disagree, one of them came from the
/// client, and neither is believed.
fn behind(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let plain = headers
        .contains_key(FORWARDED_FOR)
        .then(|| walk(peer, notes(headers, &FORWARDED_FOR).map(address_of), trusted));
    let standard = headers.contains_key(FORWARDED).then(|| {
        walk(
            peer,
            notes(headers, &FORWARDED).map(|note| forwarded_for(note).and_then(address_of)),
            trusted,
        )
    });
    match (plain, standard) {
        (Some(plain), Some(standard)) if plain != standard => peer,
        (plain, standard) => plain.or(standard).unwrap_or(peer),
    }
}

fn walk(peer: IpAddr, notes: impl Iterator<Item = Option<IpAddr>>, trusted: &[IpNet]) -> IpAddr {
    let mut client = peer;
    for note in notes {
        let Some(address) = note else { break };
        client = address;
        if !is_trusted(client, trusted) {
            break;
        }
    }
    client
}

/// The list members over all lines of a header, the last first.
fn notes<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let mut lines: Vec<&HeaderValue> = headers.get_all(name).iter().collect();
    lines.reverse();
    lines
        .into_iter()
        .flat_map(|line| line.to_str().unwrap_or("?").rsplit(','))
        .map(str::trim)
}

/// The `for` of one element of `Forwarded` (RFC 7239, section 4).
fn forwarded_for(element: &str) -> Option<&str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("for").then(|| value.trim_matches('"'))
    })
}

/// `1.2.3.4`, `1.2.3.4:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`.
fn address_of(note: &str) -> Option<IpAddr> {
    let bare = match note.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None if note.matches(':').count() == 1 => note.split_once(':')?.0,
        None => note,
    };
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let mut map = HeaderMap::new();
        for (name, value) in lines.iter().map(pair) {
            map.append(name, value);
        }
        map
    }

    #[test]
    fn notes_are_walked_from_the_right_while_the_hop_is_trusted() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let peer: IpAddr = "10.0.0.1".parse().unwrap();
        for (lines, client) in [
            (vec![], "10.0.0.1"),
            (vec![("x-forwarded-for", "6.6.6.6, 1.2.3.4, 10.0.0.2")], "1.2.3.4"),
            (
                vec![("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "1.2.3.4")],
                "1.2.3.4",
            ),
            (vec![("x-forwarded-for", "1.2.3.4:555")], "1.2.3.4"),
            (vec![("x-forwarded-for", "::ffff:1.2.3.4")], "1.2.3.4"),
            (vec![("x-forwarded-for", "6.6.6.6, unknown, 10.0.0.2")], "10.0.0.2"),
            (vec![("x-forwarded-for", "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
            (
                vec![("forwarded", "for=6.6.6.6, for=\"[2001:db8::7]:80\";proto=https")],
                "2001:db8::7",
            ),
            (
                vec![("forwarded", "for=1.2.3.4"), ("x-forwarded-for", "1.2.3.4")],
                "1.2.3.4",
            ),
            (
                vec![("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "1.2.3.4")],
                "10.0.0.1",
            ),
        ] {
            assert_eq!(
                behind(peer, &headers(&lines), &trusted).to_string(),
                client,
                "{lines:?}"
            );
        }
    }

    #[test]
    fn limits_count_ipv6_by_64_and_ipv4_by_itself() {
        let bucket = |text: &str| ClientAddress::new(text.parse().unwrap()).bucket().to_string();
        assert_eq!(bucket("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(bucket("1.2.3.4"), "1.2.3.4/32");
        assert_eq!(bucket("::ffff:1.2.3.4"), "1.2.3.4/32");
    }
}
