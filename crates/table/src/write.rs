//! Writing tables: Arrow IPC for the store, whatever a user asks for by file ending.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polars::error::{PolarsError, polars_err};
use polars::prelude::*;
use polars_arrow::array::{ArrayRef, BinaryArray, BooleanArray, PrimitiveArray, Utf8Array};
use polars_arrow::bitmap::Bitmap;
use polars_arrow::io::ipc::write::{FileWriter, WriteOptions};
use polars_arrow::record_batch::RecordBatchT;
use retune_spec::Schema as Columns;
use retune_spec::data::Format;

use crate::error::Blame;
use crate::files::format_of;
use crate::{Table, TableError};

/// The rows of a piece. Tables are stored and learned from in pieces of so many rows, and where pieces begin is part of what is computed (sums are taken
/// by piece), so it is the same everywhere.
pub const PIECE_ROWS: usize = 32_768;

/// Writes an Arrow IPC file of record batches of [`PIECE_ROWS`] rows. Equal tables give equal bytes, however they came about.
pub fn write_ipc(table: &Table, path: &Path) -> Result<(), TableError> {
    let mut writer = IpcFile::create(path)?;
    writer.push(table.frame())?;
    writer.finish()
}

/// The file of [`write_ipc`] on its way: takes the rows piece by piece, however they are cut.
pub struct IpcFile {
    path: PathBuf,
    recut: Recut,
    batches: Batches<BufWriter<File>>,
}

impl IpcFile {
    /// A new file.
    pub fn create(path: &Path) -> Result<Self, TableError> {
        let file = File::create(path).map_err(|error| cannot_write(path, &error.into()))?;
        let batches = Batches::new(BufWriter::with_capacity(1 << 20, file));
        Ok(Self { path: path.to_owned(), recut: Recut::default(), batches })
    }

    /// Adds rows. All parts must have the same columns; of a table without rows, at least one part (without rows, too) tells which.
    pub fn push(&mut self, rows: &DataFrame) -> Result<(), TableError> {
        let Self { path, recut, batches } = self;
        recut.push(rows, PIECE_ROWS, |rows| batches.write(rows)).map_err(|error| cannot_write(path, &error))
    }

    /// Completes the file.
    pub fn finish(self) -> Result<(), TableError> {
        let Self { path, recut, mut batches } = self;
        let last = recut.rest().map_or(Ok(()), |rows| batches.write(&rows));
        last.and_then(|()| batches.finish()).map_err(|error| cannot_write(&path, &error))
    }
}

/// Cuts rows that come in parts of any size into parts of one size.
#[derive(Default)]
struct Recut {
    pending: Option<DataFrame>,
}

impl Recut {
    /// Gives each complete part to `full`; keeps what is left over.
    fn push(
        &mut self,
        rows: &DataFrame,
        size: usize,
        mut full: impl FnMut(&DataFrame) -> PolarsResult<()>,
    ) -> PolarsResult<()> {
        let mut rows = match self.pending.take() {
            Some(mut pending) if pending.height() > 0 => {
                pending.vstack_mut(rows)?;
                pending
            }
            _ => rows.clone(),
        };
        while rows.height() >= size {
            full(&rows.slice(0, size))?;
            rows = rows.slice(size as i64, usize::MAX);
        }
        self.pending = Some(rows);
        Ok(())
    }

    /// What is left over; a frame without rows only if there never were any.
    fn rest(self) -> Option<DataFrame> {
        self.pending
    }
}

/// Record batches on their way to an Arrow file. Text has offsets instead of views, zeros stand under missing values, and a column without missing values
/// has no validity: the bytes do not depend on how the values were cut and taken together before.
struct Batches<W: Write> {
    /// Until the first batch tells the columns.
    target: Option<W>,
    writer: Option<(FileWriter<W>, Arc<ArrowSchema>)>,
}

impl<W: Write> Batches<W> {
    fn new(target: W) -> Self {
        Self { target: Some(target), writer: None }
    }

    fn write(&mut self, rows: &DataFrame) -> PolarsResult<()> {
        let level = CompatLevel::oldest();
        if let Some(target) = self.target.take() {
            let field = |column: &Column| {
                let field = column.field().to_arrow(level);
                (field.name.clone(), field)
            };
            let schema: ArrowSchema = rows.columns().iter().map(field).collect();
            let (schema, options) = (Arc::new(schema), WriteOptions { compression: None });
            self.writer = Some((FileWriter::try_new(target, Arc::clone(&schema), None, options)?, schema));
        }
        let Some((writer, schema)) = &mut self.writer else { return Ok(()) };
        if rows.height() == 0 {
            return Ok(());
        }
        let array = |column: &Column| canonical(column.as_materialized_series().rechunk().to_arrow(0, level));
        let arrays = rows.columns().iter().map(array).collect::<PolarsResult<Vec<_>>>()?;
        writer.write(&RecordBatchT::try_new(rows.height(), Arc::clone(schema), arrays)?, None)
    }

