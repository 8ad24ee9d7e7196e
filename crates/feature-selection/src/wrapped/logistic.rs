//! Logistic regression by L-BFGS (Nocedal 1980) from a start nearby, preconditioned by the Hessian of a model nearby.
//!
//! The objective is scikit-learn's: the mean cross-entropy plus `l2 / (2 n)` times the squared norm of the coefficients, where two labels share one vector of
//! coefficients and more have one each. Choices of columns differ by a column or two, so the Hessian of one, without the rows and columns of what it
//! lacks, all but solves another: a model takes three or four passes over its columns. Of several labels and many columns it is the Hessian of each label by
//! itself, which takes more of them.

mod hessian;

use std::collections::VecDeque;

use ndarray::Array2;
use rayon::prelude::*;
use retune_metrics::Prediction;
use retune_stage::{Result, StageError};
use retune_table::numbers::dot;

use self::hessian::{Factor, Hessian};
use super::losses::{NOT_LEARNED, losses};
use super::{Judges, Learner, Matrix, Trained};

/// Rows whose scores stay in the nearest cache while the columns pass.
const TILE: usize = 256;
/// Rows of a unit of parallel work.
const CHUNK: usize = 16 * TILE;
/// No element of the gradient of the mean loss is greater in the end.
const TOLERANCE: f64 = 1e-9;
const MAX_ITERATIONS: usize = 300;
/// Steps that are remembered.
const MEMORY: usize = 10;

pub(super) struct Logistic<'a> {
    matrix: &'a Matrix,
    /// The rows that are learned from.
    rows: &'a [usize],
    /// Each row's label as a position among those seen.
    labels: Vec<u32>,
    seen: Vec<u32>,
    n_classes: usize,
    outputs: usize,
    /// The penalty of the mean loss.
    l2: f64,
    hessian: Option<Hessian>,
    judges: Judges<'a>,
}

/// The loss at some parameters.
struct Point {
    parameters: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
    scores: Vec<f64>,
}

/// A step, what it changed of the gradient, and their product.
struct Step {
    moved: Vec<f64>,
    changed: Vec<f64>,
    product: f64,
}

impl<'a> Logistic<'a> {
    pub(super) fn new(
        matrix: &'a Matrix,
        codes: &[u32],
        n_classes: usize,
        l2: f64,
        rows: &'a [usize],
        judges: Judges<'a>,
    ) -> Result<Self> {
        let mut position = vec![NOT_LEARNED; n_classes];
        rows.iter().for_each(|&row| position[codes[row] as usize] = 0);
        let seen: Vec<u32> = (0..n_classes as u32).filter(|&code| position[code as usize] == 0).collect();
        if seen.len() < 2 {
            return Err(StageError::data("all rows that a fold learns from have the same label")
                .help("use fewer folds, or leave out `data.group` or `data.time` if rows do not depend on them"));
        }
        seen.iter().enumerate().for_each(|(place, &code)| position[code as usize] = place as u32);
        let mut labels = vec![NOT_LEARNED; codes.len()];
        rows.iter().for_each(|&row| labels[row] = position[codes[row] as usize]);
        let outputs = if seen.len() == 2 { 1 } else { seen.len() };
        let l2 = l2 / rows.len() as f64;
        Ok(Self { matrix, rows, labels, seen, n_classes, outputs, l2, hessian: None, judges })
    }

    /// The parameters of a model of other columns, where it has them.
    fn begin(&self, columns: &[usize], start: Option<&Trained>) -> Vec<f64> {
        let width = columns.len() + 1;
        let mut parameters = vec![0.0; self.outputs * width];
        let Some(start) = start else { return parameters };
        let mut places = vec![None; self.matrix.n_columns()];
        start.columns.iter().enumerate().for_each(|(place, &column)| places[column] = Some(place));
        let from = start.parameters.chunks_exact(start.columns.len() + 1);
        for (parameters, from) in parameters.chunks_exact_mut(width).zip(from) {
            let known = columns.iter().map(|&column| places[column]).chain([Some(start.columns.len())]);
            let known = known.map(|place| place.map_or(0.0, |place| from[place]));
            parameters.iter_mut().zip(known).for_each(|(parameter, known)| *parameter = known);
        }
        parameters
    }

