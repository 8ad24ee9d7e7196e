//! Multinomial logistic regression by L-BFGS on blocked matrix products; with an L1 penalty, by Newton steps.
//!
//! The objective is scikit-learn's: the weighted mean of the cross-entropy plus `l2 / (2 * sum of weights)` times the squared norm of the coefficients,
//! where two labels share one vector of coefficients and more have one each. The search runs on centred columns scaled by the diagonal of the Hessian
//! at zero, which moves no optimum and makes it converge where columns differ by orders of magnitude. Rows are summed in blocks of a fixed size and
//! in their order, so that the result does not depend on the number of threads.

mod newton;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayViewMut2, Axis, s};
use rayon::prelude::*;
use retune_metrics::Prediction;
use retune_spec::estimators::LogisticRegression;
use retune_stage::{Design, LoadDir, Progress, Result, SaveDir, StageError, Task};
use serde::{Deserialize, Serialize};

use crate::family::{Family, Learned};
use crate::lbfgs::{Objective, minimise};
use crate::rows::{check_finite, check_width, class_weights, codes, moments, row_weights};
use crate::{FitInfo, FitOptions};

/// Rows of a tile, which stays in the cache between the two products.
const TILE: usize = 256;
/// At most so many blocks, each with a gradient of its own.
const BLOCKS: usize = 64;

/// A trained logistic regression.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedLogistic {
    /// One row for each label that the training rows had; one row, for the second, where they had two [outputs, features].
    pub coefficients: Array2<f64>,
    /// One for each row of coefficients.
    pub intercepts: Array1<f64>,
    card: Card,
}

/// What `logistic.json` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Card {
    n_classes: usize,
    /// The codes of the labels that the training rows had; the others have probability 0.
    seen: Vec<u32>,
    iterations: usize,
    converged: bool,
}

/// Trains on rows. A search that does not converge is a note, not an error.
pub fn fit(spec: &LogisticRegression, rows: &Design, options: &FitOptions) -> Result<(FittedLogistic, FitInfo)> {
    fit_from(spec, rows, options, None)
}

/// Trains on rows, beginning at `start` where it has the same features and labels: a few iterations where the penalty or the rows differ little.
pub fn fit_from(
    spec: &LogisticRegression,
    rows: &Design,
    options: &FitOptions,
    start: Option<&FittedLogistic>,
) -> Result<(FittedLogistic, FitInfo)> {
    check_finite(rows)?;
    fit_finite(spec, rows, options, start)
}

fn fit_finite(
    spec: &LogisticRegression,
    rows: &Design,
    options: &FitOptions,
    start: Option<&FittedLogistic>,
) -> Result<(FittedLogistic, FitInfo)> {
    let (codes, n_classes) = codes(rows)?;
    let mut counts = vec![0_usize; n_classes];
    codes.iter().for_each(|&code| counts[code as usize] += 1);
    let seen: Vec<u32> = (0..n_classes as u32).filter(|&code| counts[code as usize] > 0).collect();
    if seen.len() < 2 {
        return Err(
            StageError::data("all training rows have the same label").help("a model needs rows of two labels at least")
        );
    }
    let weights = row_weights(rows, class_weights(spec.class_weight, rows)?.as_deref())?;
    let loss = Loss::new(spec, rows, codes, &seen, weights, options.progress);
    let point =
        match start.filter(|start| start.card.seen == seen && start.coefficients.ncols() == rows.features.ncols()) {
            Some(start) => loss.point(start.coefficients.view(), start.intercepts.view()),
            None => vec![0.0; loss.outputs * (rows.features.ncols() + 1)],
        };
    let minimum = if spec.l1 > 0.0 {
        newton::minimise(&loss, point, spec.max_iterations)?
    } else {
        minimise(&loss, point, spec.max_iterations)?
    };
    let (coefficients, mut intercepts) = loss.parameters(&minimum.point);
    if intercepts.len() > 1 {
        // What is added to all of them moves no probability; scikit-learn's sum to 0.
        intercepts -= intercepts.mean().unwrap_or(0.0);
    }
    if !minimum.value.is_finite() || coefficients.iter().chain(&intercepts).any(|value| !value.is_finite()) {
        return Err(StageError::failed("the logistic regression diverged: its loss is not finite")
            .help("scale the columns: `standard_scale`"));
    }
    let mut info = FitInfo::default();
    if !minimum.converged {
        let limit = spec.max_iterations;
        info.notes.push(format!(
            "logistic_regression did not converge in {limit} iterations; raise `max_iterations`, `tolerance` or `l2`"
        ));
    }
    let card = Card { n_classes, seen, iterations: minimum.iterations, converged: minimum.converged };
    Ok((FittedLogistic { coefficients, intercepts, card }, info))
}

