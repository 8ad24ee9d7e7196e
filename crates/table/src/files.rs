//! Source files: checked for what readers usually swallow, and every error names file, line and way out. They are read chunk by chunk, or all at once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use polars::prelude::*;
use retune_spec::Schema as Columns;
use retune_spec::data::{Data, Format};
use retune_spec::schema::Kind;

use crate::TableError;
use crate::arrow_file::ArrowFile;
use crate::bytes::Bytes;
use crate::csv::{CsvFiles, same_columns};
use crate::image_files::ImageFiles;
use crate::json_lines::JsonLines;
use crate::parquet_file::ParquetFile;
use crate::stack::stack;

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
    /// How many bytes of a CSV or JSON lines file a core reads at a time. Nothing but speed and memory depends on it.
    pub chunk_bytes: usize,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { format: None, separator: b',', null_values: Vec::new(), text: Vec::new(), chunk_bytes: 4 << 20 }
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
        let (null_values, text) = (data.null_values.clone(), text.collect());
        Ok(Self { format: data.format, separator, null_values, text, ..Self::default() })
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
    Files::open(paths, options)?.frame()
}

/// Rows of one source as chunks that are read in any order, from many threads at once.
pub(crate) trait Chunks: Send + Sync {
    /// The columns without any row.
    fn head(&self) -> Result<DataFrame, TableError>;

    /// The number of chunks.
    fn n_chunks(&self) -> usize;

    /// The rows of a chunk.
    fn n_rows(&self, chunk: usize) -> usize;

    /// A chunk with all columns or with those that are named, in the order of the head.
    fn read(&self, chunk: usize, columns: Option<&[String]>) -> Result<DataFrame, TableError>;
}

/// Files of the same columns, one below the other in the order of their names, as [`read_files`] reads them: chunk by chunk, as often as somebody asks,
/// from many threads at once, with no more in memory than the chunks that are being read.
///
/// Opening looks at every byte of CSV and JSON lines and at the metadata of other files: what is wrong with their structure is told then.
pub struct Files {
    sources: Vec<Source>,
    head: DataFrame,
    /// The source of each chunk and its index there.
    chunks: Vec<(usize, usize)>,
    /// The first row of each chunk, and the number of rows.
    starts: Vec<usize>,
}

struct Source {
    /// For messages.
    name: String,
    chunks: Box<dyn Chunks>,
    /// Readers of binary formats may panic on damaged files.
    is_binary: Option<&'static str>,
}

impl Files {
    /// Opens files.
    pub fn open(paths: &[PathBuf], options: &ReadOptions) -> Result<Self, TableError> {
        let mut paths = paths.to_vec();
        paths.sort();
        let is_image = |path: &PathBuf| matches!(format_of(path, options.format), Ok(Format::Images));
        if !paths.is_empty() && paths.iter().all(is_image) {
            let name = paths[0].display().to_string();
            return Self::of(vec![Source { name, chunks: Box::new(ImageFiles::new(paths)), is_binary: None }]);
        }
        let mut files = Vec::with_capacity(paths.len());
        for path in &paths {
            let name = path.display().to_string();
            files.push((name, Bytes::open(path)?, format_of(path, options.format)?));
        }
        if files.is_empty() {
            return Err(TableError::new("no file to read"));
        }
        if files.iter().all(|(.., format)| *format == Format::Csv) {
            // What a column holds is told from all rows of all files.
            let name = files[0].0.clone();
            let files = files.into_iter().map(|(name, bytes, _)| (name, bytes)).collect();
            let chunks = Box::new(CsvFiles::open(files, options)?);
            return Self::of(vec![Source { name, chunks, is_binary: None }]);
        }
        let open = |(name, bytes, format)| Source::open(name, bytes, format, options);
        Self::of(files.into_iter().map(open).collect::<Result<_, _>>()?)
    }

    fn of(sources: Vec<Source>) -> Result<Self, TableError> {
        let head = common_head(&sources)?;
        let (mut chunks, mut counts) = (Vec::new(), Vec::new());
        for (index, source) in sources.iter().enumerate() {
            let n_chunks = source.chunks.n_chunks();
            chunks.extend((0..n_chunks).map(|chunk| (index, chunk)));
            counts.extend((0..n_chunks).map(|chunk| source.chunks.n_rows(chunk)));
        }
        Ok(Self { sources, head, chunks, starts: starts_of(counts) })
    }

    /// The columns without any row.
    pub fn head(&self) -> &DataFrame {
        &self.head
    }

    /// The number of rows.
    pub fn n_rows(&self) -> usize {
        self.first_row(self.n_chunks())
    }

    /// The number of chunks.
    pub fn n_chunks(&self) -> usize {
        self.chunks.len()
    }

    /// The number of the first row of a chunk, counted from 0; the number of rows for the index after the last.
    pub fn first_row(&self, chunk: usize) -> usize {
        self.starts[chunk]
    }

    /// A chunk with all columns or with those that are named, in the order of the first file.
    pub fn chunk(&self, chunk: usize, columns: Option<&[String]>) -> Result<DataFrame, TableError> {
        let (source, index) = self.chunks[chunk];
        let frame = self.sources[source].read(index, columns)?;
        let wanted = |column: &&Column| columns.is_none_or(|columns| columns.iter().any(|name| name == column.name()));
        let of_head = |column: &Column| Ok(frame.column(column.name())?.cast(column.dtype())?);
        let columns = self.head.columns().iter().filter(wanted).map(of_head);
        Ok(DataFrame::new(frame.height(), columns.collect::<Result<_, TableError>>()?)?)
    }

    /// All rows of the columns that are named.
    pub fn columns(&self, names: &[String]) -> Result<DataFrame, TableError> {
        self.stacked(Some(names))
    }

