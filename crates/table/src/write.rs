//! Writing tables: Arrow IPC for the store, whatever a user asks for by file ending.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use polars::error::PolarsError;
use polars::prelude::*;
use retune_spec::Schema as Columns;
use retune_spec::data::Format;

use crate::read::format_of;
use crate::{Table, TableError};

/// Writes an Arrow IPC file. Equal tables give equal bytes, however they came about.
pub fn write_ipc(table: &Table, path: &Path) -> Result<(), TableError> {
    let columns = table.frame().columns().iter().map(canonical).collect::<Result<Vec<_>, _>>()?;
    let mut frame = DataFrame::new(table.n_rows(), columns)?;
    create(path, |file| arrow(file, &mut frame))
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
    create(path, |file| ParquetWriter::new(file).finish(frame).map(|_| ()))
}

/// Writes a table without its row numbers, in the format that the ending names: .csv, .parquet, .arrow or .jsonl. The file appears when it is complete.
pub fn write_file(table: &Table, path: &Path) -> Result<(), TableError> {
    let format = format_of(path, None)?;
    let mut frame = table.frame().clone();
    if frame.column(Columns::ROW).is_ok() {
        frame = frame.drop(Columns::ROW)?;
    }
    frame.rechunk_mut();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |error: std::io::Error| TableError::new(format!("cannot write {}: {error}", path.display()));
    let partial = tempfile::Builder::new()
        .prefix(".retune-")
        .permissions(plain_permissions())
        .tempfile_in(folder)
        .map_err(failed)?;
    let written = match format {
        Format::Csv => CsvWriter::new(buffered(&partial)).finish(&mut frame),
        Format::Parquet => ParquetWriter::new(buffered(&partial)).finish(&mut frame).map(|_| ()),
        Format::Arrow => arrow(&mut buffered(&partial), &mut frame),
        Format::JsonLines => {
            JsonWriter::new(buffered(&partial)).with_json_format(JsonFormat::JsonLines).finish(&mut frame)
        }
    };
    written.map_err(|error| cannot_write(path, &error))?;
    partial.as_file().sync_all().map_err(failed)?;
    partial.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

fn buffered(partial: &tempfile::NamedTempFile) -> BufWriter<&File> {
    BufWriter::with_capacity(1 << 20, partial.as_file())
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
    let error = TableError::new(format!("cannot write {}: {error}", path.display()));
    if error.message.contains("os error 28") { error.help("the disk is full: free some space") } else { error }
}

/// Offsets instead of views: their bytes do not depend on how the text was cut and taken together before.
fn arrow<W: Write>(file: &mut W, frame: &mut DataFrame) -> PolarsResult<()> {
    IpcWriter::new(file).with_compat_level(CompatLevel::oldest()).with_parallel(false).finish(frame)
}

/// The column in one chunk, with zeros under missing values.
fn canonical(column: &Column) -> Result<Column, TableError> {
    let series = column.as_materialized_series().rechunk();
    let name = series.name().clone();
    let hidden = series.chunks().iter().any(|chunk| chunk.validity().is_some());
    if let Ok(values) = series.bool() {
        return Ok(BooleanChunked::from_iter_options(name, values.iter()).into_column());
    }
    if !hidden {
        return Ok(series.into_column());
    }
    if let Ok(values) = series.str() {
        return Ok(StringChunked::from_iter_options(name, values.iter()).into_column());
    }
    if let Ok(values) = series.binary() {
        return Ok(BinaryChunked::from_iter_options(name, values.iter()).into_column());
    }
    let physical = series.to_physical_repr();
    macro_rules! rebuild {
        ($($dtype:ident $native:ident $access:ident),*) => {
            match physical.dtype() {
                $(DataType::$dtype => ChunkedArray::<$native>::from_iter_options(name, physical.$access()?.iter()).into_series(),)*
                dtype => return Err(TableError::new(format!("column `{name}` of type {dtype} cannot be stored"))),
            }
        };
    }
    let rebuilt: Series = rebuild!(
        Int8 Int8Type i8,
        Int16 Int16Type i16,
        Int32 Int32Type i32,
        Int64 Int64Type i64,
        UInt8 UInt8Type u8,
        UInt16 UInt16Type u16,
        UInt32 UInt32Type u32,
        UInt64 UInt64Type u64,
        Float32 Float32Type f32,
        Float64 Float64Type f64
    );
    Ok(rebuilt.cast(series.dtype())?.into_column())
}
