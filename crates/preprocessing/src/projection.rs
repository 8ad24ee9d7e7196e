//! What the steps that project columns on directions share.

use faer::linalg::matmul::matmul;
use faer::reborrow::{Reborrow, ReborrowMut};
use faer::{Accum, Mat, MatMut, MatRef, Par};
use ndarray::Array2;
use polars::prelude::DataType;
use rayon::prelude::*;
use retune_stage::{LoadDir, Result, Schema, StageError};

use crate::frame::Frame;
use crate::source::Source;
use crate::step::counted;

/// Rows per unit of parallel work when projecting. A block is always filled up, so that a row's bits do not depend on the rows beside it.
const BLOCK: usize = 128;

/// `PREFIX_1`, `PREFIX_2`, ...
pub(crate) fn component_names(prefix: &str, n_components: usize) -> Vec<String> {
    (1..=n_components).map(|number| format!("{prefix}_{number}")).collect()
}

/// Turns each column so that its greatest entry by magnitude is positive: scikit-learn's `svd_flip`. Without this the signs would be arbitrary.
pub(crate) fn flip_signs(directions: &mut Mat<f64>) {
    for mut column in directions.col_iter_mut() {
        let greatest = column
            .rb()
            .iter()
            .fold(0.0_f64, |greatest, &entry| if entry.abs() > greatest.abs() { entry } else { greatest });
        if greatest < 0.0 {
            column.rb_mut().iter_mut().for_each(|entry| *entry = -*entry);
        }
    }
}

/// The leading columns of a matrix, each times a factor.
pub(crate) fn leading(matrix: &Mat<f64>, factors: &[f64]) -> Array2<f64> {
    Array2::from_shape_fn((matrix.nrows(), factors.len()), |(row, column)| matrix[(row, column)] * factors[column])
}

/// What makes each component's standard deviation 1, where that is wished for. A component that is rounding error only becomes 0 instead of noise.
pub(crate) fn whitening(variances: &[f64], whiten: bool) -> Vec<f64> {
    let greatest = variances.first().copied().unwrap_or(0.0);
    let noise = greatest * f64::EPSILON * variances.len() as f64;
    let factor = |&variance: &f64| match whiten {
        false => 1.0,
        true if variance > noise => 1.0 / variance.sqrt(),
        true => 0.0,
    };
    variances.iter().map(factor).collect()
}

/// The variance (of the population) of each column of a matrix in row order.
pub(crate) fn variance(matrix: &[f64], width: usize) -> Vec<f64> {
    let n = (matrix.len() / width.max(1)).max(1) as f64;
    let column = |index: usize| matrix.iter().skip(index).step_by(width);
    (0..width)
        .map(|index| {
            let mean = column(index).sum::<f64>() / n;
            column(index).map(|value| (value - mean).powi(2)).sum::<f64>() / n
        })
        .collect()
}

/// What a projection kept, in words.
pub(crate) fn share_text(n_components: usize, n_columns: usize, kept: f64, total: f64) -> String {
    let share = if total > 0.0 { 100.0 * kept / total } else { 100.0 };
    format!(
        "{} hold {share:.1} % of the variance of {}",
        counted(n_components, "component"),
        counted(n_columns, "column")
    )
}

pub(crate) fn too_many(n_components: impl std::fmt::Display, available: usize, of_what: &str) -> StageError {
    StageError::data(format!("`components: {n_components}` is more than the {available} {of_what}"))
        .help("lower `components`")
}

pub(crate) fn too_large(word: &str) -> StageError {
    StageError::data(format!("the numbers are too large for {word}")).help("scale the columns before: `standard_scale`")
}

/// Reads a matrix of the given shape.
pub(crate) fn read_matrix(dir: &LoadDir, file: &str, name: &str, shape: [usize; 2]) -> Result<Array2<f64>> {
    let matrix = dir.matrices(file)?.remove(name);
    matrix.filter(|matrix| matrix.shape() == shape).ok_or_else(|| {
        StageError::failed(format!("{file}: no matrix `{name}` of {} rows and {} columns", shape[0], shape[1]))
    })
}

