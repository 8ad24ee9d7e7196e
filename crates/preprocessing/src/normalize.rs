//! `normalize`.

use rayon::prelude::*;
use retune_spec::preprocessing::{Norm, Normalize};
use retune_stage::{FitContext, Kind, Result};
use serde::{Deserialize, Serialize};

use crate::frame::Frame;
use crate::outline::Outline;
use crate::source::Source;
use crate::stats::divisor;
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// Rows per unit of parallel work.
const BLOCK: usize = 4096;

/// The columns that make up a row's vector; there is nothing else to learn.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedNormalize {
    columns: Vec<String>,
    norm: Norm,
}

impl FitStep for Normalize {
    type Fitted = FittedNormalize;
    const KINDS: &'static [Kind] = &[Kind::Numeric, Kind::Boolean];

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        outline.set_kind(columns, Kind::Numeric);
        Ok(())
    }

    fn fit(&self, _source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedNormalize>> {
        let fitted = FittedNormalize { columns: columns.to_vec(), norm: self.norm };
        Ok(Learnt::applied(fitted, format!("scaled rows of {} to length 1", counted(columns.len(), "column"))))
    }
}

impl ApplyStep for FittedNormalize {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        let mut columns: Vec<Vec<f64>> =
            self.columns.par_iter().map(|name| frame.complete(name)).collect::<Result<_>>()?;
        let lengths = self.lengths(&columns, frame.n_rows());
        columns.par_iter_mut().for_each(|values| {
            values.iter_mut().zip(&lengths).for_each(|(value, length)| *value /= length);
        });
        frame.replace_numbers(&self.columns, columns)
    }
}

impl FittedNormalize {
    /// The length of each row; 1 for a row of zeros.
    fn lengths(&self, columns: &[Vec<f64>], n_rows: usize) -> Vec<f64> {
        let mut lengths = vec![0.0_f64; n_rows];
        lengths.par_chunks_mut(BLOCK).enumerate().for_each(|(block, lengths)| {
            for column in columns {
                let values = &column[block * BLOCK..][..lengths.len()];
                lengths.iter_mut().zip(values).for_each(|(length, value)| match self.norm {
                    Norm::L1 => *length += value.abs(),
                    Norm::L2 => *length += value * value,
                    Norm::Max => *length = length.max(value.abs()),
                });
            }
            let root = |length: f64| if self.norm == Norm::L2 { length.sqrt() } else { length };
            lengths.iter_mut().for_each(|length| *length = divisor(root(*length)));
        });
        lengths
    }
}