impl Family for LogisticRegression {
    type Learned = FittedLogistic;

    fn learn(&self, rows: &Design, _task: &Task, options: &FitOptions) -> Result<(FittedLogistic, FitInfo)> {
        fit_finite(self, rows, options, None)
    }
}

impl Learned for FittedLogistic {
    fn predict(&self, features: ArrayView2<f64>) -> Result<Prediction> {
        check_width(features, self.coefficients.ncols())?;
        let mut probabilities = Array2::zeros((features.nrows(), self.card.n_classes));
        let blocks = probabilities.axis_chunks_iter_mut(Axis(0), TILE).into_par_iter();
        blocks.zip(features.axis_chunks_iter(Axis(0), TILE)).for_each(|(mut probabilities, features)| {
            let mut scores = Array2::zeros((features.nrows(), self.intercepts.len()));
            score(features, self.coefficients.view(), self.intercepts.view(), scores.view_mut());
            for (scores, mut probabilities) in scores.rows().into_iter().zip(probabilities.rows_mut()) {
                self.spread(scores, |code, probability| probabilities[code] = probability);
            }
        });
        Ok(Prediction::Probabilities(probabilities))
    }

    fn describe(&self) -> String {
        let (iterations, converged) = self.search();
        let end = if converged { "converged after" } else { "not converged after" };
        format!("a logistic regression of {} features, {end} {iterations} iterations", self.coefficients.ncols())
    }

    fn size(&self) -> usize {
        self.coefficients.len() + self.intercepts.len()
    }

    fn save(&self, dir: &SaveDir) -> Result<()> {
        dir.json("logistic.json", &self.card)?;
        let intercepts = self.intercepts.view().insert_axis(Axis(1));
        dir.matrices(
            "coefficients.safetensors",
            &[("coefficients", self.coefficients.view()), ("intercepts", intercepts)],
        )
    }

    fn load(dir: &LoadDir) -> Result<Self> {
        let card: Card = dir.json("logistic.json")?;
        let mut matrices = dir.matrices("coefficients.safetensors")?;
        let outputs = if card.seen.len() == 2 { 1 } else { card.seen.len() };
        let mut take = |name| matrices.remove(name).filter(|matrix| matrix.nrows() == outputs);
        match (take("coefficients"), take("intercepts")) {
            (Some(coefficients), Some(intercepts)) if intercepts.ncols() == 1 => {
                Ok(Self { coefficients, intercepts: intercepts.column(0).to_owned(), card })
            }
            _ => Err(StageError::failed(
                "coefficients.safetensors does not hold the coefficients that logistic.json names",
            )),
        }
    }
}

impl FittedLogistic {
    /// The labels' probabilities of a row of scores.
    fn spread(&self, scores: ArrayView1<f64>, mut give: impl FnMut(usize, f64)) {
        if let (&[first, second], 1) = (self.card.seen.as_slice(), scores.len()) {
            let probability = sigmoid(scores[0]);
            give(first as usize, 1.0 - probability);
            give(second as usize, probability);
            return;
        }
        let greatest = scores.fold(f64::NEG_INFINITY, |greatest, &score| greatest.max(score));
        let sum: f64 = scores.iter().map(|score| (score - greatest).exp()).sum();
        for (&code, score) in self.card.seen.iter().zip(scores) {
            give(code as usize, (score - greatest).exp() / sum);
        }
    }

    /// The iterations that the search took, and whether it converged.
    pub fn search(&self) -> (usize, bool) {
        (self.card.iterations, self.card.converged)
    }
}

