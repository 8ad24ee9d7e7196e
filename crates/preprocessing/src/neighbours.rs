//! Columns as rows among which neighbours are looked for.

use rayon::prelude::*;
use retune_stage::{Result, StageError};
use retune_table::neighbours::GREATEST;

use crate::frame::Frame;

/// Columns as a matrix [rows, columns] in row order, a missing value as NaN. Fails for numbers whose distances would overflow.
pub(crate) fn matrix(frame: &Frame, names: &[String]) -> Result<Vec<f64>> {
    let column = |name: &String| {
        let values = frame.numeric(name)?;
        match values.iter().position(|value| value.abs() > GREATEST) {
            None => Ok(values),
            Some(row) => {
                let (value, row) = (values[row], frame.table.row_number(row));
                let message = format!("column `{name}` has {value:e} in row {row}, which is too large for distances");
                Err(StageError::data(message).help("put `clip_outliers`, `log1p` or `standard_scale` before"))
            }
        }
    };
    let columns: Vec<Vec<f64>> = names.par_iter().map(column).collect::<Result<_>>()?;
    let mut cells = vec![0.0; frame.n_rows() * names.len()];
    cells.par_chunks_mut(names.len().max(1)).enumerate().for_each(|(row, cells)| {
        cells.iter_mut().zip(&columns).for_each(|(cell, column)| *cell = column[row]);
    });
    Ok(cells)
}
