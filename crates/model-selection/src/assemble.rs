//! From the best trial, or several, to what is fitted on all rows: combined, calibrated, decided.

use retune_estimators::{Calibrator, Combination, Decision, FitOptions, Member, Model, truth_of};
use retune_metrics::Prediction;
use retune_spec::Estimator;
use retune_spec::model_selection::{Encode, Ensemble};
use retune_stage::{FitContext, Level, Result, Rows, StageError, Target};

use crate::calibration::calibrate;
use crate::ensemble::{OutOfFold, learn};
use crate::folds::FoldBank;
use crate::out_of_fold::Held;
use crate::search::{Found, Search, Winner};
use crate::threshold::decide;
use crate::trial::Trial;

/// What is fitted on all rows.
pub struct Plan {
    /// The families with their hyperparameters.
    pub estimators: Vec<Estimator>,
    combination: Combination,
    calibration: Option<Calibrator>,
    decision: Option<Decision>,
    encode: Option<Encode>,
    /// What was decided, in words, by what decided it.
    pub notes: Vec<(&'static str, String)>,
}

impl Plan {
    /// Learns from the predictions for the folds' validation rows what the declaration asks for.
    pub fn new(search: &Search, found: &Found, winner: &Winner, folds: &mut FoldBank) -> Result<Self> {
        let mut plan = Self {
            estimators: vec![winner.estimator.clone()],
            combination: Combination::Single,
            calibration: None,
            decision: None,
            encode: search.spec.encode,
            notes: Vec::new(),
        };
        let spec = search.spec;
        if spec.ensemble.is_none() && spec.calibrate.is_none() && spec.threshold.is_none() {
            return Ok(plan);
        }
        let best = &found.trials[winner.trial];
        let prepared = folds.prepare(&[&best.values])?.swap_remove(0)?;
        let held = Held::of(&prepared)?;
        let mut prediction = search.predictions(found, best, &prepared)?;
        if spec.ensemble.is_some() {
            let mut trials = taking_part(search, &found.trials, best);
            let mut predictions: Vec<Prediction> =
                trials.iter().map(|trial| search.predictions(found, trial, &prepared)).collect::<Result<_>>()?;
            // A mean needs probabilities; a model of predictions takes scores as well.
            if !matches!(spec.ensemble, Some(Ensemble::Stacking(_))) {
                let is_kept: Vec<bool> =
                    predictions.iter().map(|prediction| !matches!(prediction, Prediction::Scores(_))).collect();
                let mut kept = is_kept.iter();
                trials.retain(|_| kept.next() == Some(&true));
                let mut kept = is_kept.iter();
                predictions.retain(|_| kept.next() == Some(&true));
            }
            if let Some(combined) = plan.combine(search, best, &trials, &predictions, &held, &folds.rows())? {
                prediction = combined;
            }
        }
        plan.correct(search, prediction, &held)?;
        Ok(plan)
    }

    /// Takes the ensemble where it scores better than the best trial, and gives its predictions.
    fn combine(
        &mut self,
        search: &Search,
        best: &Trial,
        trials: &[&Trial],
        predictions: &[Prediction],
        held: &Held,
        rows: &[usize],
    ) -> Result<Option<Prediction>> {
        let Some(declared) = search.spec.ensemble else { return Ok(None) };
        if trials.len() < 2 {
            let why = if search.spec.upstream.is_empty() {
                "no other trial that gives probabilities was finished"
            } else {
                "no other trial was finished with the winner's values of the stages before"
            };
            self.notes.push(("ensemble", format!("left out: {why}")));
            return Ok(None);
        }
        let judge = &search.judge;
        let candidates: Vec<usize> = trials.iter().map(|trial| trial.candidate).collect();
        let learned = learn(
            declared,
            &OutOfFold {
                predictions,
                candidates: &candidates,
                target: &held.target,
                weights: held.weights.as_deref(),
                rows,
                folds: &held.folds,
                together: judge.is_pooled,
                metric: judge.metric,
                progress: judge.context.progress,
            },
        )?;
        let (word, alone) = (judge.metric.word(), best.mean());
        let is_better = learned.members.len() > 1 && judge.oriented(learned.honest) > judge.oriented(alone);
        let verdict = if is_better { "taken" } else { "left out" };
        self.notes.push((
            "ensemble",
            format!(
                "{verdict}: {} {} together have {word} {:.4} on rows that their weights have not seen, the best alone {alone:.4}",
                learned.members.len(),
                if learned.members.len() == 1 { "trial" } else { "trials" },
                learned.honest
            ),
        ));
        if !is_better {
            return Ok(None);
        }
        self.estimators =
            learned.members.iter().map(|&member| search.final_estimator(trials[member])).collect::<Result<_>>()?;
        let said: Vec<&Prediction> = learned.members.iter().map(|&member| &predictions[member]).collect();
        let combined = learned.combination.apply(&said)?;
        self.combination = learned.combination;
        Ok(Some(combined))
    }

