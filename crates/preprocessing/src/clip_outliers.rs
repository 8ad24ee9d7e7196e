//! `clip_outliers`.

use retune_spec::preprocessing::ClipOutliers;
use retune_stage::{FitContext, Kind, Result};
use serde::{Deserialize, Serialize};

use crate::frame::Frame;
use crate::outline::Outline;
use crate::ranges::{Outside, Rule, left_alone};
use crate::source::Source;
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// The range of each column; `None` for one that is not clipped.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedClipOutliers {
    columns: Vec<String>,
    ranges: Vec<Option<[f64; 2]>>,
}

impl FitStep for ClipOutliers {
    type Fitted = FittedClipOutliers;
    const KINDS: &'static [Kind] = &[Kind::Numeric];
    const REPAIRS: bool = true;

    fn check(&self, _columns: &[String], _outline: &mut Outline) -> Result<()> {
        rule(self).check()
    }

    fn fit(&self, source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedClipOutliers>> {
        let ranges = rule(self).ranges(source, columns)?;
        let clipped = Outside::of(source, columns, &ranges)?;
        let (n_values, n_columns) = (clipped.n_values(), clipped.n_columns());
        let text = format!("clipped {} in {}", counted(n_values, "value"), counted(n_columns, "column"));
        let text = text + &left_alone(&ranges);
        let changed = Some(clipped.n_rows());
        Ok(Learnt { changed, ..Learnt::applied(FittedClipOutliers { columns: columns.to_vec(), ranges }, text) })
    }
}

impl ApplyStep for FittedClipOutliers {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn in_place(&self) -> Option<&[String]> {
        Some(&self.columns)
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        clipped(frame, &self.columns, &self.ranges)
    }
}

fn rule(step: &ClipOutliers) -> Rule {
    Rule { method: step.method, factor: step.factor, percentiles: step.percentiles }
}

/// The frame with values outside the ranges replaced by the nearer end.
pub(crate) fn clipped(frame: &Frame, columns: &[String], ranges: &[Option<[f64; 2]>]) -> Result<Frame> {
    frame.map(columns, |index, values| {
        if let Some([low, high]) = ranges[index] {
            values.iter_mut().for_each(|value| *value = value.clamp(low, high));
        }
        Ok(())
    })
}
