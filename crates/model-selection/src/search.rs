//! The search: trials are proposed and run until the budget is spent, and every finished one goes to a ledger.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rayon::prelude::*;
use retune_metrics::Prediction;
use retune_spec::Estimator;
use retune_spec::estimators::GradientBoosting;
use retune_spec::model_selection::{self as spec, Choose, ModelSelection, Sampler};
use retune_stage::{ErrorClass, Level, Quiet, Result, StageError};
use retune_store::{Flush, Journal};
use serde_json::{Map, Value};

use crate::evaluate::{Judge, Limits, Scored, Share, Terms};
use crate::folds::{FoldBank, PreparedFold};
use crate::out_of_fold::joined;
use crate::pruner::{gives_up, steps};
use crate::samplers::{Proposal, Proposer};
use crate::trial::{Cost, Outcome, Trial, mean};
use crate::turns::Turns;

/// A search with all that it needs.
pub struct Search<'a> {
    /// The declaration.
    pub spec: &'a ModelSelection,
    /// What trials are scored by.
    pub judge: Judge<'a>,
    /// Where finished trials are kept; `None` keeps them nowhere.
    pub ledger: Option<PathBuf>,
}

/// What a search found.
pub struct Found {
    /// The trials in their order.
    pub trials: Vec<Trial>,
    /// Why the search ended, where it was not for the number of trials.
    pub end: Option<String>,
    /// Whether the same search anywhere else gives the same: not where a clock ended it, or a trial.
    pub is_reproducible: bool,
    /// Predictions of the folds' validation rows, of the trials that were run just now: by trial and fold.
    pub predictions: Vec<(usize, Vec<Prediction>)>,
}

/// The best trial, and the estimator that is fitted on all rows.
pub struct Winner {
    /// The trial's position.
    pub trial: usize,
    /// Its family and values, with the rounds that its folds chose.
    pub estimator: Estimator,
}

/// What running a trial gave.
struct Ran {
    trial: Trial,
    predictions: Vec<Prediction>,
    /// The time of the whole search was over.
    is_late: bool,
}

