//! Durations and sizes as people write them: `15m`, `250ms`, `64KiB`.

use std::time::Duration;

/// Time units, longest first, in milliseconds.
const TIME_UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Size units, largest first, in bytes; binary multiples only (IEC 80000-13), since a decimal `MB` is read both ways.
const SIZE_UNITS: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// Reads a whole number and a unit; `None` when the text is anything else or too large to hold.
fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Writes with the largest unit that divides the amount.
fn format(amount: u64, units: &[(&str, u64)], zero: &str) -> String {
    match units
        .iter()
        .find(|(_, factor)| amount != 0 && amount.is_multiple_of(*factor))
    {
        Some((unit, factor)) => format!("{}{unit}", amount / factor),
        None => zero.to_owned(),
    }
}

/// A duration such as `250ms`, `10s`, `15m`, `24h` or `7d`. The unit is required, so that nobody has to guess it.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    parse(text, &TIME_UNITS).map(Duration::from_millis)
}

/// A duration as [`parse_duration`] reads it.
pub(super) fn format_duration(duration: Duration) -> String {
    format(
        u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        &TIME_UNITS,
        "0s",
    )
}

/// A size in bytes such as `512B`, `64KiB` or `5GiB`; a bare number counts bytes.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    text.parse().ok().or_else(|| parse(text, &SIZE_UNITS))
}

/// A size as [`parse_size`] reads it.
pub(super) fn format_size(bytes: u64) -> String {
    format(bytes, &SIZE_UNITS, "0B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("10s"), Some(Duration::from_secs(10)));
        assert_eq!(parse_duration("15 m"), Some(Duration::from_secs(900)));
        assert_eq!(parse_duration("7d"), Some(Duration::from_secs(604_800)));
        for wrong in [
            "",
            "15",
            "s",
            "-1s",
            "1.5s",
            "1w",
            "1s1",
            "99999999999999999999d",
            "+1s",
        ] {
            assert_eq!(parse_duration(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn sizes_are_binary() {
        assert_eq!(parse_size("512"), Some(512));
        assert_eq!(parse_size("64KiB"), Some(65_536));
        assert_eq!(parse_size("1 TiB"), Some(1 << 40));
        for wrong in ["", "1MB", "1kib", "-1", "KiB", "99999999TiB"] {
            assert_eq!(parse_size(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for text in ["250ms", "10s", "15m", "24h", "7d", "0s", "1500ms"] {
            let read = parse_duration(text).expect("a duration");
            assert_eq!(parse_duration(&format_duration(read)), Some(read), "{text}");
        }
        for text in ["0B", "1000B", "64KiB", "5GiB"] {
            assert_eq!(parse_size(text).map(format_size).as_deref(), Some(text));
        }
        assert_eq!(format_duration(Duration::from_secs(86_400)), "1d");
    }
}
