//! Linear support vector machines.
//!
//! With squared losses and more rows than columns, Newton's method, which ends after finitely many steps (Keerthi and DeCoste 2005); otherwise coordinate descent on the
//! dual with shrinking (Hsieh et al. 2008 for labels, Ho and Lin 2012 for values), as liblinear.

use faer::linalg::solvers::{Llt, Solve};
use faer::{Mat, MatRef, Side};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use retune_metrics::Prediction;
use retune_spec::estimators::{LinearSvm, MarginLoss};
use retune_stage::{Design, LoadDir, Progress, Result, SaveDir, Seed, StageError, Task};
use retune_table::numbers::dot;
use serde::{Deserialize, Serialize};

use super::Predicts;
use crate::family::{Family, Learned};
use crate::labels::stored;
use crate::products::{add_products, mirror, rows_at_once};
use crate::rows::{check_width, class_weights, row_weights};
use crate::{FitInfo, FitOptions};

/// Newton's method is used for at most so many columns.
const MAX_NEWTON: usize = 2000;
/// Halvings of a step of Newton's method.
const HALVINGS: i32 = 40;
/// Rows that one thread sums.
const BLOCK: usize = 2048;

/// A trained linear support vector machine.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedLinearSvm {
    /// One row for each label seen in training; one row where they were two, for the second, and for values [outputs, features].
    pub coefficients: Array2<f64>,
    /// One for each row of coefficients.
    pub intercepts: Array1<f64>,
    card: Card,
}

/// What `linear_svm.json` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Card {
    predicts: Predicts,
    /// The most passes, or steps of Newton's method, of any output.
    iterations: usize,
}

/// One output to learn: coefficients, of which the last is that of a column of ones.
struct Problem<'a> {
    features: ArrayView2<'a, f64>,
    target: Vec<f64>,
    /// The weight of each row's loss.
    costs: Vec<f64>,
    loss: Loss,
    tolerance: f64,
    max_iterations: usize,
}

/// The loss of a score.
#[derive(Clone, Copy)]
struct Loss {
    is_squared: bool,
    kind: LossKind,
}

#[derive(Clone, Copy)]
enum LossKind {
    /// Of labels -1 and 1: how far the label times the score is below 1.
    Margin,
    /// Of values: how far the error exceeds this.
    Error(f64),
}

/// Coefficients, iterations, and whether they sufficed.
struct Found {
    coefficients: Vec<f64>,
    iterations: usize,
    converged: bool,
}

impl Loss {
    /// How much less the score should be for the loss to vanish.
    fn miss(&self, score: f64, target: f64) -> f64 {
        let error = score - target;
        match self.kind {
            LossKind::Margin => {
                if error * target < 0.0 {
                    error
                } else {
                    0.0
                }
            }
            LossKind::Error(free) => error.signum() * (error.abs() - free).max(0.0),
        }
    }
}

impl Family for LinearSvm {
    type Learned = FittedLinearSvm;

    /// The weight of a label counts where it is told from the rest, not where it is among the rest, as in liblinear.
    fn learn(&self, rows: &Design, _task: &Task, options: &FitOptions) -> Result<(FittedLinearSvm, FitInfo)> {
        let row_weights = row_weights(rows, None)?.unwrap_or_else(|| vec![1.0; rows.n_rows()]);
        let predicts = Predicts::of(rows, &row_weights)?;
        let of_labels = class_weights(self.class_weight, rows)?;
        let target = predicts.target(rows)?;
        let features = rows.features.as_standard_layout();
        let kind = if predicts == Predicts::Values { LossKind::Error(self.epsilon) } else { LossKind::Margin };
        let loss = Loss { is_squared: self.loss == MarginLoss::SquaredHinge, kind };
        let n_outputs = if predicts.n_seen() == 2 { 1 } else { predicts.n_seen() };
        let fit = |output: usize| {
            let problem = Problem {
                features: features.view(),
                target: target.iter().map(|&value| aim(&predicts, value, output)).collect(),
                costs: (0..target.len())
                    .map(|row| {
                        self.c * row_weights[row] * label_weight(&predicts, of_labels.as_deref(), target[row], output)
                    })
                    .collect(),
                loss,
                tolerance: self.tolerance,
                max_iterations: self.max_iterations,
            };
            problem.solve(options.seed.derive(&output.to_string()), options.progress)
        };
        let found: Vec<Found> = (0..n_outputs).into_par_iter().map(fit).collect::<Result<_>>()?;
        let mut info = FitInfo::default();
        if found.iter().any(|found| !found.converged) {
            info.notes.push(format!(
                "linear_svm did not converge in {} iterations; scale the columns, or raise `max_iterations` or `tolerance`",
                self.max_iterations
            ));
        }
        let iterations = found.iter().map(|found| found.iterations).max().unwrap_or(0);
        let n_features = features.ncols();
        let mut coefficients = Array2::zeros((n_outputs, n_features));
        for (mut row, found) in coefficients.rows_mut().into_iter().zip(&found) {
            row.assign(&ArrayView1::from(&found.coefficients[..n_features]));
        }
        let intercepts = found.iter().map(|found| found.coefficients[n_features]).collect();
        Ok((FittedLinearSvm { coefficients, intercepts, card: Card { predicts, iterations } }, info))
    }
}

