//! `l1`: keeps the columns to which an L1 penalty leaves a coefficient.

mod lasso;
mod logistic;

use std::collections::HashSet;

use rayon::prelude::*;
use retune_estimators::boosting::Columns;
use retune_spec::feature_selection::L1;
use retune_stage::{Fold, Level, Result, Target};

use crate::features::Feature;
use crate::judge::{Judge, Judgement, Question, Verdict, shown};
use crate::linear_coefficients::Scale;
use crate::trees::Numbers;
use crate::wrapped::folds;

/// Penalties of a path, evenly spaced in the logarithm, and the last as a share of the first.
const PATH: usize = 100;
const PATH_END: f64 = 1e-3;

/// Where `keep` asks for more columns, the path goes on: so many times as far.
const FARTHER: usize = 2;

/// A path ends where a model explains all but so much of the loss: what follows fits noise.
const UNEXPLAINED: f64 = 1e-3;

/// A fold ends where so many penalties in a row did not lower its loss.
const PATIENCE: usize = 10;

/// Folds learn beside each other where their columns together have at most so many values: 1 GiB.
const BESIDE: usize = 1 << 27;

/// How far subgradients may be from 0, as a share of the strongest penalty: in a fold, and in the end.
const ROUGH: f64 = 1e-4;
const EXACT: f64 = 1e-9;

const UNSOLVED: &str = "l1: some models did not converge, so that coefficients are not exact; raise `alpha`, or drop columns that all but repeat others by \
                        `correlation` before";

/// The score is the magnitude of a column's coefficient, of several labels the norm over them. `keep` counts the columns of `always_keep` in. The search for
/// coefficients ends where no subgradient is farther from 0 than 1e-9 of the strongest penalty (1e-4 in folds); a warning says where it does not come so far.
impl Judge for L1 {
    fn score_word(&self) -> &'static str {
        "coefficient"
    }

    fn judge(&self, features: &[Feature], question: &Question) -> Result<Judgement> {
        let columns = Numbers::of(features, None)?;
        let rows: Vec<usize> = (0..columns.n_rows()).collect();
        let mut problem = problem(&columns, &rows, question.target);
        let strongest = problem.strongest();
        let (found, folds_are_solved) = match (self.alpha, &self.keep) {
            (None, None) => {
                let (alpha, are_solved) = by_folds(strongest, self.folds, &columns, question)?;
                (Some(alpha), are_solved)
            }
            (alpha, _) => (alpha, true),
        };
        let last = found.unwrap_or(strongest * PATH_END.powi(FARTHER as i32));
        let wanted = self.keep.as_ref().map(|keep| keep.count(question.groups.len()));
        let kept = |magnitudes: &[f64]| {
            let with = features.iter().zip(magnitudes).enumerate();
            let with = with.filter(|(_, (feature, magnitude))| feature.pinned || **magnitude > 0.0);
            with.map(|(at, _)| question.groups.group_of(at)).collect::<HashSet<usize>>().len()
        };
        let is_enough = |magnitudes: &[f64]| wanted.map(|wanted| kept(magnitudes).cmp(&wanted));
        // The strongest penalty leaves no coefficient.
        let (mut alpha, mut magnitudes) = (strongest, vec![0.0; features.len()]);
        let stronger = path(strongest, FARTHER * PATH).filter(|&alpha| alpha > last).chain([last]);
        for (at, next) in stronger.enumerate() {
            question.context.progress.check_cancelled()?;
            question.context.progress.update("penalties", at as u64, Some(PATH as u64));
            if is_enough(&magnitudes).is_some_and(|order| order.is_ge()) {
                break;
            }
            problem.solve(next, if wanted.is_some() || next == last { EXACT } else { ROUGH });
            let found = problem.magnitudes();
            if is_enough(&found).is_some_and(|order| order.is_gt()) {
                (alpha, magnitudes) = between(problem.as_mut(), (alpha, magnitudes), next, &is_enough);
                break;
            }
            (alpha, magnitudes) = (next, found);
            if wanted.is_some() && problem.unexplained() < UNEXPLAINED {
                break;
            }
        }
        if !(folds_are_solved && problem.is_solved()) {
            question.context.progress.message(Level::Warning, UNSOLVED);
        }
        let n_left = magnitudes.iter().filter(|&&magnitude| magnitude > 0.0).count();
        let by_folds = if found.is_some() && self.alpha.is_none() {
            format!(", the strongest within one standard error of the best of {} folds", self.folds)
        } else {
            String::new()
        };
        let note =
            format!("{n_left} of {} columns have a coefficient at alpha {}{by_folds}", features.len(), shown(alpha));
        let verdict = |magnitude: f64| {
            let kept = magnitude > 0.0;
            let reason = if kept {
                format!("has a coefficient of magnitude {} at alpha {}", shown(magnitude), shown(alpha))
            } else {
                format!("has no coefficient at alpha {}", shown(alpha))
            };
            Verdict { kept, ..Verdict::scored(magnitude, reason) }
        };
        Ok(Judgement { verdicts: magnitudes.into_iter().map(verdict).collect(), note: Some(note) })
    }
}

