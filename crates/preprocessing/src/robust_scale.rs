//! `robust_scale`.

use retune_spec::preprocessing::RobustScale;
use retune_stage::{FitContext, Kind, Result, StageError};
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use crate::frame::Frame;
use crate::outline::Outline;
use crate::source::Source;
use crate::stats::{divisor, quantiles};
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// What is subtracted from and divided by in each column.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedRobustScale {
    columns: Vec<String>,
    scales: Vec<ColumnScale>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct ColumnScale {
    center: f64,
    spread: f64,
}

impl FitStep for RobustScale {
    type Fitted = FittedRobustScale;
    const KINDS: &'static [Kind] = &[Kind::Numeric, Kind::Boolean];

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        let [low, high] = self.percentiles;
        if !(low < high && (0.0..=100.0).contains(&low) && (0.0..=100.0).contains(&high)) {
            return Err(StageError::data(format!("`percentiles: [{low}, {high}]` is no range"))
                .help("give a lower and a higher number between 0 and 100"));
        }
        // The percentiles 0 and 100 of a normal distribution are infinite.
        if self.unit_variance && (low == 0.0 || high == 100.0) {
            return Err(StageError::data(format!(
                "`unit_variance` compares with the percentiles {low} and {high} of a normal distribution, of which one is infinite"
            ))
            .help("give `percentiles` above 0 and below 100, or leave `unit_variance` out"));
        }
        outline.set_kind(columns, Kind::Numeric);
        Ok(())
    }

    fn fit(&self, source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedRobustScale>> {
        let [low, high] = self.percentiles.map(|percentile| percentile / 100.0);
        let found = quantiles(source, columns, &[low, 0.5, high])?;
        let width = if self.unit_variance {
            Normal::standard().inverse_cdf(high) - Normal::standard().inverse_cdf(low)
        } else {
            1.0
        };
        let scales = columns.iter().zip(found).map(|(name, quantiles)| learn(self, name, quantiles, width));
        let fitted = FittedRobustScale { columns: columns.to_vec(), scales: scales.collect::<Result<_>>()? };
        Ok(Learnt::applied(fitted, format!("scaled {}", counted(columns.len(), "column"))))
    }
}

impl ApplyStep for FittedRobustScale {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn in_place(&self) -> Option<&[String]> {
        Some(&self.columns)
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        frame.map(&self.columns, |index, values| {
            let ColumnScale { center, spread } = self.scales[index];
            values.iter_mut().for_each(|value| *value = (*value - center) / spread);
            Ok(())
        })
    }
}

/// `width`: how far apart the percentiles of the distribution are whose spread is to become 1.
fn learn(step: &RobustScale, name: &str, quantiles: Option<Vec<f64>>, width: f64) -> Result<ColumnScale> {
    // A column without values stays as it is.
    let Some(&[low, median, high]) = quantiles.as_deref() else {
        return Ok(ColumnScale { center: 0.0, spread: 1.0 });
    };
    let spread = high - low;
    if !(spread.is_finite() && median.is_finite()) {
        return Err(StageError::data(format!("the values of column `{name}` are too far apart to scale"))
            .help("put `log1p` or `clip_outliers` before"));
    }
    let spread = if step.scale { divisor(spread) / width } else { 1.0 };
    Ok(ColumnScale { center: if step.center { median } else { 0.0 }, spread })
}
