//! Further training of a model, and the guard that keeps the base when the tuned model does not hold up.
//!
//! The validation rows are divided in two: one half decides when training stops or which penalty is best, the other half - the guard rows - decides whether
//! the tuned model is kept. Training rows are all that is learned from.

mod bad_images;
mod base;
mod compare;
mod guard;
mod remedies;
mod strategies;

use polars::prelude::{DataFrame, df};
use retune_estimators::networks::RateCurve;
use retune_estimators::{FittedModel, Model, networks};
use retune_metrics::Prediction;
use retune_spec::Metric;
use retune_spec::fine_tuning::{FineTuning, Remedy};
use retune_stage::{
    Design, ErrorClass, Fit, FitContext, Level, Result, Rows, Schema, Stage, StageError, StageReport, Target,
};
use serde::Serialize;
use serde_json::json;

use crate::bad_images::{image_input, sorted_out};
use crate::base::Base;
use crate::compare::{Compared, compare};
use crate::guard::{Bench, judge, reach, refused, unopposed};
pub use crate::guard::{Decision, GoalResult, Verdict};
use crate::strategies::{Seen, Tuned};

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
        let base = Base::of(&self.0.base, &train, context)?;
        let validation = context.validation.ok_or_else(|| {
            StageError::data("fine-tuning needs validation rows: to stop by, and for the guard")
                .help("give `data.split` a share for `validation`, or name a file `data.validation`")
        })?;
        let mut report = StageReport::default();
        let input = image_input(&base.model);
        let learned = match self.0.rows.as_deref() {
            None | Some("train") => train.design()?,
            Some(set) => named(context, set)?.design()?,
        };
        let learned = sorted_out(learned, input.as_ref(), context.threads, &mut report)?;
        // Of validation rows the report of training rows says nothing.
        let validation =
            sorted_out(validation.design()?, input.as_ref(), context.threads, &mut StageReport::default())?;
        let (stop, guard) = halves(&validation, context)?;
        let metric = self.0.guard.metric.unwrap_or_else(|| Metric::default_for(base.model.task.kind()));
        let also = self
            .0
            .guard
            .also
            .iter()
            .map(|also| Ok((also.set.clone(), named(context, &also.set)?.design()?, also.max_drop)));
        let work = Work {
            spec: &self.0,
            base: &base,
            train: &learned,
            stop: &stop,
            guard: &guard,
            also: also.collect::<Result<_>>()?,
            metric,
            context,
        };
        let mut tries = work.tries()?;
        let kept = tries.iter().position(|tried| tried.verdict.holds_up());
        let judged = &tries[kept.unwrap_or(0)];
        let verdict = judged.verdict.clone();
        let model = kept.and_then(|kept| tries[kept].model.clone()).unwrap_or_else(|| base.model.clone());
        if !verdict.holds_up() {
            context.progress.message(Level::Warning, &verdict.reason);
        }
        let goal = self.0.goal.as_ref().map(|goal| reach(goal, &guard, &model.predict(&guard)?)).transpose()?;
        if let Some(goal) = &goal {
            context.progress.message(if goal.reached { Level::Info } else { Level::Warning }, &goal.reason);
        }
        let told: Vec<_> = tries.iter().map(Try::told).collect();
        report.details = json!({ "summary": verdict.reason, "guard": verdict, "goal": goal, "tries": told });
        report.learned("guard", verdict.reason);
        for tried in &mut tries {
            tried.notes.drain(..).for_each(|note| report.learned("tuning", note));
        }
        let name =
            |what: &str, number: usize| if number == 0 { what.to_owned() } else { format!("{what}_{}", number + 1) };
        report.tables.push(("comparison".to_owned(), work.compare(&tries)?));
        let (curves, rates): (Vec<_>, Vec<_>) = tries.into_iter().map(|tried| (tried.curves, tried.rates)).unzip();
        let curves = curves.into_iter().flatten().enumerate();
        report.tables.extend(curves.map(|(number, table)| (name("learning_curve", number), table)));
        for (number, rates) in rates.into_iter().flatten().enumerate() {
            let name = name("learning_rates", number);
            let taken: Vec<bool> = rates.learning_rate.iter().map(|rate| Some(*rate) == rates.best).collect();
            let table = df!("learning_rate" => rates.learning_rate, "loss" => rates.loss, "taken" => taken)?;
            report.tables.push((name, table));
        }
        let own = base.is_own && !base.is_fresh;
        let base = own.then(|| Box::new(base.model) as Box<dyn retune_stage::Fitted>);
        Ok(Fit { fitted: Box::new(model), train, report, chain: None, base })
    }
}

