//! Scores, as scikit-learn defines them, and their confidence intervals.
//!
//! [`score`] computes one number; [`interval`] and [`paired_difference`] resample the rows to say how far it can be trusted. A prediction is either
//! probabilities, one column a label, or values. Labels are codes `0..n_classes`.

mod bootstrap;
mod confusion;
mod error;
mod mean;
mod prediction;
mod ranking;
mod scorer;

pub use bootstrap::{Interval, interval, paired_difference};
pub use confusion::confusion;
pub use error::MetricError;
pub use mean::{Mean, NORMAL_95};
pub use prediction::{Prediction, Truth};
use retune_spec::Metric;
use scorer::Scorer;

/// A score of predictions.
///
/// Equal to scikit-learn's with `zero_division=0`, `average="macro"` and `multi_class="ovr"`. Labels that appear neither in the truth nor in the
/// predictions are left out of means over labels. Fails where the score is not defined, such as the area under the curve of rows of one label.
pub fn score(metric: Metric, truth: &Truth, prediction: &Prediction) -> Result<f64, MetricError> {
    Scorer::new(metric, truth, prediction)?.score(&vec![1; truth.len()])
}
