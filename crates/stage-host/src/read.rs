//! The job `read`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;
use retune_protocol::{IMAGE_PATHS, IMAGE_PATHS_FILE, LEVELS, LEVELS_FILE, Level, PROFILE, PROFILE_FILE, ReadJob};
use retune_spec::Data;
use retune_spec::data::TaskKind;
use retune_stage::{PIECE_ROWS, Progress, Result, Rows, Schema, Seed, SourcePieces, StageError, Table, Task};
use retune_store::Store;
use retune_table::{ConformFiles, Files, IngestFiles, Kind, Parts, ReadOptions, ingest, ingest_like, profile, split};
use serde_json::{Value, json};

use crate::objects::{Objects, RowsWriter, Sets, is_large};
use crate::serve::Output;

/// Training rows that are looked at for the report.
const PROFILED_ROWS: usize = 50_000;

/// Reads the files, gives columns roles and kinds, and divides the rows. Files that are large are never in memory as a whole.
pub fn read(job: &ReadJob, store: &Store, objects: &mut Objects, progress: &dyn Progress) -> Result<Output> {
    progress.update("reading", 0, None);
    let missing = || StageError::data("`data` names neither `path` nor `train`");
    let is_whole = job.files.contains_key("all");
    let paths = job.files.get(if is_whole { "all" } else { "train" }).ok_or_else(missing)?;
    let mut rows = RowsWriter::new(store, progress)?;
    let divide = |table: &Table| if is_whole { divide(table, job) } else { Ok(vec![("train".to_owned(), all(table))]) };
    let files = Files::open(paths, &ReadOptions::of(&job.data)?)?;
    let (schema, report) = if is_large(files.n_rows(), files.head().width()) {
        let files = IngestFiles::new(&files, &job.data)?;
        progress.check_cancelled()?;
        let sets = divide(files.known())?;
        rows.write_files(files, sets)?
    } else {
        let (table, report) = ingest(&files.frame()?, &job.data)?;
        for (set, indices) in divide(&table)? {
            let part = if indices.len() == table.n_rows() { table.clone() } else { table.take(&indices)? };
            rows.write(&set, Rows::Table(part))?;
        }
        (table.schema().clone(), report)
    };
    drop(files);
    for (set, files) in job.files.iter().filter(|(set, _)| !matches!(set.as_str(), "all" | "train")) {
        progress.check_cancelled()?;
        let further = further(files, &job.data, &schema).and_then(|further| rows.write(set, further));
        further.map_err(|error| error.within(set))?;
    }
    for note in std::iter::once(&report.task).chain(&report.notes) {
        progress.message(Level::Info, note);
    }
    let counts = rows.counts();
    let parts: Vec<String> = counts.iter().map(|(set, n)| format!("{n} {set}")).collect();
    let features = schema.features().count();
    let summary = format!("{} rows ({}), {features} features", counts.values().sum::<usize>(), parts.join(", "));
    let result = json!({ "summary": summary, "rows": counts, "rows_read": report.rows_read, "rows_dropped": report.rows_dropped, "schema": schema });
    let mut published = IndexMap::new();
    let rows = objects.publish(store, rows)?;
    published.insert("rows".to_owned(), rows);
    let levels = levels(objects.rows(store, &rows)?.get("train"))?;
    if !levels.is_empty() {
        let writer = store.writer()?;
        writer.write_json(LEVELS_FILE, &levels)?;
        published.insert(LEVELS.to_owned(), store.publish(writer, LEVELS, 1, json!({}))?);
    }
    if let Some(train) = objects.rows(store, &rows)?.get("train") {
        let writer = store.writer()?;
        writer.write_json(PROFILE_FILE, &profile_of(train)?)?;
        published.insert(PROFILE.to_owned(), store.publish(writer, PROFILE, 1, json!({}))?);
    }
    let images: Vec<String> =
        schema.features().filter(|field| field.kind == Kind::Image).map(|field| field.name.clone()).collect();
    let paths = if images.is_empty() { BTreeSet::new() } else { image_paths(&images, &*objects.rows(store, &rows)?)? };
    if !paths.is_empty() {
        let writer = store.writer()?;
        writer.write_json(IMAGE_PATHS_FILE, &paths)?;
        published.insert(IMAGE_PATHS.to_owned(), store.publish(writer, IMAGE_PATHS, 1, json!({}))?);
    }
    Ok((published, result))
}

