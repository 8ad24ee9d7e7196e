//! `drop_duplicates`.

use retune_spec::preprocessing::DropDuplicates;
use retune_stage::{FitContext, Kind, Result, Role, StageError};
use serde::{Deserialize, Serialize};

use crate::frame::Frame;
use crate::outline::Outline;
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// Nothing is learned: rows to predict are never dropped.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedDropDuplicates {}

impl FitStep for DropDuplicates {
    type Fitted = FittedDropDuplicates;
    const KINDS: &'static [Kind] = &Kind::ALL;
    // Compared as dense ones, but handed on as they are.
    const SPARSE: bool = true;

    fn check(&self, _columns: &[String], _outline: &mut Outline) -> Result<()> {
        Ok(())
    }

    fn fit(&self, frame: &Frame, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedDropDuplicates>> {
        let mut compared = columns.to_vec();
        if self.columns.is_none() {
            compared.extend(frame.table.schema().of_role(Role::Target).map(|target| target.name.clone()));
        }
        let kept = first_of_each(&frame.densify(&compared)?, &compared)?;
        let n_dropped = frame.n_rows() - kept.len();
        let train = if n_dropped == 0 { frame.clone() } else { frame.take(&kept)? };
        let text = format!("dropped {} that repeat an earlier one", counted(n_dropped, "training row"));
        Ok(Learnt { fitted: FittedDropDuplicates {}, train, text })
    }
}

impl ApplyStep for FittedDropDuplicates {
    fn dense_columns(&self) -> &[String] {
        &[]
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        Ok(frame.clone())
    }
}

/// The first row of each distinct one, in the rows' order.
fn first_of_each(frame: &Frame, columns: &[String]) -> Result<Vec<usize>> {
    if columns.is_empty() || frame.n_rows() == 0 {
        return Ok((0..frame.n_rows()).collect());
    }
    let groups = frame.table.frame().group_by_stable(columns).map_err(|error| StageError::failed(error.to_string()))?;
    let mut first: Vec<usize> = groups.get_groups().iter().map(|group| group.first() as usize).collect();
    first.sort_unstable();
    Ok(first)
}