    /// All rows of all columns.
    pub fn frame(&self) -> Result<DataFrame, TableError> {
        self.stacked(None)
    }

    fn stacked(&self, columns: Option<&[String]>) -> Result<DataFrame, TableError> {
        stack(self.n_chunks(), self.n_rows(), |chunk| self.chunk(chunk, columns))
    }
}

impl Source {
    fn open(name: String, bytes: Bytes, format: Format, options: &ReadOptions) -> Result<Self, TableError> {
        let (magic, kind): (&[u8], _) = match format {
            Format::JsonLines => {
                let chunks = Box::new(JsonLines::open(name.clone(), bytes, options)?);
                return Ok(Self { name, chunks, is_binary: None });
            }
            Format::Csv => {
                let chunks = Box::new(CsvFiles::open(vec![(name.clone(), bytes)], options)?);
                return Ok(Self { name, chunks, is_binary: None });
            }
            Format::Parquet => (b"PAR1", "a Parquet file"),
            Format::Arrow => (b"ARROW1", "an Arrow file"),
            Format::Images => {
                return Err(TableError::new(format!("{name} is an image among files of other formats"))
                    .help("name images alone, or tables alone"));
            }
        };
        if !bytes.as_slice().starts_with(magic) {
            return Err(
                TableError::new(format!("{name} is not {kind}")).help("say its `format`, or give it the right ending")
            );
        }
        if !bytes.as_slice().ends_with(magic) {
            return Err(TableError::new(format!(
                "{name} is cut short: it begins like {kind} and does not end like one"
            ))
            .help("fetch or write it again"));
        }
        let open = || -> Result<Box<dyn Chunks>, TableError> {
            Ok(match format {
                Format::Parquet => Box::new(ParquetFile::open(bytes)?),
                _ => Box::new(ArrowFile::of(bytes)?),
            })
        };
        let chunks = binary(&name, kind, open)?;
        if (0..chunks.n_chunks()).all(|chunk| chunks.n_rows(chunk) == 0) {
            return Err(TableError::new(format!("{name} has no rows")));
        }
        Ok(Self { name, chunks, is_binary: Some(kind) })
    }

    fn head(&self) -> Result<DataFrame, TableError> {
        match self.is_binary {
            Some(kind) => binary(&self.name, kind, || self.chunks.head()),
            None => self.chunks.head(),
        }
    }

    fn read(&self, chunk: usize, columns: Option<&[String]>) -> Result<DataFrame, TableError> {
        match self.is_binary {
            Some(kind) => binary(&self.name, kind, || self.chunks.read(chunk, columns)),
            None => self.chunks.read(chunk, columns),
        }
    }

    /// Whether a column has a value in some row.
    fn has_values(&self, name: &str) -> Result<bool, TableError> {
        for chunk in 0..self.chunks.n_chunks() {
            let frame = self.read(chunk, Some(&[name.to_owned()]))?;
            if frame.column(name)?.null_count() < frame.height() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Readers of binary formats may panic on damaged files.
fn binary<T>(name: &str, kind: &str, read: impl FnOnce() -> Result<T, TableError>) -> Result<T, TableError> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(error)) => Err(TableError::new(format!("{name} cannot be read as {kind}: {error}"))),
        Err(_) => Err(TableError::new(format!("{name} is damaged")).help("fetch or write it again")),
    }
}

/// The columns of the first source, of types that hold the values of all: numbers of different types become floats, and a part without values takes the
/// other's type.
fn common_head(sources: &[Source]) -> Result<DataFrame, TableError> {
    let Some((first, others)) = sources.split_first() else { return Err(TableError::new("no file to read")) };
    let names =
        |frame: &DataFrame| -> Vec<String> { frame.get_column_names().iter().map(|name| name.to_string()).collect() };
    let mut head = first.head()?;
    let mut before = vec![first];
    for other in others {
        let more = other.head()?;
        same_columns((&first.name, &names(&head)), (&other.name, &names(&more)))?;
        let mut columns = Vec::with_capacity(head.width());
        for column in head.columns() {
            let (name, one, two) = (column.name(), column.dtype(), more.column(column.name())?.dtype());
            let dtype = if one == two {
                one.clone()
            } else if one.is_primitive_numeric() && two.is_primitive_numeric() {
                DataType::Float64
            } else if !other.has_values(name)? {
                one.clone()
            } else if !before
                .iter()
                .map(|source| source.has_values(name))
                .collect::<Result<Vec<_>, _>>()?
                .contains(&true)
            {
                two.clone()
            } else {
                let (first, other) = (&first.name, &other.name);
                return Err(TableError::new(format!("column `{name}` is {one} in {first} and {two} in {other}"))
                    .help("files that are read together need the same types"));
            };
            columns.push(Column::new_empty(name.clone(), &dtype));
        }
        head = DataFrame::new(0, columns)?;
        before.push(other);
    }
    Ok(head)
}

/// Where each of some numbers of rows begins, and where the last ends.
pub(crate) fn starts_of(counts: Vec<usize>) -> Vec<usize> {
    let ends = counts.into_iter().scan(0, |end, count| {
        *end += count;
        Some(*end)
    });
    std::iter::once(0).chain(ends).collect()
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
        "png" | "jpg" | "jpeg" | "webp" | "bmp" | "gif" | "tif" | "tiff" => Ok(Format::Images),
        "gz" | "zst" | "bz2" | "xz" | "zip" => {
            Err(TableError::new(format!("{} is compressed", path.display())).help("decompress it first (Parquet is compressed inside)"))
        }
        _ => Err(TableError::new(format!("the format of {} cannot be told from its ending", path.display()))
            .help("say `format: csv`, `parquet`, `arrow` or `json_lines`; or end the name in .csv, .parquet, .arrow or .jsonl")),
    }
}
