//! Lasso by coordinate descent on sums of products (Friedman, Hastie and Tibshirani 2010): a step costs as many operations as there are columns with a coefficient,
//! however many rows there are.

use rayon::prelude::*;
use retune_estimators::boosting::Columns;
use retune_stage::Target;
use retune_table::numbers::dot;

use super::{Matrix, Problem, soft};
use crate::trees::Numbers;

/// Rounds over the columns, at most.
const MAX_ROUNDS: usize = 100_000;

/// Half the mean squared error plus `alpha` times the sum of the coefficients' magnitudes: scikit-learn's `Lasso`.
pub(super) struct Lasso {
    matrix: Matrix,
    mean: f64,
    /// Half the mean squared error without any column.
    spread: f64,
    /// Each column's mean product with the target.
    products: Vec<f64>,
    /// The same with what the coefficients leave of the target.
    slopes: Vec<f64>,
    coefficients: Vec<f64>,
    strongest: f64,
    /// A column's mean products with all, once it was needed.
    gram: Vec<Option<Vec<f64>>>,
    is_solved: bool,
}

impl Lasso {
    pub(super) fn new(matrix: Matrix, mut values: Vec<f64>) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        values.iter_mut().for_each(|value| *value -= mean);
        let spread = dot(&values, &values) / n / 2.0;
        let product = |column: usize| dot(matrix.column(column), &values) / n;
        let products: Vec<f64> = (0..matrix.n_columns()).into_par_iter().map(product).collect();
        let strongest = products.iter().fold(0.0, |greatest: f64, product| greatest.max(product.abs()));
        let (slopes, coefficients) = (products.clone(), vec![0.0; products.len()]);
        let gram = vec![None; products.len()];
        Self { matrix, mean, spread, products, slopes, coefficients, strongest, gram, is_solved: true }
    }

    /// Makes the mean products of columns known.
    fn multiply(&mut self, columns: &[usize]) {
        for &column in columns {
            if self.gram[column].is_none() {
                let (matrix, n) = (&self.matrix, self.matrix.n_rows as f64);
                let product = |other: usize| dot(matrix.column(column), matrix.column(other)) / n;
                self.gram[column] = Some((0..matrix.n_columns()).into_par_iter().map(product).collect());
            }
        }
    }

    /// Rounds over some columns until all of them are where they should be.
    fn descend(&mut self, columns: &[usize], alpha: f64, limit: f64) {
        let among: Vec<Vec<f64>> = columns
            .iter()
            .map(|&column| {
                let gram = self.gram[column].as_deref().unwrap_or_default();
                columns.iter().map(|&other| gram.get(other).copied().unwrap_or(0.0)).collect()
            })
            .collect();
        let mut slopes: Vec<f64> = columns.iter().map(|&column| self.slopes[column]).collect();
        let mut coefficients: Vec<f64> = columns.iter().map(|&column| self.coefficients[column]).collect();
        let mut is_near = false;
        for _ in 0..MAX_ROUNDS {
            let mut farthest: f64 = 0.0;
            for (at, gram) in among.iter().enumerate().filter(|(at, gram)| gram[*at] > 0.0) {
                let step = soft(slopes[at] + gram[at] * coefficients[at], alpha) / gram[at] - coefficients[at];
                if step != 0.0 {
                    coefficients[at] += step;
                    slopes.iter_mut().zip(gram).for_each(|(slope, product)| *slope -= step * product);
                    farthest = farthest.max(step.abs() * gram[at]);
                }
            }
            is_near = farthest <= limit;
            if is_near {
                break;
            }
        }
        self.is_solved &= is_near;
        for (&column, coefficient) in columns.iter().zip(coefficients) {
            let step = coefficient - self.coefficients[column];
            if let (Some(gram), true) = (&self.gram[column], step != 0.0) {
                self.coefficients[column] = coefficient;
                self.slopes.iter_mut().zip(gram).for_each(|(slope, product)| *slope -= step * product);
            }
        }
    }
}

impl Problem for Lasso {
    fn strongest(&self) -> f64 {
        self.strongest
    }

    fn solve(&mut self, alpha: f64, tolerance: f64) {
        let limit = tolerance * self.strongest;
        loop {
            let is_free =
                |&column: &usize| self.coefficients[column] != 0.0 || self.slopes[column].abs() > alpha + limit;
            let free: Vec<usize> = (0..self.coefficients.len()).filter(is_free).collect();
            self.multiply(&free);
            self.descend(&free, alpha, limit);
            let outside = |column: usize| self.coefficients[column] == 0.0 && self.slopes[column].abs() > alpha + limit;
            if !(0..self.coefficients.len()).any(|column| outside(column) && free.binary_search(&column).is_err()) {
                return;
            }
        }
    }

    fn is_solved(&self) -> bool {
        self.is_solved
    }

    fn magnitudes(&self) -> Vec<f64> {
        self.coefficients.iter().map(|coefficient| coefficient.abs()).collect()
    }

    #[cfg(test)]
    fn length(&self) -> f64 {
        self.coefficients.iter().map(|coefficient| coefficient.abs()).sum()
    }

    fn unexplained(&self) -> f64 {
        let terms = self.coefficients.iter().zip(&self.products).zip(&self.slopes);
        let explained: f64 = terms.map(|((coefficient, product), slope)| coefficient * (product + slope)).sum();
        if self.spread > 0.0 { 1.0 - explained / (2.0 * self.spread) } else { 0.0 }
    }

    fn loss(&self, columns: &Numbers, rows: &[usize], truth: &Target) -> f64 {
        let Target::Values(values) = truth else { return 0.0 };
        let mut left: Vec<f64> = values.iter().map(|value| value - self.mean).collect();
        for (column, &coefficient) in self.coefficients.iter().enumerate().filter(|(_, value)| **value != 0.0) {
            let scale = self.matrix.scales[column];
            let values = columns.at(column, rows);
            left.iter_mut().zip(values).for_each(|(left, value)| *left -= coefficient * scale.turn(value));
        }
        dot(&left, &left) / left.len() as f64
    }
}