/// Words of a column are kept up to so many.
const MOST_LEVELS: usize = 1000;

/// The words of each categorical column of the training rows, sorted; a column of very many is left out. Whoever applies the bundle can tell by them what is new.
fn levels(train: Option<&Rows>) -> Result<IndexMap<String, Vec<String>>> {
    let Some(train) = train else { return Ok(IndexMap::new()) };
    let fields = train.schema().features().filter(|field| field.kind == Kind::Categorical);
    let names: Vec<String> = fields.map(|field| field.name.clone()).collect();
    let mut found: Vec<Option<BTreeSet<String>>> = names.iter().map(|_| Some(BTreeSet::new())).collect();
    let mut add = |table: &Table| -> Result<()> {
        for (name, found) in names.iter().zip(&mut found) {
            let Some(words) = found else { continue };
            for word in table.column(name)?.str()?.iter().flatten() {
                if !words.contains(word) {
                    words.insert(word.to_owned());
                }
            }
            if words.len() > MOST_LEVELS {
                *found = None;
            }
        }
        Ok(())
    };
    match train {
        Rows::Table(table) => add(table)?,
        Rows::Pieces(pieces) => {
            (0..pieces.n_pieces()).try_for_each(|index| add(&pieces.piece(index, Some(&names))?))?;
        }
        Rows::Tensors(_) => {}
    }
    let known = names.into_iter().zip(found).filter_map(|(name, words)| Some((name, words?.into_iter().collect())));
    Ok(known.collect())
}

/// What is in the columns of the training rows. Of many rows so many are looked at, evenly spread; of rows that are read by pieces, whole pieces.
fn profile_of(train: &Rows) -> Result<Value> {
    let n_rows = train.n_rows();
    let spread = |n: usize, most: usize| -> Vec<usize> {
        let shown = n.min(most.max(1));
        (0..shown).map(|place| place * n / shown).collect()
    };
    let table = match train {
        Rows::Table(table) if n_rows <= PROFILED_ROWS => table.clone(),
        Rows::Table(table) => table.take(&spread(n_rows, PROFILED_ROWS))?,
        Rows::Pieces(pieces) => {
            let chosen = spread(pieces.n_pieces(), PROFILED_ROWS.div_ceil(PIECE_ROWS));
            let chosen: Vec<Table> =
                chosen.into_iter().map(|index| pieces.piece(index, None)).collect::<Result<_>>()?;
            Table::concat(&chosen, pieces.schema())?
        }
        Rows::Tensors(_) => return Ok(Value::Null),
    };
    Ok(json!({ "rows": n_rows, "looked_at": table.n_rows(), "columns": profile(&table)? }))
}

/// The paths in columns of images: the rows hold them in place of what is in the files.
fn image_paths(columns: &[String], sets: &Sets) -> Result<BTreeSet<String>> {
    let mut paths = BTreeSet::new();
    let mut add = |table: &Table| -> Result<()> {
        for column in columns {
            if let Ok(column) = table.column(column)?.str() {
                paths.extend(column.iter().flatten().map(str::to_owned));
            }
        }
        Ok(())
    };
    for rows in sets.values() {
        match rows {
            Rows::Table(table) => add(table)?,
            Rows::Pieces(pieces) => {
                (0..pieces.n_pieces()).try_for_each(|index| add(&pieces.piece(index, Some(columns))?))?;
            }
            Rows::Tensors(_) => {}
        }
    }
    Ok(paths)
}

/// A set that has files of its own, bound to the columns of the training rows.
fn further(paths: &[PathBuf], data: &Data, schema: &Schema) -> Result<Rows> {
    let files = Files::open(paths, &ReadOptions::of(data)?.like(schema))?;
    if is_large(files.n_rows(), files.head().width()) {
        return Ok(Rows::Pieces(Arc::new(SourcePieces(ConformFiles::like(files, data, schema)?))));
    }
    Ok(Rows::Table(ingest_like(&files.frame()?, data, schema)?.0))
}

fn all(table: &Table) -> Vec<usize> {
    (0..table.n_rows()).collect()
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
