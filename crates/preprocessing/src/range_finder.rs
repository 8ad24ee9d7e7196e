//! The leading singular vectors of a matrix that is only seen through its products with others.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use retune_stage::{Result, StageError};

use crate::projection::{flip_signs, too_large};
use crate::sparse::Csr;

/// Random directions beyond those asked for, which make the leading ones exact (as in scikit-learn).
const OVERSAMPLES: usize = 10;

/// Rows or columns per unit of parallel work; fixed, so that results do not depend on the number of threads.
const BLOCK: usize = 128;

/// A matrix as the range finder sees it.
pub(crate) trait Operator {
    fn n_rows(&self) -> usize;

    fn n_columns(&self) -> usize;

    /// The product with a matrix [columns, width], both in row order.
    fn times(&self, matrix: &[f64], width: usize) -> Vec<f64>;

    /// The product of the transpose with a matrix [rows, width], both in row order.
    fn transposed_times(&self, matrix: &[f64], width: usize) -> Vec<f64>;
}

/// A sparse matrix and its transpose.
pub(crate) struct SparseOperator {
    matrix: Csr,
    transposed: Csr,
}

impl SparseOperator {
    pub(crate) fn new(matrix: Csr) -> Self {
        Self { transposed: matrix.transpose(), matrix }
    }

    pub(crate) fn matrix(&self) -> &Csr {
        &self.matrix
    }
}

impl Operator for SparseOperator {
    fn n_rows(&self) -> usize {
        self.matrix.n_rows()
    }

    fn n_columns(&self) -> usize {
        self.matrix.n_columns
    }

    fn times(&self, matrix: &[f64], width: usize) -> Vec<f64> {
        self.matrix.multiply(matrix, width)
    }

    fn transposed_times(&self, matrix: &[f64], width: usize) -> Vec<f64> {
        self.transposed.multiply(matrix, width)
    }
}

impl Operator for MatRef<'_, f64> {
    fn n_rows(&self) -> usize {
        self.nrows()
    }

    fn n_columns(&self) -> usize {
        self.ncols()
    }

    fn times(&self, matrix: &[f64], width: usize) -> Vec<f64> {
        multiply(*self, matrix, width)
    }

    fn transposed_times(&self, matrix: &[f64], width: usize) -> Vec<f64> {
        multiply(self.transpose(), matrix, width)
    }
}

fn multiply(left: MatRef<f64>, right: &[f64], width: usize) -> Vec<f64> {
    let right = MatRef::from_row_major_slice(right, left.ncols(), width);
    let mut product = vec![0.0; left.nrows() * width];
    product.par_chunks_mut(BLOCK * width.max(1)).enumerate().for_each(|(block, cells)| {
        let n = cells.len() / width;
        let cells = MatMut::from_row_major_slice_mut(cells, n, width);
        matmul(cells, Accum::Replace, left.subrows(block * BLOCK, n), right, 1.0, Par::Seq);
    });
    product
}

/// The leading right singular vectors as columns, and their singular values: the randomised range finder of Halko, Martinsson and Tropp (2011), each
/// product made orthonormal so that small singular values are not lost.
pub(crate) fn decompose(
    matrix: &impl Operator,
    n_components: usize,
    n_iterations: usize,
    seed: u64,
) -> Result<(Mat<f64>, Vec<f64>)> {
    let width = (n_components + OVERSAMPLES).min(matrix.n_rows()).min(matrix.n_columns());
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut directions: Vec<f64> = StandardNormal.sample_iter(&mut random).take(matrix.n_columns() * width).collect();
    for _ in 0..n_iterations {
        let range = orthonormal(&matrix.times(&directions, width), width);
        directions = orthonormal(&matrix.transposed_times(&range, width), width);
    }
    let range = orthonormal(&matrix.times(&directions, width), width);
    let small = matrix.transposed_times(&range, width); // [columns, width]: the matrix seen from its range
    let small = MatRef::from_row_major_slice(&small, matrix.n_columns(), width);
    if !small.is_all_finite() {
        return Err(too_large("a decomposition"));
    }
    let svd = small
        .thin_svd()
        .map_err(|error| StageError::failed(format!("the singular value decomposition failed: {error:?}")))?;
    let mut vectors = svd.U().subcols(0, n_components).to_owned();
    flip_signs(&mut vectors);
    Ok((vectors, svd.S().column_vector().iter().take(n_components).copied().collect()))
}

/// An orthonormal basis of the range of a matrix, both in row order.
fn orthonormal(matrix: &[f64], width: usize) -> Vec<f64> {
    let n_rows = matrix.len() / width;
    let basis: Mat<f64> = MatRef::from_row_major_slice(matrix, n_rows, width).qr().compute_thin_Q();
    let mut in_rows = vec![0.0; matrix.len()];
    MatMut::from_row_major_slice_mut(&mut in_rows, n_rows, width).copy_from(&basis);
    in_rows
}
