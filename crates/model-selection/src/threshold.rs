//! Learning from which probability a label is predicted, from the predictions for rows that the model has not seen.

use ndarray::Array2;
use retune_estimators::Decision;
use retune_metrics::{Prediction, Truth, confusion, confusion_score};
use retune_spec::Metric;
use retune_stage::{Result, StageError};

/// The probability from which the second of two labels is the likelier.
const PLAIN: f64 = 0.5;

/// Scores have to differ by more than rounding to count as better.
const BETTER: f64 = 1e-12;

/// Rounds over all labels.
const MAX_ROUNDS: usize = 100;

/// The decision of the best score. Two labels: the threshold among the midpoints between neighbouring probabilities, and among those that are equally good the
/// one nearest to 0.5, or 0.5 where it decides as well. More: one weight after the other, from 1, is set to its best value until none improves the score.
/// Fails for metrics that are not of labels, for scores and for values.
pub fn decide(metric: Metric, prediction: &Prediction, truth: &Truth) -> Result<Decision> {
    if metric.needs_probabilities() {
        let word = metric.word();
        return Err(StageError::data(format!("`{word}` is computed from probabilities, which no threshold changes"))
            .help("name a metric of labels for `threshold`, such as `f1` or `balanced_accuracy`"));
    }
    let (Truth::Classes { codes, n_classes }, Some(by_label)) = (*truth, prediction.by_label()) else {
        return Err(
            StageError::data("a threshold decides labels, and the model predicts values").help("leave `threshold` out")
        );
    };
    let probabilities = prediction.probabilities().ok_or_else(|| {
        StageError::data("a threshold decides by probabilities, and the model gives scores")
            .help("add `calibrate: platt`")
    })?;
    if codes.is_empty() || by_label.dim() != (codes.len(), n_classes) {
        return Err(StageError::failed("the predictions to decide by and the truth do not belong together"));
    }
    let search = Search { metric, codes, probabilities };
    Ok(match n_classes {
        2 => Decision::Threshold(search.threshold()),
        _ => Decision::Weights(search.weights()),
    })
}

struct Search<'a> {
    metric: Metric,
    codes: &'a [u32],
    probabilities: &'a Array2<f64>,
}

/// A row gets another label as soon as what is searched is above a number.
struct Change {
    above: f64,
    code: usize,
    from: usize,
    to: usize,
}

/// A value of what is searched, and how good it is.
#[derive(Clone, Copy)]
struct Cut {
    value: f64,
    score: f64,
}

impl Search<'_> {
    fn threshold(&self) -> f64 {
        let second = self.probabilities.column(1);
        let change = |(&above, &code): (&f64, &u32)| Change { above, code: code as usize, from: 1, to: 0 };
        let changes: Vec<Change> = second.iter().zip(self.codes).map(change).collect();
        let counts = confusion(self.codes, &vec![1; self.codes.len()], 2);
        let between = |below: Option<f64>, above: Option<f64>| {
            let middle = match (below, above) {
                (Some(below), Some(above)) => f64::midpoint(below, above),
                (None, Some(above)) => above / 2.0,
                // The second label is never predicted.
                (Some(below), None) => f64::midpoint(below, 1.0).max(below.next_up()),
                (None, None) => PLAIN,
            };
            let plain_is_between = below.is_none_or(|below| below < PLAIN) && above.is_none_or(|above| PLAIN <= above);
            Some(if plain_is_between { PLAIN } else { middle })
        };
        self.sweep(changes, counts, between, |threshold| (threshold - PLAIN).abs()).map_or(PLAIN, |cut| cut.value)
    }

    fn weights(&self) -> Vec<f64> {
        let n_labels = self.probabilities.ncols();
        let mut weights = vec![1.0; n_labels];
        let plain = confusion(self.codes, &Prediction::Probabilities(self.probabilities.clone()).labels(), n_labels);
        let mut best = self.score(&plain).unwrap_or(f64::NEG_INFINITY);
        for _ in 0..MAX_ROUNDS {
            let before = best;
            for label in 0..n_labels {
                if let Some(cut) = self.weight(label, &weights).filter(|cut| cut.score > best + BETTER) {
                    weights[label] = cut.value;
                    best = cut.score;
                }
            }
            if best == before {
                break;
            }
        }
        weights
    }

    /// The best weight of a label where the others stay.
    fn weight(&self, label: usize, weights: &[f64]) -> Option<Cut> {
        let n_labels = weights.len();
        let mut counts = Array2::zeros((n_labels, n_labels));
        let mut changes = Vec::new();
        for (row, &code) in self.probabilities.rows().into_iter().zip(self.codes) {
            let others =
                (0..n_labels).filter(|other| *other != label).map(|other| (other, weights[other] * row[other]));
            let greater = |best: (usize, f64), next: (usize, f64)| if next.1 > best.1 { next } else { best };
            let (rival, product) = others.reduce(greater)?;
            let above = product / row[label];
            let at_first = if row[label] > 0.0 && product == 0.0 { label } else { rival };
            counts[[code as usize, at_first]] += 1;
            if above > 0.0 && above.is_finite() {
                changes.push(Change { above, code: code as usize, from: rival, to: label });
            }
        }
        let between = |below: Option<f64>, above: Option<f64>| match (below, above) {
            _ if below.is_none_or(|below| below < 1.0) && above.is_none_or(|above| 1.0 < above) => Some(1.0),
            (Some(below), Some(above)) => Some((below.ln() / 2.0 + above.ln() / 2.0).exp()),
            (None, Some(above)) => Some(above / 2.0),
            (Some(below), None) => Some(below * 2.0),
            (None, None) => None,
        };
        let usable = |below, above| between(below, above).filter(|weight| weight.is_normal());
        self.sweep(changes, counts, usable, |weight| weight.ln().abs())
    }

    /// The best value of all between which labels differ, of equally good ones the least distant; `counts` are of values below all changes.
    fn sweep(
        &self,
        mut changes: Vec<Change>,
        mut counts: Array2<u64>,
        between: impl Fn(Option<f64>, Option<f64>) -> Option<f64>,
        distance: impl Fn(f64) -> f64,
    ) -> Option<Cut> {
        changes.sort_by(|a, b| a.above.total_cmp(&b.above));
        let mut groups = changes.chunk_by(|a, b| a.above == b.above);
        let (mut best, mut below): (Option<Cut>, Option<f64>) = (None, None);
        loop {
            let group = groups.next();
            let above = group.map(|group| group[0].above);
            let cut = between(below, above).and_then(|value| Some(Cut { value, score: self.score(&counts)? }));
            if let Some(cut) = cut
                && best.is_none_or(|best| {
                    let nearer = distance(cut.value) < distance(best.value);
                    cut.score > best.score + BETTER || (cut.score > best.score - BETTER && nearer)
                })
            {
                best = Some(cut);
            }
            let Some(group) = group else { return best };
            for change in group {
                counts[[change.code, change.from]] -= 1;
                counts[[change.code, change.to]] += 1;
            }
            below = above;
        }
    }

    /// A score of which more is better; `None` where it is not defined.
    fn score(&self, counts: &Array2<u64>) -> Option<f64> {
        let score = confusion_score(self.metric, counts.view()).ok()?;
        Some(if self.metric.greater_is_better() { score } else { -score })
    }
}
