//! ISO 8601 dates in text.

/// The days since 1970-01-01 of `2024-02-29`.
pub(crate) fn parse_date(bytes: &[u8]) -> Option<i32> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *bytes else { return None };
    let (year, month, day) = (digits(&[y1, y2, y3, y4])?, digits(&[m1, m2])?, digits(&[d1, d2])?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    ((1..=length).contains(&day)).then(|| days_from_civil(year, month, day))
}

/// The microseconds since 1970-01-01 of `2024-02-29T12:30`, with a space for the `T`, seconds, fractions and a final `Z` if there are any.
pub(crate) fn parse_datetime(bytes: &[u8]) -> Option<i64> {
    let (date, rest) = bytes.split_at_checked(10)?;
    let days = parse_date(date)?;
    let time = rest.strip_prefix(b"T").or_else(|| rest.strip_prefix(b" "))?;
    let time = time.strip_suffix(b"Z").unwrap_or(time);
    let (minutes, rest) = time.split_at_checked(5)?;
    let [h1, h2, b':', m1, m2] = *minutes else { return None };
    let (hour, minute) = (digits(&[h1, h2])?, digits(&[m1, m2])?);
    let (second, micros) = match rest {
        [] => (0, 0),
        [b':', s1, s2] => (digits(&[*s1, *s2])?, 0),
        [b':', s1, s2, b'.', fraction @ ..] if (1..=9).contains(&fraction.len()) => {
            let mut nanos = [b'0'; 9];
            nanos[..fraction.len()].copy_from_slice(fraction);
            (digits(&[*s1, *s2])?, digits(&nanos)? / 1000)
        }
        _ => return None,
    };
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = i64::from(days) * 86_400 + i64::from(hour * 3600 + minute * 60 + second);
    Some(seconds * 1_000_000 + i64::from(micros))
}

fn digits(bytes: &[u8]) -> Option<i32> {
    let value = |sum: i32, byte: &u8| byte.is_ascii_digit().then(|| sum * 10 + i32::from(byte - b'0'));
    bytes.iter().try_fold(0, value)
}

/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn days_from_civil(year: i32, month: i32, day: i32) -> i32 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    // Expected values from Python's `datetime`.
    #[test]
    fn dates() {
        let cases = [
            ("1970-01-01", Some(0)),
            ("1969-12-31", Some(-1)),
            ("2024-02-29", Some(19_782)),
            ("2023-02-29", None),
            ("1900-02-29", None),
            ("2000-02-29", Some(11_016)),
            ("0001-01-01", Some(-719_162)),
            ("2024-13-01", None),
            ("2024-04-31", None),
            ("2024-4-30", None),
            ("20240430", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_date(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn datetimes() {
        let cases = [
            ("1970-01-01T00:00", Some(0)),
            ("1970-01-01 00:00:01", Some(1_000_000)),
            ("2024-02-29T12:30:15.25Z", Some(1_709_209_815_250_000)),
            ("2024-02-29T24:00", None),
            ("2024-02-29", None),
            ("2024-02-29T12:30:15.", None),
            ("2024-02-29T12:30+02:00", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_datetime(text.as_bytes()), expected, "{text}");
        }
    }
}
