//! What is compared: predictions and the truth.

use ndarray::{Array2, Axis};

use crate::MetricError;

/// What a model says about rows.
#[derive(Clone, Debug, PartialEq)]
pub enum Prediction {
    /// The probability of every label [rows, labels].
    Probabilities(Array2<f64>),
    /// A value for every row.
    Values(Vec<f64>),
}

impl Prediction {
    /// The number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Probabilities(probabilities) => probabilities.nrows(),
            Self::Values(values) => values.len(),
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The code of each row's most probable label, the first of several; nothing for values.
    pub fn labels(&self) -> Vec<u32> {
        match self {
            Self::Probabilities(probabilities) => probabilities.rows().into_iter().map(first_greatest).collect(),
            Self::Values(_) => Vec::new(),
        }
    }

    /// The rows at `indices`, in that order.
    #[must_use]
    pub fn take(&self, indices: &[usize]) -> Self {
        match self {
            Self::Probabilities(probabilities) => Self::Probabilities(probabilities.select(Axis(0), indices)),
            Self::Values(values) => Self::Values(indices.iter().map(|&row| values[row]).collect()),
        }
    }
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
    Classes { codes: &'a [u32], n_classes: usize, probabilities: &'a Array2<f64> },
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
        match (*truth, prediction) {
            (Truth::Classes { codes, n_classes }, Prediction::Probabilities(probabilities)) => {
                let labels = codes.iter().map(|&code| code as usize + 1).fold(n_classes, usize::max);
                if labels != probabilities.ncols() {
                    return mismatch("labels", labels, probabilities.ncols());
                }
                let finite = |row: ndarray::ArrayView1<f64>| row.iter().all(|value| value.is_finite());
                check_finite("predictions", probabilities.rows().into_iter().map(finite))?;
                Ok(Self::Classes { codes, n_classes, probabilities })
            }
            (Truth::Values(truth), Prediction::Values(predicted)) => {
                check_finite("truth", truth.iter().map(|value| value.is_finite()))?;
                check_finite("predictions", predicted.iter().map(|value| value.is_finite()))?;
                Ok(Self::Values { truth, predicted })
            }
            _ => Err(MetricError::MixedTasks),
        }
    }
}

fn check_finite(what: &'static str, mut rows: impl Iterator<Item = bool>) -> Result<(), MetricError> {
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
}
