//! Tests of single texts that a kind alone does not express.

use tracing_subscriber::EnvFilter;

/// First words of the types that Plinth's own events use; clients may not publish under them.
const RESERVED_EVENT_WORDS: [&str; 14] = [
    "account", "admin", "audit", "auth", "event", "file", "flag", "key", "mail", "plinth", "session", "tier", "user",
    "webhook",
];

/// A bearer token: visible ASCII, long enough not to be guessed.
pub(super) fn token(text: &str) -> bool {
    (16..=256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// An issuer or audience: visible ASCII.
pub(super) fn claim(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// One address that can reach neither a header nor an SMTP command. The address type of the domain is stricter still.
pub(super) fn email(text: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|letter| !letter.is_control() && !letter.is_whitespace() && !"<>(),;:\\\"[]@".contains(letter))
    };
    // RFC 5321: 64 octets before the sign, 254 in all.
    text.len() <= 254
        && text
            .split_once('@')
            .is_some_and(|(local, host)| local.len() <= 64 && plain(local) && plain(host))
}

/// The bounds that hold for every password, whatever the configured minimum is.
pub(super) fn password(text: &str) -> bool {
    (8..=256).contains(&text.chars().count()) && text.len() <= 1_024
}

/// A sender's name.
pub(super) fn display_name(text: &str) -> bool {
    (1..=100).contains(&text.chars().count()) && !text.chars().any(char::is_control) && !text.trim().is_empty()
}

/// A language tag, by its shape (RFC 5646).
pub(super) fn locale(text: &str) -> bool {
    let mut parts = text.split('-');
    let language = parts.next().unwrap_or_default();
    (2..=3).contains(&language.len())
        && language.bytes().all(|byte| byte.is_ascii_lowercase())
        && parts.all(|part| (2..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Words that each end in a dot, the first not one of ours.
pub(super) fn event_prefix(text: &str) -> bool {
    let Some(words) = text.strip_suffix('.') else {
        return false;
    };
    let word = |word: &str| {
        word.starts_with(|first: char| first.is_ascii_lowercase())
            && word
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    text.len() <= 64
        && words.split('.').all(word)
        && !words
            .split('.')
            .next()
            .is_some_and(|first| RESERVED_EVENT_WORDS.contains(&first))
}

/// A level, or a list of `target=level`.
pub(super) fn log_filter(text: &str) -> bool {
    !text.trim().is_empty() && EnvFilter::try_new(text).is_ok()
}

/// Brokers: `HOST:PORT`, several with commas. A host is a name, an IPv4 address, or an IPv6 address in brackets.
pub(super) fn brokers(text: &str) -> bool {
    let broker = |broker: &str| {
        let Some((host, port)) = broker.rsplit_once(':') else {
            return false;
        };
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                (1..=253).contains(&host.len())
                    && host
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
            }
        };
        host && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    text.split(',').all(|entry| broker(entry.trim()))
}

/// The name of a topic, as Kafka has it (`org.apache.kafka.common.internals.Topic`).
pub(super) fn topic(text: &str) -> bool {
    (1..=249).contains(&text.len())
        && !matches!(text, "." | "..")
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// The names in a list of topics.
pub(super) fn read_topics(text: &str) -> Vec<String> {
    text.split(',').map(|name| name.trim().to_owned()).collect()
}

/// A list of topics, none of them twice.
pub(super) fn topics(text: &str) -> bool {
    let names = read_topics(text);
    let different: std::collections::BTreeSet<&String> = names.iter().collect();
    names.iter().all(|name| topic(name)) && different.len() == names.len()
}

/// A name or a password of moderate length.
pub(super) fn short_text(text: &str) -> bool {
    (1..=256).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

/// The settings in a text: `name=value`, with commas or line breaks between; none when one of them is not of that form.
pub(super) fn read_settings(text: &str) -> Option<Vec<(String, String)>> {
    let entries = text.split([',', '\n']).map(str::trim).filter(|entry| !entry.is_empty());
    let setting = |entry: &str| {
        let (name, value) = entry.split_once('=')?;
        let name = name.trim();
        let named = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
        named.then(|| (name.to_owned(), value.trim().to_owned()))
    };
    entries.map(setting).collect()
}

/// Whether a text holds settings.
pub(super) fn settings(text: &str) -> bool {
    read_settings(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_reach_no_header() {
        assert!(email("admin@example.org") && email("plinth@plinth.localhost"));
        for wrong in [
            "",
            "a",
            "a@",
            "@b",
            "a@b@c",
            "a b@c",
            "a@b\r\nBcc: x@y",
            "A <a@b>",
            "a@b,c@d",
            "\"a\"@b",
        ] {
            assert!(!email(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn event_prefixes_stay_clear_of_ours() {
        assert!(event_prefix("app.") && event_prefix("shop.orders."));
        for wrong in ["", ".", "app", "App.", "user.", "mail.x.", "a..", "-a."] {
            assert!(!event_prefix(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn brokers_topics_and_settings_are_known_by_shape() {
        for right in ["kafka:9092", "10.0.0.1:9092, b-2.example.org:9093", "[::1]:9092"] {
            assert!(brokers(right), "{right:?}");
        }
        for wrong in [
            "",
            "kafka",
            "kafka:0",
            "kafka:99999",
            ":9092",
            "http://kafka:9092",
            "a:1,,b:2",
            "::1:9092",
        ] {
            assert!(!brokers(wrong), "{wrong:?}");
        }
        assert!(topic("plinth.events") && topic("A_b-c.9"));
        assert!(!topic("") && !topic("..") && !topic("a b") && !topic(&"x".repeat(250)));
        let read = read_settings("a.b=1, c = x=y\n\nd=");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(read, Some(vec![pair("a.b", "1"), pair("c", "x=y"), pair("d", "")]));
        assert!(!settings("a.b") && !settings("=1") && !settings("a b=1"));
    }

    #[test]
    fn languages_and_levels_are_known_by_shape() {
        assert!(locale("en") && locale("pt-BR") && locale("zh-Hant-TW"));
        assert!(!locale("english") && !locale("EN") && !locale("en_GB") && !locale(""));
        assert!(log_filter("info") && log_filter("info,plinth::http=debug"));
        assert!(!log_filter("") && !log_filter("plinth=loud"));
    }

    #[test]
    fn secrets_have_a_least_length() {
        assert!(token("0123456789abcdef") && !token("0123456789abcde") && !token("0123456789 abcdef"));
        assert!(password("eight ch") && !password("seven c") && !password(&"x".repeat(257)));
        assert!(claim("urn:x") && !claim("") && !claim("a b"));
        assert!(display_name("Example Shop") && !display_name("a\nb") && !display_name("  "));
    }
}
