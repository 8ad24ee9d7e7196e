//! Numbers as people read them.

/// Four digits that tell something: `0.8812`, `53.12`, `1204`.
pub fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => format!("{value:.0}"),
        size if size >= 100.0 => format!("{value:.1}"),
        size if size >= 10.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// The same with its sign, for differences.
pub fn plus(value: f64) -> String {
    if value >= 0.0 { format!("+{}", digits(value)) } else { digits(value) }
}

/// A number of any size in little room: `0.5`, `12`, `1.2e-7`, `31k`.
pub fn short(value: f64) -> String {
    let plain = |text: String| {
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    };
    match value.abs() {
        0.0 => "0".to_owned(),
        size if !size.is_finite() => "-".to_owned(),
        size if size >= 1e9 => format!("{value:.1e}"),
        size if size >= 1e6 => format!("{}M", plain(format!("{:.2}", value / 1e6))),
        size if size >= 1e4 => format!("{}k", plain(format!("{:.1}", value / 1e3))),
        size if size >= 100.0 => plain(format!("{value:.1}")),
        size if size >= 1.0 => plain(format!("{value:.3}")),
        size if size >= 1e-3 => plain(format!("{value:.4}")),
        _ => format!("{value:.1e}"),
    }
}

/// A share as `12 %`, or `0.3 %` where it is small.
pub fn percent(share: f64) -> String {
    match share * 100.0 {
        0.0 => "0 %".to_owned(),
        percent if percent < 10.0 => format!("{percent:.1} %"),
        percent => format!("{percent:.0} %"),
    }
}

/// A whole number with its thousands set apart by thin spaces.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) && digits.len() > 4 {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// Seconds as `0.3 s`, `42 s`, `3 min 20 s`, `2 h 5 min`.
pub fn seconds(value: f64) -> String {
    match value {
        value if value < 0.095 => format!("{:.0} ms", value * 1000.0),
        value if value < 9.95 => format!("{value:.1} s"),
        value if value < 59.5 => format!("{value:.0} s"),
        value if value < 3570.0 => format!("{:.0} min {:.0} s", (value / 60.0).floor(), value % 60.0),
        value => format!("{:.0} h {:.0} min", (value / 3600.0).floor(), value % 3600.0 / 60.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_little_room() {
        let shorts = [(0.0, "0"), (0.5, "0.5"), (12.0, "12"), (1.2e-7, "1.2e-7"), (31_000.0, "31k"), (2.5e6, "2.5M")];
        shorts.iter().for_each(|(value, text)| assert_eq!(short(*value), *text));
        assert_eq!([count(999), count(1200), count(12_345_678)], ["999", "1200", "12\u{202f}345\u{202f}678"]);
        assert_eq!([seconds(0.03), seconds(42.0), seconds(200.0)], ["30 ms", "42 s", "3 min 20 s"]);
        assert_eq!([percent(0.0), percent(0.003), percent(0.5)], ["0 %", "0.3 %", "50 %"]);
        assert_eq!([plus(0.0017), plus(-12.345), digits(1204.3)], ["+0.0017", "-12.35", "1204"]);
    }
}
