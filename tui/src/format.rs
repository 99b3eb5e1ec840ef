//! Numbers for eyes: short, with their unit, and never more digits than are meant.

/// Thousands apart: `1,204`.
pub fn count(number: u64) -> String {
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
        format!("{value:.0} %")
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
        _ => format!("{}d{}h", seconds / 86_400, seconds % 86_400 / 3_600),
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

/// How long a call took: `0.62 ms`, `9.4 ms`, `231 ms`, `1.2 s`.
pub fn latency(millis: f64) -> String {
    match millis {
        value if value < 1.0 => format!("{value:.2} ms"),
        value if value < 10.0 => format!("{value:.1} ms"),
        value if value < 1000.0 => format!("{value:.0} ms"),
        value => format!("{:.1} s", value / 1000.0),
    }
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

/// One of a thing, or several of it.
pub fn of(number: u64, one: &str, more: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { more })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let counts = [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")];
        assert!(counts.iter().all(|(value, text)| count(*value) == *text));
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
        assert_eq!(
            (latency(0.624), latency(231.4), latency(1240.0)),
            ("0.62 ms".into(), "231 ms".into(), "1.2 s".into())
        );
    }

    #[test]
    fn long_ids_lose_their_middle() {
        assert_eq!(short("node-a"), "node-a");
        assert_eq!(short("019ab3c4-1111-7222-8333-944445555abc"), "019ab3c4…5abc");
    }
}
