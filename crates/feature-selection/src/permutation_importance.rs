//! `permutation_importance`: keeps the columns without which a model does worse on rows that it has not seen.

mod held_out;
mod models;

use std::sync::atomic::{AtomicU64, Ordering};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use retune_estimators::truth_of;
use retune_metrics::{Mean, Prediction};
use retune_spec::Metric;
use retune_spec::feature_selection::{AskedModel, Choice, PermutationImportance};
use retune_stage::{Result, Seed, StageError, Target};

use crate::features::Feature;
use crate::judge::{Judge, Judgement, Question, Verdict, shown};
pub(crate) use held_out::held_out;
use models::{Linear, Model, Trees};

/// So many shuffles of a column are predicted together.
const TOGETHER: usize = 8;

/// A model is asked anew only where a shuffled value can change what it says: of trees, those that split by the column, below that split.
impl Judge for PermutationImportance {
    fn score_word(&self) -> &'static str {
        "fall of the score"
    }

    fn takes_missing(&self) -> bool {
        self.model == AskedModel::Trees
    }

    fn choice(&self) -> Option<Choice> {
        (self.keep.is_some() || self.min_score.is_some()).then(|| PermutationImportance::choice(self))
    }

    fn judge(&self, features: &[Feature], question: &Question) -> Result<Judgement> {
        let progress = question.context.progress;
        let fold = held_out(question, self.holdout)?;
        let learned = question.target.take(&fold.train);
        let model: Box<dyn Model> = match self.model {
            AskedModel::Trees => Box::new(Trees::fit(features, &fold, &learned, question)?),
            AskedModel::Linear => Box::new(Linear::fit(features, &fold, &learned, question)?),
        };
        let metric = self.metric.unwrap_or(Metric::plain_for(question.task.kind()));
        let judge = Scorer { metric, target: question.target.take(&fold.validation) };
        let base = judge.score(&model.prediction(model.base().to_vec()))?;
        let done = AtomicU64::new(0);
        let falls = |(column, feature): (usize, &Feature)| -> Result<Vec<f64>> {
            progress.check_cancelled()?;
            let mut falls = vec![0.0; self.repeats];
            if model.uses(column) {
                let seed = question.context.seed.derive("shuffle").derive(feature.name);
                for (number, falls) in falls.chunks_mut(TOGETHER).enumerate() {
                    let order = |repeat| shuffled(fold.validation.len(), seed, number * TOGETHER + repeat);
                    let orders: Vec<Vec<u32>> = (0..falls.len()).map(order).collect();
                    for (fall, raw) in falls.iter_mut().zip(model.shuffled(column, &orders)?) {
                        *fall = base - judge.score(&model.prediction(raw))?;
                    }
                }
            }
            progress.update("columns", done.fetch_add(1, Ordering::Relaxed) + 1, Some(features.len() as u64));
            Ok(falls)
        };
        let falls: Vec<Vec<f64>> = features.par_iter().enumerate().map(falls).collect::<Result<_>>()?;
        let decides = Judge::choice(self).is_none();
        let verdicts = falls.iter().map(|falls| verdict(falls, judge.metric, decides)).collect();
        let shown_base = shown(if judge.metric.greater_is_better() { base } else { -base });
        let note = format!("{} is {shown_base} on {} held-out rows", judge.metric.word(), fold.validation.len());
        Ok(Judgement { verdicts, note: Some(note) })
    }
}

/// The rows in another order.
fn shuffled(n_rows: usize, column: Seed, repeat: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n_rows as u32).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(column.derive(&repeat.to_string()).0));
    order
}

/// `decides`: whether the standard error does.
fn verdict(falls: &[f64], metric: Metric, decides: bool) -> Verdict {
    let mean = Mean::of(falls);
    let error = mean.error.unwrap_or(0.0);
    let kept = mean.value > 2.0 * error;
    let mut reason = format!("shuffled, it makes {} worse by {}", metric.word(), shown(mean.value));
    if decides {
        let how = if kept { "more" } else { "not more" };
        reason = format!("{reason}, {how} than twice the standard error {}", shown(error));
    }
    Verdict { interval: mean.interval(), kept, ..Verdict::scored(mean.value, reason) }
}

/// What models are scored by: the greater the better.
struct Scorer {
    metric: Metric,
    target: Target,
}

impl Scorer {
    fn score(&self, prediction: &Prediction) -> Result<f64> {
        let score = retune_metrics::score(self.metric, &truth_of(&self.target), prediction).map_err(|error| {
            StageError::data(format!("the held-out rows cannot be scored: {error}"))
                .help("hold out more rows with `holdout`, or use another metric")
        })?;
        Ok(if self.metric.greater_is_better() { score } else { -score })
    }
}

/// Mean falls of the score by whole predictions of rows of which a column is shuffled: what the tests compare with.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) fn plainly(method: &PermutationImportance, features: &[Feature], question: &Question) -> Result<Vec<f64>> {
    use ndarray::{Array2, Axis};
    use retune_estimators::boosting::Columns;
    use retune_estimators::{FitOptions, fit};
    use retune_stage::Design;

    let fold = held_out(question, method.holdout)?;
    let columns = crate::trees::Numbers::of(features, None)?;
    let matrix = |rows: &[usize]| {
        let cells = (0..features.len()).flat_map(|column| columns.at(column, rows)).collect();
        let mut matrix = Array2::from_shape_vec((features.len(), rows.len()), cells).unwrap().reversed_axes();
        if method.model == AskedModel::Linear {
            for (column, mut values) in matrix.axis_iter_mut(Axis(1)).enumerate() {
                let learned = columns.at(column, &fold.train);
                let mean = learned.iter().sum::<f64>() / learned.len() as f64;
                let variance = learned.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / learned.len() as f64;
                values.mapv_inplace(|value| (value - mean) / variance.sqrt());
            }
        }
        matrix.as_standard_layout().into_owned()
    };
    let names = features.iter().map(|feature| feature.name.to_owned()).collect();
    let target = Some(question.target.take(&fold.train));
    let design = Design { features: matrix(&fold.train), names, target, ..Design::default() };
    let estimator = match (method.model, question.target) {
        (AskedModel::Trees, _) => serde_json::json!({ "gradient_boosting": {} }),
        (_, Target::Values(_)) => serde_json::json!({ "ridge": {} }),
        (_, Target::Classes { .. }) => {
            serde_json::json!({ "logistic_regression": { "tolerance": 1e-8, "max_iterations": 1000 } })
        }
    };
    let estimator = serde_json::from_value(estimator).unwrap();
    let (model, _) = fit(&estimator, &design, question.task, &FitOptions::of(&question.context))?;
    let scorer = Scorer { metric: method.metric.unwrap(), target: question.target.take(&fold.validation) };
    let rows = matrix(&fold.validation);
    let base = scorer.score(&model.predict(rows.view())?)?;
    let fall = |(column, feature): (usize, &Feature)| {
        let seed = question.context.seed.derive("shuffle").derive(feature.name);
        let mut total = 0.0;
        for repeat in 0..method.repeats {
            let mut other = rows.clone();
            for (row, &from) in shuffled(fold.validation.len(), seed, repeat).iter().enumerate() {
                other[[row, column]] = rows[[from as usize, column]];
            }
            total += base - scorer.score(&model.predict(other.view())?)?;
        }
        Ok(total / method.repeats as f64)
    };
    features.iter().enumerate().map(fall).collect()
}
