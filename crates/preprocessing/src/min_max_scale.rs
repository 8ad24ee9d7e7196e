//! `min_max_scale`.

use retune_spec::preprocessing::MinMaxScale;
use retune_stage::{FitContext, Kind, Result, StageError};
use serde::{Deserialize, Serialize};

use crate::frame::Frame;
use crate::outline::Outline;
use crate::source::Source;
use crate::stats::{Moments, divisor, moments};
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// What each column is multiplied by, and what is added then.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedMinMaxScale {
    columns: Vec<String>,
    scales: Vec<ColumnScale>,
    /// The range that values are clipped to, where they are.
    clip: Option<[f64; 2]>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct ColumnScale {
    factor: f64,
    offset: f64,
}

impl FitStep for MinMaxScale {
    type Fitted = FittedMinMaxScale;
    const KINDS: &'static [Kind] = &[Kind::Numeric, Kind::Boolean];

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        let [low, high] = self.range;
        if low >= high {
            return Err(StageError::data(format!("`range: [{low}, {high}]` is empty"))
                .help("the first number must be below the second"));
        }
        outline.set_kind(columns, Kind::Numeric);
        Ok(())
    }

    fn fit(&self, source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedMinMaxScale>> {
        let moments = moments(source, columns, false)?;
        let learned = columns.iter().zip(moments).map(|(name, moments)| learn(name, moments, self.range));
        let scales = learned.collect::<Result<_>>()?;
        let fitted = FittedMinMaxScale { columns: columns.to_vec(), scales, clip: self.clip.then_some(self.range) };
        Ok(Learnt::applied(fitted, format!("scaled {}", counted(columns.len(), "column"))))
    }
}

impl ApplyStep for FittedMinMaxScale {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn in_place(&self) -> Option<&[String]> {
        Some(&self.columns)
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        frame.map(&self.columns, |index, values| {
            let ColumnScale { factor, offset } = self.scales[index];
            values.iter_mut().for_each(|value| *value = *value * factor + offset);
            if let Some([low, high]) = self.clip {
                values.iter_mut().for_each(|value| *value = value.clamp(low, high));
            }
            Ok(())
        })
    }
}

fn learn(name: &str, moments: Option<Moments>, [low, high]: [f64; 2]) -> Result<ColumnScale> {
    // A column without values stays as it is.
    let Some(Moments { least, greatest, .. }) = moments else { return Ok(ColumnScale { factor: 1.0, offset: 0.0 }) };
    let width = greatest - least;
    if !width.is_finite() {
        return Err(StageError::data(format!("the values of column `{name}` are too far apart to scale"))
            .help("put `log1p` or `clip_outliers` before"));
    }
    // A constant column becomes the lower end of the range (as in scikit-learn, down to the bound below which a width counts as none).
    let factor = (high - low) / divisor(width);
    Ok(ColumnScale { factor, offset: low - least * factor })
}
