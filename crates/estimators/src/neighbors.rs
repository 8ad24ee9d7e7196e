//! Nearest neighbours.

mod index;
mod tree;

use ndarray::{Array2, ArrayView2, Axis, s};
use rayon::prelude::*;
use retune_metrics::Prediction;
use retune_spec::estimators::{Distance, KNearestNeighbors, NeighborWeight};
use retune_stage::{Design, LoadDir, Result, SaveDir, StageError, Target, Task};
use retune_table::neighbours::{GREATEST, Nearest};
use serde::{Deserialize, Serialize};

use crate::family::{Family, Learned};
use crate::labels::stored;
use crate::rows::{check_width, row_weights};
use crate::{FitInfo, FitOptions};
use index::Index;

/// The neighbours that are held at once.
const HELD: usize = 1 << 22;

/// The training rows.
pub struct FittedNeighbors {
    card: Card,
    /// [training rows, features].
    rows: Array2<f64>,
    /// The value of each training row, or the code of its label [training rows, 1].
    target: Array2<f64>,
    /// How much each training row's vote weighs [training rows, 1].
    votes: Array2<f64>,
    index: Index,
}

/// What `model.json` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Card {
    /// Not more than there are training rows.
    neighbors: usize,
    weights: NeighborWeight,
    distance: Distance,
    /// How many labels there are; `None` for values.
    n_classes: Option<usize>,
}

impl Family for KNearestNeighbors {
    type Learned = FittedNeighbors;

    fn learn(&self, rows: &Design, _task: &Task, _options: &FitOptions) -> Result<(FittedNeighbors, FitInfo)> {
        refuse_large(rows)?;
        let votes = row_weights(rows, None)?.unwrap_or_else(|| vec![1.0; rows.n_rows()]);
        let (target, n_classes) = match rows.target()? {
            Target::Values(values) => (values.clone(), None),
            Target::Classes { codes, n_classes } => (codes.iter().copied().map(f64::from).collect(), Some(*n_classes)),
        };
        let asked: Vec<usize> = (0..rows.n_rows()).filter(|&row| votes[row] > 0.0).collect();
        let column = |values: &[f64]| Array2::from_shape_fn((asked.len(), 1), |(row, _)| values[asked[row]]);
        let mut info = FitInfo::default();
        if self.neighbors > asked.len() {
            info.notes.push(format!(
                "k_nearest_neighbors was to ask {} training rows, and there are {}: all of them are asked of every row",
                self.neighbors,
                asked.len()
            ));
        }
        let card = Card {
            neighbors: self.neighbors.min(asked.len()),
            weights: self.weights,
            distance: self.distance,
            n_classes,
        };
        let features = rows.features.select(Axis(0), &asked);
        Ok((FittedNeighbors::new(card, features, column(&target), column(&votes)), info))
    }
}

/// Fails for numbers whose distances would overflow.
fn refuse_large(rows: &Design) -> Result<()> {
    let Some(((row, column), value)) = rows.features.indexed_iter().find(|(_, value)| value.abs() > GREATEST) else {
        return Ok(());
    };
    let name = &rows.names[column];
    Err(StageError::data(format!("column `{name}` has {value:e} in row {}, which is too large for distances", row + 1))
        .help("put `clip_outliers`, `log1p` or `standard_scale` before"))
}

impl FittedNeighbors {
    fn new(card: Card, rows: Array2<f64>, target: Array2<f64>, votes: Array2<f64>) -> Self {
        let index = Index::new(rows.view(), card.distance, card.neighbors);
        Self { card, rows, target, votes, index }
    }

    /// The weight of every neighbour's vote, and its target.
    fn votes<'a>(&'a self, nearest: &'a Nearest) -> impl Iterator<Item = (f64, f64)> + 'a {
        let least = nearest.found().first().map_or(0.0, |&(distance, _)| self.index.distance(distance));
        let weight = move |distance: f64| match self.card.weights {
            NeighborWeight::Uniform => 1.0,
            NeighborWeight::Distance if least == 0.0 => f64::from(u8::from(distance == 0.0)),
            // In proportion to the inverse, which might be no finite number.
            NeighborWeight::Distance => least / self.index.distance(distance),
        };
        nearest
            .found()
            .iter()
            .map(move |&(distance, row)| (weight(distance) * self.votes[[row, 0]], self.target[[row, 0]]))
    }

