//! What the values of a column are, and their one way of being stored: numbers in any numeric type, levels, text and labels as strings, points in
//! time as dates or microseconds; a missing value as a null.

use polars::prelude::*;
use retune_spec::Kind;

use crate::TableError;
use crate::dates::{parse_date, parse_datetime};
use crate::error::{counted, listed};
use crate::table::row_number;

/// The column as a table stores it, and its kind: the declared one or, where none is, what its values look like. `frame` only numbers rows for messages.
pub(crate) fn settle(column: &Column, declared: Option<Kind>, frame: &DataFrame) -> Result<(Column, Kind), TableError> {
    let column = plain(column, declared)?;
    // To see whether text is free takes all of it, and here it is told.
    if let (Some(kind @ (Kind::Categorical | Kind::Text)), DataType::String) = (declared, column.dtype()) {
        return Ok((column, kind));
    }
    let natural = natural_kind(&column)?;
    let Some(kind) = declared else {
        return Ok((column, natural));
    };
    let settled = match (kind, column.dtype()) {
        (Kind::Categorical | Kind::Text, _) => as_text(&column)?.into_column(),
        (Kind::Numeric, DataType::String) => parse::<Float64Type>(&column, kind, frame, parse_number)?.into_column(),
        (Kind::Numeric, DataType::Boolean) => column.cast(&DataType::Float64)?,
        (Kind::Boolean, DataType::String) => parse_boolean(&column, frame)?,
        (Kind::Boolean, dtype) if dtype.is_primitive_numeric() => zero_one(&column, frame)?,
        (Kind::Datetime, DataType::String) => parse::<Int64Type>(&column, kind, frame, parse_point)?
            .into_datetime(TimeUnit::Microseconds, None)
            .into_column(),
        (Kind::Image | Kind::Audio, DataType::String | DataType::Binary) => column,
        _ if kind == natural => column,
        _ => {
            return Err(TableError::new(format!(
                "column `{}` is {}, where {} is needed",
                column.name(),
                natural.word(),
                kind.word()
            )));
        }
    };
    Ok((settled, kind))
}

/// One way to store each kind of value; types that no step can work on are refused.
fn plain(column: &Column, declared: Option<Kind>) -> Result<Column, TableError> {
    let name = column.name();
    let unsupported = |what: &str| {
        Err(TableError::new(format!("column `{name}` holds {what}, which no step can work on"))
            .help(format!("leave it out, `ignore: {name}`, or turn it into numbers or text first")))
    };
    match column.dtype() {
        DataType::Float32 | DataType::Float64 => Ok(without_nan(column)?),
        DataType::Boolean | DataType::Date => Ok(column.clone()),
        dtype if dtype.is_primitive_numeric() => Ok(column.clone()),
        DataType::Datetime(_, zone) => Ok(column.cast(&DataType::Datetime(TimeUnit::Microseconds, zone.clone()))?),
        DataType::String => Ok(without_empty(column)?),
        DataType::Null => Ok(column.cast(&DataType::String)?),
        DataType::Categorical(..) | DataType::Enum(..) => Ok(without_empty(&column.cast(&DataType::String)?)?),
        DataType::Binary if matches!(declared, Some(Kind::Image | Kind::Audio)) => Ok(column.clone()),
        DataType::Binary => Err(TableError::new(format!("column `{name}` holds bytes")).help(format!(
            "say what they are, `columns: {{ {name}: image }}`, or leave the column out: `ignore: {name}`"
        ))),
        DataType::Duration(_) => unsupported("lengths of time"),
        dtype if dtype.is_nested() => unsupported("lists or records"),
        dtype => unsupported(&format!("values of type {dtype}")),
    }
}

fn without_nan(column: &Column) -> Result<Column, TableError> {
    if is_finite(column) {
        return Ok(column.clone());
    }
    let series = column.as_materialized_series();
    let nan = series.is_nan()?;
    if !nan.any() {
        return Ok(column.clone());
    }
    Ok(series.zip_with(&!&nan, &Series::full_null(series.name().clone(), series.len(), series.dtype()))?.into_column())
}

fn without_empty(column: &Column) -> Result<Column, TableError> {
    let text = column.str()?;
    if !text.iter().any(|value| value == Some("")) {
        return Ok(column.clone());
    }
    let values = text.iter().map(|value| value.filter(|value| !value.is_empty()));
    Ok(StringChunked::from_iter_options(column.name().clone(), values).into_column())
}

