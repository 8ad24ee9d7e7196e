//! `impute`.

use polars::prelude::{BooleanChunked, Column, DataType, Int64Chunked, IntoColumn, NewChunkedArray, StringChunked};
use rayon::prelude::*;
use retune_spec::preprocessing::{Constant, Impute, ImputeStrategy};
use retune_stage::{Field, FitContext, Kind, Result, StageError};
use serde::{Deserialize, Serialize};

use crate::frame::{Frame, numeric_column};
use crate::outline::{Outline, shown};
use crate::step::{ApplyStep, FitStep, Learnt, counted};
use crate::{levels, stats};

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

    fn fit(&self, frame: &Frame, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedImpute>> {
        let learn = |name: &String| {
            let column = frame.table.column(name)?;
            Ok((fill(self, frame, frame.field(name)?, column)?, column.null_count()))
        };
        let learned: Vec<(Fill, usize)> = columns.par_iter().map(learn).collect::<Result<_>>()?;
        let n_missing: usize = learned.iter().map(|(_, missing)| missing).sum();
        let n_columns = learned.iter().filter(|(_, missing)| *missing > 0).count();
        let text = format!("filled {} in {}", counted(n_missing, "missing value"), counted(n_columns, "column"));
        let indicator = |(name, (_, missing)): (&String, &(Fill, usize))| {
            (self.indicator && *missing > 0).then(|| indicator_name(name))
        };
        let indicators = columns.iter().zip(&learned).map(indicator).collect();
        let fills = learned.into_iter().map(|(fill, _)| fill).collect();
        Learnt::applied(FittedImpute { columns: columns.to_vec(), fills, indicators }, frame, text)
    }
}

impl ApplyStep for FittedImpute {
    fn dense_columns(&self) -> &[String] {
        &self.columns
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

/// What missing values of a column are replaced by.
fn fill(step: &Impute, frame: &Frame, field: &Field, column: &Column) -> Result<Fill> {
    if let (ImputeStrategy::Constant, Some(value)) = (step.strategy, &step.value) {
        return Ok(match value {
            Constant::Number(number) => Fill::Number(*number),
            Constant::Boolean(boolean) => Fill::Boolean(*boolean),
            Constant::Text(text) => Fill::Text(text.clone()),
        });
    }
    let name = &field.name;
    let learned = match field.kind {
        Kind::Numeric => {
            let values = frame.numeric(name)?;
            match step.strategy {
                ImputeStrategy::Mean => stats::moments(&values).map(|(_, mean, _)| mean),
                ImputeStrategy::MostFrequent => stats::most_frequent(&stats::sorted(&values)),
                _ => stats::quantile(&stats::sorted(&values), 0.5),
            }
            .map(Fill::Number)
        }
        Kind::Boolean => levels::most_frequent(&frame.levels(name)?).map(|level| Fill::Boolean(level == "true")),
        Kind::Datetime => {
            let times = times(column)?;
            let mut times: Vec<i64> = times.iter().flatten().collect();
            times.sort_unstable();
            let runs = times.chunk_by(|a, b| a == b);
            runs.fold(
                None,
                |best: Option<&[i64]>, run| {
                    if best.is_none_or(|best| run.len() > best.len()) { Some(run) } else { best }
                },
            )
            .map(|run| Fill::Time(run[0]))
        }
        _ => levels::most_frequent(&frame.levels(name)?).map(Fill::Text),
    };
    let usable = learned.filter(|fill| !matches!(fill, Fill::Number(number) if !number.is_finite()));
    usable.ok_or_else(|| {
        StageError::data(format!("column `{name}` has no value in any training row to fill missing ones by"))
            .help(format!("list `{name}` under `data.ignore`, or give it a `value` by `strategy: constant`"))
    })
}

fn indicator_name(name: &str) -> String {
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
