//! What is compared: predictions and the truth.

use ndarray::{Array2, Axis};

use crate::MetricError;

/// What a model says about rows.
#[derive(Clone, Debug, PartialEq)]
pub enum Prediction {
    /// The probability of every label [rows, labels].
    Probabilities(Array2<f64>),
    /// A score of every label, the greater the likelier, that is no probability [rows, labels].
    Scores(Array2<f64>),
    /// Probabilities of which something other than the greatest one decides.
    Decided {
        /// The probability of every label [rows, labels].
        probabilities: Array2<f64>,
        /// The code of each row's label.
        labels: Vec<u32>,
    },
    /// A value for every row.
    Values(Vec<f64>),
}

impl Prediction {
    /// The number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Probabilities(by_label) | Self::Scores(by_label) => by_label.nrows(),
            Self::Decided { labels, .. } => labels.len(),
            Self::Values(values) => values.len(),
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The code of each row's label: the one that was decided, or the likeliest, the first of several; nothing for values.
    pub fn labels(&self) -> Vec<u32> {
        match self {
            Self::Probabilities(by_label) | Self::Scores(by_label) => likeliest(by_label),
            Self::Decided { labels, .. } => labels.clone(),
            Self::Values(_) => Vec::new(),
        }
    }

    /// The probability of every label [rows, labels]; `None` for scores and values.
    pub fn probabilities(&self) -> Option<&Array2<f64>> {
        match self {
            Self::Probabilities(probabilities) | Self::Decided { probabilities, .. } => Some(probabilities),
            Self::Scores(_) | Self::Values(_) => None,
        }
    }

    /// The probability or the score of every label [rows, labels]; `None` for values.
    pub fn by_label(&self) -> Option<&Array2<f64>> {
        match self {
            Self::Scores(scores) => Some(scores),
            other => other.probabilities(),
        }
    }

    /// The rows at `indices`, in that order.
    #[must_use]
    pub fn take(&self, indices: &[usize]) -> Self {
        match self {
            Self::Probabilities(probabilities) => Self::Probabilities(probabilities.select(Axis(0), indices)),
            Self::Scores(scores) => Self::Scores(scores.select(Axis(0), indices)),
            Self::Decided { probabilities, labels } => Self::Decided {
                probabilities: probabilities.select(Axis(0), indices),
                labels: indices.iter().map(|&row| labels[row]).collect(),
            },
            Self::Values(values) => Self::Values(indices.iter().map(|&row| values[row]).collect()),
        }
    }
}

/// The code of each row's greatest value, the first of several.
pub(crate) fn likeliest(by_label: &Array2<f64>) -> Vec<u32> {
    by_label.rows().into_iter().map(first_greatest).collect()
}

fn first_greatest(row: ndarray::ArrayView1<f64>) -> u32 {
    let greatest = row
        .iter()
        .enumerate()
        .fold((0, f64::NEG_INFINITY), |best, (code, &value)| if value > best.1 { (code, value) } else { best });
    greatest.0 as u32
}

/// What is true of rows.
#[derive(Clone, Copy, Debug)]
pub enum Truth<'a> {
    /// Each row's label.
    Classes {
        /// One code a row, below `n_classes`.
        codes: &'a [u32],
        /// How many labels there are.
        n_classes: usize,
    },
    /// Each row's value.
    Values(&'a [f64]),
}

impl Truth<'_> {
    /// The number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Classes { codes, .. } => codes.len(),
            Self::Values(values) => values.len(),
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Truth and predictions that belong together.
pub(crate) enum Pair<'a> {
    Classes { codes: &'a [u32], by_label: &'a Array2<f64> },
    Values { truth: &'a [f64], predicted: &'a [f64] },
}

impl<'a> Pair<'a> {
    pub(crate) fn new(truth: &Truth<'a>, prediction: &'a Prediction) -> Result<Self, MetricError> {
        let mismatch = |what, truth, prediction| Err(MetricError::Mismatch { what, truth, prediction });
        if truth.len() != prediction.len() {
            return mismatch("rows", truth.len(), prediction.len());
        }
        if truth.is_empty() {
            return Err(MetricError::Empty);
        }
        match (*truth, prediction, prediction.by_label()) {
            (Truth::Classes { codes, n_classes }, _, Some(by_label)) => {
                let labels = codes.iter().map(|&code| code as usize + 1).fold(n_classes, usize::max);
                if labels != by_label.ncols() {
                    return mismatch("labels", labels, by_label.ncols());
                }
                let rows = by_label.nrows();
                if rows != prediction.len() {
                    return mismatch("rows", truth.len(), rows);
                }
                let finite = |row: ndarray::ArrayView1<f64>| row.iter().all(|value| value.is_finite());
                check_finite("predictions", by_label.rows().into_iter().map(finite))?;
                Ok(Self::Classes { codes, by_label })
            }
            (Truth::Values(truth), Prediction::Values(predicted), _) => {
                check_finite("truth", truth.iter().map(|value| value.is_finite()))?;
                check_finite("predictions", predicted.iter().map(|value| value.is_finite()))?;
                Ok(Self::Values { truth, predicted })
            }
            _ => Err(MetricError::MixedTasks),
        }
    }
}

pub(crate) fn check_finite(what: &'static str, mut rows: impl Iterator<Item = bool>) -> Result<(), MetricError> {
    rows.position(|finite| !finite).map_or(Ok(()), |row| Err(MetricError::NotFinite { what, row: row + 1 }))
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn a_tie_goes_to_the_first_label() {
        let prediction = Prediction::Probabilities(array![[0.4, 0.4, 0.2], [0.1, 0.45, 0.45], [0.0, 0.0, 1.0]]);
        assert_eq!(prediction.labels(), [0, 1, 2]);
        assert_eq!(prediction.take(&[2, 2, 0]).labels(), [2, 2, 0]);
    }

    #[test]
    fn what_was_decided_is_the_label() {
        let decided = Prediction::Decided { probabilities: array![[0.6, 0.4], [0.9, 0.1]], labels: vec![1, 0] };
        assert_eq!((decided.labels(), decided.len()), (vec![1, 0], 2));
        assert_eq!(decided.take(&[1, 0, 0]).labels(), [0, 1, 1]);
        assert_eq!(Prediction::Scores(array![[-3.0, 3.0], [7.0, -7.0]]).labels(), [1, 0]);
    }
}