    fn finish(self) -> PolarsResult<()> {
        if let Some((mut writer, _)) = self.writer {
            writer.finish()?;
            writer.into_inner().flush()?;
        }
        Ok(())
    }
}

/// Reads an Arrow IPC file that [`write_ipc`] wrote, memory-mapped. The file must be one that nobody changes and whose digest was verified: maps are not
/// checked again.
pub fn read_ipc(path: &Path, schema: Columns) -> Result<Table, TableError> {
    let at = |error: TableError| error.within(path.display());
    let file = File::open(path).map_err(|error| at(TableError::new(error.to_string())))?;
    // SAFETY: the store never changes an object, and its digest was verified.
    let reader = unsafe { IpcReader::new(file).memory_mapped(Some(path.to_path_buf())) };
    let frame = reader.finish().map_err(|error| at(error.into()))?;
    Table::new(frame, schema).map_err(at)
}

/// Writes a Parquet file.
pub fn write_parquet(frame: &mut DataFrame, path: &Path) -> Result<(), TableError> {
    create(path, |file| parquet_writer(file).finish(frame).map(|_| ()))
}

/// Writes a table without its row numbers, in the format that the ending names: .csv, .parquet, .arrow or .jsonl. The file appears when it is complete.
pub fn write_file(table: &Table, path: &Path) -> Result<(), TableError> {
    let mut file = OutputFile::create(path)?;
    file.push(table)?;
    file.finish()
}

/// The file of [`write_file`] on its way: takes the rows piece by piece. Dropped without being finished, it vanishes.
pub struct OutputFile {
    path: PathBuf,
    format: Format,
    partial: tempfile::NamedTempFile,
    recut: Recut,
    /// Until the first rows tell the columns.
    sink: Option<Sink>,
}

enum Sink {
    /// Unbuffered: it writes many rows at a time, and would not tell that a buffer could not be emptied.
    Csv(Box<polars::io::csv::write::BatchedWriter<File>>),
    Parquet(Box<polars::io::parquet::write::BatchedWriter<BufWriter<File>>>),
    Arrow(Box<Batches<BufWriter<File>>>),
    JsonLines(BufWriter<File>),
}

impl OutputFile {
    /// A file beside the one that it becomes.
    pub fn create(path: &Path) -> Result<Self, TableError> {
        let format = format_of(path, None)?;
        if format == Format::Images {
            return Err(TableError::new(format!("a table cannot be written to the image {}", path.display()))
                .help("end the name in .csv, .parquet, .arrow or .jsonl"));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let partial = tempfile::Builder::new()
            .prefix(".retune-")
            .permissions(plain_permissions())
            .tempfile_in(folder)
            .map_err(|error| cannot_write(path, &error.into()))?;
        Ok(Self { path: path.to_owned(), format, partial, recut: Recut::default(), sink: None })
    }

    /// Adds rows. All parts must have the same columns.
    pub fn push(&mut self, table: &Table) -> Result<(), TableError> {
        self.push_frame(table.frame())
    }

    /// Adds rows. All parts must have the same columns; row numbers are left out.
    pub fn push_frame(&mut self, rows: &DataFrame) -> Result<(), TableError> {
        let mut rows = rows.clone();
        if rows.column(Columns::ROW).is_ok() {
            rows = rows.drop(Columns::ROW)?;
        }
        let Self { path, format, partial, recut, sink } = self;
        let failed = |error| cannot_write(path, &error);
        let sink = match sink {
            Some(sink) => sink,
            None => {
                let file = partial.as_file().try_clone().map_err(|error| failed(error.into()))?;
                sink.insert(Sink::new(*format, file, &rows).map_err(failed)?)
            }
        };
        recut.push(&rows, sink.part_rows(rows.width()), |rows| sink.write(rows)).map_err(failed)
    }

    /// Completes the file and gives it its name.
    pub fn finish(self) -> Result<(), TableError> {
        let Self { path, partial, recut, sink, .. } = self;
        let complete = |mut sink: Sink| {
            recut.rest().map_or(Ok(()), |rows| sink.write(&rows))?;
            sink.finish()
        };
        sink.map_or(Ok(()), complete).map_err(|error| cannot_write(&path, &error))?;
        let failed = |error: std::io::Error| cannot_write(&path, &error.into());
        partial.as_file().sync_all().map_err(failed)?;
        partial.persist(&path).map_err(|error| failed(error.error))?;
        Ok(())
    }
}

impl Sink {
    fn new(format: Format, file: File, rows: &DataFrame) -> PolarsResult<Self> {
        if format == Format::Csv {
            return Ok(Self::Csv(Box::new(CsvWriter::new(file).batched(rows.schema())?)));
        }
        let file = BufWriter::with_capacity(1 << 20, file);
        Ok(match format {
            Format::Parquet => Self::Parquet(Box::new(parquet_writer(file).batched(rows.schema())?)),
            Format::Arrow => Self::Arrow(Box::new(Batches::new(file))),
            _ => Self::JsonLines(file),
        })
    }

