//! Points in time: read out of text, taken apart, written. All are microseconds since 1970-01-01 in UTC.

use std::sync::LazyLock;

use polars::prelude::{Column, DataType, Int64Chunked, IntoColumn, NewChunkedArray, TimeUnit};
use retune_spec::date_format::{DateFormat, DatePart};
use retune_stage::{Result, StageError};

pub(crate) const MICROS: i64 = 1_000_000;
pub(crate) const DAY: i64 = 86_400 * MICROS;

/// The forms that are understood without a format: those that cannot be mistaken for others. A time of day may follow.
static COMMON: LazyLock<Vec<DateFormat>> = LazyLock::new(|| {
    let formats = COMMON_FORMATS.iter().filter_map(|format| DateFormat::parse(format).ok());
    formats.collect()
});

const COMMON_FORMATS: [&str; 9] =
    ["%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d %b %Y", "%b %d, %Y", "%b %d %Y", "%d-%b-%Y", "%a, %d %b %Y", "%Y%m%d"];

/// What has been read so far.
#[derive(Clone, Copy, Default)]
struct Read {
    year: i64,
    month: i64,
    day: i64,
    day_of_year: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    afternoon: Option<bool>,
    offset: i64,
    timestamp: Option<i64>,
}

/// Reads a date, or a date and a time, in one of the common forms.
pub(crate) fn read_common(text: &str) -> Option<i64> {
    let text = text.trim();
    COMMON.iter().find_map(|format| {
        let (mut read, rest) = read_parts(format.parts(), text)?;
        read_time(&mut read, rest)?;
        read.finish()
    })
}

/// Reads a point in time in a given format.
pub(crate) fn read_as(format: &DateFormat, text: &str) -> Option<i64> {
    let (read, rest) = read_parts(format.parts(), text.trim())?;
    if rest.is_empty() { read.finish() } else { None }
}

fn read_parts<'a>(parts: &[DatePart], text: &'a str) -> Option<(Read, &'a str)> {
    let mut read = Read::default();
    let mut rest = text;
    for part in parts {
        let mut number = |least: usize, most: usize| {
            let (number, after) = digits(rest, least, most)?;
            rest = after;
            Some(number)
        };
        match part {
            DatePart::Literal(literal) => rest = rest.strip_prefix(*literal)?,
            DatePart::Space => rest = rest.trim_start(),
            DatePart::Year => read.year = number(4, 4)?,
            DatePart::ShortYear => {
                let year = number(2, 2)?;
                read.year = if year < 69 { 2000 + year } else { 1900 + year };
            }
            DatePart::Month => read.month = number(1, 2)?,
            DatePart::Day => read.day = number(1, 2)?,
            DatePart::DayOfYear => read.day_of_year = Some(number(1, 3)?),
            DatePart::Hour => read.hour = number(1, 2)?,
            DatePart::Hour12 => {
                read.hour = number(1, 2)?;
                read.afternoon = read.afternoon.or(Some(false));
            }
            DatePart::Minute => read.minute = number(2, 2)?,
            DatePart::Second => read.second = number(2, 2)?,
            DatePart::Fraction => (read.micros, rest) = fraction(rest)?,
            DatePart::PointFraction => {
                if let Some(after) = rest.strip_prefix('.') {
                    (read.micros, rest) = fraction(after)?;
                }
            }
            DatePart::MonthName => {
                let (name, after) = name(rest, &MONTHS)?;
                (read.month, rest) = (name, after);
            }
            DatePart::Weekday => (_, rest) = name(rest, &WEEKDAYS)?,
            DatePart::HalfDay => {
                let (afternoon, after) = half_day(rest)?;
                (read.afternoon, rest) = (Some(afternoon), after);
            }
            DatePart::Offset => (read.offset, rest) = offset(rest)?,
            DatePart::Timestamp => {
                let (sign, after) = rest.strip_prefix('-').map_or((1, rest), |after| (-1, after));
                let (seconds, after) = digits(after, 1, 12)?;
                (read.timestamp, rest) = (Some(sign * seconds), after);
            }
        }
    }
    Some((read, rest))
}

