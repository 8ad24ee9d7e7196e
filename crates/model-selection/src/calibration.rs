//! Learning what corrects probabilities, from the predictions for rows that the model has not seen.

use ndarray::Array2;
use rayon::prelude::*;
use retune_estimators::{Calibrator, Knots, Sigmoid, logits};
use retune_metrics::Prediction;
use retune_spec::model_selection::Calibration;
use retune_stage::{Result, StageError};

/// Scores that are nearer than this are one, as scikit-learn has it.
const SAME_SCORE: f64 = 1e-15;

/// The temperatures that are looked at, as logarithms of their inverse.
const COLDEST: f64 = 10.0;

const MAX_STEPS: usize = 200;

/// Learns a calibration of so many labels from predictions and the true codes of the same rows.
///
/// `platt`: logistic curves by Platt's (1999) smoothed targets; `isotonic`: least squares by pooling adjacent violators; both for each label against the rest,
/// for two labels for the second only. `temperature`: the least log loss (Guo et al. 2017). All as scikit-learn's `CalibratedClassifierCV` learns them; rows of
/// weight 0 count for nothing. Fails for values, for numbers of rows or labels that differ and where no row weighs anything.
pub fn calibrate(
    kind: Calibration,
    prediction: &Prediction,
    codes: &[u32],
    n_classes: usize,
    weights: Option<&[f64]>,
) -> Result<Calibrator> {
    let by_label = prediction.by_label().ok_or_else(|| {
        StageError::data("values cannot be calibrated").help("leave `calibrate` out: it is for labels")
    })?;
    let rows = Rows::new(by_label, codes, n_classes, weights)?;
    Ok(match kind {
        Calibration::Platt => Calibrator::Platt(rows.by_curve(sigmoid)),
        Calibration::Isotonic => Calibrator::Isotonic(rows.by_curve(isotonic)),
        Calibration::Temperature => {
            let logits = logits(prediction, by_label);
            Calibrator::Temperature(temperature(&logits, codes, &rows.weights))
        }
    })
}

struct Rows<'a> {
    by_label: &'a Array2<f64>,
    codes: &'a [u32],
    weights: Vec<f64>,
}

/// One row of a curve.
#[derive(Clone, Copy)]
struct Point {
    score: f64,
    /// Whether the row has the label.
    positive: bool,
    weight: f64,
}

impl<'a> Rows<'a> {
    fn new(by_label: &'a Array2<f64>, codes: &'a [u32], n_classes: usize, weights: Option<&[f64]>) -> Result<Self> {
        let weights = weights.map_or_else(|| vec![1.0; codes.len()], <[f64]>::to_vec);
        let shape = [by_label.nrows(), by_label.ncols(), weights.len()];
        let known = codes.iter().all(|&code| (code as usize) < n_classes);
        if shape != [codes.len(), n_classes, codes.len()] || !known {
            return Err(StageError::failed("the predictions to calibrate and the truth do not belong together"));
        }
        let usable =
            weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0) && weights.iter().sum::<f64>() > 0.0;
        if !usable || by_label.iter().any(|value| !value.is_finite()) {
            return Err(StageError::data(
                "there is nothing to calibrate by: a prediction is not finite, or no row weighs anything",
            )
            .help("leave `calibrate` out, or give rows a weight above zero"));
        }
        Ok(Self { by_label, codes, weights })
    }

    /// A curve for each label; for two labels only for the second.
    fn by_curve<T: Send>(&self, learn: fn(Vec<Point>) -> T) -> Vec<T> {
        let n_labels = self.by_label.ncols();
        let first = usize::from(n_labels == 2);
        (first..n_labels).into_par_iter().map(|label| learn(self.points(label))).collect()
    }

    fn points(&self, label: usize) -> Vec<Point> {
        let scores = self.by_label.column(label);
        let rows = scores.iter().zip(self.codes).zip(&self.weights).filter(|(_, weight)| **weight > 0.0);
        rows.map(|((&score, &code), &weight)| Point { score, positive: code as usize == label, weight }).collect()
    }
}

/// Newton's method on standardised scores (Lin, Lin & Weng, A note on Platt's probabilistic outputs for support vector machines, 2007).
fn sigmoid(points: Vec<Point>) -> Sigmoid {
    let total: f64 = points.iter().map(|point| point.weight).sum();
    let mean =
        |value: &dyn Fn(&Point) -> f64| points.iter().map(|point| point.weight * value(point)).sum::<f64>() / total;
    let center = mean(&|point| point.score);
    let deviation = mean(&|point| (point.score - center).powi(2)).sqrt();
    let scale = if deviation > 0.0 { deviation } else { 1.0 };
    let positive: f64 = points.iter().filter(|point| point.positive).map(|point| point.weight).sum();
    let negative = total - positive;
    let target =
        |point: &Point| if point.positive { (positive + 1.0) / (positive + 2.0) } else { 1.0 / (negative + 2.0) };
    let rows: Vec<(f64, f64, f64)> =
        points.iter().map(|point| ((point.score - center) / scale, target(point), point.weight)).collect();
    let start = [0.0, ((negative + 1.0) / (positive + 1.0)).ln()];
    let [a, b] = newton(&rows, start, total);
    Sigmoid { a: a / scale, b: b - a * center / scale }
}

