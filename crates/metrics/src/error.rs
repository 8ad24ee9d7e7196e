//! Why there is no score.

use retune_spec::Metric;
use thiserror::Error;

/// Why there is no score.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum MetricError {
    /// The rows do not determine the score.
    #[error("{} is not defined for these rows: {reason}", metric.word())]
    Undefined {
        /// The score.
        metric: Metric,
        /// What the rows lack.
        reason: &'static str,
    },
    /// Labels are scored as values or the other way round.
    #[error("{} is not a score of {predictions}", metric.word())]
    OtherTask {
        /// The score.
        metric: Metric,
        /// Labels or values.
        predictions: &'static str,
    },
    /// A score of two labels, where there are others.
    #[error("{} scores the second of two labels, and there are {n_labels}; use {}", metric.word(), instead.word())]
    NotTwoLabels {
        /// The score.
        metric: Metric,
        /// How many labels there are.
        n_labels: usize,
        /// What scores any number of labels.
        instead: Metric,
    },
    /// A score of probabilities, where the model gives scores.
    #[error("{} needs probabilities, and the model gives scores; add `calibrate: platt`", metric.word())]
    NoProbabilities {
        /// The score.
        metric: Metric,
    },
    /// A score of probabilities, where there are labels only.
    #[error("{} is computed from probabilities; labels alone do not tell it", metric.word())]
    NotOfLabels {
        /// The score.
        metric: Metric,
    },
    /// Truth is labels and predictions are values, or the other way round.
    #[error("the truth and the predictions are of different tasks: labels against values")]
    MixedTasks,
    /// Truth and predictions do not belong together.
    #[error("the truth has {truth} {what} and the predictions have {prediction}")]
    Mismatch {
        /// Rows or labels.
        what: &'static str,
        /// How many the truth has.
        truth: usize,
        /// How many the predictions have.
        prediction: usize,
    },
    /// There is no row.
    #[error("there is no row to score")]
    Empty,
    /// A prediction or a true value is NaN or infinite.
    #[error("row {row} of the {what} is not a finite number")]
    NotFinite {
        /// Truth or predictions.
        what: &'static str,
        /// The row, counted from 1.
        row: usize,
    },
    /// A setting that makes no sense.
    #[error("{what} is {value}; it must be {range}")]
    Setting {
        /// What is set.
        what: &'static str,
        /// To what.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
    /// Two models cannot be compared by a test.
    #[error("the corrected resampled t-test is not defined for these scores: {reason}")]
    NoTest {
        /// What the scores lack.
        reason: &'static str,
    },
    /// Every resample left the score undefined.
    #[error("{} could be computed on none of {resamples} resamples", metric.word())]
    NoResample {
        /// The score.
        metric: Metric,
        /// How many were drawn.
        resamples: usize,
    },
}
