//! The jobs `apply` and `stream`: rows through a bundle or a fitted stage, part by part, in their order, whatever their number.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;

use indexmap::IndexMap;
use polars::prelude::*;
use rayon::prelude::*;
use retune_protocol::{ApplyJob, ErrorClass, INPUT_FD, Level, OUTPUT_FD, StackJob, StreamJob};
use retune_spec::batch::{BadRows, Handling};
use retune_spec::data::Format;
use retune_stage::{Progress, Result, Rows, Schema, StageError, Table, TensorRows, available_memory};
use retune_table::{
    ArrowStream, ArrowStreamWriter, BadRow, Binding, Files, OutputFile, PIECE_ROWS, ReadOptions, TableError, format_of,
    in_order,
};
use serde_json::json;

use crate::bundle::{Bundle, OpenBundle};
use crate::serve::Output;

/// The column of a row's number in its file, where it is asked for.
const ROW: &str = "row";

/// Rows of a stream that are in hand at once.
const IN_HAND: usize = 8 * PIECE_ROWS;

/// Takes files through the artifact and writes what comes out.
pub fn apply(job: &ApplyJob, open: &mut OpenBundle, progress: &dyn Progress) -> Result<Output> {
    refuse_overwriting(&job.artifact, &job.input, &job.output)?;
    let bundle = open.get(&job.artifact)?;
    progress.update("reading", 0, None);
    let files = bundle.files(&job.input)?;
    let (input, n_rows) = (bundle.input()?, files.n_rows());
    // A model's predictions do not carry the target; to see whether it is sound in all rows takes memory for all of it.
    let has_target = !bundle.ends_in_model() && Binding::has_target(&files, input)?;
    let binding = Binding::new(files.head(), input, bundle.levels(), job.handling, has_target)?;
    let columns: Vec<String> = binding.columns().into_iter().filter(|name| files.head().column(name).is_ok()).collect();
    let escapes_formulas =
        job.handling.escape_formulas && format_of(&job.output, None).is_ok_and(|of| of == Format::Csv);
    let applied = Applied { bundle: &bundle, binding, handling: job.handling, escapes_formulas };
    let mut quarantine = Quarantine::new(job.quarantine.as_deref(), &job.name);
    let mut counts = Counts::default();
    if bundle.is_row_wise() {
        let mut file = OutputFile::create(&job.output)?;
        let make = |chunk: usize| {
            progress.check_cancelled()?;
            applied.parts(&files.chunk(chunk, Some(&columns))?, files.first_row(chunk))
        };
        let take = |parts: Vec<Part>| {
            progress.check_cancelled()?;
            for part in &parts {
                counts.add(part);
                quarantine.push(&part.bad)?;
                file.push_frame(&part.frame)?;
            }
            progress.update("applying", counts.rows_in as u64, Some(n_rows as u64));
            Ok(())
        };
        in_order(files.n_chunks(), make, take)?;
        counts.check(n_rows)?;
        // In this order: whoever finds the result finds the rows that are not in it.
        quarantine.finish()?;
        file.finish()?;
    } else {
        refuse_too_many(n_rows, columns.len())?;
        let whole = applied.whole(&files.columns(&columns)?)?;
        progress.check_cancelled()?;
        let bad = match &whole {
            Whole::Table(part) => {
                counts.add(part);
                &part.bad
            }
            Whole::Tensors(tensors, bad) => {
                counts = Counts { rows_in: n_rows, rows_out: tensors.n_rows(), quarantined: bad.len() };
                bad
            }
        };
        quarantine.push(bad)?;
        counts.check(n_rows)?;
        quarantine.finish()?;
        match &whole {
            Whole::Table(part) => {
                let mut file = OutputFile::create(&job.output)?;
                file.push_frame(&part.frame)?;
                file.finish()?;
            }
            Whole::Tensors(tensors, _) => tensors.save(&job.output)?,
        }
    }
    Ok(counts.told(progress))
}