    /// Learns the calibration, and then the decision, as declared.
    fn correct(&mut self, search: &Search, mut prediction: Prediction, held: &Held) -> Result<()> {
        let spec = search.spec;
        if let (Some(kind), Target::Classes { codes, n_classes }) = (spec.calibrate, &held.target) {
            let calibration = calibrate(kind, &prediction, codes, *n_classes, held.weights.as_deref())?;
            prediction = calibration.apply(&prediction)?;
            self.notes.push(("calibrate", calibration.describe()));
            self.calibration = Some(calibration);
        }
        if let Some(metric) = spec.threshold {
            let truth = truth_of(&held.target);
            let score = |prediction: &Prediction| {
                retune_metrics::score(metric, &truth, prediction).map_err(|error| StageError::data(error.to_string()))
            };
            let plain = score(&prediction)?;
            let decision = decide(metric, &prediction, &truth)?;
            let decided = score(&decision.apply(prediction)?)?;
            let word = metric.word();
            self.notes.push((
                "threshold",
                format!(
                    "{word} {decided:.4} in place of {plain:.4} on the folds' validation rows, by which it was chosen"
                ),
            ));
            self.decision = Some(decision);
        }
        Ok(())
    }

    /// Trains on all rows.
    pub fn fit(&self, train: &Rows, context: &FitContext) -> Result<Model> {
        let schema = train.schema();
        let task = schema.task.clone().ok_or_else(|| StageError::data("the rows have no target column"))?;
        let features = retune_estimators::learned_fields(schema);
        let design = train.design()?;
        let seed = context.seed.derive("winner");
        let mut members = Vec::with_capacity(self.estimators.len());
        for (number, estimator) in self.estimators.iter().enumerate() {
            context.progress.update("fitting the winner", number as u64, Some(self.estimators.len() as u64));
            // The first has the seed that it has alone.
            let seed = if number == 0 { seed } else { seed.derive(&number.to_string()) };
            let options = FitOptions { seed, ..FitOptions::of(context) };
            let (member, info) = Member::fit(estimator, &design, &task, self.encode.as_ref(), &options)?;
            info.notes.iter().for_each(|note| context.progress.message(Level::Warning, note));
            members.push(member);
        }
        let mut model = Model::together(members, self.combination.clone(), task, features)?.with_levels(design.levels);
        if let Some(calibration) = &self.calibration {
            model = model.with_calibration(calibration.clone())?;
        }
        if let Some(decision) = &self.decision {
            model = model.with_decision(decision.clone())?;
        }
        Ok(model)
    }
}

/// The trials that an ensemble is made of: the best ones, and the best of each candidate.
fn taking_part<'t>(search: &Search, trials: &'t [Trial], best: &Trial) -> Vec<&'t Trial> {
    let ranked = search.ranked(trials, best);
    let n_kept = search.n_kept();
    let is_first_of_candidate =
        |place: usize| ranked[..place].iter().all(|before| before.candidate != ranked[place].candidate);
    (0..ranked.len())
        .filter(|&place| place < n_kept || is_first_of_candidate(place))
        .map(|place| ranked[place])
        .collect()
}
