//! `fill_missing`.

use std::collections::HashMap;

use polars::chunked_array::ops::row_encode::encode_rows_unordered;
use polars::prelude::{Column, IdxCa, IdxSize, NewChunkedArray, SortOptions};
use rayon::prelude::*;
use retune_spec::columns::OneOrMany;
use retune_spec::diagnostic::did_you_mean;
use retune_spec::preprocessing::{FillDirection, FillMissing};
use retune_stage::{FitContext, Kind, Result, StageError};
use serde::{Deserialize, Serialize};

use crate::frame::Frame;
use crate::outline::Outline;
use crate::source::Source;
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// Nothing is learned but which columns are filled.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedFillMissing {
    /// The columns filled, then those of `by` and `order_by`: they must all be dense.
    columns: Vec<String>,
    n_filled: usize,
    direction: FillDirection,
    by: Vec<String>,
    order_by: Option<String>,
    limit: usize,
}

impl FitStep for FillMissing {
    type Fitted = FittedFillMissing;
    const REPAIRS: bool = true;
    const KINDS: &'static [Kind] = &[Kind::Numeric, Kind::Categorical, Kind::Boolean, Kind::Datetime, Kind::Text];

    fn check(&self, _columns: &[String], outline: &mut Outline) -> Result<()> {
        let schema = outline.schema();
        // Whether a column whose name only the data know is that one cannot be told yet.
        let closed = schema.fields.iter().all(|field| Outline::is_closed(std::slice::from_ref(&field.name)));
        match by(self).iter().chain(&self.order_by).find(|name| closed && schema.field(name).is_none()) {
            None => Ok(()),
            Some(name) => {
                let error = StageError::data(format!("no column `{name}` at this step"));
                let near = did_you_mean(name, schema.fields.iter().map(|field| field.name.as_str()));
                Err(error.help(near.map_or_else(
                    || "it is no column of the data, or an earlier step replaced it".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                )))
            }
        }
    }

    fn fit(&self, source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedFillMissing>> {
        let frame = source.frame()?;
        let keys: Vec<String> = by(self).iter().chain(&self.order_by).cloned().collect();
        let mut columns: Vec<String> = columns.iter().filter(|name| !keys.contains(name)).cloned().collect();
        let n_missing = |frame: &Frame, columns: &[String]| {
            let of = |name: &String| Ok(frame.table.column(name)?.null_count());
            columns.iter().map(of).sum::<Result<usize>>()
        };
        let before = n_missing(frame, &columns)?;
        let n_filled = columns.len();
        columns.extend(keys);
        let fitted = FittedFillMissing {
            columns,
            n_filled,
            direction: self.direction,
            by: by(self).to_vec(),
            order_by: self.order_by.clone(),
            limit: self.limit.unwrap_or(usize::MAX),
        };
        let after = n_missing(&fitted.apply(&frame.densify(&fitted.columns)?)?, &fitted.columns[..n_filled])?;
        let text =
            format!("filled {}; {after} had none to take", counted(before.saturating_sub(after), "missing value"));
        Ok(Learnt::applied(fitted, text))
    }
}

/// The columns of `by`.
fn by(step: &FillMissing) -> &[String] {
    step.by.as_ref().map_or(&[], OneOrMany::as_slice)
}

impl ApplyStep for FittedFillMissing {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn needs_all_rows(&self) -> bool {
        true
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        let (groups, n_groups) = self.groups(frame)?;
        let order = self.order(frame)?;
        let fill = |name: &String| {
            let column = frame.table.column(name)?;
            let filled = self.filled(column, &groups, n_groups, &order)?;
            Ok((name.clone(), vec![(frame.field(name)?.clone(), filled)]))
        };
        frame.replace(self.columns[..self.n_filled].par_iter().map(fill).collect::<Result<_>>()?)
    }
}

impl FittedFillMissing {
    /// The group of each row, and how many there are.
    fn groups(&self, frame: &Frame) -> Result<(Vec<u32>, usize)> {
        if self.by.is_empty() {
            return Ok((vec![0; frame.n_rows()], 1));
        }
        let columns: Vec<Column> = self.by.iter().map(|name| carried(frame, name)).collect::<Result<_>>()?;
        let encoded = encode_rows_unordered(&columns)?;
        let mut known: HashMap<&[u8], u32> = HashMap::new();
        let groups = encoded.iter().map(|row| {
            let next = known.len() as u32;
            *known.entry(row.unwrap_or_default()).or_insert(next)
        });
        let groups = groups.collect();
        Ok((groups, known.len()))
    }

    /// The rows in the order in which they are walked through.
    fn order(&self, frame: &Frame) -> Result<Vec<IdxSize>> {
        let mut order: Vec<IdxSize> = match &self.order_by {
            None => (0..frame.n_rows() as IdxSize).collect(),
            Some(name) => {
                let options = SortOptions {
                    nulls_last: true,
                    maintain_order: true,
                    multithreaded: true,
                    ..SortOptions::default()
                };
                let sorted = carried(frame, name)?.as_materialized_series().arg_sort(options);
                sorted.iter().flatten().collect()
            }
        };
        if self.direction == FillDirection::Backward {
            order.reverse();
        }
        Ok(order)
    }

    /// The column with each missing value replaced by the last one met in its group.
    fn filled(&self, column: &Column, groups: &[u32], n_groups: usize, order: &[IdxSize]) -> Result<Column> {
        if column.null_count() == 0 {
            return Ok(column.clone());
        }
        let missing: Vec<bool> = column.is_null().iter().map(|missing| missing == Some(true)).collect();
        let mut source: Vec<Option<IdxSize>> = (0..missing.len() as IdxSize).map(Some).collect();
        // For each group, the row last met that has a value, and how many were filled from it.
        let mut last: Vec<(Option<IdxSize>, usize)> = vec![(None, 0); n_groups];
        for &row in order {
            let last = &mut last[groups[row as usize] as usize];
            if !missing[row as usize] {
                *last = (Some(row), 0);
            } else if last.1 < self.limit {
                source[row as usize] = last.0;
                last.1 += 1;
            }
        }
        Ok(column.take(&IdxCa::from_slice_options("".into(), &source))?)
    }
}

/// A column of any role. Those that nothing is learned from may be missing from rows to predict.
fn carried(frame: &Frame, name: &str) -> Result<Column> {
    frame.table.column(name).cloned().map_err(|_| {
        StageError::data(format!("the rows lack the column `{name}`"))
            .help("`by` and `order_by` need their columns wherever the step is applied")
    })
}
