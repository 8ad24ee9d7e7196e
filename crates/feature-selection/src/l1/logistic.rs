//! Logistic regression with an L1 penalty: coordinate descent on the quadratic that the loss is near to, then a step along the way there (Friedman, Hastie and
//! Tibshirani 2010; Lee, Sun and Saunders 2014), on the coefficients that are not 0 or soon will be.
//!
//! Two labels share one vector of coefficients, more have one each. The quadratic's second derivatives are kept from step to step and from penalty to penalty as
//! long as they lead on, for they cost more than the steps.

mod curvature;

use rayon::prelude::*;
use retune_estimators::boosting::Columns;
use retune_stage::Target;
use retune_table::numbers::dot;

use self::curvature::Curvature;
use super::{Matrix, Problem};
use crate::trees::Numbers;
use crate::wrapped::losses;

/// Steps for a penalty, at most.
const MAX_STEPS: usize = 500;
/// A search moves the coefficients whose slopes are above this share of the penalty, for these will be asked for by the penalties to come.
const NEAR: f64 = 0.7;
/// A search begins with at least so many of them.
const MORE: usize = 100;
/// Steps that leave more than this share of the miss ask for new second derivatives.
const SLOW: f64 = 0.5;
/// Rows whose scores are summed at once.
const BLOCK: usize = 1024;
/// The least probability of a label that is true.
const LEAST: f64 = 1e-15;

/// The mean cross-entropy plus `alpha` times the sum of the coefficients' magnitudes; the intercepts are free. scikit-learn's `C` is `1 / (alpha n)`.
pub(super) struct Logistic {
    matrix: Matrix,
    ones: Vec<f64>,
    rows: Vec<usize>,
    /// The labels that there are.
    seen: Vec<u32>,
    /// Each row's label among them.
    labels: Vec<u32>,
    /// For each output, each column's coefficient and the intercept.
    coefficients: Vec<Vec<f64>>,
    /// Each row's scores, output after output, and the derivatives of its loss by them.
    scores: Vec<f64>,
    slopes: Vec<f64>,
    /// For each output, the derivative of the mean loss by each coefficient.
    gradient: Vec<Vec<f64>>,
    loss: f64,
    /// The loss without any column.
    spread: f64,
    strongest: f64,
    /// Of the last step.
    curvature: Option<Curvature>,
    is_solved: bool,
}

/// A coefficient; the intercept's column is one beyond the last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    output: usize,
    column: usize,
}

impl Logistic {
    pub(super) fn new(matrix: Matrix, codes: &[u32], n_classes: usize) -> Self {
        let mut counts: Vec<f64> = vec![0.0; n_classes];
        codes.iter().for_each(|&code| counts[code as usize] += 1.0);
        let seen: Vec<u32> = (0..n_classes as u32).filter(|&code| counts[code as usize] > 0.0).collect();
        let labels: Vec<u32> = codes.iter().map(|code| seen.binary_search(code).unwrap_or(0) as u32).collect();
        let (n_rows, n_columns) = (matrix.n_rows, matrix.n_columns());
        let count = |at: usize| seen.get(at).map_or(0.0, |&code: &u32| counts[code as usize]);
        let intercepts: Vec<f64> = match seen.len() {
            0 | 1 => Vec::new(),
            2 => vec![(count(1) / count(0)).ln()],
            n => (0..n).map(|at| (count(at) / n_rows as f64).ln()).collect(),
        };
        let coefficients = |&intercept: &f64| (0..n_columns).map(|_| 0.0).chain([intercept]).collect();
        let mut problem = Self {
            ones: vec![1.0; n_rows],
            rows: (0..n_rows).collect(),
            coefficients: intercepts.iter().map(coefficients).collect(),
            scores: intercepts.iter().flat_map(|&intercept| std::iter::repeat_n(intercept, n_rows)).collect(),
            slopes: vec![0.0; n_rows * intercepts.len()],
            gradient: Vec::new(),
            matrix,
            seen,
            labels,
            loss: 0.0,
            spread: 0.0,
            strongest: 0.0,
            curvature: None,
            is_solved: true,
        };
        problem.differentiate();
        problem.spread = problem.loss;
        problem.gradient = problem.whole_gradient();
        let by_columns = problem.gradient.iter().flat_map(|gradient| &gradient[..n_columns]);
        problem.strongest = by_columns.fold(0.0, |greatest: f64, slope| greatest.max(slope.abs()));
        problem
    }

    fn column(&self, at: usize) -> &[f64] {
        if at < self.matrix.n_columns() { self.matrix.column(at) } else { &self.ones }
    }

    /// The loss and the slopes become those at the scores.
    fn differentiate(&mut self) {
        if !self.coefficients.is_empty() {
            let sum = losses(self.coefficients.len(), &self.labels, &self.scores, &mut self.slopes);
            self.loss = sum / self.labels.len() as f64;
        }
    }

    /// What the model says, where the slope of a row by an output is kept.
    fn probability(&self, at: usize) -> f64 {
        let (output, label) = (at / self.labels.len(), self.labels[at % self.labels.len()]);
        let its_label = if self.coefficients.len() == 1 { 1 } else { output as u32 };
        self.slopes[at] + f64::from(u8::from(label == its_label))
    }

