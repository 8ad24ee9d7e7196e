//! Reading files into frames: every file is checked for what readers usually swallow, and every error names file, line and way out.

use std::fs::File;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use polars::prelude::*;
use retune_spec::Schema as Columns;
use retune_spec::data::{Data, Format};
use retune_spec::schema::Kind;

use crate::TableError;
use crate::csv::{Dialect, read_csv, same_columns};
use crate::json_lines::read_json_lines;

/// How files are read.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// The format; by default told from the ending.
    pub format: Option<Format>,
    /// How the fields of a CSV file are divided.
    pub separator: u8,
    /// Words that stand for a missing value in CSV files, besides the empty field.
    pub null_values: Vec<String>,
    /// Columns of CSV files that stay as they are written, even if they look like numbers.
    pub text: Vec<String>,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { format: None, separator: b',', null_values: Vec::new(), text: Vec::new() }
    }
}

impl ReadOptions {
    /// What a pipeline's `data` says.
    pub fn of(data: &Data) -> Result<Self, TableError> {
        let &[separator] = data.separator.as_bytes() else {
            return Err(TableError::new(format!("separator `{}` is not one ASCII character", data.separator)));
        };
        if matches!(separator, b'"' | b'\n' | b'\r' | 0) || separator.is_ascii_alphanumeric() {
            return Err(TableError::new(format!("`{}` cannot divide fields", data.separator.escape_debug()))
                .help("use ',', ';', '|' or \"\\t\""));
        }
        let text = data.columns.iter().filter(|(_, kind)| is_text(**kind)).map(|(name, _)| name.clone());
        Ok(Self { format: data.format, separator, null_values: data.null_values.clone(), text: text.collect() })
    }

    /// The same for further files of a known schema: what is text there stays text here.
    #[must_use]
    pub fn like(mut self, schema: &Columns) -> Self {
        self.text = schema.fields.iter().filter(|field| is_text(field.kind)).map(|field| field.name.clone()).collect();
        self
    }
}

fn is_text(kind: Kind) -> bool {
    matches!(kind, Kind::Categorical | Kind::Text)
}

/// Reads files, one below the other in the order of their names; all must have the same columns.
///
/// CSV: what a column holds is told from all its rows. Integers with a leading zero or of more than 18 digits stay text (they are codes), `nan` among
/// numbers is missing, ISO 8601 dates become dates. The structure is checked strictly: ragged rows, unclosed quotes, duplicate names and bytes that
/// are not UTF-8 are errors.
pub fn read_files(paths: &[PathBuf], options: &ReadOptions) -> Result<DataFrame, TableError> {
    let mut paths = paths.to_vec();
    paths.sort();
    let mut files = Vec::with_capacity(paths.len());
    for path in &paths {
        let name = path.display().to_string();
        files.push((name, open(path)?, format_of(path, options.format)?));
    }
    if files.is_empty() {
        return Err(TableError::new("no file to read"));
    }
    if files.iter().all(|(.., format)| *format == Format::Csv) {
        let texts: Vec<(String, &[u8])> =
            files.iter().map(|(name, bytes, _)| (name.clone(), bytes.as_slice())).collect();
        return read_csv(
            &texts,
            &Dialect { separator: options.separator, null_values: &options.null_values, text: &options.text },
        );
    }
    let mut frames = Vec::with_capacity(files.len());
    for (name, bytes, format) in &files {
        let frame = read_one(name, bytes.as_slice(), *format, options)?;
        if frame.height() == 0 {
            return Err(TableError::new(format!("{name} has no rows")));
        }
        frames.push((name.as_str(), frame));
    }
    stack(frames)
}

enum Bytes {
    Mapped(Mmap),
    Read(Vec<u8>),
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Mapped(bytes) => bytes,
            Self::Read(bytes) => bytes,
        }
    }
}

fn open(path: &Path) -> Result<Bytes, TableError> {
    let name = path.display();
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => TableError::new(format!("no file {name}")).help(nearest_file(path)),
        _ => TableError::new(format!("cannot read {name}: {error}")),
    };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        return Err(TableError::new(format!("{name} is a directory, not a file"))
            .help(format!("to read its files: {}", path.join("*").display())));
    }
    if !metadata.is_file() {
        return Ok(Bytes::Read(std::fs::read(path).map_err(failed)?));
    }
    if metadata.len() == 0 {
        return Err(TableError::new(format!("{name} is empty")));
    }
    let file = File::open(path).map_err(failed)?;
    // SAFETY: the bytes are only parsed, never trusted; a file that another program cuts while it is read ends this process, as in every reader that maps files.
    Ok(Bytes::Mapped(unsafe { Mmap::map(&file) }.map_err(failed)?))
}