/// The columns that a step reads in a pass: `columns` and the rows' numbers, which messages name.
pub(crate) fn with_row_numbers(source: &Source, columns: &[String]) -> Vec<String> {
    let numbered = source.schema().field(Schema::ROW).map(|field| field.name.clone());
    columns.iter().cloned().chain(numbered).collect()
}

/// Table columns one after the other, none with a missing value.
pub(crate) fn dense(frame: &Frame, columns: &[String]) -> Result<Vec<f64>> {
    let mut values = vec![0.0; frame.n_rows() * columns.len()];
    if frame.n_rows() == 0 {
        return Ok(values);
    }
    let fill = |(cells, name): (&mut [f64], &String)| -> Result<()> {
        let column = frame.table.column(name)?;
        if column.dtype() == &DataType::Float64 && column.null_count() == 0 {
            let mut rest = &mut *cells;
            for chunk in column.f64()?.downcast_iter() {
                let (here, after) = rest.split_at_mut(chunk.len());
                here.copy_from_slice(chunk.values());
                rest = after;
            }
            // A number that is no number stands for a missing value here, too.
            if !cells.iter().any(|value| value.is_nan()) {
                return Ok(());
            }
        }
        cells.copy_from_slice(&frame.complete(name)?);
        Ok(())
    };
    values.par_chunks_mut(frame.n_rows()).zip(columns).try_for_each(fill)?;
    Ok(values)
}

/// All rows of some columns as one matrix [rows, columns]. For callers that know it to be small.
pub(crate) fn matrix(source: &Source, columns: &[String]) -> Result<Mat<f64>> {
    let mut matrix = Mat::zeros(source.n_rows(), columns.len());
    let mut first = 0;
    let map = |frame: &Frame| Ok((frame.n_rows(), dense(frame, columns)?));
    source.fold(&with_row_numbers(source, columns), map, |(n_rows, piece)| {
        let piece = MatRef::from_column_major_slice(&piece, n_rows, columns.len());
        matrix.subrows_mut(first, n_rows).copy_from(piece);
        first += n_rows;
        Ok(())
    })?;
    Ok(matrix)
}

/// The products [rows, directions] in row order of columns, less their means, with directions [columns, directions].
pub(crate) fn project(
    frame: &Frame,
    columns: &[String],
    means: Option<&[f64]>,
    directions: &Array2<f64>,
) -> Result<Vec<f64>> {
    let (n_rows, n_columns, width) = (frame.n_rows(), columns.len(), directions.ncols());
    let values = dense(frame, columns)?;
    let mut scores = vec![0.0; n_rows * width];
    if scores.is_empty() {
        return Ok(scores);
    }
    let standard = directions.as_standard_layout();
    let directions = MatRef::from_row_major_slice(standard.as_slice().unwrap_or_default(), n_columns, width);
    let block = |buffers: &mut (Vec<f64>, Vec<f64>), (block, scores): (usize, &mut [f64])| {
        let (cells, product) = buffers;
        let (first, n) = (block * BLOCK, scores.len() / width);
        for (column, cells) in cells.chunks_exact_mut(BLOCK).enumerate() {
            let values = &values[column * n_rows + first..][..n];
            let mean = means.map_or(0.0, |means| means[column]);
            cells.iter_mut().zip(values).for_each(|(cell, value)| *cell = value - mean);
            cells[n..].fill(0.0);
        }
        let cells = MatRef::from_column_major_slice(cells, BLOCK, n_columns);
        let target = MatMut::from_row_major_slice_mut(product, BLOCK, width);
        matmul(target, Accum::Replace, cells, directions, 1.0, Par::Seq);
        scores.copy_from_slice(&product[..scores.len()]);
    };
    let buffers = || (vec![0.0; BLOCK * n_columns], vec![0.0; BLOCK * width]);
    scores.par_chunks_mut(BLOCK * width).enumerate().for_each_init(buffers, block);
    Ok(scores)
}
