//! JSON lines: one object a line, whose keys are the columns.

use indexmap::IndexMap;
use memchr::{memchr, memchr_iter};
use polars::prelude::*;
use rayon::prelude::*;
use serde_json::{Map, Value};

use crate::TableError;
use crate::bytes::Bytes;
use crate::dates::{parse_date, parse_datetime};
use crate::files::{Chunks, ReadOptions};
use crate::grammar::{Chunk, Cut};

/// One file. A key that a line lacks is a missing value; a column of numbers and text is text.
pub(crate) struct JsonLines {
    file: String,
    bytes: Bytes,
    cuts: Vec<Cut>,
    /// The objects of each cut.
    records: Vec<usize>,
    columns: IndexMap<String, Seen>,
}

/// What the values of a key have been seen to be.
#[derive(Clone, Copy, Default)]
struct Seen {
    any: bool,
    not_integer: bool,
    not_number: bool,
    not_boolean: bool,
    not_date: bool,
    not_datetime: bool,
}

impl Seen {
    fn look(&mut self, value: &Value) {
        if value.is_null() {
            return;
        }
        self.any = true;
        self.not_integer |= !value.is_i64();
        self.not_number |= !value.is_number();
        self.not_boolean |= !value.is_boolean();
        self.not_date = self.not_date || date(value).is_none();
        self.not_datetime = self.not_datetime || datetime(value).is_none();
    }

    fn merge(&mut self, other: Self) {
        self.any |= other.any;
        self.not_integer |= other.not_integer;
        self.not_number |= other.not_number;
        self.not_boolean |= other.not_boolean;
        self.not_date |= other.not_date;
        self.not_datetime |= other.not_datetime;
    }
}

impl JsonLines {
    /// Looks at all lines.
    pub fn open(file: String, bytes: Bytes, options: &ReadOptions) -> Result<Self, TableError> {
        let begin = if bytes.as_slice().starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        let cuts = cut_lines(&bytes, begin, options.chunk_bytes);
        let scan = |cut: &Cut| {
            let mut seen: IndexMap<String, Seen> = IndexMap::new();
            let mut records = 0;
            for row in rows(&file, cut.of(bytes.as_slice())) {
                records += 1;
                for (key, value) in row? {
                    seen.entry(key).or_default().look(&value);
                }
            }
            bytes.release(cut.range.clone());
            Ok((records, seen))
        };
        let scans: Vec<Result<_, TableError>> = cuts.par_iter().map(scan).collect();
        let (mut records, mut columns) = (Vec::with_capacity(cuts.len()), IndexMap::<String, Seen>::new());
        // The first mistake in the file, not the first one found.
        for scan in scans {
            let (more, seen) = scan?;
            records.push(more);
            seen.into_iter().for_each(|(key, seen)| columns.entry(key).or_default().merge(seen));
        }
        if records.iter().sum::<usize>() == 0 {
            return Err(TableError::new(format!("{file} is empty")));
        }
        Ok(Self { file, bytes, cuts, records, columns })
    }
}

impl Chunks for JsonLines {
    fn head(&self) -> Result<DataFrame, TableError> {
        Ok(DataFrame::new(0, self.columns.iter().map(|(name, &seen)| column(name, &[], seen)).collect())?)
    }

    fn n_chunks(&self) -> usize {
        self.cuts.len()
    }

    fn n_rows(&self, chunk: usize) -> usize {
        self.records[chunk]
    }

    fn read(&self, chunk: usize, columns: Option<&[String]>) -> Result<DataFrame, TableError> {
        let (cut, height) = (&self.cuts[chunk], self.records[chunk]);
        let wanted = |name: &&String| columns.is_none_or(|columns| columns.contains(name));
        let mut values: IndexMap<&str, Vec<Value>> =
            self.columns.keys().filter(wanted).map(|name| (name.as_str(), vec![Value::Null; height])).collect();
        let changed = || TableError::new(format!("{} changed while it was read", self.file));
        for (at, row) in rows(&self.file, cut.of(self.bytes.as_slice())).enumerate() {
            for (key, value) in row? {
                if let Some(values) = values.get_mut(key.as_str()) {
                    *values.get_mut(at).ok_or_else(changed)? = value;
                }
            }
        }
        self.bytes.release(cut.range.clone());
        let columns = values.iter().map(|(name, values)| column(name, values, self.columns[*name])).collect();
        Ok(DataFrame::new(height, columns)?)
    }
}

