//! `incremental_pca`.

use std::ops::Range;

use faer::{Mat, MatRef};
use retune_spec::preprocessing::IncrementalPca;
use retune_stage::{FitContext, Kind, Result, StageError};
use serde::{Deserialize, Serialize};

use crate::frame::Frame;
use crate::outline::Outline;
use crate::pca::{FittedPca, Parts, check_columns, right_singular};
use crate::projection::{applied_as, dense, flip_signs, too_large, too_many};
use crate::source::Source;
use crate::step::{FitStep, Learnt};

/// Components are applied as those of `pca` are.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct FittedIncrementalPca(FittedPca);

impl FitStep for IncrementalPca {
    type Fitted = FittedIncrementalPca;
    const KINDS: &'static [Kind] = &[Kind::Numeric, Kind::Boolean];

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        if let Some(batch_size) = self.batch_size.filter(|&batch_size| batch_size < self.components) {
            return Err(too_many(self.components, batch_size, "rows of a batch"));
        }
        check_columns(columns, self.components, &self.prefix, outline)
    }

    fn fit(&self, source: &Source, columns: &[String], context: &FitContext) -> Result<Learnt<FittedIncrementalPca>> {
        let n_rows = source.n_rows();
        if n_rows < 2 {
            return Err(StageError::data("components need at least 2 training rows"));
        }
        if self.components > n_rows {
            return Err(too_many(self.components, n_rows, "training rows"));
        }
        let batch_size = self.batch_size.unwrap_or(5 * columns.len());
        let batches = batches(n_rows, batch_size, self.components);
        let n_batches = batches.len();
        let mut learner = Learner::new(columns.len(), self.components, batches);
        let map = |frame: &Frame| Ok((frame.n_rows(), dense(frame, columns)?));
        source.fold(columns, map, |(n_rows, piece)| {
            context.progress.check_cancelled()?;
            learner.push(MatRef::from_column_major_slice(&piece, n_rows, columns.len()))
        })?;
        let parts = learner.finish();
        let (fitted, text) = FittedPca::new(source, columns, &self.prefix, parts, self.components, self.whiten);
        let batches = if n_batches == 1 { "1 batch".to_owned() } else { format!("{n_batches} batches") };
        let text = format!("{text}; learned from {batches}");
        Ok(Learnt::applied(FittedIncrementalPca(fitted), text))
    }
}

/// The rows of each batch, as scikit-learn's `gen_batches`: the last takes along what is left where that would be fewer rows than components.
fn batches(n_rows: usize, batch_size: usize, n_components: usize) -> Vec<Range<usize>> {
    let mut batches = Vec::new();
    let mut first = 0;
    for _ in 0..n_rows / batch_size {
        let end = first + batch_size;
        if end + n_components <= n_rows {
            batches.push(first..end);
            first = end;
        }
    }
    if first < n_rows {
        batches.push(first..n_rows);
    }
    batches
}

/// What the batches so far give (Ross, Lim, Lin and Yang 2008).
struct Learner {
    n_components: usize,
    /// Those that are still to come, in order.
    batches: std::vec::IntoIter<Range<usize>>,
    next: Option<Range<usize>>,
    /// The rows of the next batch that are there [rows, columns], and how many.
    batch: Mat<f64>,
    n_filled: usize,
    n_seen: usize,
    means: Vec<f64>,
    /// Sums of squared distances from the means.
    squares: Vec<f64>,
    singular_values: Vec<f64>,
    /// As columns.
    directions: Mat<f64>,
}

impl Learner {
    fn new(n_columns: usize, n_components: usize, batches: Vec<Range<usize>>) -> Self {
        let mut batches = batches.into_iter();
        let next = batches.next();
        Self {
            n_components,
            batches,
            batch: Mat::zeros(next.as_ref().map_or(0, Range::len), n_columns),
            next,
            n_filled: 0,
            n_seen: 0,
            means: vec![0.0; n_columns],
            squares: vec![0.0; n_columns],
            singular_values: Vec::new(),
            directions: Mat::zeros(n_columns, 0),
        }
    }

    /// Takes the next rows, however many.
    fn push(&mut self, rows: MatRef<f64>) -> Result<()> {
        let mut first = 0;
        while first < rows.nrows() {
            let n = (self.batch.nrows() - self.n_filled).min(rows.nrows() - first);
            self.batch.subrows_mut(self.n_filled, n).copy_from(rows.subrows(first, n));
            self.n_filled += n;
            first += n;
            if self.n_filled == self.batch.nrows() {
                self.learn()?;
                self.next = self.batches.next();
                self.batch = Mat::zeros(self.next.as_ref().map_or(0, Range::len), self.means.len());
                self.n_filled = 0;
                if self.next.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    fn learn(&mut self) -> Result<()> {
        let (n_batch, n_columns) = (self.batch.nrows(), self.means.len());
        let (seen, new) = (self.n_seen as f64, n_batch as f64);
        let n_before = self.singular_values.len();
        // Below the components so far, the batch about its own means, and a row for the distance between the means.
        let mut stacked = Mat::zeros(n_before + n_batch + usize::from(self.n_seen > 0), n_columns);
        for (component, value) in self.singular_values.iter().enumerate() {
            for column in 0..n_columns {
                stacked[(component, column)] = value * self.directions[(column, component)];
            }
        }
        for column in 0..n_columns {
            let values = self.batch.col_as_slice(column);
            let mean = values.iter().sum::<f64>() / new;
            let below = &mut stacked.col_as_slice_mut(column)[n_before..];
            below.iter_mut().zip(values).for_each(|(cell, value)| *cell = value - mean);
            let squares: f64 = below[..n_batch].iter().map(|difference| difference * difference).sum();
            let apart = self.means[column] - mean;
            if let Some(correction) = below.get_mut(n_batch) {
                *correction = (seen * new / (seen + new)).sqrt() * apart;
            }
            self.squares[column] += squares + apart * apart * seen * new / (seen + new);
            self.means[column] = (seen * self.means[column] + new * mean) / (seen + new);
        }
        if !stacked.is_all_finite() {
            return Err(too_large("principal components"));
        }
        let (mut values, mut directions) = right_singular(stacked.as_ref())?;
        flip_signs(&mut directions);
        values.truncate(self.n_components);
        self.directions = directions.subcols(0, values.len()).to_owned();
        self.singular_values = values;
        self.n_seen += n_batch;
        Ok(())
    }

    fn finish(self) -> Parts {
        let degrees = (self.n_seen - 1) as f64;
        Parts {
            n_rows: self.n_seen,
            means: self.means,
            variances: self.singular_values.iter().map(|value| value * value / degrees).collect(),
            total: self.squares.iter().sum::<f64>() / degrees,
            directions: self.directions,
        }
    }
}

applied_as!(FittedIncrementalPca, 0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_batch_takes_what_would_be_too_few() {
        // As sklearn.utils.gen_batches(n, batch_size, min_batch_size=n_components).
        for (n_rows, batch_size, n_components, expected) in
            [(7, 3, 0, &[3, 6, 7][..]), (7, 3, 1, &[3, 6, 7]), (7, 3, 2, &[3, 7]), (6, 3, 2, &[3, 6]), (2, 5, 1, &[2])]
        {
            let ends: Vec<usize> = batches(n_rows, batch_size, n_components).iter().map(|batch| batch.end).collect();
            assert_eq!(ends, expected, "{n_rows} {batch_size} {n_components}");
        }
    }
}
