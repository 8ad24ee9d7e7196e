//! Search over candidates with leak-proof folds.
//!
//! A model selection gets the raw training rows and the stages before it. Each fold fits that chain on its own training rows; all trials share the folds.
//! Trials are proposed one after the other, so that what is proposed does not depend on how many threads there are; the folds of a trial run side by side.
//! Every finished trial goes to a ledger in the job's work folder: after a crash they are read back, and the search goes on with the same bits.

mod folds;
mod leaderboard;
mod parzen;
mod proposer;
mod search;
mod trial;

use retune_estimators::{FitOptions, Model};
use retune_spec::data::TaskKind;
use retune_spec::model_selection::ModelSelection;
use retune_spec::{Estimator, Metric};
use retune_stage::{Fit, FitContext, Level, Result, Rows, Schema, Stage, StageError, StageReport};
use serde_json::json;

use crate::search::{Search, Winner};

/// A model selection as declared.
pub struct ModelSelectionStage(pub ModelSelection);

impl Stage for ModelSelectionStage {
    fn check(&self, input: &Schema) -> Result<(), Vec<StageError>> {
        let Some(task) = &input.task else { return Err(vec![StageError::data("the data have no target to learn")]) };
        let kind = task.kind();
        let cannot = self.0.candidates.iter().filter_map(|candidate| {
            let estimator = candidate.with_values(&first_values(candidate)).ok()?;
            (!estimator.supports(kind)).then(|| {
                StageError::data(format!("`{}` cannot learn a {}", candidate.family(), word(kind)))
                    .help("leave that candidate out, or declare `data.task`")
            })
        });
        let mut mistakes: Vec<StageError> = cannot.collect();
        if let Some(metric) = self.0.metric.filter(|metric| metric.task() != kind) {
            mistakes.push(
                StageError::data(format!("`{}` does not score a {}", metric.word(), word(kind)))
                    .help("choose another `metric`"),
            );
        }
        if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
    }

    fn fit(&self, train: Rows, context: &FitContext) -> Result<Fit> {
        let task = train.schema().task.clone().ok_or_else(|| StageError::data("the data have no target to learn"))?;
        let metric = self.0.metric.unwrap_or_else(|| Metric::default_for(task.kind()));
        let folds = folds::prepare(self.0.folds, context)?;
        let search = Search { spec: &self.0, metric, task: &task, folds: &folds, context };
        let left_out = search.left_out();
        if let Some(left_out) = &left_out {
            context.progress.message(Level::Warning, left_out);
        }
        let trials = search.run()?;
        let Winner { trial, estimator } = search.winner(&trials)?;
        context.progress.update("fitting the winner", 0, None);
        let options = FitOptions { seed: context.seed.derive("winner"), ..FitOptions::of(context) };
        let (model, info) = Model::fit(&estimator, &train, &options)?;
        for note in &info.notes {
            context.progress.message(Level::Warning, note);
        }
        let mut report = report(&self.0, metric, &estimator, &trials, trial);
        if let Some(left_out) = left_out {
            report.learned("search", left_out);
        }
        Ok(Fit { fitted: Box::new(model), train, report })
    }
}

fn word(kind: TaskKind) -> &'static str {
    match kind {
        TaskKind::Classification => "classification",
        TaskKind::Regression => "regression",
    }
}

/// Some value of every space, to read a candidate as its family before anything was proposed.
fn first_values(candidate: &retune_spec::model_selection::Candidate) -> serde_json::Map<String, serde_json::Value> {
    candidate
        .spaces()
        .into_iter()
        .filter_map(|(name, space)| Some((name, proposer::grid_of(&space).into_iter().next()?)))
        .collect()
}

fn report(
    spec: &ModelSelection,
    metric: Metric,
    estimator: &Estimator,
    trials: &[trial::Trial],
    best: usize,
) -> StageReport {
    let failed = trials.iter().filter(|trial| trial.failure().is_some()).count();
    let pruned = trials.iter().filter(|trial| trial.is_pruned()).count();
    let best = &trials[best];
    let mut notes = vec![format!("{} trials", trials.len())];
    notes.extend((pruned > 0).then(|| format!("{pruned} given up early")));
    notes.extend((failed > 0).then(|| format!("{failed} failed")));
    let summary = format!(
        "{}, {} {:.4} ± {:.4} over {} folds ({})",
        estimator.word(),
        metric.word(),
        best.mean(),
        best.deviation(),
        spec.folds,
        notes.join(", ")
    );
    let ranked = leaderboard::ranked(trials, metric);
    let mut report = StageReport {
        details: json!({ "summary": summary, "metric": metric, "estimator": estimator, "leaderboard": leaderboard::records(&ranked) }),
        ..StageReport::default()
    };
    report.learned("search", summary);
    report.tables.extend(leaderboard::table(&ranked).map(|table| ("leaderboard".to_owned(), table)));
    report
}
