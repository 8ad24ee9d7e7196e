//! The job `importance`: how much a model's score falls when a column of its input, or a group of columns, is shuffled.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use indexmap::IndexMap;
use polars::prelude::{Column, DataFrame};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use retune_estimators::{Model, truth_of};
use retune_metrics::{Mean, score};
use retune_protocol::{ImportanceJob, Level};
use retune_spec::Metric;
use retune_stage::{Field, FittedChain, Kind, Progress, Result, Rows, Schema, Seed, StageError, Table, Task};
use retune_table::{OutputFile, TargetPolicy};
use serde_json::{Value, json};

use crate::apply::refuse_overwriting;
use crate::bundle::Bundle;
use crate::serve::Output;

/// What shuffling some columns does to the score.
pub struct Fall {
    name: String,
    columns: Vec<String>,
    /// The mean over the shuffles; above 0 where the score gets worse.
    mean: f64,
    interval: [f64; 2],
}

/// How columns are shuffled, and what is scored.
pub struct Shuffles<'a> {
    /// The stages before the model.
    pub chain: &'a FittedChain,
    /// The model.
    pub model: &'a Model,
    /// The score.
    pub metric: Metric,
    /// Shuffles of each column or group.
    pub repeats: usize,
    /// What is drawn by.
    pub seed: Seed,
}

impl Shuffles<'_> {
    /// What came of it as JSON: the score of the rows as they are, and the columns, the most important ones first.
    pub fn told(&self, base: f64, falls: &[Fall], n_rows: usize) -> Value {
        let of = |(at, fall): (usize, &Fall)| {
            let [low, high] = fall.interval;
            json!({ "rank": at + 1, "name": fall.name, "columns": fall.columns, "importance": fall.mean, "low": low, "high": high, "reason": reason(fall, self.metric) })
        };
        let features: Vec<Value> = falls.iter().enumerate().map(of).collect();
        json!({ "metric": self.metric.word(), "score": base, "n_rows": n_rows, "repeats": self.repeats, "features": features })
    }
}

/// Shuffles every column of a bundle's input, or group of columns: those that the bundle reads, before any of its stages.
pub fn importance(job: &ImportanceJob, progress: &dyn Progress) -> Result<Output> {
    if let Some(output) = &job.output {
        refuse_overwriting(&job.artifact, &job.input, output)?;
    }
    let bundle = Bundle::open(&job.artifact)?;
    let rows = bundle.read(&job.input, TargetPolicy::Required)?.gather()?;
    let table = sampled(rows.table()?, job, progress)?;
    let (chain, fitted) = bundle.into_model()?;
    let model =
        fitted.as_any().downcast_ref::<Model>().ok_or_else(|| StageError::failed("the last stage is no model"))?;
    let metric = metric_of(job, &model.task)?;
    let shuffles = Shuffles { chain: &chain, model, metric, repeats: job.repeats, seed: Seed(job.seed) };
    let (base, falls) = falls(&shuffles, &table, &groups(&table, job)?, progress)?;
    if let Some(output) = &job.output {
        let mut file = OutputFile::create(output)?;
        file.push(&as_table(&falls, metric)?)?;
        file.finish()?;
    }
    Ok((IndexMap::new(), shuffles.told(base, &falls, table.n_rows())))
}

/// The score, and what it loses where each group of columns is shuffled, scored `repeats` times (Breiman 2001; Fisher, Rudin and Dominici 2019); the greatest loss first.
pub fn falls(
    shuffles: &Shuffles,
    table: &Table,
    groups: &[(String, Vec<String>)],
    progress: &dyn Progress,
) -> Result<(f64, Vec<Fall>)> {
    let Shuffles { chain, model, metric, repeats, seed } = *shuffles;
    let judged = |table: &Table| judge(chain, model, metric, table);
    let base = judged(table)?;
    let total = groups.len() * repeats;
    progress.update("shuffling", 0, Some(total as u64));
    let done = AtomicUsize::new(0);
    let fall = |(name, columns): &(String, Vec<String>)| {
        let once = |repeat: usize| {
            progress.check_cancelled()?;
            let seed = seed.derive(name).derive(&repeat.to_string());
            let shuffled = judged(&shuffled(table, columns, seed)?)?;
            let n = done.fetch_add(1, Ordering::Relaxed) + 1;
            progress.update("shuffling", n as u64, Some(total as u64));
            Ok(if metric.greater_is_better() { base - shuffled } else { shuffled - base })
        };
        let falls: Vec<f64> = (0..repeats).map(once).collect::<Result<_>>()?;
        let mean = Mean::of(&falls);
        let interval = mean.interval().unwrap_or([mean.value; 2]);
        Ok(Fall { name: name.clone(), columns: columns.clone(), mean: mean.value, interval })
    };
    let mut falls: Vec<Fall> = groups.par_iter().map(fall).collect::<Result<_>>()?;
    falls.sort_by(|a, b| b.mean.total_cmp(&a.mean));
    Ok((base, falls))
}