    /// One pass over the columns.
    fn at(&self, columns: &[&[f64]], parameters: Vec<f64>) -> Point {
        let mut scores = vec![0.0; self.labels.len() * self.outputs];
        let chunks = scores.par_chunks_mut(CHUNK * self.outputs).enumerate();
        let chunks: Vec<(f64, Vec<f64>)> = chunks
            .map(|(chunk, scores)| {
                let (mut value, mut gradient) = (0.0, vec![0.0; parameters.len()]);
                let mut slopes = vec![0.0; TILE * self.outputs];
                for (tile, scores) in scores.chunks_mut(TILE * self.outputs).enumerate() {
                    let first = chunk * CHUNK + tile * TILE;
                    let n = scores.len() / self.outputs;
                    let slopes = &mut slopes[..scores.len()];
                    combine(columns, first, n, &parameters, scores);
                    value += losses(self.outputs, &self.labels[first..first + n], scores, slopes);
                    correlate(columns, first, n, slopes, &mut gradient);
                }
                (value, gradient)
            })
            .collect();
        let (mut value, mut gradient) = (0.0, vec![0.0; parameters.len()]);
        for (by, part) in chunks {
            value += by;
            gradient.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        let n = self.rows.len() as f64;
        value /= n;
        gradient.iter_mut().for_each(|element| *element /= n);
        let width = columns.len();
        for (parameters, gradient) in parameters.chunks_exact(width).zip(gradient.chunks_exact_mut(width)) {
            for (parameter, element) in parameters.iter().zip(gradient).take(width - 1) {
                value += 0.5 * self.l2 * parameter * parameter;
                *element += self.l2 * parameter;
            }
        }
        Point { parameters, value, gradient, scores }
    }

    /// The probabilities of a row's seen labels, or of the second of two.
    fn probabilities(&self, scores: &[f64], row: usize) -> Vec<f64> {
        let tile = row / TILE * TILE;
        let n = TILE.min(self.labels.len() - tile);
        let score = |output: usize| scores[tile * self.outputs + output * n + row - tile];
        if self.outputs == 1 {
            return vec![1.0 / (1.0 + (-score(0)).exp())];
        }
        let greatest = (0..self.outputs).map(score).fold(f64::NEG_INFINITY, f64::max);
        let powers: Vec<f64> = (0..self.outputs).map(|output| (score(output) - greatest).exp()).collect();
        let sum: f64 = powers.iter().sum();
        powers.into_iter().map(|power| power / sum).collect()
    }

    fn prediction(&self, trained: &Trained) -> Prediction {
        let mut spread = Array2::zeros((self.judges.rows.len(), self.n_classes));
        for (&row, mut spread) in self.judges.rows.iter().zip(spread.rows_mut()) {
            let probabilities = self.probabilities(&trained.scores, row);
            if let (&[first, second], &[probability]) = (self.seen.as_slice(), probabilities.as_slice()) {
                spread[first as usize] = 1.0 - probability;
                spread[second as usize] = probability;
            } else {
                self.seen
                    .iter()
                    .zip(probabilities)
                    .for_each(|(&code, probability)| spread[code as usize] = probability);
            }
        }
        Prediction::Probabilities(spread)
    }

    fn minimise(&self, columns: &[usize], mut at: Point, factors: &[Factor]) -> (Point, usize) {
        let columns = self.matrix.with_ones(columns);
        let mut memory = VecDeque::with_capacity(MEMORY);
        for iteration in 0..MAX_ITERATIONS {
            if at.gradient.iter().all(|element| element.abs() <= TOLERANCE) {
                return (at, iteration);
            }
            let mut direction = self.direction(&at.gradient, &memory, factors);
            if dot(&direction, &at.gradient) >= 0.0 {
                memory.clear();
                direction = self.direction(&at.gradient, &memory, factors);
            }
            let Some(next) = self.search(&columns, &at, &direction) else { return (at, iteration) };
            let moved: Vec<f64> = differences(&next.parameters, &at.parameters);
            let changed = differences(&next.gradient, &at.gradient);
            let product = dot(&moved, &changed);
            if product > f64::EPSILON * dot(&changed, &changed) {
                if memory.len() == MEMORY {
                    memory.pop_front();
                }
                memory.push_back(Step { moved, changed, product });
            }
            at = next;
        }
        (at, MAX_ITERATIONS)
    }

    /// The first of steps of half the length each that lowers the loss enough; `None` where rounding is all that is left.
    fn search(&self, columns: &[&[f64]], at: &Point, direction: &[f64]) -> Option<Point> {
        let slope = dot(direction, &at.gradient);
        let rounding = 4.0 * f64::EPSILON * at.value.abs();
        (0..30).find_map(|halvings| {
            let step = 0.5_f64.powi(halvings);
            let parameters = at.parameters.iter().zip(direction).map(|(parameter, by)| parameter + step * by).collect();
            let next = self.at(columns, parameters);
            (next.value <= at.value + 1e-4 * step * slope + rounding).then_some(next)
        })
    }

    /// Down the slope.
    fn direction(&self, gradient: &[f64], memory: &VecDeque<Step>, factors: &[Factor]) -> Vec<f64> {
        let mut direction: Vec<f64> = gradient.iter().map(|element| -element).collect();
        let mut shares = Vec::with_capacity(memory.len());
        for step in memory.iter().rev() {
            let share = dot(&step.moved, &direction) / step.product;
            direction.iter_mut().zip(&step.changed).for_each(|(element, changed)| *element -= share * changed);
            shares.push(share);
        }
        let width = gradient.len() / self.outputs;
        direction
            .chunks_exact_mut(gradient.len() / factors.len())
            .zip(factors)
            .for_each(|(part, factor)| factor.solve(part));
        for (step, share) in memory.iter().zip(shares.into_iter().rev()) {
            let by = share - dot(&step.changed, &direction) / step.product;
            direction.iter_mut().zip(&step.moved).for_each(|(element, moved)| *element += by * moved);
        }
        if self.outputs > 1 {
            // Moving all labels' scores alike changes no probability, and there the blocks do not see how flat the loss is.
            for at in 0..width {
                let mean = direction.iter().skip(at).step_by(width).sum::<f64>() / self.outputs as f64;
                direction.iter_mut().skip(at).step_by(width).for_each(|element| *element -= mean);
            }
        }
        direction
    }
}

impl Learner for Logistic<'_> {
    fn fit(&self, columns: &[usize], start: Option<&Trained>) -> Result<Trained> {
        let at = self.at(&self.matrix.with_ones(columns), self.begin(columns, start));
        let factors = match &self.hessian {
            Some(hessian) => hessian.factors(columns, self.outputs, self.l2),
            None => self.hessian(&at.scores, columns).factors(columns, self.outputs, self.l2),
        };
        let (Point { parameters, value, scores, .. }, iterations) = self.minimise(columns, at, &factors);
        if !value.is_finite() {
            return Err(
                StageError::failed("the logistic regression diverged: its loss is not finite").help("raise `l2`")
            );
        }
        let square = |column: usize| parameters.chunks_exact(columns.len() + 1).map(|part| part[column].powi(2)).sum();
        let importances = (0..columns.len()).map(square).collect();
        Ok(Trained { columns: columns.to_vec(), importances, parameters, scores, iterations, ..Trained::default() })
    }

