//! Files that may be larger than memory on their way to tables, chunk by chunk, with the words and the bytes of those that are not.
//!
//! What only all rows tell is learned from few columns at a time. Where a chunk has a mistake, the whole column is read again and says it, so that row
//! numbers and counts are those of all rows.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use polars::prelude::*;
use retune_spec::Schema as Columns;
use retune_spec::data::Data;
use retune_spec::schema::{Field, Kind, Role};

use crate::conform::{bind, check_missing};
use crate::files::{Files, starts_of};
use crate::ingest::{
    IngestReport, check_names, check_weights, no_target, no_value, refuse_row_name, role_of, row_field,
    row_numbers_from, settle_all, with_target,
};
use crate::kinds::{SAMPLE, Words, nearly, refuse_infinities, settle, settle_some};
use crate::ordered::in_order;
use crate::write::IpcFile;
use crate::{Table, TableError, TargetPolicy};

/// Training files as [`crate::ingest`] turns them into a table, without the table.
pub struct IngestFiles<'a> {
    files: &'a Files,
    data: &'a Data,
    known: Table,
    report: IngestReport,
}

/// What a chunk tells of a column.
#[derive(Clone, Copy)]
struct Look {
    kind: Kind,
    present: usize,
    words: Words,
}

impl<'a> IngestFiles<'a> {
    /// Learns the task and which rows have a target. Of several mistakes in the files, another one may be told than [`crate::ingest`] would tell.
    pub fn new(files: &'a Files, data: &'a Data) -> Result<Self, TableError> {
        refuse_row_name(files.head())?;
        let names: Vec<&str> = files.head().get_column_names().into_iter().map(|name| name.as_str()).collect();
        check_names(&names, data)?;
        let decide = |name: &&&str| {
            let role = role_of(name, data);
            matches!(role, Some(Role::Target | Role::Weight | Role::Group | Role::Time | Role::Ignore))
        };
        let decide: Vec<String> = names.iter().filter(decide).map(|name| (*name).to_owned()).collect();
        let (known, report) = settle_all(&files.columns(&decide)?, data)?;
        Ok(Self { files, data, known, report })
    }

    /// The rows that have a target, with the columns that a split looks at.
    pub fn known(&self) -> &Table {
        &self.known
    }

    /// Writes rows to files as [`crate::write_ipc`] does: `sets` are the path of each file and its rows, as indices of [`IngestFiles::known`] in ascending
    /// order. Returns what the columns are and what the user may want to know. `go_on` is told how many rows were read so far, and ends the work by `false`.
    pub fn write(
        self,
        sets: Vec<(PathBuf, Vec<usize>)>,
        mut go_on: impl FnMut(usize) -> bool,
    ) -> Result<(Columns, IngestReport), TableError> {
        let Self { files, data, known, mut report } = self;
        let target = known.column(&data.target)?.clone();
        let task = known.schema().task.clone();
        let target_kind = known.schema().field(&data.target).map_or(Kind::Categorical, |field| field.kind);
        let numbers = known.frame().column(Columns::ROW)?.u32()?.rechunk().into_owned();
        drop(known);
        let numbers = numbers.cont_slice()?;
        let set_of = set_of(numbers.len(), &sets);
        let n_sets = sets.len();
        let begins: Vec<usize> = (0..=files.n_chunks())
            .map(|chunk| numbers.partition_point(|&number| (number as usize) <= files.first_row(chunk)))
            .collect();
        // The indices are not needed any more, and they are many.
        let paths = sets.into_iter().map(|(path, _)| path);
        let mut writers = paths.map(|path| IpcFile::create(&path)).collect::<Result<Vec<_>, _>>()?;
        let fields = files.head().columns().iter().filter_map(|column| {
            let name = column.name().as_str();
            Some(Field { name: name.to_owned(), role: role_of(name, data)?, kind: Kind::Numeric, source: None })
        });
        let mut fields: Vec<Field> = fields.collect();
        let mut looks: Vec<Look> = Vec::new();
        let make = |chunk: usize| {
            let (frame, looks) = settle_chunk(files, chunk, data, &fields)?;
            let (begin, end) = (begins[chunk], begins[chunk + 1]);
            let first = files.first_row(chunk);
            let mut frame = match end - begin == frame.height() {
                true => frame,
                false => {
                    let rows = numbers[begin..end].iter().map(|number| number - 1 - first as u32).collect();
                    frame.take(&IdxCa::from_vec("".into(), rows))?
                }
            };
            frame.with_column(target.slice(begin as i64, end - begin))?;
            let parts = divide(&frame, &set_of[begin..end], n_sets)?;
            Ok::<_, TableError>((parts, looks))
        };
        let mut n_chunks = 0;
        let take = |(parts, seen): (Vec<DataFrame>, Vec<Look>)| {
            n_chunks += 1;
            if !go_on(files.first_row(n_chunks)) {
                return Err(TableError::new("reading was stopped"));
            }
            for (writer, part) in writers.iter_mut().zip(parts) {
                writer.push(&part)?;
            }
            if looks.is_empty() {
                looks = seen;
            } else {
                for (look, seen) in looks.iter_mut().zip(seen) {
                    look.present += seen.present;
                    look.words.add(seen.words);
                }
            }
            Ok(())
        };
        in_order(files.n_chunks(), make, take)?;
        writers.into_iter().try_for_each(IpcFile::finish)?;
        for (field, look) in fields.iter_mut().zip(&looks) {
            let is_told = data.columns.contains_key(&field.name) || look.kind != Kind::Categorical;
            field.kind = match field.role {
                Role::Target => target_kind,
                _ if !is_told && look.words.are_many() && is_mostly_distinct(files, &field.name, look.present)? => {
                    Kind::Text
                }
                _ => look.kind,
            };
        }
        report.notes = notes(files, data, &fields, &looks)?;
        fields.insert(0, row_field());
        Ok((Columns { fields, task }, report))
    }
}

