//! `iterative_impute`.

use faer::linalg::matmul::matmul;
use faer::prelude::Solve;
use faer::{Accum, Mat, MatMut, MatRef, Par, Side};
use ndarray::Array2;
use rayon::prelude::*;
use retune_spec::preprocessing::IterativeImpute;
use retune_stage::{FitContext, Kind, LoadDir, Result, SaveDir, StageError};
use serde::{Deserialize, Serialize};

use crate::frame::Frame;
use crate::impute::{LEAVE_OUT, no_value};
use crate::outline::Outline;
use crate::projection::read_matrix;
use crate::source::Source;
use crate::stats::{Moments, moments};
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// Rows per unit of parallel work: sums are taken by block and put together in the order of the rows.
const BLOCK: usize = 4096;

/// The means, and the regressions of every round in the order in which they are used.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedIterativeImpute {
    columns: Vec<String>,
    means: Vec<f64>,
    /// The columns in the order in which they are predicted.
    order: Vec<usize>,
    n_rounds: usize,
    /// [rounds * columns, columns]: what each column is predicted by, after the means are subtracted. A column's own entry is the intercept.
    #[serde(skip)]
    coefficients: Array2<f64>,
}

impl FitStep for IterativeImpute {
    type Fitted = FittedIterativeImpute;
    const REPAIRS: bool = true;
    const KINDS: &'static [Kind] = &[Kind::Numeric];

    fn check(&self, _columns: &[String], _outline: &mut Outline) -> Result<()> {
        Ok(())
    }

    fn fit(&self, source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedIterativeImpute>> {
        let frame = source.frame()?;
        let mean = |(name, moments): (&String, Option<Moments>)| {
            moments.map(|of| of.mean).ok_or_else(|| no_value(name).help(LEAVE_OUT))
        };
        let means: Vec<f64> = columns.iter().zip(moments(source, columns, false)?).map(mean).collect::<Result<_>>()?;
        let mut training = Training::of(frame, columns, &means)?;
        let n_missing: usize = training.missing.iter().map(Vec::len).sum();
        let mut order: Vec<usize> = (0..columns.len()).collect();
        order.sort_by_key(|&column| training.missing[column].len());
        let (mut rounds, mut settled) = (Vec::new(), n_missing == 0);
        // With one column there is nothing to predict from.
        let n_rounds = if columns.len() > 1 && n_missing > 0 { self.rounds } else { 0 };
        for _ in 0..n_rounds {
            let before = training.values.clone();
            let mut round = vec![0.0; columns.len() * columns.len()];
            for &column in &order {
                let coefficients = training.regress(column, self.alpha)?;
                training.predict(column, &coefficients);
                round[column * columns.len()..(column + 1) * columns.len()].copy_from_slice(&coefficients);
            }
            rounds.push(round);
            if training.change(&before) < self.tolerance * training.greatest {
                settled = true;
                break;
            }
        }
        let mut text = format!(
            "filled {} by regressions on the other columns in {}",
            counted(n_missing, "missing value"),
            counted(rounds.len(), "round")
        );
        if !settled {
            text += ", in which they did not settle";
        }
        let shape = (rounds.len() * columns.len(), columns.len());
        let coefficients =
            Array2::from_shape_vec(shape, rounds.concat()).map_err(|error| StageError::failed(error.to_string()))?;
        let n_rounds = rounds.len();
        let fitted = FittedIterativeImpute { columns: columns.to_vec(), means, order, n_rounds, coefficients };
        Ok(Learnt::applied(fitted, text))
    }
}

impl ApplyStep for FittedIterativeImpute {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        let columns: Vec<Vec<f64>> = self.columns.par_iter().map(|name| frame.numeric(name)).collect::<Result<_>>()?;
        let gaps: Vec<usize> =
            (0..frame.n_rows()).filter(|&row| columns.iter().any(|column| column[row].is_nan())).collect();
        let fill = |&row: &usize| {
            let mut values: Vec<f64> = columns.iter().map(|column| column[row]).collect();
            self.fill(&mut values);
            values
        };
        let filled: Vec<Vec<f64>> = gaps.par_iter().map(fill).collect();
        frame.map(&self.columns, |column, values| {
            gaps.iter().zip(&filled).for_each(|(&row, filled)| values[row] = filled[column]);
            Ok(())
        })
    }

    fn save(&self, dir: &SaveDir, file: &str) -> Result<()> {
        dir.matrices(file, &[("coefficients", self.coefficients.view())])
    }