/// How much the label of a row adds to its weight where an output is learned.
fn label_weight(predicts: &Predicts, weights: Option<&[f64]>, target: f64, output: usize) -> f64 {
    match (predicts, weights) {
        (Predicts::Labels { seen, .. }, Some(weights)) if seen.len() == 2 || target as usize == output => {
            weights[seen[target as usize] as usize]
        }
        _ => 1.0,
    }
}

/// A value, or 1 where the label is that of the output and -1 elsewhere.
fn aim(predicts: &Predicts, target: f64, output: usize) -> f64 {
    match predicts.n_seen() {
        1 => target,
        2 => 2.0 * target - 1.0,
        _ => {
            if target as usize == output {
                1.0
            } else {
                -1.0
            }
        }
    }
}

impl Problem<'_> {
    fn solve(&self, seed: Seed, progress: &dyn Progress) -> Result<Found> {
        let (n_rows, n_features) = self.features.dim();
        if self.loss.is_squared && n_features < n_rows && n_features <= MAX_NEWTON {
            self.newton(progress)
        } else {
            self.descend(seed, progress)
        }
    }

    /// Newton's method on the objective itself.
    fn newton(&self, progress: &dyn Progress) -> Result<Found> {
        let mut coefficients = vec![0.0; self.features.ncols() + 1];
        let mut scores = vec![0.0; self.target.len()];
        let (mut objective, mut gradient) = self.objective(&coefficients, &scores);
        let greatest = |gradient: &[f64]| gradient.iter().fold(0.0, |greatest: f64, slope| greatest.max(slope.abs()));
        let limit = self.tolerance * greatest(&gradient);
        let mut iterations = 0;
        while greatest(&gradient) > limit && iterations < self.max_iterations {
            progress.check_cancelled()?;
            iterations += 1;
            let direction = self.direction(&scores, &gradient)?;
            let changes = self.scores(&direction);
            let slope = dot(&direction, &gradient);
            let rounding = 16.0 * f64::EPSILON * objective;
            let along = |share: f64| {
                let move_by = |values: &[f64], by: &[f64]| values.iter().zip(by).map(|(a, b)| a + share * b).collect();
                let (coefficients, scores): (Vec<f64>, Vec<f64>) =
                    (move_by(&coefficients, &direction), move_by(&scores, &changes));
                let (value, gradient) = self.objective(&coefficients, &scores);
                (value <= objective + 1e-4 * share * slope + rounding).then_some((
                    coefficients,
                    scores,
                    value,
                    gradient,
                ))
            };
            let Some(next) = (0..HALVINGS).find_map(|halving| along(0.5_f64.powi(halving))) else { break };
            let is_end = next.2 >= objective;
            (coefficients, scores, objective, gradient) = next;
            // Rounding leaves nothing to gain.
            if is_end {
                return Ok(Found { coefficients, iterations, converged: true });
            }
        }
        Ok(Found { coefficients, iterations, converged: greatest(&gradient) <= limit })
    }

    /// The scores of all rows.
    fn scores(&self, coefficients: &[f64]) -> Vec<f64> {
        let n_features = self.features.ncols();
        let (weights, intercept) = coefficients.split_at(n_features);
        let score = |row: usize| dot(self.row(row), weights) + intercept[0];
        (0..self.target.len()).into_par_iter().with_min_len(BLOCK / 8).map(score).collect()
    }

    fn row(&self, row: usize) -> &[f64] {
        self.features.row(row).to_slice().unwrap_or_default()
    }

    /// Half the squared norm plus the losses, and its gradient.
    fn objective(&self, coefficients: &[f64], scores: &[f64]) -> (f64, Vec<f64>) {
        let n_features = self.features.ncols();
        let block = |rows: std::ops::Range<usize>| {
            let (mut sum, mut gradient) = (0.0, vec![0.0; n_features + 1]);
            for row in rows {
                let miss = self.loss.miss(scores[row], self.target[row]);
                if miss != 0.0 {
                    let slope = 2.0 * self.costs[row] * miss;
                    sum += 0.5 * slope * miss;
                    gradient.iter_mut().zip(self.row(row)).for_each(|(total, value)| *total += slope * value);
                    gradient[n_features] += slope;
                }
            }
            (sum, gradient)
        };
        let blocks: Vec<_> = ranges(self.target.len()).into_par_iter().map(block).collect();
        let start = (0.5 * dot(coefficients, coefficients), coefficients.to_vec());
        blocks.into_iter().fold(start, |(value, mut gradient), (sum, slopes)| {
            gradient.iter_mut().zip(slopes).for_each(|(total, slope)| *total += slope);
            (value + sum, gradient)
        })
    }

    /// Minus the inverse of the second derivatives times the gradient.
    fn direction(&self, scores: &[f64], gradient: &[f64]) -> Result<Vec<f64>> {
        let width = gradient.len();
        let misses = |&row: &usize| self.loss.miss(scores[row], self.target[row]) != 0.0 && self.costs[row] > 0.0;
        let rows: Vec<usize> = (0..self.target.len()).filter(misses).collect();
        let mut sums = vec![0.0; width * width];
        for rows in rows.chunks(rows_at_once(width)) {
            let mut cells = vec![0.0; rows.len() * width];
            for (at, &row) in rows.iter().enumerate() {
                let root = (2.0 * self.costs[row]).sqrt();
                let values = self.row(row).iter().chain(&[1.0]);
                values.enumerate().for_each(|(column, value)| cells[column * rows.len() + at] = root * value);
            }
            add_products(&mut sums, MatRef::from_column_major_slice(&cells, rows.len(), width), 0, 1.0);
        }
        mirror(&mut sums, width);
        (0..width).for_each(|at| sums[at * width + at] += 1.0);
        let bend = Llt::new(MatRef::from_column_major_slice(&sums, width, width), Side::Lower).map_err(|error| {
            StageError::failed(format!("the second derivatives of linear_svm: {error:?}"))
                .help("scale the columns: `standard_scale`")
        })?;
        let solved = bend.solve(Mat::from_fn(width, 1, |at, _| -gradient[at]));
        Ok((0..width).map(|at| solved[(at, 0)]).collect())
    }

    /// Coordinate descent on the dual: each row has a variable, and the coefficients are the sum of the rows times them.
    fn descend(&self, seed: Seed, progress: &dyn Progress) -> Result<Found> {
        let n_features = self.features.ncols();
        let mut dual = Dual::of(self);
        let mut random = ChaCha8Rng::seed_from_u64(seed.0);
        let all: Vec<usize> = (0..self.target.len()).filter(|&row| self.costs[row] > 0.0).collect();
        let mut active = all.clone();
        let first = all.iter().map(|&row| dual.violation(row, -self.target[row])).fold(0.0, f64::max);
        let limit = self.tolerance * first;
        let (mut last, mut passes) = (f64::INFINITY, 0);
        while passes < self.max_iterations {
            progress.check_cancelled()?;
            passes += 1;
            active.shuffle(&mut random);
            let mut greatest: f64 = 0.0;
            let rows = std::mem::take(&mut active);
            for row in rows {
                let values = self.row(row);
                let score = dot(&dual.coefficients[..n_features], values) + dual.coefficients[n_features];
                let slope = score - self.target[row] + dual.ridge[row] * dual.variables[row];
                let violation = dual.violation(row, slope);
                if violation == 0.0 && dual.is_settled(row, slope, last) {
                    continue;
                }
                active.push(row);
                greatest = greatest.max(violation);
                if violation > 0.0 {
                    let step = dual.step(row, slope);
                    let (weights, intercept) = dual.coefficients.split_at_mut(n_features);
                    weights.iter_mut().zip(values).for_each(|(weight, value)| *weight += step * value);
                    intercept[0] += step;
                }
            }
            last = if greatest > 0.0 { greatest } else { f64::INFINITY };
            if greatest <= limit {
                if active.len() == all.len() {
                    return Ok(Found { coefficients: dual.coefficients, iterations: passes, converged: true });
                }
                // What was set aside must be looked at before the end.
                active.clone_from(&all);
                last = f64::INFINITY;
            }
        }
        Ok(Found { coefficients: dual.coefficients, iterations: passes, converged: false })
    }
}

