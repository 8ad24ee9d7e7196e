//! `filter_rows`.

use retune_spec::preprocessing::FilterRows;
use retune_stage::{FitContext, Kind, Result, StageError};
use serde::{Deserialize, Serialize};

use crate::evaluate::{Formula, Type, Values};
use crate::frame::Frame;
use crate::outline::Outline;
use crate::source::Source;
use crate::step::{ApplyStep, FitStep, Learnt, Train, counted};

/// The condition; there is nothing else to learn.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedFilterRows {
    columns: Vec<String>,
    condition: Formula,
}

impl FitStep for FilterRows {
    type Fitted = FittedFilterRows;
    const KINDS: &'static [Kind] = &Kind::ALL;
    // The columns that the condition needs are made dense, no others.
    const SPARSE: bool = true;

    fn check(&self, _columns: &[String], outline: &mut Outline) -> Result<()> {
        let condition = Formula::parse(&self.condition)?;
        match condition.type_in(outline)? {
            None | Some(Type::Boolean) => Ok(()),
            Some(other) => {
                Err(StageError::data(format!("`{}` gives {}, not true or false", self.condition, other.word()))
                    .help("write a condition such as \"age >= 18\""))
            }
        }
    }

    fn fit(&self, source: &Source, _columns: &[String], _context: &FitContext) -> Result<Learnt<FittedFilterRows>> {
        let condition = Formula::parse(&self.condition)?;
        let fitted = FittedFilterRows { columns: condition.columns(), condition };
        let mut kept = Vec::with_capacity(source.n_rows());
        source.fold(
            &fitted.columns,
            |frame| fitted.holds(frame),
            |piece: Vec<bool>| {
                kept.extend(piece);
                Ok(())
            },
        )?;
        let n_dropped = kept.iter().filter(|kept| !**kept).count();
        let text = format!("dropped {} for which `{}` is not true", counted(n_dropped, "training row"), self.condition);
        Ok(Learnt::new(fitted, Train::Kept(kept), text))
    }
}

impl FittedFilterRows {
    /// Whether the condition is true of each row.
    fn holds(&self, frame: &Frame) -> Result<Vec<bool>> {
        match self.condition.evaluate(frame)? {
            Values::Booleans(values) => Ok(values.into_iter().map(|value| value == Some(true)).collect()),
            _ => Err(StageError::failed("the condition is neither true nor false")),
        }
    }
}

impl ApplyStep for FittedFilterRows {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        let flagged: Vec<bool> = self.holds(frame)?.into_iter().map(|holds| !holds).collect();
        frame.flag(&flagged, "filter_rows")
    }
}
