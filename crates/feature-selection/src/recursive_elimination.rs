//! `recursive_elimination`: drops the column that a model makes least of, again and again.

use rayon::prelude::*;
use retune_spec::feature_selection::{AskedModel, RecursiveElimination};
use retune_stage::{Fold, Result};

use crate::features::Feature;
use crate::judge::{Judge, Judgement, Question, Verdict, shown};
use crate::wrapped::{Asked, Count, Learner, Matrix, Units, folds, oriented};

/// A model, and the units that it was trained on.
pub(crate) struct Round {
    pub(crate) left: Vec<usize>,
    /// What it makes of each of them.
    importances: Vec<f64>,
    /// On the rows that judge, where there are any: the greater the better.
    pub(crate) score: f64,
}

/// Scikit-learn's `RFE` and `RFECV` (Guyon et al. 2002) on standardised columns: of linear models the column of the least sum of squared coefficients goes, and of
/// equal ones the last. The score of a column is the number of rounds that it survived, and the share of the last model it was in that it made up. Of
/// numbers of columns that score the same the least is taken. A group has the importance of its best column. Columns of `always_keep` stay in every model.
impl Judge for RecursiveElimination {
    fn score_word(&self) -> &'static str {
        "number of rounds survived"
    }

    fn judge(&self, features: &[Feature], question: &Question) -> Result<Judgement> {
        let units = Units::new(features, question.groups);
        let matrix = Matrix::standardised(features, question.target.len())?;
        let elimination = Elimination { spec: self, matrix: &matrix, units: &units, question };
        let mut note = None;
        let rounds = if let Some(keep) = &self.keep {
            elimination.down_to(units.wanted(keep, "recursive_elimination", question))?
        } else {
            let found = elimination.cross_validate(&folds(question, self.folds)?)?;
            note = Some(found.note(elimination.asked(), self.folds));
            found.rounds
        };
        Ok(Judgement { verdicts: verdicts(&units, &rounds, features.len()), note })
    }
}

/// What cross-validation found.
pub(crate) struct Found {
    /// Of all rows, down to the number of units that scored best.
    pub(crate) rounds: Vec<Round>,
    /// For each round the number of units and the mean score over the folds.
    pub(crate) scores: Vec<(usize, f64)>,
}

/// What is eliminated, and how.
pub(crate) struct Elimination<'a> {
    pub(crate) spec: &'a RecursiveElimination,
    pub(crate) matrix: &'a Matrix,
    pub(crate) units: &'a Units,
    pub(crate) question: &'a Question<'a>,
}

impl Elimination<'_> {
    fn asked(&self) -> Asked {
        Asked::new(self.spec.model, self.spec.l2, self.spec.metric, self.question.task)
    }

    fn all_rows(&self) -> Fold {
        Fold { train: (0..self.question.target.len()).collect(), validation: Vec::new() }
    }

    fn down_to(&self, least: usize) -> Result<Vec<Round>> {
        Ok(self.ways(&[self.all_rows()], least)?.swap_remove(0))
    }

    pub(crate) fn cross_validate(&self, folds: &[Fold]) -> Result<Found> {
        let divisions: Vec<Fold> = [self.all_rows()].into_iter().chain(folds.iter().cloned()).collect();
        let mut ways = self.ways(&divisions, self.units.n_pinned().max(1))?;
        let mut rounds = ways.remove(0);
        let mean = |round: usize| ways.iter().map(|way| way[round].score).sum::<f64>() / ways.len() as f64;
        let scores: Vec<(usize, f64)> =
            rounds.iter().enumerate().map(|(round, at)| (at.left.len(), mean(round))).collect();
        let best = (0..scores.len()).max_by(|&a, &b| scores[a].1.total_cmp(&scores[b].1)).unwrap_or(0);
        rounds.truncate(best + 1);
        Ok(Found { rounds, scores })
    }

    /// The rounds down to `least` units, with each of several divisions of the rows.
    fn ways(&self, divisions: &[Fold], least: usize) -> Result<Vec<Vec<Round>>> {
        let n = self.units.len();
        let step = if self.spec.step < 1.0 { self.spec.step * n as f64 } else { self.spec.step };
        let step = (step as usize).max(1);
        let n_rounds = n.saturating_sub(least).div_ceil(step) + 1;
        let count = Count::new(self.question, Some(n_rounds * divisions.len()));
        let way = |fold: &Fold, threads| {
            let mut learner = self.asked().learner(self.matrix, fold, self.question, threads)?;
            rounds(learner.as_mut(), self.units, least, step, !fold.validation.is_empty(), &count)
        };
        match (divisions, self.spec.model) {
            ([fold], AskedModel::Trees) => Ok(vec![way(fold, self.question.context.threads)?]),
            _ => divisions.par_iter().map(|fold| way(fold, 1)).collect(),
        }
    }
}