    fn load(&mut self, dir: &LoadDir, file: &str) -> Result<()> {
        let shape = [self.n_rounds * self.columns.len(), self.columns.len()];
        self.coefficients = read_matrix(dir, file, "coefficients", shape)?;
        Ok(())
    }
}

impl FittedIterativeImpute {
    /// Fills the missing values of one row, round by round as they were learned.
    fn fill(&self, values: &mut [f64]) {
        let n_columns = values.len();
        let missing: Vec<usize> = self.order.iter().copied().filter(|&column| values[column].is_nan()).collect();
        for (value, mean) in values.iter_mut().zip(&self.means) {
            *value = if value.is_nan() { 0.0 } else { *value - mean };
        }
        let coefficients = self.coefficients.as_slice().unwrap_or_default();
        for round in 0..self.n_rounds {
            for &column in &missing {
                let first = (round * n_columns + column) * n_columns;
                values[column] = predicted(column, &coefficients[first..first + n_columns], |other| values[other]);
            }
        }
        values.iter_mut().zip(&self.means).for_each(|(value, mean)| *value += mean);
    }
}

/// What the regression gives for a column of a row.
fn predicted(column: usize, coefficients: &[f64], value: impl Fn(usize) -> f64) -> f64 {
    let others = coefficients.iter().enumerate().filter(|(other, _)| *other != column);
    others.fold(coefficients[column], |sum, (other, coefficient)| sum + coefficient * value(other))
}

/// The training rows on their way through the rounds.
struct Training {
    n_rows: usize,
    n_columns: usize,
    /// [rows, columns], one column after the other, less the means; what was missing is what it was last predicted to be.
    values: Vec<f64>,
    /// The rows in which each column is missing.
    missing: Vec<Vec<usize>>,
    /// The greatest known value by magnitude.
    greatest: f64,
}

impl Training {
    fn of(frame: &Frame, columns: &[String], means: &[f64]) -> Result<Self> {
        let column = |(name, mean): (&String, &f64)| {
            let mut values = frame.numeric(name)?;
            let missing: Vec<usize> = (0..values.len()).filter(|&row| values[row].is_nan()).collect();
            let greatest = values.iter().fold(0.0, |greatest: f64, value| greatest.max(value.abs()));
            values.iter_mut().for_each(|value| *value = if value.is_nan() { 0.0 } else { *value - mean });
            Ok((values, missing, greatest))
        };
        let columns: Vec<_> = columns.par_iter().zip(means).map(column).collect::<Result<_>>()?;
        let greatest = columns.iter().fold(0.0, |greatest: f64, (_, _, other)| greatest.max(*other));
        let (n_rows, n_columns) = (frame.n_rows(), columns.len());
        let mut values = Vec::with_capacity(n_rows * n_columns);
        columns.iter().for_each(|(column, _, _)| values.extend_from_slice(column));
        let missing = columns.into_iter().map(|(_, missing, _)| missing).collect();
        Ok(Self { n_rows, n_columns, values, missing, greatest })
    }

    /// The ridge regression of a column on the others, over the rows in which it is known.
    fn regress(&self, target: usize, alpha: f64) -> Result<Vec<f64>> {
        let width = self.n_columns + 1;
        let products = self.products(target);
        let n = products[(self.n_columns, self.n_columns)];
        let mean = |column: usize| products[(column, self.n_columns)] / n;
        let covariance = |one: usize, other: usize| products[(one, other)] - n * mean(one) * mean(other);
        let others: Vec<usize> = (0..self.n_columns).filter(|&column| column != target).collect();
        let system = Mat::from_fn(width - 2, width - 2, |row, column| {
            covariance(others[row], others[column]) + if row == column { alpha } else { 0.0 }
        });
        let right = Mat::from_fn(width - 2, 1, |row, _| covariance(others[row], target));
        if !(system.is_all_finite() && right.is_all_finite()) {
            return Err(StageError::data("the numbers are too large for regressions")
                .help("scale the columns before: `standard_scale`"));
        }
        let solved = match system.llt(Side::Lower) {
            Ok(factors) => factors.solve(&right),
            // Columns that are nearly sums of others, beside which the penalty is nothing.
            Err(_) => by_eigenvalues(&system, &right, alpha)?,
        };
        let mut coefficients = vec![0.0; self.n_columns];
        others.iter().enumerate().for_each(|(place, &other)| coefficients[other] = solved[(place, 0)]);
        coefficients[target] =
            mean(target) - others.iter().map(|&other| coefficients[other] * mean(other)).sum::<f64>();
        Ok(coefficients)
    }