/// A named set of rows. Fails where there is none of that name.
fn named<'a>(context: &FitContext<'a>, set: &str) -> Result<&'a Rows> {
    let found = context.sets.iter().find(|(name, _)| name == set).map(|(_, rows)| rows);
    found.ok_or_else(|| {
        StageError::data(format!("there is no set `{set}`"))
            .help(format!("name its file, `sets: {{ {set}: FILE }}` under `data`"))
    })
}

/// All that a tuning is judged by.
struct Work<'a> {
    spec: &'a FineTuning,
    base: &'a Base,
    train: &'a Design,
    stop: &'a Design,
    guard: &'a Design,
    /// Other sets that the guard looks at, and how much worse a score may be there.
    also: Vec<(String, Design, f64)>,
    metric: Metric,
    context: &'a FitContext<'a>,
}

/// A tuning or a remedy, and what the guard said.
struct Try {
    name: String,
    /// `None` where it failed.
    model: Option<Model>,
    verdict: Verdict,
    diagnosis: Vec<&'static str>,
    notes: Vec<String>,
    curves: Vec<DataFrame>,
    rates: Vec<RateCurve>,
}

/// What the report says of a try.
#[derive(Serialize)]
struct Told<'a> {
    name: &'a str,
    verdict: &'a Verdict,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    diagnosis: &'a [&'static str],
}

impl Try {
    fn told(&self) -> serde_json::Value {
        json!(Told { name: &self.name, verdict: &self.verdict, diagnosis: &self.diagnosis })
    }
}

