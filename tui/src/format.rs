//! Numbers for eyes: short, with their unit, and never more digits than are meant.

/// From this on nobody reads the last digits, and columns have no room for them.
const LARGE: u64 = 10_000_000;

/// Thousands apart, `1,204`; what is very large in short, `12.3M`.
pub fn count(number: u64) -> String {
    if number >= LARGE {
        return large(number);
    }
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn large(number: u64) -> String {
    let mut value = number as f64 / 1e6;
    for unit in ["M", "G", "T", "P"] {
        if value < 999.95 {
            return format!("{value:.1}{unit}");
        }
        value /= 1000.0;
    }
    format!("{value:.1}E")
}

/// Bytes: `512 B`, `8.4 KiB`, `84 MiB`, `1.2 GiB`.
pub fn bytes(number: u64) -> String {
    let mut value = number as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
        if value < 1000.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    let digits = usize::from(unit != "B" && value < 9.95);
    format!("{value:.digits$} {unit}")
}

/// A number that may be a fraction: one decimal below 10, else none.
pub fn number(value: f64) -> String {
    if value == 0.0 {
        "0".to_owned()
    } else if value.abs() < 9.95 {
        format!("{value:.1}")
    } else {
        let sign = if value < 0.0 { "-" } else { "" };
        // A cast from a float saturates, which is all that an absurd figure deserves.
        format!("{sign}{}", count(value.abs().round() as u64))
    }
}

/// So many a second: `4,812/s`.
pub fn rate(value: f64) -> String {
    format!("{}/s", number(value))
}

/// A share: `0.4 %`.
pub fn percent(share: f64) -> String {
    let value = share * 100.0;
    if value == 0.0 {
        "0 %".to_owned()
    } else if value < 0.1 {
        "<0.1 %".to_owned()
    } else if value < 10.0 {
        format!("{value:.1} %")
    } else {
        format!("{} %", number(value))
    }
}

/// A stretch of time in milliseconds, in its two greatest units: `0.4 s`, `38 s`, `2m10s`, `3h12m`, `2d4h`.
pub fn span(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0..10 => format!("{}.{} s", seconds, millis % 1000 / 100),
        10..60 => format!("{seconds} s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
        86_400..86_400_000 => format!("{}d{}h", seconds / 86_400, seconds % 86_400 / 3_600),
        _ => format!("{}d", count(seconds / 86_400)),
    }
}

/// A stretch of time in whole seconds.
pub fn seconds(seconds: u64) -> String {
    if seconds < 10 {
        format!("{seconds} s")
    } else {
        span(seconds.saturating_mul(1000))
    }
}

/// How long a call took, never more than six letters below some hours: `28 µs`, `9.4 ms`, `231 ms`, `1.2 s`, `2m10s`.
pub fn latency(millis: f64) -> String {
    let micros = millis * 1000.0;
    if micros < 0.5 {
        "0 ms".to_owned()
    } else if micros < 999.5 {
        format!("{micros:.0} µs")
    } else if millis < 9.95 {
        format!("{millis:.1} ms")
    } else if millis < 999.5 {
        format!("{millis:.0} ms")
    } else if millis < 59_950.0 {
        format!("{:.1} s", millis / 1000.0)
    } else {
        // A cast from a float saturates, which is all that an absurd figure deserves.
        span(millis as u64)
    }
}

/// The same where it may be that nothing was called.
pub fn latency_of(millis: Option<f64>) -> String {
    millis.map_or_else(|| "-".to_owned(), latency)
}

/// An id with its middle left out, as long as it can still be told apart: `0199a1b2…c3d4`.
pub fn short(id: &str) -> String {
    let letters: Vec<char> = id.chars().collect();
    if letters.len() <= 14 {
        return id.to_owned();
    }
    let (start, end) = (&letters[..8], &letters[letters.len() - 4..]);
    start.iter().chain(&['…']).chain(end).collect()
}

/// A word of the wire as people write it: `half open`.
pub fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// One of a thing, or several of it.
pub fn of(number: u64, one: &str, more: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { more })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let counts = [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
            (12_345_678, "12.3M"),
            (999_949_999, "999.9M"),
            (999_999_999, "1.0G"),
            (u64::MAX, "18.4E"),
        ];
        for (value, text) in counts {
            assert_eq!(count(value), text);
        }
        let sizes = [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 KiB"),
            (88_080_384, "84 MiB"),
            (1_288_490_189, "1.2 GiB"),
            (u64::MAX, "16 EiB"),
        ];
        for (value, text) in sizes {
            assert_eq!(bytes(value), text);
        }
        let numbers = [
            (0.0, "0"),
            (0.04, "0.0"),
            (9.94, "9.9"),
            (9.96, "10"),
            (1203.6, "1,204"),
            (-12.0, "-12"),
        ];
        assert!(numbers.iter().all(|(value, text)| number(*value) == *text));
        assert_eq!(
            (percent(0.0004), percent(0.0212), percent(0.5)),
            ("<0.1 %".into(), "2.1 %".into(), "50 %".into())
        );
    }

    #[test]
    fn spans_have_two_units() {
        let spans = [
            (430, "0.4 s"),
            (38_900, "38 s"),
            (130_000, "2m10s"),
            (11_520_000, "3h12m"),
            (187_200_000, "2d4h"),
        ];
        assert!(spans.iter().all(|(value, text)| span(*value) == *text));
        assert_eq!((seconds(4), seconds(130)), ("4 s".into(), "2m10s".into()));
        let latencies = [
            (0.0, "0 ms"),
            (0.028, "28 µs"),
            (0.624, "624 µs"),
            (0.9996, "1.0 ms"),
            (9.4, "9.4 ms"),
            (231.4, "231 ms"),
            (1_240.0, "1.2 s"),
            (130_000.0, "2m10s"),
        ];
        for (value, text) in latencies {
            assert_eq!(latency(value), text);
        }
        assert_eq!(
            (latency_of(None), latency(f64::INFINITY).len() < 24),
            ("-".into(), true)
        );
    }

    #[test]
    fn long_ids_lose_their_middle() {
        assert_eq!(words("half_open"), "half open");
        assert_eq!(short("node-a"), "node-a");
        assert_eq!(short("019ab3c4-1111-7222-8333-944445555abc"), "019ab3c4…5abc");
    }
}
