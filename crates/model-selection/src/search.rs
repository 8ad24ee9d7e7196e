//! The loop over trials.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use rayon::prelude::*;
use retune_estimators::{FitOptions, truth_of};
use retune_metrics::score;
use retune_spec::estimators::GradientBoosting;
use retune_spec::model_selection::{ModelSelection, Pruner, Sampler};
use retune_spec::{Estimator, Metric};
use retune_stage::{ErrorClass, FitContext, Level, Quiet, Result, StageError, Task};
use retune_store::{Flush, Journal};
use serde_json::{Map, Value};

use crate::folds::PreparedFold;
use crate::proposer::Proposer;
use crate::trial::{Outcome, Trial, mean};

/// Folds that a trial runs between two looks of the pruner. Fixed, so that what is given up does not depend on the number of threads.
const FOLDS_AT_ONCE: usize = 2;

/// Finished trials that the pruner wants to see before it gives one up.
const PRUNER_STARTUP: usize = 3;

/// The name of the ledger in the work folder.
const LEDGER: &str = "trials.jsonl";

/// A search with all that it needs.
pub struct Search<'a> {
    /// The declaration.
    pub spec: &'a ModelSelection,
    /// The score that decides.
    pub metric: Metric,
    /// What is learned.
    pub task: &'a Task,
    /// The folds, shared by all trials.
    pub folds: &'a [PreparedFold],
    /// Seed, threads, progress and the work folder.
    pub context: &'a FitContext<'a>,
}

/// The best trial, and the estimator that is fitted on all rows.
pub struct Winner {
    /// The trial's position.
    pub trial: usize,
    /// Its family and values, with the rounds that its folds chose.
    pub estimator: Estimator,
}

