//! JSON lines: one object a line, whose keys are the columns.

use indexmap::IndexMap;
use memchr::memchr_iter;
use polars::prelude::*;
use rayon::prelude::*;
use serde_json::{Map, Value};

use crate::TableError;
use crate::dates::{parse_date, parse_datetime};

/// Reads one file. A key that a line lacks is a missing value; a column of numbers and text is text.
pub(crate) fn read_json_lines(file: &str, bytes: &[u8]) -> Result<DataFrame, TableError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut lines = Vec::new();
    let mut start = 0;
    for end in memchr_iter(b'\n', bytes).chain([bytes.len()]) {
        lines.push(bytes[start..end].trim_ascii());
        start = end + 1;
    }
    let numbered = lines.par_iter().enumerate().filter(|(_, line)| !line.is_empty());
    let rows =
        numbered.map(|(at, line)| parse(file, at + 1, line)).collect::<Vec<Result<Map<String, Value>, TableError>>>();
    // The first mistake in the file, not the first one found.
    let rows = rows.into_iter().collect::<Result<Vec<_>, _>>()?;
    if rows.is_empty() {
        return Err(TableError::new(format!("{file} is empty")));
    }
    let mut columns: IndexMap<String, Vec<Value>> = IndexMap::new();
    let height = rows.len();
    for (at, row) in rows.into_iter().enumerate() {
        for (key, value) in row {
            columns.entry(key).or_insert_with(|| vec![Value::Null; height])[at] = value;
        }
    }
    let columns: Vec<Column> =
        columns.iter().collect::<Vec<_>>().into_par_iter().map(|(name, values)| column(name, values)).collect();
    Ok(DataFrame::new(height, columns)?)
}

fn parse(file: &str, line: usize, bytes: &[u8]) -> Result<Map<String, Value>, TableError> {
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

fn column(name: &str, values: &[Value]) -> Column {
    let name: PlSmallStr = name.into();
    let present = || values.iter().filter(|value| !value.is_null());
    let all = |test: fn(&Value) -> bool| present().all(test);
    if present().next().is_none() {
        StringChunked::full_null(name, values.len()).into_column()
    } else if all(Value::is_i64) {
        collect::<Int64Type>(name, values.iter().map(Value::as_i64)).into_column()
    } else if all(Value::is_number) {
        collect::<Float64Type>(name, values.iter().map(Value::as_f64)).into_column()
    } else if all(Value::is_boolean) {
        let mut built = BooleanChunked::from_iter_options(name.clone(), values.iter().map(Value::as_bool));
        built.rename(name);
        built.into_column()
    } else if all(|value| date(value).is_some()) {
        collect::<Int32Type>(name, values.iter().map(date)).into_date().into_column()
    } else if all(|value| datetime(value).is_some()) {
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
