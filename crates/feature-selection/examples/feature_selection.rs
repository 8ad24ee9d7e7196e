//! Feature selection as a library: methods declared as in a pipeline choose by some rows, and the choice is applied to others.
//!
//! `cargo run --release -p retune-feature-selection --example feature_selection`
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::Path;

use retune_feature_selection::FeatureSelectionStage;
use retune_stage::{FitContext, Rows, Stage};
use retune_table::{ReadOptions, ingest, read_files};
use serde_json::{from_value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/breast_cancer.csv");
    // What a pipeline says under `data`, and after `with:` of a stage.
    let data = from_value(json!({ "path": file, "target": "diagnosis" }))?;
    let methods = from_value(json!({ "steps": [{ "correlation": { "max": 0.95 } }, { "f_test": { "keep": 4 } }] }))?;

    let (table, _) = ingest(&read_files(&[file], &ReadOptions::of(&data)?)?, &data)?;
    let (first, others): (Vec<usize>, Vec<usize>) = (0..table.n_rows()).partition(|row| row % 5 > 0);
    let train = Rows::Table(table.take(&first)?);
    let fit = FeatureSelectionStage(methods).fit(train, &FitContext::plain(1))?;
    let applied = fit.fitted.apply(Rows::Table(table.take(&others)?))?;

    let names: Vec<&str> = applied.schema().features().map(|field| field.name.as_str()).collect();
    println!("{} rows, features {}", applied.n_rows(), names.join(" "));
    Ok(())
}