/// Takes record batches from one pipe through the artifact to another.
pub fn stream(job: &StreamJob, open: &mut OpenBundle, progress: &dyn Progress) -> Result<Output> {
    let bundle = open.get(&job.artifact)?;
    if !bundle.is_row_wise() {
        return Err(StageError::data("a step of this model needs all rows at once, which a stream does not have")
            .help("write the rows to a file, and name it and a file for the results: `--input FILE --output FILE`"));
    }
    let source = ArrowStream::open(File::open(format!("/dev/fd/{INPUT_FD}"))?)?;
    let target = OpenOptions::new().write(true).open(format!("/dev/fd/{OUTPUT_FD}"))?;
    let head = source.head().clone();
    // Whether a target is sound in all rows is not known before the last has come.
    let binding = Binding::new(&head, bundle.input()?, bundle.levels(), job.handling, false)?;
    let columns: Vec<String> = binding.columns().into_iter().filter(|name| head.column(name).is_ok()).collect();
    let applied = Applied { bundle: &bundle, binding, handling: job.handling, escapes_formulas: false };
    let mut writer = ArrowStreamWriter::new(target);
    let mut quarantine = Quarantine::new(job.quarantine.as_deref(), "-");
    let mut counts = Counts::default();
    // What comes out of no rows tells the columns.
    applied.parts(&head.select(&columns)?, 0)?.iter().try_for_each(|part| writer.push(&part.frame))?;
    let (sender, receiver) = sync_channel::<Result<DataFrame, TableError>>(4);
    // Reads ahead while parts are applied. Not waited for: where this ends early, it may still wait for a batch.
    std::thread::spawn(move || {
        for batch in source {
            let is_over = batch.is_err();
            if sender.send(batch).is_err() || is_over {
                break;
            }
        }
    });
    while let Ok(first) = receiver.recv() {
        let mut batches = vec![first?];
        while batches.iter().map(DataFrame::height).sum::<usize>() < IN_HAND
            && let Ok(next) = receiver.try_recv()
        {
            batches.push(next?);
        }
        progress.check_cancelled()?;
        let starts = batches.iter().scan(counts.rows_in, |start, batch| {
            *start += batch.height();
            Some(*start - batch.height())
        });
        let starts: Vec<usize> = starts.collect();
        let parts = batches.par_iter().zip(starts);
        let parts = parts.map(|(batch, start)| applied.parts(&batch.select(&columns)?, start));
        for part in parts.collect::<Result<Vec<_>>>()?.into_iter().flatten() {
            counts.add(&part);
            quarantine.push(&part.bad)?;
            writer.push(&part.frame)?;
        }
        progress.update("applying", counts.rows_in as u64, None);
    }
    quarantine.finish()?;
    writer.finish()?;
    Ok(counts.told(progress))
}

/// Puts the rows of files below one another.
pub fn stack(job: &StackJob) -> Result<Output> {
    let files = Files::open(&job.input, &ReadOptions::default())?;
    let mut file = OutputFile::create(&job.output)?;
    in_order(files.n_chunks(), |chunk| files.chunk(chunk, None), |frame| file.push_frame(&frame))?;
    file.finish()?;
    Ok((IndexMap::new(), json!({ "rows": files.n_rows() })))
}

/// What became of some rows.
struct Part {
    frame: DataFrame,
    bad: Vec<BadRow>,
    rows_in: usize,
}

/// What became of all rows at once.
enum Whole {
    Table(Part),
    Tensors(std::sync::Arc<dyn TensorRows>, Vec<BadRow>),
}

/// How rows are applied.
struct Applied<'a> {
    bundle: &'a Bundle,
    binding: Binding<'a>,
    handling: Handling,
    escapes_formulas: bool,
}

