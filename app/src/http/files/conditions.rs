//! Conditions and ranges of RFC 9110 (sections 13 and 14) against one stored file: pure functions of headers.

use domain::blob::{ByteRange, RangeRequest};
use poem::http::{HeaderMap, HeaderName, header};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

/// The one form of a date that is sent, and that clients of this century send (RFC 9110, section 5.6.7).
const HTTP_DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// The representation that a request is held against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Validators<'a> {
    /// The opaque part of the strong entity tag, without its quotation marks.
    pub(super) tag: &'a str,
    /// When it was made, in seconds since the Unix epoch; a file never changes after that.
    pub(super) modified: i64,
    /// Its size in bytes.
    pub(super) size: u64,
}

/// How a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// 200 with all of it.
    Whole,
    /// 206 with a part.
    Part(ByteRange),
    /// 304.
    NotModified,
    /// 412.
    Failed,
    /// 416.
    Unsatisfiable,
}

/// Evaluates the headers of a GET in the order of RFC 9110, section 13.2.2.
pub(super) fn judge(headers: &HeaderMap, file: &Validators<'_>) -> Verdict {
    match lines(headers, &header::IF_MATCH) {
        Some(tags) if !matches(&tags, file.tag, false) => return Verdict::Failed,
        Some(_) => {}
        None => match date(headers, &header::IF_UNMODIFIED_SINCE) {
            Some(since) if file.modified > since => return Verdict::Failed,
            Some(_) | None => {}
        },
    }
    match lines(headers, &header::IF_NONE_MATCH) {
        Some(tags) if matches(&tags, file.tag, true) => return Verdict::NotModified,
        Some(_) => {}
        None => match date(headers, &header::IF_MODIFIED_SINCE) {
            Some(since) if file.modified <= since => return Verdict::NotModified,
            Some(_) | None => {}
        },
    }
    range(headers, file)
}

fn range(headers: &HeaderMap, file: &Validators<'_>) -> Verdict {
    // Several lines would be several ranges, which are answered with the whole.
    let mut asked = headers.get_all(header::RANGE).iter();
    let (Some(asked), None) = (asked.next(), asked.next()) else {
        return Verdict::Whole;
    };
    let Ok(asked) = asked.to_str() else {
        return Verdict::Whole;
    };
    if !still_the_same(headers, file) {
        return Verdict::Whole;
    }
    match ByteRange::parse_header(asked, file.size) {
        RangeRequest::Whole => Verdict::Whole,
        RangeRequest::Part(part) => Verdict::Part(part),
        RangeRequest::Unsatisfiable => Verdict::Unsatisfiable,
    }
}

/// `If-Range`: an entity tag, compared strongly, or a date, compared exactly (RFC 9110, section 13.1.5).
fn still_the_same(headers: &HeaderMap, file: &Validators<'_>) -> bool {
    let Some(line) = headers.get(header::IF_RANGE) else {
        return true;
    };
    let Ok(text) = line.to_str() else { return false };
    match parse_date(text) {
        Some(at) => at == file.modified,
        None => text.trim() == format!("\"{}\"", file.tag),
    }
}

/// All lines of a list header as one; none when it is absent. A line that is no text matches nothing.
fn lines(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let mut lines = headers
        .get_all(name)
        .iter()
        .map(|line| line.to_str().unwrap_or_default())
        .peekable();
    lines.peek()?;
    Some(lines.collect::<Vec<_>>().join(","))
}

/// Whether the list has the tag, or is `*`. Weak tags match only where the comparison is weak.
fn matches(list: &str, tag: &str, weak: bool) -> bool {
    let mut rest = list.trim();
    if rest == "*" {
        return true;
    }
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (is_weak, opened) = match rest.strip_prefix("W/") {
            Some(opened) => (true, opened),
            None => (false, rest),
        };
        let Some((this, after)) = opened.strip_prefix('"').and_then(|text| text.split_once('"')) else {
            return false;
        };
        if this == tag && (weak || !is_weak) {
            return true;
        }
        rest = after;
    }
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<i64> {
    // A recipient must ignore a date that it cannot read.
    headers
        .get(name)
        .and_then(|line| line.to_str().ok())
        .and_then(parse_date)
}

fn parse_date(text: &str) -> Option<i64> {
    let date = PrimitiveDateTime::parse(text.trim(), HTTP_DATE).ok()?;
    Some(date.assume_utc().unix_timestamp())
}