/// The set of each row as its index, where it is in one.
fn set_of(n_rows: usize, sets: &[(PathBuf, Vec<usize>)]) -> Vec<u8> {
    let mut set_of = vec![u8::MAX; n_rows];
    for (set, (_, rows)) in sets.iter().enumerate() {
        rows.iter().for_each(|&row| set_of[row] = set as u8);
    }
    set_of
}

/// The rows of each set.
fn divide(frame: &DataFrame, set_of: &[u8], n_sets: usize) -> Result<Vec<DataFrame>, TableError> {
    let part = |set: usize| {
        let rows: Vec<IdxSize> = (0..).zip(set_of).filter(|(_, of)| **of == set as u8).map(|(row, _)| row).collect();
        if rows.len() == frame.height() {
            return Ok(frame.clone());
        }
        Ok(frame.take(&IdxCa::from_vec("".into(), rows))?)
    };
    (0..n_sets).map(part).collect()
}

/// A chunk with row numbers in front and its columns as a table stores them.
fn settle_chunk(
    files: &Files,
    chunk: usize,
    data: &Data,
    fields: &[Field],
) -> Result<(DataFrame, Vec<Look>), TableError> {
    let frame = files.chunk(chunk, None)?;
    let mut columns = vec![row_numbers_from(files.first_row(chunk), frame.height())];
    let mut looks = Vec::with_capacity(fields.len());
    for field in fields {
        let column = frame.column(&field.name)?;
        let declared = data.columns.get(&field.name).copied();
        let learned = matches!(field.role, Role::Feature | Role::Target | Role::Weight);
        let settled = settle_some(column, declared, &frame).and_then(|(column, kind)| {
            if learned { refuse_infinities(&column, &frame).map(|()| (column, kind)) } else { Ok((column, kind)) }
        });
        let (column, kind) = settled.map_err(|error| {
            told_by_all(files, &field.name, error, |column, frame| {
                let (column, _) = settle(column, declared, frame)?;
                if learned { refuse_infinities(&column, frame) } else { Ok(()) }
            })
        })?;
        let is_strings = declared.is_none() && field.role != Role::Target && column.dtype().is_string();
        let words = if is_strings { Words::of(column.str()?) } else { Words::default() };
        looks.push(Look { kind, present: column.len() - column.null_count(), words });
        columns.push(column);
    }
    Ok((DataFrame::new(frame.height(), columns)?, looks))
}

/// What is wrong with a column, as all its rows tell it; `error` is what some of them told.
fn told_by_all(
    files: &Files,
    name: &str,
    error: TableError,
    check: impl FnOnce(&Column, &DataFrame) -> Result<(), TableError>,
) -> TableError {
    let whole = files.columns(&[name.to_owned()]);
    let checked = whole.and_then(|frame| check(frame.column(name)?, &frame));
    checked.err().unwrap_or(error)
}

