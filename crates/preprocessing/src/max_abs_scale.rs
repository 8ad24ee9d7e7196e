//! `max_abs_scale`.

use retune_spec::preprocessing::MaxAbsScale;
use retune_stage::{FitContext, Kind, Result, StageError};
use serde::{Deserialize, Serialize};

use crate::frame::Frame;
use crate::outline::Outline;
use crate::source::Source;
use crate::stats::{Moments, divisor, moments};
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// What each column is divided by.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedMaxAbsScale {
    columns: Vec<String>,
    divisors: Vec<f64>,
}

impl FitStep for MaxAbsScale {
    type Fitted = FittedMaxAbsScale;
    const KINDS: &'static [Kind] = &[Kind::Numeric, Kind::Boolean];

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        outline.set_kind(columns, Kind::Numeric);
        Ok(())
    }

    fn fit(&self, source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedMaxAbsScale>> {
        let moments = moments(source, columns, false)?;
        let divisors =
            columns.iter().zip(moments).map(|(name, moments)| learn(name, moments)).collect::<Result<_>>()?;
        let fitted = FittedMaxAbsScale { columns: columns.to_vec(), divisors };
        Ok(Learnt::applied(fitted, format!("scaled {}", counted(columns.len(), "column"))))
    }
}

impl ApplyStep for FittedMaxAbsScale {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn in_place(&self) -> Option<&[String]> {
        Some(&self.columns)
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        frame.map(&self.columns, |index, values| {
            let divisor = self.divisors[index];
            values.iter_mut().for_each(|value| *value /= divisor);
            Ok(())
        })
    }
}

fn learn(name: &str, moments: Option<Moments>) -> Result<f64> {
    // A column without values stays as it is.
    let greatest = moments.map_or(0.0, |moments| moments.greatest.abs().max(moments.least.abs()));
    if !greatest.is_finite() {
        return Err(StageError::data(format!("column `{name}` has an infinite value"))
            .help("put `clip_outliers` before, or leave the column out of `columns`"));
    }
    Ok(divisor(greatest))
}
