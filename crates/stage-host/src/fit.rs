//! The job `fit`.

use indexmap::IndexMap;
use retune_protocol::{FitJob, Request, refitted};
use retune_spec::StageKind;
use retune_stage::{FitContext, Link, Progress, Result, Rows, Seed, StageError, Upstream};
use retune_store::Store;
use serde_json::json;

use crate::objects::{Objects, Sets, fitted, publish_fitted, publish_report};
use crate::registry::{declared, rebuild, stage_of};
use crate::serve::Output;

/// Fits a stage on the training rows and takes the other rows through it.
pub fn fit(
    job: &FitJob,
    request: &Request,
    store: &Store,
    objects: &mut Objects,
    progress: &dyn Progress,
) -> Result<Output> {
    retune_tensor::device::set_threads(request.threads)?;
    let by_pieces = matches!(job.stage, StageKind::Preprocessing(_));
    // Large rows are read by pieces; all other stages need theirs in memory.
    let rows_of =
        |sets: &Sets, set: &str| sets.get(set).cloned().map(|rows| if by_pieces { Ok(rows) } else { rows.gather() });
    let train_of =
        |sets: &Sets| rows_of(sets, "train").ok_or_else(|| StageError::failed("there are no training rows"))?;
    let sets = objects.rows(store, &job.rows)?;
    let train = train_of(&sets)?;
    let raw = objects.rows(store, &job.raw)?;
    let validation = rows_of(&sets, "validation").transpose()?;
    let is_further = |set: &&String| !matches!(set.as_str(), "train" | "validation" | "test");
    let further: Vec<(String, Rows)> = match job.stage {
        StageKind::FineTuning(_) => {
            let named = sets.iter().filter(|(set, _)| is_further(set));
            named.map(|(set, rows)| Ok((set.clone(), rows.clone().gather()?))).collect::<Result<_>>()?
        }
        _ => Vec::new(),
    };
    let upstream = Upstream {
        // Only models look at them.
        train: if job.stage.is_model() && job.raw != job.rows { train_of(&raw)? } else { train.clone() },
        stages: job.chain.iter().map(|(id, kind)| link(id, kind)).collect::<Result<Vec<_>>>()?.into(),
        seed: Seed(job.seed),
        rebuild,
    };
    let base = job.base.as_ref().map(|digest| fitted(store, digest)).transpose()?;
    let work = match job.stage {
        StageKind::ModelSelection(_) => store.search_dir(&job.work)?,
        _ => store.work_dir(&job.work)?,
    };
    let context = FitContext {
        seed: Seed(job.seed).derive(job.stage.word()),
        threads: request.threads,
        device: request.device,
        validation: validation.as_ref(),
        sets: &further,
        upstream: Some(&upstream),
        base: base.as_deref(),
        work: Some(&work),
        progress,
    };
    let stage = stage_of(&job.stage);
    stage.check(train.schema()).map_err(together)?;
    let rows_in = train.n_rows();
    let mut fit = stage.fit(train, &context)?;
    let mut published = IndexMap::new();
    if !job.stage.is_model() {
        let mut out = Sets::new();
        out.insert("train".to_owned(), fit.train);
        // Test rows are taken through the whole chain once, at the end.
        for set in sets.keys().filter(|set| !matches!(set.as_str(), "train" | "test")) {
            let rows = rows_of(&sets, set).unwrap_or_else(|| Err(StageError::failed("they are gone")));
            let applied = rows.and_then(|rows| fit.fitted.apply(rows));
            out.insert(set.clone(), applied.map_err(|error| error.within(format!("{set} rows")))?);
        }
        fit.report.columns = [sets["train"].schema().features().count(), fit.fitted.output().features().count()];
        published.insert("rows".to_owned(), objects.publish_rows(store, out, progress)?);
    } else if let Some(chain) = &fit.chain {
        let mut out = Sets::new();
        out.insert("train".to_owned(), fit.train);
        for (set, rows) in raw.iter().filter(|(set, _)| !matches!(set.as_str(), "train" | "test")) {
            let applied = chain.apply(rows.clone().gather()?);
            out.insert(set.clone(), applied.map_err(|error| error.within(format!("{set} rows")))?);
        }
        published.insert("rows".to_owned(), objects.publish_rows(store, out, progress)?);
        for ((id, _), fitted) in job.chain.iter().zip(&chain.stages) {
            published.insert(refitted(id), publish_fitted(store, fitted.as_ref())?);
        }
    }
    if let Some(base) = &fit.base {
        published.insert("base".to_owned(), publish_fitted(store, base.as_ref())?);
    }
    published.insert("fitted".to_owned(), publish_fitted(store, fit.fitted.as_ref())?);
    let summary = summary(job.stage.is_model(), rows_in, &fit.report);
    published.insert("report".to_owned(), publish_report(store, &mut fit.report)?);
    Ok((published, json!({ "summary": summary, "details": fit.report.details })))
}

fn link(id: &str, kind: &StageKind) -> Result<Link> {
    Ok(Link { id: id.to_owned(), word: kind.word(), with: declared(kind)?, stage: stage_of(kind) })
}

fn summary(is_model: bool, rows_in: usize, report: &retune_stage::StageReport) -> String {
    if let Some(text) = report.details.get("summary").and_then(serde_json::Value::as_str) {
        return text.to_owned();
    }
    let rows_out = report.rows.last().map_or(rows_in, retune_stage::RowChange::rows_out);
    let [columns_in, columns_out] = report.columns;
    let rows = if rows_in == rows_out { format!("{rows_in} rows") } else { format!("{rows_in} -> {rows_out} rows") };
    if is_model { rows } else { format!("{rows}, {columns_in} -> {columns_out} features") }
}

/// Several errors as one, each with its own way out.
fn together(mut errors: Vec<StageError>) -> StageError {
    if errors.len() == 1
        && let Some(error) = errors.pop()
    {
        return error;
    }
    let told = |error: &StageError| match &error.help {
        Some(help) => format!("{}\n  help: {help}", error.message),
        None => error.message.clone(),
    };
    StageError::data(errors.iter().map(told).collect::<Vec<_>>().join("\n"))
}
