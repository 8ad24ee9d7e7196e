//! Folds whose chain of stages has seen its own training rows only.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use retune_spec::model_selection::{FoldPlan, Folds, ModelSelection, Space};
use retune_stage::{Design, FitContext, Quiet, Result, Rows, StageError, Task, Upstream};
use retune_table::{Divisible, Fold, plan_folds};
use serde_json::{Map, Value};

use crate::chain::Chain;

/// One fold: what a trial learns from, and what it is scored on.
pub struct PreparedFold {
    /// Training rows, as the chain fitted on them turned them.
    pub train: Design,
    /// Validation rows, taken through that chain.
    pub validation: Design,
}

/// The folds of a trial, or why its values do not allow any.
pub type Prepared = Result<Vec<Arc<PreparedFold>>>;

/// The training and the validation rows of each fold on their way through the stages.
type Between = Vec<Arc<(Rows, Rows)>>;

/// So many different values of searched stages have their rows kept after each piece of the chain.
const KEPT: usize = 4;

/// The folds of a search.
pub struct FoldBank<'a> {
    chain: Chain<'a>,
    upstream: &'a Upstream,
    parts: Vec<Fold>,
    context: FitContext<'a>,
    /// Whether the score is that of all folds' predictions together, because a fold is too small for one of its own.
    pub is_pooled: bool,
    /// The rows after each piece, by what decides them; the latest last.
    pieces: Vec<Kept<(Rows, Rows)>>,
    prepared: Kept<PreparedFold>,
}

/// What was made of each fold for some values, the latest used last.
struct Kept<T>(Vec<(String, Vec<Arc<T>>)>);

impl<T> Kept<T> {
    fn get(&self, key: &str) -> Option<&Vec<Arc<T>>> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, kept)| kept)
    }

    /// Marks as used.
    fn touch(&mut self, key: &str) {
        if let Some(place) = self.0.iter().position(|(known, _)| known == key) {
            let used = self.0.remove(place);
            self.0.push(used);
        }
    }

    /// Adds, or marks as used.
    fn put(&mut self, key: String, made: Vec<Arc<T>>, at_most: usize) {
        self.0.retain(|(known, _)| *known != key);
        self.0.push((key, made));
        let surplus = self.0.len().saturating_sub(at_most);
        self.0.drain(..surplus);
    }
}

impl<'a> FoldBank<'a> {
    /// Divides the raw training rows.
    pub fn new(spec: &ModelSelection, upstream: &'a Upstream, context: &FitContext<'a>) -> Result<Self> {
        let chain = Chain::new(upstream, &spec.upstream)?;
        let raw = &upstream.train;
        let parts = divide(raw, &spec.folds, context.seed.derive("folds").0)?;
        let pieces = (0..chain.n_pieces()).map(|_| Kept(Vec::new())).collect();
        let is_pooled = matches!(spec.folds, Folds::Plan(FoldPlan::LeaveOneOut));
        Ok(Self { chain, upstream, parts, context: *context, is_pooled, pieces, prepared: Kept(Vec::new()) })
    }

    /// How many folds there are.
    pub fn n_folds(&self) -> usize {
        self.parts.len()
    }

    /// The training row that each of the validation rows is, fold after fold.
    pub fn rows(&self) -> Vec<usize> {
        self.parts.iter().flat_map(|part| part.validation.iter().copied()).collect()
    }

    /// Rows that are scored on for each that is learned from, on the average of the folds.
    pub fn test_share(&self) -> f64 {
        test_share(&self.parts)
    }

    /// Fails where a value of a searched hyperparameter of the stages before is none that it takes.
    pub fn check(&self, spec: &ModelSelection) -> Result<()> {
        [Space::first, Space::last].into_iter().try_for_each(|end| {
            let value = |(name, space): (&String, &Space)| Some((name.clone(), end(space)?));
            self.chain.check(&spec.upstream.iter().filter_map(value).collect())
        })
    }

    /// The folds for each of some trials' values. What was prepared before is not prepared again; what fails for a trial's values fails for it alone.
    pub fn prepare(&mut self, trials: &[&Map<String, Value>]) -> Result<Vec<Prepared>> {
        let n_pieces = self.chain.n_pieces();
        let at_most = KEPT + trials.len();
        let mut failed: HashMap<usize, StageError> = HashMap::new();
        for piece in 0..n_pieces {
            for values in trials {
                let key = self.chain.key(piece, values);
                self.pieces[piece].touch(&key);
                // What is needed now must not make room for what is new.
                if piece + 1 == n_pieces {
                    self.prepared.touch(&key);
                }
            }
            let todo = self.missing(piece, trials, &failed);
            let fitted: Vec<Result<Between>> = todo.iter().map(|&trial| self.fit_piece(piece, trials[trial])).collect();
            for (trial, rows) in todo.into_iter().zip(fitted) {
                let key = self.chain.key(piece, trials[trial]);
                match rows {
                    Ok(rows) => self.pieces[piece].put(key, rows, at_most),
                    Err(error) if error.class == retune_stage::ErrorClass::Cancelled => return Err(error),
                    Err(error) => {
                        let same = (0..trials.len()).filter(|&other| self.chain.key(piece, trials[other]) == key);
                        failed.extend(same.map(|other| (other, error.clone())));
                    }
                }
            }
        }
        let prepared = (0..trials.len()).map(|trial| match failed.remove(&trial) {
            Some(error) => Err(error),
            None => self.designs(trials[trial], at_most),
        });
        Ok(prepared.collect())
    }

