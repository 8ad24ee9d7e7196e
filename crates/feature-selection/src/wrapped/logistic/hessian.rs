//! The second derivatives of the mean cross-entropy, and systems that are solved with them.

use faer::linalg::solvers::{Llt, Solve};
use faer::{Mat, MatRef, Side};
use rayon::prelude::*;

use super::Logistic;
use crate::wrapped::products;

/// Of more columns only the Hessian's diagonal is computed.
const MAX_DENSE: usize = 1500;
/// Of more parameters of several labels only the Hessians of each label by itself are computed.
const MAX_JOINT: usize = 400;
/// What the Hessian's diagonal is raised by, so that rounding leaves it positive where directions are flat.
const RAISED: f64 = 1e-6;

/// The second derivatives of the loss, without the penalty.
pub(super) struct Hessian {
    /// Each column's place in the blocks.
    places: Vec<Option<usize>>,
    n_places: usize,
    /// Those by coefficients and then the intercept: of all outputs, one after the other, or a block for each of them.
    blocks: Vec<Block>,
}

enum Block {
    /// The lower triangle.
    Dense(Mat<f64>),
    Diagonal(Vec<f64>),
}

/// A block that systems can be solved with.
pub(super) enum Factor {
    Dense(Llt<f64>),
    Diagonal(Vec<f64>),
}

impl Logistic<'_> {
    pub(super) fn hessian(&self, scores: &[f64], columns: &[usize]) -> Hessian {
        let n_rows = self.labels.len();
        let mut probabilities = vec![0.0; n_rows * self.outputs];
        for &row in self.rows {
            for (output, probability) in self.probabilities(scores, row).into_iter().enumerate() {
                probabilities[output * n_rows + row] = probability;
            }
        }
        let probabilities: Vec<&[f64]> = probabilities.chunks_exact(n_rows).collect();
        let n = self.rows.len() as f64;
        let own = |output: usize, row: usize| probabilities[output][row] * (1.0 - probabilities[output][row]) / n;
        let with_ones = self.matrix.with_ones(columns);
        let width = with_ones.len();
        let dense = |output: usize| products(&with_ones, self.rows, |row| own(output, row));
        let blocks = if columns.len() > MAX_DENSE {
            let square =
                |output, column: &[f64]| self.rows.iter().map(|&row| own(output, row) * column[row].powi(2)).sum();
            let diagonal = |output| with_ones.par_iter().map(|column| square(output, column)).collect();
            (0..self.outputs).map(|output| Block::Diagonal(diagonal(output))).collect()
        } else if self.outputs > 1 && self.outputs * width <= MAX_JOINT {
            let mut joint = Mat::zeros(self.outputs * width, self.outputs * width);
            for (a, b) in (0..self.outputs).flat_map(|a| (0..=a).map(move |b| (a, b))) {
                let both = |row: usize| probabilities[a][row] * probabilities[b][row] / n;
                let (block, sign) =
                    if a == b { (dense(a), 1.0) } else { (products(&with_ones, self.rows, both), -1.0) };
                for (i, j) in (0..width).flat_map(|i| (0..width).map(move |j| (i, j))) {
                    joint[(a * width + i, b * width + j)] = sign * block[(i.max(j), i.min(j))];
                }
            }
            vec![Block::Dense(joint)]
        } else {
            (0..self.outputs).map(|output| Block::Dense(dense(output))).collect()
        };
        let mut places = vec![None; self.matrix.n_columns()];
        columns.iter().enumerate().for_each(|(place, &column)| places[column] = Some(place));
        Hessian { places, n_places: width, blocks }
    }
}

impl Hessian {
    /// Of some of the columns, with the penalty.
    pub(super) fn factors(&self, columns: &[usize], outputs: usize, l2: f64) -> Vec<Factor> {
        let joint = outputs / self.blocks.len();
        let place = |at: usize| columns.get(at).map_or(Some(self.n_places - 1), |&column| self.places[column]);
        let width = columns.len() + 1;
        let places: Vec<Option<usize>> =
            (0..joint * width).map(|at| place(at % width).map(|place| at / width * self.n_places + place)).collect();
        let penalty = |at: usize| if (at + 1).is_multiple_of(width) { 0.0 } else { l2 };
        self.blocks.iter().map(|block| block.factor(&places, penalty)).collect()
    }
}

impl Block {
    fn at(&self, a: Option<usize>, b: Option<usize>) -> f64 {
        let (Some(a), Some(b)) = (a, b) else { return 0.0 };
        match self {
            Self::Dense(block) => block[(a.max(b), a.min(b))],
            Self::Diagonal(diagonal) => diagonal[a],
        }
    }

    fn factor(&self, places: &[Option<usize>], penalty: impl Fn(usize) -> f64) -> Factor {
        let on_diagonal = |at: usize| {
            let value = self.at(places[at], places[at]) + penalty(at);
            // What all but vanishes where rows are told apart without doubt must not throw the search far off, nor may a column that is not known.
            if value > 1e-12 { value * (1.0 + RAISED) } else { 1.0 }
        };
        if let Self::Dense(_) = self {
            let cell = |a: usize, b: usize| if a == b { on_diagonal(a) } else { self.at(places[a], places[b]) };
            if let Ok(factor) = Mat::from_fn(places.len(), places.len(), cell).llt(Side::Lower) {
                return Factor::Dense(factor);
            }
        }
        Factor::Diagonal((0..places.len()).map(on_diagonal).collect())
    }
}

impl Factor {
    pub(super) fn solve(&self, right: &mut [f64]) {
        match self {
            Self::Dense(factor) => {
                let solved = factor.solve(MatRef::from_column_major_slice(right, right.len(), 1));
                right.iter_mut().zip(solved.col(0).iter()).for_each(|(right, solved)| *right = *solved);
            }
            Self::Diagonal(diagonal) => right.iter_mut().zip(diagonal).for_each(|(right, by)| *right /= by),
        }
    }
}