    /// The rows that are written at a time. A Parquet reader wants row groups as large as memory allows: some 64 MB of numbers.
    fn part_rows(&self, n_columns: usize) -> usize {
        match self {
            Self::Parquet(_) => ((8 << 20) / n_columns.max(1)).clamp(1024, 8 * PIECE_ROWS),
            _ => PIECE_ROWS,
        }
    }

    fn write(&mut self, rows: &DataFrame) -> PolarsResult<()> {
        let mut rows = rows.clone();
        rows.rechunk_mut();
        match self {
            Self::Csv(writer) => writer.write_batch(&rows),
            Self::Parquet(writer) => writer.write_batch(&rows),
            Self::Arrow(batches) => batches.write(&rows),
            Self::JsonLines(_) if rows.height() == 0 => Ok(()),
            Self::JsonLines(file) => JsonWriter::new(file).with_json_format(JsonFormat::JsonLines).finish(&mut rows),
        }
    }

    fn finish(self) -> PolarsResult<()> {
        match self {
            Self::Csv(mut writer) => writer.finish(),
            Self::Parquet(writer) => writer.finish().map(|_| ()),
            Self::Arrow(batches) => batches.finish(),
            Self::JsonLines(mut file) => Ok(file.flush()?),
        }
    }
}

/// Zstandard at its fastest: of a million rows of 38 columns its files are as small as those of the default level, which takes 2.5 times as long;
/// LZ4 and Snappy gain another third and write files 6 to 8 % larger.
fn parquet_writer<W: Write>(file: W) -> ParquetWriter<W> {
    let fastest = polars::polars_utils::compression::ZstdLevel::try_new(1).ok();
    ParquetWriter::new(file).with_compression(ParquetCompression::Zstd(fastest))
}

/// What a new file gets, less the user's mask.
fn plain_permissions() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o666)
}

fn create(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> PolarsResult<()>) -> Result<(), TableError> {
    let file = File::create(path).map_err(|error| cannot_write(path, &error.into()))?;
    let mut file = BufWriter::with_capacity(1 << 20, file);
    write(&mut file).and_then(|()| Ok(file.flush()?)).map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &PolarsError) -> TableError {
    // The words of the store, which holds most of what is written here.
    if error.to_string().contains("os error 28") {
        let message = format!("no space left on the device that holds {}", path.display());
        return TableError { blame: Blame::Machine, ..TableError::new(message) }
            .help("free some, or write to another disk (`RETUNE_STORE` for the store, `--out` for results)");
    }
    TableError::new(format!("cannot write {}: {error}", path.display()))
}

/// The array with zeros under missing values, and without a validity where nothing is missing.
fn canonical(array: ArrayRef) -> PolarsResult<ArrayRef> {
    if let Some(array) = array.as_any().downcast_ref::<BooleanArray>() {
        let (values, validity) = (array.values(), array.validity().filter(|validity| validity.unset_bits() > 0));
        let values = validity.map_or_else(|| values.clone(), |validity| values & validity);
        return Ok(BooleanArray::new(array.dtype().clone(), whole(&values), validity.map(whole)).boxed());
    }
    let Some(validity) = array.validity().filter(|_| array.null_count() > 0).map(whole) else {
        return Ok(if array.validity().is_some() { array.with_validity(None) } else { array });
    };
    if let Some(array) = array.as_any().downcast_ref::<Utf8Array<i64>>() {
        return Ok(Utf8Array::<i64>::from_trusted_len_iter(array.iter()).boxed());
    }
    if let Some(array) = array.as_any().downcast_ref::<BinaryArray<i64>>() {
        return Ok(BinaryArray::<i64>::from_trusted_len_iter(array.iter()).boxed());
    }
    macro_rules! zeroed {
        ($($native:ty),*) => {$(
            if let Some(array) = array.as_any().downcast_ref::<PrimitiveArray<$native>>() {
                let zero = <$native>::default();
                let values: Vec<$native> =
                    array.values().iter().zip(validity.iter()).map(|(&value, valid)| if valid { value } else { zero }).collect();
                return Ok(PrimitiveArray::new(array.dtype().clone(), values.into(), Some(validity)).boxed());
            }
        )*};
    }
    zeroed!(i8, i16, i32, i64, u8, u16, u32, u64, f32, f64);
    Err(polars_err!(ComputeError: "columns of type {:?} cannot be stored", array.dtype()))
}

/// The bits from the start of a byte on, with zeros after the last.
fn whole(bits: &Bitmap) -> Bitmap {
    let (_, offset, length) = bits.as_slice();
    if offset == 0 && length % 8 == 0 { bits.clone() } else { Bitmap::from_trusted_len_iter(bits.iter()) }
}
