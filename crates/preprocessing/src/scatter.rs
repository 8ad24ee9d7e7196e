//! Sums of products of columns over all training rows, in memory or by pieces, and their eigenvectors.

use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatMut, MatRef, Par, Side};
use rayon::prelude::*;
use retune_stage::{Result, StageError};

use crate::frame::Frame;
use crate::projection::{Dense, refuse_missing};
use crate::source::Source;

/// Rows whose products are summed at once; part of what is computed, as sums are rounded by it.
const BLOCK: usize = 4096;

/// Columns of the products per unit of parallel work: each is summed by itself, whatever the number of threads.
const PANEL: usize = 64;

/// For each two columns, the sum over the rows of the product of their distances from a centre.
pub(crate) struct Products {
    n_columns: usize,
    /// [columns, columns] in column order; the lower triangle only.
    cells: Vec<f64>,
}

impl Products {
    pub(crate) fn none(n_columns: usize) -> Self {
        Self { n_columns, cells: vec![0.0; n_columns * n_columns] }
    }

    /// Adds those of rows; `centre` says what is subtracted from a column's value in a row.
    pub(crate) fn add_rows(&mut self, values: &Dense, centre: impl Fn(usize, usize) -> f64 + Sync) {
        let (n_rows, n_columns) = (values.n_rows(), self.n_columns);
        let mut buffer = vec![0.0; BLOCK.min(n_rows) * n_columns];
        for first in (0..n_rows).step_by(BLOCK) {
            let n = BLOCK.min(n_rows - first);
            let centred = &mut buffer[..n * n_columns];
            centred.par_chunks_mut(n).enumerate().for_each(|(column, cells)| {
                let values = &values.column(column)[first..first + n];
                let differences = values.iter().enumerate().map(|(row, value)| value - centre(first + row, column));
                cells.iter_mut().zip(differences).for_each(|(cell, difference)| *cell = difference);
            });
            let matrix = MatRef::from_column_major_slice(centred, n, n_columns);
            self.cells.par_chunks_mut(PANEL * n_columns).enumerate().for_each(|(panel, cells)| {
                let (first, width) = (panel * PANEL, cells.len() / n_columns);
                let cells = MatMut::from_column_major_slice_mut(cells, n_columns, width);
                let (own, below) = cells.subrows_mut(first, n_columns - first).split_at_row_mut(width);
                let right = matrix.subcols(first, width);
                let rest = matrix.subcols(first + width, n_columns - first - width);
                let whole = BlockStructure::Rectangular;
                let lower = BlockStructure::TriangularLower;
                triangular::matmul(own, lower, Accum::Add, right.transpose(), whole, right, whole, 1.0, Par::Seq);
                matmul(below, Accum::Add, rest.transpose(), right, 1.0, Par::Seq);
            });
        }
    }

    /// Adds other products, and `weight` times those of `apart` with itself: what two parts of the rows need whose centres are so far apart.
    pub(crate) fn add(&mut self, other: &Self, parts: &[(f64, Vec<f64>)]) {
        let n_columns = self.n_columns;
        let columns = self.cells.par_chunks_mut(n_columns.max(1)).zip(other.cells.par_chunks(n_columns.max(1)));
        columns.enumerate().for_each(|(column, (cells, others))| {
            cells[column..].iter_mut().zip(&others[column..]).for_each(|(cell, other)| *cell += other);
            for (weight, apart) in parts {
                let factor = weight * apart[column];
                cells[column..].iter_mut().zip(&apart[column..]).for_each(|(cell, apart)| *cell += factor * apart);
            }
        });
    }

    /// A column's product with itself.
    pub(crate) fn of_itself(&self, column: usize) -> f64 {
        self.cells[column * self.n_columns + column]
    }

    /// Divides the product of each two columns by both of their scales.
    pub(crate) fn scale(&mut self, scales: &[f64]) {
        let n_columns = self.n_columns;
        self.cells.par_chunks_mut(n_columns.max(1)).enumerate().for_each(|(column, cells)| {
            cells.iter_mut().zip(scales).for_each(|(cell, scale)| *cell /= scale * scales[column]);
        });
    }

