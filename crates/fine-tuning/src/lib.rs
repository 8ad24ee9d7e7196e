//! Further training of a selected model, and the guard that keeps the base when the tuned model does not hold up.
//!
//! The validation rows are divided in two: one half decides when training stops or which penalty is best, the other half - the guard rows - decides whether
//! the tuned model is kept. Training rows are all that is learned from.

mod guard;
mod strategies;

use retune_estimators::Model;
use retune_spec::Metric;
use retune_spec::fine_tuning::FineTuning;
use retune_stage::{Design, ErrorClass, Fit, FitContext, Level, Result, Rows, Schema, Stage, StageError, StageReport};
use serde_json::json;

pub use crate::guard::{Decision, GoalResult, Verdict};
use crate::guard::{judge, reach, refused};

/// A fine-tuning as declared.
pub struct FineTuningStage(pub FineTuning);

impl Stage for FineTuningStage {
    fn check(&self, input: &Schema) -> Result<(), Vec<StageError>> {
        let Some(task) = &input.task else { return Err(vec![StageError::data("the data have no target to learn")]) };
        let kind = task.kind();
        let metrics = [self.0.guard.metric, self.0.goal.as_ref().map(|goal| goal.metric)];
        let wrong = metrics.into_iter().flatten().filter(|metric| metric.task() != kind);
        let mistakes: Vec<StageError> = wrong
            .map(|metric| {
                StageError::data(format!("`{}` does not score this task", metric.word()))
                    .help("choose another metric for `guard` or `goal`")
            })
            .collect();
        if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
    }

    fn fit(&self, train: Rows, context: &FitContext) -> Result<Fit> {
        let base = context.base.and_then(|base| base.as_any().downcast_ref::<Model>());
        let base =
            base.ok_or_else(|| StageError::failed("fine-tuning needs the model of the stage that `base` names"))?;
        let validation = context.validation.ok_or_else(|| {
            StageError::data("fine-tuning needs validation rows: to stop by, and for the guard")
                .help("give `data.split` a share for `validation`, or name a file `data.validation`")
        })?;
        let (stop_rows, guard_rows) = halves(validation, context)?;
        let metric = self.0.guard.metric.unwrap_or_else(|| Metric::default_for(base.task.kind()));
        let tuned = strategies::tune(&self.0, base, &train.design()?, &stop_rows, context);
        context.progress.check_cancelled()?;
        let base_prediction = base.predict(&guard_rows)?;
        let seed = context.seed.derive("guard");
        let (verdict, tuned, curve) = match tuned {
            Ok(tuned) => {
                let verdict = match tuned.model.predict(&guard_rows) {
                    Ok(prediction) => judge(&self.0.guard, metric, &guard_rows, &base_prediction, &prediction, seed)?,
                    Err(error) => refused(&self.0.guard, metric, &error.message),
                };
                (verdict, Some(tuned.model), tuned.curve)
            }
            // A tuning that fails leaves a model that works: the base.
            Err(error) if error.class != ErrorClass::Cancelled => {
                (refused(&self.0.guard, metric, &error.message), None, None)
            }
            Err(error) => return Err(error),
        };
        let kept = match (verdict.decision, tuned) {
            (Decision::KeptTuned, Some(tuned)) => tuned,
            _ => base.clone(),
        };
        if verdict.decision == Decision::KeptBase {
            context.progress.message(Level::Warning, &verdict.reason);
        }
        let goal =
            self.0.goal.as_ref().map(|goal| reach(goal, &guard_rows, &kept.predict(&guard_rows)?)).transpose()?;
        if let Some(goal) = &goal {
            context.progress.message(if goal.reached { Level::Info } else { Level::Warning }, &goal.reason);
        }
        let mut report = StageReport {
            details: json!({ "summary": verdict.reason, "guard": verdict, "goal": goal }),
            ..StageReport::default()
        };
        report.learned("guard", verdict.reason);
        report.tables.extend(curve.map(|curve| ("learning_curve".to_owned(), curve)));
        Ok(Fit { fitted: Box::new(kept), train, report })
    }
}

/// The rows that training is stopped by, and those that the guard compares on.
fn halves(validation: &Rows, context: &FitContext) -> Result<(Design, Design)> {
    let seed = context.seed.derive("halves").0;
    let design = validation.design()?;
    let parts = match validation {
        Rows::Table(table) => retune_table::halves(table, seed),
        Rows::Tensors(_) => at_random(design.target()?, seed),
    };
    // A label with a single validation row cannot be in both halves; then the shares of the labels are left to chance.
    let without_labels = || at_random(&retune_stage::Target::Values(vec![0.0; design.n_rows()]), seed);
    let parts = parts.or_else(|_| without_labels());
    let [stop, guard] = parts.map_err(|error| {
        let message = error.message;
        StageError::data(format!("the validation rows cannot be divided for stopping and guarding: {message}"))
    })?;
    Ok((design.take(&stop), design.take(&guard)))
}

fn at_random(target: &retune_stage::Target, seed: u64) -> Result<[Vec<usize>; 2], retune_table::TableError> {
    let fold = retune_table::folds_of(target, &[], None, 2, seed)?.swap_remove(0);
    Ok([fold.train, fold.validation])
}
