//! Trials in the order of their scores.

use polars::prelude::*;
use retune_spec::Metric;
use serde_json::{Value, json};

use crate::trial::Trial;

/// Finished trials by their mean score, the better ones first and the earlier ones of equals; then those given up, then those that failed.
pub fn ranked(trials: &[Trial], metric: Metric) -> Vec<&Trial> {
    let mut ranked: Vec<&Trial> = trials.iter().collect();
    let class = |trial: &Trial| (u8::from(!trial.is_finished()), u8::from(trial.failure().is_some()));
    let sign = if metric.greater_is_better() { -1.0 } else { 1.0 };
    ranked.sort_by(|a, b| {
        let scores = (sign * a.mean()).total_cmp(&(sign * b.mean()));
        class(a).cmp(&class(b)).then(scores).then(a.number.cmp(&b.number))
    });
    ranked
}

/// The leaderboard as JSON records.
pub fn records(ranked: &[&Trial]) -> Vec<Value> {
    let record = |(rank, trial): (usize, &&Trial)| {
        let scored = trial.failure().is_none();
        json!({
            "rank": rank + 1,
            "family": trial.family,
            "values": Value::Object(trial.values.clone()).to_string(),
            "mean": scored.then(|| trial.mean()),
            "std": scored.then(|| trial.deviation()),
            "folds": trial.scores().len(),
            "status": status(trial),
            "trial": trial.number,
        })
    };
    ranked.iter().enumerate().map(record).collect()
}

/// The leaderboard as a table.
pub fn table(ranked: &[&Trial]) -> Option<DataFrame> {
    let scored = |score: fn(&Trial) -> f64| {
        ranked.iter().map(|trial| trial.failure().is_none().then(|| score(trial))).collect::<Vec<Option<f64>>>()
    };
    df!(
        "rank" => (1..=ranked.len() as u32).collect::<Vec<_>>(),
        "family" => ranked.iter().map(|trial| trial.family.as_str()).collect::<Vec<_>>(),
        "values" => ranked.iter().map(|trial| Value::Object(trial.values.clone()).to_string()).collect::<Vec<_>>(),
        "mean" => scored(Trial::mean),
        "std" => scored(Trial::deviation),
        "folds" => ranked.iter().map(|trial| trial.scores().len() as u32).collect::<Vec<_>>(),
        "status" => ranked.iter().map(|trial| status(trial)).collect::<Vec<_>>(),
        "trial" => ranked.iter().map(|trial| trial.number as u32).collect::<Vec<_>>(),
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
