//! What the steps that project columns on directions share.

use std::borrow::Cow;

use faer::linalg::matmul::matmul;
use faer::reborrow::{Reborrow, ReborrowMut};
use faer::{Accum, Mat, MatMut, MatRef, Par};
use ndarray::Array2;
use polars::prelude::{Column, DataType};
use rayon::prelude::*;
use retune_stage::{Field, Kind, LoadDir, Result, Role, SaveDir, StageError};
use retune_table::numbers::sum;
use serde::{Deserialize, Serialize};

use crate::frame::{Frame, common_origin, numeric_column};
use crate::source::Source;
use crate::step::{ApplyStep, counted};

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

/// The variance (of the population) of values.
pub(crate) fn variance(values: &[f64]) -> f64 {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n
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

/// Columns that are replaced by their distances from means along directions: what `pca` and `lda` are once they are fitted.
#[derive(Serialize, Deserialize)]
pub(crate) struct Projection {
    columns: Vec<String>,
    names: Vec<String>,
    origin: Option<String>,
    means: Vec<f64>,
    /// [columns, components]
    #[serde(skip)]
    directions: Array2<f64>,
}

impl Projection {
    /// `means` is one number a column, `directions` [columns, components].
    pub(crate) fn new(
        source: &Source,
        columns: &[String],
        prefix: &str,
        means: Vec<f64>,
        directions: Array2<f64>,
    ) -> Self {
        Self {
            names: component_names(prefix, directions.ncols()),
            origin: common_origin(&source.schema(), columns),
            columns: columns.to_vec(),
            means,
            directions,
        }
    }
}

impl ApplyStep for Projection {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        let scores = project(frame, &self.columns, Some(&self.means), &self.directions)?;
        frame.remove(&self.columns)?.append(component_columns(&self.names, self.origin.as_deref(), scores))
    }

    fn save(&self, dir: &SaveDir, file: &str) -> Result<()> {
        dir.matrices(file, &[("directions", self.directions.view())])
    }

    fn load(&mut self, dir: &LoadDir, file: &str) -> Result<()> {
        self.directions = read_matrix(dir, file, "directions", [self.columns.len(), self.names.len()])?;
        Ok(())
    }
}

/// A fitted step that is applied, saved and loaded as one of its fields is.
macro_rules! applied_as {
    ($fitted:ty, $field:tt) => {
        impl $crate::step::ApplyStep for $fitted {
            fn dense_columns(&self) -> &[String] {
                $crate::step::ApplyStep::dense_columns(&self.$field)
            }

            fn apply(&self, frame: &$crate::frame::Frame) -> retune_stage::Result<$crate::frame::Frame> {
                $crate::step::ApplyStep::apply(&self.$field, frame)
            }

            fn save(&self, dir: &retune_stage::SaveDir, file: &str) -> retune_stage::Result<()> {
                $crate::step::ApplyStep::save(&self.$field, dir, file)
            }

            fn load(&mut self, dir: &retune_stage::LoadDir, file: &str) -> retune_stage::Result<()> {
                $crate::step::ApplyStep::load(&mut self.$field, dir, file)
            }
        }
    };
}
pub(crate) use applied_as;

/// Reads a matrix of the given shape.
pub(crate) fn read_matrix(dir: &LoadDir, file: &str, name: &str, shape: [usize; 2]) -> Result<Array2<f64>> {
    let matrix = dir.matrices(file)?.remove(name);
    matrix.filter(|matrix| matrix.shape() == shape).ok_or_else(|| {
        StageError::failed(format!("{file}: no matrix `{name}` of {} rows and {} columns", shape[0], shape[1]))
    })
}

/// Table columns as they lie in memory or, where they are stored otherwise, as copies.
pub(crate) struct Dense<'a> {
    columns: Vec<Cow<'a, [f64]>>,
    n_rows: usize,
}

impl<'a> Dense<'a> {
    /// None with a missing value.
    pub(crate) fn of(frame: &'a Frame, columns: &[String]) -> Result<Self> {
        let dense = Self::unchecked(frame, columns)?;
        // A number that is no number stands for a missing value.
        let missing = |values: &Cow<[f64]>| values.iter().fold(false, |any, value| any | value.is_nan());
        if dense.columns.par_iter().any(missing) {
            refuse_missing(frame, columns)?;
        }
        Ok(dense)
    }

    /// Missing values of columns that are stored as they are needed may be NaN: whoever computes with them sees it by the result and then calls
    /// [`refuse_missing`], which spares a pass over all cells.
    pub(crate) fn unchecked(frame: &'a Frame, columns: &[String]) -> Result<Self> {
        let column = |name: &String| -> Result<Cow<'a, [f64]>> {
            let column = frame.table.column(name)?;
            if column.dtype() == &DataType::Float64
                && let Ok(values) = column.f64()?.cont_slice()
            {
                return Ok(Cow::Borrowed(values));
            }
            Ok(Cow::Owned(frame.complete(name)?))
        };
        let columns = columns.par_iter().map(column).collect::<Result<_>>()?;
        Ok(Self { columns, n_rows: frame.n_rows() })
    }

    pub(crate) fn n_rows(&self) -> usize {
        self.n_rows
    }

    pub(crate) fn column(&self, index: usize) -> &[f64] {
        &self.columns[index]
    }

    /// The columns' means; 0 without rows.
    pub(crate) fn means(&self) -> Vec<f64> {
        let mean = |values: &Cow<[f64]>| sum(values, |value| value) / f64::max(self.n_rows as f64, 1.0);
        self.columns.par_iter().map(mean).collect()
    }

    /// One column after the other.
    pub(crate) fn into_values(self) -> Vec<f64> {
        self.columns.concat()
    }
}