impl Work<'_> {
    /// The tuning, and the remedies in their order until one holds up.
    fn tries(&self) -> Result<Vec<Try>> {
        let (spec, context) = (self.spec, self.context);
        let mut tries = vec![self.judged("tuned", self.tune(spec, "tuning"))?];
        if tries[0].verdict.holds_up() {
            return Ok(tries);
        }
        let applying =
            spec.guard.remedies.iter().copied().filter(|remedy| remedies::applies(*remedy, &self.base.model));
        for remedy in applying {
            let reason = &tries[tries.len() - 1].verdict.reason;
            let seems = tries[0].diagnosis.join("; ");
            let seems = if seems.is_empty() { seems } else { format!(" (it looks like {seems})") };
            context.progress.message(Level::Info, &format!("{reason}{seems}; trying `{}`", remedy.word()));
            let word = remedy.word();
            let tuned = match (remedies::changed(spec, remedy), &tries[0].model) {
                (Some(changed), _) => self.tune(&changed, word),
                (None, Some(tuned)) if remedy == Remedy::WiseFt => {
                    remedies::wise_ft(&self.base.model, tuned, self.stop, context).map(|(model, notes)| Tuned {
                        model,
                        notes,
                        curves: Vec::new(),
                        rates: Vec::new(),
                        phases: Vec::new(),
                    })
                }
                _ => continue,
            };
            tries.push(self.judged(word, tuned)?);
            if tries[tries.len() - 1].verdict.holds_up() {
                break;
            }
        }
        Ok(tries)
    }

    fn tune(&self, spec: &FineTuning, place: &str) -> Result<Tuned> {
        let rehearsal = match &spec.network.rehearsal {
            Some(rehearsal) if rehearsal.set == "train" => Some(self.train.clone()),
            Some(rehearsal) => Some(named(self.context, &rehearsal.set)?.design()?),
            None => None,
        };
        let work = self.context.work.map(|work| work.join(place));
        let seen = Seen {
            train: self.train,
            stop: self.stop,
            rehearsal: rehearsal.as_ref(),
            is_fresh: self.base.is_fresh,
            work: work.as_deref(),
        };
        let tuned = strategies::tune(spec, &self.base.model, seen, self.context)?;
        self.context.progress.check_cancelled()?;
        Ok(tuned)
    }

    /// What the guard says of a tuned model. A tuning that fails leaves a model that works: the base, where there is one.
    fn judged(&self, name: &str, tuned: Result<Tuned>) -> Result<Try> {
        let guard = &self.spec.guard;
        let tuned = match tuned {
            Ok(tuned) => tuned,
            Err(error) if error.class == ErrorClass::Cancelled || self.base.is_fresh => return Err(error),
            Err(error) => {
                let verdict = refused(guard, self.metric, &error.message);
                let diagnosis = if error.message.starts_with("the training diverged") {
                    vec!["the training diverged"]
                } else {
                    Vec::new()
                };
                let (curves, rates, notes) = (Vec::new(), Vec::new(), Vec::new());
                return Ok(Try { name: name.to_owned(), model: None, verdict, diagnosis, notes, curves, rates });
            }
        };
        let Tuned { model, curves, rates, notes, phases } = tuned;
        let (verdict, prediction) = match model.predict(self.guard) {
            Ok(prediction) if self.base.is_fresh => {
                (unopposed(guard, self.metric, self.guard, &prediction)?, Some(prediction))
            }
            Ok(prediction) => (self.compared(&model, &prediction)?, Some(prediction)),
            Err(error) => (refused(guard, self.metric, &error.message), None),
        };
        let diagnosis = match prediction.filter(|_| !verdict.holds_up()) {
            Some(prediction) => {
                remedies::diagnose(&phases, &verdict, self.guard, &prediction, self.statistics_shifted(&model)?)?
            }
            None => Vec::new(),
        };
        Ok(Try { name: name.to_owned(), model: Some(model), verdict, diagnosis, notes, curves, rates })
    }

    fn compared(&self, model: &Model, prediction: &Prediction) -> Result<Verdict> {
        let spec = &self.spec.guard;
        let seed = self.context.seed.derive("guard");
        let base = &self.base.model;
        let bench = Bench { name: "guard", rows: self.guard, max_drop: spec.max_drop };
        let verdict = judge(spec, self.metric, bench, &base.predict(self.guard)?, prediction, seed)?;
        let also = self.also.iter().map(|(set, rows, max_drop)| {
            let bench = Bench { name: set, rows, max_drop: *max_drop };
            judge(spec, self.metric, bench, &base.predict(rows)?, &model.predict(rows)?, seed)
        });
        Ok(verdict.with(also.collect::<Result<_>>()?))
    }

    /// Whether a tuned network would do better with the base's statistics of batch norms.
    fn statistics_shifted(&self, model: &Model) -> Result<bool> {
        let ([from], [to]) = (self.base.model.members(), model.members()) else { return Ok(false) };
        let stop = self.base.model.bind(self.stop)?;
        match (from.fitted.as_ref(), to.fitted.as_ref()) {
            (FittedModel::Network(from), FittedModel::Network(tuned)) => {
                networks::statistics_shifted(from, tuned, &to.seen(&stop), self.context)
            }
            _ => Ok(false),
        }
    }

    /// Base and tries on the guard rows and on every named set.
    fn compare(&self, tries: &[Try]) -> Result<DataFrame> {
        let mut models = Vec::new();
        if !self.base.is_fresh {
            models.push(Compared { name: "base".to_owned(), model: &self.base.model });
        }
        let finished = tries.iter().filter_map(|tried| Some((tried.name.clone(), tried.model.as_ref()?)));
        models.extend(finished.map(|(name, model)| Compared { name, model }));
        let designs = self.context.sets.iter().map(|(set, rows)| Ok((set.clone(), rows.design()?)));
        let designs: Vec<(String, Design)> = designs.collect::<Result<_>>()?;
        let mut sets: Vec<(String, &Design)> = vec![("guard".to_owned(), self.guard)];
        sets.extend(designs.iter().map(|(set, rows)| (set.clone(), rows)));
        compare(&models, &sets, self.metric, self.context.seed.derive("compare"))
    }
}

/// The rows that training is stopped by, and those that the guard compares on.
fn halves(design: &Design, context: &FitContext) -> Result<(Design, Design)> {
    let seed = context.seed.derive("halves").0;
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
        let (stop, guard) = halves(&rows.design()?, &FitContext::plain(1))?;
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
