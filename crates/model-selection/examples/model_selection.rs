//! Model selection as a library: candidates declared as in a pipeline are searched with folds, and the winner predicts other rows.
//!
//! `cargo run --release -p retune-model-selection --example model_selection`
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::Path;

use retune_model_selection::ModelSelectionStage;
use retune_stage::{FitContext, Rows, Seed, Stage, Upstream};
use retune_table::{ReadOptions, ingest, read_files};
use serde_json::{from_value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/breast_cancer.csv");
    // What a pipeline says under `data`, and after `with:` of a stage.
    let data = from_value(json!({ "path": file, "target": "diagnosis" }))?;
    let search = from_value(json!({
        "metric": "roc_auc",
        "folds": 5,
        "search": { "sampler": "tpe", "trials": 8 },
        "candidates": [
            { "gaussian_naive_bayes": {} },
            { "gradient_boosting": { "trees": 50, "leaves": { "int": [3, 15] } } },
        ],
    }))?;

    let (table, _) = ingest(&read_files(&[file], &ReadOptions::of(&data)?)?, &data)?;
    let (first, others): (Vec<usize>, Vec<usize>) = (0..table.n_rows()).partition(|row| row % 5 > 0);
    let train = Rows::Table(table.take(&first)?);
    // Stages before the model would be fitted anew in each fold; here there are none.
    let upstream = Upstream::none(train.clone(), Seed(1));
    let fit =
        ModelSelectionStage(search).fit(train, &FitContext { upstream: Some(&upstream), ..FitContext::plain(1) })?;
    let predictions = fit.fitted.apply(Rows::Table(table.take(&others)?))?;

    println!("{}", fit.report.details["summary"].as_str().unwrap_or_default());
    let names: Vec<&str> = predictions.schema().fields.iter().map(|field| field.name.as_str()).collect();
    println!("{} rows, columns {}", predictions.n_rows(), names.join(" "));
    Ok(())
}
