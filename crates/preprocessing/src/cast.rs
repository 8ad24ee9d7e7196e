//! `cast`.

use polars::prelude::{BooleanChunked, Column, DataType, Int64Chunked, IntoColumn, NewChunkedArray, StringChunked};
use retune_spec::preprocessing::{Cast, CastTo, Unparsed};
use retune_stage::{FitContext, Kind, Result, StageError};
use serde::{Deserialize, Serialize};

use crate::cells;
use crate::converted::{self, Convert, Unread, told, unread};
use crate::dates;
use crate::frame::{Frame, numeric_column};
use crate::outline::{Outline, shown};
use crate::source::Source;
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// What to turn into what; there is nothing else to learn.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedCast {
    columns: Vec<String>,
    to: CastTo,
    unparsed: Unparsed,
}

impl FitStep for Cast {
    type Fitted = FittedCast;
    const REPAIRS: bool = true;
    const KINDS: &'static [Kind] = &[Kind::Numeric, Kind::Categorical, Kind::Boolean, Kind::Datetime, Kind::Text];

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        let kind_of = |name: &&String| outline.schema().field(name).map(|field| field.kind);
        let number = matches!(self.to, CastTo::Numeric | CastTo::Integer | CastTo::Boolean);
        if let Some(name) = columns.iter().find(|name| number && kind_of(name) == Some(Kind::Datetime)) {
            return Err(StageError::data(format!(
                "column `{}` is datetime, which is no number by itself",
                shown(name)
            ))
            .help("take it apart: `datetime_parts`, whose part `unix` is the seconds since 1970"));
        }
        let from_number = |name: &&String| matches!(kind_of(name), Some(Kind::Numeric | Kind::Boolean));
        if let Some(name) = columns.iter().find(|name| self.to == CastTo::Datetime && from_number(name)) {
            return Err(StageError::data(format!("column `{}` holds numbers, which are no dates by themselves", shown(name)))
                .help("turn them into text before, `cast: { to: text }`, and read that by a format: `parse_dates`, where `%s` is seconds since 1970"));
        }
        outline.set_kind(columns, self.to.kind());
        Ok(())
    }

    fn fit(&self, source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedCast>> {
        let fitted = FittedCast { columns: columns.to_vec(), to: self.to, unparsed: self.unparsed };
        let unread = unread(source, columns, &fitted, self.unparsed)?;
        let text = format!("turned {} into {}", counted(columns.len(), "column"), fitted.wanted());
        Ok(Learnt::applied(fitted, told(&text, columns, &unread)))
    }
}

impl ApplyStep for FittedCast {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        converted::apply(frame, &self.columns, self, self.unparsed)
    }
}

/// The kind that a column becomes.
trait KindOf {
    fn kind(self) -> Kind;
}

impl KindOf for CastTo {
    fn kind(self) -> Kind {
        match self {
            Self::Numeric | Self::Integer => Kind::Numeric,
            Self::Boolean => Kind::Boolean,
            Self::Datetime => Kind::Datetime,
            Self::Categorical => Kind::Categorical,
            Self::Text => Kind::Text,
        }
    }
}

impl Convert for FittedCast {
    fn kind(&self) -> Kind {
        self.to.kind()
    }