/// Whether more than half of a column's `present` values are distinct. Values are told apart by 64 bits of a hash, and no more of those are kept than
/// decide it.
fn is_mostly_distinct(files: &Files, name: &str, present: usize) -> Result<bool, TableError> {
    let mut hashes: Vec<u64> = Vec::new();
    let mut due = 1 << 20;
    for chunk in 0..files.n_chunks() {
        let frame = files.chunk(chunk, Some(&[name.to_owned()]))?;
        let (column, _) = settle_some(frame.column(name)?, None, &frame)?;
        hashes.extend(column.str()?.iter().flatten().map(|value| {
            let mut hasher = DefaultHasher::new();
            value.hash(&mut hasher);
            hasher.finish()
        }));
        if hashes.len() >= due || chunk + 1 == files.n_chunks() {
            hashes.sort_unstable();
            hashes.dedup();
            if 2 * hashes.len() > present {
                return Ok(true);
            }
            due = 2 * hashes.len() + (1 << 20);
        }
    }
    Ok(false)
}

/// Features without any value, and those that are almost numbers.
fn notes(files: &Files, data: &Data, fields: &[Field], looks: &[Look]) -> Result<Vec<String>, TableError> {
    let mut heads: Vec<(&str, usize, Option<StringChunked>)> = Vec::new();
    let is_feature = |(field, _): &(&Field, &Look)| field.role == Role::Feature;
    for (field, look) in fields.iter().zip(looks).filter(is_feature) {
        let may_be_nearly = look.present > 0 && matches!(look.kind, Kind::Categorical | Kind::Text);
        if look.present == 0 || may_be_nearly {
            heads.push((&field.name, look.present, None));
        }
    }
    let lacks = |(_, present, head): &&mut (&str, usize, Option<StringChunked>)| {
        let seen = head.as_ref().map_or(0, |head| head.len() - head.null_count());
        seen < (*present).min(SAMPLE)
    };
    for chunk in 0..files.n_chunks() {
        let mut open: Vec<&mut (&str, usize, Option<StringChunked>)> = heads.iter_mut().filter(lacks).collect();
        if open.is_empty() {
            break;
        }
        let names: Vec<String> = open.iter().map(|(name, ..)| (*name).to_owned()).collect();
        let frame = files.chunk(chunk, Some(&names))?;
        for (name, _, head) in &mut open {
            let (column, _) = settle_some(frame.column(name)?, data.columns.get(*name).copied(), &frame)?;
            let values = column.str()?;
            match head {
                None => *head = Some(values.clone()),
                Some(head) => head.append(values)?,
            }
        }
    }
    let note = |(name, present, head): (&str, usize, Option<StringChunked>)| match head {
        None if present == 0 => Some(no_value(name)),
        head => head.as_ref().and_then(nearly),
    };
    Ok(heads.into_iter().filter_map(note).collect())
}

/// Files bound to the columns of a schema, as [`crate::conform`] and [`crate::ingest_like`] bind them, chunk by chunk.
pub struct ConformFiles {
    files: Files,
    schema: Columns,
    input: Columns,
    /// Whether each row has a target; `None` where all stay.
    kept: Option<Vec<bool>>,
    /// The first row of each chunk among those that stay, and their number.
    starts: Vec<usize>,
}

impl ConformFiles {
    /// Rows to predict or to judge by, as [`crate::conform`].
    pub fn new(files: Files, input: &Columns, policy: TargetPolicy) -> Result<Self, TableError> {
        check_missing(files.head(), input, policy)?;
        let mut bound = Self::all(files, input);
        if let Some(field) = bound.target() {
            let frame = bound.files.columns(std::slice::from_ref(&field.name))?;
            match (bind(frame.column(&field.name)?, &field, input, &frame), policy) {
                (Err(error), TargetPolicy::Required) => return Err(error),
                (Err(_), TargetPolicy::Optional) => bound.schema.fields.retain(|field| field.role != Role::Target),
                (Ok(_), _) => {}
            }
        }
        Ok(bound)
    }

