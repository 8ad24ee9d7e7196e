//! Columns cut into bins, once for all trees.

use std::sync::Arc;

use ndarray::{ArrayView2, Axis};
use rayon::prelude::*;

use crate::boosting::Columns;

/// The most bins of a column of a forest; a byte then also has a number for missing values.
pub const BINS: usize = 255;

/// Columns that are cut at a time, so that rows are read by lines of the cache.
const TOGETHER: usize = 8;

/// A column cut into bins; missing values are in a bin of their own, after the others.
#[derive(Clone, Debug)]
pub struct Binned {
    pub(super) bins: Bins,
    /// The least and the greatest value of each bin, ascending.
    pub(super) ranges: Arc<[(f64, f64)]>,
    pub(super) has_missing: bool,
}

/// The bin of each row.
#[derive(Clone, Debug)]
pub(super) enum Bins {
    Few(Vec<u8>),
    Many(Vec<u32>),
}

impl Binned {
    /// Of at most `limit` distinct values each has a bin; others are cut into `limit` bins of as many rows as can be. Missing values are NaN.
    pub fn new(values: &[f64], limit: usize) -> Self {
        let ranges = ranges(values, limit);
        let missing = ranges.len();
        let bin = |&value: &f64| {
            if value.is_nan() { missing } else { ranges.partition_point(|&(_, greatest)| greatest < value) }
        };
        let bins = if missing <= BINS {
            Bins::Few(values.iter().map(|value| bin(value) as u8).collect())
        } else {
            Bins::Many(values.iter().map(|value| bin(value) as u32).collect())
        };
        Self { bins, ranges: ranges.into(), has_missing: values.iter().any(|value| value.is_nan()) }
    }

    /// Every column of a matrix [rows, columns].
    pub fn of_matrix(features: ArrayView2<f64>, limit: usize) -> Vec<Self> {
        let cut = |columns: ArrayView2<f64>| {
            let columns = columns.t().as_standard_layout().into_owned();
            columns.rows().into_iter().map(|values| Self::new(&values.to_vec(), limit)).collect::<Vec<_>>()
        };
        features.axis_chunks_iter(Axis(1), TOGETHER).into_par_iter().flat_map_iter(cut).collect()
    }

    /// Columns that need not be a matrix.
    pub fn of_columns(columns: &dyn Columns, limit: usize) -> Vec<Self> {
        let rows: Vec<usize> = (0..columns.n_rows()).collect();
        let cut = |column: usize| Self::new(&columns.at(column, &rows), limit);
        (0..columns.n_columns()).into_par_iter().map(cut).collect()
    }

    /// The same bins of the rows at `order`, such as a shuffle of all rows.
    #[must_use]
    pub fn take(&self, order: &[usize]) -> Self {
        let bins = match &self.bins {
            Bins::Few(bins) => Bins::Few(order.iter().map(|&row| bins[row]).collect()),
            Bins::Many(bins) => Bins::Many(order.iter().map(|&row| bins[row]).collect()),
        };
        Self { bins, ranges: self.ranges.clone(), has_missing: self.has_missing }
    }

    /// The threshold between what is in a bin or below, and what is in a later one or above: the midpoint, as scikit-learn's.
    pub(super) fn between(&self, below: usize, above: usize) -> f64 {
        let (low, high) = (self.ranges[below].1, self.ranges[above].0);
        let middle = low / 2.0 + high / 2.0;
        // Between neighbours among the floats there is none.
        if middle < high { middle } else { low }
    }
}

fn ranges(values: &[f64], limit: usize) -> Vec<(f64, f64)> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let n_distinct = sorted.chunk_by(|a, b| a == b).count();
    let mut ranges: Vec<(f64, f64)> = Vec::new();
    let mut open: Option<(f64, usize)> = None;
    let mut left = sorted.len();
    for equal in sorted.chunk_by(|a, b| a == b) {
        let (low, n_rows) = open.map_or((equal[0], equal.len()), |(low, n_rows)| (low, n_rows + equal.len()));
        // What a frequent value takes is shared by the bins that are left.
        let full = n_distinct <= limit || n_rows * (limit - ranges.len()) >= left && ranges.len() + 1 < limit;
        open = if full {
            ranges.push((low, equal[0]));
            left -= n_rows;
            None
        } else {
            Some((low, n_rows))
        };
    }
    if let (Some((low, _)), Some(&last)) = (open, sorted.last()) {
        ranges.push((low, last));
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bins(values: &[f64], limit: usize) -> Vec<u8> {
        match Binned::new(values, limit).bins {
            Bins::Few(bins) => bins,
            Bins::Many(bins) => bins.into_iter().map(|bin| bin as u8).collect(),
        }
    }

    #[test]
    fn values_have_bins() {
        assert_eq!(bins(&[2.0, f64::NAN, -1.0, 2.0, -0.0, 0.0], 255), [2, 3, 0, 2, 1, 1]);
        assert_eq!(bins(&[f64::NAN], 255), [0]);
        let many: Vec<f64> = (0..2550).map(f64::from).collect();
        let of = bins(&many, 255);
        assert!((0..255).all(|bin| of.iter().filter(|&&of| of == bin).count() == 10) && of.is_sorted());
        // A frequent value takes one bin, and the other 9 are for the other 90 rows.
        let skewed: Vec<f64> = (0..1000).map(|row| if row < 910 { 0.0 } else { f64::from(row) }).collect();
        let of = bins(&skewed, 10);
        assert!((1..10).all(|bin| of.iter().filter(|&&of| of == bin).count() == 10), "{of:?}");
        for limit in 1..20 {
            assert!(Binned::new(&skewed, limit).ranges.len() <= limit);
        }
    }

    #[test]
    fn thresholds_are_between_values() {
        let column = Binned::new(&[1.0, 2.0, 2.0_f64.next_up()], 255);
        assert_eq!(column.between(0, 1), 1.5);
        assert_eq!(column.between(1, 2), 2.0);
    }
}
