//! The `Range` header, by RFC 9110 section 14.

use domain::blob::{ByteRange, RangeRequest};
use proptest::prelude::*;

fn part(start: u64, end: u64) -> RangeRequest {
    RangeRequest::Part(ByteRange { start, end })
}

/// What the RFC says of `first-last`, in numbers that cannot overflow.
fn expected(first: u128, last: Option<u128>, size: u64) -> RangeRequest {
    let size = u128::from(size);
    if last.is_some_and(|last| last < first) {
        return RangeRequest::Whole;
    }
    if first >= size {
        return RangeRequest::Unsatisfiable;
    }
    let end = last.map_or(size - 1, |last| last.min(size - 1));
    part(
        u64::try_from(first).expect("below size"),
        u64::try_from(end).expect("below size"),
    )
}

fn sizes() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..20, any::<u64>(), Just(u64::MAX)]
}

fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..25, any::<u64>(), Just(u64::MAX)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn first_and_last(first in numbers(), last in prop::option::of(numbers()), size in sizes()) {
        let header = format!("bytes={first}-{}", last.map(|last| last.to_string()).unwrap_or_default());
        let wanted = expected(u128::from(first), last.map(u128::from), size);
        prop_assert_eq!(ByteRange::parse_header(&header, size), wanted);
    }

    #[test]
    fn the_last_bytes(count in numbers(), size in sizes()) {
        let wanted = match (count, size) {
            (0, _) => RangeRequest::Unsatisfiable,
            (_, 0) => RangeRequest::Whole,
            _ => part(size.saturating_sub(count), size - 1),
        };
        prop_assert_eq!(ByteRange::parse_header(&format!("bytes=-{count}"), size), wanted);
    }

    #[test]
    fn a_part_always_lies_within(header in "(bytes|BYTES)= ?[0-9]{0,22}-[0-9]{0,22} ?", size in sizes()) {
        if let RangeRequest::Part(range) = ByteRange::parse_header(&header, size) {
            prop_assert!(range.start <= range.end && range.end < size);
            prop_assert_eq!(u128::from(range.len()), u128::from(range.end) - u128::from(range.start) + 1);
            prop_assert!(!range.is_empty());
        }
    }

    #[test]
    fn no_text_breaks_it(header in prop_oneof![any::<String>(), "bytes=[-0-9, =a]{0,12}"], size in sizes()) {
        if let RangeRequest::Part(range) = ByteRange::parse_header(&header, size) {
            prop_assert!(range.start <= range.end && range.end < size);
        }
    }
}

#[test]
fn the_examples_of_the_rfc() {
    // Section 14.1.2, a representation of 10,000 bytes.
    for (header, wanted) in [
        ("bytes=0-499", part(0, 499)),
        ("bytes=500-999", part(500, 999)),
        ("bytes=-500", part(9_500, 9_999)),
        ("bytes=9500-", part(9_500, 9_999)),
        ("bytes=0-0", part(0, 0)),
        ("Bytes=0-0", part(0, 0)),
        ("bytes=9999-20000", part(9_999, 9_999)),
        ("bytes=-20000", part(0, 9_999)),
        ("bytes=10000-", RangeRequest::Unsatisfiable),
        ("bytes=-0", RangeRequest::Unsatisfiable),
    ] {
        assert_eq!(ByteRange::parse_header(header, 10_000), wanted, "{header}");
    }
}

#[test]
fn what_is_not_understood_gets_the_whole() {
    for header in [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=0x1-2",
        "bytes=+1-2",
        "bytes=--5",
        "bytes=1--2",
        "bytes=5-4",
        "bytes=0-0,-1",
        "bytes=500-600,601-999",
        "lines=0-5",
        "seconds=1-2",
        "bytes=１-２",
        "bytes 0-5",
    ] {
        assert_eq!(ByteRange::parse_header(header, 10_000), RangeRequest::Whole, "{header}");
    }
}

#[test]
fn numbers_beyond_64_bits_are_beyond_the_end() {
    let huge = "184467440737095516160";
    assert_eq!(ByteRange::parse_header(&format!("bytes=5-{huge}"), 10), part(5, 9));
    assert_eq!(ByteRange::parse_header(&format!("bytes=-{huge}"), 10), part(0, 9));
    assert_eq!(
        ByteRange::parse_header(&format!("bytes={huge}-"), 10),
        RangeRequest::Unsatisfiable
    );
    assert_eq!(
        ByteRange::parse_header(&format!("bytes={huge}-"), u64::MAX),
        RangeRequest::Unsatisfiable
    );
}
