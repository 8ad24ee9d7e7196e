//! Search over candidates with leak-proof folds.
//!
//! A model selection gets the raw training rows and the stages before it. Each fold fits that chain on its own training rows; all trials share the folds.
//! What is proposed depends on what came of the trials before, never on how many threads there are. Every finished trial goes to a ledger that stays in
//! the store: after a crash, or in a longer search, they are read back, and the search goes on with the same bits.

mod assemble;
pub mod calibration;
mod chain;
pub mod ensemble;
mod evaluate;
mod folds;
mod leaderboard;
mod out_of_fold;
mod pruner;
pub mod samplers;
mod search;
pub mod threshold;
mod trial;
mod turns;

use retune_metrics::corrected_interval;
use retune_spec::Metric;
use retune_spec::data::TaskKind;
use retune_spec::model_selection::{Candidate, Folds, ModelSelection};
use retune_stage::{
    Fit, FitContext, Kind, Level, Quiet, Result, Rows, Schema, Stage, StageError, StageReport, Task, Upstream,
    encoder_hint,
};
use serde_json::{Map, Value, json};

use crate::assemble::Plan;
use crate::chain::Chain;
use crate::evaluate::Judge;
use crate::folds::{FoldBank, divide, test_share};
use crate::search::{Found, Search, Winner};
use crate::trial::{Trial, mean};

/// A model selection as declared.
pub struct ModelSelectionStage(pub ModelSelection);

impl Stage for ModelSelectionStage {
    fn check(&self, input: &Schema) -> Result<(), Vec<StageError>> {
        let Some(task) = &input.task else { return Err(vec![StageError::data("the data have no target to learn")]) };
        let kind = task.kind();
        let of_kind = |kind| input.features().find(|field| field.kind == kind);
        let (words, images) = (of_kind(Kind::Categorical), of_kind(Kind::Image));
        let cannot = self.0.candidates.iter().filter_map(|candidate| {
            let estimator = candidate.with_values(&first_values(candidate)).ok()?;
            let family = candidate.family();
            if !estimator.supports(kind) {
                let message = format!("`{family}` cannot learn a {}", word(kind));
                return Some(StageError::data(message).help("leave that candidate out, or declare `data.task`"));
            }
            let strange = words.filter(|_| self.0.encode.is_none() && !estimator.takes_categories());
            let field = strange.or(images.filter(|_| !estimator.takes_images()))?;
            let message = format!("`{family}` needs numbers, and column `{}` is {}", field.name, field.kind.word());
            let for_it_alone =
                if field.kind == Kind::Categorical { ", or for this family alone: `encode: {}`" } else { "" };
            Some(StageError::data(message).help(format!("{}{for_it_alone}", encoder_hint(field.kind))))
        });
        let mut mistakes: Vec<StageError> = cannot.collect();
        let misfits = [self.0.metric, self.0.threshold].into_iter().flatten().filter_map(|metric| metric.misfit(task));
        mistakes.extend(misfits.map(|(message, help)| StageError::data(message).help(help)));
        if kind == TaskKind::Regression {
            let for_labels = [("calibrate", self.0.calibrate.is_some()), ("threshold", self.0.threshold.is_some())];
            let told = |name| StageError::data(format!("`{name}` is for labels, and the target holds values"));
            let declared = for_labels.into_iter().filter(|(_, is_declared)| *is_declared);
            mistakes.extend(declared.map(|(name, _)| told(name).help("leave it out")));
        }
        if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
    }

    fn fit(&self, train: Rows, context: &FitContext) -> Result<Fit> {
        let task = train.schema().task.clone().ok_or_else(|| StageError::data("the data have no target to learn"))?;
        let upstream =
            context.upstream.ok_or_else(|| StageError::failed("a model selection needs the raw training rows"))?;
        let chosen = self.choose(upstream, &task, context, "trials.jsonl")?;
        let nested = self.nested(upstream, &task, context)?;
        let mut report = chosen.report(&self.0, nested);
        let (chain, train) = if self.0.upstream.is_empty() {
            (None, train)
        } else {
            context.progress.update("fitting the stages before", 0, None);
            let values = &chosen.found.trials[chosen.winner.trial].values;
            let chain = Chain::new(upstream, &self.0.upstream)?;
            let (fitted, rows) = chain.fit_whole(values, upstream.train.clone(), context)?;
            report.learned(
                "upstream",
                format!("the stages before were fitted anew with {}", Value::Object(chosen.upstream_values(&self.0))),
            );
            (Some(fitted), rows)
        };
        let model = chosen.plan.fit(&train, context)?;
        Ok(Fit { fitted: Box::new(model), train, report, chain, base: None })
    }
}

/// What a search came to.
struct Chosen {
    metric: Metric,
    found: Found,
    winner: Winner,
    plan: Plan,
    test_share: f64,
    left_out: Option<String>,
}

impl ModelSelectionStage {
    /// Searches, and takes the best.
    fn choose(&self, upstream: &Upstream, task: &Task, context: &FitContext, ledger: &str) -> Result<Chosen> {
        let spec = &self.0;
        let metric = spec.metric.unwrap_or_else(|| Metric::default_for(task.kind()));
        let mut folds = FoldBank::new(spec, upstream, context)?;
        folds.check(spec)?;
        let judge = Judge { metric, task, encode: spec.encode, is_pooled: folds.is_pooled, context };
        let search = Search { spec, judge, ledger: context.work.map(|work| work.join(ledger)) };
        let left_out = search.left_out();
        if let Some(left_out) = &left_out {
            context.progress.message(Level::Warning, left_out);
        }
        let found = search.run(&mut folds)?;
        let winner = search.winner(&found.trials)?;
        let plan = Plan::new(&search, &found, &winner, &mut folds)?;
        Ok(Chosen { metric, winner, plan, test_share: folds.test_share(), found, left_out })
    }

