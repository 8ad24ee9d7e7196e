//! `sequential`: adds or drops, one by one, the column that helps a model most.

use std::collections::HashMap;

use rayon::prelude::*;
use retune_spec::Metric;
use retune_spec::feature_selection::{Direction, Sequential};
use retune_stage::{Fold, Result};

use crate::features::Feature;
use crate::judge::{Judge, Judgement, Question, Verdict, shown};
use crate::wrapped::{Asked, Count, Learner, Matrix, Trained, Units, folds, oriented};

/// Scikit-learn's `SequentialFeatureSelector` on standardised columns, of equal ones the first. With `floating` a column goes back as long as the others then score
/// better than any choice of as many columns before (Pudil, Novovicova and Kittler 1994), and the search goes one column beyond `keep`; without
/// `keep`, forward, the choice that scored best is taken. The score of a column is what it last added, or would have added, to the score of the model.
/// Columns of `always_keep` are in every choice, and a group comes and goes as one.
impl Judge for Sequential {
    fn score_word(&self) -> &'static str {
        "gain"
    }

    fn judge(&self, features: &[Feature], question: &Question) -> Result<Judgement> {
        let units = Units::new(features, question.groups);
        let matrix = Matrix::standardised(features, question.target.len())?;
        let chosen = choose(self, &matrix, &units, &folds(question, self.folds)?, question)?;
        Ok(chosen.judgement(&units, features.len()))
    }
}

/// Units in ascending order.
type Choice = Vec<usize>;

/// What is chosen in the end, and what is known of each unit.
pub(crate) struct Chosen {
    pub(crate) units: Choice,
    pub(crate) score: f64,
    /// What each unit added, or would have added, when it was last looked at.
    gains: Vec<f64>,
    /// The step in which each unit came or went, and the scores before and after.
    moves: Vec<Option<(usize, f64, f64)>>,
    metric: Metric,
    n_folds: usize,
}

pub(crate) fn choose(
    spec: &Sequential,
    matrix: &Matrix,
    units: &Units,
    folds: &[Fold],
    question: &Question,
) -> Result<Chosen> {
    let asked = Asked::new(spec.model, spec.l2, spec.metric, question.task);
    let learners: Result<Vec<_>> = folds.par_iter().map(|fold| asked.learner(matrix, fold, question, 1)).collect();
    let mut search = Search {
        spec,
        learners: learners?,
        models: Vec::new(),
        units,
        choice: Vec::new(),
        score: f64::NEG_INFINITY,
        known: HashMap::new(),
        best: HashMap::new(),
        gains: vec![0.0; units.len()],
        moves: vec![None; units.len()],
        n_moves: 0,
        count: Count::new(question, None),
    };
    let wanted = spec.keep.as_ref().map(|keep| units.wanted(keep, "sequential", question));
    search.run(wanted)?;
    let (units, score) = search.outcome(wanted);
    let Search { gains, moves, .. } = search;
    Ok(Chosen { units, score, gains, moves, metric: asked.metric, n_folds: folds.len() })
}
/// A search on its way.
struct Search<'a> {
    spec: &'a Sequential,
    /// One for each fold, and its model of the present choice.
    learners: Vec<Box<dyn Learner + 'a>>,
    models: Vec<Trained>,
    units: &'a Units,
    choice: Choice,
    score: f64,
    /// The scores of all choices that were looked at. As each has one score only, a floating search, which wants more for every way back, comes to an end.
    known: HashMap<Choice, f64>,
    /// For each number of units the best choice that the search came through.
    best: HashMap<usize, (f64, Choice)>,
    gains: Vec<f64>,
    moves: Vec<Option<(usize, f64, f64)>>,
    n_moves: usize,
    count: Count<'a>,
}

