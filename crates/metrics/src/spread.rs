//! Scores of values that are no mean of row losses: shares of the variance, and the median error.

use crate::scorer::Counted;

/// The share of the truth's variance that predictions explain.
pub(crate) struct Explained {
    truth: Vec<f64>,
    errors: Vec<f64>,
    /// Whether a constant error counts too: R2, which is not defined for one row.
    about_zero: bool,
}

impl Explained {
    pub(crate) fn new(truth: &[f64], predicted: &[f64], about_zero: bool) -> Self {
        let errors = truth.iter().zip(predicted).map(|(truth, predicted)| predicted - truth).collect();
        Self { truth: truth.to_vec(), errors, about_zero }
    }
}

impl Counted for Explained {
    /// Of a constant truth nothing can be explained: 1 for the exact prediction and 0 for others, as scikit-learn has it.
    fn score(&self, counts: &[u32]) -> Result<f64, &'static str> {
        if self.about_zero && counts.iter().map(|&count| u64::from(count)).sum::<u64>() < 2 {
            return Err("there is only one row");
        }
        let left = if self.about_zero {
            mean(self.errors.iter().map(|error| error * error), counts)
        } else {
            variance(&self.errors, counts)
        };
        let spread = variance(&self.truth, counts);
        Ok(if spread == 0.0 { f64::from(u8::from(left == 0.0)) } else { 1.0 - left / spread })
    }
}

/// Absolute errors from the least, with their rows.
pub(crate) struct MedianError(Vec<(f64, usize)>);

impl MedianError {
    pub(crate) fn new(errors: Vec<f64>) -> Self {
        let mut errors: Vec<(f64, usize)> = errors.into_iter().zip(0..).collect();
        errors.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self(errors)
    }
}

impl Counted for MedianError {
    fn score(&self, counts: &[u32]) -> Result<f64, &'static str> {
        let n_rows: u64 = counts.iter().map(|&count| u64::from(count)).sum();
        let mut seen = 0;
        let mut below = None;
        for &(error, row) in &self.0 {
            seen += u64::from(counts[row]);
            if below.is_none() && 2 * seen >= n_rows {
                below = Some(error);
            }
            if let Some(below) = below.filter(|_| 2 * seen > n_rows) {
                return Ok(f64::midpoint(below, error));
            }
        }
        Err("there is no row")
    }
}

/// The mean of values that count so often.
pub(crate) fn mean(values: impl Iterator<Item = f64>, counts: &[u32]) -> f64 {
    let (mut sum, mut n_rows) = (0.0, 0.0);
    for (value, &count) in values.zip(counts) {
        sum += value * f64::from(count);
        n_rows += f64::from(count);
    }
    sum / n_rows
}

/// 0 exactly where all values are equal, whatever rounding makes of their mean.
fn variance(values: &[f64], counts: &[u32]) -> f64 {
    let mut counted = values.iter().zip(counts).filter(|(_, count)| **count > 0).map(|(value, _)| value);
    let first = counted.next();
    if counted.all(|value| Some(value) == first) {
        return 0.0;
    }
    let center = mean(values.iter().copied(), counts);
    mean(values.iter().map(|value| (value - center).powi(2)), counts)
}
