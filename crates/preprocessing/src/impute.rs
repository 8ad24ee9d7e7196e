//! `impute`.

use std::collections::HashMap;

use polars::prelude::{BooleanChunked, Column, DataType, Int64Chunked, IntoColumn, NewChunkedArray, StringChunked};
use rayon::prelude::*;
use retune_spec::preprocessing::{Constant, Impute, ImputeStrategy};
use retune_stage::{Field, FitContext, Kind, Result, StageError};
use serde::{Deserialize, Serialize};

use crate::frame::{Frame, numeric_column};
use crate::levels::level_counts;
use crate::outline::{Outline, shown};
use crate::source::Source;
use crate::stats::{self, moments, n_missing, quantiles};
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// What a missing value of each column is replaced by.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedImpute {
    columns: Vec<String>,
    fills: Vec<Fill>,
    /// The name of the column that says where values were missing, where there is one.
    indicators: Vec<Option<String>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Fill {
    Number(f64),
    Boolean(bool),
    Text(String),
    /// A point in time as the column stores it.
    Time(i64),
}

impl FitStep for Impute {
    type Fitted = FittedImpute;
    const REPAIRS: bool = true;
    const KINDS: &'static [Kind] = &[Kind::Numeric, Kind::Categorical, Kind::Boolean, Kind::Datetime, Kind::Text];

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        if self.value.is_some() != (self.strategy == ImputeStrategy::Constant) {
            return Err(match self.value {
                None => StageError::data("`strategy: constant` needs a `value`")
                    .help("add `value:`, what missing values are replaced by"),
                Some(_) => StageError::data("`value` is used by `strategy: constant` only")
                    .help("set `strategy: constant`, or drop `value`"),
            });
        }
        for name in columns {
            let kind = outline.schema().field(name).map_or(Kind::Numeric, |field| field.kind);
            check_kind(self, name, kind)?;
        }
        if self.indicator {
            let known = columns.iter().filter(|name| Outline::is_closed(std::slice::from_ref(name)));
            known.for_each(|name| outline.add_open(&indicator_name(name), Kind::Boolean));
        }
        Ok(())
    }

    fn fit(&self, source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedImpute>> {
        let (missing, n_rows) = n_missing(source, columns)?;
        let learned: Vec<(Fill, usize)> = learn(self, source, columns, missing)?;
        let n_missing: usize = learned.iter().map(|(_, missing)| missing).sum();
        let n_columns = learned.iter().filter(|(_, missing)| *missing > 0).count();
        let text = format!("filled {} in {}", counted(n_missing, "missing value"), counted(n_columns, "column"));
        let indicator = |(name, (_, missing)): (&String, &(Fill, usize))| {
            (self.indicator && *missing > 0).then(|| indicator_name(name))
        };
        let indicators = columns.iter().zip(&learned).map(indicator).collect();
        let fills = learned.into_iter().map(|(fill, _)| fill).collect();
        let fitted = FittedImpute { columns: columns.to_vec(), fills, indicators };
        Ok(Learnt { changed: Some(n_rows), ..Learnt::applied(fitted, text) })
    }
}

impl ApplyStep for FittedImpute {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn in_place(&self) -> Option<&[String]> {
        self.indicators.iter().all(Option::is_none).then_some(&self.columns)
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        let fill = |((name, fill), indicator): ((&String, &Fill), &Option<String>)| {
            let field = frame.field(name)?;
            let column = frame.table.column(name)?;
            let mut columns = vec![(field.clone(), filled(frame, name, column, fill)?)];
            if let Some(indicator) = indicator {
                let missing = column.is_null().with_name(indicator.as_str().into());
                columns.push((Field::derived(indicator, Kind::Boolean, field.origin()), missing.into_column()));
            }
            Ok((name.clone(), columns))
        };
        let replacements: Vec<_> =
            self.columns.par_iter().zip(&self.fills).zip(&self.indicators).map(fill).collect::<Result<_>>()?;
        frame.replace(replacements)
    }
}

/// Fails where the strategy is not for columns of this kind.
fn check_kind(step: &Impute, name: &str, kind: Kind) -> Result<()> {
    let number = kind == Kind::Numeric;
    let refuse = |what: &str, help: &str| {
        let column = shown(name);
        Err(StageError::data(format!("{what}, and column `{column}` is {}", kind.word())).help(help))
    };
    match (step.strategy, &step.value) {
        (ImputeStrategy::Mean | ImputeStrategy::Median, _) if !number => refuse(
            "means and medians are of numbers",
            "use `strategy: most_frequent` or `auto`, or choose `columns: numeric`",
        ),
        (ImputeStrategy::Constant, Some(Constant::Number(_))) if !number => {
            refuse("`value` is a number", "put text into quotes, or choose `columns: numeric`")
        }
        (ImputeStrategy::Constant, Some(Constant::Boolean(_))) if kind != Kind::Boolean => {
            refuse("`value` is true or false", "put text into quotes, or choose `columns: boolean`")
        }
        (ImputeStrategy::Constant, Some(Constant::Text(_))) if !matches!(kind, Kind::Categorical | Kind::Text) => {
            refuse("`value` is text", "choose `columns: categorical`, and another step for the others")
        }
        _ => Ok(()),
    }
}