    fn derivative(&self, slopes: &[f64], column: usize) -> f64 {
        dot(self.column(column), slopes) / self.labels.len() as f64
    }

    fn slopes_of(&self, output: usize) -> &[f64] {
        &self.slopes[output * self.labels.len()..(output + 1) * self.labels.len()]
    }

    fn whole_gradient(&self) -> Vec<Vec<f64>> {
        let columns = (0..self.matrix.n_columns() + 1).into_par_iter().with_min_len(8);
        let by = |output| columns.clone().map(|column| self.derivative(self.slopes_of(output), column)).collect();
        (0..self.coefficients.len()).map(by).collect()
    }

    fn gradient(&self, places: &[Place]) -> Vec<f64> {
        let by = |place: &Place| self.derivative(self.slopes_of(place.output), place.column);
        places.par_iter().with_min_len(8).map(by).collect()
    }

    /// The coefficients that are not 0, those whose slope is above a limit, and the intercepts.
    fn asking(&self, limit: f64) -> Vec<Place> {
        let n_columns = self.matrix.n_columns();
        let asks = |place: &Place| {
            let &Place { output, column } = place;
            self.is_intercept(place)
                || self.coefficients[output][column] != 0.0
                || self.gradient[output][column].abs() > limit
        };
        let columns = |output| (0..=n_columns).map(move |column| Place { output, column });
        (0..self.coefficients.len()).flat_map(columns).filter(asks).collect()
    }

    /// Some places and those near the penalty, the nearest foremost: at most as many again, so that few are looked at in vain.
    fn more(&self, mut places: Vec<Place>, alpha: f64) -> Vec<Place> {
        let is_other = |place: &Place| places.binary_search(place).is_err();
        let mut others: Vec<Place> = self.asking(NEAR * alpha).into_iter().filter(is_other).collect();
        let slope = |place: &Place| {
            if self.is_intercept(place) { f64::INFINITY } else { self.gradient[place.output][place.column].abs() }
        };
        others.sort_by(|a, b| slope(b).total_cmp(&slope(a)));
        others.truncate(places.len().max(MORE) + self.coefficients.len());
        places.extend(others);
        places.sort_unstable();
        places
    }

    fn is_intercept(&self, place: &Place) -> bool {
        place.column == self.matrix.n_columns()
    }

    fn penalties(&self, places: &[Place], alpha: f64) -> Vec<f64> {
        places.iter().map(|place| if self.is_intercept(place) { 0.0 } else { alpha }).collect()
    }

    fn coefficients_at(&self, places: &[Place]) -> Vec<f64> {
        places.iter().map(|place| self.coefficients[place.output][place.column]).collect()
    }

    /// Solves for the coefficients of a curvature. Returns whether it came so far, and the curvature of the last step.
    fn descend(&mut self, mut curvature: Curvature, alpha: f64, limit: f64) -> (bool, Curvature) {
        let penalties = self.penalties(&curvature.places, alpha);
        let mut gradient = self.gradient(&curvature.places);
        let mut miss = greatest_miss(&self.coefficients_at(&curvature.places), &gradient, &penalties);
        let mut is_new = false;
        for _ in 0..MAX_STEPS {
            if miss <= limit {
                break;
            }
            let before = self.coefficients_at(&curvature.places);
            let steps = curvature.way(&before, &gradient, &penalties, 0.1 * miss.min(limit * 1e3));
            let share = self.go(&curvature.places, &steps, &gradient, &penalties);
            if share.is_none() && is_new {
                break;
            }
            gradient = self.gradient(&curvature.places);
            let now = greatest_miss(&self.coefficients_at(&curvature.places), &gradient, &penalties);
            is_new = now > limit && (now > SLOW * miss || share.is_none_or(|share| share < 1.0));
            if is_new {
                curvature = Curvature::of(self, curvature.places);
            }
            miss = now;
        }
        (miss <= limit, curvature)
    }

    /// Takes the greatest share of a step - all of it, a half, a quarter ... - that lowers the objective as far as it should. `None` where none does.
    fn go(&mut self, places: &[Place], steps: &[f64], gradient: &[f64], penalties: &[f64]) -> Option<f64> {
        let before = self.coefficients_at(places);
        let penalty = |share: f64| {
            let terms = before.iter().zip(steps).zip(penalties);
            terms.map(|((before, step), penalty)| penalty * (before + share * step).abs()).sum::<f64>()
        };
        let expected = dot(gradient, steps) + penalty(1.0) - penalty(0.0);
        let objective = self.loss + penalty(0.0);
        let (changes, scores) = (self.changes(places, steps), self.scores.clone());
        for share in (0..30).map(|halving| 0.5_f64.powi(halving)) {
            let moved = scores.iter().zip(&changes).map(|(score, change)| score + share * change);
            self.scores.iter_mut().zip(moved).for_each(|(score, moved)| *score = moved);
            self.differentiate();
            // Rounding must not stop the last steps.
            if self.loss + penalty(share) <= objective + 0.01 * share * expected.min(0.0) + 1e-14 {
                for (place, step) in places.iter().zip(steps) {
                    self.coefficients[place.output][place.column] += share * step;
                }
                return Some(share);
            }
        }
        self.scores = scores;
        self.differentiate();
        None
    }