pub(crate) fn natural_kind(column: &Column) -> Result<Kind, TableError> {
    Ok(match column.dtype() {
        DataType::Boolean => Kind::Boolean,
        DataType::Date | DataType::Datetime(..) => Kind::Datetime,
        DataType::Binary => Kind::Image,
        DataType::String if looks_like_text(column.str()?)? => Kind::Text,
        DataType::String => Kind::Categorical,
        _ => Kind::Numeric,
    })
}

/// Text is several words that rarely repeat: three or more on average, more than half of the values distinct.
fn looks_like_text(values: &StringChunked) -> Result<bool, TableError> {
    let words = Words::of(values);
    if !words.are_many() {
        return Ok(false);
    }
    let distinct = values.n_unique()? - usize::from(values.null_count() > 0);
    Ok(2 * distinct > words.present)
}

/// How many values a column has, and how many words they are.
#[derive(Clone, Copy, Default)]
pub(crate) struct Words {
    pub present: usize,
    words: usize,
}

impl Words {
    pub fn of(values: &StringChunked) -> Self {
        let words = values.iter().flatten().map(|value| value.split_whitespace().count()).sum();
        Self { present: values.len() - values.null_count(), words }
    }

    pub fn add(&mut self, other: Self) {
        self.present += other.present;
        self.words += other.words;
    }

    /// Three or more on average.
    pub fn are_many(self) -> bool {
        self.present > 0 && self.words >= 3 * self.present
    }
}

/// [`settle`] for some rows of a column: one of strings counts as categorical, since only all of its rows tell whether it is text.
pub(crate) fn settle_some(
    column: &Column,
    declared: Option<Kind>,
    frame: &DataFrame,
) -> Result<(Column, Kind), TableError> {
    let is_strings =
        matches!(column.dtype(), DataType::String | DataType::Null | DataType::Categorical(..) | DataType::Enum(..));
    settle(column, declared.or(is_strings.then_some(Kind::Categorical)), frame)
}

/// Values as text: integers (of any type) without a fraction, floats as short as they can be written, booleans as `true` and `false`.
pub(crate) fn as_text(column: &Column) -> Result<StringChunked, TableError> {
    let name = column.name().clone();
    Ok(match column.dtype() {
        DataType::String => column.str()?.clone(),
        DataType::Float32 => StringChunked::from_iter_options(
            name,
            column.f32()?.iter().map(|value| value.map(|value| value.to_string())),
        ),
        DataType::Float64 => StringChunked::from_iter_options(
            name,
            column.f64()?.iter().map(|value| value.map(|value| value.to_string())),
        ),
        _ => column.cast(&DataType::String)?.str()?.clone(),
    })
}

/// Parses text as another kind; fails with the first rows that cannot be.
fn parse<T: PolarsNumericType>(
    column: &Column,
    kind: Kind,
    frame: &DataFrame,
    parser: fn(&str) -> Option<T::Native>,
) -> Result<ChunkedArray<T>, TableError> {
    let values = column.str()?;
    let parsed: ChunkedArray<T> =
        ChunkedArray::from_iter_options(column.name().clone(), values.iter().map(|value| value.and_then(parser)));
    let nan = kind == Kind::Numeric;
    let bad: Vec<usize> = values
        .iter()
        .zip(parsed.iter())
        .enumerate()
        .filter(|(_, (text, value))| {
            value.is_none() && text.is_some_and(|text| !(nan && text.trim().eq_ignore_ascii_case("nan")))
        })
        .map(|(row, _)| row)
        .collect();
    refuse(column, kind, frame, &bad)?;
    Ok(parsed)
}

fn parse_number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|value: &f64| !value.is_nan())
}

fn parse_point(text: &str) -> Option<i64> {
    let bytes = text.trim().as_bytes();
    parse_datetime(bytes).or_else(|| parse_date(bytes).map(|days| i64::from(days) * 86_400_000_000))
}

fn parse_boolean(column: &Column, frame: &DataFrame) -> Result<Column, TableError> {
    let value = |text: &str| match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" => Some(true),
        "false" | "no" | "0" => Some(false),
        _ => None,
    };
    let values = column.str()?;
    let bad: Vec<usize> = values
        .iter()
        .enumerate()
        .filter(|(_, text)| text.is_some_and(|text| value(text).is_none()))
        .map(|(row, _)| row)
        .collect();
    refuse(column, Kind::Boolean, frame, &bad)?;
    let parsed = values.iter().map(|text| text.and_then(value));
    Ok(BooleanChunked::from_iter_options(column.name().clone(), parsed).into_column())
}

