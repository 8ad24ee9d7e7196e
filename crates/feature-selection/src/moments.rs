//! Mean and spread of a column.

use retune_table::numbers::sum;

/// Mean, and the sum of squared deviations from it.
pub(crate) struct Moments {
    pub(crate) mean: f64,
    pub(crate) scatter: f64,
}

impl Moments {
    /// In two passes, which loses no digits to a large mean.
    pub(crate) fn of(values: &[f64]) -> Self {
        let mean = sum(values, |value| value) / values.len() as f64;
        Self { mean, scatter: sum(values, |value| (value - mean) * (value - mean)) }
    }

    /// The variance of the population.
    pub(crate) fn variance(&self, n_rows: usize) -> f64 {
        self.scatter / n_rows as f64
    }
}