fn ranges(n_rows: usize) -> Vec<std::ops::Range<usize>> {
    (0..n_rows).step_by(BLOCK).map(|first| first..n_rows.min(first + BLOCK)).collect()
}

/// The dual variables: each between its bounds, with a kink at 0 where small errors cost nothing.
struct Dual {
    variables: Vec<f64>,
    bounds: Vec<(f64, f64)>,
    /// What a squared loss adds to the second derivatives, which `bends` holds.
    ridge: Vec<f64>,
    bends: Vec<f64>,
    kink: f64,
    coefficients: Vec<f64>,
}

impl Dual {
    fn of(problem: &Problem) -> Self {
        let (n_rows, n_features) = problem.features.dim();
        let squared = problem.loss.is_squared;
        let bounds = |row: usize| {
            let most = if squared { f64::INFINITY } else { problem.costs[row] };
            match problem.loss.kind {
                LossKind::Error(_) => (-most, most),
                LossKind::Margin if problem.target[row] > 0.0 => (0.0, most),
                LossKind::Margin => (-most, 0.0),
            }
        };
        let ridge: Vec<f64> = problem.costs.iter().map(|cost| if squared { 0.5 / cost } else { 0.0 }).collect();
        let bend = |row: usize| dot(problem.row(row), problem.row(row)) + 1.0 + ridge[row];
        Self {
            variables: vec![0.0; n_rows],
            bounds: (0..n_rows).map(bounds).collect(),
            bends: (0..n_rows).map(bend).collect(),
            ridge,
            kink: if let LossKind::Error(free) = problem.loss.kind { free } else { 0.0 },
            coefficients: vec![0.0; n_features + 1],
        }
    }

