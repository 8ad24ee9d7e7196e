//! Logistic regression with an L1 penalty: coordinate descent on a quadratic bound of the loss, then a step along the way there (Friedman, Hastie and Tibshirani
//! 2010; Lee, Sun and Saunders 2014), on the columns that have a coefficient or ask for one.
//!
//! Two labels share one vector of coefficients, and the bound is the loss's own second derivative; more labels have one each, and the bound has none between
//! labels: the derivatives by a row's scores are those of a graph, which twice its diagonal exceeds, and so do the probabilities.

use faer::linalg::matmul::triangular::{BlockStructure, matmul};
use faer::{Accum, Mat, MatRef, Par};
use rayon::prelude::*;
use retune_estimators::boosting::Columns;
use retune_stage::Target;
use retune_table::numbers::dot;

use super::{Matrix, Problem, soft};
use crate::trees::Numbers;

/// Steps for a penalty, at most.
const MAX_STEPS: usize = 500;
/// Rounds of coordinate descent for a step, at most.
const MAX_ROUNDS: usize = 100;
/// Rows whose products are summed at once.
const BLOCK: usize = 1024;
/// At most so many sums of products beside each other.
const SUMS: usize = 8;
/// The least probability of a label that is true.
const LEAST: f64 = 1e-15;

/// The mean cross-entropy plus `alpha` times the sum of the coefficients' magnitudes; the intercepts are free. scikit-learn's `C` is `1 / (alpha n)`.
pub(super) struct Logistic {
    matrix: Matrix,
    ones: Vec<f64>,
    /// The labels that there are.
    seen: Vec<u32>,
    /// Each row's label among them.
    labels: Vec<usize>,
    /// For each output, each column's coefficient and the intercept.
    coefficients: Vec<Vec<f64>>,
    /// For each output, each row's score and the derivative of its loss by that.
    scores: Vec<Vec<f64>>,
    slopes: Vec<Vec<f64>>,
    loss: f64,
    /// The loss without any column.
    spread: f64,
    strongest: f64,
}

impl Logistic {
    pub(super) fn new(matrix: Matrix, codes: &[u32], n_classes: usize) -> Self {
        let mut counts: Vec<f64> = vec![0.0; n_classes];
        codes.iter().for_each(|&code| counts[code as usize] += 1.0);
        let seen: Vec<u32> = (0..n_classes as u32).filter(|&code| counts[code as usize] > 0.0).collect();
        let labels: Vec<usize> = codes.iter().map(|code| seen.binary_search(code).unwrap_or(0)).collect();
        let n_rows = matrix.n_rows;
        let count = |at: usize| seen.get(at).map_or(0.0, |&code: &u32| counts[code as usize]);
        let intercepts: Vec<f64> = match seen.len() {
            0 | 1 => Vec::new(),
            2 => vec![(count(1) / count(0)).ln()],
            n => (0..n).map(|at| (count(at) / n_rows as f64).ln()).collect(),
        };
        let coefficients = intercepts.iter().map(|&intercept| {
            let mut coefficients = vec![0.0; matrix.n_columns() + 1];
            coefficients[matrix.n_columns()] = intercept;
            coefficients
        });
        let mut problem = Self {
            ones: vec![1.0; n_rows],
            coefficients: coefficients.collect(),
            scores: intercepts.iter().map(|&intercept| vec![intercept; n_rows]).collect(),
            slopes: vec![vec![0.0; n_rows]; intercepts.len()],
            matrix,
            seen,
            labels,
            loss: 0.0,
            spread: 0.0,
            strongest: 0.0,
        };
        problem.loss = problem.differentiate();
        problem.spread = problem.loss;
        let all: Vec<usize> = (0..problem.matrix.n_columns()).collect();
        let gradient = problem.gradient(&all);
        problem.strongest = gradient.iter().flatten().fold(0.0, |greatest: f64, slope| greatest.max(slope.abs()));
        problem
    }

    fn column(&self, at: usize) -> &[f64] {
        if at < self.matrix.n_columns() { self.matrix.column(at) } else { &self.ones }
    }