/// Seconds since the Unix epoch as HTTP writes them.
pub(super) fn http_date(seconds: i64) -> Option<String> {
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()?
        .format(HTTP_DATE)
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use poem::http::HeaderValue;

    const FILE: Validators<'static> = Validators {
        tag: "abc",
        modified: 784_111_777,
        size: 10,
    };
    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn verdict(headers: &[(HeaderName, &'static str)]) -> Verdict {
        let lines = headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        judge(
            &lines.fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            }),
            &FILE,
        )
    }

    fn part(start: u64, end: u64) -> Verdict {
        Verdict::Part(ByteRange { start, end })
    }

    #[test]
    fn a_date_is_written_and_read_back() {
        assert_eq!(http_date(784_111_777).unwrap(), MODIFIED);
        assert_eq!(parse_date(MODIFIED), Some(784_111_777));
        assert_eq!(parse_date("Sunday, 06-Nov-94 08:49:37 GMT"), None);
    }

    #[test]
    fn ranges() {
        for (asked, verdict_of) in [
            ("bytes=0-3", part(0, 3)),
            ("bytes=7-", part(7, 9)),
            ("bytes=-2", part(8, 9)),
            ("bytes=0-999", part(0, 9)),
            ("bytes=10-", Verdict::Unsatisfiable),
            ("bytes=-0", Verdict::Unsatisfiable),
            ("bytes=0-1,3-4", Verdict::Whole),
            ("items=0-1", Verdict::Whole),
            ("bytes=3-1", Verdict::Whole),
        ] {
            assert_eq!(verdict(&[(header::RANGE, asked)]), verdict_of, "{asked}");
        }
        assert_eq!(
            verdict(&[(header::RANGE, "bytes=0-1"), (header::RANGE, "bytes=3-4")]),
            Verdict::Whole
        );
    }

    #[test]
    fn if_none_match_goes_before_dates_and_ranges() {
        for tags in ["\"abc\"", "W/\"abc\"", "\"x\", \"abc\"", "*", "\"a,b\",\"abc\""] {
            let headers = [(header::IF_NONE_MATCH, tags), (header::RANGE, "bytes=0-1")];
            assert_eq!(verdict(&headers), Verdict::NotModified, "{tags}");
        }
        for tags in ["\"x\"", "abc", "\"abc", "", "\"ab\", c\""] {
            assert_eq!(verdict(&[(header::IF_NONE_MATCH, tags)]), Verdict::Whole, "{tags}");
        }
        let both = [(header::IF_NONE_MATCH, "\"x\""), (header::IF_MODIFIED_SINCE, MODIFIED)];
        assert_eq!(verdict(&both), Verdict::Whole);
        assert_eq!(
            verdict(&[(header::IF_NONE_MATCH, "\"x\""), (header::IF_NONE_MATCH, "\"abc\"")]),
            Verdict::NotModified
        );
    }

    #[test]
    fn if_match_compares_strongly_and_goes_first() {
        assert_eq!(verdict(&[(header::IF_MATCH, "\"abc\"")]), Verdict::Whole);
        assert_eq!(verdict(&[(header::IF_MATCH, "*")]), Verdict::Whole);
        assert_eq!(verdict(&[(header::IF_MATCH, "W/\"abc\"")]), Verdict::Failed);
        assert_eq!(
            verdict(&[(header::IF_MATCH, "\"x\""), (header::IF_NONE_MATCH, "\"abc\"")]),
            Verdict::Failed
        );
    }

    #[test]
    fn dates_count_where_there_are_no_tags() {
        const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
        assert_eq!(verdict(&[(header::IF_MODIFIED_SINCE, MODIFIED)]), Verdict::NotModified);
        assert_eq!(verdict(&[(header::IF_MODIFIED_SINCE, BEFORE)]), Verdict::Whole);
        assert_eq!(verdict(&[(header::IF_MODIFIED_SINCE, "yesterday")]), Verdict::Whole);
        assert_eq!(verdict(&[(header::IF_UNMODIFIED_SINCE, BEFORE)]), Verdict::Failed);
        assert_eq!(verdict(&[(header::IF_UNMODIFIED_SINCE, MODIFIED)]), Verdict::Whole);
    }

    #[test]
    fn if_range_keeps_the_part_only_of_the_same_file() {
        for (condition, expected) in [
            ("\"abc\"", part(0, 1)),
            (MODIFIED, part(0, 1)),
            ("W/\"abc\"", Verdict::Whole),
            ("\"x\"", Verdict::Whole),
            ("Sun, 06 Nov 1994 08:49:38 GMT", Verdict::Whole),
            ("*", Verdict::Whole),
        ] {
            let headers = [(header::RANGE, "bytes=0-1"), (header::IF_RANGE, condition)];
            assert_eq!(verdict(&headers), expected, "{condition}");
        }
    }
}