    fn score(&self, trained: &Trained) -> Result<f64> {
        self.judges.score(&self.prediction(trained))
    }

    /// A Hessian costs about as much as a pass over twenty columns for each of its columns.
    fn is_far(&self, trained: &Trained) -> bool {
        self.hessian.is_none() || trained.iterations > 3 + trained.columns.len() / 20
    }

    fn settle(&mut self, trained: &Trained, columns: &[usize]) {
        self.hessian = Some(self.hessian(&trained.scores, columns));
    }
}

fn differences(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

/// For each output the sum of the columns' rows from `first` on, each times its parameter.
fn combine(columns: &[&[f64]], first: usize, n: usize, parameters: &[f64], scores: &mut [f64]) {
    for (parameters, scores) in parameters.chunks_exact(columns.len()).zip(scores.chunks_exact_mut(n)) {
        let (fours, rest) = (columns.chunks_exact(4), columns.chunks_exact(4).remainder());
        let (by_four, by_rest) = (parameters.chunks_exact(4), parameters.chunks_exact(4).remainder());
        for (columns, by) in fours.zip(by_four) {
            let part = |at: usize| &columns[at][first..first + n];
            let parts = part(0).iter().zip(part(1)).zip(part(2)).zip(part(3));
            for (score, (((a, b), c), d)) in scores.iter_mut().zip(parts) {
                *score += by[0] * a + by[1] * b + by[2] * c + by[3] * d;
            }
        }
        for (column, by) in rest.iter().zip(by_rest) {
            scores.iter_mut().zip(&column[first..first + n]).for_each(|(score, x)| *score += by * x);
        }
    }
}

/// Adds for each output and column the product of the slopes and the column's rows from `first` on.
fn correlate(columns: &[&[f64]], first: usize, n: usize, slopes: &[f64], gradient: &mut [f64]) {
    for (slopes, gradient) in slopes.chunks_exact(n).zip(gradient.chunks_exact_mut(columns.len())) {
        for (column, element) in columns.iter().zip(gradient) {
            *element += dot(slopes, &column[first..first + n]);
        }
    }
}