    /// The products of all pairs of columns, and of each with ones, summed over the rows in which `target` is known.
    fn products(&self, target: usize) -> Mat<f64> {
        let width = self.n_columns + 1;
        let missing = &self.missing[target];
        let of_block = |block: usize| {
            let first = block * BLOCK;
            let n = BLOCK.min(self.n_rows - first);
            let mut cells = Vec::with_capacity(n * width);
            for column in self.values.chunks_exact(self.n_rows) {
                cells.extend_from_slice(&column[first..first + n]);
            }
            cells.resize(n * width, 1.0);
            let from = missing.partition_point(|&row| row < first);
            for row in missing[from..].iter().take_while(|row| **row < first + n) {
                cells.iter_mut().skip(row - first).step_by(n).for_each(|cell| *cell = 0.0);
            }
            let cells = MatRef::from_column_major_slice(&cells, n, width);
            let mut products = vec![0.0; width * width];
            let sums = MatMut::from_column_major_slice_mut(&mut products, width, width);
            matmul(sums, Accum::Replace, cells.transpose(), cells, 1.0, Par::Seq);
            products
        };
        let blocks: Vec<Vec<f64>> = (0..self.n_rows.div_ceil(BLOCK)).into_par_iter().map(of_block).collect();
        let mut sums = vec![0.0; width * width];
        for block in &blocks {
            sums.iter_mut().zip(block).for_each(|(sum, product)| *sum += product);
        }
        MatRef::from_column_major_slice(&sums, width, width).to_owned()
    }

    /// Replaces what is missing of a column by what its regression gives.
    fn predict(&mut self, column: usize, coefficients: &[f64]) {
        let value = |row: usize| predicted(column, coefficients, |other| self.values[other * self.n_rows + row]);
        let predictions: Vec<f64> = self.missing[column].par_iter().map(|&row| value(row)).collect();
        for (&row, prediction) in self.missing[column].iter().zip(predictions) {
            self.values[column * self.n_rows + row] = prediction;
        }
    }

    /// The greatest sum of changes in a row.
    fn change(&self, before: &[f64]) -> f64 {
        let mut sums = vec![0.0; self.n_rows];
        for (column, missing) in self.missing.iter().enumerate() {
            for &row in missing {
                let cell = column * self.n_rows + row;
                sums[row] += (self.values[cell] - before[cell]).abs();
            }
        }
        sums.into_iter().fold(0.0, f64::max)
    }
}

/// Solves a system that is positive definite but for rounding, of which every eigenvalue should be `alpha` or more.
fn by_eigenvalues(system: &Mat<f64>, right: &Mat<f64>, alpha: f64) -> Result<Mat<f64>> {
    let eigen = system
        .self_adjoint_eigen(Side::Lower)
        .map_err(|error| StageError::failed(format!("the eigenvalue decomposition failed: {error:?}")))?;
    let mut turned = eigen.U().transpose() * right;
    for (row, eigenvalue) in eigen.S().column_vector().iter().enumerate() {
        turned[(row, 0)] /= eigenvalue.max(alpha);
    }
    Ok(eigen.U() * turned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_are_solved_however_singular() {
        let right = Mat::from_fn(2, 1, |row, _| [3.0, 1.0][row]);
        let sound = Mat::from_fn(2, 2, |row, column| [[2.0, 1.0], [1.0, 3.0]][row][column]);
        // 2x + y = 3 and x + 3y = 1.
        let solved = by_eigenvalues(&sound, &right, 1e-3).map(|solved| [solved[(0, 0)], solved[(1, 0)]]);
        assert!(matches!(solved, Ok([x, y]) if (x - 1.6).abs() < 1e-12 && (y + 0.2).abs() < 1e-12));
        // The same column twice, beside whose squares a penalty is lost.
        let twice = Mat::from_fn(2, 2, |_, _| 1e30);
        let right = Mat::from_fn(2, 1, |_, _| 1e30);
        let solved = by_eigenvalues(&twice, &right, 1e-3).map(|solved| [solved[(0, 0)], solved[(1, 0)]]);
        assert!(matches!(solved, Ok([x, y]) if (x + y - 1.0).abs() < 1e-9));
    }
}