fn nearest_file(path: &Path) -> String {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = std::fs::read_dir(parent) else {
        return format!("there is no folder {} either", parent.display());
    };
    let names: Vec<String> = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let wanted = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match retune_spec::diagnostic::did_you_mean(&wanted, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {}?", parent.join(near).display()),
        None => "paths are relative to the working directory".to_owned(),
    }
}

/// The format of a file: the declared one, or what its ending says.
pub fn format_of(path: &Path, declared: Option<Format>) -> Result<Format, TableError> {
    if let Some(format) = declared {
        return Ok(format);
    }
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
    match ending.as_str() {
        "csv" | "tsv" | "txt" => Ok(Format::Csv),
        "parquet" | "pq" => Ok(Format::Parquet),
        "arrow" | "feather" | "ipc" => Ok(Format::Arrow),
        "jsonl" | "ndjson" => Ok(Format::JsonLines),
        "gz" | "zst" | "bz2" | "xz" | "zip" => {
            Err(TableError::new(format!("{} is compressed", path.display())).help("decompress it first (Parquet is compressed inside)"))
        }
        _ => Err(TableError::new(format!("the format of {} cannot be told from its ending", path.display()))
            .help("say `format: csv`, `parquet`, `arrow` or `json_lines`; or end the name in .csv, .parquet, .arrow or .jsonl")),
    }
}

fn read_one(name: &str, bytes: &[u8], format: Format, options: &ReadOptions) -> Result<DataFrame, TableError> {
    let read = || -> PolarsResult<DataFrame> {
        match format {
            Format::Parquet => ParquetReader::new(Cursor::new(bytes)).finish(),
            _ => IpcReader::new(Cursor::new(bytes)).finish(),
        }
    };
    let (magic, kind): (&[u8], _) = match format {
        Format::JsonLines => return read_json_lines(name, bytes),
        Format::Csv => {
            let dialect =
                Dialect { separator: options.separator, null_values: &options.null_values, text: &options.text };
            return read_csv(&[(name.to_owned(), bytes)], &dialect);
        }
        Format::Parquet => (b"PAR1", "a Parquet file"),
        Format::Arrow => (b"ARROW1", "an Arrow file"),
    };
    if !bytes.starts_with(magic) {
        return Err(
            TableError::new(format!("{name} is not {kind}")).help("say its `format`, or give it the right ending")
        );
    }
    if !bytes.ends_with(magic) {
        return Err(TableError::new(format!("{name} is cut short: it begins like {kind} and does not end like one"))
            .help("fetch or write it again"));
    }
    // Readers of binary formats may panic on damaged files.
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(frame)) => Ok(frame),
        Ok(Err(error)) => Err(TableError::new(format!("{name} cannot be read as {kind}: {error}"))),
        Err(_) => Err(TableError::new(format!("{name} is damaged")).help("fetch or write it again")),
    }
}

fn stack(frames: Vec<(&str, DataFrame)>) -> Result<DataFrame, TableError> {
    let mut frames = frames.into_iter();
    let Some((first, mut stacked)) = frames.next() else { return Err(TableError::new("no file to read")) };
    let names =
        |frame: &DataFrame| -> Vec<String> { frame.get_column_names().iter().map(|name| name.to_string()).collect() };
    for (file, frame) in frames {
        same_columns((first, &names(&stacked)), (file, &names(&frame)))?;
        let mut columns = Vec::with_capacity(stacked.width());
        for column in stacked.columns() {
            let more = frame.column(column.name())?;
            let mut column = column.clone();
            if column.dtype() != more.dtype() {
                let numbers = column.dtype().is_primitive_numeric() && more.dtype().is_primitive_numeric();
                if !numbers && column.null_count() < column.len() && more.null_count() < more.len() {
                    let (name, one, two) = (column.name(), column.dtype(), more.dtype());
                    return Err(TableError::new(format!("column `{name}` is {one} in {first} and {two} in {file}"))
                        .help("files that are read together need the same types"));
                }
                // Numbers become floats; a part without values takes the other's type.
                let common = if numbers {
                    DataType::Float64
                } else if column.null_count() == column.len() {
                    more.dtype().clone()
                } else {
                    column.dtype().clone()
                };
                column = column.cast(&common)?;
                column.append(&more.cast(&common)?)?;
            } else {
                column.append(more)?;
            }
            columns.push(column);
        }
        stacked = DataFrame::new_infer_height(columns)?;
    }
    stacked.rechunk_mut_par();
    Ok(stacked)
}
