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
    /// Every resample left the score undefined.
    #[error("{} could be computed on none of {resamples} resamples", metric.word())]
    NoResample {
        /// The score.
        metric: Metric,
        /// How many were drawn.
        resamples: usize,
    },
}