    /// The mean loss; the slopes become those at the scores.
    fn differentiate(&mut self) -> f64 {
        let n = self.labels.len() as f64;
        if let ([scores], [slopes]) = (self.scores.as_slice(), self.slopes.as_mut_slice()) {
            let rows = scores.iter().zip(slopes).zip(&self.labels);
            let loss = |((&score, slope), &label): ((&f64, &mut f64), &usize)| {
                let (small, truth) = ((-score.abs()).exp(), label as f64);
                let probability = if score >= 0.0 { 1.0 } else { small } / (1.0 + small);
                *slope = probability - truth;
                score.max(0.0) + small.ln_1p() - truth * score
            };
            return rows.map(loss).sum::<f64>() / n;
        }
        let mut total = 0.0;
        for (row, &label) in self.labels.iter().enumerate() {
            let greatest = self.scores.iter().map(|scores| scores[row]).fold(f64::NEG_INFINITY, f64::max);
            let mut sum = 0.0;
            for (scores, slopes) in self.scores.iter().zip(&mut self.slopes) {
                slopes[row] = (scores[row] - greatest).exp();
                sum += slopes[row];
            }
            self.slopes.iter_mut().for_each(|slopes| slopes[row] /= sum);
            if let (Some(slopes), Some(scores)) = (self.slopes.get_mut(label), self.scores.get(label)) {
                slopes[row] -= 1.0;
                total += sum.ln() + greatest - scores[row];
            }
        }
        total / n
    }

    /// For each output, the derivatives by some coefficients.
    fn gradient(&self, columns: &[usize]) -> Vec<Vec<f64>> {
        let n = self.labels.len() as f64;
        let by = |slopes: &Vec<f64>| {
            columns.par_iter().with_min_len(8).map(|&column| dot(self.column(column), slopes) / n).collect()
        };
        self.slopes.iter().map(by).collect()
    }

    /// For each output, what bounds the second derivatives by some coefficients: the lower triangle.
    fn bounds(&self, columns: &[usize]) -> Vec<Mat<f64>> {
        let n = self.labels.len() as f64;
        let bound = |(output, slopes): (usize, &Vec<f64>)| {
            let weight = |row: usize| {
                let truth = if self.slopes.len() == 1 {
                    self.labels[row] as f64
                } else {
                    f64::from(u8::from(self.labels[row] == output))
                };
                let probability = slopes[row] + truth;
                let diagonal = probability * (1.0 - probability);
                if self.slopes.len() == 1 { diagonal } else { probability.min(2.0 * diagonal) }
            };
            self.products(columns, |row| (weight(row).max(0.0) / n).sqrt())
        };
        self.slopes.iter().enumerate().map(bound).collect()
    }

    /// The sums over the rows of the products of columns, each times a root.
    fn products(&self, columns: &[usize], root: impl Fn(usize) -> f64 + Sync) -> Mat<f64> {
        let (n_rows, width) = (self.labels.len(), columns.len());
        let share = n_rows.div_ceil(SUMS).next_multiple_of(BLOCK);
        let sum = |first: usize| {
            let mut sums = Mat::zeros(width, width);
            let end = n_rows.min(first + share);
            for first in (first..end).step_by(BLOCK) {
                let rows = first..end.min(first + BLOCK);
                let roots: Vec<f64> = rows.clone().map(&root).collect();
                let cells = columns.iter().flat_map(|&column| {
                    self.column(column)[rows.clone()].iter().zip(&roots).map(|(value, root)| value * root)
                });
                let block: Vec<f64> = cells.collect();
                let block = MatRef::from_column_major_slice(&block, rows.len(), width);
                let (whole, lower) = (BlockStructure::Rectangular, BlockStructure::TriangularLower);
                matmul(sums.as_mut(), lower, Accum::Add, block.transpose(), whole, block, whole, 1.0, Par::Seq);
            }
            sums
        };
        let firsts: Vec<usize> = (0..n_rows).step_by(share.max(1)).collect();
        let sums: Vec<Mat<f64>> = firsts.into_par_iter().map(sum).collect();
        sums.into_iter().fold(Mat::zeros(width, width), |total, sum| total + sum)
    }

    /// How far the subgradient by a coefficient is from 0.
    fn miss(&self, coefficient: f64, slope: f64, penalty: f64) -> f64 {
        if coefficient == 0.0 {
            (slope.abs() - penalty).max(0.0)
        } else {
            (slope + penalty * coefficient.signum()).abs()
        }
    }

    fn penalty(&self, column: usize, alpha: f64) -> f64 {
        if column < self.matrix.n_columns() { alpha } else { 0.0 }
    }

