//! How often each label was taken for each other, and the scores that follow from it.

use ndarray::{Array2, Axis};
use retune_spec::Metric;

/// Rows by true label and predicted label [true label, predicted label], from codes below `n_classes`.
pub fn confusion(codes: &[u32], labels: &[u32], n_classes: usize) -> Array2<u64> {
    Confusion::count(&cells(codes, labels, n_classes), &vec![1; codes.len()], n_classes).counts
}

/// Rows [true label, predicted label].
pub(crate) struct Confusion {
    counts: Array2<u64>,
}

impl Confusion {
    /// Counts rows, each as often as `counts` says.
    pub(crate) fn count(cells: &[u32], counts: &[u32], n_classes: usize) -> Self {
        let mut confusion = vec![0; n_classes * n_classes];
        for (&cell, &count) in cells.iter().zip(counts) {
            confusion[cell as usize] += u64::from(count);
        }
        let counts =
            Array2::from_shape_fn((n_classes, n_classes), |(truth, label)| confusion[truth * n_classes + label]);
        Self { counts }
    }

    /// A score of labels; 0 for those of probabilities and of values, which labels do not determine.
    pub(crate) fn score(&self, metric: Metric) -> f64 {
        let labels = self.labels();
        let n_rows: f64 = labels.iter().map(|label| label.truth).sum();
        let right: f64 = labels.iter().map(|label| label.right).sum();
        let mean = |value: fn(&Label) -> f64| labels.iter().map(value).sum::<f64>() / labels.len() as f64;
        match metric {
            // With one label a row, every wrong decision is one false positive and one false negative.
            Metric::Accuracy | Metric::F1Micro => right / n_rows,
            Metric::BalancedAccuracy => {
                let present = labels.iter().filter(|label| label.truth > 0.0);
                present.clone().map(Label::recall).sum::<f64>() / present.count() as f64
            }
            Metric::F1Macro => mean(Label::f1),
            Metric::F1Weighted => labels.iter().map(|label| label.f1() * label.truth).sum::<f64>() / n_rows,
            Metric::PrecisionMacro => mean(Label::precision),
            Metric::RecallMacro => mean(Label::recall),
            Metric::Mcc => matthews(&labels, right, n_rows),
            _ => 0.0,
        }
    }

    /// The labels that appear in the truth or in the predictions.
    fn labels(&self) -> Vec<Label> {
        let truth = self.counts.sum_axis(Axis(1));
        let predicted = self.counts.sum_axis(Axis(0));
        let label = |code: usize| Label {
            right: self.counts[[code, code]] as f64,
            truth: truth[code] as f64,
            predicted: predicted[code] as f64,
        };
        (0..truth.len()).map(label).filter(|label| label.truth + label.predicted > 0.0).collect()
    }
}

/// For each row the position of its true and its predicted label in the matrix.
pub(crate) fn cells(codes: &[u32], labels: &[u32], n_classes: usize) -> Vec<u32> {
    codes.iter().zip(labels).map(|(&code, &label)| code * n_classes as u32 + label).collect()
}

/// Rows of one label: rightly predicted, in the truth, predicted.
struct Label {
    right: f64,
    truth: f64,
    predicted: f64,
}

impl Label {
    fn precision(&self) -> f64 {
        if self.predicted > 0.0 { self.right / self.predicted } else { 0.0 }
    }

    fn recall(&self) -> f64 {
        if self.truth > 0.0 { self.right / self.truth } else { 0.0 }
    }

    fn f1(&self) -> f64 {
        2.0 * self.right / (self.truth + self.predicted)
    }
}

fn matthews(labels: &[Label], right: f64, n_rows: f64) -> f64 {
    let sum = |value: fn(&Label) -> f64| labels.iter().map(value).sum::<f64>();
    let between = right * n_rows - sum(|label| label.truth * label.predicted);
    let of_truth = n_rows * n_rows - sum(|label| label.truth * label.truth);
    let of_predictions = n_rows * n_rows - sum(|label| label.predicted * label.predicted);
    // Where one side has a single label, scikit-learn says 0.
    if of_truth * of_predictions == 0.0 { 0.0 } else { between / (of_truth * of_predictions).sqrt() }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn rows_are_truth_and_columns_are_predictions() {
        assert_eq!(confusion(&[0, 0, 1], &[0, 1, 1], 2), array![[1, 1], [0, 1]]);
    }
}