impl Applied<'_> {
    /// Rows of a frame, of which the first has the number `first_row`, counted from 0: in parts, on all cores.
    fn parts(&self, frame: &DataFrame, first_row: usize) -> Result<Vec<Part>> {
        let starts: Vec<usize> = (0..frame.height().max(1)).step_by(PIECE_ROWS).collect();
        let part = |&start: &usize| self.part(&frame.slice(start as i64, PIECE_ROWS), first_row + start);
        starts.par_iter().map(part).collect()
    }

    /// Rows that do not depend on each other. Those that the stages fail on by themselves are bad rows.
    fn part(&self, frame: &DataFrame, first_row: usize) -> Result<Part> {
        let bound = self.binding.bind(frame, first_row)?;
        let (table, extra, mut bad) = (bound.table, bound.extra, bound.bad);
        match self.apply(&table) {
            Ok(applied) => self.finish(frame.height(), applied, extra, table.row_numbers(), bad),
            Err(error) if self.handling.bad_rows == BadRows::Quarantine && error.class == ErrorClass::Data => {
                let numbers = table.row_numbers();
                let failing = self.failing(&table, &(0..table.n_rows()).collect::<Vec<_>>())?;
                let is_sound = |row: &usize| failing.binary_search_by_key(row, |(failing, _)| *failing).is_err();
                let sound: Vec<usize> = (0..table.n_rows()).filter(is_sound).collect();
                // Where nothing is left, it is no row that is to blame.
                if failing.is_empty() || sound.is_empty() && table.n_rows() > 1 {
                    return Err(error);
                }
                let rows = failing.into_iter();
                bad.extend(rows.map(|(row, reason)| BadRow { row: numbers[row], column: None, reason }));
                bad.sort_by_key(|bad| bad.row);
                let places: IdxCa = sound.iter().map(|&row| Some(row as IdxSize)).collect();
                let applied = self.apply(&table.take(&sound)?)?;
                let numbers = sound.iter().map(|&row| numbers[row]).collect();
                self.finish(frame.height(), applied, extra.take(&places)?, numbers, bad)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes rows through the stages.
    fn apply(&self, table: &Table) -> Result<DataFrame> {
        let rows = self.bundle.chain().apply(Rows::Table(table.clone()))?.gather()?;
        Ok(rows.table()?.frame().clone())
    }

    /// Those of the rows that the stages fail on by themselves, and why: halves are tried until single rows are left.
    fn failing(&self, table: &Table, rows: &[usize]) -> Result<Vec<(usize, String)>> {
        match self.apply(&table.take(rows)?) {
            Ok(_) => Ok(Vec::new()),
            Err(error) if error.class != ErrorClass::Data => Err(error),
            Err(error) if rows.len() < 2 => Ok(rows.iter().map(|&row| (row, error.message.clone())).collect()),
            Err(_) => {
                let (before, after) = rows.split_at(rows.len() / 2);
                let mut failing = self.failing(table, before)?;
                failing.extend(self.failing(table, after)?);
                Ok(failing)
            }
        }
    }

    /// All rows at once, for stages that need them so.
    fn whole(&self, frame: &DataFrame) -> Result<Whole> {
        let bound = self.binding.bind(frame, 0)?;
        let numbers = bound.table.row_numbers();
        Ok(match self.bundle.chain().apply(Rows::Table(bound.table))?.gather()? {
            Rows::Tensors(tensors) => Whole::Tensors(tensors, bound.bad),
            rows => {
                let applied = rows.table()?.frame().clone();
                Whole::Table(self.finish(frame.height(), applied, bound.extra, numbers, bound.bad)?)
            }
        })
    }

    /// Puts row numbers in front and columns that are kept behind.
    fn finish(
        &self,
        rows_in: usize,
        applied: DataFrame,
        extra: DataFrame,
        numbers: Vec<u32>,
        bad: Vec<BadRow>,
    ) -> Result<Part> {
        let height = applied.height();
        if height != numbers.len() {
            return Err(StageError::failed(format!("{} rows went in and {height} came out", numbers.len())));
        }
        let is_own = |column: &&Column| column.name() != Schema::ROW;
        let mut columns: Vec<Column> = applied.columns().iter().filter(is_own).cloned().collect();
        if self.handling.row_numbers {
            columns.insert(0, Column::new(ROW.into(), numbers));
        }
        columns.extend(extra.columns().iter().cloned());
        let mut seen = std::collections::HashSet::new();
        if let Some(twice) = columns.iter().find(|column| !seen.insert(column.name().clone())) {
            return Err(StageError::data(format!("the result would have two columns `{}`", twice.name()))
                .help("give the one in the file another name"));
        }
        if self.escapes_formulas {
            columns.iter_mut().try_for_each(escape_formulas)?;
        }
        Ok(Part { frame: DataFrame::new(height, columns)?, bad, rows_in })
    }
}

/// Puts an apostrophe before text that a spreadsheet would take for a formula (OWASP, CSV injection).
fn escape_formulas(column: &mut Column) -> Result<()> {
    let Ok(text) = column.str() else { return Ok(()) };
    let is_formula = |value: &str| value.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if text.iter().flatten().any(is_formula) {
        let escaped = text.iter().map(|value| {
            value.map(|value| if is_formula(value) { Cow::Owned(format!("'{value}")) } else { Cow::Borrowed(value) })
        });
        *column = StringChunked::from_iter_options(column.name().clone(), escaped).into_column();
    }
    Ok(())
}

/// Rows in = rows out + rows set aside.
#[derive(Default)]
struct Counts {
    rows_in: usize,
    rows_out: usize,
    quarantined: usize,
}

impl Counts {
    fn add(&mut self, part: &Part) {
        self.rows_in += part.rows_in;
        self.rows_out += part.frame.height();
        self.quarantined += part.bad.len();
    }

    fn check(&self, n_rows: usize) -> Result<()> {
        let Self { rows_in, rows_out, quarantined } = self;
        if *rows_in == n_rows && rows_out + quarantined == n_rows {
            return Ok(());
        }
        Err(StageError::failed(format!("{n_rows} rows went in, {rows_out} came out and {quarantined} were set aside")))
    }

    fn told(&self, progress: &dyn Progress) -> Output {
        let Self { rows_in, rows_out, quarantined } = self;
        let aside = if *quarantined > 0 { format!(", {quarantined} set aside") } else { String::new() };
        progress.message(Level::Info, &format!("{rows_in} rows in, {rows_out} rows out{aside}"));
        let result = json!({ "rows": rows_in, "rows_out": rows_out, "quarantined": quarantined });
        (IndexMap::new(), result)
    }
}

/// The file of the rows that were set aside; there is one only where there are such rows.
struct Quarantine<'a> {
    path: Option<&'a Path>,
    source: &'a str,
    file: Option<OutputFile>,
}

impl<'a> Quarantine<'a> {
    fn new(path: Option<&'a Path>, source: &'a str) -> Self {
        Self { path, source, file: None }
    }

    fn push(&mut self, bad: &[BadRow]) -> Result<()> {
        let Some(first) = bad.first() else { return Ok(()) };
        let Some(path) = self.path else {
            return Err(StageError::data(format!("row {}: {}", first.row, first.reason))
                .help("name a file that such rows are listed in: `--quarantine FILE`"));
        };
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(OutputFile::create(path)?),
        };
        let table = df!(
            "file" => vec![self.source; bad.len()],
            "row" => bad.iter().map(|bad| bad.row).collect::<Vec<_>>(),
            "column" => bad.iter().map(|bad| bad.column.as_deref()).collect::<Vec<_>>(),
            "reason" => bad.iter().map(|bad| bad.reason.as_str()).collect::<Vec<_>>(),
        )?;
        Ok(file.push_frame(&table)?)
    }

    /// Completes the file; without bad rows, one of an earlier time goes.
    fn finish(self) -> Result<()> {
        match (self.file, self.path) {
            (Some(file), _) => Ok(file.finish()?),
            (None, Some(path)) if path.exists() => Ok(std::fs::remove_file(path)?),
            (None, _) => Ok(()),
        }
    }
}

fn refuse_too_many(n_rows: usize, n_columns: usize) -> Result<()> {
    let bytes = n_rows.saturating_mul(n_columns).saturating_mul(size_of::<f64>()) as u64;
    match available_memory() {
        Some(available) if bytes > available => Err(StageError::data(format!(
            "a step needs all {n_rows} rows at once, which do not fit into the {} GiB of memory that are free",
            available >> 30
        ))
        .help("divide the file into several")),
        _ => Ok(()),
    }
}

/// The output must be neither an input nor a part of the artifact.
pub fn refuse_overwriting(artifact: &Path, input: &[PathBuf], output: &Path) -> Result<()> {
    let Ok(found) = output.canonicalize() else { return Ok(()) };
    let is_input = input.iter().any(|input| input.canonicalize().is_ok_and(|input| input == found));
    let is_inside = artifact.canonicalize().is_ok_and(|artifact| found.starts_with(artifact));
    if is_input || is_inside {
        let what = if is_input { "would replace its own input" } else { "lies inside the model" };
        return Err(
            StageError::data(format!("the output {} {what}", output.display())).help("name another output file")
        );
    }
    Ok(())
}