/// What missing values of each column are replaced by, and how many there are.
fn learn(step: &Impute, source: &Source, columns: &[String], missing: Vec<usize>) -> Result<Vec<(Fill, usize)>> {
    if let (ImputeStrategy::Constant, Some(value)) = (step.strategy, &step.value) {
        let fill = match value {
            Constant::Number(number) => Fill::Number(*number),
            Constant::Boolean(boolean) => Fill::Boolean(*boolean),
            Constant::Text(text) => Fill::Text(text.clone()),
        };
        return Ok(missing.into_iter().map(|missing| (fill.clone(), missing)).collect());
    }
    let schema = source.schema();
    let of_kind = |chosen: &dyn Fn(Kind) -> bool| -> Vec<String> {
        let is = |name: &&String| schema.field(name).is_some_and(|field| chosen(field.kind));
        columns.iter().filter(is).cloned().collect()
    };
    let mut fills: HashMap<String, Option<Fill>> = HashMap::new();
    let numbers = of_kind(&|kind| kind == Kind::Numeric);
    fills.extend(numbers.iter().cloned().zip(learn_numbers(step, source, &numbers)?));
    let times = of_kind(&|kind| kind == Kind::Datetime);
    fills.extend(times.iter().cloned().zip(learn_times(source, &times)?));
    let levels = of_kind(&|kind| !matches!(kind, Kind::Numeric | Kind::Datetime));
    for (name, counts) in levels.iter().zip(level_counts(source, &levels)?) {
        let boolean = schema.field(name).is_some_and(|field| field.kind == Kind::Boolean);
        let fill = |level: &str| if boolean { Fill::Boolean(level == "true") } else { Fill::Text(level.to_owned()) };
        fills.insert(name.clone(), counts.most_frequent().map(fill));
    }
    let usable = |fill: &Fill| !matches!(fill, Fill::Number(number) if !number.is_finite());
    let mut fill_of = |(name, missing): (&String, usize)| match fills.remove(name).flatten().filter(usable) {
        Some(fill) => Ok((fill, missing)),
        None => Err(no_value(name)),
    };
    columns.iter().zip(missing).map(&mut fill_of).collect()
}

fn learn_numbers(step: &Impute, source: &Source, columns: &[String]) -> Result<Vec<Option<Fill>>> {
    let numbers: Vec<Option<f64>> = match step.strategy {
        ImputeStrategy::Mean => {
            moments(source, columns, false)?.into_iter().map(|moments| moments.map(|of| of.mean)).collect()
        }
        ImputeStrategy::MostFrequent => {
            let of = |name: &String| Ok(stats::most_frequent(&stats::sorted(&source.numeric(name)?)));
            columns.iter().map(of).collect::<Result<_>>()?
        }
        _ => quantiles(source, columns, &[0.5])?.into_iter().map(|median| median.map(|of| of[0])).collect(),
    };
    Ok(numbers.into_iter().map(|number| number.map(Fill::Number)).collect())
}

/// The most frequent point in time of each column, the earliest of equally frequent ones.
fn learn_times(source: &Source, columns: &[String]) -> Result<Vec<Option<Fill>>> {
    let mut counts: Vec<HashMap<i64, usize>> = vec![HashMap::new(); columns.len()];
    let map = |frame: &Frame| {
        let of = |name: &String| Ok(times(frame.table.column(name)?)?.iter().flatten().collect());
        columns.iter().map(of).collect::<Result<Vec<Vec<i64>>>>()
    };
    source.fold(columns, map, |piece| {
        for (counts, times) in counts.iter_mut().zip(piece) {
            times.into_iter().for_each(|time| *counts.entry(time).or_default() += 1);
        }
        Ok(())
    })?;
    let most = |counts: HashMap<i64, usize>| {
        counts.into_iter().max_by_key(|(time, n)| (*n, std::cmp::Reverse(*time))).map(|(time, _)| Fill::Time(time))
    };
    Ok(counts.into_iter().map(most).collect())
}

/// What helps where every column must have values.
pub(crate) const LEAVE_OUT: &str = "leave it out of `columns`, or list it under `data.ignore`";

/// The error of a column that nothing can be learned from.
pub(crate) fn no_value(name: &str) -> StageError {
    StageError::data(format!("column `{name}` has no value in any training row to fill missing ones by"))
        .help(format!("list `{name}` under `data.ignore`, or give it a `value` by `strategy: constant`"))
}

/// What the column is called that says where the values of another are missing.
pub(crate) fn indicator_name(name: &str) -> String {
    format!("{name}_missing")
}

fn filled(frame: &Frame, name: &str, column: &Column, fill: &Fill) -> Result<Column> {
    let failed = |error: polars::error::PolarsError| StageError::failed(error.to_string());
    Ok(match fill {
        Fill::Number(number) => {
            let mut values = frame.numeric(name)?;
            values.iter_mut().filter(|value| value.is_nan()).for_each(|value| *value = *number);
            numeric_column(name, values)
        }
        _ if column.null_count() == 0 => column.clone(),
        Fill::Boolean(boolean) => {
            let values = column.bool().map_err(failed)?.iter().map(|value| value.unwrap_or(*boolean));
            BooleanChunked::from_iter_values(name.into(), values).into_column()
        }
        Fill::Text(text) => {
            let values = frame.table.strings(name)?.iter().map(|value| value.unwrap_or(text));
            StringChunked::from_iter_values(name.into(), values).into_column()
        }
        Fill::Time(time) => {
            let values = times(column)?.iter().map(|value| value.unwrap_or(*time)).collect::<Vec<i64>>();
            Int64Chunked::from_vec(name.into(), values).into_column().cast(column.dtype()).map_err(failed)?
        }
    })
}

/// Points in time as the column stores them.
fn times(column: &Column) -> Result<Int64Chunked> {
    let failed = |error: polars::error::PolarsError| StageError::failed(error.to_string());
    let physical = column.to_physical_repr().cast(&DataType::Int64).map_err(failed)?;
    physical.i64().cloned().map_err(failed)
}
