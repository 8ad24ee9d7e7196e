//! How often each label was taken for each other, and the scores that follow from it.

use ndarray::{Array2, ArrayView2};
use retune_spec::Metric;

use crate::MetricError;
use crate::scorer::{Counted, check_labels};

/// Rows by true label and predicted label [true label, predicted label], from codes below `n_classes`.
pub fn confusion(codes: &[u32], labels: &[u32], n_classes: usize) -> Array2<u64> {
    Confusion::count(&cells(codes, labels, n_classes), &vec![1; codes.len()], n_classes).counts
}

/// A score of labels from how many rows there are [true label, predicted label]. Fails for metrics of probabilities and of values, and where [`crate::score`] does.
pub fn confusion_score(metric: Metric, counts: ArrayView2<u64>) -> Result<f64, MetricError> {
    check_labels(metric, counts.nrows())?;
    if counts.nrows() != counts.ncols() {
        return Err(MetricError::Mismatch { what: "labels", truth: counts.nrows(), prediction: counts.ncols() });
    }
    if metric.needs_probabilities() {
        return Err(MetricError::NotOfLabels { metric });
    }
    if counts.iter().all(|&count| count == 0) {
        return Err(MetricError::Empty);
    }
    Confusion { counts: counts.to_owned() }.score(metric).map_err(|reason| MetricError::Undefined { metric, reason })
}

/// A score of predicted labels.
pub(crate) struct LabelScore {
    metric: Metric,
    /// Each row's position in the confusion matrix.
    cells: Vec<u32>,
    n_labels: usize,
}

impl LabelScore {
    pub(crate) fn new(metric: Metric, codes: &[u32], labels: &[u32], n_labels: usize) -> Self {
        Self { metric, cells: cells(codes, labels, n_labels), n_labels }
    }
}

impl Counted for LabelScore {
    fn score(&self, counts: &[u32]) -> Result<f64, &'static str> {
        Confusion::count(&self.cells, counts, self.n_labels).score(self.metric)
    }
}

/// Rows [true label, predicted label].
struct Confusion {
    counts: Array2<u64>,
}

impl Confusion {
    /// Counts rows, each as often as `counts` says.
    fn count(cells: &[u32], counts: &[u32], n_classes: usize) -> Self {
        let mut confusion = vec![0; n_classes * n_classes];
        for (&cell, &count) in cells.iter().zip(counts) {
            confusion[cell as usize] += u64::from(count);
        }
        let counts =
            Array2::from_shape_fn((n_classes, n_classes), |(truth, label)| confusion[truth * n_classes + label]);
        Self { counts }
    }

    fn score(&self, metric: Metric) -> Result<f64, &'static str> {
        let labels = self.labels();
        let n_rows: f64 = labels.iter().map(|label| label.truth).sum();
        let right: f64 = labels.iter().map(|label| label.right).sum();
        let mean = |value: fn(&Label) -> f64| labels.iter().map(value).sum::<f64>() / labels.len() as f64;
        let weighted =
            |value: fn(&Label) -> f64| labels.iter().map(|label| value(label) * label.truth).sum::<f64>() / n_rows;
        Ok(match metric {
            Metric::Precision => self.label(1).precision(),
            Metric::Recall => self.label(1).recall(),
            Metric::F1 => self.label(1).f1(),
            Metric::FBeta(settings) => self.label(1).f_beta(settings.beta),
            Metric::BalancedAccuracy => {
                let present = labels.iter().filter(|label| label.truth > 0.0);
                present.clone().map(Label::recall).sum::<f64>() / present.count() as f64
            }
            Metric::PrecisionMacro => mean(Label::precision),
            Metric::RecallMacro => mean(Label::recall),
            Metric::F1Macro => mean(Label::f1),
            Metric::PrecisionWeighted => weighted(Label::precision),
            Metric::F1Weighted => weighted(Label::f1),
            Metric::Mcc => matthews(&labels, right, n_rows),
            Metric::CohenKappa => self.kappa(n_rows, |apart| apart.min(1))?,
            Metric::CohenKappaLinear => self.kappa(n_rows, |apart| apart)?,
            Metric::CohenKappaQuadratic => self.kappa(n_rows, |apart| apart * apart)?,
            // The accuracy and its other names: with one label a row, every wrong decision is one false positive and one false negative.
            _ => right / n_rows,
        })
    }

    /// Cohen's kappa, a mistake costing what `cost` says of how far the labels are apart in the order of all labels, of those too that do not occur.
    fn kappa(&self, n_rows: f64, cost: fn(usize) -> usize) -> Result<f64, &'static str> {
        let labels: Vec<Label> = (0..self.counts.nrows()).map(|code| self.label(code)).collect();
        let (mut found, mut by_chance) = (0.0, 0.0);
        for ((truth, label), &count) in self.counts.indexed_iter() {
            let cost = cost(truth.abs_diff(label)) as f64;
            found += cost * count as f64;
            by_chance += cost * labels[truth].truth * labels[label].predicted;
        }
        if by_chance == 0.0 {
            return Err("the truth and the predictions have one label only");
        }
        Ok(1.0 - found * n_rows / by_chance)
    }

    /// The labels that appear in the truth or in the predictions.
    fn labels(&self) -> Vec<Label> {
        let label = (0..self.counts.nrows()).map(|code| self.label(code));
        label.filter(|label| label.truth + label.predicted > 0.0).collect()
    }

    fn label(&self, code: usize) -> Label {
        Label {
            right: self.counts[[code, code]] as f64,
            truth: self.counts.row(code).sum() as f64,
            predicted: self.counts.column(code).sum() as f64,
        }
    }
}

/// For each row the position of its true and its predicted label in the matrix.
fn cells(codes: &[u32], labels: &[u32], n_classes: usize) -> Vec<u32> {
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
        self.f_beta(1.0)
    }

    fn f_beta(&self, beta: f64) -> f64 {
        let weight = beta * beta;
        let decisions = weight * self.truth + self.predicted;
        if decisions > 0.0 { (1.0 + weight) * self.right / decisions } else { 0.0 }
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

    #[test]
    fn counts_are_scored_as_rows_are() {
        let counts = array![[1, 1], [0, 1]];
        assert_eq!(confusion_score(Metric::Recall, counts.view()), Ok(1.0));
        assert_eq!(confusion_score(Metric::Precision, counts.view()), Ok(0.5));
        assert_eq!(
            confusion_score(Metric::LogLoss, counts.view()),
            Err(MetricError::NotOfLabels { metric: Metric::LogLoss })
        );
    }
}
