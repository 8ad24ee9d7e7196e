//! `clip_outliers`.

use rayon::prelude::*;
use retune_spec::preprocessing::{ClipMethod, ClipOutliers};
use retune_stage::{FitContext, Kind, Result, StageError};
use serde::{Deserialize, Serialize};

use crate::frame::Frame;
use crate::outline::Outline;
use crate::stats::{moments, quantile, sorted};
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

    fn check(&self, _columns: &[String], _outline: &mut Outline) -> Result<()> {
        let [low, high] = self.percentiles;
        if low < high && (0.0..=100.0).contains(&low) && (0.0..=100.0).contains(&high) {
            return Ok(());
        }
        Err(StageError::data(format!("`percentiles: [{low}, {high}]` is no range"))
            .help("give a lower and a higher number between 0 and 100"))
    }

    fn fit(&self, frame: &Frame, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedClipOutliers>> {
        let learn = |name: &String| {
            let values = frame.numeric(name)?;
            let range = range(self, &values);
            let clipped =
                range.map_or(0, |[low, high]| values.iter().filter(|&&value| value < low || value > high).count());
            Ok((range, clipped))
        };
        let learned: Vec<(Option<[f64; 2]>, usize)> = columns.par_iter().map(learn).collect::<Result<_>>()?;
        let n_values: usize = learned.iter().map(|(_, clipped)| clipped).sum();
        let n_columns = learned.iter().filter(|(_, clipped)| *clipped > 0).count();
        let n_alone = learned.iter().filter(|(range, _)| range.is_none()).count();
        let mut text = format!("clipped {} in {}", counted(n_values, "value"), counted(n_columns, "column"));
        if n_alone > 0 {
            text += &format!("; left {} without spread alone", counted(n_alone, "column"));
        }
        let ranges = learned.into_iter().map(|(range, _)| range).collect();
        Learnt::applied(FittedClipOutliers { columns: columns.to_vec(), ranges }, frame, text)
    }
}

impl ApplyStep for FittedClipOutliers {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        frame.map(&self.columns, |index, values| {
            if let Some([low, high]) = self.ranges[index] {
                values.iter_mut().for_each(|value| *value = value.clamp(low, high));
            }
            Ok(())
        })
    }
}

/// The range of a column. A column of which most values are equal has quartiles without distance: clipping it would leave a constant, so it is let alone.
fn range(step: &ClipOutliers, values: &[f64]) -> Option<[f64; 2]> {
    let widened = |low: f64, high: f64, spread: f64| {
        (spread > 0.0).then_some([low - step.factor * spread, high + step.factor * spread])
    };
    let range = match step.method {
        ClipMethod::ZScore => {
            let (_, mean, variance) = moments(values)?;
            widened(mean, mean, variance.sqrt())
        }
        ClipMethod::Iqr => {
            let values = sorted(values);
            let (low, high) = (quantile(&values, 0.25)?, quantile(&values, 0.75)?);
            widened(low, high, high - low)
        }
        ClipMethod::Percentile => {
            let values = sorted(values);
            let [low, high] = step.percentiles;
            let (low, high) = (quantile(&values, low / 100.0)?, quantile(&values, high / 100.0)?);
            (low < high).then_some([low, high])
        }
    };
    range.filter(|[low, high]| low.is_finite() && high.is_finite())
}
