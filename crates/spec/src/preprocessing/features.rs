//! Steps that make new columns of each row's own values.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::yes;
use crate::columns::Selector;

/// Adds columns that are computed from others by expressions in SQL, such as ratios: `price_per_kg: "price / weight"`.
///
/// Names of columns stand plain or in double quotes, text in single quotes. There are `+ - * / %`, `= <> < <= > >=`, `AND OR NOT`, `IS NULL`, `IN`, `BETWEEN`,
/// `LIKE`, `||`, `CASE WHEN`, `CAST(x AS DOUBLE)` and the functions `abs round floor ceil sqrt exp ln log10 power sign least greatest coalesce nullif length
/// lower upper trim`. All numbers are 64-bit floats: `1 / 2` is 0.5. A missing value makes a result missing, as in SQL; so does a result that is not a
/// finite number, such as a division by zero. `least` and `greatest` pass over missing values, as in PostgreSQL: `greatest(a, NULL)` is `a`, and missing only
/// where all are. An expression sees the features of its own row only; the columns before it in the list are among them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Derive {
    /// The new columns and their expressions. A number gives a numeric column, a condition a boolean one, text a categorical one.
    #[schemars(length(min = 1))]
    pub columns: IndexMap<String, String>,
}

/// Takes dates and points in time apart: one column `NAME_PART` for each part, in UTC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatetimeParts {
    /// The columns taken apart.
    #[serde(default = "datetimes")]
    pub columns: Selector,
    /// The parts.
    #[serde(default = "common_parts")]
    #[schemars(length(min = 1))]
    pub parts: Vec<DatetimePart>,
    /// Adds `NAME_PART_sin` and `NAME_PART_cos` for each periodic part (quarter, month, week, day, day_of_year, weekday, hour, minute, second), so that the end
    /// of a period is near its beginning: the sine and cosine of 2π value / period.
    #[serde(default)]
    pub cyclic: bool,
    /// Keep the column itself.
    #[serde(default)]
    pub keep: bool,
}

/// A part of a point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DatetimePart {
    /// The year.
    Year,
    /// The quarter, 1 to 4.
    Quarter,
    /// The month, 1 to 12.
    Month,
    /// The week of ISO 8601, 1 to 53.
    Week,
    /// The day of the month, 1 to 31.
    Day,
    /// The day of the year, 1 to 366.
    DayOfYear,
    /// The weekday, 0 for Monday to 6 for Sunday, as pandas.
    Weekday,
    /// Whether it is Saturday or Sunday.
    IsWeekend,
    /// The hour, 0 to 23.
    Hour,
    /// The minute, 0 to 59.
    Minute,
    /// The second, 0 to 59.
    Second,
    /// The seconds since 1970-01-01.
    Unix,
}

impl DatetimePart {
    /// The word in the language, with which the columns end.
    pub fn word(self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::Quarter => "quarter",
            Self::Month => "month",
            Self::Week => "week",
            Self::Day => "day",
            Self::DayOfYear => "day_of_year",
            Self::Weekday => "weekday",
            Self::IsWeekend => "is_weekend",
            Self::Hour => "hour",
            Self::Minute => "minute",
            Self::Second => "second",
            Self::Unix => "unix",
        }
    }
}

fn datetimes() -> Selector {
    Selector::kind(crate::schema::Kind::Datetime)
}

fn common_parts() -> Vec<DatetimePart> {
    vec![DatetimePart::Year, DatetimePart::Month, DatetimePart::Day, DatetimePart::Weekday, DatetimePart::Hour]
}

/// Describes text by numbers: one column `NAME_STATISTIC` for each; missing where the text is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TextStatistics {
    /// The columns described.
    #[serde(default = "Selector::text")]
    pub columns: Selector,
    /// What is measured.
    #[serde(default = "all_statistics")]
    #[schemars(length(min = 1))]
    pub statistics: Vec<TextStatistic>,
    /// Keep the text itself, for steps such as `tf_idf`.
    #[serde(default = "yes")]
    pub keep: bool,
}

/// Something measured of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TextStatistic {
    /// The number of characters.
    Length,
    /// The number of words: runs without spaces.
    Words,
    /// The mean number of characters of a word; 0 without words.
    WordLength,
    /// The share of capital letters among all characters.
    Capitals,
    /// The share of digits among all characters.
    Digits,
    /// The share of ASCII punctuation among all characters.
    Punctuation,
    /// The share of white space among all characters.
    Spaces,
    /// The number of exclamation marks.
    Exclamations,
    /// The number of question marks.
    Questions,
    /// The number of lines.
    Lines,
}

impl TextStatistic {
    /// Every one, in the order of their columns.
    pub const ALL: [Self; 10] = [
        Self::Length,
        Self::Words,
        Self::WordLength,
        Self::Capitals,
        Self::Digits,
        Self::Punctuation,
        Self::Spaces,
        Self::Exclamations,
        Self::Questions,
        Self::Lines,
    ];

    /// The word in the language, with which the columns end.
    pub fn word(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Words => "words",
            Self::WordLength => "word_length",
            Self::Capitals => "capitals",
            Self::Digits => "digits",
            Self::Punctuation => "punctuation",
            Self::Spaces => "spaces",
            Self::Exclamations => "exclamations",
            Self::Questions => "questions",
            Self::Lines => "lines",
        }
    }
}

fn all_statistics() -> Vec<TextStatistic> {
    TextStatistic::ALL.to_vec()
}
