//! Covariances within labels, and how they are drawn towards a multiple of the identity.

use faer::{Mat, Side};
use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, Axis};
use rayon::prelude::*;
use retune_stage::{Design, Result, StageError};

use crate::labels::Labelled;

/// Rows of one product.
const TILE: usize = 256;

/// At most so many products are added up on their own for a label.
const BLOCKS: usize = 64;

/// The mean of the labels' covariances, by their shares [features, features].
pub(super) fn pooled(rows: &Design, labelled: &Labelled, means: &Array2<f64>) -> Array2<f64> {
    let ones = Array1::ones(means.ncols());
    mean_of_labels(labelled, |place, members| products(rows, labelled, (place, members), means, &ones).0)
}

/// Draws a covariance towards the identity times its mean variance.
pub(super) fn shrink(covariance: Array2<f64>, share: f64) -> Array2<f64> {
    let target = share * covariance.diag().mean().unwrap_or(0.0);
    let mut shrunk = covariance * (1.0 - share);
    shrunk.diag_mut().mapv_inplace(|variance| variance + target);
    shrunk
}

/// The mean of the labels' covariances, each of which is shrunk, its columns scaled to variance 1, by the share of Ledoit and Wolf (A well-conditioned
/// estimator for large-dimensional covariance matrices, 2004), as scikit-learn does. Where rows have weights their number is Kish's effective one.
pub(super) fn ledoit_wolf(rows: &Design, labelled: &Labelled, means: &Array2<f64>) -> Array2<f64> {
    let variances = labelled.variances(means);
    mean_of_labels(labelled, |place, members| {
        let deviations = variances.row(place).mapv(|variance| if variance > 0.0 { variance.sqrt() } else { 1.0 });
        let (correlation, fourth) = products(rows, labelled, (place, members), means, &deviations);
        let squares: f64 = members.iter().map(|&row| labelled.weight(row).powi(2)).sum();
        let n_rows = labelled.totals[place].powi(2) / squares;
        let shrunk = shrink(correlation.clone(), share(&correlation, fourth, n_rows));
        shrunk * &deviations * deviations.view().insert_axis(Axis(1))
    })
}

/// The share, of a covariance and the mean of the rows' squared squared norms.
fn share(covariance: &Array2<f64>, fourth: f64, n_rows: f64) -> f64 {
    let n_columns = covariance.ncols() as f64;
    let trace = covariance.diag().sum();
    let mean = trace / n_columns;
    let squares: f64 = covariance.iter().map(|value| value * value).sum();
    let delta = (squares - 2.0 * mean * trace + n_columns * mean * mean) / n_columns;
    let beta = ((fourth - squares) / (n_columns * n_rows)).min(delta);
    if covariance.ncols() == 1 || beta == 0.0 { 0.0 } else { beta / delta }
}

fn mean_of_labels(labelled: &Labelled, covariance: impl Fn(usize, &[usize]) -> Array2<f64>) -> Array2<f64> {
    let members = labelled.members();
    let of_label = |(place, members): (usize, &Vec<usize>)| covariance(place, members) * labelled.seen.shares[place];
    members.iter().enumerate().map(of_label).reduce(|sum, next| sum + next).unwrap_or_default()
}

/// The weighted means over a label's rows, centred and divided by deviations, of the products of their columns [features, features] and of the squares of
/// their squared norms. Rows are summed in blocks of a fixed size and in their order.
fn products(
    rows: &Design,
    labelled: &Labelled,
    (place, members): (usize, &[usize]),
    means: &Array2<f64>,
    deviations: &Array1<f64>,
) -> (Array2<f64>, f64) {
    let (n_features, mean) = (means.ncols(), means.row(place));
    let block_products = |members: &[usize]| {
        let (mut sum, mut fourth) = (Array2::zeros((n_features, n_features)), 0.0);
        for tile in members.chunks(TILE) {
            let mut centred = Array2::zeros((tile.len(), n_features));
            for (&row, mut centred) in tile.iter().zip(centred.rows_mut()) {
                let share = labelled.weight(row) / labelled.totals[place];
                centred.assign(&((&rows.features.row(row) - &mean) / deviations));
                fourth += share * centred.dot(&centred).powi(2);
                centred *= share.sqrt();
            }
            general_mat_mul(1.0, &centred.t(), &centred, 1.0, &mut sum);
        }
        (sum, fourth)
    };
    let block = members.len().div_ceil(BLOCKS).next_multiple_of(TILE);
    let blocks: Vec<(Array2<f64>, f64)> = members.par_chunks(block.max(1)).map(block_products).collect();
    let zero = (Array2::zeros((n_features, n_features)), 0.0);
    blocks.into_iter().fold(zero, |(sum, fourth), (next, next_fourth)| (sum + next, fourth + next_fourth))
}

/// The least coefficients [labels, features] with `covariance * coefficients = means`, and the covariance's rank.
pub(super) fn solve(covariance: &Array2<f64>, means: &Array2<f64>) -> Result<(Array2<f64>, usize)> {
    let n_features = covariance.ncols();
    let eigen = Mat::from_fn(n_features, n_features, |row, column| covariance[[row, column]])
        .self_adjoint_eigen(Side::Lower)
        .map_err(|error| StageError::failed(format!("the eigenvalues of the covariance: {error:?}")))?;
    let values: Vec<f64> = eigen.S().column_vector().iter().copied().collect();
    let greatest = values.iter().fold(0.0, |greatest: f64, &value| greatest.max(value));
    let negligible = greatest * f64::EPSILON * n_features as f64;
    let inverse = |&value: &f64| if value > negligible { value.recip() } else { 0.0 };
    let inverses: Array1<f64> = values.iter().map(inverse).collect();
    let directions = super::array(eigen.U());
    let rank = inverses.iter().filter(|&&inverse| inverse > 0.0).count();
    Ok(((means.dot(&directions) * inverses).dot(&directions.t()), rank))
}
