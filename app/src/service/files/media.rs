//! Media types: what a file is by its first bytes, and what a browser may be let show.

/// How many first bytes are looked at. The magic numbers that are known lie within 8 KiB (a TAR archive's at 257,
/// those of office documents behind the first names in their ZIP archive).
pub(super) const HEAD_BYTES: usize = 8 * 1024;

/// What is said of bytes that nobody knows (RFC 2046, section 4.5.1).
pub(super) const UNKNOWN: &str = "application/octet-stream";

/// Longer ones are not registered: RFC 6838, section 4.2, allows 127 characters for each half.
const LONGEST: usize = 255;

/// Types that a browser may show in place: it draws them without running anything of theirs.
const INLINE: [&str; 6] = [
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/webp",
    "application/pdf",
    "text/plain",
];

/// What a browser does with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Save it.
    Attachment,
    /// Show it.
    Inline,
}

impl Disposition {
    /// The word in `Content-Disposition` and in signed links.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Attachment => "attachment",
            Self::Inline => "inline",
        }
    }

    /// The disposition of that word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Attachment, Self::Inline]
            .into_iter()
            .find(|disposition| disposition.as_str() == word)
    }

    /// What may be done with a file of that type when this is asked for: only a short list is ever shown.
    #[must_use]
    pub fn allowed_for(self, media_type: &str) -> Self {
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        if INLINE.contains(&essence) {
            self
        } else {
            Self::Attachment
        }
    }
}

/// The type of a file: what its first bytes say; where they say nothing, what the uploader declared, if that is a media type.
pub(super) fn choose(head: &[u8], declared: Option<&str>) -> String {
    if let Some(known) = infer::get(head) {
        return known.mime_type().to_owned();
    }
    declared.and_then(sane).unwrap_or_else(|| UNKNOWN.to_owned())
}

/// A declared media type in its plain form: lower case, without parameters but the character set of a text.
fn sane(declared: &str) -> Option<String> {
    if declared.len() > LONGEST {
        return None;
    }
    let mut parts = declared.split(';');
    let essence = parts.next()?.trim().to_ascii_lowercase();
    let (top, sub) = essence.split_once('/')?;
    // What HTTP libraries declare of themselves when nobody said anything tells nothing of the file.
    if !is_name(top) || !is_name(sub) || top == "multipart" || essence == "application/x-www-form-urlencoded" {
        return None;
    }
    let charset = parts
        .filter_map(|part| part.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    match charset.map(|(_, value)| value.trim().trim_matches('"')) {
        Some(charset) if top == "text" && is_name(charset) => {
            Some(format!("{essence}; charset={}", charset.to_ascii_lowercase()))
        }
        Some(_) | None => Some(essence),
    }
}

/// RFC 6838, section 4.2: the characters of a name, a letter or digit first.
fn is_name(text: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
    text.len() <= 127 && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric()) && text.bytes().all(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_believed_before_the_uploader() {
        assert_eq!(choose(b"%PDF-1.7\n", Some("image/png")), "application/pdf");
        assert_eq!(choose(b"\x89PNG\r\n\x1a\n", None), "image/png");
        assert_eq!(choose(b"<!DOCTYPE HTML >", Some("text/plain")), "text/html");
        assert_eq!(choose(b"name,age\n", Some("text/csv")), "text/csv");
        assert_eq!(choose(b"name,age\n", None), UNKNOWN);
        assert_eq!(
            choose(b"", Some("Text/Plain; Charset=\"UTF-8\"; x=y")),
            "text/plain; charset=utf-8"
        );
    }

    #[test]
    fn what_is_no_media_type_is_not_declared() {
        let long = format!("text/{}", "x".repeat(300));
        for declared in [
            "",
            "text",
            "text/",
            "/plain",
            "te xt/plain",
            "text/pl\"ain",
            "text/p\r\nx: y",
            &long,
        ] {
            assert_eq!(choose(b"name", Some(declared)), UNKNOWN, "{declared}");
        }
        assert_eq!(choose(b"a=b", Some("application/x-www-form-urlencoded")), UNKNOWN);
        assert_eq!(choose(b"name", Some("text/plain; charset=\"a b\"")), "text/plain");
    }

    #[test]
    fn only_a_short_list_is_shown() {
        let shown = |media_type| Disposition::Inline.allowed_for(media_type) == Disposition::Inline;
        assert!(shown("application/pdf") && shown("text/plain; charset=utf-8") && shown("image/webp"));
        assert!(!shown("text/html") && !shown("image/svg+xml") && !shown(UNKNOWN) && !shown(""));
        assert_eq!(
            Disposition::Attachment.allowed_for("image/png"),
            Disposition::Attachment
        );
        assert_eq!(Disposition::parse("inline"), Some(Disposition::Inline));
        assert_eq!(Disposition::parse("Inline"), None);
    }
}