/// What may follow a date: nothing, or `T` or spaces and a time with seconds, fractions, half of the day and offset where there are any.
fn read_time(read: &mut Read, rest: &str) -> Option<()> {
    if rest.is_empty() {
        return Some(());
    }
    let rest = rest.strip_prefix(['T', 't']).unwrap_or_else(|| rest.strip_prefix(',').unwrap_or(rest).trim_start());
    let (hour, rest) = digits(rest, 1, 2)?;
    let (minute, mut rest) = digits(rest.strip_prefix(':')?, 2, 2)?;
    (read.hour, read.minute) = (hour, minute);
    if let Some(after) = rest.strip_prefix(':') {
        (read.second, rest) = digits(after, 2, 2)?;
        if let Some(after) = rest.strip_prefix(['.', ',']) {
            (read.micros, rest) = fraction(after)?;
        }
    }
    let after = rest.trim_start();
    if let Some((afternoon, after)) = half_day(after) {
        read.afternoon = Some(afternoon);
        rest = after;
    }
    let after = rest.trim_start();
    if !after.is_empty() {
        (read.offset, rest) = offset(after)?;
    }
    rest.is_empty().then_some(())
}

impl Read {
    fn finish(self) -> Option<i64> {
        if let Some(timestamp) = self.timestamp {
            return Some(timestamp * MICROS + self.micros);
        }
        let days = match self.day_of_year {
            Some(day) => {
                let first = days_from_civil(self.year, 1, 1);
                let length = days_from_civil(self.year + 1, 1, 1) - first;
                (1..=length).contains(&day).then(|| first + day - 1)?
            }
            None => {
                let days = days_from_civil(self.year, self.month, self.day);
                // What is no date comes back as another one.
                let sound =
                    (1..=12).contains(&self.month) && civil_from_days(days) == (self.year, self.month, self.day);
                sound.then_some(days)?
            }
        };
        let hour = match self.afternoon {
            None => self.hour,
            Some(_) if !(1..=12).contains(&self.hour) => return None,
            Some(afternoon) => self.hour % 12 + if afternoon { 12 } else { 0 },
        };
        if hour > 23 || self.minute > 59 || self.second > 59 {
            return None;
        }
        let seconds = days * 86_400 + hour * 3600 + self.minute * 60 + self.second - self.offset;
        Some(seconds * MICROS + self.micros)
    }
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// The number of the name that a text starts with, whole or by its first three letters, and what follows.
fn name<'a>(text: &'a str, names: &[&str]) -> Option<(i64, &'a str)> {
    let end = text.find(|character: char| !character.is_ascii_alphabetic()).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let is = |name: &&str| {
        word.eq_ignore_ascii_case(name)
            || word.eq_ignore_ascii_case(&name[..3])
            || *name == "september" && word.eq_ignore_ascii_case("sept")
    };
    let place = names.iter().position(is)?;
    let rest = if end == 3 { rest.strip_prefix('.').unwrap_or(rest) } else { rest };
    Some((place as i64 + 1, rest))
}

fn half_day(text: &str) -> Option<(bool, &str)> {
    let (word, rest) = text.split_at_checked(2)?;
    if word.eq_ignore_ascii_case("am") {
        Some((false, rest))
    } else if word.eq_ignore_ascii_case("pm") {
        Some((true, rest))
    } else {
        None
    }
}

/// The seconds of an offset from UTC, east counted up, and what follows.
fn offset(text: &str) -> Option<(i64, &str)> {
    for word in ["UTC", "GMT", "Z", "z"] {
        if let Some(rest) = text.strip_prefix(word) {
            return Some((0, rest));
        }
    }
    let (sign, rest) = match text.strip_prefix('+') {
        Some(rest) => (1, rest),
        None => (-1, text.strip_prefix('-').or_else(|| text.strip_prefix('\u{2212}'))?),
    };
    let (hours, rest) = digits(rest, 2, 2)?;
    let after = rest.strip_prefix(':').unwrap_or(rest);
    let (minutes, rest) = digits(after, 2, 2).unwrap_or((0, rest));
    (hours < 24 && minutes < 60).then_some((sign * (hours * 3600 + minutes * 60), rest))
}

fn digits(text: &str, least: usize, most: usize) -> Option<(i64, &str)> {
    let n = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if n < least {
        return None;
    }
    let number = text.bytes().take(n).fold(0, |sum: i64, digit| sum * 10 + i64::from(digit - b'0'));
    Some((number, &text[n..]))
}

/// The microseconds of the digits after a decimal point; what is finer is cut off.
fn fraction(text: &str) -> Option<(i64, &str)> {
    let n = text.bytes().take_while(u8::is_ascii_digit).count();
    let (micros, _) = digits(text, 1, 6)?;
    Some((micros * 10_i64.pow(6 - n.min(6) as u32), &text[n..]))
}

