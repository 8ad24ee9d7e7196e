//! Least squares with and without an L2 penalty.
//!
//! The centred rows are reduced to the triangle R of their QR decomposition, block by block (Demmel et al., Communication-optimal parallel and
//! sequential QR, 2012), and R to its singular values. From those every penalty is solved at once: collinear columns get the coefficients of the least norm, as
//! scikit-learn's `LinearRegression` gives, and a search over penalties costs one decomposition.

use faer::Mat;
use faer::linalg::solvers::{Qr, Svd};
use ndarray::{Array1, ArrayView2};
use rayon::prelude::*;
use retune_metrics::Prediction;
use retune_spec::estimators::{LinearRegression, Ridge};
use retune_stage::{Design, LoadDir, Result, SaveDir, StageError, Task};
use serde::{Deserialize, Serialize};

use crate::family::{Family, Learned};
use crate::rows::{check_finite, check_width, moments, row_weights, values};
use crate::{FitInfo, FitOptions};

/// Rows that are reduced by one thread; at least so many for every column.
const BLOCK: usize = 1024;

/// A trained linear model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedLinear {
    /// One for each feature.
    pub coefficients: Vec<f64>,
    /// The prediction where all features are zero.
    pub intercept: f64,
}

impl Family for LinearRegression {
    type Learned = FittedLinear;

    fn learn(&self, rows: &Design, _task: &Task, _options: &FitOptions) -> Result<(FittedLinear, FitInfo)> {
        let squares = LeastSquares::of_finite(rows)?;
        let mut info = FitInfo::default();
        let (rank, n_features) = (squares.rank(), rows.features.ncols());
        if rank < n_features {
            info.notes.push(format!(
                "of {n_features} columns only {rank} are independent of each other; the coefficients are those of the least norm"
            ));
        }
        Ok((squares.solve(0.0), info))
    }
}

impl Family for Ridge {
    type Learned = FittedLinear;

    fn learn(&self, rows: &Design, _task: &Task, _options: &FitOptions) -> Result<(FittedLinear, FitInfo)> {
        Ok((LeastSquares::of_finite(rows)?.solve(self.l2), FitInfo::default()))
    }
}

impl Learned for FittedLinear {
    fn predict(&self, features: ArrayView2<f64>) -> Result<Prediction> {
        check_width(features, self.coefficients.len())?;
        let coefficients = Array1::from(self.coefficients.clone());
        Ok(Prediction::Values((features.dot(&coefficients) + self.intercept).to_vec()))
    }

    fn describe(&self) -> String {
        format!("a linear model of {} features", self.coefficients.len())
    }

    fn size(&self) -> usize {
        self.coefficients.len() + 1
    }

    fn save(&self, dir: &SaveDir) -> Result<()> {
        dir.json("linear.json", self)
    }

    fn load(dir: &LoadDir) -> Result<Self> {
        dir.json("linear.json")
    }
}

/// Rows, decomposed so that any penalty can be solved.
pub struct LeastSquares {
    center: Array1<f64>,
    target_center: f64,
    /// The right singular vectors [features, rank or more].
    directions: Mat<f64>,
    singular: Vec<f64>,
    /// The target along the left singular vectors.
    projections: Vec<f64>,
    /// Singular values not above this are zero but for rounding.
    negligible: f64,
}

impl LeastSquares {
    /// Decomposes rows, weighted by their sample weights.
    pub fn new(rows: &Design) -> Result<Self> {
        check_finite(rows)?;
        Self::of_finite(rows)
    }

    /// The same of rows that have been looked at.
    pub(crate) fn of_finite(rows: &Design) -> Result<Self> {
        let target = values(rows)?;
        let weights = row_weights(rows, None)?;
        let total: f64 = weights.as_ref().map_or(target.len() as f64, |weights| weights.iter().sum());
        let weight = |row: usize| weights.as_ref().map_or(1.0, |weights| weights[row]);
        let (center, _) = moments(rows.features.view(), weights.as_deref());
        let target_center = target.iter().enumerate().map(|(row, value)| weight(row) * value).sum::<f64>() / total;

        let n_features = rows.features.ncols();
        let cell = |row: usize, column: usize| {
            let value = if column < n_features {
                rows.features[[row, column]] - center[column]
            } else {
                target[row] - target_center
            };
            weight(row).sqrt() * value
        };
        let triangle = triangle(target.len(), n_features + 1, &cell);
        let rank = triangle.nrows();
        let svd = Svd::new_thin(triangle.get(.., ..n_features))
            .map_err(|error| StageError::failed(format!("the singular values of the columns: {error:?}")))?;
        let singular: Vec<f64> = svd.S().column_vector().iter().copied().collect();
        let project = |vector: usize| (0..rank).map(|row| svd.U()[(row, vector)] * triangle[(row, n_features)]).sum();
        let projections = (0..singular.len()).map(project).collect();
        let greatest = singular.first().copied().unwrap_or(0.0);
        let negligible = greatest * f64::EPSILON * target.len().max(n_features) as f64;
        Ok(Self { center, target_center, directions: svd.V().to_owned(), singular, projections, negligible })
    }

    /// How many columns are independent of each other.
    pub fn rank(&self) -> usize {
        self.singular.iter().filter(|&&value| value > self.negligible).count()
    }

    /// The model with the least squares plus `l2` times the squared norm of the coefficients.
    pub fn solve(&self, l2: f64) -> FittedLinear {
        let shrunk = |(&singular, projection): (&f64, &f64)| {
            if singular > self.negligible { projection * singular / (singular * singular + l2) } else { 0.0 }
        };
        let shares: Vec<f64> = self.singular.iter().zip(&self.projections).map(shrunk).collect();
        let coefficient = |feature: usize| {
            shares.iter().enumerate().map(|(vector, share)| self.directions[(feature, vector)] * share).sum::<f64>()
        };
        let coefficients: Vec<f64> = (0..self.center.len()).map(coefficient).collect();
        let offset: f64 = coefficients.iter().zip(&self.center).map(|(coefficient, center)| coefficient * center).sum();
        FittedLinear { coefficients, intercept: self.target_center - offset }
    }
}

/// The triangle R of the QR decomposition of a matrix: of blocks of rows, then of their triangles.
pub(crate) fn triangle(n_rows: usize, n_columns: usize, cell: &(impl Fn(usize, usize) -> f64 + Sync)) -> Mat<f64> {
    let block = BLOCK.max(4 * n_columns);
    let triangles: Vec<Mat<f64>> = (0..n_rows.div_ceil(block))
        .into_par_iter()
        .map(|number| {
            let first = number * block;
            let rows = block.min(n_rows - first);
            reduce(&Mat::from_fn(rows, n_columns, |row, column| cell(first + row, column)))
        })
        .collect();
    let mut triangles = triangles.into_iter();
    let first = triangles.next().unwrap_or_else(|| Mat::zeros(0, n_columns));
    triangles.fold(first, |above, below| {
        let n_above = above.nrows();
        reduce(&Mat::from_fn(n_above + below.nrows(), n_columns, |row, column| {
            if row < n_above { above[(row, column)] } else { below[(row - n_above, column)] }
        }))
    })
}

fn reduce(rows: &Mat<f64>) -> Mat<f64> {
    Qr::new(rows.as_ref()).thin_R().to_owned()
}
