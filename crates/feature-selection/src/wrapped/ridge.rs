//! Ridge regression from sums of products: after one pass over the rows, models and their scores cost the same for any number of rows.

use faer::linalg::solvers::Solve;
use faer::{Mat, Side};
use retune_metrics::Prediction;
use retune_spec::Metric;
use retune_stage::{Result, StageError};

use super::{Judges, Learner, Matrix, Trained, products};

/// Of a matrix that is singular but for rounding, no pivot of the Cholesky decomposition is above this share of the greatest diagonal.
const NEGLIGIBLE: f64 = 1e-12;

pub(super) struct Ridge<'a> {
    matrix: &'a Matrix,
    l2: f64,
    /// The mean of all values, which the sums leave out.
    center: f64,
    /// Sums of products of all columns, of ones and of the values: over the rows that are learned from, and over those that judge.
    learned: Sums,
    judging: Sums,
    judges: Judges<'a>,
}

/// The lower triangle of the products of the columns, ones, and the values.
struct Sums(Mat<f64>);

impl Sums {
    fn at(&self, a: usize, b: usize) -> f64 {
        self.0[(a.max(b), a.min(b))]
    }

    /// The products of two columns about their means.
    fn about_means(&self, a: usize, b: usize) -> f64 {
        let ones = self.0.nrows() - 2;
        self.at(a, b) - self.at(a, ones) * self.at(b, ones) / self.at(ones, ones)
    }
}

impl<'a> Ridge<'a> {
    pub(super) fn new(matrix: &'a Matrix, values: &[f64], l2: f64, rows: &[usize], judges: Judges<'a>) -> Self {
        let center = values.iter().sum::<f64>() / values.len() as f64;
        let centred: Vec<f64> = values.iter().map(|value| value - center).collect();
        let all: Vec<usize> = (0..matrix.n_columns()).collect();
        let mut columns = matrix.with_ones(&all);
        columns.push(&centred);
        let sums = |rows| Sums(products(&columns, rows, |_| 1.0));
        Self { matrix, l2, center, learned: sums(rows), judging: sums(judges.rows), judges }
    }

    fn coefficients(&self, columns: &[usize]) -> Result<Vec<f64>> {
        let values = self.matrix.n_columns() + 1;
        let n = columns.len();
        let gram = Mat::from_fn(n, n, |a, b| {
            self.learned.about_means(columns[a], columns[b]) + if a == b { self.l2 } else { 0.0 }
        });
        let right = Mat::from_fn(n, 1, |a, _| self.learned.about_means(columns[a], values));
        let greatest = (0..n).map(|at| gram[(at, at)]).fold(0.0, f64::max);
        if let Ok(factor) = gram.llt(Side::Lower)
            && (0..n).all(|at| factor.L()[(at, at)].powi(2) > NEGLIGIBLE * greatest)
        {
            return Ok(factor.solve(&right).col(0).iter().copied().collect());
        }
        least_norm(&gram, &right, NEGLIGIBLE * greatest)
    }

    /// The mean squared error on the rows that judge.
    fn squared_error(&self, trained: &Trained) -> f64 {
        let ones = self.matrix.n_columns();
        let minus = trained.parameters.iter().map(|value| -value);
        let terms: Vec<(usize, f64)> =
            trained.columns.iter().copied().chain([ones]).zip(minus).chain([(ones + 1, 1.0)]).collect();
        let error =
            |&(a, by_a): &(usize, f64)| by_a * terms.iter().map(|&(b, by_b)| by_b * self.judging.at(a, b)).sum::<f64>();
        (terms.iter().map(error).sum::<f64>() / self.judges.rows.len() as f64).max(0.0)
    }

    fn prediction(&self, trained: &Trained) -> Prediction {
        let (coefficients, intercept) = trained.parameters.split_at(trained.columns.len());
        let mut values = vec![self.center + intercept.iter().sum::<f64>(); self.judges.rows.len()];
        for (&column, coefficient) in trained.columns.iter().zip(coefficients) {
            let column = self.matrix.column(column);
            values.iter_mut().zip(self.judges.rows).for_each(|(value, &row)| *value += coefficient * column[row]);
        }
        Prediction::Values(values)
    }
}

/// The solution of least norm of a singular system.
fn least_norm(gram: &Mat<f64>, right: &Mat<f64>, negligible: f64) -> Result<Vec<f64>> {
    let eigen = gram
        .self_adjoint_eigen(Side::Lower)
        .map_err(|error| StageError::failed(format!("the eigenvalues of the columns' products: {error:?}")))?;
    let mut along = eigen.U().transpose() * right;
    for (at, &value) in eigen.S().column_vector().iter().enumerate() {
        along[(at, 0)] = if value > negligible { along[(at, 0)] / value } else { 0.0 };
    }
    Ok((eigen.U() * along).col(0).iter().copied().collect())
}

impl Learner for Ridge<'_> {
    fn fit(&self, columns: &[usize], _start: Option<&Trained>) -> Result<Trained> {
        let mut parameters = if columns.is_empty() { Vec::new() } else { self.coefficients(columns)? };
        let importances = parameters.iter().map(|value| value * value).collect();
        let ones = self.matrix.n_columns();
        let mean = |column: usize| self.learned.at(column, ones) / self.learned.at(ones, ones);
        let offset: f64 = columns.iter().zip(&parameters).map(|(&column, value)| value * mean(column)).sum();
        parameters.push(mean(ones + 1) - offset);
        Ok(Trained { columns: columns.to_vec(), importances, parameters, ..Trained::default() })
    }

    fn score(&self, trained: &Trained) -> Result<f64> {
        let spread = self.judging.about_means(self.matrix.n_columns() + 1, self.matrix.n_columns() + 1);
        match self.judges.metric {
            Metric::Rmse => Ok(-self.squared_error(trained).sqrt()),
            Metric::R2 if self.judges.rows.len() > 1 && spread > 0.0 => {
                Ok(1.0 - self.squared_error(trained) * self.judges.rows.len() as f64 / spread)
            }
            _ => self.judges.score(&self.prediction(trained)),
        }
    }
}