    /// One trial of each of the values for which the rows after a piece are not known.
    fn missing(&self, piece: usize, trials: &[&Map<String, Value>], failed: &HashMap<usize, StageError>) -> Vec<usize> {
        let mut todo: Vec<(String, usize)> = Vec::new();
        for (trial, values) in trials.iter().enumerate().filter(|(trial, _)| !failed.contains_key(trial)) {
            let key = self.chain.key(piece, values);
            let is_done = self.prepared.get(&self.chain.key(self.chain.n_pieces() - 1, values)).is_some();
            let is_known = is_done || self.pieces[piece].get(&key).is_some();
            if !is_known && !todo.iter().any(|(known, _)| *known == key) {
                todo.push((key, trial));
            }
        }
        todo.into_iter().map(|(_, trial)| trial).collect()
    }

    fn fit_piece(&self, piece: usize, values: &Map<String, Value>) -> Result<Between> {
        let n_folds = self.parts.len() as u64;
        let done = AtomicU64::new(0);
        self.context.progress.update("preparing folds", 0, Some(n_folds));
        let quiet = Quiet(self.context.progress);
        let context = FitContext { progress: &quiet, ..self.context };
        let before = match piece.checked_sub(1) {
            None => None,
            Some(before) => {
                let kept = self.pieces[before].get(&self.chain.key(before, values));
                Some(kept.ok_or_else(|| StageError::failed("the rows of the step before are gone"))?)
            }
        };
        let fit = |(number, part): (usize, &Fold)| {
            context.progress.check_cancelled()?;
            let rows = || {
                let (train, validation) = match before {
                    Some(before) => before[number].as_ref().clone(),
                    None => (self.upstream.train.take(&part.train)?, self.upstream.train.take(&part.validation)?),
                };
                self.chain.fit_piece(piece, values, train, validation, &context)
            };
            let rows = rows().map_err(|error: StageError| error.within(format!("fold {}", number + 1)))?;
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            self.context.progress.update("preparing folds", done, Some(n_folds));
            Ok(Arc::new(rows))
        };
        self.parts.par_iter().enumerate().map(fit).collect()
    }

    fn designs(&mut self, values: &Map<String, Value>, at_most: usize) -> Result<Vec<Arc<PreparedFold>>> {
        let last = self.chain.n_pieces().checked_sub(1);
        let key = last.map_or_else(String::new, |last| self.chain.key(last, values));
        let known = self.prepared.get(&key).cloned();
        let folds = match (known, last) {
            (Some(folds), _) => folds,
            (None, Some(last)) => {
                let rows = self.pieces[last].get(&key);
                let rows = rows.ok_or_else(|| StageError::failed("the rows of a fold are gone"))?;
                let design = |rows: &Arc<(Rows, Rows)>| {
                    let (train, mut validation) = (rows.0.design()?, rows.1.design()?);
                    validation.recode(&train.levels);
                    Ok(Arc::new(PreparedFold { train, validation }))
                };
                let folds: Vec<Arc<PreparedFold>> = rows.par_iter().map(design).collect::<Result<_>>()?;
                // The matrices are all that is needed of the last piece.
                self.pieces[last].0.retain(|(known, _)| *known != key);
                folds
            }
            (None, None) => {
                let design = self.upstream.train.design()?;
                let fold = |part: &Fold| {
                    Arc::new(PreparedFold {
                        train: design.take(&part.train),
                        validation: design.take(&part.validation),
                    })
                };
                self.parts.par_iter().map(fold).collect()
            }
        };
        self.prepared.put(key, folds.clone(), at_most);
        Ok(folds)
    }
}

/// Rows that are scored on for each that is learned from, on the average of folds.
pub fn test_share(folds: &[Fold]) -> f64 {
    let share = |fold: &Fold| fold.validation.len() as f64 / fold.train.len() as f64;
    folds.iter().map(share).sum::<f64>() / folds.len() as f64
}

/// The folds that a plan makes of rows.
pub fn divide(raw: &Rows, plan: &Folds, seed: u64) -> Result<Vec<Fold>> {
    match raw {
        Rows::Table(table) => Ok(plan_folds(table, plan, seed)?),
        rows => {
            let design = rows.design()?;
            let labels = match &rows.schema().task {
                Some(Task::Classification { labels }) => labels.as_slice(),
                _ => &[],
            };
            let rows = Divisible { target: design.target()?, labels, ties: &design.ties, table: None };
            Ok(rows.folds(plan, seed)?)
        }
    }
}
