//! Discriminant analysis, as scikit-learn's `discriminant_analysis`: normal distributions within labels.

mod covariance;
mod linear;
mod quadratic;

use faer::linalg::solvers::Svd;
use faer::{Mat, MatRef};
use ndarray::Array2;
use retune_stage::{Result, StageError};

pub use linear::FittedLinearDiscriminant;
pub use quadratic::FittedQuadraticDiscriminant;

/// Singular values, the greatest first, and the right singular vectors [columns, values].
fn singular(matrix: MatRef<f64>) -> Result<(Vec<f64>, Mat<f64>)> {
    let svd = Svd::new_thin(matrix)
        .map_err(|error| StageError::failed(format!("the singular values of the columns: {error:?}")))?;
    Ok((svd.S().column_vector().iter().copied().collect(), svd.V().to_owned()))
}

fn array(matrix: MatRef<f64>) -> Array2<f64> {
    Array2::from_shape_fn((matrix.nrows(), matrix.ncols()), |(row, column)| matrix[(row, column)])
}
