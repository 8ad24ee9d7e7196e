//! The jobs `evaluate` and `score`.

use indexmap::IndexMap;
use retune_estimators::{Model, truth_of};
use retune_metrics::{Interval, Prediction, Truth, interval, paired_difference};
use retune_protocol::{EVALUATION, EvaluateJob, Level, ScoreJob};
use retune_spec::Metric;
use retune_spec::data::TaskKind;
use retune_stage::{Design, FittedChain, Progress, Result, Seed, StageError, Task};
use retune_store::Store;
use serde_json::{Value, json};

use crate::bundle::{Bundle, through};
use crate::insight::{Scored, insight};
use crate::objects::{Objects, fitted, object};
use crate::serve::Output;

/// Bootstrap resamples of an interval.
const RESAMPLES: usize = 1000;

/// The confidence of the intervals shown.
const CONFIDENCE: f64 = 0.95;

/// Scores base and tuned model on the test rows (on the validation rows where no row was set aside for the test).
pub fn evaluate(job: &EvaluateJob, store: &Store, objects: &mut Objects, progress: &dyn Progress) -> Result<Output> {
    let sets = objects.rows(store, &job.raw)?;
    let (set, rows) =
        ["test", "validation"].into_iter().find_map(|set| Some((set, sets.get(set)?.clone()))).ok_or_else(|| {
            StageError::data("there are neither test nor validation rows to score the model on")
                .help("give `data.split` a share for `test`")
        })?;
    if set != "test" {
        let text = "there are no test rows: the scores are of validation rows, which fine-tuning has looked at";
        progress.message(Level::Warning, text);
    }
    let chain = || -> Result<FittedChain> {
        let stages = job.chain.iter().map(|digest| Ok(fitted(store, digest)?.into()));
        Ok(FittedChain { stages: stages.collect::<Result<_>>()? })
    };
    // Scores are of all rows at once.
    let transformed = through(chain()?, rows.clone())?.gather()?;
    let design = transformed.design()?;
    let mut scored = Vec::new();
    for (done, (id, digest)) in job.models.iter().enumerate() {
        progress.update("scoring", done as u64, Some(job.models.len() as u64));
        progress.check_cancelled()?;
        let model = retune_estimators::Model::load(&retune_stage::LoadDir::new(&object(store, digest)?))?;
        let prediction = model.predict(&design)?;
        scored.push((id.clone(), model, prediction));
    }
    let seed = Seed(job.seed).derive("evaluate").0;
    let mut scores = describe(set, &design, &scored, seed)?;
    let writer = store.writer()?;
    if let Some((_, model, _)) = scored.last() {
        let metric = job.metric.unwrap_or(Metric::default_for(model.task.kind()));
        scores["metric"] = json!(metric.word());
        let truth = truth_of(design.target()?);
        let seed = Seed(job.seed).derive("insight");
        let scored = Scored { raw: &rows, chain: &chain()?, models: &scored, truth, metric, seed };
        writer.write_json(&format!("{EVALUATION}.json"), &insight(&scored, progress)?)?;
    }
    writer.write_json("scores.json", &scores)?;
    if let Some((_, model, _)) = scored.last() {
        let table = model.predictions(&transformed)?;
        retune_table::write_parquet(&mut table.frame().clone(), &writer.file_path("predictions.parquet")?)?;
    }
    let digest = store.publish(writer, EVALUATION, 1, json!({}))?;
    let summary = format!("{} {set} rows", design.n_rows());
    Ok((IndexMap::from([(EVALUATION.to_owned(), digest)]), json!({ "summary": summary })))
}

/// Scores a bundle on files that have the target.
pub fn score_files(job: &ScoreJob, progress: &dyn Progress) -> Result<Output> {
    let bundle = Bundle::open(&job.artifact)?;
    let rows = bundle.read(&job.input, retune_table::TargetPolicy::Required)?;
    progress.check_cancelled()?;
    let (before, fitted) = bundle.into_model()?;
    let model =
        fitted.as_any().downcast_ref::<Model>().ok_or_else(|| StageError::failed("the last stage is no model"))?;
    let transformed = through(before, rows)?.gather()?;
    let design = transformed.design()?;
    let prediction = model.predict(&design)?;
    let artifact_seed = 0;
    let scores = describe("given", &design, &[("model".to_owned(), model, prediction)], artifact_seed)?;
    Ok((IndexMap::new(), scores))
}

fn describe<M: std::borrow::Borrow<Model>>(
    set: &str,
    design: &Design,
    scored: &[(String, M, Prediction)],
    seed: u64,
) -> Result<Value> {
    let target = design.target()?;
    let truth = truth_of(target);
    let task = scored.first().map(|(_, model, _)| &model.borrow().task);
    let kind = task.map_or(TaskKind::Regression, Task::kind);
    let metrics: Vec<Metric> = Metric::of(kind).filter(|metric| metric.same_as().is_none()).collect();
    let mut models = Vec::new();
    for (id, model, prediction) in scored {
        let mut scores = IndexMap::new();
        for &metric in &metrics {
            // A score that these rows do not define (one label only, say) is left out.
            if let Ok(score) = interval(metric, &truth, prediction, RESAMPLES, CONFIDENCE, seed) {
                scores.insert(metric.word(), interval_json(&score));
            }
        }
        models.push(json!({ "id": id, "family": model.borrow().family(), "scores": scores }));
    }
    let mut difference = IndexMap::new();
    if let [(_, _, base), .., (_, _, tuned)] = scored {
        for &metric in &metrics {
            if let Ok(score) = paired_difference(metric, &truth, base, tuned, RESAMPLES, CONFIDENCE, seed) {
                difference.insert(metric.word(), interval_json(&score));
            }
        }
    }
    let labels = match task {
        Some(Task::Classification { labels }) => json!(labels),
        _ => Value::Null,
    };
    let confusion = match (&truth, scored.last()) {
        (Truth::Classes { codes, n_classes }, Some((_, _, prediction))) => {
            json!(rows_of(&retune_metrics::confusion(codes, &prediction.labels(), *n_classes)))
        }
        _ => Value::Null,
    };
    Ok(json!({
        "task": kind,
        "set": set,
        "n_rows": design.n_rows(),
        "labels": labels,
        "confidence": CONFIDENCE,
        "models": models,
        "difference": difference,
        "confusion": confusion,
    }))
}

fn rows_of(matrix: &ndarray::Array2<u64>) -> Vec<Vec<u64>> {
    matrix.rows().into_iter().map(|row| row.to_vec()).collect()
}

fn interval_json(interval: &Interval) -> Value {
    json!({ "value": interval.value, "low": interval.low, "high": interval.high })
}