fn judge(chain: &FittedChain, model: &Model, metric: Metric, table: &Table) -> Result<f64> {
    let design = chain.apply(Rows::Table(table.clone()))?.gather()?.design()?;
    let prediction = model.predict(&design)?;
    score(metric, &truth_of(design.target()?), &prediction).map_err(|error| StageError::data(error.to_string()))
}

fn metric_of(job: &ImportanceJob, task: &Task) -> Result<Metric> {
    let metric = job.metric.unwrap_or(Metric::plain_for(task.kind()));
    match metric.misfit(task) {
        Some((message, help)) => Err(StageError::data(message).help(help)),
        None => Ok(metric),
    }
}

/// As many rows as are looked at, in their order.
fn sampled(table: &Table, job: &ImportanceJob, progress: &dyn Progress) -> Result<Table> {
    let n_rows = table.n_rows();
    if n_rows < 2 {
        return Err(StageError::data(format!("{n_rows} row cannot be shuffled")).help("give more rows"));
    }
    if n_rows <= job.max_rows {
        return Ok(table.clone());
    }
    let text = format!("{} of {n_rows} rows are looked at, drawn at random: `--max-rows` takes more", job.max_rows);
    progress.message(Level::Info, &text);
    let mut rng = ChaCha8Rng::seed_from_u64(Seed(job.seed).derive("rows").0);
    let mut rows = sample(&mut rng, n_rows, job.max_rows).into_vec();
    rows.sort_unstable();
    Ok(table.take(&rows)?)
}

/// What is shuffled together: the groups that were asked for, and every other feature by itself.
fn groups(table: &Table, job: &ImportanceJob) -> Result<Vec<(String, Vec<String>)>> {
    let mut groups = Vec::new();
    let mut taken: HashSet<String> = HashSet::new();
    for (name, selector) in &job.groups {
        let columns =
            table.select(selector).map_err(|error| StageError::from(error).within(format!("group `{name}`")))?;
        if columns.is_empty() {
            return Err(StageError::data(format!(
                "no column belongs to the group `{name}`: `{selector}` chooses none"
            ))
            .help("correct the group, or leave it out"));
        }
        if let Some(column) = columns.iter().find(|column| !taken.insert((*column).clone())) {
            return Err(StageError::data(format!("column `{column}` belongs to two groups"))
                .help("let each column be in one group"));
        }
        groups.push((name.clone(), columns));
    }
    let alone = table.schema().features().filter(|field| !taken.contains(&field.name));
    groups.extend(alone.map(|field| (field.name.clone(), vec![field.name.clone()])));
    Ok(groups)
}

/// The table with some columns shuffled, all by the same permutation.
fn shuffled(table: &Table, columns: &[String], seed: Seed) -> Result<Table> {
    let mut rows: Vec<usize> = (0..table.n_rows()).collect();
    rows.shuffle(&mut ChaCha8Rng::seed_from_u64(seed.0));
    let names: HashSet<&String> = columns.iter().collect();
    let moved = table.take(&rows)?;
    let column = |field: &Field| -> Result<Column> {
        let from = if names.contains(&field.name) { &moved } else { table };
        Ok(from.column(&field.name)?.clone())
    };
    let all = table.schema().fields.iter().map(column).collect::<Result<Vec<_>>>()?;
    Ok(Table::new(DataFrame::new(table.n_rows(), all)?, table.schema().clone())?)
}

fn reason(fall: &Fall, metric: Metric) -> String {
    let word = metric.word();
    match fall.interval {
        [low, _] if low > 0.0 => format!("{word} gets worse by {:.4} without it", fall.mean),
        [_, high] if high < 0.0 => format!("{word} gets better by {:.4} without it", -fall.mean),
        _ if fall.mean == 0.0 => format!("{word} does not change without it"),
        _ => format!("{word} changes by chance only"),
    }
}

fn as_table(falls: &[Fall], metric: Metric) -> Result<Table> {
    let number =
        |name: &str, of: fn(&Fall) -> f64| Column::new(name.into(), falls.iter().map(of).collect::<Vec<f64>>());
    let text = |name: &str, of: &dyn Fn(&Fall) -> String| {
        Column::new(name.into(), falls.iter().map(of).collect::<Vec<String>>())
    };
    let columns = vec![
        text("name", &|fall| fall.name.clone()),
        text("columns", &|fall| fall.columns.join(", ")),
        number("importance", |fall| fall.mean),
        number("low", |fall| fall.interval[0]),
        number("high", |fall| fall.interval[1]),
        text("reason", &|fall| reason(fall, metric)),
    ];
    let kind = |column: &Column| if column.dtype().is_float() { Kind::Numeric } else { Kind::Categorical };
    let fields = columns.iter().map(|column| Field::feature(column.name().as_str(), kind(column))).collect();
    Ok(Table::new(DataFrame::new(falls.len(), columns)?, Schema { fields, task: None })?)
}