/// The strongest penalty of the path whose mean loss over the folds is within one standard error of the least, and whether all models were solved.
fn by_folds(strongest: f64, n_folds: usize, columns: &Numbers, question: &Question) -> Result<(f64, bool)> {
    let folds = folds(question, n_folds)?;
    let losses = |fold: &Fold| losses(strongest, fold, columns, question);
    let n_values: usize = folds.iter().map(|fold| fold.train.len() * columns.n_columns()).sum();
    let (losses, are_solved): (Vec<Vec<f64>>, Vec<bool>) = if n_values <= BESIDE {
        folds.par_iter().map(losses).collect::<Result<Vec<_>>>()?
    } else {
        folds.iter().map(losses).collect::<Result<Vec<_>>>()?
    }
    .into_iter()
    .unzip();
    let n = losses.len() as f64;
    let n_compared = losses.iter().map(Vec::len).min().unwrap_or(0);
    let compared = |at: usize| {
        let mean = losses.iter().map(|losses| losses[at]).sum::<f64>() / n;
        let scatter: f64 = losses.iter().map(|losses| (losses[at] - mean).powi(2)).sum();
        (mean, (scatter / (n - 1.0) / n).sqrt())
    };
    let compared: Vec<(f64, f64)> = (0..n_compared).map(compared).collect();
    let best = compared.iter().min_by(|a, b| a.0.total_cmp(&b.0));
    let limit = best.map_or(f64::INFINITY, |(mean, error)| mean + error);
    let found = path(strongest, PATH).zip(&compared).find(|(_, (mean, _))| *mean <= limit);
    Ok((found.map_or(strongest, |(alpha, _)| alpha), are_solved.into_iter().all(|solved| solved)))
}

/// The mean loss on a fold's other rows for each penalty of the path, until it only grows, and whether all models were solved.
pub(crate) fn losses(strongest: f64, fold: &Fold, columns: &Numbers, question: &Question) -> Result<(Vec<f64>, bool)> {
    let mut problem = problem(columns, &fold.train, question.target);
    let truth = question.target.take(&fold.validation);
    let (mut losses, mut best) = (Vec::<f64>::new(), 0);
    for alpha in path(strongest, PATH) {
        question.context.progress.check_cancelled()?;
        problem.solve(alpha, ROUGH);
        losses.push(problem.loss(columns, &fold.validation, &truth));
        let at = losses.len() - 1;
        best = if losses[at] < losses[best] { at } else { best };
        if at >= best + PATIENCE || problem.unexplained() < UNEXPLAINED {
            break;
        }
    }
    Ok((losses, problem.is_solved()))
}

fn path(strongest: f64, n: usize) -> impl Iterator<Item = f64> {
    (0..n).map(move |at| strongest * PATH_END.powf(at as f64 / (PATH - 1) as f64))
}