    /// The scores of searches on the training rows of outer folds, for the validation rows of each.
    fn nested(&self, upstream: &Upstream, task: &Task, context: &FitContext) -> Result<Option<Nested>> {
        let Some(n_folds) = self.0.nested else { return Ok(None) };
        let seed = context.seed.derive("outer folds");
        let parts = divide(&upstream.train, &Folds::Count(n_folds), seed.0)?;
        let mut scores = Vec::with_capacity(parts.len());
        for (number, part) in parts.iter().enumerate() {
            context.progress.update("outer folds", number as u64, Some(n_folds as u64));
            let quiet = Quiet(context.progress);
            let place = format!("outer fold {}", number + 1);
            let context = FitContext { seed: seed.derive(&place), progress: &quiet, ..*context };
            let outer = upstream.with_train(upstream.train.take(&part.train)?);
            let score = || {
                let chosen = self.choose(&outer, task, &context, &format!("trials-outer-{}.jsonl", number + 1))?;
                let values = &chosen.found.trials[chosen.winner.trial].values;
                let chain = Chain::new(&outer, &self.0.upstream)?;
                let (fitted, rows) = chain.fit_whole(values, outer.train.clone(), &context)?;
                let model = chosen.plan.fit(&rows, &context)?;
                let validation = fitted.apply(upstream.train.take(&part.validation)?)?.design()?;
                let judge =
                    Judge { metric: chosen.metric, task, encode: self.0.encode, is_pooled: false, context: &context };
                judge.score(validation.target()?, &model.predict(&validation)?)
            };
            scores.push(score().map_err(|error| error.within(&place))?);
        }
        Ok(Some(Nested { interval: corrected_interval(&scores, test_share(&parts)), scores }))
    }
}

/// What a search achieves on rows that it has not seen.
struct Nested {
    scores: Vec<f64>,
    interval: Option<[f64; 2]>,
}

impl Chosen {
    /// The winner's values of the stages before.
    fn upstream_values(&self, spec: &ModelSelection) -> Map<String, Value> {
        let values = &self.found.trials[self.winner.trial].values;
        spec.upstream.keys().filter_map(|name| Some((name.clone(), values.get(name)?.clone()))).collect()
    }

    fn report(&self, spec: &ModelSelection, nested: Option<Nested>) -> StageReport {
        let (trials, best) = (&self.found.trials, &self.found.trials[self.winner.trial]);
        let rows = leaderboard::rows(trials, self.metric, self.test_share);
        let word = self.metric.word();
        let summary =
            format!("{}, {word} {} ({})", best.family, score_of(best), counts(trials, leaderboard::ties(&rows)));
        let mut details = json!({
            "summary": summary,
            "metric": self.metric,
            "estimators": self.plan.estimators,
            "reproducible": self.found.is_reproducible,
            "leaderboard": leaderboard::records(&rows),
        });
        let mut report = StageReport::default();
        report.learned("search", &summary);
        let ended = self.found.end.as_ref().map(|end| format!("it ended because {end}"));
        let repeats = (!self.found.is_reproducible)
            .then(|| "a clock decided how far it went: another run may find another model".to_owned());
        let notes = [self.left_out.clone(), ended, repeats];
        notes.into_iter().flatten().for_each(|note| report.learned("search", note));
        self.plan.notes.iter().for_each(|(word, note)| report.learned(word, note));
        if !spec.upstream.is_empty() {
            details["upstream"] = Value::Object(self.upstream_values(spec));
        }
        if let Some(Nested { scores, interval }) = nested {
            let between =
                interval.map_or_else(String::new, |[low, high]| format!(", 95 % interval {low:.4} to {high:.4}"));
            let text = format!(
                "the whole search scores {word} {:.4} on rows that it has not seen ({} outer folds{between})",
                mean(&scores),
                scores.len()
            );
            details["nested"] = json!({ "mean": mean(&scores), "interval": interval, "scores": scores });
            report.learned("nested", text);
        }
        report.details = details;
        report.tables.extend(leaderboard::table(&rows).map(|table| ("leaderboard".to_owned(), table)));
        report
    }
}

/// The mean score of a trial and how far its folds differ.
fn score_of(trial: &Trial) -> String {
    match trial.deviation() {
        Some(deviation) => format!("{:.4} ± {deviation:.4} over {} folds", trial.mean(), trial.scores().len()),
        None => format!("{:.4}", trial.mean()),
    }
}

fn counts(trials: &[Trial], ties: usize) -> String {
    let failed = trials.iter().filter(|trial| trial.failure().is_some()).count();
    let pruned = trials.iter().filter(|trial| trial.is_pruned()).count();
    let mut notes = vec![format!("{} {}", trials.len(), if trials.len() == 1 { "trial" } else { "trials" })];
    notes.extend((pruned > 0).then(|| format!("{pruned} given up early")));
    notes.extend((failed > 0).then(|| format!("{failed} failed")));
    notes.extend((ties > 0).then(|| format!("{ties} not told apart from it")));
    notes.join(", ")
}

fn word(kind: TaskKind) -> &'static str {
    match kind {
        TaskKind::Classification => "classification",
        TaskKind::Regression => "regression",
    }
}

/// Some value of every space, to read a candidate as its family before anything was proposed.
fn first_values(candidate: &Candidate) -> Map<String, Value> {
    candidate.spaces().into_iter().filter_map(|(name, space)| Some((name, space.first()?))).collect()
}