impl Search<'_> {
    /// What a grid leaves out for want of trials, in words; `None` where every combination is tried, and where values are drawn.
    pub fn left_out(&self) -> Option<String> {
        let search = &self.spec.search;
        if search.sampler != Sampler::Grid {
            return None;
        }
        let all = self
            .proposers()
            .iter()
            .try_fold(0_u64, |sum, proposer| Some(sum.saturating_add(proposer.combinations()?)))?;
        let trials = search.trials();
        let turns = if self.spec.candidates.len() > 1 { "of each candidate in turn, " } else { "" };
        (all > trials as u64).then(|| {
            format!(
                "the grid has {all} combinations, of which `trials: {trials}` takes the first ones: {turns}the last hyperparameter that was declared changing \
                 fastest; `trials: {all}` takes them all, and `sampler: random` spreads fewer of them"
            )
        })
    }

    /// Runs all trials; those in the ledger are read back instead.
    pub fn run(&self, folds: &mut FoldBank) -> Result<Found> {
        let recorded = match &self.ledger {
            Some(ledger) => Journal::read::<Trial>(ledger).unwrap_or_default(),
            None => Vec::new(),
        };
        match self.run_after(&recorded, folds)? {
            Some(found) => Ok(found),
            // The ledger tells of another search: what is in it is worth nothing here.
            None => {
                self.forget()?;
                let found = self.run_after(&[], folds)?;
                found.ok_or_else(|| StageError::failed("the ledger of the search cannot be written"))
            }
        }
    }

    /// The trial that wins. Fails, with the commonest reasons, when every trial failed.
    pub fn winner(&self, trials: &[Trial]) -> Result<Winner> {
        let finished = || trials.iter().enumerate().filter(|(_, trial)| trial.is_finished());
        let best = finished().reduce(|best, other| {
            if self.judge.oriented(other.1.mean()) > self.judge.oriented(best.1.mean()) { other } else { best }
        });
        let Some((mut position, best)) = best else { return Err(all_failed(trials)) };
        if self.spec.choose == Choose::Simplest {
            let n_folds = best.scores().len() as f64;
            let error = best.deviation().map_or(0.0, |deviation| deviation / n_folds.sqrt());
            let least = self.judge.oriented(best.mean()) - error;
            let close = finished().filter(|(_, trial)| self.judge.oriented(trial.mean()) >= least);
            let simplest = close.min_by(|(_, a), (_, b)| {
                let better = self.judge.oriented(b.mean()).total_cmp(&self.judge.oriented(a.mean()));
                a.cost.size.total_cmp(&b.cost.size).then(better)
            });
            position = simplest.map_or(position, |(position, _)| position);
        }
        Ok(Winner { trial: position, estimator: self.final_estimator(&trials[position])? })
    }

    /// A trial's estimator as it is fitted on all rows.
    pub fn final_estimator(&self, trial: &Trial) -> Result<Estimator> {
        let mut estimator = self.estimator(trial)?;
        if let (Estimator::GradientBoosting(parameters), Outcome::Finished { rounds, .. }) =
            (&mut estimator, &trial.outcome)
        {
            fix_rounds(parameters, rounds);
        }
        Ok(estimator)
    }

    /// The predictions of a trial for the folds' validation rows: those that were kept, or by running it again.
    pub fn predictions(&self, found: &Found, trial: &Trial, folds: &[Arc<PreparedFold>]) -> Result<Prediction> {
        if let Some((_, kept)) = found.predictions.iter().find(|(number, _)| *number == trial.number) {
            return joined(kept);
        }
        let limits = Limits::new(self.judge.context.progress, None);
        let estimator = self.estimator(trial)?;
        let place = place(trial.number);
        let terms = Terms { place: &place, share: Share::Whole, threads: self.threads(folds.len()), limits: &limits };
        let scored = self.judge.folds(&estimator, folds, 0..folds.len(), &terms)?;
        joined(&scored.predictions)
    }

    /// The finished trials that may be combined, the best first. What needs other rows than the winner's - other values of the stages before - may not.
    pub fn ranked<'t>(&self, trials: &'t [Trial], winner: &Trial) -> Vec<&'t Trial> {
        let same_rows =
            |trial: &&Trial| self.spec.upstream.keys().all(|name| trial.values.get(name) == winner.values.get(name));
        let score = |trial: &Trial| self.judge.oriented(trial.mean());
        let mut ranked: Vec<&Trial> = trials.iter().filter(|trial| trial.is_finished()).filter(same_rows).collect();
        ranked.sort_by(|a, b| score(b).total_cmp(&score(a)).then(a.number.cmp(&b.number)));
        ranked
    }

    fn proposers(&self) -> Vec<Proposer> {
        let seed = self.judge.context.seed.derive("proposals");
        let upstream = self.spec.upstream.iter().map(|(name, space)| (name.clone(), space.clone()));
        let candidates = self.spec.candidates.iter().enumerate();
        let proposer = |(position, candidate): (usize, &retune_spec::model_selection::Candidate)| {
            let spaces = candidate.spaces().into_iter().chain(upstream.clone()).collect();
            Proposer::new(spaces, self.spec.search.sampler, seed.derive(&position.to_string()))
        };
        candidates.map(proposer).collect()
    }

    /// `None` if the recorded trials are not those that this search proposes.
    fn run_after(&self, recorded: &[Trial], folds: &mut FoldBank) -> Result<Option<Found>> {
        let progress = self.judge.context.progress;
        let search = &self.spec.search;
        let mut ledger = match &self.ledger {
            Some(ledger) => Some(Journal::open(ledger, Flush::EachLine)?),
            None => None,
        };
        let mut proposers = self.proposers();
        let mut turns = Turns::new(proposers.len(), search);
        let mut found = Found { trials: Vec::new(), end: None, is_reproducible: true, predictions: Vec::new() };
        let begun = Instant::now();
        let mut spent_before = 0.0;
        let total = (search.trials() < spec::Search::UNLIMITED).then_some(search.trials() as u64);
        while found.trials.len() < search.trials() {
            progress.check_cancelled()?;
            progress.update("trials", found.trials.len() as u64, total);
            if let Some(end) = self.end(&found.trials, spent_before + begun.elapsed().as_secs_f64()) {
                found.is_reproducible &= search.goal.is_some() && self.reached(&found.trials);
                found.end = Some(end);
                break;
            }
            let n = search.at_once.min(search.trials() - found.trials.len());
            let batch: Vec<(usize, Proposal)> = (0..n)
                .map_while(|_| turns.propose(&mut proposers, &found.trials, |score| self.judge.oriented(score)))
                .collect();
            if batch.is_empty() {
                break;
            }
            let first = found.trials.len();
            let is_known = |(offset, (candidate, proposal)): (usize, &(usize, Proposal))| {
                recorded
                    .get(first + offset)
                    .map(|known| known.candidate == *candidate && known.values == proposal.values)
            };
            let known: Vec<Option<bool>> = batch.iter().enumerate().map(is_known).collect();
            if known.contains(&Some(false)) {
                return Ok(None);
            }
            let n_known = known.iter().take_while(|known| known.is_some()).count();
            spent_before +=
                recorded[first.min(recorded.len())..].iter().take(n_known).map(|trial| trial.cost.seconds).sum::<f64>();
            let until = search.seconds.map(|seconds| begun + seconds_of(seconds - spent_before));
            let ran = self.run_batch(&batch[n_known..], first + n_known, &found.trials, folds, until)?;
            let mut is_late = false;
            let known = recorded.iter().skip(first).take(n_known).cloned().map(|trial| Ran {
                trial,
                predictions: Vec::new(),
                is_late: false,
            });
            for (offset, ran) in known.chain(ran).enumerate() {
                // What the clock cut off is no trial; those after it in the batch would leave a gap.
                is_late |= ran.is_late;
                if is_late {
                    continue;
                }
                let (trial, (candidate, proposal)) = (ran.trial, &batch[offset]);
                if let Some(ledger) = ledger.as_mut().filter(|_| offset >= n_known) {
                    ledger.append(&trial)?;
                }
                // A trial that was given up still tells where not to look.
                let told = trial.failure().is_none().then(|| self.judge.oriented(trial.mean()));
                proposers[*candidate].tell(&proposal.point, told);
                self.tell_if_best(&trial, &found.trials);
                if !ran.predictions.is_empty() {
                    found.predictions.push((trial.number, ran.predictions));
                    self.forget_predictions(&mut found, &trial);
                }
                found.is_reproducible &= search.trial_seconds.is_none() || trial.failure().is_none();
                found.trials.push(trial);
            }
        }
        Ok(Some(found))
    }

    /// Why the search is over, if it is.
    fn end(&self, trials: &[Trial], seconds: f64) -> Option<String> {
        let search = &self.spec.search;
        if let Some(goal) = search.goal.filter(|_| self.reached(trials)) {
            return Some(format!("the goal of {} {goal} was reached", self.judge.metric.word()));
        }
        // Some trial is needed, however little time there is; where all fail, more of them would hardly help.
        let limit = search.seconds.filter(|limit| seconds >= *limit && !trials.is_empty())?;
        Some(format!("{limit} seconds were over"))
    }

    fn reached(&self, trials: &[Trial]) -> bool {
        let Some(goal) = self.spec.search.goal else { return false };
        let is_good = |trial: &Trial| self.judge.oriented(trial.mean()) >= self.judge.oriented(goal);
        trials.iter().filter(|trial| trial.is_finished()).any(is_good)
    }

    /// Runs trials side by side, each with the folds of its own values of the stages before.
    fn run_batch(
        &self,
        batch: &[(usize, Proposal)],
        first: usize,
        before: &[Trial],
        folds: &mut FoldBank,
        until: Option<Instant>,
    ) -> Result<Vec<Ran>> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let values: Vec<&Map<String, Value>> = batch.iter().map(|(_, proposal)| &proposal.values).collect();
        let prepared = folds.prepare(&values)?;
        if self.spec.upstream.is_empty()
            && let Some(Err(error)) = prepared.first()
        {
            return Err(error.clone());
        }
        // The first trial of all is let go on, so that there is something to choose.
        let until = until.filter(|_| before.iter().any(Trial::is_finished));
        let threads = self.threads(batch.len() * folds.n_folds());
        let run = |offset: usize| {
            let (candidate, proposal) = &batch[offset];
            let trial = Trial::new(first + offset, *candidate, self.spec.candidates[*candidate].family(), proposal);
            match &prepared[offset] {
                Ok(prepared) => self.run_one(trial, prepared, before, until, threads),
                Err(error) => Ok(Ran { trial: failed(trial, &error.message), predictions: Vec::new(), is_late: false }),
            }
        };
        (0..batch.len()).into_par_iter().map(run).collect()
    }

    fn run_one(
        &self,
        mut trial: Trial,
        folds: &[Arc<PreparedFold>],
        before: &[Trial],
        until: Option<Instant>,
        threads: usize,
    ) -> Result<Ran> {
        let begun = Instant::now();
        let at_most = self.trial_seconds(until.is_some());
        let own = at_most.map(|seconds| begun + seconds_of(seconds));
        let quiet = Quiet(self.judge.context.progress);
        // What is learned round by round has to fit into the time of a trial with all its folds.
        let shares = folds.len().div_ceil(self.judge.context.threads.max(1)) as f64;
        let of_fold =
            at_most.filter(|_| self.spec.search.seconds.is_some()).map(|time| seconds_of(0.7 * time / shares));
        let limits = Limits::new(&quiet, [until, own].into_iter().flatten().min()).with_time_of_fold(of_fold);
        let scored = self
            .estimator(&trial)
            .and_then(|estimator| self.go_through(&mut trial, &estimator, folds, before, threads, &limits));
        trial.cost.seconds = begun.elapsed().as_secs_f64();
        let ran = |trial, predictions| Ran { trial, predictions, is_late: false };
        match scored {
            Ok(predictions) => Ok(ran(trial, predictions)),
            Err(_) if limits.is_short() => Ok(ran(failed(trial, "it ran out of memory"), Vec::new())),
            Err(_) if limits.is_late() => {
                let seconds = at_most.filter(|_| until.is_none_or(|until| own.is_some_and(|own| own < until)));
                let is_late = seconds.is_none();
                let reason =
                    seconds.map_or_else(String::new, |seconds| format!("it took longer than {seconds} seconds"));
                Ok(Ran { trial: failed(trial, &reason), predictions: Vec::new(), is_late })
            }
            Err(error) if error.class == ErrorClass::Cancelled => Err(error),
            Err(error) => Ok(ran(failed(trial, &error.message), Vec::new())),
        }
    }

    /// The seconds that a trial may take. Where candidates share the seconds of a search, none may take more than its share with one trial, once something is
    /// found, nor more than a third.
    fn trial_seconds(&self, is_limited: bool) -> Option<f64> {
        let search = &self.spec.search;
        let n_candidates = self.spec.candidates.len();
        let is_shared = is_limited && n_candidates > 1;
        let own_share = search.seconds.filter(|_| is_shared).map(|seconds| seconds / n_candidates.max(3) as f64);
        search.trial_seconds.or(own_share)
    }

    /// Takes a trial through its steps; gives the predictions of a finished one.
    fn go_through(
        &self,
        trial: &mut Trial,
        estimator: &Estimator,
        folds: &[Arc<PreparedFold>],
        before: &[Trial],
        threads: usize,
        limits: &Limits,
    ) -> Result<Vec<Prediction>> {
        let pruner = self.spec.search.pruner;
        let place = place(trial.number);
        let mut whole = Scored { scores: Vec::new(), rounds: Vec::new(), predictions: Vec::new(), costs: Vec::new() };
        for step in steps(pruner, trial.number, folds.len()) {
            let terms = Terms { place: &place, share: step.share, threads, limits };
            let scored = self.judge.folds(estimator, folds, step.folds.clone(), &terms)?;
            let level = if step.share == Share::Whole {
                whole.scores.extend(scored.scores);
                whole.rounds.extend(scored.rounds);
                whole.predictions.extend(scored.predictions);
                whole.costs.extend(scored.costs);
                mean(&whole.scores)
            } else {
                mean(&scored.scores)
            };
            if !step.is_looked_at {
                continue;
            }
            trial.levels.push(level);
            if gives_up(pruner, trial.number, &trial.levels, &whole.scores, before, |score| self.judge.oriented(score))
            {
                trial.outcome = Outcome::Pruned { scores: whole.scores };
                return Ok(Vec::new());
            }
        }
        let cost = |at: usize| mean(&whole.costs.iter().map(|cost| cost[at]).collect::<Vec<_>>());
        trial.cost = Cost { seconds: 0.0, fit: cost(0), predict: cost(1), size: cost(2) };
        trial.outcome = Outcome::Finished { scores: whole.scores, rounds: whole.rounds };
        Ok(whole.predictions)
    }

    /// Threads of each of so many fits that run side by side.
    fn threads(&self, n_fits: usize) -> usize {
        (self.judge.context.threads / n_fits).max(1)
    }

    fn estimator(&self, trial: &Trial) -> Result<Estimator> {
        let candidate = &self.spec.candidates[trial.candidate];
        let mut own = trial.values.clone();
        self.spec.upstream.keys().for_each(|name| drop(own.remove(name)));
        candidate.with_values(&own).map_err(|error| StageError::failed(format!("`{}`: {error}", trial.family)))
    }

    /// Keeps the predictions of those trials only that an ensemble could take: the best ones, and the best of each candidate.
    fn forget_predictions(&self, found: &mut Found, newest: &Trial) {
        let n_kept = self.n_kept();
        let trials: Vec<&Trial> = found.trials.iter().chain([newest]).collect();
        let score = |number: usize| self.judge.oriented(trials[number].mean());
        let is_best_of_candidate = |number: usize| {
            let own = trials.iter().filter(|other| other.candidate == trials[number].candidate && other.is_finished());
            own.map(|other| score(other.number)).fold(f64::NEG_INFINITY, f64::max) <= score(number)
        };
        let mut ranked: Vec<f64> = found.predictions.iter().map(|(number, _)| score(*number)).collect();
        ranked.sort_by(|a, b| b.total_cmp(a));
        let least = ranked.get(n_kept.saturating_sub(1)).copied().unwrap_or(f64::NEG_INFINITY);
        found
            .predictions
            .retain(|(number, _)| n_kept > 0 && (score(*number) >= least || is_best_of_candidate(*number)));
    }

    /// How many trials' predictions are of use after the search.
    pub fn n_kept(&self) -> usize {
        use retune_spec::model_selection::Ensemble;
        match self.spec.ensemble {
            Some(Ensemble::Greedy(greedy)) => greedy.top,
            Some(Ensemble::Voting(voting)) => voting.top,
            Some(Ensemble::Stacking(stacking)) => stacking.top,
            None => usize::from(self.spec.calibrate.is_some() || self.spec.threshold.is_some()),
        }
    }

    fn tell_if_best(&self, trial: &Trial, before: &[Trial]) {
        let is_best = before
            .iter()
            .filter(|other| other.is_finished())
            .all(|other| self.judge.oriented(trial.mean()) > self.judge.oriented(other.mean()));
        if trial.is_finished() && is_best {
            let values = if trial.values.is_empty() {
                String::new()
            } else {
                format!(" {}", Value::Object(trial.values.clone()))
            };
            let word = self.judge.metric.word();
            let text = format!("best so far: {word} {:.4}, {}{values}", trial.mean(), trial.family);
            self.judge.context.progress.message(Level::Info, &text);
        }
    }

    fn forget(&self) -> Result<()> {
        Ok(self.ledger.as_deref().map_or(Ok(()), |ledger: &Path| std::fs::remove_file(ledger))?)
    }
}

/// What a trial's randomness is derived from.
fn place(number: usize) -> String {
    format!("trial {number}")
}

fn seconds_of(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::from_secs(u64::from(u32::MAX)))
}

fn failed(trial: Trial, reason: &str) -> Trial {
    Trial { outcome: Outcome::Failed { reason: reason.to_owned() }, levels: Vec::new(), ..trial }
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