/// Cuts after line ends: JSON has none inside of strings.
fn cut_lines(bytes: &Bytes, start: usize, size: usize) -> Vec<Cut> {
    let body = bytes.as_slice();
    let (mut cuts, mut begin, mut line) = (Vec::new(), start, 1);
    while begin < body.len() {
        let least = begin.saturating_add(size).min(body.len());
        let end = memchr(b'\n', &body[least..]).map_or(body.len(), |length| least + length + 1);
        cuts.push(Cut { range: begin..end, line });
        line += memchr_iter(b'\n', &body[begin..end]).count() as u64;
        bytes.release(begin..end);
        begin = end;
    }
    cuts
}

/// The objects of a chunk, empty lines left out.
fn rows<'a>(file: &'a str, chunk: Chunk<'a>) -> impl Iterator<Item = Result<Map<String, Value>, TableError>> + 'a {
    let lines = chunk.bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).zip(chunk.line..);
    lines.filter(|(line, _)| !line.is_empty()).map(move |(line, number)| parse(file, number, line))
}

fn parse(file: &str, line: u64, bytes: &[u8]) -> Result<Map<String, Value>, TableError> {
    let place = format!("{file}, line {line}");
    let value = serde_json::from_slice(bytes).map_err(|error| {
        let text = error.to_string();
        let reason = text.split(" at line ").next().unwrap_or_default();
        TableError::new(format!("{place}, column {}: {reason}", error.column()))
            .help("each line must be one JSON object")
    })?;
    let Value::Object(row) = value else {
        return Err(TableError::new(format!("{place} is not an object"))
            .help("each line must be one JSON object: {\"age\": 41, \"city\": \"Lyon\"}"));
    };
    match row.iter().find(|(_, value)| value.is_array() || value.is_object()) {
        None => Ok(row),
        Some((name, _)) => Err(TableError::new(format!("{place}: `{name}` holds a list or an object"))
            .help("give each value a key of its own, or leave the key out")),
    }
}

fn column(name: &str, values: &[Value], seen: Seen) -> Column {
    let name: PlSmallStr = name.into();
    if !seen.any {
        StringChunked::full_null(name, values.len()).into_column()
    } else if !seen.not_integer {
        collect::<Int64Type>(name, values.iter().map(Value::as_i64)).into_column()
    } else if !seen.not_number {
        collect::<Float64Type>(name, values.iter().map(Value::as_f64)).into_column()
    } else if !seen.not_boolean {
        let mut built = BooleanChunked::from_iter_options(name.clone(), values.iter().map(Value::as_bool));
        built.rename(name);
        built.into_column()
    } else if !seen.not_date {
        collect::<Int32Type>(name, values.iter().map(date)).into_date().into_column()
    } else if !seen.not_datetime {
        collect::<Int64Type>(name, values.iter().map(datetime))
            .into_datetime(TimeUnit::Microseconds, None)
            .into_column()
    } else {
        let text = |value: &Value| match value {
            Value::Null => None,
            Value::String(text) if text.is_empty() => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        StringChunked::from_iter_options(name, values.iter().map(text)).into_column()
    }
}

fn collect<T: PolarsNumericType>(name: PlSmallStr, values: impl Iterator<Item = Option<T::Native>>) -> ChunkedArray<T> {
    ChunkedArray::from_iter_options(name, values)
}

fn date(value: &Value) -> Option<i32> {
    parse_date(value.as_str()?.as_bytes())
}

fn datetime(value: &Value) -> Option<i64> {
    let bytes = value.as_str()?.as_bytes();
    parse_datetime(bytes).or_else(|| parse_date(bytes).map(|days| i64::from(days) * 86_400_000_000))
}