/// The loss over the parameters of the search: for every output the scaled coefficients and the intercept of the centred columns.
struct Loss<'a> {
    features: ArrayView2<'a, f64>,
    /// Each row's label as a position among those seen.
    classes: Vec<usize>,
    weights: Option<Vec<f64>>,
    total_weight: f64,
    l2: f64,
    l1: f64,
    tolerance: f64,
    outputs: usize,
    center: Array1<f64>,
    scale: Array1<f64>,
    progress: &'a dyn Progress,
}

impl<'a> Loss<'a> {
    fn new(
        spec: &LogisticRegression,
        rows: &'a Design,
        codes: &[u32],
        seen: &[u32],
        weights: Option<Vec<f64>>,
        progress: &'a dyn Progress,
    ) -> Self {
        let mut position = vec![0; seen.iter().map(|&code| code as usize + 1).max().unwrap_or(0)];
        seen.iter().enumerate().for_each(|(place, &code)| position[code as usize] = place);
        let total_weight = weights.as_ref().map_or(rows.n_rows() as f64, |weights| weights.iter().sum());
        let (center, variance) = moments(rows.features.view(), weights.as_deref());
        // The Hessian's diagonal at zero, where all labels are equally likely.
        let n_seen = seen.len() as f64;
        let curvature = (n_seen - 1.0) / (n_seen * n_seen);
        let diagonal = |variance: f64| variance + spec.l2 / (total_weight * curvature);
        // A constant column without a penalty tells nothing: its coefficient stays 0.
        let scale =
            variance.mapv(|variance| if diagonal(variance) > 0.0 { 1.0 / diagonal(variance).sqrt() } else { 0.0 });
        Self {
            features: rows.features.view(),
            classes: codes.iter().map(|&code| position[code as usize]).collect(),
            weights,
            total_weight,
            l2: spec.l2,
            l1: spec.l1,
            tolerance: spec.tolerance,
            outputs: if seen.len() == 2 { 1 } else { seen.len() },
            center,
            scale,
            progress,
        }
    }

    /// Coefficients and intercepts as the columns are.
    fn parameters(&self, point: &[f64]) -> (Array2<f64>, Array1<f64>) {
        let n_features = self.scale.len();
        let mut coefficients = Array2::zeros((self.outputs, n_features));
        let mut intercepts = Array1::zeros(self.outputs);
        for (output, searched) in point.chunks_exact(n_features + 1).enumerate() {
            let mut row = coefficients.row_mut(output);
            row.assign(&ArrayView1::from(&searched[..n_features]));
            row *= &self.scale;
            intercepts[output] = searched[n_features] - row.dot(&self.center);
        }
        (coefficients, intercepts)
    }

    /// The inverse of [`Loss::parameters`].
    fn point(&self, coefficients: ArrayView2<f64>, intercepts: ArrayView1<f64>) -> Vec<f64> {
        let searched = |(row, intercept): (ArrayView1<'_, f64>, &f64)| {
            let scaled =
                row.iter().zip(&self.scale).map(|(value, &scale)| if scale > 0.0 { value / scale } else { 0.0 });
            scaled.chain([intercept + row.dot(&self.center)]).collect::<Vec<_>>()
        };
        coefficients.rows().into_iter().zip(intercepts).flat_map(searched).collect()
    }

    /// A gradient by the parameters of the search as the one by coefficients and intercepts of the columns as they are.
    fn unscaled(&self, gradient: &[f64]) -> impl Iterator<Item = f64> {
        let n_features = self.scale.len();
        gradient.chunks_exact(n_features + 1).flat_map(move |gradient| {
            let by_intercept = gradient[n_features];
            let by_coefficient = move |feature: usize| {
                let searched = if self.scale[feature] > 0.0 { gradient[feature] / self.scale[feature] } else { 0.0 };
                searched + self.center[feature] * by_intercept
            };
            (0..n_features).map(by_coefficient).chain([by_intercept])
        })
    }

