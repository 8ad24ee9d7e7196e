//! Fits steps on the rows of a file and applies them to the same rows, in memory: `speed STEPS.json ROWS [REPEATS]`. Prints the median seconds of both,
//! without those of reading, for `just bench preprocessing`. Every column is a feature.
#![allow(clippy::print_stdout)]

use std::path::PathBuf;
use std::time::Instant;

use polars::prelude::IntoColumn;
use polars::prelude::{Column, DataType, UInt32Chunked};
use retune_preprocessing::PreprocessingStage;
use retune_stage::{Field, FitContext, Kind, Role, Rows, Schema, Stage, Table};
use retune_table::{ReadOptions, read_files};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, steps, rows, rest @ ..] = arguments.as_slice() else {
        return Err("speed STEPS.json ROWS [REPEATS]".into());
    };
    let repeats = rest.first().map_or(Ok(1), |repeats| repeats.parse())?;
    let stage = PreprocessingStage(serde_json::from_str(&std::fs::read_to_string(steps)?)?);
    let table = table(&PathBuf::from(rows))?;
    let (mut fits, mut applies) = (Vec::new(), Vec::new());
    let mut n_columns = 0;
    for _ in 0..repeats {
        let start = Instant::now();
        let fit = stage.fit(Rows::Table(table.clone()), &FitContext::plain(1))?;
        fits.push(start.elapsed().as_secs_f64());
        drop(fit.train);
        let start = Instant::now();
        let applied = fit.fitted.apply(Rows::Table(table.clone()))?;
        applies.push(start.elapsed().as_secs_f64());
        n_columns = applied.schema().features().count();
    }
    let [fit, apply] = [fits, applies].map(|mut seconds| {
        seconds.sort_by(f64::total_cmp);
        seconds[seconds.len() / 2]
    });
    let rows = table.n_rows();
    println!("{}", serde_json::json!({ "fit": fit, "apply": apply, "rows": rows, "columns": n_columns }));
    Ok(())
}

fn table(path: &PathBuf) -> Result<Table, Box<dyn std::error::Error>> {
    let mut frame = read_files(std::slice::from_ref(path), &ReadOptions::default())?;
    let kind = |column: &Column| match column.dtype() {
        DataType::String => Kind::Categorical,
        DataType::Boolean => Kind::Boolean,
        _ => Kind::Numeric,
    };
    let columns = frame.columns().iter();
    let mut fields: Vec<Field> = columns.map(|column| Field::feature(column.name().as_str(), kind(column))).collect();
    let numbers = UInt32Chunked::from_vec(Schema::ROW.into(), (1..=frame.height() as u32).collect());
    frame.insert_column(0, numbers.into_column())?;
    fields.insert(0, Field { name: Schema::ROW.to_owned(), role: Role::RowNumber, kind: Kind::Numeric, source: None });
    Ok(Table::new(frame, Schema { fields, task: None })?)
}
