//! Scores prepared for resampling: everything that does not depend on how often a row counts is computed once.

use ndarray::Array2;
use retune_spec::Metric;

use crate::confusion::{Confusion, cells};
use crate::prediction::Pair;
use crate::ranking::Ranking;
use crate::{MetricError, Prediction, Truth};

/// A score of rows that count differently often.
pub(crate) struct Scorer {
    metric: Metric,
    prepared: Prepared,
}

enum Prepared {
    /// Each row's position in the confusion matrix.
    Confusion { cells: Vec<u32>, n_classes: usize },
    /// The rows ranked by the probability of each label.
    Areas(Vec<Ranking>),
    /// Each row's loss; the score is the mean or its root.
    Losses(Vec<f64>),
    /// Each row's true value and squared error.
    Determination { truth: Vec<f64>, squared_errors: Vec<f64> },
}

impl Scorer {
    pub(crate) fn new(metric: Metric, truth: &Truth, prediction: &Prediction) -> Result<Self, MetricError> {
        let prepared = match Pair::new(truth, prediction)? {
            Pair::Classes { codes, n_classes, probabilities } => match metric {
                Metric::Rmse | Metric::Mae | Metric::R2 => {
                    return Err(MetricError::OtherTask { metric, predictions: "labels" });
                }
                Metric::RocAuc => Prepared::Areas(rankings(codes, n_classes, probabilities)),
                Metric::LogLoss => Prepared::Losses(log_losses(codes, probabilities)),
                Metric::Brier => Prepared::Losses(brier_losses(codes, probabilities)),
                _ => Prepared::Confusion { cells: cells(codes, &prediction.labels(), n_classes), n_classes },
            },
            Pair::Values { truth, predicted } => {
                let errors = truth.iter().zip(predicted).map(|(truth, predicted)| predicted - truth);
                match metric {
                    Metric::Mae => Prepared::Losses(errors.map(f64::abs).collect()),
                    Metric::Rmse => Prepared::Losses(errors.map(|error| error * error).collect()),
                    Metric::R2 => Prepared::Determination {
                        truth: truth.to_vec(),
                        squared_errors: errors.map(|error| error * error).collect(),
                    },
                    _ => return Err(MetricError::OtherTask { metric, predictions: "values" }),
                }
            }
        };
        Ok(Self { metric, prepared })
    }

    /// The score where row `i` counts `counts[i]` times.
    pub(crate) fn score(&self, counts: &[u32]) -> Result<f64, MetricError> {
        let undefined = |reason| MetricError::Undefined { metric: self.metric, reason };
        match &self.prepared {
            Prepared::Confusion { cells, n_classes } => {
                Ok(Confusion::count(cells, counts, *n_classes).score(self.metric))
            }
            Prepared::Areas(rankings) => {
                let areas: Option<f64> = rankings.iter().map(|ranking| ranking.area(counts)).sum();
                Ok(areas.ok_or_else(|| undefined("a label has no row, or all of them"))? / rankings.len() as f64)
            }
            Prepared::Losses(losses) => {
                let mean = mean(losses, counts);
                Ok(if self.metric == Metric::Rmse { mean.sqrt() } else { mean })
            }
            Prepared::Determination { truth, squared_errors } => {
                determination(truth, squared_errors, counts).ok_or_else(|| undefined("there is only one row"))
            }
        }
    }
}

/// For two labels one ranking says all.
fn rankings(codes: &[u32], n_classes: usize, probabilities: &Array2<f64>) -> Vec<Ranking> {
    let first = usize::from(n_classes == 2);
    (first..n_classes).map(|label| Ranking::new(codes, label as u32, probabilities.column(label))).collect()
}

fn log_losses(codes: &[u32], probabilities: &Array2<f64>) -> Vec<f64> {
    let loss =
        |(row, &code): (usize, &u32)| -probabilities[[row, code as usize]].clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln();
    codes.iter().enumerate().map(loss).collect()
}

fn brier_losses(codes: &[u32], probabilities: &Array2<f64>) -> Vec<f64> {
    // By custom it lies between 0 and 1 for two labels and between 0 and 2 for more.
    let scale = if probabilities.ncols() < 3 { 0.5 } else { 1.0 };
    let distance =
        |code: u32, label: usize, probability: f64| probability - f64::from(u8::from(label == code as usize));
    let loss = |(row, &code): (usize, &u32)| {
        let squares = probabilities
            .row(row)
            .into_iter()
            .enumerate()
            .map(|(label, &probability)| distance(code, label, probability).powi(2));
        squares.sum::<f64>() * scale
    };
    codes.iter().enumerate().map(loss).collect()
}

fn mean(values: &[f64], counts: &[u32]) -> f64 {
    let (mut sum, mut n_rows) = (0.0, 0.0);
    for (value, &count) in values.iter().zip(counts) {
        sum += value * f64::from(count);
        n_rows += f64::from(count);
    }
    sum / n_rows
}

/// One minus the share of the variance that is left. Of a constant truth nothing can be explained: 1 for the exact prediction and 0 for others, as
/// scikit-learn has it.
fn determination(truth: &[f64], squared_errors: &[f64], counts: &[u32]) -> Option<f64> {
    let counted = || truth.iter().zip(counts).filter(|(_, count)| **count > 0);
    if counts.iter().map(|&count| u64::from(count)).sum::<u64>() < 2 {
        return None;
    }
    let error = mean(squared_errors, counts);
    let first = counted().next()?.0;
    if counted().all(|(value, _)| value == first) {
        return Some(f64::from(u8::from(error == 0.0)));
    }
    let center = mean(truth, counts);
    let squares: Vec<f64> = truth.iter().map(|value| (value - center).powi(2)).collect();
    Some(1.0 - error / mean(&squares, counts))
}
