//! Support vector machines: what the linear ones and those with a kernel share.

mod kernel;
mod linear;
mod machine;
mod smo;

use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut1, Axis};
use rayon::prelude::*;
use retune_metrics::Prediction;
use retune_stage::{Design, Result, StageError, Target};
use serde::{Deserialize, Serialize};

pub use linear::FittedLinearSvm;
pub use machine::FittedSvm;

use crate::rows::{codes, values};

/// Rows that are predicted together.
const TILE: usize = 256;

/// What a machine predicts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Predicts {
    Values,
    Labels {
        n_classes: usize,
        /// The codes of the labels that training rows with a weight had, ascending.
        seen: Vec<u32>,
    },
}

impl Predicts {
    /// That of training rows with these weights. Fails where fewer than two labels have a row.
    fn of(rows: &Design, weights: &[f64]) -> Result<Self> {
        if let Target::Values(_) = rows.target()? {
            return Ok(Self::Values);
        }
        let (codes, n_classes) = codes(rows)?;
        let mut is_seen = vec![false; n_classes];
        codes.iter().zip(weights).for_each(|(&code, &weight)| is_seen[code as usize] |= weight > 0.0);
        let seen: Vec<u32> = (0..n_classes as u32).filter(|&code| is_seen[code as usize]).collect();
        if seen.len() < 2 {
            return Err(StageError::data("all training rows have the same label")
                .help("a model needs rows of two labels at least"));
        }
        Ok(Self::Labels { n_classes, seen })
    }

    /// The target as numbers: values, or the places of labels among those seen.
    fn target(&self, rows: &Design) -> Result<Vec<f64>> {
        match self {
            Self::Values => Ok(values(rows)?.to_vec()),
            Self::Labels { seen, .. } => {
                let place = |code: &u32| seen.binary_search(code).unwrap_or(0) as f64;
                Ok(codes(rows)?.0.iter().map(place).collect())
            }
        }
    }

    fn n_seen(&self) -> usize {
        match self {
            Self::Values => 1,
            Self::Labels { seen, .. } => seen.len(),
        }
    }

    /// Whether a model that was read can be.
    fn is_sound(&self) -> bool {
        match self {
            Self::Values => true,
            Self::Labels { n_classes, seen } => {
                seen.len() > 1
                    && seen.is_sorted_by(|one, next| one < next)
                    && seen.last().is_some_and(|&last| (last as usize) < *n_classes)
            }
        }
    }

    /// Predictions of rows of which `decide` gives the decisions [rows, decisions]. One decision between two labels is the second one's score; `score` makes scores of labels seen of more. Labels
    /// that were not seen score lower than all others.
    fn predict(
        &self,
        features: ArrayView2<f64>,
        decide: impl Fn(ArrayView2<f64>) -> Array2<f64> + Sync,
        score: impl Fn(ArrayView1<f64>, ArrayViewMut1<f64>) + Sync,
    ) -> Prediction {
        let width = if let Self::Labels { n_classes, .. } = self { *n_classes } else { 1 };
        let mut predicted = Array2::zeros((features.nrows(), width));
        let tiles = predicted.axis_chunks_iter_mut(Axis(0), TILE).into_par_iter();
        tiles.zip(features.axis_chunks_iter(Axis(0), TILE)).for_each(|(mut predicted, features)| {
            let decisions = decide(features);
            let Self::Labels { seen, .. } = self else { return predicted.assign(&decisions) };
            let mut scores = ndarray::Array1::zeros(seen.len());
            for (decisions, mut predicted) in decisions.rows().into_iter().zip(predicted.rows_mut()) {
                match seen.len() {
                    2 => (scores[0], scores[1]) = (-decisions[0], decisions[0]),
                    _ => score(decisions, scores.view_mut()),
                }
                predicted.fill(scores.fold(f64::INFINITY, |least, &score| least.min(score)) - 1.0);
                seen.iter().zip(&scores).for_each(|(&code, &score)| predicted[code as usize] = score);
            }
        });
        match self {
            Self::Values => Prediction::Values(predicted.into_raw_vec_and_offset().0),
            Self::Labels { .. } => Prediction::Scores(predicted),
        }
    }
}