    /// The greatest miss among some coefficients.
    fn greatest_miss(&self, columns: &[usize], gradient: &[Vec<f64>], alpha: f64) -> f64 {
        let misses = self.coefficients.iter().zip(gradient).flat_map(|(coefficients, gradient)| {
            let pairs = columns.iter().zip(gradient);
            pairs.map(|(&column, &slope)| self.miss(coefficients[column], slope, self.penalty(column, alpha)))
        });
        misses.fold(0.0, f64::max)
    }

    /// Solves for some columns and the intercept.
    fn descend(&mut self, columns: &[usize], alpha: f64, limit: f64) {
        let mut gradient = self.gradient(columns);
        let mut miss = self.greatest_miss(columns, &gradient, alpha);
        let mut bounds = None;
        for _ in 0..MAX_STEPS {
            if miss <= limit {
                return;
            }
            let known = bounds.get_or_insert_with(|| self.bounds(columns));
            let steps: Vec<Vec<f64>> = (0..gradient.len())
                .map(|output| {
                    self.way(columns, output, &gradient[output], &known[output], alpha, 0.1 * miss.min(limit * 1e3))
                })
                .collect();
            let Some(share) = self.go(columns, &steps, &gradient, alpha) else { return };
            gradient = self.gradient(columns);
            let now = self.greatest_miss(columns, &gradient, alpha);
            if share < 1.0 || now > 0.3 * miss {
                bounds = None;
            }
            miss = now;
        }
    }

    /// The step to where the bound is least.
    fn way(
        &self,
        columns: &[usize],
        output: usize,
        gradient: &[f64],
        bound: &Mat<f64>,
        alpha: f64,
        limit: f64,
    ) -> Vec<f64> {
        let at = |a: usize, b: usize| bound[(a.max(b), a.min(b))];
        let rows: Vec<Vec<f64>> = (0..columns.len()).map(|a| (0..columns.len()).map(|b| at(a, b)).collect()).collect();
        let coefficients = &self.coefficients[output];
        let (mut slopes, mut steps) = (gradient.to_vec(), vec![0.0; columns.len()]);
        for _ in 0..MAX_ROUNDS {
            let mut farthest: f64 = 0.0;
            for (place, &column) in columns.iter().enumerate() {
                // What all but vanishes where rows are told apart without doubt must not throw the search far off.
                let curve = rows[place][place].max(1e-9);
                let now = coefficients[column] + steps[place];
                let step = soft(now - slopes[place] / curve, self.penalty(column, alpha) / curve) - now;
                if step != 0.0 {
                    steps[place] += step;
                    slopes.iter_mut().zip(&rows[place]).for_each(|(slope, bound)| *slope += step * bound);
                    farthest = farthest.max(step.abs() * curve);
                }
            }
            if farthest <= limit {
                break;
            }
        }
        // A coefficient that went back to 0 is 0.
        for (step, &column) in steps.iter_mut().zip(columns) {
            if (coefficients[column] + *step).abs() <= 1e-15 * coefficients[column].abs() {
                *step = -coefficients[column];
            }
        }
        steps
    }

    /// Takes the greatest share of a step - all of it, a half, a quarter ... - that lowers the objective as far as it should. `None` where none does.
    fn go(&mut self, columns: &[usize], steps: &[Vec<f64>], gradient: &[Vec<f64>], alpha: f64) -> Option<f64> {
        let mut expected = 0.0;
        for ((coefficients, steps), gradient) in self.coefficients.iter().zip(steps).zip(gradient) {
            for ((&column, step), slope) in columns.iter().zip(steps).zip(gradient) {
                let (before, penalty) = (coefficients[column], self.penalty(column, alpha));
                expected += slope * step + penalty * ((before + step).abs() - before.abs());
            }
        }
        let changes: Vec<Vec<f64>> = steps.iter().map(|steps| self.combined(columns, steps)).collect();
        let (before, mut taken) = (self.loss, 0.0);
        let penalised = |coefficients: &[Vec<f64>], share: f64| {
            let outputs = coefficients.iter().zip(steps);
            let each = outputs.flat_map(|(coefficients, steps)| {
                columns.iter().zip(steps).map(move |(&column, step)| (column, coefficients[column] + share * step))
            });
            each.map(|(column, value)| self.penalty(column, alpha) * value.abs()).sum::<f64>()
        };
        let penalties: Vec<f64> = (0..30).map(|halving| penalised(&self.coefficients, 0.5_f64.powi(halving))).collect();
        let penalty_before = penalised(&self.coefficients, 0.0);
        for (halving, penalty) in penalties.into_iter().enumerate() {
            let share = 0.5_f64.powi(halving as i32);
            for (scores, changes) in self.scores.iter_mut().zip(&changes) {
                scores.iter_mut().zip(changes).for_each(|(score, change)| *score += (share - taken) * change);
            }
            taken = share;
            self.loss = self.differentiate();
            // Rounding must not stop the last steps.
            if self.loss + penalty <= before + penalty_before + 0.01 * share * expected.min(0.0) + 1e-14 {
                for (coefficients, steps) in self.coefficients.iter_mut().zip(steps) {
                    columns.iter().zip(steps).for_each(|(&column, step)| coefficients[column] += share * step);
                }
                return Some(share);
            }
        }
        for (scores, changes) in self.scores.iter_mut().zip(&changes) {
            scores.iter_mut().zip(changes).for_each(|(score, change)| *score -= taken * change);
        }
        self.loss = self.differentiate();
        None
    }