    /// The summed loss of some rows and its gradient by coefficients and intercepts.
    fn block(
        &self,
        rows: std::ops::Range<usize>,
        coefficients: &Array2<f64>,
        intercepts: &Array1<f64>,
    ) -> (f64, Array2<f64>, Array1<f64>) {
        let mut loss = 0.0;
        let mut by_coefficients = Array2::zeros(coefficients.raw_dim());
        let mut by_intercepts = Array1::zeros(self.outputs);
        let mut residuals = Array2::zeros((TILE, self.outputs));
        for first in rows.clone().step_by(TILE) {
            let tile = first..rows.end.min(first + TILE);
            let features = self.features.slice(s![tile.clone(), ..]);
            let mut residuals = residuals.slice_mut(s![..tile.len(), ..]);
            score(features, coefficients.view(), intercepts.view(), residuals.view_mut());
            for (row, scores) in tile.zip(residuals.rows_mut()) {
                let weight = self.weights.as_ref().map_or(1.0, |weights| weights[row]);
                loss += weight * row_loss(scores.into_slice().unwrap_or_default(), self.classes[row], weight);
            }
            general_mat_mul(1.0, &residuals.t(), &features, 1.0, &mut by_coefficients);
            by_intercepts += &residuals.sum_axis(Axis(0));
        }
        (loss, by_coefficients, by_intercepts)
    }
}

impl Objective for Loss<'_> {
    fn evaluate(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
        let (coefficients, intercepts) = self.parameters(point);
        let n_rows = self.features.nrows();
        let block = n_rows.div_ceil(BLOCKS).next_multiple_of(TILE);
        let blocks: Vec<_> = (0..n_rows.div_ceil(block))
            .into_par_iter()
            .map(|number| self.block(number * block..n_rows.min((number + 1) * block), &coefficients, &intercepts))
            .collect();
        let mut value = 0.0;
        let mut by_coefficients = Array2::zeros(coefficients.raw_dim());
        let mut by_intercepts = Array1::zeros(self.outputs);
        for (loss, coefficients, intercepts) in blocks {
            value += loss;
            by_coefficients += &coefficients;
            by_intercepts += &intercepts;
        }
        by_coefficients.scaled_add(self.l2, &coefficients);
        let n_features = self.scale.len();
        for (output, gradient) in gradient.chunks_exact_mut(n_features + 1).enumerate() {
            let by_intercept = by_intercepts[output];
            for (feature, gradient) in gradient[..n_features].iter_mut().enumerate() {
                *gradient = self.scale[feature]
                    * (by_coefficients[[output, feature]] - self.center[feature] * by_intercept)
                    / self.total_weight;
            }
            gradient[n_features] = by_intercept / self.total_weight;
        }
        let squares: f64 = coefficients.iter().map(|value| value * value).sum();
        (value + 0.5 * self.l2 * squares) / self.total_weight
    }

    /// By the gradient as the columns are, as scikit-learn has it.
    fn converged(&self, gradient: &[f64]) -> bool {
        self.unscaled(gradient).all(|slope| slope.abs() <= self.tolerance)
    }

    fn proceed(&self, _iteration: usize) -> Result<()> {
        self.progress.check_cancelled()
    }
}

/// Scores [rows, outputs] of rows.
fn score(
    features: ArrayView2<f64>,
    coefficients: ArrayView2<f64>,
    intercepts: ArrayView1<f64>,
    mut scores: ArrayViewMut2<f64>,
) {
    scores.assign(&intercepts);
    general_mat_mul(1.0, &features, &coefficients.t(), 1.0, &mut scores);
}

/// The cross-entropy of a row; its scores become the weighted derivatives by them.
fn row_loss(scores: &mut [f64], class: usize, weight: f64) -> f64 {
    if let [score] = scores {
        let truth = class as f64;
        let loss = score.max(0.0) + (-score.abs()).exp().ln_1p() - truth * *score;
        *score = weight * (sigmoid(*score) - truth);
        return loss;
    }
    let greatest = scores.iter().fold(f64::NEG_INFINITY, |greatest, &score| greatest.max(score));
    let of_class = scores[class] - greatest;
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - greatest).exp();
        sum += *score;
    }
    let factor = weight / sum;
    scores.iter_mut().for_each(|score| *score *= factor);
    scores[class] -= weight;
    sum.ln() - of_class
}

pub(crate) fn sigmoid(score: f64) -> f64 {
    if score >= 0.0 { 1.0 / (1.0 + (-score).exp()) } else { score.exp() / (1.0 + score.exp()) }
}
