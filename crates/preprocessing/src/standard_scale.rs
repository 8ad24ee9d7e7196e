//! `standard_scale`.

use retune_spec::preprocessing::StandardScale;
use retune_stage::{FitContext, Kind, Result, StageError};
use serde::{Deserialize, Serialize};

use crate::frame::Frame;
use crate::outline::Outline;
use crate::source::Source;
use crate::stats::{Moments, moments};
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// What is subtracted from and divided by in each column.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedStandardScale {
    columns: Vec<String>,
    scales: Vec<ColumnScale>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct ColumnScale {
    mean: f64,
    deviation: f64,
}

impl FitStep for StandardScale {
    type Fitted = FittedStandardScale;
    const KINDS: &'static [Kind] = &[Kind::Numeric, Kind::Boolean];

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        outline.set_kind(columns, Kind::Numeric);
        Ok(())
    }

    fn fit(&self, source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedStandardScale>> {
        let moments = moments(source, columns, true)?;
        let learned = columns.iter().zip(moments).map(|(name, moments)| learn(self, name, moments));
        let learned: Vec<(ColumnScale, bool)> = learned.collect::<Result<_>>()?;
        let n_constant = learned.iter().filter(|(_, constant)| *constant).count();
        let mut text = format!("scaled {}", counted(columns.len(), "column"));
        if n_constant > 0 {
            text += &format!(", {n_constant} of them constant");
        }
        let scales = learned.into_iter().map(|(scale, _)| scale).collect();
        Ok(Learnt::applied(FittedStandardScale { columns: columns.to_vec(), scales }, text))
    }
}

impl ApplyStep for FittedStandardScale {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn in_place(&self) -> Option<&[String]> {
        Some(&self.columns)
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        frame.map(&self.columns, |index, values| {
            let ColumnScale { mean, deviation } = self.scales[index];
            values.iter_mut().for_each(|value| *value = (*value - mean) / deviation);
            Ok(())
        })
    }
}

/// The scale of a column, and whether the column is constant.
fn learn(step: &StandardScale, name: &str, moments: Option<Moments>) -> Result<(ColumnScale, bool)> {
    // A column without values stays as it is.
    let Some(moments) = moments else { return Ok((ColumnScale { mean: 0.0, deviation: 1.0 }, true)) };
    let (mean, variance) = (moments.mean, moments.variance());
    if !(mean.is_finite() && variance.is_finite()) {
        return Err(StageError::data(format!("the values of column `{name}` are too large to scale"))
            .help("put `log1p` or `clip_outliers` before"));
    }
    let constant = moments.is_constant();
    let deviation = if constant || !step.scale { 1.0 } else { variance.sqrt() };
    Ok((ColumnScale { mean: if step.center { mean } else { 0.0 }, deviation }, constant))
}
