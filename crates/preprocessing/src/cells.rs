//! Columns of text, read or rewritten cell by cell on all threads.

use polars::prelude::{NewChunkedArray, StringChunked, StringChunkedBuilder};
use rayon::prelude::*;
use retune_stage::{Result, StageError};

/// So many cells make one task.
const CELLS: usize = 1 << 15;

/// What becomes of a cell.
pub(crate) enum Cell {
    /// It stays.
    Same,
    /// What was written into the buffer.
    Written,
    /// Nothing: a missing value.
    Missing,
}

/// What each value is read as; `None` for a missing one and where nothing could be read.
pub(crate) fn read<T: Send>(values: &StringChunked, read: impl Fn(&str) -> Option<T> + Sync) -> Vec<Option<T>> {
    let values = values.rechunk();
    let cell = |row: usize| values.get(row).and_then(&read);
    (0..values.len()).into_par_iter().with_min_len(CELLS).map(cell).collect()
}

/// The column with each value that is there changed. The buffer is empty when `change` is given it. What becomes the empty text is missing.
pub(crate) fn rewrite(
    values: &StringChunked,
    change: impl Fn(&str, &mut String) -> Cell + Sync,
) -> Result<StringChunked> {
    let values = values.rechunk();
    let part = |start: usize| {
        let rows = start..values.len().min(start + CELLS);
        let mut out = StringChunkedBuilder::new(values.name().clone(), rows.len());
        let mut buffer = String::new();
        for row in rows {
            let Some(text) = values.get(row) else {
                out.append_null();
                continue;
            };
            buffer.clear();
            match change(text, &mut buffer) {
                Cell::Same if !text.is_empty() => out.append_value(text),
                Cell::Written if !buffer.is_empty() => out.append_value(&buffer),
                Cell::Same | Cell::Written | Cell::Missing => out.append_null(),
            }
        }
        out.finish()
    };
    let starts: Vec<usize> = (0..values.len()).step_by(CELLS).collect();
    let parts: Vec<StringChunked> = starts.into_par_iter().map(part).collect();
    let mut whole = StringChunked::from_iter_values(values.name().clone(), std::iter::empty::<&str>());
    for part in parts {
        whole.append_owned(part).map_err(|error| StageError::failed(error.to_string()))?;
    }
    Ok(whole.rechunk().into_owned())
}