/// Halves the way from a penalty with too few columns to one with too many: to the right number, or to the weakest penalty with fewer.
fn between(
    problem: &mut dyn Problem,
    (mut stronger, mut magnitudes): (f64, Vec<f64>),
    mut weaker: f64,
    is_enough: &impl Fn(&[f64]) -> Option<std::cmp::Ordering>,
) -> (f64, Vec<f64>) {
    for _ in 0..30 {
        let alpha = (stronger * weaker).sqrt();
        problem.solve(alpha, EXACT);
        let found = problem.magnitudes();
        match is_enough(&found) {
            Some(std::cmp::Ordering::Equal) => return (alpha, found),
            Some(std::cmp::Ordering::Greater) => weaker = alpha,
            _ => (stronger, magnitudes) = (alpha, found),
        }
    }
    (stronger, magnitudes)
}

/// A linear model with an L1 penalty, on rows of columns that it standardises. Each penalty is solved from the solution of the one before.
trait Problem {
    /// The least penalty that leaves no coefficient.
    fn strongest(&self) -> f64;

    /// Until no subgradient is farther from 0 than a share of the strongest penalty.
    fn solve(&mut self, alpha: f64, tolerance: f64);

    /// Whether that was reached for every penalty so far.
    fn is_solved(&self) -> bool;

    /// Of each column's coefficients, the norm over the outputs.
    fn magnitudes(&self) -> Vec<f64>;

    /// The sum of the magnitudes of all coefficients.
    #[cfg(test)]
    fn length(&self) -> f64;

    /// The loss as a share of that without any column.
    fn unexplained(&self) -> f64;

    /// The mean loss on other rows.
    fn loss(&self, columns: &Numbers, rows: &[usize], truth: &Target) -> f64;
}

/// The least penalty that leaves no coefficient.
#[cfg(test)]
pub(crate) fn strongest(columns: &Numbers, target: &Target) -> f64 {
    problem(columns, &(0..columns.n_rows()).collect::<Vec<_>>(), target).strongest()
}

/// What is least for labels.
#[cfg(test)]
pub(crate) fn objective(columns: &Numbers, target: &Target, alpha: f64) -> f64 {
    let rows: Vec<usize> = (0..columns.n_rows()).collect();
    let mut problem = problem(columns, &rows, target);
    problem.solve(alpha, EXACT);
    problem.loss(columns, &rows, target) + alpha * problem.length()
}

/// Whether a penalty is solved up to a tolerance.
#[cfg(test)]
pub(crate) fn solves(columns: &Numbers, target: &Target, alpha: f64, tolerance: f64) -> bool {
    let mut problem = problem(columns, &(0..columns.n_rows()).collect::<Vec<_>>(), target);
    problem.solve(alpha, tolerance);
    problem.is_solved()
}

fn problem(columns: &Numbers, rows: &[usize], target: &Target) -> Box<dyn Problem> {
    let matrix = Matrix::of(columns, rows);
    match target.take(rows) {
        Target::Values(values) => Box::new(lasso::Lasso::new(matrix, values)),
        Target::Classes { codes, n_classes } => Box::new(logistic::Logistic::new(matrix, &codes, n_classes)),
    }
}

/// Standardised columns, one after the other.
struct Matrix {
    n_rows: usize,
    cells: Vec<f64>,
    scales: Vec<Scale>,
}

impl Matrix {
    fn of(columns: &Numbers, rows: &[usize]) -> Self {
        let mut cells = vec![0.0; rows.len() * columns.n_columns()];
        let standardise = |(column, cells): (usize, &mut [f64])| {
            let values = columns.at(column, rows);
            let scale = Scale::of(&values);
            cells.iter_mut().zip(values).for_each(|(cell, value)| *cell = scale.turn(value));
            scale
        };
        let scales = cells.par_chunks_mut(rows.len().max(1)).enumerate().map(standardise).collect();
        Self { n_rows: rows.len(), cells, scales }
    }

    fn n_columns(&self) -> usize {
        self.scales.len()
    }

    fn column(&self, at: usize) -> &[f64] {
        &self.cells[at * self.n_rows..(at + 1) * self.n_rows]
    }
}

/// Nearer to 0 by the penalty.
fn soft(value: f64, penalty: f64) -> f64 {
    value.signum() * (value.abs() - penalty).max(0.0)
}