    /// A further file of a pipeline, as [`crate::ingest_like`].
    pub fn like(files: Files, data: &Data, schema: &Columns) -> Result<Self, TableError> {
        refuse_row_name(files.head())?;
        let needed = schema.of_role(Role::Target).map_or(data.target.as_str(), |field| field.name.as_str());
        if let Some(name) = [needed, &data.target].into_iter().find(|name| files.head().column(name).is_err()) {
            return Err(no_target(name, files.head()));
        }
        check_missing(files.head(), schema, TargetPolicy::Required)?;
        let mut bound = Self::all(files, schema);
        let names = [Some(&data.target), data.weight.as_ref()].into_iter().flatten().cloned();
        let raw = bound.files.columns(&names.collect::<Vec<String>>())?;
        let mut frame = raw.clone();
        frame.insert_column(0, row_numbers_from(0, raw.height()))?;
        frame.with_column(settle(raw.column(&data.target)?, None, &raw)?.0)?;
        let (frame, n_dropped) = with_target(frame, data)?;
        if let Some(field) = bound.target() {
            bind(frame.column(&field.name)?, &field, schema, &frame)?;
        }
        if let Some(field) = schema.of_role(Role::Weight) {
            let weights = bind(frame.column(&field.name)?, field, schema, &frame)?;
            let weights = DataFrame::new(frame.height(), vec![frame.column(Columns::ROW)?.clone(), weights])?;
            check_weights(&weights, &field.name)?;
        }
        if n_dropped > 0 {
            let mut kept = vec![false; bound.files.n_rows()];
            let numbers = frame.column(Columns::ROW)?.u32()?;
            numbers.iter().flatten().for_each(|number| kept[number as usize - 1] = true);
            let count = |chunk: usize| {
                let rows = &kept[bound.files.first_row(chunk)..bound.files.first_row(chunk + 1)];
                rows.iter().filter(|kept| **kept).count()
            };
            bound.starts = starts_of((0..bound.files.n_chunks()).map(count).collect());
            bound.kept = Some(kept);
        }
        Ok(bound)
    }

    fn all(files: Files, input: &Columns) -> Self {
        let has = |field: &&Field| field.role == Role::RowNumber || files.head().column(&field.name).is_ok();
        let fields = input.fields.iter().filter(has).cloned().collect();
        let starts = (0..=files.n_chunks()).map(|chunk| files.first_row(chunk)).collect();
        let schema = Columns { fields, task: input.task.clone() };
        Self { files, schema, input: input.clone(), kept: None, starts }
    }

    fn target(&self) -> Option<Field> {
        self.schema.of_role(Role::Target).cloned()
    }

    /// The columns: those of the schema that the files have.
    pub fn schema(&self) -> &Columns {
        &self.schema
    }

    /// The number of rows.
    pub fn n_rows(&self) -> usize {
        self.first_row(self.n_chunks())
    }

    /// The number of chunks.
    pub fn n_chunks(&self) -> usize {
        self.files.n_chunks()
    }

    /// The number of the first row of a chunk, counted from 0; the number of rows for the index after the last.
    pub fn first_row(&self, chunk: usize) -> usize {
        self.starts[chunk]
    }

    /// A chunk with all columns or with those that are named.
    pub fn chunk(&self, chunk: usize, columns: Option<&[String]>) -> Result<Table, TableError> {
        let wanted = |field: &&Field| columns.is_none_or(|columns| columns.contains(&field.name));
        let fields: Vec<Field> = self.schema.fields.iter().filter(wanted).cloned().collect();
        let names: Vec<String> = fields.iter().map(|field| field.name.clone()).collect();
        let mut frame = self.files.chunk(chunk, Some(&names))?;
        if frame.column(Columns::ROW).is_err() {
            let (begin, end) = (self.files.first_row(chunk), self.files.first_row(chunk + 1));
            frame = DataFrame::new(end - begin, frame.columns().to_vec())?;
            frame.insert_column(0, row_numbers_from(begin, end - begin))?;
        }
        if let Some(kept) = &self.kept {
            let kept = &kept[self.files.first_row(chunk)..self.files.first_row(chunk + 1)];
            frame = frame.filter(&BooleanChunked::from_slice("".into(), kept))?;
        }
        let bound = |field: &Field| {
            bind(frame.column(&field.name)?, field, &self.input, &frame).map_err(|error| self.told_by_all(field, error))
        };
        let columns = fields.iter().map(bound).collect::<Result<_, _>>()?;
        let schema = Columns { fields, task: self.schema.task.clone() };
        Table::new(DataFrame::new(frame.height(), columns)?, schema)
    }

    fn told_by_all(&self, field: &Field, error: TableError) -> TableError {
        told_by_all(&self.files, &field.name, error, |_, frame| {
            let mut frame = frame.clone();
            frame.insert_column(0, row_numbers_from(0, frame.height()))?;
            if let Some(kept) = &self.kept {
                frame = frame.filter(&BooleanChunked::from_slice("".into(), kept))?;
            }
            bind(frame.column(&field.name)?, field, &self.input, &frame).map(|_| ())
        })
    }
}