    pub(crate) fn all_finite(&self) -> bool {
        self.cells.iter().all(|cell| cell.is_finite())
    }

    /// The eigenvalues in descending order, none negative, and the eigenvectors as columns.
    pub(crate) fn eigen(&self) -> Result<(Vec<f64>, Mat<f64>)> {
        symmetric_eigen(MatRef::from_column_major_slice(&self.cells, self.n_columns, self.n_columns))
    }
}

/// The eigenvalues in descending order, none negative, and the eigenvectors as columns, of a matrix of which the lower triangle is given and that has
/// no negative eigenvalue but for rounding.
pub(crate) fn symmetric_eigen(matrix: MatRef<f64>) -> Result<(Vec<f64>, Mat<f64>)> {
    let eigen = matrix
        .self_adjoint_eigen(Side::Lower)
        .map_err(|error| StageError::failed(format!("the eigenvalue decomposition failed: {error:?}")))?;
    let values = eigen.S().column_vector().iter().rev().map(|value| value.max(0.0)).collect();
    Ok((values, eigen.U().reverse_cols().to_owned()))
}

/// Means of columns, and products of their distances from them.
pub(crate) struct Scatter {
    pub(crate) n_rows: usize,
    pub(crate) means: Vec<f64>,
    pub(crate) products: Products,
}

impl Scatter {
    /// Those of all training rows, in one pass: each piece's about its own means, put together as Chan, Golub and LeVeque (1983) do it.
    pub(crate) fn of(source: &Source, columns: &[String]) -> Result<Self> {
        let mut sum = Self { n_rows: 0, means: vec![0.0; columns.len()], products: Products::none(columns.len()) };
        let map = |frame: &Frame| {
            let values = Dense::unchecked(frame, columns)?;
            let (n_rows, means) = (values.n_rows(), values.means());
            if means.iter().any(|mean| mean.is_nan()) {
                refuse_missing(frame, columns)?;
            }
            let mut products = Products::none(columns.len());
            products.add_rows(&values, |_, column| means[column]);
            Ok(Self { n_rows, means, products })
        };
        source.fold(columns, map, |piece| {
            if piece.n_rows > 0 {
                sum.add(&piece);
            }
            Ok(())
        })?;
        Ok(sum)
    }

    fn add(&mut self, other: &Self) {
        let (ours, theirs) = (self.n_rows as f64, other.n_rows as f64);
        let apart: Vec<f64> = other.means.iter().zip(&self.means).map(|(theirs, ours)| theirs - ours).collect();
        let share = theirs / (ours + theirs);
        self.means.iter_mut().zip(&apart).for_each(|(mean, apart)| *mean += apart * share);
        self.products.add(&other.products, &[(ours * share, apart)]);
        self.n_rows += other.n_rows;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_parts_give_those_of_the_whole() {
        let columns = [[1.0, 2.0, 4.0, 8.0, -3.0], [0.5, 0.25, 1e3, -7.0, 2.0]];
        let of = |rows: std::ops::Range<usize>| {
            let parts = columns.map(|column| column[rows.clone()].to_vec());
            let values = Dense::from(parts.to_vec());
            let (n_rows, means) = (values.n_rows(), values.means());
            let mut products = Products::none(2);
            products.add_rows(&values, |_, column| means[column]);
            Scatter { n_rows, means, products }
        };
        let (whole, mut parts) = (of(0..5), of(0..2));
        parts.add(&of(2..5));
        // The lower triangle, column by column; nothing reads the cell above the diagonal.
        for cell in [0, 1, 3] {
            let (ours, theirs) = (whole.products.cells[cell], parts.products.cells[cell]);
            assert!((ours - theirs).abs() <= 1e-12 * ours.abs(), "{ours} {theirs}");
        }
        assert!((whole.products.of_itself(0) - 65.2).abs() < 1e-12);
    }
}
