//! The `Host` header: RFC 9112, section 3.2, and the names that a listener answers to.
use poem::{
    Request,
    http::{Version, header},
};

use crate::http::problem::Fault;

/// DNS names end at 253 bytes (RFC 1035, section 2.3.4); a port and its colon add six.
const LONGEST: usize = 259;

/// Refuses what RFC 9112 tells a server to refuse, and names outside `allowed` where there is such a list.
pub(super) fn check(request: &Request, allowed: Option<&[String]>) -> Result<(), Fault> {
    let mut values = request.headers().get_all(header::HOST).iter();
    let Some(value) = values.next() else {
        // Only HTTP/1.0 knew requests without it.
        return if request.version() == Version::HTTP_10 && allowed.is_none() {
            Ok(())
        } else {
            Err(Fault::host_invalid().detail("the Host header is missing"))
        };
    };
    if values.next().is_some() {
        return Err(Fault::host_invalid().detail("there is more than one Host header"));
    }
    let name = value.to_str().ok().and_then(name_of);
    let name =
        name.ok_or_else(|| Fault::host_invalid().detail("the Host header is not a host with an optional port"))?;
    match allowed {
        Some(allowed) if !allowed.iter().any(|accepted| accepted.eq_ignore_ascii_case(name)) => {
            Err(Fault::host_invalid().detail("this listener does not answer to that host"))
        }
        _ => Ok(()),
    }
}

/// The host without its port; `None` when the value is not `uri-host [ ":" port ]`. Of the grammar of RFC 3986 it
/// takes what names and addresses need: a comma, say, is the mark of two headers merged into one.
fn name_of(value: &str) -> Option<&str> {
    if value.is_empty() || value.len() > LONGEST {
        return None;
    }
    let (name, port) = match value.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']')?;
            rest[..end].parse::<std::net::Ipv6Addr>().ok()?;
            (
                &value[..end + 2],
                rest[end + 1..]
                    .strip_prefix(':')
                    .or(rest[end + 1..].is_empty().then_some(""))?,
            )
        }
        None => value.split_once(':').unwrap_or((value, "")),
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%');
    let name_fits = !name.is_empty() && (name.starts_with('[') || name.bytes().all(plain));
    let port_fits = port.is_empty()
        || port
            .parse::<u16>()
            .is_ok_and(|_| port.bytes().all(|byte| byte.is_ascii_digit()));
    (name_fits && port_fits).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn hosts_are_told_from_what_is_none() {
        for (value, name) in [
            ("example.com", "example.com"),
            ("example.com:8080", "example.com"),
            ("127.0.0.1:1", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("[2001:db8::1]:443", "[2001:db8::1]"),
        ] {
            assert_eq!(name_of(value), Some(name), "{value}");
        }
        for value in [
            "", ":80", "a b", "a,b", "u@h", "h/p", "h:port", "h:99999", "h:+80", "[::1", "[x]", "[::1]x", "::1",
        ] {
            assert_eq!(name_of(value), None, "{value}");
        }
        assert_eq!(name_of(&"a".repeat(300)), None);
    }
}