impl Search<'_> {
    /// What a grid leaves out for want of trials, in words; `None` where every combination is tried, and where values are drawn.
    pub fn left_out(&self) -> Option<String> {
        let search = &self.spec.search;
        if search.sampler != Sampler::Grid {
            return None;
        }
        let all = self.spec.candidates.iter().try_fold(0_u64, |sum, candidate| {
            let combinations = Proposer::new(candidate, search.sampler, self.context.seed).combinations()?;
            Some(sum.saturating_add(combinations))
        })?;
        let turns = if self.spec.candidates.len() > 1 { "of each candidate in turn, " } else { "" };
        (all > search.trials as u64).then(|| {
            format!(
                "the grid has {all} combinations, of which `trials: {}` takes the first ones: {turns}the last hyperparameter that was declared changing \
                 fastest; `trials: {all}` takes them all, and `sampler: random` spreads fewer of them",
                search.trials
            )
        })
    }

    /// Runs all trials; those in the ledger are read back instead.
    pub fn run(&self) -> Result<Vec<Trial>> {
        let recorded = match self.context.work {
            Some(work) => Journal::read::<Trial>(&work.join(LEDGER)).unwrap_or_default(),
            None => Vec::new(),
        };
        match self.run_after(&recorded)? {
            Some(trials) => Ok(trials),
            // The ledger tells of another search: what is in it is worth nothing here.
            None => self.forget().and_then(|()| self.run_after(&[])).map(Option::unwrap_or_default),
        }
    }

    /// The best finished trial. Fails, with the commonest reasons, when every trial failed.
    pub fn winner(&self, trials: &[Trial]) -> Result<Winner> {
        let finished = trials.iter().enumerate().filter(|(_, trial)| trial.is_finished());
        let best =
            finished.reduce(
                |best, other| if self.oriented(other.1.mean()) > self.oriented(best.1.mean()) { other } else { best },
            );
        let Some((position, trial)) = best else { return Err(all_failed(trials)) };
        let mut estimator = self.estimator(trial)?;
        if let (Estimator::GradientBoosting(parameters), Outcome::Finished { rounds, .. }) =
            (&mut estimator, &trial.outcome)
        {
            fix_rounds(parameters, rounds);
        }
        Ok(Winner { trial: position, estimator })
    }

    /// `None` if the recorded trials are not those that this search proposes.
    fn run_after(&self, recorded: &[Trial]) -> Result<Option<Vec<Trial>>> {
        let mut ledger = match self.context.work {
            Some(work) => Some(Journal::open(&work.join(LEDGER), Flush::EachLine)?),
            None => None,
        };
        let seed = self.context.seed.derive("proposals");
        let candidates = self.spec.candidates.iter().enumerate();
        let mut proposers: Vec<Proposer> = candidates
            .map(|(position, candidate)| {
                Proposer::new(candidate, self.spec.search.sampler, seed.derive(&position.to_string()))
            })
            .collect();
        let mut open: Vec<usize> = (0..proposers.len()).collect();
        let mut trials: Vec<Trial> = Vec::new();
        let mut turn = 0;
        let total = Some(self.spec.search.trials as u64);
        while trials.len() < self.spec.search.trials && !open.is_empty() {
            self.context.progress.check_cancelled()?;
            self.context.progress.update("trials", trials.len() as u64, total);
            let candidate = open[turn % open.len()];
            let Some(values) = proposers[candidate].propose() else {
                open.retain(|other| *other != candidate);
                continue;
            };
            let number = trials.len();
            let trial = match recorded.get(number) {
                Some(known) if known.candidate == candidate && known.values == values => known.clone(),
                Some(_) => return Ok(None),
                None => {
                    let trial = self.try_out(number, candidate, values, &trials)?;
                    if let Some(ledger) = &mut ledger {
                        ledger.append(&trial)?;
                    }
                    trial
                }
            };
            // A trial that was given up still tells where not to look.
            let told = trial.failure().is_none().then(|| self.oriented(trial.mean()));
            proposers[candidate].tell(told);
            self.tell_if_best(&trial, &trials);
            trials.push(trial);
            turn += 1;
        }
        Ok(Some(trials))
    }

    fn try_out(&self, number: usize, candidate: usize, values: Map<String, Value>, before: &[Trial]) -> Result<Trial> {
        let family = self.spec.candidates[candidate].family().to_owned();
        let mut trial = Trial { number, candidate, family, values, outcome: Outcome::Pruned { scores: Vec::new() } };
        trial.outcome = match self.estimator(&trial) {
            Ok(estimator) => self.evaluate(&estimator, number, before)?,
            Err(error) => Outcome::Failed { reason: error.message },
        };
        Ok(trial)
    }

    fn evaluate(&self, estimator: &Estimator, number: usize, before: &[Trial]) -> Result<Outcome> {
        let inner_threads = (self.context.threads / self.folds.len()).max(1);
        let (mut scores, mut rounds) = (Vec::new(), Vec::new());
        for (chunk, folds) in self.folds.chunks(FOLDS_AT_ONCE).enumerate() {
            self.context.progress.check_cancelled()?;
            let results: Vec<Result<(f64, Option<usize>)>> = folds
                .par_iter()
                .enumerate()
                .map(|(position, fold)| {
                    let place = format!("trial {number}, fold {}", chunk * FOLDS_AT_ONCE + position);
                    let options = FitOptions {
                        seed: self.context.seed.derive(&place),
                        threads: inner_threads,
                        device: self.context.device,
                        progress: &Quiet(self.context.progress),
                    };
                    catch_unwind(AssertUnwindSafe(|| self.score_fold(estimator, fold, &options)))
                        .unwrap_or_else(|_| Err(StageError::failed("it panicked")))
                })
                .collect();
            for result in results {
                match result {
                    Ok((score, round)) => {
                        scores.push(score);
                        rounds.push(round);
                    }
                    Err(error) if error.class == ErrorClass::Cancelled => return Err(error),
                    Err(error) => return Ok(Outcome::Failed { reason: error.message }),
                }
            }
            if scores.len() < self.folds.len() && self.is_hopeless(&scores, before) {
                return Ok(Outcome::Pruned { scores });
            }
        }
        Ok(Outcome::Finished { scores, rounds })
    }

    fn score_fold(
        &self,
        estimator: &Estimator,
        fold: &PreparedFold,
        options: &FitOptions,
    ) -> Result<(f64, Option<usize>)> {
        let (fitted, info) = retune_estimators::fit(estimator, &fold.train, self.task, options)?;
        let prediction = fitted.predict(fold.validation.features.view())?;
        let truth = truth_of(fold.validation.target()?);
        let score = score(self.metric, &truth, &prediction).map_err(|error| StageError::failed(error.to_string()))?;
        if score.is_finite() {
            Ok((score, info.rounds))
        } else {
            Err(StageError::failed(format!("its {} is {score}", self.metric.word())))
        }
    }

    /// The median rule: worse, so far, than half of the finished trials were after as many folds.
    fn is_hopeless(&self, scores: &[f64], before: &[Trial]) -> bool {
        let finished: Vec<&Trial> = before.iter().filter(|trial| trial.is_finished()).collect();
        if self.spec.search.pruner != Pruner::Median || finished.len() < PRUNER_STARTUP {
            return false;
        }
        let mut then: Vec<f64> =
            finished.iter().map(|trial| self.oriented(mean(&trial.scores()[..scores.len()]))).collect();
        then.sort_by(f64::total_cmp);
        let middle = then.len() / 2;
        let median = if then.len() % 2 == 1 { then[middle] } else { f64::midpoint(then[middle - 1], then[middle]) };
        self.oriented(mean(scores)) < median
    }

    fn estimator(&self, trial: &Trial) -> Result<Estimator> {
        let candidate = &self.spec.candidates[trial.candidate];
        candidate.with_values(&trial.values).map_err(|error| StageError::failed(format!("`{}`: {error}", trial.family)))
    }

    /// A score of which more is better.
    fn oriented(&self, score: f64) -> f64 {
        if self.metric.greater_is_better() { score } else { -score }
    }

    fn tell_if_best(&self, trial: &Trial, before: &[Trial]) {
        let is_best = before
            .iter()
            .filter(|other| other.is_finished())
            .all(|other| self.oriented(trial.mean()) > self.oriented(other.mean()));
        if trial.is_finished() && is_best {
            let values = if trial.values.is_empty() {
                String::new()
            } else {
                format!(" {}", Value::Object(trial.values.clone()))
            };
            let text = format!("best so far: {} {:.4}, {}{values}", self.metric.word(), trial.mean(), trial.family);
            self.context.progress.message(Level::Info, &text);
        }
    }

    fn forget(&self) -> Result<()> {
        let ledger = self.context.work.map(|work: &Path| work.join(LEDGER));
        Ok(ledger.map_or(Ok(()), std::fs::remove_file)?)
    }
}

/// On all rows no row is set aside, and the rounds are those that the folds stopped at: their median.
fn fix_rounds(parameters: &mut GradientBoosting, rounds: &[Option<usize>]) {
    let mut rounds: Vec<usize> = rounds.iter().copied().flatten().collect();
    rounds.sort_unstable();
    if parameters.early_stopping > 0
        && let Some(&median) = rounds.get(rounds.len() / 2)
    {
        parameters.trees = median.max(1);
        parameters.early_stopping = 0;
    }
}

fn all_failed(trials: &[Trial]) -> StageError {
    let mut reasons: Vec<(String, usize)> = Vec::new();
    for trial in trials {
        let reason = format!("{}: {}", trial.family, trial.failure().unwrap_or("it was given up early"));
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => reasons.push((reason, 1)),
        }
    }
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let lines: Vec<String> =
        reasons.iter().take(3).map(|(reason, count)| format!("  {count} of {}: {reason}", trials.len())).collect();
    StageError::failed(format!("no trial could be finished; the commonest reasons:\n{}", lines.join("\n")))
}
