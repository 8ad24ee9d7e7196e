//! The job `profile`: a look at the columns of files, for `retune init`.

use indexmap::IndexMap;
use polars::prelude::DataType;
use retune_protocol::ProfileJob;
use retune_spec::data::TaskKind;
use retune_spec::{Data, Kind};
use retune_stage::{Result, Table, Target, Task};
use retune_table::{ReadOptions, ingest, profile as profile_table, read_files, split};
use serde_json::{Value, json};

use crate::serve::Output;

/// Looks at every column, and at what the split that is taken where none is written leaves to learn from.
pub fn profile(job: &ProfileJob) -> Result<Output> {
    let frame = read_files(&job.input, &ReadOptions::default())?;
    // What bytes are must be said; they are hardly anything but images.
    let bytes = frame.columns().iter().filter(|column| column.dtype() == &DataType::Binary);
    let images: IndexMap<&str, Kind> = bytes.map(|column| (column.name().as_str(), Kind::Image)).collect();
    let data: Data = serde_json::from_value(json!({ "path": "", "target": job.target, "columns": images }))?;
    let (table, report) = ingest(&frame, &data)?;
    Ok((
        IndexMap::new(),
        json!({
            "schema": table.schema(),
            "columns": profile_table(&table)?,
            "rows": table.n_rows(),
            "training": training(&table, &data)?,
            "notes": report.notes,
        }),
    ))
}

/// The number of training rows, and which label has the fewest of them; null where the rows are too few to be divided.
fn training(table: &Table, data: &Data) -> Result<Value> {
    let task = table.schema().task.as_ref();
    let declared = data.split_for(task.map_or(TaskKind::Regression, Task::kind));
    // How many rows of a label go where does not depend on the seed.
    let Ok(parts) = split(table, &declared, 0) else { return Ok(Value::Null) };
    let target = table.target()?.take(&parts.train);
    let rarest = match (&target, task) {
        (Target::Classes { codes, n_classes }, Some(Task::Classification { labels })) => {
            let mut counts = vec![0_usize; *n_classes];
            codes.iter().for_each(|&code| counts[code as usize] += 1);
            labels.iter().zip(counts).min_by_key(|(_, count)| *count)
        }
        _ => None,
    };
    let rarest = rarest.map(|(label, rows)| json!({ "label": label, "rows": rows }));
    Ok(json!({ "rows": target.len(), "rarest": rarest }))
}
