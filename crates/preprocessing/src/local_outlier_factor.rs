//! The local outlier factors of `outliers`.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use retune_stage::{LoadDir, Result, SaveDir, StageError};
use retune_table::neighbours::{Nearest, Neighbours};
use serde::{Deserialize, Serialize};

use crate::projection::read_matrix;

/// Keeps the density of rows that are equal to all of their neighbours finite, as in scikit-learn.
const LEAST_DISTANCE: f64 = 1e-10;

/// How densely training rows lie: as scikit-learn's `LocalOutlierFactor`.
#[derive(Serialize, Deserialize)]
pub(crate) struct Densities {
    n_neighbours: usize,
    n_rows: usize,
    n_columns: usize,
    #[serde(skip)]
    learned: Option<Learned>,
}

struct Learned {
    rows: Neighbours,
    /// The distance of each row's last neighbour.
    reach: Vec<f64>,
    density: Vec<f64>,
}

/// The neighbours of a row, but for the row itself.
struct Others {
    own: Option<usize>,
    nearest: Nearest,
}

impl Densities {
    /// Learns from rows [rows, columns] in row order; also gives their scores, the opposite of the local outlier factor, for which a row is not its own
    /// neighbour.
    pub(crate) fn learn(cells: Vec<f64>, n_columns: usize, n_neighbours: usize) -> Result<(Self, Vec<f64>)> {
        let rows = Neighbours::complete(cells, n_columns);
        let n_rows = rows.n_rows();
        if n_rows < 2 {
            return Err(StageError::data("local outlier factors need at least 2 training rows")
                .help("leave the step out, or use `method: iqr`"));
        }
        let n_neighbours = n_neighbours.min(n_rows - 1);
        let found = neighbours(&rows, rows.rows(), n_neighbours, Some);
        let last = |found: &Others| found.nearest.found().last().map_or(0.0, |(squared, _)| squared.sqrt());
        let reach: Vec<f64> = found.iter().map(last).collect();
        let density: Vec<f64> = found.par_iter().map(|found| density(found, &reach)).collect();
        let scores = found.par_iter().zip(&density).map(|(found, own)| score(found, &density, *own)).collect();
        let learned = Some(Learned { rows, reach, density });
        Ok((Self { n_neighbours, n_rows, n_columns, learned }, scores))
    }

    /// The opposite of the local outlier factor of further rows.
    pub(crate) fn scores(&self, cells: &[f64]) -> Result<Vec<f64>> {
        let learned = self.learned.as_ref().ok_or_else(|| StageError::failed("the training rows were not loaded"))?;
        let found = neighbours(&learned.rows, cells, self.n_neighbours, |_| None);
        let score = |found: &Others| score(found, &learned.density, density(found, &learned.reach));
        Ok(found.par_iter().map(score).collect())
    }

    pub(crate) fn save(&self, dir: &SaveDir, file: &str) -> Result<()> {
        let Some(learned) = &self.learned else { return Ok(()) };
        let rows = ArrayView2::from_shape((self.n_rows, self.n_columns), learned.rows.rows())
            .map_err(|error| StageError::failed(error.to_string()))?;
        let numbers = |(row, column): (usize, usize)| [&learned.reach, &learned.density][column][row];
        let densities = Array2::from_shape_fn((self.n_rows, 2), numbers);
        dir.matrices(file, &[("rows", rows), ("densities", densities.view())])
    }

    pub(crate) fn load(&mut self, dir: &LoadDir, file: &str) -> Result<()> {
        let rows = read_matrix(dir, file, "rows", [self.n_rows, self.n_columns])?;
        let densities = read_matrix(dir, file, "densities", [self.n_rows, 2])?;
        self.learned = Some(Learned {
            rows: Neighbours::complete(rows.iter().copied().collect(), self.n_columns),
            reach: densities.column(0).to_vec(),
            density: densities.column(1).to_vec(),
        });
        Ok(())
    }
}

fn neighbours(
    rows: &Neighbours,
    queries: &[f64],
    n_neighbours: usize,
    own: impl Fn(usize) -> Option<usize> + Sync,
) -> Vec<Others> {
    let start = |query: usize| Others { own: own(query), nearest: Nearest::new(n_neighbours) };
    rows.search(queries, start, |others, row, distance| {
        if others.own != Some(row) {
            others.nearest.offer(row, distance);
        }
        others.nearest.far()
    })
}

/// How densely the neighbours lie: the inverse of the mean distance, which for each neighbour is at least its own reach.
fn density(others: &Others, reach: &[f64]) -> f64 {
    let found = others.nearest.found();
    let sum: f64 = found.iter().map(|&(squared, row)| squared.sqrt().max(reach[row])).sum();
    1.0 / (sum / found.len() as f64 + LEAST_DISTANCE)
}

/// The opposite of how much more densely the neighbours lie than the row itself.
fn score(others: &Others, densities: &[f64], own: f64) -> f64 {
    let found = others.nearest.found();
    -found.iter().map(|&(_, row)| densities[row] / own).sum::<f64>() / found.len() as f64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::Value;

    fn column(values: &Value) -> Vec<f64> {
        serde_json::from_value(values.clone()).unwrap()
    }

    /// Columns of the fixture as rows.
    fn cells(columns: &Value) -> Vec<f64> {
        let columns: Vec<Vec<f64>> = columns.as_object().unwrap().values().map(column).collect();
        (0..columns[0].len()).flat_map(|row| columns.iter().map(move |column| column[row])).collect()
    }

    #[test]
    fn scores_are_those_of_scikit_learn() {
        let cases: Vec<Value> = serde_json::from_str(include_str!("../tests/fixtures/outliers.json")).unwrap();
        let cases = cases.iter().filter(|case| case["scores"].is_object());
        for case in cases {
            let step = &case["step"]["outliers"];
            let n_neighbours = step["neighbours"].as_u64().unwrap_or(20) as usize;
            let (densities, train) = Densities::learn(cells(&case["train"]), 3, n_neighbours).unwrap();
            let other = densities.scores(&cells(&case["other"])).unwrap();
            for (ours, theirs) in [(train, &case["scores"]["train"]), (other, &case["scores"]["other"])] {
                for (row, (ours, theirs)) in ours.iter().zip(column(theirs)).enumerate() {
                    assert!((ours - theirs).abs() < 1e-9 * theirs.abs(), "{step}, row {row}: {ours} against {theirs}");
                }
            }
        }
    }

    #[test]
    fn equal_rows_are_as_dense_as_each_other() {
        let (densities, scores) = Densities::learn(vec![1.0; 10], 1, 3).unwrap();
        assert_eq!(scores, [-1.0; 10]);
        assert_eq!(densities.scores(&[1.0]).unwrap(), [-1.0]);
    }
}