/// The a and b of the least cross-entropy of 1 / (1 + exp(a x + b)), for rows of x, target and weight.
fn newton(rows: &[(f64, f64, f64)], start: [f64; 2], total: f64) -> [f64; 2] {
    let loss = |[a, b]: [f64; 2]| -> f64 {
        let row = |&(x, target, weight): &(f64, f64, f64)| {
            let raw = -(a * x + b);
            weight * (raw.max(0.0) + (-raw.abs()).exp().ln_1p() - target * raw)
        };
        rows.iter().map(row).sum()
    };
    let mut point = start;
    let mut value = loss(point);
    for _ in 0..MAX_STEPS {
        let (mut gradient, mut hessian) = ([0.0; 2], [RIDGE, 0.0, RIDGE]);
        for &(x, target, weight) in rows {
            let probability = Sigmoid { a: point[0], b: point[1] }.probability(x);
            let (slope, curvature) = (weight * (target - probability), weight * probability * (1.0 - probability));
            gradient = [gradient[0] + slope * x, gradient[1] + slope];
            hessian = [hessian[0] + curvature * x * x, hessian[1] + curvature * x, hessian[2] + curvature];
        }
        let determinant = hessian[0] * hessian[2] - hessian[1] * hessian[1];
        let step = [
            (hessian[1] * gradient[1] - hessian[2] * gradient[0]) / determinant,
            (hessian[1] * gradient[0] - hessian[0] * gradient[1]) / determinant,
        ];
        let decrease = -(gradient[0] * step[0] + gradient[1] * step[1]);
        let along = |length: f64| [point[0] + length * step[0], point[1] + length * step[1]];
        if decrease <= PRECISION * total {
            // The last step is too small for the value to tell, but it is still towards the minimum.
            return if decrease > 0.0 { along(1.0) } else { point };
        }
        let lengths = (0..40).map(|halvings| 0.5_f64.powi(halvings));
        let better = lengths.map(|length| (length, along(length), loss(along(length))));
        let enough = |&(length, _, next): &(f64, [f64; 2], f64)| next <= value - 1e-4 * length * decrease;
        let Some((_, next, next_value)) = { better }.find(enough) else { return point };
        (point, value) = (next, next_value);
    }
    point
}

/// Added to the diagonal of the Hessian, so that constant scores have a solution.
const RIDGE: f64 = 1e-12;

/// The decrease for each unit of weight below which one step of Newton's method reaches the minimum but for rounding.
const PRECISION: f64 = 1e-14;

/// Least squares among rising functions, by pooling adjacent violators.
fn isotonic(mut points: Vec<Point>) -> Knots {
    points.sort_by(|a, b| a.score.total_cmp(&b.score).then(a.positive.cmp(&b.positive)));
    // Each distinct score with the weight of its rows and of the positive ones.
    let mut distinct: Vec<(f64, f64, f64)> = Vec::new();
    for point in &points {
        let positive = if point.positive { point.weight } else { 0.0 };
        match distinct.last_mut() {
            Some((score, weight, of_label)) if point.score - *score < SAME_SCORE => {
                *weight += point.weight;
                *of_label += positive;
            }
            _ => distinct.push((point.score, point.weight, positive)),
        }
    }
    // Blocks of weight, positive weight and how many scores.
    let mut blocks: Vec<(f64, f64, usize)> = Vec::new();
    for &(_, weight, positive) in &distinct {
        let mut block = (weight, positive, 1);
        while let Some(&(weight, positive, n_scores)) = blocks.last()
            && positive / weight >= block.1 / block.0
        {
            block = (block.0 + weight, block.1 + positive, block.2 + n_scores);
            blocks.pop();
        }
        blocks.push(block);
    }
    let mut knots = Knots { scores: Vec::new(), probabilities: Vec::new() };
    let mut first = 0;
    for (weight, positive, n_scores) in blocks {
        let ends = [first, first + n_scores - 1];
        for &end in &ends[..n_scores.min(2)] {
            knots.scores.push(distinct[end].0);
            knots.probabilities.push(positive / weight);
        }
        first += n_scores;
    }
    knots
}

/// The temperature of the least log loss: Newton's method for where the slope by the inverse temperature, which rises, is 0; the middle where it would leave
/// what is known to enclose it.
fn temperature(logits: &Array2<f64>, codes: &[u32], weights: &[f64]) -> f64 {
    let (mut low, mut high) = (-COLDEST, COLDEST);
    let mut inverse = 1.0_f64;
    for _ in 0..MAX_STEPS {
        let (slope, curvature) = slope(logits, codes, weights, inverse);
        if slope > 0.0 {
            high = inverse.ln();
        } else {
            low = inverse.ln();
        }
        let next = inverse - slope / curvature;
        let inside = next.is_finite() && next > low.exp() && next < high.exp();
        let next = if inside { next } else { f64::midpoint(low, high).exp() };
        let done = (next - inverse).abs() <= f64::EPSILON * inverse;
        inverse = next;
        if done {
            break;
        }
    }
    1.0 / inverse
}

/// The first and second derivative of the log loss by the inverse temperature.
fn slope(logits: &Array2<f64>, codes: &[u32], weights: &[f64], inverse: f64) -> (f64, f64) {
    let mut sums = (0.0, 0.0);
    for ((row, &code), &weight) in logits.rows().into_iter().zip(codes).zip(weights) {
        let greatest = row.fold(f64::NEG_INFINITY, |greatest, &logit| greatest.max(logit));
        let (mut total, mut first, mut second) = (0.0, 0.0, 0.0);
        for &logit in row {
            // Measured from the greatest, so that squares do not cancel.
            let (below, share) = (logit - greatest, (inverse * (logit - greatest)).exp());
            total += share;
            first += share * below;
            second += share * below * below;
        }
        let mean = first / total;
        sums.0 += weight * (mean - (row[code as usize] - greatest));
        sums.1 += weight * (second / total - mean * mean);
    }
    sums
}
