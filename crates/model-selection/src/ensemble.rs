//! Learning how several trials predict together, from their predictions for rows that they have not seen.

use std::collections::{BTreeSet, HashMap};

use rayon::prelude::*;
use retune_estimators::{Combination, truth_of};
use retune_metrics::{Prediction, score};
use retune_spec::Metric;
use retune_spec::model_selection::{Ensemble, Greedy, Stacking, Voting};
use retune_stage::{Progress, Result, StageError, Target};

use crate::out_of_fold::joined;

/// At most so many times weights are learned anew to be judged on rows that they have not seen.
const MOST_PARTS: usize = 10;

/// The parts of the rows where there is one fold only.
const PARTS_OF_ONE: usize = 5;

/// What finished trials said of rows that they had not learned from. Everything is in the same order of rows.
pub struct OutOfFold<'a> {
    /// Each trial's predictions.
    pub predictions: &'a [Prediction],
    /// The candidate that each trial is of.
    pub candidates: &'a [usize],
    /// The truth.
    pub target: &'a Target,
    /// The sample weights, which the model of `stacking` counts rows by.
    pub weights: Option<&'a [f64]>,
    /// The training row that each row is; with repeated folds one is there several times.
    pub rows: &'a [usize],
    /// The fold in which it was predicted.
    pub folds: &'a [usize],
    /// Whether the score is that of all rows at once, in place of the mean over folds.
    pub together: bool,
    /// The score that decides.
    pub metric: Metric,
    /// Whom to ask whether to go on.
    pub progress: &'a dyn Progress,
}

/// An ensemble.
pub struct Learned {
    /// How the members' predictions become one.
    pub combination: Combination,
    /// The positions of the trials that take part, in the order that the combination counts them, the better first.
    pub members: Vec<usize>,
    /// The score of predictions whose members and weights were chosen without the rows that they are for: by the other folds, by the other tenth of
    /// them where there are more than ten, and by the other fifths of the rows where there is one.
    pub honest: f64,
}

/// Learns an ensemble as it is declared. Fails where there is no trial, where a score is not defined, and for means of scores that are no probabilities.
pub fn learn(spec: Ensemble, trials: &OutOfFold) -> Result<Learned> {
    match spec {
        Ensemble::Voting(spec) => vote(spec, trials),
        Ensemble::Stacking(spec) => stack(spec, trials),
        Ensemble::Greedy(spec) => greedy(spec, trials),
    }
}

/// The mean of the best trials.
pub fn vote(spec: Voting, trials: &OutOfFold) -> Result<Learned> {
    trials.learn(|seen| {
        let members = seen.best(spec.top, spec.diverse)?;
        let weights = vec![1.0 / members.len() as f64; members.len()];
        Ok(weighted(members, weights))
    })
}

/// A model of the predictions of the best trials.
pub fn stack(spec: Stacking, trials: &OutOfFold) -> Result<Learned> {
    trials.learn(|seen| {
        let members = seen.best(spec.top, true)?;
        let said: Vec<Prediction> = members.iter().map(|&trial| trials.predictions[trial].take(&seen.rows)).collect();
        let weights: Option<Vec<f64>> =
            trials.weights.map(|weights| seen.rows.iter().map(|&row| weights[row]).collect());
        let target = trials.target.take(&seen.rows);
        Ok((members, Combination::stack(&said, &target, weights.as_deref(), spec.l2, trials.progress)?))
    })
}

/// The mean that grows by the trial that helps most (Caruana et al., Ensemble selection from libraries of models, 2004): it begins with as many of the best
/// trials as do best together, each trial may join again and again, and of all means on the way the best is taken. Of trials that help equally the one that is
/// better alone joins.
pub fn greedy(spec: Greedy, trials: &OutOfFold) -> Result<Learned> {
    trials.learn(|seen| {
        let ranked = seen.best(spec.top, false)?;
        let library: Vec<Vec<Prediction>> = ranked.iter().map(|&trial| seen.by_fold(trial)).collect();
        let counts = grow(seen, &library, spec.rounds)?;
        let total: usize = counts.iter().sum();
        let joined = ranked.into_iter().zip(counts).filter(|(_, count)| *count > 0);
        let (members, weights) = joined.map(|(trial, count)| (trial, count as f64 / total as f64)).unzip();
        Ok(weighted(members, weights))
    })
}

