//! `log1p`.

use retune_spec::preprocessing::Log1p;
use retune_stage::{FitContext, Kind, Result, StageError};
use serde::{Deserialize, Serialize};

use crate::frame::Frame;
use crate::outline::Outline;
use crate::source::Source;
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// The columns to change; there is nothing else to learn.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedLog1p {
    columns: Vec<String>,
}

impl FitStep for Log1p {
    type Fitted = FittedLog1p;
    const KINDS: &'static [Kind] = &[Kind::Numeric];

    fn check(&self, _columns: &[String], _outline: &mut Outline) -> Result<()> {
        Ok(())
    }

    fn fit(&self, _source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedLog1p>> {
        let fitted = FittedLog1p { columns: columns.to_vec() };
        Ok(Learnt::applied(fitted, format!("took the logarithm of {}", counted(columns.len(), "column"))))
    }
}

impl ApplyStep for FittedLog1p {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn in_place(&self) -> Option<&[String]> {
        Some(&self.columns)
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        frame.map(&self.columns, |index, values| {
            if let Some(row) = values.iter().position(|&value| value <= -1.0) {
                let (name, value, row_number) = (&self.columns[index], values[row], frame.table.row_number(row));
                return Err(StageError::data(format!(
                    "column `{name}` has {value} in row {row_number}; the logarithm of 1 + x needs x above -1"
                ))
                .help(format!("leave `{name}` out of `columns`, or put `clip_outliers` before")));
            }
            values.iter_mut().for_each(|value| *value = value.ln_1p());
            Ok(())
        })
    }
}