    fn wanted(&self) -> &'static str {
        match self.to {
            CastTo::Numeric => "numbers",
            CastTo::Integer => "whole numbers",
            CastTo::Boolean => "true and false",
            CastTo::Datetime => "dates",
            CastTo::Categorical => "levels",
            CastTo::Text => "text",
        }
    }

    fn convert(&self, frame: &Frame, _index: usize, name: &str) -> Result<(Column, Unread)> {
        let before = frame.table.column(name)?;
        let kind = frame.field(name)?.kind;
        let after = match (kind, self.to) {
            (Kind::Datetime, CastTo::Categorical | CastTo::Text) => {
                let text = dates::micros(before)?.into_iter().map(|time| time.map(dates::write));
                StringChunked::from_iter_options(name.into(), text).into_column()
            }
            (Kind::Datetime, _) => before.clone(),
            (Kind::Categorical | Kind::Text, to) => from_text(frame.table.strings(name)?, name, to),
            (Kind::Boolean, CastTo::Boolean) => before.clone(),
            (Kind::Boolean, CastTo::Categorical | CastTo::Text) => frame.levels(name)?.into_column(),
            (_, to) => from_numbers(&frame.numeric(name)?, before, name, to)?,
        };
        let text = |row: usize| match kind {
            Kind::Categorical | Kind::Text => frame.table.strings(name).ok()?.get(row).map(str::to_owned),
            _ => before.get(row).ok().map(|value| value.to_string()),
        };
        let unread = Unread::between(frame, before, &after, text);
        Ok((after, unread))
    }

    fn help(&self) -> String {
        match self.to {
            CastTo::Datetime => "give their form by `parse_dates`, or set `unparsed: null` for missing values",
            CastTo::Numeric => "numbers with units or other marks are read by `parse_numbers`, words for a missing value taken out by `null_tokens`; or set `unparsed: null`",
            _ => "correct them by `replace_values`, or set `unparsed: null` for missing values",
        }
        .to_owned()
    }
}

fn from_text(values: &StringChunked, name: &str, to: CastTo) -> Column {
    match to {
        CastTo::Numeric => numeric_column(name, numbers(cells::read(values, number))),
        CastTo::Integer => {
            Int64Chunked::from_iter_options(name.into(), cells::read(values, integer).into_iter()).into_column()
        }
        CastTo::Boolean => {
            BooleanChunked::from_iter_options(name.into(), cells::read(values, boolean).into_iter()).into_column()
        }
        CastTo::Datetime => dates::time_column(name, cells::read(values, dates::read_common)),
        CastTo::Categorical | CastTo::Text => values.clone().into_column(),
    }
}

fn from_numbers(values: &[f64], before: &Column, name: &str, to: CastTo) -> Result<Column> {
    let present = || values.iter().map(|value| (!value.is_nan()).then_some(*value));
    Ok(match to {
        // Whole numbers beyond 2^53 would not survive a detour over floats.
        CastTo::Integer if before.dtype().is_integer() => {
            before.cast(&DataType::Int64).map_err(|error| StageError::failed(error.to_string()))?
        }
        CastTo::Integer => {
            Int64Chunked::from_iter_options(name.into(), present().map(|value| value.and_then(whole))).into_column()
        }
        CastTo::Boolean => {
            let zero_one = |value| match value {
                0.0 => Some(false),
                1.0 => Some(true),
                _ => None,
            };
            BooleanChunked::from_iter_options(name.into(), present().map(|value| value.and_then(zero_one)))
                .into_column()
        }
        CastTo::Categorical | CastTo::Text if before.dtype().is_integer() => {
            before.cast(&DataType::String).map_err(|error| StageError::failed(error.to_string()))?
        }
        CastTo::Categorical | CastTo::Text => {
            let text = present().map(|value| value.map(|value| value.to_string()));
            StringChunked::from_iter_options(name.into(), text).into_column()
        }
        CastTo::Numeric | CastTo::Datetime => numeric_column(name, values.to_vec()),
    })
}

/// A finite number that is all of a text.
pub(crate) fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|value: &f64| value.is_finite())
}

fn integer(text: &str) -> Option<i64> {
    text.trim().parse().ok().or_else(|| number(text).and_then(whole))
}

/// The whole number that a float is.
fn whole(value: f64) -> Option<i64> {
    (value.fract() == 0.0 && value.abs() < 9e18).then_some(value as i64)
}

fn boolean(text: &str) -> Option<bool> {
    let text = text.trim();
    let is = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is(&["true", "yes", "y", "t", "on", "1"]) {
        Some(true)
    } else if is(&["false", "no", "n", "f", "off", "0"]) {
        Some(false)
    } else {
        None
    }
}

/// Missing values as NaN.
pub(crate) fn numbers(values: Vec<Option<f64>>) -> Vec<f64> {
    values.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect()
}
