//! Scores and probabilities, corrected.

use ndarray::{Array2, Axis};
use retune_metrics::Prediction;
use retune_spec::model_selection::Calibration;
use retune_stage::{Result, StageError};
use serde::{Deserialize, Serialize};

use crate::labels::softmax;
use crate::logistic::sigmoid;

/// Added to probabilities before their logarithm is taken, as scikit-learn has it.
const NEAR_ZERO: f64 = 1e-12;

/// What makes probabilities of scores, or better ones of probabilities. Curves of several labels are each for itself, and their values are divided by their
/// sum; where all are 0 the labels are equally probable. Two labels have one curve, of the second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Calibrator {
    /// A logistic curve for each label.
    Platt(Vec<Sigmoid>),
    /// A rising curve of straight pieces for each label.
    Isotonic(Vec<Knots>),
    /// What scores, or the logarithms of probabilities, are divided by.
    Temperature(f64),
}

/// 1 / (1 + exp(a * score + b)).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sigmoid {
    /// Below 0 where greater scores are likelier.
    pub a: f64,
    /// The rest.
    pub b: f64,
}

/// Straight lines between knots; what lies beyond them has the value of the nearest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Knots {
    /// Where they are, rising.
    pub scores: Vec<f64>,
    /// The probability at each.
    pub probabilities: Vec<f64>,
}

impl Calibrator {
    /// Probabilities of scores or probabilities. Fails for values, and for other labels than it was learned on.
    pub fn apply(&self, prediction: &Prediction) -> Result<Prediction> {
        let by_label = prediction
            .by_label()
            .ok_or_else(|| StageError::failed("values cannot be calibrated").help("leave `calibrate` out"))?;
        self.check(by_label.ncols())?;
        Ok(Prediction::Probabilities(match self {
            Self::Platt(curves) => along(by_label, |label, score| curves[label].probability(score)),
            Self::Isotonic(curves) => along(by_label, |label, score| curves[label].probability(score)),
            Self::Temperature(temperature) => tempered(logits(prediction, by_label), *temperature),
        }))
    }

    /// Fails where it does not fit so many labels: for a model that was changed by hand.
    pub(super) fn check(&self, n_labels: usize) -> Result<()> {
        let n_curves = if n_labels == 2 { 1 } else { n_labels };
        let sound = match self {
            Self::Platt(curves) => {
                curves.len() == n_curves && curves.iter().all(|curve| curve.a.is_finite() && curve.b.is_finite())
            }
            Self::Isotonic(curves) => curves.len() == n_curves && curves.iter().all(Knots::are_sound),
            Self::Temperature(temperature) => temperature.is_finite() && *temperature > 0.0,
        };
        if sound {
            Ok(())
        } else {
            Err(StageError::failed(format!("the model's calibration does not fit its {n_labels} labels"))
                .help("train the model again"))
        }
    }

    /// The word in the language.
    pub fn kind(&self) -> Calibration {
        match self {
            Self::Platt(_) => Calibration::Platt,
            Self::Isotonic(_) => Calibration::Isotonic,
            Self::Temperature(_) => Calibration::Temperature,
        }
    }

    /// What it does, in words.
    pub fn describe(&self) -> String {
        match self {
            Self::Platt(_) => "calibrated by logistic curves".to_owned(),
            Self::Isotonic(_) => "calibrated by isotonic curves".to_owned(),
            Self::Temperature(temperature) => format!("calibrated by the temperature {temperature:.4}"),
        }
    }
}

impl Sigmoid {
    /// The probability of a score.
    pub fn probability(&self, score: f64) -> f64 {
        sigmoid(-(self.a * score + self.b))
    }
}

impl Knots {
    /// The probability of a score.
    pub fn probability(&self, score: f64) -> f64 {
        let above = self.scores.partition_point(|knot| *knot < score);
        match (above.checked_sub(1), self.scores.get(above)) {
            (Some(below), Some(&end)) => {
                let start = self.scores[below];
                let [from, to] = [self.probabilities[below], self.probabilities[above]];
                from + (to - from) * (score - start) / (end - start)
            }
            (None, _) => self.probabilities[0],
            (Some(last), None) => self.probabilities[last],
        }
    }

    fn are_sound(&self) -> bool {
        !self.scores.is_empty()
            && self.scores.len() == self.probabilities.len()
            && self.scores.is_sorted_by(|one, next| one < next)
            && self.scores.iter().chain(&self.probabilities).all(|value| value.is_finite())
    }
}

/// What a temperature divides [rows, labels]: scores as they are, probabilities by their logarithms.
pub fn logits(prediction: &Prediction, by_label: &Array2<f64>) -> Array2<f64> {
    match prediction {
        Prediction::Scores(_) => by_label.clone(),
        _ => by_label.mapv(|probability| (probability + NEAR_ZERO).ln()),
    }
}

fn tempered(mut logits: Array2<f64>, temperature: f64) -> Array2<f64> {
    logits /= temperature;
    logits.rows_mut().into_iter().for_each(softmax);
    logits
}

fn along(by_label: &Array2<f64>, curve: impl Fn(usize, f64) -> f64) -> Array2<f64> {
    if by_label.ncols() == 2 {
        let second = by_label.column(1).mapv(|score| curve(0, score));
        return Array2::from_shape_fn(by_label.raw_dim(), |(row, label)| match label {
            0 => 1.0 - second[row],
            _ => second[row],
        });
    }
    let mut probabilities =
        Array2::from_shape_fn(by_label.raw_dim(), |(row, label)| curve(label, by_label[[row, label]]));
    let equal = 1.0 / by_label.ncols() as f64;
    for mut row in probabilities.axis_iter_mut(Axis(0)) {
        let sum = row.sum();
        row.mapv_inplace(|probability| if sum > 0.0 { probability / sum } else { equal });
    }
    probabilities
}
