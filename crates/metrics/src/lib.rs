//! Scores, as scikit-learn defines them, and their confidence intervals.
//!
//! [`score`] computes one number; [`interval`] and [`paired_difference`] resample the rows to say how far it can be trusted. A prediction is
//! probabilities or scores, one column a label, or values. Labels are codes `0..n_classes`. [`roc_curve`], [`precision_recall_curve`] and [`calibration_curve`]
//! are what is drawn; [`mcnemar`] and [`corrected_t_test`] say whether two models differ.

mod bootstrap;
mod calibration;
mod comparison;
mod confusion;
mod curves;
mod error;
mod losses;
mod mean;
mod prediction;
mod ranking;
mod scorer;
mod spread;

pub use bootstrap::{Interval, interval, paired_difference};
pub use calibration::{Bins, CalibrationCurve, calibration_curve};
pub use comparison::{Comparison, McNemar, corrected_interval, corrected_t_test, mcnemar};
pub use confusion::{confusion, confusion_score};
pub use curves::{PrecisionRecallCurve, RocCurve, precision_recall_curve, roc_curve};
pub use error::MetricError;
pub use mean::{Mean, NORMAL_95};
pub use prediction::{Prediction, Truth};
use retune_spec::Metric;
use scorer::Scorer;

/// A score of predictions.
///
/// Equal to scikit-learn's with `zero_division=0`, `average="macro"` and `multi_class="ovr"`. Labels that appear neither in the truth nor in the
/// predictions are left out of means over labels. Scores of one of two labels look for the second one, scikit-learn's `pos_label=1`. The costs of a weighted
/// kappa are those of all labels in their order, as with scikit-learn's `labels`. Fails where the score is not defined, such as the area under the curve of
/// rows of one label, or deviances of values that are not positive; there scikit-learn fails, or warns and returns a number.
pub fn score(metric: Metric, truth: &Truth, prediction: &Prediction) -> Result<f64, MetricError> {
    Scorer::new(metric, truth, prediction)?.score(&vec![1; truth.len()])
}