    /// Each row's sum of some columns, each times its number.
    fn combined(&self, columns: &[usize], by: &[f64]) -> Vec<f64> {
        let mut sums = vec![0.0; self.labels.len()];
        sums.par_chunks_mut(BLOCK).enumerate().for_each(|(block, sums)| {
            let first = block * BLOCK;
            for (&column, by) in columns.iter().zip(by).filter(|(_, by)| **by != 0.0) {
                let values = &self.column(column)[first..first + sums.len()];
                sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += by * value);
            }
        });
        sums
    }
}

impl Problem for Logistic {
    fn strongest(&self) -> f64 {
        self.strongest
    }

    fn solve(&mut self, alpha: f64, tolerance: f64) {
        let limit = tolerance * self.strongest;
        let intercept = self.matrix.n_columns();
        let all: Vec<usize> = (0..intercept).collect();
        let mut free: Vec<usize> = Vec::new();
        loop {
            let gradient = self.gradient(&all);
            let asks = |&column: &usize| {
                self.coefficients.iter().zip(&gradient).any(|(coefficients, gradient)| {
                    coefficients[column] != 0.0 || gradient[column].abs() > alpha + limit
                })
            };
            let asking: Vec<usize> = all.iter().copied().filter(asks).chain([intercept]).collect();
            if asking.iter().all(|column| free.binary_search(column).is_ok()) {
                return;
            }
            free.extend(asking);
            free.sort_unstable();
            free.dedup();
            self.descend(&free, alpha, limit);
        }
    }

    fn magnitudes(&self) -> Vec<f64> {
        let square =
            |column: usize| self.coefficients.iter().map(|coefficients| coefficients[column].powi(2)).sum::<f64>();
        (0..self.matrix.n_columns()).map(|column| square(column).sqrt()).collect()
    }

    fn unexplained(&self) -> f64 {
        if self.spread > 0.0 { self.loss / self.spread } else { 0.0 }
    }

    fn loss(&self, columns: &Numbers, rows: &[usize], truth: &Target) -> f64 {
        let Target::Classes { codes, .. } = truth else { return 0.0 };
        let intercept = self.matrix.n_columns();
        let mut scores: Vec<Vec<f64>> =
            self.coefficients.iter().map(|coefficients| vec![coefficients[intercept]; rows.len()]).collect();
        for column in 0..intercept {
            if self.coefficients.iter().all(|coefficients| coefficients[column] == 0.0) {
                continue;
            }
            let scale = self.matrix.scales[column];
            let values: Vec<f64> = columns.at(column, rows).into_iter().map(|value| scale.turn(value)).collect();
            for (scores, coefficients) in scores.iter_mut().zip(&self.coefficients) {
                scores.iter_mut().zip(&values).for_each(|(score, value)| *score += coefficients[column] * value);
            }
        }
        let probability = |row: usize, label: Option<usize>| match (scores.as_slice(), label) {
            (_, None) => 0.0,
            ([scores], Some(label)) => 1.0 / (1.0 + (if label == 1 { -scores[row] } else { scores[row] }).exp()),
            (_, Some(label)) => {
                let sum: f64 = scores.iter().map(|others| (others[row] - scores[label][row]).exp()).sum();
                if sum > 0.0 { sum.recip() } else { 1.0 }
            }
        };
        let loss = |(row, code)| -probability(row, self.seen.binary_search(code).ok()).max(LEAST).ln();
        codes.iter().enumerate().map(loss).sum::<f64>() / codes.len().max(1) as f64
    }
}
