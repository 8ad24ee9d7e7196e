//! `scale_pixels`.

use retune_spec::preprocessing::ScalePixels;
use retune_stage::{FitContext, Kind, Result};
use serde::{Deserialize, Serialize};

use crate::frame::Frame;
use crate::outline::Outline;
use crate::source::Source;
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// What columns are divided by.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedScalePixels {
    columns: Vec<String>,
    by: f64,
}

impl FitStep for ScalePixels {
    type Fitted = FittedScalePixels;
    const KINDS: &'static [Kind] = &[Kind::Numeric];

    fn check(&self, _columns: &[String], _outline: &mut Outline) -> Result<()> {
        Ok(())
    }

    fn fit(&self, _source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedScalePixels>> {
        let text = format!("divided {} by {}", counted(columns.len(), "column"), self.by);
        Ok(Learnt::applied(FittedScalePixels { columns: columns.to_vec(), by: self.by }, text))
    }
}

impl ApplyStep for FittedScalePixels {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn in_place(&self) -> Option<&[String]> {
        Some(&self.columns)
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        frame.map(&self.columns, |_, values| {
            values.iter_mut().for_each(|value| *value /= self.by);
            Ok(())
        })
    }
}
