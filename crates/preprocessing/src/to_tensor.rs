//! `to_tensor`.

use retune_spec::preprocessing::ToTensor;
use retune_stage::{FitContext, Kind, Result};
use serde::{Deserialize, Serialize};

use crate::frame::Frame;
use crate::outline::Outline;
use crate::source::Source;
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// Nothing is learned; the stage makes the tensors of what leaves its last step.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedToTensor {}

impl FitStep for ToTensor {
    type Fitted = FittedToTensor;
    const KINDS: &'static [Kind] = &[Kind::Numeric, Kind::Boolean];
    const SPARSE: bool = true;

    fn check(&self, _columns: &[String], _outline: &mut Outline) -> Result<()> {
        Ok(())
    }

    fn fit(&self, source: &Source, _columns: &[String], _context: &FitContext) -> Result<Learnt<FittedToTensor>> {
        let text = format!("made a tensor of {}", counted(source.n_features(), "column"));
        Ok(Learnt::applied(FittedToTensor {}, text))
    }
}

impl ApplyStep for FittedToTensor {
    fn apply(&self, frame: &Frame) -> Result<Frame> {
        Ok(frame.clone())
    }
}