/// The days since 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
pub(crate) fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month and day (the same source).
pub(crate) fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Writes a point in time as ISO 8601; a date alone where it is midnight.
pub(crate) fn write(micros: i64) -> String {
    let (days, rest) = (micros.div_euclid(DAY), micros.rem_euclid(DAY));
    let (year, month, day) = civil_from_days(days);
    let date = format!("{year:04}-{month:02}-{day:02}");
    if rest == 0 {
        return date;
    }
    let (seconds, fraction) = (rest / MICROS, rest % MICROS);
    let time = format!("{date}T{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fraction == 0 { time } else { format!("{time}.{fraction:06}") }
}

/// The points in time of a column, however it stores them.
pub(crate) fn micros(column: &Column) -> Result<Vec<Option<i64>>> {
    let failed = |error: polars::error::PolarsError| StageError::failed(error.to_string());
    let factor = if *column.dtype() == DataType::Date { DAY } else { 1 };
    let physical = column.to_physical_repr().cast(&DataType::Int64).map_err(failed)?;
    let physical = physical.i64().map_err(failed)?;
    Ok(physical.iter().map(|value| value.map(|value| value * factor)).collect())
}

/// A column of points in time.
pub(crate) fn time_column(name: &str, micros: Vec<Option<i64>>) -> Column {
    Int64Chunked::from_iter_options(name.into(), micros.into_iter())
        .into_datetime(TimeUnit::Microseconds, None)
        .into_column()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Expected values from Python's `datetime`, in seconds.
    #[test]
    fn common_forms_are_read() {
        assert_eq!(COMMON.len(), COMMON_FORMATS.len());
        for (text, seconds) in [
            ("1970-01-01", Some(0.0)),
            ("2024-02-29", Some(1_709_164_800.0)),
            (" 2024-2-29 ", Some(1_709_164_800.0)),
            ("2024-02-29T12:30", Some(1_709_209_800.0)),
            ("2024-02-29 12:30:15.25", Some(1_709_209_815.25)),
            ("2024-02-29T12:30:15Z", Some(1_709_209_815.0)),
            ("2024-02-29T12:30:15+02:00", Some(1_709_202_615.0)),
            ("2024-02-29T12:30:15-0530", Some(1_709_229_615.0)),
            ("2024-02-29 12:30:15 UTC", Some(1_709_209_815.0)),
            ("2024/02/29", Some(1_709_164_800.0)),
            ("29.02.2024", Some(1_709_164_800.0)),
            ("29.2.2024 08:05", Some(1_709_193_900.0)),
            ("29 Feb 2024", Some(1_709_164_800.0)),
            ("29 February 2024", Some(1_709_164_800.0)),
            ("Feb 29, 2024, 1:05 PM", Some(1_709_211_900.0)),
            ("Thu, 29 Feb 2024 12:30:00 +0100", Some(1_709_206_200.0)),
            ("20240229", Some(1_709_164_800.0)),
            ("1900-01-01", Some(-2_208_988_800.0)),
            ("2023-02-29", None),
            ("2024-13-01", None),
            ("03/04/2024", None),
            ("2024-02-29T25:00", None),
            ("2024-02-29T13:00 PM", None),
            ("2024", None),
            ("yesterday", None),
            ("29.02.2024 and more", None),
            ("", None),
        ] {
            let read = read_common(text).map(|micros| micros as f64 / 1e6);
            assert_eq!(read, seconds, "{text}");
        }
    }

    /// Expected values from Python's `datetime.strptime`, in seconds.
    #[test]
    fn formats_are_followed() {
        for (format, text, seconds) in [
            ("%d/%m/%Y", "03/04/2024", Some(1_712_102_400)),
            ("%m/%d/%Y", "03/04/2024", Some(1_709_510_400)),
            ("%d/%m/%y %I:%M %p", "03/04/69 12:05 am", Some(-23_586_900)),
            ("%Y-%j", "2024-366", Some(1_735_603_200)),
            ("%Y-%j", "2023-366", None),
            ("%s", "-5", Some(-5)),
            ("%d %B %Y %H:%M:%S%.f %z", "1 March 2024 10:00:00.5 +0100", Some(1_709_283_600)),
            ("%Y%m%dT%H%M%S", "20240301T100000", Some(1_709_287_200)),
            ("%Y-%m-%d", "2024-03-01 x", None),
            ("%a %d %b %Y", "Fri 1 Sept 2023", Some(1_693_526_400)),
        ] {
            let read = read_as(&DateFormat::parse(format).unwrap(), text).map(|micros| micros.div_euclid(MICROS));
            assert_eq!(read, seconds, "{text} as {format}");
        }
    }

    #[test]
    fn dates_come_back_as_they_went() {
        for days in (-800_000..800_000).step_by(97) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
        for (micros, text) in
            [(0, "1970-01-01"), (-1, "1969-12-31T23:59:59.999999"), (61 * MICROS, "1970-01-01T00:01:01")]
        {
            assert_eq!(write(micros), text);
            assert_eq!(read_common(text), Some(micros));
        }
    }
}
