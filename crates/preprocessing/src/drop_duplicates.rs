//! `drop_duplicates`.

use std::collections::HashSet;

use polars::chunked_array::ops::row_encode::encode_rows_unordered;
use polars::prelude::Column;
use retune_spec::preprocessing::DropDuplicates;
use retune_stage::{FitContext, Kind, Result, Role, StageError};
use serde::{Deserialize, Serialize};

use crate::frame::Frame;
use crate::outline::Outline;
use crate::source::Source;
use crate::step::{ApplyStep, FitStep, Learnt, Train, counted};

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

    fn fit(&self, source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedDropDuplicates>> {
        let mut compared = columns.to_vec();
        if self.columns.is_none() {
            compared.extend(source.schema().of_role(Role::Target).map(|target| target.name.clone()));
        }
        let kept = first_of_each(source, &compared)?;
        let n_dropped = kept.iter().filter(|kept| !**kept).count();
        let text = format!("dropped {} that repeat an earlier one", counted(n_dropped, "training row"));
        Ok(Learnt::new(FittedDropDuplicates {}, Train::Kept(kept), text))
    }
}

impl ApplyStep for FittedDropDuplicates {
    fn apply(&self, frame: &Frame) -> Result<Frame> {
        Ok(frame.clone())
    }
}

/// Whether each row is the first of those equal to it. Rows are told apart by a digest of 128 bits, so that they need not be held.
fn first_of_each(source: &Source, columns: &[String]) -> Result<Vec<bool>> {
    if columns.is_empty() {
        return Ok(vec![true; source.n_rows()]);
    }
    let mut seen = HashSet::with_capacity(source.n_rows());
    let mut kept = Vec::with_capacity(source.n_rows());
    source.fold(
        columns,
        |frame| digests(frame, columns),
        |piece: Vec<u128>| {
            kept.extend(piece.into_iter().map(|digest| seen.insert(digest)));
            Ok(())
        },
    )?;
    Ok(kept)
}

/// A digest of each row's values in some columns.
fn digests(frame: &Frame, columns: &[String]) -> Result<Vec<u128>> {
    let columns: Vec<Column> =
        columns.iter().map(|name| Ok(frame.table.column(name)?.clone())).collect::<Result<_>>()?;
    let encoded = encode_rows_unordered(&columns).map_err(|error| StageError::failed(error.to_string()))?;
    let digest = |row: Option<&[u8]>| {
        let mut first = [0; 16];
        first.copy_from_slice(&blake3::hash(row.unwrap_or_default()).as_bytes()[..16]);
        u128::from_le_bytes(first)
    };
    Ok(encoded.iter().map(digest).collect())
}
