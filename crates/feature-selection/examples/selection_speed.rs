//! Fits a feature selection on the rows of a file: `selection_speed STEPS.json ROWS TARGET [REPEATS]`. Prints the median seconds, without those of reading, for
//! `just bench feature-selection`. The target is labels where it is text; every other column is a feature.
#![allow(clippy::print_stdout)]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use polars::prelude::{Column, DataType, IntoColumn, UInt32Chunked};
use retune_feature_selection::FeatureSelectionStage;
use retune_stage::{Field, FitContext, Kind, Role, Rows, Schema, Stage, Table, Task};
use retune_table::{ReadOptions, read_files};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, steps, rows, target, rest @ ..] = arguments.as_slice() else {
        return Err("selection_speed STEPS.json ROWS TARGET [REPEATS]".into());
    };
    let repeats: usize = rest.first().map_or(Ok(1), |repeats| repeats.parse())?;
    let stage = FeatureSelectionStage(serde_json::from_str(&std::fs::read_to_string(steps)?)?);
    let table = table(&PathBuf::from(rows), target)?;
    let (mut seconds, mut n_kept) = (Vec::new(), 0);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let context = FitContext { threads, ..FitContext::plain(1) };
    for _ in 0..repeats.max(1) {
        let start = Instant::now();
        let fit = stage.fit(Rows::Table(table.clone()), &context)?;
        seconds.push(start.elapsed().as_secs_f64());
        n_kept = fit.train.schema().features().count();
    }
    seconds.sort_by(f64::total_cmp);
    let (rows, columns) = (table.n_rows(), table.schema().features().count());
    let seconds = seconds[seconds.len() / 2];
    println!("{}", serde_json::json!({ "seconds": seconds, "rows": rows, "columns": columns, "kept": n_kept }));
    Ok(())
}

fn table(path: &PathBuf, target: &str) -> Result<Table, Box<dyn std::error::Error>> {
    let mut frame = read_files(std::slice::from_ref(path), &ReadOptions::default())?;
    let field = |column: &Column| {
        let kind = match column.dtype() {
            DataType::String => Kind::Categorical,
            DataType::Boolean => Kind::Boolean,
            _ => Kind::Numeric,
        };
        let field = Field::feature(column.name().as_str(), kind);
        if field.name == target { Field { role: Role::Target, ..field } } else { field }
    };
    let mut fields: Vec<Field> = frame.columns().iter().map(field).collect();
    let task = match frame.column(target)?.str() {
        Ok(values) => {
            let labels: BTreeSet<&str> = values.iter().flatten().collect();
            Task::Classification { labels: labels.into_iter().map(str::to_owned).collect() }
        }
        Err(_) => Task::Regression,
    };
    let numbers = UInt32Chunked::from_vec(Schema::ROW.into(), (1..=frame.height() as u32).collect());
    frame.insert_column(0, numbers.into_column())?;
    fields.insert(0, Field { name: Schema::ROW.to_owned(), role: Role::RowNumber, kind: Kind::Numeric, source: None });
    Ok(Table::new(frame, Schema { fields, task: Some(task) })?)
}