    /// The derivatives to the left and to the right of a variable, from that without the kink.
    fn slopes(&self, row: usize, slope: f64) -> (f64, f64) {
        let variable = self.variables[row];
        let left = if variable > 0.0 { self.kink } else { -self.kink };
        let right = if variable < 0.0 { -self.kink } else { self.kink };
        (slope + left, slope + right)
    }

    /// How fast the objective falls where the variable moves the way it may.
    fn violation(&self, row: usize, slope: f64) -> f64 {
        let ((left, right), (least, most)) = (self.slopes(row, slope), self.bounds[row]);
        let variable = self.variables[row];
        let up = if variable < most { -right } else { 0.0 };
        let down = if variable > least { left } else { 0.0 };
        up.max(down).max(0.0)
    }

    /// Whether a variable that violates nothing is farther from doing so than others violated in the last pass.
    fn is_settled(&self, row: usize, slope: f64, last: f64) -> bool {
        let ((left, right), (least, most)) = (self.slopes(row, slope), self.bounds[row]);
        let variable = self.variables[row];
        (variable >= most || right > last) && (variable <= least || left < -last)
    }

    /// Moves a variable to where the objective is least; returns by how much.
    fn step(&mut self, row: usize, slope: f64) -> f64 {
        let (before, bend, (least, most)) = (self.variables[row], self.bends[row], self.bounds[row]);
        let aim = bend * before - slope;
        let after = (aim.signum() * (aim.abs() - self.kink).max(0.0) / bend).clamp(least, most);
        self.variables[row] = after;
        after - before
    }
}

impl Learned for FittedLinearSvm {
    fn predict(&self, features: ArrayView2<f64>) -> Result<Prediction> {
        check_width(features, self.coefficients.ncols())?;
        let decide = |features: ArrayView2<f64>| features.dot(&self.coefficients.t()) + &self.intercepts;
        Ok(self.card.predicts.predict(features, decide, |decisions, mut scores| scores.assign(&decisions)))
    }

    fn describe(&self) -> String {
        let (n_features, iterations) = (self.coefficients.ncols(), self.card.iterations);
        format!("a linear support vector machine of {n_features} features after {iterations} iterations")
    }

    fn size(&self) -> usize {
        self.coefficients.len() + self.intercepts.len()
    }

    fn save(&self, dir: &SaveDir) -> Result<()> {
        dir.json("linear_svm.json", &self.card)?;
        let intercepts = self.intercepts.view().insert_axis(Axis(1));
        dir.matrices(
            "coefficients.safetensors",
            &[("coefficients", self.coefficients.view()), ("intercepts", intercepts)],
        )
    }

    fn load(dir: &LoadDir) -> Result<Self> {
        let card: Card = dir.json("linear_svm.json")?;
        if !card.predicts.is_sound() {
            return Err(StageError::failed("linear_svm.json names labels that cannot be").help("train the model again"));
        }
        let mut matrices = dir.matrices("coefficients.safetensors")?;
        let outputs = if card.predicts.n_seen() == 2 { 1 } else { card.predicts.n_seen() };
        let coefficients = stored(&mut matrices, "coefficients", (outputs, None))?;
        let intercepts = stored(&mut matrices, "intercepts", (outputs, Some(1)))?;
        Ok(Self { coefficients, intercepts: intercepts.column(0).to_owned(), card })
    }
}