/// Fails for the first of the columns that has a missing value.
pub(crate) fn refuse_missing(frame: &Frame, columns: &[String]) -> Result<()> {
    columns.iter().try_for_each(|name| frame.complete(name).map(drop))
}

#[cfg(test)]
impl From<Vec<Vec<f64>>> for Dense<'_> {
    fn from(columns: Vec<Vec<f64>>) -> Self {
        let n_rows = columns.first().map_or(0, Vec::len);
        Self { columns: columns.into_iter().map(Cow::Owned).collect(), n_rows }
    }
}

/// Table columns one after the other, none with a missing value.
pub(crate) fn dense(frame: &Frame, columns: &[String]) -> Result<Vec<f64>> {
    Ok(Dense::of(frame, columns)?.into_values())
}

/// All rows of some columns as one matrix [rows, columns]. For callers that know it to be small.
pub(crate) fn matrix(source: &Source, columns: &[String]) -> Result<Mat<f64>> {
    let mut matrix = Mat::zeros(source.n_rows(), columns.len());
    let mut first = 0;
    let map = |frame: &Frame| Ok((frame.n_rows(), dense(frame, columns)?));
    source.fold(columns, map, |(n_rows, piece)| {
        let piece = MatRef::from_column_major_slice(&piece, n_rows, columns.len());
        matrix.subrows_mut(first, n_rows).copy_from(piece);
        first += n_rows;
        Ok(())
    })?;
    Ok(matrix)
}

/// The products of columns, less their means, with directions [columns, directions]: one column for each direction.
pub(crate) fn project(
    frame: &Frame,
    columns: &[String],
    means: Option<&[f64]>,
    directions: &Array2<f64>,
) -> Result<Vec<Vec<f64>>> {
    let dense = Dense::unchecked(frame, columns)?;
    let (n_rows, n_columns, width) = (frame.n_rows(), columns.len(), directions.ncols());
    let standard = directions.as_standard_layout();
    let directions = MatRef::from_row_major_slice(standard.as_slice().unwrap_or_default(), n_columns, width);
    let block = |cells: &mut Vec<f64>, block: usize| {
        let (first, n) = (block * BLOCK, BLOCK.min(n_rows - block * BLOCK));
        for (column, cells) in cells.chunks_exact_mut(BLOCK).enumerate() {
            let values = &dense.column(column)[first..first + n];
            let mean = means.map_or(0.0, |means| means[column]);
            cells.iter_mut().zip(values).for_each(|(cell, value)| *cell = value - mean);
            cells[n..].fill(0.0);
        }
        let cells = MatRef::from_column_major_slice(cells, BLOCK, n_columns);
        let mut product = vec![0.0; BLOCK * width];
        let target = MatMut::from_column_major_slice_mut(&mut product, BLOCK, width);
        matmul(target, Accum::Replace, cells, directions, 1.0, Par::Seq);
        product
    };
    let blocks = (0..n_rows.div_ceil(BLOCK)).into_par_iter();
    let blocks: Vec<Vec<f64>> = blocks.map_init(|| vec![0.0; BLOCK * n_columns], block).collect();
    let column = |index: usize| {
        let mut values = Vec::with_capacity(n_rows.next_multiple_of(BLOCK));
        blocks.iter().for_each(|block| values.extend_from_slice(&block[index * BLOCK..][..BLOCK]));
        values.truncate(n_rows);
        values
    };
    let projected: Vec<Vec<f64>> = (0..width).into_par_iter().map(column).collect();
    if projected.par_iter().any(|values| sum(values, |value| value).is_nan()) {
        refuse_missing(frame, columns)?;
    }
    Ok(projected)
}

/// Values of components as feature columns.
pub(crate) fn component_columns(names: &[String], origin: Option<&str>, values: Vec<Vec<f64>>) -> Vec<(Field, Column)> {
    let column = |(name, values): (&String, Vec<f64>)| {
        let field =
            Field { name: name.clone(), role: Role::Feature, kind: Kind::Numeric, source: origin.map(str::to_owned) };
        (field, numeric_column(name, values))
    };
    names.par_iter().zip(values).map(column).collect()
}

/// A matrix in row order as its columns.
pub(crate) fn by_columns(matrix: &[f64], width: usize) -> Vec<Vec<f64>> {
    (0..width).into_par_iter().map(|index| matrix.iter().skip(index).step_by(width).copied().collect()).collect()
}
