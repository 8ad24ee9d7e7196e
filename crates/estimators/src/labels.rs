//! What the families share that weigh labels against each other.

use std::collections::HashMap;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis};
use rayon::prelude::*;
use retune_metrics::Prediction;
use retune_stage::{Design, Result, StageError, Task};
use serde::{Deserialize, Serialize};

use crate::rows::{codes, row_weights};

/// Rows that are predicted together.
const TILE: usize = 256;

/// Rows that are summed by one thread.
const BLOCK: usize = 4096;

/// The labels of which there are training rows, and how often they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Seen {
    /// How many labels there are; those that are not seen have probability 0.
    n_classes: usize,
    /// The codes of those that are seen, ascending.
    codes: Vec<u32>,
    /// The share that each has in the weight of all rows.
    pub(crate) shares: Vec<f64>,
}

/// Training rows by their labels.
pub(crate) struct Labelled<'a> {
    pub(crate) seen: Seen,
    features: ArrayView2<'a, f64>,
    /// The place of each row's label among those seen; `None` where it weighs nothing.
    places: Vec<Option<usize>>,
    weights: Option<Vec<f64>>,
    /// The weight of each label's rows.
    pub(crate) totals: Vec<f64>,
}

impl<'a> Labelled<'a> {
    /// Rows that weigh something. Fails where fewer than two labels have such.
    pub(crate) fn new(rows: &'a Design) -> Result<Self> {
        let all = Self::one_or_more(rows)?;
        if all.totals.len() < 2 {
            return Err(StageError::data("all training rows have the same label")
                .help("a model needs rows of two labels at least"));
        }
        Ok(all)
    }

    /// Rows that weigh something, whatever their labels.
    pub(crate) fn one_or_more(rows: &'a Design) -> Result<Self> {
        let (codes, n_classes) = codes(rows)?;
        let weights = row_weights(rows, None)?;
        let weight = |row: usize| weights.as_ref().map_or(1.0, |weights| weights[row]);
        let mut sums = vec![0.0; n_classes];
        codes.iter().enumerate().for_each(|(row, &code)| sums[code as usize] += weight(row));
        let seen: Vec<u32> = (0..n_classes as u32).filter(|&code| sums[code as usize] > 0.0).collect();
        let place = |(row, code)| seen.binary_search(code).ok().filter(|_| weight(row) > 0.0);
        let places = codes.iter().enumerate().map(place).collect();
        let totals: Vec<f64> = seen.iter().map(|&code| sums[code as usize]).collect();
        let total: f64 = totals.iter().sum();
        let seen = Seen { n_classes, codes: seen, shares: totals.iter().map(|sum| sum / total).collect() };
        Ok(Self { seen, features: rows.features.view(), places, weights, totals })
    }

    /// The weight of a row.
    pub(crate) fn weight(&self, row: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |weights| weights[row])
    }

    /// The rows of each label that weigh something.
    pub(crate) fn members(&self) -> Vec<Vec<usize>> {
        let mut members = vec![Vec::new(); self.totals.len()];
        self.places.iter().enumerate().for_each(|(row, place)| {
            if let Some(place) = place {
                members[*place].push(row);
            }
        });
        members
    }

    /// The weighted sums of a term of every value, by label: [labels, features]. Rows are summed in blocks of a fixed size and in their order.
    pub(crate) fn sums(&self, term: impl Fn(usize, usize, f64) -> f64 + Sync) -> Array2<f64> {
        let zeros = || Array2::zeros((self.totals.len(), self.features.ncols()));
        let block_sum = |(block, rows): (usize, ArrayView2<f64>)| {
            let mut sums = zeros();
            for (row, values) in rows.rows().into_iter().enumerate() {
                let row = block * BLOCK + row;
                let Some(place) = self.places[row] else { continue };
                let weight = self.weight(row);
                let sums = sums.row_mut(place);
                sums.into_iter()
                    .zip(values)
                    .enumerate()
                    .for_each(|(column, (sum, &value))| *sum += weight * term(place, column, value));
            }
            sums
        };
        let blocks = self.features.axis_chunks_iter(Axis(0), BLOCK).into_par_iter().enumerate();
        let sums: Vec<Array2<f64>> = blocks.map(block_sum).collect();
        sums.into_iter().fold(zeros(), |total, sums| total + sums)
    }

    /// The weighted mean of every column, by label: [labels, features].
    pub(crate) fn means(&self) -> Array2<f64> {
        self.mean_of(|_, _, value| value)
    }

    /// The weighted variance of every column around means, by label: [labels, features].
    pub(crate) fn variances(&self, means: &Array2<f64>) -> Array2<f64> {
        self.mean_of(|place, column, value| (value - means[[place, column]]).powi(2))
    }

    fn mean_of(&self, term: impl Fn(usize, usize, f64) -> f64 + Sync) -> Array2<f64> {
        let mut means = self.sums(term);
        means.rows_mut().into_iter().zip(&self.totals).for_each(|(mut row, total)| row /= *total);
        means
    }
}