impl Found {
    fn note(&self, asked: Asked, n_folds: usize) -> String {
        let told = |at: Option<&(usize, f64)>| {
            at.map_or_else(String::new, |&(n, score)| format!("{} with {n}", shown(oriented(asked.metric, score))))
        };
        let (chosen, first) = (self.scores.get(self.rounds.len() - 1), self.scores.first());
        format!("{} over {n_folds} folds is {}, and {} of them", asked.metric.word(), told(first), told(chosen))
    }
}

fn rounds(
    learner: &mut dyn Learner,
    units: &Units,
    least: usize,
    step: usize,
    scored: bool,
    count: &Count,
) -> Result<Vec<Round>> {
    let mut left: Vec<usize> = (0..units.len()).collect();
    let (mut rounds, mut last) = (Vec::new(), None);
    loop {
        count.one()?;
        let trained = learner.fit(&units.columns(&left), last.as_ref())?;
        if learner.is_far(&trained) {
            learner.settle(&trained, &trained.columns);
        }
        let mut rest = trained.importances.as_slice();
        let best = |unit: &usize| {
            let (own, others) = rest.split_at(units.members[*unit].len());
            rest = others;
            own.iter().copied().fold(0.0, f64::max)
        };
        let importances: Vec<f64> = left.iter().map(best).collect();
        let score = if scored { learner.score(&trained)? } else { 0.0 };
        let mut weakest: Vec<usize> = (0..left.len()).filter(|&at| !units.pinned[left[at]]).collect();
        weakest.sort_by(|&a, &b| importances[a].total_cmp(&importances[b]).then(b.cmp(&a)));
        weakest.truncate(step.min(left.len().saturating_sub(least)));
        let stay = |at: &usize| !weakest.contains(at);
        let next: Vec<usize> = (0..left.len()).filter(stay).map(|at| left[at]).collect();
        rounds.push(Round { left, importances, score });
        if weakest.is_empty() {
            return Ok(rounds);
        }
        (left, last) = (next, Some(trained));
    }
}

fn verdicts(units: &Units, rounds: &[Round], n_features: usize) -> Vec<Verdict> {
    let mut verdicts = vec![Verdict::default(); n_features];
    let n_dropping = rounds.len() - 1;
    for (number, round) in rounds.iter().enumerate() {
        let total: f64 = round.importances.iter().sum();
        for (&unit, importance) in round.left.iter().zip(&round.importances) {
            let share = if total > 0.0 { importance / total } else { 0.0 };
            let kept = number == n_dropping;
            let reason = if kept {
                format!(
                    "among the {} left after {n_dropping} round{}, with {} of the importance",
                    round.left.len(),
                    if n_dropping == 1 { "" } else { "s" },
                    percent(share)
                )
            } else {
                format!("the least in round {} of {n_dropping}, with {} of the importance", number + 1, percent(share))
            };
            for &column in &units.members[unit] {
                let score = number as f64 + share;
                verdicts[column] = Verdict { kept, ..Verdict::scored(score, reason.clone()) };
            }
        }
    }
    verdicts
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
