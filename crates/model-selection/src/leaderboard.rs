//! Trials in the order of their scores.

use polars::prelude::*;
use retune_metrics::{corrected_interval, corrected_t_test};
use retune_spec::Metric;
use serde::Serialize;
use serde_json::{Value, json};

use crate::trial::Trial;

/// Of two models whose scores differ by less than chance with this probability none is called the better.
const SIGNIFICANCE: f64 = 0.05;

/// A trial's place.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    rank: usize,
    family: String,
    /// The hyperparameters that were searched, as JSON.
    values: String,
    mean: Option<f64>,
    std: Option<f64>,
    /// Where the mean lies with 95 % probability.
    low: Option<f64>,
    high: Option<f64>,
    /// Whether chance explains the difference to the best trial (corrected resampled t-test at 5 %).
    tied: Option<bool>,
    folds: usize,
    fit_seconds: Option<f64>,
    predict_seconds: Option<f64>,
    /// About how many numbers the model is made of.
    size: Option<f64>,
    status: String,
    trial: usize,
}

/// Finished trials by their mean score, the better ones first and the earlier ones of equals; then those given up, then those that failed. `test_share` is the
/// rows that a fold scores on over those that it learns from.
pub fn rows(trials: &[Trial], metric: Metric, test_share: f64) -> Vec<Row> {
    let mut ranked: Vec<&Trial> = trials.iter().collect();
    let class = |trial: &Trial| (u8::from(!trial.is_finished()), u8::from(trial.failure().is_some()));
    let sign = if metric.greater_is_better() { -1.0 } else { 1.0 };
    ranked.sort_by(|a, b| {
        let scores = (sign * a.mean()).total_cmp(&(sign * b.mean()));
        class(a).cmp(&class(b)).then(scores).then(a.number.cmp(&b.number))
    });
    let best = ranked.first().copied();
    ranked.iter().enumerate().map(|(rank, trial)| row(rank + 1, trial, best, test_share)).collect()
}

fn row(rank: usize, trial: &Trial, best: Option<&Trial>, test_share: f64) -> Row {
    let finished = trial.is_finished();
    let interval = corrected_interval(trial.scores(), test_share).filter(|_| finished);
    let is_tied = |best: &Trial| {
        let test = corrected_t_test(best.scores(), trial.scores(), test_share).ok()?;
        Some(test.p_value >= SIGNIFICANCE)
    };
    Row {
        rank,
        family: trial.family.clone(),
        values: Value::Object(trial.values.clone()).to_string(),
        mean: trial.failure().is_none().then(|| trial.mean()),
        std: trial.deviation(),
        low: interval.map(|[low, _]| low),
        high: interval.map(|[_, high]| high),
        tied: best.filter(|_| finished).and_then(is_tied),
        folds: trial.scores().len(),
        fit_seconds: finished.then_some(trial.cost.fit),
        predict_seconds: finished.then_some(trial.cost.predict),
        size: finished.then_some(trial.cost.size),
        status: status(trial),
        trial: trial.number,
    }
}

/// How many trials finished, and how many of those are not told apart from the best.
pub fn ties(rows: &[Row]) -> usize {
    rows.iter().skip(1).filter(|row| row.tied == Some(true)).count()
}

/// The leaderboard as JSON records.
pub fn records(rows: &[Row]) -> Vec<Value> {
    rows.iter().map(|row| json!(row)).collect()
}

/// The leaderboard as a table.
pub fn table(rows: &[Row]) -> Option<DataFrame> {
    let floats = |of: fn(&Row) -> Option<f64>| rows.iter().map(of).collect::<Vec<Option<f64>>>();
    let counts = |of: fn(&Row) -> usize| rows.iter().map(|row| of(row) as u32).collect::<Vec<u32>>();
    let texts = |of: fn(&Row) -> &str| rows.iter().map(of).collect::<Vec<&str>>();
    df!(
        "rank" => counts(|row| row.rank),
        "family" => texts(|row| &row.family),
        "values" => texts(|row| &row.values),
        "mean" => floats(|row| row.mean),
        "std" => floats(|row| row.std),
        "low" => floats(|row| row.low),
        "high" => floats(|row| row.high),
        "tied" => rows.iter().map(|row| row.tied).collect::<Vec<Option<bool>>>(),
        "folds" => counts(|row| row.folds),
        "fit_seconds" => floats(|row| row.fit_seconds),
        "predict_seconds" => floats(|row| row.predict_seconds),
        "size" => floats(|row| row.size),
        "status" => texts(|row| &row.status),
        "trial" => counts(|row| row.trial),
    )
    .ok()
}

fn status(trial: &Trial) -> String {
    match trial.failure() {
        Some(reason) => format!("failed: {reason}"),
        None if trial.is_pruned() => "given up early".to_owned(),
        None => "finished".to_owned(),
    }
}
