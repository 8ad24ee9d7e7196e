//! Further training of a selected model, and the guard that keeps the base when the tuned model does not hold up.
//!
//! The validation rows are divided in two: one half decides when training stops or which penalty is best, the other half - the guard rows - decides whether
//! the tuned model is kept. Training rows are all that is learned from.

mod guard;
mod strategies;

use retune_estimators::Model;
use retune_spec::Metric;
use retune_spec::fine_tuning::FineTuning;
use retune_stage::{
    Design, ErrorClass, Fit, FitContext, Level, Result, Rows, Schema, Stage, StageError, StageReport, Target,
};
use serde_json::json;

pub use crate::guard::{Decision, GoalResult, Verdict};
use crate::guard::{judge, reach, refused};

/// A fine-tuning as declared.
pub struct FineTuningStage(pub FineTuning);

impl Stage for FineTuningStage {
    fn check(&self, input: &Schema) -> Result<(), Vec<StageError>> {
        let Some(task) = &input.task else { return Err(vec![StageError::data("the data have no target to learn")]) };
        let metrics = [self.0.guard.metric, self.0.goal.as_ref().map(|goal| goal.metric)];
        let misfits = metrics.into_iter().flatten().filter_map(|metric| metric.misfit(task));
        let mistakes: Vec<StageError> = misfits.map(|(message, help)| StageError::data(message).help(help)).collect();
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
        let (verdict, tuned, curves) = match tuned {
            Ok(tuned) => {
                let verdict = match tuned.model.predict(&guard_rows) {
                    Ok(prediction) => judge(&self.0.guard, metric, &guard_rows, &base_prediction, &prediction, seed)?,
                    Err(error) => refused(&self.0.guard, metric, &error.message),
                };
                (verdict, Some(tuned.model), tuned.curves)
            }
            // A tuning that fails leaves a model that works: the base.
            Err(error) if error.class != ErrorClass::Cancelled => {
                (refused(&self.0.guard, metric, &error.message), None, Vec::new())
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
        let name =
            |number| if number == 0 { "learning_curve".to_owned() } else { format!("learning_curve_{}", number + 1) };
        report.tables.extend(curves.into_iter().enumerate().map(|(number, curve)| (name(number), curve)));
        Ok(Fit { fitted: Box::new(kept), train, report, chain: None })
    }
}

/// The rows that training is stopped by, and those that the guard compares on.
fn halves(validation: &Rows, context: &FitContext) -> Result<(Design, Design)> {
    let seed = context.seed.derive("halves").0;
    let design = validation.design()?;
    // A label with a single validation row cannot be in both halves; then the shares of the labels are left to chance. Groups and times never are:
    // rows akin to those that guard would stop the training.
    let without_labels = || design.ties.halves(&Target::Values(vec![0.0; design.n_rows()]), seed);
    let parts = design.ties.halves(design.target()?, seed).or_else(|_| without_labels());
    let [stop, guard] = parts.map_err(|error| {
        let message = error.message;
        StageError::data(format!("the validation rows cannot be divided for stopping and guarding: {message}"))
            .help("give `data.split` a larger share for `validation`, or name a file with more rows")
    })?;
    Ok((design.take(&stop), design.take(&guard)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use retune_stage::Role;

    use super::*;

    /// The values of `x` in both halves of rows with a group or a time, whose label `rare` is in one row.
    fn divided(role: Role, ties: Vec<i64>) -> Result<[Vec<f64>; 2]> {
        let x: Vec<f64> = (0..ties.len()).map(|row| row as f64).collect();
        let labels: Vec<&str> =
            (0..ties.len()).map(|row| ["no", "yes", "rare"][if row == 3 { 2 } else { row % 2 }]).collect();
        let columns = [("x", x.into()), ("tie", ties.into()), ("y", labels.into())];
        let rows = Rows::Table(retune_testing::table(columns).role("tie", role).target("y").build());
        let (stop, guard) = halves(&rows, &FitContext::plain(1))?;
        Ok([stop, guard].map(|half| half.features.column(0).to_vec()))
    }

    #[test]
    fn the_halves_share_no_group_and_follow_time_even_where_a_label_is_rare() {
        let [stop, guard] = divided(Role::Group, (0..20).map(|row| row / 4).collect()).unwrap();
        let groups = |half: &[f64]| half.iter().map(|x| *x as usize / 4).collect::<std::collections::BTreeSet<_>>();
        assert!(groups(&stop).is_disjoint(&groups(&guard)), "{stop:?} {guard:?}");
        assert_eq!(stop.len() + guard.len(), 20);

        let [stop, guard] = divided(Role::Time, (0..20).rev().collect()).unwrap();
        assert_eq!((stop, guard), ((10..20).map(f64::from).collect(), (0..10).map(f64::from).collect()));
    }

    #[test]
    fn what_cannot_be_divided_is_said() {
        for (role, why) in
            [(Role::Group, "2 folds need at least 2 groups; there are 1"), (Role::Time, "all rows have the same time")]
        {
            let error = divided(role, vec![7; 20]).unwrap_err();
            let expected = format!("the validation rows cannot be divided for stopping and guarding: {why}");
            assert_eq!(error.message, expected);
            assert!(error.help.unwrap().contains("a larger share for `validation`"));
        }
    }
}
