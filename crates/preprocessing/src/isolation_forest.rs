//! The isolation forest of `outliers`.

use ndarray::Array2;
use rand::seq::index::sample;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use retune_stage::{LoadDir, Result, SaveDir};
use serde::{Deserialize, Serialize};

use crate::projection::read_matrix;

/// Training rows that a tree is grown on.
const SAMPLES: usize = 256;

/// Rows that go through a tree together, so that the tree stays in the cache.
const BLOCK: usize = 512;

/// Trees that split rows at random until each is alone: rows that are soon alone are unusual. As scikit-learn's `IsolationForest`.
#[derive(Serialize, Deserialize)]
pub(crate) struct Forest {
    n_columns: usize,
    n_samples: usize,
    /// The number of each tree's first node, and of all nodes.
    starts: Vec<usize>,
    /// A node's left child is the node after it.
    #[serde(skip)]
    nodes: Vec<Node>,
}

#[derive(Clone, Copy)]
enum Node {
    /// Rows whose value is at most the threshold go to the left.
    Split { column: u32, right: u32, threshold: f64 },
    /// How long the path to a row is.
    Leaf { path: f64 },
}

impl Forest {
    /// Grows trees on rows [rows, columns] in row order, of which there is one at least.
    pub(crate) fn grow(cells: &[f64], n_columns: usize, n_trees: usize, seed: u64) -> Self {
        let n_rows = cells.len() / n_columns;
        let n_samples = SAMPLES.min(n_rows);
        let grow = |tree: usize| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(tree as u64);
            let mut rows = sample(&mut rng, n_rows, n_samples).into_vec();
            let depth = (n_samples.max(2) as f64).log2().ceil() as usize;
            let mut grower = Grower { cells, n_columns, depth, nodes: Vec::with_capacity(2 * n_samples), rng };
            grower.grow(&mut rows, 0);
            grower.nodes
        };
        let trees: Vec<Vec<Node>> = (0..n_trees).into_par_iter().map(grow).collect();
        let mut starts = vec![0];
        starts.extend(trees.iter().scan(0, |sum, tree| {
            *sum += tree.len();
            Some(*sum)
        }));
        Self { n_columns, n_samples, starts, nodes: trees.concat() }
    }

    /// The opposite of the score of the authors for each row: -1 for the most unusual, above -0.5 for usual ones.
    pub(crate) fn scores(&self, cells: &[f64]) -> Vec<f64> {
        let n_trees = (self.starts.len() - 1) as f64;
        let usual = average_path(self.n_samples);
        let mut scores = vec![0.0; cells.len() / self.n_columns];
        let blocks = scores.par_chunks_mut(BLOCK).zip(cells.par_chunks(BLOCK * self.n_columns));
        blocks.for_each(|(scores, cells)| {
            for tree in self.starts.windows(2) {
                let nodes = &self.nodes[tree[0]..tree[1]];
                for (score, row) in scores.iter_mut().zip(cells.chunks_exact(self.n_columns)) {
                    // What is off the usual, so that rows which cannot be told apart score -0.5 and no rounding less.
                    *score += path(nodes, row) - usual;
                }
            }
            // A forest grown on one row knows nothing.
            scores.iter_mut().for_each(|score| {
                *score = if usual > 0.0 { -(-1.0 - *score / (n_trees * usual)).exp2() } else { -0.5 }
            });
        });
        scores
    }

    pub(crate) fn save(&self, dir: &SaveDir, file: &str) -> Result<()> {
        let mut nodes = Array2::zeros((self.nodes.len(), 3));
        for (mut row, node) in nodes.rows_mut().into_iter().zip(&self.nodes) {
            let cells = match *node {
                Node::Split { column, right, threshold } => [f64::from(column), f64::from(right), threshold],
                Node::Leaf { path } => [-1.0, 0.0, path],
            };
            row.iter_mut().zip(cells).for_each(|(cell, value)| *cell = value);
        }
        dir.matrices(file, &[("nodes", nodes.view())])
    }

    pub(crate) fn load(&mut self, dir: &LoadDir, file: &str) -> Result<()> {
        let n_nodes = self.starts.last().copied().unwrap_or_default();
        let nodes = read_matrix(dir, file, "nodes", [n_nodes, 3])?;
        let node = |row: ndarray::ArrayView1<f64>| match row[0] {
            column if column < 0.0 => Node::Leaf { path: row[2] },
            column => Node::Split { column: column as u32, right: row[1] as u32, threshold: row[2] },
        };
        self.nodes = nodes.rows().into_iter().map(node).collect();
        Ok(())
    }
}

/// How long a row's path through a tree is.
fn path(nodes: &[Node], row: &[f64]) -> f64 {
    let mut at = 0;
    loop {
        match nodes[at] {
            Node::Leaf { path } => return path,
            Node::Split { column, right, threshold } => {
                at = if row[column as usize] <= threshold { at + 1 } else { right as usize };
            }
        }
    }
}