impl Seen {
    /// How many labels are seen.
    pub(crate) fn len(&self) -> usize {
        self.codes.len()
    }

    /// The code of a label by its place among those seen.
    pub(crate) fn code(&self, place: usize) -> usize {
        self.codes[place] as usize
    }

    /// The logarithms of the shares, or of equal ones.
    pub(crate) fn log_priors(&self, by_rows: bool) -> Vec<f64> {
        let equal = 1.0 / self.len() as f64;
        self.shares.iter().map(|&share| if by_rows { share } else { equal }.ln()).collect()
    }

    /// Probabilities of rows, of which `score` writes the logarithms but for a summand of each row [rows, labels seen].
    pub(crate) fn predict(
        &self,
        features: ArrayView2<f64>,
        score: impl Fn(ArrayView2<f64>, ArrayViewMut2<f64>) + Sync,
    ) -> Prediction {
        self.spread(features, |features, mut scores| {
            score(features, scores.view_mut());
            scores.rows_mut().into_iter().for_each(softmax);
        })
    }

    /// Probabilities of rows, of which `share` writes those of labels seen [rows, labels seen].
    pub(crate) fn spread(
        &self,
        features: ArrayView2<f64>,
        share: impl Fn(ArrayView2<f64>, ArrayViewMut2<f64>) + Sync,
    ) -> Prediction {
        let mut probabilities = Array2::zeros((features.nrows(), self.n_classes));
        let tiles = probabilities.axis_chunks_iter_mut(Axis(0), TILE).into_par_iter();
        tiles.zip(features.axis_chunks_iter(Axis(0), TILE)).for_each(|(mut probabilities, features)| {
            let mut shares = Array2::zeros((features.nrows(), self.len()));
            share(features, shares.view_mut());
            for (place, shares) in shares.columns().into_iter().enumerate() {
                probabilities.column_mut(self.code(place)).assign(&shares);
            }
        });
        Prediction::Probabilities(probabilities)
    }

    /// Fails where what was read cannot be: for a model that was changed by hand.
    pub(crate) fn check(&self) -> Result<()> {
        let ascending = self.codes.is_sorted_by(|one, next| one < next);
        let known = self.codes.last().is_some_and(|&last| (last as usize) < self.n_classes);
        if ascending && known && self.shares.len() == self.codes.len() {
            Ok(())
        } else {
            Err(StageError::failed("model.json names labels that cannot be").help("train the model again"))
        }
    }
}

pub(crate) fn softmax(mut scores: ndarray::ArrayViewMut1<f64>) {
    let greatest = scores.fold(f64::NEG_INFINITY, |greatest, &score| greatest.max(score));
    scores.mapv_inplace(|score| (score - greatest).exp());
    let sum = scores.sum();
    scores /= sum;
}

/// A label in words.
pub(crate) fn label(task: &Task, code: usize) -> &str {
    match task {
        Task::Classification { labels } => labels.get(code).map_or("", String::as_str),
        Task::Regression => "",
    }
}

/// A matrix of a stored model. Fails where it has not the shape that the rest of the model needs; `None` for a number of columns takes any.
pub(crate) fn stored(
    matrices: &mut HashMap<String, Array2<f64>>,
    name: &str,
    (rows, columns): (usize, Option<usize>),
) -> Result<Array2<f64>> {
    let fits = |matrix: &Array2<f64>| matrix.nrows() == rows && columns.is_none_or(|columns| matrix.ncols() == columns);
    matrices.remove(name).filter(fits).ok_or_else(|| {
        let columns = columns.map_or("some".to_owned(), |columns| columns.to_string());
        StageError::failed(format!("the stored model has no matrix `{name}` of {rows} rows and {columns} columns"))
            .help("train the model again")
    })
}
