//! The formats of dates in text, in the words of `strftime`.

/// A format, read into its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DateFormat(Vec<DatePart>);

/// One part of a date in text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatePart {
    /// This character.
    Literal(char),
    /// White space, or none.
    Space,
    /// `%Y`: the year, four digits.
    Year,
    /// `%y`: the last two digits of the year; 69 to 99 are of the 20th century, as in POSIX.
    ShortYear,
    /// `%m`: the month's number.
    Month,
    /// `%b`, `%B`, `%h`: the month's English name or its first three letters.
    MonthName,
    /// `%d`, `%e`: the day of the month.
    Day,
    /// `%j`: the day of the year.
    DayOfYear,
    /// `%a`, `%A`: the weekday's English name; not checked against the date.
    Weekday,
    /// `%H`: the hour, 0 to 23.
    Hour,
    /// `%I`: the hour, 1 to 12.
    Hour12,
    /// `%p`: `AM` or `PM`.
    HalfDay,
    /// `%M`: the minute.
    Minute,
    /// `%S`: the second.
    Second,
    /// `%f`: the digits of a fraction of a second.
    Fraction,
    /// `%.f`: a point and the digits of a fraction, or nothing.
    PointFraction,
    /// `%z`: the offset from UTC such as `+0200`, `+02:00`, `+02` or `Z`.
    Offset,
    /// `%s`: the seconds since 1970-01-01 in UTC.
    Timestamp,
}

impl DateFormat {
    /// Reads a format; says what is wrong with it and the way out.
    pub fn parse(text: &str) -> Result<Self, (String, String)> {
        let mut parts = Vec::new();
        read(text, &mut parts)?;
        let has = |part: DatePart| parts.contains(&part);
        let year = has(DatePart::Year) || has(DatePart::ShortYear);
        let month = has(DatePart::Month) || has(DatePart::MonthName);
        if has(DatePart::Timestamp) || year && (has(DatePart::DayOfYear) || month && has(DatePart::Day)) {
            if has(DatePart::Hour12) != has(DatePart::HalfDay) {
                return Err((
                    format!("the format `{text}` leaves open which half of the day is meant"),
                    "`%I` goes with `%p`; the hour of 24 is `%H`".to_owned(),
                ));
            }
            return Ok(Self(parts));
        }
        Err((
            format!("the format `{text}` does not give a whole date"),
            "a date needs `%Y`, `%m` and `%d`, or `%Y` and `%j`, or `%s`".to_owned(),
        ))
    }

    /// Its parts in their order.
    pub fn parts(&self) -> &[DatePart] {
        &self.0
    }
}

fn read(text: &str, parts: &mut Vec<DatePart>) -> Result<(), (String, String)> {
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let part = match character {
            '%' => match characters.next() {
                Some('Y') => DatePart::Year,
                Some('y') => DatePart::ShortYear,
                Some('m') => DatePart::Month,
                Some('b' | 'B' | 'h') => DatePart::MonthName,
                Some('d' | 'e') => DatePart::Day,
                Some('j') => DatePart::DayOfYear,
                Some('a' | 'A') => DatePart::Weekday,
                Some('H') => DatePart::Hour,
                Some('I') => DatePart::Hour12,
                Some('p') => DatePart::HalfDay,
                Some('M') => DatePart::Minute,
                Some('S') => DatePart::Second,
                Some('f') => DatePart::Fraction,
                Some('z') => DatePart::Offset,
                Some('s') => DatePart::Timestamp,
                Some('n' | 't') => DatePart::Space,
                Some('%') => DatePart::Literal('%'),
                Some('.') if characters.next() == Some('f') => DatePart::PointFraction,
                Some('F') => {
                    read("%Y-%m-%d", parts)?;
                    continue;
                }
                Some('T') => {
                    read("%H:%M:%S", parts)?;
                    continue;
                }
                Some('R') => {
                    read("%H:%M", parts)?;
                    continue;
                }
                Some('D') => {
                    read("%m/%d/%y", parts)?;
                    continue;
                }
                other => {
                    let found = other.map_or("%".to_owned(), |other| format!("%{other}"));
                    return Err((
                        format!("`{found}` is not known in the format `{text}`"),
                        "there are %Y %y %m %b %d %j %a %H %I %p %M %S %f %.f %z %s %F %T %R %D and %%".to_owned(),
                    ));
                }
            },
            space if space.is_whitespace() => DatePart::Space,
            literal => DatePart::Literal(literal),
        };
        parts.push(part);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn formats_are_read() {
        use DatePart::{Day, Literal, Month, Year};
        let iso = [Year, Literal('-'), Month, Literal('-'), Day];
        assert_eq!(DateFormat::parse("%Y-%m-%d").unwrap().parts(), iso);
        assert_eq!(DateFormat::parse("%F").unwrap().parts(), iso);
        for (text, message) in [
            ("%Y-%q", "`%q` is not known in the format `%Y-%q`"),
            ("%Y-%m", "the format `%Y-%m` does not give a whole date"),
            ("%H:%M", "the format `%H:%M` does not give a whole date"),
            ("%F %I:%M", "the format `%F %I:%M` leaves open which half of the day is meant"),
            ("%", "`%` is not known in the format `%`"),
        ] {
            assert_eq!(DateFormat::parse(text).unwrap_err().0, message);
        }
    }
}