/// The average length of an unsuccessful search in a binary search tree of so many rows (Liu, Ting and Zhou 2008, equation 1).
fn average_path(n_rows: usize) -> f64 {
    const EULER: f64 = 0.577_215_664_901_532_9;
    match n_rows {
        0 | 1 => 0.0,
        2 => 1.0,
        n => 2.0 * ((n as f64 - 1.0).ln() + EULER) - 2.0 * (n as f64 - 1.0) / n as f64,
    }
}

struct Grower<'a> {
    cells: &'a [f64],
    n_columns: usize,
    /// No path is longer.
    depth: usize,
    nodes: Vec<Node>,
    rng: ChaCha8Rng,
}

impl Grower<'_> {
    fn grow(&mut self, rows: &mut [usize], depth: usize) {
        let split = if depth < self.depth && rows.len() > 1 { self.split(rows) } else { None };
        let Some((column, threshold)) = split else {
            self.nodes.push(Node::Leaf { path: depth as f64 + average_path(rows.len()) });
            return;
        };
        let mut n_left = 0;
        for place in 0..rows.len() {
            if self.cells[rows[place] * self.n_columns + column] <= threshold {
                rows.swap(place, n_left);
                n_left += 1;
            }
        }
        let at = self.nodes.len();
        self.nodes.push(Node::Split { column: column as u32, right: 0, threshold });
        let (left, right) = rows.split_at_mut(n_left);
        self.grow(left, depth + 1);
        let start = self.nodes.len() as u32;
        self.nodes[at] = Node::Split { column: column as u32, right: start, threshold };
        self.grow(right, depth + 1);
    }

    /// One of the columns that are not constant, and a threshold between its least and its greatest value.
    fn split(&mut self, rows: &[usize]) -> Option<(usize, f64)> {
        let mut untried: Vec<usize> = (0..self.n_columns).collect();
        while !untried.is_empty() {
            let column = untried.swap_remove(self.rng.random_range(0..untried.len()));
            let values = rows.iter().map(|row| self.cells[row * self.n_columns + column]);
            let (least, greatest) =
                values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
            if least < greatest {
                let threshold = least + self.rng.random::<f64>() * (greatest - least);
                // Rounded up to the greatest, it would leave nothing on the right.
                return Some((column, if threshold < greatest { threshold } else { least }));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::Value;

    /// Columns of the fixture as rows.
    fn cells(columns: &Value) -> Vec<f64> {
        let columns: Vec<Vec<f64>> = columns
            .as_object()
            .unwrap()
            .values()
            .map(|column| serde_json::from_value(column.clone()).unwrap())
            .collect();
        (0..columns[0].len()).flat_map(|row| columns.iter().map(move |column| column[row])).collect()
    }

    #[test]
    fn scores_are_within_the_spread_of_scikit_learn() {
        let cases: Vec<Value> = serde_json::from_str(include_str!("../tests/fixtures/outliers.json")).unwrap();
        let cases = cases.iter().filter(|case| case["name"].as_str().unwrap().starts_with("isolation_forest"));
        for case in cases {
            let (train, other) = (cells(&case["train"]), cells(&case["other"]));
            let [means, spreads]: [Vec<f64>; 2] =
                ["scores", "spread"].map(|key| serde_json::from_value(case[key].clone()).unwrap());
            let n_seeds = 40;
            let forests: Vec<Forest> = (0..n_seeds).map(|seed| Forest::grow(&train, 3, 100, seed)).collect();
            let scores: Vec<Vec<f64>> = forests.iter().map(|forest| forest.scores(&other)).collect();
            for (row, (mean, spread)) in means.iter().zip(&spreads).enumerate() {
                let ours = scores.iter().map(|scores| scores[row]).sum::<f64>() / n_seeds as f64;
                // Two means of 40 are apart by their standard errors.
                let error = spread * (2.0 / n_seeds as f64).sqrt();
                assert!((ours - mean).abs() < 4.5 * error, "row {row}: {ours} against {mean} ({error})");
                let far = scores.iter().map(|scores| (scores[row] - mean).abs()).fold(0.0, f64::max);
                assert!(far < 5.0 * spread, "row {row}: off by {far}, {spread} among those of scikit-learn");
            }
            let share: [f64; 2] = serde_json::from_value(case["share"].clone()).unwrap();
            let below = |forest: &Forest| {
                let scores = forest.scores(&train);
                scores.iter().filter(|score| **score < -0.5).count() as f64 / scores.len() as f64
            };
            let ours = forests.iter().map(below).sum::<f64>() / n_seeds as f64;
            assert!(
                (ours - share[0]).abs() < 4.5 * share[1] * (2.0 / n_seeds as f64).sqrt(),
                "{ours} against {share:?}"
            );
        }
    }

    #[test]
    fn rows_that_cannot_be_split_are_all_the_same() {
        let forest = Forest::grow(&[1.0; 20], 2, 10, 1);
        assert_eq!(forest.starts, (0..=10).collect::<Vec<_>>());
        assert_eq!(forest.scores(&[1.0, 1.0, 5.0, 9.0]), [-0.5, -0.5]);
        assert_eq!(Forest::grow(&[1.0, 2.0], 2, 10, 1).scores(&[3.0, 4.0]), [-0.5]);
    }
}