impl Search<'_> {
    fn run(&mut self, wanted: Option<usize>) -> Result<()> {
        let (n, spec) = (self.units.len(), self.spec);
        let fewest = self.units.n_pinned().max(1);
        let beyond = usize::from(spec.floating);
        let pinned = |unit: &usize| self.units.pinned[*unit];
        let (start, goal, least_gain, back): (Choice, _, _, _) = match spec.direction {
            Direction::Forward => {
                let goal = wanted.map_or(n, |wanted| (wanted + beyond).min(n));
                ((0..n).filter(pinned).collect(), goal, spec.tolerance, Direction::Backward)
            }
            Direction::Backward => {
                let goal = wanted.map_or(fewest, |wanted| fewest.max(wanted - beyond));
                ((0..n).collect(), goal, -spec.tolerance, Direction::Forward)
            }
        };
        self.begin(start)?;
        while self.choice.len() != goal {
            let Some((unit, score)) = self.best_step(spec.direction)? else { break };
            // Any column is better than none.
            let enough = wanted.is_some() || self.choice.is_empty() || score - self.score >= least_gain;
            if !enough {
                break;
            }
            self.take(unit, score)?;
            while spec.floating
                && let Some((unit, score)) = self.best_step(back)?
                && self.beats(score, back)
            {
                self.take(unit, score)?;
            }
        }
        Ok(())
    }

    /// Whether a step leads to a choice that scores better than those of as many units before.
    fn beats(&self, score: f64, direction: Direction) -> bool {
        let size = match direction {
            Direction::Forward => self.choice.len() + 1,
            Direction::Backward => self.choice.len() - 1,
        };
        self.best.get(&size).is_some_and(|(best, _)| score > *best)
    }

    fn outcome(&self, wanted: Option<usize>) -> (Choice, f64) {
        let best = match (wanted, self.spec.direction) {
            (Some(wanted), _) => self.best.get(&wanted),
            (None, Direction::Forward) if self.spec.floating => {
                let choices = self.best.values().filter(|(_, choice)| !choice.is_empty());
                choices.max_by(|(a, few), (b, many)| a.total_cmp(b).then(many.len().cmp(&few.len())))
            }
            _ => None,
        };
        best.map_or_else(|| (self.choice.clone(), self.score), |(score, choice)| (choice.clone(), *score))
    }

    fn begin(&mut self, choice: Choice) -> Result<()> {
        let columns = self.units.columns(&choice);
        self.models =
            self.learners.par_iter().map(|learner| learner.fit(&columns, None)).collect::<Result<Vec<_>>>()?;
        let scored = self.learners.iter().zip(&self.models).map(|(learner, model)| learner.score(model));
        self.score = mean(&scored.collect::<Result<Vec<_>>>()?);
        self.choice = choice;
        self.arrive();
        Ok(())
    }

    /// Notes the present choice, and makes ready for its neighbours.
    fn arrive(&mut self) {
        self.known.insert(self.choice.clone(), self.score);
        let best = self.best.entry(self.choice.len()).or_insert((f64::NEG_INFINITY, Vec::new()));
        if self.score > best.0 {
            *best = (self.score, self.choice.clone());
        }
        let columns: Vec<usize> = self.units.columns(&(0..self.units.len()).collect::<Vec<_>>());
        let pairs = self.learners.par_iter_mut().zip(&self.models);
        pairs.for_each(|(learner, model)| learner.settle(model, &columns));
    }

    /// The unit that scores best when it is added (dropped), the first of several, and the score.
    fn best_step(&mut self, direction: Direction) -> Result<Option<(usize, f64)>> {
        let chosen = |unit: &usize| self.choice.binary_search(unit).is_ok();
        let candidates: Vec<usize> = match direction {
            Direction::Forward => (0..self.units.len()).filter(|unit| !chosen(unit)).collect(),
            Direction::Backward if self.choice.len() < 2 => Vec::new(),
            Direction::Backward => self.choice.iter().copied().filter(|&unit| !self.units.pinned[unit]).collect(),
        };
        let neighbours: Vec<Choice> = candidates.iter().map(|&unit| toggled(&self.choice, unit)).collect();
        self.look_at(neighbours.iter().filter(|choice| !self.known.contains_key(*choice)).cloned().collect())?;
        let mut best: Option<(usize, f64)> = None;
        for (unit, choice) in candidates.into_iter().zip(neighbours) {
            let Some(&score) = self.known.get(&choice) else { continue };
            let gain = score - self.score;
            self.gains[unit] = if direction == Direction::Forward { gain } else { -gain };
            if best.is_none_or(|(_, best)| score > best) {
                best = Some((unit, score));
            }
        }
        Ok(best)
    }

    /// Scores choices that differ little from the present one.
    fn look_at(&mut self, choices: Vec<Choice>) -> Result<()> {
        let n_folds = self.learners.len();
        let score = |at: usize| {
            let (choice, fold) = (&choices[at / n_folds], at % n_folds);
            self.count.one()?;
            let trained = self.learners[fold].fit(&self.units.columns(choice), Some(&self.models[fold]))?;
            self.learners[fold].score(&trained)
        };
        let scores: Vec<f64> = (0..choices.len() * n_folds).into_par_iter().map(score).collect::<Result<_>>()?;
        let means = scores.chunks(n_folds).map(mean);
        self.known.extend(choices.into_iter().zip(means));
        Ok(())
    }

    fn take(&mut self, unit: usize, score: f64) -> Result<()> {
        self.n_moves += 1;
        self.moves[unit] = Some((self.n_moves, self.score, score));
        self.choice = toggled(&self.choice, unit);
        self.score = score;
        let columns = self.units.columns(&self.choice);
        let pairs = self.learners.par_iter().zip(&self.models);
        self.models = pairs.map(|(learner, model)| learner.fit(&columns, Some(model))).collect::<Result<Vec<_>>>()?;
        self.arrive();
        Ok(())
    }
}

/// With a unit that was not there, or without one that was.
fn toggled(choice: &[usize], unit: usize) -> Choice {
    let mut choice = choice.to_vec();
    match choice.binary_search(&unit) {
        Ok(at) => {
            choice.remove(at);
        }
        Err(at) => choice.insert(at, unit),
    }
    choice
}

fn mean(scores: &[f64]) -> f64 {
    scores.iter().sum::<f64>() / scores.len() as f64
}

impl Chosen {
    fn judgement(&self, units: &Units, n_features: usize) -> Judgement {
        let mut verdicts = vec![Verdict::default(); n_features];
        for (unit, members) in units.members.iter().enumerate() {
            let kept = self.units.binary_search(&unit).is_ok();
            let verdict = Verdict { kept, ..Verdict::scored(self.gains[unit], self.reason(unit, kept)) };
            members.iter().for_each(|&column| verdicts[column] = verdict.clone());
        }
        let (metric, score) = (self.metric.word(), shown(oriented(self.metric, self.score)));
        let note = format!("{metric} of the chosen columns over {} folds is {score}", self.n_folds);
        Judgement { verdicts, note: Some(note) }
    }

    fn reason(&self, unit: usize, kept: bool) -> String {
        let metric = self.metric.word();
        let score = |score: f64| shown(oriented(self.metric, score));
        match (self.moves[unit], kept) {
            (Some((step, before, after)), _) => {
                let what = if kept { "added" } else { "dropped" };
                format!("{what} in step {step}: {metric} from {} to {}", score(before), score(after))
            }
            (None, true) => format!("stays: without it {metric} would change by {}", score(-self.gains[unit])),
            (None, false) => format!("not added: {metric} would change by {}", score(self.gains[unit])),
        }
    }
}
