//! Reading a mail as a mail program does: headers unfolded and decoded, every part decoded to text.
//!
//! Only what Plinth's own mails can contain (RFC 2045, 2047): nothing here is fit for mail from strangers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A mail taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Name in lower case and decoded value, in the order of the file.
    pub headers: Vec<(String, String)>,
    /// The text of all parts, decoded, in the order of the file.
    pub body: String,
}

impl Message {
    /// Reads a whole `.eml` file.
    pub fn parse(source: &str) -> Self {
        let source = source.replace("\r\n", "\n");
        let (head, content) = split_head(&source);
        let headers = read_headers(head);
        let body = read_part(&headers, content);
        Self { headers, body }
    }

    /// The first header of this name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

fn split_head(source: &str) -> (&str, &str) {
    if let Some(content) = source.strip_prefix('\n') {
        return ("", content);
    }
    source.split_once("\n\n").unwrap_or((source, ""))
}

fn read_headers(head: &str) -> Vec<(String, String)> {
    let mut raw: Vec<(String, String)> = Vec::new();
    for line in head.lines() {
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = raw.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            raw.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    raw.into_iter()
        .map(|(name, value)| (name, decode_words(&value)))
        .collect()
}

fn read_part(headers: &[(String, String)], content: &str) -> String {
    let content_type = find(headers, "content-type").unwrap_or_default();
    if let Some(boundary) = parameter(content_type, "boundary") {
        let marker = format!("--{boundary}");
        let mut parts = content.split(marker.as_str());
        // What stands before the first boundary is for mail programs that know no parts.
        parts.next();
        return parts
            .take_while(|part| !part.starts_with("--"))
            .map(read_nested)
            .collect::<Vec<_>>()
            .join("\n");
    }
    decode_transfer(find(headers, "content-transfer-encoding").unwrap_or_default(), content)
}

fn read_nested(part: &str) -> String {
    let (head, content) = split_head(part.strip_prefix('\n').unwrap_or(part));
    read_part(&read_headers(head), content)
}

fn parameter(value: &str, name: &str) -> Option<String> {
    value.split(';').skip(1).find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        key.trim()
            .eq_ignore_ascii_case(name)
            .then(|| value.trim().trim_matches('"').to_owned())
    })
}

fn decode_transfer(encoding: &str, content: &str) -> String {
    match encoding.trim().to_ascii_lowercase().as_str() {
        "quoted-printable" => text(&decode_quoted(content)),
        "base64" => {
            let packed: String = content.chars().filter(|character| !character.is_whitespace()).collect();
            text(&STANDARD.decode(packed).unwrap_or_default())
        }
        _ => content.to_owned(),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Quoted-printable (RFC 2045, 6.7): `=XX` is a byte, `=` at the end of a line joins it to the next.
fn decode_quoted(content: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(content.len());
    for line in content.split_inclusive('\n') {
        let joined = line.trim_end_matches(['\n', ' ', '\t']).strip_suffix('=');
        let bytes = joined.unwrap_or(line).as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let byte = (bytes[at] == b'=')
                .then(|| hexadecimal(bytes.get(at + 1..at + 3)?))
                .flatten();
            decoded.push(byte.unwrap_or(bytes[at]));
            at += if byte.is_some() { 3 } else { 1 };
        }
    }
    decoded
}

fn hexadecimal(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Encoded words of a header (RFC 2047): `=?charset?B|Q?text?=`; the space between two of them is not text.
fn decode_words(value: &str) -> String {
    let mut decoded = String::new();
    let mut rest = value;
    let mut after_word = false;
    while let Some(start) = rest.find("=?") {
        let Some((word, length)) = encoded_word(&rest[start..]) else {
            decoded.push_str(&rest[..start + 2]);
            rest = &rest[start + 2..];
            after_word = false;
            continue;
        };
        let before = &rest[..start];
        if !(after_word && before.trim().is_empty()) {
            decoded.push_str(before);
        }
        decoded.push_str(&word);
        rest = &rest[start + length..];
        after_word = true;
    }
    decoded.push_str(rest);
    decoded
}

/// The text of the encoded word at the start, and its length.
fn encoded_word(source: &str) -> Option<(String, usize)> {
    let mut fields = source.strip_prefix("=?")?.splitn(4, '?');
    let (charset, kind, content, end) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    if !end.starts_with('=') {
        return None;
    }
    let bytes = match kind {
        "B" | "b" => STANDARD.decode(content).ok()?,
        "Q" | "q" => decode_quoted(&content.replace('_', " ")),
        _ => return None,
    };
    Some((
        text(&bytes),
        "=???=".len() + 1 + charset.len() + kind.len() + content.len(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_parts_of_a_mail_with_two() {
        let source = "To: a@example.org\r\nSubject: =?utf-8?B?R3LDvMOfZQ==?=\r\n =?utf-8?Q?_an_alle?=\r\n\
                      Content-Type: multipart/alternative;\r\n boundary=\"b1\"\r\n\r\nignored\r\n\
                      --b1\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
                      open https://x/verify?token=3Dab=\r\nc1 =C3=A9\r\n\
                      --b1\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\nPGI+aGk8L2I+\r\n--b1--\r\n";
        let message = Message::parse(source);
        assert_eq!(message.header("subject"), Some("Grüße an alle"));
        assert_eq!(message.header("TO"), Some("a@example.org"));
        assert!(
            message.body.contains("https://x/verify?token=abc1 é"),
            "{}",
            message.body
        );
        assert!(message.body.contains("<b>hi</b>"), "{}", message.body);
        assert!(!message.body.contains("ignored"));
    }

    #[test]
    fn reads_a_plain_mail() {
        let message = Message::parse("Subject: a =? b\nX-Long: one\n two\n\nline 1\nline 2 = 3\n");
        assert_eq!(message.header("subject"), Some("a =? b"));
        assert_eq!(message.header("x-long"), Some("one two"));
        assert_eq!(message.body, "line 1\nline 2 = 3\n");
    }

    #[test]
    fn quoted_printable_keeps_what_is_not_an_escape() {
        assert_eq!(decode_quoted("a=3Db=\nc=ZZ="), b"a=bc=ZZ");
        assert_eq!(decode_quoted("two\nlines\n"), b"two\nlines\n");
    }
}
