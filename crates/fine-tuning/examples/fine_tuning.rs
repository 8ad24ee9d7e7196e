//! Fine-tuning as a library: a model that was fitted on some rows is trained further on others, and the guard decides whether that is kept.
//!
//! `cargo run --release -p retune-fine-tuning --example fine_tuning`
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::Path;

use retune_estimators::{FitOptions, Model};
use retune_fine_tuning::FineTuningStage;
use retune_stage::{FitContext, Rows, Stage};
use retune_table::{ReadOptions, ingest, read_files};
use serde_json::{from_value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/breast_cancer.csv");
    // What a pipeline says under `data`, of a candidate, and after `with:` of a stage.
    let data = from_value(json!({ "path": file, "target": "diagnosis" }))?;
    let estimator = from_value(json!({ "gradient_boosting": { "trees": 10, "leaves": 5 } }))?;
    let tuning = from_value(json!({
        "base": "model",
        "boosting": { "more_trees": 100, "learning_rate": 0.1 },
        "guard": { "metric": "log_loss" },
    }))?;

    let (table, _) = ingest(&read_files(&[file], &ReadOptions::of(&data)?)?, &data)?;
    let rows = |of: [usize; 2]| {
        let rows: Vec<usize> = (0..table.n_rows()).filter(|row| of.contains(&(row % 5))).collect();
        table.take(&rows).map(Rows::Table)
    };
    let (old, new, validation) = (rows([0, 1])?, rows([2, 3])?, rows([4, 4])?);
    let plain = FitContext::plain(1);
    let (base, _) = Model::fit(&estimator, &old, &FitOptions::of(&plain))?;
    let context = FitContext { base: Some(&base), validation: Some(&validation), ..plain };
    let fit = FineTuningStage(tuning).fit(new, &context)?;

    println!("{}", fit.report.details["summary"].as_str().unwrap_or_default());
    Ok(())
}