/// How often each of the library counts.
fn grow(seen: &Seen, library: &[Vec<Prediction>], rounds: usize) -> Result<Vec<usize>> {
    let with = |mean: &[Prediction], n: usize, other: usize| -> Result<(f64, Vec<Prediction>)> {
        let weights = Combination::Weighted(vec![n as f64 / (n + 1) as f64, 1.0 / (n + 1) as f64]);
        let pairs = mean.iter().zip(&library[other]);
        let grown = pairs.map(|(mean, other)| weights.apply(&[mean, other])).collect::<Result<Vec<_>>>()?;
        Ok((seen.score(&grown)?, grown))
    };
    let mut mean = library.first().ok_or_else(no_trial)?.clone();
    let mut start = (seen.score(&mean)?, 1, mean.clone());
    for next in 1..library.len().min(rounds) {
        let (score, grown) = with(&mean, next, next)?;
        mean = grown;
        if score > start.0 {
            start = (score, next + 1, mean.clone());
        }
    }
    let (score, n_first, mut mean) = start;
    let mut counts: Vec<usize> = (0..library.len()).map(|trial| usize::from(trial < n_first)).collect();
    let mut best = (score, counts.clone());
    for n in n_first..rounds {
        seen.trials.progress.check_cancelled()?;
        let grown: Vec<(f64, Vec<Prediction>)> =
            (0..library.len()).into_par_iter().map(|trial| with(&mean, n, trial)).collect::<Result<_>>()?;
        let first_best = |one: (usize, (f64, Vec<Prediction>)), next: (usize, (f64, Vec<Prediction>))| {
            if next.1.0 > one.1.0 { next } else { one }
        };
        let (joins, (score, grown)) = grown.into_iter().enumerate().reduce(first_best).ok_or_else(no_trial)?;
        counts[joins] += 1;
        mean = grown;
        if score > best.0 {
            best = (score, counts.clone());
        }
    }
    Ok(best.1)
}

/// One member needs no mean, and may give scores.
fn weighted(members: Vec<usize>, weights: Vec<f64>) -> (Vec<usize>, Combination) {
    let combination = if members.len() == 1 { Combination::Single } else { Combination::Weighted(weights) };
    (members, combination)
}

fn no_trial() -> StageError {
    StageError::failed("there is no trial to combine")
}

/// The rows that an ensemble is learned from.
struct Seen<'a> {
    trials: &'a OutOfFold<'a>,
    rows: Vec<usize>,
    /// The rows of each fold, or of all together, and their truth.
    folds: Vec<(Vec<usize>, Target)>,
}

impl<'a> Seen<'a> {
    fn new(trials: &'a OutOfFold<'a>, rows: Vec<usize>) -> Self {
        let number = |row: usize| if trials.together { 0 } else { trials.folds[row] };
        let numbers: BTreeSet<usize> = rows.iter().map(|&row| number(row)).collect();
        let of_fold = |fold| rows.iter().copied().filter(|&row| number(row) == fold).collect::<Vec<_>>();
        let folds = numbers.into_iter().map(of_fold).map(|rows| (trials.target.take(&rows), rows));
        let folds = folds.map(|(target, rows)| (rows, target)).collect();
        Self { trials, rows, folds }
    }

    /// What a trial said, by fold.
    fn by_fold(&self, trial: usize) -> Vec<Prediction> {
        self.folds.iter().map(|(rows, _)| self.trials.predictions[trial].take(rows)).collect()
    }

    /// The mean score of predictions by fold, of which more is better.
    fn score(&self, by_fold: &[Prediction]) -> Result<f64> {
        let metric = self.trials.metric;
        let scores = self.folds.iter().zip(by_fold).map(|((_, target), prediction)| {
            score(metric, &truth_of(target), prediction).map_err(|error| StageError::data(error.to_string()))
        });
        let sum: f64 = scores.sum::<Result<f64>>()?;
        let sign = if metric.greater_is_better() { 1.0 } else { -1.0 };
        Ok(sign * sum / self.folds.len() as f64)
    }