    /// What steps change of each row's scores.
    fn changes(&self, places: &[Place], steps: &[f64]) -> Vec<f64> {
        let n_rows = self.labels.len();
        let mut changes = vec![0.0; self.scores.len()];
        for (output, changes) in changes.chunks_exact_mut(n_rows).enumerate() {
            let own: Vec<(&[f64], f64)> = places
                .iter()
                .zip(steps)
                .filter(|(place, step)| place.output == output && **step != 0.0)
                .map(|(place, step)| (self.column(place.column), *step))
                .collect();
            changes.par_chunks_mut(BLOCK).enumerate().for_each(|(block, changes)| {
                let first = block * BLOCK;
                for (column, step) in &own {
                    let values = &column[first..first + changes.len()];
                    changes.iter_mut().zip(values).for_each(|(change, value)| *change += step * value);
                }
            });
        }
        changes
    }

    /// The scores of other rows, output after output.
    fn scores(&self, columns: &Numbers, rows: &[usize]) -> Vec<Vec<f64>> {
        let intercept = self.matrix.n_columns();
        let mut scores: Vec<Vec<f64>> =
            self.coefficients.iter().map(|coefficients| vec![coefficients[intercept]; rows.len()]).collect();
        let is_used = |column: &usize| self.coefficients.iter().any(|coefficients| coefficients[*column] != 0.0);
        for column in (0..intercept).filter(is_used) {
            let scale = self.matrix.scales[column];
            let values: Vec<f64> = columns.at(column, rows).into_iter().map(|value| scale.turn(value)).collect();
            for (scores, coefficients) in scores.iter_mut().zip(&self.coefficients) {
                scores.iter_mut().zip(&values).for_each(|(score, value)| *score += coefficients[column] * value);
            }
        }
        scores
    }
}

/// How far the subgradient by a coefficient is from 0, at most.
fn greatest_miss(coefficients: &[f64], gradient: &[f64], penalties: &[f64]) -> f64 {
    let miss = |((&coefficient, slope), penalty): ((&f64, &f64), &f64)| {
        if coefficient == 0.0 {
            (slope.abs() - penalty).max(0.0)
        } else {
            (slope + penalty * coefficient.signum()).abs()
        }
    };
    coefficients.iter().zip(gradient).zip(penalties).map(miss).fold(0.0, f64::max)
}

impl Problem for Logistic {
    fn strongest(&self) -> f64 {
        self.strongest
    }

    fn solve(&mut self, alpha: f64, tolerance: f64) {
        let limit = tolerance * self.strongest;
        loop {
            let asking = self.asking(alpha + limit);
            let known = match self.curvature.take() {
                Some(known) if known.covers(&asking) => known,
                known => {
                    let places = self.more(known.map_or_else(Vec::new, |known| known.places), alpha);
                    Curvature::of(self, places)
                }
            };
            let (is_solved, known) = self.descend(known, alpha, limit);
            self.gradient = self.whole_gradient();
            let is_whole = known.covers(&self.asking(alpha + limit));
            self.curvature = Some(known);
            if is_whole {
                self.is_solved &= is_solved;
                return;
            }
        }
    }

    fn is_solved(&self) -> bool {
        self.is_solved
    }

    fn magnitudes(&self) -> Vec<f64> {
        let square =
            |column: usize| self.coefficients.iter().map(|coefficients| coefficients[column].powi(2)).sum::<f64>();
        (0..self.matrix.n_columns()).map(|column| square(column).sqrt()).collect()
    }

    #[cfg(test)]
    fn length(&self) -> f64 {
        let columns = self.coefficients.iter().flat_map(|coefficients| &coefficients[..self.matrix.n_columns()]);
        columns.map(|coefficient| coefficient.abs()).sum()
    }

    fn unexplained(&self) -> f64 {
        if self.spread > 0.0 { self.loss / self.spread } else { 0.0 }
    }

    fn loss(&self, columns: &Numbers, rows: &[usize], truth: &Target) -> f64 {
        let Target::Classes { codes, .. } = truth else { return 0.0 };
        let scores = self.scores(columns, rows);
        let probability = |row: usize, label: Option<usize>| match (scores.as_slice(), label) {
            (_, None) => 0.0,
            ([scores], Some(label)) => 1.0 / (1.0 + (if label == 1 { -scores[row] } else { scores[row] }).exp()),
            (_, Some(label)) => {
                let sum: f64 = scores.iter().map(|others| (others[row] - scores[label][row]).exp()).sum();
                if sum > 0.0 { sum.recip() } else { 1.0 }
            }
        };
        let loss = |(row, code)| -probability(row, self.seen.binary_search(code).ok()).max(LEAST).ln();
        codes.iter().enumerate().map(loss).sum::<f64>() / codes.len().max(1) as f64
    }
}