fn zero_one(column: &Column, frame: &DataFrame) -> Result<Column, TableError> {
    let values = column.cast(&DataType::Float64)?;
    let values = values.f64()?;
    let bad: Vec<usize> = values
        .iter()
        .enumerate()
        .filter(|(_, value)| value.is_some_and(|value| value != 0.0 && value != 1.0))
        .map(|(row, _)| row)
        .collect();
    refuse(column, Kind::Boolean, frame, &bad)?;
    Ok(BooleanChunked::from_iter_options(
        column.name().clone(),
        values.iter().map(|value| value.map(|value| value == 1.0)),
    )
    .into_column())
}

fn refuse(column: &Column, kind: Kind, frame: &DataFrame, bad: &[usize]) -> Result<(), TableError> {
    let Some(&first) = bad.first() else { return Ok(()) };
    let text = as_text(column)?;
    let shown: Vec<String> = bad
        .iter()
        .take(3)
        .filter_map(|&row| Some(format!("`{}` in row {}", text.get(row)?, row_number(frame, row))))
        .collect();
    let more = if bad.len() > shown.len() {
        format!(" and {} more", counted(bad.len() - shown.len(), "value"))
    } else {
        String::new()
    };
    let way_out = match kind {
        Kind::Datetime => "write dates as 2024-02-29 or 2024-02-29T12:30".to_owned(),
        Kind::Boolean => "write `true` and `false`".to_owned(),
        _ => match text.get(first) {
            Some(word) => format!("correct them, or add words that stand for a missing value: `null_values: [{word}]`"),
            None => String::new(),
        },
    };
    Err(TableError::new(format!(
        "column `{}` must be {}, but holds {}{more}",
        column.name(),
        kind.word(),
        shown.join(", ")
    ))
    .help(way_out))
}

/// Whether a column holds floats of which none is infinite or NaN, as most do: they need no second look.
pub(crate) fn is_finite(column: &Column) -> bool {
    let series = column.as_materialized_series();
    match (series.f64(), series.f32()) {
        (Ok(values), _) => {
            values.downcast_iter().all(|chunk| chunk.values().iter().fold(true, |all, value| all & value.is_finite()))
        }
        (_, Ok(values)) => {
            values.downcast_iter().all(|chunk| chunk.values().iter().fold(true, |all, value| all & value.is_finite()))
        }
        _ => false,
    }
}

/// Infinite numbers are refused where they would be learned from.
pub(crate) fn refuse_infinities(column: &Column, frame: &DataFrame) -> Result<(), TableError> {
    if !column.dtype().is_float() || is_finite(column) {
        return Ok(());
    }
    let infinite = column.as_materialized_series().is_infinite()?;
    if !infinite.any() {
        return Ok(());
    }
    let rows: Vec<usize> =
        infinite.iter().enumerate().filter(|(_, infinite)| *infinite == Some(true)).map(|(row, _)| row).collect();
    let Some(&first) = rows.first() else { return Ok(()) };
    let more = if rows.len() > 1 { format!(" ({} in all)", counted(rows.len(), "row")) } else { String::new() };
    Err(TableError::new(format!("column `{}` is infinite in row {}{more}", column.name(), row_number(frame, first)))
        .help("replace infinite values by a number or leave them empty, before retune reads them"))
}

/// How many of the first values tell whether a column is nearly numbers or dates.
pub(crate) const SAMPLE: usize = 1000;

/// A text column that would be numbers or dates but for a few words; for a note.
pub(crate) fn nearly(values: &StringChunked) -> Option<String> {
    let sample: Vec<&str> = values.iter().flatten().take(SAMPLE).collect();
    let few_but = |is_one: &dyn Fn(&str) -> bool| {
        let mut odd: Vec<&str> = sample.iter().copied().filter(|value| !is_one(value)).collect();
        let few = !odd.is_empty() && odd.len() * 5 <= sample.len();
        odd.sort_unstable();
        odd.dedup();
        few.then_some(odd)
    };
    if let Some(words) = few_but(&|value| parse_point(value).is_some()) {
        return Some(format!(
            "column `{}` is text, not dates, because of {}; correct it, name it under `null_values`, or take the step `parse_dates`",
            values.name(),
            listed(&words),
        ));
    }
    // Leading zeros are codes on purpose.
    let code = |value: &&str| value.len() > 1 && value.starts_with('0') && !value.contains('.');
    let words = few_but(&|value| parse_number(value).is_some()).filter(|_| !sample.iter().any(code))?;
    Some(format!(
        "column `{}` is text because of {}; if they mean a missing value: `null_values: [{}]`",
        values.name(),
        listed(&words),
        words[0]
    ))
}