    /// The best trials, the better first and of equals the earlier.
    fn best(&self, top: usize, diverse: bool) -> Result<Vec<usize>> {
        let scores: Vec<f64> = (0..self.trials.predictions.len())
            .into_par_iter()
            .map(|trial| self.score(&self.by_fold(trial)))
            .collect::<Result<_>>()?;
        let mut ranked: Vec<usize> = (0..scores.len()).collect();
        ranked.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let mut chosen = ranked.clone();
        if diverse {
            let mut of_candidate: HashMap<usize, usize> = HashMap::new();
            let mut turn = vec![0; scores.len()];
            for &trial in &ranked {
                let turns = of_candidate.entry(self.trials.candidates[trial]).or_default();
                turn[trial] = *turns;
                *turns += 1;
            }
            chosen.sort_by_key(|&trial| turn[trial]);
        }
        chosen.truncate(top);
        chosen.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
        Ok(chosen)
    }
}

impl OutOfFold<'_> {
    fn learn(&self, learn: impl Fn(&Seen) -> Result<(Vec<usize>, Combination)> + Sync) -> Result<Learned> {
        self.check()?;
        let honest = self.honest(&learn)?;
        let (members, combination) = learn(&Seen::new(self, (0..self.rows.len()).collect()))?;
        Ok(Learned { combination, members, honest })
    }

    fn check(&self) -> Result<()> {
        let n_rows = self.rows.len();
        let as_long = self.folds.len() == n_rows
            && self.target.len() == n_rows
            && self.weights.is_none_or(|weights| weights.len() == n_rows)
            && self.predictions.iter().all(|prediction| prediction.len() == n_rows);
        if self.predictions.is_empty() || n_rows == 0 {
            Err(no_trial())
        } else if as_long && self.candidates.len() == self.predictions.len() {
            Ok(())
        } else {
            Err(StageError::failed("the trials' predictions are not of the same rows"))
        }
    }

    fn honest(&self, learn: &(impl Fn(&Seen) -> Result<(Vec<usize>, Combination)> + Sync)) -> Result<f64> {
        let parts = self.parts();
        let numbers: BTreeSet<usize> = parts.iter().copied().collect();
        let judge = |part: usize| {
            let (held, seen): (Vec<usize>, Vec<usize>) = (0..parts.len()).partition(|&row| parts[row] == part);
            let (members, combination) = learn(&Seen::new(self, seen))?;
            let said: Vec<Prediction> = members.iter().map(|&trial| self.predictions[trial].take(&held)).collect();
            Ok((held, combination.apply(&said)?))
        };
        let numbers: Vec<usize> = numbers.into_iter().collect();
        let judged = numbers.into_par_iter().map(judge).collect::<Result<Vec<_>>>()?;
        let (held, said): (Vec<Vec<usize>>, Vec<Prediction>) = judged.into_iter().unzip();
        let mut places = vec![0; parts.len()];
        held.concat().into_iter().enumerate().for_each(|(place, row)| places[row] = place);
        let prediction = joined(&said)?.take(&places);
        let all = Seen::new(self, (0..parts.len()).collect());
        let by_fold: Vec<Prediction> = all.folds.iter().map(|(rows, _)| prediction.take(rows)).collect();
        let oriented = all.score(&by_fold)?;
        Ok(if self.metric.greater_is_better() { oriented } else { -oriented })
    }

    /// The part of each row: that of the fold in which its training row was first predicted, so that a row which is there several times is in one part.
    fn parts(&self) -> Vec<usize> {
        let (mut first, mut order) = (HashMap::new(), HashMap::new());
        for (&row, &fold) in self.rows.iter().zip(self.folds) {
            let place = order.len();
            first.entry(row).or_insert(fold);
            order.entry(row).or_insert(place);
        }
        let folds: BTreeSet<usize> = first.values().copied().collect();
        let rank: HashMap<usize, usize> = folds.iter().enumerate().map(|(rank, &fold)| (fold, rank)).collect();
        let part =
            |row: &usize| if folds.len() == 1 { order[row] % PARTS_OF_ONE } else { rank[&first[row]] % MOST_PARTS };
        self.rows.iter().map(part).collect()
    }
}
