//! The job `read`.

use std::path::PathBuf;

use indexmap::IndexMap;
use retune_protocol::{Level, ReadJob};
use retune_spec::Data;
use retune_spec::data::TaskKind;
use retune_stage::{Progress, Result, Rows, Seed, StageError, Table, Task};
use retune_store::Store;
use retune_table::{IngestReport, Parts, ReadOptions, ingest, ingest_like, read_files, split};
use serde_json::json;

use crate::objects::{Objects, Sets};
use crate::serve::Output;

/// Reads the files, gives columns roles and kinds, and divides the rows.
pub fn read(job: &ReadJob, store: &Store, objects: &mut Objects, progress: &dyn Progress) -> Result<Output> {
    progress.update("reading", 0, None);
    let mut sets = Sets::new();
    let (whole, report) = match job.files.get("all") {
        Some(files) => {
            let (table, report) = load(files, &job.data, None)?;
            for (set, indices) in divide(&table, job)? {
                sets.insert(set, Rows::Table(table.take(&indices)?));
            }
            (table, report)
        }
        None => {
            let files =
                job.files.get("train").ok_or_else(|| StageError::data("`data` names neither `path` nor `train`"))?;
            let (table, report) = load(files, &job.data, None)?;
            sets.insert("train".to_owned(), Rows::Table(table.clone()));
            (table, report)
        }
    };
    for (set, files) in job.files.iter().filter(|(set, _)| !matches!(set.as_str(), "all" | "train")) {
        progress.check_cancelled()?;
        let (table, _) = load(files, &job.data, Some(&whole)).map_err(|error| error.within(set))?;
        sets.insert(set.clone(), Rows::Table(table));
    }
    for note in std::iter::once(&report.task).chain(&report.notes) {
        progress.message(Level::Info, note);
    }
    let counts: IndexMap<&String, usize> = sets.iter().map(|(set, rows)| (set, rows.n_rows())).collect();
    let parts: Vec<String> = counts.iter().map(|(set, n)| format!("{n} {set}")).collect();
    let features = whole.schema().features().count();
    let summary = format!("{} rows ({}), {features} features", counts.values().sum::<usize>(), parts.join(", "));
    let result = json!({ "summary": summary, "rows": counts, "rows_read": report.rows_read, "rows_dropped": report.rows_dropped, "schema": whole.schema() });
    let mut published = IndexMap::new();
    published.insert("rows".to_owned(), objects.publish_rows(store, sets)?);
    Ok((published, result))
}

fn load(files: &[PathBuf], data: &Data, like: Option<&Table>) -> Result<(Table, IngestReport)> {
    let options = ReadOptions::of(data)?;
    Ok(match like {
        None => ingest(&read_files(files, &options)?, data)?,
        Some(train) => ingest_like(&read_files(files, &options.like(train.schema()))?, data, train.schema())?,
    })
}

fn divide(table: &Table, job: &ReadJob) -> Result<Vec<(String, Vec<usize>)>> {
    let declared = job.data.split_for(table.schema().task.as_ref().map_or(TaskKind::Regression, Task::kind));
    let Parts { train, validation, test } = split(table, &declared, Seed(job.seed).derive("split").0)?;
    let parts = [("train", train), ("validation", validation), ("test", test)];
    Ok(parts
        .into_iter()
        .filter(|(set, rows)| *set == "train" || !rows.is_empty())
        .map(|(set, rows)| (set.to_owned(), rows))
        .collect())
}
