//! `knn_impute`.

use ndarray::ArrayView2;
use rayon::prelude::*;
use retune_spec::preprocessing::{KnnImpute, NeighbourWeights};
use retune_stage::{FitContext, Kind, LoadDir, Result, SaveDir, StageError};
use retune_table::neighbours::{Nearest, Neighbours};
use serde::{Deserialize, Serialize};

use crate::frame::Frame;
use crate::impute::{LEAVE_OUT, no_value};
use crate::neighbours::matrix;
use crate::outline::Outline;
use crate::projection::read_matrix;
use crate::source::Source;
use crate::stats::{Moments, moments};
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// The training rows, and the columns' means.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedKnnImpute {
    columns: Vec<String>,
    neighbours: usize,
    weights: NeighbourWeights,
    means: Vec<f64>,
    n_rows: usize,
    #[serde(skip)]
    train: Option<Neighbours>,
}

impl FitStep for KnnImpute {
    type Fitted = FittedKnnImpute;
    const REPAIRS: bool = true;
    const KINDS: &'static [Kind] = &[Kind::Numeric];

    fn check(&self, _columns: &[String], _outline: &mut Outline) -> Result<()> {
        Ok(())
    }

    fn fit(&self, source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedKnnImpute>> {
        let frame = source.frame()?;
        let mean = |(name, moments): (&String, Option<_>)| {
            moments.map(|of: Moments| of.mean).ok_or_else(|| no_value(name).help(LEAVE_OUT))
        };
        let means = columns.iter().zip(moments(source, columns, false)?).map(mean).collect::<Result<_>>()?;
        let rows = matrix(frame, columns)?;
        let n_missing = rows.iter().filter(|value| value.is_nan()).count();
        let text = format!(
            "filled {} from the {} nearest of {}",
            counted(n_missing, "missing value"),
            self.neighbours,
            counted(frame.n_rows(), "training row")
        );
        let fitted = FittedKnnImpute {
            columns: columns.to_vec(),
            neighbours: self.neighbours,
            weights: self.weights,
            means,
            n_rows: frame.n_rows(),
            train: Some(Neighbours::with_gaps(rows, columns.len())),
        };
        Ok(Learnt::applied(fitted, text))
    }
}

impl ApplyStep for FittedKnnImpute {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        let Some(train) = &self.train else {
            return Err(StageError::failed("the training rows were not loaded"));
        };
        if self.columns.is_empty() {
            return Ok(frame.clone());
        }
        let cells = matrix(frame, &self.columns)?;
        let rows = cells.chunks_exact(self.columns.len()).enumerate();
        let (gaps, queries): (Vec<usize>, Vec<&[f64]>) =
            rows.filter(|(_, row)| row.iter().any(|value| value.is_nan())).unzip();
        let filled = self.fill(train, &queries.concat());
        frame.map(&self.columns, |column, values| {
            for (row, filled) in gaps.iter().zip(filled.chunks_exact(self.columns.len())) {
                values[*row] = filled[column];
            }
            Ok(())
        })
    }

    fn save(&self, dir: &SaveDir, file: &str) -> Result<()> {
        let rows = self.train.as_ref().map_or(&[][..], Neighbours::rows);
        let rows = ArrayView2::from_shape((self.n_rows, self.columns.len()), rows)
            .map_err(|error| StageError::failed(error.to_string()))?;
        dir.matrices(file, &[("rows", rows)])
    }

    fn load(&mut self, dir: &LoadDir, file: &str) -> Result<()> {
        let rows = read_matrix(dir, file, "rows", [self.n_rows, self.columns.len()])?;
        self.train = Some(Neighbours::with_gaps(rows.iter().copied().collect(), self.columns.len()));
        Ok(())
    }
}

impl FittedKnnImpute {
    /// The queries [rows, columns] with what is missing filled in.
    fn fill(&self, train: &Neighbours, queries: &[f64]) -> Vec<f64> {
        let n_columns = self.columns.len();
        // The nearest rows for each missing value, since they must have one there.
        let start = |query: usize| {
            let values = &queries[query * n_columns..(query + 1) * n_columns];
            let missing = (0..n_columns).filter(|&column| values[column].is_nan());
            missing.map(|column| (column, Nearest::new(self.neighbours))).collect::<Vec<_>>()
        };
        let offer = |wanted: &mut Vec<(usize, Nearest)>, row: usize, distance: f64| {
            let values = train.row(row);
            let mut far = 0.0_f64;
            for (column, nearest) in wanted {
                if !values[*column].is_nan() {
                    nearest.offer(row, distance);
                }
                far = far.max(nearest.far());
            }
            far
        };
        let found = train.search(queries, start, offer);
        let mut filled = queries.to_vec();
        filled.par_chunks_mut(n_columns).zip(found).for_each(|(row, found)| {
            for (column, nearest) in found {
                row[column] = self.average(train, column, nearest.found());
            }
        });
        filled
    }

    /// What the nearest rows give for a column.
    fn average(&self, train: &Neighbours, column: usize, found: &[(f64, usize)]) -> f64 {
        let exact = found.iter().any(|(distance, _)| *distance == 0.0);
        let weight = |squared: f64| match self.weights {
            NeighbourWeights::Uniform => 1.0,
            NeighbourWeights::Distance if exact => f64::from(u8::from(squared == 0.0)),
            NeighbourWeights::Distance => 1.0 / squared.sqrt(),
        };
        let (sum, total) = found.iter().fold((0.0, 0.0), |(sum, total), &(distance, row)| {
            let weight = weight(distance);
            (sum + weight * train.row(row)[column], total + weight)
        });
        if total > 0.0 { sum / total } else { self.means[column] }
    }
}