    /// Gives the neighbours of every row to `give`, with a row of `out`.
    fn ask(&self, features: ArrayView2<f64>, out: &mut Array2<f64>, give: impl Fn(&Nearest, &mut [f64]) + Sync) {
        let n_outputs = out.ncols();
        let slab = (HELD / self.card.neighbors.max(1)).clamp(128, 4096);
        for (features, mut out) in features.axis_chunks_iter(Axis(0), slab).zip(out.axis_chunks_iter_mut(Axis(0), slab))
        {
            let nearest = self.index.search(features, self.card.neighbors);
            let out = out.as_slice_mut().unwrap_or_default().par_chunks_mut(n_outputs);
            out.zip(&nearest).for_each(|(out, nearest)| give(nearest, out));
        }
    }
}

impl Learned for FittedNeighbors {
    /// Fails besides where a value is not finite or too large for distances.
    fn predict(&self, features: ArrayView2<f64>) -> Result<Prediction> {
        check_width(features, self.rows.ncols())?;
        let unusable = |(_, value): &(_, &f64)| value.is_nan() || value.abs() > GREATEST;
        if let Some(((row, column), value)) = features.indexed_iter().find(unusable) {
            let place = format!("feature {} of row {}", column + 1, row + 1);
            return Err(StageError::data(format!("{place} to predict is {value}, which has no distances")));
        }
        let mut out = Array2::zeros((features.nrows(), self.card.n_classes.unwrap_or(1)));
        if self.card.n_classes.is_some() {
            self.ask(features, &mut out, |nearest, out| {
                self.votes(nearest).for_each(|(weight, code)| out[code as usize] += weight);
                let total: f64 = out.iter().sum();
                out.iter_mut().for_each(|share| *share /= total);
            });
            return Ok(Prediction::Probabilities(out));
        }
        self.ask(features, &mut out, |nearest, out| {
            let (sum, total) = self
                .votes(nearest)
                .fold((0.0, 0.0), |(sum, total), (weight, value)| (sum + weight * value, total + weight));
            out[0] = sum / total;
        });
        Ok(Prediction::Values(out.slice(s![.., 0]).to_vec()))
    }

    fn describe(&self) -> String {
        let (k, (n_rows, n_features)) = (self.card.neighbors, self.rows.dim());
        format!("the nearest {k} of {n_rows} rows by {n_features} features, {}", self.index.describe())
    }

    fn size(&self) -> usize {
        self.rows.len() + self.target.len() + self.votes.len()
    }

    fn save(&self, dir: &SaveDir) -> Result<()> {
        dir.json("model.json", &self.card)?;
        dir.matrices(
            "rows.safetensors",
            &[("rows", self.rows.view()), ("target", self.target.view()), ("votes", self.votes.view())],
        )
    }

    fn load(dir: &LoadDir) -> Result<Self> {
        let card: Card = dir.json("model.json")?;
        let mut matrices = dir.matrices("rows.safetensors")?;
        let n_rows = matrices.get("rows").map_or(0, Array2::nrows);
        let rows = stored(&mut matrices, "rows", (n_rows, None))?;
        let target = stored(&mut matrices, "target", (n_rows, Some(1)))?;
        let votes = stored(&mut matrices, "votes", (n_rows, Some(1)))?;
        let known = card.n_classes.is_none_or(|n| target.iter().all(|&code| code >= 0.0 && code < n as f64));
        if n_rows == 0 || card.neighbors == 0 || card.neighbors > n_rows || !known {
            return Err(StageError::failed("rows.safetensors does not hold the training rows that model.json names")
                .help("train the model again"));
        }
        Ok(Self::new(card, rows, target, votes))
    }
}
