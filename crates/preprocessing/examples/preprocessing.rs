//! Preprocessing as a library: steps declared as in a pipeline are learned from some rows and applied to others.
//!
//! `cargo run --release -p retune-preprocessing --example preprocessing`
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::Path;

use retune_preprocessing::PreprocessingStage;
use retune_stage::{FitContext, Rows, Stage};
use retune_table::{ReadOptions, ingest, read_files};
use serde_json::{from_value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/breast_cancer.csv");
    // What a pipeline says under `data`, and after `with:` of a stage.
    let data = from_value(json!({ "path": file, "target": "diagnosis" }))?;
    let steps = from_value(json!({ "steps": [{ "standard_scale": {} }, { "pca": { "components": 5 } }] }))?;

    let (table, _) = ingest(&read_files(&[file], &ReadOptions::of(&data)?)?, &data)?;
    let (first, others): (Vec<usize>, Vec<usize>) = (0..table.n_rows()).partition(|row| row % 5 > 0);
    let train = Rows::Table(table.take(&first)?);
    let fit = PreprocessingStage(steps).fit(train, &FitContext::plain(1))?;
    let applied = fit.fitted.apply(Rows::Table(table.take(&others)?))?;

    let names: Vec<&str> = applied.schema().features().map(|field| field.name.as_str()).collect();
    println!("{} rows, features {}", applied.n_rows(), names.join(" "));
    for learned in &fit.report.learned {
        println!("{}: {}", learned.step, learned.text);
    }
    Ok(())
}
